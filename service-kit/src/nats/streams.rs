//! Streams and consumers on the server, made from their definitions.
//!
//! Start-up creates what is missing and leaves what is there: an operator's settings stay, and where they differ from
//! the definition it is said in the log. Two things are changed: a stream gets the subjects that it lacks, since this
//! version publishes to them, and a consumer the `ack_wait` that follows from the settings of who reads.

use std::time::Duration;

use async_nats::jetstream::{
    Context,
    consumer::{self, AckPolicy, DeliverPolicy, FromConsumer, PullConsumer, pull},
    context::{CreateStreamError, GetStreamErrorKind, UpdateStreamError},
    stream::{self, ConsumerError, ConsumerErrorKind, DiscardPolicy, RetentionPolicy, StorageType},
};
use shared_events::streams::{ConsumerDefinition, Retention, StreamDefinition};
use tracing::{info, warn};

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
    /// The server refused to give it more subjects.
    #[error("could not add subjects to stream {name}")]
    AddSubjects {
        /// The stream.
        name: &'static str,
        /// Why.
        #[source]
        source: UpdateStreamError,
    },
}

/// The server's configuration of a stream.
#[must_use]
pub fn stream_config(definition: &StreamDefinition) -> stream::Config {
    stream::Config {
        name: definition.name.to_owned(),
        subjects: definition.subjects.iter().map(|subject| (*subject).to_owned()).collect(),
        retention: match definition.retention {
            Retention::WorkQueue => RetentionPolicy::WorkQueue,
            Retention::Log => RetentionPolicy::Limits,
        },
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        num_replicas: definition.replicas,
        max_age: definition.max_age,
        max_bytes: definition.max_bytes,
        duplicate_window: definition.duplicate_window,
        ..Default::default()
    }
}

/// The server's configuration of a consumer.
#[must_use]
pub fn consumer_config(definition: &ConsumerDefinition) -> pull::Config {
    pull::Config {
        durable_name: Some(definition.name.clone()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: definition.ack_wait,
        max_deliver: -1,
        max_ack_pending: definition.max_ack_pending,
        max_waiting: definition.max_waiting.unwrap_or_default(),
        filter_subject: definition.filter_subject.clone().unwrap_or_default(),
        deliver_policy: definition
            .start_sequence
            .map_or(DeliverPolicy::All, |start_sequence| DeliverPolicy::ByStartSequence { start_sequence }),
        ..Default::default()
    }
}

/// Creates the streams that are missing.
///
/// # Errors
/// [`EnsureError`], which also comes while NATS is away: try again.
pub async fn ensure(jetstream: &Context, definitions: &[StreamDefinition]) -> Result<(), EnsureError> {
    for definition in definitions {
        let (name, config) = (definition.name, stream_config(definition));
        match jetstream.get_stream(name).await {
            Ok(stream) => {
                let found = &stream.cached_info().config;
                warn_where_different(name, found, &config);
                if let Some(more) = with_missing_subjects(found, &config) {
                    let updated = jetstream.update_stream(more).await;
                    updated.map_err(|source| EnsureError::AddSubjects { name, source })?;
                    info!(stream = name, "stream has the subjects of this version now");
                }
            }
            Err(error) if is_missing(&error.kind()) => {
                jetstream
                    .create_stream(config)
                    .await
                    .map_err(|source| EnsureError::Create { name, source })?;
                info!(stream = name, "stream created");
            }
            Err(source) => return Err(EnsureError::LookUp { name, source }),
        }
    }
    Ok(())
}

pub(crate) fn is_missing(error: &GetStreamErrorKind) -> bool {
    matches!(error, GetStreamErrorKind::JetStream(error)
        if error.error_code() == async_nats::jetstream::ErrorCode::STREAM_NOT_FOUND)
}

/// The stream's configuration with the subjects that it lacks; none where it has them all. Those of other versions stay.
fn with_missing_subjects(found: &stream::Config, wanted: &stream::Config) -> Option<stream::Config> {
    let missing: Vec<String> =
        wanted.subjects.iter().filter(|subject| !found.subjects.contains(subject)).cloned().collect();
    let subjects = [found.subjects.clone(), missing.clone()].concat();
    (!missing.is_empty()).then(|| stream::Config { subjects, ..found.clone() })
}

fn warn_where_different(name: &str, found: &stream::Config, wanted: &stream::Config) {
    let differences = differences(found, wanted);
    if !differences.is_empty() {
        let differences = differences.join("; ");
        warn!(stream = name, differences, "stream differs from this version's definition; left as it is");
    }
}

/// How a stream differs from its definition, but for subjects that are added at the start.
#[must_use]
pub fn differences(found: &stream::Config, wanted: &stream::Config) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare = |name: &str, found: String, wanted: String| {
        if found != wanted {
            differences.push(format!("{name} is {found}, and would be {wanted}"));
        }
    };
    compare("retention", format!("{:?}", found.retention), format!("{:?}", wanted.retention));
    compare("discard", format!("{:?}", found.discard), format!("{:?}", wanted.discard));
    compare("max_age", format!("{:?}", found.max_age), format!("{:?}", wanted.max_age));
    compare("max_bytes", found.max_bytes.to_string(), wanted.max_bytes.to_string());
    compare("num_replicas", found.num_replicas.to_string(), wanted.num_replicas.to_string());
    differences
}

