//! Reads `JOB_EVENTS` in batches, applies them, then acks. Replicas share one durable consumer.

use std::time::Duration;

use async_nats::jetstream::{Message, consumer::pull};
use service_kit::{Pace, faults::gap, pace::ENOUGH, telemetry::chain};
use shared_events::{
    Broker, DecodeError, JobEvent,
    consume::{self, Reader},
    streams,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{changed::Changed, jobs::Jobs};

/// Under load, the longest time from one batch of events to the next.
pub const PACE: Duration = Duration::from_millis(30);

/// Keeps the jobs' status up to date.
pub struct Events {
    /// Where the events come from.
    pub broker: Broker,
    /// What they are applied to.
    pub jobs: Jobs,
    /// Who is told.
    pub changed: Changed,
    /// When batches are taken.
    pub pace: Pace,
}

impl Reader for Events {
    const STREAM: &'static str = streams::JOB_EVENTS;
    const BATCH: usize = 500;
    const ENOUGH: usize = ENOUGH;
    const AHEAD: usize = 2000;

    async fn definition(&self) -> Result<pull::Config, async_nats::Error> {
        Ok(streams::api_consumer(self.applied().await?.map(|applied| applied + 1)))
    }

    /// Applies a batch, however long the database is away.
    async fn take(&self, messages: &[Message]) -> Instant {
        let started = Instant::now();
        let (mut events, mut carriers, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
        for message in messages {
            match JobEvent::decode(&message.payload) {
                Ok(event) => {
                    events.push(event.data);
                    carriers.push(message);
                }
                Err(error) => unreadable.push((message, error)),
            }
        }
        let mut pause = Duration::from_millis(100);
        gap("api.events.read");
        while let Err(error) = self.apply(&events, &carriers, &unreadable).await {
            warn!(error = chain(&error), events = events.len(), "events not applied yet; trying again");
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
        gap("api.events.applied");
        self.changed.tell(&events).await;
        gap("api.events.told");
        self.pace.next(started, messages.len())
    }
}

impl Events {
    /// Reads until told to stop.
    pub async fn run(&self, stop: &CancellationToken) {
        consume::read(&self.broker, self, stop).await;
    }

    /// Up to where the stream is applied, as far as that was remembered and it is the same stream.
    async fn applied(&self) -> Result<Option<u64>, async_nats::Error> {
        let Some(known) = self.jobs.store_state(streams::JOB_EVENTS).await? else { return Ok(None) };
        let stream = self.broker.jetstream().get_stream(streams::JOB_EVENTS).await?;
        let info = stream.cached_info();
        let created_ms = info.created.unix_timestamp_nanos() / 1_000_000;
        let applied = u64::try_from(known.sequence)?;
        let same = created_ms == i128::from(known.created_ms) && applied <= info.state.last_sequence;
        Ok(same.then_some(applied))
    }

    async fn apply(
        &self,
        events: &[JobEvent],
        carriers: &[&Message],
        unreadable: &[(&Message, DecodeError)],
    ) -> Result<(), service_kit::StoreError> {
        let mongo = self.jobs.mongo();
        for (message, error) in unreadable {
            warn!(%error, subject = %message.subject, "event is not readable; put aside");
            mongo.put_aside(&message.subject, &message.payload, &error.to_string()).await?;
        }
        if events.is_empty() {
            return Ok(());
        }
        for index in self.jobs.apply(events).await?.unknown {
            let message = carriers[index];
            warn!(job.id = %events[index].run_id().job, subject = %message.subject, "event is about no known job; put aside");
            mongo.put_aside(&message.subject, &message.payload, "about no known job").await?;
        }
        Ok(())
    }
}
