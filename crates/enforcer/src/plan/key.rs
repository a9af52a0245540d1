//! Keys of sets and maps: what they are made of, as bytes and as nft text.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::Mac;

/// One part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Link address.
    Ether,
    /// IPv4 address.
    Ip4,
    /// IPv6 address.
    Ip6,
    /// IP protocol number.
    Protocol,
    /// Port.
    Port,
    /// Packet or connection mark.
    Mark,
    /// EtherType.
    EtherType,
    /// Address family.
    Family,
    /// Type of an ICMPv6 message.
    Icmp6,
}

impl Type {
    /// Bytes of a value.
    pub fn length(self) -> usize {
        match self {
            Self::Ether => 6,
            Self::Ip4 | Self::Mark => 4,
            Self::Ip6 => 16,
            Self::Port | Self::EtherType => 2,
            Self::Protocol | Self::Family | Self::Icmp6 => 1,
        }
    }

    /// nft's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ether => "ether_addr",
            Self::Ip4 => "ipv4_addr",
            Self::Ip6 => "ipv6_addr",
            Self::Protocol => "inet_proto",
            Self::Port => "inet_service",
            Self::Mark => "mark",
            Self::EtherType => "ether_type",
            Self::Family => "nf_proto",
            Self::Icmp6 => "icmpv6_type",
        }
    }

    /// nft's number for it (nftables, include/datatype.h); six bits, joined for several parts.
    pub fn number(self) -> u32 {
        match self {
            Self::Family => 2,
            Self::Ip4 => 7,
            Self::Ip6 => 8,
            Self::Ether => 9,
            Self::EtherType => 10,
            Self::Protocol => 12,
            Self::Port => 13,
            Self::Mark => 19,
            Self::Icmp6 => 29,
        }
    }

    /// A value of this type as nft writes it. `big`: marks are big-endian, as in keys of ranges.
    pub fn text(self, value: &[u8], big: bool) -> String {
        let number = || value.iter().fold(0u32, |sum, byte| (sum << 8) | u32::from(*byte));
        match self {
            Self::Ether => value.first_chunk().map_or(String::new(), |b| Mac(*b).to_string()),
            Self::Ip4 | Self::Ip6 => address(value).map_or(String::new(), |ip| ip.to_string()),
            Self::Mark if !big => mark(value).to_string(),
            _ => number().to_string(),
        }
    }
}

/// A key, written part by part.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(Vec<u8>);

impl Key {
    /// A key without parts.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Appends a link address.
    pub(crate) fn mac(self, mac: Mac) -> Self {
        self.part(&mac.0)
    }

    /// Appends an IP address.
    pub(crate) fn ip(self, ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => self.part(&ip.octets()),
            IpAddr::V6(ip) => self.part(&ip.octets()),
        }
    }

    /// Appends a protocol number, or another number of one byte.
    pub(crate) fn byte(self, number: u8) -> Self {
        self.part(&[number])
    }

    /// Appends a port or an EtherType.
    pub(crate) fn port(self, port: u16) -> Self {
        self.part(&port.to_be_bytes())
    }

    /// Appends a mark of an exact key.
    pub(crate) fn mark(self, mark: u32) -> Self {
        self.part(&mark.to_ne_bytes())
    }

    /// Appends a mark of a key of ranges: there, numbers must be in order.
    pub(crate) fn ordered_mark(self, mark: u32) -> Self {
        self.part(&mark.to_be_bytes())
    }

    /// The key's bytes: each part but a lone one padded to four.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn part(mut self, bytes: &[u8]) -> Self {
        // Parts begin where a register begins.
        let begin = self.0.len().next_multiple_of(4);
        self.0.resize(begin, 0);
        self.0.extend_from_slice(bytes);
        if begin > 0 {
            let end = self.0.len().next_multiple_of(4);
            self.0.resize(end, 0);
        }
        self
    }
}

/// Bytes of a whole key of these parts.
pub(crate) fn key_length(parts: &[Type]) -> usize {
    match parts {
        [one] => one.length(),
        parts => parts.iter().map(|part| part.length().next_multiple_of(4)).sum(),
    }
}

/// A key as nft writes it; with `end`, parts that differ are ranges.
pub(crate) fn key_text(parts: &[Type], key: &[u8], end: Option<&[u8]>, big: bool) -> String {
    let mut out = String::new();
    let mut at = 0;
    for part in parts {
        let of = |bytes: &[u8]| {
            let value = bytes.get(at..at + part.length()).unwrap_or_default();
            part.text(value, big)
        };
        if !out.is_empty() {
            out.push_str(" . ");
        }
        let first = of(key);
        out.push_str(&first);
        if let Some(last) = end.map(of).filter(|last| *last != first) {
            // Writing to a String cannot fail.
            let _ = write!(out, "-{last}");
        }
        at += part.length().next_multiple_of(4);
    }
    out
}

/// The address in the first bytes of a part.
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        16 => Some(Ipv6Addr::from(*bytes.first_chunk::<16>()?).into()),
        _ => None,
    }
}

/// A mark in host order.
pub(crate) fn mark(bytes: &[u8]) -> u32 {
    bytes.first_chunk().copied().map_or(0, u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_padded_like_registers_and_read_like_nft() {
        let mac: Mac = "ac:cc:8e:01:02:03".parse().unwrap();
        let key = Key::new().mac(mac).ip("10.77.0.5".parse().unwrap());
        assert_eq!(key.bytes(), [0xac, 0xcc, 0x8e, 1, 2, 3, 0, 0, 10, 77, 0, 5]);
        let parts = [Type::Ether, Type::Ip4];
        assert_eq!(key_length(&parts), 12);
        assert_eq!(key_text(&parts, key.bytes(), None, false), "ac:cc:8e:01:02:03 . 10.77.0.5");
        assert_eq!(Key::new().mac(mac).bytes().len(), 6);
        assert_eq!(Key::new().byte(58).bytes(), [58]);

        let parts = [Type::Mark, Type::Protocol, Type::Port];
        let first = Key::new().ordered_mark(2).byte(6).port(8000);
        let last = Key::new().ordered_mark(2).byte(6).port(8010);
        let text = key_text(&parts, first.bytes(), Some(last.bytes()), true);
        assert_eq!(text, "2 . 6 . 8000-8010");
        assert_eq!(first.bytes(), [0, 0, 0, 2, 6, 0, 0, 0, 0x1f, 0x40, 0, 0]);
        let exact = Key::new().mark(70_000).byte(6).port(443);
        assert_eq!(key_text(&parts, exact.bytes(), None, false), "70000 . 6 . 443");
        assert_eq!(key_text(&[Type::Ip6], &[0; 16], Some(&[0xff; 16]), true).len(), 42);
    }
}
