//! Why something could not be done about a user. Routes answer with problems (`problems.rs`); nothing here knows HTTP.

use service_kit::StoreError;

use super::UserId;

/// Why nothing was changed, or shown.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UserError {
    /// There is no such user.
    #[error("no user {0}")]
    NotFound(UserId),
    /// The user is not in the state that the request is meant for, or is there though it should not be.
    #[error("the user is not in the state that the request is meant for")]
    ConditionFailed,
    /// Another user has the address, in this or another case.
    #[error("address is taken by user {0}")]
    EmailTaken(UserId),
    /// There is a user with this id.
    #[error("there is a user {0} already")]
    Exists(UserId),
    /// The idempotency key was used for another request.
    #[error("idempotency key was used for user {0}, which is another one")]
    KeyReused(UserId),
    /// The user that the same request created before is gone.
    #[error("user {0} of this idempotency key is gone")]
    Gone(UserId),
    /// Requests hinder each other.
    #[error("the user changes too quickly")]
    Contended,
    /// The database did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}
