//! Compares what the jobs' documents say of the broker with what the broker has, and has announced
//! again what it lost.
//!
//! The store was lost or set back when the stream's creation time changed, or its sequences do not
//! go on from those seen: then all jobs that have not ended are announced again, under the next
//! epoch, at a limited rate. A job that was acked but stays silent for long is announced again too;
//! the ledger answers with what it knows. A job that simply waits in its queue is left alone.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_nats::jetstream::consumer::pull;
use service_kit::{faults::Safeguard, telemetry::chain};
use shared_events::{Broker, Priority, Queue, streams};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    broker_store::BrokerStore,
    jobs::{Job, Jobs, StoreState, Taken},
    noting::Noting,
    relay::Relay,
};

/// How many jobs are marked at a time.
const BATCH: usize = 1000;

/// The pause between two batches: at most 4,000 announcements a second.
const BREATH: Duration = Duration::from_millis(250);

/// For how many rounds after a new store late notes about the old one are looked for.
const LATE_ROUNDS: u32 = 6;

/// See the module.
pub struct Reconciler {
    /// The broker.
    pub broker: Broker,
    /// The jobs.
    pub jobs: Jobs,
    /// What this replica knows of the store.
    pub store: BrokerStore,
    /// Notes about the old store.
    pub noting: Arc<Noting>,
    /// Who announces.
    pub relay: Relay,
    /// How long an announced job may be silent.
    pub silent_after: Duration,
}

