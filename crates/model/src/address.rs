//! Link-layer addresses, and which network addresses belong to an estate.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A 48-bit IEEE 802 MAC address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mac(pub [u8; 6]);

/// Text that is not a MAC address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a MAC address; write six bytes in hex, as in 00:1b:1b:35:84:10")]
pub struct AddressError(String);

impl Mac {
    /// ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// 00:00:00:00:00:00, which names nobody.
    pub const ZERO: Self = Self([0; 6]);

    /// The group bit is set: multicast or broadcast, never a sender.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// The local bit is set. That does *not* mean random: relays, bridges and virtual machines
    /// use fixed local addresses.
    pub const fn is_local(self) -> bool {
        self.0[0] & 2 == 2
    }

    /// May stand for one device: not group, not zero.
    pub const fn is_unicast(self) -> bool {
        let number = self.as_u64();
        number & 1 << 40 == 0 && number != 0
    }

    /// The 48 bits as a number, first byte highest.
    pub const fn as_u64(self) -> u64 {
        // In two parts, which are two loads.
        let [a, b, c, d, e, f] = self.0;
        (u32::from_be_bytes([a, b, c, d]) as u64) << 16 | u16::from_be_bytes([e, f]) as u64
    }

    /// As `00:1b:1b:35:84:10`.
    fn text(self) -> [u8; 17] {
        let hex = |n: u8| if n < 10 { b'0' + n } else { b'a' + (n - 10) };
        let mut text = [b':'; 17];
        for (pair, byte) in text.chunks_mut(3).zip(self.0) {
            if let [high, low, ..] = pair {
                (*high, *low) = (hex(byte >> 4), hex(byte & 0xf));
            }
        }
        text
    }
}

/// As one number: tables are asked for link addresses with every packet.
impl Hash for Mac {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.as_u64());
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = AddressError;

    /// Reads `00:1b:1b:35:84:10`, `00-1B-1B-35-84-10`, `001b.1b35.8410` and `001b1b358410`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || AddressError(text.chars().take(40).collect());
        let mut bytes = [0u8; 6];
        let mut digits = 0usize;
        for c in text.chars() {
            if matches!(c, ':' | '-' | '.') {
                continue;
            }
            let digit = u8::try_from(c.to_digit(16).ok_or_else(wrong)?).map_err(|_| wrong())?;
            let slot = bytes.get_mut(digits / 2).ok_or_else(wrong)?;
            *slot = (*slot << 4) | digit;
            digits += 1;
        }
        if digits == 12 { Ok(Self(bytes)) } else { Err(wrong()) }
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The address is one that sites number their own hosts with: RFC 1918, RFC 6598, link-local
/// (RFC 3927, RFC 4291), unique local (RFC 4193).
///
/// A plant may also use public space privately; that is learnt from traffic, not from the address.
pub fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || v4.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => {
            let [first, ..] = v6.segments();
            v6.is_unicast_link_local() || first & 0xfe00 == 0xfc00
        }
    }
}

/// What counts as one, where somebody is counted: an address of IPv4, the 2⁶⁴ addresses of IPv6 that
/// whoever has one of them has (RFC 4291 §2.5.4).
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_four_usual_spellings() {
        let mac = Mac([0, 0x1b, 0x1b, 0x35, 0x84, 0x10]);
        for text in ["00:1b:1b:35:84:10", "00-1B-1B-35-84-10", "001b.1b35.8410", "001B1B358410"] {
            assert_eq!(text.parse::<Mac>().unwrap(), mac);
        }
        for text in ["", "00:1b", "00:1b:1b:35:84:10:11", "zz:1b:1b:35:84:10"] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn local_is_not_group() {
        let relay: Mac = "0a:bb:fe:00:00:01".parse().unwrap();
        assert!(relay.is_local() && relay.is_unicast());
        assert!(!Mac::BROADCAST.is_unicast());
        assert!(!Mac::ZERO.is_unicast());
    }

    #[test]
    fn private_space() {
        for ip in [
            "10.0.0.1",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "fe80::1",
            "fd00::1",
        ] {
            assert!(is_private(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["8.8.8.8", "141.81.0.10", "100.128.0.1", "2001:db8::1"] {
            assert!(!is_private(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn a_network_is_an_address_of_ipv4_and_many_of_ipv6() {
        for (one, of) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8::1", "2001:db8::"),
            ("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::"),
            ("2001:db8:0:1::1", "2001:db8:0:1::"),
        ] {
            assert_eq!(network(one.parse().unwrap()), of.parse::<IpAddr>().unwrap(), "{one}");
        }
    }
}
