//! What every request has: an id and a trace, the client's own where they are sane; and the one log
//! line about it.

use std::time::Instant;

use actix_web::{
    Error, HttpMessage, HttpRequest,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{self, HeaderName, HeaderValue},
    middleware::Next,
};
use service_kit::telemetry::traces;
use shared_events::TraceContext;
use tracing::{debug, warn};
use uuid::Uuid;

use super::request_span::RequestSpan;
use crate::metrics;

/// The header that carries a request's id.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// See the module.
#[derive(Debug, Clone)]
pub struct Context {
    /// The client's `X-Request-Id`, or a new one.
    pub request_id: String,
    /// The request's span: of the client's trace (`traceparent`), or of a new one.
    pub trace: TraceContext,
    /// The client's own span.
    pub(super) parent: Option<TraceContext>,
}

impl Context {
    /// The context of a request that came through `around`.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_else(Self::fresh)
    }

    fn fresh() -> Self {
        Self { request_id: Uuid::new_v4().to_string(), trace: traces::enter(None), parent: None }
    }

    fn from_headers(request: &ServiceRequest) -> Self {
        let text = |name: &HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
        let parent = text(&TRACEPARENT).and_then(|text| text.parse::<TraceContext>().ok());
        let request_id = text(&REQUEST_ID).filter(|id| is_sane(id)).map(str::to_owned);
        Self {
            request_id: request_id.unwrap_or_else(|| Uuid::new_v4().to_string()),
            trace: traces::enter(parent),
            parent,
        }
    }
}

fn is_sane(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Goes around every request: gives it its context, and the answer its headers.
pub(super) async fn around(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let context = Context::from_headers(&request);
    let (method, path) = (request.method().clone(), request.path().to_owned());
    debug!(target: "http", { request.id = %context.request_id, %method, path }, "request begins");
    let span = RequestSpan::begin(&context, &request);
    request.extensions_mut().insert(context.clone());
    let mut answer = next.call(request).await?;
    if let Some(span) = span {
        span.answered(&answer);
    }
    let elapsed = started.elapsed();
    metrics::answered(&method, &answer, elapsed);
    let elapsed_ms = elapsed.as_secs_f64() * 1000.0;
    let (status, trace_id) = (answer.status().as_u16(), context.trace.trace_id());
    let request_id = context.request_id.as_str();
    if status >= 500 {
        warn!(target: "http", { request.id = request_id, trace_id, %method, path, status, elapsed_ms }, "request failed");
    } else {
        debug!(target: "http", { request.id = request_id, trace_id, %method, path, status, elapsed_ms }, "request served");
    }
    let headers = answer.headers_mut();
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    if let Ok(trace) = HeaderValue::from_str(&context.trace.to_string()) {
        headers.insert(TRACEPARENT, trace);
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_kept_where_it_is_sane() {
        assert!(is_sane("7f3a-1"));
        assert!(!is_sane("") && !is_sane("a b") && !is_sane(&"x".repeat(129)) && !is_sane("a\tb"));
    }
}
