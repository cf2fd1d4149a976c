//! Values that a schema of the API's document allows.

use e2e::CONTRACT;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Map, Value, json};

/// The most that a number is above its minimum: jobs of these requests are not to last.
const SPREAD: i64 = 100;

/// A value of this schema.
pub(crate) fn value(random: &mut StdRng, schema: &Value) -> Value {
    let schema = CONTRACT.resolve(schema);
    if let Some(choices) = schema["enum"].as_array() {
        return choices.choose(random).expect("an enum has values").clone();
    }
    match schema["type"].as_str() {
        Some("integer") => {
            let least = schema["minimum"].as_i64().unwrap_or(0);
            let most = schema["maximum"].as_i64().unwrap_or(i64::MAX).min(least + SPREAD);
            json!(random.random_range(least..=most))
        }
        Some("array") => {
            let count = *[1, 1, 2, 3, 20].choose(random).expect("there are some");
            json!((0..count).map(|_| value(random, &schema["items"])).collect::<Vec<_>>())
        }
        Some("object") => object(random, schema),
        Some("boolean") => json!(random.random_bool(0.5)),
        _ => text(random, schema),
    }
}

fn object(random: &mut StdRng, schema: &Value) -> Value {
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    let is_required = |name: &str| {
        schema["required"].as_array().is_some_and(|required| required.iter().any(|known| known == name))
    };
    let mut object = Map::new();
    for (name, property) in properties {
        // A payload goes with its kind.
        if is_required(name) || (name != "payload" && random.random_bool(0.2)) {
            // A job that goes by itself would be taken for one that a refused request has removed.
            let value = if name == "keep_s" { json!(86_400) } else { value(random, property) };
            object.insert(name.clone(), value);
        }
    }
    object.into()
}

/// Few different texts, so that they meet again.
fn text(random: &mut StdRng, schema: &Value) -> Value {
    let number = random.random_range(0..30_u32);
    let text = match (schema["format"].as_str(), schema["pattern"].is_string()) {
        (Some("uuid"), _) => uuid::Uuid::now_v7().to_string(),
        (Some("email"), _) => format!("text-{number}@example.org"),
        (Some("date-time"), _) => "2020-01-01T00:00:00Z".to_owned(),
        (_, true) => {
            (*["default", "nobody", "own", "noop"].choose(random).expect("there are some")).to_owned()
        }
        _ => format!("text-{number}"),
    };
    json!(text)
}
