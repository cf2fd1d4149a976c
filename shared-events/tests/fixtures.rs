//! The JSON of every event is a contract: what is written today is under test to the letter, and
//! what earlier versions wrote must go on decoding.

#![allow(clippy::unwrap_used, reason = "a test that can not be set up is to panic")]

use shared_events::{
    AttemptOutcome, AttemptSummary, CancelReason, Captured, JobCancel, JobCreated, JobEnded, JobError,
    JobEvent, JobId, JobProgress, JobRetrying, JobStarted, JsonText, Limits, Priority, ProgramOutput, Queue,
    RetryPauses, ShortOutput, Status, Timestamp, TraceContext, WorkerId, batch,
    broadcasts::{
        Changed, EndedInQueue, EndedJobs, Heartbeat, KindSlots, Stop, WorkerCommand, WorkerRequest,
        WorkerState,
    },
    live::{AttemptProgress, LogLine, LogRequest, LogSource, LogTail, ProgressReport},
};

const AT: Timestamp = Timestamp::from_millis(1_795_176_000_000);

fn job() -> JobId {
    "01938a5e-7c00-7000-8000-000000000001".parse().unwrap()
}

fn trace() -> TraceContext {
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap()
}

fn worker() -> WorkerId {
    WorkerId::from("host-7-0000beef".to_owned())
}

fn summary(outcome: AttemptOutcome, error: Option<JobError>) -> AttemptSummary {
    let charged = outcome != AttemptOutcome::Released;
    let (worker, output) = (worker(), None);
    AttemptSummary {
        attempt: 1,
        worker,
        started_at: AT,
        ended_at: AT,
        outcome,
        charged,
        error,
        output,
        log: Vec::new(),
    }
}

fn ended(outcome: AttemptOutcome) -> JobEnded {
    JobEnded {
        job: job(),
        run: 1,
        attempt: 1,
        started_at: Some(AT),
        ended_at: AT,
        result: None,
        error: None,
        reason: None,
        attempts: vec![summary(outcome, None)],
    }
}

