//! Compares what the jobs' documents say of the broker with what the broker has, and has sent again what it lost.
//!
//! A stream whose store was lost or set back (`generations`) takes along what went to it: announcements, cancels, or
//! events that were not applied yet. A job that stays silent for long (`silent`) has lost its announcement or its end
//! in some other way. In both cases the ledger answers with what it knows. A job that simply waits in its queue is left
//! alone: its announcement is looked up in the stream.

mod generations;
mod silent;

use std::{sync::Arc, time::Duration};

use async_nats::{
    HeaderValue,
    jetstream::{consumer::pull, stream::RawMessageErrorKind},
};
use futures::{StreamExt, TryStreamExt, stream};
use service_kit::{Broker, failpoints::Safeguard, retry::jittered, telemetry::chain};
use shared_events::{JobCreated, streams};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    open_jobs::OpenJob, relay::Relay, store::OutboxStore, stream_generation::StreamGenerations,
    stream_states::StreamStates, unmarking::Unmarking,
};

/// How many jobs are looked at, at a time.
const BATCH: usize = 1000;

/// The pause between two batches: at most 4,000 jobs a second.
const BREATH: Duration = Duration::from_millis(250);

/// How many announcements are looked up at once; each may be as large as a message can be.
const LOOK_UPS: usize = 8;

/// For how many rounds after a new generation late receipts of the one before are looked for.
const LATE_ROUNDS: u32 = 6;

/// See the module.
pub struct Reconciler {
    /// The broker.
    pub broker: Broker,
    /// The jobs' marks.
    pub store: OutboxStore,
    /// What is known of the streams.
    pub states: StreamStates,
    /// What this replica knows of the streams.
    pub generations: StreamGenerations,
    /// Marks that are to be taken off.
    pub unmarking: Arc<Unmarking>,
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
            if self.broker.nats().is_connected() {
                match self.look(&mut late_rounds).await {
                    Ok(()) => {}
                    Err(error) => {
                        debug!(error = chain(error.as_ref()), "could not compare with the broker");
                    }
                }
            }
            let pause = jittered(every);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                _ = ensured.changed() => {}
                () = self.generations.to_be_looked_at() => {}
            }
        }
    }

    async fn look(&self, late_rounds: &mut u32) -> anyhow::Result<()> {
        if self.look_at_generations().await? {
            // Also at the start: whoever noticed the new generation may have died before all were marked.
            *late_rounds = LATE_ROUNDS;
        }
        // What the relay writes down needs the generations all the same.
        if Safeguard::Reconciler.is_off() {
            return Ok(());
        }
        if *late_rounds > 0 {
            *late_rounds -= 1;
            self.send_again().await?;
        }
        self.remember_applied().await?;
        self.look_at_silent().await
    }

    /// Which of the jobs still have their announcement in `JOBS`, and which do not.
    async fn still_announced(&self, jobs: Vec<OpenJob>) -> anyhow::Result<(Vec<OpenJob>, Vec<OpenJob>)> {
        let look_up = |job: OpenJob| async move { anyhow::Ok((self.is_announced(&job).await?, job)) };
        let found: Vec<(bool, OpenJob)> =
            stream::iter(jobs).map(look_up).buffer_unordered(LOOK_UPS).try_collect().await?;
        let (there, gone): (Vec<_>, Vec<_>) = found.into_iter().partition(|(is_there, _)| *is_there);
        let jobs = |found: Vec<(bool, OpenJob)>| found.into_iter().map(|(_, job)| job).collect();
        Ok((jobs(there), jobs(gone)))
    }

    /// Whether the job's latest announcement is in the stream: it waits there, or is being worked on.
    async fn is_announced(&self, job: &OpenJob) -> anyhow::Result<bool> {
        let Some(sequence) = job.sequence_in(self.generations.jobs.number()) else { return Ok(false) };
        let jobs = self.broker.jetstream().get_stream_no_info(streams::JOBS).await?;
        match jobs.get_raw_message(sequence).await {
            Ok(message) => {
                let id = message.headers.get(async_nats::header::NATS_MESSAGE_ID).map(HeaderValue::as_str);
                Ok(id.is_some_and(|id| JobCreated::is_announcement_of(id, job.run_id())))
            }
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Remembers up to where `JOB_EVENTS` is applied, so that a lost consumer can go on from there.
    async fn remember_applied(&self) -> anyhow::Result<()> {
        let known = self.states.get(streams::JOB_EVENTS).await?;
        let consumer = self
            .broker
            .jetstream()
            .get_consumer_from_stream::<pull::Config, _, _>(streams::API_CONSUMER, streams::JOB_EVENTS)
            .await?;
        let applied = i64::try_from(consumer.cached_info().ack_floor.stream_sequence)?;
        // The stream may have become another one since: then it has another time of creation, which its readers compare.
        if let Some(known) = known
            && known.generation == self.generations.events.number()
            && known.applied < Some(applied)
        {
            self.states.raise(&known, known.last, Some(applied)).await?;
        }
        Ok(())
    }
}
