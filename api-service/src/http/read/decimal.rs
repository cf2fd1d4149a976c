//! Numbers that need not be whole.

use serde_json::value::RawValue;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, Type},
    },
};

use super::{FieldValue, Mistake, MistakeCode};

/// A number from `MIN` to `MAX` thousandths.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decimal<const MIN: u32, const MAX: u32>(f64);

impl<const MIN: u32, const MAX: u32> Decimal<MIN, MAX> {
    const SMALLEST: f64 = MIN as f64 / 1000.0;
    const LARGEST: f64 = MAX as f64 / 1000.0;

    /// So many thousandths; within the range, or this does not compile.
    #[must_use]
    pub const fn thousandths<const NUMBER: u32>() -> Self {
        const { assert!(MIN <= NUMBER && NUMBER <= MAX) };
        Self(NUMBER as f64 / 1000.0)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    fn read(text: &str, no_number: MistakeCode) -> Result<Self, Mistake> {
        let wrong = |code| {
            Mistake::new(code, format!("must be a number from {} to {}", Self::SMALLEST, Self::LARGEST))
        };
        let number: f64 = serde_json::from_str(text).map_err(|_| wrong(no_number))?;
        if (Self::SMALLEST..=Self::LARGEST).contains(&number) {
            Ok(Self(number))
        } else {
            Err(wrong(MistakeCode::OutOfRange))
        }
    }
}

impl<const MIN: u32, const MAX: u32> FieldValue for Decimal<MIN, MAX> {
    fn from_json(json: &RawValue) -> Result<Self, Mistake> {
        Self::read(json.get(), MistakeCode::WrongType)
    }

    fn from_text(text: &str) -> Result<Self, Mistake> {
        Self::read(text, MistakeCode::WrongFormat)
    }
}

impl<const MIN: u32, const MAX: u32> serde::Serialize for Decimal<MIN, MAX> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl<const MIN: u32, const MAX: u32> PartialSchema for Decimal<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Number)
            .minimum(Some(Self::SMALLEST))
            .maximum(Some(Self::LARGEST))
            .into()
    }
}

impl<const MIN: u32, const MAX: u32> ToSchema for Decimal<MIN, MAX> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_within_its_range() {
        type Small = Decimal<1, 2500>;
        for text in ["0.001", "1", "2.5", "25e-1"] {
            assert!(Small::from_text(text).is_ok(), "{text}");
        }
        for (text, code) in [
            ("0", MistakeCode::OutOfRange),
            ("2.501", MistakeCode::OutOfRange),
            ("-1", MistakeCode::OutOfRange),
            ("1e400", MistakeCode::WrongType),
            ("\"1\"", MistakeCode::WrongType),
            ("null", MistakeCode::WrongType),
        ] {
            let json: &RawValue = serde_json::from_str(text).unwrap();
            assert_eq!(Small::from_json(json).unwrap_err().code, code, "{text}");
        }
    }
}
