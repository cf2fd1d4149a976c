//! One layer for all routes, made of the API's document: OPTIONS, HEAD, 404 for a path and 405 for a method that there is
//! not, 406 for a client that accepts no answer that the route gives, and `Deprecation` on routes that have a successor.

use std::{collections::HashMap, rc::Rc};

use actix_web::{
    Error, HttpResponse, ResponseError,
    body::{EitherBody, MessageBody},
    dev::{ResourceDef, ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{self, Accept, Header, HeaderName, HeaderValue, Quality, QualityItem},
    },
    middleware::Next,
    mime::Mime,
};
use percent_encoding::percent_decode_str;
use utoipa::openapi::{OpenApi, RefOr, path::Operation, path::PathItem};

use super::{
    Problem,
    document::{SWAGGER, SWAGGER_BEFORE},
    problem::types::NOT_ACCEPTABLE,
};

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");

/// The routes of a document.
#[derive(Debug)]
pub(super) struct Routes {
    fixed: HashMap<String, Route>,
    patterns: Vec<(ResourceDef, Route)>,
    /// Paths of one segment, such as the older system's, unless it is the first segment of others.
    any_segment: Option<Route>,
    first_segments: Vec<String>,
}

/// What a path takes.
#[derive(Debug, Default)]
struct Route {
    methods: Vec<(Method, Answers)>,
    allow: String,
}

/// What an operation answers.
#[derive(Debug, Default)]
struct Answers {
    /// The content types of its successes; empty where those have no content.
    content_types: Vec<String>,
    /// Since when it is deprecated, and the link to what took its place.
    deprecation: Option<(HeaderValue, HeaderValue)>,
}

impl Routes {
    /// The routes of this document, and those of Swagger UI.
    pub(super) fn new(document: &OpenApi) -> Self {
        let mut routes = Self {
            fixed: HashMap::new(),
            patterns: Vec::new(),
            any_segment: None,
            first_segments: Vec::new(),
        };
        for (path, item) in &document.paths.paths {
            routes.add(path, Route::of(item));
        }
        let pages = [SWAGGER.to_owned(), format!("{SWAGGER}/{{file:.*}}")];
        for path in pages.into_iter().chain(SWAGGER_BEFORE.map(str::to_owned)) {
            routes.add(&path, Route::new(vec![(Method::GET, Answers::default())]));
        }
        routes
    }

    fn add(&mut self, path: &str, route: Route) {
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        if first.starts_with('{') {
            self.any_segment = Some(route);
            return;
        }
        self.first_segments.push(first.to_owned());
        if path.contains('{') {
            self.patterns.push((ResourceDef::new(path), route));
        } else {
            self.fixed.insert(path.to_owned(), route);
        }
    }

    fn find(&self, path: &str) -> Option<&Route> {
        self.fixed
            .get(path)
            .or_else(|| Some(&self.patterns.iter().find(|(pattern, _)| pattern.is_match(path))?.1))
            .or_else(|| self.any_segment.as_ref().filter(|_| self.is_any_segment(path)))
    }

    /// An encoded slash makes no segment, but whoever sent it has meant one.
    fn is_any_segment(&self, path: &str) -> bool {
        let is_one = path.len() > 1 && !path[1..].contains('/');
        let decoded = percent_decode_str(path).decode_utf8_lossy().to_lowercase();
        let first = decoded.trim_start_matches('/').split('/').next().unwrap_or_default();
        is_one && !self.first_segments.iter().any(|segment| segment == first)
    }
}

impl Route {
    fn of(item: &PathItem) -> Self {
        let operations = [
            (Method::GET, &item.get),
            (Method::POST, &item.post),
            (Method::PUT, &item.put),
            (Method::PATCH, &item.patch),
            (Method::DELETE, &item.delete),
        ];
        let methods = operations
            .into_iter()
            .filter_map(|(method, operation)| Some((method, Answers::of(operation.as_ref()?))));
        Self::new(methods.collect())
    }

