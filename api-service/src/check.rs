//! `api-service check`: what a replica needs of its database and of NATS.

use secrecy::ExposeSecret;
use service_kit::{
    Mongo,
    check::{Expected, Findings, check_mongo, check_nats},
    dead_letters,
    telemetry::chain,
};
use shared_events::{rights, streams};

use crate::{jobs::Jobs, schedules::ScheduleStore, settings::Settings, users::UserStore};

/// Looks at all of it; nothing is changed.
pub async fn check(settings: &Settings) -> Findings {
    let mut indexes = [Jobs::indexes(), ScheduleStore::indexes(), UserStore::indexes()].concat();
    indexes.push(dead_letters::indexes());
    let expected = Expected {
        service: "api-service",
        streams: streams::definitions(&settings.common.streams).to_vec(),
        consumers: vec![streams::api_consumer(None)],
        rights: rights::API_SERVICE,
    };
    let uri = settings.mongo_uri.expose_secret();
    let mongo = async {
        match Mongo::connect(uri, &settings.mongo_database, "api-service check").await {
            Ok(mongo) => check_mongo(&mongo, &indexes).await,
            Err(error) => {
                let mut findings = Findings::default();
                findings.error("MongoDB", format!("API_MONGO_URI can not be used: {}", chain(&error)));
                findings
            }
        }
    };
    let (mongo, nats) = tokio::join!(mongo, check_nats(&settings.common.nats, &expected));
    mongo.and(nats)
}
