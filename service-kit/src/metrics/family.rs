//! Metrics that differ in their labels' values alone. A metric is made when its values are first counted; from then on it is
//! found again by them.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{PoisonError, RwLock},
};

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};

use super::exporter::is_on;

/// What there is to count, by these labels. Their values have to be few: see [`super::Names`] for those that clients choose.
pub struct Labelled<M, const N: usize> {
    description: Description,
    labels: [&'static str; N],
    known: RwLock<BTreeMap<[&'static str; N], M>>,
}

/// Counts what happens.
pub type Counters<const N: usize> = Labelled<Counter, N>;
/// What holds at the moment.
pub type Gauges<const N: usize> = Labelled<Gauge, N>;
/// How values are distributed.
pub type Histograms<const N: usize> = Labelled<Histogram, N>;

/// What the documentation says of it.
#[derive(Debug, Clone, Copy)]
pub struct Description {
    /// Its name, with its unit.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// What it means, in Markdown.
    pub help: &'static str,
    /// The bounds of a histogram.
    pub bounds: &'static [f64],
}

impl Description {
    /// As Prometheus shows it: without the marks of Markdown.
    pub(super) fn describe(&self, recorder: &dyn Recorder) {
        let (name, help) = (self.name.into(), self.help.replace('`', "").into());
        match self.kind {
            COUNTER => recorder.describe_counter(name, None, help),
            GAUGE => recorder.describe_gauge(name, None, help),
            _ => recorder.describe_histogram(name, None, help),
        }
    }
}

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";
const HISTOGRAM: &str = "histogram";

/// Any family of metrics.
pub trait Family: Sync {
    /// What it is.
    fn description(&self) -> Description;

    /// The names of its labels.
    fn labels(&self) -> &[&'static str];
}

impl<M: Sync + Send, const N: usize> Family for Labelled<M, N> {
    fn description(&self) -> Description {
        self.description
    }

    fn labels(&self) -> &[&'static str] {
        &self.labels
    }
}

impl<M, const N: usize> fmt::Debug for Labelled<M, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Labelled").field(&self.description).finish()
    }
}

impl<M: Clone, const N: usize> Labelled<M, N> {
    const fn of(
        kind: &'static str,
        name: &'static str,
        labels: [&'static str; N],
        bounds: &'static [f64],
        help: &'static str,
    ) -> Self {
        let description = Description { name, kind, help, bounds };
        Self { description, labels, known: RwLock::new(BTreeMap::new()) }
    }

    /// The metric with these values, where anybody counts.
    fn get(
        &self,
        values: [&'static str; N],
        register: fn(&dyn Recorder, &Key, &Metadata<'_>) -> M,
    ) -> Option<M> {
        if !is_on() {
            return None;
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(metric) = known.get(&values) {
            return Some(metric.clone());
        }
        drop(known);
        let labels = self.labels.iter().zip(values);
        let labels: Vec<Label> = labels.map(|(name, value)| Label::new(*name, value)).collect();
        let key = Key::from_parts(self.description.name, labels);
        let metadata = Metadata::new(module_path!(), Level::INFO, None);
        let metric = metrics::with_recorder(|recorder| register(recorder, &key, &metadata));
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        Some(known.entry(values).or_insert(metric).clone())
    }
}

impl<const N: usize> Counters<N> {
    /// Counters by these labels; the name ends with `_total`.
    #[must_use]
    pub const fn counters(name: &'static str, labels: [&'static str; N], help: &'static str) -> Self {
        Self::of(COUNTER, name, labels, &[], help)
    }

    /// Adds to one of them.
    pub fn add(&self, values: [&'static str; N], more: u64) {
        if let Some(counter) =
            self.get(values, |recorder, key, metadata| recorder.register_counter(key, metadata))
        {
            counter.increment(more);
        }
    }

    /// Raises one of them to what something else has counted.
    pub fn raise_to(&self, values: [&'static str; N], total: u64) {
        if let Some(counter) =
            self.get(values, |recorder, key, metadata| recorder.register_counter(key, metadata))
        {
            counter.absolute(total);
        }
    }
}

impl<const N: usize> Gauges<N> {
    /// Gauges by these labels.
    #[must_use]
    pub const fn gauges(name: &'static str, labels: [&'static str; N], help: &'static str) -> Self {
        Self::of(GAUGE, name, labels, &[], help)
    }

    /// Sets one of them.
    pub fn set(&self, values: [&'static str; N], value: f64) {
        if let Some(gauge) =
            self.get(values, |recorder, key, metadata| recorder.register_gauge(key, metadata))
        {
            gauge.set(value);
        }
    }
}

impl<const N: usize> Histograms<N> {
    /// Histograms by these labels.
    #[must_use]
    pub const fn histograms(
        name: &'static str,
        labels: [&'static str; N],
        bounds: &'static [f64],
        help: &'static str,
    ) -> Self {
        Self::of(HISTOGRAM, name, labels, bounds, help)
    }

    /// Adds a value to one of them.
    pub fn record(&self, values: [&'static str; N], value: f64) {
        if let Some(histogram) =
            self.get(values, |recorder, key, metadata| recorder.register_histogram(key, metadata))
        {
            histogram.record(value);
        }
    }
}
