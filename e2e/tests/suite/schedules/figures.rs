//! Many schedules at once, and how late they fire. `SCHEDULES_AT_ONCE` says how many are due in the same second (600),
//! `SCHEDULES_A_SECOND` how many every second (20).

use bson::{DateTime, Document, doc};
use futures::TryStreamExt;
use hasty::fsck;
use lab::endpoints;

use super::{replicas::all_fired, *};

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Many schedules that are due in the same second, of a queue that nobody serves.
async fn many(app: &App, prefix: &str, count: usize, at: &str) {
    let schedule = of(&NewJob::noop().queue("nobody"), &json!({ "at": at }));
    for some in (0..count).collect::<Vec<_>>().chunks(50) {
        let creating = some.iter().map(|number| {
            let (id, schedule) = (format!("{prefix}-{number}"), &schedule);
            async move { create(app, &id, schedule).await }
        });
        futures::future::join_all(creating).await;
    }
}

/// How late the firings of schedules were that fired, in milliseconds, in order.
async fn lateness(app: &App) -> Vec<i64> {
    let firings = app.jobs().await.client().database("hasty_api").collection::<Document>("firings");
    let found: Vec<Document> =
        firings.find(doc! { "status": "fired" }).await.unwrap().try_collect().await.unwrap();
    let ms = |firing: &Document, field: &str| firing.get_datetime(field).unwrap().timestamp_millis();
    let mut late: Vec<i64> =
        found.iter().map(|firing| ms(firing, "fired_at") - ms(firing, "due_at")).collect();
    late.sort_unstable();
    late
}

fn tell(what: &str, late: &[i64]) {
    let at = |percent: usize| late[(late.len() - 1) * percent / 100];
    println!(
        "{what}: {} firings; late by p50 {} ms, p99 {} ms, at most {} ms",
        late.len(),
        at(50),
        at(99),
        at(100)
    );
}

#[tokio::test]
async fn of_many_that_are_due_at_once_none_is_missed_and_none_fires_twice_though_a_replica_dies() {
    let count = setting("SCHEDULES_AT_ONCE", 600);
    let app = App::start(Stack::builder().api(3).workers(0)).await;
    let lead_ms = 10_000 + i64::try_from(count).unwrap() * 15;
    many(&app, "at-once", count, &from_now(lead_ms)).await;
    assert_eq!(app.firings(doc! {}).await, 0, "they were to be created before they are due");
    // As soon as a third of them is there, one of those who make them dies.
    let third = u64::try_from(count).unwrap() / 3;
    let begun = || async {
        let fired = app.firings(doc! {}).await;
        if fired >= third { Ok(()) } else { Err(format!("{fired}")) }
    };
    poll::until("a third to fire", Duration::from_secs(400), begun).await.unwrap();
    app.stack().api(0).kill().await.unwrap();
    all_fired(&app, u64::try_from(count).unwrap()).await;
    let report = fsck::check(&endpoints(app.stack())).await.unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.firings, report.open_firings), (u64::try_from(count).unwrap(), 0));
    tell("due at once, a replica killed", &lateness(&app).await);
}

#[tokio::test]
async fn what_is_due_every_second_fires_within_seconds() {
    let count = setting("SCHEDULES_A_SECOND", 20);
    let app = App::start(Stack::builder().api(3).workers(0)).await;
    let start = DateTime::now().timestamp_millis() / 1000 * 1000;
    let start = OffsetDateTime::from_unix_timestamp(start / 1000).unwrap().format(&Rfc3339).unwrap();
    let schedule =
        of(&NewJob::noop().queue("nobody"), &json!({ "every_s": 1, "starts_at": start, "max_firings": 30 }));
    let unlimited = of(&NewJob::noop().queue("nobody"), &json!({ "every_s": 1, "starts_at": start }));
    create(&app, "limited", &schedule).await;
    for number in 1..count {
        create(&app, &format!("tick-{number}"), &unlimited).await;
    }
    let wanted = u64::try_from(count * 20).unwrap();
    let fired = || async {
        let fired = app.firings(doc! { "status": "fired" }).await;
        if fired >= wanted { Ok(()) } else { Err(format!("{fired}")) }
    };
    poll::until("twenty seconds of firings", Duration::from_secs(120), fired).await.unwrap();
    let late = lateness(&app).await;
    tell("due every second", &late);
    assert!(late[late.len() * 9 / 10] < 5_000, "{late:?}");
    // Each due time has one record and one job, and there is no gap.
    let due = app.stored_jobs(doc! { "schedule.id": "limited" }).await;
    assert!(due <= 30, "{due}");
    // A job that no record names, and a record without its job, are found.
    let jobs = app.jobs().await;
    let job = jobs.find_one(doc! { "schedule.id": "tick-1" }).await.unwrap().unwrap();
    jobs.delete_one(doc! { "_id": job.get("_id").unwrap() }).await.unwrap();
    let mut second = job.clone();
    let id = bson::Uuid::from_bytes(uuid::Uuid::now_v7().into_bytes());
    second.insert("_id", id);
    jobs.insert_one(second).await.unwrap();
    let broken = fsck::check(&endpoints(app.stack())).await.unwrap().broken_firings;
    let wrong: BTreeSet<String> = broken.into_iter().map(|(id, _)| id).collect();
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(wrong.contains(&id.to_uuid_1().to_string()), "{wrong:?}");
}
