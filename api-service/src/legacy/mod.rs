//! The older systems' routes, a file each: their clients go on working unchanged.

mod sleep_jobs;

use actix_web::web::ServiceConfig;

/// Adds the routes; after all others, since one matches any single path segment.
pub fn configure(app: &mut ServiceConfig) {
    sleep_jobs::configure(app);
}
