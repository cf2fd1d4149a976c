//! Bodies: right, nearly right, and anything but right.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use super::route::Route;

/// A body for a POST to this route.
pub(crate) fn body(random: &mut StdRng, route: Route) -> Vec<u8> {
    let fine = fine(random, route);
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

fn text_length(value: &Value) -> usize {
    value.to_string().len()
}

fn fine(random: &mut StdRng, route: Route) -> Value {
    match route {
        Route::Batch => {
            let count = *[1_usize, 1, 2, 2, 3, 3, 5, 5, 20, 1000].choose(random).unwrap();
            let jobs: Vec<Value> = (0..count).map(|_| job(random)).collect();
            json!({ "jobs": jobs })
        }
        Route::Cancel | Route::BulkCancel => json!({ "reason": "generated" }),
        Route::Retry | Route::BulkRetry => json!({}),
        Route::OldRoot => json!({ "object_id": object(random) }),
        _ => job(random),
    }
}

fn object(random: &mut StdRng) -> String {
    format!("object-{}", random.random_range(0..30_u32))
}

fn job(random: &mut StdRng) -> Value {
    let kind = ["noop", "shuffle", "sleep", "own"].choose(random).unwrap();
    let mut job = json!({ "kind": kind });
    match *kind {
        "shuffle" => job["payload"] = json!({ "text": "text", "pause_s": 0 }),
        "sleep" => job["payload"] = json!({ "min_s": 0, "max_s": 0.1 }),
        _ => {}
    }
    for (field, value) in [
        ("queue", json!(["default", "nobody"].choose(random).unwrap())),
        ("priority", json!(["high", "normal", "low"].choose(random).unwrap())),
        ("object_id", json!(object(random))),
        ("timeout_s", json!(random.random_range(1..100_u32))),
        ("max_attempts", json!(random.random_range(1..3_u32))),
    ] {
        if random.random_bool(0.2) {
            job[field] = value;
        }
    }
    job
}

fn with_field(mut value: Value, field: &str, given: Value) -> Value {
    value[field] = given;
    value
}

fn wrong_value(random: &mut StdRng, value: Value) -> Value {
    let field =
        ["kind", "payload", "queue", "priority", "object_id", "timeout_s", "max_attempts", "jobs", "reason"];
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
