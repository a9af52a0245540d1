//! One wrong byte, found by trying: what a medium that rots leaves behind, and a small forgery too.
//!
//! A hash says that some bytes are wrong, not which. When the right hash is proven, every change of one byte can be tried
//! against it; the one that fits says what was there.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::hash::{Hash, LEAF_PREFIX};

/// A byte that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flip {
    /// Where, from 0.
    pub offset: usize,
    /// What is there.
    pub is: u8,
    /// What belongs there.
    pub was: u8,
}

impl fmt::Display for Flip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, is, was } = self;
        write!(f, "byte {offset} is {is:#04x} instead of {was:#04x}")
    }
}

impl Flip {
    /// The first byte in which two byte strings of one length differ.
    pub fn between(is: &[u8], was: &[u8]) -> Option<Self> {
        let pairs = is.iter().zip(was).enumerate();
        let mut different = pairs.filter(|(_, (is, was))| is != was);
        different.next().map(|(offset, (is, was))| Self { offset, is: *is, was: *was })
    }
}

/// Entries up to this length, in bytes, are tried with every value of every byte: at most 2^28 bytes are hashed.
const ALL_VALUES_BYTES_MAX: usize = 1_024;
/// Entries up to this length are tried with every bit turned: at most 2^27 bytes are hashed.
const ALL_BITS_BYTES_MAX: usize = 4_096;

/// The byte of an entry that has to change for the entry to have this leaf hash, if one byte is enough and the entry is
/// short enough to try. Turned bits come first: media turn them.
pub fn in_entry(entry: &[u8], leaf: &Hash) -> Option<Flip> {
    let turned = || byte_in(entry, leaf, bits);
    let any = || byte_in(entry, leaf, |is| (0..=u8::MAX).filter(move |byte| *byte != is));
    let short = |bytes_max| entry.len() <= bytes_max;
    let turned = short(ALL_BITS_BYTES_MAX).then(turned).flatten();
    turned.or_else(|| short(ALL_VALUES_BYTES_MAX).then(any).flatten())
}

/// Tries other values of every byte. What is before the byte is hashed once.
fn byte_in<I: Iterator<Item = u8>>(
    entry: &[u8],
    leaf: &Hash,
    values: impl Fn(u8) -> I,
) -> Option<Flip> {
    let mut before = Sha256::new_with_prefix([LEAF_PREFIX]);
    for (offset, is) in entry.iter().enumerate() {
        let after = entry.get(offset + 1..).unwrap_or_default();
        let fits = |was: &u8| {
            let mut state = before.clone();
            state.update([*was]);
            state.update(after);
            <[u8; 32]>::from(state.finalize()) == leaf.0
        };
        if let Some(was) = values(*is).find(fits) {
            return Some(Flip { offset, is: *is, was });
        }
        before.update([*is]);
    }
    None
}

/// The bit that has to turn for some bytes to be good, if one is enough.
pub fn bit_in(bytes: &[u8], mut is_good: impl FnMut(&[u8]) -> bool) -> Option<Flip> {
    let mut tried = bytes.to_vec();
    for (offset, is) in bytes.iter().enumerate() {
        for was in bits(*is) {
            if let Some(byte) = tried.get_mut(offset) {
                *byte = was;
            }
            if is_good(&tried) {
                return Some(Flip { offset, is: *is, was });
            }
        }
        if let Some(byte) = tried.get_mut(offset) {
            *byte = *is;
        }
    }
    None
}

/// A byte with one of its bits turned.
fn bits(byte: u8) -> impl Iterator<Item = u8> {
    (0..8).map(move |n| byte ^ (1 << n))
}
