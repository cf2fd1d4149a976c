//! What a stack shall be like, and its start.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::try_join_all;

use crate::binaries::{Binaries, Profile};
use crate::folder::Folder;
use crate::nodes::{self, Mongo, Nats, Nginx, Node, Role, Watching, succeeds, without_user, write_targets};
use crate::poll;
use crate::ports::PortLease;
use crate::process::Sink;
use crate::servers::{Prometheus, Servers};
use crate::stack::{Replicas, Stack};
use crate::supervise::Supervisor;

/// What a stack shall be like: by default two replicas of each service, on leased ports, in a temporary folder.
#[derive(Clone)]
#[must_use = "nothing is started before `.start().await`"]
pub struct Builder {
    apis: usize,
    workers: usize,
    port: Option<u16>,
    data: Option<PathBuf>,
    work_dir: Option<PathBuf>,
    env: Environment,
    api_members: usize,
    job_members: usize,
    profile: Profile,
    supervise: bool,
    metrics: bool,
    watching: Option<Watching>,
    sink: Option<Sink>,
    route: Option<Route>,
}

/// From a server's name and its URL to the URL by which the services reach it.
type Route = std::sync::Arc<dyn Fn(&str, &str) -> String + Send + Sync>;

/// Variables for all services, and for single replicas, which win.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    all: Vec<(String, String)>,
    replicas: HashMap<(&'static str, usize), Vec<(String, String)>>,
}

impl Environment {
    pub(crate) fn of(&self, role: Role, index: usize) -> Vec<(String, String)> {
        let own = self.replicas.get(&(key(role), index)).into_iter().flatten();
        self.all.iter().chain(own).cloned().collect()
    }

    fn set(&mut self, role: Role, index: usize, name: &str, value: &str) {
        self.replicas.entry((key(role), index)).or_default().push((name.into(), value.into()));
    }
}

fn key(role: Role) -> &'static str {
    match role {
        Role::Api => "api",
        Role::Worker => "worker",
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            apis: 2,
            workers: 2,
            port: None,
            data: None,
            work_dir: None,
            env: Environment::default(),
            api_members: 0,
            job_members: 0,
            profile: Profile::default(),
            supervise: false,
            metrics: false,
            watching: None,
            sink: None,
            route: None,
        }
    }
}

// So that `.env("LEASE_S", 2)` can be written without a `&`.
#[allow(clippy::needless_pass_by_value)]
impl Builder {
    /// How many replicas of the api-service. Without any service nothing is built, and only the servers run.
    pub fn api(mut self, replicas: usize) -> Self {
        self.apis = replicas;
        self
    }

    /// How many replicas of the job-service.
    pub fn workers(mut self, replicas: usize) -> Self {
        self.workers = replicas;
        self
    }

    /// nginx's port; a leased one otherwise.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Keeps everything in this folder; in a temporary one, removed at the end, otherwise.
    pub fn data(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data = Some(folder.into());
        self
    }

