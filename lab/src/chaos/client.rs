//! A client of one job: creates it, alone or with others in a batch, maybe cancels it, watches it to its end, maybe has
//! it run again, maybe deletes it; and remembers the answers. And one that acts on all jobs of a queue.

use std::time::Duration;

use anyhow::{Result, bail};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use shared_events::{JobId, Position, Status};
use tokio::time::Instant;

use super::mix::{Action, SWEPT, Script, Sweep};
use super::record::{Client, Created, Deleted};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(300);

/// How to reach the API, and for how long.
#[derive(Clone, Debug)]
pub(super) struct Api {
    http: reqwest::Client,
    jobs: String,
    /// A client that has no answer by then gives up.
    deadline: tokio::sync::watch::Receiver<Option<Instant>>,
}

/// What is read of a job.
#[derive(Debug, Deserialize)]
struct View {
    id: JobId,
    run: u32,
    attempt: u32,
    status: Status,
}

#[derive(Debug, Deserialize)]
struct Batch {
    results: Vec<BatchAnswer>,
}

#[derive(Debug, Deserialize)]
struct BatchAnswer {
    status: u16,
    job: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
struct Page {
    next_page_token: String,
}

/// An answer, or none that says anything.
enum Answer {
    Clear(StatusCode, String),
    Unclear,
}

impl Api {
    pub(super) fn new(url: &str, deadline: tokio::sync::watch::Receiver<Option<Instant>>) -> Result<Self> {
        let http =
            reqwest::Client::builder().no_proxy().timeout(TIMEOUT).pool_max_idle_per_host(64).build()?;
        Ok(Self { http, jobs: format!("{url}/v1/jobs"), deadline })
    }

    fn is_over(&self) -> bool {
        self.deadline.borrow().is_some_and(|deadline| Instant::now() > deadline)
    }

    /// Plays scripts to their ends; several are created together.
    pub(super) async fn play(&self, scripts: Vec<Script>) -> Vec<Client> {
        let mut clients: Vec<Client> = scripts.into_iter().map(Client::new).collect();
        if clients.len() > 1
            && let Err(error) = self.create_all(&mut clients).await
        {
            clients[0].wrong.push(format!("{error:#}"));
            return clients;
        }
        let lives = clients.iter_mut().map(|client| async move {
            if let Err(error) = self.live(client).await {
                client.wrong.push(format!("{error:#}"));
            }
        });
        futures::future::join_all(lives).await;
        clients
    }

    async fn live(&self, client: &mut Client) -> Result<()> {
        let created = match client.created {
            Created::Yes(id) => Some(id),
            Created::Unknown if client.script.batch.is_none() => self.create(client).await?,
            Created::Unknown | Created::Refused => None,
        };
        let Some(id) = created else { return Ok(()) };
        if let Some(pause) = client.script.cancel_after_ms {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            self.cancel(client, id).await?;
        }
        self.watch(client, id).await?;
        for _ in 0..client.script.retries {
            if !self.retry(client, id).await? {
                return Ok(());
            }
            self.watch(client, id).await?;
        }
        if client.script.deletes && client.seen.last().is_some_and(|seen| seen.status.is_terminal()) {
            self.delete(client, id).await?;
        }
        Ok(())
    }

    /// Asked for once: without keys a second try could make second jobs.
    async fn create_all(&self, clients: &mut [Client]) -> Result<()> {
        let bodies: Vec<_> = clients.iter().map(|client| client.script.body()).collect();
        let request = self.http.post(format!("{}/batch", self.jobs)).json(&json!({ "jobs": bodies }));
        let body = match send(request).await {
            Answer::Clear(StatusCode::OK, body) => body,
            Answer::Clear(status, body) => bail!("a batch was answered with {status}: {body}"),
            Answer::Unclear => return Ok(()),
        };
        let Batch { results } = serde_json::from_str(&body)?;
        if results.len() != clients.len() {
            bail!("a batch of {} got {} answers", clients.len(), results.len());
        }
        for (client, BatchAnswer { status, job }) in clients.iter_mut().zip(results) {
            match (status, job) {
                (201, Some(job)) => client.created = Created::Yes(saw(client, job.get())?.id),
                (409, None) if client.script.object.is_some() => client.created = Created::Refused,
                (500.., None) => {}
                (status, job) => bail!("a batch's member was answered with {status}: {job:?}"),
            }
        }
        Ok(())
    }

