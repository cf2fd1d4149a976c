//! What requests about jobs bring: each part a struct, whose fields' types say what they may be.

use std::{convert::Infallible, str::FromStr, time::Duration};

use utoipa::{IntoParams, ToSchema};

use super::problems::JOB_NOT_FOUND;
use crate::http::{
    Problem,
    read::{JsonBody, Number, PathFields, ReadFields, StringValue, Text},
};
use crate::idempotency::IdempotencyKey;
use shared_events::JobId;

/// The longest that an answer waits for a job's end, in seconds.
const MAX_WAIT_S: u32 = 60;

/// The largest body that only says why, or nothing, in bytes: room for a mistake that can be named.
const SMALL_BODY: usize = 64 << 10;

/// Which job.
#[derive(Debug, ReadFields, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct JobPath {
    /// The job's id.
    pub(crate) id: JobId,
}

impl PathFields for JobPath {
    fn not_found() -> Problem {
        Problem::new(&JOB_NOT_FOUND)
    }
}

/// How long to wait, in seconds.
pub(super) type WaitS = Number<0, MAX_WAIT_S>;

/// Why, in the client's words.
pub(super) type Reason = Text<1, 1024>;

/// Whether to wait.
#[derive(Debug, ReadFields, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct WaitQuery {
    /// Answer when the job's latest run has ended, or after this many seconds with how far it is.
    #[param(inline, example = 10)]
    pub(super) wait_s: Option<WaitS>,
}

/// What a client would like, if it is no trouble (RFC 7240).
#[derive(Debug, ReadFields, IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct PreferHeader {
    /// `wait=10` is the same as `wait_s=10`, which comes first where both are given; at most 60 seconds. Other
    /// preferences are passed over (RFC 7240).
    #[param(rename = "Prefer", value_type = Option<String>, example = "wait=10")]
    pub(super) prefer: Option<Prefer>,
}

/// The preferences of a request (RFC 7240) that this service knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Prefer {
    wait_s: Option<u32>,
}

impl FromStr for Prefer {
    type Err = Infallible;

    /// What can not be read is passed over, as RFC 7240 has it; of several waits the first counts.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let preferences = text.split(',').filter_map(|preference| preference.split(';').next());
        let wait_s =
            preferences.filter_map(|preference| preference.split_once('=')).find_map(|(name, value)| {
                let is_wait = name.trim().eq_ignore_ascii_case("wait");
                value.trim().trim_matches('"').parse().ok().filter(|_| is_wait)
            });
        Ok(Self { wait_s })
    }
}

impl StringValue for Prefer {
    const IS_LIST: bool = true;
}

/// How long an answer waits for the job's end, and what is said about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    /// How long; none where nobody asked.
    pub(super) at_most: Option<Duration>,
    /// The value of `Preference-Applied`, in seconds, where it was asked for by `Prefer`.
    pub(super) preference_s: Option<u32>,
}

impl Wait {
    /// What query and header say together.
    pub(super) fn of(query: &WaitQuery, header: &PreferHeader) -> Self {
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
        let preferred = header.prefer.and_then(|prefer| prefer.wait_s).map(|wait| wait.min(MAX_WAIT_S));
        match (query.wait_s, preferred) {
            (Some(wait), _) => Self { at_most: Some(seconds(wait.get())), preference_s: None },
            (None, Some(wait)) => Self { at_most: Some(seconds(wait)), preference_s: Some(wait) },
            (None, None) => Self { at_most: None, preference_s: None },
        }
    }
}

/// What a request to create brings in its head.
#[derive(Debug, ReadFields, IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct KeyHeader {
    /// The same key with the same request creates no second job, for 24 hours.
    #[param(rename = "Idempotency-Key", example = "order-4711")]
    pub(super) idempotency_key: Option<IdempotencyKey>,
}

/// Why a cancel is asked for.
#[derive(Debug, ReadFields, ToSchema)]
#[schema(as = Cancel)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelBody {
    /// The client's words; the job shows them.
    #[schema(inline, example = "the customer has left")]
    pub(super) reason: Option<Reason>,
}

impl JsonBody for CancelBody {
    const MAX_BYTES: usize = SMALL_BODY;
}

/// An object without fields.
#[derive(Debug, ReadFields, ToSchema)]
#[schema(as = Nothing)]
#[serde(deny_unknown_fields)]
pub(super) struct EmptyBody {}

impl JsonBody for EmptyBody {
    const MAX_BYTES: usize = SMALL_BODY;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred(text: &str) -> Option<u32> {
        let Ok(Prefer { wait_s }) = text.parse();
        wait_s
    }

    #[test]
    fn a_preference_is_read_or_passed_over() {
        assert_eq!(preferred("wait=10"), Some(10));
        assert_eq!(preferred("respond-async, WAIT = \"7\"; foo=bar"), Some(7));
        assert_eq!(preferred("wait=3, wait=9"), Some(3));
        for text in ["", "wait", "wait=", "wait=-1", "wait=ten", "waiting=3", ",;=", "handling=lenient"] {
            assert_eq!(preferred(text), None, "{text}");
        }
    }

    #[test]
    fn the_query_comes_before_the_preference_and_both_have_a_limit() {
        let wait = |query: Option<WaitS>, prefer: &str| {
            let Ok(prefer) = prefer.parse();
            Wait::of(&WaitQuery { wait_s: query }, &PreferHeader { prefer: Some(prefer) })
        };
        assert_eq!(wait(None, "wait=600").at_most, Some(Duration::from_secs(60)));
        assert_eq!(wait(None, "wait=600").preference_s, Some(60));
        let both = wait(Some(Number::new::<1>()), "wait=600");
        assert_eq!(both, Wait { at_most: Some(Duration::from_secs(1)), preference_s: None });
    }
}