    /// The folder that the services run in, where they look for a `.env`; the stack's own otherwise, so that
    /// nobody's settings get into a test.
    pub fn work_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.work_dir = Some(folder.into());
        self
    }

    /// Sets a variable for all services. They inherit this process's environment; the launcher's own variables
    /// win over that, and this wins over both.
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.env.all.push((name.into(), value.to_string()));
        self
    }

    /// Sets a variable for one replica of the api-service, counted from 0.
    pub fn api_env(mut self, index: usize, name: &str, value: impl ToString) -> Self {
        self.env.set(Role::Api, index, name, &value.to_string());
        self
    }

    /// Sets a variable for one replica of the job-service, counted from 0; for one that joins later too.
    pub fn worker_env(mut self, index: usize, name: &str, value: impl ToString) -> Self {
        self.env.set(Role::Worker, index, name, &value.to_string());
        self
    }

    /// Runs each mongod as a replica set with one member.
    pub fn replica_set(self, yes: bool) -> Self {
        self.replica_sets_of(usize::from(yes))
    }

    /// Runs each MongoDB as a replica set with so many members; with 0, alone.
    pub fn replica_sets_of(mut self, members: usize) -> Self {
        (self.api_members, self.job_members) = (members, members);
        self
    }

    /// Runs the api-service's MongoDB alone as a replica set with so many members.
    pub fn api_mongo_replicas(mut self, members: usize) -> Self {
        self.api_members = members;
        self
    }

    /// How the services are built; as this program itself otherwise.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Has each replica of the services show its metrics, at [`Node::metrics_url`].
    pub fn metrics(mut self, yes: bool) -> Self {
        self.metrics = yes;
        self
    }

    /// Has Prometheus watch it, and each replica show its metrics.
    pub fn watching(mut self, watching: Watching) -> Self {
        (self.metrics, self.watching) = (true, Some(watching));
        self
    }

    /// Starts a child again that ends without having been stopped by [`Stack::stop`].
    pub fn supervise(mut self, yes: bool) -> Self {
        self.supervise = yes;
        self
    }

    /// Gets every line that a process prints, and under the name `stack` the stack's own messages.
    pub fn sink(mut self, sink: impl Fn(&str, &str) + Send + Sync + 'static) -> Self {
        self.sink = Some(std::sync::Arc::new(sink));
        self
    }

    /// Has the services reach a server by another URL than its own: `route` gets the name (`nats`, `api-mongo`,
    /// `job-mongo`) and the URL of each, without a user, when it is up.
    pub fn route(mut self, route: impl Fn(&str, &str) -> String + Send + Sync + 'static) -> Self {
        self.route = Some(std::sync::Arc::new(route));
        self
    }

    /// Starts everything, and returns when everything answers.
    pub async fn start(self) -> Result<Stack> {
        anyhow::ensure!(
            self.api_members + self.job_members == 0 || self.data.is_none(),
            "a replica set remembers its port, which is leased anew each time: it cannot be kept in a folder"
        );
        let port = self.port.map_or_else(PortLease::any, PortLease::exactly)?;
        let folder = Folder::open(self.data.as_deref())?;
        let work_dir = self.work_dir.unwrap_or_else(|| folder.path().to_owned());
        let api_ports = (0..self.apis).map(|_| PortLease::any()).collect::<Result<Vec<_>>>()?;

        // The programs and the servers are made ready side by side.
        let build = async {
            if self.apis + self.workers > 0 {
                Binaries::get(self.profile).await?;
            }
            anyhow::Ok(())
        };
        let servers = async {
            let servers = Servers::find().await?;
            let sink = || self.sink.clone();
            let folder = &folder;
            let mongo = |name, members| Mongo { name, servers, folder, members, sink: sink() }.nodes();
            let nats = Nats { servers, folder, sink: sink() }.node()?;
            let (api_mongo, job_mongo) =
                (mongo("api-mongo", self.api_members)?, mongo("job-mongo", self.job_members)?);
            let nginx = Nginx { servers, folder, port, replicas: &api_ports, sink: sink() }.node()?;
            let mongos = try_join_all(api_mongo.iter().chain(&job_mongo).map(Node::start));
            tokio::try_join!(nats.start(), mongos, nginx.start())?;
            anyhow::Ok((nats, api_mongo, job_mongo, nginx))
        };
        let ((), (nats, api_mongo, job_mongo, nginx)) = tokio::try_join!(build, servers)?;

        // The services bring users of their own.
        let url = |node: &Node| match (&self.route, without_user(node.url())) {
            (Some(route), url) => route(node.name(), &url),
            (None, url) => url,
        };
        let logs = folder.logs()?;
        let common = Replicas {
            profile: self.profile,
            nats_url: url(&nats),
            api_mongo_url: url(&api_mongo[0]),
            job_mongo_url: url(&job_mongo[0]),
            env: self.env,
            metrics: self.metrics,
            work_dir,
            logs,
            sink: self.sink.clone(),
        };
        let replicas = &common;
        let worker_ports = (0..self.workers).map(|_| PortLease::any()).collect::<Result<Vec<_>>>()?;
        let all = |role, ports: Vec<PortLease>| {
            try_join_all(ports.into_iter().enumerate().map(move |(i, port)| replicas.start(role, i, port)))
        };
        let (apis, workers) = tokio::try_join!(all(Role::Api, api_ports), all(Role::Worker, worker_ports))?;
        if !apis.is_empty() {
            let url = format!("{}/health/ready", nginx.url());
            let ready = poll::until("an answer through nginx", Duration::from_secs(10), || succeeds(&url));
            ready.await.with_context(|| format!("nginx says:\n{}", nginx.log().tail(10)))?;
        }

        let prometheus = match &self.watching {
            Some(watching) => {
                let programs = Prometheus::find().await?;
                let nginx = nginx.url().trim_start_matches("http://");
                let made = nodes::Prometheus {
                    programs: &programs,
                    folder: &folder,
                    watching,
                    nginx,
                    sink: self.sink.clone(),
                };
                let prometheus = made.node()?;
                write_targets(folder.path(), &apis, &workers)?;
                prometheus.start().await?;
                Some(prometheus)
            }
            None => None,
        };
        let supervisor = self.supervise.then(|| Supervisor::new(self.sink));
        let mut stack = Stack {
            nginx,
            prometheus,
            apis,
            workers,
            nats,
            api_mongo,
            job_mongo,
            replicas: common,
            supervisor,
            folder,
        };
        stack.supervise_all();
        Ok(stack)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (apis, workers) = (self.apis, self.workers);
        f.debug_struct("Builder").field("apis", &apis).field("workers", &workers).finish_non_exhaustive()
    }
}
