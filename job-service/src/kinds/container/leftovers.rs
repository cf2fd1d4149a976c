//! What earlier attempts of a run have left on this engine. Whoever takes the run over stops and removes it first, so that
//! no two attempts work at once here. What is on another machine's engine, only a worker there can remove.

use futures::future::try_join_all;
use tracing::warn;

use super::{
    GRACE,
    engine::{Engine, EngineError},
    labels::Labels,
};

/// Stops and removes what other attempts than this one have left. What a later attempt has is left alone: it owns the run.
pub(super) async fn remove(engine: &Engine, mine: &Labels) -> Result<(), EngineError> {
    let found = engine.containers(Some(&mine.run.to_string())).await?;
    let left = found.into_iter().filter(|found| found.attempt <= mine.attempt);
    try_join_all(left.map(|left| stop_and_remove(engine, left))).await.map(drop)
}

/// Tells a container to end, kills it after the grace, and removes it.
pub(super) async fn stop_and_remove(engine: &Engine, left: Labels) -> Result<(), EngineError> {
    let name = left.name();
    warn!(target: "job", { job.id = %left.run.job, run = left.run.run, run.attempt = left.attempt, container = name }, "stopping a container that nobody waits for any more");
    engine.stop(&name, GRACE).await?;
    engine.remove(&name).await
}
