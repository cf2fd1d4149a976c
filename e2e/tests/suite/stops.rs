//! SIGTERM while MongoDB is away: a service ends within its grace and a moment, and leaves what it could not settle to
//! leases and redelivery.

use std::time::Duration;

use e2e::{App, NewJob, Status};
use futures::future::join_all;
use reqwest::Method;
use stack::{Node, Stack, poll};

/// Longer than the driver waits for an answer, several times.
const SOON: Duration = Duration::from_secs(60);

/// How a database is away.
#[derive(Debug, Clone, Copy)]
enum Away {
    Paused,
    Killed,
}

impl Away {
    async fn begins(self, mongo: &Node) {
        match self {
            Self::Paused => assert!(mongo.pause()),
            Self::Killed => drop(mongo.kill().await.unwrap()),
        }
    }

    async fn ends(self, mongo: &Node) {
        match self {
            Self::Paused => assert!(mongo.resume()),
            Self::Killed => mongo.start().await.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_worker_stops_while_its_database_is_away_whatever_it_is_at() {
    join_all([Away::Paused, Away::Killed].map(worker_stops)).await;
}

async fn worker_stops(away: Away) {
    let builder = Stack::builder().api(1).workers(1).env("SHUTDOWN_GRACE_S", 2).env("LEASE_S", 3);
    let app = App::start(builder.env("FAILPOINTS", "job.attempt.over=1*return(stop)")).await;
    let (worker, mongo) = (app.stack().worker(0), app.stack().job_mongo());
    // It has a handler that runs, an outcome that it can not record, and cancels that it can not decide.
    let running = app.running(&app.create(&NewJob::sleep(3600.0).timeout_s(7200)).await).await;
    let over = app.create(&NewJob::noop()).await;
    worker.paused().await.unwrap();
    away.begins(mongo).await;
    worker.resume();
    app.send(app.request(Method::POST, &format!("/v1/jobs/{}/cancel", running.id))).await.expect(202);
    says(worker, "outcome not recorded yet").await;
    says(worker, "cancels not recorded yet").await;

    // After a minute it would be killed.
    let status = worker.terminate().await.unwrap();
    assert_eq!(status.code(), Some(0), "{away:?}: {status}");

    away.ends(mongo).await;
    worker.set_env("FAILPOINTS", "");
    worker.start().await.unwrap();
    assert_eq!(app.ended_within(&over, SOON).await.status, Status::Finished);
    assert_eq!(app.ended_within(&running, SOON).await.status, Status::Cancelled);
}

#[tokio::test]
async fn an_api_replica_stops_while_its_database_is_away_whatever_it_is_at() {
    join_all([Away::Paused, Away::Killed].map(api_stops)).await;
}

async fn api_stops(away: Away) {
    let builder = Stack::builder().api(1).workers(1).env("SHUTDOWN_GRACE_S", 2).env("LOG", "info,http=debug");
    let app = App::start(builder.env("FAILPOINTS", "api.events.read=1*return(stop)")).await;
    let (api, mongo) = (app.stack().api(0), app.stack().api_mongo());
    // It has events that it can not apply, and requests that it can not answer.
    let job = app.create(&NewJob::noop()).await;
    api.paused().await.unwrap();
    away.begins(mongo).await;
    api.resume();
    let later = app.replica(0);
    let asks = (0..4).map(|_| {
        let later = later.clone();
        tokio::spawn(async move { later.try_send(later.request(Method::GET, "/v1/jobs")).await.map(drop) })
    });
    let asked: Vec<_> = asks.collect();
    let begun = || async { api.log().lines().iter().filter(|line| is_ask(line)).count() == 4 };
    poll::until("all requests to be under way", SOON, begun).await.unwrap();

    let status = api.terminate().await.unwrap();
    assert_eq!(status.code(), Some(0), "{away:?}: {status}");
    // They were answered or cut off.
    for asked in asked {
        let _ = asked.await.unwrap();
    }

    away.ends(mongo).await;
    api.set_env("FAILPOINTS", "");
    api.start().await.unwrap();
    assert_eq!(app.ended_within(&job, SOON).await.status, Status::Finished);
}

fn is_ask(line: &str) -> bool {
    line.contains("request begins") && line.contains(r#""path":"/v1/jobs""#) && line.contains("GET")
}

async fn says(node: &Node, words: &str) {
    poll::until(&format!("`{words}`"), SOON, || async { node.log().contains(words) }).await.unwrap();
}
