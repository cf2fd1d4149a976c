//! Where Prometheus asks: an address of the process's own, `/metrics` in the text format. Nobody else is served there, and
//! nginx does not know it.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context;
use futures::future::{BoxFuture, join_all};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use tokio::runtime::Handle;

use super::{FAMILIES, Family, TEXT, own, runtime};

/// How often values of histograms are put together; until then each takes its own room.
const UPKEEP: Duration = Duration::from_secs(5);

/// How long a scrape waits for what is looked up for it. What takes longer keeps its older value until then: what there is to see
/// has to be seen above all while a database hangs.
const LOOK_LIMIT: Duration = Duration::from_millis(200);

/// Whether anybody counts.
static IS_ON: AtomicBool = AtomicBool::new(false);

/// What is looked up for each scrape.
static LOOKS: Mutex<Vec<Look>> = Mutex::new(Vec::new());

/// Something to look up, once at a time.
#[derive(Clone)]
struct Look {
    look: Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>,
    under_way: Arc<AtomicBool>,
}

impl Look {
    async fn run(self) {
        if !self.under_way.swap(true, Ordering::Relaxed) {
            (self.look)().await;
            self.under_way.store(false, Ordering::Relaxed);
        }
    }
}

/// Whether anybody counts.
#[must_use]
pub fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// Has something looked up before each scrape. Where nobody counts, it never is.
pub fn at_scrape<F: Future<Output = ()> + Send + 'static>(look: impl Fn() -> F + Send + Sync + 'static) {
    if is_on() {
        let look = Look { look: Arc::new(move || Box::pin(look())), under_way: Arc::default() };
        LOOKS.lock().unwrap_or_else(PoisonError::into_inner).push(look);
    }
}

/// What answers scrapes.
#[derive(Debug)]
struct Exporter {
    handle: PrometheusHandle,
    process: Collector,
    runtime: Handle,
}

/// Has everything counted from now on, and serves `/metrics` at this address. Only the first call in a process counts; what
/// happened before is not counted.
///
/// # Errors
/// Where the address can not be bound.
pub fn start(address: SocketAddr, families: &[&dyn Family]) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("could not listen on {address} (METRICS_ADDR)"))?;
    let all = || FAMILIES.iter().chain(families);
    let mut builder = PrometheusBuilder::new();
    for family in all() {
        let about = family.description();
        if !about.bounds.is_empty() {
            builder = builder.set_buckets_for_metric(Matcher::Full(about.name.to_owned()), about.bounds)?;
        }
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    all().for_each(|family| family.description().describe(&recorder));
    if metrics::set_global_recorder(recorder).is_err() {
        return Ok(());
    }
    IS_ON.store(true, Ordering::Relaxed);
    own::start_at_zero();
    let process = Collector::default();
    process.describe();
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    let exporter = web::Data::new(Exporter { handle, process, runtime: Handle::current() });
    let app = move || App::new().app_data(exporter.clone()).route("/metrics", web::get().to(get));
    let server = HttpServer::new(app).workers(1).disable_signals().shutdown_timeout(1).listen(listener)?;
    tokio::spawn(server.run());
    Ok(())
}

impl Exporter {
    async fn text(&self) -> String {
        let looks: Vec<Look> = LOOKS.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let looking = join_all(looks.into_iter().map(|look| self.runtime.spawn(look.run())));
        let _ = tokio::time::timeout(LOOK_LIMIT, looking).await;
        runtime::look(&self.runtime);
        self.process.collect();
        self.handle.render()
    }
}

async fn get(exporter: web::Data<Exporter>) -> HttpResponse {
    HttpResponse::Ok().content_type(TEXT).body(exporter.text().await)
}
