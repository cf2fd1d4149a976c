//! What goes past the client in Rust, which never creates without a key and acts on one job at a time.

use anyhow::{Result, bail};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use shared_events::{JobId, Status};

use super::{
    super::{
        delays::Change,
        mix::{Action, SWEPT, Sweep},
        record::{Changed, Client, Created},
    },
    Api, PAUSE, saw_view,
};

/// What is read of a job.
#[derive(Debug, Deserialize)]
pub(super) struct View {
    pub(super) id: JobId,
    pub(super) run: u32,
    pub(super) attempt: u32,
    pub(super) status: Status,
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
pub(super) enum Answer {
    Clear(StatusCode, String),
    Unclear,
}

impl Api {
    /// Asked for once: without keys a second try could make second jobs.
    pub(super) async fn create_all(&self, clients: &mut [Client]) -> Result<()> {
        let bodies: Vec<_> = clients.iter().map(|client| client.script.body(&self.folder)).collect();
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

    pub(super) async fn create(&self, client: &mut Client) -> Result<Option<JobId>> {
        let tag = client.script.tag;
        loop {
            let mut request = self.http.post(&self.jobs).json(&client.script.body(&self.folder));
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

    /// Has the job run at another time; again and again, since the same change twice is one.
    pub(super) async fn change(&self, client: &mut Client, id: JobId, change: Change) -> Result<()> {
        for _ in 0..10 {
            let request = self.http.patch(format!("{}/{id}", self.jobs)).json(&change.body());
            match send(request).await {
                Answer::Clear(StatusCode::OK, body) => {
                    client.changed = Changed::Yes;
                    return saw(client, &body).map(drop);
                }
                // Its time has come, or it was cancelled with its queue.
                Answer::Clear(StatusCode::CONFLICT, body) if body.contains("not_scheduled") => return Ok(()),
                Answer::Clear(status, body) => bail!("a change was answered with {status}: {body}"),
                Answer::Unclear => {
                    client.changed = Changed::Maybe;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        Ok(())
    }

    /// Acts on all jobs of a queue, page by page; once, since a retry that was carried out may be asked for again.
    pub(in crate::chaos) async fn sweep(&self, sweep: Sweep) -> Result<()> {
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
pub(super) async fn send(request: RequestBuilder) -> Answer {
    let Ok(response) = request.send().await else { return Answer::Unclear };
    let status = response.status();
    match Response::text(response).await {
        Ok(body) if !status.is_server_error() => Answer::Clear(status, body),
        _ => Answer::Unclear,
    }
}

fn saw(client: &mut Client, body: &str) -> Result<View> {
    let Ok(view) = serde_json::from_str::<View>(body) else { bail!("this was to be a job: {body}") };
    saw_view(client, &view)?;
    Ok(view)
}
