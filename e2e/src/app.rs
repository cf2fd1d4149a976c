//! A stack for a test, with a client in front.

use std::ops::Deref;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bson::{Document, doc};
use mongodb::Collection;
use stack::{Builder, Node, Stack, broker, poll};
use tokio::sync::Mutex;

use crate::{Client, JobView, LedgerRun, Status};

/// How long a condition may take that needs nobody's time-out.
const SOON: Duration = Duration::from_secs(120);
const LINES_SHOWN: usize = 25;

/// A running stack and a client of its nginx; whatever the client can do can be called on it.
///
/// It goes with all its processes when it is dropped. When the test has failed, the ends of the services' logs are
/// printed first; when it has not, NATS must not have refused anything to anybody (`nats/users.conf`).
#[derive(Debug)]
pub struct App {
    client: Client,
    stack: Arc<Stack>,
}

/// A stack that the tests of one file share: it lives as long as one of them uses it.
#[derive(Debug)]
pub struct Shared {
    describe: fn() -> Builder,
    running: Mutex<Weak<Stack>>,
}

impl App {
    /// Starts a stack of one's own.
    ///
    /// # Panics
    /// Where it does not start.
    pub async fn start(builder: Builder) -> Self {
        let stack = builder.start().await.unwrap_or_else(|error| panic!("no stack: {error:?}"));
        Self::of(Arc::new(stack))
    }

    fn of(stack: Arc<Stack>) -> Self {
        Self { client: Client::new(stack.url()), stack }
    }

    /// The stack.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Starts one more worker.
    ///
    /// # Panics
    /// Where it does not start, or the stack is shared.
    pub async fn add_worker(&mut self) -> Node {
        let stack = Arc::get_mut(&mut self.stack).expect("the stack is this test's own");
        stack.add_worker().await.unwrap_or_else(|error| panic!("no worker: {error:?}"))
    }

    /// A client of one replica of the api-service, past nginx.
    #[must_use]
    pub fn replica(&self, index: usize) -> Client {
        Client::new(self.stack.api(index).url())
    }

