//! Schedules: `/v1/schedules`, and what they fire.

mod backfills;
mod day;
mod figures;
mod left_behind;
mod moved;
mod older;
mod overlap;
mod own_clock;
mod replicas;

use std::{collections::BTreeSet, time::Duration};

use e2e::{Answer, App, NewJob, Shared};
use reqwest::Method;
use serde_json::{Value, json};
use stack::{Stack, poll};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

static STACK: Shared = Shared::new(|| {
    Stack::builder()
        .api(2)
        .workers(1)
        .env("WORKER_FAULTS", true)
        .env("WORKER_QUEUES", "default")
        .env("LEASE_S", 2)
});

/// How long what is due soon may take.
const SOON: Duration = Duration::from_secs(60);

/// A schedule of noops.
fn of_noops(when: &Value) -> Value {
    of(&NewJob::noop(), when)
}

fn of(template: &NewJob, when: &Value) -> Value {
    let mut schedule = when.clone();
    schedule["template"] = json!(template);
    schedule
}

/// The moment so many milliseconds from now.
fn from_now(millis: i64) -> String {
    (OffsetDateTime::now_utc() + time::Duration::milliseconds(millis)).format(&Rfc3339).unwrap()
}

/// `PUT /v1/schedules/{id}` with `If-None-Match: *`.
async fn create(app: &App, id: &str, schedule: &Value) -> Value {
    let put = app.request(Method::PUT, &format!("/v1/schedules/{id}")).header("If-None-Match", "*");
    app.send(put.json(schedule)).await.expect(201).json()
}

async fn ask(app: &App, method: Method, id: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
    let mut request = app.request(method, &format!("/v1/schedules/{id}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.send(body.into_iter().fold(request, reqwest::RequestBuilder::json)).await
}

async fn patch(app: &App, id: &str, change: &Value) -> Value {
    ask(app, Method::PATCH, id, &[], Some(change)).await.expect(200).json()
}

/// All firings of a schedule, the latest due first.
async fn firings(app: &App, id: &str) -> Vec<Value> {
    list(app, &format!("/v1/schedules/{id}/firings?page_size=7"), "firings").await
}

/// All jobs of a schedule, newest first.
async fn jobs(app: &App, id: &str) -> Vec<Value> {
    list(app, &format!("/v1/jobs?schedule={id}&page_size=9"), "jobs").await
}

/// All pages of a list.
async fn list(app: &App, path: &str, name: &str) -> Vec<Value> {
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("{path}&page_token={token}")).await.expect(200).json();
        all.extend(page[name].as_array().unwrap().clone());
        page["next_page_token"].as_str().unwrap().clone_into(&mut token);
        if token.is_empty() {
            return all;
        }
    }
}

fn in_status<'a>(firings: &'a [Value], status: &str) -> Vec<&'a Value> {
    firings.iter().filter(|firing| firing["status"] == status).collect()
}

