//! A TCP proxy between the services and a server, whose connections can be cut, stalled, black-holed, and cut after
//! a request and before its reply.

mod connection;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use stack::PortLease;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use connection::Connection;

/// See the module. Dropping it closes all its connections.
#[derive(Debug)]
pub struct Proxy {
    scheme: String,
    port: PortLease,
    control: Arc<Control>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Control {
    target: String,
    /// What a request contains that is worth cutting before its reply.
    markers: &'static [&'static str],
    state: watch::Sender<State>,
    next: AtomicU64,
    replies_to_cut: AtomicUsize,
    replies_cut: AtomicUsize,
}

/// Connections are numbered from 0; those below a bound are meant.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    closed_below: u64,
    dead_below: u64,
    stalled: bool,
}

impl Proxy {
    /// Listens, in front of the server with this URL (one host, no user). A request that contains one of the markers is a write.
    pub fn start(url: &str, markers: &'static [&'static str]) -> Result<Self> {
        let (scheme, host) = url.split_once("://").context("a URL has a scheme")?;
        let target = host.split('/').next().unwrap_or_default();
        let port = PortLease::any()?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", port.number()))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let control = Arc::new(Control {
            target: target.to_owned(),
            markers,
            state: watch::Sender::default(),
            next: AtomicU64::new(0),
            replies_to_cut: AtomicUsize::new(0),
            replies_cut: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, control.clone()));
        Ok(Self { scheme: scheme.to_owned(), port, control, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }

    /// The URL by which the server is reached through this.
    pub fn url(&self) -> String {
        // A driver of MongoDB would find out the server's own address otherwise, and go there.
        let more = if self.scheme == "mongodb" { "/?directConnection=true" } else { "" };
        format!("{}://{}{more}", self.scheme, self.address())
    }

    /// Closes all connections there are.
    pub fn cut(&self) {
        let below = self.control.next.load(Ordering::SeqCst);
        self.control.state.send_modify(|state| state.closed_below = below);
    }

    /// Closes a connection after a write was forwarded and before its reply, so many times.
    pub fn cut_before_reply(&self, times: usize) {
        self.control.replies_to_cut.fetch_add(times, Ordering::SeqCst);
    }

    /// How many replies were cut off so far.
    pub fn replies_cut(&self) -> usize {
        self.control.replies_cut.load(Ordering::SeqCst)
    }

    /// Forwards nothing, until `stall(false)`.
    pub fn stall(&self, stalled: bool) {
        self.control.state.send_modify(|state| state.stalled = stalled);
    }

    /// What comes on the connections there are goes nowhere from now on.
    pub fn black_hole(&self) {
        let below = self.control.next.load(Ordering::SeqCst);
        self.control.state.send_modify(|state| state.dead_below = below);
    }

    /// Forwards everything again; what was dead is closed.
    pub fn restore(&self) {
        self.control.replies_to_cut.store(0, Ordering::SeqCst);
        self.control.state.send_modify(|state| {
            state.stalled = false;
            state.closed_below = state.closed_below.max(state.dead_below);
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.control.state.send_modify(|state| state.closed_below = u64::MAX);
    }
}

async fn accept(listener: TcpListener, control: Arc<Control>) {
    while let Ok((client, _)) = listener.accept().await {
        let number = control.next.fetch_add(1, Ordering::SeqCst);
        let control = control.clone();
        tokio::spawn(async move {
            // A broken connection is what this is for.
            let _ = Connection::new(number, control).run(client).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    /// A server that answers each chunk with itself; the proxy in front of it, and a client.
    async fn echo() -> (Proxy, TcpStream) {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("echo://{}", server.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = server.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await.map(drop)
                });
            }
        });
        let proxy = Proxy::start(&url, &["write"]).unwrap();
        let client = TcpStream::connect(proxy.address()).await.unwrap();
        (proxy, client)
    }

    async fn ask(client: &mut TcpStream, text: &str) -> String {
        client.write_all(text.as_bytes()).await.unwrap();
        let mut answer = [0; 64];
        let read = client.read(&mut answer).await.unwrap_or(0);
        String::from_utf8_lossy(&answer[..read]).into_owned()
    }

    #[tokio::test]
    async fn it_forwards_and_cuts() {
        let (proxy, mut client) = echo().await;
        assert_eq!(ask(&mut client, "hello").await, "hello");
        proxy.cut();
        assert_eq!(client.read(&mut [0; 8]).await.unwrap_or(0), 0);
        let mut next = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut next, "again").await, "again");
    }

    #[tokio::test]
    async fn a_write_is_forwarded_and_its_reply_is_not() {
        let (proxy, mut client) = echo().await;
        proxy.cut_before_reply(1);
        assert_eq!(ask(&mut client, "read").await, "read");
        assert_eq!(ask(&mut client, "a write").await, "");
        assert_eq!(proxy.replies_cut(), 1);
    }

    #[tokio::test]
    async fn what_is_stalled_comes_late_and_what_is_dead_never() {
        let (proxy, mut client) = echo().await;
        assert_eq!(ask(&mut client, "hello").await, "hello");
        proxy.stall(true);
        let late = tokio::time::timeout(Duration::from_millis(50), ask(&mut client, "late")).await;
        assert!(late.is_err());
        proxy.stall(false);
        let mut answer = [0; 8];
        let read = client.read(&mut answer).await.unwrap();
        assert_eq!(&answer[..read], b"late");
        proxy.black_hole();
        let dead = tokio::time::timeout(Duration::from_millis(50), ask(&mut client, "dead")).await;
        assert!(dead.is_err());
        proxy.restore();
        assert_eq!(client.read(&mut answer).await.unwrap_or(0), 0);
    }
}
