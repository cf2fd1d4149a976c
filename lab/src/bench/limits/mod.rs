//! What the components can do here by themselves, with their clients on the same cores: the result is given as
//! a share of it.

mod broker;
mod database;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use serde::Serialize;
use stack::Stack;

use super::client::{Connection, get};

/// How long each is measured.
const TIME: Duration = Duration::from_secs(3);

/// Things done per second.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Limits {
    /// mongod, `insert_one` of a job, `j: true`, 64 at once.
    pub(super) insert_one: f64,
    /// Jobs a second by `insert_many` of 100, `j: true`, 4 at once.
    pub(super) insert_many: f64,
    /// Statements a second by `update` commands of 100, `j: true`, 4 at once.
    pub(super) update: f64,
    /// JetStream publishes into a file store, 1000 acks in flight.
    pub(super) publish: f64,
    /// JetStream messages pulled and plainly acked, in batches of 256.
    pub(super) pull: f64,
    /// `GET /health/live` through nginx over 64 connections.
    pub(super) http: f64,
}

impl Limits {
    /// Jobs a second if the steps of a job's life were all that is done, each at its own limit, one after the
    /// other: a share of a request, two inserts and two updates in groups, two publishes, two pulls. Each limit
    /// was measured with all cores for itself, so this is what the cores could do.
    pub(super) fn of_a_whole_life(&self, jobs_per_request: f64) -> f64 {
        let seconds = 1.0 / (self.http * jobs_per_request)
            + 2.0 / self.insert_many
            + 2.0 / self.update
            + 2.0 / self.publish
            + 2.0 / self.pull;
        1.0 / seconds
    }
}

/// Measures all, one after the other. The clients get as many threads as there are cores.
pub(super) async fn measure(stack: &Stack, address: SocketAddr) -> Result<Limits> {
    let (mongo, nats) = (stack.api_mongo().url().to_owned(), stack.nats().url().to_owned());
    let (answer, measured) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let limits = || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(async {
                let http = http(address).await?;
                let database = database::measure(&mongo).await?;
                let broker = broker::measure(&nats).await?;
                anyhow::Ok(Limits {
                    insert_one: database.insert_one,
                    insert_many: database.insert_many,
                    update: database.update,
                    publish: broker.publish,
                    pull: broker.pull,
                    http,
                })
            })
        };
        let _ = answer.send(limits());
    });
    measured.await.context("the limits were not measured")?
}

async fn http(address: SocketAddr) -> Result<f64> {
    let connections = try_join_all((0..64).map(|_| Connection::open(address))).await?;
    let connections = Arc::new(tokio::sync::Mutex::new(connections));
    let request = get(address, "/health/live");
    at_once(64, || {
        let (connections, request) = (Arc::clone(&connections), request.clone());
        async move {
            // Every task takes one and keeps it.
            let mut connection = connections.lock().await.pop().context("there are as many as tasks")?;
            let mut done = 0;
            let began = Instant::now();
            while began.elapsed() < TIME {
                let answer = connection.send(&request).await?;
                ensure!(answer.status == 200, "the service does not live: {}", answer.text());
                done += 1;
            }
            Ok(done)
        }
    })
    .await
}

/// Runs so many of these at once; each says how many things it did until the time was over. Things per second.
async fn at_once<F>(tasks: usize, mut task: impl FnMut() -> F) -> Result<f64>
where
    F: Future<Output = Result<usize>> + Send + 'static,
{
    let began = Instant::now();
    let done = Arc::new(AtomicUsize::new(0));
    let tasks = (0..tasks).map(|_| {
        let (task, done) = (task(), Arc::clone(&done));
        tokio::spawn(async move {
            done.fetch_add(task.await?, Ordering::Relaxed);
            anyhow::Ok(())
        })
    });
    for ended in try_join_all(tasks).await? {
        ended?;
    }
    Ok(done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_takes_as_long_as_all_its_steps() {
        let limits =
            Limits { insert_one: 1e4, insert_many: 2e5, update: 5e4, publish: 2e5, pull: 2e5, http: 5e4 };
        // 20 + 10 + 40 + 10 + 10 µs.
        assert!((limits.of_a_whole_life(1.0) - 1e6 / 90.0).abs() < 1.0);
        assert!(limits.of_a_whole_life(100.0) > limits.of_a_whole_life(1.0));
    }
}
