//! `/v1/kinds`.

use actix_web::{HttpResponse, get};
use serde::Serialize;
use serde_json::{Value, json};
use shared_events::{
    Kind,
    payloads::{self, BuiltInKind},
};
use utoipa::{
    ToSchema,
    openapi::{OpenApi, RefOr, example::ExampleBuilder},
};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::http::read::Input;

/// Adds the routes.
pub fn configure(app: &mut ServiceConfig<'_>) {
    app.service(list_kinds);
}

/// A kind that every worker knows.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BuiltInKind)]
struct KindView<'a> {
    /// The kind.
    #[schema(value_type = Kind)]
    kind: &'a str,
    /// What its work is.
    description: &'a str,
    /// The JSON Schema (draft 2020-12) of its payloads, which jobs are checked by; it has the defaults.
    #[schema(value_type = Object)]
    payload_schema: &'a Value,
    /// A payload.
    #[schema(value_type = Object)]
    example: &'a Value,
}

/// The kinds that every worker knows.
#[derive(Debug, Serialize, ToSchema)]
struct KindList<'a> {
    kinds: Vec<KindView<'a>>,
}

impl<'a> From<&'a BuiltInKind> for KindView<'a> {
    fn from(built_in: &'a BuiltInKind) -> Self {
        Self {
            kind: built_in.kind,
            description: built_in.schema["description"].as_str().unwrap_or_default(),
            payload_schema: &built_in.schema,
            example: &built_in.schema["example"],
        }
    }
}

/// Lists the kinds that every worker knows, with what their payloads may be.
///
/// A job may be of another kind: its payload is any object, and it waits for a worker that has a handler for it.
#[utoipa::path(
    tag = "kinds",
    responses((status = 200, description = "The kinds.", body = KindList<'static>)),
)]
#[get("/v1/kinds")]
async fn list_kinds(_: Input) -> HttpResponse {
    let kinds = payloads::built_in().iter().map(KindView::from).collect();
    HttpResponse::Ok().json(KindList { kinds })
}

/// Adds a job of each kind to the examples of creating one.
pub fn describe(document: &mut OpenApi) {
    let create = document.paths.paths.get_mut("/v1/jobs").and_then(|path| path.post.as_mut());
    let body = create.and_then(|operation| operation.request_body.as_mut());
    let Some(RefOr::T(body)) = body else { return };
    for content in body.content.values_mut() {
        let RefOr::T(content) = content else { continue };
        content.example = None;
        for built_in in payloads::built_in() {
            let job = json!({ "kind": built_in.kind, "payload": built_in.schema["example"] });
            let summary = built_in.schema["description"].as_str().unwrap_or_default();
            let example = ExampleBuilder::new().summary(summary).value(Some(job)).build();
            content.examples.insert(built_in.kind.to_owned(), RefOr::T(example));
        }
    }
}
