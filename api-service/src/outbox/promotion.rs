//! Announces jobs when their time has come, and has those ended that did not start in theirs.
//!
//! Any replica may do it. Each sleeps until the next job is due, as far as it knows, and looks at least twice a second, so
//! that what another replica took in is done although that one has died. A job is put into the queue by a compare-and-set
//! on its position, which leaves an outbox mark, and is announced after that: what dies in between is left to the relay's
//! scan. While the broker is away nothing is promoted: it stays scheduled and can be changed.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use bson::DateTime;
use service_kit::{StoreError, failpoints::failpoint, retry::jittered, telemetry::chain};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{relay::Relay, store::Taken, timed::Expired};
use crate::jobs::Job;

/// How many jobs are promoted at a time.
const BATCH: usize = 1000;

/// The longest time from one look to the next.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The shortest time from one look to the next, unless a batch was full: those that are due within it share the commands.
const PACING: Duration = Duration::from_millis(20);

/// The pause after another replica has taken what was found here.
const GIVE_WAY: Duration = Duration::from_millis(50);

/// When the promotion looks next; creating a job that is due before wakes it.
#[derive(Debug)]
pub(super) struct NextLook {
    at_ms: AtomicI64,
    woken: Notify,
}

impl Default for NextLook {
    fn default() -> Self {
        Self { at_ms: AtomicI64::new(i64::MAX), woken: Notify::new() }
    }
}

impl NextLook {
    /// A job is due then.
    pub(super) fn no_later_than(&self, due: DateTime) {
        if due.timestamp_millis() < self.at_ms.load(Ordering::Acquire) {
            self.woken.notify_one();
        }
    }
}

/// What one look led to.
enum Looked {
    /// Nothing more is due.
    Done,
    /// There may be more.
    More,
    /// Others took what was found.
    Outrun,
}

impl Relay {
    /// Promotes what is due, until told to stop.
    pub async fn promote(&self, stop: &CancellationToken) {
        let mut connects = self.broker.nats().connects();
        // Before that this machine's clock may show any time.
        if stop.run_until_cancelled(self.store.mongo().clock().learnt()).await.is_none() {
            return;
        }
        let mut expired_at: Option<Instant> = None;
        loop {
            let started = Instant::now();
            // An absent broker takes nothing.
            let (looked, more) = if self.broker.nats().is_connected() {
                let looked = self.promote_once().await;
                let is_time = expired_at.is_none_or(|at| at.elapsed() >= LONGEST_PAUSE);
                let more = is_time && self.expire_once().await;
                if is_time && !more {
                    expired_at = Some(started);
                }
                (looked, more)
            } else {
                (Looked::Done, false)
            };
            let pause = match looked {
                Looked::More => Duration::ZERO,
                Looked::Outrun => jittered(GIVE_WAY),
                Looked::Done if more => PACING,
                Looked::Done => self.until_next().await,
            };
            let is_full = matches!(looked, Looked::More);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                _ = connects.changed() => {}
                () = self.next_look.woken.notified() => {}
            }
            if !is_full {
                tokio::time::sleep_until(started + PACING).await;
            }
        }
    }

    async fn promote_once(&self) -> Looked {
        match self.take_scheduled().await {
            Ok((0, _)) => Looked::Done,
            Ok((found, Taken { jobs, more })) => {
                let promoted = jobs.len();
                failpoint("api.due.promoted");
                let fitting = self.with_room(jobs).await;
                let to_announce = fitting.len();
                let stored = self.announce_all(fitting).await;
                (stored..to_announce).for_each(|_| self.backlog.add_marked());
                debug!(found, promoted, stored, "their time has come");
                match more {
                    true if promoted * 2 < found => Looked::Outrun,
                    // What the broker does not take is left to the relay.
                    true if stored > 0 || to_announce == 0 => Looked::More,
                    _ => Looked::Done,
                }
            }
            Err(error) => {
                warn!(error = chain(&error), "could not look for jobs whose time has come");
                Looked::Done
            }
        }
    }

    /// How many were found, and those of them that nobody else took.
    async fn take_scheduled(&self) -> Result<(usize, Taken<Job>), StoreError> {
        let due = self.store.find_scheduled(BATCH).await?;
        let found = due.ids.len();
        if found == 0 {
            return Ok((0, Taken { jobs: Vec::new(), more: false }));
        }
        failpoint("api.due.found");
        let announce_by = self.store.mongo().clock().after(self.timing.after);
        Ok((found, self.store.promote(due, announce_by).await?))
    }

    /// Whether there may be more.
    async fn expire_once(&self) -> bool {
        // The relay's scan passes it on at once.
        let now = self.store.mongo().clock().now();
        match self.store.ask_to_expire(BATCH, now).await {
            Ok(Expired { asked, more }) => {
                if asked > 0 {
                    debug!(asked, "did not start in time");
                    failpoint("api.due.expired");
                    self.wake_scan();
                }
                more
            }
            Err(error) => {
                warn!(error = chain(&error), "could not look for jobs that did not start in time");
                false
            }
        }
    }

    /// How long until the next job is due, as far as is known.
    async fn until_next(&self) -> Duration {
        // A job that is created while the database is asked wakes the loop, whenever it is due.
        self.next_look.at_ms.store(i64::MAX, Ordering::Release);
        let now_ms = self.store.mongo().clock().now_ms();
        let longest_ms = now_ms + service_kit::clock::millis(LONGEST_PAUSE);
        let next_ms = match self.store.next_scheduled_at().await {
            Ok(next) => next.map_or(longest_ms, |next| next.timestamp_millis().min(longest_ms)),
            Err(_) => longest_ms,
        };
        self.next_look.at_ms.store(next_ms, Ordering::Release);
        let left_ms = next_ms - self.store.mongo().clock().now_ms();
        Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
    }
}
