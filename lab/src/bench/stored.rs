//! Filling the api-service's collection with jobs that have ended, as it would have written them
//! (`api-service/src/jobs/model.rs`), without the detour over running them.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use bson::{DateTime, Uuid as StoredUuid};
use futures::StreamExt;
use mongodb::options::{Acknowledgment, WriteConcern};
use mongodb::{Client, Collection};
use serde::Serialize;
use uuid::{Timestamp, Uuid};

use super::client::{Connection, get};

const BATCH: usize = 1000;
const AT_ONCE: usize = 4;
/// The jobs were created over this long a time, up to an hour ago.
const SPAN: Duration = Duration::from_secs(7 * 86_400);
const UP_TO: Duration = Duration::from_secs(3600);

/// A finished job's document.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Document {
    #[serde(rename = "_id")]
    id: StoredUuid,
    kind: &'static str,
    queue: &'static str,
    priority: &'static str,
    payload: String,
    timeout_s: u32,
    max_attempts: u32,
    created_at: DateTime,
    trace: String,
    run: u32,
    attempt: u32,
    status: &'static str,
    position: i64,
    worker: &'static str,
    started_at: DateTime,
    ended_at: DateTime,
    result: &'static str,
    attempts: Vec<Attempt>,
    epoch: u32,
}

#[derive(Clone, Debug, Serialize)]
struct Attempt {
    attempt: u32,
    worker: &'static str,
    started_at: String,
    ended_at: String,
    outcome: &'static str,
    charged: bool,
}

const WORKER: &str = "stored-1-0000";

impl Document {
    /// A job that was created at this time.
    pub(super) fn created_at(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let stamp = Timestamp::from_unix_time(since.as_secs(), since.subsec_nanos(), 0, 0);
        let id = Uuid::new_v7(stamp);
        let millis = i64::try_from(since.as_millis()).unwrap_or_default();
        let text = |millis| shared_events::Timestamp::from_millis(millis).to_string();
        let attempt = Attempt {
            attempt: 1,
            worker: WORKER,
            started_at: text(millis + 2),
            ended_at: text(millis + 4),
            outcome: "finished",
            charged: true,
        };
        Self {
            id: StoredUuid::from_bytes(id.into_bytes()),
            kind: "noop",
            queue: "default",
            priority: "normal",
            payload: format!(r#"{{"customer":{},"template":"welcome","locale":"en"}}"#, millis % 100_000),
            timeout_s: 46,
            max_attempts: 5,
            created_at: DateTime::from_millis(millis),
            trace: shared_events::TraceContext::start().to_string(),
            run: 1,
            attempt: 1,
            status: "finished",
            // Attempt 1, rank 3.
            position: 7,
            worker: WORKER,
            started_at: DateTime::from_millis(millis + 2),
            ended_at: DateTime::from_millis(millis + 4),
            result: "null",
            attempts: vec![attempt],
            epoch: 1,
        }
    }

    pub(super) fn id(&self) -> StoredUuid {
        self.id
    }
}

/// Stores so many jobs, and reads one back over HTTP: the service has to know them for its own.
pub(super) async fn fill(mongo_url: &str, address: SocketAddr, jobs: usize) -> Result<()> {
    let unjournaled = WriteConcern::builder().w(Acknowledgment::Nodes(1)).journal(false).build();
    let client = Client::with_uri_str(mongo_url).await?;
    let collection: Collection<Document> = client.database("hasty_api").collection("jobs");
    let begin = SystemTime::now() - UP_TO - SPAN;
    let created_at = |index: usize| begin + SPAN.mul_f64(index as f64 / jobs as f64);
    let batches = (0..jobs).step_by(BATCH).map(|first| {
        let (collection, concern) = (collection.clone(), unjournaled.clone());
        let documents: Vec<Document> =
            (first..jobs.min(first + BATCH)).map(|index| Document::created_at(created_at(index))).collect();
        async move {
            let id = documents[0].id;
            collection.insert_many(documents).ordered(false).write_concern(concern).await.map(|_| id)
        }
    });
    let mut filling = futures::stream::iter(batches).buffer_unordered(AT_ONCE);
    let mut known = None;
    while let Some(filled) = filling.next().await {
        known = Some(filled?);
    }
    if let Some(id) = known {
        let id = Uuid::from_bytes(id.bytes());
        let mut connection = Connection::open(address).await?;
        let answer = connection.send(&get(address, &format!("/v1/jobs/{id}"))).await?;
        ensure!(answer.status == 200, "the service does not read a stored job: {}", answer.text());
    }
    Ok(())
}
