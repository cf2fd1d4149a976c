//! Renewing leases.

use std::collections::HashMap;

use bson::rawdoc;
use service_kit::{
    StoreError,
    mongo::{DEADLINE, Durability, Statement},
};
use shared_events::{RunId, Status};

use super::{super::NextAction, Core, RUNS};

/// What a renewal learnt.
#[derive(Debug, Default)]
pub struct Renewal {
    /// These go on, and the ledger knows when their leases end.
    pub kept: Vec<(RunId, u32)>,
    /// Somebody else owns these by now.
    pub superseded: Vec<(RunId, u32)>,
    /// These are to stop.
    pub cancelled: Vec<RunId>,
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
            match seen.get(id) {
                Some(seen) if seen.is_held_by(*attempt, &self.worker) => {
                    if seen.cancel_requested.is_some() {
                        renewal.cancelled.push(*id);
                    } else {
                        renewal.kept.push((*id, *attempt));
                    }
                }
                _ => renewal.superseded.push((*id, *attempt)),
            }
        }
        Ok(())
    }
}
