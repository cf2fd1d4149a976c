//! Spans that are recorded when they are over.

use std::{borrow::Cow, time::SystemTime};

use opentelemetry::{
    KeyValue, SpanId, TraceFlags, TraceId,
    trace::{Link, SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use shared_events::TraceContext;

use super::pipeline;

/// The most links of a span.
const MAX_LINKS: usize = 128;

/// What a span is to those around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Answers a request.
    Server,
    /// Asks another for something, and waits.
    Client,
    /// Sends a message.
    Producer,
    /// Works on a message.
    Consumer,
    /// Anything else.
    Internal,
}

impl Kind {
    /// As the documentation and the protocol say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Internal => "internal",
        }
    }

    fn to_otel(self) -> SpanKind {
        match self {
            Self::Server => SpanKind::Server,
            Self::Client => SpanKind::Client,
            Self::Producer => SpanKind::Producer,
            Self::Consumer => SpanKind::Consumer,
            Self::Internal => SpanKind::Internal,
        }
    }

    /// Whether its parent is another process's.
    const fn comes_from_elsewhere(self) -> bool {
        matches!(self, Self::Server | Self::Consumer)
    }
}

/// All that spans of one sort have in common, and what the documentation says of them.
#[derive(Debug)]
pub struct SpanType {
    /// What they are called, or begin with.
    pub name: &'static str,
    /// What they are to those around them.
    pub kind: Kind,
    /// Attributes that all of them have, with the same value.
    pub always: &'static [(&'static str, &'static str)],
    /// Names of those whose value differs.
    pub own: &'static [&'static str],
    /// Of those that are joined in groups, the attribute that says how many share the work.
    pub batch: Option<&'static str>,
    /// What is done, in Markdown.
    pub meaning: &'static str,
}

impl SpanType {
    /// The row of a table: service, span, kind, attributes, meaning.
    #[must_use]
    pub fn to_markdown(&self, service: &str) -> String {
        let Self { name, kind, always, own, batch, meaning } = self;
        let always = always.iter().map(|(name, value)| format!("`{name}={value}`"));
        let own = own.iter().map(|name| format!("`{name}`"));
        let batch = batch.iter().map(|name| format!("`{name}` of a group"));
        let attributes: Vec<String> = always.chain(own).chain(batch).collect();
        format!("| {service} | `{name}` | {} | {} | {meaning} |", kind.as_str(), attributes.join(", "))
    }

    /// A span of this sort, that began then.
    pub fn span(&'static self, context: TraceContext, parent: Option<TraceContext>, begun: Begun) -> Span {
        let always = self.always.iter().map(|(name, value)| KeyValue::new(*name, *value));
        Span {
            of: self,
            name: self.name.into(),
            context,
            parent,
            begun: begun.0,
            ended: None,
            attributes: always.collect(),
            links: Vec::new(),
            error: None,
        }
    }
}

/// When something began.
#[derive(Debug, Clone, Copy)]
pub struct Begun(pub(super) SystemTime);

/// Now, where spans are recorded.
#[must_use]
pub fn begin() -> Option<Begun> {
    super::is_on().then(|| Begun(SystemTime::now()))
}

/// A span that is over when it is recorded.
#[derive(Debug)]
#[must_use = "it is not recorded by itself"]
pub struct Span {
    of: &'static SpanType,
    name: Cow<'static, str>,
    context: TraceContext,
    parent: Option<TraceContext>,
    begun: SystemTime,
    ended: Option<SystemTime>,
    attributes: Vec<KeyValue>,
    links: Vec<TraceContext>,
    error: Option<Cow<'static, str>>,
}

impl Span {
    /// Called this instead.
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// With these attributes too.
    pub fn with(mut self, attributes: impl IntoIterator<Item = KeyValue>) -> Self {
        self.attributes.extend(attributes);
        self
    }

    /// Linked to these spans, to the first 128 of them.
    pub fn linked(mut self, to: impl IntoIterator<Item = TraceContext>) -> Self {
        self.links.extend(to);
        self
    }

    /// Failed, where there is a reason.
    pub fn failed(self, why: Option<impl Into<Cow<'static, str>>>) -> Self {
        Self { error: why.map(Into::into), ..self }
    }

    pub(super) fn ended(self, at: SystemTime) -> Self {
        Self { ended: Some(at), ..self }
    }

    /// Has it sent.
    pub fn record(self) {
        let Some(pipeline) = pipeline() else { return };
        let parent = self.parent.map_or(SpanId::INVALID, |parent| SpanId::from(parent.ids().1));
        pipeline.sender.send(SpanData {
            span_context: span_context(self.context, false),
            parent_span_id: parent,
            parent_span_is_remote: self.parent.is_some() && self.of.kind.comes_from_elsewhere(),
            span_kind: self.of.kind.to_otel(),
            name: self.name,
            start_time: self.begun,
            end_time: self.ended.unwrap_or_else(SystemTime::now),
            attributes: self.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: links(self.links),
            status: self.error.map_or(Status::Unset, |description| Status::Error { description }),
            instrumentation_scope: pipeline.scope.clone(),
        });
    }
}

/// The same position in a trace, as the library has it.
pub(super) fn span_context(context: TraceContext, is_remote: bool) -> SpanContext {
    let (trace_id, span_id) = context.ids();
    let flags = if context.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() };
    SpanContext::new(TraceId::from(trace_id), SpanId::from(span_id), flags, is_remote, TraceState::NONE)
}

/// Links to the first of these spans, and how many are left out.
fn links(mut to: Vec<TraceContext>) -> SpanLinks {
    let mut links = SpanLinks::default();
    links.dropped_count = u32::try_from(to.len().saturating_sub(MAX_LINKS)).unwrap_or(u32::MAX);
    to.truncate(MAX_LINKS);
    links.links = to.into_iter().map(|to| Link::with_context(span_context(to, true))).collect();
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_no_more_links_than_may_be_and_says_how_many_are_left_out() {
        let to: Vec<TraceContext> = (0..200).map(|_| TraceContext::start()).collect();
        let made = links(to.clone());
        assert_eq!((made.links.len(), made.dropped_count), (128, 72));
        assert_eq!(made.links[127].span_context, span_context(to[127], true));
        assert_eq!(links(to[..128].to_vec()).dropped_count, 0);
    }

    #[test]
    fn a_context_keeps_its_ids_and_its_flag() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = span_context(text.parse().unwrap(), false);
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
        assert!(context.is_sampled() && context.is_valid());
        assert!(!span_context(TraceContext::start().with_sampled(false), false).is_sampled());
    }
}
