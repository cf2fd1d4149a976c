//! A replica of the api-service or of the job-service.

use std::path::Path;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::nats::User;
use super::{Node, Probe};
use crate::binaries::Binaries;
use crate::ports::PortLease;
use crate::process::{Process, Sink, Spec};

/// Which of the two services.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Role {
    Api,
    Worker,
}

/// What is needed to make a replica's node.
pub(crate) struct Service<'a> {
    pub(crate) role: Role,
    /// Counted from 0; in its name from 1.
    pub(crate) index: usize,
    /// `serve`, or what else the program can do.
    pub(crate) command: &'static str,
    pub(crate) port: PortLease,
    /// Where it shows its metrics; it counts none where absent.
    pub(crate) metrics: Option<PortLease>,
    pub(crate) binaries: &'a Binaries,
    pub(crate) mongo_url: &'a str,
    pub(crate) nats_url: &'a str,
    /// What the stack's user set; wins over what the launcher sets.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) work_dir: &'a Path,
    pub(crate) logs: &'a Path,
    pub(crate) sink: Option<Sink>,
}

impl Service<'_> {
    pub(crate) fn node(self) -> Result<Node> {
        let (name, program, address_variable, mongo_variable) = match self.role {
            Role::Api => ("api", &self.binaries.api, "API_ADDR", "API_MONGO_URI"),
            Role::Worker => ("worker", &self.binaries.worker, "WORKER_HEALTH_ADDR", "JOB_MONGO_URI"),
        };
        let number = self.index + 1;
        let name = match self.command {
            "serve" => format!("{name}-{number}"),
            command => format!("{name}-{number}-{command}"),
        };
        let address = format!("127.0.0.1:{}", self.port.number());
        // Replicas share the machine with each other and with the servers: more threads each would only
        // be more to switch between.
        let own_choice = std::env::var("TOKIO_WORKER_THREADS").unwrap_or_else(|_| "1".to_owned());
        let http_threads = std::env::var("HTTP_THREADS").unwrap_or_else(|_| "1".to_owned());
        let nats_user = User::of(self.role);
        let instance = format!("service.instance.id={name}");
        let set = [
            ("TOKIO_WORKER_THREADS", own_choice.as_str()),
            ("HTTP_THREADS", http_threads.as_str()),
            (address_variable, address.as_str()),
            (mongo_variable, self.mongo_url),
            ("NATS_URL", self.nats_url),
            ("NATS_USER", nats_user.name),
            ("NATS_PASSWORD", nats_user.password),
            ("OTEL_RESOURCE_ATTRIBUTES", instance.as_str()),
        ];
        let set = set.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let metrics = self.metrics.as_ref().map(|port| format!("127.0.0.1:{}", port.number()));
        let own = metrics.iter().map(|address| ("METRICS_ADDR".to_owned(), address.clone()));
        let spec = Spec {
            name,
            program: program.clone(),
            args: vec![self.command.into()],
            env: set.into_iter().chain(own).chain(self.env).collect(),
            dir: self.work_dir.to_owned(),
            at_parents_death: Signal::SIGKILL,
        };
        let process = Process::new(spec, self.logs, self.sink)?;
        let probe = Probe::Succeeds(format!("http://{address}/health/ready"));
        let ports: Vec<PortLease> = [self.port].into_iter().chain(self.metrics).collect();
        let mut node = Node::new(process, format!("http://{address}"), probe, ports);
        node.metrics = metrics.map(|address| format!("http://{address}/metrics").into());
        Ok(node)
    }
}
