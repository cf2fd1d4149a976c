//! The settings: the standard variables of the OpenTelemetry specification, as far as they are about traces.

use std::time::Duration;

use super::{
    sampler::{Sampler, SamplerKind},
    values::{Endpoint, Exporter, Headers, MAX_MS, Millis, Protocol, ResourceAttributes},
};
use crate::settings::Reader;

/// Which spans are recorded, and where they go.
#[derive(Debug, Clone, Default)]
pub struct TraceSettings {
    /// Where spans are sent; none are recorded where absent.
    pub endpoint: Option<Endpoint>,
    /// What goes along.
    pub headers: Headers,
    /// How long sending some of them may take.
    pub timeout: Duration,
    /// Which are recorded.
    pub sampler: Sampler,
    /// What the service is called, where that is not its own name.
    pub service_name: Option<String>,
    /// What is said of the process.
    pub resource: ResourceAttributes,
    /// How many are sent together.
    pub batch: BatchSettings,
}

/// How spans wait, and how many are sent together.
#[derive(Debug, Clone, Copy, Default)]
pub struct BatchSettings {
    /// The longest time between two sendings, while there is anything to send.
    pub every: Duration,
    /// The most spans that wait or are being sent.
    pub waiting: usize,
    /// The most that are sent together.
    pub members: usize,
}

impl TraceSettings {
    /// Reads all of it.
    pub fn read(from: &mut Reader) -> Self {
        let is_disabled = from
            .setting("OTEL_SDK_DISABLED", "`true`: records no spans, whatever else is set")
            .values("`true`, `false`")
            .or(false);
        let exporter = from
            .setting("OTEL_TRACES_EXPORTER", "`none`: records no spans")
            .values("`otlp`, `none`")
            .or(Exporter::default());
        let endpoint = endpoint(from);
        let _ = (protocol(from), traces_protocol(from));
        Self {
            endpoint: endpoint.filter(|_| !is_disabled && exporter == Exporter::Otlp),
            headers: headers(from),
            timeout: timeout(from),
            sampler: sampler(from),
            service_name: from
                .setting(
                    "OTEL_SERVICE_NAME",
                    "`service.name` of its spans; else `api-service` or `job-service`",
                )
                .values("a name")
                .optional(),
            resource: from
                .setting(
                    "OTEL_RESOURCE_ATTRIBUTES",
                    "what else is said of the process, such as `deployment.environment.name=prod`",
                )
                .values("`name=value`, with commas between")
                .optional()
                .unwrap_or_default(),
            batch: batch(from),
        }
    }
}

