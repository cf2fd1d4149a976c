//! Makes room in `JOB_EVENTS`. The stream takes nothing new when it is full, so that no event is dropped unread; nor
//! does anything leave it by being read, since it is a log that others may read too. When it is three quarters full,
//! its oldest messages are removed until it is half full, as far as the api-service has applied and acked them.
//!
//! Every replica does this; what one has removed the others find gone. An end that finds no room meanwhile keeps its
//! outbox mark in the ledger, and is announced later.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::jetstream::{consumer::pull, stream};
use service_kit::{Broker, telemetry::chain};
use shared_events::streams;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// How often the stream is looked at when little is applied here.
const EVERY: Duration = Duration::from_secs(1);

/// How soon a stream is looked at again in which no room could be made: acks are on their way.
const SOON: Duration = Duration::from_millis(50);

/// How often it is said that there is no room.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// It is looked at when this share of its limit has been applied since the last time.
const LOOK_AFTER: u64 = 8;

/// See the module.
#[derive(Debug)]
pub struct MakeRoom {
    broker: Broker,
    applied: Arc<AppliedBytes>,
}

/// How many bytes of events this replica has applied since the stream was looked at last.
#[derive(Debug)]
pub struct AppliedBytes {
    bytes: AtomicU64,
    enough: AtomicU64,
    is_enough: Notify,
}

/// What a look at the stream said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// There is room enough.
    Enough,
    /// All messages below this sequence are to be removed.
    RemoveBelow(u64),
    /// There is too little room, and nothing of the stream has been applied.
    Behind,
}

impl Default for AppliedBytes {
    fn default() -> Self {
        Self { bytes: AtomicU64::new(0), enough: AtomicU64::new(u64::MAX), is_enough: Notify::new() }
    }
}

impl AppliedBytes {
    /// So many bytes of events have been applied.
    pub fn add(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) >= self.enough.load(Ordering::Relaxed) {
            self.is_enough.notify_one();
        }
    }

    /// Starts counting again; a look is due after `enough` bytes.
    fn start_again(&self, enough: u64) {
        self.enough.store(enough, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }
}

impl MakeRoom {
    /// Prepares it; `applied` is what the reader of the events adds to.
    #[must_use]
    pub const fn new(broker: Broker, applied: Arc<AppliedBytes>) -> Self {
        Self { broker, applied }
    }

