//! DHCP unique identifiers (RFC 8415 §11, RFC 6355, RFC 4361).

use model::Mac;

use crate::Reader;

/// Longest DUID that RFC 8415 §11.1 allows, with its type.
const LENGTH_MAX: usize = 130;

/// What a DUID says about its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Duid<'a> {
    bytes: &'a [u8],
    /// How it was made.
    pub(super) kind: &'static str,
    /// Link address of one of its owner's interfaces at the time it was made (LLT, LL).
    pub(super) mac: Option<Mac>,
    /// Enterprise number of the maker (EN).
    pub(super) enterprise: Option<u32>,
}

impl<'a> Duid<'a> {
    /// Reads one; `None` for what RFC 8415 does not allow or what says nothing.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        let kind = r.u16_be().ok()?;
        if !(3..=LENGTH_MAX).contains(&bytes.len()) || r.rest().iter().all(|b| *b == 0) {
            return None;
        }
        let mut duid = Self {
            bytes,
            kind: match kind {
                1 => "llt",
                2 => "en",
                3 => "ll",
                4 => "uuid",
                _ => "other",
            },
            mac: None,
            enterprise: None,
        };
        match kind {
            // Hardware type 1 (Ethernet) and 6 (IEEE 802) carry a 48-bit address.
            1 | 3 => {
                let hardware = r.u16_be().ok()?;
                if kind == 1 {
                    r.skip(4).ok()?;
                }
                let mac = r.array().ok().map(Mac);
                duid.mac = mac.filter(|m| matches!(hardware, 1 | 6) && m.is_unicast());
            }
            2 => duid.enterprise = r.u32_be().ok(),
            _ => {}
        }
        Some(duid)
    }

    /// The normal form that identifies: hex of all bytes, type first. The same for DHCPv6 and
    /// for RFC 4361 client identifiers of DHCPv4.
    pub(super) fn normal(&self) -> String {
        // Longer than `text::hex` shows, because two DUIDs may differ in their last byte only.
        use std::fmt::Write as _;
        self.bytes.iter().fold(String::new(), |mut text, b| {
            let _ = write!(text, "{b:02x}");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::unhex;

    #[test]
    fn the_four_kinds_and_damage() {
        let check = |hex: &str, expect: Option<(&str, Option<&str>, Option<u32>)>| {
            let bytes = unhex(hex);
            let got = Duid::read(&bytes);
            let got = got.map(|d| (d.kind, d.mac.map(|m| m.to_string()), d.enterprise));
            let expect = expect.map(|(k, m, e)| (k, m.map(str::to_owned), e));
            assert_eq!(got, expect, "{hex}");
        };
        check("0001 0001 1c39cf88 080027fe8f95", Some(("llt", Some("08:00:27:fe:8f:95"), None)));
        check("0003 0001 001b1b358410", Some(("ll", Some("00:1b:1b:35:84:10"), None)));
        check("0002 00000009 0cc084d303000912", Some(("en", None, Some(9))));
        check("0004 00112233445566778899aabbccddeeff", Some(("uuid", None, None)));
        check("0003 0001 000000000000", Some(("ll", None, None)));
        check("0003 0000000000000000", None);
        check("0001 0001 1c39", None);
        check("00", None);
    }
}
