//! The two databases and the broker of a system, and single questions to them.

use std::time::Duration;

use anyhow::{Context, Result};
use api_service::outbox::STATE;
use api_service::outbox::StreamState;
use async_nats::jetstream::{self, consumer::Info};
use async_nats::{ConnectOptions, ServerAddr};
use bson::doc;
use futures::TryStreamExt;
use mongodb::{Client, Database, options::ClientOptions};
use shared_events::{JobId, streams};

use super::judge::{BrokerView, ConsumerView};

/// Where the system is.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// The api-service's MongoDB.
    pub api_mongo: String,
    /// Its database.
    pub api_db: String,
    /// The job-service's MongoDB.
    pub job_mongo: String,
    /// Its database.
    pub job_db: String,
    /// NATS; the URL may have a user and a password in it.
    pub nats: String,
    /// A user of NATS, where it asks for one and the URL has none.
    pub nats_user: Option<String>,
    /// That user's password.
    pub nats_password: Option<String>,
    /// How long its services keep a run after its end (`RETENTION_S`).
    pub retention: Duration,
}

/// Connections to all three.
#[derive(Clone, Debug)]
pub struct Connections {
    /// The api-service's database.
    pub api: Database,
    pub(super) ledger: Database,
    /// JetStream.
    pub jetstream: jetstream::Context,
}

impl Connections {
    /// Connects.
    ///
    /// # Errors
    /// Where one of them does not answer.
    pub async fn open(endpoints: &Endpoints) -> Result<Self> {
        let api = database(&endpoints.api_mongo, &endpoints.api_db).await;
        let ledger = database(&endpoints.job_mongo, &endpoints.job_db).await;
        Ok(Self {
            api: api.context("the api-service's MongoDB")?,
            ledger: ledger.context("the job-service's MongoDB")?,
            jetstream: jetstream::new(nats(endpoints).await?),
        })
    }

    /// What the broker has.
    pub(super) async fn broker(&self) -> Result<BrokerView> {
        let states = self.api.collection::<StreamState>(STATE);
        let state = states.find_one(doc! { "_id": streams::JOBS }).await?;
        let consumers = self.consumers(streams::JOBS).await?;
        let consumers = consumers.into_iter().map(|info| {
            let ack_floor = i64::try_from(info.ack_floor.stream_sequence).unwrap_or(i64::MAX);
            let consumer =
                ConsumerView { ack_floor, pending: info.num_pending, unacked: info.num_ack_pending as u64 };
            (info.name, consumer)
        });
        Ok(BrokerView {
            generation: state.map_or(0, |state| state.generation),
            consumers: consumers.collect(),
            events: self.not_acked(streams::JOB_EVENTS, streams::API_CONSUMER).await?,
            cancels: self.not_acked(streams::JOB_CONTROL, streams::CONTROL_CONSUMER).await?,
        })
    }

    async fn consumers(&self, stream: &str) -> Result<Vec<Info>> {
        let stream = self.jetstream.get_stream(stream).await.with_context(|| format!("stream {stream}"))?;
        Ok(stream.consumers().try_collect().await?)
    }

    /// How many messages a consumer has not acked; all, where it is not there.
    async fn not_acked(&self, stream: &str, consumer: &str) -> Result<u64> {
        let consumers = self.consumers(stream).await?;
        let Some(info) = consumers.into_iter().find(|info| info.name == consumer) else {
            let stream = self.jetstream.get_stream(stream).await?;
            return Ok(stream.cached_info().state.messages);
        };
        Ok(info.num_pending + info.num_ack_pending as u64)
    }

    /// Whether `JOBS` has an announcement of this job at this sequence.
    pub(super) async fn has_announcement(&self, job: JobId, sequence: u64) -> Result<bool> {
        let stream = self.jetstream.get_stream(streams::JOBS).await?;
        let Ok(message) = stream.get_raw_message(sequence).await else { return Ok(false) };
        Ok(String::from_utf8_lossy(&message.payload).contains(&job.to_string()))
    }
}

async fn database(uri: &str, name: &str) -> Result<Database> {
    let mut options = ClientOptions::parse(uri).await?;
    options.server_selection_timeout.get_or_insert(Duration::from_secs(5));
    let database = Client::with_options(options)?.database(name);
    database.run_command(doc! { "ping": 1 }).await.with_context(|| format!("no answer from {uri}"))?;
    Ok(database)
}

/// The client itself passes over a user in the URL.
async fn nats(endpoints: &Endpoints) -> Result<async_nats::Client> {
    let address: ServerAddr = endpoints.nats.parse().context("the URL of NATS can not be parsed")?;
    let of_url = address.username().zip(address.password());
    let mut options = ConnectOptions::new().name("fsck");
    if let Some((user, password)) =
        of_url.or(endpoints.nats_user.as_deref().zip(endpoints.nats_password.as_deref()))
    {
        options = options.user_and_password(user.to_owned(), password.to_owned());
    }
    let server = format!("{}:{}", address.host(), address.port());
    options.connect(address).await.with_context(|| format!("could not connect to NATS at {server}"))
}
