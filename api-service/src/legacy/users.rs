//! The older user store's routes, whose clients go on working: `/api/user`. Their users are the same as those of `/v1/users`.

use actix_web::{
    HttpRequest, HttpResponse, delete, get, post, put,
    web::{Data, Payload},
};
use serde::Serialize;
use service_kit::mongo::Freshness;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::Message;
use crate::{
    http::{
        Mistakes, Problem,
        read::{Fields, Kept, ReadFields},
        read_body,
    },
    users::{Created, Email, Group, Name, Profile, ProfileChange, User, UserError, UserId, Users},
};

const MAX_BODY: usize = 64 * 1024;

/// Adds the routes.
pub(super) fn configure(app: &mut ServiceConfig<'_>) {
    app.service(create_older_user)
        .service(create_older_user_without_slash)
        .service(change_older_user)
        .service(change_older_user_without_slash)
        .service(get_older_user)
        .service(delete_older_user);
}

/// A user as the older system showed it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OlderUser)]
struct OldView<'a> {
    id: &'a UserId,
    #[schema(inline, value_type = Name)]
    name: &'a str,
    #[schema(inline, value_type = Email)]
    email: &'a str,
    #[schema(inline, value_type = Group)]
    group: u32,
}

impl<'a> From<&'a User> for OldView<'a> {
    fn from(User { id, name, email, group, .. }: &'a User) -> Self {
        Self { id, name, email, group: *group }
    }
}

/// A new user. What else is sent is passed over.
#[derive(Debug, ReadFields, ToSchema)]
#[schema(as = NewOlderUser)]
struct NewUser {
    /// The user's id; a new one where it is absent.
    id: Option<UserId>,
    #[schema(inline)]
    name: Name,
    #[schema(inline)]
    email: Email,
    #[schema(inline)]
    group: Group,
}

/// A change of a user. What is absent stays; what else is sent is passed over.
#[derive(Debug, ReadFields, ToSchema)]
#[schema(as = OlderUserChange)]
struct Change {
    /// Which user.
    id: UserId,
    #[schema(inline, value_type = Name, required = false)]
    name: Option<Kept<Name>>,
    #[schema(inline, value_type = Email, required = false)]
    email: Option<Kept<Email>>,
    #[schema(inline, value_type = Group, required = false)]
    group: Option<Kept<Group>>,
}

/// Which user.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "describes what is read as leniently as the older system did")]
struct UserPath {
    /// The user's id.
    id: String,
}

/// Creates a user as the older system did.
#[utoipa::path(
    tag = "older clients",
    request_body = NewUser,
    responses(
        (status = 201, description = "The user is stored.", body = OldView<'static>),
        (status = 400, description = "A field is missing or wrong.", body = Message<String>),
        (status = 409, description = "There is a user with this id or email.", body = Message<String>),
    ),
    extensions(("x-deprecation" = json!("@1795737600")), ("x-successor" = json!("/v1/users"))),
)]
#[post("/api/user/")]
async fn create_older_user(
    request: HttpRequest,
    users: Data<Users>,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    create(&request, &users, body).await
}

/// Creates a user as the older system did.
#[utoipa::path(
    tag = "older clients",
    request_body = NewUser,
    responses(
        (status = 201, description = "The user is stored.", body = OldView<'static>),
        (status = 400, description = "A field is missing or wrong.", body = Message<String>),
        (status = 409, description = "There is a user with this id or email.", body = Message<String>),
    ),
    extensions(("x-deprecation" = json!("@1795737600")), ("x-successor" = json!("/v1/users"))),
)]
#[post("/api/user")]
async fn create_older_user_without_slash(
    request: HttpRequest,
    users: Data<Users>,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    create(&request, &users, body).await
}

async fn create(request: &HttpRequest, users: &Users, body: Payload) -> Result<HttpResponse, Problem> {
    let body = read_body(request, body.into_inner(), MAX_BODY).await?;
    let NewUser { id, name, email, group } = match read(&body) {
        Ok(new) => new,
        Err(mistakes) => return Ok(bad_request(mistakes)),
    };
    let profile = Profile { name, email, group };
    let created = match id {
        Some(id) => users.create_under(id, profile).await,
        None => users.create(profile, None).await.map(|(Created::New(user) | Created::Before(user))| user),
    };
    match created {
        Ok(user) => Ok(HttpResponse::Created().json(OldView::from(&user))),
        Err(error) => refused(error),
    }
}

/// Changes a user as the older system did.
#[utoipa::path(
    tag = "older clients",
    request_body = Change,
    responses(
        (status = 200, description = "The user is as asked for.", body = OldView<'static>),
        (status = 400, description = "A field is missing or wrong.", body = Message<String>),
        (status = 404, description = "There is no such user.", body = Message<String>),
        (status = 409, description = "Another user has this email.", body = Message<String>),
    ),
    extensions(("x-deprecation" = json!("@1795737600")), ("x-successor" = json!("/v1/users"))),
)]
#[put("/api/user/")]
async fn change_older_user(
    request: HttpRequest,
    users: Data<Users>,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    change(&request, &users, body).await
}

