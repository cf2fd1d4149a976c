//! Runs jobs while everything is killed, paused, cut off and set back, by a plan that is a function of a seed; then
//! waits for quiet and checks that the promises were kept.
//!
//! Read [`plan`] (what is done), [`mix`] (the jobs), `faults.rs` and `proxy.rs` (how it is done), `client.rs` (what
//! is asked and answered), `collect.rs` (what is read afterwards) and [`check`] (what has to hold).

pub mod check;
mod client;
mod clock;
mod collect;
mod command;
mod faults;
pub mod mix;
pub mod plan;
mod proxy;
mod record;
mod store;
mod streams;
mod summary;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::binaries::Profile;
use crate::{Stack, poll};
use check::Violation;
use client::Api;
pub use command::{Options, command};
use faults::{Proxies, Victim};
use mix::{Act, Script, Sweep};
use plan::{Plan, Size};
pub use proxy::Proxy;
use record::Record;

/// How long clients go on after the last fault.
const CLIENTS_PATIENCE: Duration = Duration::from_secs(60);
/// How long the system may take to become quiet after that.
const QUIET_PATIENCE: Duration = Duration::from_secs(180);

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
        if self.faults { Plan::new(self.seed, self.size()) } else { Plan::calm(self.size()) }
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

/// Runs it. `tell` hears how far it is.
///
/// # Errors
/// Where it could not be run to its end: nothing is known then.
pub async fn run(settings: Settings, tell: impl Fn(&str)) -> Result<Outcome> {
    let plan = settings.plan();
    let victim = Arc::new(start(settings).await?);
    tell(&format!(
        "{} jobs and {} faults in about {:.0} s, in {}",
        settings.jobs,
        plan.faults.len(),
        plan.length.as_secs_f64(),
        victim.stack.folder().display()
    ));
    let (set_deadline, deadline) = watch::channel(None);
    let api = Api::new(victim.stack.url(), deadline)?;
    let nurse = tokio::spawn({
        let victim = victim.clone();
        async move { victim.nurse().await }
    });
    let faults = tokio::spawn({
        let (victim, plan) = (victim.clone(), plan.clone());
        async move {
            let suffered = victim.suffer(&plan).await;
            set_deadline.send_replace(Some(Instant::now() + CLIENTS_PATIENCE));
            suffered
        }
    });
    let sweeps = mix::sweeps(settings.seed, settings.jobs);
    let sweeping = tokio::spawn(sweep(api.clone(), sweeps.clone(), plan.length));
    let clients = play(&api, settings.scripts(), plan.length, &tell).await;
    sweeping.await?.context("a sweep got an answer that it should not get")?;
    let suffered = faults.await?;
    let place = crate::fsck::Where::of(&victim.stack);
    tell("the last client is done; waiting for quiet");
    let quiet = poll::until("quiet", QUIET_PATIENCE, || collect::quiet(&place)).await;
    let record = Record {
        clients,
        sweeps,
        lease: settings.lease(),
        felt: Duration::from_secs(if settings.replica_sets { 15 } else { 3 }),
        calm: !settings.faults,
        unquiet: quiet.err().map(|error| error.to_string()),
        ..collect::collect(&victim, &place).await?
    };
    nurse.abort();
    let _ = nurse.await;
    suffered.context("the faults could not be carried out")?;

    let violations = check::check(&record);
    let summary = summary::write(
        settings,
        &plan,
        &record,
        victim.proxies.as_ref().map_or(0, Proxies::replies_cut),
        &violations,
    );
    drop(api);
    let victim = Arc::into_inner(victim).context("somebody still holds the stack")?;
    let folder = finish(victim.stack, violations.is_empty(), &summary).await?;
    Ok(Outcome { summary, violations, folder })
}

