//! Many jobs that are due in the same second.

use std::time::Duration;

use anyhow::{Result, bail};
use bson::doc;
use hasty_client::{Client, NewJob};
use shared_events::Timestamp;
use stack::Stack;
use tokio::time::Instant;

use super::{Settings, Times, create, jobs, ordinary::Ordinary, sleep_until};

/// The queue of those jobs. Nobody serves it, so that what is measured is the announcing.
const QUEUE: &str = "storm";

/// How long ordinary jobs are measured alone.
const ALONE: Duration = Duration::from_secs(10);

/// How long the announcing may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) async fn measure(stack: &Stack, settings: Settings, say: &impl Fn(&str)) -> Result<()> {
    let client = Client::new(stack.url())?;
    say(&format!("creating {} jobs that are due in the same second …", settings.jobs));
    let began = Instant::now();
    // Far enough away that all are stored by then.
    let due = Timestamp::now() + Duration::from_secs(60) + Duration::from_millis(2 * settings.jobs as u64);
    let spread = |index: usize| due + Duration::from_millis(1000 * index as u64 / settings.jobs as u64);
    let new = |index| Ok(NewJob::new("noop")?.queue(QUEUE.parse()?).run_at(spread(index)));
    create(&client, (0..settings.jobs).map(new).collect::<Result<_>>()?).await?;
    let took = began.elapsed();
    say(&format!(
        "created in {:.1} s, {:.0} a second",
        took.as_secs_f64(),
        settings.jobs as f64 / took.as_secs_f64()
    ));

    let alone = Ordinary::start(&client, settings.ordinary);
    tokio::time::sleep(ALONE).await;
    say(&format!("ordinary jobs before: {}", alone.finish().await?));
    sleep_until(due - Duration::from_secs(1)).await;
    let beside = Ordinary::start(&client, settings.ordinary);
    sleep_until(due).await;
    let memory = memory(stack);
    let announced = announced(stack, due, say).await?;
    say(&format!("ordinary jobs meanwhile: {}", beside.finish().await?));
    say(&format!("all announced after: {}", announced.last));
    say(&format!("announced after: {}", announced.times));
    say(&format!("memory of each api-service before: {memory:?} MiB, now: {:?} MiB", self::memory(stack)));
    Ok(())
}

struct Announced {
    last: String,
    times: Times,
}

/// Waits until the broker has all, and says how long after their time each was stored there.
async fn announced(stack: &Stack, due: Timestamp, say: &impl Fn(&str)) -> Result<Announced> {
    let (collection, began) = (jobs(stack).await?, Instant::now());
    loop {
        let left = doc! { "queue": QUEUE, "status": "scheduled" };
        let scheduled = collection.count_documents(left).await?;
        let marked = doc! { "queue": QUEUE, "next_action": { "$in": ["announce", "await_room"] } };
        let marked = collection.count_documents(marked).await?;
        if scheduled + marked == 0 {
            break;
        }
        if began.elapsed() > PATIENCE {
            bail!("{scheduled} are still scheduled, {marked} not announced");
        }
        let after = Timestamp::now().since(due).as_secs_f64();
        say(&format!("{after:.1} s after: {scheduled} scheduled, {marked} to be announced or unmarked"));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let mut cursor =
        collection.find(doc! { "queue": QUEUE }).projection(doc! { "run_at": 1, "announced.at": 1 }).await?;
    let (mut times, mut last) = (Vec::new(), Timestamp::from_millis(0));
    while cursor.advance().await? {
        let job = cursor.deserialize_current()?;
        let run_at = Timestamp::from_millis(job.get_datetime("run_at")?.timestamp_millis());
        let at = job.get_document("announced")?.get_datetime("at")?;
        let at = Timestamp::from_millis(at.timestamp_millis());
        (last, _) = (last.max(at), times.push(at.since(run_at)));
    }
    let last = format!("{:.1} s ({} jobs)", last.since(due).as_secs_f64(), times.len());
    Ok(Announced { last, times: Times::of(times)? })
}

/// Resident memory of each replica of the api-service, in MiB.
fn memory(stack: &Stack) -> Vec<u64> {
    let of = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? / 1024)
    };
    stack.apis().iter().filter_map(|api| of(api.pid()?)).collect()
}
