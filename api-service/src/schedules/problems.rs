//! The problems of schedules, for clients.

use super::{ScheduleError, service::MOST_AT_ONCE};
use crate::http::{Problem, ProblemType, problem::types::PRECONDITION_FAILED, route_problems};

/// 404.
pub(crate) const SCHEDULE_NOT_FOUND: ProblemType = ProblemType {
    code: "schedule_not_found",
    status: 404,
    title: "There is no such schedule",
    meaning: "No schedule has this id: it never existed, or was deleted.",
    remedy: "Look the schedule up in the list, `GET /v1/schedules`.",
};

/// 409, of a line of an import.
pub(crate) const SCHEDULE_ID_TAKEN: ProblemType = ProblemType {
    code: "schedule_id_taken",
    status: 409,
    title: "Another schedule has the id",
    meaning: "There is a schedule of this id that is another one: it has another `uid`. Nothing was changed.",
    remedy: "Delete the one that is there, or take the line's out.",
};

/// 422.
pub(super) const BACKFILL_TOO_OLD: ProblemType = ProblemType {
    code: "backfill_too_old",
    status: 422,
    title: "The span starts before the oldest record of a firing",
    meaning: "What has fired is remembered for 400 days (`FIRINGS_KEPT_S`). Before that nobody knows it any more, and \
              times could fire twice. Nothing was changed.",
    remedy: "Start the span later.",
};

/// 422.
pub(super) const BACKFILL_TOO_LARGE: ProblemType = ProblemType {
    code: "backfill_too_large",
    status: 422,
    title: "The span has too many due times",
    meaning: "A backfill makes up for 1000 due times at most. Nothing was changed.",
    remedy: "Send several spans, one after the other.",
};

const _: () = assert!(MOST_AT_ONCE == 1000);

/// All of them.
pub const PROBLEM_TYPES: &[&ProblemType] =
    &[&SCHEDULE_NOT_FOUND, &SCHEDULE_ID_TAKEN, &BACKFILL_TOO_OLD, &BACKFILL_TOO_LARGE];

impl From<ScheduleError> for Problem {
    fn from(error: ScheduleError) -> Self {
        match error {
            ScheduleError::NotFound(id) => {
                Self::new(&SCHEDULE_NOT_FOUND).detail(format!("no schedule with id: {id}"))
            }
            ScheduleError::ConditionFailed => Self::new(&PRECONDITION_FAILED),
            ScheduleError::Taken(id) => {
                Self::new(&SCHEDULE_ID_TAKEN).detail(format!("another schedule has the id: {id}"))
            }
            ScheduleError::TooOld => Self::new(&BACKFILL_TOO_OLD),
            ScheduleError::TooMany => Self::new(&BACKFILL_TOO_LARGE),
            ScheduleError::Contended => Self::unavailable("the schedule changes too quickly"),
            ScheduleError::Store(error) => error.into(),
        }
    }
}

route_problems! {
    /// Reading a schedule, or changing one.
    ChangeProblems: SCHEDULE_NOT_FOUND, PRECONDITION_FAILED;
    /// Reading what belongs to a schedule, or having it fire.
    FiringProblems: SCHEDULE_NOT_FOUND;
    /// Having a schedule fire for a span of time.
    BackfillProblems: SCHEDULE_NOT_FOUND, BACKFILL_TOO_OLD, BACKFILL_TOO_LARGE;
}
