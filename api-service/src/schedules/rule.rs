//! When a schedule fires, and what holds it back: all that is said of one but its template.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use shared_events::Timestamp;
use utoipa::ToSchema;

use super::times::{Expression, Timing, Zone};
use crate::http::read::{Fields, Mistake, MistakeCode, Number, ReadFields, StringValue};

/// Seconds between two firings: up to a year.
type EveryS = Number<1, 31_536_000>;

/// How far a firing may be put off, in seconds: up to a day.
type JitterS = Number<0, 86_400>;

/// How far back is made up for what was missed, in seconds: up to thirty days.
type CatchUpS = Number<0, 2_592_000>;

/// How often a schedule fires at most.
type MaxFirings = Number<1, 100_000>;

/// What happens where an earlier job of the schedule has not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// The next job is created all the same.
    #[default]
    Allow,
    /// The firing is skipped.
    Skip,
    /// The firing waits until the earlier job has ended. At most one waits; others are skipped.
    QueueOne,
    /// The earlier job is asked to be cancelled, and the next one created.
    CancelPrevious,
}

/// The text is none of the ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be allow, skip, queue_one or cancel_previous")]
pub struct BadOverlap;

impl FromStr for Overlap {
    type Err = BadOverlap;

    fn from_str(text: &str) -> Result<Self, BadOverlap> {
        match text {
            "allow" => Ok(Self::Allow),
            "skip" => Ok(Self::Skip),
            "queue_one" => Ok(Self::QueueOne),
            "cancel_previous" => Ok(Self::CancelPrevious),
            _ => Err(BadOverlap),
        }
    }
}

impl StringValue for Overlap {}

/// When a schedule fires: by `cron`, `every_s` or `at`, one of them.
#[derive(Debug, Clone, PartialEq, Serialize, ReadFields, ToSchema)]
#[read(check = one_of_three(cron, every_s, at), check = zone_of_cron(cron, time_zone))]
#[read(check = comes_to_pass(cron), check = in_order(starts_at, ends_at))]
pub struct Rule {
    /// By a cron expression.
    #[schema(inline)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<Expression>,
    /// On whose clocks `cron` is meant; UTC where it does not say.
    #[schema(inline)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<Zone>,
    /// Every so many seconds, counted from `starts_at`, or from when this was said.
    #[schema(inline, example = 300)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_s: Option<EveryS>,
    /// Once, then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Nothing is due before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// Nothing is due after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// How often it fires at most, by the clock and by backfills.
    #[schema(inline)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_firings: Option<MaxFirings>,
    /// Each firing is put off by up to so many seconds, the same for a due time whichever replica asks, and never beyond
    /// the next one.
    #[schema(inline, default = Rule::no_jitter)]
    pub jitter_s: JitterS,
    /// Whether it fires by itself. What was due while it was paused is not made up for.
    #[schema(default = Rule::not_paused)]
    pub paused: bool,
    /// What happens where an earlier job of it has not ended.
    #[schema(default = Overlap::default)]
    pub overlap: Overlap,
    /// How far back is made up for what was missed, in seconds; what is older is recorded as missed.
    #[schema(inline, default = Rule::default_catch_up)]
    pub catch_up_s: CatchUpS,
}

/// The names of a rule's fields.
pub(super) const FIELDS: [&str; 11] = [
    "cron",
    "time_zone",
    "every_s",
    "at",
    "starts_at",
    "ends_at",
    "max_firings",
    "jitter_s",
    "paused",
    "overlap",
    "catch_up_s",
];

fn conflict(message: &'static str) -> Mistake {
    Mistake::new(MistakeCode::Conflict, message)
}

fn one_of_three(
    cron: &Option<Expression>,
    every_s: &Option<EveryS>,
    at: &Option<Timestamp>,
    fields: &mut Fields<'_>,
) {
    match (cron, every_s, at) {
        (None, None, None) => {
            fields.wrong("cron", Mistake::new(MistakeCode::Required, "or every_s, or at, is required"));
        }
        (Some(_), Some(_), _) => fields.wrong("every_s", conflict("does not go with cron")),
        (Some(_), None, Some(_)) => fields.wrong("at", conflict("does not go with cron")),
        (None, Some(_), Some(_)) => fields.wrong("at", conflict("does not go with every_s")),
        _ => {}
    }
}

fn zone_of_cron(cron: &Option<Expression>, zone: &Option<Zone>, fields: &mut Fields<'_>) {
    if cron.is_none() && zone.is_some() {
        fields.wrong("time_zone", conflict("goes with cron only"));
    }
}

fn comes_to_pass(cron: &Option<Expression>, fields: &mut Fields<'_>) {
    // Sixty years from here have every kind of day.
    let from = Timestamp::from_millis(946_684_800_000);
    let Some(expression) = cron else { return };
    let timing = Timing::Cron { expression: expression.clone(), zone: Zone::default() };
    if timing.next(from).is_none() {
        let message = "must be an expression that comes to pass; this one never does";
        fields.wrong("cron", Mistake::new(MistakeCode::WrongFormat, message));
    }
}

fn in_order(starts_at: &Option<Timestamp>, ends_at: &Option<Timestamp>, fields: &mut Fields<'_>) {
    if let (Some(start), Some(end)) = (starts_at, ends_at)
        && end < start
    {
        fields.wrong("ends_at", conflict("must not be before starts_at"));
    }
}

impl Rule {
    const fn no_jitter() -> JitterS {
        JitterS::new::<0>()
    }

    const fn not_paused() -> bool {
        false
    }

    const fn default_catch_up() -> CatchUpS {
        CatchUpS::new::<60>()
    }

