//! A job as a line.

use serde::Serialize;
use shared_events::AttemptSummary;
use utoipa::ToSchema;

use super::super::{Job, view::JobView};

/// A job with all that an import needs: as it is shown, and the attempts of its latest run.
#[derive(Debug, Serialize, ToSchema)]
struct ExportedJob<'a> {
    #[serde(flatten)]
    job: JobView<'a>,
    /// The own id of the schedule that created it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid")]
    schedule_uid: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<Object>)]
    attempts: &'a [AttemptSummary],
}

/// The job as a value of one line.
#[must_use]
pub fn line_of(job: &Job) -> impl Serialize + use<'_> {
    let schedule_uid = job.schedule.as_ref().map(|of| of.uid.to_uuid_1().to_string());
    ExportedJob { job: JobView::from(job), schedule_uid, attempts: &job.attempts }
}
