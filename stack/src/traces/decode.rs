//! From OTLP to spans.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{self as otlp, span::SpanKind, status::StatusCode},
};
use prost::{DecodeError, Message};

use super::Span;

/// The spans of a request's body.
pub(super) fn spans(body: &[u8]) -> Result<Vec<Span>, DecodeError> {
    let mut spans = Vec::new();
    for of_resource in ExportTraceServiceRequest::decode(body)?.resource_spans {
        let resource =
            attributes(of_resource.resource.map(|resource| resource.attributes).unwrap_or_default());
        let of_scopes = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.extend(of_scopes.map(|one| span(one, &resource)));
    }
    Ok(spans)
}

fn span(one: otlp::Span, resource: &BTreeMap<String, String>) -> Span {
    let kind = match one.kind() {
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
        SpanKind::Internal | SpanKind::Unspecified => "internal",
    };
    let of_process = |name: &str| resource.get(name).cloned().unwrap_or_default();
    let status = one.status.filter(|status| status.code() == StatusCode::Error);
    Span {
        trace: hex(&one.trace_id),
        id: hex(&one.span_id),
        parent: (!one.parent_span_id.is_empty()).then(|| hex(&one.parent_span_id)),
        service: of_process("service.name"),
        replica: of_process("service.instance.id"),
        name: one.name,
        kind,
        begun_ns: one.start_time_unix_nano,
        ended_ns: one.end_time_unix_nano,
        attributes: attributes(one.attributes),
        links: one.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
        links_dropped: one.dropped_links_count,
        error: status.map(|status| status.message),
    }
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|pair| (pair.key, text(pair.value))).collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::BoolValue(is_true)) => is_true.to_string(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
