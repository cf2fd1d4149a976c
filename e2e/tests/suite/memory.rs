//! Memory is bounded by bytes: however large the jobs and however long something stands still, no service takes more
//! than 300 MiB.

use std::fs;
use std::time::Duration;

use bson::doc;
use e2e::{Answer, App, NewJob};
use futures::{StreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};
use stack::{Node, Stack, poll};
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// The most that a process may have had in memory at any moment, in MiB.
const MOST_MIB: u64 = 300;
const MANY: usize = 600;
const LARGE: usize = 500 << 10;
/// A body of a batch, at most.
const BATCH: usize = 16 << 20;
const SOON: Duration = Duration::from_secs(120);

#[tokio::test]
async fn large_jobs_are_accepted_while_nats_hangs_then_listed_and_announced() {
    let app = App::start(Stack::builder().api(2).workers(1)).await;
    app.stack().nats().pause();
    accept(&app, &NewJob::noop().payload(json!({ "text": "x".repeat(LARGE) }))).await;
    is_within("accepted while NATS hangs", &app);

    assert_eq!(list(&app, "page_size=1000").await, [MANY]);
    is_within("listed", &app);
    let pages = list(&app, "page_size=1000&fields=payload,result").await;
    assert_eq!(pages.iter().sum::<usize>(), MANY);
    assert!(pages.iter().all(|jobs| *jobs > 0) && pages.len() > 10, "{pages:?}");
    is_within("listed with payloads", &app);

    app.stack().nats().resume();
    all_end(&app).await;
    is_within("announced and run", &app);
}

#[tokio::test]
async fn large_results_wait_for_the_api_service() {
    let app = App::start(Stack::builder().api(2).workers(1).env("WORKER_FAULTS", true)).await;
    app.stack().worker(0).terminate().await.unwrap();
    accept(&app, &NewJob::of_kind("fault").payload(json!({ "attempts": ["done"], "result_bytes": LARGE })))
        .await;
    let announced = || async { app.stored_jobs(doc! { "next_action": "check" }).await == MANY as u64 };
    poll::until("all to be announced", SOON, announced).await.unwrap();
    for api in app.stack().apis() {
        api.terminate().await.unwrap();
    }

    app.stack().worker(0).start().await.unwrap();
    let told = || async { app.stream("JOB_EVENTS").await.cached_info().state.messages >= MANY as u64 };
    poll::until("all results to be told", SOON, told).await.unwrap();
    for api in app.stack().apis() {
        api.start().await.unwrap();
    }
    all_end(&app).await;
    assert_eq!(list(&app, "page_size=1000").await, [MANY]);
    is_within("results told and applied", &app);
}

/// A batch that is sent again is answered without payloads and results, and single jobs are read one after the other
/// where they are large.
#[tokio::test]
async fn large_jobs_are_created_again_by_their_keys_read_by_many_and_cancelled_together() {
    let app = App::start(Stack::builder().api(1).workers(1).env("WORKER_FAULTS", true)).await;
    let job = |number: usize| {
        let payload = json!({ "attempts": ["done"], "result_bytes": LARGE });
        json!({ "kind": "fault", "payload": payload, "idempotency_key": format!("key-{number}") })
    };
    let body = json!({ "jobs": (0..MANY).map(job).collect::<Vec<_>>() }).to_string();
    let created = upload(&app, &body).await.expect(200).json();
    all_end(&app).await;
    is_within("results applied", &app);

    let again = upload(&app, &body).await.expect(200).json();
    for (first, again) in
        created["results"].as_array().unwrap().iter().zip(again["results"].as_array().unwrap())
    {
        assert_eq!((&again["status"], &again["replayed"]), (&json!(200), &json!(true)));
        assert_eq!(again["job"]["id"], first["job"]["id"]);
        assert!(again["job"].get("result").is_none() && again["job"]["status"] == "finished");
    }
    is_within("created again", &app);

    let reads = created["results"].as_array().unwrap().iter().map(|result| {
        let path = format!("/v1/jobs/{}", result["job"]["id"].as_str().unwrap());
        let app = &app;
        async move { again_without_room(|| app.get(&path)).await.expect(200).body.len() }
    });
    let read: Vec<usize> = stream::iter(reads).buffer_unordered(200).collect().await;
    assert!(read.len() == MANY && read.iter().all(|bytes| *bytes > LARGE));
    is_within("read by many", &app);

    cancelled_in_one_message(&app, &created).await;
    is_within("cancelled in one message", &app);
}

/// The cancels of all jobs as one message that holds a list, as a newer version may send it.
async fn cancelled_in_one_message(app: &App, created: &Value) {
    let cancel = |result: &Value| {
        let id = result["job"]["id"].as_str().unwrap();
        json!({
            "specversion": "1.0", "id": format!("{id}.1:cancel"), "source": "/hasty/api-service",
            "type": "job:cancel", "subject": id, "time": "2026-11-27T00:00:00Z",
            "data": { "job": id, "run": 1, "kind": "fault", "queue": "default", "reason": "requested" },
        })
    };
    let cancels: Vec<Value> = created["results"].as_array().unwrap().iter().map(cancel).collect();
    let jetstream = app.jetstream().await;
    let sent = jetstream.publish("job:cancel.default", serde_json::to_vec(&cancels).unwrap().into()).await;
    sent.unwrap().await.unwrap();
    let read = || async { app.stream("JOB_CONTROL").await.cached_info().state.messages == 0 };
    poll::until("the cancels to be read", SOON, read).await.unwrap();
}

