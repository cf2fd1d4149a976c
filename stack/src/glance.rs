//! The system at a glance: two lines that stay below the logs of `cargo stack up`, on a terminal.

use std::time::Duration;

use anyhow::Result;
use hasty_client::{Client, Ended, Error, Settings, Stats};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::terminal;

/// How often they are drawn anew.
const EVERY: Duration = Duration::from_secs(1);

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Where log lines go, and the two lines below them. Copies share the terminal.
#[derive(Clone, Debug)]
pub(crate) struct Glance(MultiProgress);

impl Glance {
    /// None where nobody is looking.
    pub(crate) fn of_terminal() -> Option<Self> {
        let terminal = || Self(MultiProgress::with_draw_target(ProgressDrawTarget::stdout()));
        terminal::is_watched().then(terminal)
    }

    /// Prints a line of a log.
    pub(crate) fn print(&self, line: &str) {
        // A terminal that is gone is no reason to fail.
        let _ = self.0.println(line);
    }

    /// Shows the two lines as long as this is waited for.
    pub(crate) async fn show(&self, url: &str) -> Result<()> {
        let settings =
            Settings { retries: 0, answer_timeout: ANSWER_TIMEOUT, proxies: false, ..Settings::default() };
        let client = Client::with_settings(url, settings)?;
        let style = ProgressStyle::with_template("{wide_msg}")?;
        let shown = Shown([(); 2].map(|()| self.0.add(ProgressBar::no_length().with_style(style.clone()))));
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            ticks.tick().await;
            let texts = lines(&client.stats().await);
            for (line, text) in shown.0.iter().zip(texts) {
                line.set_message(text);
            }
        }
    }
}

/// The lines go with this.
struct Shown([ProgressBar; 2]);

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.iter().for_each(ProgressBar::finish_and_clear);
    }
}

/// What the two lines say.
fn lines(stats: &Result<Stats, Error>) -> [String; 2] {
    let stats = match stats {
        Ok(stats) => stats,
        Err(error) => return ["jobs     ?".to_owned(), format!("wrong    {error}")],
    };
    let Stats {
        waiting, running, scheduled, ended, ended_per_s, workers, slots, slots_used, problems, ..
    } = stats;
    let Ended { finished, failed, cancelled, .. } = ended;
    let jobs = format!(
        "jobs     {waiting} waiting, {running} running, {scheduled} scheduled; lately {finished} finished, {failed} failed, \
         {cancelled} cancelled; {ended_per_s:.1}/s"
    );
    let wrong = if problems.is_empty() { "nothing is wrong".to_owned() } else { problems.join("; ") };
    [jobs, format!("workers  {workers}, {slots_used} of {slots} slots used; {wrong}")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(problems: &[&str]) -> Stats {
        let count = |count: u64, exact: bool| serde_json::json!({ "count": count, "exact": exact });
        let stats = serde_json::json!({
            "waiting": count(10_000, false), "running": count(3, true), "scheduled": count(0, true),
            "ended": { "since": "2026-11-27T12:00:00Z", "finished": 12, "failed": 1, "cancelled": 2 },
            "ended_per_s": 4.25, "queues": count(1, true), "workers": 2, "slots": 200, "slots_used": 3,
            "outbox_waiting": 0, "problems": problems,
        });
        serde_json::from_value(stats).expect("what the service answers")
    }

    #[test]
    fn jobs_by_state_how_many_end_who_works_and_what_is_wrong() {
        let [jobs, workers] = lines(&Ok(stats(&[])));
        assert_eq!(
            jobs,
            "jobs     10000+ waiting, 3 running, 0 scheduled; lately 12 finished, 1 failed, 2 cancelled; 4.2/s"
        );
        assert_eq!(workers, "workers  2, 3 of 200 slots used; nothing is wrong");
        let [_, workers] = lines(&Ok(stats(&["NATS is away", "no worker serves mail"])));
        assert_eq!(workers, "workers  2, 3 of 200 slots used; NATS is away; no worker serves mail");
    }

    #[test]
    fn where_there_is_no_answer_it_says_so() {
        let [_, wrong] = lines(&Err(Error::Unreadable("no JSON".to_owned())));
        assert_eq!(wrong, "wrong    an answer could not be read: no JSON");
    }
}
