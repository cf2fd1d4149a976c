//! `GET /v1/workers`: who works, as each replica of the api-service hears it.

use std::time::Duration;

use e2e::{App, Client, Gate, NewJob, WorkerList, WorkerView};
use stack::{Node, Stack, poll};

const SOON: Duration = Duration::from_secs(60);

/// A worker that says nothing any more is gone after ten seconds: whoever goes sooner has said so.
const AT_ONCE: Duration = Duration::from_secs(5);

pub(crate) async fn workers(client: &Client) -> WorkerList {
    client.get("/v1/workers").await.expect(200).read()
}

/// Waits until a replica shows what is looked for.
pub(crate) async fn shows<T>(
    client: &Client,
    what: &str,
    within: Duration,
    look: impl Fn(&WorkerList) -> Option<T>,
) -> T {
    let look = || async {
        let list = workers(client).await;
        look(&list).ok_or_else(|| format!("{list:?}"))
    };
    poll::until(what, within, look).await.unwrap()
}

/// Waits until a replica shows this worker, and it is as it is looked for.
pub(crate) async fn shows_worker(
    client: &Client,
    node: &Node,
    what: &str,
    is_so: impl Fn(&WorkerView) -> bool,
) -> WorkerView {
    let pid = node.pid().unwrap();
    let find = |list: &WorkerList| {
        list.workers.iter().find(|worker| worker.is(pid)).filter(|worker| is_so(worker)).cloned()
    };
    shows(client, &format!("{} to be {what}", node.name()), SOON, find).await
}

async fn are(client: &Client, count: usize, within: Duration) -> WorkerList {
    let all = |list: &WorkerList| (list.workers.len() == count).then(|| list.clone());
    shows(client, &format!("{count} workers"), within, all).await
}

#[tokio::test]
async fn each_replica_shows_all_workers_and_what_they_do() {
    let builder = Stack::builder().api(2).workers(2).env("WORKER_FAULTS", true).env("WORKER_CONCURRENCY", 7);
    let mut app = App::start(builder.worker_env(1, "WORKER_QUEUES", "mail,post")).await;
    let (gate, mail) = (Gate::new(), app.stack().worker(1).clone());
    app.running(&app.create(&gate.job().queue("mail")).await).await;
    for replica in [app.replica(0), app.replica(1)] {
        let list = are(&replica, 2, SOON).await;
        assert!(list.age_s < 10.0, "{list:?}");
        let worker = shows_worker(&replica, &mail, "busy", |worker| worker.slots_used == 1).await;
        assert_eq!((worker.slots, worker.state.as_str()), (7, "running"));
        assert_eq!(
            (worker.attempts_per_minute, worker.queues),
            (1, vec!["mail".to_owned(), "post".to_owned()])
        );
        for kind in ["fault", "noop", "sleep"] {
            assert!(worker.kinds.iter().any(|known| known == kind), "{kind}");
        }
        assert!(worker.id.starts_with(&worker.host) && !worker.version.is_empty());
        assert!(worker.since <= worker.last_seen);
    }
    gate.open();
    shows_worker(&app, &mail, "idle", |worker| worker.slots_used == 0).await;

    let late = app.add_worker().await;
    // A new replica hears the same within two seconds.
    app.stack().api(1).restart().await.unwrap();
    for replica in [app.replica(0), app.replica(1)] {
        are(&replica, 3, SOON).await;
        shows_worker(&replica, &late, "there", |worker| worker.queues == ["default"]).await;
    }
}

#[tokio::test]
async fn a_worker_that_ends_is_gone_at_once_and_one_that_dies_within_fifteen_seconds() {
    let app = App::start(Stack::builder().api(1).workers(3).env("WORKER_FAULTS", true)).await;
    let first = are(&app, 3, SOON).await;
    let started: Vec<_> = first.workers.iter().map(|worker| worker.since).collect();
    assert!(started.is_sorted(), "who has run longest comes first: {started:?}");

    let (stopped, killed) = (app.stack().worker(0), app.stack().worker(1));
    stopped.terminate().await.unwrap();
    are(&app, 2, AT_ONCE).await;
    killed.kill().await.unwrap();
    let list = are(&app, 1, Duration::from_secs(15)).await;
    assert!(list.workers[0].is(app.stack().worker(2).pid().unwrap()));

    // The same place, another worker.
    stopped.start().await.unwrap();
    are(&app, 2, SOON).await;
}

#[tokio::test]
async fn while_a_worker_finishes_what_it_has_it_is_shown_as_stopping() {
    let app = App::start(Stack::builder().api(1).workers(1).env("WORKER_FAULTS", true)).await;
    let (gate, worker) = (Gate::new(), app.stack().worker(0));
    app.running(&app.create(&gate.job()).await).await;
    worker.signal(stack::Signal::SIGTERM);
    shows_worker(&app, worker, "stopping", |worker| worker.state == "stopping").await;
    gate.open();
    assert_eq!(worker.wait().await.unwrap().code(), Some(0));
    are(&app, 0, AT_ONCE).await;
}

#[tokio::test]
async fn while_nats_is_away_nobody_goes_and_the_answer_says_how_old_it_is() {
    let app = App::start(Stack::builder().api(1).workers(2)).await;
    let before = are(&app, 2, SOON).await;
    app.stack().nats().kill().await.unwrap();
    app.stack().worker(1).kill().await.unwrap();
    // Longer than a silent worker is shown while others are heard.
    let list = shows(&app, "an old answer", SOON, |list| (list.age_s > 12.0).then(|| list.clone())).await;
    assert_eq!(list.workers.len(), 2);
    assert!(list.as_of >= before.as_of && list.workers.iter().all(|worker| worker.last_seen <= list.as_of));

    // What can not be heard can not be told anything.
    let id = &list.workers[0].id;
    let problem = app.post(&format!("/v1/workers/{id}/drain"), &serde_json::json!({})).await.expect(503);
    assert_eq!(problem.problem().code, "worker_silent");

    app.stack().nats().start().await.unwrap();
    shows(&app, "a fresh answer", SOON, |list| (list.age_s < 3.0).then_some(())).await;
    let list = are(&app, 1, SOON).await;
    assert!(list.workers[0].is(app.stack().worker(0).pid().unwrap()), "{list:?}");
    app.ended(&app.create(&NewJob::noop()).await).await;
}
