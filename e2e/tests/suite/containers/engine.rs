//! The engine of this machine, where there is one.

use std::{collections::HashMap, io::Write, time::Duration};

use bollard::{
    Docker,
    models::{ContainerCreateBody, ContainerSummary},
    query_parameters::{
        CreateContainerOptionsBuilder, EventsOptionsBuilder, ListContainersOptionsBuilder,
        RemoveContainerOptionsBuilder,
    },
};
use futures::TryStreamExt;
use stack::poll;

/// What the tests run.
pub(super) const IMAGE: &str = "debian:bookworm-slim";

pub(super) struct Engine {
    docker: Docker,
}

impl Engine {
    /// It, with the image; says which test is left out where there is none.
    pub(super) async fn find(test: &str) -> Option<Self> {
        let address =
            std::env::var("CONTAINER_ENGINE").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
        let found = async {
            let docker = Docker::connect_with_host(&address)?.negotiate_version().await?;
            docker.inspect_image(IMAGE).await?;
            Ok::<_, bollard::errors::Error>(docker)
        };
        match found.await {
            Ok(docker) => Some(Self { docker }),
            Err(error) => {
                // Past what the test runner keeps to itself.
                let _ = writeln!(
                    std::io::stderr(),
                    "LEFT OUT: {test}: no engine with {IMAGE} at {address}: {error}"
                );
                None
            }
        }
    }

    /// The containers of these runs that there are, whether they run or not.
    async fn of_runs(&self, runs: &[String]) -> Vec<ContainerSummary> {
        let filters = HashMap::from([("label", vec!["hasty.run"])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let all = self.docker.list_containers(Some(options)).await.unwrap();
        let is_one = |found: &ContainerSummary| {
            found
                .labels
                .as_ref()
                .and_then(|labels| labels.get("hasty.run"))
                .is_some_and(|run| runs.contains(run))
        };
        all.into_iter().filter(is_one).collect()
    }

    /// Waits until there is nothing left of these jobs.
    pub(super) async fn has_nothing_of(&self, jobs: &[&str]) {
        let runs: Vec<String> = jobs.iter().map(|job| format!("{job}.1")).collect();
        let gone = || async {
            let left = self.of_runs(&runs).await;
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{:?}", left.iter().map(|one| &one.names).collect::<Vec<_>>()))
            }
        };
        poll::until("the containers to be gone", Duration::from_secs(120), gone).await.unwrap();
    }

    /// Makes a container for a run, as an attempt would have left it.
    pub(super) async fn leave(&self, run: &str, attempt: u32) -> String {
        let labels = HashMap::from([
            ("hasty.run".to_owned(), run.to_owned()),
            ("hasty.attempt".to_owned(), attempt.to_string()),
        ]);
        let (job, number) = run.split_once('.').unwrap();
        let name = format!("hasty-{job}-{number}-{attempt}");
        let body = ContainerCreateBody {
            image: Some(IMAGE.to_owned()),
            cmd: Some(vec!["sleep".to_owned(), "1000".to_owned()]),
            labels: Some(labels),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        self.docker.create_container(Some(options), body).await.unwrap();
        self.docker.start_container(&name, None).await.unwrap();
        name
    }

    pub(super) async fn is_there(&self, name: &str) -> bool {
        self.docker.inspect_container(name, None).await.is_ok()
    }

    pub(super) async fn remove(&self, name: &str) {
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        let _ = self.docker.remove_container(name, Some(options)).await;
    }

    /// The starts and ends of a run's containers, in their order, as attempts: `start 1`, `die 1`.
    pub(super) async fn events(&self, run: &str, since_unix_s: i64) -> Vec<String> {
        let filters = HashMap::from([
            ("label", vec![format!("hasty.run={run}")]),
            ("event", vec!["start".to_owned(), "die".to_owned()]),
        ]);
        let now = time::OffsetDateTime::now_utc().unix_timestamp() + 1;
        let options = EventsOptionsBuilder::default()
            .since(&since_unix_s.to_string())
            .until(&now.to_string())
            .filters(&filters)
            .build();
        let events: Vec<_> = self.docker.events(Some(options)).try_collect().await.unwrap();
        let told = events.into_iter().map(|event| {
            let attributes = event.actor.and_then(|actor| actor.attributes).unwrap_or_default();
            let attempt = attributes.get("hasty.attempt").cloned().unwrap_or_default();
            format!("{} {attempt}", event.action.unwrap_or_default())
        });
        told.collect()
    }
}