/// Also nginx keeps none of them: its folder for bodies is not there.
#[tokio::test]
async fn ten_of_the_largest_uploads_come_at_once() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    let scratch = app.stack().folder().join("nginx/temp/body");
    fs::remove_dir_all(&scratch).unwrap();
    let jobs = BATCH / (LARGE + 100);
    let job = json!({ "kind": "noop", "queue": "nobody", "payload": { "text": "x".repeat(LARGE) } });
    let body = json!({ "jobs": vec![job; jobs] }).to_string();
    let uploads = (0..10).map(|_| upload(&app, &body));
    for answer in futures::future::join_all(uploads).await {
        let answer = answer.expect(200).json();
        let results = answer["results"].as_array().unwrap();
        assert!(results.len() == jobs && results.iter().all(|result| result["status"] == 201));
    }
    assert_eq!(app.stored_jobs(doc! {}).await, 10 * jobs as u64);
    assert!(!scratch.exists());
    is_within("ten uploads", &app);
}

/// A small request does not wait for room that large ones take: theirs are here, and stay unfinished.
#[tokio::test]
async fn a_small_request_does_not_wait_for_large_ones() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    let address = app.stack().url().trim_start_matches("http://").to_owned();
    let begun: Vec<_> = (0..8).map(|_| tokio::spawn(unfinished(address.clone()))).collect();
    let full = || async { upload_once(&app, &" ".repeat(BATCH - 1)).await.status == 503 };
    poll::until("the large ones to take all room", SOON, full).await.unwrap();
    app.create(&NewJob::noop().payload(json!({ "text": "x".repeat(LARGE) }))).await;
    begun.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_million_unknown_names_cost_little_and_a_hundred_are_named() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    let names = (0..1_000_000).map(|number| format!("\"u{number}\":1")).collect::<Vec<_>>().join(",");
    let answer = upload(&app, &format!("{{{names}}}")).await.expect(422);
    let problem = answer.problem();
    // One more says how many are not named.
    assert_eq!(problem.errors.len(), 100);
    assert!(problem.detail.unwrap().contains("999"), "{}", answer.body);

    let answer =
        upload(&app, &format!("{{\"jobs\":[{{\"kind\":\"noop\",{names}}},{{\"kind\":\"noop\"}}]}}")).await;
    let results = answer.expect(200).json()["results"].clone();
    assert_eq!((&results[0]["status"], &results[1]["status"]), (&json!(422), &json!(201)));
    assert_eq!(results[0]["error"]["errors"].as_array().unwrap().len(), 100);

    let zeros = format!("{{\"jobs\":[{}0]}}", "0,".repeat(BATCH / 2 - 100));
    upload(&app, &zeros).await.expect(422);
    is_within("a million names", &app);
}

/// Creates many of them, some at a time.
async fn accept(app: &App, job: &NewJob) {
    let accepted = stream::iter(0..MANY).map(|_| app.create(job)).buffer_unordered(16).count().await;
    assert_eq!(accepted, MANY);
}

async fn all_end(app: &App) {
    let ended = || async {
        let ended = app.stored_jobs(doc! { "status": "finished" }).await;
        if ended == MANY as u64 { Ok(()) } else { Err(format!("{ended} have ended")) }
    };
    poll::until("all to finish", SOON, ended).await.unwrap();
}

/// How many jobs each page of a list has.
async fn list(app: &App, query: &str) -> Vec<usize> {
    let (mut pages, mut token) = (Vec::new(), String::new());
    loop {
        let page: Value = app.get(&format!("/v1/jobs?{query}&page_token={token}")).await.expect(200).json();
        pages.push(page["jobs"].as_array().unwrap().len());
        page["next_page_token"].as_str().unwrap().clone_into(&mut token);
        if token.is_empty() {
            return pages;
        }
    }
}

async fn upload_once(app: &App, body: &str) -> Answer {
    let request = app.request(Method::POST, "/v1/jobs/batch").header("content-type", "application/json");
    app.send(request.body(body.to_owned())).await
}

/// Uploads a batch, again where it is told that there is no room.
async fn upload(app: &App, body: &str) -> Answer {
    again_without_room(|| upload_once(app, body)).await
}

/// Asks again where the answer is that there is no room: how soon there is depends on the machine.
async fn again_without_room<A: Future<Output = Answer>>(ask: impl Fn() -> A) -> Answer {
    let answered = || async {
        let answer = ask().await;
        if answer.status == 503 && answer.retry_after_s() > 0 { Err(answer.body) } else { Ok(answer) }
    };
    poll::until("room for a large request", SOON, answered).await.unwrap()
}

/// Sends half of a large body, and then nothing more.
async fn unfinished(address: String) {
    let mut connection = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /v1/jobs/batch HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {BATCH}\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    // The service reads on only when there is room for it.
    let _ = connection.write_all(&vec![b' '; BATCH / 2]).await;
    std::future::pending::<()>().await;
}

fn is_within(when: &str, app: &App) {
    let services = app.stack().apis().iter().chain(app.stack().workers());
    let peaks: Vec<(String, u64)> =
        services.map(|node: &Node| (node.name().to_owned(), peak_mib(node))).collect();
    eprintln!("{when}: {peaks:?}");
    assert!(peaks.iter().all(|(_, mib)| *mib < MOST_MIB), "{when}: {peaks:?}");
}

fn peak_mib(node: &Node) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.pid().unwrap())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}
