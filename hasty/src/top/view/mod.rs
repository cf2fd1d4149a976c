//! How it is drawn: a function of the state and the time.

mod tables;
#[cfg(test)]
pub(super) mod tests;

use hasty_client::{Ended, Stats, Timestamp};
use ratatui::{
    Frame,
    layout::{Constraint, Layout},
    style::{Color, Modifier, Style, Stylize},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    state::{Pane, State},
    watch::Snapshot,
};

/// How old the workers' heart-beats may be without being said.
const FRESH_S: f64 = 3.0;

/// Draws all of it.
pub(super) fn render(frame: &mut Frame<'_>, state: &State, now: Timestamp) {
    // Workers and queues get what they need, within limits; jobs get the rest.
    let table = |pane| u16::try_from(state.rows(pane)).unwrap_or(u16::MAX).saturating_add(3);
    let share = frame.area().height / 4;
    let areas = Layout::vertical([
        Constraint::Length(4),
        Constraint::Length(table(Pane::Workers).min(share.max(4))),
        Constraint::Length(table(Pane::Queues).min(share.max(4))),
        Constraint::Fill(1),
        Constraint::Length(1),
    ]);
    let [head, workers, queues, jobs, keys] = areas.areas(frame.area());
    frame.render_widget(Paragraph::new(head_lines(state, now)), head);
    if let Some(snapshot) = &state.snapshot {
        tables::workers(frame, workers, state, &snapshot.workers, now);
        tables::queues(frame, queues, state, &snapshot.queues);
        tables::jobs(frame, jobs, state, &snapshot.jobs, now);
    }
    let text = " q quit   tab next table   ↑ ↓ move it";
    frame.render_widget(Line::from(text).style(Style::new().add_modifier(Modifier::DIM)), keys);
}

fn head_lines(state: &State, now: Timestamp) -> Vec<Line<'_>> {
    let title =
        Line::from(vec![" Hasty ".bold().reversed(), format!(" {}   {}", state.url, clock(now)).into()]);
    let mut lines = vec![title];
    if let Some(snapshot) = &state.snapshot {
        lines.extend(totals(&snapshot.stats));
    }
    lines.push(wrong(state, now));
    lines
}

/// Two lines: jobs, and who works.
fn totals(stats: &Stats) -> [Line<'_>; 2] {
    let Stats { waiting, running, scheduled, ended, ended_per_s, queues, workers, slots, slots_used, .. } =
        stats;
    let Ended { since, finished, failed, cancelled } = ended;
    let jobs = format!(
        " jobs     {waiting} waiting, {running} running, {scheduled} scheduled; since {} {finished} finished, {failed} failed, {cancelled} cancelled",
        clock(*since)
    );
    let work = format!(
        " workers  {workers}, {slots_used} of {slots} slots used; {ended_per_s:.1} jobs/s; {queues} queues"
    );
    [Line::from(jobs), Line::from(work)]
}

/// What is wrong, in one line.
fn wrong(state: &State, now: Timestamp) -> Line<'_> {
    let text = match (&state.error, &state.snapshot) {
        (Some(error), Some(Snapshot { at, .. })) => {
            format!(" as of {}, {} ago: {error}", clock(*at), age(now, *at))
        }
        (Some(error), None) => format!(" trying again: {error}"),
        (None, None) => return Line::from(" asking the API"),
        (None, Some(snapshot)) => match problems(snapshot) {
            problems if problems.is_empty() => {
                return Line::from(Span::styled(" nothing is wrong", Color::Green));
            }
            problems => format!(" {}", problems.join("; ")),
        },
    };
    Line::from(Span::styled(text, Style::new().fg(Color::Red).add_modifier(Modifier::BOLD)))
}

fn problems(snapshot: &Snapshot) -> Vec<String> {
    let mut problems = snapshot.stats.problems.clone();
    let age_s = snapshot.workers.age_s;
    if age_s > FRESH_S {
        problems.push(format!("workers were last heard {age_s:.0} s ago"));
    }
    problems
}

/// The time of day, in UTC.
fn clock(time: Timestamp) -> String {
    time.to_string().get(11..19).unwrap_or_default().to_owned()
}

/// How long ago, in a few characters.
fn age(now: Timestamp, then: Timestamp) -> String {
    short(now.since(then).as_secs())
}

fn short(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
