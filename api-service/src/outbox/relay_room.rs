//! The relay and the room in `JOBS`: queues that have used up their share wait in the database until there is room.

use std::collections::HashMap;

use futures::TryStreamExt;
use service_kit::telemetry::chain;
use shared_events::{streams, subjects};
use tracing::{debug, warn};

use super::{queue_shares::QueueShares, relay::Relay};
use crate::jobs::{Job, NextAction};

/// How many jobs of a queue are announced at a time when it has room again.
const SCAN_OF_QUEUE: usize = 64;

impl Relay {
    /// Those of the jobs that can be announced; the others wait until their queue has room.
    pub(super) async fn with_room(&self, jobs: Vec<Job>) -> Vec<Job> {
        let fits =
            |job: &Job| job.next_action == Some(NextAction::Cancel) || self.shares.has_room(&job.queue);
        let (fitting, waiting): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(fits);
        let ids: Vec<bson::Uuid> = waiting.iter().map(|job| job.id).collect();
        if !ids.is_empty() {
            match self.store.await_room(&ids).await {
                Ok(()) => debug!(jobs = ids.len(), "queues have used up their share of the broker's room"),
                Err(error) => warn!(error = chain(&error), "jobs without room are still marked"),
            }
        }
        fitting
    }

    /// Announces what has waited for room and has it now; whether any was.
    pub(super) async fn scan_for_room(&self) -> bool {
        let mut any = false;
        for queue in self.backlog.queues_without_room() {
            loop {
                let most = self.shares.messages_with_room(&queue).min(SCAN_OF_QUEUE);
                if most == 0 {
                    break;
                }
                let again_at = self.store.mongo().clock().after(self.timing.after);
                let taken = match self.store.take_without_room(&queue, most, again_at).await {
                    Ok(taken) => taken,
                    Err(error) => {
                        warn!(error = chain(&error), %queue, "could not look for jobs that wait for room");
                        return any;
                    }
                };
                any |= self.announce_all(taken.jobs).await > 0;
                if !taken.more {
                    break;
                }
            }
        }
        any
    }

    /// Whether it is known now how full the broker is.
    pub(super) async fn look_at_room(&self) -> bool {
        let looked = self.ask_for_room().await;
        if let Err(error) = &looked {
            debug!(error = chain(error.as_ref()), "does not know how full the broker is");
        }
        looked.is_ok()
    }

    /// Asks the broker how full the stream is, and whose messages it holds where that matters.
    async fn ask_for_room(&self) -> anyhow::Result<()> {
        let stream = self.broker.jetstream().get_stream(streams::JOBS).await?;
        let info = stream.cached_info();
        let limit = u64::try_from(info.config.max_bytes).ok().filter(|limit| *limit > 0);
        let mut by_queue = HashMap::new();
        if limit.is_some_and(|limit| QueueShares::is_tight(limit, info.state.bytes)) {
            let mut subjects = stream.info_with_subjects(subjects::ALL_CREATED).await?;
            while let Some((subject, messages)) = subjects.try_next().await? {
                if let Some(queue) = subjects::queue_of_created(&subject) {
                    *by_queue.entry(queue).or_default() += messages as u64;
                }
            }
        }
        self.shares.set(limit, info.state.bytes, info.state.messages, &by_queue);
        Ok(())
    }
}
