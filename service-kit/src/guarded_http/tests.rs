//! Tricks by which such clients have been led inside, tried on this one. 127.0.0.2 stands for the outside: it is the only
//! address that is allowed.

use std::{
    io,
    net::IpAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

const OUTSIDE: &str = "127.0.0.2";

/// Answers each look-up with the next list; the last one goes on.
#[derive(Default)]
struct Answers {
    lists: Vec<Vec<&'static str>>,
    asked: AtomicUsize,
}

impl Lookup for Answers {
    fn lookup(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let list = &self.lists[asked.min(self.lists.len() - 1)];
        let addresses = list.iter().map(|address| address.parse().unwrap()).collect();
        Box::pin(async move { Ok(addresses) })
    }
}

fn client(lists: Vec<Vec<&'static str>>) -> (GuardedClient, Arc<Answers>) {
    let answers = Arc::new(Answers { lists, ..Answers::default() });
    let client = GuardedClient::with_lookup(OUTSIDE.parse().unwrap(), answers.clone()).unwrap();
    (client, answers)
}

async fn get(client: &GuardedClient, url: &str) -> Result<Answer, HttpError> {
    let url = Url::parse(url).unwrap();
    client.send(Request { method: Method::GET, url, headers: HeaderMap::new(), body: None }).await
}

/// A server on the outside that answers every request so, and says how many came.
async fn serve(answer: String) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((OUTSIDE, 0)).await.unwrap();
    let (port, requests) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = requests.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answer, counted) = (answer.clone(), counted.clone());
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                counted.fetch_add(1, Ordering::Relaxed);
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (port, requests)
}

fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn an_address_in_whatever_form_leads_nowhere_inside() {
    let (client, asked) = client(vec![vec!["127.0.0.1"]]);
    for url in [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://017700000001/",
        "http://0177.0.0.1/",
        "http://127.0.0.1./",
        "http://%31%32%37.0.0.1/",
        "http://１２７.0.0.1/",
        "http://0.0.0.0/",
        "http://0/",
        "http://[::]/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[fe80::1]/",
        "http://[fd00:ec2::254]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://192.168.0.1/",
        "http://172.16.0.1/",
        "http://100.64.0.1/",
        "https://127.0.0.1/",
    ] {
        let refused = get(&client, url).await.unwrap_err();
        assert!(matches!(refused, HttpError::Refused(Refused::Address { .. })), "{url}: {refused}");
    }
    assert_eq!(asked.asked.load(Ordering::Relaxed), 0, "none of them is a name");
    for url in ["http://localhost/", "http://localhost./", "http://inside.example:80/", "http://LOCALHOST/"] {
        let refused = get(&client, url).await.unwrap_err();
        assert!(matches!(refused, HttpError::Refused(Refused::Address { .. })), "{url}: {refused}");
    }
}

#[tokio::test]
async fn other_schemes_and_names_inside_a_url_are_refused() {
    let (client, _) = client(vec![vec![OUTSIDE]]);
    for url in ["file:///etc/passwd", "ftp://127.0.0.2/", "gopher://127.0.0.2/", "data:text/plain,x"] {
        let refused = get(&client, url).await.unwrap_err();
        assert!(matches!(refused, HttpError::Refused(Refused::Scheme(_))), "{url}: {refused}");
    }
    for url in ["http://127.0.0.2@127.0.0.1/", "http://user:secret@127.0.0.2/", "http://:x@127.0.0.2/"] {
        let refused = get(&client, url).await.unwrap_err();
        assert!(matches!(refused, HttpError::Refused(Refused::UserInfo)), "{url}: {refused}");
    }
}

