//! Gauges that are true of one moment, written at once and then forgotten.

use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use super::{Family, Gauges};

/// See the module. It has nothing to do with what the process counts.
#[derive(Debug)]
pub struct Snapshot(PrometheusRecorder);

impl Snapshot {
    /// Empty, with what these families mean.
    #[must_use]
    pub fn of(families: &[&dyn Family]) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        families.iter().for_each(|family| family.description().describe(&recorder));
        Self(recorder)
    }

    /// Sets a gauge.
    pub fn set<const N: usize>(&self, gauges: &Gauges<N>, values: [&str; N], value: f64) {
        let labels = gauges.labels().iter().zip(values);
        let labels: Vec<Label> = labels.map(|(name, value)| Label::new(*name, value.to_owned())).collect();
        let key = Key::from_parts(gauges.description().name, labels);
        self.0.register_gauge(&key, &Metadata::new(module_path!(), Level::INFO, None)).set(value);
    }

    /// In the text format.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.handle().render()
    }
}
