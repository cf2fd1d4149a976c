//! What a worker and a supervisor say to each other: one JSON value a line, over the supervisor's standard input and
//! output. The end of the input means that the worker is gone.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use shared_events::{ProgramOutput, live::LogSource};

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    /// All of its environment, but for what the supervisor adds.
    pub(super) env: BTreeMap<String, String>,
    pub(super) stdin: Option<String>,
    pub(super) working_dir: PathBuf,
    pub(super) limits: Limits,
    /// How long it has to end by itself once it is told to.
    pub(super) grace_ms: u64,
}

/// What a program may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Limits {
    /// Processes at a time, itself included.
    pub(super) processes: u32,
    /// Bytes of memory: each process, and all together.
    pub(super) memory_bytes: u64,
    /// Seconds of one core, each process.
    pub(super) cpu_s: u64,
    /// Files that a process may have open.
    pub(super) open_files: u64,
}

/// What the worker says after its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    /// Stop it: SIGTERM, and after the grace SIGKILL.
    Stop,
}

/// What the supervisor says: lines while the program runs, and one of the others last of all, when nothing of the program
/// is left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    /// It has written these.
    Lines(Vec<(LogSource, String)>),
    /// It could not be started.
    NotStarted(String),
    /// It ended.
    Ended {
        output: ProgramOutput,
        /// Whether it was told to before it did.
        stopped: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exceeded: Option<Exceeded>,
    },
}

/// The limit for which a program was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Exceeded {
    Processes,
    Memory,
}
