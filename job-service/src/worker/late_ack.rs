//! The late ack: an announcement stays unacked while it is what brings its run on after a crash.
//!
//! ```text
//!            claim inserted                  end announced, or left to a scan by its mark
//!  fetched ────────────────> Redelivery ───────────────────────────────────────────────> acked
//!     │                          │
//!     │ claim changed a run      │ first journaled renewal, or a retry recorded
//!     │ that has a time          v
//!     └─────────────────────> DueScan, acked
//! ```
//!
//! A run that was just claimed has no time for a next action in the ledger. Should its worker die, the broker delivers
//! the announcement again, and the ledger then says what is to be done. Most runs end before long, and cost the ledger
//! neither an index entry nor an outbox mark. Whatever has a time is found by the due scan, or by the relay's, and its
//! announcement can go.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_nats::jetstream::{AckKind, Message, message::Acker};
use service_kit::telemetry::chain;
use tracing::debug;

use super::origin::Origin;
use crate::ledger::{EndedRun, Ledger};

/// How much longer than a lease the broker waits before it delivers an announcement again: the ledger then finds
/// the lease ended, which began somewhat later than the broker's wait.
pub(crate) const REDELIVERY_GRACE: Duration = Duration::from_secs(1);

/// The most slots of a worker whose announcements are acked late. What the broker waits for is limited for all workers
/// together, so with more slots every claim has a time in the ledger at once.
pub(crate) const MOST_SLOTS: usize = 1000;

/// What brings a claimed run on, should its worker die.
#[derive(Debug)]
pub enum RecoveredBy {
    /// Its unacked announcement: the broker delivers it again.
    Redelivery(PendingAck),
    /// Its time in the ledger: a scan finds it.
    DueScan,
}

impl RecoveredBy {
    /// Whether that is its announcement.
    #[must_use]
    pub const fn is_redelivery(&self) -> bool {
        matches!(self, Self::Redelivery(_))
    }

    /// The run has a time in the ledger from now on: the announcement can go.
    pub async fn has_time(self) {
        if let Self::Redelivery(ack) = self {
            ack.ack().await;
        }
    }

    /// The run has ended, and the ledger has recorded it; `is_announced` says whether the broker has stored the end. If
    /// not, a mark leaves it to the relay's scan; where that can not be set either, the announcement comes again.
    pub async fn has_ended(self, run: EndedRun, is_announced: bool, ledger: &Ledger) {
        let Self::Redelivery(ack) = self else { return };
        let can_go = is_announced || run.has_time || {
            let id = run.id;
            let marked = ledger.leave_to_scan(run).await;
            if let Err(error) = &marked {
                debug!(run.id = %id, error = chain(error), "not marked; its announcement comes again");
            }
            marked.is_ok()
        };
        if can_go {
            ack.ack().await;
        }
    }
}

/// An unacked message, which several runs may share: it is answered when each of its holders has said how, and given
/// back if any of them says so. A holder that is dropped without a word leaves it unanswered, so that it comes again.
///
/// It can be answered only where it came from: in another store of the broker the same ack would be taken for that of
/// another message. What is not answered comes again.
pub struct PendingAck {
    message: Arc<SharedMessage>,
    is_settled: bool,
}

struct SharedMessage {
    acker: Acker,
    origin: Origin,
    answer: Mutex<Answer>,
}

/// How a message is to be answered, as far as its holders have said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Nobody needs it any more.
    Ack,
    /// Somebody needs it again, after this time where there is one.
    GiveBack(Option<Duration>),
    /// Somebody has said nothing: it stays unanswered.
    None,
}

impl Answer {
    /// What two holders want together.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, _) | (_, Self::None) => Self::None,
            (Self::GiveBack(one), Self::GiveBack(other)) => Self::GiveBack(one.min(other)),
            (Self::GiveBack(delay), Self::Ack) | (Self::Ack, Self::GiveBack(delay)) => Self::GiveBack(delay),
            (Self::Ack, Self::Ack) => Self::Ack,
        }
    }
}

impl fmt::Debug for PendingAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingAck").finish_non_exhaustive()
    }
}

/// One more run that needs the message.
impl Clone for PendingAck {
    fn clone(&self) -> Self {
        Self { message: Arc::clone(&self.message), is_settled: false }
    }
}

impl PendingAck {
    /// Keeps what is needed to answer a message that came from `origin`.
    #[must_use]
    pub fn new(message: Message, origin: Origin) -> Self {
        let acker = message.split().1;
        let message = SharedMessage { acker, origin, answer: Mutex::new(Answer::Ack) };
        Self { message: Arc::new(message), is_settled: false }
    }

    /// This holder does not need the message any more. Where the ack is lost, it comes again and finds the run known.
    pub async fn ack(self) {
        self.settle(Answer::Ack).await;
    }

    /// The broker is to deliver the message again, after `delay` where there is one.
    pub async fn give_back(self, delay: Option<Duration>) {
        self.settle(Answer::GiveBack(delay)).await;
    }

    async fn settle(mut self, answer: Answer) {
        self.say(answer);
        let last = Arc::clone(&self.message);
        drop(self);
        if let Some(message) = Arc::into_inner(last) {
            message.answer().await;
        }
    }

    fn say(&mut self, answer: Answer) {
        let mut said = self.message.answer.lock().unwrap_or_else(PoisonError::into_inner);
        *said = said.and(answer);
        self.is_settled = true;
    }
}

impl Drop for PendingAck {
    fn drop(&mut self) {
        if !self.is_settled {
            self.say(Answer::None);
        }
    }
}

impl SharedMessage {
    async fn answer(self) {
        let kind = match self.answer.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Answer::Ack => AckKind::Ack,
            Answer::GiveBack(delay) => AckKind::Nak(delay),
            Answer::None => return,
        };
        if !self.origin.is_there() {
            debug!("the store that it came from is gone; the announcement comes again when its time is over");
            return;
        }
        if let Err(error) = self.acker.ack_with(kind).await {
            debug!(%error, "the announcement comes again when its time is over");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_goes_when_no_holder_needs_it_and_comes_again_as_soon_as_any_does() {
        let again = |seconds| Answer::GiveBack(Some(Duration::from_secs(seconds)));
        let at_once = Answer::GiveBack(None);
        for (one, other, both) in [
            (Answer::Ack, Answer::Ack, Answer::Ack),
            (Answer::Ack, again(3), again(3)),
            (again(2), again(3), again(2)),
            (again(2), at_once, at_once),
            (Answer::Ack, Answer::None, Answer::None),
            (again(2), Answer::None, Answer::None),
        ] {
            assert_eq!((one.and(other), other.and(one)), (both, both), "{one:?} and {other:?}");
        }
    }
}
