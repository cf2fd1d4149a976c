//! The system that is tried: carries out a plan on it, and starts again what died on its own (a job that aborts its
//! worker).

use std::path::PathBuf;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use shared_events::Timestamp;
use stack::{Node, Stack, poll};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::plan::{Fault, Link, Plan, Stream, Target};
use super::record::{Done, WorkerExit};
use super::{clock, store, streams};
use crate::proxy::Proxy;

/// How long a part may take to be ready again after the last fault.
const TIMEOUT: Duration = Duration::from_secs(90);
/// How long a worker that died on its own stays away.
const DOWN: Duration = Duration::from_millis(300);

/// A stack, the proxies in it, and what was done to it so far.
pub(super) struct System {
    pub(super) stack: Stack,
    /// None where nothing is to go wrong.
    pub(super) proxies: Option<Proxies>,
    /// A part is killed, paused and started under its lock, so that no two faults hit one at once.
    locks: Vec<(Target, Mutex<()>)>,
    done: StdMutex<Vec<Done>>,
}

/// One for each server.
#[derive(Debug)]
pub(super) struct Proxies {
    pub(super) nats: Proxy,
    /// That of the job-service's and that of the api-service's; none before replica sets.
    pub(super) mongo: Option<(Proxy, Proxy)>,
}

