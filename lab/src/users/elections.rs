//! How soon a set notices that its primary is gone.

use anyhow::{Context, Result};
use bson::{Document, doc};
use mongodb::{Client, options::ClientOptions};
use stack::Node;

/// MongoDB's own settings, in milliseconds: how long a primary may be silent, and how often members ask each other.
const ELECTION_MS: i32 = 10_000;
const HEARTBEAT_MS: i32 = 2000;

/// Gives the set, by its primary, MongoDB's own settings.
pub(super) async fn as_usual(primary: &Node) -> Result<()> {
    let options = ClientOptions::parse(primary.url()).await?;
    let admin = Client::with_options(options)?.database("admin");
    let answer = admin.run_command(doc! { "replSetGetConfig": 1 }).await?;
    let mut config: Document = answer.get_document("config").context("a set has a configuration")?.clone();
    let version = config.get_i32("version").context("a configuration has a version")?;
    config.insert("version", version + 1);
    let settings = config.get_document_mut("settings").context("a configuration has settings")?;
    settings.extend(doc! { "electionTimeoutMillis": ELECTION_MS, "heartbeatIntervalMillis": HEARTBEAT_MS });
    admin
        .run_command(doc! { "replSetReconfig": config })
        .await
        .context("could not change the set's settings")?;
    Ok(())
}