    fn new(methods: Vec<(Method, Answers)>) -> Self {
        let mut allow: Vec<&str> = methods.iter().map(|(method, _)| method.as_str()).collect();
        if allow.contains(&"GET") {
            allow.push("HEAD");
        }
        allow.push("OPTIONS");
        allow.sort_unstable();
        let allow = allow.join(", ");
        Self { methods, allow }
    }

    /// What this method is answered; that of HEAD is GET's.
    fn answers(&self, method: &Method) -> Option<&Answers> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        Some(&self.methods.iter().find(|(known, _)| known == method)?.1)
    }
}

impl Answers {
    fn of(operation: &Operation) -> Self {
        let successes = operation.responses.responses.iter().filter(|(status, _)| status.starts_with('2'));
        let content_types = successes.flat_map(|(_, response)| match response {
            RefOr::T(response) => response.content.keys().cloned().collect::<Vec<_>>(),
            RefOr::Ref(_) => Vec::new(),
        });
        Self { content_types: content_types.collect(), deprecation: deprecation(operation) }
    }

    /// Whether a client that accepts this accepts an answer; what can not be read is passed over.
    fn are_accepted(&self, request: &ServiceRequest) -> bool {
        if self.content_types.is_empty() || !request.headers().contains_key(header::ACCEPT) {
            return true;
        }
        let Ok(Accept(ranges)) = Accept::parse(request) else { return true };
        ranges.is_empty() || self.content_types.iter().any(|content_type| is_accepted(content_type, &ranges))
    }
}

/// Whether the most specific range that a content type is in has a quality over 0 (RFC 9110, section 12.5.1).
fn is_accepted(content_type: &str, ranges: &[QualityItem<Mime>]) -> bool {
    let main = content_type.split('/').next().unwrap_or_default();
    let specificity = |range: &Mime| match range.essence_str() {
        exact if exact == content_type => Some(2),
        _ if range.subtype() != "*" => None,
        _ if range.type_() == main => Some(1),
        _ => (range.type_() == "*").then_some(0),
    };
    let matching = ranges.iter().filter_map(|range| Some((specificity(&range.item)?, range.quality)));
    matching.max_by_key(|(specific, _)| *specific).is_some_and(|(_, quality)| quality > Quality::ZERO)
}

/// RFC 9745: since when, and where to go instead.
fn deprecation(operation: &Operation) -> Option<(HeaderValue, HeaderValue)> {
    let extensions = operation.extensions.as_ref()?;
    let text = |name: &str| extensions.get(name)?.as_str().map(str::to_owned);
    let link = format!("<{}>; rel=\"successor-version\"", text("x-successor")?);
    Some((HeaderValue::from_str(&text("x-deprecation")?).ok()?, HeaderValue::from_str(&link).ok()?))
}

/// Goes around every request, next to the routes.
pub(super) async fn around<B: MessageBody>(
    routes: Rc<Routes>,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let answer_with = |request: ServiceRequest, answer: HttpResponse| {
        Ok(request.into_response(answer).map_into_right_body())
    };
    let Some(route) = routes.find(request.match_info().unprocessed()) else {
        return answer_with(request, Problem::no_path().error_response());
    };
    if request.method() == Method::OPTIONS {
        let allow = route.allow.as_str();
        return answer_with(
            request,
            HttpResponse::NoContent().insert_header((header::ALLOW, allow)).finish(),
        );
    }
    let Some(answers) = route.answers(request.method()) else {
        return answer_with(request, Problem::no_method(route.allow.clone()).error_response());
    };
    if !answers.are_accepted(&request) {
        return answer_with(request, Problem::new(&NOT_ACCEPTABLE).error_response());
    }
    if request.method() == Method::HEAD {
        // The server remembers that it is HEAD, and sends no body.
        request.head_mut().method = Method::GET;
    }
    let mut answer = next.call(request).await?.map_into_left_body();
    if let Some((since, link)) = &answers.deprecation {
        answer.headers_mut().insert(DEPRECATION, since.clone());
        answer.headers_mut().insert(header::LINK, link.clone());
    }
    Ok(answer)
}
