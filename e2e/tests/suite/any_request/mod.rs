//! Any request gets an answer that the API's document allows, and one that is refused changes nothing.
//!
//! Requests are generated from a seed: all routes and methods, with ids, parameters, bodies and headers that are
//! right, nearly right, or no HTTP at all. They go through nginx to a running stack, one after the other, so that
//! what each has changed can be told. `ANY_REQUESTS` says how many (2,000), `ANY_REQUEST_SEED` from which seed.

mod allowed;
mod body;
mod generate;
mod header;
mod route;
mod schema;

use std::fmt::Display;
use std::str::FromStr;

use bson::{Document, doc};
use e2e::{App, NewJob, RawAnswer, Status, raw};
use futures::TryStreamExt;
use mongodb::Collection;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use stack::Stack;

use generate::Request;
use route::Route;

/// How many jobs' ids requests are made of: the latest.
const IDS_KEPT: usize = 40;

fn setting<T: FromStr>(name: &str, default: T) -> T
where
    T::Err: Display,
{
    let parse = |text: String| text.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
    std::env::var(name).map_or(default, parse)
}

#[tokio::test]
async fn any_request_gets_an_answer_that_is_allowed_and_a_refused_one_changes_nothing() {
    let (count, seed) =
        (setting("ANY_REQUESTS", 2000_u32), setting("ANY_REQUEST_SEED", rand::random::<u32>()));
    println!("{count} requests: ANY_REQUEST_SEED={seed}");
    let app = App::start(Stack::builder().api(2).workers(1)).await;
    let jobs = app.jobs().await;
    let users = jobs.client().database("hasty_api").collection("users");
    let schedules = jobs.client().database("hasty_api").collection("schedules");
    let stored = async || stored(&jobs, &users, &schedules).await;
    let (mut random, mut ids) = (StdRng::seed_from_u64(seed.into()), Vec::new());
    let mut before = stored().await;
    for number in 0..count {
        let request = Request::generate(&mut random, &ids);
        let said = |what: &dyn Display| format!("seed {seed}, request {number}: {what}\n{request}");
        let bytes = raw::exchange(app.stack().url(), &request.bytes(), request.after()).await;
        let bytes = bytes.unwrap_or_else(|error| panic!("{}", said(&format!("no answer: {error}"))));
        let answer = RawAnswer::parse(&bytes);
        if let Err(wrong) = allowed::check(&request, answer.as_ref()) {
            panic!(
                "{}\nanswered with {}",
                said(&wrong),
                String::from_utf8_lossy(&bytes[..bytes.len().min(2000)])
            );
        }
        let after = stored().await;
        let expected = answer.as_ref().map_or(Change::Nothing, |answer| change(&request, answer));
        let status = answer.as_ref().map(|answer| answer.status);
        let right = match expected {
            Change::Nothing => after == before,
            Change::Jobs(more) => after.jobs == before.jobs + more,
            Change::Users(more) => {
                after.users == before.users + more
                    && Stored { users: before.users, versions: before.versions, ..after } == before
            }
            Change::Schedules(more) => {
                after.schedules == before.schedules + more
                    && Stored {
                        schedules: before.schedules,
                        schedule_versions: before.schedule_versions,
                        ..after
                    } == before
            }
            Change::NotSaid => true,
        };
        assert!(right, "{}", said(&format!("{expected:?}, but {before:?} became {after:?}; {status:?}")));
        before = after;
        ids.extend(answer.as_ref().and_then(new_id));
        ids.drain(..ids.len().saturating_sub(IDS_KEPT));
    }
    for service in app.stack().apis().iter().chain(app.stack().workers()) {
        assert!(!service.log().contains("panicked"), "{}", service.log().tail(50));
    }
    let job = app.create(&NewJob::noop()).await;
    assert_eq!(app.ended(&job).await.status, Status::Finished);
}

/// What clients alone can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Stored {
    jobs: i64,
    /// Of all jobs together.
    runs: i64,
    /// How many were asked to stop.
    cancels: i64,
    users: i64,
    /// Of all users together.
    versions: i64,
    schedules: i64,
    /// Of all schedules together.
    schedule_versions: i64,
}

