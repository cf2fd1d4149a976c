//! One connection through the proxy, in both directions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Control;

pub(super) struct Connection {
    number: u64,
    control: Arc<Control>,
    /// A write that is to have no reply was forwarded.
    cut_reply: AtomicBool,
}

impl Connection {
    pub(super) fn new(number: u64, control: Arc<Control>) -> Self {
        Self { number, control, cut_reply: AtomicBool::new(false) }
    }

    pub(super) async fn run(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut server = TcpStream::connect(&self.control.target).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let mut state = self.control.state.subscribe();
        tokio::select! {
            done = self.forward(&mut from_client, &mut to_server, |request| self.passes_request(request)) => done,
            done = self.forward(&mut from_server, &mut to_client, |_| self.passes_reply()) => done,
            _ = state.wait_for(|state| self.number < state.closed_below) => Ok(()),
        }
    }

    /// Until one side ends, or something does not pass.
    async fn forward(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        passes: impl Fn(&[u8]) -> bool,
    ) -> std::io::Result<()> {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let read = from.read(&mut chunk).await?;
            if read == 0 {
                return Ok(());
            }
            if !self.may_forward().await {
                continue;
            }
            if !passes(&chunk[..read]) {
                return Ok(());
            }
            to.write_all(&chunk[..read]).await?;
        }
    }

    /// Remembers a write that is to have no reply; it passes all the same.
    fn passes_request(&self, request: &[u8]) -> bool {
        self.cut_reply.fetch_or(self.is_to_be_cut(request), Ordering::SeqCst);
        true
    }

    /// The reply to such a write ends the connection instead.
    fn passes_reply(&self) -> bool {
        let is_cut = self.cut_reply.load(Ordering::SeqCst);
        if is_cut {
            self.control.replies_cut.fetch_add(1, Ordering::SeqCst);
        }
        !is_cut
    }

    /// Waits while stalled; false where this connection is dead.
    async fn may_forward(&self) -> bool {
        let mut state = self.control.state.subscribe();
        match state.wait_for(|state| !state.stalled).await {
            Ok(state) => self.number >= state.dead_below,
            Err(_) => false,
        }
    }

    fn is_to_be_cut(&self, request: &[u8]) -> bool {
        let left = &self.control.replies_to_cut;
        if left.load(Ordering::SeqCst) == 0 {
            return false;
        }
        let contains = |marker: &str| request.windows(marker.len()).any(|part| part == marker.as_bytes());
        self.control.markers.iter().any(|marker| contains(marker))
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}
