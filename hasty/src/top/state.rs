//! What is shown, and what keys and answers change about it.

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::watch::Snapshot;

/// The tables, from above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pane {
    Workers,
    Queues,
    Jobs,
}

impl Pane {
    pub(super) const ALL: [Self; 3] = [Self::Workers, Self::Queues, Self::Jobs];

    fn moved(self, by: usize) -> Self {
        Self::ALL[(self as usize + by) % Self::ALL.len()]
    }
}

/// What follows a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    Quit,
}

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    /// The API's address.
    pub(super) url: String,
    /// The latest answer; none before the first.
    pub(super) snapshot: Option<Snapshot>,
    /// Why there is no later one.
    pub(super) error: Option<String>,
    /// Which table the keys are for.
    pub(super) pane: Pane,
    /// The first row that each table shows.
    pub(super) first_rows: [usize; 3],
}

impl State {
    pub(super) const fn new(url: String) -> Self {
        Self { url, snapshot: None, error: None, pane: Pane::Workers, first_rows: [0; 3] }
    }

    /// Takes in an answer, or that there was none: what was seen last stays.
    pub(super) fn take_in(&mut self, seen: Result<Snapshot, String>) {
        match seen {
            Ok(snapshot) => {
                self.snapshot = Some(snapshot);
                self.error = None;
            }
            Err(error) => self.error = Some(error),
        }
        for pane in Pane::ALL {
            self.scroll(pane, 0);
        }
    }

    pub(super) fn act_on(&mut self, event: &Event) -> Next {
        let Event::Key(KeyEvent {
            code, modifiers, kind: KeyEventKind::Press | KeyEventKind::Repeat, ..
        }) = event
        else {
            return Next::GoOn;
        };
        match code {
            KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => return Next::Quit,
            KeyCode::Char('q') | KeyCode::Esc => return Next::Quit,
            KeyCode::Tab | KeyCode::Right => self.pane = self.pane.moved(1),
            KeyCode::BackTab | KeyCode::Left => self.pane = self.pane.moved(Pane::ALL.len() - 1),
            KeyCode::Up => self.scroll(self.pane, -1),
            KeyCode::Down => self.scroll(self.pane, 1),
            KeyCode::PageUp => self.scroll(self.pane, -10),
            KeyCode::PageDown => self.scroll(self.pane, 10),
            KeyCode::Home => self.scroll(self.pane, isize::MIN),
            KeyCode::End => self.scroll(self.pane, isize::MAX),
            _ => {}
        }
        Next::GoOn
    }

    /// Moves a table's first row; the last row stays in sight.
    fn scroll(&mut self, pane: Pane, by: isize) {
        let last = self.rows(pane).saturating_sub(1);
        let first = &mut self.first_rows[pane as usize];
        *first = first.saturating_add_signed(by).min(last);
    }

    /// How many rows a table has.
    pub(super) fn rows(&self, pane: Pane) -> usize {
        self.snapshot.as_ref().map_or(0, |snapshot| match pane {
            Pane::Workers => snapshot.workers.workers.len(),
            Pane::Queues => snapshot.queues.len(),
            Pane::Jobs => snapshot.jobs.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::view::tests::snapshot;

    fn press(state: &mut State, code: KeyCode) -> Next {
        state.act_on(&Event::Key(KeyEvent::from(code)))
    }

    #[test]
    fn q_escape_and_control_c_quit_and_other_keys_do_not() {
        let mut state = State::new(String::new());
        assert_eq!(press(&mut state, KeyCode::Char('q')), Next::Quit);
        assert_eq!(press(&mut state, KeyCode::Esc), Next::Quit);
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(state.act_on(&Event::Key(control_c)), Next::Quit);
        assert_eq!(press(&mut state, KeyCode::Char('c')), Next::GoOn);
        assert_eq!(state.act_on(&Event::Resize(1, 1)), Next::GoOn);
    }

    #[test]
    fn tables_are_gone_through_in_a_circle() {
        let mut state = State::new(String::new());
        for pane in [Pane::Queues, Pane::Jobs, Pane::Workers] {
            press(&mut state, KeyCode::Tab);
            assert_eq!(state.pane, pane);
        }
        press(&mut state, KeyCode::Left);
        assert_eq!(state.pane, Pane::Jobs);
    }

    #[test]
    fn the_arrows_move_the_table_within_its_rows_also_when_rows_go() {
        let mut state = State::new(String::new());
        press(&mut state, KeyCode::Down);
        assert_eq!(state.first_rows, [0; 3], "there is nothing yet");
        state.take_in(Ok(snapshot(3)));
        for first in [1, 2, 2] {
            press(&mut state, KeyCode::Down);
            assert_eq!(state.first_rows[0], first);
        }
        press(&mut state, KeyCode::Home);
        assert_eq!(state.first_rows[0], 0);
        press(&mut state, KeyCode::End);
        assert_eq!(state.first_rows[0], 2);
        state.take_in(Ok(snapshot(1)));
        assert_eq!(state.first_rows[0], 0);
    }

    #[test]
    fn what_was_seen_last_stays_while_there_is_no_answer() {
        let mut state = State::new(String::new());
        state.take_in(Ok(snapshot(2)));
        state.take_in(Err("no answer".to_owned()));
        assert!(state.snapshot.is_some() && state.error.is_some());
        state.take_in(Ok(snapshot(2)));
        assert!(state.error.is_none());
    }
}
