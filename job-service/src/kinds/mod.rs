//! The kinds of jobs that this worker can do: one file each, behind one trait. To add a kind, write
//! its file and add its line to [`Registry::new`].

mod fault;
mod noop;
mod shuffle;
mod sleep;

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use shared_events::{JobError, JsonText, Kind, RunId};
use tokio_util::sync::CancellationToken;

use crate::chronicle::Chronicle;

/// Does the work of one kind.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Makes one attempt. The future is dropped when the attempt is over its time, cancelled, or
    /// taken over, so whatever must be undone belongs into destructors.
    ///
    /// An attempt may be made again after a crash: effects on the outside should be keyed by
    /// [`Attempt::run`].
    async fn attempt(&self, attempt: Attempt) -> Verdict;
}

/// What a handler gets.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The run: the same in all its attempts.
    pub run: RunId,
    /// Which attempt of it, from 1.
    pub number: u32,
    /// The job's payload: a JSON object.
    pub payload: JsonText,
    /// Cancelled when the attempt is to stop, just before its future is dropped.
    pub stop: CancellationToken,
}

/// What a handler can say.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is done; the result, where there is one, is shown to the client.
    Done(Option<JsonText>),
    /// It went wrong and may go better next time.
    Retry(JobError),
    /// It went wrong and always will.
    Fail(JobError),
}

/// Which handler does which kind.
#[derive(Clone)]
pub struct Registry(Arc<HashMap<&'static str, Box<dyn Handler>>>);

impl Registry {
    /// All kinds; `faults` adds the one that misbehaves on purpose.
    #[must_use]
    pub fn new(faults: bool, chronicle: &Chronicle) -> Self {
        let mut kinds: HashMap<&'static str, Box<dyn Handler>> = HashMap::new();
        kinds.insert("noop", Box::new(noop::Noop));
        kinds.insert("shuffle", Box::new(shuffle::Shuffle));
        kinds.insert("sleep", Box::new(sleep::Sleep));
        if faults {
            kinds.insert("fault", Box::new(fault::Fault(chronicle.clone())));
        }
        Self(Arc::new(kinds))
    }

    /// Makes an attempt of this kind; an unknown kind is a failed attempt `unknown_kind`.
    pub async fn attempt(&self, kind: &Kind, attempt: Attempt) -> Verdict {
        match self.0.get(kind.as_str()) {
            Some(handler) => handler.attempt(attempt).await,
            None => Verdict::Retry(JobError::new(
                "unknown_kind",
                format!("this worker has no handler for {kind}"),
            )),
        }
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The verdict on a payload that the handler can not read: it will not read better next time.
fn bad_payload(error: &shared_events::payloads::BadPayload) -> Verdict {
    Verdict::Fail(JobError::new("bad_payload", error.to_string()))
}

/// The verdict with this result.
fn done(result: &serde_json::Value) -> Verdict {
    match JsonText::of(result) {
        Ok(result) => Verdict::Done(Some(result)),
        Err(error) => Verdict::Fail(JobError::new("bad_result", error.to_string())),
    }
}
