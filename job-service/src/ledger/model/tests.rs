use std::time::Duration;

use shared_events::{AttemptOutcome, Captured, JobCreated, JobId, Limits, ProgramOutput};

use super::*;
use crate::ledger::transitions::ATTEMPTS_KEPT;

pub(crate) const LEASE: Duration = Duration::from_secs(30);

pub(crate) fn at(seconds: i64) -> DateTime {
    DateTime::from_millis(1_800_000_000_000 + seconds * 1000)
}

pub(crate) fn worker(name: &str) -> WorkerId {
    WorkerId::from(name.to_owned())
}

pub(crate) fn announced(cancel_requested: bool) -> JobCreated {
    JobCreated {
        job: JobId::generate(),
        run: 1,
        epoch: 1,
        kind: "noop".parse().unwrap(),
        queue: Queue::default(),
        priority: Priority::Normal,
        payload: JsonText::empty_object(),
        limits: Limits { timeout_s: 46, max_attempts: 2 },
        cancel_requested,
        created_at: Timestamp::from_millis(at(0).timestamp_millis()),
        start_by: None,
        retry: None,
    }
}

pub(crate) fn running() -> Run {
    Run::fresh(&announced(false), None, &worker("one"), at(0), LEASE)
}

#[test]
fn a_fresh_claim_is_charged_and_looked_at_when_its_lease_ends() {
    let run = running();
    assert_eq!((run.status, run.attempt, run.charged), (Status::Running, 1, 1));
    assert_eq!(
        (run.next_action, run.next_action_at, run.lease_until),
        (Some(NextAction::Run), Some(at(30)), Some(at(30)))
    );
}

#[test]
fn a_cancel_known_before_the_claim_means_no_attempt() {
    let run = Run::fresh(&announced(true), None, &worker("one"), at(0), LEASE);
    assert_eq!((run.status, run.attempt, run.reason), (Status::Cancelled, 0, Some(CancelReason::Requested)));
    assert_eq!(run.next_action, Some(NextAction::Announce));
}

#[test]
fn a_run_that_waits_for_a_slot_has_no_attempt_and_is_due() {
    let run = Run::waiting(&announced(false), None, at(0));
    assert_eq!((run.status, run.attempt, run.charged, &run.worker), (Status::Queued, 0, 0, &None));
    assert_eq!((run.next_action, run.next_action_at), (Some(NextAction::Run), Some(at(0))));
    assert!(!run.is_recovered_by_redelivery());
    let claimed = run.claimed(&worker("one"), at(5), LEASE);
    assert_eq!((claimed.status, claimed.attempt, claimed.attempts.len()), (Status::Running, 1, 0));
    assert_eq!(Run::waiting(&announced(true), None, at(0)).status, Status::Cancelled);
}

#[test]
fn what_is_claimed_too_late_ends_without_an_attempt() {
    let start_by = Some(Timestamp::from_millis(at(5).timestamp_millis()));
    let claimed = |seconds| {
        let announced = JobCreated { start_by, ..announced(false) };
        Run::fresh(&announced, None, &worker("one"), at(seconds), LEASE)
    };
    assert_eq!(claimed(4).status, Status::Running);
    let late = claimed(5);
    assert_eq!((late.status, late.attempt, late.reason), (Status::Cancelled, 0, Some(CancelReason::Expired)));
    assert_eq!(late.next_action, Some(NextAction::Announce));
}

#[test]
fn a_lost_lease_is_remembered_and_charged() {
    let run = running().claimed(&worker("two"), at(31), LEASE);
    assert_eq!((run.attempt, run.charged, run.lost), (2, 2, 1));
    let lost = &run.attempts[0];
    assert_eq!((lost.outcome, lost.charged, lost.worker.as_str()), (AttemptOutcome::Lost, true, "one"));
}

#[test]
fn a_release_charges_nothing_and_is_due_at_once() {
    let run = running().ended(AttemptEnd::Released, at(3), at(8));
    assert_eq!((run.status, run.charged, run.attempt), (Status::Queued, 0, 1));
    assert_eq!((run.next_at, run.next_action_at), (Some(at(3)), Some(at(3))));
    assert!(!run.attempts[0].charged);
}

#[test]
fn a_run_of_an_unknown_kind_waits_uncharged_and_remembers_since_when() {
    let error = || JobError::new("unknown_kind", "");
    let first = running().ended(AttemptEnd::UnknownKind(error(), at(5)), at(3), at(8));
    assert_eq!((first.status, first.charged, first.unknown_kind_since), (Status::Queued, 0, Some(at(3))));
    assert_eq!(first.attempts[0].error, Some(error()));
    let second = first.claimed(&worker("two"), at(6), LEASE);
    let second = second.ended(AttemptEnd::UnknownKind(error(), at(9)), at(7), at(12));
    assert_eq!((second.charged, second.unknown_kind_since), (0, Some(at(3))));
}

