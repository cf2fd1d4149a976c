use super::*;
use crate::http::read::read_json_object;

const NOW: i64 = 1_800_000_000_000;

fn at(seconds: i64) -> DateTime {
    DateTime::from_millis(NOW + seconds * 1000)
}

fn scheduled(json: &str) -> Job {
    let new_job: NewJob = read_json_object(json.as_bytes()).unwrap();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
    new_job.into_job(super::super::NextAction::Announce, None, at(0), at(5), trace)
}

fn changed(job: &Job, change: &str) -> Result<Job, Vec<String>> {
    let change: JobChange = read_json_object(change.as_bytes()).unwrap();
    let fields = |wrong: Vec<WrongField>| wrong.into_iter().map(|wrong| wrong.field).collect();
    change.applied_to(job, at(10)).map_err(fields)
}

#[test]
fn what_is_not_named_stays() {
    let job = scheduled(
        r#"{"kind":"own","delay_s":60,"queue":"a","priority":"high","timeout_s":7,"keep_s":9,"start_within_s":5,
            "payload":{"a":1},"retry":{"base_s":2}}"#,
    );
    assert_eq!(changed(&job, "{}").unwrap(), Job { revision: 1, ..job.clone() });
    assert_eq!((job.status, job.epoch, job.start_by), (Status::Scheduled, 0, Some(at(65))));
}

#[test]
fn a_new_time_counts_from_the_change_and_moves_the_time_to_start() {
    let job = scheduled(r#"{"kind":"own","delay_s":60,"start_within_s":5}"#);
    for (change, run_at, due, start_by) in [
        (r#"{"delay_s":100}"#, Some(at(110)), at(110), Some(at(115))),
        (r#"{"run_at":null}"#, None, at(10), Some(at(15))),
        (r#"{"run_at":null,"start_within_s":null}"#, None, at(10), None),
        (r#"{"start_within_s":7}"#, Some(at(60)), at(60), Some(at(67))),
    ] {
        let next = changed(&job, change).unwrap();
        assert_eq!(
            (next.run_at, next.next_action_at, next.start_by, next.expire_at),
            (run_at, Some(due), start_by, start_by),
            "{change}"
        );
    }
}

#[test]
fn null_stands_for_a_default() {
    let job = scheduled(
        r#"{"kind":"own","delay_s":60,"queue":"a","priority":"high","timeout_s":7,"max_attempts":9,"keep_s":9,
            "payload":{"a":1},"retry":{}}"#,
    );
    let null = r#"{"queue":null,"priority":null,"timeout_s":null,"max_attempts":null,"keep_s":null,"payload":null,"retry":null}"#;
    let default = scheduled(r#"{"kind":"own","delay_s":60}"#);
    let expected = Job { revision: 1, id: job.id, ..default };
    assert_eq!(changed(&job, null).unwrap(), expected);
}

#[test]
fn payload_and_pauses_are_merged_and_checked_as_those_of_a_new_job() {
    let sleep = scheduled(r#"{"kind":"sleep","delay_s":60,"payload":{"min_s":1,"max_s":2}}"#);
    assert_eq!(
        changed(&sleep, r#"{"payload":{"max_s":3}}"#).unwrap().payload.unwrap(),
        r#"{"min_s":1,"max_s":3}"#
    );
    assert_eq!(changed(&sleep, r#"{"payload":{"max_s":"x"}}"#), Err(vec!["payload.max_s".to_owned()]));
    let job = scheduled(r#"{"kind":"own","delay_s":60,"retry":{"base_s":5,"max_s":7}}"#);
    let retry = |change: &str| changed(&job, change).map(|job| job.retry.unwrap());
    assert_eq!(retry(r#"{"retry":{"max_s":9}}"#), Ok(RetryPauses { base_s: 5.0, max_s: 9.0, factor: 2.0 }));
    assert_eq!(retry(r#"{"retry":{"max_s":4}}"#), Err(vec!["retry.max_s".to_owned()]));
    assert_eq!(retry(r#"{"retry":{"base_s":null}}"#).unwrap().base_s, RetryPauses::DEFAULT.base_s);
}

#[test]
fn what_is_wrong_is_named() {
    for (change, wrong) in [
        (r#"{"run_at":null,"delay_s":1}"#, vec!["delay_s", "run_at"]),
        (r#"{"delay_s":null}"#, vec!["delay_s"]),
        (r#"{"kind":"noop","object_id":"x"}"#, vec!["kind", "object_id"]),
        (r#"{"retry":{"factor":0.5},"payload":[]}"#, vec!["payload", "retry.factor"]),
    ] {
        let (errors, ..) = read_json_object::<JobChange>(change.as_bytes()).unwrap_err().into_parts();
        let fields: Vec<String> = errors.into_iter().map(|error| error.field).collect();
        assert_eq!(fields, wrong, "{change}");
    }
}
