//! Trace context: ties the log lines of one request together, across processes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de};

/// A position in a trace, as the `traceparent` header of W3C Trace Context (level 1) writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

/// The text is not a `traceparent` of version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent: expected 00-<32 hex>-<16 hex>-<2 hex>, neither id all zeros")]
pub struct BadTraceparent;

impl TraceContext {
    /// Starts a trace that is sampled.
    #[must_use]
    pub fn start() -> Self {
        Self { trace_id: rand::random::<u128>().max(1), span_id: rand::random::<u64>().max(1), flags: 1 }
    }

    /// The next span of the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span_id: rand::random::<u64>().max(1), ..self }
    }

    /// The span with this id of the trace with this id, where neither is zero.
    #[must_use]
    pub fn of(trace_id: u128, span_id: u64, is_sampled: bool) -> Option<Self> {
        let context = Self { trace_id, span_id, flags: u8::from(is_sampled) };
        (trace_id != 0 && span_id != 0).then_some(context)
    }

    /// The ids of the trace and of the span.
    #[must_use]
    pub const fn ids(self) -> (u128, u64) {
        (self.trace_id, self.span_id)
    }

    /// Whether the trace is recorded by those who record any.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The same, recorded or not.
    #[must_use]
    pub const fn with_sampled(self, is_sampled: bool) -> Self {
        let flags = if is_sampled { self.flags | SAMPLED } else { self.flags & !SAMPLED };
        Self { flags, ..self }
    }

    /// The trace's id, 32 hexadecimal digits: what log lines carry as `trace_id`.
    #[must_use]
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace_id)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

impl FromStr for TraceContext {
    type Err = BadTraceparent;

    fn from_str(text: &str) -> Result<Self, BadTraceparent> {
        let lower_hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let mut parts = text.split('-');
        let (Some("00"), Some(trace), Some(span), Some(flags), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(BadTraceparent);
        };
        if (trace.len(), span.len(), flags.len()) != (32, 16, 2)
            || ![trace, span, flags].into_iter().all(lower_hex)
        {
            return Err(BadTraceparent);
        }
        let trace_id = u128::from_str_radix(trace, 16).map_err(|_| BadTraceparent)?;
        let span_id = u64::from_str_radix(span, 16).map_err(|_| BadTraceparent)?;
        let flags = u8::from_str_radix(flags, 16).map_err(|_| BadTraceparent)?;
        if trace_id == 0 || span_id == 0 {
            return Err(BadTraceparent);
        }
        Ok(Self { trace_id, span_id, flags })
    }
}

impl Serialize for TraceContext {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceContext {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_example_of_the_specification() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context: TraceContext = text.parse().unwrap();
        assert_eq!(context.to_string(), text);
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.child().trace_id(), context.trace_id());
        assert_ne!(context.child(), context);
    }

    #[test]
    fn whether_a_trace_is_sampled_is_one_flag_of_several() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03";
        let context: TraceContext = text.parse().unwrap();
        assert!(context.is_sampled() && context.child().is_sampled());
        let not = context.with_sampled(false);
        assert!(!not.is_sampled() && not.to_string().ends_with("-02"));
        assert_eq!(not.with_sampled(true), context);
        let (trace_id, span_id) = context.ids();
        assert_eq!(TraceContext::of(trace_id, span_id, true).unwrap().trace_id(), context.trace_id());
        assert_eq!((TraceContext::of(0, 1, true), TraceContext::of(1, 0, true)), (None, None));
    }

    #[test]
    fn refuses_what_the_specification_refuses() {
        for text in [
            "",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(text.parse::<TraceContext>(), Err(BadTraceparent), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(text in "\\PC{0,70}") {
            let _ = text.parse::<TraceContext>();
        }
    }
}