fn created() -> JobCreated {
    JobCreated {
        job: job(),
        run: 1,
        epoch: 1,
        kind: "sleep".parse().unwrap(),
        queue: "default".parse().unwrap(),
        priority: Priority::Normal,
        payload: JsonText::from_stored(r#"{"min_s": 1.50, "ü":[1e2]}"#.to_owned()).unwrap(),
        limits: Limits::default(),
        cancel_requested: false,
        created_at: AT,
        start_by: None,
        retry: None,
    }
}

fn cancel() -> JobCancel {
    JobCancel {
        job: job(),
        run: 1,
        kind: "sleep".parse().unwrap(),
        queue: "default".parse().unwrap(),
        reason: CancelReason::Requested,
    }
}

fn hurried() -> JobCreated {
    let retry = RetryPauses { base_s: 0.5, max_s: 60.0, factor: 1.5 };
    JobCreated { start_by: Some(AT), retry: Some(retry), ..created() }
}

fn expired() -> JobCancel {
    JobCancel { reason: CancelReason::Expired, ..cancel() }
}

fn events() -> Vec<JobEvent> {
    let failure = JobError::new("panic", "index out of bounds");
    vec![
        JobEvent::Started(JobStarted { job: job(), run: 1, attempt: 1, worker: worker(), started_at: AT }),
        JobEvent::Retrying(JobRetrying {
            job: job(),
            run: 1,
            attempt: 1,
            next_at: AT,
            output: None,
            attempts: vec![summary(AttemptOutcome::Failed, Some(failure.clone()))],
        }),
        JobEvent::Ended(
            Status::Finished,
            JobEnded {
                result: Some(JsonText::from_stored(r#"{"slept_s":1.50}"#.to_owned()).unwrap()),
                ..ended(AttemptOutcome::Finished)
            },
        ),
        JobEvent::Ended(Status::Failed, JobEnded { error: Some(failure), ..ended(AttemptOutcome::Lost) }),
        JobEvent::Ended(
            Status::Cancelled,
            JobEnded { reason: Some(CancelReason::Timeout), ..ended(AttemptOutcome::Cancelled) },
        ),
    ]
}

fn fixture(name: &str) -> String {
    let path = format!("{}/fixtures/v1/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}")).trim_end().to_owned()
}

#[track_caller]
fn assert_golden(name: &str, bytes: &[u8]) {
    assert_eq!(String::from_utf8_lossy(bytes), fixture(name), "the JSON of {name} has changed");
}

#[test]
fn job_created_is_written_as_ever() {
    assert_golden("created", &created().encode(AT, Some(trace())).unwrap());
    let flagged = JobCreated { cancel_requested: true, epoch: 2, ..created() };
    assert_golden("created_cancel_requested", &flagged.encode(AT, None).unwrap());
    assert_golden("created_start_by_and_retry", &hurried().encode(AT, None).unwrap());
}

#[test]
fn job_cancel_is_written_as_ever() {
    assert_golden("cancel", &cancel().encode(AT, Some(trace())).unwrap());
    assert_golden("cancel_expired", &expired().encode(AT, Some(trace())).unwrap());
}

#[test]
fn job_events_are_written_as_ever() {
    for event in events() {
        let name = event.event_type().trim_start_matches("job:").to_owned();
        assert_golden(&name, &event.encode(AT, Some(trace())).unwrap());
    }
}

/// What an attempt gave all the same is told since then; events without it are read as ever.
fn with_outputs() -> Vec<(&'static str, JobEvent)> {
    let captured = |text: &str, cut: bool| Captured { text: text.to_owned(), bytes: 4, cut, not_utf8: false };
    let (stdout, stderr) = (captured("ü\u{1}\n", false), captured("", true));
    let output = ProgramOutput { exit_code: Some(3), signal: None, stdout, stderr, duration_ms: 12 };
    let output = JsonText::of(&output).unwrap();
    let error = JobError::new("command_exit_code", "the program exited with 3");
    let mut attempt = summary(AttemptOutcome::Failed, Some(error.clone()));
    attempt.output = Some(ShortOutput::of(&output));
    let (attempts, result) = (vec![attempt], Some(output.clone()));
    let ended =
        JobEnded { result, error: Some(error), attempts: attempts.clone(), ..ended(AttemptOutcome::Failed) };
    let output = Some(output);
    let retrying = JobRetrying { job: job(), run: 1, attempt: 1, next_at: AT, output, attempts };
    vec![
        ("retrying_with_output", JobEvent::Retrying(retrying)),
        ("failed_with_output", JobEvent::Ended(Status::Failed, ended)),
    ]
}

#[test]
fn a_log_is_written_and_read_as_ever() {
    let line = |from, text| LogLine::new(AT, from, text);
    let log = vec![line(LogSource::Log, "page 5"), line(LogSource::Log, "ü")];
    let attempts = vec![AttemptSummary { log, ..summary(AttemptOutcome::Finished, None) }];
    let event = JobEvent::Ended(Status::Finished, JobEnded { attempts, ..ended(AttemptOutcome::Finished) });
    assert_golden("finished_with_log", &event.encode(AT, Some(trace())).unwrap());
    assert_eq!(JobEvent::decode(fixture("finished_with_log").as_bytes()).unwrap().data, event);
}

#[test]
fn outputs_are_written_and_read_as_ever() {
    for (name, event) in with_outputs() {
        assert_golden(name, &event.encode(AT, Some(trace())).unwrap());
        assert_eq!(JobEvent::decode(fixture(name).as_bytes()).unwrap().data, event);
    }
}

#[test]
fn what_was_written_is_read_back() {
    assert_eq!(JobCreated::decode(fixture("created").as_bytes()).unwrap().data, created());
    assert_eq!(JobCancel::decode(fixture("cancel").as_bytes()).unwrap().data, cancel());
    assert_eq!(JobCreated::decode(fixture("created_start_by_and_retry").as_bytes()).unwrap().data, hurried());
    assert_eq!(JobCancel::decode(fixture("cancel_expired").as_bytes()).unwrap().data, expired());
    for event in events() {
        let name = event.event_type().trim_start_matches("job:").to_owned();
        let read = JobEvent::decode(fixture(&name).as_bytes()).unwrap();
        assert_eq!(read.data, event);
        assert_eq!(read.traceparent, Some(trace()));
    }
}

#[test]
fn broadcasts_are_written_and_read_as_ever() {
    let other: JobId = "01938a5e-7c00-7000-8000-000000000002".parse().unwrap();
    let changed = Changed(vec![(job(), 1, Status::Finished), (other, 3, Status::Queued)]);
    let stop = Stop(vec![job().run(1), other.run(3)]);
    let (changed_text, stop_text) = (fixture("../broadcasts/changed"), fixture("../broadcasts/stop"));
    assert_eq!(serde_json::to_string(&changed).unwrap(), changed_text);
    assert_eq!(serde_json::from_str::<Changed>(&changed_text).unwrap(), changed);
    assert_eq!(serde_json::to_string(&stop).unwrap(), stop_text);
    assert_eq!(serde_json::from_str::<Stop>(&stop_text).unwrap(), stop);
    let queues = vec![EndedInQueue { queue: Queue::default(), finished: 3, failed: 1, cancelled: 0 }];
    let ended = EndedJobs { replica: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(), queues };
    let ended_text = fixture("../broadcasts/ended");
    assert_eq!(serde_json::to_string(&ended).unwrap(), ended_text);
    assert_eq!(serde_json::from_str::<EndedJobs>(&ended_text).unwrap(), ended);
}

#[test]
fn what_workers_say_and_are_told_is_written_and_read_as_ever() {
    let heartbeat = Heartbeat {
        id: worker(),
        host: "host".to_owned(),
        version: "0.1.0".to_owned(),
        since: AT,
        queues: vec!["default".parse().unwrap(), "mail".parse().unwrap()],
        kinds: vec!["noop".parse().unwrap(), "sleep".parse().unwrap()],
        slots: 100,
        slots_used: 3,
        kind_slots: Vec::new(),
        attempts_per_minute: 17,
        state: WorkerState::Draining,
    };
    let limit = KindSlots { kind: "sleep".parse().unwrap(), slots: 4, slots_used: 1 };
    let limited = Heartbeat { kind_slots: vec![limit], ..heartbeat.clone() };
    let limited_text = fixture("../broadcasts/heartbeat_kind_slots");
    assert_eq!(serde_json::to_string(&limited).unwrap(), limited_text);
    assert_eq!(serde_json::from_str::<Heartbeat>(&limited_text).unwrap(), limited);
    let request = WorkerRequest { worker: worker(), command: WorkerCommand::Drain };
    let (beat_text, request_text) =
        (fixture("../broadcasts/heartbeat"), fixture("../broadcasts/worker_request"));
    assert_eq!(serde_json::to_string(&heartbeat).unwrap(), beat_text);
    assert_eq!(serde_json::from_str::<Heartbeat>(&beat_text).unwrap(), heartbeat);
    assert_eq!(serde_json::to_string(&request).unwrap(), request_text);
    assert_eq!(serde_json::from_str::<WorkerRequest>(&request_text).unwrap(), request);
    for state in ["running", "draining", "drained", "stopping", "stopped"] {
        let read: WorkerState = serde_json::from_str(&format!("\"{state}\"")).unwrap();
        assert_eq!(read.as_str(), state);
    }
    let later = beat_text.replace(r#""slots":100"#, r#""slots":100,"zone":"a""#);
    assert!(serde_json::from_str::<Heartbeat>(&later).is_ok());
}

#[test]
fn what_is_said_of_attempts_is_written_and_read_as_ever() {
    let progress = JobProgress::new(12.5, "page 5 of 40", AT);
    let report = ProgressReport(vec![AttemptProgress { job: job(), run: 1, attempt: 2, progress }]);
    let request = LogRequest { worker: worker(), job: job(), run: 1, attempt: 2, tail: 100 };
    let line = |from, text| LogLine::new(AT, from, text);
    let lines =
        vec![line(LogSource::Log, "begin"), line(LogSource::Stdout, "ü"), line(LogSource::Stderr, "")];
    let tail = LogTail { lines };
    let [report_text, request_text, tail_text] =
        ["progress", "log_request", "log_tail"].map(|name| fixture(&format!("../broadcasts/{name}")));
    assert_eq!(serde_json::to_string(&report).unwrap(), report_text);
    assert_eq!(serde_json::from_str::<ProgressReport>(&report_text).unwrap(), report);
    assert_eq!(serde_json::to_string(&request).unwrap(), request_text);
    assert_eq!(serde_json::from_str::<LogRequest>(&request_text).unwrap(), request);
    assert_eq!(serde_json::to_string(&tail).unwrap(), tail_text);
    assert_eq!(serde_json::from_str::<LogTail>(&tail_text).unwrap(), tail);
}

#[test]
fn fields_that_a_later_version_adds_are_passed_over() {
    let later = fixture("started").replace(r#""attempt":1"#, r#""attempt":1,"shard":{"a":[1]}"#);
    assert!(JobEvent::decode(later.as_bytes()).is_ok());
}

#[test]
fn what_is_no_event_is_told_from_what_a_newer_version_may_have_written() {
    let started = fixture("started");
    let no_event: [&str; 9] = [
        "",
        "{}",
        "null",
        "nonsense",
        r#"{"type":"job:started"}"#,
        r#"["1.0","id","source","job:started"]"#,
        &started[..started.len() - 1],
        &started.replace(r#""specversion":"1.0","#, ""),
        &started.replace(r#""type":"job:started""#, r#""type":7"#),
    ];
    for body in no_event {
        let error = JobEvent::decode(body.as_bytes()).unwrap_err();
        assert!(!error.may_be_newer(), "{body}: {error}");
    }
    assert!(!JobEvent::decode(b"\xff\xfe").unwrap_err().may_be_newer());

    let (finished, cancelled) = (fixture("finished"), fixture("cancelled"));
    let newer = [
        ("a type", started.replace("job:started", "job:paused")),
        (
            "a type, with a subject that is no job",
            started.replace("job:started", "queue:paused").replacen("01938a5e", "q", 2),
        ),
        ("a version of CloudEvents", started.replace(r#""specversion":"1.0""#, r#""specversion":"2.0""#)),
        ("an outcome", finished.replace(r#""outcome":"finished""#, r#""outcome":"skipped""#)),
        ("a reason", cancelled.replace(r#""reason":"timeout""#, r#""reason":"quota""#)),
        ("a shape", started.replace(r#""attempt":1"#, r#""attempt":{"number":1}"#)),
        ("a field that is gone", started.replace(r#""attempt":1,"#, "")),
    ];
    for (what, body) in newer {
        let error = JobEvent::decode(body.as_bytes()).unwrap_err();
        assert!(error.may_be_newer(), "{what}: {error}");
    }
    let created = fixture("created").replace(r#""priority":"normal""#, r#""priority":"urgent""#);
    assert!(JobCreated::decode(created.as_bytes()).unwrap_err().may_be_newer());
    let cancel = fixture("cancel").replace("requested", "budget");
    assert!(JobCancel::decode(cancel.as_bytes()).unwrap_err().may_be_newer());
    // Known elsewhere, but not in this stream.
    assert!(JobEvent::decode(fixture("cancel").as_bytes()).unwrap_err().may_be_newer());
}

#[test]
fn a_message_holds_one_event_or_a_list_of_them() {
    let (started, finished) = (fixture("started"), fixture("finished"));
    assert_eq!(batch::events(started.as_bytes()).unwrap(), [started.as_bytes()]);
    let both = format!(" [ {started} ,\n{finished}]");
    let members = batch::events(both.as_bytes()).unwrap();
    assert_eq!(members, [started.as_bytes(), finished.as_bytes()]);
    assert!(members.into_iter().all(|member| JobEvent::decode(member).is_ok()));
}

#[test]
fn a_member_that_is_no_event_does_not_hinder_the_others() {
    let started = fixture("started");
    let mixed = format!("[{started},7,[{started}],{started}]");
    let members = batch::events(mixed.as_bytes()).unwrap();
    let readable: Vec<bool> = members.into_iter().map(|member| JobEvent::decode(member).is_ok()).collect();
    assert_eq!(readable, [true, false, false, true]);
}

#[test]
fn a_list_that_is_no_batch_is_no_event_at_all() {
    let too_many = format!("[{}1]", "1,".repeat(batch::MAX_EVENTS));
    for body in ["[]", " [ ] ", "[{}", "[1]]", too_many.as_str()] {
        let error = batch::events(body.as_bytes()).unwrap_err();
        assert!(!error.may_be_newer(), "{error}");
    }
}
