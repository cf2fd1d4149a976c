//! `cargo lab overload`: a fresh stack is asked to create several times as many jobs as it can, for minutes, while slow
//! clients hold connections; and what it answers, how long that takes, what memory it needs, and how soon it is itself again.
//!
//! Requests are sent when they are due, whatever became of those before, on up to 4,000 connections: unlike a client that waits, an
//! overload does not become less because answers are late.

mod command;
mod load;
mod report;
mod slow;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use stack::{Profile, Stack};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use command::{Options, command};
use report::{Memory, Report};

/// For how long it is measured what the stack can do, and what it takes at half of that, before and after.
const CALM: Duration = Duration::from_secs(10);

/// At how much of what it can do.
const CALM_SHARE: f64 = 0.5;

/// How long the stack may take until it is itself again.
const RECOVERY: Duration = Duration::from_secs(60);

/// What a run is like.
#[derive(Clone, Copy, Debug)]
struct Settings {
    factor: f64,
    time: Duration,
    slow_clients: usize,
    apis: usize,
    workers: usize,
    profile: Profile,
}

/// Runs it; `say` is called with lines that say how far it is.
async fn run(settings: Settings, say: fn(&str)) -> Result<Report> {
    let stack = Stack::builder().api(settings.apis).workers(settings.workers).profile(settings.profile);
    let stack = stack.start().await?;
    let address: SocketAddr = stack.url().trim_start_matches("http://").parse().context("no address")?;
    load::at_capacity(address, CALM / 2).await?;
    let capacity = load::at_capacity(address, CALM).await?;
    say(&format!("it can take {capacity:.0} jobs a second"));
    settle(&stack).await?;
    let memory = Memory::of(&stack)?;
    let before = load::steadily(address, capacity * CALM_SHARE, CALM).await?;

    let (stop, mut sampled) = (CancellationToken::new(), memory.clone());
    let slow = slow::start(address, settings.slow_clients, &stop);
    say(&format!(
        "{:.0} a second for {:.0} s, beside {} slow clients",
        capacity * settings.factor,
        settings.time.as_secs_f64(),
        settings.slow_clients
    ));
    let mut parts = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < settings.time {
        let part = settings.time.saturating_sub(begun.elapsed()).min(CALM);
        let during = load::steadily(address, capacity * settings.factor, part).await?;
        sampled.keep_most(&Memory::of(&stack)?);
        say(&format!("{:>5.0} s: {}", begun.elapsed().as_secs_f64(), during.line()));
        parts.push(during);
    }
    stop.cancel();
    let slow = slow.await?;
    let recovered_after = recovery(address, capacity * CALM_SHARE, before.accepted.p99).await?;
    let after = load::steadily(address, capacity * CALM_SHARE, CALM).await?;
    settle(&stack).await?;
    let left = Memory::of(&stack)?;
    stack.stop().await?;
    let memory = [memory, sampled, left];
    Ok(Report { capacity, before, parts, slow, recovered_after, after, memory })
}

/// How long after the overload's end a second's requests are all accepted, 99 of 100 within twice what they took before.
async fn recovery(address: SocketAddr, rate: f64, p99_ms: f64) -> Result<Option<Duration>> {
    let begun = Instant::now();
    while begun.elapsed() < RECOVERY {
        let second = load::steadily(address, rate, Duration::from_secs(1)).await?;
        if second.is_all_accepted() && second.accepted.p99 <= 2.0 * p99_ms + 10.0 {
            return Ok(Some(begun.elapsed()));
        }
    }
    Ok(None)
}

/// Until no job is open.
async fn settle(stack: &Stack) -> Result<()> {
    let http = hasty_client::http_client().no_proxy().build()?;
    let url = format!("{}/v1/stats", stack.url());
    let idle = || async {
        let answer = http.get(&url).send().await.map_err(|error| error.to_string())?;
        let stats: serde_json::Value = answer.json().await.map_err(|error| error.to_string())?;
        let open = |status: &str| stats[status]["count"].as_u64();
        match (open("waiting"), open("running")) {
            (Some(0), Some(0)) => Ok(()),
            _ => Err(stats.to_string()),
        }
    };
    stack::poll::until("no job to be open", Duration::from_secs(600), idle).await?;
    Ok(())
}
