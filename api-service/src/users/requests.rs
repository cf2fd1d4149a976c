//! What requests about users bring.

use utoipa::IntoParams;

use super::{UserId, problems::USER_NOT_FOUND};
use crate::{
    http::{
        Problem,
        etag::{ConditionalHeader, IfMatchHeader},
        freshness::FreshHeader,
        read::{Both, PathFields, ReadFields},
    },
    idempotency::IdempotencyKey,
};

/// Which user.
#[derive(Debug, ReadFields, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct UserPath {
    /// The user's id.
    pub(super) id: UserId,
}

impl PathFields for UserPath {
    fn not_found() -> Problem {
        Problem::new(&USER_NOT_FOUND)
    }
}

/// What a request to create brings in its head.
#[derive(Debug, ReadFields, IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct KeyHeader {
    /// The same key with the same request creates no second user, for 24 hours.
    #[param(rename = "Idempotency-Key", example = "user-4711")]
    pub(super) idempotency_key: Option<IdempotencyKey>,
}

/// What a request to read a user brings in its head.
pub(super) type ReadHeaders = Both<Both<ConditionalHeader, IfMatchHeader>, FreshHeader>;