#[test]
fn an_unannounced_retry_is_looked_at_before_it_is_due_and_run_when_it_is() {
    let error = JobError::new("planned", "");
    let run = running().ended(AttemptEnd::Retry(error.clone(), at(100), None), at(3), at(8));
    assert_eq!((run.next_action, run.next_action_at), (Some(NextAction::AnnounceAndRun), Some(at(8))));
    let soon = running().ended(AttemptEnd::Retry(error, at(4), None), at(3), at(8));
    assert_eq!(soon.next_action_at, Some(at(4)));
}

#[test]
fn an_end_tells_all_attempts() {
    let run = running().claimed(&worker("two"), at(31), LEASE);
    let run = run.ended(AttemptEnd::Finished(None), at(32), at(37));
    let Some(JobEvent::Ended(Status::Finished, ended)) = run.announcement() else { panic!("{run:?}") };
    assert_eq!(ended.attempts.iter().map(|attempt| attempt.attempt).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_run_remembers_its_latest_hundred_attempts() {
    let mut run = running();
    for seconds in 1..150 {
        run = run.ended(AttemptEnd::Released, at(seconds), at(seconds)).claimed(
            &worker("one"),
            at(seconds),
            LEASE,
        );
    }
    assert_eq!(run.attempts.len(), ATTEMPTS_KEPT);
    assert_eq!(run.attempts.last().map(|attempt| attempt.attempt), Some(149));
}

#[test]
fn a_document_reads_back_what_was_written() {
    let run = running().ended(AttemptEnd::Failed(JobError::new("planned", "ü"), None), at(3), at(8));
    let document = bson::serialize_to_raw_document_buf(&run).unwrap();
    assert_eq!(bson::deserialize_from_slice::<Run>(document.as_bytes()).unwrap(), run);
}

#[test]
fn an_output_is_kept_whole_until_the_next_attempt_ends_and_in_short_beside_it() {
    let whole = |text: &str| JsonText::of(&text).ok();
    let retry = |output| AttemptEnd::Retry(JobError::new("planned", ""), at(3), output);
    let long = "x".repeat(10_000);
    let run = running().ended(retry(whole(&long)), at(3), at(8));
    assert_eq!(run.output, whole(&long).map(JsonText::into_text));
    let short = run.attempts[0].output.clone().unwrap();
    assert!((4000..=4096).contains(&short.encoded_len()));
    let again = run.claimed(&worker("two"), at(4), LEASE);
    assert_eq!(again.output, run.output, "a claim changes nothing about it");
    let none = again.clone().ended(retry(None), at(5), at(8));
    assert_eq!((none.output, none.attempts[0].output.as_ref()), (None, Some(&short)));
    let cancelled =
        again.clone().ended(AttemptEnd::Cancelled(CancelReason::Timeout, whole("a")), at(5), at(8));
    assert_eq!((cancelled.result.as_deref(), cancelled.output), (Some("\"a\""), None));
    let done = again.ended(AttemptEnd::Finished(whole("b")), at(5), at(8));
    assert_eq!((done.result.as_deref(), done.output, &done.attempts[1].output), (Some("\"b\""), None, &None));
}

#[test]
fn an_output_reads_back_as_it_was_written_whichever_way() {
    let stdout = Captured::new("ü\0".as_bytes(), u64::from(u32::MAX));
    let (exit_code, signal, stderr, duration_ms) = (None, Some(9), Captured::default(), 12);
    let output = JsonText::of(&ProgramOutput { exit_code, signal, stdout, stderr, duration_ms }).ok();
    let end = |output| AttemptEnd::Retry(JobError::new("planned", ""), at(3), output);
    let run = running().ended(end(output), at(3), at(8)).claimed(&worker("two"), at(4), LEASE);
    let run = run.ended(end(JsonText::from_stored(r#"{"n":1.50}"#.to_owned()).ok()), at(5), at(8));
    let raw = bson::serialize_to_raw_document_buf(&run).unwrap();
    let document = bson::serialize_to_document(&run).unwrap();
    assert_eq!(bson::deserialize_from_slice::<Run>(raw.as_bytes()).unwrap(), run);
    assert_eq!(bson::deserialize_from_slice::<bson::Document>(raw.as_bytes()).unwrap(), document);
    assert_eq!(bson::deserialize_from_document::<Run>(document.clone()).unwrap(), run);
    let attempt = document.get_array("attempts").unwrap()[0].clone();
    assert_eq!(bson::deserialize_from_bson::<AttemptSummary>(attempt).unwrap(), run.attempts[0]);
}

#[test]
fn documents_are_written_and_read_as_ever() {
    for name in ["run", "claimed_run", "run_with_output"] {
        let path = format!("{}/fixtures/v1/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let json: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        let document = bson::Document::try_from(json).unwrap();
        let run: Run = bson::deserialize_from_document(document.clone()).unwrap();
        let written = bson::serialize_to_document(&run).unwrap();
        let json = |document| bson::Bson::Document(document).into_relaxed_extjson();
        assert_eq!(json(written), json(document), "{name}");
    }
}