async fn stored(
    jobs: &Collection<Document>,
    users: &Collection<Document>,
    schedules: &Collection<Document>,
) -> Stored {
    let asked = doc! { "$cond": [{ "$ifNull": ["$cancel", false] }, 1, 0] };
    let all =
        doc! { "_id": null, "jobs": { "$sum": 1 }, "runs": { "$sum": "$run" }, "cancels": { "$sum": asked } };
    // What stays of a job that is gone has no status, and what stays of a user no version.
    // Those of schedules come by themselves.
    let by_clients = doc! { "status": { "$exists": true }, "schedule": { "$exists": false } };
    let jobs = counted(jobs, by_clients, all).await;
    let all = doc! { "_id": null, "users": { "$sum": 1 }, "versions": { "$sum": "$version" } };
    let users = counted(users, doc! { "version": { "$exists": true } }, all).await;
    let all = doc! { "_id": null, "schedules": { "$sum": 1 }, "versions": { "$sum": "$version" } };
    let schedules = counted(schedules, doc! { "live_id": { "$exists": true } }, all).await;
    let number = |of: &Document, name| {
        let number =
            of.get(name).map_or(Some(0), |number| number.as_i64().or(number.as_i32().map(i64::from)));
        number.expect("a number")
    };
    Stored {
        jobs: number(&jobs, "jobs"),
        runs: number(&jobs, "runs"),
        cancels: number(&jobs, "cancels"),
        users: number(&users, "users"),
        versions: number(&users, "versions"),
        schedules: number(&schedules, "schedules"),
        schedule_versions: number(&schedules, "versions"),
    }
}

/// The documents that pass a filter, taken together; empty where there are none.
async fn counted(documents: &Collection<Document>, filter: Document, all: Document) -> Document {
    let mut counted = documents.aggregate([doc! { "$match": filter }, doc! { "$group": all }]).await.unwrap();
    counted.try_next().await.unwrap().unwrap_or_default()
}

/// What an answer says that its request has changed.
#[derive(Debug, Clone, Copy)]
enum Change {
    Nothing,
    /// So many jobs more, or fewer; their runs too, or cancels.
    Jobs(i64),
    /// So many users more, or fewer, or another state of one; no job.
    Users(i64),
    /// The same of schedules.
    Schedules(i64),
    /// The answer is compressed.
    NotSaid,
}

fn change(request: &Request, answer: &RawAnswer) -> Change {
    let results =
        || answer.json().and_then(|answer| Some(answer["results"].as_array()?.clone())).unwrap_or_default();
    match (request.route, request.method.as_str(), answer.status) {
        (Some(Route::Of("/v1/jobs" | "/")), "POST", 201) => Change::Jobs(1),
        (Some(Route::Of("/v1/jobs/batch" | "/v1/import")), "POST", 200)
            if answer.header("content-encoding").is_some() =>
        {
            Change::NotSaid
        }
        (Some(Route::Of("/v1/jobs/batch" | "/v1/import")), "POST", 200) => {
            let new = results().iter().filter(|result| result["status"] == 201).count();
            Change::Jobs(i64::try_from(new).unwrap())
        }
        (Some(Route::Of("/api/work")), "POST", 200) => Change::Jobs(1),
        (Some(Route::Of("/v1/jobs/{id}")), "DELETE", 204) => Change::Jobs(-1),
        (Some(Route::Of("/v1/users" | "/v1/users/{id}" | "/api/user" | "/api/user/")), _, 201) => {
            Change::Users(1)
        }
        (Some(Route::Of("/v1/users/{id}" | "/api/user/{id}")), "DELETE", 204) => Change::Users(-1),
        (Some(Route::Of("/v1/users/{id}" | "/api/user" | "/api/user/")), "PUT" | "PATCH", 200) => {
            Change::Users(0)
        }
        (Some(Route::Of("/v1/schedules" | "/api/v1/schedule")), "POST", 201)
        | (Some(Route::Of("/v1/schedules/{id}")), "PUT", 201) => Change::Schedules(1),
        (Some(Route::Of("/v1/schedules/{id}")), "DELETE", 204) => Change::Schedules(-1),
        (Some(Route::Of("/v1/schedules/{id}" | "/api/v1/schedule/{id}")), "PUT" | "PATCH", 200) => {
            Change::Schedules(0)
        }
        // It may have been deleted before.
        (Some(Route::Of("/api/v1/schedule/{id}")), "DELETE", 200) => Change::NotSaid,
        (Some(Route::Of(path)), "POST", 200 | 202)
            if path.ends_with("/cancel") || path.ends_with("/retry") =>
        {
            Change::Jobs(0)
        }
        _ => Change::Nothing,
    }
}

/// The id of a job that was created.
fn new_id(answer: &RawAnswer) -> Option<String> {
    let json = answer.json().filter(|_| answer.status == 201)?;
    let id = json.get("id").or_else(|| json.get("message")?.get("job_id"))?;
    Value::as_str(id).map(str::to_owned)
}
