//! Readiness is honest, and costs the database next to nothing.

use std::time::{Duration, Instant};

use bson::{Document, doc};
use e2e::{App, Client};
use futures::future::join_all;
use mongodb::Database;
use stack::{Node, Stack, poll};

const SOON: Duration = Duration::from_secs(120);

/// How long a service believes what a write has shown.
const KNOWN_FOR: Duration = Duration::from_secs(2);

async fn database(mongo: &Node, name: &str) -> Database {
    mongodb::Client::with_uri_str(mongo.url()).await.unwrap().database(name)
}

async fn becomes(service: &Client, status: u16) {
    let ready = || async {
        let answer = service.ready().await;
        if answer.status == status { Ok(()) } else { Err(format!("{answer:?}")) }
    };
    poll::until(&format!("readiness to be {status}"), SOON, ready).await.unwrap();
}

#[tokio::test]
async fn probes_do_not_write_each_time() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    let services = [
        (Client::new(app.stack().api(0).url()), app.stack().api_mongo(), "hasty_api"),
        (Client::new(app.stack().worker(0).url()), app.stack().job_mongo(), "hasty_jobs"),
    ];
    for (service, mongo, name) in services {
        let database = database(mongo, name).await;
        let only = doc! { "ns": format!("{name}.probes") };
        database.run_command(doc! { "profile": 1, "slowms": 0, "filter": only }).await.unwrap();
        let started = Instant::now();
        for _ in 0..20 {
            for answer in join_all((0..10).map(|_| service.ready())).await {
                answer.expect(200);
            }
        }
        let writes =
            database.collection::<Document>("system.profile").count_documents(doc! {}).await.unwrap();
        let most = started.elapsed().as_secs() / KNOWN_FOR.as_secs() + 1;
        assert!(writes <= most, "{name}: {writes} writes for 200 probes, at most {most} are due");
    }
}

#[tokio::test]
async fn a_database_that_goes_is_noticed_at_once_though_it_has_just_taken_a_write() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    let services = [
        (Client::new(app.stack().api(0).url()), app.stack().api_mongo()),
        (Client::new(app.stack().worker(0).url()), app.stack().job_mongo()),
    ];
    for (service, mongo) in services {
        service.ready().await.expect(200);
        mongo.kill().await.unwrap();
        service.ready().await.expect(503);
    }
}

/// `fsyncLock` lets nobody write: writes wait, reads do not.
#[tokio::test]
async fn a_database_that_takes_no_writes_is_noticed_and_so_is_its_recovery() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    let services = [
        (Client::new(app.stack().api(0).url()), app.stack().api_mongo()),
        (Client::new(app.stack().worker(0).url()), app.stack().job_mongo()),
    ];
    for (service, mongo) in services {
        service.ready().await.expect(200);
        let admin = database(mongo, "admin").await;
        admin.run_command(doc! { "fsync": 1, "lock": true }).await.unwrap();
        becomes(&service, 503).await;
        // Whoever asks meanwhile shares what is known, and is answered.
        for answer in join_all((0..20).map(|_| service.ready())).await {
            answer.expect(503);
        }
        admin.run_command(doc! { "fsyncUnlock": 1 }).await.unwrap();
        becomes(&service, 200).await;
    }
}
