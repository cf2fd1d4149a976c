//! Requests byte by byte, as no HTTP library would send them.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer may take: longer than nginx waits for a client that is slow. Whoever has none by then hangs.
const NO_ANSWER: Duration = Duration::from_secs(60);

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct RawAnswer {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in their order.
    pub headers: Vec<(String, String)>,
    /// The body, decoded where it came in chunks.
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Reads the first final answer of what a connection brought; none where it brought none, or not all of it.
    #[must_use]
    pub fn parse(mut bytes: &[u8]) -> Option<Self> {
        loop {
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
            let (head, rest) = (std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 4..]);
            let mut lines = head.split("\r\n");
            let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
            if (100..200).contains(&status) {
                bytes = rest;
                continue;
            }
            let header = |line: &str| {
                let (name, value) = line.split_once(':')?;
                Some((name.to_ascii_lowercase(), value.trim().to_owned()))
            };
            let headers = lines.map(header).collect::<Option<Vec<_>>>()?;
            let mut answer = Self { status, headers, body: Vec::new() };
            answer.body = if answer.header("transfer-encoding") == Some("chunked") {
                without_chunks(rest)?
            } else {
                rest.to_vec()
            };
            return Some(answer);
        }
    }
}

fn without_chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + length)?);
        rest = rest.get(end + 2 + length + 2..)?;
    }
}

/// Whether a client closes its side of the connection after its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It waits. Whoever wants to know the answer's end asks for `Connection: close`.
    Waits,
    /// It closes, which shows that nothing more will come; nginx may do the same then, without an answer.
    Closes,
}

/// Sends these bytes to `address` (`http://host:port`), and nothing after them; all that comes until the other side
/// closes.
///
/// # Errors
/// Where the connection breaks before anything came, or nothing ends it in a minute.
pub async fn exchange(address: &str, request: &[u8], after: After) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address.trim_start_matches("http://")).await?;
    let talk = async {
        let (mut reader, mut writer) = stream.split();
        let mut answer = Vec::new();
        let send = async {
            // A server may answer and close before it has read everything.
            let _ = writer.write_all(request).await;
            if after == After::Closes {
                let _ = writer.shutdown().await;
            }
        };
        let (read, ()) = tokio::join!(reader.read_to_end(&mut answer), send);
        if answer.is_empty() { read.map(|_| answer) } else { Ok(answer) }
    };
    tokio::time::timeout(NO_ANSWER, talk).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The answer to a request that asks for `Connection: close`.
///
/// # Panics
/// Where there is none.
pub async fn ask(address: &str, request: &str) -> RawAnswer {
    let bytes = exchange(address, request.as_bytes(), After::Waits).await;
    let bytes = bytes.unwrap_or_else(|error| panic!("no answer to {request:?}: {error}"));
    RawAnswer::parse(&bytes).unwrap_or_else(|| panic!("{request:?}: {}", String::from_utf8_lossy(&bytes)))
}
