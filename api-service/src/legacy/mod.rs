//! The older systems' routes, a file each: their clients go on working unchanged.

mod sleep_jobs;
mod work;

use utoipa_actix_web::service_config::ServiceConfig;

pub use work::WorkSettings;

/// Adds the routes; after all others, since one matches any single path segment.
pub fn configure(app: &mut ServiceConfig<'_>) {
    work::configure(app);
    sleep_jobs::configure(app);
}
