//! Ids of jobs, runs and workers.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize, de};
use utoipa::ToSchema;
use uuid::Uuid;

/// A job's id: a UUID v7 (RFC 9562), so ids of one process sort by time of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = "uuid", example = "01a21b67-b017-7570-a6d0-01279c6c4e77")]
pub struct JobId(Uuid);

/// The text is not the lower-case hyphenated form of a UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a job id: expected a UUID in its hyphenated form")]
pub struct BadJobId;

impl JobId {
    /// A new id, later than all that this process made before.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id as a UUID.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }

    /// The first `run` of this job, or a later one.
    #[must_use]
    pub const fn run(self, run: u32) -> RunId {
        RunId { job: self, run }
    }
}

impl From<Uuid> for JobId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for JobId {
    type Err = BadJobId;

    fn from_str(text: &str) -> Result<Self, BadJobId> {
        // `Uuid` reads braces, URNs and bare digits too; one spelling per id keeps URLs and logs comparable.
        if text.len() != 36 {
            return Err(BadJobId);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| BadJobId)
    }
}

impl<'de> Deserialize<'de> for JobId {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// One life of a job: written `<job id>.<run>`. Handlers get it to make their effects idempotent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId {
    /// The job.
    pub job: JobId,
    /// Which of its runs, from 1.
    pub run: u32,
}

/// The text is not `<job id>.<run>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a run id: expected <job id>.<run>")]
pub struct BadRunId;

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.run)
    }
}

impl FromStr for RunId {
    type Err = BadRunId;

    fn from_str(text: &str) -> Result<Self, BadRunId> {
        let (job, run) = text.split_once('.').ok_or(BadRunId)?;
        let job = job.parse().map_err(|_| BadRunId)?;
        let run = run.parse().map_err(|_| BadRunId)?;
        if run == 0 {
            return Err(BadRunId);
        }
        Ok(Self { job, run })
    }
}

impl Serialize for RunId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Names one worker process, for as long as it lives: `<host>-<pid>-<random>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, example = "worker-3-7-a1b2c3")]
pub struct WorkerId(Arc<str>);

impl WorkerId {
    /// A new name; never the same twice, also not when host and pid come again.
    #[must_use]
    pub fn generate() -> Self {
        let host = host_name();
        let random: u32 = rand::random();
        Self(format!("{host}-{}-{random:08x}", std::process::id()).into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of this machine; `worker` where it has none.
#[must_use]
pub fn host_name() -> String {
    let host = gethostname::gethostname();
    host.to_str().filter(|name| !name.is_empty()).unwrap_or("worker").to_owned()
}

impl From<String> for WorkerId {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_run_id_reads_back_what_it_wrote(bytes: u128, run in 1..=u32::MAX) {
            let id = JobId::from(Uuid::from_u128(bytes)).run(run);
            prop_assert_eq!(id.to_string().parse::<RunId>(), Ok(id));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in "\\PC{0,60}") {
            let _ = text.parse::<JobId>();
            let _ = text.parse::<RunId>();
        }
    }

    #[test]
    fn other_spellings_of_a_uuid_are_no_job_id() {
        for text in ["", "{0192f0c1-0000-7000-8000-000000000000}", "0192f0c1000070008000000000000000"] {
            assert_eq!(text.parse::<JobId>(), Err(BadJobId), "{text}");
        }
    }

    #[test]
    fn a_run_starts_at_one() {
        assert_eq!("0192f0c1-0000-7000-8000-000000000000.0".parse::<RunId>(), Err(BadRunId));
    }

    #[test]
    fn workers_of_one_process_have_names_of_their_own() {
        assert_ne!(WorkerId::generate(), WorkerId::generate());
    }
}
