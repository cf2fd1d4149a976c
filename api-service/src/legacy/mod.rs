//! The older systems' routes, a file each: their clients go on working unchanged.

mod schedule;
mod schedule_view;
mod sleep_jobs;
mod users;
mod work;

use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

pub use work::WorkSettings;

/// Adds the routes; after all others, since one matches any single path segment.
pub fn configure(app: &mut ServiceConfig<'_>) {
    users::configure(app);
    work::configure(app);
    schedule::configure(app);
    sleep_jobs::configure(app);
}

/// What the older systems said most of their answers in.
#[derive(Serialize, ToSchema)]
struct Message<T> {
    message: T,
}
