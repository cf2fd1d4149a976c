//! A client of Hasty's HTTP, as one in any language would be.

use futures::StreamExt;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::contract::Seen;
use crate::{Answer, CONTRACT, JobView, NewJob};

/// How long [`Client::ended`] waits for a job's end, unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(120);

/// Talks to one base address: nginx's, or a replica's own.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    /// A client of this address, without a slash at its end.
    ///
    /// # Panics
    /// Never: nothing about it is special.
    #[must_use]
    pub fn new(base: &str) -> Self {
        // Longer than the longest wait that a client may ask for.
        let http = stack::http_client().no_proxy().timeout(Duration::from_secs(75));
        let http = http.build().expect("an HTTP client without special wishes can be built");
        Self { http, base: base.trim_end_matches('/').to_owned() }
    }

    /// `POST /v1/jobs`, whatever the answer.
    pub async fn try_create(&self, job: &NewJob) -> Answer {
        self.send(self.request(Method::POST, "/v1/jobs").json(job)).await
    }

    /// `POST /v1/jobs`, which is answered with 201.
    pub async fn create(&self, job: &NewJob) -> JobView {
        self.try_create(job).await.expect(201).job()
    }

    /// So many of them, most at once.
    pub async fn create_many(&self, job: &NewJob, count: usize) -> Vec<JobView> {
        // Fewer at once than a replica takes in.
        futures::stream::iter((0..count).map(|_| self.create(job))).buffered(200).collect().await
    }

    /// `GET /v1/jobs/{id}`.
    pub async fn job(&self, job: &JobView) -> JobView {
        self.get(&format!("/v1/jobs/{}", job.id)).await.expect(200).job()
    }

    /// `GET /v1/jobs/{id}?wait_s=…`: the job at its end, or after so many seconds.
    pub async fn job_within(&self, job: &JobView, wait_s: u64) -> JobView {
        self.get(&format!("/v1/jobs/{}?wait_s={wait_s}", job.id)).await.expect(200).job()
    }

    /// Waits until the job has ended.
    pub async fn ended(&self, job: &JobView) -> JobView {
        self.ended_within(job, PATIENCE).await
    }

    /// The same with more patience.
    ///
    /// # Panics
    /// Where it has not ended by then.
    pub async fn ended_within(&self, job: &JobView, patience: Duration) -> JobView {
        let deadline = Instant::now() + patience;
        loop {
            let left_s = deadline.saturating_duration_since(Instant::now()).as_secs().clamp(1, 60);
            let job = self.job_within(job, left_s).await;
            if job.status.is_terminal() {
                return job;
            }
            assert!(Instant::now() < deadline, "not ended after {patience:?}: {job:?}");
        }
    }

    /// The ends of all of them, in their order.
    pub async fn all_ended(&self, jobs: &[JobView]) -> Vec<JobView> {
        futures::future::join_all(jobs.iter().map(|job| self.ended(job))).await
    }

    /// The older system's `POST /`.
    pub async fn old_create(&self, object_id: &str) -> Answer {
        self.post("/", &json!({ "object_id": object_id })).await
    }

    /// The older system's `GET /{job_id}`.
    pub async fn old_job(&self, id: &str) -> Answer {
        self.get(&format!("/{id}")).await
    }

    /// `GET /health/ready`.
    pub async fn ready(&self) -> Answer {
        self.get("/health/ready").await
    }

    /// Any GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// Any POST of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Any request, to be completed and handed to [`Self::send`].
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// Sends a request that gets an answer.
    ///
    /// # Panics
    /// Where there is none.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        self.try_send(request).await.unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    /// Sends a request that may get no answer, since somebody is about to die.
    ///
    /// # Panics
    /// Where the answer is not as the API's document says.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn try_send(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
        let request = request.build()?;
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let asked = format!("{} {}", request.method(), request.url());
        let answer = self.http.execute(request).await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.text().await?;
        let content_type = headers.get("content-type").and_then(|value| value.to_str().ok());
        let seen = Seen { method: method.as_str(), path: &path, status, content_type, body: body.as_bytes() };
        if let Err(wrong) = CONTRACT.check(seen) {
            panic!("{asked} was answered with {status}, but {wrong}: {body}");
        }
        Ok(Answer { asked, status, headers, body })
    }
}
