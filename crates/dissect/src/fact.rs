//! What dissectors are told about a packet, and what they report.

use std::borrow::Cow;
use std::hash::Hash;
use std::net::IpAddr;

use model::observation::{BindingSource, EventKind, IdentifierKind};
use model::{Mac, Timestamp};

/// Why bytes could not be read as a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They end too early.
    #[error("the message ends too early")]
    Truncated,
    /// They are some other protocol.
    #[error("not this protocol")]
    NotMine,
    /// A field has a value the protocol does not allow.
    #[error("a field has a value the protocol does not allow")]
    Invalid,
    /// Deeper, longer or more than the parser's bound.
    #[error("deeper, longer or more than the parser's bound")]
    Limit,
}

/// Result of a dissector of whole messages (frames and datagrams). Facts reported before an error
/// stay reported: they were read from bytes that made sense.
pub type Outcome = Result<(), Malformed>;

/// One end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Link address (of the router, when the host is remote).
    pub mac: Mac,
    /// Network address, when there is one.
    pub ip: Option<IpAddr>,
    /// Port, 0 without one.
    pub port: u16,
}

/// Which part the sender of a message plays in its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It opened the conversation.
    Client,
    /// It was called.
    Server,
    /// Not known: the beginning was not seen.
    Unknown,
}

/// The packet a message came in.
#[derive(Clone, Copy, Debug)]
pub struct Ctx {
    /// Who sent it.
    pub src: Endpoint,
    /// To whom.
    pub dst: Endpoint,
    /// The sender's part.
    pub role: Role,
    /// When.
    pub at: Timestamp,
}

/// Whom a fact is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum About<'a> {
    /// The sender of the message.
    Sender,
    /// The receiver of the message.
    Receiver,
    /// The owner of a link address named inside the message (DHCP `chaddr` through a relay).
    Mac(Mac),
    /// The owner of a network address named inside the message (SNMPv1 agent address).
    Host(IpAddr),
    /// A device behind the sender.
    Child {
        /// The medium: `cip-backplane`, `bacnet-network`, `hue`, `modbus-unit`, `mstp`….
        via: &'static str,
        /// Its name on that medium.
        key: Cow<'a, str>,
    },
    /// A device behind the receiver.
    ChildOfReceiver {
        /// As for `Child`.
        via: &'static str,
        /// As for `Child`.
        key: Cow<'a, str>,
    },
}

/// What was said. Values are text, as a person would write them.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact<'a> {
    /// It said something about itself.
    Says {
        /// Name from [`crate::fields`].
        field: &'static str,
        /// The value.
        value: Cow<'a, str>,
    },
    /// As `Says`, for open-ended key/value fields: the full field name is `field.key`, the key in
    /// lower case (`mdns.txt` + `md`).
    SaysKeyed {
        /// Name from [`crate::fields`], listed there as `field.*`.
        field: &'static str,
        /// The key on the wire.
        key: Cow<'a, str>,
        /// The value.
        value: Cow<'a, str>,
    },
    /// It stated an identifier of its own.
    Identifier {
        /// Name from [`crate::fields`].
        field: &'static str,
        /// Which kind.
        kind: IdentifierKind,
        /// Normalised: lower case for hex and UUIDs, trimmed.
        value: Cow<'a, str>,
    },
    /// It uses a network address.
    Bound {
        /// The address.
        ip: IpAddr,
        /// How that is known.
        how: BindingSource,
    },
    /// A name resolves to an address (DNS answer of any kind): used to name destinations.
    Resolved {
        /// Lower case, without the final dot.
        name: Cow<'a, str>,
        /// The address.
        ip: IpAddr,
    },
    /// The client of this conversation asked for a server by name (TLS SNI, HTTP Host).
    ServerName {
        /// Lower case, without port.
        name: Cow<'a, str>,
    },
    /// A switch or access point saw a client at a port.
    Located {
        /// The client.
        client: Mac,
        /// Port as the switch names it.
        port: Cow<'a, str>,
        /// Learnt or removed.
        present: bool,
    },
    /// Something happened that is worth a finding.
    Event {
        /// Which.
        kind: EventKind,
        /// One line for a person.
        detail: Cow<'a, str>,
    },
}