impl Proxies {
    /// None where nothing stands between.
    fn of(&self, link: Link) -> Option<&Proxy> {
        match link {
            Link::Nats => Some(&self.nats),
            Link::ApiMongo => self.mongo.as_ref().map(|(_, api)| api),
            Link::JobMongo => self.mongo.as_ref().map(|(job, _)| job),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Proxy> {
        [Link::Nats, Link::ApiMongo, Link::JobMongo].into_iter().filter_map(|link| self.of(link))
    }

    /// How many replies were cut off.
    pub(super) fn replies_cut(&self) -> usize {
        self.all().map(Proxy::replies_cut).sum()
    }
}

impl System {
    pub(super) fn new(stack: Stack, proxies: Option<Proxies>) -> Self {
        let apis = (0..stack.apis().len()).map(Target::Api);
        let workers = (0..stack.workers().len()).map(Target::Worker);
        let servers = [Target::Nats, Target::ApiMongo, Target::JobMongo];
        let locks = apis.chain(workers).chain(servers).map(|target| (target, Mutex::default())).collect();
        Self { stack, proxies, locks, done: StdMutex::default() }
    }

    pub(super) fn done(&self) -> Vec<Done> {
        locked(&self.done).clone()
    }

    pub(super) fn exits(&self) -> Vec<WorkerExit> {
        let ends = self.stack.workers().iter().flat_map(|worker| worker.ends());
        ends.map(WorkerExit::from).collect()
    }

    /// Carries out the plan; faults of different parts overlap. Returns when everything is up and open again.
    pub(super) async fn run(self: &Arc<Self>, plan: &Plan) -> Result<()> {
        let begun = Instant::now();
        let mut under_way = JoinSet::new();
        for timed in plan.faults.iter().copied() {
            sleep_until(begun + timed.at).await;
            let system = self.clone();
            under_way.spawn(async move { system.carry_out(timed.fault).await });
        }
        while let Some(done) = under_way.join_next().await {
            done??;
        }
        if let Some(proxies) = &self.proxies {
            proxies.all().for_each(Proxy::restore);
        }
        for (target, lock) in &self.locks {
            let _held = lock.lock().await;
            self.members(*target).iter().try_for_each(|node| node.launch())?;
        }
        let deadline = Instant::now() + TIMEOUT;
        for node in self.stack.nodes() {
            // A job may still kill its worker, which the supervisor starts again.
            while let Err(error) = node.ready().await {
                anyhow::ensure!(Instant::now() < deadline, error);
            }
        }
        // A copy that was put back may have had some in it.
        for stream in Stream::ALL {
            let removed = || streams::remove_fillers(&self.stack, stream);
            poll::until("the last fillers to go", TIMEOUT, removed).await?;
        }
        Ok(())
    }

    /// Starts workers again that die on their own, for ever.
    pub(super) async fn supervise(self: &Arc<Self>) {
        let watches = self.stack.workers().iter().enumerate().map(|(index, worker)| async move {
            loop {
                let Ok(_) = worker.wait().await else { return };
                sleep(DOWN).await;
                let _held = self.lock(Target::Worker(index)).lock().await;
                if worker.launch().is_err() {
                    return;
                }
            }
        });
        futures::future::join_all(watches).await;
    }

    async fn carry_out(&self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Kill(target, down) => {
                let _held = self.lock(target).lock().await;
                let node = self.node(target).await;
                let (from, pid) = (Timestamp::now(), node.pid());
                // One that is down already died of a job, and is about to be started by the supervisor.
                if pid.is_some() {
                    node.kill().await?;
                    sleep(down).await;
                    node.launch()?;
                }
                self.note(from, fault, pid);
            }
            Fault::Pause(target, pause) => {
                let _held = self.lock(target).lock().await;
                let node = self.node(target).await;
                let (from, pid) = (Timestamp::now(), node.pid());
                node.pause();
                sleep(pause).await;
                node.resume();
                self.note(from, fault, pid);
            }
            Fault::Cut(link) => {
                self.proxy(link).cut();
                self.note(Timestamp::now(), fault, None);
            }
            Fault::CutBeforeReply(link, times) => {
                self.proxy(link).cut_before_reply(times);
                self.note(Timestamp::now(), fault, None);
            }
            Fault::Stall(link, pause) => {
                let from = Timestamp::now();
                self.proxy(link).stall(true);
                sleep(pause).await;
                self.proxy(link).stall(false);
                self.note(from, fault, None);
            }
            Fault::BlackHole(link, pause) => {
                let from = Timestamp::now();
                self.proxy(link).black_hole();
                sleep(pause).await;
                self.proxy(link).restore();
                self.note(from, fault, None);
            }
            Fault::Copy => {
                let _held = self.lock(Target::Nats).lock().await;
                let (nats, from) = (self.stack.nats(), Timestamp::now());
                // As a snapshot of the file system would be.
                nats.pause();
                let copied = store::copy(&self.store(), &self.copy());
                nats.resume();
                copied.context("could not copy the store of NATS")?;
                self.note(from, fault, None);
            }
            Fault::SetBack(down) => {
                let _held = self.lock(Target::Nats).lock().await;
                let (nats, from) = (self.stack.nats(), Timestamp::now());
                nats.kill().await?;
                store::copy(&self.copy(), &self.store()).context("could not set NATS back")?;
                sleep(down).await;
                nats.launch()?;
                self.note(from, fault, None);
            }
            Fault::Wipe(stream, down) => self.lose_stream(fault, stream, None, down).await?,
            Fault::SetBackOne(stream, down) => {
                self.lose_stream(fault, stream, Some(self.copy()), down).await?;
            }
            // NATS may be down just then: then nothing is done.
            Fault::Delete(stream) => {
                let from = Timestamp::now();
                if streams::delete(&self.stack, stream).await.is_ok() {
                    self.note(from, fault, None);
                }
            }
            Fault::StepClock(seconds) => {
                let from = Timestamp::now();
                clock::step(&self.stack, seconds).context("could not step a worker's clock")?;
                self.note(from, fault, None);
            }
            Fault::Fill(stream, pause) => {
                let from = Timestamp::now();
                if streams::fill(&self.stack, stream, pause).await.is_ok() {
                    self.note(from, fault, None);
                }
            }
        }
        Ok(())
    }

    async fn lose_stream(
        &self,
        fault: Fault,
        stream: Stream,
        copy: Option<PathBuf>,
        down: Duration,
    ) -> Result<()> {
        let _held = self.lock(Target::Nats).lock().await;
        let (nats, from) = (self.stack.nats(), Timestamp::now());
        nats.kill().await?;
        streams::set_back(&self.store(), copy.as_deref(), stream)?;
        sleep(down).await;
        nats.launch()?;
        self.note(from, fault, None);
        Ok(())
    }

    fn note(&self, from: Timestamp, fault: Fault, pid: Option<u32>) {
        let to = Timestamp::now().millis();
        locked(&self.done).push(Done { from: from.millis(), to, fault, pid });
    }

    fn proxy(&self, link: Link) -> &Proxy {
        let proxy = self.proxies.as_ref().and_then(|proxies| proxies.of(link));
        proxy.expect("a plan has only faults of links that have a proxy")
    }

    /// The process that is meant just now: of a replica set its primary, if it has one.
    async fn node(&self, target: Target) -> &Node {
        let members = self.members(target);
        if members.len() > 1 {
            for member in members {
                if member.is_primary().await {
                    return member;
                }
            }
        }
        &members[0]
    }

    fn members(&self, target: Target) -> &[Node] {
        match target {
            Target::Api(index) => &self.stack.apis()[index..=index],
            Target::Worker(index) => &self.stack.workers()[index..=index],
            Target::Nats => std::slice::from_ref(self.stack.nats()),
            Target::ApiMongo => self.stack.api_mongo_members(),
            Target::JobMongo => self.stack.job_mongo_members(),
        }
    }

    fn lock(&self, target: Target) -> &Mutex<()> {
        let lock = self.locks.iter().find(|(of, _)| *of == target);
        &lock.expect("every part has a lock").1
    }

    fn store(&self) -> PathBuf {
        self.stack.folder().join("nats").join("jetstream")
    }

    fn copy(&self) -> PathBuf {
        self.stack.folder().join("nats-copy")
    }
}

fn locked<T>(mutex: &StdMutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
