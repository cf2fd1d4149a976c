//! What is done for many jobs at once: one span for the whole, and one in each job's trace, linked to each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use e2e::{App, NewJob, Status};
use futures::future::join_all;
use stack::{
    poll,
    traces::{Receiver, Span, tree},
};

use super::{CLIENT, SOON, WHOLE, create, new_trace, shape, small, whole};

/// What is shared, as long as there is enough to do.
const SHARED: [&str; 5] = ["insert jobs", "insert runs", "process JOB_EVENTS", "update jobs", "update runs"];

#[tokio::test]
async fn many_jobs_that_share_a_write_have_it_in_each_of_their_traces_linked_to_the_whole() {
    let receiver = Receiver::start().unwrap();
    let app = App::start(small(&receiver)).await;
    let mut traces: Vec<String> = Vec::new();
    let begun = Instant::now();
    let spans = loop {
        assert!(begun.elapsed() < SOON, "not all of {SHARED:?} were shared by any jobs");
        traces.extend((0..60).map(|_| new_trace()));
        let spans = all_of(&app, &receiver, &traces[traces.len() - 60..]).await;
        let names: BTreeSet<&str> = wholes(&spans, &traces).map(|span| span.name.as_str()).collect();
        if SHARED.iter().all(|name| names.contains(name)) {
            break spans;
        }
    };
    // Each job has all that it would have alone.
    for trace in &traces {
        let own: Vec<Span> = spans.iter().filter(|span| span.trace == *trace).cloned().collect();
        assert_eq!(shape(&own, CLIENT, 0), WHOLE, "{}", tree(&own));
    }
    let by_id: BTreeMap<&str, &Span> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
    for whole in wholes(&spans, &traces) {
        let name = if whole.name.starts_with("process") {
            "messaging.batch.message_count"
        } else {
            "db.operation.batch.size"
        };
        assert_eq!(whole.attribute(name), whole.links.len().to_string(), "{whole:?}");
        for (trace, id) in &whole.links {
            let member = by_id[id.as_str()];
            assert_eq!(
                (&member.trace, &member.links),
                (trace, &vec![(whole.trace.clone(), whole.id.clone())])
            );
            assert_eq!((member.begun_ns, member.ended_ns), (whole.begun_ns, whole.ended_ns));
        }
    }
    // What is alone has no whole, and all others are linked to theirs.
    for linked in spans.iter().filter(|span| traces.contains(&span.trace) && !span.links.is_empty()) {
        let whole = by_id[linked.links[0].1.as_str()];
        assert!(whole.links.contains(&(linked.trace.clone(), linked.id.clone())), "{linked:?}");
    }
    // The step of a whole is beneath it.
    for update in
        spans.iter().filter(|span| span.name == "update jobs").filter(|span| is_whole(span, &traces))
    {
        let parent = by_id[update.parent.as_deref().unwrap()];
        assert_eq!((parent.name.as_str(), &parent.trace), ("process JOB_EVENTS", &update.trace));
    }
}

/// The span of a group.
fn is_whole(span: &Span, traces: &[String]) -> bool {
    !traces.contains(&span.trace) && span.links.len() > 1
}

fn wholes<'a>(spans: &'a [Span], traces: &[String]) -> impl Iterator<Item = &'a Span> {
    spans.iter().filter(|span| is_whole(span, traces))
}

/// All spans, once a job in each of these traces has ended and that is told.
async fn all_of(app: &App, receiver: &Receiver, traces: &[String]) -> Vec<Span> {
    let job = NewJob::noop();
    let created = join_all(traces.iter().map(|trace| create(app, trace, "01", &job))).await;
    for job in app.all_ended(&created).await {
        assert_eq!(job.status, Status::Finished, "{job:?}");
    }
    join_all(traces.iter().map(|trace| whole(receiver, trace, &["update jobs"]))).await;
    let look = || async {
        let spans = receiver.spans();
        let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
        let missing = spans.iter().flat_map(|span| &span.links).find(|(_, id)| !ids.contains(id.as_str()));
        if missing.is_none() { Ok(spans) } else { Err(format!("{missing:?}")) }
    };
    poll::until("what is linked to", SOON, look).await.unwrap_or_else(|error| panic!("{error}"))
}
