//! The subjects that events travel on.
//!
//! A subject's tokens are separated by dots; kinds, queues and priorities are single tokens by
//! their pattern.

use crate::{Priority, Queue};

/// Where a run of this queue and priority is announced.
#[must_use]
pub fn created(queue: &Queue, priority: Priority) -> String {
    format!("job:created.{queue}.{priority}")
}

/// Whose runs are announced there; none where the subject is not one of [`created`].
#[must_use]
pub fn queue_of_created(subject: &str) -> Option<Queue> {
    subject.strip_prefix("job:created.")?.split('.').next()?.parse().ok()
}

/// Where an event of this type (`job:started`, `job:finished`, …) about a job of this queue goes.
#[must_use]
pub fn event(event_type: &str, queue: &Queue) -> String {
    format!("{event_type}.{queue}")
}

/// Of which queue's job an event there is; none where the subject is not one of [`event`].
#[must_use]
pub fn queue_of_event(subject: &str) -> Option<Queue> {
    subject.strip_prefix("job:")?.split_once('.')?.1.parse().ok()
}

/// Where the wish to cancel a job of this queue goes.
#[must_use]
pub fn cancel(queue: &Queue) -> String {
    format!("job:cancel.{queue}")
}

/// Core NATS, may be lost: which jobs changed to what, for those who wait on them.
pub const CHANGED: &str = "job:changed";

/// Core NATS, may be lost: how many jobs an api-service's replica has learnt to have ended.
pub const ENDED: &str = "job:ended";

/// Core NATS, may be lost: which runs' handlers are to stop at once.
pub const STOP: &str = "job:stop";

/// Core NATS, may be lost: what each worker says of itself once a second, and at once where its state changes.
pub const WORKER_HEARTBEAT: &str = "worker:heartbeat";

/// Core NATS, may be lost: what one worker is to do; the others pass it over.
pub const WORKER_CONTROL: &str = "worker:control";

/// Core NATS, may be lost: without a body, from the api-service's replicas to themselves while no worker says anything,
/// so that they know whether they hear.
pub const WORKER_ECHO: &str = "worker:echo";

/// Core NATS, may be lost: how far attempts are, from their workers to all replicas of the api-service.
pub const PROGRESS: &str = "job:progress";

/// Core NATS, with a reply: what an attempt has logged; its worker replies, the others pass it over.
pub const LOGS: &str = "job:logs";

/// All subjects of `JOBS`.
pub const ALL_CREATED: &str = "job:created.>";

/// All subjects of `JOB_EVENTS`.
pub const ALL_EVENTS: &[&str] =
    &["job:started.*", "job:retrying.*", "job:finished.*", "job:failed.*", "job:cancelled.*"];

/// All subjects of `JOB_CONTROL`.
pub const ALL_CANCEL: &str = "job:cancel.*";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_queue_is_one_token(name in "[a-z0-9_-]{1,64}") {
            let queue: Queue = name.parse().unwrap();
            for priority in Priority::ALL {
                let subject = created(&queue, priority);
                prop_assert_eq!(queue_of_created(&subject), Some(queue.clone()));
                prop_assert_eq!(queue_of_event(&event("job:finished", &queue)), Some(queue.clone()));
                let tokens: Vec<&str> = subject.split('.').collect();
                prop_assert_eq!(tokens, vec!["job:created", name.as_str(), priority.as_str()]);
            }
            prop_assert_eq!(event("job:failed", &queue).split('.').count(), 2);
        }
    }
}
