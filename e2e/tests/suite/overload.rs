//! More requests at once than can be worked on: who is told to come again, and who is not.

use std::time::Duration;

use e2e::{Answer, App, NewJob};
use futures::stream::{FuturesUnordered, StreamExt};
use serde_json::json;
use stack::Stack;
use tokio::time::timeout;

/// How many requests that create jobs nginx lets through at once: `nginx/server.conf`.
const LET_THROUGH: usize = 1024;

/// How many more are sent.
const BEYOND: usize = 60;

const SOON: Duration = Duration::from_secs(120);

fn is_told_to_come_again(answer: &Answer) -> bool {
    answer.status == 503 && answer.problem().code == "overloaded" && answer.retry_after_s() > 0
}

#[tokio::test]
async fn beyond_what_nginx_lets_through_jobs_are_refused_and_connections_are_kept() {
    let app = App::start(Stack::builder().api(2).workers(0)).await;
    for replica in 0..2 {
        assert!(app.stack().api(replica).pause());
    }
    let job = NewJob::noop();
    let mut creating: FuturesUnordered<_> = (0..LET_THROUGH + BEYOND).map(|_| app.try_create(&job)).collect();
    for _ in 0..BEYOND {
        let answer = timeout(SOON, creating.next()).await.expect("an answer").unwrap();
        assert!(is_told_to_come_again(&answer), "{answer:?}");
        assert_eq!(answer.header("connection"), Some("keep-alive"));
    }
    // Those that wait for a job's end, and all that is not to create one, have room of their own.
    let noop = json!({ "kind": "noop" });
    let resume = async {
        for replica in 0..2 {
            assert!(app.stack().api(replica).resume());
        }
    };
    let (waits, reads, ()) = tokio::join!(app.post("/v1/jobs?wait_s=1", &noop), app.get("/v1/jobs"), resume);
    assert_eq!(reads.status, 200);
    let mut created = usize::from(waits.status == 201);
    assert!(created == 1 || is_told_to_come_again(&waits), "{waits:?}");
    while let Some(answer) = timeout(SOON, creating.next()).await.expect("an answer") {
        assert!(answer.status == 201 || is_told_to_come_again(&answer), "{answer:?}");
        created += usize::from(answer.status == 201);
    }
    assert!(created > 0);
    assert_eq!(app.stored_jobs(bson::doc! { "kind": "noop" }).await, created as u64);
}
