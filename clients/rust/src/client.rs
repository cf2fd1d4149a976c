//! One method an operation.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use reqwest::{Method, StatusCode, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shared_events::JobId;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{Attempt, Error, Job, NewJob, Problem, http_client};

/// The longest that one request waits for a job's end.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The longest pause before a request is sent again, whatever the service says.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The problem of a job that there is not.
const NOT_FOUND: &str = "job_not_found";

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often a request is sent again that had no answer, or was told to come again; 5 by default.
    pub retries: usize,
    /// The first pause before that, doubled each time, with jitter; 100 ms by default. `Retry-After` comes first.
    pub first_pause: Duration,
    /// How long an answer may take, besides what the service was asked to wait; 15 s by default.
    pub answer_timeout: Duration,
    /// Whether the environment's proxies are used (`HTTP_PROXY` and others); true by default.
    pub proxies: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retries: 5,
            first_pause: Duration::from_millis(100),
            answer_timeout: Duration::from_secs(15),
            proxies: true,
        }
    }
}

/// Talks to one Hasty. Copies share its connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    settings: Settings,
}

/// A request, to be sent as often as is needed.
struct Request<'a> {
    method: Method,
    path: &'a str,
    query: &'a [(&'static str, String)],
    key: Option<&'a str>,
    /// In JSON.
    body: Option<Vec<u8>>,
    /// How long the service was asked to wait.
    wait: Duration,
    /// When it is no longer sent again.
    deadline: Option<Instant>,
    /// Whether doing it twice is the same as doing it once.
    may_repeat: bool,
}

impl<'a> Request<'a> {
    const fn new(method: Method, path: &'a str) -> Self {
        Self {
            method,
            path,
            query: &[],
            key: None,
            body: None,
            wait: Duration::ZERO,
            deadline: None,
            may_repeat: true,
        }
    }
}

impl Client {
    /// A client of the Hasty at this address, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// Where no HTTP client can be made.
    pub fn new(address: &str) -> Result<Self, Error> {
        Self::with_settings(address, Settings::default())
    }

    /// The same with settings.
    ///
    /// # Errors
    /// Where no HTTP client can be made.
    pub fn with_settings(address: &str, settings: Settings) -> Result<Self, Error> {
        let http = http_client();
        let http = if settings.proxies { http } else { http.no_proxy() }.build()?;
        Ok(Self { http, base: address.trim_end_matches('/').to_owned(), settings })
    }

    /// Creates a job, once, under a fresh idempotency key.
    ///
    /// # Errors
    /// [`Error`]; `duplicate_object` where its object has a job already.
    pub async fn create(&self, job: &NewJob) -> Result<Job, Error> {
        self.create_with_key(job, &Uuid::new_v4().to_string()).await
    }

    /// Creates a job, or finds the one that the same request has created under this key within 24 hours.
    ///
    /// # Errors
    /// [`Error`]; `idempotency_key_reused` where it was another request, `job_gone` where that job is gone.
    pub async fn create_with_key(&self, job: &NewJob, key: &str) -> Result<Job, Error> {
        let request =
            Request { key: Some(key), body: Some(json(job)?), ..Request::new(Method::POST, "/v1/jobs") };
        self.send(request).await
    }