    /// Waits until all services have noticed that NATS is away: what they publish before that may still get there.
    ///
    /// # Panics
    /// Where one does not notice.
    pub async fn nats_is_missed(&self) {
        for service in self.stack.apis().iter().chain(self.stack.workers()).filter(|node| node.is_running()) {
            let client = Client::new(service.url());
            let missed = || async {
                let said = client.try_send(client.request(reqwest::Method::GET, "/health/ready")).await;
                let said = said.map_err(|error| error.to_string())?.body;
                if said.contains(r#""nats":"away""#) { Ok(()) } else { Err(said) }
            };
            let what = format!("{} to miss NATS", service.name());
            poll::until(&what, SOON, missed).await.unwrap_or_else(|error| panic!("{error}"));
        }
    }

    /// Waits until the job is running, and says how it then stands.
    ///
    /// # Panics
    /// Where it does not run soon.
    pub async fn running(&self, job: &JobView) -> JobView {
        let what = format!("job {} to run", job.id);
        let look = || async {
            let job = self.job(job).await;
            if job.status == Status::Running { Ok(job) } else { Err(format!("{job:?}")) }
        };
        poll::until(&what, SOON, look).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Waits until all of them are running.
    pub async fn all_running(&self, jobs: &[JobView]) -> Vec<JobView> {
        futures::future::join_all(jobs.iter().map(|job| self.running(job))).await
    }

    /// The ledger's document of the job's first run.
    ///
    /// # Panics
    /// Where there is none.
    pub async fn ledger(&self, job: &JobView) -> LedgerRun {
        let runs = collection::<LedgerRun>(self.stack.job_mongo(), "hasty_jobs", "runs").await;
        let found = runs.find_one(doc! { "_id": format!("{}.1", job.id) }).await;
        found
            .expect("the ledger can be read")
            .unwrap_or_else(|| panic!("the ledger knows nothing of {job:?}"))
    }

    /// The api-service's jobs, as it stores them.
    pub async fn jobs(&self) -> Collection<Document> {
        collection(self.stack.api_mongo(), "hasty_api", "jobs").await
    }

    /// How many jobs the api-service has stored.
    ///
    /// # Panics
    /// Where its database cannot be read.
    pub async fn stored_jobs(&self, filter: Document) -> u64 {
        let jobs = self.jobs().await;
        jobs.count_documents(filter).await.expect("the jobs can be counted")
    }

    /// How many records of schedules' firings the api-service has stored.
    ///
    /// # Panics
    /// Where its database cannot be read.
    pub async fn firings(&self, filter: Document) -> u64 {
        let firings = collection::<Document>(self.stack.api_mongo(), "hasty_api", "firings").await;
        firings.count_documents(filter).await.expect("the firings can be counted")
    }

    /// Takes the api-service's database away, as if it had never been used.
    ///
    /// # Panics
    /// Where it cannot be dropped.
    pub async fn drop_jobs(&self) {
        let jobs = self.jobs().await;
        jobs.client().database("hasty_api").drop().await.expect("the database can be dropped");
    }

    /// How many runs the ledger has.
    ///
    /// # Panics
    /// Where its database cannot be read.
    pub async fn ledger_runs(&self, filter: Document) -> u64 {
        let runs = self.runs().await;
        runs.count_documents(filter).await.expect("the runs can be counted")
    }

    /// What the api-service knows of a stream of the broker; empty where it knows nothing yet.
    ///
    /// # Panics
    /// Where its database cannot be read.
    pub async fn state(&self, stream: &str) -> Document {
        let states = collection::<Document>(self.stack.api_mongo(), "hasty_api", "state").await;
        let found = states.find_one(doc! { "_id": stream }).await.expect("the state can be read");
        found.unwrap_or_default()
    }

    /// The broker's API, with all rights.
    ///
    /// # Panics
    /// Where the broker does not answer.
    pub async fn jetstream(&self) -> async_nats::jetstream::Context {
        async_nats::jetstream::new(self.broker().await)
    }

    /// A stream of the broker, as it is now.
    ///
    /// # Panics
    /// Where the broker cannot be asked.
    pub async fn stream(&self, name: &str) -> async_nats::jetstream::stream::Stream {
        let stream = self.jetstream().await.get_stream(name).await;
        stream.unwrap_or_else(|error| panic!("no stream {name}: {error}"))
    }

    /// A connection to the broker as an operator, who may do everything.
    ///
    /// # Panics
    /// Where the broker does not answer.
    pub async fn broker(&self) -> async_nats::Client {
        let client = broker::connect(self.stack.nats().url()).await;
        client.unwrap_or_else(|error| panic!("no broker: {error:#}"))
    }

    /// Which worker did the job's latest attempt, counted from 0.
    ///
    /// # Panics
    /// Where none of those that run now did.
    #[must_use]
    pub fn worker_of(&self, job: &JobView) -> usize {
        let by = |worker: &Node| worker.pid().is_some_and(|pid| job.is_by(pid));
        let found = self.stack.workers().iter().position(by);
        found.unwrap_or_else(|| panic!("no running worker did {job:?}"))
    }
}

impl Shared {
    /// A stack that is started when first used.
    #[must_use]
    pub const fn new(describe: fn() -> Builder) -> Self {
        Self { describe, running: Mutex::const_new(Weak::new()) }
    }

    /// The stack, with a client of one's own.
    pub async fn app(&self) -> App {
        let mut running = self.running.lock().await;
        if let Some(stack) = running.upgrade() {
            return App::of(stack);
        }
        let app = App::start((self.describe)()).await;
        *running = Arc::downgrade(&app.stack);
        app
    }
}

pub(crate) async fn collection<T: Send + Sync>(server: &Node, database: &str, name: &str) -> Collection<T> {
    let client = mongodb::Client::with_uri_str(server.url()).await;
    client.expect("the launcher's addresses can be parsed").database(database).collection(name)
}

impl Deref for App {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let services = self.stack.apis().iter().chain(self.stack.workers());
            for node in services.chain([self.stack.nginx()]) {
                eprintln!("{}:\n{}", node.name(), node.log().tail(LINES_SHOWN));
            }
            return;
        }
        // What lacks a right may heal in another way, later: here it is seen in any case.
        let refused = self.stack.nats().log().lines().into_iter().find(|line| line.contains("Violation"));
        assert_eq!(refused, None, "NATS refused a service what it needs");
    }
}
