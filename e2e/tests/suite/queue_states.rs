//! `/v1/queues` and `/v1/stats`: in jobs, not messages, and the same from each replica.

use std::time::Duration;

use bson::{Document, doc};
use e2e::{App, Gate, NewJob};
use serde_json::{Value, json};
use stack::{Stack, poll};

const SOON: Duration = Duration::from_secs(120);

async fn queue(app: &App, name: &str) -> Value {
    app.get(&format!("/v1/queues/{name}")).await.expect(200).json()
}

fn exactly(count: u64) -> Value {
    json!({ "count": count, "exact": true })
}

#[tokio::test]
async fn jobs_that_wait_are_counted_by_priority() {
    let app = App::start(Stack::builder().api(2).workers(1)).await;
    let mut jobs = Vec::new();
    for priority in ["low", "high", "high", "normal", "high"] {
        jobs.push(app.create(&NewJob::noop().queue("unserved").with("priority", priority)).await);
    }
    let seen = queue(&app, "unserved").await;
    assert_eq!(
        seen["waiting"],
        json!({ "high": exactly(3), "normal": exactly(1), "low": exactly(1) }),
        "{seen}"
    );
    assert_eq!((&seen["running"], &seen["scheduled"]), (&exactly(0), &exactly(0)));
    let first = app.get(&format!("/v1/jobs/{}", jobs[0].id)).await.json();
    assert_eq!(seen["oldest_waiting_at"], first["created_at"]);
    assert!(seen["oldest_waiting_s"].as_f64().unwrap() >= 0.0);
    let stats = app.get("/v1/stats").await.expect(200).json();
    assert_eq!(stats["problems"], json!(["jobs wait in queue unserved, and no worker takes any from it"]));

    // One that is cancelled waits no more; the others do.
    app.post(&format!("/v1/jobs/{}/cancel", jobs[0].id), &json!({})).await;
    app.ended(&jobs[0]).await;
    let seen = queue(&app, "unserved").await;
    assert_eq!((&seen["waiting"]["low"], &seen["waiting"]["high"]), (&exactly(0), &exactly(3)));
    let second = app.get(&format!("/v1/jobs/{}", jobs[1].id)).await.json();
    assert_eq!(seen["oldest_waiting_at"], second["created_at"]);
}

#[tokio::test]
async fn what_runs_and_what_has_ended_is_known_to_every_replica() {
    let app = App::start(Stack::builder().api(2).workers(1).env("WORKER_FAULTS", true)).await;
    let gate = Gate::new();
    let held = app.running(&app.create(&gate.job()).await).await;
    let failing = app.create(&NewJob::fault(&["fail"])).await;
    let done = app.create_many(&NewJob::noop(), 20).await;
    app.all_ended(&done).await;
    app.ended(&failing).await;
    for index in 0..2 {
        let replica = app.replica(index);
        let counted = || async {
            let seen = replica.get("/v1/queues/default").await.expect(200).json();
            let ended = (&seen["ended"]["finished"], &seen["ended"]["failed"], &seen["ended"]["cancelled"]);
            let is_so = ended == (&json!(20), &json!(1), &json!(0)) && seen["running"] == exactly(1);
            if is_so { Ok(()) } else { Err(seen.to_string()) }
        };
        poll::until("all ends to be known", SOON, counted).await.unwrap();
        let stats = replica.get("/v1/stats").await.expect(200).json();
        assert_eq!((&stats["running"], &stats["waiting"]), (&exactly(1), &exactly(0)), "{stats}");
        assert_eq!((&stats["ended"]["finished"], &stats["problems"]), (&json!(20), &json!([])), "{stats}");
    }
    let listed = app.get("/v1/queues").await.expect(200).json();
    assert_eq!(
        (&listed["queues"][0]["queue"], &listed["queues"][0]["workers"]),
        (&json!("default"), &json!(1))
    );
    let stats = app.get("/v1/stats").await.expect(200).json();
    let slots = (&stats["workers"], &stats["slots"], &stats["slots_used"]);
    assert_eq!(slots, (&json!(1), &json!(100), &json!(1)), "{stats}");
    gate.open();
    app.ended(&held).await;
    let idle = || async { queue(&app, "default").await["running"] == exactly(0) };
    poll::until("nothing to run", SOON, idle).await.unwrap();
}

#[tokio::test]
async fn many_are_counted_up_to_ten_thousand() {
    let app = App::start(Stack::builder().api(1).workers(0)).await;
    let job = app.create(&NewJob::noop().queue("many")).await;
    let jobs = app.jobs().await;
    let stored = jobs.find_one(doc! { "queue": "many" }).await.unwrap().unwrap();
    let like = |count: usize, status: &str| -> Vec<Document> {
        let another = |_| {
            let mut another = stored.clone();
            another.insert("_id", bson::Uuid::from_bytes(uuid::Uuid::now_v7().into_bytes()));
            another.insert("status", status);
            another
        };
        (0..count).map(another).collect()
    };
    jobs.insert_many(like(9_999, "queued")).await.unwrap();
    jobs.insert_many(like(700, "running")).await.unwrap();
    let seen = queue(&app, "many").await;
    assert_eq!((&seen["waiting"]["normal"], &seen["running"]), (&exactly(10_000), &exactly(700)), "{seen}");
    let first = app.get(&format!("/v1/jobs/{}", job.id)).await.json();
    assert_eq!(seen["oldest_waiting_at"], first["created_at"]);

    jobs.insert_many(like(1, "queued")).await.unwrap();
    let seen = queue(&app, "many").await;
    assert_eq!(seen["waiting"]["normal"], json!({ "count": 10_000, "exact": false }), "{seen}");
    let totals = || async {
        let stats = app.get("/v1/stats").await.expect(200).json();
        if stats["waiting"]["exact"] == false { Ok(stats) } else { Err(stats.to_string()) }
    };
    let stats = poll::until("the totals to be anew", SOON, totals).await.unwrap();
    assert_eq!((&stats["queues"], &stats["running"]), (&exactly(1), &exactly(700)), "{stats}");
}

#[tokio::test]
async fn queues_come_in_pages_in_order_of_their_names() {
    let app = App::start(Stack::builder().api(1).workers(0)).await;
    for name in ["c", "a", "d", "b", "e"] {
        app.create(&NewJob::noop().queue(name)).await;
    }
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("/v1/queues?page_size=2&page_token={token}")).await.expect(200).json();
        let queues = page["queues"].as_array().unwrap();
        assert!(queues.len() <= 2, "{page}");
        names.extend(queues.iter().map(|queue| queue["queue"].as_str().unwrap().to_owned()));
        token = page["next_page_token"].as_str().unwrap().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
    let nobody = queue(&app, "nobody-uses-this").await;
    assert_eq!(nobody["waiting"], json!({ "high": exactly(0), "normal": exactly(0), "low": exactly(0) }));
    app.get("/v1/queues/Not%20OK").await.expect(404);
    let wrong = app.get("/v1/queues?page_size=0&page_token=A").await.expect(400).problem();
    assert_eq!(wrong.fields(), ["page_size", "page_token"]);
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let app = App::start(Stack::builder().api(1).workers(0)).await;
    app.stack().nats().kill().await.unwrap();
    let said = || async {
        let stats = app.get("/v1/stats").await.expect(200).json();
        let is_said = stats["problems"].as_array().unwrap().contains(&json!("NATS does not answer"));
        if is_said { Ok(()) } else { Err(stats.to_string()) }
    };
    poll::until("the problem to be said", SOON, said).await.unwrap();
}
