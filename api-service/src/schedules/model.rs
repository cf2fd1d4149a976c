//! A schedule as the api-service keeps it.

use bson::{DateTime, Uuid};
use serde::{Deserialize, Serialize};
use shared_events::{Kind, Queue, Timestamp};

use super::{Older, ScheduleId, definition::Definition, rule::Rule, template::Template};
use crate::{
    http::read::read_json_object,
    jobs::{date, timestamp},
};

/// A schedule's document. It outlives its deletion by a while, so that what it has decided comes to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// The schedule's own id: another one of the same name has another.
    #[serde(rename = "_id")]
    pub uid: Uuid,
    /// What it is called, also when it is deleted.
    pub id: ScheduleId,
    /// The same, until it is deleted. Unique.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live_id: Option<ScheduleId>,
    /// The rule, in JSON; a document whose rule this version can not read is none that it can read.
    #[serde(deserialize_with = "readable_rule")]
    pub rule: String,
    /// The template, as it was sent; none where the document was read without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The kind of its jobs.
    pub kind: Kind,
    /// Their queue.
    pub queue: Queue,
    /// Whether it fires by itself.
    pub paused: bool,
    /// When it was created.
    pub created_at: DateTime,
    /// When a client changed it last.
    pub updated_at: DateTime,
    /// Counts its clients' changes, from 1.
    pub version: i64,
    /// Since when its times are what they are: nothing due before fires by itself.
    pub since: DateTime,
    /// All that is due up to here is decided.
    pub cursor: DateTime,
    /// When there is something to decide; none where there never is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_fire_at: Option<DateTime>,
    /// What an older client has said of it, where one has made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older: Option<Older>,
    /// When it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<DateTime>,
}

/// A schedule, as far as its firings go.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Its document.
    pub stored: Stored,
    /// Its rule.
    pub rule: Rule,
}

/// This version can not read the document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the schedule {0} is one that this version can not read")]
pub struct NotReadable(pub ScheduleId);

impl TryFrom<Stored> for Schedule {
    type Error = NotReadable;

    fn try_from(stored: Stored) -> Result<Self, NotReadable> {
        match read_json_object(stored.rule.as_bytes()) {
            Ok(rule) => Ok(Self { stored, rule }),
            Err(_) => Err(NotReadable(stored.id)),
        }
    }
}

impl Schedule {
    /// One that is new at `now`.
    #[must_use]
    pub fn new(id: ScheduleId, uid: Uuid, definition: Definition, now: DateTime) -> Self {
        let Definition { template, rule } = definition;
        let new_job = template.new_job();
        let stored = Stored {
            uid,
            live_id: Some(id.clone()),
            id,
            rule: text(&rule),
            kind: new_job.kind.clone(),
            queue: new_job.queue.clone(),
            paused: rule.paused,
            template: Some(template.text().as_str().to_owned()),
            created_at: now,
            updated_at: now,
            version: 1,
            since: now,
            cursor: now,
            next_fire_at: None,
            older: None,
            deleted_at: None,
        };
        Self { stored, rule }.looked_ahead()
    }

    /// The same, made before and decided up to a moment, as another system or this one has exported it.
    #[must_use]
    pub(super) fn with_past(mut self, past: &super::transfer::PastSchedule, now: DateTime) -> Self {
        self.stored.created_at = date(past.created_at);
        self.stored.updated_at = date(past.updated_at);
        self.stored.since = date(past.since).min(now);
        self.stored.cursor = date(past.decided_until).min(now).max(self.stored.since);
        self.looked_ahead()
    }

    /// What a client has said; none where it was read without its template, or this version can not read that.
    #[must_use]
    pub fn definition(&self) -> Option<Definition> {
        Some(Definition { template: self.template()?, rule: self.rule.clone() })
    }

    /// Its template, under the same conditions.
    #[must_use]
    pub fn template(&self) -> Option<Template> {
        Template::from_stored(self.stored.template.clone()?)
    }

