//! The routes, and what each may answer: the table of `docs/api.md`.

/// A route, or the lack of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Jobs,
    Batch,
    BulkCancel,
    BulkRetry,
    Job,
    Attempts,
    Cancel,
    Retry,
    OldRoot,
    OldJob,
    Live,
    Ready,
    NginxLive,
    /// There is nothing, or nobody can say what was meant.
    Nothing,
}

/// Those that are asked for.
pub(crate) const ROUTES: [Route; 14] = [
    Route::Jobs,
    Route::Batch,
    Route::BulkCancel,
    Route::BulkRetry,
    Route::Job,
    Route::Attempts,
    Route::Cancel,
    Route::Retry,
    Route::OldRoot,
    Route::OldJob,
    Route::Live,
    Route::Ready,
    Route::NginxLive,
    Route::Nothing,
];

impl Route {
    /// The path; `id` where one has its place in it.
    pub(crate) fn path(self, id: &str) -> String {
        match self {
            Self::Jobs => "/v1/jobs".into(),
            Self::Batch => "/v1/jobs/batch".into(),
            Self::BulkCancel => "/v1/jobs/cancel".into(),
            Self::BulkRetry => "/v1/jobs/retry".into(),
            Self::Job => format!("/v1/jobs/{id}"),
            Self::Attempts => format!("/v1/jobs/{id}/attempts"),
            Self::Cancel => format!("/v1/jobs/{id}/cancel"),
            Self::Retry => format!("/v1/jobs/{id}/retry"),
            Self::OldRoot => "/".into(),
            Self::OldJob => format!("/{id}"),
            Self::Live => "/health/live".into(),
            Self::Ready => "/health/ready".into(),
            Self::NginxLive => "/nginx/live".into(),
            Self::Nothing => format!("/v1/nothing/{id}"),
        }
    }

    /// Its methods, besides OPTIONS.
    pub(crate) const fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Jobs => &["GET", "HEAD", "POST"],
            Self::Batch | Self::BulkCancel | Self::BulkRetry | Self::Cancel | Self::Retry | Self::OldRoot => {
                &["POST"]
            }
            Self::Job => &["GET", "HEAD", "DELETE"],
            Self::Attempts | Self::OldJob | Self::Live | Self::Ready => &["GET", "HEAD"],
            Self::NginxLive | Self::Nothing => &[],
        }
    }

    /// What may be answered to an HTTP request whose path is right, while everything is well.
    pub(crate) fn statuses(self, method: &str) -> &'static [u16] {
        match (self, method) {
            // nginx answers this itself.
            (_, "TRACE") => &[405],
            (Self::NginxLive, _) => &[204],
            (Self::Nothing, "GET" | "HEAD" | "OPTIONS") => &[404],
            (Self::Nothing, _) => &[403, 404],
            (_, "OPTIONS") => &[204],
            _ if !self.methods().contains(&method) => &[403, 405],
            (Self::Jobs, "POST") => &[200, 201, 400, 403, 409, 410, 413, 415, 422],
            (Self::Batch | Self::BulkCancel | Self::BulkRetry, _) => &[200, 400, 403, 413, 415, 422],
            (Self::Jobs, _) => &[200, 400],
            (Self::Job, "DELETE") => &[204, 400, 403, 404, 409],
            (Self::Job | Self::Attempts, _) => &[200, 400, 404],
            (Self::Cancel, _) => &[200, 202, 400, 403, 404, 409, 413, 415, 422],
            (Self::Retry, _) => &[202, 400, 403, 404, 409, 413, 415, 422],
            (Self::OldRoot, _) => &[201, 400, 403, 413],
            (Self::OldJob, _) => &[200, 404],
            (Self::Live | Self::Ready, _) => &[200],
        }
    }

    /// Whether its errors may be in the older system's words.
    pub(crate) const fn is_old(self) -> bool {
        matches!(self, Self::OldRoot | Self::OldJob)
    }
}