    async fn create(&self, client: &mut Client) -> Result<Option<JobId>> {
        let tag = client.script.tag;
        loop {
            let mut request = self.http.post(&self.jobs).json(&client.script.body());
            if client.script.keyed {
                request = request.header("idempotency-key", format!("chaos-{tag}"));
            }
            match send(request).await {
                Answer::Clear(StatusCode::CREATED | StatusCode::OK, body) => {
                    let view = saw(client, &body)?;
                    client.created = Created::Yes(view.id);
                    return Ok(Some(view.id));
                }
                Answer::Clear(StatusCode::CONFLICT, _) if client.script.object.is_some() => {
                    client.created = Created::Refused;
                    return Ok(None);
                }
                Answer::Clear(status, body) => bail!("create was answered with {status}: {body}"),
                // Without a key a second try could be a second job.
                Answer::Unclear if !client.script.keyed || self.is_over() => return Ok(None),
                Answer::Unclear => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn cancel(&self, client: &mut Client, id: JobId) -> Result<()> {
        for _ in 0..10 {
            // Carried out or not, it may have been.
            client.cancels.insert(client.seen.last().map_or(1, |seen| seen.run));
            let request = self.http.post(format!("{}/{id}/cancel", self.jobs));
            match send(request).await {
                Answer::Clear(StatusCode::OK | StatusCode::ACCEPTED, body) => {
                    return saw(client, &body).map(drop);
                }
                Answer::Clear(StatusCode::CONFLICT, _) => return Ok(()),
                Answer::Clear(status, body) => bail!("cancel was answered with {status}: {body}"),
                Answer::Unclear => tokio::time::sleep(PAUSE).await,
            }
        }
        Ok(())
    }

    /// Until the end, or until the time is over.
    async fn watch(&self, client: &mut Client, id: JobId) -> Result<()> {
        while !self.is_over() {
            match send(self.http.get(format!("{}/{id}?wait_s=5", self.jobs))).await {
                Answer::Clear(StatusCode::OK, body) if saw(client, &body)?.status.is_terminal() => {
                    return Ok(());
                }
                Answer::Clear(StatusCode::OK, _) => {}
                Answer::Clear(status, body) => bail!("read was answered with {status}: {body}"),
                Answer::Unclear => tokio::time::sleep(PAUSE).await,
            }
        }
        Ok(())
    }

    /// Whether there is a next run to watch.
    async fn retry(&self, client: &mut Client, id: JobId) -> Result<bool> {
        let mut unclear = false;
        while !self.is_over() {
            match send(self.http.post(format!("{}/{id}/retry", self.jobs))).await {
                Answer::Clear(StatusCode::ACCEPTED, body) => {
                    saw(client, &body)?;
                    client.retries += 1;
                    return Ok(true);
                }
                // An earlier try was carried out after all.
                Answer::Clear(StatusCode::CONFLICT, _) if unclear => return Ok(true),
                // A sweep was faster.
                Answer::Clear(StatusCode::CONFLICT, _) if client.script.is_swept() => return Ok(true),
                Answer::Clear(status, body) => bail!("retry was answered with {status}: {body}"),
                Answer::Unclear => {
                    unclear = true;
                    client.unclear_retries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        Ok(false)
    }

    async fn delete(&self, client: &mut Client, id: JobId) -> Result<()> {
        let job = format!("{}/{id}", self.jobs);
        while !self.is_over() {
            client.deleted = Deleted::Maybe;
            match send(self.http.delete(&job)).await {
                Answer::Clear(StatusCode::NO_CONTENT, _) => break,
                // An earlier try was carried out after all, maybe one of nginx's, which sends a DELETE to another
                // replica where the first one dies. A job that was lost instead has left no stub.
                Answer::Clear(StatusCode::NOT_FOUND, _) => break,
                // A sweep has had it run again.
                Answer::Clear(StatusCode::CONFLICT, _) if client.script.is_swept() => return Ok(()),
                Answer::Clear(status, body) => bail!("delete was answered with {status}: {body}"),
                Answer::Unclear => tokio::time::sleep(PAUSE).await,
            }
        }
        if self.is_over() {
            return Ok(());
        }
        client.deleted = Deleted::Yes;
        match send(self.http.get(&job)).await {
            Answer::Clear(StatusCode::NOT_FOUND, _) | Answer::Unclear => Ok(()),
            Answer::Clear(status, body) => bail!("a deleted job was read with {status}: {body}"),
        }
    }

    /// Acts on all jobs of a queue, page by page; once, since a retry that was carried out may be asked for again.
    pub(super) async fn sweep(&self, sweep: Sweep) -> Result<()> {
        let action = match sweep.action {
            Action::Cancel => "cancel",
            Action::Retry => "retry",
        };
        let mut token = String::new();
        while !self.is_over() {
            let url = format!("{}/{action}?queue={SWEPT}&page_token={token}", self.jobs);
            match send(self.http.post(url)).await {
                Answer::Clear(StatusCode::OK, body) => {
                    token = serde_json::from_str::<Page>(&body)?.next_page_token;
                }
                Answer::Clear(status, body) => bail!("a sweep was answered with {status}: {body}"),
                Answer::Unclear => return Ok(()),
            }
            if token.is_empty() {
                break;
            }
        }
        Ok(())
    }
}

/// Server errors and broken connections say nothing about what was done.
async fn send(request: RequestBuilder) -> Answer {
    let Ok(response) = request.send().await else { return Answer::Unclear };
    let status = response.status();
    match Response::text(response).await {
        Ok(body) if !status.is_server_error() => Answer::Clear(status, body),
        _ => Answer::Unclear,
    }
}

fn saw(client: &mut Client, body: &str) -> Result<View> {
    let Ok(view) = serde_json::from_str::<View>(body) else { bail!("this was to be a job: {body}") };
    client.seen.push(Position { run: view.run, attempt: view.attempt, status: view.status });
    if matches!(client.created, Created::Yes(id) if id != view.id) {
        bail!("job {:?} became {}", client.created, view.id);
    }
    Ok(view)
}
