//! The payload of `http`.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use url::Url;
use utoipa::ToSchema;

use super::{BadPayload, Payload};

/// How many headers a request may have.
const MOST_HEADERS: usize = 100;

/// Headers that the client sets itself, or that are of one connection (RFC 9110, section 7.6.1).
const NOT_FOR_CLIENTS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Sends an HTTP request, and says what was answered: `{"status": …, "url": …, "headers": …, "body": …}`.
///
/// Up to ten redirects are followed. Of the body the first 64 KiB are kept, as `body` where they are text, else as
/// `body_base64`; `body_cut` says whether there was more. Only public addresses are gone to, and those that the operator
/// allows (`HTTP_ALLOW`). `Idempotency-Key` (the run's id) and `traceparent` go along unless `headers` has them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "method": "POST", "url": "https://hooks.example/orders", "headers": { "Content-Type": "application/json" },
    "body": "{\"order\":4711}", "success_statuses": [200, 202]
}))]
pub struct Http {
    /// How.
    #[serde(default)]
    #[schema(default = HttpMethod::default)]
    pub method: HttpMethod,
    /// Where: `http` or `https`, without user name and password.
    #[schema(min_length = 1, max_length = 8192, format = "uri")]
    pub url: String,
    /// With these headers, at most a hundred.
    #[serde(default)]
    #[schema(default = json!({}))]
    pub headers: BTreeMap<String, String>,
    /// With this body.
    pub body: Option<String>,
    /// Which statuses are a success; those from 200 to 299 where it does not say.
    #[schema(min_items = 1, max_items = 100)]
    pub success_statuses: Option<Vec<HttpStatus>>,
}

/// How a request is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "they are those of RFC 9110 and RFC 5789")]
pub enum HttpMethod {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl HttpMethod {
    /// The method as requests have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }
}

/// A final status of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(minimum = 200, maximum = 599)]
pub struct HttpStatus(pub u16);

impl Http {
    /// Whether an answer of this status is a success.
    #[must_use]
    pub fn is_success(&self, status: u16) -> bool {
        match &self.success_statuses {
            Some(statuses) => statuses.contains(&HttpStatus(status)),
            None => (200..300).contains(&status),
        }
    }
}

impl Payload for Http {
    const KIND: &'static str = "http";

    fn check(&self) -> Result<(), BadPayload> {
        check_url(&self.url).map_err(|message| BadPayload::new("url", message))?;
        if self.headers.len() > MOST_HEADERS {
            return Err(BadPayload::new("headers", format!("must be at most {MOST_HEADERS}")));
        }
        for (name, value) in &self.headers {
            let wrong = |message| Err(BadPayload::new(&format!("headers.{name}"), message));
            if HeaderName::from_bytes(name.as_bytes()).is_err() {
                return wrong("is not a header's name");
            }
            if NOT_FOR_CLIENTS.contains(&name.to_ascii_lowercase().as_str()) {
                return wrong("is set by the worker");
            }
            if HeaderValue::from_str(value).is_err() {
                return wrong("must be visible ASCII characters, spaces and tabs");
            }
        }
        Ok(())
    }
}

fn check_url(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must be an http or https URL".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not have a user name or a password".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{JsonText, payloads::check};

    fn wrong(payload: &serde_json::Value) -> Vec<String> {
        let payload = JsonText::of(payload).unwrap();
        check(&"http".parse().unwrap(), &payload).into_iter().map(|wrong| wrong.field).collect()
    }

    #[test]
    fn what_can_not_be_sent_is_told_by_its_field() {
        let url = "https://hooks.example/";
        assert_eq!(wrong(&json!({ "url": url })), [""; 0]);
        for (payload, field) in [
            (json!({}), "payload.url"),
            (json!({ "url": "" }), "payload.url"),
            (json!({ "url": "hooks.example" }), "payload.url"),
            (json!({ "url": "file:///etc/passwd" }), "payload.url"),
            (json!({ "url": "https://a:b@hooks.example/" }), "payload.url"),
            (json!({ "url": "http://" }), "payload.url"),
            (json!({ "url": url, "method": "get" }), "payload.method"),
            (json!({ "url": url, "method": "CONNECT" }), "payload.method"),
            (json!({ "url": url, "headers": { "X": "a\r\nHost: b" } }), "payload.headers.X"),
            (json!({ "url": url, "headers": { "X": "a\nb" } }), "payload.headers.X"),
            (json!({ "url": url, "headers": { "a b": "" } }), "payload.headers.a b"),
            (json!({ "url": url, "headers": { "X:": "" } }), "payload.headers.X:"),
            (json!({ "url": url, "headers": { "Host": "inside" } }), "payload.headers.Host"),
            (
                json!({ "url": url, "headers": { "Transfer-Encoding": "chunked" } }),
                "payload.headers.Transfer-Encoding",
            ),
            (json!({ "url": url, "success_statuses": [] }), "payload.success_statuses"),
            (json!({ "url": url, "success_statuses": [99] }), "payload.success_statuses.0"),
            (json!({ "url": url, "more": 1 }), "payload.more"),
        ] {
            assert_eq!(wrong(&payload), [field], "{payload}");
        }
    }

    #[test]
    fn success_is_what_the_client_says() {
        let http = |statuses: Option<Vec<u16>>| Http {
            method: HttpMethod::Get,
            url: String::new(),
            headers: BTreeMap::new(),
            body: None,
            success_statuses: statuses.map(|statuses| statuses.into_iter().map(HttpStatus).collect()),
        };
        assert!(http(None).is_success(204) && !http(None).is_success(304));
        let own = http(Some(vec![404]));
        assert!(own.is_success(404) && !own.is_success(200));
    }
}
