//! A day of schedules, by a clock that the test moves on: the scheduler's own rounds, on a real database.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_service::{
    http::read::read_json_object,
    jobs::{Creator, Ends, Job, Jobs, Lifecycle, NextAction, Outbox, Waiters},
    schedules::{ScheduleStore, Scheduler, Schedules},
};
use bson::{DateTime, Document, doc};
use futures::TryStreamExt;
use service_kit::Mongo;
use shared_events::Queue;

use super::*;

const MINUTE_MS: i64 = 60_000;
const DAY_MIN: i64 = 24 * 60;

/// Announces nothing: what is looked at is what is stored.
struct Silent;

#[async_trait::async_trait]
impl Outbox for Silent {
    fn is_full(&self, _: &Queue) -> bool {
        false
    }

    fn mark_for(&self, _: &Queue) -> NextAction {
        NextAction::Announce
    }

    async fn announce_soon(&self, _: Arc<Job>) {}

    fn wake(&self) {}
}

#[async_trait::async_trait]
impl Ends for Silent {
    async fn tell(&self, _: &[Job]) {}
}

/// A replica's scheduler, as the api-service makes it.
async fn scheduler(uri: &str) -> Scheduler {
    let mongo = Mongo::connect(uri, "hasty_day", "day").await.unwrap();
    mongo.learn_clock().await.unwrap();
    let (jobs, outbox) = (Jobs::new(mongo.clone()), Arc::new(Silent) as Arc<dyn Outbox>);
    let (window, after) = (Duration::from_secs(300), Duration::from_secs(10));
    Scheduler {
        store: ScheduleStore::new(mongo),
        creator: Creator::new(jobs.clone(), Arc::clone(&outbox), window, after),
        lifecycle: Lifecycle::new(jobs.clone(), outbox, Arc::new(Silent), Waiters::default(), after),
        jobs,
        kept: Duration::from_secs(400 * 86_400),
        wake: Arc::default(),
    }
}

#[tokio::test]
async fn a_day_of_schedules_fires_each_due_time_once() {
    let app = App::start(Stack::builder().api(0).workers(0)).await;
    let uri = app.stack().api_mongo().url();
    let replicas = [scheduler(uri).await, scheduler(uri).await, scheduler(uri).await];
    let schedules = Schedules::new(replicas[0].store.clone(), replicas[0].clone());
    let mut periods = BTreeMap::new();
    for (expression, minutes, count) in
        [("* * * * *", 1, 1), ("*/15 * * * *", 15, 20), ("7 * * * *", 60, 30), ("30 2,14 * * *", 720, 20)]
    {
        for number in 0..count {
            let id = format!("every-{minutes}-{number}");
            let body = of_noops(&json!({ "cron": expression, "catch_up_s": 600 }));
            let definition = read_json_object(body.to_string().as_bytes()).unwrap();
            schedules.create(Some(id.parse().unwrap()), definition).await.unwrap();
            periods.insert(id, minutes);
        }
    }
    let begun = std::time::Instant::now();
    let start = DateTime::now().timestamp_millis() / MINUTE_MS + 1;
    for minute in start..start + DAY_MIN {
        let now = DateTime::from_millis(minute * MINUTE_MS + 10);
        // All at once, each as far as it comes; in some minutes nobody is there.
        if minute % 7 == 3 {
            continue;
        }
        let rounds = replicas.iter().map(|replica| replica.round(now));
        futures::future::try_join_all(rounds).await.unwrap();
    }
    let last = DateTime::from_millis((start + DAY_MIN) * MINUTE_MS + 60_000);
    replicas[0].round(last).await.unwrap();
    println!("a day of {} schedules in {:.1} s", periods.len(), begun.elapsed().as_secs_f64());

    let database = replicas[0].store.mongo();
    let all = async |name: &str| -> Vec<Document> {
        let found = database.collection::<Document>(name).find(doc! {}).await.unwrap();
        found.try_collect().await.unwrap()
    };
    let (firings, jobs) = (all("firings").await, all("jobs").await);
    assert!(
        firings.iter().all(|firing| firing.get_str("status").is_ok_and(|status| status == "fired")),
        "{firings:?}"
    );
    let ids = |documents: &[Document], field: &str| -> BTreeSet<bson::Uuid> {
        let id =
            |document: &Document| bson::deserialize_from_bson(document.get(field).unwrap().clone()).unwrap();
        documents.iter().map(id).collect()
    };
    assert_eq!(ids(&jobs, "_id").len(), firings.len());
    assert_eq!(ids(&jobs, "_id"), ids(&firings, "job"));
    // Of each schedule the whole day, without a gap.
    let mut due: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for firing in &firings {
        let at = firing.get_datetime("due_at").unwrap().timestamp_millis();
        due.entry(firing.get_str("schedule").unwrap()).or_default().push(at / MINUTE_MS);
    }
    for (id, minutes) in &periods {
        let times = due.get_mut(id.as_str()).unwrap();
        times.sort_unstable();
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == *minutes), "{id}: {times:?}");
        let count = i64::try_from(times.len()).unwrap();
        assert!((DAY_MIN / minutes..=DAY_MIN / minutes + 2).contains(&count), "{id}: {count}");
    }
}
