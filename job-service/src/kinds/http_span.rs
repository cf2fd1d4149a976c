//! The span of what the kind `http` asks a server for, within the attempt's.

use reqwest::Url;
use service_kit::{
    guarded_http::{Answer, HttpError},
    telemetry::traces::{self, Begun, KeyValue},
};
use shared_events::{TraceContext, payloads::Http};

use super::Context;
use crate::traces::HTTP_REQUEST;

/// See the module.
pub(super) struct HttpSpan {
    context: TraceContext,
    parent: Option<TraceContext>,
    begun: Begun,
    method: String,
    host: Option<String>,
}

impl HttpSpan {
    /// Begins it; none where it is not recorded.
    pub(super) fn begin(http: &Http, context: &Context) -> Option<Self> {
        let begun = traces::begin()?;
        let parent = context.trace().filter(|_| context.has_span());
        Some(Self {
            context: traces::beneath(parent)?,
            parent,
            begun,
            method: http.method.as_str().to_owned(),
            host: Url::parse(&http.url).ok().and_then(|url| Some(url.host_str()?.to_owned())),
        })
    }

    /// What goes along with the request.
    pub(super) const fn context(&self) -> TraceContext {
        self.context
    }

    /// Ends it with the answer; none where nobody waited for it.
    pub(super) fn end(self, answered: Option<&Result<Answer, HttpError>>) {
        let Self { context, parent, begun, method, host } = self;
        let status = answered.and_then(|answered| Some(answered.as_ref().ok()?.status.as_u16()));
        let error = match answered {
            Some(Ok(_)) => status.filter(|status| *status >= 400).map(|status| status.to_string()),
            Some(Err(HttpError::Refused(_))) => Some("refused".to_owned()),
            Some(Err(HttpError::Timeout)) => Some("timeout".to_owned()),
            Some(Err(HttpError::Redirects)) => Some("redirects".to_owned()),
            Some(Err(HttpError::Failed(_))) => Some("failed".to_owned()),
            None => Some("cancelled".to_owned()),
        };
        let attributes = [
            Some(KeyValue::new("http.request.method", method.clone())),
            host.map(|host| KeyValue::new("server.address", host)),
            status.map(|status| KeyValue::new("http.response.status_code", i64::from(status))),
            error.clone().map(|error| KeyValue::new("error.type", error)),
        ];
        let span = HTTP_REQUEST.span(context, parent, begun).named(method);
        span.with(attributes.into_iter().flatten()).failed(error).record();
    }
}
