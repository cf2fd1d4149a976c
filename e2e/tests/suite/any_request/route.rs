//! The routes, and what each may answer: those of the API's document, and a few that it does not have.

use std::sync::LazyLock;

use e2e::CONTRACT;
use serde_json::Value;

/// A path of the document, or one that is none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// A path with its parameters in braces.
    Of(&'static str),
    NginxLive,
    /// There is nothing, or nobody can say what was meant.
    Nothing,
}

/// Those that are asked for.
pub(crate) static ROUTES: LazyLock<Vec<Route>> =
    LazyLock::new(|| CONTRACT.paths().map(Route::Of).chain([Route::NginxLive, Route::Nothing]).collect());

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// Statuses that say that not everything is well, or that a host is not one of the service's.
const NOT_WELL: [u16; 3] = [408, 421, 503];

impl Route {
    /// The path; `id` where one has its place in it.
    pub(crate) fn path(self, id: &str) -> String {
        match self {
            Self::Of(path) => {
                let path = path.replace("{id}", id).replace("{job_id}", id);
                path.replace("{page}", "invalid-field").replace("{name}", "default")
            }
            Self::NginxLive => "/nginx/live".into(),
            Self::Nothing => format!("/v1/nothing/{id}"),
        }
    }

    /// What the document says of this method here.
    pub(crate) fn operation(self, method: &str) -> Option<&'static Value> {
        match self {
            Self::Of(path) => CONTRACT.operation(method, path),
            Self::NginxLive | Self::Nothing => None,
        }
    }

    /// Its methods, besides OPTIONS.
    pub(crate) fn methods(self) -> Vec<&'static str> {
        METHODS.into_iter().filter(|method| self.operation(method).is_some()).collect()
    }

    /// What may be answered to an HTTP request whose path is right, while everything is well.
    pub(crate) fn statuses(self, method: &str) -> Vec<u16> {
        match (self, method) {
            // nginx answers this itself.
            (_, "TRACE") => vec![405],
            (Self::NginxLive, _) => vec![204],
            (Self::Nothing, "GET" | "HEAD" | "OPTIONS") => vec![404],
            (Self::Nothing, _) => vec![403, 404],
            (_, "OPTIONS") => vec![204],
            _ => self.operation(method).map_or_else(|| vec![403, 405], documented),
        }
    }
}

fn documented(operation: &Value) -> Vec<u16> {
    let responses = operation["responses"].as_object().expect("an operation has responses");
    let statuses = responses.keys().map(|status| status.parse().expect("a status is a number"));
    statuses.filter(|status| !NOT_WELL.contains(status)).collect()
}
