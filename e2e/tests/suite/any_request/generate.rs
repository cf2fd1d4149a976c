//! Requests, made of what is right and of what is not.

use std::fmt;

use e2e::raw::After;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};
use uuid::Uuid;

use super::body::{body, is_lines};
use super::header::Header;
use super::route::{ROUTES, Route};
use super::schema;

/// A request, byte by byte, and what is known about how it may be answered.
pub(crate) struct Request {
    /// What the path is; nothing where that can not be said.
    pub(crate) route: Option<Route>,
    pub(crate) method: String,
    /// Statuses that are right because of what is wrong with it as HTTP.
    pub(crate) also: Vec<u16>,
    /// It is cut off, and the connection may be closed without a word.
    pub(crate) is_cut: bool,
    target: Vec<u8>,
    version: &'static str,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

/// The largest body that nginx lets through to any route, in bytes.
const NGINX_TAKES: usize = 16 << 20;

/// What makes no sense as a path or as an id in one.
const ODD: [&str; 13] =
    ["nonsense", "%ff", "%00", "..", ".", "%2e%2e", "%2F", "a%", "", "batch", "\u{fc}", "{x}", "a b"];

impl Request {
    /// The next one; `ids` are those of jobs that exist, or did.
    pub(crate) fn generate(random: &mut StdRng, ids: &[String]) -> Self {
        let route = *ROUTES.choose(random).unwrap();
        let known = ids.choose(random).filter(|_| random.random_bool(0.8));
        let id = known.cloned().unwrap_or_else(|| Uuid::now_v7().to_string());
        let mut request = Self {
            route: Some(route),
            method: method(random, route),
            also: Vec::new(),
            is_cut: false,
            target: route.path(&id).into_bytes(),
            version: "HTTP/1.1",
            headers: vec![("Host", b"hasty.example".to_vec()), ("Connection", b"close".to_vec())],
            body: Vec::new(),
        };
        if random.random_bool(0.08) {
            request.spoil_path(random, route);
        }
        if random.random_bool(0.3) {
            request.add_query(random, route);
        }
        if ["POST", "PUT", "PATCH"].contains(&request.method.as_str()) || random.random_bool(0.05) {
            request.body = body(random, route, &request.method);
            request.frame(random);
        }
        for _ in 0..random.random_range(0..3_u32) {
            request.add(Header::generate(random));
        }
        if random.random_bool(0.05) {
            request.spoil_head(random);
        }
        request
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let line = [self.method.as_bytes(), b" ", &self.target, b" ", self.version.as_bytes(), b"\r\n"];
        let mut bytes = line.concat();
        for (name, value) in &self.headers {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        bytes
    }

    pub(crate) const fn after(&self) -> After {
        if self.is_cut { After::Closes } else { After::Waits }
    }

    fn add(&mut self, header: Header) {
        let Header { name, value, also } = header;
        if self.headers.iter().any(|(given, _)| *given == name) {
            // Some may come once only.
            self.also.push(400);
        }
        self.headers.push((name, value));
        self.also.extend(also);
    }

    /// Another path, of which nobody can say whether it is that of a route. It is not that of one without an id.
    fn spoil_path(&mut self, random: &mut StdRng, route: Route) {
        let has_id = route.path("a") != route.path("b");
        self.route = None;
        self.target = if has_id && random.random_bool(0.5) {
            // Without an id, the path of an older job is that of all of them.
            let odd = ODD.choose(random).filter(|odd| !odd.is_empty() || route != Route::Of("/{job_id}"));
            route.path(odd.unwrap_or(&"odd")).into_bytes()
        } else {
            let characters = b"/%?#.az09AZ:@&=+~{}|\\^[]\"<>`\x7f\x80\xff;,*!";
            let length = random.random_range(0..12_usize);
            b"/~".iter().copied().chain((0..length).map(|_| *characters.choose(random).unwrap())).collect()
        };
    }

    fn add_query(&mut self, random: &mut StdRng, route: Route) {
        let known = known_parameters(random, route, &self.method);
        let queries = [
            (known.as_str(), false),
            (known.as_str(), false),
            (known.as_str(), false),
            (known.as_str(), false),
            ("wait_s=61", false),
            ("page_size=0", false),
            ("page_token=v1-00", false),
            ("status=done", false),
            ("shoe=1&shoe=2", false),
            ("%ff=%ff", false),
            ("object_id=%ff", false),
            ("=", false),
            ("&&;", false),
            ("%", false),
            ("a=\"", true),
            ("a=\u{fc}", true),
            ("a=<>", true),
            ("a b", true),
        ];
        let &(query, is_none) = queries.choose(random).unwrap();
        self.target.push(b'?');
        self.target.extend(query.as_bytes());
        // Parameters that the route does not have; none of its business where nobody reads them.
        self.also.push(400);
        if is_none {
            self.also.push(505);
        }
        if random.random_bool(0.03) {
            self.target.extend("x".repeat(20_000).bytes());
            self.also.push(414);
        }
    }

    /// How the body is declared, and how it is sent.
    fn frame(&mut self, random: &mut StdRng) {
        let types: [&[u8]; 8] = [
            b"application/json",
            b"application/json",
            b"Application/JSON; charset=utf-8",
            b"application/cloudevents+json",
            b"text/plain",
            b"",
            b"\xff",
            b"multipart/form-data; boundary=x",
        ];
        if random.random_bool(0.9) {
            let usual = random.random_bool(0.8);
            let takes_lines = self.route.is_some_and(|route| is_lines(route, &self.method));
            let fitting = if takes_lines { b"application/x-ndjson" } else { types[0] };
            let content_type = if usual { fitting } else { *types.choose(random).unwrap() };
            self.headers.push(("Content-Type", content_type.to_vec()));
        }
        let length = self.body.len();
        if length > NGINX_TAKES {
            self.also.push(413);
        }
        let mut declare = |value: String| self.headers.push(("Content-Length", value.into_bytes()));
        match random.random_range(0..40_u32) {
            0..28 => declare(length.to_string()),
            28..34 => self.chunk(random, true),
            34 => self.chunk(random, false),
            35 => {
                declare((length + 1 + random.random_range(0..1000_usize)).to_string());
                self.is_cut = true;
                self.also.extend([400, 408, 413]);
            }
            // What is left over would be the next request.
            36 => declare((length / 2).to_string()),
            37 => {
                declare(
                    ["x", "-1", "1.5", "18446744073709551616", "0x10"].choose(random).unwrap().to_string(),
                );
                self.also.extend([400, 413]);
            }
            38 => {
                declare(length.to_string());
                self.headers.push(("Transfer-Encoding", b"chunked".to_vec()));
                self.also.push(400);
            }
            _ => {
                self.headers.push(("Transfer-Encoding", b"gzip".to_vec()));
                self.also.extend([400, 501]);
            }
        }
    }

    fn chunk(&mut self, random: &mut StdRng, right: bool) {
        self.headers.push(("Transfer-Encoding", b"chunked".to_vec()));
        let mut chunked = Vec::new();
        for chunk in self.body.chunks(random.random_range(1_usize..=self.body.len().max(1))) {
            chunked.extend(format!("{:x}\r\n", chunk.len()).bytes());
            chunked.extend(chunk);
            chunked.extend(b"\r\n");
        }
        chunked.extend(if right { b"0\r\n\r\n".as_slice() } else { b"zz\r\n" });
        if !right {
            self.also.push(400);
        }
        self.body = chunked;
    }

    fn spoil_head(&mut self, random: &mut StdRng) {
        self.also.push(400);
        match random.random_range(0..7_u32) {
            0 => self.headers.retain(|(name, _)| *name != "Host"),
            1 => self.headers.push(("Host", b"another.example".to_vec())),
            2 => self.headers[0].1 = b"a b/c".to_vec(),
            3 => {
                self.version = "HTTP/3.0";
                self.also.push(505);
            }
            4 => self.version = "HTTP/1.0",
            5 => self.version = "HTTQ/1.1",
            _ => self.method.make_ascii_lowercase(),
        }
    }
}

/// Some of the parameters that the document has for this operation, with values that it allows.
fn known_parameters(random: &mut StdRng, route: Route, method: &str) -> String {
    let parameters = route.operation(method).and_then(|operation| operation["parameters"].as_array());
    let mut pairs = Vec::new();
    for parameter in parameters.into_iter().flatten().filter(|parameter| parameter["in"] == "query") {
        let name = parameter["name"].as_str().unwrap();
        // A wait is as long as it says.
        let value = if name == "wait_s" { json!(1) } else { schema::value(random, &parameter["schema"]) };
        let text = match value {
            Value::String(text) => text,
            Value::Array(values) => {
                let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
                values.join(",")
            }
            other => other.to_string(),
        };
        if random.random_bool(0.4) {
            pairs.push(format!("{name}={text}"));
        }
    }
    pairs.join("&")
}

fn method(random: &mut StdRng, route: Route) -> String {
    let odd = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "M-SEARCH",
        "FOO_BAR",
    ];
    let usual = route.methods().choose(random).copied().filter(|_| random.random_bool(0.85));
    usual.unwrap_or_else(|| odd.choose(random).unwrap()).to_owned()
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes();
        write!(f, "{:?} {:?}: {}", self.route, self.also, bytes[..bytes.len().min(3000)].escape_ascii())
    }
}
