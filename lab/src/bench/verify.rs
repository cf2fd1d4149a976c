//! Reading jobs back over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::client::{Connection, get};

/// What is read of a job.
#[derive(Debug, Deserialize)]
struct Job<'a> {
    id: Uuid,
    status: &'a str,
    run: u32,
    attempt: u32,
    ended_at: Option<&'a str>,
}

/// Reads all jobs, over so many connections, and fails where one did not finish in its first attempt; how long
/// that took.
pub(super) async fn read_back(address: SocketAddr, connections: usize, ids: Vec<Uuid>) -> Result<Duration> {
    let began = Instant::now();
    let (ids, next) = (Arc::new(ids), Arc::new(AtomicUsize::new(0)));
    let mut readers = JoinSet::new();
    for _ in 0..connections.min(ids.len()) {
        let (ids, next) = (Arc::clone(&ids), Arc::clone(&next));
        readers.spawn(async move {
            let mut connection = Connection::open(address).await?;
            while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                let answer = connection.send(&get(address, &format!("/v1/jobs/{id}"))).await?;
                ensure!(answer.status == 200, "reading the job {id}: {}", answer.text());
                check(*id, answer.body)?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(reader) = readers.join_next().await {
        reader??;
    }
    Ok(began.elapsed())
}

fn check(id: Uuid, body: &[u8]) -> Result<()> {
    let job = parse(body)?;
    let good = job.id == id && job.status == "finished" && (job.run, job.attempt) == (1, 1);
    ensure!(good, "the job {id} was to be finished in its first run and attempt, and is {job:?}");
    Ok(())
}

/// How long ago a job ended, if it has.
pub(super) async fn ended_ago(
    connection: &mut Connection,
    address: SocketAddr,
    id: Uuid,
) -> Result<Option<Duration>> {
    let answer = connection.send(&get(address, &format!("/v1/jobs/{id}"))).await?;
    ensure!(answer.status == 200, "reading the job {id}: {}", answer.text());
    let Some(ended_at) = parse(answer.body)?.ended_at else { return Ok(None) };
    let ended_at = SystemTime::from(OffsetDateTime::parse(ended_at, &Rfc3339)?);
    Ok(Some(SystemTime::now().duration_since(ended_at).unwrap_or_default()))
}

fn parse(body: &[u8]) -> Result<Job<'_>> {
    serde_json::from_slice(body).context("a job that was read is not readable")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_was_run_twice_is_noticed() {
        let id = Uuid::from_u128(7);
        let body = |attempt| format!(r#"{{"id":"{id}","status":"finished","run":1,"attempt":{attempt}}}"#);
        check(id, body(1).as_bytes()).unwrap();
        assert!(check(id, body(2).as_bytes()).is_err());
    }
}
