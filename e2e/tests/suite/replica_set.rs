//! MongoDB as a replica set is only another address.

use std::time::Duration;

use bson::doc;
use e2e::{App, Gate, NewJob, Status};
use hasty::replica_set;
use mongodb::Client;
use stack::{Node, PortLease, Process, Servers, Signal, Spec, Stack, poll};

/// How long a set of three may take to elect another primary on a loaded machine, and the services to find it.
const ELECTED_WITHIN: Duration = Duration::from_secs(180);

#[tokio::test]
async fn jobs_run_on_a_replica_set_and_outlive_its_restart() {
    let app =
        App::start(Stack::builder().replica_set(true).api(1).workers(1).env("WORKER_FAULTS", true)).await;
    let wish = NewJob::shuffle("replica").object("set-1");
    let ended = app.ended(&app.create(&wish).await).await;
    assert_eq!((ended.status, ended.attempt), (Status::Finished, 1));
    app.try_create(&wish).await.expect(409);

    let gate = Gate::new();
    let long = app.running(&app.create(&gate.job()).await).await;
    app.stack().api_mongo().restart().await.unwrap();
    app.stack().job_mongo().restart().await.unwrap();
    app.stack().api(0).ready().await.unwrap();
    let later = app.create(&NewJob::noop()).await;
    gate.open();
    for job in app.all_ended(&[long, later]).await {
        assert_eq!((job.status, job.attempt), (Status::Finished, 1), "{job:?}");
    }
    assert_eq!(app.job(&ended).await, ended);
}

#[tokio::test]
async fn jobs_go_on_on_the_two_members_that_are_left_when_primaries_die() {
    let app =
        App::start(Stack::builder().replica_sets_of(3).api(1).workers(1).env("WORKER_FAULTS", true)).await;
    let before = app.ended(&app.create(&NewJob::noop()).await).await;
    let gate = Gate::new();
    let long = app.running(&app.create(&gate.job()).await).await;
    for members in [app.stack().api_mongo_members(), app.stack().job_mongo_members()] {
        primary(members).await.kill().await.unwrap();
    }
    // Whoever asks before there is another primary is told to come again.
    let taken = poll::until("a job to be taken", ELECTED_WITHIN, || async {
        let answer = app.try_create(&NewJob::noop()).await;
        if answer.status == 201 { Ok(answer.job()) } else { Err(answer.expect(503).body) }
    });
    let later = taken.await.unwrap();
    gate.open();
    for job in [&long, &later] {
        assert_eq!(app.ended_within(job, ELECTED_WITHIN).await.status, Status::Finished);
    }
    assert_eq!(app.job(&before).await, before);
}

async fn primary(members: &[Node]) -> &Node {
    let look = || async {
        for member in members {
            if member.is_primary().await {
                return Some(member);
            }
        }
        None
    };
    poll::until("a primary", ELECTED_WITHIN, look).await.unwrap()
}

/// As in `docker-compose.replica-set.yml`.
#[tokio::test]
async fn servers_that_were_started_for_a_set_become_one_and_stay_it() {
    let folder = tempfile::tempdir().unwrap();
    let ports: Vec<PortLease> = (0..3).map(|_| PortLease::any().unwrap()).collect();
    let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{}", port.number())).collect();
    let uri = format!("mongodb://{}/?replicaSet=three", hosts.join(","));
    let mongod = &Servers::find().await.unwrap().mongod;
    let mut servers = Vec::new();
    for port in &ports {
        let dir = folder.path().join(port.number().to_string());
        std::fs::create_dir(&dir).unwrap();
        let options =
            ["--bind_ip=127.0.0.1", "--dbpath=.", "--replSet=three", "--wiredTigerCacheSizeGB=0.5", "--port"];
        let mut args: Vec<_> = options.map(Into::into).into();
        args.push(port.number().to_string().into());
        let spec = Spec {
            name: format!("mongod-{}", port.number()),
            program: mongod.clone(),
            args,
            env: Vec::new(),
            dir,
            at_parents_death: Signal::SIGKILL,
        };
        servers.push(Process::new(spec, folder.path(), None).unwrap());
    }
    // It waits for those that are not there yet.
    let made = tokio::spawn({
        let uri = uri.clone();
        async move { replica_set::ensure(&uri, ELECTED_WITHIN).await }
    });
    for server in servers.iter().rev() {
        server.launch().unwrap();
    }
    assert!(made.await.unwrap().unwrap().is_new);
    assert!(!replica_set::ensure(&uri, ELECTED_WITHIN).await.unwrap().is_new);

    let admin = Client::with_uri_str(&uri).await.unwrap().database("admin");
    let hello = admin.run_command(doc! { "hello": 1 }).await.unwrap();
    let members = hello.get_array("hosts").unwrap().iter().map(|host| host.as_str().unwrap());
    assert_eq!(members.collect::<Vec<_>>(), hosts);

    let alone = format!("mongodb://{}/", hosts[0]);
    let refused = replica_set::ensure(&alone, ELECTED_WITHIN).await.unwrap_err();
    assert!(refused.to_string().contains("replicaSet="), "{refused:#}");
}
