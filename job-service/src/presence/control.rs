//! Drains and resumes this worker when it is asked to. The heart-beat that follows is the answer.

use futures::StreamExt;
use shared_events::{
    broadcasts::{WorkerCommand, WorkerRequest},
    subjects,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Presence;

impl Presence {
    /// Does what it is asked for, until told to stop.
    pub async fn obey(&self, stop: &CancellationToken) {
        let client = self.worker.broker.nats().client();
        let mut requests = match client.subscribe(subjects::WORKER_CONTROL).await {
            Ok(requests) => requests,
            Err(error) => {
                return warn!(%error, "could not subscribe to requests; this worker can not be drained");
            }
        };
        loop {
            let message = tokio::select! {
                () = stop.cancelled() => return,
                message = requests.next() => message,
            };
            let Some(message) = message else { return };
            match serde_json::from_slice::<WorkerRequest>(&message.payload) {
                Ok(request) if request.worker == *self.worker.executor.ledger.worker() => {
                    self.act_on(request.command);
                }
                Ok(_) => {}
                Err(error) => debug!(%error, "a request to a worker is not readable"),
            }
        }
    }

    fn act_on(&self, command: WorkerCommand) {
        let gate = &self.worker.gate;
        let has_changed = match command {
            WorkerCommand::Drain => gate.close(),
            WorkerCommand::Resume => gate.open(),
        };
        if has_changed {
            info!(?command, "told so by a client of the API");
        }
        self.beat_now.notify_one();
    }
}
