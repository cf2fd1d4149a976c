//! Schedules that are taken in from an export go on where they were: nothing fires twice, nothing is lost.

use hasty::fsck;
use lab::endpoints;

use super::*;

async fn exported(app: &App) -> Vec<Value> {
    let answer = app.get("/v1/export?what=jobs,schedules").await.expect(200);
    answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What became of each line.
async fn take_in(app: &App, lines: &[Value]) -> Vec<Value> {
    let body = lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    let request = app.request(Method::POST, "/v1/import").header("Content-Type", "application/x-ndjson");
    app.send(request.body(body)).await.expect(200).json()["results"].as_array().unwrap().clone()
}

fn statuses(results: &[Value]) -> Vec<u64> {
    results.iter().map(|result| result["status"].as_u64().unwrap()).collect()
}

async fn fired(app: &App, id: &str, count: usize) -> Vec<Value> {
    let look = || async {
        let fired =
            firings(app, id).await.into_iter().filter(|one| one["status"] == "fired").collect::<Vec<_>>();
        if fired.len() == count { Ok(fired) } else { Err(format!("{fired:?}")) }
    };
    poll::until("the firings", SOON, look).await.unwrap()
}

fn names(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line.as_object().unwrap().keys().next().unwrap().as_str()).collect()
}

#[tokio::test]
async fn what_has_fired_does_not_fire_again_elsewhere() {
    let without_workers = || Stack::builder().api(2).workers(0);
    let (from, to) = (App::start(without_workers()).await, App::start(without_workers()).await);
    create(&from, "hourly", &of_noops(&json!({ "cron": "@hourly", "max_firings": 2, "overlap": "allow" })))
        .await;
    let span = json!({ "from": from_now(-3 * 3_600_000), "to": from_now(0) });
    let asked = from.post("/v1/schedules/hourly/backfill", &span).await.expect(202).json();
    assert_eq!((&asked["firing"], &asked["skipped"]), (&json!(2), &json!(1)), "{asked}");
    fired(&from, "hourly", 2).await;
    let by_hand = |app: &App| {
        let path = "/v1/schedules/hourly/trigger";
        app.request(Method::POST, path).header("Idempotency-Key", "release-7")
    };
    let triggered = from.send(by_hand(&from)).await.expect(201).json();

    let lines = exported(&from).await;
    assert_eq!(
        names(&lines),
        ["schedule", "firing", "firing", "firing", "firing", "job", "job", "job", "end"]
    );
    assert_eq!(lines[8]["end"], json!({ "schedules": 1, "firings": 4, "jobs": 3, "unreadable": 0 }));
    let results = take_in(&to, &lines).await;
    assert_eq!(statuses(&results), [201, 201, 201, 201, 201, 201, 201, 201, 200], "{results:?}");

    let same = |path: &'static str| {
        let (from, to) = (&from, &to);
        async move { (from.get(path).await.expect(200).json(), to.get(path).await.expect(200).json()) }
    };
    let (there, here) = same("/v1/schedules/hourly").await;
    assert_eq!(there, here);
    assert_eq!(firings(&from, "hourly").await, firings(&to, "hourly").await);
    let ids = |jobs: Vec<Value>| jobs.iter().map(|job| job["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(jobs(&from, "hourly").await), ids(jobs(&to, "hourly").await));

    let again = to.post("/v1/schedules/hourly/backfill", &span).await.expect(202).json();
    assert_eq!((&again["firing"], &again["before"], &again["skipped"]), (&json!(0), &json!(2), &json!(1)));
    let same_trigger = to.send(by_hand(&to)).await.expect(200).json();
    assert_eq!(same_trigger["job_id"], triggered["job_id"]);
    assert_eq!(jobs(&to, "hourly").await.len(), 3);
    assert_eq!(statuses(&take_in(&to, &lines).await), [200; 9], "the same lines again change nothing");
    let report = fsck::check(&endpoints(to.stack())).await.unwrap();
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn what_was_not_fired_yet_fires_elsewhere() {
    let app = STACK.app().await;
    create(&app, "to-move", &of_noops(&json!({ "at": from_now(3_600_000) }))).await;
    let lines = exported(&app).await;
    let line = lines.iter().find(|line| line["schedule"]["id"] == "to-move").unwrap().clone();
    let moved = |id: &str, uid: &str| {
        let mut line = line.clone();
        line["schedule"]["id"] = id.into();
        line["schedule"]["uid"] = uid.into();
        line
    };
    // It was due while nobody was there.
    let mut due = moved("moved-due", "01938a5e-7c00-7000-8000-0000000000a1");
    due["schedule"]["since"] = from_now(-60_000).into();
    due["schedule"]["decided_until"] = from_now(-60_000).into();
    due["schedule"]["at"] = from_now(-10_000).into();
    due["schedule"]["catch_up_s"] = 3600.into();
    // It was decided, and its job was not there.
    let (uid, job) = ("01938a5e-7c00-7000-8000-0000000000a2", hasty_client::JobId::generate());
    let decided = moved("moved-decided", uid);
    let firing = json!({ "firing": {
        "id": format!("{}.5000", uid.replace('-', "")), "uid": uid, "schedule": "moved-decided", "job_id": job,
        "due_at": "1970-01-01T00:00:05Z", "origin": "clock", "status": "decided", "decided_at": from_now(0),
        "give_up_at": from_now(600_000),
    } });
    assert_eq!(statuses(&take_in(&app, &[due, decided, firing]).await), [201; 3]);
    let [fired_late] = &fired(&app, "moved-due", 1).await[..] else { panic!() };
    assert_eq!(fired_late["origin"], "catch_up");
    let [after_all] = &fired(&app, "moved-decided", 1).await[..] else { panic!() };
    assert_eq!(after_all["job_id"], json!(job));
    assert_eq!(jobs(&app, "moved-decided").await.len(), 1);
}

#[tokio::test]
async fn a_line_of_another_schedule_of_that_name_is_refused_by_itself() {
    let app = STACK.app().await;
    create(&app, "mine", &of_noops(&json!({ "at": from_now(3_600_000) }))).await;
    let lines = exported(&app).await;
    let mut other = lines.iter().find(|line| line["schedule"]["id"] == "mine").unwrap().clone();
    let same = other.clone();
    other["schedule"]["uid"] = "01938a5e-7c00-7000-8000-0000000000b1".into();
    let mut wrong = same.clone();
    wrong["schedule"]["template"]["queue"] = "NO".into();
    wrong["schedule"]["uid"] = "x".into();
    let results = take_in(&app, &[other, same, wrong]).await;
    assert_eq!(statuses(&results), [409, 200, 422], "{results:?}");
    assert_eq!(results[0]["error"]["code"], "schedule_id_taken");
    let fields = results[2]["error"]["errors"].as_array().unwrap();
    let fields: Vec<&str> = fields.iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["schedule.template.queue", "schedule.uid"]);
}
