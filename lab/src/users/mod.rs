//! `cargo lab users`: creates, reads and changes users, and runs jobs, while each member of the databases' replica sets is killed
//! in turn, and says how long reads and writes stood still and what was lost.

mod command;
mod elections;
mod load;
mod record;
mod report;

pub use command::{Options, command};
pub use report::Report;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use stack::{Node, Profile, Stack, poll};
use tokio::time::{sleep, timeout};

use load::Load;
use record::Record;

/// How many members each replica set has.
const MEMBERS: usize = 3;

/// How long a set may take to have a primary, and a member to be back.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

/// What to do.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long the load runs before the first member is killed, and how long a member is away, and back again.
    pub phase: Duration,
    /// How many clients create users, as many change them, and twice as many read them.
    pub clients: usize,
    /// Elections take as long as MongoDB has it, 10 s, and not the launcher's 2.
    pub usual_elections: bool,
    /// How the services are built.
    pub profile: Profile,
}

/// Runs it on a stack of its own. `say` gets a line at each step.
///
/// # Errors
/// Where the stack does not start, or a member does not come back.
pub async fn run(settings: Settings, say: impl Fn(&str)) -> Result<Report> {
    let stack = Stack::builder().api(2).workers(1).replica_sets_of(MEMBERS).profile(settings.profile);
    let stack = stack.start().await?;
    let (api, job) = (stack.api_mongo_members(), stack.job_mongo_members());
    if settings.usual_elections {
        for set in [api, job] {
            elections::as_usual(&primary(set).await?).await?;
        }
    }
    let record = Arc::new(Record::default());
    record.begin("before", false);
    let load = Load::start(stack.url(), settings.clients, Arc::clone(&record))?;
    sleep(settings.phase).await;
    for (of_api, of_job) in in_turn(api).await?.into_iter().zip(in_turn(job).await?) {
        let role = if of_api.is_primary().await { "primary" } else { "secondary" };
        let (victims, names) =
            ([&of_api, &of_job], format!("{} ({role}) and {}", of_api.name(), of_job.name()));
        say(&format!("killing {names}"));
        record.begin(&format!("{names} killed"), true);
        try_join_all(victims.map(|victim| victim.kill())).await?;
        sleep(settings.phase).await;
        try_join_all([api, job].map(primary)).await?;
        record.begin(&format!("{names} back"), false);
        let back = try_join_all(victims.map(Node::start));
        timeout(SETTLED_WITHIN, back).await.context("the members do not come back")??;
        sleep(settings.phase).await;
    }
    say("comparing what is stored with what was acknowledged");
    let report = load.finish().await?;
    stack.stop().await?;
    Ok(report)
}

/// All members, the primary first.
async fn in_turn(members: &[Node]) -> Result<Vec<Node>> {
    let first = primary(members).await?;
    let others = members.iter().filter(|member| member.name() != first.name());
    Ok([first.clone()].into_iter().chain(others.cloned()).collect())
}

async fn primary(members: &[Node]) -> Result<Node> {
    let look = || async {
        for member in members {
            if member.is_primary().await {
                return Some(member.clone());
            }
        }
        None
    };
    poll::until("a primary", SETTLED_WITHIN, look).await
}
