//! Attempts: each has a span, with what its handler does beneath it; all of one job are in its trace.

use std::sync::{Arc, Mutex};

use e2e::{App, NewJob, Status};
use serde_json::json;
use stack::{
    poll,
    traces::{Receiver, tree},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{CLIENT, SOON, create, has, named, new_trace, shape, small, whole};

#[tokio::test]
async fn the_attempts_of_a_job_are_in_one_trace_beneath_what_announced_it() {
    let receiver = Receiver::start().unwrap();
    let builder = small(&receiver).env("WORKER_FAULTS", true).env("RETRY_BASE_S", 0.05);
    let app = App::start(builder).await;
    let trace = new_trace();
    let job = create(&app, &trace, "01", &NewJob::fault(&["retry", "panic", "done"])).await;
    let job = app.ended(&job).await;
    assert_eq!((job.status, job.attempt), (Status::Finished, 3), "{job:?}");
    let spans = whole(&receiver, &trace, &["process job:finished"]).await;
    let [announced] = named(&spans, "send job:created")[..] else { panic!("{}", tree(&spans)) };
    let attempts = named(&spans, "attempt fault");
    for (number, (attempt, (outcome, error))) in
        (1..).zip(attempts.iter().zip([("retry", "planned"), ("retry", "panic"), ("finished", "")]))
    {
        has(attempt, &[("run.attempt", &format!("{number}")), ("outcome", outcome), ("error.type", error)]);
        assert_eq!(attempt.error.as_deref().unwrap_or_default(), error, "{attempt:?}");
        assert_eq!(attempt.parent.as_ref(), Some(&announced.id));
        // A span that the handler has made by itself.
        let beneath = shape(&spans, &attempt.id, 0);
        assert!(beneath.starts_with("pause\n"), "{beneath}");
        assert!(beneath.contains("update runs\n"), "{beneath}");
    }
    assert_eq!(attempts.len(), 3, "{}", tree(&spans));
    assert_eq!(named(&spans, "send job:retrying").len(), 2, "{}", tree(&spans));
    // The second and the third were claimed by changing the run.
    let claimed = spans.iter().filter(|span| {
        span.name == "update runs"
            && span.attribute("run.status") == "running"
            && span.parent.as_ref() == Some(&announced.id)
    });
    let numbers: Vec<&str> = claimed.map(|span| span.attribute("run.attempt")).collect();
    assert_eq!(numbers, ["2", "3"], "{}", tree(&spans));
}

#[tokio::test]
async fn what_a_killed_worker_began_another_goes_on_with_in_the_same_trace() {
    let receiver = Receiver::start().unwrap();
    let builder = small(&receiver).workers(2).env("LEASE_S", 2).env("WORKER_FAULTS", true);
    let app = App::start(builder).await;
    let trace = new_trace();
    let job = create(&app, &trace, "01", &NewJob::hangs_once()).await;
    let running = app.running(&job).await;
    // That it has begun is told; its own span is not there yet, and will never be.
    let look = || async {
        let spans = receiver.trace(&trace);
        let has = |name: &str| !named(&spans, name).is_empty();
        if has("insert runs") && has("process job:started") { Ok(()) } else { Err(tree(&spans)) }
    };
    poll::until("the first attempt", SOON, look).await.unwrap();
    app.stack().worker(app.worker_of(&running)).kill().await.unwrap();

    let job = app.ended(&job).await;
    assert_eq!((job.status, job.attempt), (Status::Finished, 2), "{job:?}");
    let look = || async {
        // What the dead worker has not sent is lost; all else is there.
        let spans = receiver.trace(&trace);
        let has_end = !named(&spans, "process job:finished").is_empty();
        if has_end && !named(&spans, "attempt fault").is_empty() { Ok(spans) } else { Err(tree(&spans)) }
    };
    let spans = poll::until("the second attempt", SOON, look).await.unwrap();
    let [announced] = named(&spans, "send job:created")[..] else { panic!("{}", tree(&spans)) };
    let [attempt] = named(&spans, "attempt fault")[..] else { panic!("{}", tree(&spans)) };
    let (first, second) = (running.worker.as_deref().unwrap(), job.worker.as_deref().unwrap());
    assert_ne!(first, second);
    has(attempt, &[("run.attempt", "2"), ("worker", second), ("outcome", "finished")]);
    assert_eq!(attempt.parent.as_ref(), Some(&announced.id), "{}", tree(&spans));
    let insert = named(&spans, "insert runs")[0];
    has(insert, &[("run.attempt", "1"), ("worker", first)]);
}

/// The span's id of the `traceparent` that goes out is that of the span that is told.
#[tokio::test]
async fn what_a_job_asks_of_others_is_beneath_its_attempt() {
    let receiver = Receiver::start().unwrap();
    let app = App::start(small(&receiver).env("HTTP_ALLOW", "127.0.0.1").env("COMMAND_ALLOW", "sh")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let seen = Arc::<Mutex<String>>::default();
    let keeps = Arc::clone(&seen);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
        }
        *keeps.lock().unwrap() = String::from_utf8(bytes).unwrap();
        stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await.unwrap();
    });
    let trace = new_trace();
    let job = create(&app, &trace, "01", &NewJob::of_kind("http").payload(json!({ "url": url }))).await;
    assert_eq!(app.ended(&job).await.status, Status::Finished);
    let spans = whole(&receiver, &trace, &["GET", "process job:finished"]).await;
    let [asked] = named(&spans, "GET")[..] else { panic!("{}", tree(&spans)) };
    let [attempt] = named(&spans, "attempt http")[..] else { panic!("{}", tree(&spans)) };
    assert_eq!((asked.kind, asked.parent.as_ref()), ("client", Some(&attempt.id)));
    has(asked, &[("http.response.status_code", "204"), ("server.address", "127.0.0.1")]);
    let sent = seen.lock().unwrap().to_lowercase();
    assert!(sent.contains(&format!("traceparent: 00-{trace}-{}-01\r\n", asked.id)), "{sent}");

    let command = json!({ "program": "sh", "args": ["-c", "echo $TRACEPARENT"] });
    let job = create(&app, &trace, "01", &NewJob::of_kind("command").payload(command)).await;
    let ended = app.ended(&job).await;
    let spans = whole(&receiver, &trace, &["attempt command"]).await;
    let attempt = named(&spans, "attempt command")[0];
    let handed_on = format!("00-{trace}-{}-01", attempt.id);
    assert!(format!("{:?}", ended.result).contains(&handed_on), "{handed_on}, {ended:?}");
    assert!(shape(&spans, CLIENT, 0).contains("attempt command"));
}
