//! Whether a consumer has stopped delivering again what is not acked.

use async_nats::jetstream::consumer::Info;
use tokio::time::Instant;

/// For how many ack waits an ack floor may stand still while messages are taken. Within one the oldest message that is not
/// acked comes again, and is acked or given back for another one at most.
const ACK_WAITS: u32 = 4;

/// How many ack waits a consumer is known before it is made anew, so that one whose messages nobody can ack is not made
/// anew all the time.
const KNOWN_ACK_WAITS: u32 = 2 * ACK_WAITS;

/// What was seen of a consumer's ack floor.
#[derive(Debug, Default)]
pub(super) struct AckFloor(Option<Seen>);

#[derive(Debug, Clone, Copy)]
struct Seen {
    /// When the server made the consumer: another time means another consumer.
    created: i128,
    known_since: Instant,
    sequence: u64,
    stands_since: Instant,
    delivered: u64,
}

impl AckFloor {
    /// Forgets what was seen: who could not look does not know what went on meanwhile.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    /// Takes in how the consumer is now, and says whether its oldest unacked message should have come again long ago.
    pub(super) fn stands_still(&mut self, info: &Info) -> bool {
        let now = Instant::now();
        let found = Seen {
            created: info.created.unix_timestamp_nanos(),
            known_since: now,
            sequence: info.ack_floor.stream_sequence,
            stands_since: now,
            delivered: info.delivered.consumer_sequence,
        };
        let before = self.0.filter(|before| before.created == found.created).unwrap_or(found);
        // Where all workers are busy for long, nothing is taken and nothing comes.
        let is_taken = info.num_waiting > 0 || found.delivered != before.delivered;
        let stands = is_taken && info.num_ack_pending > 0 && found.sequence == before.sequence;
        let stands_since = if stands { before.stands_since } else { now };
        self.0 = Some(Seen { known_since: before.known_since, stands_since, ..found });
        let ack_wait = info.config.ack_wait;
        now - stands_since > ack_wait * ACK_WAITS && now - before.known_since > ack_wait * KNOWN_ACK_WAITS
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ACK_WAIT: Duration = Duration::from_secs(30);

    fn info(ack_floor: u64, delivered: u64, waiting: usize, unacked: usize) -> Info {
        let sequence =
            |sequence: u64| serde_json::json!({ "consumer_seq": sequence, "stream_seq": sequence });
        let info = serde_json::json!({
            "stream_name": "JOBS", "name": "workers", "created": "2026-11-27T12:00:00Z",
            "config": { "ack_wait": ACK_WAIT.as_nanos(), "deliver_policy": "all", "ack_policy": "explicit",
                "replay_policy": "instant" },
            "delivered": sequence(delivered), "ack_floor": sequence(ack_floor), "num_pending": 0,
            "num_ack_pending": unacked, "num_redelivered": 0, "num_waiting": waiting,
        });
        serde_json::from_value(info).unwrap()
    }

    /// Whether it is found to stand still within so many ack waits, where it is so at every look.
    async fn found_within(ack_waits: u32, mut look: impl FnMut(u64) -> Info) -> Option<u32> {
        let mut ack_floor = AckFloor::default();
        for past in 0..=ack_waits {
            if ack_floor.stands_still(&look(past.into())) {
                return Some(past);
            }
            tokio::time::advance(ACK_WAIT).await;
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn messages_that_do_not_come_again_are_noticed_while_others_go_through_or_none_come() {
        let soon = Some(KNOWN_ACK_WAITS + 1);
        assert_eq!(found_within(100, |past| info(7, 10 + past, 0, 3)).await, soon);
        assert_eq!(found_within(100, |_| info(7, 10, 1, 3)).await, soon);
    }

    #[tokio::test(start_paused = true)]
    async fn a_consumer_that_goes_on_or_has_nothing_or_is_not_asked_is_left_alone() {
        assert_eq!(found_within(100, |past| info(7 + past, 20 + past, 1, 3)).await, None, "goes on");
        assert_eq!(found_within(100, |_| info(7, 7, 1, 0)).await, None, "has nothing");
        assert_eq!(found_within(100, |_| info(7, 10, 0, 3)).await, None, "all are busy");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_made_anew_is_given_time() {
        let anew = |past: u64| {
            let created = info(7, 10, 1, 3).created + Duration::from_secs(past / 5);
            Info { created, ..info(7, 10, 1, 3) }
        };
        assert_eq!(found_within(100, anew).await, None);
    }
}
