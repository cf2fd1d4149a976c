use super::*;

struct Slots {
    general: Arc<Semaphore>,
    of_kinds: KindSlots,
    sleep: Kind,
}

impl Slots {
    fn new(general: usize, limits: &str) -> Self {
        let of_kinds = KindSlots::new(&limits.parse().unwrap());
        Self { general: Arc::new(Semaphore::new(general)), of_kinds, sleep: "sleep".parse().unwrap() }
    }

    fn new_run(&self) -> Option<Slot> {
        let general = Arc::clone(&self.general).try_acquire_owned().unwrap();
        self.of_kinds.for_new(&self.sleep, general).ok()
    }

    fn free(&self) -> (usize, usize) {
        (self.general.available_permits(), self.of_kinds.0.kinds[&self.sleep].free.available_permits())
    }
}

#[test]
fn a_kind_takes_no_more_than_its_own_slots_and_other_kinds_all() {
    let slots = Slots::new(3, "sleep:1");
    let first = slots.new_run();
    assert!(first.is_some() && slots.new_run().is_none());
    assert_eq!(slots.free(), (2, 0));
    let noop: Kind = "noop".parse().unwrap();
    let others: Vec<Slot> = (0..2)
        .map(|_| {
            slots.of_kinds.for_new(&noop, Arc::clone(&slots.general).try_acquire_owned().unwrap()).unwrap()
        })
        .collect();
    assert_eq!(slots.free(), (0, 0));
    drop((first, others));
    assert_eq!(slots.free(), (3, 1));
}

#[test]
fn a_freed_slot_goes_to_the_next_that_waits_and_is_free_where_none_does() {
    let slots = Slots::new(2, "sleep:1");
    let taking_over = slots.of_kinds.take_over();
    let first = slots.new_run();
    slots.of_kinds.one_waits(&slots.sleep);
    drop(first);
    // Both are kept for it, and who comes now has to wait behind it.
    assert_eq!(slots.free(), (1, 0));
    let mut handed_over = slots.of_kinds.handed_over();
    let slot = handed_over.remove(&slots.sleep).unwrap().pop().unwrap();
    let mark = slots.of_kinds.mark(&slots.sleep);
    slots.of_kinds.none_waits(&slots.sleep, mark);
    drop(slot);
    assert_eq!(slots.free(), (2, 1));

    let again = slots.new_run();
    slots.of_kinds.one_waits(&slots.sleep);
    drop(again);
    assert_eq!(slots.free(), (1, 0));
    drop(taking_over);
    assert_eq!(slots.free(), (2, 1), "nobody takes over any more");
}

#[test]
fn who_comes_does_not_overtake_who_waits() {
    let slots = Slots::new(2, "sleep:2");
    slots.of_kinds.one_waits(&slots.sleep);
    assert!(slots.new_run().is_none());
    assert_eq!(slots.of_kinds.to_start(), std::slice::from_ref(&slots.sleep));
    let mut general = vec![Arc::clone(&slots.general).try_acquire_owned().unwrap()];
    assert_eq!(slots.of_kinds.all_for_waiting(&slots.sleep, &mut general).len(), 1);
}

#[test]
fn who_began_to_wait_during_a_look_is_not_forgotten() {
    let slots = Slots::new(1, "sleep:1");
    slots.of_kinds.one_waits(&slots.sleep);
    let mark = slots.of_kinds.mark(&slots.sleep);
    slots.of_kinds.one_waits(&slots.sleep);
    slots.of_kinds.none_waits(&slots.sleep, mark);
    assert!(slots.new_run().is_none());
    slots.of_kinds.none_waits(&slots.sleep, slots.of_kinds.mark(&slots.sleep));
    assert!(slots.new_run().is_some());
}
