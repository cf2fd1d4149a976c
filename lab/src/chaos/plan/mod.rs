//! What is done to a stack and when: a pure function of the seed, which can be printed.

mod display;
mod generate;

use std::time::Duration;

use shared_events::streams;

/// What the plan is made for.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// How many jobs are created meanwhile.
    pub jobs: usize,
    /// Replicas of the api-service.
    pub apis: usize,
    /// Replicas of the job-service.
    pub workers: usize,
    /// The workers' lease.
    pub lease: Duration,
    /// Whether each MongoDB is a replica set of three.
    pub replica_sets: bool,
    /// Whether the clock of the first worker can be stepped.
    pub clock_steps: bool,
}

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A replica of the api-service, counted from 0.
    Api(usize),
    /// A replica of the job-service, counted from 0.
    Worker(usize),
    /// nats-server.
    Nats,
    /// The api-service's mongod; of a replica set its primary.
    ApiMongo,
    /// The job-service's mongod; of a replica set its primary.
    JobMongo,
}

/// The way from the services to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    /// To nats-server.
    Nats,
    /// To the api-service's mongod.
    ApiMongo,
    /// To the job-service's mongod.
    JobMongo,
}

/// A stream of NATS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// The announcements.
    Jobs,
    /// The log of events.
    Events,
    /// The cancels.
    Control,
}

impl Stream {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Jobs, Self::Events, Self::Control];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jobs => streams::JOBS,
            Self::Events => streams::JOB_EVENTS,
            Self::Control => streams::JOB_CONTROL,
        }
    }
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL, and a new start after a while.
    Kill(Target, Duration),
    /// SIGSTOP, and SIGCONT after a while.
    Pause(Target, Duration),
    /// All connections are closed.
    Cut(Link),
    /// So many times: a write is forwarded, and the connection closed before its reply.
    CutBeforeReply(Link, usize),
    /// Nothing is forwarded for a while.
    Stall(Link, Duration),
    /// The connections there are go dead without being closed, for a while; new ones work.
    BlackHole(Link, Duration),
    /// A copy of the NATS store is taken.
    Copy,
    /// NATS is killed and started again with its latest copy.
    SetBack(Duration),
    /// A stream is deleted.
    Delete(Stream),
    /// NATS is killed, and started again without one of its streams.
    Wipe(Stream, Duration),
    /// NATS is killed, and started again with the latest copy of one of its streams.
    SetBackOne(Stream, Duration),
    /// A stream is full for a while.
    Fill(Stream, Duration),
    /// The wall clock of the first worker is so many seconds off from now on.
    StepClock(i64),
}

/// A fault and its time, counted from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timed {
    /// When it begins.
    pub at: Duration,
    /// What.
    pub fault: Fault,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In the order of their times.
    pub faults: Vec<Timed>,
    /// How long jobs are created.
    pub length: Duration,
}
