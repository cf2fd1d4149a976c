//! Reading what there is after a run: both databases, the broker, and the workers' chronicles.

use std::path::Path;

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use shared_events::streams;

use super::faults::Victim;
use super::record::{Line, Record};
use crate::fsck::{self, System, Where, everything};

/// The workers' chronicles, in the stack's folder.
pub(super) const CHRONICLES: &str = "chronicle";

/// Whether all is done: every job ended, no duty left, the broker empty.
pub(super) async fn quiet(place: &Where) -> Result<()> {
    let system = System::connect(place).await?;
    let left: Vec<_> = left(&system).await?.into_iter().filter(|(_, left)| *left > 0).collect();
    if !left.is_empty() {
        bail!("left in the broker: {left:?}");
    }
    let groups = everything(&system).await?;
    let open = groups.values().filter(|group| !group.is_over());
    let open: Vec<String> = open.map(|group| group.id.to_string()).collect();
    if !open.is_empty() {
        bail!(
            "{} jobs have not ended or still have duties, among them {:?}",
            open.len(),
            &open[..open.len().min(5)]
        );
    }
    Ok(())
}

/// Everything but the clients' part.
pub(super) async fn collect(victim: &Victim, place: &Where) -> Result<Record> {
    let system = System::connect(place).await?;
    let folder = victim.stack.folder().join(CHRONICLES);
    let effects = std::fs::read_dir(folder.join("effects")).context("no effects were kept")?.flatten();
    Ok(Record {
        groups: everything(&system).await?,
        lines: chronicles(&folder)?,
        effects: effects.filter_map(|file| file.file_name().to_str()?.parse().ok()).collect(),
        done: victim.done(),
        deaths: victim.deaths(),
        left: left(&system).await?,
        fsck: fsck::check(place).await?,
        ..Record::default()
    })
}

fn chronicles(folder: &Path) -> Result<Vec<Line>> {
    let mut lines: Vec<Line> = Vec::new();
    for file in std::fs::read_dir(folder)?.flatten() {
        if file.path().extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let text = std::fs::read_to_string(file.path())?;
        for line in text.lines() {
            let read = serde_json::from_str(line);
            lines.push(read.with_context(|| format!("{}: {line}", file.path().display()))?);
        }
    }
    lines.sort_by_key(|line| line.at);
    Ok(lines)
}

/// What each consumer has not acked, and what the work queues hold.
async fn left(system: &System) -> Result<Vec<(String, u64)>> {
    let mut left = Vec::new();
    for name in [streams::JOBS, streams::JOB_EVENTS, streams::JOB_CONTROL] {
        let stream = system.jetstream.get_stream(name).await?;
        if name != streams::JOB_EVENTS {
            left.push((name.to_owned(), stream.cached_info().state.messages));
        }
        let consumers: Vec<_> = stream.consumers().try_collect().await?;
        left.extend(
            consumers.into_iter().map(|info| (info.name, info.num_pending + info.num_ack_pending as u64)),
        );
    }
    Ok(left)
}
