//! A device's TPM, as far as its later quotes need it: they are verified after a restart with what stands here.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::side::Digest;

/// Bytes of the public area of an attestation key (TPMT_PUBLIC).
pub const PUBLIC_BYTES_MAX: usize = 640;
/// Bytes of its qualified name: an algorithm and a digest.
const NAME_BYTES_MAX: usize = 66;
/// Characters of who vouches for it.
const MAKER_CHARS_MAX: usize = 256;

/// A few bytes, written as hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Octets(pub Vec<u8>);

impl fmt::Display for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Octets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // One text for every value: no capitals.
        let digit = |c: &u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
        bytes.map(Self).ok_or_else(|| "it is no row of pairs of 0-9 and a-f".to_owned())
    }
}

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A TPM, by its keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tpm {
    /// SHA-256 of its endorsement key.
    pub ek: Digest,
    /// SHA-256 of the public area of its attestation key.
    pub ak: Digest,
    /// That public area (TPMT_PUBLIC).
    pub public: Octets,
    /// The qualified name of its attestation key: what its quotes say of who signed.
    pub name: Octets,
    /// Who vouches for its endorsement key, below the root that is trusted; `None`: nobody does, and a token was believed.
    pub maker: Option<String>,
}

impl Tpm {
    /// What of it is too long.
    pub(super) fn excess(&self) -> Option<&'static str> {
        let maker = self.maker.as_ref().map_or(0, |maker| maker.chars().count());
        match () {
            () if self.public.0.len() > PUBLIC_BYTES_MAX => {
                Some("its attestation key's public area")
            }
            () if self.name.0.len() > NAME_BYTES_MAX => Some("its attestation key's name"),
            () if maker > MAKER_CHARS_MAX => Some("the name of who vouches for it"),
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_have_one_text() {
        let octets = Octets(vec![0, 0x1f, 0xff]);
        assert_eq!(octets.to_string(), "001fff");
        assert_eq!("001fff".parse(), Ok(octets));
        assert_eq!("".parse(), Ok(Octets::default()));
        for wrong in ["0", "001FFF", "0g", "é0", " 00"] {
            assert!(wrong.parse::<Octets>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let digest = Digest([1; 32]);
        let (public, name) = (Octets(vec![0; PUBLIC_BYTES_MAX]), Octets(vec![0; 34]));
        let tpm = Tpm { ek: digest, ak: digest, public, name, maker: None };
        assert_eq!(tpm.excess(), None);
        let long = Octets(vec![0; PUBLIC_BYTES_MAX + 1]);
        assert!(Tpm { public: long, ..tpm.clone() }.excess().is_some());
        assert!(Tpm { name: Octets(vec![0; 67]), ..tpm.clone() }.excess().is_some());
        assert!(Tpm { maker: Some("a".repeat(257)), ..tpm }.excess().is_some());
    }
}
