//! Time passes only where a test says so: the clock is paused.

use super::*;

fn beat(id: &str, state: WorkerState) -> Heartbeat {
    Heartbeat {
        id: WorkerId::from(id.to_owned()),
        host: "host".to_owned(),
        version: "1.0.0".to_owned(),
        since: Timestamp::from_millis(id.len().try_into().unwrap()),
        queues: vec![Queue::default()],
        kinds: Vec::new(),
        slots: 10,
        slots_used: 0,
        kind_slots: Vec::new(),
        attempts_per_minute: 0,
        state,
    }
}

fn running(id: &str) -> Heartbeat {
    beat(id, WorkerState::Running)
}

fn ids(registry: &Registry) -> Vec<String> {
    let workers = registry.snapshot(Moment::now()).workers;
    workers.into_iter().map(|seen| seen.heartbeat.id.to_string()).collect()
}

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_there_with_its_first_heart_beat_and_gone_with_its_last() {
    let mut registry = Registry::new(Moment::now());
    registry.heartbeat(running("one"), Moment::now());
    registry.heartbeat(running("other"), Moment::now());
    assert_eq!(ids(&registry), ["one", "other"], "who has run longest comes first");
    registry.heartbeat(beat("one", WorkerState::Stopped), Moment::now());
    assert_eq!(ids(&registry), ["other"]);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_silent_while_others_are_heard_is_gone() {
    let mut registry = Registry::new(Moment::now());
    registry.heartbeat(running("one"), Moment::now());
    registry.heartbeat(running("other"), Moment::now());
    for _ in 0..10 {
        pass(1).await;
        registry.heartbeat(running("one"), Moment::now());
    }
    assert_eq!(ids(&registry), ["one", "other"]);
    pass(1).await;
    registry.hears(Moment::now());
    assert_eq!(ids(&registry), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_gone_while_nothing_is_heard_and_the_answer_says_how_old_it_is() {
    let mut registry = Registry::new(Moment::now());
    let heard = Moment::now();
    registry.heartbeat(running("one"), heard);
    pass(3600).await;
    let Snapshot { workers, as_of, age } = registry.snapshot(Moment::now());
    assert_eq!((workers.len(), as_of, age), (1, heard.time, Duration::from_secs(3600)));

    // Then it has time to be heard again.
    registry.hears(Moment::now());
    for _ in 0..10 {
        pass(1).await;
        registry.hears(Moment::now());
    }
    assert_eq!(ids(&registry), ["one"]);
    pass(1).await;
    registry.hears(Moment::now());
    assert!(ids(&registry).is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_complete_two_seconds_after_anything_was_heard() {
    let mut registry = Registry::new(Moment::now());
    pass(60).await;
    assert!(!registry.is_complete(Moment::now()), "nothing was ever heard");
    registry.hears(Moment::now());
    pass(1).await;
    assert!(!registry.is_complete(Moment::now()));
    registry.hears(Moment::now());
    pass(1).await;
    assert!(registry.is_complete(Moment::now()));
    pass(3).await;
    assert!(!registry.is_complete(Moment::now()), "a long silence");
    registry.hears(Moment::now());
    assert!(!registry.is_complete(Moment::now()), "after a long silence it begins anew");
}

#[tokio::test(start_paused = true)]
async fn only_who_takes_runs_serves_a_queue() {
    let (mut registry, queue) = (Registry::new(Moment::now()), Queue::default());
    for (id, state) in
        [("a", WorkerState::Running), ("b", WorkerState::Draining), ("c", WorkerState::Stopping)]
    {
        registry.heartbeat(beat(id, state), Moment::now());
    }
    assert_eq!(registry.serving(&queue), 1);
    assert_eq!(registry.serving(&"mail".parse().unwrap()), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_names_is_bounded() {
    let mut registry = Registry::new(Moment::now());
    for number in 0..MOST + 10 {
        registry.heartbeat(running(&format!("worker-{number}")), Moment::now());
    }
    assert_eq!(ids(&registry).len(), MOST);
    registry.heartbeat(beat("worker-0", WorkerState::Draining), Moment::now());
    let seen = registry.get(&WorkerId::from("worker-0".to_owned())).unwrap();
    assert_eq!(seen.heartbeat.state, WorkerState::Draining, "who is known goes on");
}
