//! MongoDB: connecting, and the few commands that both services' stores are made of.

mod changes;
mod diff;
mod error;
mod fresh;
mod indexes;
mod overdue;
mod read;
mod secondaries;
mod update;
mod within;
mod writable;

pub use changes::Change;
pub use diff::diff;
pub use error::StoreError;
pub use fresh::Freshness;
pub use indexes::{IndexDifference, IndexesOf};
pub use read::Read;
pub use secondaries::MAX_LAG;
pub use update::{Durability, Statement, Updated};
pub use within::{Fitting, Query};

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bson::{Document, RawDocumentBuf, doc};
use mongodb::{
    Client, Collection, Database,
    error::ErrorKind,
    event::{
        EventHandler,
        cmap::{CmapEvent, ConnectionClosedReason},
    },
    options::{ClientOptions, ReadConcern},
};
use serde::Serialize;
use tokio::time::Instant;

use self::{secondaries::Secondaries, writable::Writable};
use crate::{clock::Clock, metrics};

/// How long a single read or write may take.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// A service's own database.
#[derive(Debug, Clone)]
pub struct Mongo {
    database: Database,
    clock: Clock,
    last_failure: Arc<Mutex<Option<Instant>>>,
    slow_after: Duration,
    writable: Arc<Writable>,
    unreadable: Arc<read::Unreadable>,
    secondaries: Arc<Secondaries>,
}

/// An operation under way; notes at its end whether it took so long that it counts as a failure.
struct Watch<'a> {
    mongo: &'a Mongo,
    operation: &'static str,
    since: Instant,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let took = self.since.elapsed();
        metrics::DATABASE_SECONDS.record([self.operation], took.as_secs_f64());
        if took > self.mongo.slow_after {
            self.mongo.note_failure();
        }
    }
}

/// What became of an unordered `insert_many`.
#[derive(Debug)]
pub struct Inserted {
    /// Positions that a unique index refused, with the server's message, which names the index.
    pub duplicates: Vec<(usize, String)>,
    /// Positions that were refused for any other reason.
    pub refused: Vec<(usize, StoreError)>,
}

impl Mongo {
    /// Prepares the connection; the server need not be there yet. `app_name` is what its logs show.
    ///
    /// # Errors
    /// Where the URI can not be parsed.
    pub async fn connect(uri: &str, database: &str, app_name: &str) -> Result<Self, mongodb::error::Error> {
        let mut options = ClientOptions::parse(uri).await?;
        options.app_name.get_or_insert_with(|| app_name.to_owned());
        options.server_selection_timeout.get_or_insert(Duration::from_secs(5));
        options.connect_timeout.get_or_insert(Duration::from_secs(5));
        options.max_pool_size.get_or_insert(64);
        options.heartbeat_freq.get_or_insert(Duration::from_secs(5));
        options.write_concern.get_or_insert_with(|| Durability::Journaled.concern());
        // What only the primary has may be taken back when it dies: nobody decides by it, or is shown it.
        options.read_concern.get_or_insert_with(ReadConcern::majority);
        if metrics::is_on() {
            options.cmap_event_handler = Some(EventHandler::callback(count_connections));
        }
        let database = Client::with_options(options)?.database(database);
        Ok(Self {
            database,
            clock: Clock::default(),
            last_failure: Arc::default(),
            slow_after: DEADLINE,
            writable: Arc::default(),
            unreadable: Arc::default(),
            secondaries: Arc::default(),
        })
    }

    /// From how long on an operation counts as a failure for [`Self::since_failure`], though it was done in the
    /// end: the driver waits some seconds for a server that is away, and then does what it was asked long ago.
    #[must_use]
    pub fn slow_after(self, slow_after: Duration) -> Self {
        Self { slow_after, ..self }
    }

