//! `/v1/users`.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder, delete, get,
    http::header::{self, HeaderValue},
    patch, post, put,
    web::Data,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use service_kit::mongo::Freshness;
use utoipa_actix_web::service_config::ServiceConfig;

use super::{
    Profile, ProfileChange, User, UserError, UserId, Users,
    filter::{After, Filter, Filtered, ListQuery},
    problems::{ChangeProblems, CreateProblems, DeleteProblems, ReadProblems},
    requests::{KeyHeader, ReadHeaders, UserPath},
    service::Created,
    view::{UserCount, UserList, UserView, tag},
};
use crate::{
    http::{
        Problem, answer,
        etag::{self, ChangeConditions, Conditional},
        freshness::FreshHeader,
        read::{Both, Empty, Input, Json},
        room,
    },
    idempotency::IDEMPOTENT_REPLAYED,
};

/// About how many bytes a user takes in a list: as it is read, and as it is shown.
const USER_BYTES: usize = 3 << 10;

/// What may stand in a path as it is (RFC 3986, section 2.3).
const NOT_IN_PATHS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Adds the routes.
pub fn configure(app: &mut ServiceConfig<'_>) {
    app.service(create_user)
        .service(list_users)
        .service(count_users)
        .service(get_user)
        .service(put_user)
        .service(patch_user)
        .service(delete_user);
}

type CreateUser = Input<Empty, Empty, KeyHeader, Json<Profile>>;

/// Creates a user.
///
/// A 201 says that it is stored, in the journal of a majority of the database's members.
#[utoipa::path(
    tag = "users",
    params(CreateUser),
    request_body(content = Profile),
    responses(
        (status = 201, description = "The user is stored.", body = UserView<'static>, headers(
            ("Location" = String, description = "The user's path."),
            ("ETag" = String, description = "Names this state of the user."),
        )),
        (status = 200, description = "The user that the same request has created before, as it is now.",
            body = UserView<'static>, headers(
            ("Location" = String, description = "The user's path."),
            ("ETag" = String, description = "Names this state of the user."),
            ("Idempotent-Replayed" = String, description = "`true`"),
        )),
        CreateProblems,
    ),
)]
#[post("/v1/users")]
async fn create_user(input: CreateUser, users: Data<Users>) -> Result<HttpResponse, Problem> {
    let created = users.create(input.body.0, input.headers.idempotency_key).await?;
    let (mut answer, user) = match created {
        Created::New(user) => (HttpResponse::Created(), user),
        Created::Before(user) => {
            let mut answer = HttpResponse::Ok();
            answer.insert_header((IDEMPOTENT_REPLAYED, "true"));
            (answer, user)
        }
    };
    say_location(&mut answer, &user.id);
    Ok(etag::json(answer, &UserView::from(&user)))
}

type ListUsers = Input<Empty, ListQuery, FreshHeader>;

/// Lists users.
///
/// By descending id: newest first, except for ids that older clients have chosen. With `name_prefix`, by name. An empty
/// `next_page_token` is the only end.
#[utoipa::path(
    tag = "users",
    params(ListUsers),
    responses((status = 200, description = "A page of users.", body = UserList<'static>)),
)]
#[get("/v1/users")]
async fn list_users(
    input: ListUsers,
    request: HttpRequest,
    users: Data<Users>,
) -> Result<HttpResponse, Problem> {
    let Both(Filtered { filter, after }, shape) = input.query;
    let size = shape.page_size.get() as usize;
    let room = room::for_answer(&request, size * USER_BYTES).await?;
    let page = users.store().page(&filter, after.as_ref(), size, input.headers.freshness()).await?;
    let next = page.next.map(|after: After| filter.token(&after)).unwrap_or_default();
    let unreadable = match page.unreadable {
        0 => String::new(),
        some => format!(",\"unreadable\":{some}"),
    };
    let rest = format!("{unreadable},\"next_page_token\":\"{next}\"");
    let to_json = |user: User| answer::piece(&UserView::from(&user));
    Ok(answer::json_list("users", page.users, to_json, &rest, room))
}

type CountUsers = Input<Empty, Filter, FreshHeader>;

/// Counts users: those that the list has with the same filters.
#[utoipa::path(
    tag = "users",
    params(CountUsers),
    responses((status = 200, description = "How many there are.", body = UserCount)),
)]
#[get("/v1/users/count")]
async fn count_users(input: CountUsers, users: Data<Users>) -> Result<HttpResponse, Problem> {
    let count = users.store().count(&input.query, input.headers.freshness()).await?;
    Ok(HttpResponse::Ok().json(UserCount { count }))
}

