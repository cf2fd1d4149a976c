use super::*;
use crate::{AttemptOutcome, JobEvent, Status, json_text::MAX_JSON_BYTES};

/// The longest error, all of it in need of escaping.
fn longest() -> JobError {
    JobError::new("\u{1}".repeat(5000), "\u{1}".repeat(1 << 20))
}

#[test]
fn the_largest_events_are_within_what_the_broker_takes() {
    let (job, at) = (JobId::generate(), Timestamp::from_millis(1_800_000_000_123));
    let worker = WorkerId::from(format!("{}-4194304-deadbeef", "h".repeat(64)));
    let attempt = |attempt| AttemptSummary {
        attempt,
        worker: worker.clone(),
        started_at: at,
        ended_at: at,
        outcome: AttemptOutcome::Cancelled,
        charged: false,
        error: Some(longest()),
        output: None,
        log: Vec::new(),
    };
    let attempts: Vec<AttemptSummary> = (u32::MAX - 99..=u32::MAX).map(attempt).collect();
    let result = JsonText::from_stored(format!("\"{}\"", "x".repeat(MAX_JSON_BYTES - 2))).ok();
    let ended = JobEvent::Ended(
        Status::Cancelled,
        JobEnded {
            job,
            run: u32::MAX,
            attempt: u32::MAX,
            started_at: Some(at),
            ended_at: at,
            result,
            error: Some(longest()),
            reason: Some(CancelReason::Requested),
            attempts,
        },
    );
    let trace = Some(TraceContext::start());
    let bytes = ended.encode(at, trace).unwrap();
    assert!((900_000..MAX_EVENT_BYTES).contains(&bytes.len()), "{}", bytes.len());

    let name = "n".repeat(crate::names::MAX_NAME_LEN);
    let payload = JsonText::from_stored(format!("{{\"p\":\"{}\"}}", "x".repeat(MAX_JSON_BYTES - 8))).unwrap();
    assert_eq!(payload.as_str().len(), MAX_JSON_BYTES);
    let created = JobCreated {
        job,
        run: u32::MAX,
        epoch: u32::MAX,
        kind: name.parse().unwrap(),
        queue: name.parse().unwrap(),
        priority: Priority::Normal,
        payload,
        limits: Limits { timeout_s: Limits::MAX_TIMEOUT_S, max_attempts: Limits::MAX_ATTEMPTS },
        cancel_requested: true,
        start_by: None,
        retry: None,
        created_at: at,
    };
    assert!(created.encode(at, trace).unwrap().len() < MAX_EVENT_BYTES);
}
