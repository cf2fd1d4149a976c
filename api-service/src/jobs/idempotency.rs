//! What tells a request that is sent again from another one: the client's key, and a hash of what was asked for.

use std::{fmt, str::FromStr};

use shared_events::{Priority, Queue};
use utoipa::ToSchema;

use super::{NewJob, canonical::CanonicalObject};
use crate::http::read::StringValue;

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
    pub(super) fn of_member(&self, index: usize) -> Self {
        Self(format!("{self}:{index}"))
    }

    /// The key's text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }
}

/// What tells a new job from others: the same for the same fields, in whatever order and spacing they were sent,
/// and whether a field that has its default was sent or not.
pub(super) fn request_hash(new_job: &NewJob) -> String {
    format!("{HASH_VERSION}:{}", hex::encode(fields(new_job).sha256()))
}

/// Whether a hash that was stored with a key may be that of the request that made this one: it is the same, or
/// of another version, which this one can not tell.
pub(super) fn may_be_the_same(stored: &str, hash: &str) -> bool {
    let version = |hash: &str| hash.split_once(':').map(|(version, _)| version.to_owned());
    stored == hash || version(stored) != version(hash)
}

fn fields(new_job: &NewJob) -> CanonicalObject {
    let NewJob { kind, payload, queue, priority, object_id, timeout_s, max_attempts, keep_s } = new_job;
    let mut fields = CanonicalObject::default();
    fields.add("kind", &Some(kind), &None);
    fields.add_text("payload", payload.as_str(), "{}");
    fields.add("queue", queue, &Queue::default());
    fields.add("priority", priority, &Priority::default());
    fields.add("object_id", &object_id.as_deref(), &None);
    fields.add("timeout_s", timeout_s, &NewJob::default_timeout());
    fields.add("max_attempts", max_attempts, &NewJob::default_max_attempts());
    fields.add("keep_s", keep_s, &None);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::read::read_json_object;

    fn new_job(json: &str) -> NewJob {
        read_json_object(json.as_bytes()).unwrap()
    }

    fn text(json: &str) -> String {
        fields(&new_job(json)).text()
    }

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

    /// Replicas of several versions compare these: a value that changes here needs another [`HASH_VERSION`].
    #[test]
    fn hashes_are_what_they_always_were() {
        for (json, canonical, hash) in [
            (
                r#"{"kind":"noop"}"#,
                r#"{"kind":"noop"}"#,
                "v1:f6ff28cc6355a0d36a765bc4ae736d64a500d73580809483c41fe7ccf32d9742",
            ),
            (
                r#"{"timeout_s":7,"queue":"mail","payload":{"b":1.50,"a":"\u00e9"},"priority":"high","object_id":"é\"","kind":"own","max_attempts":1}"#,
                r#"{"kind":"own","max_attempts":1,"object_id":"é\"","payload":{"a":"\u00e9","b":1.50},"priority":"high","queue":"mail","timeout_s":7}"#,
                "v1:e6a316d93829afe068f6122747290c96b2eca31280cd63949be1c27ad9069ea5",
            ),
        ] {
            assert_eq!(text(json), canonical);
            assert_eq!(request_hash(&new_job(json)), hash);
        }
    }

    #[test]
    fn order_spacing_and_defaults_do_not_count() {
        let short = request_hash(&new_job(r#"{"kind":"noop"}"#));
        let long = r#" { "max_attempts" : 5, "timeout_s":46,"priority":"normal", "queue":"default","payload": { },
            "kind":"noop" } "#;
        assert_eq!(request_hash(&new_job(long)), short);
        for other in [
            r#"{"kind":"noop","payload":{"a":1}}"#,
            r#"{"kind":"noop","queue":"a"}"#,
            r#"{"kind":"noop","priority":"low"}"#,
            r#"{"kind":"noop","object_id":"a"}"#,
            r#"{"kind":"noop","timeout_s":45}"#,
            r#"{"kind":"noop","max_attempts":4}"#,
            r#"{"kind":"noop","keep_s":60}"#,
            r#"{"kind":"own"}"#,
        ] {
            assert_ne!(request_hash(&new_job(other)), short, "{other}");
        }
    }

    #[test]
    fn numbers_and_strings_of_a_payload_count_by_their_text() {
        let of = |payload: &str| request_hash(&new_job(&format!(r#"{{"kind":"own","payload":{payload}}}"#)));
        assert_eq!(of(r#"{"a":1,"b":[2]}"#), of(r#"{ "b" : [ 2 ], "a" : 1 }"#));
        assert_ne!(of(r#"{"a":1}"#), of(r#"{"a":1.0}"#));
        assert_ne!(of(r#"{"a":"é"}"#), of(r#"{"a":"\u00e9"}"#));
    }

    #[test]
    fn a_hash_of_another_version_is_not_held_against_a_request() {
        assert!(may_be_the_same("v1:a", "v1:a") && may_be_the_same("v2:b", "v1:a"));
        assert!(!may_be_the_same("v1:b", "v1:a"));
    }
}
