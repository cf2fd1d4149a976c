//! Background tasks: what a service does besides answering. Each has a name, and all are started and stopped the same
//! way.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

/// The background tasks of a service.
#[derive(Debug, Default)]
pub struct BackgroundTasks {
    stop: CancellationToken,
    tasks: Vec<(&'static str, JoinHandle<()>)>,
}

impl BackgroundTasks {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task; it goes on until the token that it gets is cancelled.
    pub fn start<F>(&mut self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, task) = (self.stop.clone(), task(self.stop.clone()));
        let running = tokio::spawn(async move {
            task.await;
            if stop.is_cancelled() {
                debug!(task = name, "background task has stopped");
            } else {
                // Nothing depends on it for safety, but something will not be done until the next start.
                error!(task = name, "background task ended before it was told to");
            }
        });
        self.tasks.push((name, running));
    }

    /// Tells all of them to stop, and waits until they have, or `timeout` is over: a database that hangs can keep one
    /// for ever.
    pub async fn stop(mut self, timeout: Duration) {
        self.stop.cancel();
        let ended = async {
            for (name, task) in &mut self.tasks {
                if let Err(error) = task.await {
                    error!(task = *name, %error, "background task broke off");
                }
            }
        };
        if tokio::time::timeout(timeout, ended).await.is_err() {
            let left: Vec<&str> =
                self.tasks.iter().filter(|(_, task)| !task.is_finished()).map(|(name, _)| *name).collect();
            warn!(?left, "not all background tasks came to an end");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_are_told_to_stop_and_one_that_hangs_is_not_waited_for() {
        let (mut tasks, ended) = (BackgroundTasks::new(), Arc::new(AtomicUsize::new(0)));
        for _ in 0..3 {
            let ended = Arc::clone(&ended);
            tasks.start("ends", |stop| async move {
                stop.cancelled().await;
                ended.fetch_add(1, Ordering::Relaxed);
            });
        }
        tasks.start("hangs", |_| std::future::pending());
        tasks.start("panics", |_| async { panic!("planned") });
        tasks.stop(Duration::from_secs(2)).await;
        assert_eq!(ended.load(Ordering::Relaxed), 3);
    }
}
