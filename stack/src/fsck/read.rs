//! Reading both databases side by side, in the order of the jobs' ids, and the broker.

use std::collections::HashMap;

use anyhow::{Context, Result};
use async_nats::jetstream::{self, consumer::Info};
use bson::{Document, doc};
use futures::TryStreamExt;
use mongodb::{Client, Cursor, Database, options::ClientOptions};
use serde::de::DeserializeOwned;
use shared_events::{JobId, streams};

use super::Where;
use super::documents::{Group, JobDoc, RunDoc, Stored};
use super::judge::{BrokerView, LineView};
use crate::broker;

/// Connections to all three.
#[derive(Clone, Debug)]
pub(crate) struct System {
    pub(crate) api: Database,
    pub(crate) ledger: Database,
    pub(crate) jetstream: jetstream::Context,
}

impl System {
    pub(crate) async fn connect(place: &Where) -> Result<Self> {
        let api = database(&place.api_mongo, &place.api_db).await.context("the api-service's MongoDB")?;
        let ledger = database(&place.job_mongo, &place.job_db).await.context("the job-service's MongoDB")?;
        let mut options = async_nats::ConnectOptions::new().name("fsck");
        if let (Some(user), Some(password)) = (&place.nats_user, &place.nats_password) {
            options = options.user_and_password(user.clone(), password.clone());
        }
        let client = broker::connect_with(&place.nats, options).await?;
        Ok(Self { api, ledger, jetstream: jetstream::new(client) })
    }

    /// What the broker has.
    pub(crate) async fn broker(&self) -> Result<BrokerView> {
        let state = self.api.collection::<Document>("state").find_one(doc! { "_id": streams::JOBS }).await?;
        let generation = state.and_then(|state| state.get_i64("generation").ok()).unwrap_or(0);
        let consumers = self.consumers(streams::JOBS).await?;
        let lines = consumers.into_iter().map(|info| {
            let ack_floor = i64::try_from(info.ack_floor.stream_sequence).unwrap_or(i64::MAX);
            let line =
                LineView { ack_floor, waiting: info.num_pending, unacked: info.num_ack_pending as u64 };
            (info.name, line)
        });
        Ok(BrokerView {
            generation,
            lines: lines.collect(),
            events: self.open(streams::JOB_EVENTS, streams::API_CONSUMER).await?,
            cancels: self.open(streams::JOB_CONTROL, streams::CONTROL_CONSUMER).await?,
        })
    }

    async fn consumers(&self, stream: &str) -> Result<Vec<Info>> {
        let stream = self.jetstream.get_stream(stream).await.with_context(|| format!("stream {stream}"))?;
        Ok(stream.consumers().try_collect().await?)
    }

    /// How many messages a consumer has not acked; all, where it is not there.
    async fn open(&self, stream: &str, consumer: &str) -> Result<u64> {
        let consumers = self.consumers(stream).await?;
        let Some(info) = consumers.into_iter().find(|info| info.name == consumer) else {
            let stream = self.jetstream.get_stream(stream).await?;
            return Ok(stream.cached_info().state.messages);
        };
        Ok(info.num_pending + info.num_ack_pending as u64)
    }

    /// Whether `JOBS` has an announcement of this job at this sequence.
    pub(crate) async fn has_announcement(&self, job: JobId, sequence: u64) -> Result<bool> {
        let stream = self.jetstream.get_stream(streams::JOBS).await?;
        let Ok(message) = stream.get_raw_message(sequence).await else { return Ok(false) };
        Ok(String::from_utf8_lossy(&message.payload).contains(&job.to_string()))
    }

    /// One job, as it is now.
    pub(crate) async fn group(&self, id: JobId) -> Result<Group> {
        let uuid = bson::Uuid::from_bytes(id.uuid().into_bytes());
        let runs = doc! { "_id": { "$gte": format!("{id}."), "$lt": format!("{id}/") } };
        let mut group = Group::empty(id);
        if let Some(stored) = self.api.collection("jobs").find_one(doc! { "_id": uuid }).await? {
            group.put(stored);
        }
        group.earlier = self.api.collection("earlier_runs").find(runs.clone()).await?.try_collect().await?;
        group.runs = self.ledger.collection("runs").find(runs).await?.try_collect().await?;
        Ok(group)
    }

