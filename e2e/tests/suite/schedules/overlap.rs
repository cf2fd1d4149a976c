//! What happens where an earlier job has not ended.

use e2e::Gate;

use super::*;

fn held(gate: &Gate, overlap: &str) -> Value {
    of(&gate.job(), &json!({ "every_s": 1, "overlap": overlap }))
}

async fn status_of(app: &App, firing: &Value) -> Value {
    app.get(&format!("/v1/jobs/{}", firing["job_id"].as_str().unwrap())).await.expect(200).json()["status"]
        .clone()
}

#[tokio::test]
async fn a_firing_is_skipped_while_an_earlier_job_runs() {
    let app = STACK.app().await;
    let gate = Gate::new();
    create(&app, "skips", &held(&gate, "skip")).await;
    let firings = until_in_status(&app, "skips", "skipped", 2).await;
    assert_eq!(in_status(&firings, "fired").len(), 1, "{firings:?}");
    assert!(in_status(&firings, "skipped").iter().all(|firing| firing["reason"] == "overlap"));
    gate.open();
    until_in_status(&app, "skips", "fired", 2).await;
    ask(&app, Method::DELETE, "skips", &[], None).await.expect(204);
    each_job_once(&app, "skips").await;
}

#[tokio::test]
async fn one_firing_waits_and_others_are_skipped() {
    let app = STACK.app().await;
    let gate = Gate::new();
    create(&app, "queues", &held(&gate, "queue_one")).await;
    let firings = until_in_status(&app, "queues", "skipped", 2).await;
    let waiting = in_status(&firings, "waiting");
    assert_eq!((in_status(&firings, "fired").len(), waiting.len()), (1, 1), "{firings:?}");
    let due = waiting[0]["due_at"].clone();
    gate.open();
    let look = || async {
        let firings = super::firings(&app, "queues").await;
        let firing = firings.iter().find(|firing| firing["due_at"] == due).cloned().unwrap_or_default();
        if firing["status"] == "fired" { Ok(()) } else { Err(firing.to_string()) }
    };
    poll::until("the one that waits to fire", SOON, look).await.unwrap();
    ask(&app, Method::DELETE, "queues", &[], None).await.expect(204);
    each_job_once(&app, "queues").await;
}

#[tokio::test]
async fn an_earlier_job_is_cancelled() {
    let app = STACK.app().await;
    let gate = Gate::new();
    create(&app, "cancels", &held(&gate, "cancel_previous")).await;
    let firings = until_in_status(&app, "cancels", "fired", 3).await;
    ask(&app, Method::DELETE, "cancels", &[], None).await.expect(204);
    let fired = in_status(&firings, "fired");
    for earlier in &fired[1..] {
        let cancelled = || async {
            let status = status_of(&app, earlier).await;
            if status == "cancelled" { Ok(()) } else { Err(status.to_string()) }
        };
        poll::until("the earlier job to be cancelled", SOON, cancelled).await.unwrap();
    }
    gate.open();
    each_job_once(&app, "cancels").await;
}

/// Of no due time there are two jobs.
async fn each_job_once(app: &App, id: &str) {
    let jobs = jobs(app, id).await;
    let due: BTreeSet<&str> = jobs.iter().map(|job| job["due_at"].as_str().unwrap()).collect();
    assert_eq!(due.len(), jobs.len());
}
