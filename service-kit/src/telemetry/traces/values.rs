//! Values of the settings, as the OpenTelemetry specification writes them.

use std::{collections::HashMap, fmt, str::FromStr};

use opentelemetry::KeyValue;
use percent_encoding::percent_decode_str;
use reqwest::{
    Url,
    header::{HeaderName, HeaderValue},
};

/// Where spans are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Where spans are sent to a receiver of all signals at this address.
    pub(super) fn of_all_signals(self) -> Self {
        let mut url = self.0;
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Self(url)
    }
}

impl FromStr for Endpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| "must be a URL, such as http://127.0.0.1:4318")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("must begin with http:// or https://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must be without a user: secrets belong into OTEL_EXPORTER_OTLP_HEADERS");
        }
        Ok(Self(url))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How spans are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Protocol;

impl FromStr for Protocol {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "http/protobuf" => Ok(Self),
            _ => Err("must be http/protobuf: grpc and http/json are not supported"),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("http/protobuf")
    }
}

/// Who sends spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Exporter {
    /// By OTLP.
    #[default]
    Otlp,
    /// Nobody.
    None,
}

impl FromStr for Exporter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "otlp" => Ok(Self::Otlp),
            "none" => Ok(Self::None),
            _ => Err("must be otlp or none"),
        }
    }
}

impl fmt::Display for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Otlp => "otlp",
            Self::None => "none",
        })
    }
}

/// So many milliseconds, from 1 to ten minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Millis(pub(super) u64);

/// The longest that is allowed, in milliseconds.
pub(super) const MAX_MS: u64 = 600_000;

impl FromStr for Millis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ms = text.parse().ok().filter(|ms| (1..=MAX_MS).contains(ms));
        ms.map(Self).ok_or_else(|| format!("must be from 1 to {MAX_MS} milliseconds"))
    }
}

/// `name=value` pairs with commas between, values percent-encoded.
fn pairs(text: &str) -> impl Iterator<Item = Option<(&str, &str)>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').map(|(name, value)| (name.trim(), value.trim())))
}

fn decoded(value: &str) -> Option<String> {
    percent_decode_str(value).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// Headers that go along with spans; secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// With their values as they were written.
    pub(super) fn to_map(&self) -> HashMap<String, String> {
        self.0.iter().cloned().collect()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl FromStr for Headers {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "must be headers as name=value, with commas between and values percent-encoded";
        let mut headers = Vec::new();
        for pair in pairs(text) {
            let (name, value) = pair.ok_or(WRONG)?;
            let is_value = decoded(value).is_some_and(|value| HeaderValue::from_str(&value).is_ok());
            if HeaderName::from_str(name).is_err() || !is_value {
                return Err(WRONG);
            }
            headers.push((name.to_owned(), value.to_owned()));
        }
        Ok(Self(headers))
    }
}

/// What is said of the process with all its spans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceAttributes(Vec<(String, String)>);

impl ResourceAttributes {
    pub(super) fn attributes(&self) -> impl Iterator<Item = KeyValue> {
        self.0.iter().cloned().map(|(name, value)| KeyValue::new(name, value))
    }
}

impl FromStr for ResourceAttributes {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str =
            "must be attributes as name=value, with commas between and values percent-encoded";
        let mut attributes = Vec::new();
        for pair in pairs(text) {
            let (name, value) = pair.filter(|(name, _)| !name.is_empty()).ok_or(WRONG)?;
            attributes.push((name.to_owned(), decoded(value).ok_or(WRONG)?));
        }
        Ok(Self(attributes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_urls_without_secrets() {
        for (text, traces) in
            [("http://a:4318", "http://a:4318/v1/traces"), ("https://a/otlp/", "https://a/otlp/v1/traces")]
        {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.of_all_signals().to_string(), traces);
        }
        for text in ["a:4318", "grpc://a:4317", "http://u:p@a:4318", "http://", "/v1/traces"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn headers_are_pairs_and_are_not_shown() {
        let headers: Headers = "Authorization=Bearer%20hunter2, x-scope-orgid=7".parse().unwrap();
        assert_eq!(headers.to_map()["Authorization"], "Bearer%20hunter2");
        assert!(!format!("{headers:?}").contains("hunter2"));
        for text in ["hunter2", "a b=c", "a=%0a", "=x"] {
            assert!(text.parse::<Headers>().is_err(), "{text}");
        }
    }

    #[test]
    fn attributes_are_decoded() {
        let attributes: ResourceAttributes = "a=b%2Cc,d=e=f".parse().unwrap();
        let shown: Vec<String> =
            attributes.attributes().map(|one| format!("{}={}", one.key, one.value)).collect();
        assert_eq!(shown, ["a=b,c", "d=e=f"]);
        for text in ["a", "=b", "a=%ff"] {
            assert!(text.parse::<ResourceAttributes>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_one_protocol_is_spoken() {
        assert!("http/protobuf".parse::<Protocol>().is_ok());
        assert!("grpc".parse::<Protocol>().unwrap_err().contains("grpc"));
    }
}
