//! Logs over TCP and into files, as the services write them.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use e2e::{App, NewJob, Status};
use reqwest::Method;
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};
use serde_json::Value;
use stack::{Node, Stack, poll};
use tokio::net::TcpSocket;

const SOON: Duration = Duration::from_secs(60);

/// Lines that a receiver has got, by all connections together.
#[derive(Debug, Clone, Default)]
struct Received(Arc<Mutex<BTreeSet<String>>>);

impl Received {
    fn read(&self, from: impl Read) {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            self.0.lock().unwrap().insert(line);
        }
    }

    fn lines(&self) -> BTreeSet<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Lines on standard output until the service has stopped, without those about the receiver, which go nowhere else. What
/// libraries say after that may be too late for anywhere else.
fn printed(service: &Node) -> BTreeSet<String> {
    let lines = service.log().lines();
    let last = lines.iter().rposition(|line| line.contains("has stopped")).expect("it has stopped");
    let about_logs = |line: &&String| line.contains(r#""target":"service_kit::telemetry"#);
    lines[..=last].iter().filter(|line| !about_logs(line)).cloned().collect()
}

/// A receiver that TLS has to trust by a file.
fn start_tls(certificate: &rcgen::CertifiedKey<rcgen::KeyPair>, received: Received) -> u16 {
    let key = PrivateKeyDer::Pkcs8(certificate.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.cert.der().clone()], key);
    let config = Arc::new(config.unwrap());
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let received = received.clone();
            thread::spawn(move || received.read(StreamOwned::new(connection, stream)));
        }
    });
    port
}

#[tokio::test]
async fn the_same_lines_go_to_standard_output_over_tls_and_into_files() {
    let folder = tempfile::tempdir().unwrap();
    let (roots, files) = (folder.path().join("roots.pem"), folder.path().join("logs"));
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(&roots, certificate.cert.pem()).unwrap();
    let received = Received::default();
    let port = start_tls(&certificate, received.clone());
    let builder = Stack::builder().api(1).workers(1).env("LOG", "info,job=debug,http=debug");
    let builder = builder.env("LOG_TCP", format!("tls://localhost:{port}")).env("LOG_DIR", files.display());
    let app = App::start(builder.env("SSL_CERT_FILE", roots.display())).await;
    let job = app.create(&NewJob::noop()).await;
    assert_eq!(app.ended_within(&job, SOON).await.status, Status::Finished);

    let mut all = BTreeSet::new();
    for service in [app.stack().api(0), app.stack().worker(0)] {
        assert!(service.terminate().await.unwrap().success());
        let printed = printed(service);
        assert!(printed.iter().any(|line| line.contains(&job.id)), "{printed:?}");
        all.extend(printed);
    }
    // All was sent when the processes ended; here it may be on its way yet.
    let missing = || async {
        let missing = &all - &received.lines();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
    };
    poll::until("all lines to be received", SOON, missing).await.unwrap();
    for line in &all {
        serde_json::from_str::<Value>(line).unwrap();
    }
    let mut written = BTreeSet::new();
    for file in fs::read_dir(&files).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        written.extend(text.lines().map(str::to_owned));
    }
    assert!(written.is_superset(&all), "{:?}", &all - &written);
    assert_eq!(fs::read_dir(&files).unwrap().count(), 2);
}

/// It reads nothing, while more is logged than there is room for. Once it reads, it is told how many lines are missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_slows_no_job() {
    // Little room in the system's own buffers.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(16).unwrap();
    let to = listener.local_addr().unwrap();
    let builder = Stack::builder().api(1).workers(1).env("LOG", "info,job=debug,http=debug");
    let app = App::start(builder.api_env(0, "LOG_TCP", to)).await;
    let api = app.stack().api(0);
    let (stream, _) = listener.accept().await.unwrap();

    // Each makes lines of its own size.
    let (client, long) = (app.replica(0), format!("/{}", "x".repeat(32 * 1024)));
    let logged = || async {
        for _ in 0..20 {
            client.send(client.request(Method::GET, &long)).await.expect(404);
        }
        for job in app.all_ended(&app.create_many(&NewJob::noop(), 5).await).await {
            assert_eq!((job.status, job.attempt), (Status::Finished, 1), "{job:?}");
        }
        // Twice what may wait.
        let bytes = fs::metadata(api.log().path()).unwrap().len();
        if bytes > 20 << 20 { Ok(()) } else { Err(format!("{bytes} bytes")) }
    };
    poll::until("much to be logged", 2 * SOON, logged).await.unwrap();

    let received = Received::default();
    let (stream, reader) = (stream.into_std().unwrap(), received.clone());
    stream.set_nonblocking(false).unwrap();
    thread::spawn(move || reader.read(stream));
    // It may have been given up, and be connected to anew.
    let reader = received.clone();
    let accepts = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (stream, reader) = (stream.into_std().unwrap(), reader.clone());
            stream.set_nonblocking(false).unwrap();
            thread::spawn(move || reader.read(stream));
        }
    });
    let told = || async {
        let lines = received.lines();
        let told = lines.iter().find(|line| line.contains("log lines were dropped"));
        let told = told.and_then(|line| serde_json::from_str::<Value>(line).ok());
        told.and_then(|line| line["dropped"].as_u64()).ok_or(lines.len())
    };
    let dropped = poll::until("it to be told", SOON, told).await.unwrap();
    assert!(dropped > 0);
    accepts.abort();
    let ended = api.terminate().await.unwrap();
    assert!(ended.success(), "{ended}");
}
