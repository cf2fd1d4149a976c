//! A merge patch of a payload (RFC 7396), on its text: what the patch does not name stays as it was written.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The members of an object in their order; of a name that is there twice, the last one counts.
#[derive(Deserialize)]
#[serde(transparent)]
struct Members<'a>(#[serde(borrow)] IndexMap<String, &'a RawValue>);

fn members(json: &str) -> Option<IndexMap<String, &RawValue>> {
    serde_json::from_str(json).ok().map(|Members(members)| members)
}

/// What the patch makes of the target; both are valid JSON.
pub(super) fn merged(target: &str, patch: &str) -> String {
    let Some(patch) = members(patch) else { return patch.to_owned() };
    let target = members(target).unwrap_or_default();
    let mut all: IndexMap<String, String> =
        target.iter().map(|(name, value)| (name.clone(), value.get().to_owned())).collect();
    for (name, value) in patch {
        if value.get() == "null" {
            all.shift_remove(&name);
        } else {
            let before = target.get(&name).map_or("null", |value| value.get());
            all.insert(name, merged(before, value.get()));
        }
    }
    let member = |(name, value): (String, String)| format!("{}:{value}", serde_json::Value::String(name));
    let all: Vec<String> = all.into_iter().map(member).collect();
    format!("{{{}}}", all.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 7396, appendix A, that are patches by an object.
    #[test]
    fn it_is_a_merge_patch() {
        for (target, patch, expected) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(merged(target, patch), expected, "{target} {patch}");
        }
    }

    #[test]
    fn what_is_not_named_stays_to_the_letter() {
        let target = r#"{"n": 1.50e2, "s":"\u00e9",  "list":[ 1,2 ]}"#;
        assert_eq!(merged(target, r#"{"x": 0.10}"#), r#"{"n":1.50e2,"s":"\u00e9","list":[ 1,2 ],"x":0.10}"#);
    }
}
