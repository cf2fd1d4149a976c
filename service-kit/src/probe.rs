//! The `healthcheck` subcommand: asks a service's own health endpoint, for containers without curl.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Asks `GET /health/ready` at `address`.
///
/// # Errors
/// Where there is no answer within two seconds, or it is not 200.
pub async fn ready(address: SocketAddr) -> anyhow::Result<()> {
    let answer = timeout(Duration::from_secs(2), get(address, "/health/ready"))
        .await
        .with_context(|| format!("no answer from {address} within 2 s"))??;
    let status = answer.split_whitespace().nth(1).unwrap_or_default();
    ensure!(status == "200", "{address} is not ready: {}", answer.lines().last().unwrap_or_default());
    Ok(())
}

async fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream =
        TcpStream::connect(address).await.with_context(|| format!("could not connect to {address}"))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
