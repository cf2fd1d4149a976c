//! What a handler takes: a request's path, query, headers and body, each a struct.

use std::future::Future;

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use service_kit::Reservation;
use utoipa::{
    IntoParams, ToSchema,
    openapi::path::{Parameter, ParameterIn},
};

use super::{
    Mistake, MistakeCode, Mistakes, Place,
    fields::{Fields, ReadFields},
};
use crate::http::{
    Context, Problem,
    body::{Body, read_json, read_lines, read_optional_json},
};

/// A request, checked: `P` is what its path says, `Q` its query's parameters, `H` its headers, `B` its body. All that is
/// wrong with any of them is one answer.
#[derive(Debug)]
pub struct Input<P = Empty, Q = Empty, H = Empty, B = NoBody> {
    /// What the path says.
    pub path: P,
    /// The query's parameters.
    pub query: Q,
    /// The headers.
    pub headers: H,
    /// The body.
    pub body: B,
    /// The room that the body has; none where it was small. Keep it for what was made of the body.
    pub room: Option<Reservation>,
    /// The request's id and trace.
    pub context: Context,
}

/// A path, query or head of which nothing is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Empty;

impl ReadFields for Empty {
    fn read(_: &mut Fields<'_>) -> Option<Self> {
        Some(Self)
    }
}

impl IntoParams for Empty {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        Vec::new()
    }
}

/// Two structs that share a part of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Both<A, B>(pub A, pub B);

impl<A: ReadFields, B: ReadFields> ReadFields for Both<A, B> {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let (first, second) = (A::read(fields), B::read(fields));
        Some(Self(first?, second?))
    }
}

impl<A: IntoParams, B: IntoParams> IntoParams for Both<A, B> {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let (mut first, second) = (A::into_params(&place), B::into_params(&place));
        first.extend(second);
        first
    }
}

/// What a path says.
pub trait PathFields: ReadFields {
    /// What is answered where it can not be read: there is nothing at such a path.
    fn not_found() -> Problem {
        Problem::no_path()
    }
}

impl PathFields for Empty {}

/// A body in JSON that is a struct.
pub trait JsonBody: ReadFields + ToSchema {
    /// The largest body, in bytes.
    const MAX_BYTES: usize;
}

/// What a handler takes as body.
pub trait RequestBody: Sized + 'static {
    /// Reads it, adds what is wrong with it to `mistakes`, and is none then.
    fn read(
        request: &HttpRequest,
        payload: Payload,
        mistakes: &mut Mistakes,
    ) -> impl Future<Output = Result<Option<(Self, Option<Reservation>)>, Problem>>;
}

/// No body is read; what comes is passed over.
#[derive(Debug, Clone, Copy)]
pub struct NoBody;

impl RequestBody for NoBody {
    async fn read(
        _: &HttpRequest,
        _: Payload,
        _: &mut Mistakes,
    ) -> Result<Option<(Self, Option<Reservation>)>, Problem> {
        Ok(Some((Self, None)))
    }
}

/// A body that must be there.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: JsonBody + 'static> RequestBody for Json<T> {
    async fn read(
        request: &HttpRequest,
        payload: Payload,
        mistakes: &mut Mistakes,
    ) -> Result<Option<(Self, Option<Reservation>)>, Problem> {
        let body = read_json(request, payload, T::MAX_BYTES).await?;
        Ok(value_of::<T>(&body, mistakes).map(|value| (Self(value), body.into_room())))
    }
}

/// A body that may be absent.
#[derive(Debug)]
pub struct OptionalJson<T>(pub Option<T>);

impl<T: JsonBody + 'static> RequestBody for OptionalJson<T> {
    async fn read(
        request: &HttpRequest,
        payload: Payload,
        mistakes: &mut Mistakes,
    ) -> Result<Option<(Self, Option<Reservation>)>, Problem> {
        let Some(body) = read_optional_json(request, payload, T::MAX_BYTES).await? else {
            return Ok(Some((Self(None), None)));
        };
        Ok(value_of::<T>(&body, mistakes).map(|value| (Self(Some(value)), body.into_room())))
    }
}

