//! What dead workers leave on the engine: who takes a run over removes it first, and a sweep the rest.

use super::*;

#[tokio::test]
async fn who_takes_a_run_over_stops_the_container_of_the_dead_worker_first() {
    let Some(engine) = Engine::find("who takes a run over").await else { return };
    let mut app = App::start(stack().workers(1)).await;
    let since = time::OffsetDateTime::now_utc().unix_timestamp();
    let once = ["[ $HASTY_ATTEMPT -gt 1 ] && echo $HASTY_ATTEMPT && exit 0", "echo begun; sleep 1000"];
    let job = app.create(&script(&once).timeout_s(600)).await;
    let path = format!("/v1/jobs/{}/logs", job.id);
    let begun = || async {
        let log = app.get(&path).await;
        if log.status == 200 && log.json()["lines"][0]["text"] == "begun" {
            Ok(())
        } else {
            Err(format!("{log:?}"))
        }
    };
    poll::until("it to have begun", SOON, begun).await.unwrap();
    app.stack().worker(0).kill().await.unwrap();
    // Nobody has told it to end.
    assert!(engine.is_there(&format!("hasty-{}-1-1", job.id)).await);
    app.add_worker().await;
    let ended = app.ended(&job).await;
    assert_eq!(
        (ended.status, ended.attempt, text(&ended, "stdout")),
        (Status::Finished, 2, "2\n"),
        "{ended:?}"
    );
    engine.has_nothing_of(&[&job.id]).await;
    let events = engine.events(&format!("{}.1", job.id), since).await;
    assert_eq!(events, ["start 1", "die 1", "start 2", "die 2"], "one at a time");
}

#[tokio::test]
async fn a_sweep_removes_containers_of_runs_that_are_over_and_leaves_those_of_others() {
    let Some(engine) = Engine::find("a sweep").await else { return };
    let app = STACK.app().await;
    let over = app.ended(&app.create(&NewJob::noop()).await).await;
    let job = app.create(&script(&["echo begun; sleep 1000"]).timeout_s(600)).await;
    app.running(&job).await;
    let mine = format!("hasty-{}-1-1", job.id);
    poll::until("its container", SOON, || engine.is_there(&mine)).await.unwrap();
    let anothers = engine.leave(&format!("{}.1", uuid::Uuid::now_v7()), 1).await;
    let left = engine.leave(&format!("{}.1", over.id), 1).await;
    poll::until("what is left to be removed", SOON, || async { !engine.is_there(&left).await })
        .await
        .unwrap();
    let (anothers_is_there, mine_is_there) = (engine.is_there(&anothers).await, engine.is_there(&mine).await);
    engine.remove(&anothers).await;
    assert!(anothers_is_there, "its run is not known to this Hasty");
    assert!(mine_is_there, "its attempt goes on");
    app.post(&format!("/v1/jobs/{}/cancel", job.id), &json!({})).await;
    app.ended(&job).await;
    engine.has_nothing_of(&[&job.id]).await;
}

/// `CONTAINERS=50` is what the documentation tells of.
#[tokio::test]
async fn while_workers_are_killed_each_output_is_right_and_nothing_is_left() {
    let Some(engine) = Engine::find("while workers are killed").await else { return };
    let count: usize = std::env::var("CONTAINERS").map_or(8, |count| count.parse().unwrap());
    let app = App::start(stack().workers(2).env("KIND_SLOTS", "container:3")).await;
    let work = script(&["echo $HASTY_JOB_ID; sleep 1; echo $HASTY_ATTEMPT >&2"]).max_attempts(100);
    let created = app.create_many(&work, count).await;
    let jobs = app.jobs().await;
    let kills = (count / 5).max(1);
    for kill in 0..kills {
        let enough = u64::try_from(kill * count / kills).unwrap();
        let ended = || async {
            let ended = jobs.count_documents(bson::doc! { "status": "finished" }).await.unwrap();
            let running = app.ledger_runs(bson::doc! { "status": "running" }).await;
            if ended >= enough && running > 0 { Ok(()) } else { Err(format!("{ended} of {enough}")) }
        };
        poll::until("containers to end", 5 * SOON, ended).await.unwrap();
        let worker = app.stack().worker(rand::random_range(0..2));
        worker.kill().await.unwrap();
        worker.start().await.unwrap();
    }
    let (mut tried_again, mut ended) = (0, Vec::new());
    for job in &created {
        ended.push(app.ended_within(job, 5 * SOON).await);
    }
    for job in &ended {
        assert_eq!(
            (job.status, text(job, "stdout")),
            (Status::Finished, format!("{}\n", job.id).as_str()),
            "{job:?}"
        );
        assert_eq!(text(job, "stderr"), format!("{}\n", job.attempt), "{job:?}");
        tried_again += usize::from(job.attempt > 1);
    }
    let ids: Vec<&str> = created.iter().map(|job| job.id.as_str()).collect();
    engine.has_nothing_of(&ids).await;
    println!("{count} containers, {kills} kills, {tried_again} tried again");
}
