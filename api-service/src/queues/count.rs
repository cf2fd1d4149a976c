//! A count that ends somewhere.

use serde::Serialize;
use utoipa::ToSchema;

/// Up to how many of a queue's jobs of one state and priority are counted.
pub(super) const COUNTED: u64 = 10_000;

/// How many jobs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Count {
    /// So many.
    pub count: u64,
    /// Whether that is all of them; else there are at least so many.
    pub exact: bool,
}

impl Count {
    /// None at all.
    pub const ZERO: Self = Self { count: 0, exact: true };

    /// What a count says that went up to one more than [`COUNTED`].
    pub(super) const fn of(counted: u64) -> Self {
        if counted > COUNTED {
            Self { count: COUNTED, exact: false }
        } else {
            Self { count: counted, exact: true }
        }
    }
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        *self = Self { count: self.count + other.count, exact: self.exact && other.exact };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_exact_up_to_its_limit_and_so_is_a_sum() {
        assert_eq!(Count::of(COUNTED), Count { count: COUNTED, exact: true });
        assert_eq!(Count::of(COUNTED + 1), Count { count: COUNTED, exact: false });
        let mut sum = Count::of(1);
        sum += Count::of(2);
        assert_eq!(sum, Count { count: 3, exact: true });
        sum += Count::of(COUNTED + 1);
        assert_eq!(sum, Count { count: COUNTED + 3, exact: false });
    }
}
