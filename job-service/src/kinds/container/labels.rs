//! Whose a container is: its name and its labels.

use std::collections::HashMap;

use shared_events::{RunId, WorkerId};

use crate::kinds::Context;

/// The label that has the run.
pub(super) const RUN: &str = "hasty.run";

const ATTEMPT: &str = "hasty.attempt";
const WORKER: &str = "hasty.worker";

/// The attempt that a container was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Labels {
    pub(super) run: RunId,
    pub(super) attempt: u32,
    /// None where that is not known.
    pub(super) worker: Option<WorkerId>,
}

impl Labels {
    /// Those of this attempt.
    pub(super) fn of(context: &Context) -> Self {
        Self { run: context.run_id(), attempt: context.attempt(), worker: context.worker().cloned() }
    }

    /// Those that a container has; none where it is none of Hasty's.
    pub(super) fn read(labels: &HashMap<String, String>) -> Option<Self> {
        let run = labels.get(RUN)?.parse().ok()?;
        let attempt = labels.get(ATTEMPT)?.parse().ok()?;
        Some(Self { run, attempt, worker: labels.get(WORKER).cloned().map(WorkerId::from) })
    }

    /// As they are written.
    pub(super) fn written(&self) -> HashMap<String, String> {
        let worker = self.worker.as_ref().map(|worker| (WORKER.to_owned(), worker.to_string()));
        let own = [(RUN.to_owned(), self.run.to_string()), (ATTEMPT.to_owned(), self.attempt.to_string())];
        own.into_iter().chain(worker).collect()
    }

    /// The container's name.
    pub(super) fn name(&self) -> String {
        format!("hasty-{}-{}-{}", self.run.job, self.run.run, self.attempt)
    }
}

#[cfg(test)]
mod tests {
    use shared_events::JobId;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_others_containers_are_none() {
        for worker in [None, Some(WorkerId::from("host-1-0000beef".to_owned()))] {
            let labels = Labels { run: JobId::generate().run(2), attempt: 3, worker };
            assert_eq!(Labels::read(&labels.written()), Some(labels.clone()));
            assert!(labels.name().starts_with("hasty-") && labels.name().ends_with("-2-3"));
        }
        assert_eq!(Labels::read(&HashMap::new()), None);
    }
}
