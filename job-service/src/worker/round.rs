//! Takes what waits at one moment, and no more: the announcements that are in the stream, and the runs that are due. So a
//! round comes to its end also where new jobs come faster than they are done.

use service_kit::StoreError;
use shared_events::streams;
use tokio_util::sync::CancellationToken;

use super::{
    Worker,
    due::{self, BATCH, DueOf, LOOKS},
    fetch::Source,
    pull,
};

/// What was taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    /// Messages with announcements.
    pub(crate) announcements: usize,
    /// Runs that were due: retries, and what dead workers had.
    pub(crate) due: usize,
}

/// What of the stream a round takes.
pub(crate) struct Round {
    queues: Vec<Vec<Source>>,
    /// The latest message when the round began.
    last_sequence: u64,
}

impl Worker {
    /// Begins a round: what comes later is not of it.
    ///
    /// # Errors
    /// Where NATS does not answer.
    pub(crate) async fn begin_round(&self) -> anyhow::Result<Round> {
        let queues = self.sources().await?;
        let last_sequence = self.broker.jetstream().get_stream(streams::JOBS).await?;
        let last_sequence = last_sequence.cached_info().state.last_sequence;
        Ok(Round { queues, last_sequence })
    }

    /// Takes the announcements of a round, by queues in turn and within a queue in order of priority, as slots become free;
    /// how many.
    ///
    /// # Errors
    /// Where NATS does not answer; what was taken until then is run all the same.
    pub(crate) async fn take_announced(
        &self,
        round: &Round,
        stop: &CancellationToken,
    ) -> anyhow::Result<usize> {
        let mut queues: Vec<Vec<&Source>> = round.queues.iter().map(|queue| queue.iter().collect()).collect();
        let share = self.concurrency.div_ceil(queues.len().max(1)).min(BATCH);
        let mut taken = 0;
        while queues.iter().any(|queue| !queue.is_empty()) {
            for queue in &mut queues {
                let Some(source) = queue.first().copied() else { continue };
                if !self.room.has(&source.queue).await {
                    // The rest is left to the next round.
                    queue.clear();
                    continue;
                }
                while self.database_is_away(stop).await {}
                let Some(slots) = stop.run_until_cancelled(self.free_slots(share)).await else {
                    return Ok(taken);
                };
                let messages = pull::now(&source.consumer, slots.len()).await?;
                let mut is_over = messages.is_empty();
                let mut slots = slots.into_iter();
                for message in messages {
                    let is_later =
                        message.info().is_ok_and(|info| info.stream_sequence > round.last_sequence);
                    is_over |= is_later;
                    // What came later is given back.
                    let slot = slots.next().filter(|_| !is_later);
                    taken += usize::from(slot.is_some());
                    self.attend(message, source.origin.clone(), slot);
                }
                if is_over {
                    queue.remove(0);
                }
            }
        }
        Ok(taken)
    }

    /// Takes the runs that are due, as slots become free; how many.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub(super) async fn take_due(&self, of: DueOf, stop: &CancellationToken) -> Result<usize, StoreError> {
        let (mut taken, mut in_vain) = (0, 0);
        // Documents that can not be read do not keep it busy for ever.
        while in_vain < LOOKS {
            let Some(slots) = stop.run_until_cancelled(self.free_slots(BATCH)).await else { break };
            let found = due::claim(self, slots, of).await?;
            taken += found.claimed;
            in_vain = if found.claimed > 0 { 0 } else { in_vain + 1 };
            if !found.more {
                break;
            }
        }
        Ok(taken)
    }
}
