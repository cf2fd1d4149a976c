//! Removes containers that nobody wants any more from this worker's engine: their run has ended, waits for its next attempt, or
//! is made by another one, maybe on another machine. Whose they are the ledger says; runs that it does not know are another
//! Hasty's.

use std::time::Duration;

use futures::future::join_all;
use service_kit::{retry::jittered, telemetry::chain};
use shared_events::{RunId, Status};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    engine::{Engine, EngineAddress},
    labels::Labels,
    leftovers::stop_and_remove,
};
use crate::ledger::{Ledger, Standing};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(10);

/// The most containers that are removed at a time.
const AT_ONCE: usize = 16;

/// Looks at once and again and again, until told to stop.
pub(crate) async fn sweep(address: &EngineAddress, ledger: &Ledger, stop: &CancellationToken) {
    loop {
        if stop.run_until_cancelled(look(address, ledger)).await.is_none() {
            return;
        }
        if stop.run_until_cancelled(tokio::time::sleep(jittered(EVERY))).await.is_none() {
            return;
        }
    }
}

async fn look(address: &EngineAddress, ledger: &Ledger) {
    let found = async {
        let engine = Engine::connect(address).await?;
        // First the containers: what the ledger says afterwards is no older than they.
        let containers = engine.containers(None).await?;
        Ok::<_, super::EngineError>((engine, containers))
    };
    let (engine, containers) = match found.await {
        Ok(found) => found,
        Err(error) => return debug!(%error, "could not look for containers"),
    };
    if containers.is_empty() {
        return;
    }
    let mut runs: Vec<RunId> = containers.iter().map(|container| container.run).collect();
    runs.sort();
    runs.dedup();
    let standing = match ledger.standing(&runs).await {
        Ok(standing) => standing,
        Err(error) => return debug!(error = chain(&error), "could not ask whose containers are"),
    };
    let left: Vec<Labels> =
        containers.into_iter().filter(|container| is_left(container, standing.get(&container.run))).collect();
    for some in left.chunks(AT_ONCE) {
        let removing = some.iter().cloned().map(|left| stop_and_remove(&engine, left));
        for error in join_all(removing).await.into_iter().filter_map(Result::err) {
            warn!(%error, "a container is not removed yet");
        }
    }
}

/// Whether nobody wants the container any more.
fn is_left(container: &Labels, standing: Option<&Standing>) -> bool {
    let Some(Standing { status, attempt, worker }) = standing else { return false };
    if *attempt != container.attempt || *status != Status::Running {
        // One of a later attempt than the ledger knows is of a claim that the database has lost, and may be made again.
        return *attempt >= container.attempt;
    }
    container.worker.is_some() && container.worker != *worker
}

#[cfg(test)]
mod tests {
    use shared_events::{JobId, WorkerId};

    use super::*;

    #[test]
    fn only_the_container_of_the_attempt_that_holds_the_run_stays() {
        let worker = |name: &str| Some(WorkerId::from(name.to_owned()));
        let container = Labels { run: JobId::generate().run(1), attempt: 2, worker: worker("one") };
        let stands = |status, attempt, name| Standing { status, attempt, worker: worker(name) };
        for (standing, left) in [
            (None, false),
            (Some(stands(Status::Running, 2, "one")), false),
            (Some(stands(Status::Running, 2, "two")), true),
            (Some(stands(Status::Running, 3, "one")), true),
            (Some(stands(Status::Running, 1, "one")), false),
            (Some(stands(Status::Queued, 2, "one")), true),
            (Some(stands(Status::Finished, 2, "one")), true),
            (Some(stands(Status::Cancelled, 3, "two")), true),
        ] {
            assert_eq!(is_left(&container, standing.as_ref()), left, "{standing:?}");
        }
        let unknown = Labels { worker: None, ..container };
        assert!(!is_left(&unknown, Some(&stands(Status::Running, 2, "two"))));
    }
}
