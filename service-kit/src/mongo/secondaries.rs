//! How far the secondaries of a replica set are behind its primary.
//!
//! The driver can leave out a secondary that is behind too, but by no less than 90 s (`maxStalenessSeconds`). So every member
//! is asked each second, or oftener, what it has applied last, after the primary was. Both times are the primary's: a write has the time
//! at which the primary took it, wherever it is applied. So no two clocks are compared.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bson::{DateTime, Document, Timestamp, doc};
use futures::future::join_all;
use mongodb::{
    ServerType,
    options::{ReadPreference, SelectionCriteria},
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Mongo;

/// A secondary that is further behind is not asked.
pub const MAX_LAG: Duration = Duration::from_secs(10);

/// How long nobody is asked after all were.
const PAUSE: Duration = Duration::from_millis(500);

/// How long the primary may take to answer. Without one, what it had said before goes on counting.
const PRIMARY_ANSWERS_WITHIN: Duration = Duration::from_millis(300);

/// How long a member may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_millis(800);

/// How long what a member has said is relied on; a member that says nothing for longer is not asked either.
const RELIED_ON_FOR: Duration = Duration::from_secs(3);

/// The last write that a member has applied.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Applied {
    /// The term of the primary that took it, and its place: orders all writes.
    place: (i64, Timestamp),
    /// When that primary took it.
    taken_at: DateTime,
}

impl Applied {
    /// From a member's answer to `hello`.
    fn of(hello: &Document) -> Option<Self> {
        let last = hello.get_document("lastWrite").ok()?;
        let place = last.get_document("opTime").ok()?;
        Some(Self {
            place: (place.get_i64("t").ok()?, place.get_timestamp("ts").ok()?),
            taken_at: *last.get_datetime("lastWriteDate").ok()?,
        })
    }

    /// How far who has applied this is behind who had applied that.
    fn behind(&self, primary: &Self) -> Duration {
        if self.place >= primary.place {
            return Duration::ZERO;
        }
        let millis = primary.taken_at.timestamp_millis() - self.taken_at.timestamp_millis();
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }
}

/// What a secondary said, and when.
#[derive(Debug, Clone, Copy)]
struct Seen {
    applied: Applied,
    at: Instant,
}

/// What is known of a replica set.
#[derive(Debug, Default)]
struct Members {
    /// What the primary had applied when there was one last.
    primary: Option<Applied>,
    secondaries: HashMap<String, Seen>,
}

impl Members {
    /// The secondaries that are at most ten seconds behind at `now`, even if they have applied nothing since they were asked.
    fn near(&self, now: Instant) -> Vec<String> {
        let Some(primary) = &self.primary else { return Vec::new() };
        let is_near = |seen: &Seen| {
            let age = now.saturating_duration_since(seen.at);
            age <= RELIED_ON_FOR && seen.applied.behind(primary) + age <= MAX_LAG
        };
        let near = self.secondaries.iter().filter(|(_, seen)| is_near(seen));
        near.map(|(address, _)| address.clone()).collect()
    }
}

/// See the module. Empty as long as nothing was measured, and where there is no replica set.
#[derive(Debug, Default)]
pub(super) struct Secondaries(Mutex<Members>);