/// How a consumer differs from its definition, but for its `ack_wait`, which is changed at the start.
#[must_use]
pub fn consumer_differences(found: &consumer::Config, definition: &ConsumerDefinition) -> Vec<String> {
    let wanted = consumer_config(definition);
    let mut differences = Vec::new();
    let mut compare = |name: &str, found: String, wanted: String| {
        if found != wanted {
            differences.push(format!("{name} is {found}, and would be {wanted}"));
        }
    };
    compare("filter_subject", found.filter_subject.clone(), wanted.filter_subject);
    compare("ack_policy", format!("{:?}", found.ack_policy), format!("{:?}", wanted.ack_policy));
    compare("max_deliver", found.max_deliver.to_string(), wanted.max_deliver.to_string());
    compare("max_ack_pending", found.max_ack_pending.to_string(), wanted.max_ack_pending.to_string());
    compare("backoff", format!("{:?}", found.backoff), format!("{:?}", wanted.backoff));
    differences
}

/// The consumer, created where it is missing and left as it is where it is not.
///
/// # Errors
/// Where the stream is missing too, or NATS is away: try again.
pub async fn consumer(
    jetstream: &Context,
    definition: &ConsumerDefinition,
) -> Result<PullConsumer, ConsumerError> {
    let (name, stream) = (definition.name.as_str(), definition.stream);
    let missing = match jetstream.get_consumer_from_stream(name, stream).await {
        Ok(consumer) => return Ok(consumer),
        Err(error) => error,
    };
    if !is_missing_consumer(&missing) {
        return Err(missing);
    }
    match jetstream.create_consumer_strict_on_stream(consumer_config(definition), stream).await {
        Ok(consumer) => {
            info!(stream, consumer = name, "consumer created");
            Ok(consumer)
        }
        // Another replica was faster.
        Err(_) => jetstream.get_consumer_from_stream(name, stream).await,
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
    let config = pull::Config::try_from_consumer_config(config)?;
    Ok(jetstream.update_consumer_on_stream(config, info.stream_name.as_str()).await?)
}

fn is_missing_consumer(error: &ConsumerError) -> bool {
    matches!(error.kind(), ConsumerErrorKind::JetStream(error)
        if error.error_code() == async_nats::jetstream::ErrorCode::CONSUMER_NOT_FOUND)
}

#[cfg(test)]
mod tests {
    use shared_events::streams::{self, StreamSettings};

    use super::*;

    #[test]
    fn nothing_is_dropped_to_make_room() {
        for definition in streams::definitions(&StreamSettings::default()) {
            assert_eq!(stream_config(&definition).discard, DiscardPolicy::New, "{}", definition.name);
        }
    }

    #[test]
    fn a_stream_gets_the_subjects_that_it_lacks_and_keeps_the_others() {
        let of = |subjects: &[&str]| stream::Config {
            subjects: subjects.iter().map(|subject| (*subject).to_owned()).collect(),
            max_bytes: 7,
            ..Default::default()
        };
        let wanted = stream::Config { max_bytes: 8, ..of(&["a.*", "b.*"]) };
        assert_eq!(with_missing_subjects(&of(&["b.*", "a.*", "newer.*"]), &wanted), None);
        let changed = with_missing_subjects(&of(&["b.*", "newer.*"]), &wanted);
        assert_eq!(changed, Some(of(&["b.*", "newer.*", "a.*"])));
    }

    #[test]
    fn a_stream_that_differs_is_told_by_what_does() {
        let definition = &streams::definitions(&StreamSettings::default())[0];
        let wanted = stream_config(definition);
        assert_eq!(differences(&wanted, &wanted), Vec::<String>::new());
        let other = stream::Config { max_bytes: 7, subjects: Vec::new(), ..wanted.clone() };
        assert_eq!(
            differences(&other, &wanted),
            [format!("max_bytes is 7, and would be {}", wanted.max_bytes)]
        );
    }

    #[test]
    fn a_message_is_delivered_again_until_it_is_acked() {
        let config = consumer_config(&streams::control_consumer());
        assert_eq!((config.max_deliver, config.backoff), (-1, Vec::new()));
    }
}
