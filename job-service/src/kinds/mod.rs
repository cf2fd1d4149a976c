//! The kinds of jobs that this worker can do: one file each, behind one trait. To add a kind, write
//! its payload type and its handler, and add its line to [`Registry::new`] (`docs/adding-a-kind.md`).

mod command;
mod container;
mod context;
mod fault;
mod http;
mod http_span;
mod noop;
mod output;
mod shuffle;
mod sleep;

pub use command::{AllowedPrograms, BadProgram, launch, supervise};
pub(crate) use container::sweep as sweep_containers;
pub use container::{
    AllowedImages, AllowedNetworks, BadEngineAddress, BadImagePattern, BadNetwork, ContainerSettings,
    EngineAddress,
};
pub use context::Context;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::Serialize;
use shared_events::{
    JobError, JsonText, Kind,
    payloads::{BadPayload, Payload, PayloadSchema},
};

use crate::{history::History, settings::WorkerSettings};

/// How long a handler has to come to an end that is told to stop, unless its kind says otherwise.
const GRACE: Duration = Duration::from_secs(2);

/// Does the work of one kind.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// What it works on; the same type checks payloads before jobs are stored.
    type Input: Payload + Send + 'static;

    /// How long it may take to come to an end after [`Context::stopped`]; then its future is dropped.
    fn grace(&self) -> Duration {
        GRACE
    }

    /// Makes one attempt.
    ///
    /// An attempt may be made again after a crash: effects on the outside should be keyed by
    /// [`Context::run_id`].
    async fn run(&self, context: &Context, input: Self::Input) -> HandlerResult;
}

/// What a handler can say.
#[derive(Debug, Clone, PartialEq)]
pub enum HandlerResult {
    /// It is done; the result, where there is one, is shown to the client.
    Done(Option<JsonText>),
    /// It went wrong and may go better next time.
    Retry {
        /// What went wrong.
        error: JobError,
        /// When to try again; with back-off where it does not say.
        after: Option<Duration>,
        /// What it has all the same; shown to the client where it is not tried again.
        output: Option<JsonText>,
    },
    /// It went wrong and always will.
    Fail {
        /// What went wrong.
        error: JobError,
        /// What it has all the same, shown to the client.
        output: Option<JsonText>,
    },
    /// This worker can not do it now, by no fault of the job: given back, uncharged, as by a worker that has no handler for
    /// its kind, and looked at again after a while.
    NotNow(JobError),
    /// It came to an end since it was told to stop, with what it has all the same.
    Stopped(Option<JsonText>),
}

impl HandlerResult {
    /// Done, with this result.
    #[must_use]
    pub fn done(result: &impl Serialize) -> Self {
        match JsonText::of(result) {
            Ok(result) => Self::Done(Some(result)),
            Err(error) => Self::fail(JobError::new("bad_result", error.to_string())),
        }
    }

    /// To be tried again, with back-off.
    #[must_use]
    pub const fn retry(error: JobError) -> Self {
        Self::Retry { error, after: None, output: None }
    }

    /// Failed for good.
    #[must_use]
    pub const fn fail(error: JobError) -> Self {
        Self::Fail { error, output: None }
    }
}

/// A handler whatever its input is.
#[async_trait]
trait AnyHandler: Send + Sync {
    fn grace(&self) -> Duration;
    async fn run(&self, context: &Context, payload: &JsonText) -> HandlerResult;
}

/// A handler, and how its input is read.
struct Reading<H: Handler> {
    handler: H,
    input: PayloadSchema<H::Input>,
}

#[async_trait]
impl<H: Handler> AnyHandler for Reading<H> {
    fn grace(&self) -> Duration {
        self.handler.grace()
    }

    async fn run(&self, context: &Context, payload: &JsonText) -> HandlerResult {
        match self.input.read(payload) {
            Ok(input) => self.handler.run(context, input).await,
            // It will not read better next time.
            Err(wrong) => {
                let wrong: Vec<String> = wrong.iter().map(BadPayload::to_string).collect();
                HandlerResult::fail(JobError::new("bad_payload", wrong.join("; ")))
            }
        }
    }
}

/// Which handler does which kind. Copies share them.
#[derive(Clone, Default)]
pub struct Registry(Arc<HashMap<&'static str, Box<dyn AnyHandler>>>);

impl Registry {
    /// All kinds that these settings ask for.
    ///
    /// # Errors
    /// Where one can not be set up.
    pub fn new(settings: &WorkerSettings, history: &History) -> anyhow::Result<Self> {
        let mut registry = Self::default()
            .with(http::HttpHandler::new(&settings.http_allow)?)
            .with(noop::NoopHandler)
            .with(shuffle::ShuffleHandler)
            .with(sleep::SleepHandler);
        if !settings.command_allow.is_empty() {
            registry = registry.with(command::CommandHandler::new(settings.command_allow.clone()));
        }
        if let Some(engine) = settings.container.engine.clone() {
            registry = registry.with(container::ContainerHandler::new(engine, settings.container.clone()));
        }
        Ok(if settings.faults { registry.with(fault::FaultHandler(history.clone())) } else { registry })
    }

    /// The same with one more handler.
    ///
    /// # Panics
    /// Where the registry is shared already.
    #[must_use]
    pub fn with<H: Handler>(mut self, handler: H) -> Self {
        let handlers = Arc::get_mut(&mut self.0).expect("it is shared after it is complete");
        let input = PayloadSchema::new();
        handlers.insert(H::Input::KIND, Box::new(Reading { handler, input }));
        self
    }

    /// All kinds that there is a handler for, sorted.
    #[must_use]
    pub fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = self.0.keys().filter_map(|kind| kind.parse().ok()).collect();
        kinds.sort();
        kinds
    }

    /// How long a handler of this kind may take to stop; none where there is no handler.
    #[must_use]
    pub fn grace(&self, kind: &Kind) -> Option<Duration> {
        self.0.get(kind.as_str()).map(|handler| handler.grace())
    }

    /// Makes an attempt of this kind.
    pub async fn run(&self, kind: &Kind, context: Context, payload: &JsonText) -> HandlerResult {
        match self.0.get(kind.as_str()) {
            Some(handler) => handler.run(&context, payload).await,
            None => {
                let message = format!("there is no handler for {kind}");
                HandlerResult::retry(JobError::new("unknown_kind", message))
            }
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
