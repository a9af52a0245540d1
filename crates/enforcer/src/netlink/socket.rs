//! A netlink socket: requests, dumps, transactions, events.
//!
//! A transaction ([`Batch`]) is taken whole or not at all. The kernel works through it while the
//! send lasts, so its answers are there when the send returns.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::BufMut as _;
use netlink_sys::SocketAddr;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::attr::{Attributes, Encoder, HEADER, Message, Messages};

/// Which part of the kernel is talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Links, addresses, neighbours.
    Route,
    /// nf_tables, conntrack, NFLOG.
    Netfilter,
}

/// A network namespace: this process's own, or the one a path names (`/run/netns/x`,
/// `/proc/PID/ns/net`, `/proc/PID/fd/N`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place(Option<PathBuf>);

impl Place {
    /// This process's own network namespace.
    pub fn here() -> Self {
        Self::default()
    }

    /// The network namespace that `path` names.
    pub fn netns(path: &Path) -> Self {
        Self(Some(path.to_owned()))
    }

    /// The path, where one was named.
    pub fn path(&self) -> Option<&Path> {
        self.0.as_deref()
    }

    /// Runs `work` in this namespace: on a thread of its own, which no other work ever uses.
    pub fn enter<T: Send>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> Result<T, NetlinkError> {
        let failed = |source| NetlinkError::Io { doing: "open a netlink socket", source };
        let Some(path) = &self.0 else {
            return work().map_err(failed);
        };
        let entered = |source| NetlinkError::Namespace { path: path.clone(), source };
        let namespace = File::open(path).map_err(entered)?;
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                rustix::thread::move_into_link_name_space(
                    namespace.as_fd(),
                    Some(rustix::thread::LinkNameSpaceType::Network),
                )
                .map_err(|errno| NetlinkError::Namespace {
                    path: path.clone(),
                    source: errno.into(),
                })?;
                work().map_err(failed)
            });
            inside.join().unwrap_or_else(|_| Err(failed(io::Error::other("the thread panicked"))))
        })
    }
}