type GetUser = Input<UserPath, Empty, ReadHeaders>;

/// Shows a user.
///
/// A secondary of the database may answer, at most ten seconds behind, where the request has no condition and no
/// `Cache-Control: no-cache`. One that finds nothing asks the primary, so that a new user is there at once.
#[utoipa::path(
    tag = "users",
    params(GetUser),
    responses(
        (status = 200, description = "The user.", body = UserView<'static>, headers(
            ("ETag" = String, description = "Names this state of the user, for `If-None-Match` and `If-Match`."),
        )),
        (status = 304, description = "The user is as `If-None-Match` has it.", headers(
            ("ETag" = String, description = "Names this state of the user."),
        )),
        ReadProblems,
    ),
)]
#[get("/v1/users/{id}")]
async fn get_user(input: GetUser, users: Data<Users>) -> Result<HttpResponse, Problem> {
    let Both(Both(conditional, if_match), fresh) = input.headers;
    let is_conditional = conditional.if_none_match.is_some() || if_match.if_match.is_some();
    let freshness = if is_conditional { Freshness::Latest } else { fresh.freshness() };
    let user = users.get(&input.path.id, freshness).await?;
    if if_match.if_match.is_some_and(|tags| !tags.has(&tag(&user))) {
        return Err(UserError::ConditionFailed.into());
    }
    Ok(Conditional::of(conditional).json(HttpResponse::Ok(), &UserView::from(&user), None))
}

type PutUser = Input<UserPath, Empty, ChangeConditions, Json<Profile>>;

/// Replaces a user; with `If-None-Match: *`, creates one under this id.
#[utoipa::path(
    tag = "users",
    params(PutUser),
    request_body(content = Profile),
    responses(
        (status = 200, description = "The user is as asked for.", body = UserView<'static>, headers(
            ("ETag" = String, description = "Names this state of the user."),
        )),
        (status = 201, description = "The user is stored, where the request has `If-None-Match: *`.",
            body = UserView<'static>, headers(
            ("Location" = String, description = "The user's path."),
            ("ETag" = String, description = "Names this state of the user."),
        )),
        ChangeProblems,
    ),
)]
#[put("/v1/users/{id}")]
async fn put_user(input: PutUser, users: Data<Users>) -> Result<HttpResponse, Problem> {
    let (id, conditions, profile) = (input.path.id, input.headers, input.body.0);
    if conditions.want_nothing_there() && conditions.hold(None) {
        let user = users.create_under(id, profile).await?;
        let mut answer = HttpResponse::Created();
        say_location(&mut answer, &user.id);
        return Ok(etag::json(answer, &UserView::from(&user)));
    }
    let user = users.change(&id, &profile.into(), |user| conditions.hold(Some(&tag(user)))).await?;
    Ok(etag::json(HttpResponse::Ok(), &UserView::from(&user)))
}

type PatchUser = Input<UserPath, Empty, ChangeConditions, Json<ProfileChange>>;

/// Changes some of a user (RFC 7396).
#[utoipa::path(
    tag = "users",
    params(PatchUser),
    request_body(content(
        (ProfileChange = "application/json"),
        (ProfileChange = "application/merge-patch+json"),
    )),
    responses(
        (status = 200, description = "The user is as asked for.", body = UserView<'static>, headers(
            ("ETag" = String, description = "Names this state of the user."),
        )),
        ChangeProblems,
    ),
)]
#[patch("/v1/users/{id}")]
async fn patch_user(input: PatchUser, users: Data<Users>) -> Result<HttpResponse, Problem> {
    let conditions = input.headers;
    let holds = |user: &User| conditions.hold(Some(&tag(user)));
    let user = users.change(&input.path.id, &input.body.0, holds).await?;
    Ok(etag::json(HttpResponse::Ok(), &UserView::from(&user)))
}

/// Deletes a user.
#[utoipa::path(
    tag = "users",
    params(Input<UserPath, Empty, ChangeConditions>),
    responses((status = 204, description = "The user is deleted."), DeleteProblems),
)]
#[delete("/v1/users/{id}")]
async fn delete_user(
    input: Input<UserPath, Empty, ChangeConditions>,
    users: Data<Users>,
) -> Result<HttpResponse, Problem> {
    let conditions = input.headers;
    users.delete(&input.path.id, |user| conditions.hold(Some(&tag(user)))).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn say_location(answer: &mut HttpResponseBuilder, id: &UserId) {
    let path = format!("/v1/users/{}", utf8_percent_encode(id.as_str(), NOT_IN_PATHS));
    if let Ok(path) = HeaderValue::from_str(&path) {
        answer.insert_header((header::LOCATION, path));
    }
}