/// Waits until so many firings stand so; all of them.
async fn until_in_status(app: &App, id: &str, status: &str, count: usize) -> Vec<Value> {
    let look = || async {
        let firings = firings(app, id).await;
        if in_status(&firings, status).len() >= count { Ok(firings) } else { Err(json!(firings).to_string()) }
    };
    poll::until(&format!("{count} {status} of {id}"), SOON, look)
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Each firing that fired has one job, and each job is that of one firing.
async fn each_has_one_job(app: &App, id: &str) {
    let firings = firings(app, id).await;
    let fired = in_status(&firings, "fired");
    let of_firings: BTreeSet<&str> = fired.iter().map(|firing| firing["job_id"].as_str().unwrap()).collect();
    assert_eq!(of_firings.len(), fired.len(), "{firings:?}");
    let jobs = jobs(app, id).await;
    let of_jobs: BTreeSet<&str> = jobs.iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!((of_jobs.len(), &of_jobs), (jobs.len(), &of_firings));
    let due: BTreeSet<&str> = fired.iter().map(|firing| firing["due_at"].as_str().unwrap()).collect();
    let of_jobs: BTreeSet<&str> = jobs.iter().map(|job| job["due_at"].as_str().unwrap()).collect();
    assert_eq!(due, of_jobs);
}

#[tokio::test]
async fn a_schedule_is_created_read_changed_and_deleted() {
    let app = STACK.app().await;
    let wanted =
        of(&NewJob::noop().queue("nobody"), &json!({ "cron": "30 2 * * MON", "time_zone": "Europe/Berlin" }));
    let answer = app.post("/v1/schedules", &wanted).await.expect(201);
    let schedule = answer.json();
    let (id, tag) = (schedule["id"].as_str().unwrap(), answer.header("etag").unwrap());
    assert_eq!(answer.header("location"), Some(format!("/v1/schedules/{id}").as_str()));
    assert_eq!((&schedule["cron"], &schedule["template"]), (&wanted["cron"], &wanted["template"]));
    assert_eq!(
        (&schedule["catch_up_s"], &schedule["overlap"], &schedule["paused"]),
        (&json!(60), &json!("allow"), &json!(false))
    );
    let read = ask(&app, Method::GET, id, &[], None).await.expect(200);
    assert_eq!((read.json(), read.header("etag")), (schedule.clone(), Some(tag)));
    ask(&app, Method::GET, id, &[("If-None-Match", tag)], None).await.expect(304);

    // As a proxy that compresses weakens it.
    let weak = format!("W/{tag}");
    let change = json!({ "time_zone": null, "catch_up_s": 5, "template": { "payload": { "a": 1.50 } } });
    let changed =
        ask(&app, Method::PATCH, id, &[("If-Match", &weak)], Some(&change)).await.expect(200).json();
    assert!(changed.get("time_zone").is_none());
    assert_eq!((&changed["catch_up_s"], &changed["template"]["queue"]), (&json!(5), &json!("nobody")));
    assert_eq!((&changed["uid"], &changed["created_at"]), (&schedule["uid"], &schedule["created_at"]));
    for method in [Method::PATCH, Method::DELETE] {
        let body = Some(&change).filter(|_| method == Method::PATCH);
        let refused = ask(&app, method, id, &[("If-Match", tag)], body).await.expect(412);
        assert_eq!(refused.problem().code, "precondition_failed");
    }
    let put = of_noops(&json!({ "every_s": 3600 }));
    let replaced = ask(&app, Method::PUT, id, &[], Some(&put)).await.expect(200).json();
    assert_eq!((&replaced["every_s"], replaced.get("cron")), (&json!(3600), None));
    assert_eq!(ask(&app, Method::PUT, id, &[("If-None-Match", "*")], Some(&put)).await.status, 412);

    ask(&app, Method::DELETE, id, &[], None).await.expect(204);
    for path in ["", "/next", "/firings"] {
        let problem = app.get(&format!("/v1/schedules/{id}{path}")).await.expect(404).problem();
        assert_eq!(problem.code, "schedule_not_found");
    }
    assert_eq!(ask(&app, Method::PUT, id, &[], Some(&put)).await.status, 404);
    // The id is free again, for another one.
    let again = create(&app, id, &put).await;
    assert_ne!(again["uid"], schedule["uid"]);
    ask(&app, Method::DELETE, id, &[], None).await.expect(204);
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let app = STACK.app().await;
    for (body, fields) in [
        (json!({}), &["template", "cron"][..]),
        (
            json!({ "cron": "@daily", "template": { "kind": "NO", "shoe": 1 } }),
            &["template.kind", "template.shoe"],
        ),
        (
            json!({ "cron": "@daily", "template": { "kind": "sleep", "payload": { "min_s": "x" } } }),
            &["template.payload.min_s"],
        ),
        (
            json!({ "cron": "61 * * * *", "time_zone": "Mars", "template": { "kind": "noop" } }),
            &["cron", "time_zone"],
        ),
        (json!({ "cron": "0 0 30 2 *", "template": { "kind": "noop" } }), &["cron"]),
        (json!({ "every_s": 1, "at": from_now(0), "template": { "kind": "noop" } }), &["at"]),
        (json!({ "every_s": 1, "moon": 1, "template": { "kind": "noop" } }), &["moon"]),
    ] {
        let answer = app.post("/v1/schedules", &body).await.expect(422);
        assert_eq!(
            (answer.problem().code.as_str(), answer.problem().fields()),
            ("invalid_field", fields.to_vec()),
            "{body}"
        );
    }
    create(&app, "to-change", &of_noops(&json!({ "every_s": 3600 }))).await;
    let answer =
        ask(&app, Method::PATCH, "to-change", &[], Some(&json!({ "template": { "kind": null } }))).await;
    assert_eq!(answer.expect(422).problem().fields(), ["template.kind"]);
    for path in ["preview", "a%20b"] {
        assert_eq!(ask(&app, Method::PUT, path, &[], Some(&json!({}))).await.status / 100, 4, "{path}");
    }
}

#[tokio::test]
async fn lists_have_pages_and_filters() {
    let app = STACK.app().await;
    for (id, queue, paused) in
        [("list-a", "list-q", true), ("list-b", "list-q", false), ("list-c", "list-r", true)]
    {
        let when = json!({ "every_s": 3600, "paused": paused });
        create(&app, id, &of(&NewJob::noop().queue(queue), &when)).await;
    }
    let ids = async |query: &str| {
        let all = list(&app, &format!("/v1/schedules?page_size=1&{query}"), "schedules").await;
        all.iter().map(|schedule| schedule["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids("queue=list-q").await, ["list-b", "list-a"]);
    assert_eq!(ids("queue=list-q&activity=paused").await, ["list-a"]);
    assert_eq!(ids("queue=list-r&kind=noop&activity=paused").await, ["list-c"]);
    assert_eq!(ids("queue=list-r&kind=sleep").await, [""; 0]);
}

#[tokio::test]
async fn a_rule_is_previewed_and_the_next_times_are_told() {
    let app = STACK.app().await;
    let rule = json!({ "cron": "30 2 * * *", "time_zone": "Europe/Berlin" });
    let preview =
        app.post("/v1/schedules/preview?count=3&after=2026-03-28T00:00:00Z", &rule).await.expect(200).json();
    assert_eq!(
        preview,
        json!({
            "meaning": "At 02:30 (Europe/Berlin)",
            "fixed_times": true,
            // In the night of the 29th the clocks went forward over it.
            "times": ["2026-03-28T01:30:00.000Z", "2026-03-29T01:00:00.000Z", "2026-03-30T00:30:00.000Z"],
        })
    );
    let wrong = app.post("/v1/schedules/preview", &json!({ "cron": "x", "template": {} })).await.expect(422);
    assert_eq!(wrong.problem().fields(), ["cron", "template"]);
    create(
        &app,
        "next",
        &of_noops(&json!({ "cron": "@daily", "paused": true, "ends_at": "2030-01-02T00:00:00Z" })),
    )
    .await;
    let next = app.get("/v1/schedules/next/next?after=2029-12-31T12:00:00Z").await.expect(200).json();
    assert_eq!(next, json!({ "times": ["2030-01-01T00:00:00.000Z", "2030-01-02T00:00:00.000Z"] }));
}

#[tokio::test]
async fn it_fires_at_its_times_and_each_firing_has_one_job() {
    let app = STACK.app().await;
    let start = from_now(-10_000);
    let when = json!({ "every_s": 1, "starts_at": start, "max_firings": 5 });
    create(&app, "ticks", &of_noops(&when)).await;
    let firings = until_in_status(&app, "ticks", "fired", 5).await;
    for firing in in_status(&firings, "fired") {
        assert_eq!(firing["origin"], "clock");
    }
    // Nothing that was due before it was there.
    let schedule = ask(&app, Method::GET, "ticks", &[], None).await.expect(200).json();
    let created = schedule["created_at"].as_str().unwrap();
    assert!(firings.iter().all(|firing| firing["due_at"].as_str().unwrap() > created), "{firings:?}");
    // Not more often than it may.
    let skipped = until_in_status(&app, "ticks", "skipped", 1).await;
    assert_eq!(in_status(&skipped, "skipped")[0]["reason"], "max_firings");
    assert_eq!(in_status(&skipped, "fired").len(), 5);
    each_has_one_job(&app, "ticks").await;
    let job = &jobs(&app, "ticks").await[0];
    assert_eq!((&job["schedule"], &job["kind"]), (&json!("ticks"), &json!("noop")));
    ask(&app, Method::DELETE, "ticks", &[], None).await.expect(204);
}

#[tokio::test]
async fn a_trigger_fires_now_and_once_for_a_key() {
    let app = STACK.app().await;
    create(&app, "by-hand", &of_noops(&json!({ "cron": "@yearly", "paused": true }))).await;
    let trigger = async |key: &str| {
        let request =
            app.request(Method::POST, "/v1/schedules/by-hand/trigger").header("X-Request-Id", "who");
        app.send(request.header("Idempotency-Key", key)).await
    };
    let first = trigger("a").await.expect(201).json();
    assert_eq!(
        (&first["origin"], &first["status"], &first["request_id"]),
        (&json!("trigger"), &json!("fired"), &json!("who"))
    );
    let again = trigger("a").await.expect(200);
    assert_eq!((again.header("idempotent-replayed"), again.json()), (Some("true"), first));
    trigger("b").await.expect(201);
    app.send(app.request(Method::POST, "/v1/schedules/by-hand/trigger")).await.expect(201);
    assert_eq!(firings(&app, "by-hand").await.len(), 3);
    each_has_one_job(&app, "by-hand").await;
}

#[tokio::test]
async fn one_that_is_paused_does_not_fire_and_does_not_make_up_for_it() {
    let app = STACK.app().await;
    create(&app, "paused", &of_noops(&json!({ "every_s": 1 }))).await;
    until_in_status(&app, "paused", "fired", 1).await;
    let paused = patch(&app, "paused", &json!({ "paused": true })).await;
    // A schedule beside it, later: what this one would have fired by then, it would have fired before.
    create(&app, "beside", &of_noops(&json!({ "every_s": 1, "max_firings": 3 }))).await;
    until_in_status(&app, "beside", "fired", 3).await;
    let resumed = patch(&app, "paused", &json!({ "paused": false })).await;
    let before = firings(&app, "paused").await.len();
    let after = until_in_status(&app, "paused", "fired", before + 1).await;
    let (from, to) = (paused["updated_at"].as_str().unwrap(), resumed["updated_at"].as_str().unwrap());
    let meanwhile = |firing: &&Value| (from..to).contains(&firing["due_at"].as_str().unwrap());
    assert_eq!(after.iter().filter(meanwhile).count(), 0, "{from} {to} {after:?}");
    for id in ["paused", "beside"] {
        ask(&app, Method::DELETE, id, &[], None).await.expect(204);
    }
}
