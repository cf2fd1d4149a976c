//! The streams and consumers: the one place that defines them.
//!
//! Start-up creates what is missing and does not change what is there: an operator's settings stay,
//! and where they differ from these it is said in the log. Only the workers' `ack_wait` follows their lease.

use std::time::Duration;

use async_nats::jetstream::{
    Context,
    consumer::{self, AckPolicy, DeliverPolicy, FromConsumer, IntoConsumerConfig, PullConsumer},
    context::{CreateStreamError, GetStreamErrorKind},
    stream::{self, ConsumerError, ConsumerErrorKind, DiscardPolicy, RetentionPolicy, StorageType},
};
use tracing::{info, warn};

use crate::{Priority, Queue, subjects};

/// The work queue of announced runs.
pub const JOBS: &str = "JOBS";
/// The log of what became of them.
pub const JOB_EVENTS: &str = "JOB_EVENTS";
/// The work queue of cancel requests.
pub const JOB_CONTROL: &str = "JOB_CONTROL";

/// The api-service's consumer of [`JOB_EVENTS`].
pub const API_CONSUMER: &str = "api-service";
/// The job-service's consumer of [`JOB_CONTROL`].
pub const CONTROL_CONSUMER: &str = "job-service";

const DAY: Duration = Duration::from_secs(86_400);

/// How long a message stays in a stream.
pub const MAX_AGE: Duration = Duration::from_secs(7 * 86_400);

/// An announcement older than this is acked and not run: the ledger's memory of it may be gone.
pub const STALE_AFTER: Duration = Duration::from_secs(8 * 86_400);

/// What an operator may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSettings {
    /// Copies of each stream: 1, or 3 on a cluster.
    pub replicas: usize,
    /// The most bytes that `JOBS` may hold.
    pub jobs_max_bytes: i64,
    /// The most bytes that `JOB_EVENTS` may hold.
    pub events_max_bytes: i64,
    /// The most bytes that `JOB_CONTROL` may hold.
    pub control_max_bytes: i64,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self { replicas: 1, jobs_max_bytes: 2 << 30, events_max_bytes: 2 << 30, control_max_bytes: 256 << 20 }
    }
}

/// A stream was not there and could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EnsureError {
    /// Whether it is there could not be learnt.
    #[error("could not look up stream {name}")]
    LookUp {
        /// The stream.
        name: &'static str,
        /// Why.
        #[source]
        source: async_nats::jetstream::context::GetStreamError,
    },
    /// The server refused to make it.
    #[error("could not create stream {name}")]
    Create {
        /// The stream.
        name: &'static str,
        /// Why.
        #[source]
        source: CreateStreamError,
    },
}

