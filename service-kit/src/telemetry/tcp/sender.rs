//! The thread that sends lines: connects, sends, and begins anew.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::ClientConfig;
use tracing::{info, warn};

use super::{Receiver, link::Link};
use crate::telemetry::{
    lines::also_into_queues,
    queue::{Next, Queue},
};

/// The pauses between tries to connect: the first, doubled up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long nothing is done where no line comes.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the same trouble is told.
const TELL: Duration = Duration::from_secs(60);

/// How long after trouble it is told that lines are sent again.
const CALM: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Sender {
    queue: Arc<Queue>,
    to: Receiver,
    tls: Option<Arc<ClientConfig>>,
    /// What was told last, and when.
    told: Option<(&'static str, Instant)>,
}

impl Sender {
    /// Sends what is in the queue.
    pub(super) const fn new(queue: Arc<Queue>, to: Receiver, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { queue, to, tls, told: None }
    }

    /// Goes on until the queue is over.
    pub(super) fn run(mut self) {
        let mut pause = PAUSE;
        while !self.queue.is_over() {
            match Link::open(&self.to, self.tls.as_ref()) {
                Ok(link) => {
                    let begun = Instant::now();
                    match self.send(link) {
                        Ok(()) => return,
                        Err(error) => self.tell_trouble("the receiver of log lines is gone", &error),
                    }
                    // One that takes connections only to close them is asked as seldom as one that is away.
                    if begun.elapsed() > LONGEST_PAUSE {
                        pause = PAUSE;
                    }
                }
                Err(error) => self.tell_trouble("the receiver of log lines is not there", &error),
            }
            self.queue.rest(crate::retry::jittered(pause));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Sends what comes, until nothing more does.
    fn send(&mut self, mut link: Link) -> io::Result<()> {
        loop {
            match self.queue.take(PATIENCE) {
                Next::Line(line) => {
                    if let Err(error) = link.send(&line) {
                        self.queue.put_back(line);
                        return Err(error);
                    }
                    self.tell_sent();
                }
                Next::Nothing => link.check()?,
                Next::Over => return Ok(()),
            }
            self.tell_dropped();
        }
    }

    /// Says how many lines found no room, here and to the receiver.
    fn tell_dropped(&self) {
        let dropped = self.queue.take_dropped();
        if dropped > 0 {
            also_into_queues(|| {
                warn!(dropped, to = %self.to, "log lines were dropped: the receiver was away or too slow");
            });
        }
    }

    fn tell_trouble(&mut self, what: &'static str, error: &io::Error) {
        if self.told.is_none_or(|(told, at)| told != what || at.elapsed() > TELL) {
            warn!(%error, to = %self.to, dropped = self.queue.dropped(), "{what}");
            self.told = Some((what, Instant::now()));
        }
    }

    fn tell_sent(&mut self) {
        const SENT: &str = "log lines are sent";
        if self.told.is_none_or(|(told, at)| told != SENT && at.elapsed() > CALM) {
            info!(to = %self.to, "{SENT}");
            self.told = Some((SENT, Instant::now()));
        }
    }
}
