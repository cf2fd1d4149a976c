//! The clients. What is not acknowledged is asked for again, until it is: a create under its key, a change as it is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::record::{Kind, Record};
use super::report::Report;

/// How long an answer may take: longer than nginx waits for one.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How soon something is asked for again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// How long the clients pause between two requests.
const PAUSE: Duration = Duration::from_millis(5);

/// How long all jobs may take to finish.
const JOBS_WITHIN: Duration = Duration::from_secs(120);

/// The clients, as long as they ask.
pub(super) struct Load {
    clients: Clients,
    running: JoinSet<()>,
}

#[derive(Clone)]
struct Clients {
    http: Client,
    url: Arc<str>,
    record: Arc<Record>,
    stop: CancellationToken,
    /// Each user who was acknowledged, with the group that was acknowledged last.
    users: Arc<Mutex<HashMap<String, u64>>>,
    jobs: Arc<Mutex<Vec<String>>>,
}

impl Load {
    /// Starts as many clients of each kind, and twice as many that read.
    pub(super) fn start(url: &str, clients: usize, record: Arc<Record>) -> Result<Self> {
        let http = Client::builder().no_proxy().timeout(ANSWER_WITHIN).build()?;
        let (users, jobs, stop) = (Arc::default(), Arc::default(), CancellationToken::new());
        let all = Clients { http, url: url.into(), record, stop, users, jobs };
        let mut running = JoinSet::new();
        for _ in 0..clients {
            running.spawn(all.clone().create());
            running.spawn(all.clone().change());
            running.spawn(all.clone().read());
            running.spawn(all.clone().read());
        }
        running.spawn(all.clone().create_jobs());
        Ok(Self { clients: all, running })
    }

    /// Lets the clients finish what they are at, and compares what is stored with what was acknowledged.
    pub(super) async fn finish(self) -> Result<Report> {
        let Self { clients, mut running } = self;
        clients.stop.cancel();
        while let Some(ended) = running.join_next().await {
            ended?;
        }
        let users = clients.users.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (mut kept, mut lost) = (0, 0);
        for (id, group) in users {
            let request =
                clients.request(Method::GET, &format!("/v1/users/{id}")).header("Cache-Control", "no-cache");
            let stored = clients.answered(request, StatusCode::OK).await.map(|user| user["group"].as_u64());
            if stored == Ok(Some(group)) {
                kept += 1;
            } else {
                lost += 1;
                clients
                    .record
                    .wrong(&format!("user {id} was acknowledged with group {group}, but: {stored:?}"));
            }
        }
        let counted = clients.answered(clients.request(Method::GET, "/v1/users/count"), StatusCode::OK).await;
        let counted = counted.map(|answer| answer["count"].as_u64());
        if counted != Ok(Some(kept + lost)) {
            clients
                .record
                .wrong(&format!("{} users were acknowledged, but there are {counted:?}", kept + lost));
        }
        let finished = clients.jobs_finished().await?;
        let (kept, lost) = (usize::try_from(kept)?, usize::try_from(lost)?);
        Ok(Report::of(&clients.record, kept, lost, finished))
    }
}

impl Clients {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// The answer's JSON where it has this status; else what there was.
    async fn answered(&self, request: RequestBuilder, wanted: StatusCode) -> Result<Value, String> {
        let answer = request
            .send()
            .await
            .map_err(|error| if error.is_timeout() { "no answer" } else { "broken off" })?;
        let status = answer.status();
        let body: Value = answer.json().await.map_err(|_| "no JSON")?;
        // A request that is sent again may have been done before.
        if status == wanted || (wanted == StatusCode::CREATED && status == StatusCode::OK) {
            return Ok(body);
        }
        Err(format!("{} {}", status.as_u16(), body["code"].as_str().unwrap_or_default()))
    }