    /// Looks every so often, and when much has been applied, until told to stop.
    pub async fn run(&self, stop: &CancellationToken) {
        let mut warned: Option<Instant> = None;
        let mut pause = EVERY;
        loop {
            let looked = if self.broker.nats().is_connected() { self.look().await } else { Ok(Look::Enough) };
            pause = match looked {
                Ok(Look::Behind) => {
                    if warned.is_none_or(|warned| warned.elapsed() > WARN_EVERY) {
                        warn!("JOB_EVENTS has no room, and nothing in it has been applied that could go");
                        warned = Some(Instant::now());
                    }
                    if pause < EVERY { pause * 2 } else { SOON }
                }
                Ok(Look::Enough | Look::RemoveBelow(_)) => EVERY,
                Err(error) => {
                    debug!(error = chain(error.as_ref()), "could not look at JOB_EVENTS");
                    EVERY
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.applied.is_enough.notified() => {}
            }
        }
    }

    /// Looks, and makes room where there is too little.
    async fn look(&self) -> anyhow::Result<Look> {
        let connection = self.broker.nats().connection();
        let mut removed = 0;
        loop {
            let stream = self.broker.jetstream().get_stream(streams::JOB_EVENTS).await?;
            let info = stream.cached_info();
            let limit = u64::try_from(info.config.max_bytes).unwrap_or(u64::MAX);
            self.applied.start_again(limit / LOOK_AFTER);
            let mut look = judge(&info.config, &info.state, u64::MAX);
            if look != Look::Enough {
                look = judge(&info.config, &info.state, self.acked().await?);
            }
            let Look::RemoveBelow(sequence) = look else {
                if removed > 0 {
                    info!(removed, bytes = info.state.bytes, limit, "made room in JOB_EVENTS");
                }
                return Ok(look);
            };
            // What is connected by now may be another store, whose sequences mean other messages.
            anyhow::ensure!(self.broker.nats().is_still(connection), "the connection is another one");
            removed += stream.purge().sequence(sequence).await?.purged;
        }
    }

    /// Up to which sequence the api-service has applied and acked everything.
    async fn acked(&self) -> anyhow::Result<u64> {
        let jetstream = self.broker.jetstream();
        let consumer = jetstream
            .get_consumer_from_stream::<pull::Config, _, _>(streams::API_CONSUMER, streams::JOB_EVENTS)
            .await?;
        Ok(consumer.cached_info().ack_floor.stream_sequence)
    }
}

/// What is to be done about a stream of which everything up to `acked` has been applied.
fn judge(config: &stream::Config, state: &stream::State, acked: u64) -> Look {
    let messages = u64::try_from(config.max_messages).unwrap_or(0);
    let bytes = u64::try_from(config.max_bytes).unwrap_or(0);
    // Messages have about the mean size; where the oldest are smaller, the next look goes on.
    let mean = state.bytes.div_ceil(state.messages.max(1)).max(1);
    let too_many = over_half(state.bytes, bytes).div_ceil(mean).max(over_half(state.messages, messages));
    if too_many == 0 {
        return Look::Enough;
    }
    let below = (state.first_sequence + too_many).min(acked.saturating_add(1));
    if below > state.first_sequence { Look::RemoveBelow(below) } else { Look::Behind }
}

/// How much is to go where more than three quarters of a limit is used; 0 stands for no limit.
const fn over_half(used: u64, limit: u64) -> u64 {
    if limit == 0 || used / 3 <= limit / 4 { 0 } else { used - limit / 2 }
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::stream::{Config, State};
    use proptest::prelude::*;

    use super::*;

    const LIMIT: i64 = 1 << 20;

    fn limited(max_bytes: i64) -> Config {
        Config { max_bytes, ..Config::default() }
    }

    /// Messages of 1 KiB, the first at 101.
    fn state(kib: u64) -> State {
        state_of(101, kib, kib << 10)
    }

    fn state_of(first_sequence: u64, messages: u64, bytes: u64) -> State {
        let state = serde_json::json!({
            "messages": messages, "bytes": bytes, "first_seq": first_sequence,
            "last_seq": (first_sequence + messages).saturating_sub(1), "consumer_count": 1, "num_subjects": 1,
            "first_ts": "2026-01-01T00:00:00Z", "last_ts": "2026-01-01T00:00:00Z",
        });
        serde_json::from_value(state).unwrap()
    }

    #[test]
    fn nothing_goes_before_three_quarters_are_full_and_then_down_to_a_half() {
        assert_eq!(judge(&limited(LIMIT), &state(768), u64::MAX), Look::Enough);
        assert_eq!(judge(&limited(LIMIT), &state(769), u64::MAX), Look::RemoveBelow(101 + 769 - 512));
        assert_eq!(judge(&limited(-1), &state(1 << 40), u64::MAX), Look::Enough);
        assert_eq!(judge(&limited(LIMIT), &state(0), u64::MAX), Look::Enough);
    }

    #[test]
    fn an_operators_limit_on_messages_counts_too() {
        let config = Config { max_messages: 1000, ..limited(LIMIT) };
        assert_eq!(judge(&config, &state_of(1, 760, 760), u64::MAX), Look::RemoveBelow(261));
    }

    #[test]
    fn what_is_not_acked_stays() {
        assert_eq!(judge(&limited(LIMIT), &state(1000), 150), Look::RemoveBelow(151));
        assert_eq!(judge(&limited(LIMIT), &state(1000), 100), Look::Behind);
        assert_eq!(judge(&limited(LIMIT), &state(1000), 0), Look::Behind);
    }

    #[test]
    fn a_look_is_due_when_enough_has_been_applied() {
        use futures::FutureExt;
        let applied = AppliedBytes::default();
        applied.add(1000);
        assert!(applied.is_enough.notified().now_or_never().is_none());
        applied.start_again(1000);
        applied.add(600);
        assert!(applied.is_enough.notified().now_or_never().is_none());
        applied.add(400);
        assert!(applied.is_enough.notified().now_or_never().is_some());
    }

    proptest! {
        #[test]
        fn each_removal_removes_something_and_nothing_that_is_not_acked(
            limit in 1_i64..1 << 40, first in 1_u64..1 << 40, messages in 0_u64..1 << 30,
            size in 1_u64..1 << 20, acked in 0_u64..1 << 41,
        ) {
            let state = state_of(first, messages, messages * size);
            match judge(&limited(limit), &state, acked) {
                Look::RemoveBelow(below) => prop_assert!(below > first && below <= acked + 1),
                Look::Enough => prop_assert!(messages * size <= u64::try_from(limit).unwrap() / 4 * 3 + 3),
                Look::Behind => prop_assert!(acked < first),
            }
        }
    }
}
