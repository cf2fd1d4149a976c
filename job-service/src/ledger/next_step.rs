//! What a worker does about a run that the ledger knows already: one pure decision for announcements
//! that come again and for what a scan finds.

use bson::DateTime;
use shared_events::{Status, WorkerId};

use super::Run;

/// What to do about a known run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// Claim it: its retry is due, or its lease has ended.
    Claim,
    /// It is this worker's own claim, whose answer was lost: run it.
    Resume,
    /// It is this worker's own claim as it was read; it may have run here, and ended, since. That has to be looked up in the right
    /// order.
    LookUp,
    /// Its lease has ended and it may not be tried again, or is to be cancelled: end it.
    GiveUp,
    /// Its time to start is over, and nobody has begun it: end it.
    Expire,
    /// Nothing: somebody runs it, or its time has not come. The ledger knows when.
    Leave,
    /// It has ended: tell so again.
    Republish,
}

/// Whether this worker is running a run that it has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Here {
    /// It is, or was just before the run was read.
    Runs,
    /// It was not before the run was read, and nobody else here could claim it since.
    DoesNotRun,
    /// It is not; but the run was read before nobody else here could claim it, so it may have run here since.
    MayHaveRun,
}

/// Decides what to do about `run`.
///
/// `here` is about this worker, `me`; `may_take_over` is false for a while after the database was away, when leases may have
/// ended only because nobody could renew them.
#[must_use]
pub fn next_step(run: &Run, now: DateTime, me: &WorkerId, here: Here, may_take_over: bool) -> NextStep {
    match run.status {
        Status::Finished | Status::Failed | Status::Cancelled => NextStep::Republish,
        // The ledger hears of a run when it is queued.
        Status::Scheduled => NextStep::Leave,
        Status::Queued if run.next_at.is_some_and(|next_at| next_at > now) => NextStep::Leave,
        Status::Queued if run.cancel_requested.is_some() => NextStep::GiveUp,
        Status::Queued if run.attempt == 0 && run.start_by.is_some_and(|start_by| start_by <= now) => {
            NextStep::Expire
        }
        Status::Queued => NextStep::Claim,
        Status::Running if here == Here::Runs => NextStep::Leave,
        Status::Running if run.lease_until.is_some_and(|until| until > now) => {
            match (run.worker.as_ref() == Some(me), here) {
                (true, Here::DoesNotRun) => NextStep::Resume,
                (true, _) => NextStep::LookUp,
                (false, _) => NextStep::Leave,
            }
        }
        Status::Running if !may_take_over => NextStep::Leave,
        Status::Running if run.cancel_requested.is_some() || run.charged >= run.max_attempts => {
            NextStep::GiveUp
        }
        Status::Running => NextStep::Claim,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use service_kit::Clock;
    use shared_events::JobError;
    use tokio::time::Instant;

    use super::{
        super::model::{
            AttemptEnd,
            tests::{LEASE, at, running, worker},
        },
        *,
    };

    fn look(run: &Run, seconds: i64) -> NextStep {
        next_step(run, at(seconds), &worker("two"), Here::DoesNotRun, true)
    }

    #[test]
    fn a_live_lease_is_left_alone_and_an_ended_one_taken_over() {
        assert_eq!(look(&running(), 29), NextStep::Leave);
        assert_eq!(look(&running(), 30), NextStep::Claim);
    }

    /// Whatever the machine's wall clock shows when the worker starts or is set to later: only the database's time counts.
    #[tokio::test(start_paused = true)]
    async fn a_wrong_wall_clock_neither_steals_a_live_lease_nor_spares_an_ended_one() {
        let hour = Duration::from_secs(3600);
        let start = Duration::from_millis(at(0).timestamp_millis().unsigned_abs());
        for wall in [start - hour, start, start + hour] {
            let clock = Clock::starting_at(wall);
            clock.learn(Instant::now(), at(0));
            let look =
                || next_step(&running(), clock.now(), &worker("two"), Here::DoesNotRun, clock.is_learnt());
            tokio::time::advance(LEASE - Duration::from_millis(1)).await;
            assert_eq!(look(), NextStep::Leave, "started with {wall:?}");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(look(), NextStep::Claim, "started with {wall:?}");
        }
    }

    #[test]
    fn nobody_takes_over_right_after_the_database_was_away() {
        assert_eq!(next_step(&running(), at(31), &worker("two"), Here::DoesNotRun, false), NextStep::Leave);
    }

    #[test]
    fn what_runs_here_is_not_taken_from_oneself() {
        assert_eq!(next_step(&running(), at(31), &worker("one"), Here::Runs, true), NextStep::Leave);
    }

    #[test]
    fn a_claim_whose_answer_was_lost_is_resumed() {
        assert_eq!(next_step(&running(), at(1), &worker("one"), Here::DoesNotRun, true), NextStep::Resume);
    }

    /// Seen as the same attempt made twice: a run ended here between the due scan's read and its look at what runs here.
    #[test]
    fn a_claim_that_may_have_run_here_since_it_was_read_is_not_resumed() {
        let step = |here, seconds| next_step(&running(), at(seconds), &worker("one"), here, true);
        assert_eq!(step(Here::MayHaveRun, 1), NextStep::LookUp);
        // Nobody else's is looked up, and an ended lease is taken over by compare-and-set, whoever had it.
        assert_eq!(next_step(&running(), at(1), &worker("two"), Here::MayHaveRun, true), NextStep::Leave);
        assert_eq!(step(Here::MayHaveRun, 31), NextStep::Claim);
    }

    #[test]
    fn attempts_that_are_used_up_end_the_run() {
        let second = running().claimed(&worker("three"), at(31), LEASE);
        assert_eq!(second.charged, second.max_attempts);
        assert_eq!(look(&second, 100), NextStep::GiveUp);
        let failed = second.given_up(at(100));
        assert_eq!((failed.status, failed.error.unwrap().code.as_str()), (Status::Failed, "lease_lost"));
    }

    #[test]
    fn a_retry_waits_for_its_time() {
        let waiting =
            running().ended(AttemptEnd::Retry(JobError::new("planned", ""), at(10), None), at(1), at(6));
        assert_eq!(look(&waiting, 9), NextStep::Leave);
        assert_eq!(look(&waiting, 10), NextStep::Claim);
    }

    #[test]
    fn what_waited_for_a_slot_for_too_long_ends_without_an_attempt() {
        let waits = Run {
            status: Status::Queued,
            attempt: 0,
            worker: None,
            next_at: Some(at(0)),
            start_by: Some(at(10)),
            ..running()
        };
        assert_eq!((look(&waits, 9), look(&waits, 10)), (NextStep::Claim, NextStep::Expire));
        assert_eq!(look(&Run { attempt: 1, ..waits }, 10), NextStep::Claim, "an attempt has begun in time");
    }

    #[test]
    fn a_cancel_that_the_dead_worker_did_not_see_ends_the_run() {
        let flagged = Run { cancel_requested: Some(true), ..running() };
        assert_eq!(look(&flagged, 31), NextStep::GiveUp);
        assert_eq!(flagged.given_up(at(31)).status, Status::Cancelled);
    }

    #[test]
    fn an_end_is_told_again() {
        let ended = running().ended(AttemptEnd::Finished(None), at(1), at(6));
        assert_eq!(look(&ended, 100), NextStep::Republish);
    }
}
