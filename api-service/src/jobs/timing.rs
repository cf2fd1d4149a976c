//! When a job runs: what a client may say about it, and what that means.

use std::time::Duration;

use bson::DateTime;
use serde_json::value::RawValue;
use shared_events::{RetryPauses, Timestamp};
use utoipa::ToSchema;

use super::model::{date, timestamp};
use crate::http::read::{
    Decimal, FieldValue, Fields, Mistake, MistakeCode, Mistakes, Number, ReadFields, object_field,
};

/// How far ahead a job may be asked for, in seconds: a year.
pub(super) const MAX_DELAY_S: u32 = 31_536_000;

/// How long from its creation a job is to wait, in seconds.
pub(super) type DelayS = Number<0, MAX_DELAY_S>;

/// Within how many seconds an attempt is to begin.
pub(super) type StartWithinS = Number<1, MAX_DELAY_S>;

/// The longest pause after the first failure, in seconds.
pub(super) type BaseS = Decimal<1, 86_400_000>;
/// The longest pause of all, in seconds.
pub(super) type MaxS = Decimal<1, { RetryPauses::MAX_S * 1000 }>;
/// What each further failure multiplies the longest pause with.
pub(super) type Factor = Decimal<1000, 10_000>;

/// How long a job waits between its attempts.
#[derive(Debug, Clone, Copy, PartialEq, ReadFields, ToSchema)]
#[schema(as = Retry)]
#[serde(deny_unknown_fields)]
#[read(check = check_pauses(base_s, max_s))]
pub struct Retry {
    /// The longest pause after the first failure, in seconds; a random part of it is taken.
    #[schema(inline, default = Retry::default_base)]
    pub base_s: BaseS,
    /// The longest pause of all, in seconds; not below `base_s`.
    #[schema(inline, default = Retry::default_max)]
    pub max_s: MaxS,
    /// What each further failure multiplies the longest pause with.
    #[schema(inline, default = Retry::default_factor)]
    pub factor: Factor,
}

fn check_pauses(base: &BaseS, max: &MaxS, fields: &mut Fields<'_>) {
    if base.get() > max.get() {
        fields.wrong("max_s", Mistake::new(MistakeCode::Conflict, "must not be below base_s"));
    }
}

impl Retry {
    const fn default_base() -> BaseS {
        BaseS::thousandths::<1000>()
    }

    const fn default_max() -> MaxS {
        MaxS::thousandths::<600_000>()
    }

    const fn default_factor() -> Factor {
        Factor::thousandths::<2000>()
    }

    /// As events and documents have it.
    #[must_use]
    pub const fn pauses(self) -> RetryPauses {
        RetryPauses { base_s: self.base_s.get(), max_s: self.max_s.get(), factor: self.factor.get() }
    }
}

impl FieldValue for Retry {
    fn from_json(json: &RawValue) -> Result<Self, Mistake> {
        let mut mistakes = Mistakes::default();
        let wrong = Mistake::new(MistakeCode::WrongType, "must be an object of base_s, max_s and factor");
        object_field(json, "", &mut mistakes).ok_or(wrong)
    }

    fn of_field(json: &RawValue, name: &str, mistakes: &mut Mistakes) -> Option<Self> {
        object_field(json, name, mistakes)
    }

    fn from_text(text: &str) -> Result<Self, Mistake> {
        let json: &RawValue = serde_json::from_str(text)
            .map_err(|_| Mistake::new(MistakeCode::WrongFormat, "must be an object"))?;
        Self::from_json(json)
    }
}

/// Says what is wrong with a time and a delay together.
pub(super) fn check_delay(
    run_at: Option<Timestamp>,
    has_time: bool,
    has_delay: bool,
    fields: &mut Fields<'_>,
) {
    if has_time && has_delay {
        let message = "must not be given beside run_at";
        fields.wrong("delay_s", Mistake::new(MistakeCode::Conflict, message));
        fields.wrong("run_at", Mistake::new(MistakeCode::Conflict, "must not be given beside delay_s"));
    }
    let latest = Timestamp::now() + Duration::from_secs(MAX_DELAY_S.into());
    if run_at.is_some_and(|run_at| run_at > latest) {
        fields.wrong("run_at", Mistake::new(MistakeCode::OutOfRange, "must be within a year from now"));
    }
}

/// When a job is to run that is asked for at `now`; none where the client does not say.
pub(super) fn run_at(at: Option<Timestamp>, delay_s: Option<DelayS>, now: DateTime) -> Option<DateTime> {
    let after = |delay: DelayS| date(timestamp(now) + Duration::from_secs(delay.get().into()));
    at.map(date).or_else(|| delay_s.map(after))
}

/// When a run that may start at `from` is to end unless an attempt has begun.
pub(super) fn start_by(from: DateTime, start_within_s: Option<u32>) -> Option<DateTime> {
    start_within_s.map(|seconds| date(timestamp(from) + Duration::from_secs(seconds.into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::read::read_json_object;

    #[test]
    fn a_delay_counts_from_the_creation_and_a_time_stands_for_itself() {
        let now = DateTime::from_millis(1_800_000_000_000);
        let later = DateTime::from_millis(1_800_000_007_000);
        assert_eq!(run_at(None, None, now), None);
        assert_eq!(run_at(None, DelayS::within(7), now), Some(later));
        assert_eq!(run_at(Some(timestamp(later)), None, now), Some(later));
        assert_eq!(start_by(now, Some(7)), Some(later));
        assert_eq!(start_by(now, None), None);
    }

    #[test]
    fn pauses_have_ranges_and_defaults_and_name_what_is_wrong() {
        let read = |json: &str| {
            read_json_object::<Retry>(json.as_bytes()).map(Retry::pauses).map_err(|mistakes| {
                let (errors, ..) = mistakes.into_parts();
                errors.into_iter().map(|error| error.field).collect::<Vec<_>>()
            })
        };
        assert_eq!(read("{}"), Ok(RetryPauses::DEFAULT));
        assert_eq!(
            read(r#"{"base_s":0.5,"max_s":0.5,"factor":1}"#),
            Ok(RetryPauses { base_s: 0.5, max_s: 0.5, factor: 1.0 })
        );
        for (json, wrong) in [
            (r#"{"base_s":0,"max_s":604801,"factor":0.9}"#, vec!["base_s", "max_s", "factor"]),
            (r#"{"base_s":601}"#, vec!["max_s"]),
            (r#"{"factor":"2","shoe":1}"#, vec!["factor", "shoe"]),
        ] {
            assert_eq!(read(json), Err(wrong.into_iter().map(str::to_owned).collect()), "{json}");
        }
    }
}
