//! The users and permissions of `nats/users.conf`: they suffice for a whole life, and a right that is missing is seen.

use std::time::Duration;

use async_nats::ConnectOptions;
use e2e::App;
use stack::{Node, Stack, broker, poll};

const SOON: Duration = Duration::from_secs(120);

/// Every test that has an [`App`] ends with the question whether NATS refused anything.
#[tokio::test]
#[should_panic(expected = "NATS refused a service what it needs")]
async fn whatever_is_refused_to_a_service_fails_the_test() {
    let app = App::start(Stack::builder().api(0).workers(0)).await;
    let nats = app.stack().nats();
    let api = service(nats, "api-service", "loopback-api").await;
    api.publish("job:finished.default", "of others".into()).await.unwrap();
    poll::until("the refusal", SOON, || async { nats.log().contains("Violation") }).await.unwrap();
}

#[tokio::test]
async fn a_service_may_neither_write_nor_remove_what_is_not_its_own() {
    let stack = Stack::builder().api(1).workers(1).start().await.unwrap();
    let nats = stack.nats();
    let api = service(nats, "api-service", "loopback-api").await;
    let job = service(nats, "job-service", "loopback-job").await;
    let refused = [
        (&api, "job:finished.default"),
        (&api, "$JS.API.STREAM.PURGE.JOBS"),
        (&api, "$JS.API.STREAM.DELETE.JOB_EVENTS"),
        (&job, "job:created.default.normal"),
        (&job, "$JS.API.STREAM.PURGE.JOB_EVENTS"),
        (&job, "$JS.API.STREAM.DELETE.JOBS"),
    ];
    for (client, subject) in refused {
        client.publish(subject, "{}".into()).await.unwrap();
        let said = || async { nats.log().lines().iter().any(|line| is_refusal(line, subject)) };
        poll::until(&format!("the refusal of {subject}"), SOON, said).await.unwrap();
    }
    stack.stop().await.unwrap();
}

fn is_refusal(line: &str, subject: &str) -> bool {
    line.contains("Publish Violation") && line.contains(subject)
}

async fn service(nats: &Node, user: &str, password: &str) -> async_nats::Client {
    let address = nats.url().rsplit_once('@').unwrap().1;
    broker::connect_with(&format!("nats://{user}:{password}@{address}"), ConnectOptions::new()).await.unwrap()
}
