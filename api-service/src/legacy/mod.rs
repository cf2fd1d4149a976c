//! The older systems' routes, a file each: their clients go on working unchanged.

mod sleep_jobs;

use utoipa_actix_web::service_config::ServiceConfig;

/// Adds the routes; after all others, since one matches any single path segment.
pub fn configure(app: &mut ServiceConfig<'_>) {
    sleep_jobs::configure(app);
}
