//! Users: who the clients' own users are. A user's document is all there is: no event is sent about it, and no job knows it.
//!
//! Whoever reads a user may be answered by a secondary of the replica set; whatever decides something is asked of the
//! primary ([`service_kit::mongo::Freshness`]).

mod errors;
mod filter;
mod model;
mod problems;
mod profile;
mod requests;
mod routes;
mod service;
mod store;
mod view;

pub use errors::UserError;
pub use model::{BadUserId, User, UserId};
pub use problems::PROBLEM_TYPES;
pub use profile::{BadEmail, Email, Group, Name, Profile, ProfileChange};
pub use routes::configure;
pub use service::{Created, Users};
pub use store::{USERS, UserStore};
