//! `hasty import`: cuts lines of any number into requests.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use futures::{Stream, TryStreamExt, stream};
use indicatif::ProgressBar;
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};

use super::{NDJSON, http_client, progress, refusal, std_file};

/// How many lines one request has at most, and how many bytes. A line has no more than two MiB where it comes from an
/// export.
const MAX_LINES: usize = 5000;
const MAX_BYTES: u64 = 8 << 20;

/// How many requests are sent at once.
const IN_FLIGHT: usize = 4;

/// How often a request is sent that is not answered, or a line that the service has no room for; the same line twice
/// changes nothing.
const TRIES: u32 = 60;

/// The pause before that.
const PAUSE: Duration = Duration::from_secs(1);

/// How many wrong lines are shown.
const SHOWN: u64 = 100;

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

/// Lines that are sent together, and how many bytes of the input they are.
#[derive(Debug)]
struct Batch {
    lines: Vec<Line>,
    bytes: u64,
}

/// What became of lines.
#[derive(Debug, Default)]
struct Counts {
    taken_in: u64,
    there: u64,
    /// Those that are wrong, each with what the service says.
    wrong: Vec<String>,
}

/// What became of all of them.
#[derive(Debug, Default)]
struct Totals {
    lines: u64,
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
    let totals = match &options.file {
        Some(path) => {
            let file =
                File::open(path).await.with_context(|| format!("could not read {}", path.display()))?;
            let bytes = file.metadata().await.ok().map(|about| about.len());
            import.all(BufReader::new(file), &progress::bar(bytes)).await?
        }
        None => import.all(BufReader::new(std_file(std::io::stdin())?), &progress::bar(None)).await?,
    };
    let Totals { taken_in, there, wrong, .. } = totals;
    eprintln!("taken in: {taken_in}, were there: {there}, wrong: {wrong}");
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Import {
    http: reqwest::Client,
    url: String,
}

impl Import {
    async fn all(&self, input: impl AsyncBufRead + Unpin, bar: &ProgressBar) -> Result<Totals> {
        let sends = batches(input).map_ok(|Batch { lines, bytes }| async move {
            let sent = lines.len() as u64;
            Ok((sent, bytes, self.send(lines).await?))
        });
        let mut sends = std::pin::pin!(sends.try_buffer_unordered(IN_FLIGHT));
        let mut totals = Totals::default();
        while let Some((lines, bytes, counts)) = sends.try_next().await? {
            totals.lines += lines;
            totals.taken_in += counts.taken_in;
            totals.there += counts.there;
            for wrong in counts.wrong {
                totals.wrong += 1;
                if totals.wrong <= SHOWN {
                    bar.suspend(|| eprintln!("{wrong}"));
                }
            }
            bar.inc(bytes);
            bar.set_message(format!("{} lines", totals.lines));
        }
        bar.finish_and_clear();
        Ok(totals)
    }

    /// Sends lines, and those again that the service has no room for.
    async fn send(&self, mut lines: Vec<Line>) -> Result<Counts> {
        let mut counts = Counts::default();
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
                        let error = error.unwrap_or_default();
                        counts.wrong.push(format!("line {}: {status}: {error}", line.number));
                    }
                }
            }
            if again.is_empty() {
                return Ok(counts);
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

/// The lines that are not empty, cut into batches as they are read.
fn batches(input: impl AsyncBufRead + Unpin) -> impl Stream<Item = Result<Batch>> {
    // A line that was read and did not fit starts the next batch.
    let start = (input, 0, None::<Line>);
    stream::try_unfold(start, |(mut input, mut number, mut first)| async move {
        let mut batch = Batch { lines: Vec::new(), bytes: 0 };
        loop {
            if let Some(line) = first.take() {
                batch.bytes += line.text.len() as u64;
                batch.lines.push(line);
            }
            let mut text = Vec::new();
            let read = input.read_until(b'\n', &mut text).await.context("could not read the lines")? as u64;
            number += 1;
            if read == 0 {
                let is_over = batch.lines.is_empty();
                return Ok((!is_over).then_some((batch, (input, number, None))));
            }
            if text.trim_ascii().is_empty() {
                batch.bytes += read;
                continue;
            }
            first = Some(Line { number, text });
            let fits = batch.bytes + read <= MAX_BYTES && batch.lines.len() < MAX_LINES;
            if !fits && !batch.lines.is_empty() {
                return Ok(Some((batch, (input, number, first))));
            }
        }
    })
}

/// Each line with its answer.
fn paired(answers: Vec<LineAnswer>, lines: Vec<Line>) -> Result<Vec<(LineAnswer, Line)>> {
    let is_complete = answers.iter().map(|answer| answer.line).eq(1..=lines.len());
    if !is_complete {
        bail!("{} lines got {} answers", lines.len(), answers.len());
    }
    Ok(answers.into_iter().zip(lines).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn cut(input: &[u8]) -> Vec<(Vec<u64>, u64)> {
        let batches: Vec<Batch> = batches(input).try_collect().await.unwrap();
        let numbers = |batch: &Batch| batch.lines.iter().map(|line| line.number).collect();
        batches.iter().map(|batch| (numbers(batch), batch.bytes)).collect()
    }

    #[tokio::test]
    async fn lines_keep_their_numbers_and_no_byte_is_left_out() {
        assert_eq!(cut(b"").await, []);
        assert_eq!(cut(b"a\n\n  \nb").await, [(vec![1, 4], 7)]);
        let many = cut("x\n".repeat(2 * MAX_LINES + 1).as_bytes()).await;
        assert_eq!(many.iter().map(|(lines, _)| lines.len()).collect::<Vec<_>>(), [MAX_LINES, MAX_LINES, 1]);
        assert_eq!(many[2].0, [2 * MAX_LINES as u64 + 1]);
        let large = "x".repeat(5 << 20) + "\n";
        let sizes: Vec<u64> = cut(large.repeat(3).as_bytes()).await.iter().map(|(_, bytes)| *bytes).collect();
        assert_eq!(sizes, [large.len() as u64; 3]);
    }
}
