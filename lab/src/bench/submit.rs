//! One request that creates jobs, and what its answer says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::client::{Connection, post};

/// A prepared request; the same bytes are sent again and again.
#[derive(Clone, Debug)]
pub(super) struct Request {
    bytes: Arc<[u8]>,
    jobs: usize,
    batch: bool,
}

/// What became of a request.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) ids: Vec<Uuid>,
    /// Just before it was sent.
    pub(super) began: Instant,
    /// From then to the whole answer.
    pub(super) took: Duration,
    /// How often it was refused with 503 before.
    pub(super) refusals: u64,
}

impl Request {
    /// One job in a request of its own.
    pub(super) fn single(address: SocketAddr, job: &serde_json::Value) -> Self {
        Self { bytes: post(address, "/v1/jobs", &job.to_string()).into(), jobs: 1, batch: false }
    }

    /// So many jobs in one request.
    pub(super) fn batch(address: SocketAddr, job: &serde_json::Value, jobs: usize) -> Self {
        let body = json!({ "jobs": vec![job; jobs] }).to_string();
        Self { bytes: post(address, "/v1/jobs/batch", &body).into(), jobs, batch: true }
    }

    /// Sends it, as often as it takes until the service has room for it.
    pub(super) async fn send(&self, connection: &mut Connection, began: Instant) -> Result<Accepted> {
        let mut refusals = 0;
        loop {
            let answer = connection.send(&self.bytes).await?;
            match (answer.status, self.batch) {
                (201, false) => {
                    let ids = vec![id_of_single(answer.body)?];
                    return Ok(Accepted { ids, began, took: began.elapsed(), refusals });
                }
                (200, true) => {
                    let took = began.elapsed();
                    let ids = ids_of_batch(answer.body)?;
                    ensure!(ids.len() == self.jobs, "{} answers to {} jobs", ids.len(), self.jobs);
                    return Ok(Accepted { ids, began, took, refusals });
                }
                (503, _) => {
                    refusals += 1;
                    ensure!(refusals < 100, "refused 100 times: {}", answer.text());
                    tokio::time::sleep(Duration::from_secs(answer.retry_after_s.unwrap_or(1))).await;
                }
                _ => bail!("jobs were not created: {}", answer.text()),
            }
        }
    }
}

#[derive(Deserialize)]
struct Created {
    id: Uuid,
}

fn id_of_single(body: &[u8]) -> Result<Uuid> {
    let created: Created = serde_json::from_slice(body).context("a 201 is no job")?;
    Ok(created.id)
}

fn ids_of_batch(body: &[u8]) -> Result<Vec<Uuid>> {
    #[derive(Deserialize)]
    struct Answers<'a> {
        #[serde(borrow)]
        results: Vec<One<'a>>,
    }
    #[derive(Deserialize)]
    struct One<'a> {
        status: u16,
        job: Option<Created>,
        #[serde(borrow)]
        error: Option<&'a RawValue>,
    }
    let answers: Answers<'_> =
        serde_json::from_slice(body).context("the answer to a batch is not readable")?;
    let id = |one: &One<'_>| match &one.job {
        Some(job) if one.status == 201 => Ok(job.id),
        _ => {
            bail!("a job of a batch was not created: {} {}", one.status, one.error.map_or("", RawValue::get))
        }
    };
    answers.results.iter().map(id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01942f6e-0000-7000-8000-0000deadbeef";

    #[test]
    fn a_batchs_answers_are_read_in_order_and_a_refused_one_is_named() {
        let body = format!(r#"{{"results":[{{"status":201,"job":{{"id":"{ID}","kind":"noop"}}}}]}}"#);
        assert_eq!(ids_of_batch(body.as_bytes()).unwrap(), [ID.parse::<Uuid>().unwrap()]);
        let body = r#"{"results":[{"status":422,"error":{"code":"invalid"}}]}"#;
        let error = ids_of_batch(body.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("422") && error.contains("invalid"), "{error}");
    }

    #[test]
    fn a_batch_has_as_many_jobs_as_asked_for() {
        let address = "127.0.0.1:1".parse().unwrap();
        let request = Request::batch(address, &json!({ "kind": "noop" }), 3);
        let text = String::from_utf8(request.bytes.to_vec()).unwrap();
        assert!(text.starts_with("POST /v1/jobs/batch HTTP/1.1\r\n"));
        assert_eq!(text.matches("noop").count(), 3);
    }
}
