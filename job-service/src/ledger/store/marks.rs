//! The outbox marks of runs: that an end or a retry still has to be announced.

use std::{collections::HashMap, sync::Arc};

use bson::{DateTime, RawArrayBuf, RawDocumentBuf, raw::cstr, rawdoc};
use service_kit::{
    StoreError, Weigh,
    mongo::{Durability, Statement},
};
use shared_events::RunId;

use super::{super::fence::Fence, Core, RUNS};

/// What becomes of the mark of a run, if its holder is still the same.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) run: RunId,
    pub(super) fence: Fence,
    pub(super) becomes: MarkChange,
}

/// How a mark changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MarkChange {
    /// The end is to be announced by a scan: its mark is set.
    Set,
    /// The end has been announced: its mark comes off.
    Off,
    /// The retry has been announced: the mark comes off, and it stays due at this time.
    OffRetry(DateTime),
}

impl Weigh for Mark {
    fn weight(&self) -> usize {
        200
    }
}

impl Core {
    pub(super) async fn commit_marks(self: Arc<Self>, marks: Vec<Mark>) -> Vec<Result<(), StoreError>> {
        // The announcement is acked once the mark is set.
        let is_set = marks.iter().any(|mark| mark.becomes == MarkChange::Set);
        let durability = if is_set { Durability::Journaled } else { Durability::InMemory };
        let statements = statements(&marks, self.mongo.clock().now());
        let done = self.mongo.update(RUNS, statements, durability).await.map(drop);
        marks.iter().map(|_| done.clone()).collect()
    }
}

/// Marks of one holder that change alike share a statement, except those of retries, each of which has a time of its own.
fn statements(marks: &[Mark], now: DateTime) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut shared: HashMap<(&Fence, bool), RawArrayBuf> = HashMap::new();
    for mark in marks {
        let id = mark.run.to_string();
        match mark.becomes {
            MarkChange::Set | MarkChange::Off => {
                shared.entry((&mark.fence, mark.becomes == MarkChange::Set)).or_default().push(id);
            }
            MarkChange::OffRetry(next_at) => {
                let mut retry = held_by(&mark.fence, rawdoc! { "_id": id });
                retry.append(cstr!("next_action"), "announce_and_run");
                statements.push(Statement::one(
                    retry,
                    rawdoc! { "$set": { "next_action": "run", "next_action_at": next_at } },
                ));
            }
        }
    }
    statements.extend(shared.into_iter().map(|((fence, is_set), ids)| {
        let mut ends = held_by(fence, rawdoc! { "_id": { "$in": ids } });
        if is_set {
            ends.append(cstr!("next_action"), rawdoc! { "$exists": false });
            Statement::many(ends, rawdoc! { "$set": { "next_action": "announce", "next_action_at": now } })
        } else {
            ends.append(cstr!("next_action"), "announce");
            Statement::many(ends, rawdoc! { "$unset": { "next_action": "", "next_action_at": "" } })
        }
    }));
    statements
}

fn held_by(fence: &Fence, mut filter: RawDocumentBuf) -> RawDocumentBuf {
    for (field, value) in fence.filter().iter().flatten() {
        filter.append(field, value);
    }
    filter
}

#[cfg(test)]
mod tests {
    use shared_events::JobId;

    use super::*;
    use crate::ledger::model::tests::{at, running, worker};

    fn mark(fence: &Fence, becomes: MarkChange) -> Mark {
        Mark { run: JobId::generate().run(1), fence: fence.clone(), becomes }
    }

    #[test]
    fn marks_of_one_holder_share_a_statement_and_every_statement_compares_the_holder() {
        let mine = running().fence();
        let other = running().claimed(&worker("two"), at(31), crate::ledger::model::tests::LEASE).fence();
        let nobody = Fence::new(0, None);
        let marks = [
            mark(&mine, MarkChange::Off),
            mark(&mine, MarkChange::Off),
            mark(&mine, MarkChange::Set),
            mark(&other, MarkChange::Off),
            mark(&nobody, MarkChange::Off),
            mark(&mine, MarkChange::OffRetry(at(5))),
        ];
        let made = statements(&marks, at(0));
        assert_eq!(made.len(), 5);
        for statement in &made {
            let has = |field| statement.filter.get(field).expect("a document").is_some();
            assert!(has("attempt") && has("worker"), "{statement:?}");
        }
    }
}