async fn start(settings: Settings) -> Result<Victim> {
    let proxies: Arc<Mutex<Vec<Proxy>>> = Arc::default();
    let route = {
        let proxies = proxies.clone();
        move |name: &str, url: &str| match settings.replica_sets && name != "nats" {
            true => url.to_owned(),
            false => proxy(&proxies, name, url),
        }
    };
    let mut stack = Stack::builder().api(settings.apis).workers(settings.workers).profile(settings.profile);
    stack = stack.env("LEASE_S", settings.lease().as_secs()).env("WORKER_FAULTS", true);
    stack = stack.env("WORKER_CHRONICLE_DIR", collect::CHRONICLES).env("RETRY_BASE_S", 0.2);
    // An object's window outlasts the run.
    stack = stack.env("WORKER_QUEUES", mix::QUEUES.join(",")).env("RERUN_WINDOW_S", 86_400);
    if settings.replica_sets {
        stack = stack.replica_sets_of(3);
    }
    if settings.clock_steps {
        stack = clock::with_own_clock(stack, 0).await?;
    }
    if settings.faults {
        // So small that they can be filled, and the log of events is, again and again.
        stack =
            stack.env("NATS_JOBS_MAX_MIB", 16).env("NATS_EVENTS_MAX_MIB", 4).env("NATS_CONTROL_MAX_MIB", 2);
        stack = stack.env("RELAY_AFTER_S", 1.5).env("RELAY_SCAN_S", 0.5).env("DUE_SCAN_S", 0.5);
        stack =
            stack.env("RECONCILE_S", 1).env("SILENT_AFTER_S", 5).env("LOG", "info,job=debug").route(route);
        let stack = stack.start().await?;
        let mut proxies = std::mem::take(&mut *proxies.lock().expect("nobody panics with it"));
        let mongo = if settings.replica_sets { None } else { proxies.pop().zip(proxies.pop()) };
        let nats = proxies.pop().context("NATS without a proxy")?;
        return Ok(Victim::new(stack, Some(Proxies { nats, mongo })));
    }
    Ok(Victim::new(stack.start().await?, None))
}

/// Puts a proxy in front of a server; the URL by which it is reached.
fn proxy(proxies: &Mutex<Vec<Proxy>>, name: &str, url: &str) -> String {
    let markers: &'static [&'static str] =
        if name == "nats" { &["PUB job:"] } else { &["insert\0", "update\0"] };
    let proxy = Proxy::start(url, markers).expect("a port of loopback can be listened on");
    let url = proxy.url();
    proxies.lock().expect("nobody panics with it").push(proxy);
    url
}

/// Starts the clients one after the other over the plan's length, and waits for all of them.
async fn play(
    api: &Api,
    scripts: Vec<Script>,
    length: Duration,
    tell: &impl Fn(&str),
) -> Vec<record::Client> {
    let (begun, jobs) = (Instant::now(), scripts.len());
    let mut playing = FuturesUnordered::new();
    let mut clients = Vec::with_capacity(jobs);
    let mut next_word = begun + Duration::from_secs(10);
    let together = |one: &Script, next: &Script| one.batch.is_some() && one.batch == next.batch;
    for party in scripts.chunk_by(together) {
        let (party, api) = (party.to_vec(), api.clone());
        let at = begun + length.mul_f64(party[0].tag as f64 / jobs as f64);
        playing.push(tokio::spawn(async move {
            tokio::time::sleep_until(at).await;
            api.play(party).await
        }));
    }
    while let Some(party) = playing.next().await {
        clients.extend(party.into_iter().flatten());
        if Instant::now() >= next_word {
            next_word += Duration::from_secs(10);
            tell(&format!(
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

async fn finish(mut stack: Stack, is_fine: bool, summary: &str) -> Result<Option<PathBuf>> {
    if is_fine {
        stack.stop().await?;
        return Ok(None);
    }
    let folder = stack.keep_folder().to_owned();
    std::fs::write(folder.join("summary.txt"), summary)?;
    stack.stop().await?;
    Ok(Some(folder))
}