/// The definitions of all streams.
#[must_use]
pub fn definitions(settings: &StreamSettings) -> [(&'static str, stream::Config); 3] {
    let common = |name: &str, subjects: &[&str]| stream::Config {
        name: name.to_owned(),
        subjects: subjects.iter().map(|subject| (*subject).to_owned()).collect(),
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        num_replicas: settings.replicas,
        max_age: MAX_AGE,
        ..Default::default()
    };
    let jobs = stream::Config {
        retention: RetentionPolicy::WorkQueue,
        max_bytes: settings.jobs_max_bytes,
        duplicate_window: Duration::from_secs(10),
        ..common(JOBS, &[subjects::ALL_CREATED])
    };
    let events = stream::Config {
        retention: RetentionPolicy::Limits,
        max_bytes: settings.events_max_bytes,
        // No event carries a Nats-Msg-Id; the server insists on some window.
        duplicate_window: Duration::from_secs(1),
        ..common(JOB_EVENTS, &subjects::ALL_EVENTS)
    };
    let control = stream::Config {
        retention: RetentionPolicy::WorkQueue,
        max_bytes: settings.control_max_bytes,
        duplicate_window: Duration::from_secs(1),
        ..common(JOB_CONTROL, &[subjects::ALL_CANCEL])
    };
    [(JOBS, jobs), (JOB_EVENTS, events), (JOB_CONTROL, control)]
}

/// Creates the streams that are missing.
///
/// # Errors
/// [`EnsureError`], which also comes while NATS is away: try again.
pub async fn ensure(jetstream: &Context, settings: &StreamSettings) -> Result<(), EnsureError> {
    for (name, definition) in definitions(settings) {
        match jetstream.get_stream(name).await {
            Ok(stream) => warn_where_different(name, &stream.cached_info().config, &definition),
            Err(error) if is_missing(&error.kind()) => {
                jetstream
                    .create_stream(definition)
                    .await
                    .map_err(|source| EnsureError::Create { name, source })?;
                info!(stream = name, "stream created");
            }
            Err(source) => return Err(EnsureError::LookUp { name, source }),
        }
    }
    Ok(())
}

fn is_missing(error: &GetStreamErrorKind) -> bool {
    matches!(error, GetStreamErrorKind::JetStream(error)
        if error.error_code() == async_nats::jetstream::ErrorCode::STREAM_NOT_FOUND)
}

fn warn_where_different(name: &str, found: &stream::Config, wanted: &stream::Config) {
    let same = found.retention == wanted.retention
        && found.discard == wanted.discard
        && found.subjects == wanted.subjects
        && found.max_age == wanted.max_age
        && found.max_bytes == wanted.max_bytes
        && found.num_replicas == wanted.num_replicas;
    if !same {
        warn!(stream = name, ?found, "stream differs from this version's definition; left as it is");
    }
}

/// A consumer of `stream`, created where it is missing and left as it is where it is not.
///
/// # Errors
/// Where the stream is missing too, or NATS is away: try again.
pub async fn consumer<C: IntoConsumerConfig + FromConsumer + Clone>(
    jetstream: &Context,
    stream: &'static str,
    definition: C,
) -> Result<consumer::Consumer<C>, ConsumerError> {
    let name = definition.clone().into_consumer_config().durable_name.unwrap_or_default();
    let missing = match jetstream.get_consumer_from_stream(name.as_str(), stream).await {
        Ok(consumer) => return Ok(consumer),
        Err(error) => error,
    };
    if !is_missing_consumer(&missing) {
        return Err(missing);
    }
    match jetstream.create_consumer_strict_on_stream(definition, stream).await {
        Ok(consumer) => {
            info!(stream, consumer = name, "consumer created");
            Ok(consumer)
        }
        // Another replica was faster.
        Err(_) => jetstream.get_consumer_from_stream(name.as_str(), stream).await,
    }
}

/// The same consumer with this `ack_wait`, which follows from the settings of who reads; the rest stays as it is.
///
/// # Errors
/// Where the stream is missing, or NATS is away: try again.
pub async fn with_ack_wait(
    jetstream: &Context,
    consumer: PullConsumer,
    ack_wait: Duration,
) -> Result<PullConsumer, async_nats::Error> {
    let info = consumer.cached_info();
    if info.config.ack_wait == ack_wait {
        return Ok(consumer);
    }
    info!(
        consumer = info.name,
        was_s = info.config.ack_wait.as_secs_f64(),
        ack_wait_s = ack_wait.as_secs_f64(),
        "ack wait changed"
    );
    let config = consumer::Config { ack_wait, ..info.config.clone() };
    let config = consumer::pull::Config::try_from_consumer_config(config)?;
    Ok(jetstream.update_consumer_on_stream(config, info.stream_name.as_str()).await?)
}

/// Whether the error says that there is no such consumer.
#[must_use]
pub fn is_missing_consumer(error: &ConsumerError) -> bool {
    matches!(error.kind(), ConsumerErrorKind::JetStream(error)
        if error.error_code() == async_nats::jetstream::ErrorCode::CONSUMER_NOT_FOUND)
}

/// The name of the consumer that workers of a queue share for one priority.
#[must_use]
pub fn worker_consumer_name(queue: &Queue, priority: Priority) -> String {
    format!("workers-{queue}-{priority}")
}

/// The consumer that workers of a queue share for one priority: that is the queue group.
///
/// `ack_wait` is after how long the broker delivers an announcement again that its worker has neither acked nor given
/// back.
#[must_use]
pub fn worker_consumer(queue: &Queue, priority: Priority, ack_wait: Duration) -> consumer::pull::Config {
    consumer::pull::Config {
        durable_name: Some(worker_consumer_name(queue, priority)),
        ack_policy: AckPolicy::Explicit,
        ack_wait,
        max_deliver: -1,
        max_ack_pending: 100_000,
        max_waiting: 10_000,
        filter_subject: subjects::created(queue, priority),
        ..Default::default()
    }
}

/// The consumer by which the api-service reads [`JOB_EVENTS`], from `start` where it is known up
/// to where they were applied, else from the first.
#[must_use]
pub fn api_consumer(start: Option<u64>) -> consumer::pull::Config {
    consumer::pull::Config {
        durable_name: Some(API_CONSUMER.to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(10),
        max_deliver: -1,
        max_ack_pending: 50_000,
        deliver_policy: start
            .map_or(DeliverPolicy::All, |start_sequence| DeliverPolicy::ByStartSequence { start_sequence }),
        ..Default::default()
    }
}

/// The consumer by which workers read [`JOB_CONTROL`].
#[must_use]
pub fn control_consumer() -> consumer::pull::Config {
    consumer::pull::Config {
        durable_name: Some(CONTROL_CONSUMER.to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(10),
        max_deliver: -1,
        max_ack_pending: 50_000,
        ..Default::default()
    }
}

/// How long a job is kept after its end, unless the operator chooses otherwise.
pub const RETENTION: Duration = Duration::from_secs(30 * 86_400);

/// How long a ledger keeps the record of a run after its end, where jobs are kept for `retention` after theirs: longer
/// than that, and longer than an announcement of the run can come and be accepted, which would run it again.
#[must_use]
pub fn ledger_retention(retention: Duration) -> Duration {
    retention.max(STALE_AFTER) + DAY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_gone_before_it_is_stale_and_the_ledger_remembers_longer() {
        for kept in [Duration::from_secs(1), MAX_AGE, STALE_AFTER, RETENTION] {
            let ledger = ledger_retention(kept);
            assert!(MAX_AGE < STALE_AFTER && STALE_AFTER < ledger && kept < ledger, "{kept:?}");
        }
    }

    #[test]
    fn nothing_is_dropped_to_make_room() {
        for (name, definition) in definitions(&StreamSettings::default()) {
            assert_eq!(definition.discard, DiscardPolicy::New, "{name}");
            assert!(definition.max_bytes > 0, "{name}");
        }
    }

    #[test]
    fn each_priority_has_a_queue_group_of_its_own() {
        let queue = Queue::default();
        let config = worker_consumer(&queue, Priority::Low, Duration::from_secs(30));
        assert_eq!(config.durable_name.as_deref(), Some("workers-default-low"));
        assert_eq!(config.filter_subject, "job:created.default.low");
        assert_eq!(config.max_deliver, -1);
        assert!(config.backoff.is_empty());
    }
}