fn endpoint(from: &mut Reader) -> Option<Endpoint> {
    let of_all = from
        .setting(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "where [traces](traces.md) are sent by OTLP: to `/v1/traces` beneath it. Where neither this nor the next is set, no \
             spans are recorded",
        )
        .values("a URL, such as `http://collector:4318`")
        .optional::<Endpoint>();
    let of_traces = from
        .setting("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "the same, as the whole URL. Wins")
        .values("a URL")
        .optional();
    of_traces.or_else(|| of_all.map(Endpoint::of_all_signals))
}

fn protocol(from: &mut Reader) -> Protocol {
    from.setting("OTEL_EXPORTER_OTLP_PROTOCOL", "how they are written; there is one way")
        .values("`http/protobuf`")
        .or(Protocol)
}

fn traces_protocol(from: &mut Reader) -> Option<Protocol> {
    from.setting("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "the same").values("`http/protobuf`").optional()
}

fn headers(from: &mut Reader) -> Headers {
    let of_all = from
        .setting(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "headers that go along, such as `authorization=Bearer%20…`; a secret",
        )
        .values("`name=value`, with commas between")
        .secret_of::<Headers>();
    let of_traces = from
        .setting("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "the same. Wins")
        .values("`name=value`, with commas between")
        .secret_of();
    of_traces.or(of_all).unwrap_or_default()
}

fn timeout(from: &mut Reader) -> Duration {
    let of_all = from
        .setting(
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "how long sending some of them may take, with all tries, in ms",
        )
        .number(10_000, 1..=MAX_MS);
    let of_traces = from
        .setting("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "the same. Wins")
        .values("1 to 600,000")
        .optional::<Millis>();
    let most = from
        .setting("OTEL_BSP_EXPORT_TIMEOUT", "the most that either may be, in ms")
        .number(30_000, 1..=MAX_MS);
    Duration::from_millis(of_traces.map_or(of_all, |Millis(ms)| ms).min(most))
}

fn sampler(from: &mut Reader) -> Sampler {
    let kind = from
        .setting(
            "OTEL_TRACES_SAMPLER",
            "which traces are recorded; see [sampling](traces.md#which-traces-are-recorded)",
        )
        .values(
            "`always_on`, `always_off`, `traceidratio`, `parentbased_always_on`, `parentbased_always_off`, \
             `parentbased_traceidratio`",
        )
        .or(SamplerKind::default());
    let ratio = from
        .setting("OTEL_TRACES_SAMPLER_ARG", "of `…traceidratio`, which part of them")
        .number(1.0, 0.0..=1.0);
    Sampler { kind, ratio }
}

fn batch(from: &mut Reader) -> BatchSettings {
    let every = from
        .setting("OTEL_BSP_SCHEDULE_DELAY", "how often spans are sent, in ms; sooner where there are many")
        .number(5_000, 1..=MAX_MS);
    let waiting = from
        .setting(
            "OTEL_BSP_MAX_QUEUE_SIZE",
            "the most spans that wait or are being sent; the rest is dropped, and counted",
        )
        .number(2_048, 1..=1_000_000);
    let members = from
        .setting("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "the most that are sent together")
        .number(512, 1..=100_000_usize);
    BatchSettings { every: Duration::from_millis(every), waiting, members: members.min(waiting) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::ReadSettings;

    struct Traces(TraceSettings);

    impl ReadSettings for Traces {
        fn read(from: &mut Reader) -> Self {
            Self(TraceSettings::read(from))
        }
    }

    fn read(variables: &[(&str, &str)]) -> Result<TraceSettings, String> {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let read = Reader::from_variables(owned).unwrap().read_all::<Traces>();
        read.map(|Traces(settings)| settings).map_err(|error| error.to_string())
    }

    fn endpoint(variables: &[(&str, &str)]) -> Option<String> {
        read(variables).unwrap().endpoint.map(|endpoint| endpoint.to_string())
    }

    #[test]
    fn spans_are_recorded_where_there_is_an_endpoint_and_nobody_says_no() {
        let set = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318");
        assert_eq!(endpoint(&[]), None);
        assert_eq!(endpoint(&[set]).as_deref(), Some("http://a:4318/v1/traces"));
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b:4318/own");
        assert_eq!(endpoint(&[set, own]).as_deref(), Some("http://b:4318/own"));
        for no in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(endpoint(&[set, own, no]), None, "{no:?}");
        }
    }

    #[test]
    fn what_is_said_of_traces_wins() {
        let settings = read(&[
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "b=2"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "5000"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "7000"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "6000"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ]);
        let settings = settings.unwrap();
        assert_eq!(settings.headers.to_map(), [("b".to_owned(), "2".to_owned())].into());
        assert_eq!((settings.timeout, settings.batch.members), (Duration::from_secs(6), 100));
    }

    #[test]
    fn a_mistake_is_told_by_the_settings_name_and_without_its_value() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "hunter2"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://me:hunter2@a"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a b=hunter2"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "10s"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
            ("OTEL_SDK_DISABLED", "yes"),
            ("OTEL_RESOURCE_ATTRIBUTES", "hunter2"),
            ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "many"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "x"),
        ] {
            let told = read(&[(name, value)]).unwrap_err();
            assert!(told.starts_with(&format!("{name}: ")) && !told.contains("hunter2"), "{told}");
        }
    }
}