impl Reconciler {
    /// Looks every so often, after every connect, and on suspicion, until told to stop.
    pub async fn run(&self, every: Duration, stop: &CancellationToken) {
        let mut ensured = self.broker.ensured();
        let mut late_rounds = 0;
        loop {
            if self.broker.nats().is_connected() && !Safeguard::Reconciler.is_off() {
                match self.look(&mut late_rounds).await {
                    Ok(()) => {}
                    Err(error) => debug!(error = chain(error.as_ref()), "could not compare with the broker"),
                }
            }
            let pause = every.mul_f64(rand::random_range(0.75..1.25));
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                _ = ensured.changed() => {}
                () = self.store.suspected() => {}
            }
        }
    }

    async fn look(&self, late_rounds: &mut u32) -> anyhow::Result<()> {
        // The document first: it is never ahead of a stream that is read after it.
        let known = self.jobs.store_state(streams::JOBS).await?;
        let seen_here = self.store.highest();
        let (created_ms, last) = self.stream(streams::JOBS).await?;
        let before = self.store.number();
        let number = match &known {
            None => {
                let first =
                    StoreState { stream: streams::JOBS.to_owned(), created_ms, store: 1, sequence: last };
                self.jobs.set_store_state(None, first).await?;
                1
            }
            Some(known) => {
                // What went to the broker after the document was written last, nobody remembers after a start.
                let forgotten = before == 0 && self.jobs.is_announced_above(known.store, last).await?;
                self.compare(known, created_ms, last, seen_here, before, forgotten).await?
            }
        };
        if number != before {
            if before != 0 {
                self.noting.forget_all();
            }
            // Also at the start: whoever noticed the new store may have died before all were marked.
            *late_rounds = LATE_ROUNDS;
            self.store.set(number, last);
        }
        if *late_rounds > 0 {
            *late_rounds -= 1;
            self.announce_again(number).await?;
        }
        self.note_applied().await?;
        self.look_at_silent(number, last).await
    }

    /// The number of the store as it is now; a new one where it was lost or set back.
    async fn compare(
        &self,
        known: &StoreState,
        created_ms: i64,
        last: i64,
        seen_here: i64,
        number_here: i64,
        forgotten: bool,
    ) -> anyhow::Result<i64> {
        let set_back_here = number_here == known.store && last < seen_here;
        let set_back = last < known.sequence || set_back_here || forgotten;
        let lost = known.created_ms != created_ms || set_back;
        let suspected = number_here == known.store && self.store.take_suspicion();
        let store = if lost || suspected { known.store + 1 } else { known.store };
        let next = StoreState { stream: known.stream.clone(), created_ms, store, sequence: last };
        if store == known.store {
            if last > known.sequence {
                self.jobs.set_store_state(Some(known), next).await?;
            }
            return Ok(store);
        }
        warn!(store, created_ms, last, "the broker's store was lost or set back; announcing again");
        // Where another replica was faster, its number is read in the next round.
        let mine = self.jobs.set_store_state(Some(known), next).await?;
        Ok(if mine { store } else { number_here })
    }

    /// Marks all jobs that were announced to an earlier store, at a limited rate.
    async fn announce_again(&self, number: i64) -> anyhow::Result<()> {
        loop {
            let jobs = self.jobs.announced_elsewhere(number, BATCH).await?;
            let marked = if jobs.is_empty() { 0 } else { self.jobs.mark_again(&jobs).await? };
            if marked > 0 {
                info!(marked, "to be announced again");
                self.relay.wake();
            }
            if jobs.len() < BATCH {
                return Ok(());
            }
            tokio::time::sleep(BREATH).await;
        }
    }

    /// Jobs that were announced long ago and have not ended: those whose announcement was acked are
    /// announced again; the others wait in their queue, however long.
    async fn look_at_silent(&self, number: i64, last: i64) -> anyhow::Result<()> {
        let mut floors: HashMap<(Queue, Priority), Option<i64>> = HashMap::new();
        loop {
            // Each look puts the next one off by as long as the job is old.
            let Taken { jobs, more } = self.jobs.take_silent(BATCH, self.silent_after).await?;
            let mut silent = Vec::new();
            for job in jobs {
                let line = (job.queue.clone(), job.priority);
                let floor = match floors.get(&line) {
                    Some(floor) => *floor,
                    None => *floors.entry(line).or_insert(self.ack_floor(&job).await?),
                };
                if !waits_in_queue(&job, number, floor, last) {
                    silent.push(job);
                }
            }
            if !silent.is_empty() {
                let marked = self.jobs.mark_again(&silent).await?;
                info!(marked, "silent for long; announcing again");
                self.relay.wake();
            }
            if !more {
                return Ok(());
            }
            tokio::time::sleep(BREATH).await;
        }
    }

    /// Up to which sequence the workers of the job's line have acked; none where no worker ever came.
    async fn ack_floor(&self, job: &Job) -> anyhow::Result<Option<i64>> {
        let name = streams::worker_consumer_name(&job.queue, job.priority);
        let jetstream = self.broker.jetstream();
        match jetstream.get_consumer_from_stream::<pull::Config, _, _>(&name, streams::JOBS).await {
            Ok(consumer) => Ok(Some(i64::try_from(consumer.cached_info().ack_floor.stream_sequence)?)),
            Err(error) if streams::is_missing_consumer(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Remembers up to where `JOB_EVENTS` is applied, so that a lost consumer can go on from there.
    async fn note_applied(&self) -> anyhow::Result<()> {
        let (created_ms, _) = self.stream(streams::JOB_EVENTS).await?;
        let consumer = self
            .broker
            .jetstream()
            .get_consumer_from_stream::<pull::Config, _, _>(streams::API_CONSUMER, streams::JOB_EVENTS)
            .await?;
        let applied = i64::try_from(consumer.cached_info().ack_floor.stream_sequence)?;
        let known = self.jobs.store_state(streams::JOB_EVENTS).await?;
        let next = |store| StoreState {
            stream: streams::JOB_EVENTS.to_owned(),
            created_ms,
            store,
            sequence: applied,
        };
        match known {
            None => self.jobs.set_store_state(None, next(1)).await?,
            Some(known) if known.created_ms != created_ms || applied < known.sequence => {
                self.jobs.set_store_state(Some(&known), next(known.store + 1)).await?
            }
            Some(known) if known.sequence < applied => {
                self.jobs.set_store_state(Some(&known), next(known.store)).await?
            }
            Some(_) => true,
        };
        Ok(())
    }

    /// When a stream was created, and its last sequence.
    async fn stream(&self, name: &str) -> anyhow::Result<(i64, i64)> {
        let stream = self.broker.jetstream().get_stream(name).await?;
        let info = stream.cached_info();
        let created_ms = i64::try_from(info.created.unix_timestamp_nanos() / 1_000_000)?;
        Ok((created_ms, i64::try_from(info.state.last_sequence)?))
    }
}

/// Whether a job's announcement is still in the stream, as far as can be told.
fn waits_in_queue(job: &Job, store: i64, ack_floor: Option<i64>, last: i64) -> bool {
    let Some(announced) = job.announced.filter(|announced| announced.store == store) else { return false };
    (1..=last).contains(&announced.sequence) && ack_floor.is_none_or(|floor| announced.sequence > floor)
}
