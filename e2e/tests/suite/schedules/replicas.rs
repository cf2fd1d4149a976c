//! Several replicas, of which some die or stand still.

use super::*;

/// Waits until all of them have fired; says how many jobs and records there are.
pub(super) async fn all_fired(app: &App, count: u64) {
    let what = bson::doc! { "schedule": { "$exists": true } };
    let look = || async {
        let jobs = app.stored_jobs(what.clone()).await;
        let open = app.firings(bson::doc! { "status": { "$ne": "fired" } }).await;
        let records = app.firings(bson::doc! {}).await;
        if (jobs, open, records) == (count, 0, count) {
            Ok(())
        } else {
            Err(format!("{jobs} jobs, {open} of {records} open"))
        }
    };
    poll::until("all to have fired", Duration::from_secs(120), look)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test]
async fn a_replica_that_stands_still_between_decision_and_job_makes_no_second_one() {
    let app = App::start(Stack::builder().api(2).workers(0).api_env(
        0,
        "FAILPOINTS",
        "api.schedules.recorded=1*return(stop)",
    ))
    .await;
    // Through the one that does not stop. Where it decides first, the other has nothing to stop at: another round.
    let stopped = &app.stack().api(0);
    for round in 0_u64..20 {
        let schedule = of(&NewJob::noop().queue("nobody"), &json!({ "at": from_now(1200) }));
        let put = app.replica(1).request(Method::PUT, &format!("/v1/schedules/still-{round}"));
        app.replica(1).send(put.header("If-None-Match", "*").json(&schedule)).await.expect(201);
        let fired = || async {
            let fired = app.firings(bson::doc! { "status": "fired" }).await;
            if fired == round + 1 { Ok(()) } else { Err(format!("{fired} of {}", round + 1)) }
        };
        poll::until("the other one to have it fire", SOON, fired).await.unwrap();
        if stopped.is_paused() {
            assert!(stopped.resume());
            stopped.ready().await.unwrap();
            // It has caught up when it has had another one fire alone.
            app.stack().api(1).kill().await.unwrap();
            let last = of(&NewJob::noop().queue("nobody"), &json!({ "at": from_now(1000) }));
            let put = app.replica(0).request(Method::PUT, "/v1/schedules/still-last");
            app.replica(0).send(put.header("If-None-Match", "*").json(&last)).await.expect(201);
            let all = || async {
                let fired = app.firings(bson::doc! { "status": "fired" }).await;
                if fired == round + 2 { Ok(()) } else { Err(format!("{fired} of {}", round + 2)) }
            };
            poll::until("the one that stood still to go on", SOON, all).await.unwrap();
            assert_eq!(app.stored_jobs(bson::doc! { "schedule": { "$exists": true } }).await, round + 2);
            return;
        }
    }
    panic!("the replica never was the first");
}

#[tokio::test]
async fn what_was_decided_comes_to_its_end_though_the_schedule_is_deleted() {
    let app = App::start(Stack::builder().api(1).workers(0)).await;
    let node = app.stack().api(0);
    create(&app, "gone", &of(&NewJob::noop().queue("nobody"), &json!({ "at": from_now(4_000) }))).await;
    node.kill().await.unwrap();
    node.set_env("FAILPOINTS", "api.schedules.advanced=1*return");
    node.launch().unwrap();
    poll::until("the replica to die", SOON, || async { !node.is_running() }).await.unwrap();
    node.set_env("FAILPOINTS", "");
    node.start().await.unwrap();
    ask(&app, Method::DELETE, "gone", &[], None).await.expect(204);
    all_fired(&app, 1).await;
    assert_eq!(jobs(&app, "gone").await.len(), 1);
}

#[tokio::test]
async fn what_is_missed_while_nobody_is_there_is_made_up_for_or_recorded() {
    let app = App::start(Stack::builder().api(1).workers(0)).await;
    let every_second = |catch_up_s: u32| {
        of(&NewJob::noop().queue("nobody"), &json!({ "every_s": 1, "catch_up_s": catch_up_s }))
    };
    create(&app, "long", &every_second(600)).await;
    create(&app, "short", &every_second(0)).await;
    until_in_status(&app, "short", "fired", 1).await;
    let node = app.stack().api(0);
    node.kill().await.unwrap();
    let killed = OffsetDateTime::now_utc();
    let five_seconds = || async { (OffsetDateTime::now_utc() - killed).whole_seconds() >= 5 };
    poll::until("five seconds without anybody", SOON, five_seconds).await.unwrap();
    node.start().await.unwrap();
    let missed = until_in_status(&app, "short", "missed", 4).await;
    assert!(in_status(&missed, "missed").iter().all(|firing| firing["reason"] == "late"));
    let long = || async {
        let firings = firings(&app, "long").await;
        let made_up = firings.iter().filter(|firing| firing["status"] == "fired").count();
        if made_up >= 8 { Ok(firings) } else { Err(json!(firings).to_string()) }
    };
    let firings = poll::until("what was missed to be made up for", SOON, long).await.unwrap();
    assert!(in_status(&firings, "missed").is_empty());
    // Without a gap.
    let mut due: Vec<OffsetDateTime> = firings
        .iter()
        .map(|firing| OffsetDateTime::parse(firing["due_at"].as_str().unwrap(), &Rfc3339).unwrap())
        .collect();
    due.sort_unstable();
    assert!(due.windows(2).all(|pair| pair[1] - pair[0] == time::Duration::SECOND), "{due:?}");
}
