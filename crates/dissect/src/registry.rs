//! Which dissector is tried where.

use crate::{Ctx, Outcome, Probe, Sink, Step};

/// A protocol directly on the link layer.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Name shown to people.
    pub name: &'static str,
    /// Where it is found.
    pub key: &'static [LinkKey],
    /// Reads one frame's payload.
    pub run: fn(&[u8], &Ctx, &mut dyn Sink) -> Outcome,
}

/// What selects a link-layer protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkKey {
    /// Ethernet II type (also of SNAP with OUI 00-00-00).
    EtherType(u16),
    /// LLC destination service access point; the payload starts behind the control field.
    Llc(u8),
    /// SNAP organisation and protocol.
    Snap(u32, u16),
    /// IP protocol number (ICMP, ICMPv6, IGMP…); the payload starts behind the IP header.
    IpProtocol(u8),
}

/// A protocol of datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Datagram {
    /// Name shown to people.
    pub name: &'static str,
    /// UDP ports, on either side. `run` must still reject what is not its protocol with
    /// [`crate::Malformed::NotMine`]: a port is a hint.
    pub ports: &'static [u16],
    /// Recognises the protocol on other ports by its bytes; `None` where that is not safe.
    pub probe: Option<fn(&[u8]) -> bool>,
    /// Reads one datagram.
    pub run: fn(&[u8], &Ctx, &mut dyn Sink) -> Outcome,
}

/// A protocol of byte streams.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// Name shown to people.
    pub name: &'static str,
    /// TCP ports of the server.
    pub ports: &'static [u16],
    /// Looks at the first bytes of either direction.
    pub probe: fn(&[u8]) -> Probe,
    /// Reads from one direction.
    pub run: fn(&[u8], &Ctx, &mut dyn Sink) -> Step,
}

/// All link-layer protocols; each key is one protocol's.
pub fn frames() -> impl Iterator<Item = &'static Frame> {
    [crate::link::FRAMES, crate::names::FRAMES, crate::ics::FRAMES].into_iter().flatten()
}

/// All datagram protocols; where several share a port, the first that does not say `NotMine` wins,
/// then the first whose probe knows the bytes.
pub fn datagrams() -> impl Iterator<Item = &'static Datagram> {
    [
        crate::names::DATAGRAMS,
        crate::ics::DATAGRAMS,
        crate::app::DATAGRAMS,
        crate::vendor::DATAGRAMS,
        crate::link::DATAGRAMS,
    ]
    .into_iter()
    .flatten()
}

/// All stream protocols. A `Probe::Yes` on the protocol's own port wins, then the first `Probe::Yes`
/// anywhere, then a `Probe::Maybe` on its own port.
pub fn streams() -> impl Iterator<Item = &'static Stream> {
    [crate::ics::STREAMS, crate::app::STREAMS, crate::names::STREAMS, crate::vendor::STREAMS]
        .into_iter()
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_key_belongs_to_one_protocol() {
        let mut keys: Vec<LinkKey> = frames().flat_map(|f| f.key.iter().copied()).collect();
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count, "two protocols have one key");
    }

    #[test]
    fn every_protocol_can_be_found() {
        for d in datagrams() {
            assert!(!d.ports.is_empty() || d.probe.is_some(), "{}", d.name);
        }
        for s in streams() {
            assert!(!s.name.is_empty() && !s.ports.is_empty(), "{}", s.name);
        }
    }
}
