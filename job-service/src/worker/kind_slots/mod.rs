//! Slots of kinds: some kinds have a limit of their own, so that slow ones leave room for others.
//!
//! A run whose kind has no free slot waits in the ledger, unclaimed and uncharged, with a time that has come
//! ([`crate::ledger::Run::waiting`]); the due scan of any worker with a slot takes it. A slot that becomes free here while runs of
//! its kind wait is handed to the next of them ([`next`]), together with the worker's own slot that goes with it.
//! How many may wait is limited by queue ([`room`]).

mod limits;
pub(super) mod next;
mod place;
mod room;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use shared_events::Kind;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

pub use limits::{BadKindLimits, KindLimits};
pub(super) use room::LOOK;
pub use room::Room;

/// See the module. Copies share it.
#[derive(Debug, Clone)]
pub struct KindSlots(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kinds: BTreeMap<Kind, OfKind>,
    /// Slots that became free while runs of their kind wait; none where nobody takes them over.
    handed_over: Mutex<Option<Vec<Slot>>>,
    changed: Notify,
    marks: AtomicU64,
}

#[derive(Debug)]
struct OfKind {
    limit: usize,
    free: Arc<Semaphore>,
    /// Whether runs of the kind are known to wait: 0 where none are, else the mark of when that was learnt last.
    waiting: AtomicU64,
}

/// A slot of the worker, and one of the run's kind where that has its own.
#[derive(Debug)]
pub struct Slot {
    /// None only while it is dropped or taken apart.
    general: Option<OwnedSemaphorePermit>,
    of_kind: Option<OfKindSlot>,
}

#[derive(Debug)]
struct OfKindSlot {
    kind: Kind,
    _permit: OwnedSemaphorePermit,
    slots: KindSlots,
}

/// How many slots of a kind there are and are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindUse {
    /// The kind.
    pub kind: Kind,
    /// Its limit.
    pub limit: usize,
    /// How many attempts of it are being made.
    pub used: usize,
}

/// When it was known that runs of a kind wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark(u64);

/// Slots are handed over as long as this lives.
#[derive(Debug)]
pub(super) struct TakingOver<'a>(&'a KindSlots);

impl KindSlots {
    /// With these limits; other kinds have none.
    #[must_use]
    pub fn new(limits: &KindLimits) -> Self {
        let of_kind =
            |limit| OfKind { limit, free: Arc::new(Semaphore::new(limit)), waiting: AtomicU64::new(0) };
        let kinds = limits.iter().map(|(kind, limit)| (kind.clone(), of_kind(limit))).collect();
        let (handed_over, changed) = (Mutex::default(), Notify::new());
        Self(Arc::new(Inner { kinds, handed_over, changed, marks: AtomicU64::new(1) }))
    }

    /// The kinds that have a limit.
    #[must_use]
    pub fn limited(&self) -> Vec<Kind> {
        self.0.kinds.keys().cloned().collect()
    }

    /// How much of the limits is used.
    #[must_use]
    pub fn used(&self) -> Vec<KindUse> {
        let of = |(kind, of): (&Kind, &OfKind)| KindUse {
            kind: kind.clone(),
            limit: of.limit,
            used: of.limit - of.free.available_permits().min(of.limit),
        };
        self.0.kinds.iter().map(of).collect()
    }

    /// A slot for a run that has just come. Not where others of its kind wait: they are first.
    ///
    /// # Errors
    /// The worker's own slot, where there is none of the kind.
    pub(super) fn for_new(
        &self,
        kind: &Kind,
        general: OwnedSemaphorePermit,
    ) -> Result<Slot, OwnedSemaphorePermit> {
        let others_wait = self.0.kinds.get(kind).is_some_and(OfKind::has_waiting);
        if others_wait { Err(general) } else { self.for_waiting(kind, general) }
    }

    /// A slot for a run that has waited.
    ///
    /// # Errors
    /// The worker's own slot, where there is none of the kind.
    pub(super) fn for_waiting(
        &self,
        kind: &Kind,
        general: OwnedSemaphorePermit,
    ) -> Result<Slot, OwnedSemaphorePermit> {
        let Some(of) = self.0.kinds.get(kind) else { return Ok(Slot::of_any_kind(general)) };
        match Arc::clone(&of.free).try_acquire_owned() {
            Ok(permit) => {
                let of_kind = OfKindSlot { kind: kind.clone(), _permit: permit, slots: self.clone() };
                Ok(Slot { general: Some(general), of_kind: Some(of_kind) })
            }
            Err(_) => Err(general),
        }
    }

    /// Whether there is a slot of the kind.
    pub(super) fn has_free(&self, kind: &Kind) -> bool {
        self.0.kinds.get(kind).is_none_or(|of| of.free.available_permits() > 0)
    }

