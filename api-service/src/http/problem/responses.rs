//! Problems in the API's document.

use serde_json::json;
use utoipa::{
    ToSchema,
    openapi::{
        ContentBuilder, Ref, RefOr, Response, ResponseBuilder, Responses,
        example::{Example, ExampleBuilder},
    },
};

use super::{CONTENT_TYPE, ProblemType, ProblemView};

/// Adds these types of problems to an operation's responses: one response a status, with an example for each type.
pub fn add_responses<'a>(responses: &mut Responses, types: impl IntoIterator<Item = &'a ProblemType>) {
    for problem_type in types {
        let response = responses.responses.entry(problem_type.status.to_string()).or_insert_with(empty);
        let RefOr::T(response) = response else { continue };
        let means = format!("`{}`: {}", problem_type.code, problem_type.title);
        if response.description.is_empty() {
            response.description = means;
        } else if !response.description.contains(&means) {
            response.description = format!("{}; {means}", response.description);
        }
        let content = response.content.entry(CONTENT_TYPE.to_owned()).or_insert_with(|| {
            let schema = Ref::from_schema_name(ProblemView::name());
            RefOr::T(ContentBuilder::new().schema(Some(schema)).build())
        });
        let RefOr::T(content) = content else { continue };
        let example = Ref::new(format!("#/components/examples/{}", problem_type.code));
        content.examples.insert(problem_type.code.to_owned(), RefOr::Ref(example));
    }
}

/// What routes can meet besides what every route can, for the API's document: a type each, from a domain's types of
/// problems.
macro_rules! route_problems {
    ($($(#[$doc:meta])* $name:ident: $($problem_type:ident),*;)*) => {$(
        $(#[$doc])*
        pub(super) struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Response>> {
                let mut responses = utoipa::openapi::Responses::new();
                crate::http::add_responses(&mut responses, [$(&$problem_type),*]);
                responses.responses.into_iter().collect()
            }
        }
    )*};
}

pub(crate) use route_problems;

fn empty() -> RefOr<Response> {
    RefOr::T(ResponseBuilder::new().build())
}

/// What an answer of this type looks like.
pub(in crate::http) fn example(problem_type: &ProblemType) -> Example {
    let ProblemType { code, status, title, meaning, .. } = problem_type;
    let value = json!({ "type": problem_type.uri(), "title": title, "status": status, "code": code });
    ExampleBuilder::new().summary(*meaning).value(Some(value)).build()
}
