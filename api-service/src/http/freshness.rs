//! How new an answer has to be that is read from the database.

use std::{convert::Infallible, str::FromStr};

use service_kit::mongo::Freshness;
use utoipa::IntoParams;

use super::read::{ReadFields, StringValue};

/// How old an answer a client takes.
#[derive(Debug, ReadFields, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct FreshHeader {
    /// `no-cache` or `max-age=0`: the answer is what the database's primary has. Without it, and without a condition, a
    /// secondary may answer, which is at most ten seconds behind. Other directives are passed over.
    #[param(rename = "Cache-Control", value_type = Option<String>, example = "no-cache")]
    pub cache_control: Option<CacheControl>,
}

impl FreshHeader {
    /// What it asks for.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        match self.cache_control {
            Some(CacheControl { is_fresh: true }) => Freshness::Latest,
            _ => Freshness::MayLag,
        }
    }
}

/// The directives of a request (RFC 9111, section 5.2.1) that this service knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheControl {
    is_fresh: bool,
}

impl FromStr for CacheControl {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let mut directives = text.split(',').map(|directive| directive.trim().to_ascii_lowercase());
        Ok(Self { is_fresh: directives.any(|directive| directive == "no-cache" || directive == "max-age=0") })
    }
}

impl StringValue for CacheControl {
    const IS_LIST: bool = true;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_says_that_it_takes_nothing_old() {
        let is_fresh = |text: &str| {
            let Ok(CacheControl { is_fresh }) = text.parse();
            is_fresh
        };
        for text in ["no-cache", "No-Cache", "no-store, no-cache", "max-age=0", "max-stale=7,max-age=0"] {
            assert!(is_fresh(text), "{text}");
        }
        for text in ["", "no-store", "max-age=10", "no-cache2", "only-if-cached"] {
            assert!(!is_fresh(text), "{text}");
        }
    }
}
