//! What a client of an older document would trip over in a newer one.

use serde_json::Value;

/// How deep schemas are compared; a schema that refers to itself ends there.
const MAX_DEPTH: usize = 12;

/// Who writes a value of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    /// The client: what was right must stay right.
    ByClient,
    /// The service: what was promised must still be there.
    ByService,
}

/// Two documents, and what was found so far.
struct Comparison<'a> {
    old: &'a Value,
    new: &'a Value,
    breaks: Vec<String>,
}

/// All changes from one document to another that break a client, a line each.
pub(crate) fn breaking_changes(old: &Value, new: &Value) -> Vec<String> {
    let mut comparison = Comparison { old, new, breaks: Vec::new() };
    for (path, item) in entries(&old["paths"]) {
        for (method, operation) in entries(item) {
            let name = format!("{} {path}", method.to_uppercase());
            match new["paths"].get(path).and_then(|item| item.get(method)) {
                Some(now) => comparison.operation(&name, operation, now),
                None => comparison.breaks.push(format!("{name} is gone")),
            }
        }
    }
    comparison.breaks
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

impl Comparison<'_> {
    fn operation(&mut self, name: &str, old: &Value, new: &Value) {
        let same = |one: &Value, other: &Value| one["name"] == other["name"] && one["in"] == other["in"];
        for parameter in list(&old["parameters"]) {
            let what = format!("{name}: parameter {}", parameter["name"].as_str().unwrap_or_default());
            match list(&new["parameters"]).iter().find(|now| same(now, parameter)) {
                Some(now) => {
                    if now["required"] == true && parameter["required"] != true {
                        self.breaks.push(format!("{what} is required now"));
                    }
                    self.schema(&what, &parameter["schema"], &now["schema"], Written::ByClient, 0);
                }
                None => self.breaks.push(format!("{what} is gone")),
            }
        }
        for parameter in list(&new["parameters"]).iter().filter(|parameter| parameter["required"] == true) {
            if !list(&old["parameters"]).iter().any(|before| same(before, parameter)) {
                let what = parameter["name"].as_str().unwrap_or_default();
                self.breaks.push(format!("{name}: parameter {what} is new and required"));
            }
        }
        self.content(&format!("{name}: body"), &old["requestBody"], &new["requestBody"], Written::ByClient);
        if new["requestBody"]["required"] == true && old["requestBody"]["required"] != true {
            self.breaks.push(format!("{name}: body is required now"));
        }
        for (status, response) in entries(&old["responses"]) {
            let what = format!("{name}: {status}");
            match new["responses"].get(status) {
                Some(now) => {
                    self.content(&what, response, now, Written::ByService);
                    for (header, _) in entries(&response["headers"]) {
                        if now["headers"].get(header).is_none() {
                            self.breaks.push(format!("{what}: header {header} is gone"));
                        }
                    }
                }
                // What is never answered any more trips nobody over, but a success does.
                None if status.starts_with('2') => self.breaks.push(format!("{what} is gone")),
                None => {}
            }
        }
    }

    fn content(&mut self, what: &str, old: &Value, new: &Value, written: Written) {
        for (content_type, content) in entries(&old["content"]) {
            match new["content"].get(content_type) {
                Some(now) => self.schema(what, &content["schema"], &now["schema"], written, 0),
                None => self.breaks.push(format!("{what}: {content_type} is gone")),
            }
        }
    }

    fn schema(&mut self, what: &str, old: &Value, new: &Value, written: Written, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        let (old, new) = (resolved(self.old, old), resolved(self.new, new));
        if old["type"] != new["type"] {
            return self.breaks.push(format!("{what} is {} now", new["type"]));
        }
        if written == Written::ByClient {
            self.limits(what, old, new);
        }
        for (property, schema) in entries(&old["properties"]) {
            let inside = format!("{what}: {property}");
            match new["properties"].get(property) {
                Some(now) => self.schema(&inside, schema, now, written, depth + 1),
                None => self.breaks.push(format!("{inside} is gone")),
            }
        }
        let (before, now) = (list(&old["required"]), list(&new["required"]));
        let (from, to, changed) = match written {
            Written::ByClient => (before, now, "is required now"),
            Written::ByService => (now, before, "may be absent now"),
        };
        for name in to.iter().filter(|name| !from.contains(name)).filter_map(Value::as_str) {
            self.breaks.push(format!("{what}: {name} {changed}"));
        }
        self.schema(&format!("{what}[]"), &old["items"], &new["items"], written, depth + 1);
        for (before, now) in list(&old["allOf"]).iter().zip(list(&new["allOf"])) {
            self.schema(what, before, now, written, depth + 1);
        }
    }

    /// What was allowed and is no longer.
    fn limits(&mut self, what: &str, old: &Value, new: &Value) {
        let number = |schema: &Value, name: &str| schema[name].as_f64();
        for (name, lowered) in [
            ("minimum", false),
            ("minLength", false),
            ("minItems", false),
            ("maximum", true),
            ("maxLength", true),
            ("maxItems", true),
        ] {
            let narrower = match (number(old, name), number(new, name)) {
                (Some(before), Some(now)) => {
                    if lowered {
                        now < before
                    } else {
                        now > before
                    }
                }
                (None, Some(_)) => true,
                (_, None) => false,
            };
            if narrower {
                self.breaks.push(format!("{what}: {name} is {} now", new[name]));
            }
        }
        if old["pattern"] != new["pattern"] && !new["pattern"].is_null() {
            self.breaks.push(format!("{what} must match {} now", new["pattern"]));
        }
        for value in list(&old["enum"]).iter().filter(|value| !list(&new["enum"]).contains(value)) {
            self.breaks.push(format!("{what} may not be {value} any more"));
        }
        if new["additionalProperties"] == false && old["additionalProperties"] != false {
            self.breaks.push(format!("{what} takes no other fields now"));
        }
    }
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let Some(reference) = schema["$ref"].as_str() else { return schema };
    document.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changed(path: &str, value: Option<Value>) -> Vec<String> {
        let old = api_service::document().unwrap();
        let mut new = old.clone();
        let (parent, name) = path.rsplit_once('/').unwrap();
        let name = name.replace("~1", "/");
        let parent = new.pointer_mut(parent).unwrap_or_else(|| panic!("{path}")).as_object_mut().unwrap();
        match value {
            Some(value) => parent.insert(name, value),
            None => parent.remove(&name),
        };
        breaking_changes(&old, &new)
    }

    #[test]
    fn what_breaks_a_client_is_found() {
        let schemas = "/components/schemas";
        for (path, value, told) in [
            ("/paths/~1v1~1jobs~1{id}/delete".to_owned(), None, "DELETE /v1/jobs/{id} is gone"),
            (
                format!("{schemas}/NewJob/required"),
                Some(json!(["kind", "queue"])),
                "POST /v1/jobs: body: queue is required now",
            ),
            (
                format!("{schemas}/NewJob/properties/max_attempts/maximum"),
                Some(json!(50)),
                "POST /v1/jobs: body: max_attempts: maximum is 50 now",
            ),
            (format!("{schemas}/NewJob/properties/priority"), None, "POST /v1/jobs: body: priority is gone"),
            (
                format!("{schemas}/Priority/enum"),
                Some(json!(["high", "normal"])),
                "POST /v1/jobs: body: priority may not be \"low\" any more",
            ),
            (format!("{schemas}/Job/properties/worker"), None, "GET /v1/jobs/{id}: 200: worker is gone"),
            (
                format!("{schemas}/Job/properties/run/type"),
                Some(json!("string")),
                "GET /v1/jobs/{id}: 200: run is \"string\" now",
            ),
            (
                format!("{schemas}/Job/required"),
                Some(json!(["id"])),
                "GET /v1/jobs/{id}: 200: status may be absent now",
            ),
            ("/paths/~1v1~1jobs/post/responses/201".to_owned(), None, "POST /v1/jobs: 201 is gone"),
            (
                "/paths/~1v1~1jobs/get/parameters".to_owned(),
                Some(json!([])),
                "GET /v1/jobs: parameter status is gone",
            ),
        ] {
            let breaks = changed(&path, value);
            assert!(breaks.iter().any(|found| found == told), "{told}: {breaks:?}");
        }
    }

    #[test]
    fn what_breaks_nobody_is_passed_over() {
        let schemas = "/components/schemas";
        for (path, value) in [
            (format!("{schemas}/Job/properties/colour"), json!({ "type": "string" })),
            (format!("{schemas}/NewJob/properties/colour"), json!({ "type": "string" })),
            (format!("{schemas}/NewJob/properties/max_attempts/maximum"), json!(500)),
            (format!("{schemas}/Job/description"), json!("another one")),
            ("/paths/~1v2".to_owned(), json!({ "get": {} })),
        ] {
            assert_eq!(changed(&path, Some(value)), Vec::<String>::new(), "{path}");
        }
    }
}