/// A body that is lines of JSON (`application/x-ndjson`), of at most so many bytes and lines; each is read by itself.
#[derive(Debug)]
pub struct Lines<const MAX_BYTES: usize, const MAX_LINES: usize>(pub Bytes);

impl<const MAX_BYTES: usize, const MAX_LINES: usize> RequestBody for Lines<MAX_BYTES, MAX_LINES> {
    async fn read(
        request: &HttpRequest,
        payload: Payload,
        mistakes: &mut Mistakes,
    ) -> Result<Option<(Self, Option<Reservation>)>, Problem> {
        let (bytes, room) = read_lines(request, payload, MAX_BYTES).await?.into_parts();
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
        if (1..=MAX_LINES).contains(&lines) {
            return Ok(Some((Self(bytes), room)));
        }
        let message = format!("must be 1 to {MAX_LINES} lines, not {lines}");
        mistakes.add(Place::Body, "", Mistake::new(MistakeCode::WrongLength, message));
        Ok(None)
    }
}

fn value_of<T: ReadFields>(body: &Body, mistakes: &mut Mistakes) -> Option<T> {
    let wrong = match read_json_object(body) {
        Ok(value) => return Some(value),
        Err(wrong) => wrong,
    };
    mistakes.extend(wrong);
    None
}

/// Reads a JSON object that is a part of a body.
///
/// # Errors
/// All that is wrong with it.
pub fn read_json_object<T: ReadFields>(bytes: &[u8]) -> Result<T, Mistakes> {
    let mut fields = Fields::of_json(bytes)?;
    let value = T::read(&mut fields);
    let mistakes = fields.finish();
    match value {
        Some(value) if mistakes.is_empty() => Ok(value),
        _ => Err(mistakes),
    }
}

impl<P, Q, H, B> FromRequest for Input<P, Q, H, B>
where
    P: PathFields + 'static,
    Q: ReadFields + 'static,
    H: ReadFields + 'static,
    B: RequestBody,
{
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move { Self::read(&request, payload).await })
    }
}

impl<P: PathFields, Q: ReadFields, H: ReadFields, B: RequestBody> Input<P, Q, H, B> {
    async fn read(request: &HttpRequest, payload: Payload) -> Result<Self, Problem> {
        let mut mistakes = Mistakes::default();
        let path: Option<P> = read_part(Fields::of_path(request.match_info()), &mut mistakes);
        let query: Option<Q> = read_part(Fields::of_query(request.query_string()), &mut mistakes);
        let headers: Option<H> = read_part(Fields::of_headers(request.headers()), &mut mistakes);
        let body = B::read(request, payload, &mut mistakes).await?;
        match (path, query, headers, body) {
            (Some(path), Some(query), Some(headers), Some((body, room))) if mistakes.is_empty() => {
                let context = Context::of(request);
                Ok(Self { path, query, headers, body, room, context })
            }
            _ if mistakes.has(Place::Path) => Err(P::not_found().because(mistakes)),
            _ => Err(mistakes.into()),
        }
    }
}

fn read_part<T: ReadFields>(mut fields: Fields<'_>, mistakes: &mut Mistakes) -> Option<T> {
    let part = T::read(&mut fields);
    mistakes.extend(fields.finish());
    part
}

/// The parameters of a request in the API's document.
impl<P: IntoParams, Q: IntoParams, H: IntoParams, B> IntoParams for Input<P, Q, H, B> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut parameters = P::into_params(|| Some(ParameterIn::Path));
        parameters.extend(Q::into_params(|| Some(ParameterIn::Query)));
        parameters.extend(H::into_params(|| Some(ParameterIn::Header)));
        parameters
    }
}