/// Why the kernel did not do what it was asked over netlink.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The network namespace cannot be entered.
    #[error("cannot enter the network namespace {}: {source}", path.display())]
    Namespace {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel refused a message.
    #[error("the kernel refused: {source}{}", why.as_ref().map_or(String::new(), |why| format!(" ({why})")))]
    Refused {
        /// Number of the refused message in its batch, 0 for the first; `None` where the
        /// transaction as a whole was refused.
        index: Option<usize>,
        /// The kernel's own explanation, where it gave one.
        why: Option<String>,
        /// The error number.
        source: io::Error,
    },
    /// Somebody changed rules between our reading them and our changing them (`ERESTART`).
    #[error("rules were changed by somebody else in the meantime; read them again")]
    Changed,
    /// The socket's buffer was full: events were lost (`ENOBUFS`).
    #[error("events were lost because they were not read fast enough; read the whole state again")]
    Lost,
    /// The kernel's answer cannot be understood.
    #[error("cannot understand the kernel's answer: {0}")]
    Unreadable(&'static str),
    /// A message does not fit into what netlink can carry.
    #[error("a message of {0} bytes is longer than netlink can carry; send less at once")]
    TooLong(usize),
    /// A dump was overtaken by changes again and again.
    #[error("what is listed changes faster than it can be read ({0} tries)")]
    Restless(usize),
    /// Some other failure of the system.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl NetlinkError {
    /// The error number, where the kernel gave one.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. }
            | Self::Io { source, .. }
            | Self::Namespace { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// What was asked for is not there (`ENOENT`).
    pub fn is_absent(&self) -> bool {
        self.code() == Some(libc::ENOENT)
    }

    /// Not allowed (`EPERM`, `EACCES`): no privilege, or a table that another process owns.
    pub fn is_denied(&self) -> bool {
        matches!(self.code(), Some(libc::EPERM | libc::EACCES))
    }
}

/// Answer to a dump whose data changed while it was read: it is read again, so often at most.
const DUMP_TRIES: usize = 32;
/// Receive buffer of one read: a dump's parts have at most 32 KiB, a logged packet 64 KiB.
const RECEIVE: usize = 128 << 10;
/// Largest transaction sent at once, bytes; [`Batch::is_full`] says when to send.
pub const BATCH_BYTES: usize = 1 << 20;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// `NFNL_BATCH_GENID`.
const BATCH_GENERATION: u16 = 1;
/// `NLMSGERR_ATTR_MSG`.
const ERROR_TEXT: u16 = 1;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
/// `NLM_F_ROOT | NLM_F_MATCH`.
const NLM_F_DUMP: u16 = 0x300;
/// Not in libc: the kernel's own "try again" for transactions.
const ERESTART: i32 = 85;

/// A socket of one protocol in one network namespace.
///
/// Events and requests want sockets of their own: a request throws away what came before its
/// answer.
#[derive(Debug)]
pub struct Socket {
    inner: netlink_sys::Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl Socket {
    /// Opens a socket in `place`.
    pub fn open(protocol: Protocol, place: &Place) -> Result<Self, NetlinkError> {
        let number = match protocol {
            Protocol::Route => netlink_sys::protocols::NETLINK_ROUTE,
            Protocol::Netfilter => netlink_sys::protocols::NETLINK_NETFILTER,
        };
        let inner = place.enter(|| {
            let mut socket = netlink_sys::Socket::new(number)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            // Errors come with the kernel's explanation and without our own message.
            socket.set_cap_ack(true)?;
            socket.set_ext_ack(true)?;
            Ok(socket)
        })?;
        let socket = Self { inner, sequence: 0, buffer: Vec::new() };
        socket.buffers(2 * BATCH_BYTES, 1 << 20)?;
        Ok(socket)
    }

    /// Sets the socket's buffers, in bytes; past the system's limit where privilege allows it.
    pub fn buffers(&self, send: usize, receive: usize) -> Result<(), NetlinkError> {
        use rustix::net::sockopt;
        let fd = self.as_fd();
        let failed = |errno: rustix::io::Errno| NetlinkError::Io {
            doing: "set the buffers of a netlink socket",
            source: errno.into(),
        };
        sockopt::set_socket_send_buffer_size_force(fd, send)
            .or_else(|_| sockopt::set_socket_send_buffer_size(fd, send))
            .map_err(failed)?;
        sockopt::set_socket_recv_buffer_size_force(fd, receive)
            .or_else(|_| sockopt::set_socket_recv_buffer_size(fd, receive))
            .map_err(failed)
    }

    /// Hears the events of multicast group `group` (`NFNLGRP_*`, `RTNLGRP_*`) from now on.
    pub fn join(&mut self, group: u32) -> Result<(), NetlinkError> {
        let doing = "hear netlink events";
        self.inner.add_membership(group).map_err(|source| NetlinkError::Io { doing, source })
    }

    /// The port (`nlmsg_pid`) that the kernel knows this socket by.
    pub fn port(&self) -> Result<u32, NetlinkError> {
        let mut address = SocketAddr::new(0, 0);
        let asked = self.inner.get_address(&mut address);
        asked.map_err(|source| NetlinkError::Io { doing: "ask for a socket's port", source })?;
        Ok(address.port_number())
    }

    /// Sends one message and waits until the kernel says that it was done. `flags` besides
    /// request and acknowledgement; `body` writes what is behind the message header.
    pub fn request(
        &mut self,
        kind: u16,
        flags: u16,
        body: impl FnOnce(&mut Encoder),
    ) -> Result<(), NetlinkError> {
        self.exchange(kind, flags | NLM_F_ACK, body, &mut |_| {})
    }

    /// Sends one message and hands each message of the answer to `each`; returns when the kernel
    /// has acknowledged (for one object, with the flags of a plain get).
    pub fn get(
        &mut self,
        kind: u16,
        body: impl FnOnce(&mut Encoder),
        mut each: impl FnMut(Message<'_>),
    ) -> Result<(), NetlinkError> {
        self.exchange(kind, NLM_F_ACK, body, &mut each)
    }

    /// Asks for all objects of a kind; `each` adds one to what it collects. Where they change
    /// while they are listed, the list begins again, and so does the collection.
    pub fn dump<T: Default>(
        &mut self,
        kind: u16,
        body: impl Fn(&mut Encoder),
        mut each: impl FnMut(&mut T, Message<'_>),
    ) -> Result<T, NetlinkError> {
        for _ in 0..DUMP_TRIES {
            let mut out = T::default();
            let mut torn = false;
            self.exchange(kind, NLM_F_DUMP, &body, &mut |message| {
                torn |= message.flags & NLM_F_DUMP_INTR != 0;
                if message.kind != NLMSG_DONE {
                    each(&mut out, message);
                }
            })?;
            if !torn {
                return Ok(out);
            }
        }
        Err(NetlinkError::Restless(DUMP_TRIES))
    }

    /// Sends a transaction: all of it or nothing. With `generation_id` it is refused
    /// ([`NetlinkError::Changed`]) when rules of this namespace were changed since that id was read.
    pub fn commit(
        &mut self,
        batch: &mut Batch,
        generation_id: Option<u32>,
    ) -> Result<(), NetlinkError> {
        if batch.is_empty() {
            return Ok(());
        }
        let (begin, last) = batch.seal(self.sequence.wrapping_add(1), generation_id)?;
        self.sequence = last.wrapping_add(1);
        self.drain()?;
        self.send(batch.bytes.bytes())?;
        let mut first: Option<(Option<usize>, i32, Option<String>)> = None;
        let mut acknowledged = false;
        while self.receive_now()? {
            for message in Messages::new(&self.buffer) {
                if message.kind != NLMSG_ERROR {
                    continue;
                }
                let (code, why) = verdict(&message)?;
                if code == 0 {
                    acknowledged |= message.sequence == last;
                    continue;
                }
                let index = message.sequence.wrapping_sub(begin);
                let inside = usize::try_from(index).ok().filter(|n| (1..=batch.count).contains(n));
                let index = inside.map(|n| n - 1);
                // The earliest message is the cause; later ones may fail because it did.
                let earlier = first.as_ref().is_none_or(|(known, ..)| match (index, known) {
                    (Some(index), Some(known)) => index < *known,
                    (Some(_), None) => true,
                    (None, _) => false,
                });
                if earlier {
                    first = Some((index, code, why));
                }
            }
        }
        match first {
            Some((_, ERESTART, _)) => Err(NetlinkError::Changed),
            Some((index, code, why)) => {
                let source = io::Error::from_raw_os_error(code);
                Err(NetlinkError::Refused { index, why, source })
            }
            None if acknowledged => Ok(()),
            None => Err(NetlinkError::Unreadable("a transaction was not acknowledged")),
        }
    }

    /// Waits for events at most `timeout` and hands each message to `each`; `false` when none
    /// came. [`NetlinkError::Lost`] when the kernel had to drop some.
    pub fn events(
        &mut self,
        timeout: Duration,
        mut each: impl FnMut(Message<'_>),
    ) -> Result<bool, NetlinkError> {
        if !self.wait(Some(timeout))? || !self.receive_now()? {
            return Ok(false);
        }
        let mut messages = Messages::new(&self.buffer);
        messages.by_ref().for_each(&mut each);
        if messages.rest().is_empty() {
            Ok(true)
        } else {
            Err(NetlinkError::Unreadable("a message is cut off"))
        }
    }

    fn exchange(
        &mut self,
        kind: u16,
        flags: u16,
        body: impl FnOnce(&mut Encoder),
        each: &mut dyn FnMut(Message<'_>),
    ) -> Result<(), NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        let mut encoder = Encoder::new();
        encoder.message(kind, NLM_F_REQUEST | flags, sequence, body);
        if !encoder.fits() {
            return Err(NetlinkError::TooLong(encoder.len()));
        }
        self.drain()?;
        self.send(encoder.bytes())?;
        loop {
            self.wait(None)?;
            if !self.receive_now()? {
                continue;
            }
            let mut messages = Messages::new(&self.buffer);
            for message in messages.by_ref().filter(|message| message.sequence == sequence) {
                match message.kind {
                    NLMSG_ERROR => {
                        let (code, why) = verdict(&message)?;
                        if code == 0 {
                            return Ok(());
                        }
                        let source = io::Error::from_raw_os_error(code);
                        return Err(NetlinkError::Refused { index: None, why, source });
                    }
                    NLMSG_DONE => {
                        let code = message.payload.first_chunk().copied().map(i32::from_ne_bytes);
                        each(message);
                        return match code {
                            Some(code) if code < 0 => Err(NetlinkError::Refused {
                                index: None,
                                why: None,
                                source: io::Error::from_raw_os_error(-code),
                            }),
                            _ => Ok(()),
                        };
                    }
                    _ => each(message),
                }
            }
            if !messages.rest().is_empty() {
                return Err(NetlinkError::Unreadable("a message is cut off"));
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<(), NetlinkError> {
        loop {
            match self.inner.send(bytes, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                    return Err(NetlinkError::TooLong(bytes.len()));
                }
                Err(source) => {
                    return Err(NetlinkError::Io { doing: "send to the kernel", source });
                }
            }
        }
    }

    /// Throws away answers to requests that were given up.
    fn drain(&mut self) -> Result<(), NetlinkError> {
        loop {
            match self.receive_now() {
                Ok(true) | Err(NetlinkError::Lost) => {}
                Ok(false) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Fills the buffer with one datagram, if there is one.
    fn receive_now(&mut self) -> Result<bool, NetlinkError> {
        self.buffer.clear();
        self.buffer.reserve(RECEIVE);
        let doing = "read from the kernel";
        loop {
            let mut room = (&mut self.buffer).limit(RECEIVE);
            let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
            match self.inner.recv(&mut room, flags) {
                Ok(length) if length > RECEIVE => {
                    return Err(NetlinkError::Unreadable(
                        "a datagram is longer than any should be",
                    ));
                }
                Ok(_) => return Ok(true),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return Ok(false),
                    Some(libc::EINTR) => {}
                    Some(libc::ENOBUFS) => return Err(NetlinkError::Lost),
                    _ => return Err(NetlinkError::Io { doing, source: error }),
                },
            }
        }
    }

    /// Something can be read within `timeout`.
    fn wait(&self, timeout: Option<Duration>) -> Result<bool, NetlinkError> {
        let limit = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let mut set = [PollFd::new(self, PollFlags::IN)];
        match poll(&mut set, limit.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(errno) => {
                Err(NetlinkError::Io { doing: "wait for the kernel", source: errno.into() })
            }
        }
    }
}

/// Error number (0: done) and explanation of an `NLMSG_ERROR`.
fn verdict(message: &Message<'_>) -> Result<(i32, Option<String>), NetlinkError> {
    let code = message.payload.first_chunk().copied().map(i32::from_ne_bytes);
    let code = code.ok_or(NetlinkError::Unreadable("an error without number"))?;
    if message.flags & NLM_F_ACK_TLVS == 0 {
        return Ok((-code, None));
    }
    let quoted = if message.flags & NLM_F_CAPPED != 0 {
        HEADER
    } else {
        let length = message.payload.get(4..8).and_then(|bytes| bytes.first_chunk().copied());
        let length = length.map_or(0, u32::from_ne_bytes);
        usize::try_from(length).unwrap_or(0).next_multiple_of(4)
    };
    let attributes = message.payload.get(4 + quoted..).unwrap_or_default();
    Ok((-code, Attributes::new(attributes).text(ERROR_TEXT)))
}

/// A transaction: messages that the kernel takes all or none of.
#[derive(Clone, Debug)]
pub struct Batch {
    subsystem: u8,
    bytes: Encoder,
    count: usize,
    /// Where the last message begins.
    last: usize,
    sealed: bool,
}

impl Batch {
    /// An empty transaction of `subsystem` (`NFNL_SUBSYS_*`).
    pub fn new(subsystem: u8) -> Self {
        let mut batch = Self { subsystem, bytes: Encoder::new(), count: 0, last: 0, sealed: false };
        batch.clear();
        batch
    }

    /// Appends a message: its code within the subsystem, flags besides request, address family,
    /// and what `attributes` writes.
    pub fn push(
        &mut self,
        code: u8,
        flags: u16,
        family: u8,
        attributes: impl FnOnce(&mut Encoder),
    ) {
        if self.sealed {
            self.clear();
        }
        self.last = self.bytes.len();
        let kind = u16::from_be_bytes([self.subsystem, code]);
        self.bytes.message(kind, NLM_F_REQUEST | flags, 0, |e| {
            e.netfilter(family, 0);
            attributes(e);
        });
        self.count += 1;
    }

    /// Messages so far.
    pub fn len(&self) -> usize {
        self.count
    }

    /// No message yet, or all were sent.
    pub fn is_empty(&self) -> bool {
        self.count == 0 || self.sealed
    }

    /// Bytes so far.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Large enough to be sent now, where it may be cut.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES * 3 / 4
    }

    /// Empties it and keeps its room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        (self.count, self.last, self.sealed) = (0, 0, false);
        // Room for the generation id, whether it is used or not, so that nothing has to move.
        let resource = u16::from(self.subsystem);
        self.bytes.message(BATCH_BEGIN, NLM_F_REQUEST, 0, |e| {
            e.netfilter(0, resource);
            e.put_be32(BATCH_GENERATION, 0);
        });
    }

    /// The message with number `index`.
    pub fn message(&self, index: usize) -> Option<Message<'_>> {
        Messages::new(self.bytes.bytes()).nth(index + 1)
    }

    /// Closes the transaction; numbers of its first (the begin) and last message.
    fn seal(
        &mut self,
        sequence: u32,
        generation_id: Option<u32>,
    ) -> Result<(u32, u32), NetlinkError> {
        let resource = u16::from(self.subsystem);
        self.bytes.message(BATCH_END, NLM_F_REQUEST, 0, |e| e.netfilter(0, resource));
        self.sealed = true;
        if !self.bytes.fits() {
            return Err(NetlinkError::TooLong(self.bytes.len()));
        }
        match generation_id {
            Some(id) => self.bytes.patch(HEADER + 8, &id.to_be_bytes()),
            // The attribute becomes one of a kind that nobody reads.
            None => self.bytes.patch(HEADER + 6, &0u16.to_ne_bytes()),
        }
        let mut at = 0;
        let mut number = sequence;
        let mut last = sequence;
        loop {
            let rest = self.bytes.bytes().get(at..).unwrap_or_default();
            let Some(message) = Messages::new(rest).next() else {
                break;
            };
            let (length, flags) = (HEADER + message.payload.len(), message.flags);
            self.bytes.patch(at + 8, &number.to_ne_bytes());
            if at == self.last {
                last = number;
                self.bytes.patch(at + 6, &(flags | NLM_F_ACK).to_ne_bytes());
            }
            number = number.wrapping_add(1);
            at += length.next_multiple_of(4);
        }
        Ok((sequence, last))
    }
}
