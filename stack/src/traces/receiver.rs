//! A receiver of OTLP over HTTP, as `OTEL_EXPORTER_OTLP_ENDPOINT` leads to it.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::web::{Bytes, Data, PayloadConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, post};
use anyhow::{Context, Result};

use super::{Span, decode};

/// The largest request, in bytes.
const MAX_BYTES: usize = 64 << 20;

/// The most spans that are kept; of traces beyond that nothing is.
const MAX_SPANS: usize = 200_000;

/// See the module. It receives as long as it lives.
#[derive(Debug)]
pub struct Receiver {
    url: String,
    received: Arc<Received>,
    server: ServerHandle,
}

#[derive(Debug, Default)]
struct Received {
    traces: Mutex<HashMap<String, Trace>>,
    /// The header `authorization` of the latest request.
    authorization: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Trace {
    spans: Vec<Span>,
    /// When the latest came.
    latest: Instant,
}

impl Receiver {
    /// Starts one on a port of its own, on loopback.
    ///
    /// # Errors
    /// Where there is no port.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("no port for traces")?;
        let url = format!("http://{}", listener.local_addr()?);
        let received = Arc::new(Received::default());
        let data = Data::from(Arc::clone(&received));
        let app = move || {
            App::new().app_data(data.clone()).app_data(PayloadConfig::new(MAX_BYTES)).service(receive)
        };
        let server = HttpServer::new(app).workers(1).disable_signals().listen(listener)?.run();
        let handle = server.handle();
        tokio::spawn(server);
        Ok(Self { url, received, server: handle })
    }

    /// Where it is: the value of `OTEL_EXPORTER_OTLP_ENDPOINT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// All spans that have come, in the order of their beginning.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let traces = self.received.traces();
        let mut spans: Vec<Span> = traces.values().flat_map(|trace| trace.spans.iter().cloned()).collect();
        spans.sort_by_key(|span| span.begun_ns);
        spans
    }

    /// Those of one trace.
    #[must_use]
    pub fn trace(&self, id: &str) -> Vec<Span> {
        let mut spans = self.received.traces().get(id).map(|trace| trace.spans.clone()).unwrap_or_default();
        spans.sort_by_key(|span| span.begun_ns);
        spans
    }

    /// Takes out the traces that `may_go` says yes to, by their spans and by how long nothing has come of them.
    #[must_use]
    pub fn take(&self, may_go: impl Fn(&[Span], Duration) -> bool) -> Vec<Vec<Span>> {
        let mut traces = self.received.traces();
        let taken = traces.extract_if(|_, trace| may_go(&trace.spans, trace.latest.elapsed()));
        let mut taken: Vec<Vec<Span>> = taken.map(|(_, trace)| trace.spans).collect();
        drop(traces);
        taken.sort_by_key(|spans| spans.iter().map(|span| span.begun_ns).min());
        taken
    }

    /// The header `authorization` of the latest request.
    #[must_use]
    pub fn authorization(&self) -> Option<String> {
        self.received.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It is told at once; nobody waits for it.
        drop(self.server.stop(false));
    }
}

impl Received {
    fn traces(&self) -> MutexGuard<'_, HashMap<String, Trace>> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, spans: Vec<Span>) {
        let mut traces = self.traces();
        let kept: usize = traces.values().map(|trace| trace.spans.len()).sum();
        for span in spans.into_iter().take(MAX_SPANS.saturating_sub(kept)) {
            let new = || Trace { spans: Vec::new(), latest: Instant::now() };
            let trace = traces.entry(span.trace.clone()).or_insert_with(new);
            trace.latest = Instant::now();
            trace.spans.push(span);
        }
    }
}

#[post("/v1/traces")]
async fn receive(request: HttpRequest, body: Bytes, received: Data<Received>) -> HttpResponse {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    if header("content-type") != Some("application/x-protobuf") {
        return HttpResponse::UnsupportedMediaType().finish();
    }
    let authorization = header("authorization").map(str::to_owned);
    *received.authorization.lock().unwrap_or_else(PoisonError::into_inner) = authorization;
    match decode::spans(&body) {
        Ok(spans) => received.add(spans),
        Err(error) => return HttpResponse::BadRequest().body(error.to_string()),
    }
    // An answer without a field has no byte.
    HttpResponse::Ok().content_type("application/x-protobuf").finish()
}
