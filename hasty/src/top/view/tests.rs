//! What is on the screen.

use hasty_client::{
    Count, Ended, Kind, Queue, QueueState, Waiting, Worker, WorkerId, WorkerList, WorkerState,
};
use ratatui::{Terminal, backend::TestBackend};

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_795_176_000_000);

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_millis(NOW.millis() - 1000 * seconds)
}

fn count(count: u64) -> Count {
    Count { count, exact: true }
}

fn worker(number: usize) -> Worker {
    Worker {
        id: WorkerId::from(format!("host-{number}-0000beef")),
        host: "host".to_owned(),
        version: "0.1.0".to_owned(),
        since: ago(3_700),
        queues: vec![Queue::default(), "mail".parse().unwrap()],
        kinds: vec!["noop".parse::<Kind>().unwrap()],
        slots: 100,
        slots_used: 3,
        attempts_per_minute: 17,
        last_seen: ago(1),
        state: WorkerState::Draining,
    }
}

/// An answer with so many workers.
pub(in crate::top) fn snapshot(workers: usize) -> Snapshot {
    let ended = Ended { since: ago(300), finished: 1234, failed: 5, cancelled: 6 };
    let queue = QueueState {
        queue: Queue::default(),
        waiting: Waiting { high: count(0), normal: Count { count: 10_000, exact: false }, low: count(7) },
        running: count(3),
        scheduled: count(0),
        oldest_waiting_at: Some(ago(90)),
        oldest_waiting_s: Some(90.0),
        ended: ended.clone(),
        workers: 2,
    };
    let job = serde_json::json!({
        "id": "01938a5e-7c00-7000-8000-000000000001", "kind": "sleep", "queue": "mail", "priority": "normal",
        "status": "running", "run": 1, "attempt": 2, "timeout_s": 46, "max_attempts": 5,
        "created_at": ago(30), "worker": "host-1-0000beef",
    });
    Snapshot {
        stats: Stats {
            waiting: Count { count: 10_007, exact: false },
            running: count(3),
            scheduled: count(0),
            oldest_waiting_at: Some(ago(90)),
            ended,
            ended_per_s: 12.34,
            queues: count(1),
            workers: workers as u64,
            slots: 100 * workers as u64,
            slots_used: 3,
            outbox_waiting: 0,
            problems: Vec::new(),
        },
        workers: WorkerList { workers: (1..=workers).map(worker).collect(), as_of: NOW, age_s: 0.5 },
        queues: vec![queue],
        jobs: vec![serde_json::from_value(job).unwrap()],
        at: ago(0),
    }
}

fn screen(state: &State, now: Timestamp, (width, height): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| render(frame, state, now)).unwrap();
    terminal.backend().to_string()
}

fn showing(workers: usize) -> State {
    let mut state = State::new("http://hasty".to_owned());
    state.take_in(Ok(snapshot(workers)));
    state
}

#[test]
fn workers_queues_and_jobs_are_shown() {
    let screen = screen(&showing(2), NOW, (130, 30));
    for text in [
        "http://hasty   12:00:00",
        "10007+ waiting, 3 running, 0 scheduled; since 11:55:00 1234 finished, 5 failed, 6 cancelled",
        "workers  2, 3 of 200 slots used; 12.3 jobs/s; 1 queues",
        "nothing is wrong",
        "workers (2)",
        "host-1-0000beef",
        "host-2-0000beef",
        "draining 3/100     17      61 min  1 s     0.1.0    default,mail",
        "queues (1)",
        "default",
        "10000+  7",
        "90 s",
        "latest jobs (1)",
        "01938a5e-7c00-7000-8000-000000000001 running",
        "q quit",
    ] {
        assert!(screen.contains(text), "{text} in\n{screen}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let mut state = showing(1);
    state.snapshot.as_mut().unwrap().stats.problems = vec!["NATS is away".to_owned()];
    state.snapshot.as_mut().unwrap().workers.age_s = 12.0;
    let screen = screen(&state, NOW, (100, 24));
    assert!(screen.contains("NATS is away; workers were last heard 12 s ago"), "{screen}");
}

#[test]
fn while_the_api_is_away_it_shows_what_it_saw_last_and_how_old_that_is() {
    let mut state = State::new("http://hasty".to_owned());
    assert!(screen(&state, NOW, (100, 24)).contains("asking the API"));
    state.take_in(Err("no answer from the service".to_owned()));
    assert!(screen(&state, NOW, (100, 24)).contains("trying again: no answer from the service"));
    state.take_in(Ok(snapshot(1)));
    state.take_in(Err("no answer from the service".to_owned()));
    let screen = screen(&state, Timestamp::from_millis(NOW.millis() + 7000), (100, 24));
    assert!(screen.contains("as of 12:00:00, 7 s ago: no answer from the service"), "{screen}");
    assert!(screen.contains("host-1-0000beef"));
}

#[test]
fn rows_above_the_first_are_left_out() {
    let mut state = showing(9);
    state.first_rows[0] = 4;
    let screen = screen(&state, NOW, (100, 40));
    assert!(screen.contains("workers (9, from 5)") && screen.contains("host-5-"), "{screen}");
    assert!(!screen.contains("host-4-"), "{screen}");
}

#[test]
fn any_size_will_do() {
    for width in [1, 2, 10, 40, 80, 300] {
        for height in [0, 1, 2, 5, 12, 24, 100] {
            screen(&showing(50), NOW, (width, height));
            screen(&State::new(String::new()), NOW, (width, height));
        }
    }
}
