//! `/v1/export` and `/v1/import`.

use std::sync::Arc;

use actix_web::{HttpResponse, get, http::header, post, web::Data};
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

use super::{
    Transfer,
    export::lines,
    import::{LineAnswers, import},
    line::What,
};
use crate::{
    http::{
        Problem, answer,
        read::{CommaSeparated, Empty, Input, Lines, ReadFields},
    },
    jobs::Jobs,
};

/// What lines of JSON are called.
const NDJSON: &str = "application/x-ndjson";

/// The largest body of an import, in bytes; nginx takes no larger one.
const MAX_BODY: usize = 16 << 20;

/// The most lines of an import.
const MAX_LINES: usize = 10_000;

/// Adds the routes.
pub fn configure(app: &mut ServiceConfig<'_>) {
    app.service(export_all).service(import_lines);
}

/// What to export.
#[derive(Debug, ReadFields, IntoParams)]
#[into_params(parameter_in = Query)]
struct ExportQuery {
    /// What, separated by commas.
    #[param(inline, style = Form, explode = false, min_items = 1, value_type = Vec<What>, example = "schedules,jobs")]
    what: CommaSeparated<What>,
}

/// Writes all there is as lines of JSON, the oldest first.
///
/// Each line is an object with one member: `schedule`, a schedule as it is shown, and how far its times are decided;
/// `firing`, the record of one of its due times; or `job`, a job as it is shown, and the `attempts` of its latest run. The
/// last line, `{"end": …}`, says how many there are; without it the export is not complete. Four are made at once.
#[utoipa::path(
    tag = "transfer",
    params(Input<Empty, ExportQuery>),
    responses((status = 200, description = "The lines.", content_type = "application/x-ndjson", body = String)),
)]
#[get("/v1/export")]
async fn export_all(
    input: Input<Empty, ExportQuery>,
    jobs: Data<Jobs>,
    transfer: Data<Transfer>,
) -> Result<HttpResponse, Problem> {
    let permit = Arc::clone(&transfer.exports).try_acquire_owned();
    let permit = permit.map_err(|_| Problem::unavailable("too many exports are being made"))?;
    let (jobs, schedules) = (jobs.get_ref().clone(), transfer.schedules.clone());
    let lines = lines(jobs, schedules, input.query.what.0, permit);
    // nginx hands it on as it comes.
    let mut answer = HttpResponse::Ok();
    answer.insert_header((header::CONTENT_TYPE, NDJSON)).insert_header(("X-Accel-Buffering", "no"));
    Ok(answer.streaming(lines))
}

type ImportLines = Input<Empty, Empty, Empty, Lines<MAX_BODY, MAX_LINES>>;

/// Takes in lines that an export has written, up to 10,000 of 16 MiB, each with an answer of its own.
///
/// The same line twice changes nothing, and a bad one hinders no other. A job that had ended is there as it was; one that
/// had not starts a new run, or waits for its time. A schedule goes on where it was.
#[utoipa::path(
    tag = "transfer",
    params(ImportLines),
    request_body(content = String, content_type = "application/x-ndjson", example = "{\"end\":{}}\n"),
    responses((status = 200, description = "What became of each line.", body = LineAnswers<'static>)),
)]
#[post("/v1/import")]
async fn import_lines(input: ImportLines, transfer: Data<Transfer>) -> Result<HttpResponse, Problem> {
    let (body, importers) = (input.body.0, transfer.importers.clone());
    // To its end, also where the client goes away.
    let imported = transfer.runtime.spawn(import(body, importers)).await;
    let answers = imported.map_err(|_| Problem::unavailable("the import broke off"))?;
    Ok(answer::json_list("results", answers, |answer| answer, "", input.room))
}