#[tokio::test]
async fn a_name_is_looked_up_once_and_every_address_counts() {
    let (port, requests) = serve(answer("200 OK", "hello")).await;
    let (both, _) = client(vec![vec![OUTSIDE, "127.0.0.1"]]);
    let refused = get(&both, &format!("http://both.example:{port}/")).await.unwrap_err();
    assert!(matches!(refused, HttpError::Refused(Refused::Address { .. })), "{refused}");
    assert_eq!(requests.load(Ordering::Relaxed), 0);

    // The answer changes after the first look-up: what was checked is what is connected to.
    let (changing, answers) = client(vec![vec![OUTSIDE], vec!["127.0.0.1"]]);
    let url = format!("http://changing.example:{port}/");
    let answered = get(&changing, &url).await.unwrap();
    assert_eq!(
        (answered.status, answered.body.as_slice(), answered.is_cut),
        (StatusCode::OK, &b"hello"[..], false)
    );
    assert_eq!((answers.asked.load(Ordering::Relaxed), requests.load(Ordering::Relaxed)), (1, 1));
    let refused = get(&changing, &url).await.unwrap_err();
    assert!(matches!(refused, HttpError::Refused(Refused::Address { .. })), "{refused}");
}

#[tokio::test]
async fn a_redirect_leads_nowhere_inside() {
    for target in ["http://127.0.0.1/", "//127.0.0.1/", "http://0x7f.1/", "http://[::1]/"] {
        let (port, _) = serve(answer(&format!("302 Found\r\nLocation: {target}"), "")).await;
        let (client, _) = client(vec![vec![OUTSIDE], vec!["127.0.0.1"]]);
        let refused = get(&client, &format!("http://outside.example:{port}/")).await.unwrap_err();
        assert!(matches!(refused, HttpError::Refused(Refused::Address { .. })), "{target}: {refused}");
    }
    // Another server is not gone to at all, wherever it is: the request was not meant for it.
    let (other, requests) = serve(answer("200 OK", "")).await;
    for target in [format!("http://other.example:{other}/"), format!("http://outside.example:{other}/")] {
        let (port, _) = serve(answer(&format!("307 Go\r\nLocation: {target}"), "")).await;
        let (client, _) = client(vec![vec![OUTSIDE]]);
        let answered = get(&client, &format!("http://outside.example:{port}/")).await.unwrap();
        assert_eq!((answered.status.as_u16(), answered.headers["location"].as_str()), (307, target.as_str()));
    }
    assert_eq!(requests.load(Ordering::Relaxed), 0);
    let (port, _) = serve(answer("302 Found\r\nLocation: file:///etc/passwd", "")).await;
    let (client, _) = client(vec![vec![OUTSIDE]]);
    let told = get(&client, &format!("http://{OUTSIDE}:{port}/")).await;
    assert!(!matches!(&told, Ok(answer) if answer.status == StatusCode::OK), "{told:?}");
    let (port, requests) = serve(answer("302 Found\r\nLocation: /again", "")).await;
    let endless = get(&client, &format!("http://{OUTSIDE}:{port}/")).await.unwrap_err();
    assert!(matches!(endless, HttpError::Redirects), "{endless}");
    assert_eq!(requests.load(Ordering::Relaxed), REDIRECTS + 1);
}

#[tokio::test]
async fn the_beginning_of_a_body_is_read_and_what_the_headers_say() {
    let head = "503 Busy\r\nRetry-After: 7\r\nX-Twice: a\r\nX-Twice: b";
    let (port, _) = serve(answer(head, &"x".repeat(BODY_BYTES + 1))).await;
    let (client, _) = client(vec![vec![OUTSIDE]]);
    let answered = get(&client, &format!("http://{OUTSIDE}:{port}/")).await.unwrap();
    assert_eq!((answered.body.len(), answered.is_cut), (BODY_BYTES, true));
    assert_eq!(answered.retry_after, Some(Duration::from_secs(7)));
    assert_eq!(answered.headers["x-twice"], "a, b");
}

#[test]
fn a_date_to_try_again_at_is_a_time_from_now() {
    let later = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(3600));
    let left = retry_after(&later).unwrap();
    assert!(left > Duration::from_secs(3590) && left <= Duration::from_secs(3600), "{left:?}");
    assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
    assert_eq!(retry_after("soon"), None);
}
