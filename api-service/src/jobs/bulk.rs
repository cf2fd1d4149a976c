//! `POST /v1/jobs/cancel` and `/v1/jobs/retry`: acting on all jobs that pass the list's filters.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use serde_json::json;

use super::{
    Lifecycle,
    filter::{Filter, PageRequest},
    lifecycle::Acted,
    routes::read_reason,
    store::Load,
};
use crate::http::{Problem, expect_no_fields, room};

pub(super) async fn cancel(
    request: HttpRequest,
    lifecycle: Data<Lifecycle>,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    let page = PageRequest::read(request.query_string())?;
    let filter = page.filter.clone();
    let reason = read_reason(&request, body).await?;
    let _room = room::for_page(&request, Load::BRIEF.room()).await?;
    let acted = lifecycle.cancel_many(page, reason.as_deref()).await?;
    Ok(answer(&filter, "cancel_requested", &acted))
}

pub(super) async fn retry(
    request: HttpRequest,
    lifecycle: Data<Lifecycle>,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    let page = PageRequest::read(request.query_string())?;
    expect_no_fields(&request, body).await?;
    let filter = page.filter.clone();
    let _room = room::for_page(&request, Load::WHOLE.room()).await?;
    let acted = lifecycle.retry_many(page).await?;
    Ok(answer(&filter, "retried", &acted))
}

/// Says how many, whether there may be more, and the token with which the next call goes on.
fn answer(filter: &Filter, what: &str, acted: &Acted) -> HttpResponse {
    let next = acted.next.map(|id| filter.token(id)).unwrap_or_default();
    HttpResponse::Ok().json(json!({ what: acted.count, "unreadable": acted.unreadable, "more": !next.is_empty(), "next_page_token": next }))
}
