//! A heart-beat a second, and one at once when the worker's state changes or NATS is there again. The last says that the
//! worker has ended.

use std::time::Duration;

use shared_events::broadcasts::WorkerState;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Presence;

/// How often a worker says that it is there.
const EVERY: Duration = Duration::from_secs(1);

impl Presence {
    /// Says so until `ended` is cancelled, after the last outcome was recorded.
    pub async fn beat(&self, ended: &CancellationToken) {
        let mut connects = self.worker.broker.nats().connects();
        let mut every = every();
        let mut stop_is_said = false;
        loop {
            tokio::select! {
                () = ended.cancelled() => return self.publish(WorkerState::Stopped).await,
                _ = every.tick() => {}
                _ = connects.changed() => {}
                () = self.beat_now.notified() => {}
                () = self.stop.cancelled(), if !stop_is_said => stop_is_said = true,
            }
            self.publish(self.state()).await;
        }
    }
}

fn every() -> Interval {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every
}
