//! Starts children again that die.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::nodes::Node;
use crate::process::Sink;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Who ran this long and dies is not in a loop of dying.
const SETTLED: Duration = Duration::from_secs(10);

/// Watches over nodes until it is dropped.
pub(crate) struct Supervisor {
    watches: JoinSet<()>,
    sink: Option<Sink>,
}

impl Supervisor {
    pub(crate) fn new(sink: Option<Sink>) -> Self {
        Self { watches: JoinSet::new(), sink }
    }

    pub(crate) fn watch(&mut self, node: &Node) {
        self.watches.spawn(watch(node.clone(), self.sink.clone()));
    }
}

async fn watch(node: Node, sink: Option<Sink>) {
    let say = |text: String| {
        if let Some(sink) = &sink {
            sink("stack", &text);
        }
    };
    let mut last_pause = None;
    loop {
        let started = Instant::now();
        let Ok(status) = node.wait().await else { return };
        let pause = next_pause(last_pause, started.elapsed());
        last_pause = Some(pause);
        say(format!("{} ended ({status}); it is started again in {} ms", node.name(), pause.as_millis()));
        tokio::time::sleep(pause).await;
        if let Err(error) = node.launch() {
            say(format!("{error:#}"));
        }
    }
}

/// Doubles while it keeps dying young.
fn next_pause(last: Option<Duration>, ran: Duration) -> Duration {
    match last {
        Some(last) if ran < SETTLED => (last * 2).min(LONGEST_PAUSE),
        _ => FIRST_PAUSE,
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("watches", &self.watches.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_dying_young_waits_longer_and_longer() {
        let young = Duration::from_millis(10);
        let pauses = std::iter::successors(Some(FIRST_PAUSE), |last| Some(next_pause(Some(*last), young)));
        let pauses: Vec<_> = pauses.take(7).collect();
        assert_eq!(pauses.last(), Some(&LONGEST_PAUSE));
        assert!(pauses.is_sorted());
        assert_eq!(next_pause(None, young), FIRST_PAUSE);
        assert_eq!(next_pause(Some(LONGEST_PAUSE), SETTLED), FIRST_PAUSE);
    }
}
