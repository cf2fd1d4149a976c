//! A user as HTTP answers show it.

use serde::Serialize;
use shared_events::Timestamp;
use utoipa::ToSchema;

use super::{
    User, UserId,
    profile::{Email, Group, Name},
};
use crate::{http::etag::Tag, jobs::timestamp};

/// A user.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub(super) struct UserView<'a> {
    /// The user's id: a UUID v7, or what an older system's client has chosen.
    id: &'a UserId,
    /// What the user is called.
    #[schema(inline, value_type = Name)]
    name: &'a str,
    /// The user's address, as it was given.
    #[schema(inline, value_type = Email)]
    email: &'a str,
    /// The group that the user is in.
    #[schema(inline, value_type = Group)]
    group: u32,
    /// When it was created.
    created_at: Timestamp,
    /// When it was changed last.
    updated_at: Timestamp,
}

impl<'a> From<&'a User> for UserView<'a> {
    fn from(user: &'a User) -> Self {
        let User { id, name, email, group, created_at, updated_at, .. } = user;
        let (created_at, updated_at) = (timestamp(*created_at), timestamp(*updated_at));
        Self { id, name, email, group: *group, created_at, updated_at }
    }
}

/// The tag of the user's state.
pub(super) fn tag(user: &User) -> Tag {
    Tag::of(&UserView::from(user))
}

/// A page of users.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes what is written piece by piece")]
pub(super) struct UserList<'a> {
    /// The users.
    users: Vec<UserView<'a>>,
    /// How many are left out, since only a newer version can read them.
    unreadable: Option<u32>,
    /// What the next page is asked for with; empty where there is none.
    next_page_token: String,
}

/// How many users there are.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UserCount {
    /// How many.
    pub(super) count: u64,
}
