//! Reading what there is after a run: both databases, the broker, and the workers' histories.

use std::path::Path;

use anyhow::{Context, Result, bail};
use api_service::schedules::{FIRINGS, Firing, SCHEDULES};
use bson::{Document, doc};
use futures::TryStreamExt;
use hasty::fsck::{self, Connections, Endpoints};
use shared_events::streams;

use super::programs;
use super::record::{HistoryEvent, Record};
use super::system::System;

/// Where the workers keep their histories, in the stack's folder.
pub(super) const HISTORIES: &str = "history";

/// Where keyed effects are, in there.
pub(super) const EFFECTS: &str = "effects";

/// Fails until all is done: every job ended, no next_action left, the broker empty.
pub(super) async fn idle(endpoints: &Endpoints) -> Result<()> {
    let connections = Connections::open(endpoints).await?;
    let left: Vec<_> = left(&connections).await?.into_iter().filter(|(_, left)| *left > 0).collect();
    if !left.is_empty() {
        bail!("left in the broker: {left:?}");
    }
    let groups = connections.all_groups().await?;
    let open = groups.values().filter(|group| !group.is_over());
    let open: Vec<String> = open.map(|group| group.id.to_string()).collect();
    if !open.is_empty() {
        bail!(
            "{} jobs have not ended or still have duties, among them {:?}",
            open.len(),
            &open[..open.len().min(5)]
        );
    }
    let all = connections.api.collection::<Document>(SCHEDULES);
    let undecided = all.count_documents(doc! { "next_fire_at": { "$exists": true } }).await?;
    let firings = connections.api.collection::<Document>(FIRINGS);
    let open = firings.count_documents(doc! { "look_at": { "$exists": true } }).await?;
    if undecided + open > 0 {
        bail!("{undecided} schedules have something to decide, and {open} firings are not at their end");
    }
    Ok(())
}

/// Everything but the clients' part.
pub(super) async fn collect(system: &System, endpoints: &Endpoints) -> Result<Record> {
    let connections = Connections::open(endpoints).await?;
    let folder = system.stack.folder().join(HISTORIES);
    let effects = std::fs::read_dir(folder.join(EFFECTS)).context("no effects were kept")?.flatten();
    Ok(Record {
        groups: connections.all_groups().await?,
        firings: connections.api.collection::<Firing>(FIRINGS).find(doc! {}).await?.try_collect().await?,
        history: histories(&folder)?,
        effects: effects.filter_map(|file| file.file_name().to_str()?.parse().ok()).collect(),
        done: system.done(),
        exits: system.exits(),
        left: left(&connections).await?,
        fsck: fsck::check(endpoints).await?,
        programs: programs::running(&system.stack.folder().to_string_lossy()),
        ..Record::default()
    })
}

fn histories(folder: &Path) -> Result<Vec<HistoryEvent>> {
    let mut events: Vec<HistoryEvent> = Vec::new();
    for file in std::fs::read_dir(folder)?.flatten() {
        if file.path().extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let text = std::fs::read_to_string(file.path())?;
        for line in text.lines() {
            let read = serde_json::from_str(line);
            events.push(read.with_context(|| format!("{}: {line}", file.path().display()))?);
        }
    }
    events.sort_by_key(|event| event.at);
    Ok(events)
}

/// What each consumer has not acked, and what the work queues hold.
async fn left(connections: &Connections) -> Result<Vec<(String, u64)>> {
    let mut left = Vec::new();
    for name in [streams::JOBS, streams::JOB_EVENTS, streams::JOB_CONTROL] {
        let stream = connections.jetstream.get_stream(name).await?;
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
