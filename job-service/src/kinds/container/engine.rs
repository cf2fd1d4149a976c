//! Every call to the engine, and what can go wrong with it.

use std::{collections::HashMap, pin::Pin, str::FromStr, time::Duration};

use bollard::{
    Docker,
    container::LogOutput,
    errors::Error,
    models::{ContainerCreateBody, ContainerState},
    query_parameters::{
        AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, CreateImageOptionsBuilder,
        ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
    },
};
use futures::{Stream, StreamExt};

use super::labels::{self, Labels};

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineAddress(String);

/// The text is no engine's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be `unix://` with a path, or `tcp://` with a host and a port")]
pub struct BadEngineAddress;

impl FromStr for EngineAddress {
    type Err = BadEngineAddress;

    fn from_str(text: &str) -> Result<Self, BadEngineAddress> {
        let is_one = text.strip_prefix("unix://").is_some_and(|path| path.starts_with('/') && path.len() > 1)
            || text.strip_prefix("tcp://").is_some_and(|host| host.contains(':'));
        if is_one { Ok(Self(text.to_owned())) } else { Err(BadEngineAddress) }
    }
}

/// Why the engine did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EngineError {
    /// It does not answer.
    #[error("the engine does not answer: {0}")]
    Away(String),
    /// There is no such image, network or container.
    #[error("{0}")]
    NotFound(String),
    /// There is one of this name.
    #[error("{0}")]
    Conflict(String),
    /// It will refuse that again.
    #[error("{0}")]
    Bad(String),
    /// It could not do it.
    #[error("{0}")]
    Failed(String),
}

impl From<Error> for EngineError {
    fn from(error: Error) -> Self {
        match error {
            Error::DockerResponseServerError { status_code, message } => match status_code {
                404 => Self::NotFound(message),
                409 => Self::Conflict(message),
                400..=499 => Self::Bad(message),
                _ => Self::Failed(message),
            },
            Error::DockerStreamError { error } => Self::Failed(error),
            error => Self::Away(error.to_string()),
        }
    }
}

/// A connection to an engine.
pub(super) struct Engine(Docker);

/// What of an image matters here.
pub(super) struct Image {
    /// Where it would have volumes: folders on the engine's disk that outlive the container.
    pub(super) volumes: Vec<String>,
}

/// What a container writes, as it comes.
pub(super) type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;

impl Engine {
    /// Connects, and agrees on a version.
    pub(super) async fn connect(address: &EngineAddress) -> Result<Self, EngineError> {
        let docker = Docker::connect_with_host(&address.0)?;
        Ok(Self(docker.negotiate_version().await?))
    }

    pub(super) async fn image(&self, name: &str) -> Result<Image, EngineError> {
        let image = self.0.inspect_image(name).await?;
        let volumes = image.config.and_then(|config| config.volumes).unwrap_or_default();
        Ok(Image { volumes: volumes.into_iter().collect() })
    }

    /// Fetches an image from its registry; without a tag or digest the one that is tagged `latest`.
    pub(super) async fn pull(&self, name: &str) -> Result<(), EngineError> {
        let is_tagged = name.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
        let mut options = CreateImageOptionsBuilder::default().from_image(name);
        if !is_tagged {
            options = options.tag("latest");
        }
        let mut progress = self.0.create_image(Some(options.build()), None, None);
        while let Some(step) = progress.next().await {
            step.map_err(|error| match EngineError::from(error) {
                EngineError::Failed(message) if is_unknown(&message) => EngineError::NotFound(message),
                error => error,
            })?;
        }
        Ok(())
    }

    pub(super) async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<(), EngineError> {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        Ok(self.0.create_container(Some(options), body).await.map(drop)?)
    }

    /// What it writes from its start on, both outputs.
    pub(super) async fn output(&self, name: &str) -> Result<Output, EngineError> {
        let options = AttachContainerOptionsBuilder::default().stdout(true).stderr(true).stream(true).build();
        Ok(self.0.attach_container(name, Some(options)).await?.output)
    }

    pub(super) async fn start(&self, name: &str) -> Result<(), EngineError> {
        Ok(self.0.start_container(name, None).await?)
    }

    /// Waits until it does not run.
    pub(super) async fn ended(&self, name: &str) -> Result<(), EngineError> {
        match self.0.wait_container(name, None).next().await {
            Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) => Ok(()),
            Some(Err(error)) => Err(error.into()),
            None => Err(EngineError::Away("it broke the connection".to_owned())),
        }
    }

    /// How it stands.
    pub(super) async fn state(&self, name: &str) -> Result<ContainerState, EngineError> {
        let state = self.0.inspect_container(name, None).await?.state;
        state.ok_or_else(|| EngineError::Failed(format!("the engine does not say how {name} ended")))
    }

    /// Tells it to end, and kills it after the grace; returns when it does not run.
    pub(super) async fn stop(&self, name: &str, grace: Duration) -> Result<(), EngineError> {
        let grace_s = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(grace_s).build();
        match self.0.stop_container(name, Some(options)).await.map_err(EngineError::from) {
            Ok(()) | Err(EngineError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes it with all that it has written, whether it runs or not.
    pub(super) async fn remove(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.0.remove_container(name, Some(options)).await.map_err(EngineError::from) {
            // It is gone, or being removed by somebody else.
            Ok(()) | Err(EngineError::NotFound(_) | EngineError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The containers that were made for runs; for this one, if any.
    pub(super) async fn containers(&self, run: Option<&str>) -> Result<Vec<Labels>, EngineError> {
        let label = run.map_or_else(|| labels::RUN.to_owned(), |run| format!("{}={run}", labels::RUN));
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let found = self.0.list_containers(Some(options)).await?;
        Ok(found.into_iter().filter_map(|found| Labels::read(&found.labels?)).collect())
    }
}

/// Whether a registry, or the engine, says that there is no such image, or none for who asks.
fn is_unknown(message: &str) -> bool {
    ["manifest unknown", "not found", "does not exist", "access denied"]
        .iter()
        .any(|said| message.contains(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_socket_or_a_host_with_a_port() {
        for address in ["unix:///var/run/docker.sock", "tcp://engine:2375"] {
            assert!(address.parse::<EngineAddress>().is_ok(), "{address}");
        }
        for address in
            ["", "unix://", "unix://docker.sock", "/var/run/docker.sock", "tcp://engine", "ssh://a:1"]
        {
            assert_eq!(address.parse::<EngineAddress>(), Err(BadEngineAddress), "{address}");
        }
    }

    #[tokio::test]
    async fn an_engine_that_is_not_there_is_away() {
        for address in ["unix:///no/such/socket", "tcp://127.0.0.1:1"] {
            let connected = Engine::connect(&address.parse().unwrap()).await;
            assert!(matches!(connected, Err(EngineError::Away(_))), "{address}");
        }
    }

    #[test]
    fn what_the_engine_answers_says_whether_it_may_go_better() {
        let of = |status_code| {
            EngineError::from(Error::DockerResponseServerError { status_code, message: "so".to_owned() })
        };
        let said = || "so".to_owned();
        assert_eq!(of(400), EngineError::Bad(said()));
        assert_eq!(of(404), EngineError::NotFound(said()));
        assert_eq!(of(409), EngineError::Conflict(said()));
        assert_eq!(of(500), EngineError::Failed(said()));
        assert!(matches!(EngineError::from(Error::RequestTimeoutError), EngineError::Away(_)));
    }
}
