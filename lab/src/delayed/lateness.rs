//! Jobs that are due at a steady rate: how late they start.

use std::time::Duration;

use anyhow::{Result, bail};
use bson::doc;
use hasty_client::{Client, NewJob};
use shared_events::Timestamp;
use stack::Stack;
use tokio::time::Instant;

use super::{Settings, Times, create, jobs, sleep_until};

/// What tells these jobs from others.
const OBJECT: &str = "late-";

/// How long the last ones may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn measure(stack: &Stack, settings: Settings, say: &impl Fn(&str)) -> Result<()> {
    let Settings { rate, seconds, .. } = settings;
    say(&format!("creating jobs of which {rate} a second are due for {seconds} s …"));
    let client = Client::new(stack.url())?;
    let first = Timestamp::now() + Duration::from_secs(15);
    let due = |index: u32| first + Duration::from_secs(index.into()) / rate;
    let count = rate * seconds;
    let new = |index| Ok(NewJob::new("noop")?.object_id(format!("{OBJECT}{index}")).run_at(due(index)));
    create(&client, (0..count).map(new).collect::<Result<_>>()?).await?;
    sleep_until(due(count)).await;
    let (collection, began) = (jobs(stack).await?, Instant::now());
    let these = doc! { "object_id": { "$regex": format!("^{OBJECT}") } };
    loop {
        let mut ended = these.clone();
        ended.insert("status", "finished");
        let ended = collection.count_documents(ended).await?;
        if ended == u64::from(count) {
            break;
        }
        if began.elapsed() > PATIENCE {
            bail!("only {ended} of {count} have ended");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let mut cursor = collection.find(these).projection(doc! { "run_at": 1, "started_at": 1 }).await?;
    let mut late = Vec::new();
    while cursor.advance().await? {
        let job = cursor.deserialize_current()?;
        let time = |field| anyhow::Ok(Timestamp::from_millis(job.get_datetime(field)?.timestamp_millis()));
        late.push(time("started_at")?.since(time("run_at")?));
    }
    say(&format!("started after their time: {}", Times::of(late)?));
    Ok(())
}
