//! The fields of a part of a request, read one by one.

use std::{borrow::Cow, collections::BTreeMap};

use actix_web::{dev::Path, http::header::HeaderMap};
use serde_json::value::RawValue;

use super::{FieldValue, Mistake, MistakeCode, Mistakes, Place, json_object::JsonObject, query};

/// A part of a request as a struct; derive it, see [`ReadFields`](derive@super::ReadFields).
pub trait ReadFields: Sized {
    /// Takes the struct's fields and says what is wrong with them; none where one is missing or wrong.
    fn read(fields: &mut Fields<'_>) -> Option<Self>;
}

/// The fields of a JSON object, the parameters of a query, the headers, or the parts of a path. Each is taken once; what is
/// left over at the end, and all that was wrong, is told by [`Fields::finish`].
#[derive(Debug)]
pub struct Fields<'a> {
    source: Source<'a>,
    mistakes: Mistakes,
}

#[derive(Debug)]
enum Source<'a> {
    Json(JsonObject<'a>),
    Query(BTreeMap<Cow<'a, str>, Vec<Cow<'a, str>>>),
    Headers(&'a HeaderMap),
    Path(&'a Path<actix_web::dev::Url>),
}

/// A field as it was sent.
enum Given<'a> {
    Json(&'a RawValue),
    Texts(Vec<Cow<'a, str>>),
}

impl<'a> Fields<'a> {
    /// Those of a JSON object.
    ///
    /// # Errors
    /// Where the bytes are no JSON object, or name a field twice.
    pub fn of_json(bytes: &'a [u8]) -> Result<Self, Mistakes> {
        let source = Source::Json(JsonObject::parse(bytes)?);
        Ok(Self { source, mistakes: Mistakes::default() })
    }

    /// The parameters of a query.
    #[must_use]
    pub fn of_query(query: &'a str) -> Self {
        let (parameters, mistakes) = query::parse(query);
        Self { source: Source::Query(parameters), mistakes }
    }

    /// The headers; those that nobody takes are passed over.
    #[must_use]
    pub fn of_headers(headers: &'a HeaderMap) -> Self {
        Self { source: Source::Headers(headers), mistakes: Mistakes::default() }
    }

    /// The parts of a path that its route names.
    #[must_use]
    pub fn of_path(path: &'a Path<actix_web::dev::Url>) -> Self {
        Self { source: Source::Path(path), mistakes: Mistakes::default() }
    }

    /// Where these fields are.
    #[must_use]
    pub const fn place(&self) -> Place {
        match self.source {
            Source::Json(_) => Place::Body,
            Source::Query(_) => Place::Query,
            Source::Headers(_) => Place::Header,
            Source::Path(_) => Place::Path,
        }
    }

    /// Says that a field is wrong.
    pub fn wrong(&mut self, field: impl Into<String>, mistake: Mistake) {
        self.mistakes.add(self.place(), field, mistake);
    }

    /// A field that must be there; none where it is not, or is wrong.
    pub fn required<T: FieldValue>(&mut self, name: &str) -> Option<T> {
        let value = self.optional(name)?;
        // Among the names that were not kept it may be.
        let may_be_there = matches!(&self.source, Source::Json(object) if object.not_kept > 0);
        if value.is_none() && !may_be_there {
            self.wrong(name, Mistake::new(MistakeCode::Required, "is required"));
        }
        value
    }

    /// A field that may be absent; none where it is wrong.
    pub fn optional<T: FieldValue>(&mut self, name: &str) -> Option<Option<T>> {
        match self.take(name) {
            None => Some(None),
            Some(Given::Json(json)) => T::of_field(json, name, &mut self.mistakes).map(Some),
            Some(Given::Texts(texts)) => {
                T::from_texts(&texts).map(Some).map_err(|mistake| self.wrong(name, mistake)).ok()
            }
        }
    }

    /// A field that has a default; none where it is wrong.
    pub fn or_else<T: FieldValue>(&mut self, name: &str, default: impl FnOnce() -> T) -> Option<T> {
        Some(self.optional(name)?.unwrap_or_else(default))
    }

    /// The field of a JSON object as it was sent; none where it is absent.
    pub fn json(&mut self, name: &str) -> Option<&'a RawValue> {
        match &mut self.source {
            Source::Json(object) => object.fields.remove(name),
            _ => None,
        }
    }

    /// Whether a JSON object has such a field that was not taken yet.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        matches!(&self.source, Source::Json(object) if object.fields.contains_key(name))
    }

    /// Ends the reading: all that was wrong, and the fields that nobody took.
    #[must_use]
    pub fn finish(self) -> Mistakes {
        let place = self.place();
        let Self { source, mut mistakes } = self;
        let (names, message): (Vec<_>, _) = match source {
            Source::Json(object) => {
                mistakes.not_kept += object.not_kept;
                (object.fields.into_keys().collect(), "is not a known field")
            }
            Source::Query(parameters) => {
                (parameters.into_keys().collect(), "is not a parameter of this request")
            }
            Source::Headers(_) | Source::Path(_) => return mistakes,
        };
        for name in names {
            mistakes.add(place, name, Mistake::new(MistakeCode::Unknown, message));
        }
        mistakes
    }

    fn take(&mut self, name: &str) -> Option<Given<'a>> {
        match &mut self.source {
            Source::Json(object) => object.fields.remove(name).map(Given::Json),
            Source::Query(parameters) => parameters.remove(name).map(Given::Texts),
            Source::Headers(headers) => {
                let texts: Vec<_> =
                    headers.get_all(name).map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
                (!texts.is_empty()).then_some(Given::Texts(texts))
            }
            Source::Path(path) => path.get(name).map(|text| Given::Texts(vec![Cow::Borrowed(text)])),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::Text, *};
    use crate::http::Problem;

    fn code(bytes: &[u8]) -> &'static str {
        Problem::from(Fields::of_json(bytes).unwrap_err()).code()
    }

    #[test]
    fn what_is_no_object_is_malformed() {
        for body in ["", "[]", "1", "{", r#"{"a":1,"a":2}"#, "{\"a\":\u{0}}", r#"{"a":1} x"#] {
            assert_eq!(code(body.as_bytes()), "malformed_body", "{body}");
        }
        assert_eq!(code(b"\xff"), "malformed_body");
    }

    #[test]
    fn a_bottomless_body_is_refused_before_it_is_parsed() {
        let body = format!("{{\"payload\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(code(body.as_bytes()), "invalid_field");
    }

    #[test]
    fn of_many_unknown_names_some_are_named_and_the_rest_is_counted() {
        let body = |names: usize| {
            let names: Vec<String> = (0..names).map(|number| format!("\"u{number:05}\":0")).collect();
            format!("{{{},\"known\":\"x\"}}", names.join(","))
        };
        for (names, named) in [(3, 3), (100, 100), (101, 100), (1500, 100)] {
            let body = body(names);
            let mut fields = Fields::of_json(body.as_bytes()).unwrap();
            let _ = fields.required::<Text<2, 3>>("known");
            let problem = serde_json::to_value(Problem::from(fields.finish())).unwrap();
            let errors = problem["errors"].as_array().unwrap();
            let unknown = errors.iter().filter(|error| error["code"] == "unknown").count();
            let omitted = problem["errors_omitted"].as_u64().unwrap_or(0);
            assert!(errors.len() <= 100 && unknown <= named, "{names}: {problem}");
            assert!(errors.len() as u64 + omitted > names as u64 - 1, "{names}: {problem}");
        }
    }

    #[test]
    fn an_endless_name_that_comes_twice_is_cut() {
        let name = "\u{7f}".repeat(1 << 20);
        let body = format!("{{\"{name}\":1,\"{name}\":1}}");
        let problem = Problem::from(Fields::of_json(body.as_bytes()).unwrap_err());
        assert!(serde_json::to_string(&problem).unwrap().len() < 4000);
    }

    #[test]
    fn no_more_mistakes_are_kept_than_are_told() {
        let names: Vec<String> = (0..1000).map(|number| format!("\"u{number}\":0")).collect();
        let body = format!("{{{}}}", names.join(","));
        let mut all = Mistakes::default();
        for _ in 0..50 {
            all.extend(Fields::of_json(body.as_bytes()).unwrap().finish());
        }
        let (errors, not_kept, _) = all.into_parts();
        assert_eq!((errors.len(), not_kept), (100, 49_900));
    }

    #[test]
    fn an_endless_name_is_cut() {
        let body = format!("{{\"{}\":1}}", "n".repeat(1 << 20));
        let problem = Problem::from(Fields::of_json(body.as_bytes()).unwrap().finish());
        assert!(serde_json::to_string(&problem).unwrap().len() < 2000);
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(bytes: Vec<u8>) {
            let _ = Fields::of_json(&bytes);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{}\":,a-c0-9\\\\u ]{0,60}") {
            let _ = Fields::of_json(text.as_bytes());
        }

        #[test]
        fn no_query_makes_it_panic(text in "[a-c=&%+,0-9f]{0,60}") {
            let _ = Fields::of_query(&text).finish();
        }
    }
}
