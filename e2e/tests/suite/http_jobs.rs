//! Jobs of kind `http`: what is sent, what becomes of answers, and where they may not go.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use e2e::{App, NewJob, Shared, Status};
use serde_json::{Value, json};
use stack::Stack;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Workers that may go to this machine.
static ALLOWED: Shared = Shared::new(|| Stack::builder().api(1).workers(1).env("HTTP_ALLOW", "127.0.0.1"));

/// A server that gives these answers, one a request, and keeps what was sent.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let mut answers: VecDeque<String> = answers.iter().map(|&answer| answer.to_owned()).collect();
        let kept = requests.clone();
        tokio::spawn(async move {
            while let Some(answer) = answers.pop_front() {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = read(&mut stream).await;
                kept.lock().unwrap().push(request);
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// A request with a body as long as it says.
async fn read(stream: &mut tokio::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = header(head, "content-length").map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "it breaks off after {text:?}");
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn http(payload: Value) -> NewJob {
    NewJob::of_kind("http").payload(payload)
}

#[tokio::test]
async fn a_request_goes_out_with_the_runs_id_and_the_answer_is_the_result() {
    let app = ALLOWED.app().await;
    let server = Server::start(&[&answer("201 Created\r\nX-Order: 4711", "made")]).await;
    let payload = json!({
        "method": "PUT", "url": server.url, "headers": { "X-Own": "yes" }, "body": "{\"order\":4711}",
    });
    let job = app.ended(&app.create(&http(payload)).await).await;
    assert_eq!(job.status, Status::Finished, "{job:?}");
    let result = job.result.clone().unwrap();
    let seen = (&result["status"], &result["body"], &result["body_cut"], &result["headers"]["x-order"]);
    assert_eq!(seen, (&json!(201), &json!("made"), &json!(false), &json!("4711")), "{result}");
    let sent = &server.requests()[0];
    assert!(sent.starts_with("PUT /hook HTTP/1.1\r\n") && sent.ends_with("{\"order\":4711}"), "{sent}");
    assert_eq!(header(sent, "x-own"), Some("yes"), "{sent}");
    assert_eq!(header(sent, "idempotency-key"), Some(format!("{}.1", job.id).as_str()), "{sent}");
    assert!(header(sent, "traceparent").is_some_and(|trace| trace.starts_with("00-")), "{sent}");
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again_when_it_says_and_one_that_refuses_is_not() {
    let app = ALLOWED.app().await;
    let busy = answer("503 Service Unavailable\r\nRetry-After: 0", "later");
    let server = Server::start(&[&busy, &busy, &answer("200 OK", "now")]).await;
    let job = app.ended(&app.create(&http(json!({ "url": server.url }))).await).await;
    assert_eq!((job.status, job.attempt), (Status::Finished, 3));
    let keys: Vec<String> =
        server.requests().iter().map(|sent| header(sent, "idempotency-key").unwrap().to_owned()).collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");

    let server = Server::start(&[&answer("404 Not Found", "nobody here")]).await;
    let job = app.ended(&app.create(&http(json!({ "url": server.url }))).await).await;
    assert_eq!((job.status, job.attempt, job.error_code()), (Status::Failed, 1, Some("http_404")));
    assert_eq!(job.result.unwrap()["body"], "nobody here");

    let server = Server::start(&[&answer("404 Not Found", "")]).await;
    let fine = json!({ "url": server.url, "success_statuses": [200, 404] });
    assert_eq!(app.ended(&app.create(&http(fine)).await).await.status, Status::Finished);
}

#[tokio::test]
async fn nothing_inside_is_reached_unless_it_is_allowed() {
    let app = App::start(Stack::builder().api(1).workers(1)).await;
    let server = Server::start(&[&answer("200 OK", "secret")]).await;
    let port = server.url.rsplit_once(':').unwrap().1;
    for host in ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "0.0.0.0"] {
        let job = app.create(&http(json!({ "url": format!("http://{host}:{port}") }))).await;
        let job = app.ended(&job).await;
        assert_eq!((job.status, job.error_code()), (Status::Failed, Some("http_refused")), "{host}: {job:?}");
    }
    assert_eq!(server.requests(), [""; 0]);
    let wrong = app.try_create(&http(json!({ "url": "file:///etc/passwd" }))).await.expect(422).problem();
    assert_eq!(wrong.fields(), ["payload.url"]);
}
