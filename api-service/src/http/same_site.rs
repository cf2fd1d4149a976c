//! Refuses what a web page elsewhere can make a browser send.
//!
//! A browser lets any page send simple requests to any address, this one included, whose user it then acts for; it
//! says so by `Origin` and `Sec-Fetch-Site`. And a page whose name is made to lead here (DNS rebinding) is of the same
//! origin to the browser; but its requests carry its own name as `Host`. Other clients send neither of the first two.

use std::rc::Rc;

use actix_cors::CorsError;
use actix_web::{
    Error, ResponseError,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{self, HeaderMap, HeaderName},
    },
    middleware::Next,
};

use super::{
    Problem,
    authority::{AllowedHosts, AllowedOrigins, Authority, Origin},
    health,
    problem::types::{CROSS_SITE, MISDIRECTED_REQUEST},
};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Who may ask.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// Pages of these origins may, besides those of the host itself.
    pub origins: AllowedOrigins,
    /// Under these hosts.
    pub hosts: AllowedHosts,
}

/// Goes around every request.
pub(super) async fn around<B: MessageBody>(
    allowed: Rc<Allowed>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    match refusal(&allowed, request.method(), request.path(), request.headers()) {
        Some(problem) => Ok(request.into_response(problem.error_response()).map_into_right_body()),
        None => {
            let answer = next.call(request).await?;
            let is_refused_preflight =
                answer.response().error().is_some_and(|error| error.as_error::<CorsError>().is_some());
            if is_refused_preflight {
                let refused = Problem::new(&CROSS_SITE).error_response();
                return Ok(answer.into_response(refused).map_into_right_body());
            }
            Ok(answer.map_into_left_body())
        }
    }
}

/// Why a request is refused; none where it is not.
fn refusal(allowed: &Allowed, method: &Method, path: &str, headers: &HeaderMap) -> Option<Problem> {
    let host = only::<Authority>(headers, &header::HOST).flatten();
    // Probes ask a replica by its own address, and what they learn is no secret.
    if !health::PATHS.contains(&path) && !allowed.hosts.has(host.as_ref()) {
        return Some(Problem::new(&MISDIRECTED_REQUEST));
    }
    let changes_nothing = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
    if changes_nothing || is_from_here(&allowed.origins, host.as_ref(), headers) {
        return None;
    }
    Some(Problem::new(&CROSS_SITE))
}

/// Whether the request comes from no page, from one of this host, or from one that is allowed.
fn is_from_here(allowed: &AllowedOrigins, host: Option<&Authority>, headers: &HeaderMap) -> bool {
    let origin = only::<Origin>(headers, &header::ORIGIN);
    if let Some(origin) = &origin
        && allowed.has(origin.as_ref())
    {
        return true;
    }
    let is_cross_site = headers.get_all(SEC_FETCH_SITE).any(|site| site == "cross-site");
    let is_foreign = origin.is_some_and(|origin| match (origin, host) {
        (Some(origin), Some(host)) => !origin.is_of(host),
        // `Origin: null`, or one that can not be read.
        _ => true,
    });
    !is_cross_site && !is_foreign
}

/// The value of a header: none where it is absent, nothing inside where it is not one, or several.
fn only<T: std::str::FromStr>(headers: &HeaderMap, name: &HeaderName) -> Option<Option<T>> {
    let mut values = headers.get_all(name);
    let value = values.next()?.to_str().ok().and_then(|text| text.parse().ok());
    Some(value.filter(|_| values.next().is_none()))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn code(
        allowed: &Allowed,
        method: &Method,
        path: &str,
        sent: &[(&'static str, &str)],
    ) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        refusal(allowed, method, path, &headers).map(|problem| problem.code())
    }

    fn post(origins: &str, sent: &[(&'static str, &str)]) -> Option<&'static str> {
        let allowed = Allowed { origins: origins.parse().unwrap_or_default(), ..Allowed::default() };
        let host = [("host", "hasty.example:8080")];
        let sent: Vec<_> = host.into_iter().chain(sent.iter().copied()).collect();
        code(&allowed, &Method::POST, "/v1/jobs", &sent)
    }

    #[test]
    fn pages_from_elsewhere_are_refused_unless_they_are_named() {
        let (own, foreign) =
            (("origin", "http://hasty.example:8080"), ("origin", "https://elsewhere.example"));
        let site = |site: &'static str| ("sec-fetch-site", site);
        let refused = Some("cross_site");
        for (origins, sent, expected) in [
            ("", &[][..], None),
            ("", &[own], None),
            ("", &[own, site("same-origin")], None),
            ("", &[site("none")], None),
            ("", &[site("cross-site")], refused),
            ("", &[own, site("cross-site")], refused),
            ("", &[foreign], refused),
            ("", &[foreign, site("same-origin")], refused),
            ("", &[("origin", "http://hasty.example")], refused),
            ("", &[("origin", "null")], refused),
            ("", &[("origin", "")], refused),
            ("", &[own, own], refused),
            ("https://elsewhere.example", &[foreign, site("cross-site")], None),
            ("https://elsewhere.example", &[own], None),
            ("https://elsewhere.example", &[("origin", "null")], refused),
            ("https://elsewhere.example", &[site("cross-site")], refused),
            ("https://board.example", &[foreign], refused),
            ("*", &[foreign, site("cross-site")], None),
            ("*", &[("origin", "null")], None),
        ] {
            assert_eq!(post(origins, sent), expected, "{origins} {sent:?}");
        }
    }

    #[test]
    fn only_what_changes_something_is_refused_to_a_page() {
        let foreign = [("host", "a"), ("origin", "https://b")];
        let code = |method| code(&Allowed::default(), &method, "/v1/jobs", &foreign);
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            assert_eq!(code(method), None);
        }
        for method in [Method::POST, Method::DELETE, Method::PUT, Method::PATCH] {
            assert_eq!(code(method), Some("cross_site"));
        }
    }

    #[test]
    fn a_host_that_is_not_named_is_refused_but_to_probes() {
        let allowed = Allowed { hosts: "hasty.example".parse().unwrap(), ..Allowed::default() };
        let get = |path, sent: &[(&'static str, &str)]| code(&allowed, &Method::GET, path, sent);
        let refused = Some("misdirected_request");
        assert_eq!(get("/v1/jobs", &[("host", "hasty.example:80")]), None);
        for sent in
            [&[("host", "evil.example")][..], &[], &[("host", "hasty.example"), ("host", "evil.example")]]
        {
            assert_eq!(get("/v1/jobs", sent), refused, "{sent:?}");
        }
        assert_eq!(get("/health/ready", &[("host", "127.0.0.1:8000")]), None);
    }
}