/// Changes a user as the older system did.
#[utoipa::path(
    tag = "older clients",
    request_body = Change,
    responses(
        (status = 200, description = "The user is as asked for.", body = OldView<'static>),
        (status = 400, description = "A field is missing or wrong.", body = Message<String>),
        (status = 404, description = "There is no such user.", body = Message<String>),
        (status = 409, description = "Another user has this email.", body = Message<String>),
    ),
    extensions(("x-deprecation" = json!("@1795737600")), ("x-successor" = json!("/v1/users"))),
)]
#[put("/api/user")]
async fn change_older_user_without_slash(
    request: HttpRequest,
    users: Data<Users>,
    body: Payload,
) -> Result<HttpResponse, Problem> {
    change(&request, &users, body).await
}

async fn change(request: &HttpRequest, users: &Users, body: Payload) -> Result<HttpResponse, Problem> {
    let body = read_body(request, body.into_inner(), MAX_BODY).await?;
    let Change { id, name, email, group } = match read(&body) {
        Ok(change) => change,
        Err(mistakes) => return Ok(bad_request(mistakes)),
    };
    match users.change(&id, &ProfileChange { name, email, group }, |_| true).await {
        Ok(user) => Ok(HttpResponse::Ok().json(OldView::from(&user))),
        Err(error) => refused(error),
    }
}

/// Shows a user as the older system did.
#[utoipa::path(
    tag = "older clients",
    params(UserPath),
    responses(
        (status = 200, description = "The user.", body = OldView<'static>),
        (status = 404, description = "There is no such user.", body = Message<String>),
    ),
    extensions(("x-deprecation" = json!("@1795737600")), ("x-successor" = json!("/v1/users/{id}"))),
)]
#[get("/api/user/{id}")]
async fn get_older_user(request: HttpRequest, users: Data<Users>) -> Result<HttpResponse, Problem> {
    let id = match id(&request) {
        Ok(id) => id,
        Err(text) => return Ok(not_found(&text)),
    };
    match users.get(&id, Freshness::Latest).await {
        Ok(user) => Ok(HttpResponse::Ok().json(OldView::from(&user))),
        Err(error) => refused(error),
    }
}

/// Deletes a user as the older system did.
#[utoipa::path(
    tag = "older clients",
    params(UserPath),
    responses(
        (status = 204, description = "The user is deleted."),
        (status = 404, description = "There is no such user.", body = Message<String>),
    ),
    extensions(("x-deprecation" = json!("@1795737600")), ("x-successor" = json!("/v1/users/{id}"))),
)]
#[delete("/api/user/{id}")]
async fn delete_older_user(request: HttpRequest, users: Data<Users>) -> Result<HttpResponse, Problem> {
    let id = match id(&request) {
        Ok(id) => id,
        Err(text) => return Ok(not_found(&text)),
    };
    match users.delete(&id, |_| true).await {
        Ok(()) => Ok(HttpResponse::NoContent().finish()),
        Err(error) => refused(error),
    }
}

/// The path's id, or its text where that is none.
fn id(request: &HttpRequest) -> Result<UserId, String> {
    let text = request.match_info().get("id").unwrap_or_default();
    text.parse().map_err(|_| text.to_owned())
}

/// Reads an object's fields, and passes over those that nobody knows.
fn read<T: ReadFields>(body: &[u8]) -> Result<T, Mistakes> {
    let mut fields = Fields::of_json(body)?;
    let read = T::read(&mut fields);
    read.ok_or_else(|| fields.finish())
}

/// Says what was wrong first.
fn bad_request(mistakes: Mistakes) -> HttpResponse {
    let (errors, _, malformed) = mistakes.into_parts();
    let message = match (malformed, errors.into_iter().next()) {
        (Some(why), _) => why,
        (None, Some(error)) => format!("{} {}", error.field, error.message),
        (None, None) => "the body is not valid".to_owned(),
    };
    HttpResponse::BadRequest().json(Message { message })
}

fn not_found(id: &str) -> HttpResponse {
    HttpResponse::NotFound().json(Message { message: format!("no user with id: {id}") })
}

/// What went wrong, in the older system's form where it is the request's own.
fn refused(error: UserError) -> Result<HttpResponse, Problem> {
    let conflict = |message: String| Ok(HttpResponse::Conflict().json(Message { message }));
    match error {
        UserError::NotFound(id) => Ok(not_found(id.as_str())),
        UserError::Exists(id) => conflict(format!("there is a user with id: {id}")),
        UserError::EmailTaken(id) => conflict(format!("user {id} has this email")),
        error => Err(error.into()),
    }
}
