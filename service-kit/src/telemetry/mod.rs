//! Logs: one JSON object a line, or readable text on a terminal; besides, the same JSON over TCP and into files. And
//! [`traces`].
//!
//! What goes over TCP or into files waits in a queue of bounded size for a thread of its own: whoever logs never waits.

mod files;
mod lines;
mod queue;
mod tcp;
pub mod traces;

pub use tcp::Receiver;
pub use traces::TraceSettings;

use std::{fmt, io::IsTerminal, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use anyhow::Context;
use opentelemetry_sdk::trace::SdkTracer;
use tracing::Level;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, LevelFilter, filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use lines::Lines;
use queue::Queue;
use traces::Traces;

/// The most bytes that wait for the receiver, and for the files.
const QUEUE_BYTES: usize = 8 << 20;

/// How long the end of the process waits for lines to be sent and written.
const FLUSH: Duration = Duration::from_secs(2);

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err("must be one of auto, json, text"),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Json => "json",
            Self::Text => "text",
        })
    }
}

/// Which lines to log, such as `info` or `info,job=debug`; the syntax of `tracing_subscriber::EnvFilter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for LogFilter {
    type Err = tracing_subscriber::filter::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        EnvFilter::builder().parse(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An error with its sources, for one log field: `what was done: why: why`.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// How, and where, lines are logged.
#[derive(Debug, Clone, Default)]
pub struct LogSettings {
    /// Which lines.
    pub filter: LogFilter,
    /// How they look on standard output.
    pub format: LogFormat,
    /// Where else they go, as JSON.
    pub tcp: Option<Receiver>,
    /// A folder with a file for each day, as JSON.
    pub dir: Option<PathBuf>,
    /// How many of these files are kept at least.
    pub dir_days: usize,
}

/// Lines go over TCP and into files, and spans to their receiver, as long as this lives. When it is dropped, what waits is
/// sent and written, within two seconds each.
#[must_use]
#[derive(Debug)]
pub struct Telemetry {
    /// The first to end: what it says of that is logged.
    _traces: Option<Traces>,
    _logs: Logs,
}

#[derive(Debug)]
struct Logs(Vec<Arc<Queue>>);

impl Drop for Logs {
    fn drop(&mut self) {
        self.0.iter().for_each(|queue| queue.close(FLUSH));
        self.0.iter().for_each(|queue| queue.wait_for_end());
    }
}

/// What is logged and recorded.
type AnyLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging to standard output, and to where `settings` say, and recording spans, for this service. Only the first call
/// in a process counts.
///
/// # Errors
/// Where there can be no file, or TLS can not be set up.
pub fn start(
    settings: &LogSettings,
    traces: &TraceSettings,
    service: &'static str,
) -> anyhow::Result<Telemetry> {
    let LogSettings { filter, format, tcp, dir, dir_days } = settings;
    let filter = EnvFilter::builder().parse_lossy(&filter.0);
    let is_terminal = std::io::stdout().is_terminal();
    let is_json = match format {
        LogFormat::Auto => !is_terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let mut queues = Vec::new();
    if let Some(to) = tcp {
        let tls = if to.is_tls() { Some(Arc::new(crate::guarded_http::tls()?)) } else { None };
        queues.push(tcp::start(to.clone(), tls, QUEUE_BYTES).context("LOG_TCP")?);
    }
    if let Some(dir) = dir {
        queues.push(files::start(dir, service, *dir_days, QUEUE_BYTES).context("LOG_DIR")?);
    }
    let mut layers: Vec<AnyLayer> = Vec::new();
    if !is_json {
        layers.push(tracing_subscriber::fmt::layer().with_ansi(is_terminal).boxed());
    }
    if is_json || !queues.is_empty() {
        layers.push(json(Lines::to(queues.clone(), is_json)));
    }
    let (traces, tracer) = traces::start(traces, service)?.unzip();
    // A test that starts several services in one process logs through the first.
    match tracer {
        None => drop(tracing_subscriber::registry().with(layers).with(filter).try_init()),
        Some(tracer) => {
            let layers = vec![lines_alone(layers, filter), spans(tracer)];
            drop(tracing_subscriber::registry().with(layers).try_init());
        }
    }
    Ok(Telemetry { _traces: traces, _logs: Logs(queues) })
}

/// The filter decides about lines, and not about spans that are sent; and those are in no line.
fn lines_alone(layers: Vec<AnyLayer>, filter: EnvFilter) -> AnyLayer {
    let is_ours =
        |metadata: &tracing::Metadata<'_>| metadata.is_span() && metadata.target() == traces::TARGET;
    layers.with_filter(filter.and(filter_fn(move |metadata| !is_ours(metadata)))).boxed()
}

/// Has the spans of `tracing` sent, from the level `info` on.
fn spans(tracer: SdkTracer) -> AnyLayer {
    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_context_activation(false)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    let are_spans = filter_fn(|metadata| metadata.is_span() && *metadata.level() <= Level::INFO);
    spans.with_filter(are_spans.with_max_level_hint(LevelFilter::INFO)).boxed()
}

/// One JSON object a line.
fn json(lines: Lines) -> AnyLayer {
    let layer = tracing_subscriber::fmt::layer().json().flatten_event(true);
    layer.with_current_span(false).with_span_list(false).with_writer(lines).boxed()
}
