//! The next run of a job that has ended.

use bson::{
    DateTime, RawDocumentBuf,
    raw::{CStr, cstr},
    rawdoc,
};
use shared_events::{Position, Status};

use super::{Job, NextAction, model::position, timing::start_by};

impl Job {
    /// The job at the start of its next run: what `next_run_update` makes of the document. The run starts at once, whenever
    /// the first one was to; its time to start counts from `now`, and its pauses between attempts stay.
    #[must_use]
    pub fn next_run(&self, now: DateTime, announce_by: DateTime) -> Self {
        let (run, start_by) = (self.run + 1, start_by(now, self.start_within_s));
        Self {
            run,
            attempt: 0,
            status: Status::Queued,
            position: position(Position::fresh(run)),
            worker: None,
            started_at: None,
            next_at: None,
            ended_at: None,
            result: None,
            output: None,
            error: None,
            reason: None,
            attempts: Vec::new(),
            start_by,
            expire_at: start_by,
            expiry_asked_at: None,
            cancel: None,
            epoch: 1,
            announced: None,
            for_generation: None,
            next_action: Some(NextAction::Announce),
            next_action_at: Some(announce_by),
            // What is the job's and not the run's; named, so that whoever adds a field says which it is.
            id: self.id,
            kind: self.kind.clone(),
            queue: self.queue.clone(),
            priority: self.priority,
            payload: self.payload.clone(),
            object_id: self.object_id.clone(),
            dedup_key: self.dedup_key.clone(),
            idempotency_key: self.idempotency_key.clone(),
            idempotency_hash: self.idempotency_hash.clone(),
            timeout_s: self.timeout_s,
            max_attempts: self.max_attempts,
            keep_s: self.keep_s,
            schedule: self.schedule.clone(),
            retry: self.retry,
            run_at: self.run_at,
            start_within_s: self.start_within_s,
            revision: self.revision,
            elsewhere: self.elsewhere,
            created_at: self.created_at,
            trace: self.trace,
        }
    }

    /// The update that starts the next run, with its outbox mark inside. It names the fields of a run and no
    /// others: the dedup key and the idempotency key may have gone to another job since this one was read, and
    /// what a newer version has written is not known here.
    #[must_use]
    pub(super) fn next_run_update(&self, now: DateTime, announce_by: DateTime) -> RawDocumentBuf {
        let run = self.run + 1;
        let mut start = rawdoc! {
            "run": i64::from(run),
            "attempt": 0_i64,
            "status": Status::Queued.as_str(),
            "position": position(Position::fresh(run)),
            "epoch": 1_i64,
            "next_action": NextAction::Announce.as_str(),
            "next_action_at": announce_by,
        };
        let mut gone: RawDocumentBuf = FIELDS_OF_AN_ENDED_RUN.iter().map(|field| (*field, "")).collect();
        for field in [cstr!("start_by"), cstr!("expire_at")] {
            match start_by(now, self.start_within_s) {
                Some(start_by) => start.append(field, start_by),
                None => gone.append(field, ""),
            }
        }
        rawdoc! { "$set": start, "$unset": gone }
    }
}

/// The fields that a run gets in the course of its life.
const FIELDS_OF_AN_ENDED_RUN: &[&CStr] = &[
    cstr!("worker"),
    cstr!("started_at"),
    cstr!("next_at"),
    cstr!("ended_at"),
    cstr!("result"),
    cstr!("output"),
    cstr!("error"),
    cstr!("reason"),
    cstr!("attempts"),
    cstr!("cancel"),
    cstr!("expiry_asked_at"),
    cstr!("announced"),
    cstr!("for_generation"),
];
