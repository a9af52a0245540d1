//! Public keys and signed commitments as texts: in documents, and in entries for ever.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use journal::commitment::{Key, Signed};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::side::Digest;

/// A public key that signs commitments: `ed25519:` or `p256:` and its bytes in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey(pub Key);

impl PublicKey {
    /// What commitments name it by ([`Key::id`]).
    pub fn id(&self) -> Digest {
        self.0.id().into()
    }

    /// `ed25519` or `p256`.
    pub const fn kind(&self) -> &'static str {
        match self.0 {
            Key::Ed25519(_) => "ed25519",
            Key::P256(_) => "p256",
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.kind())?;
        let bytes: &[u8] = match &self.0 {
            Key::Ed25519(key) => key,
            Key::P256(key) => key,
        };
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            "a key is `ed25519:` and 64, or `p256:` and 130 hexadecimal digits, 0-9 and a-f"
                .to_owned()
        };
        let (kind, digits) = text.split_once(':').ok_or_else(wrong)?;
        let bytes = unhex(digits).ok_or_else(wrong)?;
        match kind {
            "ed25519" => bytes.try_into().map(Key::Ed25519).map(Self).map_err(|_| wrong()),
            // An uncompressed point (SEC 1 §2.3.3).
            "p256" if bytes.first() == Some(&4) => {
                bytes.try_into().map(Key::P256).map(Self).map_err(|_| wrong())
            }
            _ => Err(wrong()),
        }
    }
}

/// One text for every value: no capitals.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: &u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

/// A signed commitment, byte for byte as its device sent it; in base64 (RFC 4648 §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent(pub Signed);

impl Serialize for Sent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = self.0.encode().map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Sent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let bytes = STANDARD.decode(&*text).map_err(serde::de::Error::custom)?;
        Signed::decode(&bytes).map(Self).map_err(serde::de::Error::custom)
    }
}

macro_rules! as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

as_text!(PublicKey);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_text() {
        let ed = PublicKey(Key::Ed25519([0xab; 32]));
        let text = format!("ed25519:{}", "ab".repeat(32));
        assert_eq!((ed.to_string(), text.parse()), (text.clone(), Ok(ed)));
        let point = format!("p256:04{}", "0c".repeat(64));
        assert_eq!(point.parse::<PublicKey>().unwrap().to_string(), point);
        for wrong in [
            "",
            "ed25519:",
            &text.to_uppercase(),
            &text.replace("ab", "AB"),
            &text.replacen("ab", "a", 1),
            &format!("{text}ab"),
            &point.replace("p256:04", "p256:03"),
            &point.replace("p256", "ed25519"),
        ] {
            assert!(wrong.parse::<PublicKey>().is_err(), "{wrong}");
        }
    }
}