    /// The state after a client's change at `now`; none where that changes nothing.
    #[must_use]
    pub fn changed(&self, definition: &Definition, now: DateTime) -> Option<Self> {
        let Definition { template, rule } = definition;
        let is_same = self.stored.template.as_deref() == Some(template.text().as_str()) && self.rule == *rule;
        if is_same {
            return None;
        }
        let before = &self.stored;
        // Clocks of several replicas may differ.
        let now = now.max(before.updated_at).max(before.cursor);
        let mut stored = Stored {
            rule: text(rule),
            template: Some(template.text().as_str().to_owned()),
            kind: template.new_job().kind.clone(),
            queue: template.new_job().queue.clone(),
            paused: rule.paused,
            updated_at: now,
            version: before.version + 1,
            ..before.clone()
        };
        if !rule.has_times_of(&self.rule) {
            (stored.since, stored.cursor) = (now, now);
        }
        if rule.paused || before.paused {
            // What is due while it is paused is not made up for.
            stored.cursor = now;
        }
        Some(Self { stored, rule: rule.clone() }.looked_ahead())
    }

    /// The same with the time at which there is something to decide.
    fn looked_ahead(mut self) -> Self {
        self.stored.next_fire_at = super::plan::next(&self).map(|due| date(due.fire_at));
        self
    }

    /// Since when its times are what they are.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        timestamp(self.stored.since)
    }

    /// Up to where all is decided.
    #[must_use]
    pub fn cursor(&self) -> Timestamp {
        timestamp(self.stored.cursor)
    }
}

fn readable_rule<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let unreadable = |_| serde::de::Error::custom("the rule is one that this version can not read");
    read_json_object::<Rule>(text.as_bytes()).map(|_| text).map_err(unreadable)
}

fn text(rule: &Rule) -> String {
    serde_json::to_string(rule).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A schedule of noops that is new at that second after the epoch.
    pub(in super::super) fn schedule(rule: &str, second: i64) -> Schedule {
        let rule = rule.trim_start_matches('{');
        let definition =
            read_json_object(format!(r#"{{"template":{{"kind":"noop"}},{rule}"#).as_bytes()).unwrap();
        Schedule::new("nightly".parse().unwrap(), Uuid::from_bytes([7; 16]), definition, at(second))
    }

    pub(in super::super) fn at(second: i64) -> DateTime {
        DateTime::from_millis(second * 1000)
    }

    fn changed(schedule: &Schedule, change: &str, second: i64) -> Option<Schedule> {
        let change = read_json_object(change.as_bytes()).unwrap();
        schedule.changed(&schedule.definition().unwrap().changed(&change).unwrap(), at(second))
    }

    #[test]
    fn nothing_due_before_it_was_said_is_looked_for() {
        let schedule = schedule(r#"{"every_s":10}"#, 100);
        assert_eq!(schedule.stored.next_fire_at, Some(at(110)));
        let next = changed(&schedule, r#"{"every_s":7}"#, 103).unwrap();
        assert_eq!(
            (next.stored.since, next.stored.cursor, next.stored.next_fire_at),
            (at(103), at(103), Some(at(110)))
        );
        // What does not touch its times leaves what was not decided yet.
        let next = changed(&schedule, r#"{"template":{"queue":"mail"},"overlap":"skip"}"#, 133).unwrap();
        assert_eq!(
            (next.stored.since, next.stored.cursor, next.stored.next_fire_at),
            (at(100), at(100), Some(at(110)))
        );
        assert_eq!((next.stored.version, next.stored.queue.as_str()), (2, "mail"));
    }

    #[test]
    fn what_is_due_while_it_is_paused_is_not_made_up_for() {
        let schedule = schedule(r#"{"every_s":10}"#, 100);
        let paused = changed(&schedule, r#"{"paused":true}"#, 105).unwrap();
        assert_eq!((paused.stored.next_fire_at, paused.stored.paused), (None, true));
        let resumed = changed(&paused, r#"{"paused":false}"#, 148).unwrap();
        // It goes on counting from where it did.
        assert_eq!((resumed.stored.since, resumed.stored.next_fire_at), (at(100), Some(at(150))));
    }

    #[test]
    fn a_change_that_changes_nothing_is_none() {
        assert_eq!(changed(&schedule(r#"{"every_s":10}"#, 100), r#"{"every_s":10}"#, 105), None);
    }

    #[test]
    fn documents_are_read_as_they_are_written() {
        let schedule = schedule(r#"{"cron":"@daily","time_zone":"Europe/Berlin"}"#, 100);
        let document = bson::serialize_to_document(&schedule.stored).unwrap();
        let read: Stored = bson::deserialize_from_document(document).unwrap();
        assert_eq!(Schedule::try_from(read), Ok(schedule.clone()));
        let newer = Stored { rule: r#"{"moon":"full"}"#.to_owned(), ..schedule.stored };
        assert!(Schedule::try_from(newer).is_err());
    }
}
