//! All that a client says of a schedule: its rule and its template; and changes of it (RFC 7396).

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr,
        schema::{AdditionalProperties, ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type},
    },
};

use super::{
    rule::{self, Rule},
    template::Template,
};
use crate::{
    http::read::{Fields, JsonBody, Mistakes, ReadFields, read_json_object},
    jobs::NewJob,
};

/// The template's field.
const TEMPLATE: &str = "template";

/// What a client says of a schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// The job that it creates.
    pub template: Template,
    /// When.
    pub rule: Rule,
}

impl ReadFields for Definition {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let (template, rule) = (Template::read(fields, TEMPLATE), Rule::read(fields));
        Some(Self { template: template?, rule: rule? })
    }
}

impl JsonBody for Definition {
    /// As large as the job that it creates.
    const MAX_BYTES: usize = NewJob::MAX_BYTES;
}

/// The object of a rule's fields, and those of a template.
fn with_template(template: impl Into<RefOr<Schema>>) -> utoipa::openapi::Object {
    let RefOr::T(Schema::Object(mut object)) = Rule::schema() else { return ObjectBuilder::new().build() };
    object.properties.insert(TEMPLATE.to_owned(), template.into());
    object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    object
}

impl PartialSchema for Definition {
    fn schema() -> RefOr<Schema> {
        let mut object = with_template(Ref::from_schema_name("NewJob"));
        object.required.push(TEMPLATE.to_owned());
        object.description =
            Some("A schedule: one of `cron`, `every_s` and `at`, and a job's template.".to_owned());
        Schema::Object(object).into()
    }
}

impl ToSchema for Definition {
    fn name() -> std::borrow::Cow<'static, str> {
        "NewSchedule".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Rule::schemas(schemas);
        NewJob::schemas(schemas);
        schemas.push(("NewJob".to_owned(), NewJob::schema()));
    }
}

/// A change of some of it (RFC 7396): `null` takes a field back to its default; of the template too.
#[derive(Debug, Clone, Default)]
pub struct Change(Members);

/// An object's members, each as its text.
type Members = BTreeMap<String, Box<RawValue>>;

impl ReadFields for Change {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let names = rule::FIELDS.into_iter().chain([TEMPLATE]);
        let given = names.filter_map(|name| Some((name.to_owned(), fields.json(name)?.to_owned())));
        Some(Self(given.collect()))
    }
}

impl JsonBody for Change {
    const MAX_BYTES: usize = NewJob::MAX_BYTES;
}

impl PartialSchema for Change {
    fn schema() -> RefOr<Schema> {
        let template =
            ObjectBuilder::new().schema_type(Type::Object).description(Some("What changes of the job."));
        let mut object = with_template(Schema::Object(template.build()));
        object.required.clear();
        for (name, property) in &mut object.properties {
            if name != TEMPLATE {
                may_be_null(property);
            }
        }
        let description = "A merge patch (RFC 7396) of a schedule: `null` takes a field back to its default.";
        object.description = Some(description.to_owned());
        Schema::Object(object).into()
    }
}

fn may_be_null(property: &mut RefOr<Schema>) {
    match property {
        RefOr::T(Schema::Object(object)) => {
            object.default = None;
            if let SchemaType::Type(kind) = &object.schema_type {
                object.schema_type = SchemaType::Array(vec![kind.clone(), Type::Null]);
            }
        }
        other => {
            let null = ObjectBuilder::new().schema_type(Type::Null).build();
            *other = Schema::OneOf(OneOfBuilder::new().item(other.clone()).item(null).build()).into();
        }
    }
}

impl ToSchema for Change {
    fn name() -> std::borrow::Cow<'static, str> {
        "ScheduleChange".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Rule::schemas(schemas);
    }
}

