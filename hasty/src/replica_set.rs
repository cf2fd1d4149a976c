//! `hasty replica-set`: makes a replica set of MongoDB servers that were started for one.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use bson::{Document, doc};
use mongodb::{
    Client,
    error::{Error, ErrorKind},
    options::{ClientOptions, ServerAddress},
};
use tokio::time::{Instant, sleep};

/// What mongod answers to `replSetGetStatus` until its set is initiated.
const NOT_YET_INITIALIZED: i32 = 94;

/// How soon what failed is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long one server may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// The options of `replica-set`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Names all members, the set, and a user where the servers ask for one
    #[arg(long, value_name = "URI", env = "API_MONGO_URI", hide_env_values = true)]
    uri: String,
    /// How long to wait for the members and for a primary, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    wait_s: u64,
}

/// Does what [`ensure`] says, and prints what it found.
///
/// # Errors
/// See [`ensure`].
pub async fn command(options: Options) -> Result<ExitCode> {
    let found = ensure(&options.uri, Duration::from_secs(options.wait_s)).await?;
    println!("the replica set {}, and has a primary", if found.is_new { "is initiated" } else { "is there" });
    Ok(ExitCode::SUCCESS)
}

/// A replica set that has a primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Whether it was initiated just now.
    pub is_new: bool,
}

/// Makes sure that there is a replica set of the members that the URI names, and that it has a primary; waits so long for both.
/// A set that is there is left as it is, whoever its members are. The first member named is the only one that may have data.
///
/// # Errors
/// Where the URI names no set or can not be parsed; where there is no primary in time.
pub async fn ensure(uri: &str, wait: Duration) -> Result<Found> {
    let set = ClientOptions::parse(uri).await.context("the URI")?;
    let Some(name) = set.repl_set_name.clone() else { bail!("the URI names no set: it has no replicaSet=") };
    let until = Instant::now() + wait;
    let mut found = Found { is_new: false };
    while let Err(error) = settle(&set, &name, &mut found).await {
        if Instant::now() >= until {
            return Err(error.context(format!("replica set {name} has no primary")));
        }
        eprintln!("waiting for replica set {name}: {error:#}");
        sleep(AGAIN_AFTER).await;
    }
    Ok(found)
}

/// Initiates the set where that is to be done, and asks its primary for an answer.
async fn settle(set: &ClientOptions, name: &str, found: &mut Found) -> Result<()> {
    if !is_initiated(set).await? {
        initiate(set, name).await?;
        found.is_new = true;
    }
    let mut all = set.clone();
    all.server_selection_timeout = Some(ANSWER);
    Client::with_options(all)?.database("admin").run_command(doc! { "ping": 1 }).await?;
    Ok(())
}

async fn is_initiated(set: &ClientOptions) -> Result<bool> {
    match first_member(set)?.run_command(doc! { "replSetGetStatus": 1 }).await {
        Ok(_) => Ok(true),
        Err(error) if is_not_yet_initialized(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn initiate(set: &ClientOptions, name: &str) -> Result<()> {
    let config = doc! { "_id": name, "members": members(&set.hosts) };
    first_member(set)?
        .run_command(doc! { "replSetInitiate": config })
        .await
        .with_context(|| format!("could not initiate replica set {name}"))?;
    Ok(())
}

fn members(hosts: &[ServerAddress]) -> Vec<Document> {
    (0_i32..).zip(hosts).map(|(id, host)| doc! { "_id": id, "host": host.to_string() }).collect()
}

/// The first member alone: until there is a set, the driver finds no server by the set's name.
fn first_member(set: &ClientOptions) -> Result<mongodb::Database> {
    let mut alone = set.clone();
    alone.hosts.truncate(1);
    alone.repl_set_name = None;
    alone.direct_connection = Some(true);
    alone.server_selection_timeout = Some(ANSWER);
    Ok(Client::with_options(alone)?.database("admin"))
}

fn is_not_yet_initialized(error: &Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(answer) if answer.code == NOT_YET_INITIALIZED)
}
