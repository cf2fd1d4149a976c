//! What tells a request that is sent again from another one: the client's key, and a hash of what was asked for.

mod canonical;

pub use canonical::CanonicalObject;
#[cfg(test)]
pub(crate) use canonical::canonical;

use std::{fmt, str::FromStr, time::Duration};

use actix_web::http::header::HeaderName;
use utoipa::ToSchema;

use crate::http::{ProblemType, read::StringValue};

/// How long an idempotency key is remembered from the creation of what was asked for on.
pub const KEY_KEPT: Duration = Duration::from_secs(86_400);

/// Says `true` where an answer shows what the same request has created before.
pub const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// 422.
pub const IDEMPOTENCY_KEY_REUSED: ProblemType = ProblemType {
    code: "idempotency_key_reused",
    status: 422,
    title: "The Idempotency-Key was used for another request",
    meaning: "Within 24 hours the same key came with other fields; `job_id` or `user_id` is what it created.",
    remedy: "Send another key for what is another request.",
};

/// The longest key that a client may choose, in bytes.
const MAX_KEY: usize = 256;

/// The version of the hash. What it is made of never changes; another form gets another version.
const HASH_VERSION: &str = "v1";

/// A client's `Idempotency-Key`: 1 to 256 printable ASCII characters, with no space at either end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, ToSchema)]
#[schema(value_type = String, pattern = "^[!-~]([ -~]{0,254}[!-~])?$", example = "order-4711")]
pub struct IdempotencyKey(String);

impl StringValue for IdempotencyKey {}

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {MAX_KEY} printable ASCII characters without a space at either end")]
pub struct BadKey;

impl FromStr for IdempotencyKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let is_fine = (1..=MAX_KEY).contains(&text.len())
            && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
            && text.trim_matches(' ').len() == text.len();
        if is_fine { Ok(Self(text.to_owned())) } else { Err(BadKey) }
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl IdempotencyKey {
    /// The key of the job at this place of a batch whose header has this key.
    #[must_use]
    pub(crate) fn of_member(&self, index: usize) -> Self {
        Self(format!("{self}:{index}"))
    }

    /// The key's text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }
}

impl CanonicalObject {
    /// The hash of a request that has these fields, with its version.
    #[must_use]
    pub fn request_hash(self) -> String {
        format!("{HASH_VERSION}:{}", hex::encode(self.sha256()))
    }
}

/// Whether a hash that was stored with a key may be that of the request that made this one: it is the same, or
/// of another version, which this one can not tell.
#[must_use]
pub fn may_be_the_same(stored: &str, hash: &str) -> bool {
    let version = |hash: &str| hash.split_once(':').map(|(version, _)| version.to_owned());
    stored == hash || version(stored) != version(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_limits() {
        for (key, fine) in [
            ("a", true),
            ("a b", true),
            ("~", true),
            ("", false),
            (" a", false),
            ("a ", false),
            ("a\tb", false),
            ("ä", false),
            ("\u{7f}", false),
        ] {
            assert_eq!(key.parse::<IdempotencyKey>().is_ok(), fine, "{key:?}");
        }
        assert!("x".repeat(256).parse::<IdempotencyKey>().is_ok());
        assert!("x".repeat(257).parse::<IdempotencyKey>().is_err());
    }

    #[test]
    fn a_hash_of_another_version_is_not_held_against_a_request() {
        assert!(may_be_the_same("v1:a", "v1:a") && may_be_the_same("v2:b", "v1:a"));
        assert!(!may_be_the_same("v1:b", "v1:a"));
    }
}
