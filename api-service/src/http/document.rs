//! The API's document: OpenAPI 3.1, made of the routes themselves, and Swagger UI to read it.
//!
//! What all operations share is said here, not at each of them.

use actix_web::{
    HttpResponse, Responder, get,
    web::{self, Data, Redirect},
};
use bytes::Bytes;
use serde_json::{Map, Value};
use shared_events::payloads::without_null;
use utoipa::{
    OpenApi as _,
    openapi::{
        Deprecated, OpenApi, RefOr,
        path::{Operation, PathItem},
    },
};
use utoipa_actix_web::{AppExt, service_config::ServiceConfig};
use utoipa_swagger_ui::SwaggerUi;

use super::{
    add_responses, health,
    problem::{self, ProblemType, ProblemView, types},
    read::FieldError,
};

/// The paths of what is stored, as routes begin.
const STORED: [&str; 2] = ["/v1/jobs", "/v1/users"];

/// Where Swagger UI is.
pub(super) const SWAGGER: &str = "/swagger";

/// Where people look for it besides: the root of the older scheduler's API, which showed its own page there.
pub(super) const SWAGGER_BEFORE: [&str; 2] = ["/api/v1", "/api/v1/"];

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Hasty",
        version = "1",
        description = "Runs background jobs for other programs. A client creates a job; it is stored, announced, and run by \
            whichever worker is free; its status and result are read, or waited for.\n\nBodies are JSON. What a route does not \
            know is refused, not ignored, and an answer of 4xx has changed nothing. Answers carry `X-Request-Id` (the client's \
            own where it sent one) and `traceparent` (W3C Trace Context).",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "jobs", description = "Creating jobs, and seeing how far they are."),
        (name = "users", description = "Who the clients' own users are."),
        (name = "kinds", description = "What workers can do."),
        (name = "workers", description = "Who works, and draining a worker."),
        (name = "health", description = "For load balancers, containers and people."),
        (name = "problems", description = "What the types of problems mean."),
        (name = "document", description = "This document."),
        (name = "older clients", description = "Routes of older systems, whose clients go on working."),
    ),
    components(schemas(ProblemView<'static>, FieldError)),
)]
struct Head;

/// The document of the routes that `configure` adds, and of those that every service has.
#[must_use]
pub fn document(
    configure: impl FnOnce(&mut ServiceConfig<'_>),
    problem_types: &[&'static ProblemType],
) -> OpenApi {
    let (_, mut document) = actix_web::App::new()
        .into_utoipa_app()
        .openapi(Head::openapi())
        .configure(|app| {
            configure_own(app);
            configure(app);
        })
        .split_for_parts();
    let examples = problem_types
        .iter()
        .map(|problem_type| (problem_type.code.to_owned(), RefOr::T(problem::example(problem_type))));
    document.components.get_or_insert_default().examples.extend(examples);
    for (path, item) in &mut document.paths.paths {
        for (changes, operation) in operations(item) {
            let is_older = operation.extensions.as_ref().is_some_and(|all| all.contains_key("x-deprecation"));
            if is_older {
                operation.deprecated = Some(Deprecated::True);
            }
            let met = problems_of(path, operation, changes, is_older);
            add_responses(&mut operation.responses, met);
        }
    }
    document
}

/// The document's JSON, as it is served.
///
/// # Errors
/// Where it has no JSON form.
pub fn to_json(document: &OpenApi) -> serde_json::Result<Value> {
    let mut json = serde_json::to_value(document)?;
    without_null(&mut json);
    tidy(&mut json, "");
    Ok(json)
}

/// Adds the routes that every service has.
pub(super) fn configure_own(app: &mut ServiceConfig<'_>) {
    health::configure(app);
    problem::configure(app);
    app.service(get_document);
}

/// The ways to Swagger UI.
pub(super) fn redirects() -> Vec<Redirect> {
    let to_page = |from: &'static str| web::redirect(from, format!("{SWAGGER}/"));
    [SWAGGER].into_iter().chain(SWAGGER_BEFORE).map(to_page).collect()
}

/// Swagger UI; its assets are part of the program.
pub(super) fn swagger_ui() -> SwaggerUi {
    SwaggerUi::new(format!("{SWAGGER}/{{file:.*}}")).config(utoipa_swagger_ui::Config::from("/openapi.json"))
}

/// The document as it is served.
#[derive(Debug, Clone)]
pub(super) struct DocumentText(pub(super) Bytes);

/// This document.
#[utoipa::path(
    tag = "document",
    responses((status = 200, description = "OpenAPI 3.1.", body = Object)),
)]
#[get("/openapi.json")]
async fn get_document(text: Data<DocumentText>) -> impl Responder {
    HttpResponse::Ok().content_type("application/json").body(text.0.clone())
}

