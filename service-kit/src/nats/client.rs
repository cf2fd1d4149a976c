//! Connecting to NATS.

use std::{sync::Arc, time::Duration};

use async_nats::{Client, ConnectOptions, Event, connection::State};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::metrics;

/// How long [`Nats::flush`] waits.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// How to reach NATS.
#[derive(Debug, Clone)]
pub struct NatsSettings {
    /// One or more servers, separated by commas: `nats://host:port`.
    pub url: SecretString,
    /// User, where the server asks for one.
    pub user: Option<String>,
    /// Password of that user.
    pub password: Option<SecretString>,
}

/// A connection that comes back by itself, for ever.
#[derive(Debug, Clone)]
pub struct Nats {
    client: Client,
    connects: watch::Receiver<u64>,
}

/// One of the connections that a [`Nats`] has, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection(u64);

/// The settings make no sense; an absent server is no error.
#[derive(Debug, thiserror::Error)]
#[error("could not use the NATS settings")]
pub struct ConnectError(#[from] async_nats::ConnectError);

impl Nats {
    /// Starts connecting, and returns whether or not a server is there yet. `name` is what the
    /// server's monitoring shows, and the prefix of the connection's inboxes.
    ///
    /// # Errors
    /// [`ConnectError`] for addresses that can not be parsed.
    pub async fn connect(settings: &NatsSettings, name: &str) -> Result<Self, ConnectError> {
        let (connected, connects) = watch::channel(0);
        let connected = Arc::new(connected);
        let options = options(settings, name)
            .client_capacity(8192)
            .subscription_capacity(65_536)
            .read_buffer_capacity(u16::MAX)
            .max_reconnects(None)
            .retry_on_initial_connect()
            .reconnect_delay_callback(reconnect_delay)
            .event_callback(move |event| {
                let connected = Arc::clone(&connected);
                async move { log_event(&event, &connected) }
            });
        let client = options.connect(servers(settings)).await?;
        let counted = client.clone();
        metrics::at_scrape(move || {
            metrics::connected(counted.connection_state() == State::Connected);
            std::future::ready(())
        });
        Ok(Self { client, connects })
    }

    /// A connection that is there now and is not made again, for who asks once; `refused` is told what the server refuses.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn connect_once(
        settings: &NatsSettings,
        name: &str,
        refused: impl Fn(String) + Send + Sync + 'static,
    ) -> Result<Client, async_nats::ConnectError> {
        let refused = Arc::new(refused);
        let options = options(settings, name).max_reconnects(1).event_callback(move |event| {
            let refused = Arc::clone(&refused);
            async move {
                if let Event::ServerError(error) = event {
                    refused(error.to_string());
                }
            }
        });
        options.connect(servers(settings)).await
    }

    /// The client.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Whether a server is connected right now, as far as is known.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// The connection that there is, or was last.
    #[must_use]
    pub fn connection(&self) -> Connection {
        Connection(*self.connects.borrow())
    }

    /// Whether this connection is still there, as far as is known. What is connected after it may be another store,
    /// where an ack of what came before would be taken for that of another message.
    #[must_use]
    pub fn is_still(&self, connection: Connection) -> bool {
        self.is_connected() && self.connection() == connection
    }

    /// Waits until the server has all that was published, before the process exits: for a moment, and not at all
    /// where there is no server, since that would have no end.
    pub async fn flush(&self) {
        if !self.is_connected() {
            return;
        }
        match tokio::time::timeout(FLUSH_TIMEOUT, self.client.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "last messages may not have reached NATS"),
            Err(_) => warn!("last messages may not have reached NATS in time"),
        }
    }

    /// Changes with every new connection: what waited on the old one (pulls) is to be asked again.
    #[must_use]
    pub fn connects(&self) -> watch::Receiver<u64> {
        self.connects.clone()
    }
}

fn options(settings: &NatsSettings, name: &str) -> ConnectOptions {
    let options = ConnectOptions::new()
        .name(name)
        .custom_inbox_prefix(format!("_INBOX_{name}"))
        .ping_interval(Duration::from_secs(5))
        .connection_timeout(Duration::from_secs(5))
        .request_timeout(Some(Duration::from_secs(5)));
    match (&settings.user, &settings.password) {
        (Some(user), Some(password)) => {
            options.user_and_password(user.clone(), password.expose_secret().to_owned())
        }
        _ => options,
    }
}

fn servers(settings: &NatsSettings) -> Vec<&str> {
    settings.url.expose_secret().split(',').map(str::trim).collect()
}

fn log_event(event: &Event, connected: &watch::Sender<u64>) {
    match event {
        Event::Connected => {
            info!("connected to NATS");
            metrics::BROKER_CONNECTS.add([], 1);
            connected.send_modify(|count| *count += 1);
        }
        Event::Disconnected => warn!("connection to NATS lost; reconnecting"),
        Event::SlowConsumer(subscription) => {
            warn!(subscription, "NATS subscription is too slow; messages dropped");
        }
        Event::ServerError(error) => warn!(%error, "NATS server reports an error"),
        Event::ClientError(error) => debug!(%error, "NATS client reports an error"),
        other => debug!(event = %other, "NATS connection event"),
    }
}

/// At once, then with growing pauses up to two seconds, half of each at random, so that a fleet
/// does not knock all at the same instant.
fn reconnect_delay(attempts: usize) -> Duration {
    if attempts <= 1 {
        return Duration::ZERO;
    }
    let exponent = u32::try_from(attempts.min(6)).unwrap_or(6);
    let whole = Duration::from_millis(25 * 2_u64.pow(exponent)).min(Duration::from_secs(2));
    whole.mul_f64(rand::random_range(0.5..1.0))
}
