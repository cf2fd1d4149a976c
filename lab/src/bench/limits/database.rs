//! What mongod can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};

use anyhow::{Result, ensure};
use bson::{RawArrayBuf, doc, rawdoc};
use mongodb::options::{Acknowledgment, WriteConcern};
use mongodb::{Client, Collection, Database};

use super::super::stored::Document;
use super::{TIME, at_once};

const GROUP: usize = 100;

pub(super) struct Rates {
    pub(super) insert_one: f64,
    pub(super) insert_many: f64,
    pub(super) update: f64,
}

/// In a database of its own, which is dropped in the end.
pub(super) async fn measure(url: &str) -> Result<Rates> {
    let database = Client::with_uri_str(url).await?.database("bench_limits");
    let insert_one = insert_one(&database).await?;
    let insert_many = insert_many(&database).await?;
    let update = update(&database).await?;
    database.drop().await?;
    Ok(Rates { insert_one, insert_many, update })
}

fn journaled() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Nodes(1)).journal(true).build()
}

fn job() -> Document {
    Document::created_at(SystemTime::now())
}

async fn insert_one(database: &Database) -> Result<f64> {
    let jobs: Collection<Document> = database.collection("one");
    at_once(64, || {
        let jobs = jobs.clone();
        async move {
            let (began, mut done) = (Instant::now(), 0);
            while began.elapsed() < TIME {
                jobs.insert_one(job()).write_concern(journaled()).await?;
                done += 1;
            }
            Ok(done)
        }
    })
    .await
}

async fn insert_many(database: &Database) -> Result<f64> {
    let jobs: Collection<Document> = database.collection("many");
    at_once(4, || {
        let jobs = jobs.clone();
        async move {
            let (began, mut done) = (Instant::now(), 0);
            while began.elapsed() < TIME {
                let group = (0..GROUP).map(|_| job());
                jobs.insert_many(group).ordered(false).write_concern(journaled()).await?;
                done += GROUP;
            }
            Ok(done)
        }
    })
    .await
}

/// One statement a document, as events are applied.
async fn update(database: &Database) -> Result<f64> {
    let jobs: Collection<Document> = database.collection("updated");
    let documents: Vec<Document> = (0..20_000).map(|_| job()).collect();
    jobs.insert_many(&documents).ordered(false).await?;
    let ids: Arc<Vec<_>> = Arc::new(documents.iter().map(Document::id).collect());
    let next = Arc::new(AtomicUsize::new(0));
    at_once(4, || {
        let (database, ids, next) = (database.clone(), Arc::clone(&ids), Arc::clone(&next));
        async move {
            let (began, mut done) = (Instant::now(), 0);
            while began.elapsed() < TIME {
                let first = next.fetch_add(GROUP, Ordering::Relaxed);
                let mut statements = RawArrayBuf::new();
                for index in first..first + GROUP {
                    let id = bson::Binary::from(ids[index % ids.len()]);
                    let round = i64::try_from(index)?;
                    let now = bson::DateTime::now();
                    statements.push(rawdoc! {
                        "q": { "_id": id, "run": 1_i64 },
                        "u": { "$set": { "position": round, "started_at": now, "ended_at": now } },
                    });
                }
                let concern = rawdoc! { "w": 1, "j": true };
                let command = rawdoc! {
                    "update": "updated", "updates": statements, "ordered": false, "writeConcern": concern,
                };
                let answer = database.run_raw_command(command).await?;
                let matched = answer.get_i32("n")?;
                ensure!(
                    matched == i32::try_from(GROUP)?,
                    "an update matched {matched}: {}",
                    doc! { "answer": answer }
                );
                done += GROUP;
            }
            Ok(done)
        }
    })
    .await
}
