//! What is found by somebody who comes late: records that nobody has carried out, due times of a day without anybody, and
//! firings for which there was no room.

use std::sync::atomic::Ordering;

use api_service::http::read::read_json_object;
use api_service::jobs::{FiringJob, JobOfFiring, OfSchedule};
use api_service::schedules::{
    Firing, FiringReason, FiringStatus, Origin, Schedule, ScheduleId, Scheduler, Schedules,
};
use bson::{DateTime, Document, Uuid, doc};
use futures::TryStreamExt;
use hasty_client::JobId;
use shared_events::TraceContext;

use super::own_clock::{Silent, scheduler};
use super::*;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

/// One replica on a database of its own.
struct Replica {
    /// Stops its servers when it goes.
    _app: App,
    scheduler: Scheduler,
    outbox: std::sync::Arc<Silent>,
}

impl Replica {
    async fn start() -> Self {
        let app = App::start(Stack::builder().api(0).workers(0)).await;
        let (scheduler, outbox) = scheduler(app.stack().api_mongo().url()).await;
        Self { _app: app, scheduler, outbox }
    }

    async fn create(&self, id: &str, when: &Value) -> Schedule {
        let definition = read_json_object(of_noops(when).to_string().as_bytes()).unwrap();
        let schedules = Schedules::new(self.scheduler.store.clone(), self.scheduler.clone());
        schedules.create(Some(id.parse().unwrap()), definition).await.unwrap()
    }

    async fn round(&self, now_ms: i64) {
        self.scheduler.round(DateTime::from_millis(now_ms)).await.unwrap();
    }

    async fn all<T: serde::de::DeserializeOwned + Send + Sync>(&self, name: &str) -> Vec<T> {
        let found = self.scheduler.store.mongo().collection::<T>(name).find(doc! {}).await.unwrap();
        found.try_collect().await.unwrap()
    }

    /// Stores the record of a due time that somebody has decided then, and left.
    async fn left_by_somebody(&self, schedule: &Schedule, due_ms: i64) -> Firing {
        let (uid, at) = (schedule.stored.uid, DateTime::from_millis(due_ms));
        let firing = Firing {
            id: format!("{}.{due_ms}", uid.to_uuid_1().simple()),
            uid,
            schedule: schedule.stored.id.clone(),
            due_at: at,
            origin: Origin::Clock,
            status: FiringStatus::Decided,
            reason: None,
            job: Some(Uuid::from_bytes(JobId::generate().uuid().into_bytes())),
            decided_at: at,
            fired_at: None,
            missed_since: None,
            request_id: None,
            look_at: Some(DateTime::from_millis(due_ms + 10_000)),
            seen: false,
            give_up_at: Some(DateTime::from_millis(due_ms + DAY_MS * 30)),
            imported: false,
            until: DateTime::MAX,
        };
        self.scheduler.store.mongo().collection::<Firing>("firings").insert_one(&firing).await.unwrap();
        firing
    }