/// Takes what dissectors report, and keeps a few numbers per conversation for them.
pub trait Sink {
    /// Takes one fact. The sink copies what it keeps and bounds how much that is.
    fn fact(&mut self, about: About<'_>, fact: Fact<'_>);

    /// Remembers a number for this conversation (both directions share it), so that an answer can
    /// be read in the light of its question. Bounded: old entries are forgotten.
    fn remember(&mut self, key: u64, value: u64);

    /// A remembered number.
    fn recall(&mut self, key: u64) -> Option<u64>;

    /// Whether this sender sent this receiver, or `to_anyone`, the very same a short while ago; from now on it has. See [`Sink::told`] and
    /// [`Sink::said`]. A sink that keeps no such record says no.
    fn is_repeated(&mut self, what: &'static str, parts: &[&[u8]], to_anyone: bool) -> bool {
        let _ = (what, parts, to_anyone);
        false
    }

    /// Whether anything that the sender says of itself is kept. It is not of hosts of the Internet, which are
    /// no devices of the estate: what only leads to facts about the sender need not be read.
    fn keeps_sender(&self) -> bool {
        true
    }
}

impl dyn Sink + '_ {
    /// Whether the facts that these bytes of a message lead to were reported already, between the
    /// same two ends: then reading them again can only repeat them. Asked before costly parts of a
    /// message are read (a certificate, a fingerprint, a document), and only where what they give
    /// is facts, each of which counts once, and no state. `what` keeps kinds of parts apart.
    pub fn told(&mut self, what: &'static str, parts: &[&[u8]]) -> bool {
        self.is_repeated(what, parts, false)
    }

    /// Whether nothing that the sender says of itself by these bytes is news: it said the same a short
    /// while ago, to whomever, or nothing is kept of it. As [`Sink::told`], and asked only where
    /// all facts are about the sender and what is behind it.
    pub fn said(&mut self, what: &'static str, parts: &[&[u8]]) -> bool {
        !self.keeps_sender() || self.is_repeated(what, parts, true)
    }

    /// The sender said something about itself. Empty values are not facts.
    pub fn says<'v>(&mut self, field: &'static str, value: impl Into<Cow<'v, str>>) {
        self.about(About::Sender, field, value);
    }

    /// Somebody said something about itself. Empty values are not facts.
    pub fn about<'v>(
        &mut self,
        about: About<'_>,
        field: &'static str,
        value: impl Into<Cow<'v, str>>,
    ) {
        let value = value.into();
        if !value.is_empty() {
            self.fact(about, Fact::Says { field, value });
        }
    }

    /// Somebody stated an identifier of its own. Empty values are not facts.
    pub fn identifier<'v>(
        &mut self,
        about: About<'_>,
        field: &'static str,
        kind: IdentifierKind,
        value: impl Into<Cow<'v, str>>,
    ) {
        let value = value.into();
        if !value.is_empty() {
            self.fact(about, Fact::Identifier { field, kind, value });
        }
    }

    /// Something happened to `about`.
    pub fn event<'v>(
        &mut self,
        about: About<'_>,
        kind: EventKind,
        detail: impl Into<Cow<'v, str>>,
    ) {
        self.fact(about, Fact::Event { kind, detail: detail.into() });
    }
}

/// Whether the first bytes of a conversation are a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A signature that other protocols do not have.
    Yes,
    /// Possible: believed on the protocol's registered port only.
    Maybe,
    /// Impossible.
    No,
}

/// What a dissector of a byte stream did with the bytes it was shown.
///
/// It is always shown all bytes of one direction that were not consumed yet, in order. A gap in
/// the capture drops what was pending and starts again at the next segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read this many bytes (at least 1); show me the rest.
    Consumed(usize),
    /// The message is incomplete; show me the same bytes with more behind them.
    NeedMore,
    /// These bytes are not the protocol here; drop them and try again at the next segment.
    Resync,
    /// Nothing more to learn from this direction.
    Done,
}
