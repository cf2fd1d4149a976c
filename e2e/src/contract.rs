//! The API's document (`docs/openapi.json`), and whether answers are as it says.
//!
//! Every answer that a [`Client`](crate::Client) gets is held against it: its status, its content type, and its body's
//! schema.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use jsonschema::Validator;
use serde_json::{Value, json};

/// The document.
pub static CONTRACT: LazyLock<Contract> = LazyLock::new(Contract::read);

/// What nginx answers itself (`nginx/http.conf`), to any request: TRACE, what is no HTTP, and where no replica answers.
const OF_NGINX: [u16; 13] = [400, 404, 405, 408, 411, 413, 414, 431, 501, 502, 503, 504, 505];

/// The older system's path of a job: any that is one segment, unless others begin with that.
const OLD_JOB: &str = "/{job_id}";

/// What is answered where there is no such path or method, or a web page elsewhere has sent the request.
const OF_NO_OPERATION: [u16; 4] = [403, 404, 405, 421];

/// The API's document.
pub struct Contract {
    document: Value,
    validators: Mutex<HashMap<String, &'static Validator>>,
}

/// An answer, as far as the document says something about it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The request's path, without its query.
    pub path: &'a str,
    /// The status.
    pub status: u16,
    /// The content type, where there is one.
    pub content_type: Option<&'a str>,
    /// The body; empty where it is not known.
    pub body: &'a [u8],
}

impl Contract {
    fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
        let text = std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let document = serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { document, validators: Mutex::default() }
    }

    /// The paths, with their parameters in braces.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.document["paths"].as_object().into_iter().flat_map(|paths| paths.keys().map(String::as_str))
    }

    /// The operation of this method at this path of the document; GET's for HEAD.
    #[must_use]
    pub fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        let method = if method == "HEAD" { "get".to_owned() } else { method.to_ascii_lowercase() };
        self.document["paths"].get(path)?.get(method)
    }

    /// What a reference leads to; the value itself where it is none.
    #[must_use]
    pub fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(reference) = value["$ref"].as_str() else { return value };
        let found = self.document.pointer(reference.trim_start_matches('#'));
        found.unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }

    /// The document's path that a request's is.
    #[must_use]
    pub fn path_of(&self, path: &str) -> Option<&str> {
        let fixed = self.paths().find(|known| *known == path);
        let pattern = || self.paths().filter(|known| *known != OLD_JOB).find(|known| is_one_of(path, known));
        let first = |path: &str| path.split('/').nth(1).unwrap_or_default().to_lowercase();
        let is_reserved = || self.paths().any(|known| known != OLD_JOB && first(known) == first(path));
        let old = || (is_one_of(path, OLD_JOB) && !is_reserved()).then_some(OLD_JOB);
        fixed.or_else(pattern).or_else(old)
    }

    /// Says how an answer differs from what the document has.
    ///
    /// # Errors
    /// The difference.
    pub fn check(&self, seen: Seen<'_>) -> Result<(), String> {
        // Swagger UI's own files, and what leads to them.
        let leads_there = ["/swagger", "/api/v1", "/api/v1/"].contains(&seen.path);
        if leads_there || seen.path.starts_with("/swagger/") {
            return Ok(());
        }
        let operation = self.path_of(seen.path).and_then(|path| self.operation(seen.method, path));
        let documented = operation.and_then(|operation| operation["responses"].get(seen.status.to_string()));
        match documented.map(|response| self.check_content(seen, self.resolve(response))) {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) if OF_NGINX.contains(&seen.status) && self.check_problem(seen).is_ok() => Ok(()),
            Some(wrong) => wrong,
            None if seen.path == "/nginx/live" && seen.status == 204 => Ok(()),
            None if seen.method == "OPTIONS" && [200, 204].contains(&seen.status) => Ok(()),
            None if OF_NGINX.contains(&seen.status) => self.check_problem(seen),
            None if operation.is_none() && OF_NO_OPERATION.contains(&seen.status) => self.check_problem(seen),
            None => Err(format!("the document knows no {} here", seen.status)),
        }
    }

    fn check_content(&self, seen: Seen<'_>, response: &Value) -> Result<(), String> {
        let Some(content) = response["content"].as_object() else {
            let is_empty = seen.body.is_empty();
            return if is_empty { Ok(()) } else { Err("a body that the document does not know".to_owned()) };
        };
        let content_type = seen.content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let known = content.get(content_type).ok_or_else(|| format!("content type {content_type:?}"))?;
        if seen.body.is_empty() || !content_type.ends_with("json") || content_type.ends_with("ndjson") {
            return Ok(());
        }
        let body = serde_json::from_slice(seen.body).map_err(|error| format!("no JSON: {error}"))?;
        self.check_schema(&known["schema"], &body)
    }

    fn check_problem(&self, seen: Seen<'_>) -> Result<(), String> {
        let content = json!({ "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } } });
        self.check_content(seen, &content)
    }

    fn check_schema(&self, schema: &Value, body: &Value) -> Result<(), String> {
        let validator = self.validator(schema);
        let wrong: Vec<String> =
            validator.iter_errors(body).map(|error| format!("{} {error}", error.instance_path())).collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    /// The validator of a schema; each is made once.
    fn validator(&self, schema: &Value) -> &'static Validator {
        let mut validators = self.validators.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        validators.entry(schema.to_string()).or_insert_with(|| {
            let mut whole = schema.clone();
            whole["components"] = self.document["components"].clone();
            let options = jsonschema::options().should_validate_formats(true);
            let validator = options.build(&whole).unwrap_or_else(|error| panic!("{schema}: {error}"));
            Box::leak(Box::new(validator))
        })
    }
}

fn is_one_of(path: &str, known: &str) -> bool {
    let (mut segments, mut pattern) = (path.split('/'), known.split('/'));
    loop {
        match (segments.next(), pattern.next()) {
            (None, None) => return true,
            (Some(segment), Some(part)) if part.starts_with('{') && !segment.is_empty() => {}
            (Some(segment), Some(part)) if segment == part => {}
            _ => return false,
        }
    }
}