    /// Asks until it is done.
    async fn surely(&self, kind: Kind, request: impl Fn() -> RequestBuilder, wanted: StatusCode) -> Value {
        let asked = Instant::now();
        loop {
            match self.answered(request(), wanted).await {
                Ok(body) => {
                    self.record.done(kind, asked);
                    return body;
                }
                Err(why) => self.record.failed(kind, why),
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    async fn create(self) {
        while !self.stop.is_cancelled() {
            let (name, key) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
            let user = json!({ "name": name, "email": format!("{name}@example.org"), "group": 0 });
            let request =
                || self.request(Method::POST, "/v1/users").header("Idempotency-Key", &key).json(&user);
            let created = self.surely(Kind::Create, request, StatusCode::CREATED).await;
            let id = created["id"].as_str().unwrap_or_default().to_owned();
            // At once, and it must be there.
            self.read_one(Kind::ReadNew, &id).await;
            self.users.lock().unwrap_or_else(PoisonError::into_inner).insert(id, 0);
            sleep(PAUSE).await;
        }
    }

    /// Changes users of its own, whom nobody else changes.
    async fn change(self) {
        let name = Uuid::new_v4().to_string();
        let user = json!({ "name": name, "email": format!("{name}@example.org"), "group": 0 });
        let key = Uuid::new_v4().to_string();
        let request = || self.request(Method::POST, "/v1/users").header("Idempotency-Key", &key).json(&user);
        let created = self.surely(Kind::Create, request, StatusCode::CREATED).await;
        let id = created["id"].as_str().unwrap_or_default().to_owned();
        let path = format!("/v1/users/{id}");
        let mut group = 0;
        while !self.stop.is_cancelled() {
            group += 1;
            let request = || self.request(Method::PATCH, &path).json(&json!({ "group": group }));
            let changed = self.surely(Kind::Change, request, StatusCode::OK).await;
            if changed["group"] != json!(group) {
                self.record.wrong(&format!("group {group} was asked for, and the answer was {changed}"));
            }
            self.users.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), group);
            sleep(PAUSE).await;
        }
    }

    async fn read(self) {
        while !self.stop.is_cancelled() {
            let known = {
                let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
                let place = if users.is_empty() { 0 } else { rand::random_range(0..users.len()) };
                users.keys().nth(place).cloned()
            };
            if let Some(id) = known {
                self.read_one(Kind::Read, &id).await;
            }
            sleep(PAUSE).await;
        }
    }

    /// Reads a user who is there, until it is read.
    async fn read_one(&self, kind: Kind, id: &str) {
        let asked = Instant::now();
        loop {
            match self.answered(self.request(Method::GET, &format!("/v1/users/{id}")), StatusCode::OK).await {
                Ok(_) => return self.record.done(kind, asked),
                Err(why) => {
                    if why.starts_with("404") {
                        self.record.wrong(&format!("user {id} was acknowledged, and not found"));
                        return;
                    }
                    self.record.failed(kind, why);
                }
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    async fn create_jobs(self) {
        while !self.stop.is_cancelled() {
            let key = Uuid::new_v4().to_string();
            let job = json!({ "kind": "noop" });
            let request =
                || self.request(Method::POST, "/v1/jobs").header("Idempotency-Key", &key).json(&job);
            let created = self.surely(Kind::Job, request, StatusCode::CREATED).await;
            let id = created["id"].as_str().unwrap_or_default().to_owned();
            self.jobs.lock().unwrap_or_else(PoisonError::into_inner).push(id);
            sleep(10 * PAUSE).await;
        }
    }

    /// How many jobs have finished; all of them do.
    async fn jobs_finished(&self) -> Result<usize> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let deadline = Instant::now() + JOBS_WITHIN;
        for id in &jobs {
            let request = || self.request(Method::GET, &format!("/v1/jobs/{id}?wait_s=10"));
            loop {
                let job = self.answered(request(), StatusCode::OK).await;
                if job.as_ref().is_ok_and(|job| job["status"] == "finished") {
                    break;
                }
                ensure!(Instant::now() < deadline, "job {id} has not finished: {job:?}");
            }
        }
        Ok(jobs.len())
    }
}
