//! Traces: a receiver of what the services send, and a trace as a tree that a person can read.

mod decode;
mod receiver;
mod tree;

pub use receiver::Receiver;
pub use tree::tree;

use std::collections::BTreeMap;

use crate::Builder;

impl Builder {
    /// Has the services send their traces there, ten times a second.
    pub fn traces(self, to: &Receiver) -> Self {
        self.env("OTEL_EXPORTER_OTLP_ENDPOINT", to.url()).env("OTEL_BSP_SCHEDULE_DELAY", 100)
    }
}

/// A span, as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Its trace, in hexadecimal.
    pub trace: String,
    /// Its id, in hexadecimal.
    pub id: String,
    /// That of the span that it is beneath.
    pub parent: Option<String>,
    /// `service.name` of whoever recorded it.
    pub service: String,
    /// `service.instance.id`: which replica.
    pub replica: String,
    /// What it is called.
    pub name: String,
    /// `server`, `client`, `producer`, `consumer` or `internal`.
    pub kind: &'static str,
    /// When it began, in nanoseconds since 1970.
    pub begun_ns: u64,
    /// When it ended, likewise.
    pub ended_ns: u64,
    /// Its attributes, as text.
    pub attributes: BTreeMap<String, String>,
    /// The spans that it is linked to: their traces and ids.
    pub links: Vec<(String, String)>,
    /// How many more there were.
    pub links_dropped: u32,
    /// Why it failed, where it did.
    pub error: Option<String>,
}

impl Span {
    /// An attribute; empty where it has none of this name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}
