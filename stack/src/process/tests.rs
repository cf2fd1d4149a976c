#![allow(clippy::unwrap_used)]

use super::*;

/// A child that is stopped between vfork and exec keeps the thread that started it, and with it the whole parent,
/// from standing still.
#[tokio::test]
async fn a_process_is_paused_that_starts_others_all_the_time() {
    let folder = tempfile::tempdir().unwrap();
    let starts_others =
        "import subprocess\nprint('begins', flush=True)\nwhile True: subprocess.run(['true'])";
    let spec = Spec {
        name: "parent".to_owned(),
        program: "python3".into(),
        args: vec!["-c".into(), starts_others.into()],
        env: Vec::new(),
        dir: folder.path().to_owned(),
        at_parents_death: Signal::SIGKILL,
    };
    let process = Process::new(spec, folder.path(), None).unwrap();
    process.launch().unwrap();
    let begun = || async { process.log().tail(1).contains("begins").then_some(()).ok_or("not yet") };
    crate::poll::until("the parent to begin", Duration::from_secs(60), begun).await.unwrap();
    let paused = process.clone();
    let pauses = tokio::task::spawn_blocking(move || (0..300).all(|_| paused.pause() && paused.resume()));
    let all_paused = tokio::time::timeout(Duration::from_secs(60), pauses).await;
    process.kill().await.unwrap();
    assert!(all_paused.expect("a pause to return").unwrap());
}
