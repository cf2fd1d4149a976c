//! A client of one job: creates it, maybe cancels it, watches it to its end, maybe has it run again; and remembers
//! what it was told.

use std::time::Duration;

use anyhow::{Result, bail};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use shared_events::{JobId, Position, Status};
use tokio::time::Instant;

use super::mix::Script;
use super::record::{Client, Created};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(300);

/// How to reach the API, and for how long.
#[derive(Clone, Debug)]
pub(super) struct Api {
    http: reqwest::Client,
    jobs: String,
    /// Whoever has not got an answer by then gives up.
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

/// An answer, or none that says anything.
enum Answer {
    Clear(StatusCode, String),
    Unclear,
}

impl Api {
    pub(super) fn new(url: &str, deadline: tokio::sync::watch::Receiver<Option<Instant>>) -> Result<Self> {
        let http =
            reqwest::Client::builder().no_proxy().timeout(PATIENCE).pool_max_idle_per_host(64).build()?;
        Ok(Self { http, jobs: format!("{url}/v1/jobs"), deadline })
    }

    fn is_over(&self) -> bool {
        self.deadline.borrow().is_some_and(|deadline| Instant::now() > deadline)
    }

    /// Plays a script to its end.
    pub(super) async fn play(&self, script: Script) -> Client {
        let mut client = Client::new(script);
        if let Err(error) = self.live(&mut client).await {
            client.wrong.push(format!("{error:#}"));
        }
        client
    }

    async fn live(&self, client: &mut Client) -> Result<()> {
        let Some(id) = self.create(client).await? else { return Ok(()) };
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
