//! The words that clients choose: kinds, queues, priorities.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize, de};
use utoipa::ToSchema;

/// The longest [`Kind`] or [`Queue`], in bytes.
pub const MAX_NAME_LEN: usize = 64;

/// The text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 characters of a-z, 0-9, _ and -")]
pub struct BadName;

fn check(text: &str) -> Result<(), BadName> {
    let fits = (1..=MAX_NAME_LEN).contains(&text.len());
    let plain = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    if fits && plain { Ok(()) } else { Err(BadName) }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, for example $example:literal) => {
        $(#[$doc])*
        ///
        /// Matches `[a-z0-9_-]{1,64}`, which makes it one token of a NATS subject too.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = String, pattern = "^[a-z0-9_-]{1,64}$", example = $example)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

name! {
    /// Which handler does a job's work.
    Kind, for example "noop"
}

name! {
    /// Where a job is sent to and what workers subscribe to.
    Queue, for example "default"
}

impl Default for Queue {
    fn default() -> Self {
        Self("default".into())
    }
}

/// How soon a job is taken compared with others of its queue.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Taken before all others.
    High,
    /// What a job has that names none.
    #[default]
    Normal,
    /// Taken when nothing else waits.
    Low,
}

impl Priority {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The priority as it is written in JSON and subjects.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not a priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one of high, normal, low")]
pub struct BadPriority;

impl FromStr for Priority {
    type Err = BadPriority;

    fn from_str(text: &str) -> Result<Self, BadPriority> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == text).ok_or(BadPriority)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_name_of_the_pattern_is_taken_as_it_is(text in "[a-z0-9_-]{1,64}") {
            let queue: Queue = text.parse().unwrap();
            prop_assert_eq!(queue.as_str(), text.as_str());
        }

        #[test]
        fn anything_else_is_refused(text in "\\PC{0,70}") {
            let of_pattern = (1..=64).contains(&text.len())
                && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-');
            prop_assert_eq!(text.parse::<Kind>().is_ok(), of_pattern);
        }
    }

    #[test]
    fn priorities_sort_by_urgency() {
        assert!(Priority::High < Priority::Normal && Priority::Normal < Priority::Low);
        assert_eq!("low".parse(), Ok(Priority::Low));
        assert_eq!("LOW".parse::<Priority>(), Err(BadPriority));
    }
}