    /// Slots for runs of the kind that have waited, as many as there are of both sorts.
    pub(super) fn all_for_waiting(&self, kind: &Kind, general: &mut Vec<OwnedSemaphorePermit>) -> Vec<Slot> {
        let mut slots = Vec::new();
        while let Some(one) = general.pop() {
            match self.for_waiting(kind, one) {
                Ok(slot) => slots.push(slot),
                Err(one) => {
                    general.push(one);
                    break;
                }
            }
        }
        slots
    }

    /// A run of the kind waits in the ledger from now on; said after it is there.
    pub(super) fn one_waits(&self, kind: &Kind) {
        let Some(of) = self.0.kinds.get(kind) else { return };
        of.waiting.store(self.0.marks.fetch_add(1, Ordering::AcqRel), Ordering::Release);
        self.look_again(kind);
    }

    /// Has somebody look for runs of the kind, where any are known to wait though there is a slot.
    pub(super) fn look_again(&self, kind: &Kind) {
        if self.0.kinds.get(kind).is_some_and(OfKind::could_start) {
            self.0.changed.notify_one();
        }
    }

    /// When it was known last that runs of the kind wait.
    pub(super) fn mark(&self, kind: &Kind) -> Mark {
        Mark(self.0.kinds.get(kind).map_or(0, |of| of.waiting.load(Ordering::Acquire)))
    }

    /// A look that began at this mark found no more; what began to wait since still counts.
    pub(super) fn none_waits(&self, kind: &Kind, mark: Mark) {
        if let Some(of) = self.0.kinds.get(kind) {
            let _ = of.waiting.compare_exchange(mark.0, 0, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    /// The kinds of which runs wait though there is a slot.
    pub(super) fn to_start(&self) -> Vec<Kind> {
        self.0.kinds.iter().filter(|(_, of)| of.could_start()).map(|(kind, _)| kind.clone()).collect()
    }

    /// From now on slots are handed over.
    pub(super) fn take_over(&self) -> TakingOver<'_> {
        self.with_handed_over(|slots| *slots = Some(Vec::new()));
        TakingOver(self)
    }

    /// Waits until slots are handed over, or a run begins to wait though there is a slot.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Takes the slots that were handed over, by kind.
    pub(super) fn handed_over(&self) -> BTreeMap<Kind, Vec<Slot>> {
        let slots = self.with_handed_over(|slots| slots.as_mut().map(std::mem::take)).unwrap_or_default();
        let mut by_kind: BTreeMap<Kind, Vec<Slot>> = BTreeMap::new();
        for slot in slots {
            if let Some(of_kind) = &slot.of_kind {
                by_kind.entry(of_kind.kind.clone()).or_default().push(slot);
            }
        }
        by_kind
    }

    /// Keeps a slot for the next run of its kind; gives it back where none waits or nobody takes it over.
    fn hand_over(&self, slot: Slot) -> Result<(), Slot> {
        let kind = slot.of_kind.as_ref().map(|of_kind| &of_kind.kind);
        if !kind.and_then(|kind| self.0.kinds.get(kind)).is_some_and(OfKind::has_waiting) {
            return Err(slot);
        }
        self.with_handed_over(|slots| match slots {
            Some(slots) => {
                slots.push(slot);
                Ok(())
            }
            None => Err(slot),
        })?;
        self.0.changed.notify_one();
        Ok(())
    }

    fn with_handed_over<T>(&self, act: impl FnOnce(&mut Option<Vec<Slot>>) -> T) -> T {
        act(&mut self.0.handed_over.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl OfKind {
    fn has_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire) != 0
    }

    fn could_start(&self) -> bool {
        self.has_waiting() && self.free.available_permits() > 0
    }
}

impl Slot {
    /// For a run of a kind that has no limit.
    pub(super) const fn of_any_kind(general: OwnedSemaphorePermit) -> Self {
        Self { general: Some(general), of_kind: None }
    }

    /// Frees both, whoever waits.
    pub(super) fn release(mut self) {
        (self.general, self.of_kind) = (None, None);
    }

    /// Frees that of the kind, whoever waits; the worker's own is left.
    pub(super) fn into_general(mut self) -> Option<OwnedSemaphorePermit> {
        self.of_kind = None;
        self.general.take()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let (general, of_kind) = (self.general.take(), self.of_kind.take());
        if let (Some(general), Some(of_kind)) = (general, of_kind) {
            let slots = of_kind.slots.clone();
            if let Err(slot) = slots.hand_over(Self { general: Some(general), of_kind: Some(of_kind) }) {
                slot.release();
            }
        }
    }
}

impl Drop for TakingOver<'_> {
    fn drop(&mut self) {
        let left = self.0.with_handed_over(Option::take);
        left.into_iter().flatten().for_each(Slot::release);
    }
}

#[cfg(test)]
mod tests;
