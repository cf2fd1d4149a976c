//! Whether an answer is one that `docs/api.md` allows.

use e2e::RawAnswer;
use serde_json::Value;

use super::generate::Request;
use super::route::Route;

/// What may be answered where nobody can say what is asked for; nothing that is changed, at any rate.
const UNKNOWN: &[u16] = &[200, 204, 400, 403, 404, 405, 409, 413, 415, 422];

/// Says what is wrong with an answer, or with there being none.
pub(crate) fn check(request: &Request, answer: Option<&RawAnswer>) -> Result<(), String> {
    let Some(answer) = answer else {
        return ensure(request.is_cut, || "no answer".into());
    };
    let statuses = request.route.map_or(UNKNOWN, |route| route.statuses(&request.method));
    let is_allowed = statuses.contains(&answer.status) || request.also.contains(&answer.status);
    ensure(is_allowed, || format!("{} is none of {statuses:?} and {:?}", answer.status, request.also))?;
    ensure(answer.header("x-request-id").is_some(), || "no X-Request-Id".into())?;
    ensure(answer.status != 405 || answer.header("allow").is_some(), || "405 without Allow".into())?;
    if request.method == "HEAD" || answer.status == 204 {
        ensure(answer.body.is_empty(), || "a body where none may be".into())?;
    }
    content_type(request, answer)
}

fn content_type(request: &Request, answer: &RawAnswer) -> Result<(), String> {
    let content_type = answer.header("content-type");
    let is = |expected: &str| content_type == Some(expected);
    if answer.status == 204 {
        return ensure(content_type.is_none(), || "a content type without content".into());
    }
    if answer.status < 300 {
        return ensure(is("application/json"), || format!("content type {content_type:?}"));
    }
    let is_readable = request.method != "HEAD" && answer.header("content-encoding").is_none();
    let body = if is_readable { answer.json().ok_or("not JSON")? } else { Value::Null };
    let may_be_old = request.route.is_none_or(Route::is_old);
    if may_be_old && [400, 404].contains(&answer.status) && is("application/json") {
        return ensure(body.is_null() || body["message"].is_string(), || {
            "not the older system's error".into()
        });
    }
    ensure(is("application/problem+json"), || format!("content type {content_type:?}"))?;
    let is_problem = body["status"] == answer.status && body["code"].is_string() && body["title"].is_string();
    ensure(body.is_null() || is_problem, || "not problem details".into())
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
