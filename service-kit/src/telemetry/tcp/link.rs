//! A connection to where lines go, plain or with TLS. Every step has a limit in time.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use super::Receiver;

/// How long connecting, and each answer of TLS, may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How long the receiver may take nothing until it is given up.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// See the module.
pub(super) enum Link {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Link {
    /// Connects, to the first of the host's addresses that answers.
    pub(super) fn open(to: &Receiver, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let mut failed = io::Error::new(ErrorKind::NotFound, "the host has no address");
        for address in (to.host.as_str(), to.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
                Ok(stream) => return Self::over(stream, &to.host, tls),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn over(stream: TcpStream, host: &str, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        stream.set_write_timeout(Some(WRITE_LIMIT))?;
        stream.set_read_timeout(Some(CONNECT_LIMIT))?;
        let Some(tls) = tls else { return Ok(Self::Plain(stream)) };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self::Tls(Box::new(stream)))
    }

    /// An error where the other side has closed it.
    pub(super) fn check(&mut self) -> io::Result<()> {
        if self.has_ended()? { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Sends a line.
    pub(super) fn send(&mut self, line: &[u8]) -> io::Result<()> {
        self.check()?;
        match self {
            Self::Plain(stream) => stream.write_all(line),
            Self::Tls(stream) => stream.write_all(line).and_then(|()| stream.flush()),
        }
    }

    /// Whether the other side has closed it, or says something, which nobody here reads. A write would be taken by the
    /// system all the same, and lost.
    fn has_ended(&mut self) -> io::Result<bool> {
        let socket = self.socket();
        socket.set_nonblocking(true)?;
        let read = match self {
            Self::Plain(stream) => stream.read(&mut [0; 512]),
            Self::Tls(stream) => stream.read(&mut [0; 512]),
        };
        self.socket().set_nonblocking(false)?;
        match read {
            Ok(0) => Ok(true),
            Ok(_) => Ok(false),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        let _ = self.socket().shutdown(Shutdown::Write);
    }
}
