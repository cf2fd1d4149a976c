//! Traces: spans of what is done, sent by OTLP to whatever receives them.
//!
//! Off unless there is an endpoint, and then free: whoever would record a span asks [`is_on`] first, which is one load. On,
//! a span waits in a queue of bounded size for a thread of its own: whoever records one never waits.
//!
//! A span is recorded when it is over ([`Span`], [`Group`]), so that what is done for many at once can be told of each of
//! them; only an attempt is a live one ([`Live`]), since what its handler does may have spans of its own. The
//! [`TraceContext`] that goes on with a job is that of a recorded span, so that whatever comes later finds its parent.

mod group;
mod live;
mod sampler;
mod sender;
mod settings;
mod span;
mod values;

pub use group::Group;
pub use live::{Live, TARGET};
pub use opentelemetry::KeyValue;
pub use sampler::{Sampler, SamplerKind};
pub use settings::{BatchSettings, TraceSettings};
pub use span::{Begun, Kind, Span, SpanType, begin};
pub use values::{Endpoint, Headers, ResourceAttributes};

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use opentelemetry::{InstrumentationScope, trace::TracerProvider};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider},
};
use shared_events::{TraceContext, ids::host_name};

use sender::{Processor, Sender};

/// How long the end of the process waits for spans to be sent.
const FLUSH: Duration = Duration::from_secs(2);

/// What all of these spans are said to be made by.
const SCOPE: &str = "hasty";

static IS_ON: AtomicBool = AtomicBool::new(false);
static PIPELINE: OnceLock<Pipeline> = OnceLock::new();

/// Where spans go, and which.
struct Pipeline {
    sender: Arc<Sender>,
    sampler: Sampler,
    scope: InstrumentationScope,
}

/// Whether any spans are recorded.
#[must_use]
pub fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

fn pipeline() -> Option<&'static Pipeline> {
    if is_on() { PIPELINE.get() } else { None }
}

/// A span of the parent's trace, or of a new one, that says whether it is recorded.
#[must_use]
pub fn enter(parent: Option<TraceContext>) -> TraceContext {
    let next = parent.map_or_else(TraceContext::start, TraceContext::child);
    match pipeline() {
        Some(pipeline) => next.with_sampled(pipeline.sampler.samples(next, parent.is_some())),
        None => next,
    }
}

/// A span beneath this one; none where it is not recorded.
#[must_use]
pub fn beneath(parent: Option<TraceContext>) -> Option<TraceContext> {
    let (pipeline, parent) = (pipeline()?, parent?);
    pipeline.sampler.samples(parent, true).then(|| parent.child().with_sampled(true))
}

/// Spans are sent as long as this lives. When it is dropped, what waits is sent, within two seconds.
#[must_use]
#[derive(Debug)]
pub(super) struct Traces(Arc<Sender>);

impl Drop for Traces {
    fn drop(&mut self) {
        IS_ON.store(false, Ordering::Relaxed);
        self.0.end(FLUSH);
    }
}

/// Begins to record spans, where the settings say where to; with what makes them of live ones. Only the first call in a
/// process counts.
///
/// # Errors
/// Where TLS can not be set up.
pub(super) fn start(
    settings: &TraceSettings,
    service: &'static str,
) -> anyhow::Result<Option<(Traces, SdkTracer)>> {
    let Some(endpoint) = &settings.endpoint else { return Ok(None) };
    let sender = Arc::new(Sender::start(endpoint, settings, &resource(settings, service))?);
    let scope = InstrumentationScope::builder(SCOPE).with_version(env!("CARGO_PKG_VERSION")).build();
    let pipeline = Pipeline { sender: Arc::clone(&sender), sampler: settings.sampler, scope: scope.clone() };
    if PIPELINE.set(pipeline).is_err() {
        return Ok(None);
    }
    // What has no recorded parent belongs to no job.
    let provider = SdkTracerProvider::builder()
        .with_span_processor(Processor(Arc::clone(&sender)))
        .with_sampler(opentelemetry_sdk::trace::Sampler::ParentBased(Box::new(
            opentelemetry_sdk::trace::Sampler::AlwaysOff,
        )))
        .build();
    IS_ON.store(true, Ordering::Relaxed);
    Ok(Some((Traces(sender), provider.tracer_with_scope(scope))))
}

/// Who records the spans. What the settings say wins.
fn resource(settings: &TraceSettings, service: &'static str) -> Resource {
    let (host, process) = (host_name(), std::process::id());
    let own = [
        KeyValue::new("service.namespace", "hasty"),
        KeyValue::new("service.name", service),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", format!("{host}-{process}")),
        KeyValue::new("host.name", host),
        KeyValue::new("process.pid", i64::from(process)),
    ];
    let named = settings.service_name.clone().map(|name| KeyValue::new("service.name", name));
    Resource::builder_empty()
        .with_attributes(own)
        .with_attributes(settings.resource.attributes())
        .with_attributes(named)
        .build()
}
