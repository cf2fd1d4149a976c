//! MongoDB as a replica set is only another address.

use e2e::{App, NewJob, Status};
use stack::Stack;

#[tokio::test]
async fn jobs_run_on_a_replica_set_and_outlive_its_restart() {
    let app = App::start(Stack::builder().replica_set(true).api(1).workers(1)).await;
    let wish = NewJob::shuffle("replica").object("set-1");
    let ended = app.ended(&app.create(&wish).await).await;
    assert_eq!((ended.status, ended.attempt), (Status::Finished, 1));
    app.try_create(&wish).await.expect(409);

    let long = app.running(&app.create(&NewJob::sleep(4.0)).await).await;
    app.stack().api_mongo().restart().await.unwrap();
    app.stack().job_mongo().restart().await.unwrap();
    app.stack().api(0).ready().await.unwrap();
    let later = app.create(&NewJob::noop()).await;
    for job in app.all_ended(&[long, later]).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 1), "{job:?}");
    }
    assert_eq!(app.job(&ended).await, ended);
}
