//! Where a job stands, and the one function that says what an event may change.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The state of a run; a job's status is that of its latest run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its time has not come: it is not announced yet.
    Scheduled,
    /// Waits for a worker, or for its next attempt.
    Queued,
    /// A worker has claimed it.
    Running,
    /// The handler said done. Terminal.
    Finished,
    /// Failed for good. Terminal.
    Failed,
    /// Stopped because it was asked for or took too long. Terminal.
    Cancelled,
}

impl Status {
    /// All of them, in the order of a run's life.
    pub const ALL: [Self; 6] =
        [Self::Scheduled, Self::Queued, Self::Running, Self::Finished, Self::Failed, Self::Cancelled];

    /// Those that a run can still leave.
    pub const OPEN: [Self; 3] = [Self::Scheduled, Self::Queued, Self::Running];

    /// Whether a run stays in this state for ever.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Cancelled)
    }

    /// 0 scheduled, 1 queued, 2 running, 3 terminal.
    #[must_use]
    pub const fn rank(self) -> u8 {
        match self {
            Self::Scheduled => 0,
            Self::Queued => 1,
            Self::Running => 2,
            Self::Finished | Self::Failed | Self::Cancelled => 3,
        }
    }

    /// The status as it is written in JSON, BSON and subjects.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one of scheduled, queued, running, finished, failed, cancelled")]
pub struct BadStatus;

impl FromStr for Status {
    type Err = BadStatus;

    fn from_str(text: &str) -> Result<Self, BadStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(BadStatus)
    }
}

/// Where a job stands: which run, which attempt of it, in which state.
///
/// `attempt` is the number of the latest claim, 0 before the first. A run that is back in the
/// queue after attempt *n* stands at *n* + 1, queued: after the attempt that was, before the
/// one that will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Which run, from 1.
    pub run: u32,
    /// Which attempt; see above.
    pub attempt: u32,
    /// The state.
    pub status: Status,
}

impl Position {
    /// Where a run stands that nobody claimed yet.
    #[must_use]
    pub const fn fresh(run: u32) -> Self {
        Self { run, attempt: 0, status: Status::Queued }
    }

    /// Where a run stands whose time has not come.
    #[must_use]
    pub const fn scheduled(run: u32) -> Self {
        Self { run, attempt: 0, status: Status::Scheduled }
    }

    const fn order(self) -> (u32, u8) {
        (self.attempt, self.status.rank())
    }
}

/// What `current` becomes by news of `event`; `None` where the event changes nothing.
///
/// A later run replaces an earlier one. Within a run the end is final and beats everything
/// before it; before the end, the order is (attempt, rank).
#[must_use]
pub fn transition(current: Position, event: Position) -> Option<Position> {
    if event.run != current.run {
        return (event.run > current.run).then_some(event);
    }
    if current.status.is_terminal() {
        return None;
    }
    (event.status.is_terminal() || event.order() > current.order()).then_some(event)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn positions() -> impl Strategy<Value = Position> {
        (1..4_u32, 0..5_u32, 0..Status::ALL.len()).prop_map(|(run, attempt, status)| Position {
            run,
            attempt,
            status: Status::ALL[status],
        })
    }

    fn ends() -> impl Strategy<Value = Position> {
        let terminal = || Status::ALL.into_iter().filter(|status| status.is_terminal());
        let status = (0..terminal().count()).prop_map(move |index| terminal().nth(index));
        (positions(), status)
            .prop_map(|(position, status)| Position { status: status.expect("it is counted"), ..position })
    }

    fn apply(start: Position, events: &[Position]) -> Position {
        events.iter().fold(start, |current, event| transition(current, *event).unwrap_or(current))
    }

    proptest! {
        #[test]
        fn the_end_of_a_run_never_changes(end in ends(), event in positions()) {
            prop_assert_eq!(transition(end, Position { run: end.run, ..event }), None);
        }

        #[test]
        fn nothing_goes_backwards(current in positions(), event in positions()) {
            if let Some(next) = transition(current, event) {
                prop_assert_eq!(next, event);
                prop_assert!(next.run >= current.run);
                if next.run == current.run && !next.status.is_terminal() {
                    prop_assert!((next.attempt, next.status.rank()) > (current.attempt, current.status.rank()));
                }
            }
        }

        #[test]
        fn news_heard_twice_changes_nothing_the_second_time(current in positions(), event in positions()) {
            let once = apply(current, &[event]);
            prop_assert_eq!(apply(once, &[event]), once);
        }

        /// A ledger tells each end once, so two different ends of one run do not occur; with that,
        /// the order in which news arrives does not matter.
        #[test]
        fn the_order_of_news_does_not_matter(
            (told, shuffled) in proptest::collection::vec(positions(), 1..8)
                .prop_map(|mut told| {
                    let mut ends = std::collections::HashMap::new();
                    for event in &mut told {
                        if event.status.is_terminal() {
                            *event = *ends.entry(event.run).or_insert(*event);
                        }
                    }
                    told
                })
                .prop_flat_map(|told| (Just(told.clone()), Just(told).prop_shuffle()))
        ) {
            for start in [Position::scheduled(1), Position::fresh(1)] {
                prop_assert_eq!(apply(start, &told), apply(start, &shuffled));
            }
        }
    }

    #[test]
    fn a_job_lives_its_life() {
        let at = |attempt, status| Position { run: 1, attempt, status };
        let life =
            [at(1, Status::Running), at(2, Status::Queued), at(2, Status::Running), at(2, Status::Finished)];
        let mut current = Position::scheduled(1);
        current = transition(current, Position::fresh(1)).expect("its time has come");
        for event in life {
            current = transition(current, event).expect("each step counts");
        }
        assert_eq!(current, at(2, Status::Finished));
        assert_eq!(transition(current, Position::fresh(2)), Some(Position::fresh(2)));
    }

    #[test]
    fn a_cancel_while_waiting_for_the_next_attempt_ends_the_run() {
        let waiting = Position { run: 1, attempt: 3, status: Status::Queued };
        let cancelled = Position { run: 1, attempt: 2, status: Status::Cancelled };
        assert_eq!(transition(waiting, cancelled), Some(cancelled));
    }
}
