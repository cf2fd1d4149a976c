//! What requests about schedules bring.

use shared_events::Timestamp;
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{Rule, ScheduleId, problems::SCHEDULE_NOT_FOUND};
use crate::{
    http::{
        Problem,
        etag::{ConditionalHeader, IfMatchHeader},
        read::{Both, Fields, JsonBody, Mistake, MistakeCode, Number, PathFields, ReadFields},
    },
    idempotency::IdempotencyKey,
};

/// The largest body that has no template, in bytes: room for a mistake that can be named.
const SMALL_BODY: usize = 64 << 10;

/// Which schedule.
#[derive(Debug, ReadFields, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct SchedulePath {
    /// The schedule's id.
    pub(super) id: ScheduleId,
}

impl PathFields for SchedulePath {
    fn not_found() -> Problem {
        Problem::new(&SCHEDULE_NOT_FOUND)
    }
}

/// What a request to have a schedule fire brings in its head.
#[derive(Debug, ReadFields, IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct TriggerHeader {
    /// The same key again creates no second job, for as long as the firing is remembered: 400 days.
    #[param(rename = "Idempotency-Key", example = "deploy-4711")]
    pub(super) idempotency_key: Option<IdempotencyKey>,
}

/// What a request to read a schedule brings in its head.
pub(super) type ReadHeaders = Both<ConditionalHeader, IfMatchHeader>;

/// How many times to come.
type Count = Number<1, 1000>;

/// How many times are asked for.
#[derive(Debug, ReadFields, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CountQuery {
    /// How many times.
    #[param(inline, default = CountQuery::ten)]
    pub(super) count: Count,
    /// After which moment; now where it does not say.
    pub(super) after: Option<Timestamp>,
}

impl CountQuery {
    fn ten() -> Count {
        Count::new::<10>()
    }
}

/// A rule that is not stored.
#[derive(Debug)]
pub(super) struct PreviewBody(pub(super) Rule);

impl ReadFields for PreviewBody {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        Rule::read(fields).map(Self)
    }
}

impl JsonBody for PreviewBody {
    const MAX_BYTES: usize = SMALL_BODY;
}

impl PartialSchema for PreviewBody {
    fn schema() -> RefOr<Schema> {
        Rule::schema()
    }
}

impl ToSchema for PreviewBody {
    fn name() -> std::borrow::Cow<'static, str> {
        "ScheduleRule".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Rule::schemas(schemas);
    }
}

/// A span of time to have a schedule fire for.
#[derive(Debug, ReadFields, ToSchema)]
#[serde(deny_unknown_fields)]
#[read(check = in_order(from, to))]
pub(super) struct Backfill {
    /// Due times from here on; not older than what is remembered of firings (400 days).
    pub(super) from: Timestamp,
    /// And before this, or before now where it is in the future.
    pub(super) to: Timestamp,
}

impl JsonBody for Backfill {
    const MAX_BYTES: usize = SMALL_BODY;
}

fn in_order(from: &Timestamp, to: &Timestamp, fields: &mut Fields<'_>) {
    if to <= from {
        fields.wrong("to", Mistake::new(MistakeCode::Conflict, "must be after from"));
    }
}
