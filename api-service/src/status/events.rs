//! Reads `JOB_EVENTS` in batches, applies them, then acks. Replicas share one durable consumer.

use std::{cell::RefCell, sync::Arc, time::Duration};

use async_nats::jetstream::Message;
use service_kit::{
    Broker, StoreError,
    batch::{BATCH_ENOUGH, BatchLimits, BatchPacing},
    dead_letters::{DeadLetter, Decision, Reason, TakeUp, TakenUp},
    failpoints::failpoint,
    nats::{
        consume::{self, BATCH_BYTES, Consumer, Handled},
        messages::{MessageReader, Origin, Sorted},
    },
    retry::Backoff,
    telemetry::{
        chain,
        traces::{self, Group, KeyValue},
    },
};
use shared_events::{
    JobEvent, batch,
    streams::{self, ConsumerDefinition},
    subjects,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    apply::StatusStore, broadcasts::Broadcasts, make_room::AppliedBytes, stream_order::StreamOrder,
    unmatched::UnmatchedEvents,
};
use crate::{
    jobs::timestamp,
    metrics,
    outbox::StreamStates,
    queues::{self, Ended, EndedCounts},
    traces::{PROCESS_EVENT, UPDATE_JOBS, of_event},
};

/// Under load, the longest time from one batch of events to the next.
pub const PACING: Duration = Duration::from_millis(30);

/// Why an event that can be read is not applied, nor lost.
const UNREADABLE_JOB: &str = "about a job whose status this version does not know";

/// Keeps the jobs' status up to date.
pub struct Events {
    /// Where the events come from.
    pub broker: Broker,
    /// What they are applied to.
    pub store: StatusStore,
    /// Up to where they are applied.
    pub states: StreamStates,
    /// Who is told of it.
    pub broadcasts: Broadcasts,
    /// Who makes room in the stream.
    pub applied: Arc<AppliedBytes>,
    /// When batches are taken.
    pub pacing: BatchPacing,
    /// How messages are read.
    pub messages: MessageReader,
    /// Whether sequences and times agree.
    pub order: StreamOrder,
    /// How many jobs have ended lately.
    pub ended: EndedCounts,
    /// How many events changed nothing since their job is not there.
    pub unmatched: UnmatchedEvents,
}

impl Consumer for Events {
    const BATCH: BatchLimits = BatchLimits { items: 500, bytes: BATCH_BYTES, enough: BATCH_ENOUGH };
    const AHEAD: usize = 2000;

    async fn definition(&self) -> Result<ConsumerDefinition, async_nats::Error> {
        Ok(streams::api_consumer(self.applied().await?.map(|applied| applied + 1)))
    }

    /// Applies a batch, however long the database is away.
    async fn handle(&self, messages: &[Message]) -> Handled {
        let started = Instant::now();
        self.order.check(messages);
        let (begun, traces) = (traces::begin(), RefCell::new(Vec::new()));
        let mut sorted = self.messages.sort(messages, |body| {
            let event = JobEvent::decode(body)?;
            if begun.is_some() {
                traces.borrow_mut().push(event.traceparent);
            }
            Ok(event.data)
        });
        let spans = begun.and_then(|begun| Some(Group::begin(traces.take().into_iter())?.since(begun)));
        let mut backoff = Backoff::default();
        failpoint("api.events.read");
        while let Err(error) = self.apply(messages, &mut sorted, spans.as_ref()).await {
            warn!(
                error = chain(&error),
                events = sorted.events.len(),
                "events not applied yet; trying again"
            );
            backoff.pause().await;
        }
        if let Some(spans) = spans {
            spans.end(&PROCESS_EVENT, |place, span| {
                let event = &sorted.events[place];
                let subject = messages[sorted.origins[place].message].subject.to_string();
                let span = span.named(format!("process {}", event.event_type())).with(of_event(event));
                span.with([KeyValue::new("messaging.destination.name", subject)])
            });
        }
        metrics::applied(&sorted.events, self.store.mongo().clock().now_ms());
        failpoint("api.events.applied");
        self.count_ended(messages, &sorted);
        self.broadcasts.publish(&sorted.events).await;
        failpoint("api.events.broadcast");
        self.applied.add(messages.iter().map(|message| message.length).sum());
        Handled { grow_until: self.pacing.next(started, messages.len()), given_back: sorted.given_back }
    }
}

impl Events {
    /// Reads until told to stop.
    pub async fn run(&self, stop: &CancellationToken) {
        consume::run(&self.broker, self, stop).await;
    }

    /// Up to where the stream is applied, as far as that was remembered and it is the same stream.
    async fn applied(&self) -> Result<Option<u64>, async_nats::Error> {
        let Some(known) = self.states.get(streams::JOB_EVENTS).await? else { return Ok(None) };
        let stream = self.broker.jetstream().get_stream(streams::JOB_EVENTS).await?;
        let info = stream.cached_info();
        let created_ms = info.created.unix_timestamp_nanos() / 1_000_000;
        let applied = known.applied.map(u64::try_from).transpose()?;
        let is_same = created_ms == i128::from(known.created_ms);
        Ok(applied.filter(|applied| is_same && *applied <= info.state.last_sequence))
    }

    /// An event's queue is in the subject that it came on. What ended long ago is told again.
    fn count_ended(&self, messages: &[Message], sorted: &Sorted<JobEvent>) {
        let now = self.store.mongo().clock().now();
        for (event, origin) in sorted.events.iter().zip(&sorted.origins) {
            let JobEvent::Ended(_, ended) = event else { continue };
            if timestamp(now).since(ended.ended_at) > queues::WINDOW {
                continue;
            }
            let queue = subjects::queue_of_event(&messages[origin.message].subject);
            if let (Some(queue), Some(ended)) = (queue, Ended::one(event.position().status)) {
                self.ended.add(&queue, ended);
            }
        }
    }

    async fn apply(
        &self,
        messages: &[Message],
        sorted: &mut Sorted<JobEvent>,
        spans: Option<&Group>,
    ) -> Result<(), StoreError> {
        let mongo = self.store.mongo();
        mongo.keep_dead_letters(&sorted.dead_letters).await?;
        if sorted.events.is_empty() {
            return Ok(());
        }
        let update = spans.map(Group::step);
        let applied = self.store.apply(&sorted.events).await;
        if let Some(update) = update {
            update.end_with(&UPDATE_JOBS, &applied, |place, span| span.with(of_event(&sorted.events[place])));
        }
        let applied = applied?;
        self.unmatched.add(applied.gone, &applied.unknown);
        let (mut letters, mut given_back) = (Vec::new(), Vec::new());
        for index in applied.unreadable {
            let Origin { message, member } = sorted.origins[index];
            let delivered = &messages[message];
            match self.messages.decide(delivered, &UNREADABLE_JOB) {
                Decision::GiveBack(pause) => given_back.push((message, pause)),
                Decision::DeadLetter => {
                    let (reason, why) = (Reason::NewerVersion, &UNREADABLE_JOB);
                    letters.push(self.messages.letter(delivered, Some(member), reason, why));
                }
            }
        }
        mongo.keep_dead_letters(&letters).await?;
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
        let applied = self.store.apply(&events).await?;
        if !applied.unreadable.is_empty() {
            return Ok(TakenUp::Left);
        }
        self.broadcasts.publish(&events).await;
        self.unmatched.add(applied.gone, &applied.unknown);
        Ok(TakenUp::Done)
    }
}
