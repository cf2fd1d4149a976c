//! Proves that every job of a running system that has not ended has what will move it on, and that both databases
//! agree about those that have; names each job of which that is not so.

mod command;
mod documents;
mod judge;
mod read;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::Result;
use bson::DateTime;
use shared_events::{JobId, streams};

pub use command::{Options, command};
pub(crate) use documents::{Group, JobDoc, RunDoc};
pub(crate) use judge::{BrokerView, Found, judge};
pub(crate) use read::{System, everything};

/// A job that looks broken while the system runs may only have been read midway; it is looked at so often again.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Where the system is.
#[derive(Clone, Debug)]
pub struct Where {
    /// The api-service's MongoDB.
    pub api_mongo: String,
    /// Its database.
    pub api_db: String,
    /// The job-service's MongoDB.
    pub job_mongo: String,
    /// Its database.
    pub job_db: String,
    /// NATS.
    pub nats: String,
    /// A user of NATS, where it asks for one.
    pub nats_user: Option<String>,
    /// That user's password.
    pub nats_password: Option<String>,
    /// How long its services keep a run after its end (`RETENTION_S`).
    pub retention: Duration,
}

impl Where {
    /// A stack's own servers.
    pub fn of(stack: &crate::Stack) -> Self {
        Self {
            api_mongo: stack.api_mongo().url().to_owned(),
            api_db: "hasty_api".to_owned(),
            job_mongo: stack.job_mongo().url().to_owned(),
            job_db: "hasty_jobs".to_owned(),
            nats: stack.nats().url().to_owned(),
            nats_user: None,
            nats_password: None,
            retention: streams::RETENTION,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many jobs were looked at.
    pub jobs: u64,
    /// How many of them have ended, the same in both databases.
    pub ended: u64,
    /// What moves the others on, and how many it is for each.
    pub moved_by: BTreeMap<&'static str, u64>,
    /// Those that nothing moves on, or about which the databases contradict each other.
    pub broken: Vec<(JobId, String)>,
}

impl Report {
    /// Whether there is nothing to complain about.
    pub fn is_clean(&self) -> bool {
        self.broken.is_empty()
    }
}

/// Looks at everything.
///
/// # Errors
/// Where it could not look: nothing is known then.
pub async fn check(place: &Where) -> Result<Report> {
    let system = System::connect(place).await?;
    let mut report = Report::default();
    let mut suspects = Vec::new();
    let broker = system.broker().await?;
    let mut groups = system.groups().await?;
    while let Some(group) = groups.next().await? {
        report.jobs += 1;
        match settle(&system, &group, &broker, place.retention).await? {
            Found::Broken(_) => suspects.push(group.id),
            found => report.count(&found),
        }
    }
    for look in 0..LOOKS {
        let broker = system.broker().await?;
        for id in std::mem::take(&mut suspects) {
            let group = system.group(id).await?;
            match settle(&system, &group, &broker, place.retention).await? {
                Found::Broken(wrong) if look + 1 == LOOKS => report.broken.push((id, wrong)),
                Found::Broken(_) => suspects.push(id),
                found => report.count(&found),
            }
        }
        if suspects.is_empty() {
            break;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Ok(report)
}

/// Judges, and asks the broker for an announcement where all hangs on that.
async fn settle(system: &System, group: &Group, broker: &BrokerView, retention: Duration) -> Result<Found> {
    Ok(match judge(group, broker, DateTime::now(), retention) {
        Found::IfAnnouncedAt(sequence, otherwise) => {
            if system.has_announcement(group.id, sequence).await? {
                Found::MovedBy("waiting in JOBS")
            } else {
                otherwise.map_or(Found::MovedBy("reconciler: announcement gone, silent"), Found::Broken)
            }
        }
        found => found,
    })
}

impl Report {
    fn count(&mut self, found: &Found) {
        match found {
            Found::MovedBy(what) => *self.moved_by.entry(what).or_default() += 1,
            _ => self.ended += 1,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open: u64 = self.moved_by.values().sum();
        writeln!(f, "{} jobs: {} ended, {open} open, {} broken", self.jobs, self.ended, self.broken.len())?;
        for (what, count) in &self.moved_by {
            writeln!(f, "  {count:>8}  go on: {what}")?;
        }
        self.broken.iter().try_for_each(|(id, wrong)| writeln!(f, "  BROKEN {id}: {wrong}"))
    }
}
