//! Starting the system that is tried: short times, small streams, and a proxy in front of each server.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use stack::Stack;

use super::system::{Proxies, System};
use super::{Settings, clock, collect, mix};
use crate::proxy::Proxy;

pub(super) async fn start(settings: Settings) -> Result<System> {
    let proxies: Arc<Mutex<Vec<Proxy>>> = Arc::default();
    let route = {
        let proxies = proxies.clone();
        move |name: &str, url: &str| match settings.replica_sets && name != "nats" {
            true => url.to_owned(),
            false => proxy(&proxies, name, url),
        }
    };
    let mut stack = Stack::builder().api(settings.apis).workers(settings.workers).profile(settings.profile);
    stack = stack.env("LEASE_S", settings.lease().as_secs()).env("WORKER_FAULTS", true);
    stack = stack
        .env("WORKER_HISTORY_DIR", collect::HISTORIES)
        .env("COMMAND_ALLOW", "sh")
        .env("RETRY_BASE_S", 0.2);
    // An object's window outlasts the run.
    stack = stack.env("WORKER_QUEUES", mix::QUEUES.join(",")).env("RERUN_WINDOW_S", 86_400);
    if settings.replica_sets {
        stack = stack.replica_sets_of(3);
    }
    if settings.clock_steps {
        stack = clock::with_own_clock(stack, 0).await?;
    }
    if settings.faults {
        // So small that they can be filled, and the log of events is, again and again.
        stack =
            stack.env("NATS_JOBS_MAX_MIB", 16).env("NATS_EVENTS_MAX_MIB", 4).env("NATS_CONTROL_MAX_MIB", 2);
        stack = stack.env("RELAY_AFTER_S", 1.5).env("RELAY_SCAN_S", 0.5).env("DUE_SCAN_S", 0.5);
        stack =
            stack.env("RECONCILE_S", 1).env("SILENT_AFTER_S", 5).env("LOG", "info,job=debug").route(route);
        let stack = stack.start().await?;
        let mut proxies = std::mem::take(&mut *proxies.lock().expect("nobody panics with it"));
        let mongo = if settings.replica_sets { None } else { proxies.pop().zip(proxies.pop()) };
        let nats = proxies.pop().context("NATS without a proxy")?;
        return Ok(System::new(stack, Some(Proxies { nats, mongo })));
    }
    Ok(System::new(stack.start().await?, None))
}

/// Puts a proxy in front of a server; the URL by which it is reached.
fn proxy(proxies: &Mutex<Vec<Proxy>>, name: &str, url: &str) -> String {
    let markers: &'static [&'static str] =
        if name == "nats" { &["PUB job:"] } else { &["insert\0", "update\0"] };
    let proxy = Proxy::start(url, markers).expect("a port of loopback can be listened on");
    let url = proxy.url();
    proxies.lock().expect("nobody panics with it").push(proxy);
    url
}
