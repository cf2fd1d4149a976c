//! What it costs to be watched, as in production: each replica's metrics are read every few seconds, its log goes over TCP too,
//! and a share of the traces is recorded and sent. What receives it all is this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stack::Builder;
use stack::Stack;
use stack::traces::Receiver;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// How often metrics are read: as often as `monitoring/` has Prometheus do it.
const READ_EVERY: Duration = Duration::from_secs(5);

/// See the module. It receives as long as it lives.
pub(super) struct Observer {
    traces: Receiver,
    logs: u16,
    /// Each for as long as this lives.
    tasks: Vec<AbortOnDropHandle<()>>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    log_bytes: AtomicU64,
    metrics_bytes: AtomicU64,
}

impl Observer {
    pub(super) async fn start() -> Result<Self> {
        let (traces, seen) = (Receiver::start()?, Arc::<Seen>::default());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no port for logs")?;
        let logs = listener.local_addr()?.port();
        let tasks = vec![spawn(receive_logs(listener, Arc::clone(&seen)))];
        Ok(Self { traces, logs, tasks, seen })
    }

    /// Has the services tell it everything, and this share of the traces, from 0 to 1.
    pub(super) fn watches(&self, stack: Builder, share: f64) -> Builder {
        stack
            .metrics(true)
            .env("LOG_TCP", format!("127.0.0.1:{}", self.logs))
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", self.traces.url())
            .env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
            .env("OTEL_TRACES_SAMPLER_ARG", share)
    }

    /// Reads the metrics of all replicas from now on.
    pub(super) fn reads_metrics(&mut self, stack: &Stack) -> Result<()> {
        let http = hasty_client::http_client().no_proxy().build()?;
        for replica in stack.apis().iter().chain(stack.workers()) {
            let url = replica.metrics_url().context("a replica shows no metrics")?.to_owned();
            self.tasks.push(spawn(read_metrics(http.clone(), url, Arc::clone(&self.seen))));
        }
        Ok(())
    }

    /// What came, for a person.
    ///
    /// # Errors
    /// Where something did not come: then nothing was measured.
    pub(super) fn seen(&self, share: f64) -> Result<String> {
        let of = |bytes: &AtomicU64| bytes.load(Ordering::Relaxed) / 1024;
        let (logs, metrics) = (of(&self.seen.log_bytes), of(&self.seen.metrics_bytes));
        let spans = self.traces.spans().len();
        ensure!(logs > 0 && metrics > 0 && (spans > 0 || share == 0.0), "the observer saw nothing");
        Ok(format!("{metrics} KiB of metrics, {logs} KiB of logs and {spans} spans (or more) were received"))
    }
}

fn spawn(work: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(work))
}

async fn receive_logs(listener: TcpListener, seen: Arc<Seen>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(drain(stream, Arc::clone(&seen)));
    }
}

async fn drain(mut stream: TcpStream, seen: Arc<Seen>) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(read @ 1..) = stream.read(&mut bytes).await {
        seen.log_bytes.fetch_add(read as u64, Ordering::Relaxed);
    }
}

async fn read_metrics(http: reqwest::Client, url: String, seen: Arc<Seen>) {
    let mut ticks = tokio::time::interval(READ_EVERY);
    loop {
        ticks.tick().await;
        let Ok(answer) = http.get(&url).send().await else { continue };
        let length = answer.bytes().await.map_or(0, |bytes| bytes.len());
        seen.metrics_bytes.fetch_add(length as u64, Ordering::Relaxed);
    }
}
