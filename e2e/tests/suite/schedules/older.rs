//! The older scheduler's clients: `/api/v1/schedule`.

use super::*;

const PATH: &str = "/api/v1/schedule";

/// A moment so many minutes from now, as that scheduler has it.
fn moment(minutes: i64) -> Value {
    let at = OffsetDateTime::now_utc() + time::Duration::minutes(minutes);
    json!([at.year(), u8::from(at.month()), at.day(), at.hour(), at.minute()])
}

async fn change(app: &App, method: Method, id: &str, body: &Value) -> Answer {
    app.send(app.request(method, &format!("{PATH}/{id}")).json(body)).await
}

#[tokio::test]
async fn an_older_schedule_is_created_shown_changed_and_marked_as_deleted() {
    let app = STACK.app().await;
    let wanted =
        json!({ "docker-image": "alpine", "cron": moment(60), "command": "echo done", "moon": "full" });
    let created = app.post(PATH, &wanted).await.expect(201).json();
    let id = created["_id"].as_str().unwrap();
    for field in ["docker-image", "cron", "command"] {
        assert_eq!(created[field], wanted[field]);
    }
    assert_eq!((&created["status"], &created["client-id"]), (&json!("created"), &json!("anonymous")));
    assert_eq!(app.get(&format!("{PATH}/{id}")).await.expect(200).json(), created);

    let patched =
        change(&app, Method::PATCH, id, &json!({ "command": ["echo", "a b"] })).await.expect(200).json();
    assert_eq!((&patched["command"], &patched["cron"]), (&json!(["echo", "a b"]), &wanted["cron"]));
    let put = json!({ "docker-image": "busybox", "cron": moment(90) });
    let replaced = change(&app, Method::PUT, id, &put).await.expect(200).json();
    assert_eq!((&replaced["docker-image"], replaced.get("command")), (&json!("busybox"), None));
    let listed = app.get(PATH).await.expect(200).json();
    assert!(listed.as_array().unwrap().contains(&replaced), "{listed}");
    // It is a schedule as any other.
    let schedule = app.get(&format!("/v1/schedules/{id}")).await.expect(200).json();
    assert_eq!(schedule["template"], json!({ "kind": "container", "payload": { "image": "busybox" } }));

    let deleted = app.send(app.request(Method::DELETE, &format!("{PATH}/{id}"))).await.expect(200).json();
    assert_eq!(deleted["status"], "deleted");
    assert!(deleted["deleted-at"].is_string());
    assert_eq!(app.get(&format!("{PATH}/{id}")).await.expect(200).json(), deleted);
    change(&app, Method::PATCH, id, &json!({ "command": "x" })).await.expect(404);
    app.get(&format!("/v1/schedules/{id}")).await.expect(404);
    app.get(&format!("{PATH}/nobody")).await.expect(404);
}

#[tokio::test]
async fn a_date_that_is_none_or_past_is_refused_by_its_field() {
    let app = STACK.app().await;
    for (body, fields) in [
        (json!({ "docker-image": "a", "cron": moment(-2) }), &["cron"][..]),
        (json!({ "docker-image": "a", "cron": [2027, 2, 29, 0, 0] }), &["cron"]),
        (json!({ "docker-image": "a", "cron": [2027, 2] }), &["cron"]),
        (
            json!({ "docker-image": "", "cron": "tomorrow", "command": 7 }),
            &["docker-image", "cron", "command"],
        ),
        (json!({ "docker-image": "no image", "cron": moment(60), "command": "a\0" }), &["docker-image"]),
        (json!({ "docker-image": "a", "cron": moment(60), "command": ["a\0"] }), &["command"]),
        (json!({}), &["docker-image", "cron"]),
    ] {
        let answer = app.post(PATH, &body).await.expect(422);
        assert_eq!(answer.problem().fields(), fields, "{body}");
    }
}

#[tokio::test]
async fn at_its_time_its_job_waits_for_a_worker_that_serves_containers() {
    let app = STACK.app().await;
    let wanted = json!({ "docker-image": "alpine", "cron": moment(1), "command": ["true"] });
    let created = app.post(PATH, &wanted).await.expect(201).json();
    let id = created["_id"].as_str().unwrap();
    let due = || async {
        let jobs = jobs(&app, id).await;
        if jobs.len() == 1 { Ok(jobs) } else { Err(json!(jobs).to_string()) }
    };
    let jobs = poll::until("its job", Duration::from_secs(90), due).await.unwrap();
    assert_eq!((&jobs[0]["kind"], &jobs[0]["schedule"]), (&json!("container"), &json!(id)));
}
