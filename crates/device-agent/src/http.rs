//! One connection to the server: HTTP/1.1 over TLS, one request after the other. What is read has a bound, and takes no longer than it may.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use crypto::tls::rustls::pki_types::ServerName;
use crypto::tls::rustls::{self, ClientConfig, ClientConnection, StreamOwned};
use crypto::tls::{self, Credentials, SystemClock, TlsError};
use pki::Certificate;

/// How long a connection, or one read or write of it, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of the head of an answer.
const HEAD_BYTES_MAX: usize = 16_384;
/// Bytes of the body of an answer.
pub(crate) const BODY_BYTES_MAX: usize = 524_288;
/// Bytes around the parts of a body: their sizes, and what stands behind the last one.
const AROUND_BYTES_MAX: usize = 65_536;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The name of the server.
    #[error("`{0}` names no server; HOST:PORT does")]
    Name(String),
    /// The network.
    #[error("{server} cannot be reached: {source}")]
    Io {
        /// Which server.
        server: String,
        /// What the system or TLS said.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// TLS does not go on.
    #[error("TLS: {0}")]
    Broken(#[from] rustls::Error),
    /// It has not shown the root that was expected.
    #[error("the server does not show the root with this SHA-256")]
    OtherRoot,
    /// The answer cannot be read.
    #[error("the server's answer cannot be read: {0}")]
    Odd(&'static str),
}

impl HttpError {
    /// Whether the same may go well later. An alert of TLS is an answer.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                let tls = source.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
                !matches!(tls, Some(rustls::Error::AlertReceived(_)))
            }
            Self::Odd(_) => true,
            Self::Name(_) | Self::Tls(_) | Self::Broken(_) | Self::OtherRoot => false,
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Seconds after which to ask again.
    pub retry_after_s: Option<u32>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Its first line, for people: no terminal has to understand it.
    pub fn line(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let line = text.lines().next().unwrap_or_default();
        line.chars().filter(|c| !c.is_control()).take(500).collect()
    }
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    server: String,
}

/// What a server is called: `HOST:PORT`, also behind `https://`.
pub fn server(text: &str) -> Result<String, HttpError> {
    let wrong = || HttpError::Name(text.to_owned());
    let plain = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
    let (host, port) = plain.rsplit_once(':').ok_or_else(wrong)?;
    let good = !host.is_empty()
        && port.parse::<u16>().is_ok_and(|port| port > 0)
        && plain.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b'@');
    good.then(|| plain.to_owned()).ok_or_else(wrong)
}

/// The root with this SHA-256, which the server has to show: first contact.
pub fn root(server: &str, root_sha256: [u8; 32]) -> Result<Certificate, HttpError> {
    let config = tls::client_pinned(root_sha256, Arc::new(SystemClock))?;
    let connection = Connection::with(server, &config)?;
    let shown = connection.stream.conn.peer_certificates().unwrap_or_default();
    tls::pinned_root(shown, root_sha256).ok_or(HttpError::OtherRoot)
}

impl Connection {
    /// To a server below a root; `own` is what the device shows.
    pub fn open(
        server: &str,
        root: &Certificate,
        own: Option<&Credentials>,
    ) -> Result<Self, HttpError> {
        let config = tls::client(vec![root.clone()], own, Arc::new(SystemClock))?;
        Self::with(server, &config)
    }

    fn with(server: &str, config: &ClientConfig) -> Result<Self, HttpError> {
        let failed = |source| HttpError::Io { server: server.to_owned(), source };
        let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|_| HttpError::Name(server.to_owned()))?;
        let mut config = config.clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tcp = connect(server).map_err(failed)?;
        let connection = ClientConnection::new(Arc::new(config), name)?;
        let mut stream = StreamOwned::new(connection, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(failed)?;
        }
        Ok(Self { stream, server: server.to_owned() })
    }

    /// What stands for this connection and no other (RFC 9266).
    pub fn channel(&self) -> Result<[u8; 32], HttpError> {
        let label = pki::est::EXPORTER_LABEL;
        Ok(self.stream.conn.export_keying_material([0; 32], label, Some(&[]))?)
    }

    /// One request. `headers` are whole lines.
    pub fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[String],
        body: &[u8],
    ) -> Result<Answer, HttpError> {
        let server = &self.server;
        let size = body.len();
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: {server}\r\nContent-Length: {size}\r\n");
        for line in headers {
            head.push_str(line);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        let failed = |source| HttpError::Io { server: server.clone(), source };
        let stream = &mut self.stream;
        stream.write_all(&[head.as_bytes(), body].concat()).map_err(failed)?;
        stream.flush().map_err(failed)?;
        read(&mut Reader { from: stream, kept: Vec::new() }).map_err(|error| match error {
            Unread::Io(source) => failed(source),
            Unread::Odd(why) => HttpError::Odd(why),
        })
    }
}

