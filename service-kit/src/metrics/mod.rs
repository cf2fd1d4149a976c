//! Metrics for Prometheus. Each is declared where it is counted, as a static [`Counters`], [`Gauges`] or [`Histograms`]; the
//! documentation's table is made of the same declarations. While nobody asked for metrics (`METRICS_ADDR`), nothing is counted
//! and that costs nothing.

mod exporter;
mod family;
mod names;
mod own;
mod runtime;
mod snapshot;

pub use exporter::{at_scrape, is_on, start};
pub use family::{Counters, Description, Family, Gauges, Histograms};
pub use names::Names;
pub use own::{
    BROKER_CONNECTS, BROKER_PUBLISH_SECONDS, BROKER_PUBLISHES, DATABASE_CONNECTIONS, DATABASE_FAILURES,
    DATABASE_SECONDS, FAMILIES, GROUP_MEMBERS, LOG_LINES_DROPPED, TRACE_SPANS_DROPPED, TRACE_SPANS_SENT,
    connected,
};
pub use snapshot::Snapshot;

/// The format that Prometheus reads.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Bounds for how long a request, a command or a publish takes, in seconds.
pub const QUICK: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Bounds for how long jobs wait and run, in seconds.
pub const LONG: &[f64] =
    &[0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0];

/// Bounds for how many share something.
pub const MEMBERS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1000.0];
