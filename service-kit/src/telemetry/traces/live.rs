//! A span that goes on while others are made beneath it, by whoever uses `tracing`.

use std::{borrow::Cow, future::Future};

use opentelemetry::{
    Context, KeyValue,
    trace::{Status, TraceContextExt},
};
use shared_events::TraceContext;
use tracing::{Instrument, instrument::Instrumented};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{beneath, span::span_context};

/// The target of spans that are no part of any log line.
pub const TARGET: &str = "traces";

/// See the module.
#[derive(Debug, Clone)]
pub struct Live {
    span: tracing::Span,
    context: TraceContext,
    parent: TraceContext,
}

impl Live {
    /// Begins the span that `span` makes, beneath this one; none where it is not recorded.
    pub fn begin(parent: Option<TraceContext>, span: impl FnOnce() -> tracing::Span) -> Option<Self> {
        let parent = beneath(parent).and(parent)?;
        let span = span();
        let remote = span_context(parent.with_sampled(true), true);
        span.set_parent(Context::new().with_remote_span_context(remote)).ok()?;
        let made = span.context().span().span_context().clone();
        let trace_id = u128::from_be_bytes(made.trace_id().to_bytes());
        let span_id = u64::from_be_bytes(made.span_id().to_bytes());
        let context = TraceContext::of(trace_id, span_id, made.is_sampled())?;
        Some(Self { span, context, parent })
    }

    /// Its position in the trace.
    #[must_use]
    pub const fn context(&self) -> TraceContext {
        self.context
    }

    /// That of the span that it is beneath.
    #[must_use]
    pub const fn parent(&self) -> TraceContext {
        self.parent
    }

    /// What is done within it.
    pub fn around<F: Future>(&self, work: F) -> Instrumented<F> {
        work.instrument(self.span.clone())
    }

    /// Says more of it.
    pub fn tell(&self, attributes: impl IntoIterator<Item = KeyValue>) {
        for KeyValue { key, value, .. } in attributes {
            self.span.set_attribute(key, value);
        }
    }

    /// Ends it, as soon as what is done within it is over too; failed where there is a reason.
    pub fn end(self, why: Option<impl Into<Cow<'static, str>>>) {
        if let Some(description) = why {
            self.span.set_status(Status::Error { description: description.into() });
        }
    }
}
