//! Reads `JOB_EVENTS` in batches, applies them, then acks. Replicas share one durable consumer.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{Message, consumer::pull};
use service_kit::{
    Pace, StoreError,
    dead_letters::{DeadLetter, Reason, TakeUp, TakenUp},
    faults::gap,
    messages::{MessageReader, Origin, Sorted},
    pace::ENOUGH,
    telemetry::chain,
};
use shared_events::{
    Broker, JobEvent, batch,
    consume::{self, Reader, Taken},
    streams,
    unreadable::Decision,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    changed::Changed, jobs::Jobs, room::Applied, stream_order::StreamOrder, unmatched::UnmatchedEvents,
};

/// Under load, the longest time from one batch of events to the next.
pub const PACE: Duration = Duration::from_millis(30);

/// Why an event that can be read is not applied, nor lost.
const UNREADABLE_JOB: &str = "about a job whose status this version does not know";

/// Keeps the jobs' status up to date.
pub struct Events {
    /// Where the events come from.
    pub broker: Broker,
    /// What they are applied to.
    pub jobs: Jobs,
    /// Who is told.
    pub changed: Changed,
    /// Who makes room in the stream.
    pub applied: Arc<Applied>,
    /// When batches are taken.
    pub pace: Pace,
    /// How messages are read.
    pub messages: MessageReader,
    /// Whether sequences and times agree.
    pub order: StreamOrder,
    /// How many events changed nothing since their job is not there.
    pub unmatched: UnmatchedEvents,
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
    async fn take(&self, messages: &[Message]) -> Taken {
        let started = Instant::now();
        self.order.check(messages);
        let mut sorted = self.messages.sort(messages, |body| JobEvent::decode(body).map(|event| event.data));
        let mut pause = Duration::from_millis(100);
        gap("api.events.read");
        while let Err(error) = self.apply(messages, &mut sorted).await {
            warn!(
                error = chain(&error),
                events = sorted.events.len(),
                "events not applied yet; trying again"
            );
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
        gap("api.events.applied");
        self.changed.tell(&sorted.events).await;
        gap("api.events.told");
        self.applied.add(messages.iter().map(|message| message.length).sum());
        Taken { grow_until: self.pace.next(started, messages.len()), given_back: sorted.given_back }
    }
}

impl Events {
    /// Reads until told to stop.
    pub async fn run(&self, stop: &CancellationToken) {
        consume::read(&self.broker, self, stop).await;
    }

    /// Up to where the stream is applied, as far as that was remembered and it is the same stream.
    async fn applied(&self) -> Result<Option<u64>, async_nats::Error> {
        let Some(known) = self.jobs.stream_state(streams::JOB_EVENTS).await? else { return Ok(None) };
        let stream = self.broker.jetstream().get_stream(streams::JOB_EVENTS).await?;
        let info = stream.cached_info();
        let created_ms = info.created.unix_timestamp_nanos() / 1_000_000;
        let applied = known.applied.map(u64::try_from).transpose()?;
        let is_same = created_ms == i128::from(known.created_ms);
        Ok(applied.filter(|applied| is_same && *applied <= info.state.last_sequence))
    }

    async fn apply(&self, messages: &[Message], sorted: &mut Sorted<JobEvent>) -> Result<(), StoreError> {
        let mongo = self.jobs.mongo();
        mongo.set_aside(&sorted.set_aside).await?;
        if sorted.events.is_empty() {
            return Ok(());
        }
        let applied = self.jobs.apply(&sorted.events).await?;
        self.unmatched.add(applied.gone, &applied.unknown);
        let (mut letters, mut given_back) = (Vec::new(), Vec::new());
        for index in applied.unreadable {
            let Origin { message, member } = sorted.origins[index];
            let delivered = &messages[message];
            match self.messages.decide(delivered, &UNREADABLE_JOB) {
                Decision::GiveBack(pause) => given_back.push((message, pause)),
                Decision::SetAside => {
                    let (reason, why) = (Reason::NewerVersion, &UNREADABLE_JOB);
                    letters.push(self.messages.letter(delivered, Some(member), reason, why));
                }
            }
        }
        mongo.set_aside(&letters).await?;
        sorted.given_back.extend(given_back);
        Ok(())
    }
}

impl TakeUp for Events {
    const STREAMS: &'static [&'static str] = &[streams::JOB_EVENTS];

    async fn take_up(&self, letter: &DeadLetter) -> Result<TakenUp, StoreError> {
        let Ok(bodies) = batch::events(&letter.body.bytes) else { return Ok(TakenUp::Left) };
        let events: Result<Vec<JobEvent>, _> =
            bodies.into_iter().map(|body| JobEvent::decode(body).map(|event| event.data)).collect();
        let Ok(events) = events else { return Ok(TakenUp::Left) };
        let applied = self.jobs.apply(&events).await?;
        if !applied.unreadable.is_empty() {
            return Ok(TakenUp::Left);
        }
        self.changed.tell(&events).await;
        self.unmatched.add(applied.gone, &applied.unknown);
        Ok(TakenUp::Done)
    }
}
