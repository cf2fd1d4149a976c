//! The launcher itself, on the real servers, without the services.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bson::doc;
use stack::{PortLease, Signal, Stack, broker, poll};

const SOON: Duration = Duration::from_secs(60);

fn servers_only() -> stack::Builder {
    Stack::builder().api(0).workers(0)
}

async fn mongo(url: &str) -> mongodb::Collection<bson::Document> {
    mongodb::Client::with_uri_str(url).await.unwrap().database("test").collection("things")
}

fn exists(pid: u32) -> bool {
    // A zombie is gone for all but its parent.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

#[tokio::test]
async fn a_server_comes_back_on_its_port_with_its_data() {
    let stack = servers_only().start().await.unwrap();
    let things = mongo(stack.api_mongo().url()).await;
    things.insert_one(doc! { "_id": 1 }).await.unwrap();
    stack.api_mongo().terminate().await.unwrap();
    assert!(!stack.api_mongo().is_running());
    stack.api_mongo().start().await.unwrap();
    assert_eq!(things.count_documents(doc! {}).await.unwrap(), 1);

    let killed = stack.nats().kill().await.unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed), Some(Signal::SIGKILL as i32));
    broker::connect(stack.nats().url()).await.unwrap_err();
    stack.nats().start().await.unwrap();
    broker::connect(stack.nats().url()).await.unwrap();
    stack.nginx().restart().await.unwrap();
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn a_paused_server_answers_after_it_is_resumed() {
    let stack = servers_only().start().await.unwrap();
    let things = mongo(stack.job_mongo().url()).await;
    things.insert_one(doc! { "_id": 1 }).await.unwrap();
    assert!(stack.job_mongo().pause());
    let insert = tokio::spawn(async move { things.insert_one(doc! { "_id": 2 }).await.map(drop) });
    // Stopped, by the kernel's word (proc_pid_stat(5)), and not ended.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", stack.job_mongo().pid().unwrap())).unwrap();
    assert!(stat.contains(") T "), "{stat}");
    assert!(!insert.is_finished() && stack.job_mongo().is_running());
    assert!(stack.job_mongo().resume());
    insert.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_replica_set_takes_transactions() {
    let stack = servers_only().replica_set(true).start().await.unwrap();
    let things = mongo(stack.api_mongo().url()).await;
    things.insert_one(doc! { "_id": 1 }).await.unwrap();
    let mut session = things.client().start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    things.insert_one(doc! { "_id": 2 }).session(&mut session).await.unwrap();
    session.commit_transaction().await.unwrap();
    stack.api_mongo().restart().await.unwrap();
    assert_eq!(things.count_documents(doc! {}).await.unwrap(), 2);
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn stacks_side_by_side_share_nothing_and_leave_nothing() {
    let starts = (0..3).map(|_| servers_only().start());
    let stacks = futures::future::try_join_all(starts).await.unwrap();
    let mut urls: Vec<_> = stacks.iter().flat_map(Stack::nodes).map(|node| node.url().to_owned()).collect();
    urls.sort();
    urls.dedup();
    assert_eq!(urls.len(), 12);
    let folders: Vec<_> = stacks.iter().map(|stack| stack.folder().to_owned()).collect();
    let pids: Vec<_> = stacks.iter().flat_map(Stack::nodes).filter_map(|node| node.pid()).collect();
    // A handle that somebody kept does not keep the process.
    let _kept = stacks[0].nats().clone();
    drop(stacks);
    assert!(!folders.iter().any(|folder| folder.exists()));
    assert!(!pids.into_iter().any(exists));
}

#[tokio::test]
async fn a_supervised_server_is_started_again() {
    let stack = servers_only().supervise(true).start().await.unwrap();
    stack.nats().kill().await.unwrap();
    poll::until("nats to be back", SOON, || broker::connect(stack.nats().url())).await.unwrap();
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn nothing_outlives_a_launcher_that_was_killed() {
    let data = tempfile::tempdir().unwrap();
    let lease = PortLease::any().unwrap();
    let port = lease.number();
    drop(lease);
    let mut launcher = Command::new(env!("CARGO_BIN_EXE_stack"));
    launcher.args(["up", "--api=0", "--workers=0", "--port", &port.to_string(), "--data"]).arg(data.path());
    let mut launcher = launcher.stdout(Stdio::null()).spawn().unwrap();
    let nginx = format!("127.0.0.1:{port}");
    poll::until("nginx to listen", SOON, || tokio::net::TcpStream::connect(&nginx)).await.unwrap();
    // nginx's workers are its own children, the hardest ones to take along.
    let running = || processes_below(data.path());
    poll::until("all processes", SOON, || async { (running().len() >= 6).then_some(()) }).await.unwrap();
    launcher.kill().unwrap();
    launcher.wait().unwrap();
    poll::until("all processes to be gone", SOON, || async {
        let left = running();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await
    .unwrap();
}

/// The processes whose current folder is below `folder`.
fn processes_below(folder: &Path) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let cwds = processes
        .filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok().map(|cwd| (process, cwd)));
    let below = cwds.filter(|(_, cwd)| cwd.starts_with(folder));
    below.map(|(process, cwd)| format!("{:?} in {}", process.file_name(), cwd.display())).collect()
}
