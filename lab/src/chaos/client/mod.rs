//! A client of one job: creates it, alone or with others in a batch, maybe cancels it, watches it to its end, maybe has
//! it run again, maybe deletes it; and remembers the answers. And one that acts on all jobs of a queue.
//!
//! The client in Rust does what it can. Jobs are created past it, since it never creates without a key, and whether an
//! answer was clear is to be known here: so it tries nothing twice.

mod raw;
mod schedules;

use std::time::Duration;

use anyhow::{Result, bail};
use hasty_client::{Error, Job, Problem, Settings};
use shared_events::{JobId, Position};
use tokio::time::Instant;

use self::raw::View;
use super::mix::Script;
use super::record::{Client, Created, Deleted};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(300);

/// How long one read waits for the end.
const WAIT: Duration = Duration::from_secs(5);

/// How to reach the API, and for how long.
#[derive(Clone, Debug)]
pub(super) struct Api {
    http: reqwest::Client,
    jobs: String,
    schedules: String,
    /// The stack's folder.
    folder: String,
    client: hasty_client::Client,
    /// A client that has no answer by then gives up.
    deadline: tokio::sync::watch::Receiver<Option<Instant>>,
}

/// What the client in Rust was answered.
enum Reply<T> {
    Done(T),
    Refused(Box<Problem>),
    Unclear,
}

impl<T> From<Result<T, Error>> for Reply<T> {
    /// Server errors and broken connections say nothing about what was done.
    fn from(answer: Result<T, Error>) -> Self {
        match answer {
            Ok(value) => Self::Done(value),
            Err(Error::Problem(problem)) if problem.status < 500 => Self::Refused(problem),
            Err(_) => Self::Unclear,
        }
    }
}

impl Api {
    pub(super) fn new(
        url: &str,
        folder: &str,
        deadline: tokio::sync::watch::Receiver<Option<Instant>>,
    ) -> Result<Self> {
        let http =
            hasty_client::http_client().no_proxy().timeout(TIMEOUT).pool_max_idle_per_host(64).build()?;
        let settings =
            Settings { retries: 0, answer_timeout: TIMEOUT, proxies: false, ..Settings::default() };
        let client = hasty_client::Client::with_settings(url, settings)?;
        let schedules = format!("{url}/v1/schedules");
        Ok(Self {
            schedules,
            http,
            jobs: format!("{url}/v1/jobs"),
            folder: folder.to_owned(),
            client,
            deadline,
        })
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
        if let Some(change) = client.script.delay.and_then(|delay| delay.change) {
            tokio::time::sleep(Duration::from_millis(change.after_ms)).await;
            self.change(client, id, change).await?;
        }
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

    async fn cancel(&self, client: &mut Client, id: JobId) -> Result<()> {
        for _ in 0..10 {
            // Carried out or not, it may have been.
            client.cancels.insert(client.seen.last().map_or(1, |seen| seen.run));
            match self.client.cancel(id, None).await.into() {
                Reply::Done(job) => return saw_job(client, &job),
                Reply::Refused(problem) if problem.code == "already_ended" => return Ok(()),
                Reply::Refused(problem) => bail!("cancel was refused: {problem}"),
                Reply::Unclear => tokio::time::sleep(PAUSE).await,
            }
        }
        Ok(())
    }

    /// Until the end, or until the time is over.
    async fn watch(&self, client: &mut Client, id: JobId) -> Result<()> {
        while !self.is_over() {
            match self.client.wait(id, WAIT).await.into() {
                Reply::Done(job) => {
                    saw_job(client, &job)?;
                    if job.status.is_terminal() {
                        return Ok(());
                    }
                }
                Reply::Refused(problem) => bail!("read was refused: {problem}"),
                Reply::Unclear => tokio::time::sleep(PAUSE).await,
            }
        }
        Ok(())
    }

    /// Whether there is a next run to watch.
    async fn retry(&self, client: &mut Client, id: JobId) -> Result<bool> {
        let mut unclear = false;
        while !self.is_over() {
            match self.client.retry(id).await.into() {
                Reply::Done(job) => {
                    saw_job(client, &job)?;
                    client.retries += 1;
                    return Ok(true);
                }
                // An earlier try was carried out after all, or a sweep was faster.
                Reply::Refused(problem)
                    if problem.code == "not_ended" && (unclear || client.script.is_swept()) =>
                {
                    return Ok(true);
                }
                Reply::Refused(problem) => bail!("retry was refused: {problem}"),
                Reply::Unclear => {
                    unclear = true;
                    client.unclear_retries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        Ok(false)
    }

    async fn delete(&self, client: &mut Client, id: JobId) -> Result<()> {
        while !self.is_over() {
            client.deleted = Deleted::Maybe;
            match self.client.delete(id).await.into() {
                Reply::Done(()) => break,
                // An earlier try was carried out after all, maybe one of nginx's, which sends a DELETE to another
                // replica where the first one dies. A job that was lost instead has left no stub.
                Reply::Refused(problem) if problem.code == "job_not_found" => break,
                // A sweep has had it run again.
                Reply::Refused(problem) if problem.code == "not_ended" && client.script.is_swept() => {
                    return Ok(());
                }
                Reply::Refused(problem) => bail!("delete was refused: {problem}"),
                Reply::Unclear => tokio::time::sleep(PAUSE).await,
            }
        }
        if self.is_over() {
            return Ok(());
        }
        client.deleted = Deleted::Yes;
        match self.client.get(id).await.into() {
            Reply::Unclear => Ok(()),
            Reply::Refused(problem) if problem.code == "job_not_found" => Ok(()),
            Reply::Refused(problem) => bail!("reading a deleted job was refused: {problem}"),
            Reply::Done(job) => bail!("a deleted job was read: {job:?}"),
        }
    }
}

fn saw_job(client: &mut Client, job: &Job) -> Result<()> {
    saw_view(client, &View { id: job.id, run: job.run, attempt: job.attempt, status: job.status })
}

fn saw_view(client: &mut Client, view: &View) -> Result<()> {
    client.seen.push(Position { run: view.run, attempt: view.attempt, status: view.status });
    if matches!(client.created, Created::Yes(id) if id != view.id) {
        bail!("job {:?} became {}", client.created, view.id);
    }
    Ok(())
}