    /// All jobs that either database knows, one after the other.
    pub(crate) async fn groups(&self) -> Result<Groups> {
        let without_texts = doc! { "payload": 0, "result": 0 };
        Ok(Groups {
            jobs: Side::open(&self.api, "jobs", &without_texts, Stored::job_id).await?,
            earlier: Side::open(&self.api, "earlier_runs", &without_texts, JobDoc::job_id).await?,
            runs: Side::open(&self.ledger, "runs", &without_texts, |run: &RunDoc| run.id.job).await?,
        })
    }
}

async fn database(uri: &str, name: &str) -> Result<Database> {
    let mut options = ClientOptions::parse(uri).await?;
    options.server_selection_timeout.get_or_insert(std::time::Duration::from_secs(5));
    let database = Client::with_options(options)?.database(name);
    database.run_command(doc! { "ping": 1 }).await.with_context(|| format!("no answer from {uri}"))?;
    Ok(database)
}

/// See [`System::groups`]. Ids sort alike in all three collections.
pub(crate) struct Groups {
    jobs: Side<Stored>,
    earlier: Side<JobDoc>,
    runs: Side<RunDoc>,
}

impl Groups {
    pub(crate) async fn next(&mut self) -> Result<Option<Group>> {
        let heads = [self.jobs.head(), self.earlier.head(), self.runs.head()];
        let Some(id) = heads.into_iter().flatten().min() else { return Ok(None) };
        let mut group = Group::empty(id);
        self.jobs.take(id).await?.into_iter().for_each(|stored| group.put(stored));
        (group.earlier, group.runs) = (self.earlier.take(id).await?, self.runs.take(id).await?);
        Ok(Some(group))
    }
}

struct Side<T> {
    cursor: Cursor<T>,
    next: Option<T>,
    id: fn(&T) -> JobId,
}

impl<T: DeserializeOwned + Send + Sync + Unpin> Side<T> {
    async fn open(database: &Database, name: &str, fields: &Document, id: fn(&T) -> JobId) -> Result<Self> {
        let collection = database.collection::<T>(name);
        let mut cursor = collection.find(doc! {}).sort(doc! { "_id": 1 }).projection(fields.clone()).await?;
        let next = cursor.try_next().await?;
        Ok(Self { cursor, next, id })
    }

    fn head(&self) -> Option<JobId> {
        self.next.as_ref().map(self.id)
    }

    /// All that belong to this job.
    async fn take(&mut self, id: JobId) -> Result<Vec<T>> {
        let mut taken = Vec::new();
        while self.head() == Some(id) {
            let next = self.cursor.try_next().await?;
            taken.extend(std::mem::replace(&mut self.next, next));
        }
        Ok(taken)
    }
}

/// Every job and run of a small system at once, by id.
pub(crate) async fn everything(system: &System) -> Result<HashMap<JobId, Group>> {
    let jobs: Vec<Stored> = system.api.collection("jobs").find(doc! {}).await?.try_collect().await?;
    let earlier: Vec<JobDoc> =
        system.api.collection("earlier_runs").find(doc! {}).await?.try_collect().await?;
    let runs: Vec<RunDoc> = system.ledger.collection("runs").find(doc! {}).await?.try_collect().await?;
    let mut groups: HashMap<JobId, Group> = HashMap::new();
    for stored in jobs {
        let id = stored.job_id();
        groups.entry(id).or_insert_with(|| Group::empty(id)).put(stored);
    }
    for job in earlier {
        let id = job.job_id();
        groups.entry(id).or_insert_with(|| Group::empty(id)).earlier.push(job);
    }
    for run in runs {
        let id = run.id.job;
        groups.entry(id).or_insert_with(|| Group::empty(id)).runs.push(run);
    }
    Ok(groups)
}