    /// What becomes of the record's job where somebody who stood still goes on only now.
    async fn create_late(&self, firing: &Firing) -> FiringJob {
        let new_job = read_json_object(br#"{"kind":"noop"}"#).unwrap();
        let of = OfSchedule { id: firing.schedule.to_string(), uid: firing.uid, due_at: firing.due_at };
        let job = JobOfFiring { id: firing.job.unwrap(), new_job, of, trace: TraceContext::start() };
        self.scheduler.creator.create_for_firing(job).await.unwrap()
    }

    async fn only_firing(&self) -> Firing {
        let [firing] = &self.all::<Firing>("firings").await[..] else { panic!("one firing") };
        firing.clone()
    }
}

fn now_ms() -> i64 {
    DateTime::now().timestamp_millis()
}

/// Rewinds the schedule, so that it was made, and has decided all, up to then.
async fn made_at(replica: &Replica, schedule: &Schedule, ms: i64) {
    let at = DateTime::from_millis(ms);
    let set = doc! { "since": at, "cursor": at, "created_at": at, "next_fire_at": at };
    let schedules = replica.scheduler.store.mongo().collection::<Document>("schedules");
    schedules.update_one(doc! { "_id": schedule.stored.uid }, doc! { "$set": set }).await.unwrap();
}

#[tokio::test]
async fn what_somebody_has_decided_a_day_ago_is_carried_out_under_its_job_id() {
    let replica = Replica::start().await;
    let schedule = replica.create("kept", &json!({ "every_s": 60, "catch_up_s": 0 })).await;
    let (now, due) = (now_ms(), now_ms() - DAY_MS);
    made_at(&replica, &schedule, due - MINUTE_MS).await;
    let left = replica.left_by_somebody(&schedule, due).await;
    replica.round(now).await;
    let fired =
        replica.all::<Firing>("firings").await.into_iter().find(|firing| firing.id == left.id).unwrap();
    assert_eq!((fired.status, fired.job), (FiringStatus::Fired, left.job), "{fired:?}");
    // Whoever has stood still meanwhile, with the job in its hands, changes nothing.
    assert_eq!(replica.create_late(&left).await, FiringJob::Before);
}

#[tokio::test]
async fn what_was_decided_for_a_schedule_that_was_changed_since_is_taken_back_for_ever() {
    let replica = Replica::start().await;
    // Its times are what they are since now only, or it is another one: a day ago nothing was due.
    let schedule = replica.create("changed", &json!({ "at": from_now(3_600_000) })).await;
    let left = replica.left_by_somebody(&schedule, now_ms() - DAY_MS).await;
    replica.round(now_ms()).await;
    let taken_back = replica.only_firing().await;
    assert_eq!(taken_back.status, FiringStatus::Skipped, "{taken_back:?}");
    assert_eq!((taken_back.reason, taken_back.job), (Some(FiringReason::ScheduleChanged), None));
    assert_eq!(replica.create_late(&left).await, FiringJob::GivenUp);
    let with_kind = doc! { "kind": { "$exists": true } };
    let jobs = replica.scheduler.store.mongo().collection::<Document>("jobs");
    assert_eq!(jobs.count_documents(with_kind).await.unwrap(), 0);
}

#[tokio::test]
async fn what_was_decided_for_a_schedule_that_is_gone_is_taken_back() {
    let replica = Replica::start().await;
    let mut gone = replica.create("gone", &json!({ "at": from_now(3_600_000) })).await;
    (gone.stored.uid, gone.stored.id) = (Uuid::new(), "another".parse::<ScheduleId>().unwrap());
    let left = replica.left_by_somebody(&gone, now_ms() - DAY_MS).await;
    replica.round(now_ms()).await;
    assert_eq!(replica.only_firing().await.reason, Some(FiringReason::ScheduleChanged));
    assert_eq!(replica.create_late(&left).await, FiringJob::GivenUp);
}

#[tokio::test]
async fn of_a_day_without_anybody_the_last_hour_is_made_up_for_and_the_rest_recorded() {
    let replica = Replica::start().await;
    let schedule = replica.create("minutely", &json!({ "cron": "* * * * *", "catch_up_s": 3600 })).await;
    let now = now_ms() / MINUTE_MS * MINUTE_MS + 30_000;
    made_at(&replica, &schedule, now - DAY_MS).await;
    replica.round(now).await;
    replica.round(now).await;
    let mut firings: Vec<Firing> = replica.all("firings").await;
    firings.sort_by_key(|firing| firing.due_at);
    let count = |status| firings.iter().filter(|firing| firing.status == status).count();
    assert_eq!((count(FiringStatus::Fired), count(FiringStatus::Missed), firings.len()), (60, 20, 80));
    assert!(
        firings[20..]
            .iter()
            .all(|firing| firing.origin == Origin::CatchUp
                || firing.due_at.timestamp_millis() > now - MINUTE_MS)
    );
    let since = firings[0].missed_since.unwrap().timestamp_millis();
    assert_eq!(since, (now - DAY_MS) / MINUTE_MS * MINUTE_MS + MINUTE_MS);
    let jobs: BTreeSet<Option<Uuid>> = firings.iter().filter_map(|firing| firing.job.map(Some)).collect();
    assert_eq!(jobs.len(), 60);
}

#[tokio::test]
async fn a_firing_for_which_there_is_no_room_in_time_is_given_up_for_ever() {
    let replica = Replica::start().await;
    replica.outbox.is_full.store(true, Ordering::Relaxed);
    let due = now_ms() - 1000;
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(due) * 1_000_000).unwrap();
    let when = json!({ "at": at.format(&Rfc3339).unwrap(), "catch_up_s": 0 });
    let schedule = replica.create("full", &when).await;
    made_at(&replica, &schedule, due - MINUTE_MS).await;
    // The database's clock decides for how long there may be no room: it is a second further.
    let given_up = || async {
        replica.round(due).await;
        let firing = replica.only_firing().await;
        if firing.status == FiringStatus::Missed { Ok(firing) } else { Err(format!("{firing:?}")) }
    };
    let firing = poll::until("it to be given up", SOON, given_up).await.unwrap();
    assert_eq!((firing.reason, firing.job, firing.look_at), (Some(FiringReason::QueueFull), None, None));
    replica.outbox.is_full.store(false, Ordering::Relaxed);
    replica.round(due + 1000).await;
    assert_eq!(replica.only_firing().await.status, FiringStatus::Missed, "it stays so");
    let with_kind = doc! { "kind": { "$exists": true } };
    let jobs = replica.scheduler.store.mongo().collection::<Document>("jobs");
    assert_eq!(jobs.count_documents(with_kind).await.unwrap(), 0);
}
