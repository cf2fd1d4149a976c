//! Where messages came from. An ack names a message by its number, so it must not reach another store of the broker: an
//! older copy, an empty one, or a stream that was deleted and made anew, where the number is another message's.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use async_nats::jetstream::consumer::PullConsumer;
use service_kit::{Broker, nats::Connection};

/// One consumer over one connection.
#[derive(Debug, Clone)]
pub struct Origin {
    broker: Broker,
    connection: Connection,
    is_replaced: Arc<AtomicBool>,
}

impl Origin {
    /// Whether acks still reach the store that the messages came from, as far as is known.
    #[must_use]
    pub fn is_there(&self) -> bool {
        !self.is_replaced.load(Ordering::Acquire) && self.broker.nats().is_still(self.connection)
    }
}

/// The origins of this worker's consumers. Copies share them.
#[derive(Debug, Clone, Default)]
pub struct Origins(Arc<Mutex<HashMap<String, Known>>>);

/// A consumer as it was found last: one that is made anew has another time of creation.
#[derive(Debug)]
struct Known {
    created_ns: i128,
    is_replaced: Arc<AtomicBool>,
}

impl Origins {
    /// The origin of what comes from a consumer over this connection. What came from one of the same name that was
    /// created at another time can not be acked any more.
    #[must_use]
    pub fn of(&self, consumer: &PullConsumer, broker: &Broker, connection: Connection) -> Origin {
        let info = consumer.cached_info();
        let is_replaced = self.found(&info.name, info.created.unix_timestamp_nanos());
        Origin { broker: broker.clone(), connection, is_replaced }
    }

    fn found(&self, name: &str, created_ns: i128) -> Arc<AtomicBool> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(name)
            && known.created_ns == created_ns
        {
            return Arc::clone(&known.is_replaced);
        }
        let is_replaced = Arc::default();
        let found = Known { created_ns, is_replaced: Arc::clone(&is_replaced) };
        if let Some(before) = known.insert(name.to_owned(), found) {
            before.is_replaced.store(true, Ordering::Release);
        }
        is_replaced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_that_was_made_anew_replaces_the_one_before() {
        let origins = Origins::default();
        let (first, again) = (origins.found("workers", 1), origins.found("workers", 1));
        let _other = origins.found("others", 2);
        assert!(!first.load(Ordering::Acquire));
        let new = origins.found("workers", 3);
        assert!(
            first.load(Ordering::Acquire) && again.load(Ordering::Acquire) && !new.load(Ordering::Acquire)
        );
    }
}
