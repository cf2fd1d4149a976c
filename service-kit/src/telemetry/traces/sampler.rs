//! Which traces are recorded: decided once, where a trace comes in, and told to all that follows by its flag.

use std::{fmt, str::FromStr};

use opentelemetry::{TraceId, trace::SpanKind};
use opentelemetry_sdk::trace::{Sampler as SdkSampler, SamplingDecision, ShouldSample};
use shared_events::TraceContext;

/// How it is decided; the names are those of `OTEL_TRACES_SAMPLER` of the OpenTelemetry specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SamplerKind {
    /// All.
    AlwaysOn,
    /// None.
    AlwaysOff,
    /// Some, by their ids.
    TraceIdRatio,
    /// As the parent says; of those without one, all.
    #[default]
    ParentBasedAlwaysOn,
    /// As the parent says; of those without one, none.
    ParentBasedAlwaysOff,
    /// As the parent says; of those without one, some.
    ParentBasedTraceIdRatio,
}

const NAMES: [(SamplerKind, &str); 6] = [
    (SamplerKind::AlwaysOn, "always_on"),
    (SamplerKind::AlwaysOff, "always_off"),
    (SamplerKind::TraceIdRatio, "traceidratio"),
    (SamplerKind::ParentBasedAlwaysOn, "parentbased_always_on"),
    (SamplerKind::ParentBasedAlwaysOff, "parentbased_always_off"),
    (SamplerKind::ParentBasedTraceIdRatio, "parentbased_traceidratio"),
];

impl FromStr for SamplerKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = NAMES.iter().find(|(_, name)| *name == text);
        found.map(|(kind, _)| *kind).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(_, name)| *name).collect();
            format!("must be one of {}", names.join(", "))
        })
    }
}

impl fmt::Display for SamplerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(kind, _)| kind == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sampler {
    /// How it is decided.
    pub kind: SamplerKind,
    /// Of those that are chosen by their ids, how many, from 0 to 1.
    pub ratio: f64,
}

impl Sampler {
    /// Whether a span of this trace is recorded; `has_parent` says whether the flag is that of a parent.
    pub(super) fn samples(self, trace: TraceContext, has_parent: bool) -> bool {
        let by_id = || {
            let trace_id = TraceId::from(trace.ids().0);
            let sampler = SdkSampler::TraceIdRatioBased(self.ratio);
            let result = sampler.should_sample(None, trace_id, "", &SpanKind::Internal, &[], &[]);
            result.decision == SamplingDecision::RecordAndSample
        };
        match self.kind {
            SamplerKind::AlwaysOn => true,
            SamplerKind::AlwaysOff => false,
            SamplerKind::TraceIdRatio => by_id(),
            _ if has_parent => trace.is_sampled(),
            SamplerKind::ParentBasedAlwaysOn => true,
            SamplerKind::ParentBasedAlwaysOff => false,
            SamplerKind::ParentBasedTraceIdRatio => by_id(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_decides_where_it_is_asked() {
        let [sampled, not] = [true, false].map(|flag| TraceContext::start().with_sampled(flag));
        for (kind, [of_sampled, of_not, alone]) in [
            (SamplerKind::AlwaysOn, [true, true, true]),
            (SamplerKind::AlwaysOff, [false, false, false]),
            (SamplerKind::ParentBasedAlwaysOn, [true, false, true]),
            (SamplerKind::ParentBasedAlwaysOff, [true, false, false]),
        ] {
            let sampler = Sampler { kind, ratio: 1.0 };
            let decided =
                [sampler.samples(sampled, true), sampler.samples(not, true), sampler.samples(not, false)];
            assert_eq!(decided, [of_sampled, of_not, alone], "{kind}");
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
    }

    #[test]
    fn of_many_traces_the_ratio_is_recorded_and_always_the_same_ones() {
        let sampler = Sampler { kind: SamplerKind::TraceIdRatio, ratio: 0.25 };
        let traces: Vec<TraceContext> = (0..10_000).map(|_| TraceContext::start()).collect();
        let chosen = traces.iter().filter(|trace| sampler.samples(**trace, false));
        // Ten standard deviations.
        assert!((2067..=2933).contains(&chosen.clone().count()), "{}", chosen.count());
        for trace in traces {
            assert_eq!(sampler.samples(trace, false), sampler.samples(trace.child(), true));
            assert!(!Sampler { ratio: 0.0, ..sampler }.samples(trace, false));
            assert!(Sampler { ratio: 1.0, ..sampler }.samples(trace, false));
        }
    }

    #[test]
    fn what_is_no_sampler_is_told_which_there_are() {
        let told = "jaeger_remote".parse::<SamplerKind>().unwrap_err();
        assert!(told.contains("always_off") && told.contains("parentbased_traceidratio"), "{told}");
    }
}
