//! Time zones by name.

use std::{fmt, str::FromStr};

use jiff::tz::TimeZone;
use utoipa::ToSchema;

use crate::http::read::StringValue;

/// The longest name that is looked up, in bytes.
const MAX_NAME: usize = 64;

/// A time zone of the IANA database, with its rules.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 64, example = "Europe/Berlin")]
pub struct Zone(TimeZone);

/// The text names no time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the name of a time zone of the IANA database, such as Europe/Berlin or UTC")]
pub struct BadZone;

impl StringValue for Zone {}

impl FromStr for Zone {
    type Err = BadZone;

    fn from_str(text: &str) -> Result<Self, BadZone> {
        if text.is_empty() || text.len() > MAX_NAME {
            return Err(BadZone);
        }
        let zone = TimeZone::get(text).map_err(|_| BadZone)?;
        // What has no name is no zone, but something that a lookup made up.
        zone.iana_name().ok_or(BadZone)?;
        Ok(Self(zone))
    }
}

impl Default for Zone {
    /// UTC.
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

impl serde::Serialize for Zone {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Zone {
    /// Its rules.
    pub(super) const fn rules(&self) -> &TimeZone {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_known_by_its_name() {
        for (given, name) in
            [("UTC", "UTC"), ("Europe/Berlin", "Europe/Berlin"), ("europe/berlin", "Europe/Berlin")]
        {
            assert_eq!(given.parse::<Zone>().map(|zone| zone.to_string()), Ok(name.to_owned()));
        }
        for bad in ["", "Mars/Olympus", "CEST-2", "+02:00", "../etc/passwd", "\0", &"x".repeat(65)] {
            assert_eq!(bad.parse::<Zone>(), Err(BadZone), "{bad:?}");
        }
        assert_eq!(Zone::default().to_string(), "UTC");
    }
}