impl Secondaries {
    /// The secondaries that may be asked now.
    pub(super) fn near(&self) -> Vec<String> {
        self.lock().near(Instant::now())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Members> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of these members, as long as it is a secondary.
pub(super) fn any_of(addresses: Vec<String>) -> SelectionCriteria {
    SelectionCriteria::Predicate(Arc::new(move |server| {
        server.server_type() == ServerType::RsSecondary && addresses.contains(&server.address().to_string())
    }))
}

impl Mongo {
    /// Goes on measuring how far secondaries are behind, until told to stop. Before it is called no secondary is asked.
    pub async fn measure_secondaries(&self, stop: &CancellationToken) {
        let mut told = Vec::new();
        loop {
            self.measure().await;
            let mut near = self.secondaries.near();
            near.sort_unstable();
            if near != told {
                info!(secondaries = near.join(","), "these secondaries may answer");
                told = near;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    async fn measure(&self) {
        // First, or a secondary might seem to be behind that has applied what the primary has got since.
        let of_primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
        let primary = self.hello(of_primary, PRIMARY_ANSWERS_WITHIN).await;
        let known = match &primary {
            Some(hello) => Some(hello.clone()),
            None => self.hello(any(), ANSWER_WITHIN).await,
        };
        let hosts = known.as_ref().map(hosts).unwrap_or_default();
        {
            let mut members = self.secondaries.lock();
            members.primary = primary.as_ref().and_then(Applied::of).or(members.primary);
            if known.is_some() {
                members.secondaries.retain(|address, _| hosts.contains(address));
            }
        }
        // Each counts as soon as it has answered: one that is gone must not make the others' answers old.
        let asked = hosts.into_iter().map(|host| async {
            let at = Instant::now();
            let hello = self.hello(any_of(vec![host.clone()]), ANSWER_WITHIN).await?;
            let is_secondary = hello.get_bool("secondary").unwrap_or(false);
            let seen = Seen { applied: Applied::of(&hello).filter(|_| is_secondary)?, at };
            self.secondaries.lock().secondaries.insert(host, seen)
        });
        join_all(asked).await;
    }

    async fn hello(&self, of: SelectionCriteria, within: Duration) -> Option<Document> {
        let database = self.database.clone();
        let asking = async move { database.run_command(doc! { "hello": 1 }).selection_criteria(of).await };
        // To its end, since dropping it midway is unsafe.
        timeout(within, tokio::spawn(asking)).await.ok()?.ok()?.ok()
    }
}

/// The members of a set, from an answer to `hello`; none where there is no set.
fn hosts(hello: &Document) -> Vec<String> {
    let hosts = hello.get_array("hosts").into_iter().flatten();
    hosts.filter_map(|host| host.as_str().map(str::to_owned)).collect()
}

/// Any server.
fn any() -> SelectionCriteria {
    SelectionCriteria::Predicate(Arc::new(|_| true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(term: i64, second: u32) -> Applied {
        let place = (term, Timestamp { time: second, increment: 1 });
        Applied { place, taken_at: DateTime::from_millis(i64::from(second) * 1000) }
    }

    /// Whether a secondary may be asked that said `age_s` ago that it has applied this.
    fn is_near(primary: Applied, secondary: Applied, age_s: u64) -> bool {
        let at = Instant::now();
        let secondaries = HashMap::from([("a".to_owned(), Seen { applied: secondary, at })]);
        let members = Members { primary: Some(primary), secondaries };
        !members.near(at + Duration::from_secs(age_s)).is_empty()
    }

    #[test]
    fn a_secondary_is_at_most_ten_seconds_behind() {
        for (primary, secondary, age_s, near) in [
            (applied(1, 100), applied(1, 100), 0, true),
            (applied(1, 100), applied(1, 101), 0, true),
            (applied(1, 100), applied(1, 90), 0, true),
            (applied(1, 100), applied(1, 89), 0, false),
            // It may have applied nothing since.
            (applied(1, 100), applied(1, 92), 2, true),
            (applied(1, 100), applied(1, 92), 3, false),
            // Who says nothing for long is not asked, however near it was.
            (applied(1, 100), applied(1, 100), 3, true),
            (applied(1, 100), applied(1, 100), 4, false),
            // Behind or not is a matter of the term first.
            (applied(2, 100), applied(1, 200), 0, true),
            (applied(1, 200), applied(2, 100), 0, true),
            (applied(2, 100), applied(1, 80), 0, false),
        ] {
            assert_eq!(is_near(primary, secondary, age_s), near, "{primary:?} {secondary:?} {age_s}");
        }
    }

    #[test]
    fn nobody_is_near_a_primary_that_was_never_seen() {
        let seen = Seen { applied: applied(1, 1), at: Instant::now() };
        let members = Members { primary: None, secondaries: HashMap::from([("a".to_owned(), seen)]) };
        assert!(members.near(Instant::now()).is_empty());
    }

    #[test]
    fn what_a_member_has_applied_is_read_from_its_hello() {
        let place = doc! { "ts": Timestamp { time: 7, increment: 1 }, "t": 3_i64 };
        let last = doc! { "opTime": place, "lastWriteDate": DateTime::from_millis(7000) };
        assert_eq!(Applied::of(&doc! { "lastWrite": last }), Some(applied(3, 7)));
        assert_eq!(Applied::of(&doc! { "isWritablePrimary": true }), None);
    }
}
