//! Names and public keys of those who sign notes (C2SP signed-note, Signatures and Verifier keys).

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::hash::{base64, unbase64};
use crate::{Malformed, Signer};

/// The name of a key: not empty, without Unicode spaces, plus signs and control characters, at most 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// Checks and takes the text.
    pub fn new(text: &str) -> Result<Self, Malformed> {
        let wrong = |at, why: &str| Err(Malformed::new("a key name", at, why));
        if text.is_empty() {
            return wrong(0, "it is empty");
        }
        if text.len() > NAME_BYTES_MAX {
            return wrong(NAME_BYTES_MAX, "it is longer than 255 bytes");
        }
        match text.char_indices().find(|(_, c)| c.is_whitespace() || c.is_control() || *c == '+') {
            Some((at, _)) => wrong(at, "a space, a plus sign or a control character"),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Longest name of a key, and longest origin: what a cosigned message can hold (C2SP tlog-cosignature).
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// The first four bytes of a hash over name, type and key. It tells keys apart and proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a key signs (C2SP signed-note, Signature types).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureType {
    /// `0x01`: Ed25519 over the text of a note; what a log signs with.
    Ed25519,
    /// `0x04`: a timestamped Ed25519 cosignature of a checkpoint; what a witness signs with.
    CosignatureV1,
}

impl SignatureType {
    const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
        }
    }
}

/// The public key of a log or witness.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifierKey {
    name: KeyName,
    signs: SignatureType,
    key: [u8; 32],
}

impl VerifierKey {
    /// From its parts. A key of small order is refused: everybody can make signatures that it verifies.
    pub fn new(name: KeyName, signs: SignatureType, key: [u8; 32]) -> Result<Self, Malformed> {
        if is_weak(key) {
            return Err(Malformed::new(WHAT, 0, "the key is a point of small order"));
        }
        Ok(Self { name, signs, key })
    }

    /// The public half of somebody who signs.
    pub fn of(name: KeyName, signs: SignatureType, signer: &dyn Signer) -> Result<Self, Malformed> {
        Self::new(name, signs, signer.public_key())
    }

    /// Its name.
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// What it signs.
    pub const fn signs(&self) -> SignatureType {
        self.signs
    }

    /// The Ed25519 public key (RFC 8032 §5.1.5).
    pub const fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// `SHA-256(name || 0x0A || type || key)[:4]`.
    pub fn id(&self) -> KeyId {
        let mut state = Sha256::new();
        state.update(self.name.as_str());
        state.update([b'\n', self.signs.byte()]);
        state.update(self.key);
        let hash: [u8; 32] = state.finalize().into();
        KeyId(hash.first_chunk().copied().unwrap_or_default())
    }
}

const WHAT: &str = "a verifier key";

/// `NAME+HEX(key id)+BASE64(type || key)`.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let material = [&[self.signs.byte()][..], &self.key].concat();
        write!(f, "{}+{}+{}", self.name, self.id(), base64(&material))
    }
}

impl FromStr for VerifierKey {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let wrong = |at, why: String| Malformed::new(WHAT, at, why);
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(material)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong(text.len(), "NAME+KEYID+KEY is expected".to_owned()));
        };
        let id_at = name.len() + 1;
        let material_at = id_at + id.len() + 1;
        let name = KeyName::new(name).map_err(|e| e.within(WHAT, 0))?;
        let bytes = unbase64(material).map_err(|e| e.within(WHAT, material_at))?;
        let (signs, key) = match bytes.split_first() {
            Some((0x01, key)) => (SignatureType::Ed25519, key),
            Some((0x04, key)) => (SignatureType::CosignatureV1, key),
            Some((other, _)) => {
                let why = format!("signature type {other:#04x}; supported are 0x01 and 0x04");
                return Err(wrong(material_at, why));
            }
            None => return Err(wrong(material_at, "there is no key".to_owned())),
        };
        let length = key.len();
        let key = key
            .try_into()
            .map_err(|_| wrong(material_at, format!("the key has {length} bytes, not 32")))?;
        let key = Self::new(name, signs, key).map_err(|e| e.within(WHAT, material_at))?;
        if key.id().to_string() != id {
            return Err(wrong(id_at, format!("the key id is {}, not {id}", key.id())));
        }
        Ok(key)
    }
}

/// Whether a key is a point of small order, in any encoding: with such a key anybody can write valid signatures.
/// The orders are 1, 2, 4, 4, 8 and 8; the sign of x does not count, and y may be written plus the prime.
fn is_weak(mut key: [u8; 32]) -> bool {
    const EIGHTH: [u8; 32] = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ];
    const OTHER_EIGHTH: [u8; 32] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ];
    if let Some(last) = key.last_mut() {
        *last &= 0x7f;
    }
    let [low, middle @ .., high] = key;
    // y is 0 or 1, and p − 1, p or p + 1, where p = 2^255 − 19.
    let zero_or_one = low <= 1 && middle == [0; 30] && high == 0;
    let around_the_prime = (0xec..=0xee).contains(&low) && middle == [0xff; 30] && high == 0x7f;
    zero_or_one || around_the_prime || key == EIGHTH || key == OTHER_EIGHTH
}