fn connect(server: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    for address in server.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

enum Unread {
    Io(io::Error),
    Odd(&'static str),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

struct Reader<'a, R> {
    from: &'a mut R,
    kept: Vec<u8>,
}

impl<R: Read> Reader<'_, R> {
    fn more(&mut self) -> Result<(), Unread> {
        let mut part = [0; 4_096];
        match self.from.read(&mut part)? {
            0 => Err(Unread::Odd("it ends too early")),
            size => {
                self.kept.extend(part.get(..size).unwrap_or_default());
                Ok(())
            }
        }
    }

    /// Bytes up to and with `end`.
    fn until(&mut self, end: &[u8], bytes_max: usize) -> Result<Vec<u8>, Unread> {
        loop {
            let at = self.kept.windows(end.len()).position(|part| part == end);
            if let Some(at) = at {
                return self.exactly(at.saturating_add(end.len()));
            }
            if self.kept.len() > bytes_max {
                return Err(Unread::Odd("a line of it is too long"));
            }
            self.more()?;
        }
    }

    fn exactly(&mut self, size: usize) -> Result<Vec<u8>, Unread> {
        while self.kept.len() < size {
            self.more()?;
        }
        let rest = self.kept.split_off(size);
        Ok(std::mem::replace(&mut self.kept, rest))
    }
}

/// An answer that is here already.
pub(crate) fn answer(bytes: &[u8]) -> Option<Answer> {
    let mut from = bytes;
    read(&mut Reader { from: &mut from, kept: Vec::new() }).ok()
}

fn read<R: Read>(from: &mut Reader<'_, R>) -> Result<Answer, Unread> {
    let head = String::from_utf8(from.until(b"\r\n\r\n", HEAD_BYTES_MAX)?)
        .map_err(|_| Unread::Odd("its head is no text"))?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1."));
    let status = status.and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.ok_or(Unread::Odd("it has no status"))?;
    let (mut size, mut chunked, mut retry_after_s) = (0, false, None);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                size = value.parse().map_err(|_| Unread::Odd("its length is no number"))?;
            }
            "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
            "retry-after" => retry_after_s = value.parse().ok(),
            _ => {}
        }
    }
    let body = match chunked {
        true => chunks(from)?,
        false if size > BODY_BYTES_MAX => return Err(Unread::Odd("it is too long")),
        false => from.exactly(size)?,
    };
    Ok(Answer { status, retry_after_s, body })
}

/// RFC 9112 §7.1; trailers are passed over.
fn chunks<R: Read>(from: &mut Reader<'_, R>) -> Result<Vec<u8>, Unread> {
    let (mut body, mut around) = (Vec::new(), AROUND_BYTES_MAX);
    let mut line = |from: &mut Reader<'_, R>| {
        let line = from.until(b"\r\n", HEAD_BYTES_MAX)?;
        around = around.checked_sub(line.len()).ok_or(Unread::Odd("it has too many parts"))?;
        Ok::<_, Unread>(line)
    };
    loop {
        let line_of_size = line(from)?;
        let text = String::from_utf8_lossy(&line_of_size);
        let size = text.split(';').next().unwrap_or_default().trim();
        let size =
            usize::from_str_radix(size, 16).map_err(|_| Unread::Odd("a part has no size"))?;
        if body.len().saturating_add(size) > BODY_BYTES_MAX {
            return Err(Unread::Odd("it is too long"));
        }
        if size == 0 {
            while line(from)? != b"\r\n" {}
            return Ok(body);
        }
        body.extend(from.exactly(size)?);
        if from.exactly(2)? != b"\r\n" {
            return Err(Unread::Odd("a part has another size than it says"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whole() {
        let plain = b"HTTP/1.1 202 Accepted\r\nRetry-After: 15\r\ncontent-length: 3\r\n\r\nabc";
        let expected = Answer { status: 202, retry_after_s: Some(15), body: b"abc".to_vec() };
        assert_eq!(answer(plain), Some(expected.clone()));
        let parts = b"HTTP/1.1 202 x\r\nretry-after: 15\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n02\r\nbc\r\n0\r\nT: 1\r\n\r\n";
        assert_eq!(answer(parts), Some(expected));
        for bytes in [&plain[..], &parts[..]] {
            assert!((0..bytes.len()).all(|cut| answer(&bytes[..cut]).is_none()));
        }
        for wrong in [
            "HTTP/1.1 200 OK\r\nContent-Length: 524289\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            "HTTP/2 200\r\n\r\n",
            "SSH-2.0\r\n\r\n",
        ] {
            assert_eq!(answer(wrong.as_bytes()), None, "{wrong}");
        }
        // One that never ends.
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
        let trailers = |count| head.clone() + "0\r\n" + &"T: 1\r\n".repeat(count) + "\r\n";
        assert!(answer(trailers(1_000).as_bytes()).is_some());
        assert_eq!(answer(trailers(AROUND_BYTES_MAX).as_bytes()), None);
    }

    #[test]
    fn a_server_has_a_host_and_a_port() {
        for good in ["hq.example:8444", "https://hq.example:8444/", "[::1]:8444", "192.0.2.1:1"] {
            assert!(server(good).is_ok(), "{good}");
        }
        for wrong in ["hq.example", ":1", "a:0", "a:b", "a:99999", "a b:1", "x@a:1", "a/b:1", ""] {
            assert!(server(wrong).is_err(), "{wrong}");
        }
    }
}
