//! Notices that a stream's store was lost or set back, and has everything sent again that went to the one before.

use shared_events::streams;
use tracing::{info, warn};

use super::{BATCH, BREATH, Reconciler};
use crate::{
    jobs::{Generations, Outbox},
    outbox::{
        open_jobs::OpenJob,
        stream_generation::{Compared, SeenHere, StreamGeneration, StreamNow, StreamState, compare},
    },
};

/// How often a look is repeated because another replica wrote down a new generation meanwhile.
const ROUNDS: usize = 5;

/// What an announced job needs after a stream was lost or set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// Its announcement is gone.
    Announcement,
    /// Its cancel is gone.
    Cancel,
    /// Events may be gone. If the announcement is still there, its end has not been told yet.
    Events,
}

/// What of a job went to an earlier generation than those of `now`; the first that counts.
fn lost(job: &OpenJob, now: Generations) -> Option<Lost> {
    let Some(announced) = job.announced else { return Some(Lost::Announcement) };
    if announced.generations.jobs != now.jobs {
        return Some(Lost::Announcement);
    }
    if job.is_cancel_requested() && announced.generations.control != now.control {
        return Some(Lost::Cancel);
    }
    (announced.generations.events != now.events).then_some(Lost::Events)
}

impl Reconciler {
    /// Looks at all three streams; whether any has another generation than this replica knew.
    pub(super) async fn look_at_generations(&self) -> anyhow::Result<bool> {
        let generations = &self.generations;
        let control = self.look_at(streams::JOB_CONTROL, &generations.control).await?;
        let events = self.look_at(streams::JOB_EVENTS, &generations.events).await?;
        let was = generations.jobs.number();
        let jobs = self.look_at(streams::JOBS, &generations.jobs).await?;
        if jobs && was != 0 {
            self.unmarking.forget_all();
        }
        Ok(control || events || jobs)
    }

    /// Looks at a stream; whether it has another generation than this replica knew.
    async fn look_at(&self, name: &'static str, generation: &StreamGeneration) -> anyhow::Result<bool> {
        for _ in 0..ROUNDS {
            // The document first: it is never ahead of a stream that is asked for after it.
            let known = self.states.get(name).await?;
            let mut here = generation.seen();
            if let Some(known) = &known {
                here = self.with_remembered(name, known, here).await?;
            }
            let now = self.stream(name).await?;
            let next = match (compare(known.as_ref(), &here, &now), &known) {
                (Compared::Same, Some(known)) => {
                    if now.last > known.last {
                        self.states.raise(known, now.last, None).await?;
                    }
                    return Ok(generation.set(known.generation, now.last));
                }
                (_, known) => known.as_ref().map_or(1, |known| known.generation + 1),
            };
            if known.is_some() {
                warn!(
                    stream = name,
                    generation = next,
                    now.created_ms,
                    now.last,
                    "the stream was lost or set back; sending again what went to it"
                );
            }
            let StreamNow { created_ms, last } = now;
            let state =
                StreamState { stream: name.to_owned(), created_ms, generation: next, last, applied: None };
            if self.states.set(known.as_ref(), state).await? {
                return Ok(generation.set(next, last));
            }
        }
        anyhow::bail!("what is known of {name} changes too quickly")
    }

    /// At the start: what went to `JOBS` after its state was written down last is remembered by the jobs alone.
    async fn with_remembered(
        &self,
        name: &'static str,
        known: &StreamState,
        here: SeenHere,
    ) -> anyhow::Result<SeenHere> {
        if name != streams::JOBS || here.generation != 0 {
            return Ok(here);
        }
        // Asked before the stream: other replicas are publishing.
        let highest = self.store.announced_above(known.generation, known.last).await?;
        Ok(highest.map_or(here, |highest| SeenHere { generation: known.generation, highest, ..here }))
    }

    /// Has everything sent again that went to an earlier generation of a stream, at a limited rate.
    pub(super) async fn send_again(&self) -> anyhow::Result<()> {
        let now = self.generations.numbers();
        loop {
            let jobs = self.store.announced_before(now, BATCH).await?;
            let is_full = jobs.len() == BATCH;
            let (mut announcements, mut cancels, mut events) = (Vec::new(), Vec::new(), Vec::new());
            for job in jobs {
                match lost(&job, now) {
                    Some(Lost::Announcement) => announcements.push(job),
                    Some(Lost::Cancel) => cancels.push(job.id),
                    Some(Lost::Events) => events.push(job),
                    None => {}
                }
            }
            let (there, gone) = self.still_announced(events).await?;
            if !there.is_empty() {
                let there: Vec<_> = there.iter().map(|job| job.id).collect();
                self.store.confirm_announced(&there, now).await?;
            }
            announcements.extend(gone);
            let mut marked = 0;
            if !announcements.is_empty() {
                marked += self.store.mark_again(&announcements, now.jobs).await?;
            }
            if !cancels.is_empty() {
                marked += self.store.mark_cancels_again(&cancels).await?;
            }
            if marked > 0 {
                info!(marked, "to be sent again");
                self.relay.wake();
            }
            if !is_full {
                return Ok(());
            }
            tokio::time::sleep(BREATH).await;
        }
    }

    async fn stream(&self, name: &str) -> anyhow::Result<StreamNow> {
        let stream = self.broker.jetstream().get_stream(name).await;
        let stream = stream.inspect_err(|_| self.broker.suspect_missing())?;
        let info = stream.cached_info();
        let created_ms = i64::try_from(info.created.unix_timestamp_nanos() / 1_000_000)?;
        Ok(StreamNow { created_ms, last: i64::try_from(info.state.last_sequence)? })
    }
}

#[cfg(test)]
mod tests {
    use bson::{DateTime, Uuid, doc};

    use super::*;

    const NOW: Generations = Generations { jobs: 3, events: 5, control: 2 };

    fn job(generations: Option<Generations>, is_cancel_requested: bool) -> OpenJob {
        let mut document = doc! { "_id": Uuid::new(), "run": 1, "epoch": 1 };
        if let Some(generations) = generations {
            let generations = bson::serialize_to_document(&generations).unwrap();
            let announced = doc! { "generations": generations, "sequence": 7_i64, "at": DateTime::now() };
            document.insert("announced", announced);
        }
        if is_cancel_requested {
            document.insert("cancel", doc! { "requested_at": DateTime::now() });
        }
        bson::deserialize_from_document(document).unwrap()
    }

    #[test]
    fn what_went_to_an_earlier_generation_is_lost() {
        for (what, generations, is_cancel_requested, expected) in [
            ("nothing is known", None, false, Some(Lost::Announcement)),
            ("all are the same", Some(NOW), true, None),
            ("JOBS was lost", Some(Generations { jobs: 2, ..NOW }), false, Some(Lost::Announcement)),
            (
                "JOBS and JOB_EVENTS were lost",
                Some(Generations { jobs: 2, events: 4, ..NOW }),
                true,
                Some(Lost::Announcement),
            ),
            ("JOB_CONTROL was lost", Some(Generations { control: 1, ..NOW }), true, Some(Lost::Cancel)),
            (
                "JOB_CONTROL was lost, with no cancel in it",
                Some(Generations { control: 1, ..NOW }),
                false,
                None,
            ),
            ("JOB_EVENTS was lost", Some(Generations { events: 4, ..NOW }), false, Some(Lost::Events)),
        ] {
            assert_eq!(lost(&job(generations, is_cancel_requested), NOW), expected, "{what}");
        }
    }
}
