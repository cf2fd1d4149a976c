//! Spans that wait to be sent: so many, and so many bytes. Those that find no room, and those that could not be sent, are
//! counted, and told of at most once a minute.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use opentelemetry::{Context, Value};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor},
};
use tracing::warn;

use super::{Endpoint, TraceSettings};
use crate::metrics::{TRACE_SPANS_DROPPED, TRACE_SPANS_SENT};

/// The most bytes of spans that wait.
const MAX_BYTES: usize = 16 << 20;

/// What a span takes besides its texts.
const OVERHEAD: usize = 512;

/// How often it is told that spans were dropped.
const TELL: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(super) struct Sender {
    waiting: Arc<Waiting>,
    batches: BatchSpanProcessor,
}

impl Sender {
    /// Starts the thread that sends.
    pub(super) fn start(
        endpoint: &Endpoint,
        settings: &TraceSettings,
        resource: &Resource,
    ) -> anyhow::Result<Self> {
        let waiting = Arc::new(Waiting::new(settings.batch.waiting, MAX_BYTES, endpoint.to_string()));
        let mut exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client(settings.timeout)?)
            .with_endpoint(endpoint.to_string())
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(settings.timeout)
            .with_headers(settings.headers.to_map())
            .build()
            .context("traces can not be sent")?;
        exporter.set_resource(resource);
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(settings.batch.waiting)
            .with_max_export_batch_size(settings.batch.members)
            .with_scheduled_delay(settings.batch.every)
            .build();
        let counting = Counting { exporter, waiting: Arc::clone(&waiting) };
        Ok(Self { waiting, batches: BatchSpanProcessor::new(counting, config) })
    }

    /// Has the span sent, if there is room for it. Never waits.
    pub(super) fn send(&self, span: SpanData) {
        if self.waiting.enter(weight(&span)) {
            self.batches.on_end(span);
        } else {
            self.waiting.has_lost("full", 1);
        }
    }

    /// Sends what waits, for so long at most.
    pub(super) fn end(&self, patience: Duration) {
        // What is left then is counted below.
        drop(self.batches.shutdown_with_timeout(patience));
        let left = self.waiting.spans.load(Ordering::Acquire) as u64;
        if left > 0 {
            self.waiting.has_lost("end", left);
        }
        self.waiting.tell_all("the process ends");
    }
}

/// A client that blocks: the thread that sends is no thread of the runtime.
fn client(timeout: Duration) -> anyhow::Result<reqwest::blocking::Client> {
    let tls = crate::guarded_http::tls()?;
    let made = std::thread::Builder::new().name("trace-client".to_owned()).spawn(move || {
        let builder = reqwest::blocking::Client::builder().timeout(timeout);
        builder.redirect(reqwest::redirect::Policy::none()).tls_backend_preconfigured(tls).build()
    })?;
    let client = made.join().map_err(|_| anyhow::anyhow!("the client for traces can not be made"))?;
    client.context("the client for traces can not be made")
}

/// About how many bytes a span has.
fn weight(span: &SpanData) -> usize {
    let text = |value: &Value| match value {
        Value::String(text) => text.as_str().len(),
        other => other.as_str().len(),
    };
    let attributes = span.attributes.iter().map(|one| 64 + one.key.as_str().len() + text(&one.value));
    let events = span.events.iter().map(|event| {
        64 + event.name.len() + event.attributes.iter().map(|one| 64 + text(&one.value)).sum::<usize>()
    });
    OVERHEAD + span.links.len() * 100 + attributes.sum::<usize>() + events.sum::<usize>()
}

/// What waits or is being sent, and what was dropped.
#[derive(Debug)]
struct Waiting {
    max: usize,
    max_bytes: usize,
    to: String,
    spans: AtomicUsize,
    bytes: AtomicUsize,
    /// Of which nobody was told.
    dropped: AtomicU64,
    told: Mutex<Option<Instant>>,
}

impl Waiting {
    fn new(max: usize, max_bytes: usize, to: String) -> Self {
        let (spans, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { max, max_bytes, to, spans, bytes, dropped: AtomicU64::new(0), told: Mutex::default() }
    }

    /// Whether there is room for one more of this weight, which it has from then on.
    fn enter(&self, weight: usize) -> bool {
        let spans = self.spans.fetch_add(1, Ordering::AcqRel);
        let bytes = self.bytes.fetch_add(weight, Ordering::AcqRel);
        let has_room = spans < self.max && bytes + weight <= self.max_bytes;
        if !has_room {
            self.leave(1, weight);
        }
        has_room
    }

    fn leave(&self, spans: usize, weight: usize) {
        self.spans.fetch_sub(spans, Ordering::AcqRel);
        self.bytes.fetch_sub(weight, Ordering::AcqRel);
    }

    fn has_lost(&self, why: &'static str, spans: u64) {
        self.dropped.fetch_add(spans, Ordering::Relaxed);
        TRACE_SPANS_DROPPED.add([why], spans);
    }

    /// Tells how many were dropped, if that was not told within the last minute.
    fn tell(&self, why: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= TELL) && self.dropped.load(Ordering::Relaxed) > 0 {
            *told = Some(Instant::now());
            drop(told);
            self.tell_all(why);
        }
    }

    fn tell_all(&self, why: &str) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            warn!(dropped, to = self.to, why, "spans were dropped");
        }
    }
}

/// Sends, and says what became of it.
#[derive(Debug)]
struct Counting<E> {
    exporter: E,
    waiting: Arc<Waiting>,
}

impl<E: SpanExporter> SpanExporter for Counting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let (spans, weight) = (batch.len(), batch.iter().map(weight).sum());
        let sent = self.exporter.export(batch).await;
        self.waiting.leave(spans, weight);
        match &sent {
            Ok(()) => {
                TRACE_SPANS_SENT.add([], spans as u64);
                self.waiting.tell("the receiver was away or too slow");
            }
            Err(error) => {
                self.waiting.has_lost("failed", spans as u64);
                self.waiting.tell(&error.to_string());
            }
        }
        sent
    }
}

/// Takes the spans of `tracing`.
#[derive(Debug)]
pub(super) struct Processor(pub(super) Arc<Sender>);

impl SpanProcessor for Processor {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.send(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    /// The end of the process sees to that.
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_in_number_and_in_bytes() {
        let waiting = Waiting::new(3, 1000, String::new());
        assert!(waiting.enter(100) && waiting.enter(800));
        assert!(!waiting.enter(101), "too many bytes");
        assert!(waiting.enter(100));
        assert!(!waiting.enter(0), "too many spans");
        waiting.leave(1, 800);
        assert!(waiting.enter(800));
    }

    #[test]
    fn what_was_dropped_is_told_once_a_minute() {
        let waiting = Waiting::new(1, 1, String::new());
        waiting.has_lost("full", 2);
        waiting.tell("");
        assert_eq!(waiting.dropped.load(Ordering::Relaxed), 0);
        waiting.has_lost("full", 3);
        waiting.tell("");
        assert_eq!(waiting.dropped.load(Ordering::Relaxed), 3);
    }
}
