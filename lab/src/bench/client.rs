//! One HTTP/1.1 connection that is kept, and no more of HTTP than nginx's answers need: the load generator
//! shares the machine with what it measures.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MOST_HEADERS: usize = 32;

/// A connection; it is made anew where the server has announced that it closes this one.
pub(crate) struct Connection {
    address: SocketAddr,
    stream: TcpStream,
    inbox: Vec<u8>,
    /// The body of an answer that came in chunks.
    joined: Vec<u8>,
    closing: bool,
}

/// An answer, with its body as it lies in the connection's buffer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) retry_after_s: Option<u64>,
    pub(crate) body: &'a [u8],
}

/// Where an answer's parts are.
#[derive(Debug, PartialEq)]
struct Head {
    status: u16,
    retry_after_s: Option<u64>,
    closing: bool,
    begin: usize,
    /// Where the body ends; nothing where it comes in chunks.
    end: Option<usize>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = connect(address).await?;
        Ok(Self { address, stream, inbox: Vec::with_capacity(16 << 10), joined: Vec::new(), closing: false })
    }

    /// Sends a whole request (see [`get`] and [`post`]) and reads the whole answer.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        if self.closing {
            self.stream = connect(self.address).await?;
        }
        self.inbox.clear();
        self.stream.write_all(request).await.context("could not send a request")?;
        let mut head = None;
        loop {
            let read = self.stream.read_buf(&mut self.inbox).await.context("could not read an answer")?;
            ensure!(read > 0, "the connection was closed before an answer was there");
            if head.is_none() {
                head = parse(&self.inbox)?;
            }
            if let Some(head) = &head
                && self.is_whole(head)?
            {
                break;
            }
        }
        let Head { status, retry_after_s, closing, begin, end } = head.context("an answer without a head")?;
        self.closing = closing;
        let body = end.map_or(self.joined.as_slice(), |end| &self.inbox[begin..end]);
        Ok(Answer { status, retry_after_s, body })
    }

    /// Whether all of the body is there; joins its chunks.
    fn is_whole(&mut self, head: &Head) -> Result<bool> {
        if let Some(end) = head.end {
            return Ok(self.inbox.len() >= end);
        }
        join(&self.inbox[head.begin..], &mut self.joined)
    }
}

impl Answer<'_> {
    /// The body for a message about an answer that was not expected.
    pub(crate) fn text(&self) -> String {
        let text: String = String::from_utf8_lossy(self.body).chars().take(500).collect();
        format!("{} {text}", self.status)
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream =
        TcpStream::connect(address).await.with_context(|| format!("could not connect to {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The answer's head, once all of it is there.
fn parse(bytes: &[u8]) -> Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(begin) = answer.parse(bytes).context("an answer is no HTTP")? else {
        return Ok(None);
    };
    let (mut length, mut chunked, mut retry_after_s, mut closing) = (None, false, None, false);
    let number = |value: &[u8]| std::str::from_utf8(value).ok()?.trim().parse::<u64>().ok();
    for header in answer.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = number(header.value);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = header.value.eq_ignore_ascii_case(b"chunked");
        } else if header.name.eq_ignore_ascii_case("retry-after") {
            retry_after_s = number(header.value);
        } else if header.name.eq_ignore_ascii_case("connection") {
            closing = header.value.eq_ignore_ascii_case(b"close");
        }
    }
    let status = answer.code.unwrap_or_default();
    let end = match length.or((status == 204).then_some(0)) {
        _ if chunked => None,
        Some(length) => Some(begin + usize::try_from(length)?),
        None => bail!("an answer {status} does not say how long it is"),
    };
    Ok(Some(Head { status, retry_after_s, closing, begin, end }))
}

/// Joins the chunks of a body (RFC 9112, section 7.1); says whether the last one is there.
fn join(mut rest: &[u8], body: &mut Vec<u8>) -> Result<bool> {
    body.clear();
    loop {
        let Ok(size) = httparse::parse_chunk_size(rest) else { bail!("a chunk has no size") };
        let httparse::Status::Complete((begin, length)) = size else { return Ok(false) };
        let end = begin + usize::try_from(length)?;
        if rest.len() < end + 2 {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
        body.extend_from_slice(&rest[begin..end]);
        rest = &rest[end + 2..];
    }
}

/// The bytes of a GET.
pub(crate) fn get(address: SocketAddr, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes()
}

/// The bytes of a POST of JSON.
pub(crate) fn post(address: SocketAddr, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let bytes = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nConnection: close\r\ncontent-length: 5\r\n\r\nhel";
        assert_eq!(parse(&bytes[..40]).unwrap(), None);
        let head = parse(bytes).unwrap().unwrap();
        let (begin, end) = (bytes.len() - 3, Some(bytes.len() + 2));
        assert_eq!(head, Head { status: 503, retry_after_s: Some(2), closing: true, begin, end });
    }

    #[test]
    fn an_answer_of_unknown_length_is_an_error() {
        let error = parse(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n").unwrap_err().to_string();
        assert!(error.contains("does not say how long"), "{error}");
    }

    #[tokio::test]
    async fn answers_in_pieces_are_put_together_and_a_closed_connection_is_made_anew() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        tokio::spawn(async move {
            let known = ["HTTP/1.1 200 OK\r\nConnection: cl", "ose\r\nContent-Length: 4\r\n\r\nab", "cd"];
            let chunked = [
                "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na",
                "bc\r\n1\r",
                "\nd\r\n0\r\n\r\n",
            ];
            for pieces in [known, chunked] {
                let (mut client, _) = server.accept().await.unwrap();
                let mut request = [0; 4096];
                assert!(client.read(&mut request).await.unwrap() > 0);
                for piece in pieces {
                    client.write_all(piece.as_bytes()).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
        let mut connection = Connection::open(address).await.unwrap();
        for _ in 0..2 {
            let answer = connection.send(&get(address, "/")).await.unwrap();
            assert_eq!((answer.status, answer.body), (200, b"abcd".as_slice()));
        }
    }
}
