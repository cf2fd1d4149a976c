//! A running stack.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use futures::future::{join_all, try_join_all};

use crate::binaries::{Binaries, Profile};
use crate::builder::{Builder, Environment};
use crate::folder::Folder;
use crate::nodes::{Node, Role, Service, write_targets};
use crate::ports::PortLease;
use crate::process::Sink;
use crate::supervise::Supervisor;

/// How long a server may take to stop before it is killed. The services have their own, longer grace.
const SERVERS_GRACE: Duration = Duration::from_secs(10);
const SERVICES_GRACE: Duration = Duration::from_secs(30);

/// A whole Hasty on loopback. Dropping it kills all its processes and removes its temporary folder;
/// [`Stack::stop`] does the same gently.
#[derive(Debug)]
pub struct Stack {
    pub(crate) supervisor: Option<Supervisor>,
    pub(crate) nginx: Node,
    pub(crate) prometheus: Option<Node>,
    pub(crate) apis: Vec<Node>,
    pub(crate) workers: Vec<Node>,
    pub(crate) nats: Node,
    /// The members of its replica set, or one mongod alone.
    pub(crate) api_mongo: Vec<Node>,
    pub(crate) job_mongo: Vec<Node>,
    pub(crate) replicas: Replicas,
    pub(crate) folder: Folder,
}

/// All that the services' replicas have in common.
pub(crate) struct Replicas {
    pub(crate) profile: Profile,
    pub(crate) nats_url: String,
    pub(crate) api_mongo_url: String,
    pub(crate) job_mongo_url: String,
    pub(crate) env: Environment,
    /// Whether each shows its metrics.
    pub(crate) metrics: bool,
    pub(crate) work_dir: PathBuf,
    pub(crate) logs: PathBuf,
    pub(crate) sink: Option<Sink>,
}

impl std::fmt::Debug for Replicas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replicas").field("env", &self.env).finish_non_exhaustive()
    }
}

impl Replicas {
    pub(crate) async fn start(&self, role: Role, index: usize, port: PortLease) -> Result<Node> {
        let node = self.node(role, index, port, "serve").await?;
        node.start().await?;
        Ok(node)
    }

    async fn node(&self, role: Role, index: usize, port: PortLease, command: &'static str) -> Result<Node> {
        let mongo_url = match role {
            Role::Api => &self.api_mongo_url,
            Role::Worker => &self.job_mongo_url,
        };
        let replica = Service {
            role,
            index,
            command,
            port,
            metrics: if self.metrics { Some(PortLease::any()?) } else { None },
            binaries: Binaries::get(self.profile).await?,
            mongo_url,
            nats_url: &self.nats_url,
            env: self.env.of(role, index),
            work_dir: &self.work_dir,
            logs: &self.logs,
            sink: self.sink.clone(),
        };
        replica.node()
    }
}

impl Stack {
    /// Describes a stack to start.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// nginx's base URL, without a slash at its end.
    pub fn url(&self) -> &str {
        self.nginx.url()
    }

    /// The api-service's replica `index`, counted from 0 (its name counts from 1).
    ///
    /// # Panics
    /// Where there is no such replica.
    pub fn api(&self, index: usize) -> &Node {
        &self.apis[index]
    }

    /// The job-service's replica `index`, counted from 0 (its name counts from 1).
    ///
    /// # Panics
    /// Where there is no such replica.
    pub fn worker(&self, index: usize) -> &Node {
        &self.workers[index]
    }

    /// All replicas of the api-service.
    pub fn apis(&self) -> &[Node] {
        &self.apis
    }

    /// All replicas of the job-service.
    pub fn workers(&self) -> &[Node] {
        &self.workers
    }

    /// nats-server.
    pub fn nats(&self) -> &Node {
        &self.nats
    }

    /// The api-service's MongoDB; of a replica set one member, whose URL names all.
    pub fn api_mongo(&self) -> &Node {
        &self.api_mongo[0]
    }

    /// The job-service's MongoDB; of a replica set one member, whose URL names all.
    pub fn job_mongo(&self) -> &Node {
        &self.job_mongo[0]
    }

    /// All members of the replica set of the api-service's MongoDB.
    pub fn api_mongo_members(&self) -> &[Node] {
        &self.api_mongo
    }

    /// All members of the replica set of the job-service's MongoDB.
    pub fn job_mongo_members(&self) -> &[Node] {
        &self.job_mongo
    }

    /// nginx.
    pub fn nginx(&self) -> &Node {
        &self.nginx
    }

    /// Prometheus, with [`Builder::watching`].
    pub fn prometheus(&self) -> Option<&Node> {
        self.prometheus.as_ref()
    }

    /// Every part, the services first.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        let services = self.apis.iter().chain(&self.workers);
        services
            .chain(&self.prometheus)
            .chain([&self.nginx, &self.nats])
            .chain(&self.api_mongo)
            .chain(&self.job_mongo)
    }

    /// The folder with the data and `logs/`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Keeps the folder, also a temporary one, when the stack goes: there is something to look at in it.
    pub fn keep_folder(&self) -> &Path {
        self.folder.keep()
    }

    /// The end of every part's log, for a failure's message.
    pub fn tails(&self, lines: usize) -> String {
        self.nodes().map(|node| format!("{}:\n{}", node.name(), node.log().tail(lines))).collect()
    }

    /// Starts one more replica of the job-service, with what [`Builder::worker_env`] said for its index, and
    /// returns when it is ready.
    pub async fn add_worker(&mut self) -> Result<Node> {
        let worker = self.replicas.start(Role::Worker, self.workers.len(), PortLease::any()?).await?;
        if let Some(supervisor) = &mut self.supervisor {
            supervisor.watch(&worker);
        }
        self.workers.push(worker.clone());
        if self.prometheus.is_some() {
            write_targets(self.folder.path(), &self.apis, &self.workers)?;
        }
        Ok(worker)
    }

    /// Starts `job-service once`, with what [`Builder::worker_env`] says for this index. It is none of the
    /// stack's [`Self::workers`].
    pub async fn run_worker_once(&self, index: usize) -> Result<Node> {
        let node = self.replicas.node(Role::Worker, index, PortLease::any()?, "once").await?;
        node.launch()?;
        Ok(node)
    }

    /// Stops gently: Prometheus, the services, then nginx, then NATS and MongoDB. What takes too long is killed.
    pub async fn stop(mut self) -> Result<()> {
        self.supervisor = None;
        if let Some(prometheus) = &self.prometheus {
            prometheus.terminate_within(SERVERS_GRACE).await?;
        }
        let services = self.apis.iter().chain(&self.workers);
        join_all(services.map(|service| service.terminate_within(SERVICES_GRACE))).await;
        self.nginx.terminate_within(SERVERS_GRACE).await?;
        let stores = [&self.nats].into_iter().chain(&self.api_mongo).chain(&self.job_mongo);
        try_join_all(stores.map(|store| store.terminate_within(SERVERS_GRACE))).await?;
        self.folder.close()
    }

    pub(crate) fn supervise_all(&mut self) {
        let Some(mut supervisor) = self.supervisor.take() else { return };
        for node in self.nodes() {
            supervisor.watch(node);
        }
        self.supervisor = Some(supervisor);
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // Nobody is started again, then the processes go; the folder goes as the last field.
        self.supervisor = None;
        self.nodes().for_each(|node| node.close());
    }
}
