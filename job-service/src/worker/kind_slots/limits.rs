//! How many slots kinds have of their own: the setting `KIND_SLOTS`.

use std::{collections::BTreeMap, str::FromStr};

use shared_events::Kind;

/// The most slots of a kind, as of a worker.
const MOST: usize = 100_000;

/// Kinds that are limited, each with how many attempts of it a worker makes at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KindLimits(BTreeMap<Kind, usize>);

/// Why a text is no list of limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKindLimits {
    /// It has not the form.
    #[error("must be kinds with their slots, such as `container:4,command:8`; {0:?} is not one")]
    Form(String),
    /// There would be none, or too many.
    #[error("must give {0} from 1 to {MOST} slots")]
    Slots(Kind),
    /// Two limits for one kind.
    #[error("names {0} twice")]
    Twice(Kind),
}

impl KindLimits {
    /// The kinds and their limits, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&Kind, usize)> {
        self.0.iter().map(|(kind, slots)| (kind, *slots))
    }
}

impl FromStr for KindLimits {
    type Err = BadKindLimits;

    fn from_str(text: &str) -> Result<Self, BadKindLimits> {
        let mut limits = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let form = || BadKindLimits::Form(part.to_owned());
            let (kind, slots) = part.split_once(':').ok_or_else(form)?;
            let kind: Kind = kind.trim().parse().map_err(|_| form())?;
            let slots: usize = slots.trim().parse().map_err(|_| form())?;
            if !(1..=MOST).contains(&slots) {
                return Err(BadKindLimits::Slots(kind));
            }
            if limits.insert(kind.clone(), slots).is_some() {
                return Err(BadKindLimits::Twice(kind));
            }
        }
        Ok(Self(limits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_kinds_with_their_slots() {
        let limits: KindLimits = "container:4, command:8,".parse().unwrap();
        let listed: Vec<(&str, usize)> = limits.iter().map(|(kind, slots)| (kind.as_str(), slots)).collect();
        assert_eq!(listed, [("command", 8), ("container", 4)]);
        assert_eq!("".parse::<KindLimits>(), Ok(KindLimits::default()));
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        let kind = || "sleep".parse().unwrap();
        for text in ["sleep", "sleep:", ":4", "sleep:many", "Sleep It:4", "sleep:-1", "sleep:4:5"] {
            assert!(matches!(text.parse::<KindLimits>(), Err(BadKindLimits::Form(_))), "{text}");
        }
        assert_eq!("sleep:0".parse::<KindLimits>(), Err(BadKindLimits::Slots(kind())));
        assert_eq!("sleep:100001".parse::<KindLimits>(), Err(BadKindLimits::Slots(kind())));
        assert_eq!("sleep:1,sleep:2".parse::<KindLimits>(), Err(BadKindLimits::Twice(kind())));
    }
}
