//! What the clients have met, as they go.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// `GET /v1/users/{id}` of a user who is there.
    Read,
    /// The same right after the user's creation.
    ReadNew,
    /// `POST /v1/users`.
    Create,
    /// `PATCH /v1/users/{id}`.
    Change,
    /// `POST /v1/jobs`.
    Job,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Read => "reads",
            Self::ReadNew => "reads of new users",
            Self::Create => "creates",
            Self::Change => "changes",
            Self::Job => "jobs created",
        }
    }
}

/// All requests of a kind.
#[derive(Debug, Clone, Default)]
pub(super) struct Requests {
    pub(super) done: u64,
    /// How many were refused or had no answer, by what was answered.
    pub(super) failed: BTreeMap<String, u64>,
    /// The longest time without one that was done, and in which phase it ended.
    pub(super) pause: (Duration, String),
    /// The longest that one which was done took, and in which phase it ended.
    pub(super) slowest: (Duration, String),
    /// The longest pause while all members were there, or came back.
    pub(super) undisturbed: Duration,
    last: Option<Instant>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Record(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    phase: String,
    is_away: bool,
    requests: BTreeMap<Kind, Requests>,
    wrong: Vec<String>,
}

impl Record {
    /// Another phase begins, in which a member is away, or all are there or come back.
    pub(super) fn begin(&self, phase: &str, is_away: bool) {
        let mut inner = self.lock();
        (inner.phase, inner.is_away) = (phase.to_owned(), is_away);
    }

    /// A request that was asked at `asked` is done.
    pub(super) fn done(&self, kind: Kind, asked: Instant) {
        let mut inner = self.lock();
        let (now, phase, is_away) = (Instant::now(), inner.phase.clone(), inner.is_away);
        let requests = inner.requests.entry(kind).or_default();
        requests.done += 1;
        let pause = requests.last.replace(now).map_or(Duration::ZERO, |last| now - last);
        if !is_away {
            requests.undisturbed = requests.undisturbed.max(pause);
        }
        for (longest, took) in [(&mut requests.pause, pause), (&mut requests.slowest, now - asked)] {
            if took > longest.0 {
                *longest = (took, phase.clone());
            }
        }
    }

    /// A request was not done.
    pub(super) fn failed(&self, kind: Kind, why: String) {
        *self.lock().requests.entry(kind).or_default().failed.entry(why).or_default() += 1;
    }

    /// Something is not as it was promised.
    pub(super) fn wrong(&self, what: &str) {
        let mut inner = self.lock();
        let phase = inner.phase.clone();
        inner.wrong.push(format!("{what} ({phase})"));
    }

    /// All of it.
    pub(super) fn taken(&self) -> (BTreeMap<Kind, Requests>, Vec<String>) {
        let inner = self.lock();
        (inner.requests.clone(), inner.wrong.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_pause_is_between_two_that_were_done() {
        let record = Record::default();
        let after = async |seconds| tokio::time::advance(Duration::from_secs(seconds)).await;
        record.done(Kind::Read, Instant::now());
        after(1).await;
        record.begin("killed", true);
        let asked = Instant::now();
        after(3).await;
        record.failed(Kind::Read, "503".to_owned());
        record.done(Kind::Read, asked);
        record.begin("back", false);
        after(2).await;
        record.done(Kind::Read, Instant::now());
        let (requests, wrong) = record.taken();
        let reads = &requests[&Kind::Read];
        assert_eq!((reads.done, reads.failed["503"], wrong.len()), (3, 1, 0));
        assert_eq!(reads.pause, (Duration::from_secs(4), "killed".to_owned()));
        assert_eq!(reads.undisturbed, Duration::from_secs(2));
        assert_eq!(reads.slowest, (Duration::from_secs(3), "killed".to_owned()));
    }
}
