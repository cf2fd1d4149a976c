//! Connecting to NATS by a URL that may have a user and a password in it, which the client itself passes over.

use anyhow::{Context, Result};
use async_nats::{Client, ConnectOptions, ServerAddr};

/// Connects to the server with this URL: `stack.nats().url()` is that of an operator, who may do everything.
///
/// # Errors
/// Where the URL makes no sense, or no server answers.
pub async fn connect(url: &str) -> Result<Client> {
    connect_with(url, ConnectOptions::new()).await
}

/// The same with more options.
///
/// # Errors
/// As for [`connect`].
pub async fn connect_with(url: &str, mut options: ConnectOptions) -> Result<Client> {
    let address: ServerAddr = url.parse().context("the URL of NATS can not be parsed")?;
    if let (Some(user), Some(password)) = (address.username(), address.password()) {
        options = options.user_and_password(user.to_owned(), password.to_owned());
    }
    let server = format!("{}:{}", address.host(), address.port());
    options.connect(address).await.with_context(|| format!("could not connect to NATS at {server}"))
}
