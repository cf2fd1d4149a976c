//! What is done for many at once: a span for the whole, and one for each member in its own trace, with the same times.
//!
//! The span of the whole is the root of a trace of its own. It is linked to its members', and each of those to it.

use std::{error::Error, time::SystemTime};

use opentelemetry::KeyValue;
use shared_events::TraceContext;

use super::{Begun, Span, SpanType, beneath, is_on};
use crate::telemetry::chain;

/// Work that several share, from its beginning on.
#[derive(Debug)]
#[must_use = "its spans are recorded at its end"]
pub struct Group {
    begun: SystemTime,
    members: Vec<Member>,
    /// All that share it, recorded or not.
    size: usize,
    /// The span of the whole, where several share it.
    whole: Option<Whole>,
}

#[derive(Debug)]
struct Whole {
    context: TraceContext,
    parent: Option<TraceContext>,
}

/// One whose trace is recorded.
#[derive(Debug, Clone, Copy)]
struct Member {
    /// Its place among all.
    place: usize,
    context: TraceContext,
    parent: TraceContext,
}

impl Group {
    /// Work for all of these, each with the span that it belongs beneath, that begins now. None where no trace of them is
    /// recorded.
    pub fn begin(of: impl ExactSizeIterator<Item = Option<TraceContext>>) -> Option<Self> {
        if !is_on() {
            return None;
        }
        let size = of.len();
        let member = |(place, parent): (usize, Option<TraceContext>)| {
            Some(Member { place, context: beneath(parent)?, parent: parent? })
        };
        let members: Vec<Member> = of.enumerate().filter_map(member).collect();
        if members.is_empty() {
            return None;
        }
        let whole = (size > 1).then(|| Whole { context: TraceContext::start(), parent: None });
        Some(Self { begun: SystemTime::now(), members, size, whole })
    }

    /// The same, as it began before.
    pub fn since(self, begun: Begun) -> Self {
        Self { begun: begun.0, ..self }
    }

    /// A step of it that begins now: beneath the span of the whole, and of each member.
    pub fn step(&self) -> Self {
        let member =
            |member: &Member| Member { context: member.context.child(), parent: member.context, ..*member };
        let whole = self.whole.as_ref();
        let whole = whole.map(|whole| Whole { context: whole.context.child(), parent: Some(whole.context) });
        Self {
            begun: SystemTime::now(),
            members: self.members.iter().map(member).collect(),
            size: self.size,
            whole,
        }
    }

    /// Ends now, and is recorded. `tell` says more of the one at a place.
    pub fn end(self, of: &'static SpanType, tell: impl Fn(usize, Span) -> Span) {
        self.finish(of, None, tell);
    }

    /// The same; failed where this has.
    pub fn end_with<T, E: Error>(
        self,
        of: &'static SpanType,
        done: &Result<T, E>,
        tell: impl Fn(usize, Span) -> Span,
    ) {
        let why = done.as_ref().err().map(|error| chain(error));
        self.finish(of, why.as_deref(), tell);
    }

    fn finish(self, of: &'static SpanType, why: Option<&str>, tell: impl Fn(usize, Span) -> Span) {
        let (ended, begun) = (SystemTime::now(), Begun(self.begun));
        if let Some(Whole { context, parent }) = &self.whole {
            let size = i64::try_from(self.size).unwrap_or(i64::MAX);
            let batch = of.batch.map(|name| KeyValue::new(name, size));
            let members = self.members.iter().map(|member| member.context);
            let whole = of.span(*context, *parent, begun).with(batch).linked(members);
            whole.failed(why.map(str::to_owned)).ended(ended).record();
        }
        let whole = self.whole.map(|whole| whole.context);
        for Member { place, context, parent } in self.members {
            let span = tell(place, of.span(context, Some(parent), begun));
            span.linked(whole).failed(why.map(str::to_owned)).ended(ended).record();
        }
    }
}
