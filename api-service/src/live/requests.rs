//! What requests for logs bring.

use utoipa::IntoParams;

use crate::http::read::{Number, ReadFields};

/// How many lines.
pub(super) type Tail = Number<1, 1000>;

/// How much of a log.
#[derive(Debug, ReadFields, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LogQuery {
    /// How many lines at most: the last ones.
    #[param(inline, default = LogQuery::default_tail)]
    pub(super) tail: Tail,
}

impl LogQuery {
    const fn default_tail() -> Tail {
        Tail::new::<100>()
    }
}
