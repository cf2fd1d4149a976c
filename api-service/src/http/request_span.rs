//! The span of a request. It is recorded when the answer begins, or where the client goes away before.

use actix_web::{
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::Method,
};
use service_kit::telemetry::traces::{self, Begun, KeyValue};
use shared_events::TraceContext;

use super::Context;
use crate::traces::REQUEST;

/// The longest part of a path that is told, in bytes.
const PATH_BYTES: usize = 1024;

/// See the module.
pub(super) struct RequestSpan {
    context: TraceContext,
    parent: Option<TraceContext>,
    begun: Begun,
    request_id: String,
    method: Method,
    path: String,
    answer: Answer,
}

#[derive(Default)]
struct Answer {
    route: Option<String>,
    status: Option<u16>,
}

impl RequestSpan {
    /// The span of this request; none where it is not recorded.
    pub(super) fn begin(context: &Context, request: &ServiceRequest) -> Option<Self> {
        let begun = traces::begin()?;
        if !context.trace.is_sampled() || request.path().starts_with("/health/") {
            return None;
        }
        let path = request.path();
        Some(Self {
            context: context.trace,
            parent: context.parent,
            begun,
            request_id: context.request_id.clone(),
            method: request.method().clone(),
            path: path[..path.floor_char_boundary(PATH_BYTES)].to_owned(),
            answer: Answer::default(),
        })
    }

    /// Ends it with the answer.
    pub(super) fn answered(mut self, answer: &ServiceResponse<impl MessageBody>) {
        let status = answer.status().as_u16();
        self.answer = Answer { route: answer.request().match_pattern(), status: Some(status) };
    }
}

impl Drop for RequestSpan {
    fn drop(&mut self) {
        let Self { method, path, request_id, .. } = self;
        let Answer { route, status } = std::mem::take(&mut self.answer);
        let name = route.as_ref().map_or_else(|| method.to_string(), |route| format!("{method} {route}"));
        let error = match status {
            None => Some("the client went away".to_owned()),
            Some(500..) => status.map(|status| status.to_string()),
            Some(_) => None,
        };
        let kind =
            error.as_ref().map(|error| if status.is_some() { error.clone() } else { "cancelled".to_owned() });
        let attributes = [
            Some(KeyValue::new("http.request.method", method.to_string())),
            route.map(|route| KeyValue::new("http.route", route)),
            Some(KeyValue::new("url.path", std::mem::take(path))),
            status.map(|status| KeyValue::new("http.response.status_code", i64::from(status))),
            kind.map(|kind| KeyValue::new("error.type", kind)),
            Some(KeyValue::new("request.id", std::mem::take(request_id))),
        ];
        let span = REQUEST.span(self.context, self.parent, self.begun).named(name);
        span.with(attributes.into_iter().flatten()).failed(error).record();
    }
}
