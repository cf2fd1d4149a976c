//! The problems of users, for clients.

use super::UserError;
use crate::{
    http::{Problem, ProblemType, problem::types::PRECONDITION_FAILED, route_problems},
    idempotency::IDEMPOTENCY_KEY_REUSED,
};

/// 404.
pub(super) const USER_NOT_FOUND: ProblemType = ProblemType {
    code: "user_not_found",
    status: 404,
    title: "There is no such user",
    meaning: "No user has this id: it never existed, or was deleted.",
    remedy: "Look the user up in the list, `GET /v1/users`.",
};

/// 409.
pub(super) const EMAIL_TAKEN: ProblemType = ProblemType {
    code: "email_taken",
    status: 409,
    title: "Another user has this email",
    meaning: "The user `user_id` has this email, in this or another case. Nothing was changed.",
    remedy: "Use that user, or another email.",
};

/// 410.
pub(super) const USER_GONE: ProblemType = ProblemType {
    code: "user_gone",
    status: 410,
    title: "The user that was created under this Idempotency-Key is gone",
    meaning: "The same request has created a user before, `user_id`, who was deleted since.",
    remedy: "The user was asked for once already. To have another one, send another key.",
};

/// All of them that only users have.
pub const PROBLEM_TYPES: &[&ProblemType] = &[&USER_NOT_FOUND, &EMAIL_TAKEN, &USER_GONE];

impl From<UserError> for Problem {
    fn from(error: UserError) -> Self {
        match error {
            UserError::NotFound(id) => Self::new(&USER_NOT_FOUND).detail(format!("no user with id: {id}")),
            UserError::ConditionFailed | UserError::Exists(_) => Self::new(&PRECONDITION_FAILED),
            UserError::EmailTaken(holder) => Self::new(&EMAIL_TAKEN).with("user_id", holder),
            UserError::KeyReused(holder) => Self::new(&IDEMPOTENCY_KEY_REUSED).with("user_id", holder),
            UserError::Gone(id) => Self::new(&USER_GONE).with("user_id", id),
            UserError::Contended => Self::unavailable("the user, or its email, changes too quickly"),
            UserError::Store(error) => error.into(),
        }
    }
}

route_problems! {
    /// Creating a user.
    CreateProblems: EMAIL_TAKEN, USER_GONE, IDEMPOTENCY_KEY_REUSED;
    /// Reading a user.
    ReadProblems: USER_NOT_FOUND, PRECONDITION_FAILED;
    /// Changing a user.
    ChangeProblems: USER_NOT_FOUND, EMAIL_TAKEN, PRECONDITION_FAILED;
    /// Deleting a user.
    DeleteProblems: USER_NOT_FOUND, PRECONDITION_FAILED;
}
