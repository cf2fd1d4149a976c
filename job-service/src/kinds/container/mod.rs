//! `container`: runs a program in a container on an engine (`docs/kind-container.md`).
//!
//! A container is named after its run and attempt and labelled with both, so that whoever takes a run over finds what an
//! earlier attempt has left ([`leftovers`]), and a sweep what nobody wants any more ([`sweep`]).

mod allowed;
mod engine;
mod follow;
mod labels;
mod leftovers;
mod result;
mod spec;
mod sweep;

use std::time::Duration;

use async_trait::async_trait;
use shared_events::{
    JobError,
    payloads::{Container, Pull},
};
use tracing::debug;

use self::{
    engine::{Engine, EngineError},
    labels::Labels,
};
use super::{Context, Handler, HandlerResult};

pub use allowed::{AllowedImages, AllowedNetworks, BadImagePattern, BadNetwork};
pub use engine::{BadEngineAddress, EngineAddress};
pub(crate) use sweep::sweep;

/// How long a program has to end by itself that is told to.
const GRACE: Duration = Duration::from_secs(10);

/// How much longer its handler has: the engine kills it, and the container is removed.
const REMOVAL_GRACE: Duration = Duration::from_secs(5);

/// How containers are run.
#[derive(Debug, Clone)]
pub struct ContainerSettings {
    /// The engine; where absent, the kind is not served.
    pub engine: Option<EngineAddress>,
    /// Which images may be run.
    pub images: AllowedImages,
    /// Which networks containers may be in.
    pub networks: AllowedNetworks,
    /// The first lines of every script.
    pub script_header: String,
}

pub(super) struct ContainerHandler {
    address: EngineAddress,
    settings: ContainerSettings,
}

impl ContainerHandler {
    pub(super) const fn new(address: EngineAddress, settings: ContainerSettings) -> Self {
        Self { address, settings }
    }

    /// Why the operator does not allow it, if so.
    fn refused(&self, container: &Container) -> Option<JobError> {
        let Container { image, network, .. } = container;
        if !self.settings.images.allow(image) {
            let message = format!("this worker's CONTAINER_IMAGES does not have {image:?}");
            return Some(JobError::new("container_image_not_allowed", message));
        }
        if network != Container::NO_NETWORK && !self.settings.networks.allow(network) {
            let message = format!("this worker's CONTAINER_NETWORKS does not have {network:?}");
            return Some(JobError::new("container_network_not_allowed", message));
        }
        None
    }

    /// Has the container ready to be started.
    async fn prepare(
        &self,
        context: &Context,
        container: &Container,
        labels: &Labels,
    ) -> Result<Engine, HandlerResult> {
        let engine = Engine::connect(&self.address).await.map_err(|error| unavailable(&error))?;
        leftovers::remove(&engine, labels).await.map_err(|error| unavailable(&error))?;
        let image = image(&engine, container).await?;
        let body = spec::of(container, context, labels, &self.settings.script_header, &image.volumes);
        let created = match engine.create(&labels.name(), body.clone()).await {
            // Of this very attempt: its first answer was lost.
            Err(EngineError::Conflict(_)) => {
                engine.remove(&labels.name()).await.map_err(|error| unavailable(&error))?;
                engine.create(&labels.name(), body).await
            }
            created => created,
        };
        match created {
            Ok(()) => Ok(engine),
            Err(EngineError::NotFound(message)) => Err(missing(&message)),
            Err(error) => Err(not_started(error)),
        }
    }
}

#[async_trait]
impl Handler for ContainerHandler {
    type Input = Container;

    fn grace(&self) -> Duration {
        GRACE + REMOVAL_GRACE
    }

    async fn run(&self, context: &Context, container: Container) -> HandlerResult {
        if let Some(error) = self.refused(&container) {
            return HandlerResult::fail(error);
        }
        let labels = Labels::of(context);
        let prepared = tokio::select! {
            prepared = self.prepare(context, &container, &labels) => prepared,
            // What the engine makes of a request that is not waited for, the sweep removes.
            () = context.stopped() => return HandlerResult::Stopped(None),
        };
        let engine = match prepared {
            Ok(engine) => engine,
            Err(result) => return result,
        };
        let result = match follow::begin(&engine, &labels.name()).await {
            Ok(output) => match follow::to_its_end(&engine, &labels.name(), output, context).await {
                Ok(ended) => result::of(&container, &ended),
                Err(error @ EngineError::Away(_)) => unavailable(&error),
                Err(error) => HandlerResult::retry(JobError::new("container_lost", error.to_string())),
            },
            Err(error) => not_started(error),
        };
        if let Err(error) = engine.remove(&labels.name()).await {
            debug!(container = labels.name(), %error, "not removed; left to the sweep");
        }
        result
    }
}

/// The image, fetched where that is asked for.
async fn image(engine: &Engine, container: &Container) -> Result<engine::Image, HandlerResult> {
    let name = &container.image;
    if container.pull != Pull::Always {
        match engine.image(name).await {
            Ok(image) => return Ok(image),
            Err(EngineError::NotFound(message)) if container.pull == Pull::Never => {
                return Err(missing(&message));
            }
            Err(EngineError::NotFound(_)) => {}
            Err(error) => return Err(not_started(error)),
        }
    }
    match engine.pull(name).await {
        Ok(()) => {}
        Err(EngineError::NotFound(message)) => return Err(missing(&message)),
        Err(error @ EngineError::Away(_)) => return Err(unavailable(&error)),
        Err(error) => {
            let message = format!("{name} could not be fetched: {error}");
            return Err(HandlerResult::retry(JobError::new("container_image_not_fetched", message)));
        }
    }
    engine.image(name).await.map_err(not_started)
}

/// It may be there later, or on another worker's engine.
fn missing(message: &str) -> HandlerResult {
    HandlerResult::retry(JobError::new("container_image_missing", message))
}

/// It is not the job's fault.
fn unavailable(error: &EngineError) -> HandlerResult {
    HandlerResult::NotNow(JobError::new("container_engine_unavailable", error.to_string()))
}

fn not_started(error: EngineError) -> HandlerResult {
    match error {
        EngineError::Away(_) => unavailable(&error),
        EngineError::NotFound(message) | EngineError::Conflict(message) | EngineError::Bad(message) => {
            HandlerResult::fail(JobError::new("container_not_started", message))
        }
        EngineError::Failed(message) => HandlerResult::retry(JobError::new("container_not_started", message)),
    }
}
