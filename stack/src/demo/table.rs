//! The demo's jobs as a table that is redrawn in place on a terminal, and as one line for each change elsewhere.

use std::time::Instant;

use hasty_client::{Job, JobId, JsonText, Status};

use crate::terminal;

pub(super) struct Table {
    rows: Vec<Row>,
    begun: Instant,
    live: bool,
    lines_drawn: usize,
}

struct Row {
    title: &'static str,
    job: Job,
    created: Instant,
    ended: Option<Instant>,
}

impl Table {
    /// `live`: the table is redrawn in place.
    pub(super) fn new(live: bool) -> Self {
        Self { rows: Vec::new(), begun: Instant::now(), live, lines_drawn: 0 }
    }

    pub(super) fn add(&mut self, title: &'static str, job: Job) {
        let row = Row { title, job, created: Instant::now(), ended: None };
        self.print_change(&row);
        self.rows.push(row);
    }

    pub(super) fn update(&mut self, job: Job) {
        let Some(index) = self.rows.iter().position(|row| row.job.id == job.id) else { return };
        let row = &mut self.rows[index];
        let changed = (row.job.status, row.job.attempt) != (job.status, job.attempt);
        row.job = job;
        if row.job.status.is_terminal() {
            row.ended.get_or_insert_with(Instant::now);
        }
        if changed {
            self.print_change(&self.rows[index]);
        }
    }

    /// The ids of those that have not ended.
    pub(super) fn open(&self) -> Vec<JobId> {
        self.rows.iter().filter(|row| !row.job.status.is_terminal()).map(|row| row.job.id).collect()
    }

    pub(super) fn is_over(&self) -> bool {
        self.rows.iter().all(|row| row.job.status.is_terminal())
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = (&'static str, &Job)> {
        self.rows.iter().map(|row| (row.title, &row.job))
    }

    /// Draws the table over the one drawn before.
    pub(super) fn draw(&mut self) {
        if !self.live {
            return;
        }
        let mut text = String::new();
        if self.lines_drawn > 0 {
            text.push_str(&format!("\x1b[{}A", self.lines_drawn));
        }
        let header = format!(
            "  {:<10} {:<9} {:<10} {:<22} {:>7} {:>8}",
            "id", "kind", "status", "worker", "attempt", "elapsed"
        );
        text.push_str(&format!("\x1b[2K{}\n", terminal::coloured(&header, 2)));
        for row in &self.rows {
            text.push_str(&format!("\x1b[2K  {}\n", row.text()));
        }
        print!("{text}");
        self.lines_drawn = self.rows.len() + 1;
    }

    fn print_change(&self, row: &Row) {
        if !self.live {
            println!("{:>6.1} s  {}", self.begun.elapsed().as_secs_f32(), row.text());
        }
    }
}

impl Row {
    fn text(&self) -> String {
        let job = &self.job;
        let elapsed = self.ended.unwrap_or_else(Instant::now) - self.created;
        let status = terminal::coloured(&format!("{:<10}", job.status.as_str()), colour(job.status));
        let worker = fitting(job.worker.as_ref().map_or("-", |worker| worker.as_str()), 22);
        let attempt = job.attempt;
        let seconds = elapsed.as_secs_f32();
        format!(
            "{:<10} {:<9} {status} {worker:<22} {attempt:>7} {seconds:>6.1} s",
            short(&job.id.to_string()),
            job.kind.as_str()
        )
    }
}

/// The end of a UUID v7 tells jobs apart; its beginning is the time.
fn short(id: &str) -> String {
    let tail: Vec<char> = id.chars().rev().take(8).collect();
    format!("…{}", tail.into_iter().rev().collect::<String>())
}

fn fitting(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

fn colour(status: Status) -> u8 {
    match status {
        Status::Scheduled | Status::Queued => 2,
        Status::Running => 36,
        Status::Finished => 32,
        Status::Cancelled => 33,
        Status::Failed => 31,
    }
}

/// How a job ended, in a few words.
pub(super) fn outcome(job: &Job) -> String {
    let details = [
        job.reason.map(|reason| reason.as_str().to_owned()),
        job.result.as_ref().map(|result: &JsonText| result.as_str().to_owned()),
        job.error.as_ref().map(|error| format!("{}: {}", error.code, error.message)),
    ];
    let details: Vec<_> = details.into_iter().flatten().collect();
    format!("{:<9}  {}", job.status.as_str(), details.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_and_ids_shown_by_their_end() {
        assert_eq!(short("01942f6e-0000-7000-8000-0000deadbeef"), "…deadbeef");
        assert_eq!(fitting("worker-1", 22), "worker-1");
        assert_eq!(fitting("a-very-long-host-name-1", 8), "a-very-…");
    }
}
