//! Health: whether a service is ready, and the `healthcheck` subcommand that asks a running one, for containers without
//! curl.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
use serde::Serialize;

use crate::{Mongo, nats::Broker};

/// What a readiness probe is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// `ok` where the database takes writes.
    status: &'static str,
    mongodb: &'static str,
    /// Being away shows, and fails nothing.
    nats: &'static str,
}

impl Readiness {
    /// Whether the service is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.status == "ok"
    }

    /// What is wrong, for people.
    pub fn problems(&self) -> impl Iterator<Item = &'static str> {
        let mongodb = (self.mongodb != "ok").then_some("MongoDB takes no writes");
        let nats = (self.nats != "ok").then_some("NATS does not answer");
        mongodb.into_iter().chain(nats)
    }
}

/// What a service needs to be ready. Copies share it.
#[derive(Debug, Clone)]
pub struct Health {
    mongo: Mongo,
    broker: Broker,
    prober: String,
}

impl Health {
    /// The health of a service with this database and broker; `prober` names it in the database's probes.
    #[must_use]
    pub fn new(mongo: Mongo, broker: Broker, prober: impl Into<String>) -> Self {
        Self { mongo, broker, prober: prober.into() }
    }

    /// Honest: MongoDB has taken a write within the last two seconds, or takes one now.
    pub async fn readiness(&self) -> Readiness {
        let nats = if self.broker.nats().is_connected() { "ok" } else { "away" };
        match self.mongo.check_writable(&self.prober).await {
            Ok(()) => Readiness { status: "ok", mongodb: "ok", nats },
            Err(_) => Readiness { status: "failing", mongodb: "can not be written", nats },
        }
    }
}

/// Asks `GET /health/ready` at `address`.
///
/// # Errors
/// Where there is no answer within two seconds, or it is not 200.
pub async fn check(address: SocketAddr) -> anyhow::Result<()> {
    let client = crate::guarded_http::plain().no_proxy().timeout(Duration::from_secs(2)).build()?;
    let request = client.get(format!("http://{address}/health/ready")).send();
    let answer = request.await.with_context(|| format!("no answer from {address}"))?;
    let status = answer.status();
    ensure!(status == 200, "{address} is not ready: {}", answer.text().await.unwrap_or_default());
    Ok(())
}
