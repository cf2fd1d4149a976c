//! Compares what the jobs' documents say of the broker with what the broker has, and has sent again what it lost.
//!
//! A stream whose store was lost or set back (`generations`) takes along what went to it: announcements, cancels, or
//! events that were not applied yet. A job that stays silent for long (`silent`) has lost its announcement or its end
//! in some other way. In both cases the ledger answers with what it knows. A job that simply waits in its queue is left
//! alone: its announcement is looked up in the stream.

mod generations;
mod silent;

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{consumer::pull, stream::RawMessageErrorKind};
use bson::Uuid;
use futures::{StreamExt, TryStreamExt, stream};
use service_kit::{faults::Safeguard, telemetry::chain};
use shared_events::{Broker, JobCreated, streams};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    jobs::{Jobs, OpenJob},
    noting::Noting,
    relay::Relay,
    stream_generation::StreamGenerations,
};

/// How many jobs are looked at, at a time.
const BATCH: usize = 1000;

/// The pause between two batches: at most 4,000 jobs a second.
const BREATH: Duration = Duration::from_millis(250);

/// How many announcements are looked up at once; each may be as large as a message can be.
const LOOK_UPS: usize = 8;

/// For how many rounds after a new generation late notes about the one before are looked for.
const LATE_ROUNDS: u32 = 6;

/// See the module.
pub struct Reconciler {
    /// The broker.
    pub broker: Broker,
    /// The jobs.
    pub jobs: Jobs,
    /// What this replica knows of the streams.
    pub generations: StreamGenerations,
    /// Notes about earlier generations.
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
            if self.broker.nats().is_connected() {
                match self.look(&mut late_rounds).await {
                    Ok(()) => {}
                    Err(error) => {
                        debug!(error = chain(error.as_ref()), "could not compare with the broker");
                    }
                }
            }
            let pause = every.mul_f64(rand::random_range(0.75..1.25));
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
        self.note_applied().await?;
        self.look_at_silent().await
    }

    /// Which of the jobs still have their announcement in `JOBS`.
    async fn still_announced(&self, jobs: Vec<OpenJob>) -> anyhow::Result<(Vec<Uuid>, Vec<Uuid>)> {
        let look_up = |job: OpenJob| async move { anyhow::Ok((job.id, self.is_announced(&job).await?)) };
        let found: Vec<(Uuid, bool)> =
            stream::iter(jobs).map(look_up).buffer_unordered(LOOK_UPS).try_collect().await?;
        let (there, gone): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, is_there)| *is_there);
        let ids = |jobs: Vec<(Uuid, bool)>| jobs.into_iter().map(|(id, _)| id).collect();
        Ok((ids(there), ids(gone)))
    }

    /// Whether the job's latest announcement is in the stream: it waits there, or is being worked on.
    async fn is_announced(&self, job: &OpenJob) -> anyhow::Result<bool> {
        let current = self.generations.jobs.number();
        let announced = job.announced.filter(|announced| announced.generations.jobs == current);
        let Some(sequence @ 1..) = announced.and_then(|announced| u64::try_from(announced.sequence).ok())
        else {
            return Ok(false);
        };
        let jobs = self.broker.jetstream().get_stream_no_info(streams::JOBS).await?;
        match jobs.get_raw_message(sequence).await {
            Ok(message) => Ok(JobCreated::is_about(&message.headers, job.run_id())),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Remembers up to where `JOB_EVENTS` is applied, so that a lost consumer can go on from there.
    async fn note_applied(&self) -> anyhow::Result<()> {
        let known = self.jobs.stream_state(streams::JOB_EVENTS).await?;
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
            self.jobs.raise_stream_state(&known, known.last, Some(applied)).await?;
        }
        Ok(())
    }
}
