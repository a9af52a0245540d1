//! Hashes of the Merkle tree (RFC 9162 §2.1.1): SHA-256 behind one byte that keeps leaves and nodes apart.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::Malformed;

/// In front of an entry (RFC 9162 §2.1.1).
pub(crate) const LEAF_PREFIX: u8 = 0x00;
/// In front of two hashes (RFC 9162 §2.1.1).
const NODE_PREFIX: u8 = 0x01;

/// A SHA-256 value: of an entry, of a subtree, or of evidence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash of a tree without entries: SHA-256 of nothing (RFC 9162 §2.1.1).
    pub fn empty() -> Self {
        Self(Sha256::digest([]).into())
    }

    /// The hash of an entry.
    pub fn leaf(entry: &[u8]) -> Self {
        let mut state = Sha256::new();
        state.update([LEAF_PREFIX]);
        state.update(entry);
        Self(state.finalize().into())
    }

    /// The hash over two neighbouring subtrees.
    pub fn node(left: &Self, right: &Self) -> Self {
        let mut state = Sha256::new();
        state.update([NODE_PREFIX]);
        state.update(left.0);
        state.update(right.0);
        Self(state.finalize().into())
    }

    /// SHA-256 of some bytes, as evidence is named by it.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// From standard base64 (RFC 4648 §4) of exactly 32 bytes.
    pub fn from_base64(text: &str) -> Result<Self, Malformed> {
        let bytes = unbase64(text).map_err(|e| e.within("a hash", 0))?;
        let length = bytes.len();
        let wrong = |_| Malformed::new("a hash", 0, format!("{length} bytes instead of 32"));
        bytes.try_into().map(Self).map_err(wrong)
    }

    /// Standard base64, 44 characters.
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Standard base64, strict: padded, and one text for every value.
pub(crate) fn unbase64(text: &str) -> Result<Vec<u8>, Malformed> {
    use base64::DecodeError as E;
    STANDARD.decode(text).map_err(|e| {
        let at = match e {
            E::InvalidByte(at, _) | E::InvalidLastSymbol { offset: at, .. } => at,
            E::InvalidLength(_) | E::InvalidPadding => text.len(),
        };
        Malformed::new("base64", at, e.to_string())
    })
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
