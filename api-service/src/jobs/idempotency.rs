//! What tells a new job that is asked for again from another one.

use shared_events::{Priority, Queue};

use super::{NewJob, timing::Retry};
use crate::idempotency::CanonicalObject;

/// The hash that is stored with a job's key: the same for the same fields, in whatever order and spacing they were sent,
/// and whether a field that has its default was sent or not.
pub(super) fn request_hash(new_job: &NewJob) -> String {
    fields(new_job).request_hash()
}

fn fields(new_job: &NewJob) -> CanonicalObject {
    let NewJob { kind, payload, queue, priority, object_id, timeout_s, max_attempts, keep_s, .. } = new_job;
    let NewJob { run_at, delay_s, start_within_s, retry, .. } = new_job;
    let mut fields = CanonicalObject::default();
    fields.add("kind", &Some(kind), &None);
    fields.add_text("payload", payload.as_str(), "{}");
    fields.add("queue", queue, &Queue::default());
    fields.add("priority", priority, &Priority::default());
    fields.add("object_id", &object_id.as_deref(), &None);
    fields.add("timeout_s", timeout_s, &NewJob::default_timeout());
    fields.add("max_attempts", max_attempts, &NewJob::default_max_attempts());
    fields.add("keep_s", keep_s, &None);
    fields.add("run_at", run_at, &None);
    fields.add("delay_s", delay_s, &None);
    fields.add("start_within_s", start_within_s, &None);
    fields.add("retry", &retry.map(Retry::pauses), &None);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::read::read_json_object;

    fn new_job(json: &str) -> NewJob {
        read_json_object(json.as_bytes()).unwrap()
    }

    fn text(json: &str) -> String {
        fields(&new_job(json)).text()
    }

    /// Replicas of several versions compare these: a value that changes here needs another version of the hash.
    #[test]
    fn hashes_are_what_they_always_were() {
        for (json, canonical, hash) in [
            (
                r#"{"kind":"noop"}"#,
                r#"{"kind":"noop"}"#,
                "v1:f6ff28cc6355a0d36a765bc4ae736d64a500d73580809483c41fe7ccf32d9742",
            ),
            (
                r#"{"timeout_s":7,"queue":"mail","payload":{"b":1.50,"a":"\u00e9"},"priority":"high","object_id":"é\"","kind":"own","max_attempts":1}"#,
                r#"{"kind":"own","max_attempts":1,"object_id":"é\"","payload":{"a":"\u00e9","b":1.50},"priority":"high","queue":"mail","timeout_s":7}"#,
                "v1:e6a316d93829afe068f6122747290c96b2eca31280cd63949be1c27ad9069ea5",
            ),
        ] {
            assert_eq!(text(json), canonical);
            assert_eq!(request_hash(&new_job(json)), hash);
        }
    }

    #[test]
    fn order_spacing_and_defaults_do_not_count() {
        let short = request_hash(&new_job(r#"{"kind":"noop"}"#));
        let long = r#" { "max_attempts" : 5, "timeout_s":46,"priority":"normal", "queue":"default","payload": { },
            "kind":"noop" } "#;
        assert_eq!(request_hash(&new_job(long)), short);
        for other in [
            r#"{"kind":"noop","payload":{"a":1}}"#,
            r#"{"kind":"noop","queue":"a"}"#,
            r#"{"kind":"noop","priority":"low"}"#,
            r#"{"kind":"noop","object_id":"a"}"#,
            r#"{"kind":"noop","timeout_s":45}"#,
            r#"{"kind":"noop","max_attempts":4}"#,
            r#"{"kind":"noop","keep_s":60}"#,
            r#"{"kind":"noop","run_at":"2026-11-20T12:00:00Z"}"#,
            r#"{"kind":"noop","delay_s":60}"#,
            r#"{"kind":"noop","start_within_s":60}"#,
            r#"{"kind":"noop","retry":{}}"#,
            r#"{"kind":"own"}"#,
        ] {
            assert_ne!(request_hash(&new_job(other)), short, "{other}");
        }
    }

    #[test]
    fn numbers_and_strings_of_a_payload_count_by_their_text() {
        let of = |payload: &str| request_hash(&new_job(&format!(r#"{{"kind":"own","payload":{payload}}}"#)));
        assert_eq!(of(r#"{"a":1,"b":[2]}"#), of(r#"{ "b" : [ 2 ], "a" : 1 }"#));
        assert_ne!(of(r#"{"a":1}"#), of(r#"{"a":1.0}"#));
        assert_ne!(of(r#"{"a":"é"}"#), of(r#"{"a":"\u00e9"}"#));
    }
}
