//! Creating, changing and deleting users.
//!
//! Nothing is locked: a unique index decides between two who want one email, and a change is written only over the state that
//! it was made of.

use std::time::Duration;

use service_kit::mongo::Freshness;

use super::{Profile, ProfileChange, User, UserError, UserId, UserStore, model::KeyHolder, store::Written};
use crate::idempotency::{IdempotencyKey, may_be_the_same};

/// How often requests for one user, or one email, may make each other try again.
const ROUNDS: u32 = 20;

/// How much longer each round waits than the one before.
const PAUSE: Duration = Duration::from_millis(3);

/// Creates, changes and deletes users.
#[derive(Debug, Clone)]
pub struct Users {
    store: UserStore,
}

/// What a request to create a user led to.
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    /// A new user.
    New(User),
    /// The user that was created by the same request before.
    Before(User),
}

impl Users {
    /// Users in this store.
    #[must_use]
    pub const fn new(store: UserStore) -> Self {
        Self { store }
    }

    /// Their store.
    #[must_use]
    pub const fn store(&self) -> &UserStore {
        &self.store
    }

    /// The user with this id.
    ///
    /// # Errors
    /// [`UserError::NotFound`]; where the database does not answer.
    pub async fn get(&self, id: &UserId, freshness: Freshness) -> Result<User, UserError> {
        self.store.get(id, freshness).await?.ok_or_else(|| UserError::NotFound(id.clone()))
    }

    /// Stores a new user, journaled by a majority.
    ///
    /// # Errors
    /// Where another user has the email; what else the key says ([`UserError`]).
    pub async fn create(&self, profile: Profile, key: Option<IdempotencyKey>) -> Result<Created, UserError> {
        let now = self.store.now();
        let user = User::new(UserId::new(now), profile, key, now);
        for round in 0..ROUNDS {
            tokio::time::sleep(PAUSE * round).await;
            if self.store.insert(&user).await? == Written::Done {
                return Ok(Created::New(user));
            }
            // The key comes first: a request that is sent again must not be refused for the email that it has taken itself.
            if let Some(before) = self.created_before(&user).await? {
                return Ok(Created::Before(before));
            }
            if let Some(holder) = self.store.holder_of_email(&user.email_key).await? {
                return Err(UserError::EmailTaken(holder));
            }
        }
        Err(UserError::Contended)
    }

    /// Stores a new user under an id that the client has chosen.
    ///
    /// # Errors
    /// [`UserError::Exists`] where a user has the id; [`UserError::EmailTaken`].
    pub async fn create_under(&self, id: UserId, profile: Profile) -> Result<User, UserError> {
        let user = User::new(id, profile, None, self.store.now());
        for round in 0..ROUNDS {
            tokio::time::sleep(PAUSE * round).await;
            if self.store.insert(&user).await? == Written::Done {
                return Ok(user);
            }
            if self.store.get(&user.id, Freshness::Latest).await?.is_some() {
                return Err(UserError::Exists(user.id));
            }
            if let Some(holder) = self.store.holder_of_email(&user.email_key).await? {
                return Err(UserError::EmailTaken(holder));
            }
            // What stays of a user who is gone has the id, and keeps its key in the new one.
            if self.store.insert_over_stub(&user).await? == Written::Done {
                return Ok(user);
            }
        }
        Err(UserError::Contended)
    }

    /// Changes the user, if that `holds` of its state.
    ///
    /// # Errors
    /// [`UserError::NotFound`]; [`UserError::ConditionFailed`]; [`UserError::EmailTaken`].
    pub async fn change(
        &self,
        id: &UserId,
        change: &ProfileChange,
        holds: impl Fn(&User) -> bool,
    ) -> Result<User, UserError> {
        for round in 0..ROUNDS {
            tokio::time::sleep(PAUSE * round).await;
            let user = self.get(id, Freshness::Latest).await?;
            if !holds(&user) {
                return Err(UserError::ConditionFailed);
            }
            let Some(next) = user.changed(change, self.store.now()) else { return Ok(user) };
            match self.store.replace(&user, &next).await? {
                Written::Done => return Ok(next),
                // Another change was faster: this one is looked at again.
                Written::Stale => {}
                Written::Taken => {
                    let holder = self.store.holder_of_email(&next.email_key).await?;
                    if let Some(holder) = holder.filter(|holder| holder != id) {
                        return Err(UserError::EmailTaken(holder));
                    }
                }
            }
        }
        Err(UserError::Contended)
    }

    /// Deletes the user, if that `holds` of its state. Its idempotency key is remembered.
    ///
    /// # Errors
    /// [`UserError::NotFound`]; [`UserError::ConditionFailed`].
    pub async fn delete(&self, id: &UserId, holds: impl Fn(&User) -> bool) -> Result<(), UserError> {
        for round in 0..ROUNDS {
            tokio::time::sleep(PAUSE * round).await;
            let user = self.get(id, Freshness::Latest).await?;
            if !holds(&user) {
                return Err(UserError::ConditionFailed);
            }
            if self.store.delete(&user).await? == Written::Done {
                return Ok(());
            }
        }
        Err(UserError::Contended)
    }

    /// The user that was created by the same request, if its key is remembered.
    async fn created_before(&self, user: &User) -> Result<Option<User>, UserError> {
        let Some(key) = user.idempotency_key.as_deref() else { return Ok(None) };
        let Some(holder) = self.store.holder_of_key(key).await? else { return Ok(None) };
        if !holder.is_kept(self.store.now()) {
            self.store.free_key(holder.id(), key).await?;
            return Ok(None);
        }
        let hash = user.idempotency_hash.as_deref().unwrap_or_default();
        if !may_be_the_same(holder.hash(), hash) {
            return Err(UserError::KeyReused(holder.id().clone()));
        }
        match holder {
            KeyHolder::User(before) => Ok(Some(*before)),
            KeyHolder::Gone(stub) => Err(UserError::Gone(stub.id)),
        }
    }
}
