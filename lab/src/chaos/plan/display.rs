//! A plan for a person to read, one fault a line.

use std::fmt;

use super::{Fault, Link, Plan, Target};

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(index) => write!(f, "api-{}", index + 1),
            Self::Worker(index) => write!(f, "worker-{}", index + 1),
            Self::Nats => f.write_str("nats"),
            Self::ApiMongo => f.write_str("api-mongo"),
            Self::JobMongo => f.write_str("job-mongo"),
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nats => "nats",
            Self::ApiMongo => "api-mongo",
            Self::JobMongo => "job-mongo",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(target, down) => write!(f, "kill {target}, back after {} ms", down.as_millis()),
            Self::Pause(target, pause) => write!(f, "pause {target} for {} ms", pause.as_millis()),
            Self::Cut(link) => write!(f, "cut all connections to {link}"),
            Self::CutBeforeReply(link, times) => {
                write!(f, "cut {times} writes to {link} before their replies")
            }
            Self::Stall(link, pause) => {
                write!(f, "stall the connections to {link} for {} ms", pause.as_millis())
            }
            Self::BlackHole(link, pause) => {
                write!(f, "black-hole the connections to {link} for {} ms", pause.as_millis())
            }
            Self::Copy => f.write_str("copy the store of nats"),
            Self::SetBack(down) => {
                write!(f, "set nats back to its copy, back after {} ms", down.as_millis())
            }
            Self::Delete(stream) => write!(f, "delete {}", stream.name()),
            Self::Wipe(stream, down) => {
                write!(f, "wipe {}, nats back after {} ms", stream.name(), down.as_millis())
            }
            Self::SetBackOne(stream, down) => {
                let (name, down) = (stream.name(), down.as_millis());
                write!(f, "set {name} back to its copy, nats back after {down} ms")
            }
            Self::StepClock(seconds) => write!(f, "step the clock of worker-1 to {seconds:+} s"),
            Self::Fill(stream, pause) => write!(f, "fill {} for {} ms", stream.name(), pause.as_millis()),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.faults
            .iter()
            .try_for_each(|timed| writeln!(f, "{:>8.1} s  {}", timed.at.as_secs_f64(), timed.fault))
    }
}
