//! `hasty export`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter};

use super::{http_client, progress, refusal, std_file};

/// The longest line that may be the last one, in bytes.
const LONGEST_END: usize = 1024;

/// The options of `export`.
#[derive(Debug, Args)]
pub struct ExportOptions {
    /// The address of the API
    #[arg(long, env = "HASTY_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// What to export, separated by commas
    #[arg(long, default_value = "schedules,jobs")]
    pub what: String,
    /// The file to write; without it the lines go to the standard output
    #[arg(long, short)]
    pub output: Option<PathBuf>,
}

/// The last line of an export.
#[derive(Debug, Deserialize)]
struct EndLine {
    end: serde_json::Map<String, serde_json::Value>,
}

/// Writes what the service exports. An export that breaks off is a failure.
///
/// # Errors
/// Where the service does not answer to the end, or the lines can not be written.
pub async fn export(options: ExportOptions) -> Result<ExitCode> {
    let url = format!("{}/v1/export?what={}", options.url.trim_end_matches('/'), options.what);
    let answer = http_client()?.get(url).send().await.context("the service does not answer")?;
    if !answer.status().is_success() {
        return Err(refusal(answer).await);
    }
    let end = match &options.output {
        Some(path) => {
            let file = File::create(path).await;
            let file = file.with_context(|| format!("could not write {}", path.display()))?;
            write(answer, file).await?
        }
        None => write(answer, std_file(std::io::stdout())?).await?,
    };
    let counts: Vec<String> = end.iter().map(|(what, count)| format!("{count} {what}")).collect();
    eprintln!("exported: {}", counts.join(", "));
    Ok(ExitCode::SUCCESS)
}

/// Hands the lines on as they come; says what the last one says.
async fn write(
    mut answer: reqwest::Response,
    output: impl AsyncWrite + Unpin,
) -> Result<serde_json::Map<String, serde_json::Value>> {
    let (mut output, bar, mut tail, mut lines) =
        (BufWriter::new(output), progress::bar(None), Vec::new(), 0_u64);
    while let Some(chunk) = answer.chunk().await.context("the export broke off")? {
        output.write_all(&chunk).await.context("could not write the lines")?;
        bar.inc(chunk.len() as u64);
        lines += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
        bar.set_message(format!("{lines} lines"));
        tail.extend_from_slice(&chunk);
        tail.drain(..tail.len().saturating_sub(LONGEST_END));
    }
    output.flush().await.context("could not write the lines")?;
    bar.finish_and_clear();
    let last = tail.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let end: Option<EndLine> = serde_json::from_slice(last).ok();
    ensure!(end.is_some(), "the export broke off: its last line is missing");
    Ok(end.map(|EndLine { end }| end).unwrap_or_default())
}
