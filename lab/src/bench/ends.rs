//! Learning the jobs' ends without asking the API for them: its replicas publish to each other what they have applied
//! to their database, one core NATS message a batch, and this subscribes to that.
//!
//! Such messages may be lost, so what was not received is asked for in the end.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::StreamExt;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::client::Connection;
use super::load::Sent;
use super::verify;

/// Where nothing is received for this long, the API is asked.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long no job may end before the wait is given up.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Subscribed until it is dropped.
pub(super) struct Ends {
    received: Arc<Received>,
    subscription: JoinHandle<()>,
}

#[derive(Default)]
struct Received {
    ends: Mutex<HashMap<Uuid, Instant>>,
    more: Notify,
}

/// How a load's jobs ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// When each job's end was received.
    pub(super) received: HashMap<Uuid, Instant>,
    /// The last end.
    pub(super) last: Instant,
    /// How many ends were not received and had to be asked for.
    pub(super) asked_for: usize,
}

impl Ends {
    pub(super) async fn subscribe(nats_url: &str) -> Result<Self> {
        let options = async_nats::ConnectOptions::new().name("bench").subscription_capacity(1 << 20);
        let client = stack::broker::connect_with(nats_url, options).await?;
        let mut changes = client.subscribe(shared_events::subjects::CHANGED).await?;
        client.flush().await?;
        let received = Arc::<Received>::default();
        let receiver = Arc::clone(&received);
        let subscription = tokio::spawn(async move {
            // The subscription lives as long as its client.
            let _client = client;
            while let Some(message) = changes.next().await {
                receiver.take(&message.payload, Instant::now());
            }
        });
        Ok(Self { received, subscription })
    }

    /// Waits until all of the load's jobs have ended; forgets what it had received.
    pub(super) async fn of(&self, sent: &Sent, address: SocketAddr) -> Result<Ended> {
        let mut open: HashSet<Uuid> =
            sent.requests.iter().flat_map(|request| &request.ids).copied().collect();
        let (mut last, mut asked_for, mut progress) = (sent.began, 0, Instant::now());
        loop {
            let more = self.received.more.notified();
            let known = self.received.ends().len();
            if known + asked_for >= sent.jobs() {
                let ends = self.received.ends();
                open.retain(|id| !ends.contains_key(id));
            }
            if open.is_empty() {
                break;
            }
            if tokio::time::timeout(RECEIVE_TIMEOUT, more).await.is_ok() {
                progress = Instant::now();
                continue;
            }
            let ends = self.received.ends().keys().copied().collect::<HashSet<_>>();
            open.retain(|id| !ends.contains(id));
            let found = ask_for(&open, address).await?;
            if !found.is_empty() {
                progress = Instant::now();
            }
            for (id, ago) in found {
                open.remove(&id);
                asked_for += 1;
                last = last.max(Instant::now().checked_sub(ago).unwrap_or(last));
            }
            ensure!(
                progress.elapsed() < TIMEOUT,
                "{} jobs do not end; one is {:?}",
                open.len(),
                open.iter().next()
            );
        }
        let received = std::mem::take(&mut *self.received.ends());
        let ids = sent.requests.iter().flat_map(|request| &request.ids);
        last = ids.filter_map(|id| received.get(id)).copied().fold(last, Instant::max);
        Ok(Ended { received, last, asked_for })
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.subscription.abort();
    }
}

impl Received {
    fn take(&self, message: &[u8], at: Instant) {
        // What only another version can read is asked for.
        let Ok(changes) = serde_json::from_slice::<Vec<(Uuid, u32, &str)>>(message) else { return };
        let mut ends = self.ends();
        for (id, _, status) in changes {
            if matches!(status, "finished" | "failed" | "cancelled") {
                ends.entry(id).or_insert(at);
            }
        }
        drop(ends);
        self.more.notify_one();
    }

    fn ends(&self) -> MutexGuard<'_, HashMap<Uuid, Instant>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those that have ended after all, and how long ago.
async fn ask_for(ids: &HashSet<Uuid>, address: SocketAddr) -> Result<Vec<(Uuid, Duration)>> {
    let mut connection = Connection::open(address).await?;
    let mut found = Vec::new();
    for id in ids {
        if let Some(ago) = verify::ended_ago(&mut connection, address, *id).await? {
            found.push((*id, ago));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ends_count_and_the_first_message_of_one() {
        let (received, id) = (Received::default(), Uuid::from_u128(7));
        let (early, late) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        received.take(format!(r#"[["{id}",1,"running"]]"#).as_bytes(), early);
        assert!(received.ends().is_empty());
        received.take(format!(r#"[["{id}",1,"finished"]]"#).as_bytes(), early);
        received.take(format!(r#"[["{id}",1,"finished"]]"#).as_bytes(), late);
        received.take(b"another message", late);
        assert_eq!(received.ends().get(&id), Some(&early));
    }
}