    /// The times, where what was said has held since `since`.
    #[must_use]
    pub fn timing(&self, since: Timestamp) -> Option<Timing> {
        if let Some(expression) = &self.cron {
            let zone = self.time_zone.clone().unwrap_or_default();
            return Some(Timing::Cron { expression: expression.clone(), zone });
        }
        let from = self.starts_at.unwrap_or(since);
        let every = self.every_s.map(|seconds| Timing::Every { seconds: seconds.get(), from });
        every.or(self.at.map(Timing::At))
    }

    /// The first due time after `after`, within `starts_at` and `ends_at`.
    #[must_use]
    pub fn next_due(&self, since: Timestamp, after: Timestamp) -> Option<Timestamp> {
        let start =
            self.starts_at.map_or(after, |start| after.max(Timestamp::from_millis(start.millis() - 1)));
        let due = self.timing(since)?.next(start)?;
        (self.ends_at.is_none_or(|end| due <= end)).then_some(due)
    }

    /// Whether both are due at the same times.
    #[must_use]
    pub fn has_times_of(&self, other: &Self) -> bool {
        let times =
            |rule: &Self| (rule.cron.clone(), rule.time_zone.clone(), rule.every_s, rule.at, rule.starts_at);
        times(self) == times(other)
    }

    /// What it means, in English.
    #[must_use]
    pub fn words(&self) -> String {
        match (&self.cron, self.every_s, self.at) {
            (Some(expression), ..) => {
                let words = expression.words();
                format!("{} ({})", words.trim_end_matches('.'), self.time_zone.clone().unwrap_or_default())
            }
            (_, Some(seconds), _) if seconds.get() == 1 => "Every second".to_owned(),
            (_, Some(seconds), _) => format!("Every {} seconds", seconds.get()),
            (_, _, Some(at)) => format!("Once, at {at}"),
            (None, None, None) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::read::read_json_object;

    fn read(json: &str) -> Result<Rule, Vec<String>> {
        read_json_object(json.as_bytes()).map_err(|mistakes| {
            let (errors, ..) = mistakes.into_parts();
            errors.into_iter().map(|error| error.field).collect()
        })
    }

    #[test]
    fn one_of_three_says_when() {
        for fine in [r#"{"cron":"@daily"}"#, r#"{"every_s":5}"#, r#"{"at":"2030-01-01T00:00:00Z"}"#] {
            assert!(read(fine).is_ok(), "{fine}");
        }
        for (json, field) in [
            ("{}", "cron"),
            (r#"{"cron":"@daily","every_s":5}"#, "every_s"),
            (r#"{"cron":"@daily","at":"2030-01-01T00:00:00Z"}"#, "at"),
            (r#"{"every_s":5,"at":"2030-01-01T00:00:00Z"}"#, "at"),
            (r#"{"every_s":5,"time_zone":"UTC"}"#, "time_zone"),
            (r#"{"cron":"@daily","time_zone":"Mars"}"#, "time_zone"),
            (r#"{"cron":"0 0 30 2 *"}"#, "cron"),
            (r#"{"cron":"nightly"}"#, "cron"),
            (r#"{"every_s":0}"#, "every_s"),
            (
                r#"{"every_s":5,"starts_at":"2030-01-01T00:00:00Z","ends_at":"2029-01-01T00:00:00Z"}"#,
                "ends_at",
            ),
            (r#"{"every_s":5,"overlap":"maybe"}"#, "overlap"),
            (r#"{"every_s":5,"paused":"no"}"#, "paused"),
            (r#"{"every_s":5,"catch_up_s":2592001}"#, "catch_up_s"),
            (r#"{"every_s":5,"jitter_s":86401}"#, "jitter_s"),
            (r#"{"every_s":5,"max_firings":0}"#, "max_firings"),
        ] {
            assert_eq!(read(json), Err(vec![field.to_owned()]), "{json}");
        }
    }

    #[test]
    fn it_is_read_back_as_it_is_stored() {
        for json in [
            r#"{"cron":"*/5 1-3 * * MON#2","time_zone":"Europe/Berlin","ends_at":"2030-01-01T00:00:00Z","paused":true}"#,
            r#"{"every_s":90,"starts_at":"2026-01-01T00:00:00Z","max_firings":3,"jitter_s":5,"overlap":"queue_one","catch_up_s":0}"#,
        ] {
            let rule = read(json).unwrap();
            assert_eq!(read(&serde_json::to_string(&rule).unwrap()), Ok(rule));
        }
    }

    #[test]
    fn times_are_within_start_and_end() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let rule =
            read(r#"{"cron":"@hourly","starts_at":"2026-01-01T05:00:00Z","ends_at":"2026-01-01T06:00:00Z"}"#);
        let rule = rule.unwrap();
        let next = |after: &str| rule.next_due(time("2025-01-01T00:00:00Z"), time(after));
        assert_eq!(next("2025-06-01T00:00:00Z"), Some(time("2026-01-01T05:00:00Z")));
        assert_eq!(next("2026-01-01T05:00:00Z"), Some(time("2026-01-01T06:00:00Z")));
        assert_eq!(next("2026-01-01T06:00:00Z"), None);
    }

    #[test]
    fn every_field_has_its_name_in_the_list() {
        let json = r#"{"cron":"@daily","time_zone":"UTC","starts_at":"2026-01-01T00:00:00Z","ends_at":"2030-01-01T00:00:00Z","max_firings":1}"#;
        let stored: serde_json::Value = serde_json::to_value(read(json).unwrap()).unwrap();
        let names = stored.as_object().unwrap().keys().all(|name| FIELDS.contains(&name.as_str()));
        assert!(names && stored.as_object().unwrap().len() == FIELDS.len() - 2);
    }
}
