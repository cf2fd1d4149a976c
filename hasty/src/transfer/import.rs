//! `hasty import`: cuts lines of any number into requests.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};

use super::{NDJSON, http_client, progress, refusal, std_file};

/// How many lines one request has at most, and how many bytes. A line has no more than two MiB where it comes from an
/// export.
const MAX_LINES: usize = 5000;
const MAX_BYTES: usize = 8 << 20;

/// How often a request is sent that is not answered, or a line that the service has no room for; the same line twice
/// changes nothing.
const TRIES: u32 = 60;

/// The pause before that.
const PAUSE: Duration = Duration::from_secs(1);

/// How many wrong lines are shown.
const SHOWN: usize = 100;

/// The options of `import`.
#[derive(Debug, Args)]
pub struct ImportOptions {
    /// The address of the API
    #[arg(long, env = "HASTY_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// The file to read; without it the lines come from the standard input
    pub file: Option<PathBuf>,
}

/// What the service answers.
#[derive(Debug, Deserialize)]
struct Answers {
    results: Vec<LineAnswer>,
}

#[derive(Debug, Deserialize)]
struct LineAnswer {
    line: usize,
    status: u16,
    error: Option<serde_json::Value>,
}

/// A line, with its number in the file.
#[derive(Debug)]
struct Line {
    number: u64,
    text: Vec<u8>,
}

/// What became of the lines.
#[derive(Debug, Default)]
struct Counts {
    taken_in: u64,
    there: u64,
    wrong: u64,
}

/// Sends all lines. One that is wrong is named, hinders no other, and makes it a failure.
///
/// # Errors
/// Where the service does not answer for long, or the lines can not be read.
pub async fn import(options: ImportOptions) -> Result<ExitCode> {
    let import =
        Import { http: http_client()?, url: format!("{}/v1/import", options.url.trim_end_matches('/')) };
    let counts = match &options.file {
        Some(path) => {
            let file =
                File::open(path).await.with_context(|| format!("could not read {}", path.display()))?;
            let bytes = file.metadata().await.ok().map(|about| about.len());
            import.all(BufReader::new(file), &progress::bar(bytes)).await?
        }
        None => import.all(BufReader::new(std_file(std::io::stdin())?), &progress::bar(None)).await?,
    };
    let Counts { taken_in, there, wrong } = counts;
    eprintln!("taken in: {taken_in}, were there: {there}, wrong: {wrong}");
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Import {
    http: reqwest::Client,
    url: String,
}

impl Import {
    async fn all(&self, mut input: impl AsyncBufRead + Unpin, bar: &ProgressBar) -> Result<Counts> {
        let (mut counts, mut number, mut batch, mut bytes) = (Counts::default(), 0, Vec::new(), 0);
        loop {
            let mut text = Vec::new();
            let read = input.read_until(b'\n', &mut text).await.context("could not read the lines")?;
            number += 1;
            let is_over = read == 0;
            let fits = bytes + read <= MAX_BYTES && batch.len() < MAX_LINES;
            if !batch.is_empty() && (is_over || !fits) {
                self.send(std::mem::take(&mut batch), &mut counts, bar).await?;
                bar.inc(std::mem::take(&mut bytes) as u64);
                bar.set_message(format!("{} lines", number - 1));
            }
            if is_over {
                bar.finish_and_clear();
                return Ok(counts);
            }
            bytes += read;
            if !text.trim_ascii().is_empty() {
                batch.push(Line { number, text });
            }
        }
    }

    /// Sends lines, and those again that the service has no room for.
    async fn send(&self, mut lines: Vec<Line>, counts: &mut Counts, bar: &ProgressBar) -> Result<()> {
        for _ in 0..TRIES {
            let Some(answers) = self.request(&lines).await? else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let mut again = Vec::new();
            for (answer, line) in paired(answers, lines)? {
                match (answer.status, answer.error) {
                    (201, _) => counts.taken_in += 1,
                    (200, _) => counts.there += 1,
                    (503, _) => again.push(line),
                    (status, error) => {
                        counts.wrong += 1;
                        if counts.wrong <= SHOWN as u64 {
                            let error = error.unwrap_or_default();
                            bar.suspend(|| eprintln!("line {}: {status}: {error}", line.number));
                        }
                    }
                }
            }
            if again.is_empty() {
                return Ok(());
            }
            lines = again;
            tokio::time::sleep(PAUSE).await;
        }
        bail!("the service does not take line {}", lines.first().map_or(0, |line| line.number))
    }

    /// None where it is to be sent again.
    async fn request(&self, lines: &[Line]) -> Result<Option<Vec<LineAnswer>>> {
        let mut body = Vec::with_capacity(lines.iter().map(|line| line.text.len() + 1).sum());
        for Line { text, .. } in lines {
            body.extend_from_slice(text.trim_ascii());
            body.push(b'\n');
        }
        let request = self.http.post(&self.url).header("Content-Type", NDJSON).body(body);
        let Ok(answer) = request.send().await else { return Ok(None) };
        if answer.status().is_server_error() {
            return Ok(None);
        }
        if !answer.status().is_success() {
            return Err(refusal(answer).await);
        }
        Ok(answer.json::<Answers>().await.ok().map(|Answers { results }| results))
    }
}

/// Each line with its answer.
fn paired(answers: Vec<LineAnswer>, lines: Vec<Line>) -> Result<Vec<(LineAnswer, Line)>> {
    let is_complete = answers.iter().map(|answer| answer.line).eq(1..=lines.len());
    if !is_complete {
        bail!("{} lines got {} answers", lines.len(), answers.len());
    }
    Ok(answers.into_iter().zip(lines).collect())
}
