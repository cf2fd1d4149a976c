//! `hasty export` and `hasty import`: everything as lines of JSON, out and in again.

mod export;
mod import;
mod progress;

pub use export::{ExportOptions, export};
pub use import::{ImportOptions, import};

use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result};

/// What lines of JSON are called.
const NDJSON: &str = "application/x-ndjson";

/// How long a request may be without a byte.
const SILENCE: Duration = Duration::from_secs(100);

fn http_client() -> Result<reqwest::Client> {
    let client = hasty_client::http_client().read_timeout(SILENCE).build();
    client.context("no HTTP client can be made")
}

/// A standard stream as a file.
fn std_file(stream: impl AsFd) -> Result<tokio::fs::File> {
    let own = stream.as_fd().try_clone_to_owned().context("there is no standard stream")?;
    Ok(tokio::fs::File::from_std(std::fs::File::from(own)))
}

/// What a refusal says.
async fn refusal(answer: reqwest::Response) -> anyhow::Error {
    let status = answer.status();
    let body = answer.text().await.unwrap_or_default();
    anyhow::anyhow!("the service answers {status}: {body}")
}
