//! The threads that handlers run on, apart from the service's own: a handler that blocks its thread hinders neither
//! leases nor health, nor other handlers.
//!
//! A few threads share whatever is ready to go on. Where something is ready and no thread has become free for a moment,
//! all of them are blocked, and another one is started, which ends when it is not needed any more. A handler that
//! blocks keeps its slot, so there are never more blocked threads than slots.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_task::{Runnable, Task};
use futures::FutureExt;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::Notify,
};
use tracing::{debug, error};

use super::attempt_end::Panic;

/// How long something may be ready before all threads count as blocked, if none of them becomes free meanwhile.
const STALL: Duration = Duration::from_millis(100);

/// See the module. Clones share the threads, which end after the last one is dropped, except those that are blocked.
#[derive(Debug, Clone)]
pub struct HandlerPool(Arc<Owner>);

#[derive(Debug)]
struct Owner {
    pool: Arc<Pool>,
    /// Drives the timers and connections of handlers, and whatever they spawn.
    context: Option<Runtime>,
}

#[derive(Debug)]
struct Pool {
    /// How many threads wait for work at most.
    threads: usize,
    context: Handle,
    queue: Mutex<Queue>,
    ready: Condvar,
    stalled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    runnables: VecDeque<Runnable>,
    /// How many runnables were ever taken.
    taken: u64,
    idle: usize,
    is_closed: bool,
}

impl HandlerPool {
    /// Starts the threads; to be called within the service's runtime, which watches over them.
    ///
    /// # Errors
    /// Where the system has no thread left.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let mut context = Builder::new_multi_thread();
        let context = context.worker_threads(1).thread_name("handler-io").enable_all().build()?;
        let pool = Arc::new(Pool {
            threads,
            context: context.handle().clone(),
            queue: Mutex::default(),
            ready: Condvar::new(),
            stalled: Notify::new(),
        });
        for _ in 0..threads {
            pool.add_thread()?;
        }
        tokio::spawn(Arc::clone(&pool).add_threads());
        Ok(Self(Arc::new(Owner { pool, context: Some(context) })))
    }

    /// Runs a handler's future. Dropping the task drops the future as soon as its thread lets go of it;
    /// [`Task::cancel`] waits for that.
    pub fn spawn<T: Send + 'static>(
        &self,
        handler: impl Future<Output = T> + Send + 'static,
    ) -> Task<Result<T, Panic>> {
        let pool = Arc::clone(&self.0.pool);
        let handler = AssertUnwindSafe(handler).catch_unwind();
        let (runnable, task) = async_task::spawn(handler, move |runnable| pool.push(runnable));
        runnable.schedule();
        task
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.pool.lock().is_closed = true;
        self.pool.ready.notify_all();
        self.pool.stalled.notify_one();
        if let Some(context) = self.context.take() {
            context.shutdown_background();
        }
    }
}

impl Pool {
    fn push(&self, runnable: Runnable) {
        let mut queue = self.lock();
        queue.runnables.push_back(runnable);
        self.ready.notify_one();
        if queue.runnables.len() > queue.idle {
            self.stalled.notify_one();
        }
    }

    /// Waits for the next one; none where this thread is not needed any more.
    fn next(&self) -> Option<Runnable> {
        let mut queue = self.lock();
        loop {
            if let Some(runnable) = queue.runnables.pop_front() {
                queue.taken += 1;
                return Some(runnable);
            }
            if queue.is_closed || queue.idle >= self.threads {
                return None;
            }
            queue.idle += 1;
            queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }

    fn add_thread(self: &Arc<Self>) -> std::io::Result<()> {
        let pool = Arc::clone(self);
        let thread = std::thread::Builder::new().name("handler".to_owned());
        thread.spawn(move || pool.run()).map(drop)
    }

    fn run(&self) {
        let _context = self.context.enter();
        while let Some(runnable) = self.next() {
            // A handler's panic is caught before; that of a destructor must not cost the thread.
            if catch_unwind(AssertUnwindSafe(|| runnable.run())).is_err() {
                error!("a handler panicked while it was dropped");
            }
        }
    }

    /// Adds a thread whenever all of them are blocked.
    async fn add_threads(self: Arc<Self>) {
        while !self.lock().is_closed {
            self.stalled.notified().await;
            while let Some(taken) = self.waits_after() {
                tokio::time::sleep(STALL).await;
                if self.waits_after() != Some(taken) {
                    continue;
                }
                if let Err(error) = self.add_thread() {
                    error!(%error, "all handler threads are blocked, and no other can be started");
                } else {
                    debug!("all handler threads are blocked; started another one");
                }
            }
        }
    }

    /// Where something is ready: how many were taken so far.
    fn waits_after(&self) -> Option<u64> {
        let queue = self.lock();
        (!queue.runnables.is_empty()).then_some(queue.taken)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::time::timeout;

    use super::*;

    /// For what should take no time; a test that waits so long has failed.
    const EVER: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn handlers_go_on_while_more_of_them_block_than_there_are_threads() {
        let pool = HandlerPool::start(1).unwrap();
        let (go_on, told): (Vec<_>, Vec<_>) = (0..3).map(|_| mpsc::channel::<()>()).unzip();
        let blocked: Vec<_> =
            told.into_iter().map(|told| pool.spawn(async move { told.recv().is_err() })).collect();
        let sleeps = pool.spawn(async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            tokio::spawn(async { 7 }).await.unwrap()
        });
        assert_eq!(timeout(EVER, sleeps).await.unwrap().unwrap(), 7);
        assert!(blocked.iter().all(|task| !task.is_finished()));
        drop(go_on);
        for task in blocked {
            assert!(timeout(EVER, task).await.unwrap().unwrap());
        }
    }

    #[tokio::test]
    async fn a_panic_is_told_and_costs_no_thread() {
        let pool = HandlerPool::start(1).unwrap();
        for _ in 0..3 {
            let panic = timeout(EVER, pool.spawn(async { panic!("planned") })).await.unwrap().unwrap_err();
            assert_eq!(panic.downcast_ref::<&str>(), Some(&"planned"));
        }
    }

    #[tokio::test]
    async fn a_cancelled_handler_is_dropped_as_soon_as_its_thread_lets_go() {
        let pool = HandlerPool::start(1).unwrap();
        let (started, has_started) = mpsc::channel();
        let (go_on, told) = mpsc::channel::<()>();
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        let task = pool.spawn(async move {
            started.send(()).unwrap();
            let _ = told.recv();
            std::future::pending::<()>().await;
            drop(held);
        });
        has_started.recv_timeout(EVER).unwrap();
        let mut gone = Box::pin(task.cancel());
        assert!(gone.as_mut().now_or_never().is_none(), "it is blocked");
        drop(go_on);
        timeout(EVER, gone).await.unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
