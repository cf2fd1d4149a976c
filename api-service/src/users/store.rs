//! Every database call about users.
//!
//! Writes are in the journal of a majority when they are answered. What decides something is read from the primary, as far as
//! a majority has it. A user who is gone leaves a stub under the same id as long as the key is remembered. A stub has neither
//! `group` nor `email_key`, by which readers pass over it; the database removes it at `until`.

use std::{sync::Arc, time::Duration};

use bson::{Bson, DateTime, Document, doc};
use mongodb::{
    IndexModel,
    error::{ErrorKind, WriteFailure},
    options::{FindOptions, IndexOptions},
};
use service_kit::{
    Mongo, StoreError,
    failpoints::Safeguard,
    mongo::{Freshness, IndexesOf, Read},
    telemetry::chain,
};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    User, UserId,
    filter::{After, Filter},
    model::{KeyHolder, Stub},
};

/// Users, and what stays of those who are gone.
pub const USERS: &str = "users";

/// How soon the indexes are tried again to be made.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// The server's code for a unique index that refuses a write.
const DUPLICATE_KEY: i32 = 11_000;

/// The users that this service knows.
#[derive(Debug, Clone)]
pub struct UserStore {
    mongo: Mongo,
    indexes: Arc<OnceCell<()>>,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It is done, journaled by a majority.
    Done,
    /// Another document has the id, the email or the key.
    Taken,
    /// The document is not as it was read.
    Stale,
}

impl Written {
    const fn of(matched: u64) -> Self {
        if matched == 0 { Self::Stale } else { Self::Done }
    }
}

/// A page.
#[derive(Debug)]
pub(super) struct Page {
    /// The users, in the filter's order.
    pub(super) users: Vec<User>,
    /// How many more there are on this page that this version can not read.
    pub(super) unreadable: usize,
    /// The page goes on after this one; none at the end.
    pub(super) next: Option<After>,
}

impl UserStore {
    /// Prepares the store.
    #[must_use]
    pub fn new(mongo: Mongo) -> Self {
        Self { mongo, indexes: Arc::default() }
    }

    /// The database's time.
    pub(super) fn now(&self) -> DateTime {
        self.mongo.clock().now()
    }

