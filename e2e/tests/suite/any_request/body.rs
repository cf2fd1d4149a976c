//! Bodies: right, nearly right, and anything but right.

use e2e::CONTRACT;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use super::route::Route;
use super::schema;

/// A body for a request of this method to this route.
pub(crate) fn body(random: &mut StdRng, route: Route, method: &str) -> Vec<u8> {
    if is_lines(route, method) {
        return lines(random).into_bytes();
    }
    let fine = fine(random, route, method);
    let text = fine.to_string();
    match random.random_range(0..20_u32) {
        0..10 => text.into_bytes(),
        10 => Vec::new(),
        11 => text.into_bytes()[..random.random_range(0..text_length(&fine))].to_vec(),
        12 => wrong_value(random, fine).to_string().into_bytes(),
        13 => with_field(fine, "shoe", json!(1)).to_string().into_bytes(),
        14 => nested(random.random_range(1..300_usize)).into_bytes(),
        15 => (0..random.random_range(1..200_usize)).map(|_| random.random()).collect(),
        16 => json_like(random).into_bytes(),
        17 => [b"{\"kind\":\"noop\",\"payload\":{\"a\":\"", &[0xff, 0xfe, 0x80][..], b"\"}}"].concat(),
        18 => format!(r#"{{"kind":"noop",{}"#, &text[1..]).into_bytes(),
        _ => large(random).into_bytes(),
    }
}

/// Whether the route takes lines of JSON.
pub(crate) fn is_lines(route: Route, method: &str) -> bool {
    let content =
        |operation: &Value| operation["requestBody"]["content"].get("application/x-ndjson").is_some();
    route.operation(method).is_some_and(content)
}

/// Lines of an import: jobs that had ended, and others; nearly right, and wrong.
fn lines(random: &mut StdRng) -> String {
    let line = |random: &mut StdRng| {
        let id = uuid::Uuid::now_v7();
        let now = time::OffsetDateTime::now_utc().format(&Rfc3339).expect("a time can be written");
        let mut job = json!({
            "id": id, "created_at": now, "kind": "noop", "run": 1, "ended_at": now, "status": "finished",
        });
        match random.random_range(0..8_u32) {
            0..4 => {}
            4 => job = wrong_value(random, job),
            5 => job = with_field(job, "status", json!("queued")),
            6 => job = with_field(job, "created_at", json!("2001-01-01T00:00:00Z")),
            _ => return json_like(random),
        }
        json!({ "job": job }).to_string()
    };
    let lines: Vec<String> = (0..random.random_range(0..5_u32)).map(|_| line(random)).collect();
    lines.join("\n")
}

fn text_length(value: &Value) -> usize {
    value.to_string().len()
}

/// What the document has for this route: one of its examples, or a value of its schema.
fn fine(random: &mut StdRng, route: Route, method: &str) -> Value {
    let body =
        route.operation(method).map(|operation| &operation["requestBody"]["content"]["application/json"]);
    let Some(content) = body.filter(|content| content.is_object()) else { return json!({}) };
    let mut body = schema::value(random, &content["schema"]);
    if let Some(jobs) = body.get_mut("jobs").and_then(Value::as_array_mut) {
        jobs.iter_mut().for_each(|job| with_example(random, job));
        if random.random_bool(0.05) {
            *jobs = vec![json!({ "kind": "noop" }); 1000];
        }
    } else if body.get("kind").is_some() {
        with_example(random, &mut body);
    }
    body
}

/// The job as one of a kind's examples, where there are some for creating one.
fn with_example(random: &mut StdRng, job: &mut Value) {
    let create = CONTRACT.operation("POST", "/v1/jobs").expect("jobs can be created");
    let examples = create["requestBody"]["content"]["application/json"]["examples"].as_object();
    let examples: Vec<&Value> = examples.into_iter().flat_map(|examples| examples.values()).collect();
    let Some(example) = examples.choose(random).filter(|_| random.random_bool(0.8)) else { return };
    for (name, value) in example["value"].as_object().expect("a job is an object") {
        job[name] = value.clone();
    }
}

fn with_field(mut value: Value, field: &str, given: Value) -> Value {
    value[field] = given;
    value
}

fn wrong_value(random: &mut StdRng, value: Value) -> Value {
    let field = [
        "kind",
        "payload",
        "queue",
        "priority",
        "object_id",
        "timeout_s",
        "max_attempts",
        "keep_s",
        "jobs",
        "reason",
        "id",
        "name",
        "email",
        "group",
    ];
    let wrong = [
        json!(null),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(""),
        json!("\u{0}"),
        json!("x".repeat(2000)),
        json!([]),
        json!([[]]),
        json!({ "a": {} }),
        json!(true),
    ];
    with_field(value, field.choose(random).unwrap(), wrong.choose(random).unwrap().clone())
}

fn nested(levels: usize) -> String {
    format!(r#"{{"kind":"noop","payload":{{"a":{}{}}}}}"#, "[".repeat(levels), "]".repeat(levels))
}

fn json_like(random: &mut StdRng) -> String {
    let pieces = [
        "{", "}", "[", "]", "\"", ":", ",", "kind", "\\u", "\\", "1e", "-", "null", "tru", " ", "\u{fc}", "0",
    ];
    (0..random.random_range(1..30_u32)).map(|_| *pieces.choose(random).unwrap()).collect()
}

/// Around the limits of a payload, of a body, and now and then of nginx.
fn large(random: &mut StdRng) -> String {
    let bytes = if random.random_bool(0.1) {
        17 << 20
    } else {
        *[600_000, 524_000, 1_100_000].choose(random).unwrap()
    };
    format!(r#"{{"kind":"own","payload":{{"a":"{}"}}}}"#, "x".repeat(bytes))
}
