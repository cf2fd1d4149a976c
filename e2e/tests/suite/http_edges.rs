//! Slow and broken clients, pages of other origins, compression.

use std::time::Duration;

use bson::doc;
use e2e::{App, NewJob, Shared, Status, raw};
use reqwest::Method;
use stack::Stack;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

static STACK: Shared =
    Shared::new(|| Stack::builder().api(1).workers(1).env("CORS_ORIGINS", "https://board.example"));

/// A connection to the replica itself, past nginx, which would wait for the whole body first.
async fn connect(app: &App) -> TcpStream {
    let address = app.stack().api(0).url().trim_start_matches("http://").to_owned();
    TcpStream::connect(address).await.expect("the replica listens")
}

const HALF_A_REQUEST: &str = "POST /v1/jobs HTTP/1.1\r\nHost: hasty\r\nContent-Type: application/json\r\n\
    Content-Length: 100\r\n\r\n{\"kind\":\"noop\",\"queue\":\"half\"";

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up_and_holds_nobody_up() {
    let app = STACK.app().await;
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut client = connect(&app).await;
        client.write_all(HALF_A_REQUEST.as_bytes()).await.expect("it can be sent");
        slow.push(client);
    }
    let job = app.create(&NewJob::noop()).await;
    assert_eq!(app.ended(&job).await.status, Status::Finished);
    for mut client in slow {
        let mut answer = vec![0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(60), client.read(&mut answer)).await;
        let length = read.expect("an answer in time").expect("an answer");
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    assert_eq!(app.stored_jobs(doc! { "queue": "half" }).await, 0);
}

#[tokio::test]
async fn a_create_whose_client_goes_away_is_stored_whole_or_not_at_all() {
    let app = STACK.app().await;
    let body = r#"{"kind":"noop","queue":"gone"}"#;
    let head = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: hasty\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    for cut in [head.len() + 5, head.len() + body.len() - 1, head.len() + body.len()] {
        let mut client = connect(&app).await;
        client.write_all(&format!("{head}{body}").as_bytes()[..cut]).await.expect("it can be sent");
        drop(client);
    }
    // The replica answers, and what is there is whole.
    app.create(&NewJob::noop()).await;
    let whole = doc! { "queue": "gone", "kind": "noop", "status": { "$exists": true } };
    assert_eq!(app.stored_jobs(doc! { "queue": "gone" }).await, app.stored_jobs(whole).await);
}

#[tokio::test]
async fn pages_of_other_origins_are_let_in_where_that_is_set() {
    let app = STACK.app().await;
    let asks = |origin: &str| {
        let asks = app.request(Method::OPTIONS, "/v1/jobs").header("Origin", origin);
        asks.header("Access-Control-Request-Method", "POST")
    };
    let known = app.send(asks("https://board.example")).await;
    assert_eq!(known.header("access-control-allow-origin"), Some("https://board.example"));
    let stranger = app.send(asks("https://elsewhere.example")).await;
    assert_eq!(stranger.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn a_page_elsewhere_changes_nothing() {
    let app = STACK.app().await;
    let (own, foreign) = (app.stack().url(), "https://elsewhere.example");
    let page = NewJob::noop().queue("pages");
    let job = app.create(&page).await;
    let ended = app.create(&NewJob::noop()).await;
    app.ended(&ended).await;
    let (of_job, of_ended) =
        (|end: &str| format!("/v1/jobs/{}{end}", job.id), |end: &str| format!("/v1/jobs/{}{end}", ended.id));
    for (name, value) in [("origin", foreign), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        for (method, path) in [
            (Method::POST, "/v1/jobs".to_owned()),
            (Method::POST, "/v1/jobs/batch".to_owned()),
            (Method::POST, "/v1/jobs/cancel?queue=pages".to_owned()),
            (Method::POST, "/v1/jobs/retry?status=finished".to_owned()),
            (Method::POST, of_job("/cancel")),
            (Method::POST, of_ended("/retry")),
            (Method::DELETE, of_ended("")),
            (Method::POST, "/".to_owned()),
        ] {
            let asked = app.request(method, &path).header(name, value).header("content-type", "text/plain");
            let answer = app.send(asked.body(r#"{"kind":"noop","object_id":"page"}"#)).await.expect(403);
            assert_eq!(answer.problem().code, "cross_site", "{name}: {value} {path}");
        }
        // Reading is left to the browser, which does not show the answer to the page.
        app.send(app.request(Method::GET, "/v1/jobs").header(name, value)).await.expect(200);
    }
    assert_eq!((app.job(&job).await, app.job(&ended).await.run), (job, 1));
    assert_eq!(app.stored_jobs(doc! { "object_id": "page" }).await, 0);

    for (origin, site) in [(own, "same-origin"), ("https://board.example", "cross-site")] {
        let asked =
            app.request(Method::POST, "/v1/jobs").header("origin", origin).header("sec-fetch-site", site);
        app.send(asked.json(&page)).await.expect(201);
    }
}

#[tokio::test]
async fn only_hosts_that_are_named_are_served() {
    let app =
        App::start(Stack::builder().api(1).workers(0).env("ALLOWED_HOSTS", "hasty.example, localhost:8080"))
            .await;
    let asks = async |address: &str, path: &str, host: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = raw::ask(address, &head).await;
        (answer.status, answer.json().expect("JSON")["code"].as_str().map(str::to_owned))
    };
    let misdirected = (421, Some("misdirected_request".to_owned()));
    for address in [app.stack().url(), app.stack().api(0).url()] {
        for host in ["hasty.example", "HASTY.example:9000", "localhost:8080"] {
            assert_eq!(asks(address, "/v1/jobs", host).await, (200, None), "{host}");
        }
        for host in
            ["elsewhere.example", "localhost", "localhost:80", "127.0.0.1", "hasty.example.elsewhere.example"]
        {
            assert_eq!(asks(address, "/v1/jobs", host).await, misdirected, "{host}");
        }
        // Probes ask by the replica's own address.
        assert_eq!(asks(address, "/health/ready", "10.0.0.7:8000").await, (200, None));
    }
}

#[tokio::test]
async fn lists_are_compressed_on_their_way_through_nginx() {
    let app = STACK.app().await;
    app.create_many(&NewJob::noop().queue("listed"), 20).await;
    let list = app.request(Method::GET, "/v1/jobs?queue=listed").header("Accept-Encoding", "gzip");
    // Compressed bytes are no text, so only the head is looked at.
    let list = stack::http_client()
        .build()
        .expect("a client")
        .execute(list.build().expect("a request"))
        .await
        .expect("an answer");
    assert_eq!(list.headers().get("content-encoding").and_then(|value| value.to_str().ok()), Some("gzip"));
}