impl Definition {
    /// What the change makes of it.
    ///
    /// # Errors
    /// What is wrong with that.
    pub fn changed(&self, change: &Change) -> Result<Self, Mistakes> {
        let rule = serde_json::to_string(&self.rule).unwrap_or_default();
        let mut members: Members = serde_json::from_str(&rule).unwrap_or_default();
        if let Ok(template) = RawValue::from_string(self.template.text().as_str().to_owned()) {
            members.insert(TEMPLATE.to_owned(), template);
        }
        merge(&mut members, &change.0);
        read_json_object(serde_json::to_string(&members).unwrap_or_default().as_bytes())
    }
}

/// What the patch does not name stays to the letter.
fn merge(members: &mut Members, patch: &Members) {
    for (name, value) in patch {
        if value.get() == "null" {
            members.remove(name);
            continue;
        }
        let Ok(inner) = serde_json::from_str::<Members>(value.get()) else {
            members.insert(name.clone(), value.clone());
            continue;
        };
        let mut merged: Members =
            members.get(name).and_then(|there| serde_json::from_str(there.get()).ok()).unwrap_or_default();
        merge(&mut merged, &inner);
        if let Ok(text) = serde_json::value::to_raw_value(&merged) {
            members.insert(name.clone(), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: ReadFields>(json: &str) -> Result<T, Vec<String>> {
        read_json_object(json.as_bytes()).map_err(names)
    }

    fn names(mistakes: Mistakes) -> Vec<String> {
        mistakes.into_parts().0.into_iter().map(|error| error.field).collect()
    }

    fn definition() -> Definition {
        read(r#"{"template":{"kind":"own","payload":{"n":1.0e2,"a":{"b":1,"c":2}},"queue":"mail"},"cron":"@daily"}"#)
            .unwrap()
    }

    fn changed(json: &str) -> Result<Definition, Vec<String>> {
        definition().changed(&read::<Change>(json).unwrap()).map_err(names)
    }

    #[test]
    fn mistakes_in_the_template_are_named() {
        for (json, fields) in [
            (r#"{"cron":"@daily"}"#, &["template"][..]),
            (r#"{"cron":"@daily","template":7}"#, &["template"]),
            (r#"{"cron":"@daily","template":{}}"#, &["template.kind"]),
            (
                r#"{"cron":"@daily","template":{"kind":"noop","queue":"NO","shoe":1}}"#,
                &["template.queue", "template.shoe"],
            ),
            (r#"{"template":{"kind":"sleep","payload":{"min_s":"x"}}}"#, &["template.payload.min_s", "cron"]),
            (r#"{"cron":"@daily","template":{"kind":"noop"},"shoe":1}"#, &["shoe"]),
        ] {
            assert_eq!(read::<Definition>(json).unwrap_err(), fields, "{json}");
        }
    }

    #[test]
    fn a_change_touches_what_it_names_and_nothing_else() {
        let next = changed(r#"{"template":{"queue":null,"payload":{"a":{"b":3}}},"catch_up_s":5}"#).unwrap();
        assert_eq!(next.template.new_job().payload.as_str(), r#"{"a":{"b":3,"c":2},"n":1.0e2}"#);
        assert_eq!((next.template.new_job().queue.as_str(), next.rule.catch_up_s.get()), ("default", 5));
        assert_eq!(changed("{}").unwrap().rule, definition().rule);
        let every = changed(r#"{"cron":null,"every_s":5}"#).unwrap();
        assert!(every.rule.cron.is_none() && every.rule.every_s.is_some());
    }

    #[test]
    fn a_change_to_something_that_is_wrong_is_refused() {
        for (json, fields) in [
            (r#"{"cron":null}"#, &["cron"][..]),
            (r#"{"every_s":5}"#, &["every_s"]),
            (r#"{"template":null}"#, &["template"]),
            (r#"{"template":{"kind":null}}"#, &["template.kind"]),
            (r#"{"paused":7}"#, &["paused"]),
        ] {
            assert_eq!(changed(json).unwrap_err(), fields, "{json}");
        }
        assert_eq!(read::<Change>(r#"{"shoe":1}"#).unwrap_err(), ["shoe"]);
    }
}
