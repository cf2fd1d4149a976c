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

    pub(super) async fn carry(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut server = TcpStream::connect(&self.control.target).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let mut state = self.control.state.subscribe();
        tokio::select! {
            done = self.requests(&mut from_client, &mut to_server) => done,
            done = self.replies(&mut from_server, &mut to_client) => done,
            _ = state.wait_for(|state| self.number < state.closed_below) => Ok(()),
        }
    }

    async fn requests(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
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
            if self.is_to_be_cut(&chunk[..read]) {
                self.cut_reply.store(true, Ordering::SeqCst);
            }
            to.write_all(&chunk[..read]).await?;
        }
    }

    async fn replies(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> std::io::Result<()> {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let read = from.read(&mut chunk).await?;
            if read == 0 {
                return Ok(());
            }
            if self.cut_reply.load(Ordering::SeqCst) {
                self.control.replies_cut.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
            if self.may_forward().await {
                to.write_all(&chunk[..read]).await?;
            }
        }
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
