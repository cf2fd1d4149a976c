//! Runs jobs while everything is killed, paused, cut off and set back, by a plan that is a function of a seed; then
//! waits until the system is idle and checks that the promises were kept.
//!
//! Read [`plan`] (what is done), [`mix`] (the jobs), `system.rs` and [`crate::proxy`] (how it is done), `client.rs` (what
//! is asked and answered), `collect.rs` (what is read afterwards) and [`check`] (what has to hold).

pub mod check;
mod client;
mod clock;
mod collect;
mod command;
mod delays;
pub mod mix;
pub mod plan;
mod programs;
mod record;
pub mod schedules;
mod start;
mod store;
mod streams;
mod summary;
mod system;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use stack::{Profile, Stack, poll};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::endpoints;
use check::Violation;
use client::Api;
pub use command::{Options, command};
use mix::{Act, Script, Sweep};
use plan::{Plan, Size};
use record::Record;
use system::{Proxies, System};

/// How many clients there are at a time. Where the machine can not keep up, the others come later: without a bound ever
/// more of them would ask for how far their jobs are, and leave no time for the jobs.
const CLIENTS_AT_A_TIME: usize = 1000;
/// How long clients go on after the last fault, and the last one's start.
const CLIENTS_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the system may take to become idle after that.
const IDLE_TIMEOUT: Duration = Duration::from_secs(180);

/// What a run is like.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What is done, and with which jobs, is a function of it.
    pub seed: u64,
    /// How many jobs.
    pub jobs: usize,
    /// Replicas of the api-service.
    pub apis: usize,
    /// Replicas of the job-service.
    pub workers: usize,
    /// Whether anything goes wrong at all.
    pub faults: bool,
    /// Whether each MongoDB is a replica set of three, whose primaries are killed.
    pub replica_sets: bool,
    /// Whether the clock of one worker is stepped.
    pub clock_steps: bool,
    /// How the services are built.
    pub profile: Profile,
}

impl Settings {
    fn lease(&self) -> Duration {
        Duration::from_secs(if self.faults { 3 } else { 10 })
    }

    fn size(&self) -> Size {
        Size {
            jobs: self.jobs,
            apis: self.apis,
            workers: self.workers,
            lease: self.lease(),
            replica_sets: self.replica_sets,
            clock_steps: self.clock_steps,
        }
    }

    /// What is done to the stack.
    pub fn plan(&self) -> Plan {
        if self.faults { Plan::new(self.seed, self.size()) } else { Plan::without_faults(self.size()) }
    }

    fn scripts(&self) -> Vec<Script> {
        let mut scripts = mix::scripts(self.seed, self.jobs);
        if !self.faults {
            // A worker that dies is a fault.
            scripts.iter_mut().filter(|script| script.acts[0] == Act::Abort).for_each(|script| {
                script.acts = vec![Act::Fail];
            });
        }
        scripts
    }
}

/// How a run went.
#[derive(Debug)]
pub struct Outcome {
    /// What was done and seen, for a person.
    pub summary: String,
    /// The invariants that do not hold, and where.
    pub violations: Vec<Violation>,
    /// What was kept to look at, where something is wrong.
    pub folder: Option<PathBuf>,
}

/// Runs it. `progress` is called with lines that say how far it is.
///
/// # Errors
/// Where it could not be run to its end: nothing is known then.
pub async fn run(settings: Settings, progress: impl Fn(&str)) -> Result<Outcome> {
    let plan = settings.plan();
    let system = Arc::new(start::start(settings).await?);
    progress(&format!(
        "{} jobs and {} faults in about {:.0} s, in {}",
        settings.jobs,
        plan.faults.len(),
        plan.length.as_secs_f64(),
        system.stack.folder().display()
    ));
    // There is something to look at.
    let kept = |error: anyhow::Error| {
        let folder = system.stack.keep_folder();
        error.context(format!("the run broke off; its logs are in {}", folder.display()))
    };
    let record = play_through(settings, &plan, &system, &progress).await.map_err(kept)?;

    let violations = check::check(&record);
    let summary = summary::write(
        settings,
        &plan,
        &record,
        system.proxies.as_ref().map_or(0, Proxies::replies_cut),
        &violations,
    );
    let system = Arc::into_inner(system).context("somebody still holds the stack")?;
    let folder = finish(system.stack, violations.is_empty(), &summary).await?;
    Ok(Outcome { summary, violations, folder })
}

