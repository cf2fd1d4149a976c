//! Learning the jobs' ends without asking the API for them: its replicas tell each other what they have applied
//! to their database, one core NATS message a batch, and this listens.
//!
//! Such messages may be lost, so what was not heard of is asked for in the end.

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

/// Who hears of nothing for this long asks.
const SILENCE: Duration = Duration::from_secs(3);
/// How long no job may end before the wait is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Listens until it is dropped.
pub(super) struct Ends {
    heard: Arc<Heard>,
    listener: JoinHandle<()>,
}

#[derive(Default)]
struct Heard {
    ends: Mutex<HashMap<Uuid, Instant>>,
    more: Notify,
}

/// How a load's jobs ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// When each job's end was heard of.
    pub(super) heard: HashMap<Uuid, Instant>,
    /// The last end.
    pub(super) last: Instant,
    /// How many ends were not told and had to be asked for.
    pub(super) asked_for: usize,
}

impl Ends {
    pub(super) async fn listen(nats_url: &str) -> Result<Self> {
        let options = async_nats::ConnectOptions::new().name("bench").subscription_capacity(1 << 20);
        let client = stack::broker::connect_with(nats_url, options).await?;
        let mut told = client.subscribe(shared_events::subjects::CHANGED).await?;
        client.flush().await?;
        let heard = Arc::<Heard>::default();
        let hearing = Arc::clone(&heard);
        let listener = tokio::spawn(async move {
            // The subscription lives as long as its client.
            let _client = client;
            while let Some(message) = told.next().await {
                hearing.take(&message.payload, Instant::now());
            }
        });
        Ok(Self { heard, listener })
    }

    /// Waits until all of the load's jobs have ended; forgets what it had heard.
    pub(super) async fn of(&self, sent: &Sent, address: SocketAddr) -> Result<Ended> {
        let mut open: HashSet<Uuid> =
            sent.requests.iter().flat_map(|request| &request.ids).copied().collect();
        let (mut last, mut asked_for, mut progress) = (sent.began, 0, Instant::now());
        loop {
            let more = self.heard.more.notified();
            let known = self.heard.ends().len();
            if known + asked_for >= sent.jobs() {
                let ends = self.heard.ends();
                open.retain(|id| !ends.contains_key(id));
            }
            if open.is_empty() {
                break;
            }
            if tokio::time::timeout(SILENCE, more).await.is_ok() {
                progress = Instant::now();
                continue;
            }
            let ends = self.heard.ends().keys().copied().collect::<HashSet<_>>();
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
                progress.elapsed() < PATIENCE,
                "{} jobs do not end; one is {:?}",
                open.len(),
                open.iter().next()
            );
        }
        let heard = std::mem::take(&mut *self.heard.ends());
        let ids = sent.requests.iter().flat_map(|request| &request.ids);
        last = ids.filter_map(|id| heard.get(id)).copied().fold(last, Instant::max);
        Ok(Ended { heard, last, asked_for })
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Heard {
    fn take(&self, message: &[u8], at: Instant) {
        // Another version's news is not ours to read; what it was about is asked for.
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
    fn only_ends_count_and_the_first_news_of_one() {
        let (heard, id) = (Heard::default(), Uuid::from_u128(7));
        let (early, late) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        heard.take(format!(r#"[["{id}",1,"running"]]"#).as_bytes(), early);
        assert!(heard.ends().is_empty());
        heard.take(format!(r#"[["{id}",1,"finished"]]"#).as_bytes(), early);
        heard.take(format!(r#"[["{id}",1,"finished"]]"#).as_bytes(), late);
        heard.take(b"news of another kind", late);
        assert_eq!(heard.ends().get(&id), Some(&early));
    }
}
