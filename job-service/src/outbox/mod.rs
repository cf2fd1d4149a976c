//! The outbox of the ledger: announces what it says, at once when a run has ended, and by a scan for what a crash or
//! an absent broker left behind. Both ways lead through `Relay::announce`.

use std::time::Duration;

use bson::DateTime;
use futures::future::join_all;
use service_kit::{
    Broker, Weigh,
    failpoints::{Safeguard, failpoint},
    retry::jittered,
    telemetry::{
        chain,
        traces::{self, KeyValue},
    },
};
use shared_events::{Timestamp, TraceContext, subjects};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::{
    ledger::{Ledger, Run},
    traces::{SEND_EVENT, of_run},
};

/// How many runs a scan takes at a time.
const SCAN: usize = 500;

/// See the module.
#[derive(Clone)]
pub struct Relay {
    ledger: Ledger,
    broker: Broker,
    tasks: TaskTracker,
    /// How long an announcement may take before the scan makes it.
    after: Duration,
}

impl Relay {
    /// Prepares the relay.
    #[must_use]
    pub fn new(ledger: Ledger, broker: Broker, after: Duration) -> Self {
        Self { ledger, broker, tasks: TaskTracker::new(), after }
    }

    /// When the scan announces what was not announced by then.
    #[must_use]
    pub fn announce_by(&self) -> DateTime {
        self.ledger.mongo().clock().after(self.after)
    }

    /// Announces in the background, as soon as not too many are under way; `then` is told whether the broker has
    /// stored it. If not, it is left to the scan.
    pub async fn announce_soon<F>(&self, mut run: Run, then: impl FnOnce(bool) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send,
    {
        let permit = self.broker.permit(run.weight()).await;
        if permit.is_none() {
            // The scan reads it again, which may be long after.
            (run.result, run.output) = (None, None);
        }
        let relay = self.clone();
        self.tasks.spawn(async move {
            let is_stored = permit.is_some() && relay.announce(&run).await;
            then(is_stored).await;
        });
    }

    /// Announces that an attempt goes on, in the background, beneath this span; there is no outbox mark for that.
    pub fn announce_start(&self, run: &Run, trace: Option<TraceContext>) {
        let (relay, started) = (self.clone(), Run { next_action: None, trace, ..run.clone() });
        self.tasks.spawn(async move { relay.announce_soon(started, |_| async {}).await });
    }

    /// Waits for what is being announced in the background.
    pub async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Looks for what was not announced, until told to stop.
    pub async fn scan(&self, every: Duration, stop: &CancellationToken) {
        let mut connects = self.broker.nats().connects();
        loop {
            // An absent broker takes nothing, and what is due stays due.
            let scans = self.broker.nats().is_connected() && !Safeguard::RelayScan.is_off();
            let more = scans && self.scan_once().await;
            if more {
                continue;
            }
            let pause = jittered(every);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                _ = connects.changed() => {}
            }
        }
    }

    /// Whether there may be more.
    async fn scan_once(&self) -> bool {
        let again_at = self.announce_by();
        match self.ledger.take_unannounced(SCAN, again_at).await {
            Ok(taken) => {
                let announcing = taken.runs.into_iter().map(|run| {
                    let relay = self.clone();
                    async move { relay.announce(&run).await }
                });
                let stored = join_all(announcing).await;
                let (found, stored) = (stored.len(), stored.into_iter().filter(|stored| *stored).count());
                if found > 0 {
                    debug!(found, stored, "announced what was left behind");
                }
                taken.more && stored > 0
            }
            Err(error) => {
                warn!(error = chain(&error), "could not look for unannounced runs");
                false
            }
        }
    }

    /// Publishes the run's latest event and takes its outbox mark off; whether the broker has it.
    async fn announce(&self, run: &Run) -> bool {
        if !self.publish(run).await {
            return false;
        }
        failpoint("job.relay.published");
        if run.next_action.is_some()
            && let Err(error) = self.ledger.announced(run).await
        {
            debug!(run.id = %run.id, error = chain(&error), "outbox mark stays; will be announced again");
        }
        true
    }

    async fn publish(&self, run: &Run) -> bool {
        let Some(event) = run.announcement() else { return false };
        let now = Timestamp::from_millis(self.ledger.mongo().clock().now_ms());
        let span = traces::begin().zip(traces::beneath(run.trace));
        let body = match event.encode(now, span.map_or(run.trace, |(_, trace)| Some(trace))) {
            Ok(body) => body,
            Err(error) => {
                warn!(run.id = %run.id, %error, "run has no event");
                return false;
            }
        };
        let subject = subjects::event(event.event_type(), &run.queue);
        let destination = span.map(|_| KeyValue::new("messaging.destination.name", subject.clone()));
        let stored = self.broker.publish(subject, None, body).await;
        if let Some((begun, trace)) = span {
            let span = SEND_EVENT.span(trace, run.trace, begun).named(format!("send {}", event.event_type()));
            let why = stored.as_ref().err().map(|error| chain(error));
            span.with(of_run(run)).with(destination).failed(why).record();
        }
        match stored {
            Ok(_) => true,
            Err(error) => {
                debug!(run.id = %run.id, %error, "not announced; left to the scan");
                false
            }
        }
    }
}
