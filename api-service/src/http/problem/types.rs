//! The types of problems that every route can meet, and those that nginx in front of it answers itself.

use super::ProblemType;

/// 400.
pub const MALFORMED_BODY: ProblemType = ProblemType {
    code: "malformed_body",
    status: 400,
    title: "The body is not readable",
    meaning: "The body is not JSON, is not an object, names a field twice, or broke off.",
    remedy: "Send one JSON object. `detail` says where it can not be read.",
};

/// 400.
pub const INVALID_PARAMETER: ProblemType = ProblemType {
    code: "invalid_parameter",
    status: 400,
    title: "A parameter is not valid",
    meaning: "A query parameter or a header has a value that it must not have, or the route does not know it. \
              `errors` names each, and what is wrong in the body besides.",
    remedy: "Correct what `errors` names. Nothing was changed.",
};

/// 403.
pub const CROSS_SITE: ProblemType = ProblemType {
    code: "cross_site",
    status: 403,
    title: "Pages of other sites may not change anything here",
    meaning: "A web page of another site has made a browser send this. Its origin is neither this host's nor among \
              `CORS_ORIGINS`.",
    remedy: "Let the operator add the page's origin to `CORS_ORIGINS`, or send the request from a program that is no \
             browser.",
};

/// 404.
pub const PATH_NOT_FOUND: ProblemType = ProblemType {
    code: "path_not_found",
    status: 404,
    title: "There is nothing at this path",
    meaning: "No route has this path.",
    remedy: "Look the path up in the API's document, `/openapi.json`.",
};

/// 405.
pub const METHOD_NOT_ALLOWED: ProblemType = ProblemType {
    code: "method_not_allowed",
    status: 405,
    title: "The path does not take this method",
    meaning: "The path is right, its method is not.",
    remedy: "Use a method that the header `Allow` lists.",
};

/// 406.
pub const NOT_ACCEPTABLE: ProblemType = ProblemType {
    code: "not_acceptable",
    status: 406,
    title: "There is no answer in an accepted content type",
    meaning: "The header `Accept` takes none of the content types that this route answers in.",
    remedy: "Accept `application/json` and `application/problem+json`, or leave the header out.",
};

/// 408.
pub const SLOW_BODY: ProblemType = ProblemType {
    code: "slow_body",
    status: 408,
    title: "The body did not arrive in time",
    meaning: "A body has ten seconds to arrive, and one more for each MiB after the first.",
    remedy: "Send it again over a better connection, or in smaller parts.",
};

/// 412.
pub const PRECONDITION_FAILED: ProblemType = ProblemType {
    code: "precondition_failed",
    status: 412,
    title: "It is not in the state that the request is meant for",
    meaning: "`If-Match` has no tag of what is there now, or `If-None-Match` has one. Somebody else has changed, created or \
              removed it. Nothing was changed.",
    remedy: "Read it again, see whether the change still makes sense, and send it with the new `ETag`.",
};

/// 413.
pub const BODY_TOO_LARGE: ProblemType = ProblemType {
    code: "body_too_large",
    status: 413,
    title: "The body is too large",
    meaning: "The body has more bytes than the route takes. `detail` has the limit.",
    remedy: "Send less, or in several requests. Large inputs belong into a store of their own, whose address is the \
             payload.",
};

/// 415.
pub const UNSUPPORTED_MEDIA_TYPE: ProblemType = ProblemType {
    code: "unsupported_media_type",
    status: 415,
    title: "The content type must be application/json",
    meaning: "The body is not declared as JSON.",
    remedy: "Send the header `Content-Type: application/json`.",
};

/// 421.
pub const MISDIRECTED_REQUEST: ProblemType = ProblemType {
    code: "misdirected_request",
    status: 421,
    title: "The request's host is not one that is served here",
    meaning: "The header `Host` has a name that `ALLOWED_HOSTS` does not list.",
    remedy: "Use a name of the service, or let the operator add this one to `ALLOWED_HOSTS`.",
};

