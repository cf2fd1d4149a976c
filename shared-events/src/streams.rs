//! The streams and consumers: the one place that defines them, as data. Who connects makes them from it.

use std::time::Duration;

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

/// When a message leaves a stream, besides by its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// When it is acked.
    WorkQueue,
    /// When somebody removes it.
    Log,
}

/// A stream. It is kept in files, and refuses new messages when it is full: none is dropped to make room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamDefinition {
    /// Its name.
    pub name: &'static str,
    /// The subjects whose messages it stores.
    pub subjects: Vec<&'static str>,
    /// When a message leaves it.
    pub retention: Retention,
    /// The most bytes that it may hold.
    pub max_bytes: i64,
    /// How long a message stays in it at most.
    pub max_age: Duration,
    /// Within which time a message of the same `Nats-Msg-Id` is a duplicate.
    pub duplicate_window: Duration,
    /// Copies of it.
    pub replicas: usize,
}

/// A durable pull consumer with explicit acks, of which a message is delivered again without limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerDefinition {
    /// The stream.
    pub stream: &'static str,
    /// Its name.
    pub name: String,
    /// The subject of the messages that it delivers; all where there is none.
    pub filter_subject: Option<String>,
    /// After how long the broker delivers a message again that was neither acked nor given back.
    pub ack_wait: Duration,
    /// The most messages that may be delivered and not acked.
    pub max_ack_pending: i64,
    /// The most pulls that may wait; the broker's default where there is none.
    pub max_waiting: Option<i64>,
    /// The sequence that it starts with; the stream's first where there is none.
    pub start_sequence: Option<u64>,
}

/// The definitions of all streams.
#[must_use]
pub fn definitions(settings: &StreamSettings) -> [StreamDefinition; 3] {
    let StreamSettings { replicas, jobs_max_bytes, events_max_bytes, control_max_bytes } = *settings;
    // Only announcements carry a Nats-Msg-Id; the server insists on some window.
    let no_ids = Duration::from_secs(1);
    [
        StreamDefinition {
            name: JOBS,
            subjects: vec![subjects::ALL_CREATED],
            retention: Retention::WorkQueue,
            max_bytes: jobs_max_bytes,
            max_age: MAX_AGE,
            duplicate_window: Duration::from_secs(10),
            replicas,
        },
        StreamDefinition {
            name: JOB_EVENTS,
            subjects: subjects::ALL_EVENTS.to_vec(),
            retention: Retention::Log,
            max_bytes: events_max_bytes,
            max_age: MAX_AGE,
            duplicate_window: no_ids,
            replicas,
        },
        StreamDefinition {
            name: JOB_CONTROL,
            subjects: vec![subjects::ALL_CANCEL],
            retention: Retention::WorkQueue,
            max_bytes: control_max_bytes,
            max_age: MAX_AGE,
            duplicate_window: no_ids,
            replicas,
        },
    ]
}

/// The name of the consumer that workers of a queue share for one priority.
#[must_use]
pub fn worker_consumer_name(queue: &Queue, priority: Priority) -> String {
    format!("workers-{queue}-{priority}")
}

/// The consumer that workers of a queue share for one priority: that is the queue group.
#[must_use]
pub fn worker_consumer(queue: &Queue, priority: Priority, ack_wait: Duration) -> ConsumerDefinition {
    ConsumerDefinition {
        stream: JOBS,
        name: worker_consumer_name(queue, priority),
        filter_subject: Some(subjects::created(queue, priority)),
        ack_wait,
        max_ack_pending: 100_000,
        max_waiting: Some(10_000),
        start_sequence: None,
    }
}

/// The consumer by which the api-service reads [`JOB_EVENTS`], from `start_sequence` where it is known up
/// to where they were applied, else from the first.
#[must_use]
pub fn api_consumer(start_sequence: Option<u64>) -> ConsumerDefinition {
    ConsumerDefinition {
        stream: JOB_EVENTS,
        name: API_CONSUMER.to_owned(),
        filter_subject: None,
        ack_wait: Duration::from_secs(10),
        max_ack_pending: 50_000,
        max_waiting: None,
        start_sequence,
    }
}

/// The consumer by which workers read [`JOB_CONTROL`].
#[must_use]
pub fn control_consumer() -> ConsumerDefinition {
    ConsumerDefinition {
        stream: JOB_CONTROL,
        name: CONTROL_CONSUMER.to_owned(),
        filter_subject: None,
        ack_wait: Duration::from_secs(10),
        max_ack_pending: 50_000,
        max_waiting: None,
        start_sequence: None,
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
    fn every_stream_is_bounded() {
        for definition in definitions(&StreamSettings::default()) {
            assert!(definition.max_bytes > 0 && !definition.max_age.is_zero(), "{}", definition.name);
        }
    }

    #[test]
    fn each_priority_has_a_queue_group_of_its_own() {
        let queue = Queue::default();
        let config = worker_consumer(&queue, Priority::Low, Duration::from_secs(30));
        assert_eq!(config.name, "workers-default-low");
        assert_eq!(config.filter_subject.as_deref(), Some("job:created.default.low"));
    }
}
