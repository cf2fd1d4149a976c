//! `job-service check`: what a worker needs of its database, of NATS, and of its machine.

use secrecy::ExposeSecret;
use service_kit::{
    Mongo,
    check::{Expected, Findings, check_mongo, check_nats},
    dead_letters,
    telemetry::chain,
};
use shared_events::{Priority, rights, streams};

use crate::{history::History, kinds::Registry, ledger::Ledger, settings::Settings};

/// Looks at all of it; nothing is changed.
pub async fn check(settings: &Settings) -> Findings {
    let worker = &settings.worker;
    let of_queue =
        |queue| Priority::ALL.map(|priority| streams::worker_consumer(queue, priority, worker.lease));
    let of_queues = worker.queues.iter().flat_map(of_queue);
    let expected = Expected {
        service: "job-service",
        streams: streams::definitions(&settings.common.streams).to_vec(),
        consumers: of_queues.chain([streams::control_consumer()]).collect(),
        rights: rights::JOB_SERVICE,
    };
    let indexes = [Ledger::indexes(), dead_letters::indexes()];
    let uri = settings.mongo_uri.expose_secret();
    let mongo = async {
        match Mongo::connect(uri, &settings.mongo_database, "job-service check").await {
            Ok(mongo) => check_mongo(&mongo, &indexes).await,
            Err(error) => {
                let mut findings = Findings::default();
                findings.error("MongoDB", format!("JOB_MONGO_URI can not be used: {}", chain(&error)));
                findings
            }
        }
    };
    let (mongo, nats) = tokio::join!(mongo, check_nats(&settings.common.nats, &expected));
    mongo.and(nats).and(kinds(settings))
}

/// Which kinds of jobs it does, and whether it can.
fn kinds(settings: &Settings) -> Findings {
    let mut findings = Findings::default();
    match Registry::new(&settings.worker, &History::default()) {
        Ok(registry) => {
            let kinds: Vec<String> = registry.kinds().iter().map(ToString::to_string).collect();
            findings.ok("kinds", kinds.join(", "));
        }
        Err(error) => findings.error("kinds", format!("{error:#}")),
    }
    findings
}
