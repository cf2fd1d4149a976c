//! Log lines over TCP, to whatever gathers them: one JSON object a line.
//!
//! While the receiver is away, slow or hangs, lines wait; what finds no room is dropped and counted. A line that was cut off by
//! the end of a connection is sent again whole. TCP does not say what the receiver has read: what was under way when a
//! connection ends may be lost.

mod link;
mod sender;

use std::{fmt, str::FromStr, sync::Arc, thread};

use rustls::ClientConfig;

use super::{lines::keep_out_of_queues, queue::Queue};
use sender::Sender;

/// Where lines go: `host:port`, or `tls://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    host: String,
    port: u16,
    tls: bool,
}

impl Receiver {
    /// Whether lines go by TLS.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls
    }
}

impl FromStr for Receiver {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "must be host:port or tls://host:port";
        let (tls, rest) = match text.split_once("://") {
            Some(("tls", rest)) => (true, rest),
            Some(("tcp", rest)) => (false, rest),
            Some(_) => return Err(WRONG),
            None => (false, text),
        };
        let (host, port) = rest.rsplit_once(':').ok_or(WRONG)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().map_err(|_| WRONG)?;
        let is_host = |letter: char| letter.is_ascii_alphanumeric() || ".-_:".contains(letter);
        if host.is_empty() || port == 0 || !host.chars().all(is_host) {
            return Err(WRONG);
        }
        Ok(Self { host: host.to_owned(), port, tls })
    }
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "tls" } else { "tcp" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)
    }
}

/// Starts the thread that sends, by TLS where there is a configuration for it.
///
/// # Errors
/// Where the system has no thread for it.
pub(super) fn start(
    to: Receiver,
    tls: Option<Arc<ClientConfig>>,
    max_bytes: usize,
) -> anyhow::Result<Arc<Queue>> {
    let queue = Arc::new(Queue::new("tcp", max_bytes));
    let taken = Arc::clone(&queue);
    thread::Builder::new().name("log-tcp".to_owned()).spawn(move || {
        keep_out_of_queues();
        Sender::new(Arc::clone(&taken), to, tls).run();
        taken.has_ended();
    })?;
    Ok(queue)
}

#[cfg(test)]
mod tests;
