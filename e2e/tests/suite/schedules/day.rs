//! A day of schedules, by a clock that the test moves on: the scheduler's own rounds, on a real database.

use std::collections::BTreeMap;

use api_service::{http::read::read_json_object, schedules::Schedules};
use bson::{DateTime, Document, doc};
use futures::TryStreamExt;

use super::own_clock::scheduler;
use super::*;

const MINUTE_MS: i64 = 60_000;
const DAY_MIN: i64 = 24 * 60;

#[tokio::test]
async fn a_day_of_schedules_fires_each_due_time_once() {
    let app = App::start(Stack::builder().api(0).workers(0)).await;
    let uri = app.stack().api_mongo().url();
    let replicas = [scheduler(uri).await.0, scheduler(uri).await.0, scheduler(uri).await.0];
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
