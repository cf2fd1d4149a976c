//! Renewing leases.

use std::collections::HashMap;

use bson::rawdoc;
use service_kit::{
    StoreError,
    mongo::{DEADLINE, Durability, Statement},
};
use shared_events::{RunId, Status, WorkerId};

use super::{super::NextAction, Core, Glance, RUNS};

/// What a renewal learnt.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Renewal {
    /// These go on, and the ledger knows when their leases end.
    pub kept: Vec<(RunId, u32)>,
    /// Somebody else owns these by now.
    pub superseded: Vec<(RunId, u32)>,
    /// These are to stop.
    pub cancelled: Vec<RunId>,
}

impl Renewal {
    /// What the stored document says of a lease that was to be renewed.
    fn add(&mut self, id: RunId, attempt: u32, seen: Option<&Glance>, me: &WorkerId) {
        match seen {
            Some(seen) if seen.is_held_by(attempt, me) => {
                if seen.cancel_requested.is_some() {
                    self.cancelled.push(id);
                } else {
                    self.kept.push((id, attempt));
                }
            }
            _ => self.superseded.push((id, attempt)),
        }
    }
}

impl Core {
    pub(super) async fn renew(
        &self,
        held: &[(RunId, u32)],
        durability: Durability,
        renewal: &mut Renewal,
    ) -> Result<(), StoreError> {
        let until = self.mongo.clock().after(self.lease);
        let mut by_attempt: HashMap<u32, bson::RawArrayBuf> = HashMap::new();
        for (id, attempt) in held {
            by_attempt.entry(*attempt).or_default().push(id.to_string());
        }
        let statements = by_attempt
            .into_iter()
            .map(|(attempt, ids)| {
                let mine = rawdoc! {
                    "_id": { "$in": ids },
                    "attempt": i64::from(attempt),
                    "worker": self.worker.as_str(),
                    "status": Status::Running.as_str(),
                    "cancel_requested": { "$exists": false },
                };
                let renewed = rawdoc! { "lease_until": until, "next_action": NextAction::Run.as_str(), "next_action_at": until };
                Statement::many(mine, rawdoc! { "$set": renewed })
            })
            .collect();
        let mongo = self.mongo.clone();
        let update = async move { mongo.update(RUNS, statements, durability).await };
        // There must be time for another try before the lease ends.
        let renewed = self.mongo.within(DEADLINE.min(self.lease / 3), update).await?;
        if renewed == held.len() as u64 {
            renewal.kept.extend(held);
            return Ok(());
        }
        let seen = self.glance(held.iter().map(|(id, _)| *id)).await?;
        for (id, attempt) in held {
            renewal.add(*id, *attempt, seen.get(id), &self.worker);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{
        Run,
        model::tests::{at, running, worker},
        store::ends::tests::glance,
    };

    #[test]
    fn a_lease_is_kept_only_by_who_still_has_the_attempt_and_is_to_go_on() {
        let mine = running();
        let (id, attempt, me) = (mine.id, mine.attempt, worker("one"));
        let learnt = |seen: Option<Run>| {
            let mut renewal = Renewal::default();
            renewal.add(id, attempt, seen.as_ref().map(glance).as_ref(), &me);
            renewal
        };
        let kept = Renewal { kept: vec![(id, attempt)], ..Renewal::default() };
        assert_eq!(learnt(Some(mine.clone())), kept);
        let asked = Run { cancel_requested: Some(true), ..mine.clone() };
        assert_eq!(learnt(Some(asked)), Renewal { cancelled: vec![id], ..Renewal::default() });
        let superseded = Renewal { superseded: vec![(id, attempt)], ..Renewal::default() };
        for seen in [
            None,
            Some(Run { worker: Some(worker("two")), ..mine.clone() }),
            Some(Run { attempt: attempt + 1, ..mine.clone() }),
            Some(mine.given_up(at(31))),
        ] {
            assert_eq!(learnt(seen.clone()), superseded, "{seen:?}");
        }
    }
}
