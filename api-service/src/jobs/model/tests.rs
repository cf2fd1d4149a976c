use super::*;
use crate::jobs::Generations;

/// A job whose run has every field that a run can have.
fn ended() -> Job {
    let at = DateTime::from_millis(1_800_000_000_000);
    let attempt = serde_json::json!({ "attempt": 3, "worker": "w-1-a", "started_at": "2027-01-15T08:00:00.000Z",
        "ended_at": "2027-01-15T08:00:00.000Z", "outcome": "failed", "charged": true });
    Job {
        id: Uuid::from_bytes([7; 16]),
        kind: "noop".parse().unwrap(),
        queue: Queue::default(),
        priority: Priority::High,
        payload: Some(r#"{"a":1}"#.to_owned()),
        object_id: Some("object".to_owned()),
        dedup_key: Some("object".to_owned()),
        idempotency_key: Some("key".to_owned()),
        idempotency_hash: Some("v1:hash".to_owned()),
        timeout_s: 7,
        max_attempts: 3,
        keep_s: None,
        retry: None,
        run_at: None,
        start_within_s: None,
        revision: 0,
        schedule: None,
        elsewhere: None,
        created_at: at,
        trace: None,
        run: 2,
        attempt: 3,
        status: Status::Failed,
        position: 15,
        worker: Some(serde_json::from_value("w-1-a".into()).unwrap()),
        started_at: Some(at),
        next_at: Some(at),
        ended_at: Some(at),
        result: Some("{}".to_owned()),
        output: Some("{}".to_owned()),
        error: Some(JobError { code: "code".to_owned(), message: "message".to_owned() }),
        reason: Some(CancelReason::Requested),
        attempts: vec![serde_json::from_value(attempt).unwrap()],
        start_by: Some(at),
        expire_at: Some(at),
        expiry_asked_at: Some(at),
        cancel: Some(Cancel { requested_at: at, reason: None }),
        epoch: 5,
        announced: Some(Announced {
            generations: Generations { jobs: 1, events: 1, control: 1 },
            sequence: 2,
            at,
        }),
        for_generation: Some(3),
        next_action: Some(NextAction::Check),
        next_action_at: Some(at),
    }
}

#[test]
fn an_action_is_stored_by_its_name() {
    use NextAction::{Announce, AwaitRoom, Cancel, Check, Promote};
    for action in [Promote, Announce, AwaitRoom, Cancel, Check] {
        assert_eq!(bson::serialize_to_bson(&action).unwrap(), action.as_str().into());
    }
}

#[test]
fn a_retry_writes_what_makes_the_next_run_and_nothing_else() {
    for start_within_s in [None, Some(60)] {
        next_run_of(&Job { start_within_s, ..ended() });
    }
}

fn next_run_of(job: &Job) {
    let (now, announce_by) =
        (DateTime::from_millis(1_800_000_030_000), DateTime::from_millis(1_800_000_060_000));
    let mut document = bson::serialize_to_document(job).unwrap();
    document.insert("of_a_newer_version", 1);
    let update: bson::Document =
        bson::deserialize_from_slice(job.next_run_update(now, announce_by).as_bytes()).unwrap();
    document.extend(update.get_document("$set").unwrap().clone());
    for field in update.get_document("$unset").unwrap().keys() {
        assert!(document.remove(field).is_some(), "{field} is no field of a job");
    }
    assert!(document.contains_key("of_a_newer_version"));
    let next: Job = bson::deserialize_from_document(document).unwrap();
    assert_eq!(next, job.next_run(now, announce_by));
}

fn fixture(name: &str) -> bson::Document {
    let path = format!("{}/fixtures/v1/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let json: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    bson::Document::try_from(json).unwrap()
}

#[test]
fn documents_are_written_and_read_as_ever() {
    for name in ["job", "new_job"] {
        let job: Job = bson::deserialize_from_document(fixture(name)).unwrap();
        let written = bson::serialize_to_document(&job).unwrap();
        let json = |document| bson::Bson::Document(document).into_relaxed_extjson();
        assert_eq!(json(written), json(fixture(name)), "{name}");
    }
}

#[test]
fn a_client_sees_a_job_as_ever() {
    let job: Job = bson::deserialize_from_document(fixture("job")).unwrap();
    let shown = serde_json::to_string(&super::super::view::JobView::from(&job)).unwrap();
    let path = format!("{}/fixtures/v1/job_view.json", env!("CARGO_MANIFEST_DIR"));
    let expected = std::fs::read_to_string(path).unwrap();
    // Numbers keep their text, the spaces between tokens do not count.
    let canonical = crate::idempotency::canonical;
    assert_eq!(canonical(&shown), canonical(&expected));
}

#[test]
fn a_stub_is_read_as_ever() {
    let stub: super::super::store::Stub = bson::deserialize_from_document(fixture("stub")).unwrap();
    assert_eq!(job_id(stub.id).to_string(), "01938a5e-7c00-7000-8000-000000000003");
    assert!(stub.idempotency_hash.is_some_and(|hash| hash.starts_with("v1:")));
}
