//! The spans of claims and attempts.

use service_kit::telemetry::traces::{self, Begun, KeyValue, Live, TARGET};
use shared_events::{Envelope, JobCreated, RunId, TraceContext};
use tracing::info_span;

use crate::{
    ledger::{AttemptEnd, Run},
    traces::{PROCESS_CREATED, of_id, of_run},
};

/// The span of an announcement that is claimed.
pub(super) struct ClaimSpan {
    context: TraceContext,
    parent: Option<TraceContext>,
    begun: Begun,
    run: RunId,
    attributes: Vec<KeyValue>,
}

impl ClaimSpan {
    /// Begins it; none where it is not recorded.
    pub(super) fn begin(announced: &Envelope<JobCreated>) -> Option<Self> {
        let begun = traces::begin()?;
        let created = &announced.data;
        let subject = shared_events::subjects::created(&created.queue, created.priority);
        Some(Self {
            context: traces::beneath(announced.traceparent)?,
            parent: announced.traceparent,
            begun,
            run: created.run_id(),
            attributes: vec![
                KeyValue::new("messaging.destination.name", subject),
                KeyValue::new("messaging.message.id", announced.id.clone()),
                KeyValue::new("job.kind", created.kind.to_string()),
            ],
        })
    }

    /// What the claim is beneath.
    pub(super) const fn context(&self) -> TraceContext {
        self.context
    }

    /// Ends it; failed where there is a reason.
    pub(super) fn end(self, why: Option<String>) {
        let Self { context, parent, begun, run, attributes } = self;
        let span = PROCESS_CREATED.span(context, parent, begun).with(of_id(run)).with(attributes);
        span.failed(why).record();
    }
}

/// The span of an attempt, beneath what announced the run; none where it is not recorded.
pub(super) fn attempt(run: &Run) -> Option<Live> {
    let live = Live::begin(run.trace, || {
        let name = format!("attempt {}", run.kind);
        info_span!(target: TARGET, "attempt", otel.name = name, job.kind = %run.kind)
    })?;
    live.tell(of_run(run));
    Some(live)
}

/// Ends it. Whoever comes after it is beneath it.
pub(super) fn end_attempt(live: Live, end: Option<&AttemptEnd>) {
    let (outcome, error) = match end {
        Some(AttemptEnd::Finished(_)) => ("finished", None),
        Some(AttemptEnd::Failed(error, _)) => ("failed", Some(error.code.clone())),
        Some(AttemptEnd::Cancelled(reason, _)) => ("cancelled", Some(reason.as_str().to_owned())),
        Some(AttemptEnd::Retry(error, ..)) => ("retry", Some(error.code.clone())),
        Some(AttemptEnd::UnknownKind(error, _)) => ("released", Some(error.code.clone())),
        Some(AttemptEnd::Released) => ("released", None),
        None => ("superseded", None),
    };
    let is_error = matches!(outcome, "failed" | "retry");
    let kind = error.clone().map(|error| KeyValue::new("error.type", error));
    live.tell([KeyValue::new("outcome", outcome)].into_iter().chain(kind));
    live.end(error.filter(|_| is_error));
}