    /// Makes the indexes as soon as the database is there, unless told to stop.
    pub async fn prepare_soon(&self, stop: &CancellationToken) {
        while let Err(error) = self.prepare().await {
            warn!(error = chain(&error), "waiting for MongoDB to make the users' indexes");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(AGAIN_AFTER) => {}
            }
        }
        stop.cancelled().await;
    }

    /// Makes sure, once, that the indexes are there: two that are unique, one for each combination of filters, and one by
    /// which the database removes stubs whose time is over.
    async fn prepare(&self) -> Result<(), StoreError> {
        self.indexes.get_or_try_init(|| self.mongo.create_indexes(Self::indexes())).await.copied()
    }

    /// What they are.
    #[must_use]
    pub fn indexes() -> Vec<IndexesOf> {
        let there = |field: &str| doc! { field: { "$exists": true } };
        let unique = |field: &str| {
            let options = IndexOptions::builder()
                .unique(!Safeguard::UniqueIndexes.is_off())
                .partial_filter_expression(there(field))
                .build();
            IndexModel::builder().keys(doc! { field: 1 }).options(options).build()
        };
        let plain = |keys: Document| IndexModel::builder().keys(keys).build();
        let until =
            IndexOptions::builder().partial_filter_expression(there("until")).expire_after(Duration::ZERO);
        let indexes = vec![
            unique("email_key"),
            unique("idempotency_key"),
            plain(doc! { "group": 1, "_id": -1 }),
            plain(doc! { "name": 1, "_id": 1 }),
            plain(doc! { "group": 1, "name": 1, "_id": 1 }),
            IndexModel::builder().keys(doc! { "until": 1 }).options(until.build()).build(),
        ];
        vec![IndexesOf { collection: USERS, indexes }]
    }

    /// The user with this id.
    pub(super) async fn get(&self, id: &UserId, freshness: Freshness) -> Result<Option<User>, StoreError> {
        self.one(doc! { "_id": id.as_str(), "group": { "$gte": 0 } }, freshness).await
    }

    async fn one(&self, filter: Document, freshness: Freshness) -> Result<Option<User>, StoreError> {
        let options = FindOptions::builder().limit(1).build();
        let Read { documents, unreadable, .. } =
            self.mongo.read_fresh(USERS, filter, options, freshness).await?;
        match unreadable.first() {
            Some(id) => Err(StoreError::Unreadable(format!("user {id}"))),
            None => Ok(documents.into_iter().next()),
        }
    }

    /// A page of at most `size` users who pass the filter.
    pub(super) async fn page(
        &self,
        filter: &Filter,
        after: Option<&After>,
        size: usize,
        freshness: Freshness,
    ) -> Result<Page, StoreError> {
        let conditions = match after {
            Some(after) => doc! { "$and": [filter.conditions(), filter.beyond(after)] },
            None => filter.conditions(),
        };
        let limit = i64::try_from(size).unwrap_or(i64::MAX);
        let options = FindOptions::builder().sort(filter.order()).limit(limit).build();
        let read = self.mongo.read_fresh::<User>(USERS, conditions, options, freshness).await?;
        let is_full = read.looked_at() == size;
        let next = match (read.documents.last(), &read.last) {
            _ if !is_full => None,
            (Some(last), _) => Some(After::of(last)),
            // None of them can be read: the next page starts behind the last all the same.
            (None, Some(Bson::String(id))) => self.place_of(id, freshness).await?,
            (None, _) => None,
        };
        Ok(Page { unreadable: read.unreadable.len(), next, users: read.documents })
    }

    /// The place in a list of a user of whom nothing else can be read.
    async fn place_of(&self, id: &str, freshness: Freshness) -> Result<Option<After>, StoreError> {
        let options = FindOptions::builder().projection(doc! { "name": 1 }).limit(1).build();
        let found = self.mongo.read_fresh::<After>(USERS, doc! { "_id": id }, options, freshness).await?;
        Ok(found.documents.into_iter().next())
    }

    /// How many users pass the filter.
    pub(super) async fn count(&self, filter: &Filter, freshness: Freshness) -> Result<u64, StoreError> {
        self.mongo.count_fresh(USERS, filter.conditions(), freshness).await
    }

    /// Stores a new user.
    pub(super) async fn insert(&self, user: &User) -> Result<Written, StoreError> {
        // Without the unique indexes no email would refuse anybody.
        self.prepare().await?;
        let (users, user) = (self.mongo.collection::<User>(USERS), user.clone());
        self.write(async move { users.insert_one(user).await.map(|_| 1) }).await
    }

    /// Stores a new user in the place of a stub, whose key goes on being remembered.
    pub(super) async fn insert_over_stub(&self, user: &User) -> Result<Written, StoreError> {
        let stub = doc! { "_id": user.id.as_str(), "gone_at": { "$exists": true } };
        let mut fields = state(user);
        fields.insert("created_at", user.created_at);
        self.update(stub, doc! { "$set": fields, "$unset": { "gone_at": "", "until": "" } }).await
    }

    /// Puts the user's next state in the place of this one.
    pub(super) async fn replace(&self, user: &User, next: &User) -> Result<Written, StoreError> {
        self.update(as_read(user), doc! { "$set": state(next) }).await
    }

    /// Removes the user; a key that is still remembered stays.
    pub(super) async fn delete(&self, user: &User) -> Result<Written, StoreError> {
        let now = self.now();
        if let Some(until) = user.key_until(now) {
            let stub = doc! {
                "_id": "$_id",
                "idempotency_key": "$idempotency_key",
                "idempotency_hash": "$idempotency_hash",
                "idempotency_at": "$idempotency_at",
                "gone_at": now,
                "until": until,
            };
            return self.update(as_read(user), vec![doc! { "$replaceWith": stub }]).await;
        }
        let (users, as_read) = (self.mongo.collection::<User>(USERS), as_read(user));
        self.write(async move { users.delete_one(as_read).await.map(|done| done.deleted_count) }).await
    }

    /// Who has this email, as its key.
    pub(super) async fn holder_of_email(&self, key: &str) -> Result<Option<UserId>, StoreError> {
        Ok(self.one(doc! { "email_key": key }, Freshness::Latest).await?.map(|user| user.id))
    }

    /// Who has this idempotency key.
    pub(super) async fn holder_of_key(&self, key: &str) -> Result<Option<KeyHolder>, StoreError> {
        let (filter, options) = (doc! { "idempotency_key": key }, FindOptions::builder().limit(1).build());
        let read = self.mongo.read_fresh::<Document>(USERS, filter, options, Freshness::Latest).await?;
        let Some(found) = read.documents.into_iter().next() else { return Ok(None) };
        let holder = if found.contains_key("gone_at") {
            bson::deserialize_from_document::<Stub>(found).map(KeyHolder::Gone)
        } else {
            bson::deserialize_from_document(found).map(Box::new).map(KeyHolder::User)
        };
        holder.map(Some).map_err(|error| {
            warn!(%error, "the user who has a key is not readable");
            StoreError::Unreadable(error.to_string())
        })
    }

    /// Frees a key whose time is over, if that user or stub still has it.
    pub(super) async fn free_key(&self, holder: &UserId, key: &str) -> Result<(), StoreError> {
        let held = doc! { "_id": holder.as_str(), "idempotency_key": key };
        let key = doc! { "idempotency_key": "", "idempotency_hash": "", "idempotency_at": "" };
        self.update(held, doc! { "$unset": key }).await.map(drop)
    }

    async fn update(
        &self,
        filter: Document,
        update: impl Into<mongodb::options::UpdateModifications>,
    ) -> Result<Written, StoreError> {
        let (users, update) = (self.mongo.collection::<User>(USERS), update.into());
        self.write(async move { users.update_one(filter, update).await.map(|done| done.matched_count) }).await
    }

    /// A unique index that refuses a write is no failure of the database.
    async fn write(
        &self,
        write: impl Future<Output = Result<u64, mongodb::error::Error>> + Send + 'static,
    ) -> Result<Written, StoreError> {
        self.mongo
            .run(async move {
                match write.await {
                    Ok(matched) => Ok(Written::of(matched)),
                    Err(error) if is_duplicate(&error) => Ok(Written::Taken),
                    Err(error) => Err(error),
                }
            })
            .await
    }
}

fn is_duplicate(error: &mongodb::error::Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Write(WriteFailure::WriteError(error)) if error.code == DUPLICATE_KEY)
}

/// The user in the state in which it was read, and no other that has had its id since.
fn as_read(user: &User) -> Document {
    doc! { "_id": user.id.as_str(), "version": user.version, "created_at": user.created_at }
}

/// What a change may change.
fn state(user: &User) -> Document {
    let User { name, email, email_key, group, updated_at, version, .. } = user;
    doc! {
        "name": name,
        "email": email,
        "email_key": email_key,
        "group": i64::from(*group),
        "updated_at": updated_at,
        "version": version,
    }
}
