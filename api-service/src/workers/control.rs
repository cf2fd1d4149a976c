//! Drains and resumes a worker. It is told by a broadcast, which may be lost and is sent again; the answer is a heart-beat
//! that shows it done. So every replica knows it at the same time, and asking twice does no harm.

use std::time::Duration;

use bytes::Bytes;
use shared_events::{
    WorkerId,
    broadcasts::{WorkerCommand, WorkerRequest, WorkerState},
    subjects,
};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;

use super::{ControlError, Moment, Seen, Workers};

/// How long a worker may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// After how long it is told again.
const AGAIN: Duration = Duration::from_millis(500);

impl Workers {
    /// Has a worker take nothing new, or take runs again; the worker once it does so.
    ///
    /// # Errors
    /// Where it is not there, is about to end, or does not answer.
    pub async fn tell(&self, worker: &WorkerId, command: WorkerCommand) -> Result<Seen, ControlError> {
        let deadline = Instant::now() + TIMEOUT;
        if timeout_at(deadline, self.is_there(worker)).await.map_err(|_| silent(worker))? {
            let asked = Instant::now();
            while Instant::now() < deadline {
                self.publish(worker, command).await;
                let again = deadline.min(Instant::now() + AGAIN);
                if let Ok(answer) = timeout_at(again, self.answer(worker, command, asked)).await {
                    return answer;
                }
            }
            return Err(silent(worker));
        }
        Err(ControlError::NotFound(worker.clone()))
    }

    /// Whether there is such a worker, once that is known.
    async fn is_there(&self, worker: &WorkerId) -> bool {
        let mut heard = self.0.heard.subscribe();
        loop {
            {
                let registry = self.registry();
                if registry.get(worker).is_some() {
                    return true;
                }
                if registry.is_complete(Moment::now()) {
                    return false;
                }
            }
            // It is complete also where nobody says anything more.
            let _ = timeout(AGAIN, heard.changed()).await;
        }
    }

    /// The first heart-beat after `asked` that answers.
    async fn answer(
        &self,
        worker: &WorkerId,
        command: WorkerCommand,
        asked: Instant,
    ) -> Result<Seen, ControlError> {
        let mut heard = self.0.heard.subscribe();
        loop {
            let seen = self.registry().get(worker).cloned();
            let Some(seen) = seen else { return Err(ControlError::NotFound(worker.clone())) };
            if seen.at.instant >= asked {
                match reply(command, seen.heartbeat.state) {
                    Reply::Done => return Ok(seen),
                    Reply::TooLate => return Err(ControlError::Stopping(worker.clone())),
                    Reply::NotYet => {}
                }
            }
            if heard.changed().await.is_err() {
                return Err(silent(worker));
            }
        }
    }

    async fn publish(&self, worker: &WorkerId, command: WorkerCommand) {
        let request = WorkerRequest { worker: worker.clone(), command };
        match serde_json::to_vec(&request) {
            Ok(body) => self.0.broker.broadcast(subjects::WORKER_CONTROL, Bytes::from(body)).await,
            Err(error) => warn!(%error, "a request to a worker has no JSON"),
        }
    }
}

fn silent(worker: &WorkerId) -> ControlError {
    ControlError::NoAnswer(worker.clone())
}

/// What a worker's state says about what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    /// It does it.
    Done,
    /// It has not taken it in.
    NotYet,
    /// It never will.
    TooLate,
}

const fn reply(command: WorkerCommand, state: WorkerState) -> Reply {
    match (command, state) {
        // A worker that ends takes nothing new either.
        (WorkerCommand::Drain, WorkerState::Draining | WorkerState::Drained | WorkerState::Stopping)
        | (WorkerCommand::Resume, WorkerState::Running) => Reply::Done,
        (WorkerCommand::Resume, WorkerState::Stopping | WorkerState::Stopped)
        | (WorkerCommand::Drain, WorkerState::Stopped) => Reply::TooLate,
        (WorkerCommand::Drain, WorkerState::Running)
        | (WorkerCommand::Resume, WorkerState::Draining | WorkerState::Drained) => Reply::NotYet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_answers_what_was_asked_for() {
        use Reply::{Done, NotYet, TooLate};
        use WorkerState::{Drained, Draining, Running, Stopped, Stopping};
        for (state, drain, resume) in [
            (Running, NotYet, Done),
            (Draining, Done, NotYet),
            (Drained, Done, NotYet),
            (Stopping, Done, TooLate),
            (Stopped, TooLate, TooLate),
        ] {
            assert_eq!(reply(WorkerCommand::Drain, state), drain, "{state:?}");
            assert_eq!(reply(WorkerCommand::Resume, state), resume, "{state:?}");
        }
    }
}
