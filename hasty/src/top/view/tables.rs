//! The three tables.

use hasty_client::{
    Ended, Job, Queue, QueueState, Status, Timestamp, Waiting, Worker, WorkerList, WorkerState,
};
use ratatui::{
    Frame,
    layout::{
        Constraint::{self, Fill, Length},
        Rect,
    },
    style::{Color, Modifier, Style},
    text::Text,
    widgets::{Block, Row, Table},
};

use super::{age, short};
use crate::top::state::{Pane, State};

pub(super) fn workers(frame: &mut Frame<'_>, area: Rect, state: &State, list: &WorkerList, now: Timestamp) {
    let row = |worker: &Worker| {
        let queues: Vec<&str> = worker.queues.iter().map(Queue::as_str).collect();
        let colour = match worker.state {
            WorkerState::Running => Color::Reset,
            WorkerState::Draining | WorkerState::Stopping => Color::Yellow,
            WorkerState::Drained | WorkerState::Stopped => Color::DarkGray,
        };
        row([
            worker.id.to_string(),
            worker.state.as_str().to_owned(),
            format!("{}/{}", worker.slots_used, worker.slots),
            worker.attempts_per_minute.to_string(),
            age(now, worker.since),
            age(now, worker.last_seen),
            worker.version.clone(),
            queues.join(","),
        ])
        .style(colour)
    };
    let head = ["worker", "state", "slots", "att/min", "up", "seen", "version", "queues"];
    let widths = [Fill(3), Length(8), Length(9), Length(7), Length(7), Length(7), Length(8), Fill(2)];
    table(frame, area, state, Pane::Workers, head, widths, list.workers.iter().map(row));
}

pub(super) fn queues(frame: &mut Frame<'_>, area: Rect, state: &State, queues: &[QueueState]) {
    let row = |queue: &QueueState| {
        let Waiting { high, normal, low } = queue.waiting;
        let Ended { finished, failed, cancelled, .. } = queue.ended;
        let is_waiting = [high, normal, low].iter().any(|count| count.count > 0);
        let colour = if is_waiting && queue.workers == 0 { Color::Red } else { Color::Reset };
        row([
            queue.queue.to_string(),
            high.to_string(),
            normal.to_string(),
            low.to_string(),
            queue.running.to_string(),
            queue.scheduled.to_string(),
            queue.oldest_waiting_s.map(|seconds| short(seconds as u64)).unwrap_or_default(),
            finished.to_string(),
            failed.to_string(),
            cancelled.to_string(),
            queue.workers.to_string(),
        ])
        .style(colour)
    };
    let head = [
        "queue", "high", "normal", "low", "running", "sched", "oldest", "done", "failed", "cancel", "workers",
    ];
    let mut widths = [Length(7); 11];
    widths[0] = Fill(1);
    table(frame, area, state, Pane::Queues, head, widths, queues.iter().map(row));
}

pub(super) fn jobs(frame: &mut Frame<'_>, area: Rect, state: &State, jobs: &[Job], now: Timestamp) {
    let row = |job: &Job| {
        let colour = match job.status {
            Status::Failed => Color::Red,
            Status::Running => Color::Cyan,
            Status::Cancelled => Color::DarkGray,
            Status::Finished => Color::Green,
            _ => Color::Reset,
        };
        row([
            job.id.to_string(),
            job.status.as_str().to_owned(),
            job.kind.to_string(),
            job.queue.to_string(),
            job.attempt.to_string(),
            age(now, job.created_at),
            job.worker.as_ref().map(ToString::to_string).unwrap_or_default(),
        ])
        .style(colour)
    };
    let head = ["job", "status", "kind", "queue", "attempt", "age", "worker"];
    let widths = [Length(36), Length(9), Fill(1), Fill(1), Length(7), Length(7), Fill(2)];
    table(frame, area, state, Pane::Jobs, head, widths, jobs.iter().map(row));
}

fn row<const N: usize>(cells: [String; N]) -> Row<'static> {
    Row::new(cells.map(Text::from))
}

fn table<'a, const N: usize>(
    frame: &mut Frame<'_>,
    area: Rect,
    state: &State,
    pane: Pane,
    head: [&'static str; N],
    widths: [Constraint; N],
    rows: impl Iterator<Item = Row<'a>>,
) {
    let (count, first) = (state.rows(pane), state.first_rows[pane as usize]);
    let name = match pane {
        Pane::Workers => "workers",
        Pane::Queues => "queues",
        Pane::Jobs => "latest jobs",
    };
    let hidden = if first > 0 { format!(", from {}", first + 1) } else { String::new() };
    let border =
        if state.pane == pane { Style::new().fg(Color::Cyan) } else { Style::new().fg(Color::DarkGray) };
    let block = Block::bordered().title(format!(" {name} ({count}{hidden}) ")).border_style(border);
    let head = Row::new(head).style(Style::new().add_modifier(Modifier::BOLD));
    frame.render_widget(Table::new(rows.skip(first), widths).header(head).block(block), area);
}