/// 422.
pub const INVALID_FIELD: ProblemType = ProblemType {
    code: "invalid_field",
    status: 422,
    title: "A field is not valid",
    meaning: "Fields of the body are missing, not known, or have values that they must not have. `errors` names each: \
              the first hundred; `errors_omitted` counts the others.",
    remedy: "Correct what `errors` names. Nothing was changed.",
};

/// 503.
pub const UNAVAILABLE: ProblemType = ProblemType {
    code: "unavailable",
    status: 503,
    title: "The service can not do this now",
    meaning: "The database gives no answer, or too much is asked for at once. `detail` says whether what was asked for may \
              have been done all the same.",
    remedy: "Try again after `Retry-After`; with the same `Idempotency-Key` where something is created.",
};

/// 503.
pub const NEWER_VERSION: ProblemType = ProblemType {
    code: "newer_version",
    status: 503,
    title: "A newer version of the service has changed it, and this one can not read it",
    meaning: "Replicas of two versions serve, and the older one got the request.",
    remedy: "Try again: another replica may answer. The operator finishes the upgrade.",
};

/// All that every route can meet, or those of several domains.
pub const COMMON: &[&ProblemType] = &[
    &MALFORMED_BODY,
    &INVALID_PARAMETER,
    &CROSS_SITE,
    &PATH_NOT_FOUND,
    &METHOD_NOT_ALLOWED,
    &NOT_ACCEPTABLE,
    &SLOW_BODY,
    &PRECONDITION_FAILED,
    &BODY_TOO_LARGE,
    &UNSUPPORTED_MEDIA_TYPE,
    &MISDIRECTED_REQUEST,
    &INVALID_FIELD,
    &UNAVAILABLE,
    &NEWER_VERSION,
];

/// What nginx answers itself (`nginx/http.conf`), besides what the service answers too.
pub const OF_NGINX: &[ProblemType] = &[
    ProblemType {
        code: "bad_request",
        status: 400,
        title: "Bad request",
        meaning: "The request could not be understood as HTTP.",
        remedy: "Send it with an HTTP client, not by hand.",
    },
    ProblemType {
        code: "not_found",
        status: 404,
        title: "Not found",
        meaning: "The proxy has nothing at this path.",
        remedy: "Look the path up in the API's document, `/openapi.json`.",
    },
    ProblemType {
        code: "request_timeout",
        status: 408,
        title: "Request timeout",
        meaning: "The request was not received in time.",
        remedy: "Send it again.",
    },
    ProblemType {
        code: "length_required",
        status: 411,
        title: "Length required",
        meaning: "The request has to tell the length of its body.",
        remedy: "Send `Content-Length`, or the body in chunks.",
    },
    ProblemType {
        code: "uri_too_long",
        status: 414,
        title: "URI too long",
        meaning: "The request's address is too long.",
        remedy: "Use fewer or shorter parameters.",
    },
    ProblemType {
        code: "headers_too_large",
        status: 431,
        title: "Request header fields too large",
        meaning: "The header fields of the request are too large.",
        remedy: "Send fewer or shorter headers, such as cookies.",
    },
    ProblemType {
        code: "internal",
        status: 500,
        title: "Internal error",
        meaning: "The proxy in front of the service failed.",
        remedy: "Tell the operator, with the `X-Request-Id`.",
    },
    ProblemType {
        code: "not_implemented",
        status: 501,
        title: "Not implemented",
        meaning: "The transfer encoding of the request is not supported.",
        remedy: "Send the body with `Content-Length`, or in chunks.",
    },
    ProblemType {
        code: "bad_gateway",
        status: 502,
        title: "Bad gateway",
        meaning: "No replica answered. If the request was sent, it may have been carried out.",
        remedy: "Try again; with the same `Idempotency-Key` where a job is created.",
    },
    ProblemType {
        code: "gateway_timeout",
        status: 504,
        title: "Gateway timeout",
        meaning: "No answer came in time. The request may have been carried out.",
        remedy: "Try again; with the same `Idempotency-Key` where a job is created.",
    },
    ProblemType {
        code: "http_version_not_supported",
        status: 505,
        title: "HTTP version not supported",
        meaning: "This version of HTTP is not supported.",
        remedy: "Use HTTP/1.1.",
    },
];
