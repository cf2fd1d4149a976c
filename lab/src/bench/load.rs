//! The load: as many connections as asked for, each sending its next request when its last was answered; or
//! one job every so often, whatever became of those before.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::try_join_all;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::client::Connection;
use super::submit::{Accepted, Request};

/// What a load's requests became, in the order of their answers.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) requests: Vec<Accepted>,
    /// Just before the first request.
    pub(super) began: Instant,
    /// From then to the last answer.
    pub(super) took: Duration,
}

impl Sent {
    pub(super) fn jobs(&self) -> usize {
        self.requests.iter().map(|request| request.ids.len()).sum()
    }

    pub(super) fn refusals(&self) -> u64 {
        self.requests.iter().map(|request| request.refusals).sum()
    }
}

/// Sends the requests over so many connections, each connection one at a time.
pub(super) async fn all_at_once(
    address: SocketAddr,
    connections: usize,
    requests: Vec<Request>,
) -> Result<Sent> {
    let open = (0..connections.min(requests.len())).map(|_| Connection::open(address));
    let open = try_join_all(open).await?;
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
    let began = Instant::now();
    let mut senders = JoinSet::new();
    for mut connection in open {
        let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
        senders.spawn(async move {
            let mut accepted = Vec::new();
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                accepted.push(request.send(&mut connection, Instant::now()).await?);
            }
            anyhow::Ok(accepted)
        });
    }
    let mut accepted = Vec::with_capacity(requests.len());
    while let Some(sender) = senders.join_next().await {
        accepted.append(&mut sender??);
    }
    Ok(Sent { requests: accepted, began, took: began.elapsed() })
}

/// Sends a request `rate` times a second, and does not wait for answers in between: a service that becomes slow
/// is asked as often as before.
pub(super) async fn steadily(
    address: SocketAddr,
    request: Request,
    rate: f64,
    time: Duration,
) -> Result<Sent> {
    let (request, idle) = (Arc::new(request), Arc::new(Mutex::new(vec![Connection::open(address).await?])));
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let began = Instant::now();
    let (mut senders, mut accepted) = (JoinSet::new(), Vec::new());
    while began.elapsed() < time {
        ticks.tick().await;
        // The timer's own lateness, up to a millisecond, is not the service's.
        let due = Instant::now();
        let (request, idle) = (Arc::clone(&request), Arc::clone(&idle));
        senders.spawn(async move {
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match kept {
                Some(connection) => connection,
                None => Connection::open(address).await?,
            };
            let answer = request.send(&mut connection, due).await?;
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            anyhow::Ok(answer)
        });
        while let Some(sender) = senders.try_join_next() {
            accepted.push(sender??);
        }
    }
    while let Some(sender) = senders.join_next().await {
        accepted.push(sender??);
    }
    Ok(Sent { requests: accepted, began, took: began.elapsed() })
}
