//! Proves that every job of a running system that has not ended has what will move it on, and that both databases
//! agree about those that have; names each job of which that is not so.

mod command;
mod connections;
mod firings;
mod group;
mod judge;
mod read;
mod stored;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::Result;
use bson::DateTime;
use shared_events::JobId;

pub use command::{Options, command};
pub use connections::{Connections, Endpoints};
pub use group::Group;
pub use judge::{BrokerView, ConsumerView, Finding, judge};

/// A job that looks broken while the system runs may only have been read midway; it is looked at so often again.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

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
    /// How many firings of schedules are recorded.
    pub firings: u64,
    /// How many of them are not at their end.
    pub open_firings: u64,
    /// Firings, and jobs of schedules, that contradict each other.
    pub broken_firings: Vec<(String, String)>,
}

impl Report {
    /// Whether there is nothing to complain about.
    pub fn is_clean(&self) -> bool {
        self.broken.is_empty() && self.broken_firings.is_empty()
    }
}

/// Looks at everything.
///
/// # Errors
/// Where it could not look: nothing is known then.
pub async fn check(endpoints: &Endpoints) -> Result<Report> {
    let connections = Connections::open(endpoints).await?;
    let mut report = Report::default();
    let mut suspects = Vec::new();
    let broker = connections.broker().await?;
    let mut groups = connections.groups().await?;
    while let Some(group) = groups.next().await? {
        report.jobs += 1;
        match finding(&connections, &group, &broker, endpoints.retention).await? {
            Finding::Broken(_) => suspects.push(group.id),
            finding => report.count(&finding),
        }
    }
    for look in 0..LOOKS {
        let broker = connections.broker().await?;
        for id in std::mem::take(&mut suspects) {
            let group = connections.group(id).await?;
            match finding(&connections, &group, &broker, endpoints.retention).await? {
                Finding::Broken(wrong) if look + 1 == LOOKS => report.broken.push((id, wrong)),
                Finding::Broken(_) => suspects.push(id),
                finding => report.count(&finding),
            }
        }
        if suspects.is_empty() {
            break;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    report.look_at_firings(&connections).await?;
    Ok(report)
}

/// Judges, and asks the broker for an announcement where all hangs on that.
async fn finding(
    connections: &Connections,
    group: &Group,
    broker: &BrokerView,
    retention: Duration,
) -> Result<Finding> {
    Ok(match judge(group, broker, DateTime::now(), retention) {
        Finding::IfAnnouncedAt(sequence, otherwise) => {
            if connections.has_announcement(group.id, sequence).await? {
                Finding::MovedBy("waiting in JOBS")
            } else {
                otherwise.map_or(Finding::MovedBy("reconciler: announcement gone, silent"), Finding::Broken)
            }
        }
        finding => finding,
    })
}

impl Report {
    /// What looks broken every time is.
    async fn look_at_firings(&mut self, connections: &Connections) -> Result<()> {
        let mut suspects = None::<BTreeMap<String, String>>;
        for _ in 0..LOOKS {
            let found = connections.firings().await?;
            (self.firings, self.open_firings) = (found.count, found.open);
            let before = suspects.take();
            let is_still = |id: &String| before.as_ref().is_none_or(|before| before.contains_key(id));
            let still: BTreeMap<_, _> = found.broken.into_iter().filter(|(id, _)| is_still(id)).collect();
            if still.is_empty() {
                return Ok(());
            }
            suspects = Some(still);
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        self.broken_firings.extend(suspects.unwrap_or_default());
        Ok(())
    }

    fn count(&mut self, finding: &Finding) {
        match finding {
            Finding::MovedBy(what) => *self.moved_by.entry(what).or_default() += 1,
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
        if self.firings > 0 {
            let (all, open, broken) = (self.firings, self.open_firings, self.broken_firings.len());
            writeln!(f, "{all} firings of schedules: {open} open, {broken} broken")?;
        }
        self.broken_firings
            .iter()
            .try_for_each(|(id, wrong)| writeln!(f, "  BROKEN firing {id}: {wrong}"))?;
        self.broken.iter().try_for_each(|(id, wrong)| writeln!(f, "  BROKEN {id}: {wrong}"))
    }
}