    /// Creates up to 1,000 jobs, each of them once, with an answer for each.
    ///
    /// # Errors
    /// [`Error`] where none was created.
    pub async fn create_all(&self, jobs: &[NewJob]) -> Result<Vec<Result<Job, Problem>>, Error> {
        #[derive(Serialize)]
        struct Jobs<'a> {
            jobs: &'a [NewJob],
        }
        #[derive(Deserialize)]
        struct Results {
            results: Vec<One>,
        }
        #[derive(Deserialize)]
        struct One {
            job: Option<Job>,
            error: Option<Problem>,
        }
        let key = Uuid::new_v4().to_string();
        let body = json(&Jobs { jobs })?;
        let request =
            Request { key: Some(&key), body: Some(body), ..Request::new(Method::POST, "/v1/jobs/batch") };
        let Results { results } = self.send(request).await?;
        let one = |one: One| match (one.job, one.error) {
            (Some(job), _) => Ok(Ok(job)),
            (None, Some(problem)) => Ok(Err(problem)),
            (None, None) => Err(Error::Invalid("a result has neither job nor error".to_owned())),
        };
        results.into_iter().map(one).collect()
    }

    /// Shows a job.
    ///
    /// # Errors
    /// [`Error`]; `job_not_found`.
    pub async fn get(&self, id: JobId) -> Result<Job, Error> {
        self.get_json(&format!("/v1/jobs/{id}"), &[]).await
    }

    /// Waits until a job's latest run has ended, for `at_most`, and shows how far it is then.
    ///
    /// # Errors
    /// [`Error`]; `job_not_found`.
    pub async fn wait(&self, id: JobId, at_most: Duration) -> Result<Job, Error> {
        // Without one where it is further away than time goes.
        let (deadline, path) = (Instant::now().checked_add(at_most), format!("/v1/jobs/{id}"));
        loop {
            let left =
                deadline.map_or(MAX_WAIT, |deadline| deadline.saturating_duration_since(Instant::now()));
            let wait = left.min(MAX_WAIT);
            let query = [("wait_s", wait.as_secs_f64().ceil().to_string())];
            let request = Request { query: &query, wait, deadline, ..Request::new(Method::GET, &path) };
            let job: Job = self.send(request).await?;
            if job.status.is_terminal() || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(job);
            }
        }
    }

    /// Has a job cancelled, and shows how far that is after a second at most. It is not sent again where there was no
    /// answer: meanwhile the job may have a next run.
    ///
    /// # Errors
    /// [`Error`]; `job_not_found`, `already_ended`.
    pub async fn cancel(&self, id: JobId, reason: Option<&str>) -> Result<Job, Error> {
        #[derive(Serialize)]
        struct Cancel<'a> {
            reason: &'a str,
        }
        let path = format!("/v1/jobs/{id}/cancel");
        let body = reason.map(|reason| json(&Cancel { reason })).transpose()?;
        self.send(Request { body, may_repeat: false, ..Request::new(Method::POST, &path) }).await
    }

    /// Starts the next run of a job that has ended. It is not sent again where there was no answer.
    ///
    /// # Errors
    /// [`Error`]; `job_not_found`, `not_ended`.
    pub async fn retry(&self, id: JobId) -> Result<Job, Error> {
        let path = format!("/v1/jobs/{id}/retry");
        self.send(Request { may_repeat: false, ..Request::new(Method::POST, &path) }).await
    }

    /// Deletes a job that has ended.
    ///
    /// # Errors
    /// [`Error`]; `job_not_found`, `not_ended`.
    pub async fn delete(&self, id: JobId) -> Result<(), Error> {
        self.answer(&Request::new(Method::DELETE, &format!("/v1/jobs/{id}"))).await.map(drop)
    }

    /// Lists a job's attempts, the latest last.
    ///
    /// # Errors
    /// [`Error`]; `job_not_found`.
    pub async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, Error> {
        #[derive(Deserialize)]
        struct Attempts {
            attempts: Vec<Attempt>,
        }
        let Attempts { attempts } = self.get_json(&format!("/v1/jobs/{id}/attempts"), &[]).await?;
        Ok(attempts)
    }

    pub(crate) async fn get_json<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&'static str, String)],
    ) -> Result<T, Error> {
        self.send(Request { query, ..Request::new(Method::GET, path) }).await
    }

    /// A POST without a body that may be sent twice.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.send(Request::new(Method::POST, path)).await
    }

    async fn send<T: DeserializeOwned>(&self, request: Request<'_>) -> Result<T, Error> {
        let body = self.answer(&request).await?;
        serde_json::from_slice(&body).map_err(|error| Error::Unreadable(error.to_string()))
    }

    /// The answer that is wanted; sends the request again where that can help.
    async fn answer(&self, request: &Request<'_>) -> Result<Vec<u8>, Error> {
        let Settings { retries, first_pause, .. } = self.settings;
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(first_pause)
            .with_jitter()
            .with_max_times(retries)
            .build();
        let mut is_first = true;
        loop {
            let error = match self.try_once(request).await {
                Ok(answer) => return Ok(answer),
                // The first one was carried out after all.
                Err(error)
                    if request.method == Method::DELETE && !is_first && error.code() == Some(NOT_FOUND) =>
                {
                    return Ok(Vec::new());
                }
                Err(error) => error,
            };
            is_first = false;
            let is_over = request.deadline.is_some_and(|deadline| Instant::now() >= deadline);
            let Some(pause) = pauses.next().filter(|_| !is_over && may_help(request, &error)) else {
                return Err(error);
            };
            let told = match &error {
                Error::Problem(problem) => problem.retry_after_s.map(Duration::from_secs),
                _ => None,
            };
            let left = request.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let pause = told.unwrap_or(pause).min(MAX_PAUSE);
            tokio::time::sleep(left.map_or(pause, |left| pause.min(left))).await;
        }
    }

    async fn try_once(&self, request: &Request<'_>) -> Result<Vec<u8>, Error> {
        let mut builder = self.http.request(request.method.clone(), format!("{}{}", self.base, request.path));
        builder = builder.query(request.query).timeout(request.wait + self.settings.answer_timeout);
        if let Some(key) = request.key {
            builder = builder.header("idempotency-key", key);
        }
        if let Some(body) = &request.body {
            builder = builder.header(header::CONTENT_TYPE, "application/json").body(body.clone());
        }
        let answer = builder.send().await?;
        let retry_after = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after_s = retry_after.and_then(|text| text.parse().ok());
        let is_success = answer.status().is_success();
        // A body that breaks off is no answer.
        let body = answer.bytes().await?;
        if is_success {
            return Ok(body.into());
        }
        let problem: Problem =
            serde_json::from_slice(&body).map_err(|error| Error::Unreadable(error.to_string()))?;
        Err(Error::Problem(Box::new(Problem { retry_after_s, ..problem })))
    }
}

/// A body, to the letter: no part of it is read on the way.
fn json(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Invalid(error.to_string()))
}

/// Whether the same request may be answered better later, without doing something twice.
fn may_help(request: &Request<'_>, error: &Error) -> bool {
    match error {
        Error::Problem(problem) => {
            let gone_through = [StatusCode::BAD_GATEWAY, StatusCode::GATEWAY_TIMEOUT];
            problem.status == StatusCode::SERVICE_UNAVAILABLE.as_u16()
                && (request.may_repeat || problem.code == "outbox_full")
                || gone_through.iter().any(|status| problem.status == status.as_u16()) && request.may_repeat
        }
        Error::NoAnswer(error) => request.may_repeat || error.is_connect(),
        Error::Invalid(_) | Error::Unreadable(_) => false,
    }
}
