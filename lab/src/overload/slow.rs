//! Clients that hold a connection as long as they are let: half of them send a byte of their request a second, the others
//! read a byte a second of a long answer.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

const PACE: Duration = Duration::from_secs(1);

/// How often slow clients were cut off, and came again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CutOff {
    pub(super) writers: usize,
    pub(super) readers: usize,
}

/// Starts so many of each; they end, and say how often they were cut off, when told to stop.
pub(super) fn start(
    address: SocketAddr,
    clients: usize,
    stop: &CancellationToken,
) -> impl Future<Output = Result<CutOff, JoinError>> + use<> {
    let mut all = JoinSet::new();
    for _ in 0..clients {
        let (writing, reading) = (stop.clone(), stop.clone());
        all.spawn(async move { CutOff { writers: again(&writing, || write(address)).await, readers: 0 } });
        all.spawn(async move { CutOff { writers: 0, readers: again(&reading, || read(address)).await } });
    }
    async move {
        let mut sum = CutOff::default();
        while let Some(one) = all.join_next().await {
            let CutOff { writers, readers } = one?;
            sum = CutOff { writers: sum.writers + writers, readers: sum.readers + readers };
        }
        Ok(sum)
    }
}

/// Does it again and again until told to stop; how often.
async fn again<F: Future<Output = Result<()>>>(stop: &CancellationToken, act: impl Fn() -> F) -> usize {
    let mut times = 0;
    while let Some(ended) = stop.run_until_cancelled(act()).await {
        times += 1;
        if ended.is_err() {
            tokio::time::sleep(PACE).await;
        }
    }
    times
}

async fn write(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let head = "POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n";
    for byte in head.bytes().chain(std::iter::repeat(b' ')) {
        stream.write_all(&[byte]).await?;
        tokio::time::sleep(PACE).await;
    }
    Ok(())
}

async fn read(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /v1/jobs?page_size=1000 HTTP/1.1\r\nHost: a\r\n\r\n").await?;
    let mut byte = [0];
    while stream.read(&mut byte).await? > 0 {
        tokio::time::sleep(PACE).await;
    }
    Ok(())
}
