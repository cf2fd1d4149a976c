//! Whole numbers within a range.

use serde_json::value::RawValue;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, Type},
    },
};

use super::{FieldValue, Mistake, MistakeCode};

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Number<MIN, MAX> {
    /// The number; within the range, or this does not compile.
    #[must_use]
    pub const fn new<const NUMBER: u32>() -> Self {
        const { assert!(MIN <= NUMBER && NUMBER <= MAX) };
        Self(NUMBER)
    }

    /// The number, where it is within the range.
    #[must_use]
    pub fn within(number: u32) -> Option<Self> {
        (MIN..=MAX).contains(&number).then_some(Self(number))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    fn checked(number: Option<u32>, code: MistakeCode) -> Result<Self, Mistake> {
        let message = || format!("must be a whole number from {MIN} to {MAX}");
        match number {
            Some(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            Some(_) => Err(Mistake::new(MistakeCode::OutOfRange, message())),
            None => Err(Mistake::new(code, message())),
        }
    }
}

impl<const MIN: u32, const MAX: u32> FieldValue for Number<MIN, MAX> {
    fn from_json(json: &RawValue) -> Result<Self, Mistake> {
        // To JSON Schema 57.0 is an integer too (draft 2020-12 validation, section 6.1.1).
        let whole = |number: f64| {
            let is_one = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is one")]
            is_one.then_some(number as u32)
        };
        let number = serde_json::from_str::<u32>(json.get()).ok();
        let number = number.or_else(|| whole(serde_json::from_str(json.get()).ok()?));
        Self::checked(number, MistakeCode::WrongType)
    }

    fn from_text(text: &str) -> Result<Self, Mistake> {
        Self::checked(text.parse().ok(), MistakeCode::WrongFormat)
    }
}

impl<const MIN: u32, const MAX: u32> serde::Serialize for Number<MIN, MAX> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}

impl<const MIN: u32, const MAX: u32> PartialSchema for Number<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(f64::from(MIN)))
            .maximum(Some(f64::from(MAX)))
            .into()
    }
}

impl<const MIN: u32, const MAX: u32> ToSchema for Number<MIN, MAX> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_number_is_whole_and_within_its_range() {
        type Small = Number<1, 9>;
        for (text, code) in [
            ("0", MistakeCode::OutOfRange),
            ("10", MistakeCode::OutOfRange),
            ("1.5", MistakeCode::WrongType),
            ("\"1\"", MistakeCode::WrongType),
            ("null", MistakeCode::WrongType),
            ("-1", MistakeCode::WrongType),
        ] {
            assert_eq!(Small::from_json(json(text)).unwrap_err().code, code, "{text}");
        }
        assert_eq!((Small::from_json(json("1")), Small::from_text("9")), (Ok(Number(1)), Ok(Number(9))));
        assert_eq!(
            (Small::from_json(json("7.0")), Small::from_json(json("0.7e1"))),
            (Ok(Number(7)), Ok(Number(7)))
        );
        assert!(Small::from_text("").is_err() && Small::from_text("1 ").is_err());
    }
}
