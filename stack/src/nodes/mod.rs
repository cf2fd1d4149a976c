//! The parts of a stack: each a process together with its address and the question whether it is ready.

mod mongo;
mod nats;
mod nginx;
mod prometheus;
mod service;

use std::future::pending;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::poll;
use crate::ports::PortLease;
use crate::process::Process;

pub(crate) use mongo::Mongo;
pub(crate) use nats::{Nats, without_user};
pub(crate) use nginx::Nginx;
pub use prometheus::{ALERTS, Watching};
pub(crate) use prometheus::{Prometheus, write_targets};
pub(crate) use service::{Role, Service};

/// How long a part may take until it answers.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
const LINES_SHOWN: usize = 15;

static HTTP: LazyLock<reqwest::Client> = LazyLock::new(|| {
    let client = hasty_client::http_client().no_proxy().timeout(Duration::from_secs(2));
    client.build().expect("an HTTP client without special settings can be built")
});

/// A running part of the stack: `stack.nats().kill().await?`, `stack.api(0).restart().await?`.
///
/// All of [`Process`] can be called on it. Clones are handles on the same part.
#[derive(Clone, Debug)]
pub struct Node {
    process: Process,
    url: Arc<str>,
    metrics: Option<Arc<str>>,
    probe: Arc<Probe>,
    _ports: Arc<[PortLease]>,
}

/// The question whether a part is ready.
#[derive(Debug)]
enum Probe {
    /// A GET of this address has to be a success.
    Succeeds(String),
    Mongo(mongo::Probe),
}

impl Node {
    fn new(process: Process, url: String, probe: Probe, ports: impl Into<Arc<[PortLease]>>) -> Self {
        Self { process, url: url.into(), metrics: None, probe: Arc::new(probe), _ports: ports.into() }
    }

    /// Where it listens: `http://…` for a service (its own address, past nginx) and for nginx, `mongodb://…`, and
    /// `nats://user:password@…` as an operator, who may do everything.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where a service shows its metrics, with [`crate::Builder::metrics`]: `http://…/metrics`.
    pub fn metrics_url(&self) -> Option<&str> {
        self.metrics.as_deref()
    }

    /// Whether it is a MongoDB that can be written to; false where it does not answer.
    pub async fn is_primary(&self) -> bool {
        match &*self.probe {
            Probe::Mongo(mongo) => mongo.is_primary().await.unwrap_or(false),
            Probe::Succeeds(_) => false,
        }
    }

    /// Starts it, on the same ports and data as before, and waits until it is ready.
    pub async fn start(&self) -> Result<()> {
        self.launch()?;
        self.ready().await
    }

    /// SIGTERM, wait for the end, start again, wait until it is ready.
    pub async fn restart(&self) -> Result<()> {
        self.terminate().await?;
        self.start().await
    }

    /// Waits until it stands still at a failpoint of its own (`FAILPOINTS=<name>=1*return(stop)`).
    pub async fn paused(&self) -> Result<()> {
        let what = format!("{} to stand still", self.name());
        poll::until(&what, READY_TIMEOUT, || async { self.is_paused() }).await
    }

    /// Waits until it is ready. Fails, with the end of its log, when it is not in time or ends instead.
    pub async fn ready(&self) -> Result<()> {
        let what = format!("{} to be ready", self.name());
        let ended = async {
            match self.wait().await {
                Ok(status) => status,
                Err(_) => pending().await,
            }
        };
        let failure = tokio::select! {
            ready = poll::until(&what, READY_TIMEOUT, || self.probe.look()) => match ready {
                Ok(()) => return Ok(()),
                Err(failure) => failure.to_string(),
            },
            status = ended => format!("{} ended before it was ready ({status})", self.name()),
        };
        let log = self.log().tail(LINES_SHOWN);
        bail!("{failure}; its log ends:\n{}", if log.is_empty() { "    (it is empty)" } else { &log })
    }
}

impl Deref for Node {
    type Target = Process;
    fn deref(&self) -> &Process {
        &self.process
    }
}

impl Probe {
    async fn look(&self) -> Result<()> {
        match self {
            Self::Succeeds(url) => succeeds(url).await,
            Self::Mongo(mongo) => mongo.look().await,
        }
    }
}

/// One GET; an answer that is no success is an error with the answer in it.
pub(crate) async fn succeeds(url: &str) -> Result<()> {
    let answer = HTTP.get(url).send().await?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    bail!("GET {url}: {status} {}", answer.text().await.unwrap_or_default())
}