/// The operations of a path, each with whether it changes something.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (bool, &mut Operation)> {
    let changes = [&mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
    let all = std::iter::once((false, &mut item.get)).chain(changes.map(|operation| (true, operation)));
    all.into_iter().filter_map(|(changes, operation)| Some((changes, operation.as_mut()?)))
}

/// What every operation of this form can meet.
fn problems_of(
    path: &str,
    operation: &Operation,
    changes: bool,
    is_older: bool,
) -> Vec<&'static ProblemType> {
    let mut met = vec![&types::MISDIRECTED_REQUEST];
    if STORED.iter().any(|stored| path.starts_with(stored)) || is_older {
        met.extend([&types::UNAVAILABLE, &types::NEWER_VERSION]);
    }
    if changes {
        met.push(&types::CROSS_SITE);
    }
    if has_content(operation) {
        met.push(&types::NOT_ACCEPTABLE);
    }
    if operation.request_body.is_some() {
        met.extend([&types::BODY_TOO_LARGE, &types::SLOW_BODY]);
    }
    if is_older {
        return met;
    }
    if operation.request_body.is_some() {
        met.extend([&types::MALFORMED_BODY, &types::UNSUPPORTED_MEDIA_TYPE, &types::INVALID_FIELD]);
    }
    // A parameter that nobody knows is refused everywhere that parameters are read.
    if path.starts_with("/v1/") || path.starts_with("/problems/") {
        met.push(&types::INVALID_PARAMETER);
    }
    if path.starts_with("/problems/") {
        met.push(&types::PATH_NOT_FOUND);
    }
    met
}

fn has_content(operation: &Operation) -> bool {
    operation.responses.responses.iter().any(|(status, response)| {
        let RefOr::T(response) = response else { return false };
        status.starts_with('2') && !response.content.is_empty()
    })
}

/// Mends what the derives can not say: what has a default may be left out.
fn tidy(value: &mut Value, key: &str) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| tidy(item, "")),
        Value::Object(object) if !["example", "examples"].contains(&key) => {
            object.iter_mut().for_each(|(name, value)| tidy(value, name));
            with_additions_inside(object);
            without_required_defaults(object);
        }
        Value::String(text) if ["summary", "description"].contains(&key) => *text = unwrapped(text),
        _ => {}
    }
}

/// A text without the line ends of its source; paragraphs stay.
fn unwrapped(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

/// A schema that was put together with no more than its default and its description is one schema.
fn with_additions_inside(object: &mut Map<String, Value>) {
    let Some(Value::Array(parts)) = object.get("allOf") else { return };
    let [Value::Object(schema), Value::Object(addition)] = parts.as_slice() else { return };
    if schema.contains_key("$ref") || addition.contains_key("properties") {
        return;
    }
    let additions = ["default", "description", "example"].into_iter();
    let additions: Vec<_> =
        additions.filter_map(|name| Some((name.to_owned(), addition.get(name)?.clone()))).collect();
    let schema = schema.clone();
    object.remove("allOf");
    object.extend(schema);
    object.extend(additions);
}

fn without_required_defaults(object: &mut Map<String, Value>) {
    let has_default = |schema: &Value| schema.get("default").is_some();
    if object.contains_key("in") && object.get("schema").is_some_and(has_default) {
        object.insert("required".to_owned(), false.into());
    }
    let with_default: Vec<String> = match object.get("properties") {
        Some(Value::Object(properties)) => properties
            .iter()
            .filter(|(_, schema)| has_default(schema))
            .map(|(name, _)| name.clone())
            .collect(),
        _ => return,
    };
    if let Some(Value::Array(required)) = object.get_mut("required") {
        required.retain(|name| !with_default.iter().any(|with_default| name == with_default));
    }
}
