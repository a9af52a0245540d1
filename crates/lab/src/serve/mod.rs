//! Servers that speak their real protocol on the kernel's sockets.

pub(crate) mod http;
pub(crate) mod modbus;
pub(crate) mod ntp;
pub(crate) mod printer;
pub(crate) mod rtsp;

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::{Netns, sys, wait};

/// What servers saw, for judging at the victim: `files GET /x from 10.77.0.40`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Entry>>>);

/// One thing a server did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub server: &'static str,
    pub client: SocketAddr,
    pub what: String,
}

impl Log {
    pub(crate) fn note(&self, server: &'static str, client: SocketAddr, what: impl Into<String>) {
        if let Ok(mut entries) = self.0.lock()
            && entries.len() < ENTRIES_MAX
        {
            let what = what.into();
            entries.push(Entry { server, client, what });
        }
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.0.lock().map(|entries| entries.clone()).unwrap_or_default()
    }
}

/// What a handler of one connection gets.
pub(crate) struct Session<'a> {
    pub stream: TcpStream,
    pub client: SocketAddr,
    pub stop: &'a AtomicBool,
    pub log: &'a Log,
    /// Bytes that came and were not used yet.
    pub buffer: Vec<u8>,
}

/// Entries kept; a demo makes hundreds.
const ENTRIES_MAX: usize = 100_000;
/// Longest message a server keeps.
const BUFFER_MAX: usize = 64 * 1024;
/// A connection that says nothing for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(20);

impl Session<'_> {
    /// Reads until `enough` finds a message in the buffer and says how long it is; takes it out.
    /// `None`: the client is gone, idle, or says nonsense, or the lab ends.
    pub(crate) fn message(
        &mut self,
        enough: impl Fn(&[u8]) -> Option<usize>,
    ) -> io::Result<Option<Vec<u8>>> {
        let deadline = wait::now() + IDLE_MAX;
        loop {
            if let Some(length) = enough(&self.buffer).filter(|n| *n > 0) {
                let rest = self.buffer.split_off(length.min(self.buffer.len()));
                return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            let over = self.buffer.len() > BUFFER_MAX || wait::now() > deadline;
            if over || self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let mut chunk = [0u8; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(n) => self.buffer.extend(chunk.iter().take(n)),
                Err(e)
                    if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A protocol: handles one connection to its end.
pub(crate) type Handler = Arc<dyn Fn(&mut Session<'_>) -> io::Result<()> + Send + Sync>;

/// Serves TCP `port` inside `netns` until `stop`.
pub(crate) fn tcp(
    netns: &Netns,
    name: &'static str,
    port: u16,
    stop: &Arc<AtomicBool>,
    log: &Log,
    handler: Handler,
) -> io::Result<JoinHandle<Option<()>>> {
    let listener = netns.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))??;
    listener.set_nonblocking(true)?;
    let (stop, log) = (Arc::clone(stop), log.clone());
    netns.thread(name, move || {
        thread::scope(|scope| {
            while !stop.load(Ordering::Relaxed) {
                let _ = sys::readable(&listener, TICK);
                while let Ok((stream, client)) = listener.accept() {
                    log.note(name, client, format!("accepted on {port}"));
                    let (stop, log, handler) = (&stop, &log, &handler);
                    scope.spawn(move || {
                        let _ = stream.set_nonblocking(false);
                        let _ = stream.set_read_timeout(Some(TICK));
                        let _ = stream.set_write_timeout(Some(Duration::from_secs(1)));
                        let mut session = Session { stream, client, stop, log, buffer: Vec::new() };
                        // A client that hangs up in the middle is an ordinary event.
                        let _ = handler(&mut session);
                    });
                }
            }
        });
    })
}

const TICK: Duration = Duration::from_millis(100);

/// Serves UDP `port` inside `netns` until `stop`; the handler may answer each datagram.
pub(crate) fn udp(
    netns: &Netns,
    name: &'static str,
    port: u16,
    stop: &Arc<AtomicBool>,
    handler: fn(&[u8]) -> Option<Vec<u8>>,
) -> io::Result<JoinHandle<Option<()>>> {
    let socket = netns.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)))??;
    socket.set_read_timeout(Some(TICK))?;
    let stop = Arc::clone(stop);
    netns.thread(name, move || {
        let mut datagram = [0u8; 2048];
        while !stop.load(Ordering::Relaxed) {
            if let Ok((length, client)) = socket.recv_from(&mut datagram)
                && let Some(answer) = datagram.get(..length).and_then(handler)
            {
                let _ = socket.send_to(&answer, client);
            }
        }
    })
}
