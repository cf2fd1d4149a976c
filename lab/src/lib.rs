//! What tries Hasty hard: [`mod@bench`] measures it under load, and [`chaos`] runs jobs while everything is killed, paused,
//! cut off and set back, and checks that the promises held. [`users`] kills the members of a replica set below users who are
//! created, read and changed. [`delayed`] measures how promptly jobs run whose time has come. Each starts a stack of its own.

pub mod bench;
pub mod chaos;
pub mod delayed;
pub mod overload;
pub mod proxy;
pub mod users;

use hasty::fsck::Endpoints;
use shared_events::streams;
use stack::Stack;

/// Where a stack's own servers are, for `fsck`.
pub fn endpoints(stack: &Stack) -> Endpoints {
    Endpoints {
        api_mongo: stack.api_mongo().url().to_owned(),
        api_db: "hasty_api".to_owned(),
        job_mongo: stack.job_mongo().url().to_owned(),
        job_db: "hasty_jobs".to_owned(),
        nats: stack.nats().url().to_owned(),
        nats_user: None,
        nats_password: None,
        retention: streams::RETENTION,
    }
}
