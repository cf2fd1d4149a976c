//! `http`: sends a request, by a client that can not be led into the worker's own network.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde::Serialize;
use service_kit::guarded_http::{Allowed, Answer, GuardedClient, HttpError, Request};
use shared_events::{JobError, JsonText, TraceContext, payloads::Http};

use super::{Context, Handler, HandlerResult, http_span::HttpSpan};

/// The longest that an answer's `Retry-After` can put off the next attempt.
const LONGEST_PAUSE: Duration = Duration::from_secs(86_400);

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

pub(super) struct HttpHandler(GuardedClient);

impl HttpHandler {
    /// One that may also go to what is allowed.
    ///
    /// # Errors
    /// Where TLS can not be set up.
    pub(super) fn new(allowed: &Allowed) -> anyhow::Result<Self> {
        GuardedClient::new(allowed.clone()).map(Self)
    }
}

#[async_trait]
impl Handler for HttpHandler {
    type Input = Http;

    async fn run(&self, context: &Context, http: Http) -> HandlerResult {
        let span = HttpSpan::begin(&http, context);
        let trace = span.as_ref().map_or_else(|| context.handed_on(), |span| Some(span.context()));
        let request = match request(&http, context, trace) {
            Ok(request) => request,
            Err(error) => return HandlerResult::fail(JobError::new("bad_payload", format!("{error:#}"))),
        };
        let answered = tokio::select! {
            answered = self.0.send(request) => Some(answered),
            () = context.stopped() => None,
        };
        if let Some(span) = span {
            span.end(answered.as_ref());
        }
        match answered {
            Some(Ok(answer)) => result(&http, &answer),
            Some(Err(error)) => failure(&error),
            None => HandlerResult::Stopped(None),
        }
    }
}

fn request(http: &Http, context: &Context, trace: Option<TraceContext>) -> anyhow::Result<Request> {
    let mut headers = HeaderMap::new();
    headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_str(&context.run_id().to_string())?);
    if let Some(trace) = trace {
        headers.insert(TRACEPARENT, HeaderValue::from_str(&trace.to_string())?);
    }
    for (name, value) in &http.headers {
        headers.insert(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
    }
    let method = http.method.as_str().parse().context("no such method")?;
    Ok(Request { method, url: Url::parse(&http.url)?, headers, body: http.body.clone() })
}

/// What a job shows of an answer.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    status: u16,
    url: &'a str,
    headers: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    body_cut: bool,
}

impl<'a> Shown<'a> {
    fn of(answer: &'a Answer) -> Self {
        let text = text(&answer.body, answer.is_cut);
        Self {
            status: answer.status.as_u16(),
            url: answer.url.as_str(),
            headers: &answer.headers,
            body: text,
            body_base64: text.is_none().then(|| BASE64_STANDARD.encode(&answer.body)),
            body_cut: answer.is_cut,
        }
    }
}

/// The body where it is text; one that was cut may end within a character.
fn text(body: &[u8], is_cut: bool) -> Option<&str> {
    match std::str::from_utf8(body) {
        Ok(text) => Some(text),
        Err(error) if is_cut && error.error_len().is_none() => {
            std::str::from_utf8(&body[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

fn result(http: &Http, answer: &Answer) -> HandlerResult {
    let shown = Shown::of(answer);
    let status = answer.status.as_u16();
    if http.is_success(status) {
        return HandlerResult::done(&shown);
    }
    let error = JobError::new(format!("http_{status}"), format!("answered with {}", answer.status));
    let output = JsonText::of(&shown).ok();
    match status {
        429 | 503 => {
            let after = answer.retry_after.map(|after| after.min(LONGEST_PAUSE));
            HandlerResult::Retry { error, after, output }
        }
        408 | 425 | 500..=599 => HandlerResult::Retry { error, after: None, output },
        _ => HandlerResult::Fail { error, output },
    }
}

fn failure(error: &HttpError) -> HandlerResult {
    let message = error.to_string();
    match error {
        HttpError::Refused(_) => HandlerResult::fail(JobError::new("http_refused", message)),
        HttpError::Redirects => HandlerResult::fail(JobError::new("http_redirects", message)),
        HttpError::Timeout => HandlerResult::retry(JobError::new("http_timeout", message)),
        HttpError::Failed(_) => HandlerResult::retry(JobError::new("http_failed", message)),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;
    use serde_json::json;

    use super::*;

    fn answer(status: u16, body: &[u8], is_cut: bool) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            url: Url::parse("http://a.example/").unwrap(),
            headers: BTreeMap::new(),
            body: body.to_vec(),
            is_cut,
            retry_after: Some(Duration::from_secs(7)),
        }
    }

    fn http() -> Http {
        serde_json::from_value(json!({ "url": "http://a.example/" })).unwrap()
    }

    #[test]
    fn a_status_decides_whether_it_is_tried_again() {
        for (status, is_tried_again) in [
            (400, false),
            (404, false),
            (302, false),
            (408, true),
            (425, true),
            (429, true),
            (500, true),
            (503, true),
        ] {
            let result = result(&http(), &answer(status, b"", false));
            assert_eq!(matches!(result, HandlerResult::Retry { .. }), is_tried_again, "{status}");
        }
        let HandlerResult::Retry { after, .. } = result(&http(), &answer(429, b"", false)) else { panic!() };
        assert_eq!(after, Some(Duration::from_secs(7)));
        let HandlerResult::Retry { after, .. } = result(&http(), &answer(500, b"", false)) else { panic!() };
        assert_eq!(after, None);
    }

    #[test]
    fn a_body_is_shown_as_text_where_it_is() {
        assert_eq!(text("gr\u{fc}n".as_bytes(), false), Some("gr\u{fc}n"));
        assert_eq!(text(&"gr\u{fc}n".as_bytes()[..3], true), Some("gr"));
        assert_eq!(text(&"gr\u{fc}n".as_bytes()[..3], false), None);
        assert_eq!(text(b"\xff\xfe", true), None);
        let binary = answer(200, b"\xff\xfe", false);
        assert_eq!(Shown::of(&binary).body_base64.as_deref(), Some("//4="));
    }

    #[test]
    fn the_largest_answer_is_a_result_that_fits() {
        let largest = answer(200, &[1; service_kit::guarded_http::BODY_BYTES], true);
        let HandlerResult::Done(Some(result)) = result(&http(), &largest) else { panic!() };
        assert!(result.within_limits().is_ok());
    }
}
