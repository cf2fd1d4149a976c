//! Spans of time that are made up for on request.

use super::*;

async fn backfill(app: &App, id: &str, from: &str, to: &str) -> Answer {
    app.post(&format!("/v1/schedules/{id}/backfill"), &json!({ "from": from, "to": to })).await
}

#[tokio::test]
async fn a_span_fires_once_however_often_it_is_asked_for() {
    let app = STACK.app().await;
    create(&app, "fill", &of_noops(&json!({ "cron": "*/10 * * * *", "paused": true }))).await;
    let (from, to) = ("2026-01-01T00:00:00Z", "2026-01-01T02:00:00Z");
    let first = backfill(&app, "fill", from, to).await.expect(202).json();
    assert_eq!(first, json!({ "firing": 12, "before": 0, "skipped": 0 }));
    // Asked for by several at once, and over a longer span.
    let again =
        futures::future::join_all((0..4).map(|_| backfill(&app, "fill", from, "2026-01-01T02:10:00Z"))).await;
    let all: Vec<Value> = again.into_iter().map(|answer| answer.expect(202).json()).collect();
    let firing: u64 = all.iter().map(|one| one["firing"].as_u64().unwrap()).sum();
    assert_eq!(firing, 1, "{all:?}");
    let firings = until_in_status(&app, "fill", "fired", 13).await;
    assert!(firings.iter().all(|firing| firing["origin"] == "backfill" && firing["request_id"].is_string()));
    each_has_one_job(&app, "fill").await;
    // Its jobs are as old as they are, not as their due times.
    let newest = app
        .get(&format!("/v1/jobs?schedule=fill&created_after={}", from_now(-3_600_000)))
        .await
        .expect(200)
        .json();
    assert_eq!(newest["jobs"].as_array().unwrap().len(), 13);
}

#[tokio::test]
async fn what_is_too_old_or_too_much_is_refused() {
    let app = STACK.app().await;
    create(&app, "bounds", &of_noops(&json!({ "cron": "* * * * *", "paused": true }))).await;
    let problem = async |from: &str, to: &str, status: u16| {
        backfill(&app, "bounds", from, to).await.expect(status).problem().code
    };
    assert_eq!(problem(&from_now(-401 * 86_400_000), &from_now(0), 422).await, "backfill_too_old");
    assert_eq!(problem(&from_now(-86_400_000), &from_now(0), 422).await, "backfill_too_large");
    assert_eq!(problem(&from_now(0), &from_now(-1000), 422).await, "invalid_field");
    // What is still to come is not made up for.
    let future =
        backfill(&app, "bounds", &from_now(3_600_000), &from_now(7_200_000)).await.expect(202).json();
    assert_eq!(future["firing"], 0);
    assert_eq!(firings(&app, "bounds").await.len(), 0);
}

#[tokio::test]
async fn what_was_skipped_fires_after_all_and_limits_hold() {
    let app = STACK.app().await;
    create(&app, "limited", &of_noops(&json!({ "cron": "@hourly", "paused": true, "max_firings": 2 }))).await;
    let (from, to) = ("2026-01-01T00:00:00Z", "2026-01-01T05:00:00Z");
    let first = backfill(&app, "limited", from, to).await.expect(202).json();
    assert_eq!(first, json!({ "firing": 2, "before": 0, "skipped": 3 }));
    until_in_status(&app, "limited", "fired", 2).await;
    patch(&app, "limited", &json!({ "max_firings": null })).await;
    let second = backfill(&app, "limited", from, to).await.expect(202).json();
    assert_eq!(second, json!({ "firing": 3, "before": 2, "skipped": 0 }));
    until_in_status(&app, "limited", "fired", 5).await;
    each_has_one_job(&app, "limited").await;
}

#[tokio::test]
async fn a_schedule_of_the_same_name_fires_for_nothing_that_was_due_before_it() {
    let app = STACK.app().await;
    let every_second = of_noops(&json!({ "every_s": 1, "catch_up_s": 600 }));
    create(&app, "again", &every_second).await;
    until_in_status(&app, "again", "fired", 2).await;
    ask(&app, Method::DELETE, "again", &[], None).await.expect(204);
    let before = jobs(&app, "again").await;
    let second = create(&app, "again", &every_second).await;
    let fired = until_in_status(&app, "again", "fired", 2).await;
    let since = second["created_at"].as_str().unwrap();
    assert!(fired.iter().all(|firing| firing["due_at"].as_str().unwrap() > since), "{fired:?}");
    ask(&app, Method::DELETE, "again", &[], None).await.expect(204);
    // Those of both, and of no due time two.
    let all = jobs(&app, "again").await;
    assert!(all.len() >= before.len() + 2);
    let due: BTreeSet<&str> = all.iter().map(|job| job["due_at"].as_str().unwrap()).collect();
    assert_eq!(due.len(), all.len());
}
