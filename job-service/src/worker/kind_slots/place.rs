//! Where an announced run goes: to a slot, or among those that wait for one of their kind.

use service_kit::{StoreError, failpoints::failpoint};
use shared_events::{Kind, Queue};
use tokio::sync::OwnedSemaphorePermit;

use super::{super::Worker, Slot, room::Admitted};

/// See the module.
pub(in super::super) enum Place {
    /// It runs.
    Slot(Slot),
    /// It waits in the ledger; until then this has the worker's own slot.
    Waits { _general: OwnedSemaphorePermit, _admitted: Admitted },
}

impl Place {
    pub(in super::super) const fn is_waiting(&self) -> bool {
        matches!(self, Self::Waits { .. })
    }
}

impl Worker {
    /// Where a run goes that has just come; none where there is no room for one more that waits.
    pub(in super::super) async fn place(
        &self,
        kind: &Kind,
        queue: &Queue,
        general: OwnedSemaphorePermit,
    ) -> Result<Option<Place>, StoreError> {
        match self.kind_slots.for_new(kind, general) {
            Ok(slot) => Ok(Some(Place::Slot(slot))),
            Err(general) => {
                let admitted = self.room.admit(queue).await?;
                Ok(admitted.map(|admitted| Place::Waits { _general: general, _admitted: admitted }))
            }
        }
    }

    /// The slot of a run that the ledger has now; none where it waits there.
    pub(in super::super) fn taken(&self, place: Place, kind: &Kind) -> Option<Slot> {
        match place {
            Place::Slot(slot) => Some(slot),
            Place::Waits { .. } => {
                failpoint("job.claim.waiting");
                self.kind_slots.one_waits(kind);
                None
            }
        }
    }
}
