//! A test that goes wrong leaves no process behind.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use e2e::App;
use stack::{Stack, poll};

/// Where the tests that go wrong write what they have started: folder, then process ids.
const NOTES: &str = "E2E_LEFTOVERS_NOTES";

#[tokio::test]
async fn a_test_that_panics_takes_its_processes_along() {
    let (folder, pids, output) = run("leftovers::panics_with_a_stack").await;
    assert!(String::from_utf8_lossy(&output.stdout).contains("this test goes wrong"), "{output:?}");
    assert!(!folder.exists(), "{} is left", folder.display());
    assert_eq!(left(&pids), [0; 0], "of {pids:?}");
}

#[tokio::test]
async fn a_test_that_is_killed_takes_its_processes_along() {
    let (_, pids, output) = run("leftovers::aborts_with_a_stack").await;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(6), "{output:?}");
    let gone = || async {
        let left = left(&pids);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} of {pids:?}")) }
    };
    poll::until("all processes to be gone", Duration::from_secs(60), gone).await.unwrap();
}

#[tokio::test]
#[ignore = "goes wrong on purpose; run by a test above"]
async fn panics_with_a_stack() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    note(app.stack());
    panic!("this test goes wrong");
}

#[tokio::test]
#[ignore = "goes wrong on purpose; run by a test above"]
async fn aborts_with_a_stack() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    note(app.stack());
    std::process::abort();
}

fn note(stack: &Stack) {
    let pids = stack.nodes().map(|node| format!("{}\n", node.pid().unwrap()));
    let notes = format!("{}\n{}", stack.folder().display(), pids.collect::<String>());
    std::fs::write(std::env::var_os(NOTES).expect("a test above runs this"), notes).unwrap();
}

/// Runs one of the tests that go wrong in a process of its own; what it had started, and how it ended.
async fn run(test: &'static str) -> (std::path::PathBuf, Vec<u32>, Output) {
    let notes = tempfile::NamedTempFile::new().unwrap();
    let path = notes.path().to_owned();
    let output = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--ignored"]).env(NOTES, path).output().unwrap()
    });
    let output = output.await.unwrap();
    assert!(!output.status.success(), "{output:?}");
    let noted = std::fs::read_to_string(notes.path()).unwrap();
    let (folder, pids) = noted.split_once('\n').unwrap_or_else(|| panic!("nothing was started: {output:?}"));
    let pids: Vec<u32> = pids.lines().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 6, "api, worker, nginx, nats and two mongod");
    (folder.into(), pids, output)
}

/// Those that still run. A zombie is gone for all but its parent.
fn left(pids: &[u32]) -> Vec<u32> {
    let runs = |pid: &u32| {
        let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
        let state =
            stat.ok().and_then(|stat| stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().to_owned()));
        state.is_some_and(|state| !state.starts_with('Z'))
    };
    pids.iter().copied().filter(runs).collect()
}
