//! The little of Hasty's HTTP that the demo uses, as a client in any language would.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

pub(super) struct Client {
    http: reqwest::Client,
    jobs: String,
}

/// What the demo reads of a job.
#[derive(Debug, Deserialize)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) status: String,
    #[serde(default)]
    pub(super) attempt: u32,
    pub(super) worker: Option<String>,
    pub(super) result: Option<Value>,
    pub(super) error: Option<Value>,
    pub(super) reason: Option<String>,
}

pub(super) enum Created {
    Job(Job),
    Refused { status: u16, body: String },
}

impl Client {
    pub(super) fn new(url: &str) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        Ok(Self { http, jobs: format!("{url}/v1/jobs") })
    }

    pub(super) async fn create(&self, request: &Value) -> Result<Created> {
        let answer = self.http.post(&self.jobs).json(request).send().await?;
        let status = answer.status().as_u16();
        let body = answer.text().await?;
        if status != 201 {
            return Ok(Created::Refused { status, body });
        }
        let job = serde_json::from_str(&body);
        job.map(Created::Job).with_context(|| format!("this was to be a job: {body}"))
    }

    pub(super) async fn job(&self, id: &str) -> Result<Job> {
        let answer = self.http.get(format!("{}/{id}", self.jobs)).send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        if !status.is_success() {
            bail!("reading the job {id}: {status} {body}");
        }
        serde_json::from_str(&body).with_context(|| format!("this was to be a job: {body}"))
    }
}

impl Job {
    pub(super) fn is_over(&self) -> bool {
        ["finished", "failed", "cancelled"].contains(&self.status.as_str())
    }

    /// How it ended, in a few words.
    pub(super) fn outcome(&self) -> String {
        let details = [
            self.reason.clone(),
            self.result.as_ref().filter(|result| !result.is_null()).map(Value::to_string),
            self.error.as_ref().filter(|error| !error.is_null()).map(Value::to_string),
        ];
        let details: Vec<_> = details.into_iter().flatten().collect();
        format!("{:<9}  {}", self.status, details.join(" "))
    }
}