/// Plays the clients while the plan is carried out; what is there when the system is idle.
async fn play_through(
    settings: Settings,
    plan: &Plan,
    system: &Arc<System>,
    progress: &impl Fn(&str),
) -> Result<Record> {
    let (set_deadline, deadline) = watch::channel(None);
    let api = Api::new(system.stack.url(), &system.stack.folder().to_string_lossy(), deadline)?;
    let mut schedules = Vec::new();
    for schedule in schedules::schedules(settings.seed, settings.jobs) {
        schedules.push(api.create_schedule(schedule, plan.length).await?);
    }
    let supervisor = tokio::spawn({
        let system = Arc::clone(system);
        async move { system.supervise().await }
    });
    let started = watch::Sender::new(0);
    let faults = tokio::spawn({
        let (system, plan, mut started) = (Arc::clone(system), plan.clone(), started.subscribe());
        async move {
            let carried_out = system.run(&plan).await;
            let _ = started.wait_for(|started| *started == settings.jobs).await;
            set_deadline.send_replace(Some(Instant::now() + CLIENTS_TIMEOUT));
            carried_out
        }
    });
    let sweeps = mix::sweeps(settings.seed, settings.jobs);
    let sweeping = tokio::spawn(sweep(api.clone(), sweeps.clone(), plan.length));
    let triggering = schedules.into_iter().map(|client| {
        let (api, length) = (api.clone(), plan.length);
        tokio::spawn(async move { api.trigger(client, length).await })
    });
    let triggering: Vec<_> = triggering.collect();
    let clients = play(&api, settings.scripts(), plan.length, &started, progress).await;
    sweeping.await?.context("a sweep got an answer that it should not get")?;
    let schedules = futures::future::try_join_all(triggering).await?;
    let carried_out = faults.await?;
    let endpoints = endpoints(&system.stack);
    progress("the last client is done; waiting until the system is idle");
    let idle = poll::until("an idle system", IDLE_TIMEOUT, || collect::idle(&endpoints)).await;
    let record = Record {
        clients,
        sweeps,
        schedules,
        lease: settings.lease(),
        recovery: Duration::from_secs(if settings.replica_sets { 15 } else { 3 }),
        no_faults: !settings.faults,
        not_idle: idle.err().map(|error| error.to_string()),
        ..collect::collect(system, &endpoints).await?
    };
    supervisor.abort();
    let _ = supervisor.await;
    carried_out.context("the faults could not be carried out")?;
    Ok(record)
}

/// Starts the clients one after the other over the plan's length, and waits for all of them; `started` counts them.
async fn play(
    api: &Api,
    scripts: Vec<Script>,
    length: Duration,
    started: &watch::Sender<usize>,
    progress: &impl Fn(&str),
) -> Vec<record::Client> {
    let (begun, jobs) = (Instant::now(), scripts.len());
    let mut playing = FuturesUnordered::new();
    let mut clients = Vec::with_capacity(jobs);
    let mut next_report = begun + Duration::from_secs(10);
    let places = Arc::new(Semaphore::new(CLIENTS_AT_A_TIME));
    let together = |one: &Script, next: &Script| one.batch.is_some() && one.batch == next.batch;
    for batch in scripts.chunk_by(together) {
        let (batch, api, places, started) = (batch.to_vec(), api.clone(), places.clone(), started.clone());
        let at = begun + length.mul_f64(batch[0].tag as f64 / jobs as f64);
        playing.push(tokio::spawn(async move {
            tokio::time::sleep_until(at).await;
            let _places = places.acquire_many_owned(u32::try_from(batch.len()).unwrap_or(u32::MAX)).await;
            started.send_modify(|started| *started += batch.len());
            api.play(batch).await
        }));
    }
    while let Some(batch) = playing.next().await {
        clients.extend(batch.into_iter().flatten());
        if Instant::now() >= next_report {
            next_report += Duration::from_secs(10);
            progress(&format!(
                "{:>5.0} s: {} of {jobs} clients are done",
                begun.elapsed().as_secs_f64(),
                clients.len()
            ));
        }
    }
    clients
}

/// Carries out the sweeps, one after the other.
async fn sweep(api: Api, sweeps: Vec<Sweep>, length: Duration) -> Result<()> {
    let begun = Instant::now();
    for sweep in sweeps {
        tokio::time::sleep_until(begun + length.mul_f64(sweep.at)).await;
        api.sweep(sweep).await?;
    }
    Ok(())
}

async fn finish(stack: Stack, is_fine: bool, summary: &str) -> Result<Option<PathBuf>> {
    if is_fine {
        stack.stop().await?;
        return Ok(None);
    }
    let folder = stack.keep_folder().to_owned();
    std::fs::write(folder.join("summary.txt"), summary)?;
    stack.stop().await?;
    Ok(Some(folder))
}
