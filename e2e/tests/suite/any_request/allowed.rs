//! Whether an answer is one that the API's document allows.

use e2e::{CONTRACT, RawAnswer, contract::Seen};

use super::generate::Request;

/// What may be answered where nobody can say what is asked for; nothing that is changed, at any rate.
const UNKNOWN: &[u16] = &[200, 204, 304, 307, 400, 403, 404, 405, 406, 409, 413, 415, 422];

/// Says what is wrong with an answer, or with there being none.
pub(crate) fn check(request: &Request, answer: Option<&RawAnswer>) -> Result<(), String> {
    let Some(answer) = answer else {
        return ensure(request.is_cut, || "no answer".into());
    };
    let statuses = request.route.map_or_else(|| UNKNOWN.to_vec(), |route| route.statuses(&request.method));
    let is_allowed = statuses.contains(&answer.status) || request.also.contains(&answer.status);
    ensure(is_allowed, || format!("{} is none of {statuses:?} and {:?}", answer.status, request.also))?;
    ensure(answer.header("x-request-id").is_some(), || "no X-Request-Id".into())?;
    ensure(answer.status != 405 || answer.header("allow").is_some(), || "405 without Allow".into())?;
    if request.method == "HEAD" || answer.status == 204 {
        ensure(answer.body.is_empty(), || "a body where none may be".into())?;
    }
    as_documented(request, answer)
}

/// Holds content type and body against the document, as far as the path can be told.
fn as_documented(request: &Request, answer: &RawAnswer) -> Result<(), String> {
    let content_type = answer.header("content-type");
    if [204, 304].contains(&answer.status) {
        return ensure(content_type.is_none() && answer.body.is_empty(), || {
            "content where none may be".into()
        });
    }
    let is_readable = request.method != "HEAD" && answer.header("content-encoding").is_none();
    let Some(route) = request.route else {
        let is_known = ["application/json", "application/problem+json", "text/html; charset=utf-8"];
        return ensure(content_type.is_some_and(|found| is_known.contains(&found)), || {
            format!("content type {content_type:?}")
        });
    };
    let is_of_nginx = !route.statuses(&request.method).contains(&answer.status);
    let path = if is_of_nginx {
        "/v1/nothing".to_owned()
    } else {
        route.path("01a21c8e-0000-7000-8000-000000000000")
    };
    CONTRACT.check(Seen {
        method: &request.method,
        path: &path,
        status: answer.status,
        content_type,
        body: if is_readable { &answer.body } else { &[] },
    })
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