    /// A collection of it.
    #[must_use]
    pub fn collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        self.database.collection(name)
    }

    /// The database's clock.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// How long ago the database last failed to answer, or was slow to; none if it never did.
    #[must_use]
    pub fn since_failure(&self) -> Option<Duration> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed())
    }

    /// Runs a driver's future in a task of its own, to its end, since dropping one midway is unsafe;
    /// waits for it for ten seconds.
    ///
    /// # Errors
    /// Those of the future; [`StoreError::Unknown`] after the deadline.
    pub async fn run<T: Send + 'static>(
        &self,
        operation: impl Future<Output = Result<T, mongodb::error::Error>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _watch = self.watch("other");
        let mongo = self.clone();
        self.within(DEADLINE, async move { operation.await.map_err(|error| mongo.failed(error)) }).await
    }

    /// The same for several commands of this type, with a deadline of one's own: a connection that
    /// hangs without breaking must not hold up who waits for it.
    ///
    /// # Errors
    /// Those of the future; [`StoreError::Unknown`] after the deadline.
    pub async fn within<T: Send + 'static>(
        &self,
        deadline: Duration,
        operation: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(deadline, tokio::spawn(operation)).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) | Err(_) => {
                self.note_failure();
                Err(StoreError::Unknown)
            }
        }
    }

    /// The database's answer to a command.
    ///
    /// # Errors
    /// Where it does not do it.
    pub async fn command(&self, command: Document) -> Result<Document, StoreError> {
        let database = self.database.clone();
        self.run(async move { database.run_command(command).await }).await
    }

    /// Learns the database's clock, and thereby whether it answers at all.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn learn_clock(&self) -> Result<(), StoreError> {
        let asked = Instant::now();
        let reply = self.command(doc! { "hello": 1 }).await?;
        if let Ok(time) = reply.get_datetime("localTime") {
            self.clock.learn(asked, *time);
        }
        Ok(())
    }

    /// Inserts all documents that can be inserted.
    ///
    /// # Errors
    /// Where the command as a whole failed: nothing is known of any document.
    pub async fn insert_many<T: Serialize + Send + Sync>(
        &self,
        collection: &str,
        documents: &[T],
    ) -> Result<Inserted, StoreError> {
        let (_watch, asked) = (self.watch("insert"), Instant::now());
        let inserted = self
            .database
            .collection::<T>(collection)
            .insert_many(documents)
            .ordered(false)
            .write_concern(Durability::Journaled.concern())
            .await;
        let Err(error) = inserted else {
            self.writable.written(asked);
            return Ok(Inserted { duplicates: Vec::new(), refused: Vec::new() });
        };
        let ErrorKind::InsertMany(many) = error.kind.as_ref() else { return Err(self.failed(error)) };
        let Some(errors) = many.write_errors.as_ref().filter(|_| many.write_concern_error.is_none()) else {
            return Err(self.failed(error));
        };
        let (mut duplicates, mut refused) = (Vec::new(), Vec::new());
        for write_error in errors {
            if write_error.code == DUPLICATE_KEY {
                duplicates.push((write_error.index, write_error.message.clone()));
            } else {
                refused.push((write_error.index, StoreError::Database(error.clone())));
            }
        }
        if !refused.is_empty() {
            self.note_failure();
        }
        Ok(Inserted { duplicates, refused })
    }

    /// Removes all documents that match; says how many. Not journaled: what a crash brings back is found again.
    ///
    /// # Errors
    /// Where that is not known to be done.
    pub async fn delete_many(&self, collection: &str, filter: Document) -> Result<u64, StoreError> {
        let documents = self.collection::<Document>(collection);
        let concern = Durability::InMemory.concern();
        self.run(async move { documents.delete_many(filter).write_concern(concern).await })
            .await
            .map(|done| done.deleted_count)
    }

    fn failed(&self, error: mongodb::error::Error) -> StoreError {
        self.note_failure();
        StoreError::Database(error)
    }

    fn watch(&self, operation: &'static str) -> Watch<'_> {
        Watch { mongo: self, operation, since: Instant::now() }
    }

    fn note_failure(&self) {
        metrics::DATABASE_FAILURES.add([], 1);
        self.writable.failed();
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

fn count_connections(event: CmapEvent) {
    let event = match event {
        CmapEvent::ConnectionCreated(_) => "created",
        CmapEvent::ConnectionClosed(closed) => match closed.reason {
            ConnectionClosedReason::Error => "broken",
            _ => "closed",
        },
        _ => return,
    };
    metrics::DATABASE_CONNECTIONS.add([event], 1);
}

/// A value as a BSON document.
///
/// # Errors
/// Where it has no such form.
pub fn raw(value: &impl Serialize) -> Result<RawDocumentBuf, StoreError> {
    bson::serialize_to_raw_document_buf(value).map_err(|error| StoreError::Unreadable(error.to_string()))
}

/// The server's code for a unique index that refuses a write.
const DUPLICATE_KEY: i32 = 11_000;

/// Whether a unique index refused the write.
#[must_use]
pub fn is_duplicate_key(error: &StoreError) -> bool {
    let StoreError::Database(error) = error else { return false };
    matches!(error.kind.as_ref(),
        ErrorKind::Write(mongodb::error::WriteFailure::WriteError(error)) if error.code == DUPLICATE_KEY)
}
