//! A trace as a tree: each span beneath the one that it belongs to, with its times from the trace's beginning on.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

use super::Span;

/// Attributes that are shown, each with what stands before its value.
const SHOWN: [(&str, &str); 6] = [
    ("http.response.status_code", ""),
    ("run.attempt", "attempt "),
    ("outcome", ""),
    ("run.status", ""),
    ("db.operation.batch.size", "together "),
    ("messaging.batch.message_count", "together "),
];

/// The spans of one trace, as lines: when each began and how long it took, in ms, who recorded it, its name, and what became of
/// it.
#[must_use]
pub fn tree(spans: &[Span]) -> String {
    let begun = spans.iter().map(|span| span.begun_ns).min().unwrap_or_default();
    let ended = spans.iter().map(|span| span.ended_ns).max().unwrap_or_default();
    let trace = spans.first().map_or("", |span| span.trace.as_str());
    let many = if spans.len() == 1 { "span" } else { "spans" };
    let mut text = format!("trace {trace}: {} {many}, {} ms\n", spans.len(), ms(ended.saturating_sub(begun)));
    let ids: HashSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    // Beneath nothing are those whose parent is not here, such as the client's.
    let mut beneath: BTreeMap<Option<&str>, Vec<&Span>> = BTreeMap::new();
    for span in spans {
        let parent = span.parent.as_deref().filter(|parent| ids.contains(parent) && *parent != span.id);
        beneath.entry(parent).or_default().push(span);
    }
    beneath.values_mut().for_each(|spans| spans.sort_by_key(|span| (span.begun_ns, span.ended_ns)));
    let replica = spans.iter().map(|span| span.replica.chars().count()).max().unwrap_or_default();
    let mut lines = Lines { beneath, begun, replica, text: &mut text };
    lines.add(None, 0);
    text
}

struct Lines<'a> {
    /// The spans beneath each.
    beneath: BTreeMap<Option<&'a str>, Vec<&'a Span>>,
    begun: u64,
    /// The width of the replicas' names.
    replica: usize,
    text: &'a mut String,
}

impl<'a> Lines<'a> {
    fn add(&mut self, parent: Option<&'a str>, depth: usize) {
        // Taken out, so that spans that are beneath each other end too.
        for span in self.beneath.remove(&parent).unwrap_or_default() {
            let (from, took) =
                (ms(span.begun_ns - self.begun), ms(span.ended_ns.saturating_sub(span.begun_ns)));
            let (replica, width) = (span.replica.as_str(), self.replica);
            let (indent, name) = (2 * depth, span.name.as_str());
            let _ = write!(self.text, "{from:>10} {took:>10}  {replica:width$}  {:indent$}{name}", "");
            for note in notes(span, depth == 0) {
                let _ = write!(self.text, ", {note}");
            }
            self.text.push('\n');
            self.add(Some(span.id.as_str()), depth + 1);
        }
    }
}

fn notes(span: &Span, is_top: bool) -> Vec<String> {
    let shown = SHOWN.iter().filter_map(|(name, before)| Some((before, span.attributes.get(*name)?)));
    let mut notes: Vec<String> = shown.map(|(before, value)| format!("{before}{value}")).collect();
    notes.extend(span.error.as_ref().map(|error| format!("ERROR {error}")));
    notes.extend(span.parent.as_ref().filter(|_| is_top).map(|parent| format!("beneath {parent}")));
    let links = span.links.len() + span.links_dropped as usize;
    match span.links.first() {
        // Enough to find it by.
        Some((trace, _)) if links == 1 => notes.push(format!("-> trace {trace:.8}")),
        Some(_) => notes.push(format!("-> {links} spans")),
        None => {}
    }
    notes
}

/// With one digit after the point.
fn ms(ns: u64) -> String {
    format!("{}.{}", ns / 1_000_000, ns / 100_000 % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: Option<&str>, name: &str, (from, took): (u64, u64)) -> Span {
        Span {
            trace: "4bf9".to_owned(),
            id: id.to_owned(),
            parent: parent.map(str::to_owned),
            service: "api-service".to_owned(),
            replica: "api-1".to_owned(),
            name: name.to_owned(),
            kind: "internal",
            begun_ns: 1_700_000_000_000_000_000 + from * 100_000,
            ended_ns: 1_700_000_000_000_000_000 + (from + took) * 100_000,
            attributes: BTreeMap::new(),
            links: Vec::new(),
            links_dropped: 0,
            error: None,
        }
    }

    fn with(span: Span, name: &str, value: &str) -> Span {
        let attributes = [(name.to_owned(), value.to_owned())].into();
        Span { attributes, ..span }
    }

    #[test]
    fn spans_stand_beneath_their_parents_in_the_order_of_their_beginning() {
        let attempt = with(span("c", Some("b"), "attempt sleep", (30, 2000)), "outcome", "retry");
        let (worker, link) = ("worker-1".to_owned(), ("77aa77aa77aa".to_owned(), "1".to_owned()));
        let spans = [
            Span { replica: worker, error: Some("planned".to_owned()), ..attempt },
            Span { links: vec![link.clone()], ..span("d", Some("a"), "insert jobs", (2, 10)) },
            with(span("a", Some("client"), "POST /v1/jobs", (0, 15)), "http.response.status_code", "201"),
            span("b", Some("a"), "send job:created", (15, 8)),
            Span { links: vec![link; 2], links_dropped: 3, ..span("e", Some("b"), "x", (40, 0)) },
        ];
        let expected = "\
trace 4bf9: 5 spans, 203.0 ms
       0.0        1.5  api-1     POST /v1/jobs, 201, beneath client
       0.2        1.0  api-1       insert jobs, -> trace 77aa77aa
       1.5        0.8  api-1       send job:created
       3.0      200.0  worker-1      attempt sleep, retry, ERROR planned
       4.0        0.0  api-1         x, -> 5 spans
";
        assert_eq!(tree(&spans), expected);
    }

    #[test]
    fn spans_that_are_beneath_each_other_come_to_an_end() {
        let spans = [
            span("a", Some("b"), "a", (0, 1)),
            span("b", Some("a"), "b", (0, 1)),
            span("c", None, "c", (1, 1)),
        ];
        assert_eq!(tree(&spans).lines().count(), 2);
        assert_eq!(tree(&[]), "trace : 0 spans, 0.0 ms\n");
    }
}
