//! Values of labels that clients choose: so many of them, and `other` for the rest, or whoever makes up names would fill
//! everybody's memory.

use std::{
    collections::BTreeSet,
    sync::{PoisonError, RwLock},
};

/// What stands for all that came too late.
const OTHER: &str = "other";

/// The first names that come, up to a number.
#[derive(Debug)]
pub struct Names {
    most: usize,
    known: RwLock<BTreeSet<&'static str>>,
}

impl Names {
    /// Up to `most` names.
    #[must_use]
    pub const fn up_to(most: usize) -> Self {
        Self { most, known: RwLock::new(BTreeSet::new()) }
    }

    /// The name as a label's value: itself, or `other`. A name that is kept is kept for ever.
    pub fn value(&self, name: &str) -> &'static str {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = known.get(name) {
            return name;
        }
        if known.len() >= self.most {
            return OTHER;
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < self.most && !known.contains(name) {
            known.insert(String::leak(name.to_owned()));
        }
        known.get(name).copied().unwrap_or(OTHER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_too_late_is_other() {
        let names = Names::up_to(2);
        assert_eq!(
            ["a", "b", "c", "a", "b", "d"].map(|name| names.value(name)),
            ["a", "b", OTHER, "a", "b", OTHER]
        );
    }
}
