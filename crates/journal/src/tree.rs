//! The Merkle tree as values: the few hashes that stand for a whole tree, and hashes by place.
//!
//! A perfect subtree is named by its level and its index there: `(level, index)` has the `2^level` entries
//! that begin at `index · 2^level`. Its hash never changes once those entries are there.

use crate::hash::Hash;
use crate::{Malformed, SIZE_MAX};

/// Provides the hashes of perfect subtrees.
pub trait Nodes {
    /// Why a hash cannot be had.
    type Error;
    /// The Merkle Tree Hash over the `2^level` entries that begin at entry `index · 2^level`.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

/// A tree that has no place for another entry ([`SIZE_MAX`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tree is full: it has {SIZE_MAX} entries")]
pub struct Full;

/// The right edge of a tree: one hash for every bit of its size, enough to append and to know the root.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CompactRange {
    size: u64,
    /// Perfect subtrees from left to right, largest first.
    hashes: Vec<Hash>,
}

impl CompactRange {
    /// The tree without entries.
    pub const fn new() -> Self {
        Self { size: 0, hashes: Vec::new() }
    }

    /// From its parts; `hashes` are the perfect subtrees of the tree, largest first.
    pub fn from_parts(size: u64, hashes: Vec<Hash>) -> Result<Self, Malformed> {
        let wrong = |why| Err(Malformed::new(WHAT, 0, why));
        if size > SIZE_MAX {
            return wrong(format!("{size} entries are more than {SIZE_MAX}"));
        }
        let bits = size.count_ones();
        if u32::try_from(hashes.len()) != Ok(bits) {
            return wrong(format!("{size} entries need {bits} hashes, not {}", hashes.len()));
        }
        Ok(Self { size, hashes })
    }

    /// How many entries it has.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The Merkle Tree Hash of all entries.
    pub fn root(&self) -> Hash {
        fold(&self.hashes)
    }

    /// Appends an entry by its hash.
    pub fn append(&mut self, leaf: Hash) -> Result<(), Full> {
        self.append_with(leaf, |_, _, _| ())
    }

    /// Appends an entry, and tells every perfect subtree that it completes, from the entry upwards:
    /// level, index, hash.
    pub fn append_with(
        &mut self,
        leaf: Hash,
        mut told: impl FnMut(u8, u64, Hash),
    ) -> Result<(), Full> {
        if self.size >= SIZE_MAX {
            return Err(Full);
        }
        let (mut level, mut index, mut hash) = (0, self.size, leaf);
        told(level, index, hash);
        while index & 1 == 1 {
            // One hash is there for every low bit that is set.
            let Some(left) = self.hashes.pop() else { break };
            hash = Hash::node(&left, &hash);
            level += 1;
            index >>= 1;
            told(level, index, hash);
        }
        self.hashes.push(hash);
        self.size += 1;
        Ok(())
    }

    /// The size in eight bytes, big end first, and the hashes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        bytes.extend(self.hashes.iter().flat_map(|h| h.0));
        bytes
    }

    /// What [`Self::to_bytes`] wrote, and nothing else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let short = || Malformed::new(WHAT, bytes.len(), "it is cut short");
        let (size, rest) = bytes.split_first_chunk::<8>().ok_or_else(short)?;
        let (hashes, left) = rest.as_chunks::<32>();
        if !left.is_empty() {
            return Err(short());
        }
        Self::from_parts(u64::from_be_bytes(*size), hashes.iter().copied().map(Hash).collect())
    }
}

const WHAT: &str = "a compact range";

/// The Merkle Tree Hash of a tree of `size` entries.
pub fn root<N: Nodes + ?Sized>(nodes: &N, size: u64) -> Result<Hash, N::Error> {
    subtree(nodes, 0, size)
}

/// The right edge of a tree of `size` entries.
pub fn compact_range<N: Nodes + ?Sized>(nodes: &N, size: u64) -> Result<CompactRange, N::Error> {
    Ok(CompactRange { size, hashes: edge(nodes, 0, size)? })
}

/// The Merkle Tree Hash over the entries from `start` to before `end`, which [`is_subtree`].
pub(crate) fn subtree<N: Nodes + ?Sized>(
    nodes: &N,
    start: u64,
    end: u64,
) -> Result<Hash, N::Error> {
    Ok(fold(&edge(nodes, start, end)?))
}

/// Whether these entries can stand beneath one node: `start` is a multiple of the smallest power of two
/// that is not below their number (draft-ietf-plants-merkle-tree-certs §4.1).
pub fn is_subtree(start: u64, end: u64) -> bool {
    let Some(length) = end.checked_sub(start) else { return false };
    match length.checked_next_power_of_two() {
        Some(width) => start.is_multiple_of(width),
        None => start == 0,
    }
}

/// The largest power of two below a number greater than one: where RFC 9162 §2.1.1 splits a tree.
pub(crate) fn split(length: u64) -> u64 {
    1_u64.checked_shl(length.saturating_sub(1).checked_ilog2().unwrap_or(0)).unwrap_or(0)
}

/// The perfect subtrees of a subtree, left to right.
fn edge<N: Nodes + ?Sized>(nodes: &N, start: u64, end: u64) -> Result<Vec<Hash>, N::Error> {
    let mut hashes = Vec::new();
    let mut at = start;
    while let Some(level) = end.saturating_sub(at).checked_ilog2() {
        hashes.push(nodes.node(u8::try_from(level).unwrap_or(u8::MAX), at >> level)?);
        at += 1 << level;
    }
    Ok(hashes)
}

/// Joins perfect subtrees from the right.
fn fold(hashes: &[Hash]) -> Hash {
    let joined = hashes.iter().rev().copied().reduce(|right, left| Hash::node(&left, &right));
    joined.unwrap_or_else(Hash::empty)
}

/// Some leaf hashes, for trees that are small enough to have at hand.
impl Nodes for [Hash] {
    type Error = Missing;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Missing> {
        let missing = Missing { level, index };
        let width = 1_usize.checked_shl(level.into()).ok_or(missing)?;
        let start = usize::try_from(index).ok().and_then(|i| i.checked_mul(width));
        let start = start.ok_or(missing)?;
        let leaves = self.get(start..start.saturating_add(width)).ok_or(missing)?;
        let mut range = CompactRange::new();
        for leaf in leaves {
            range.append(*leaf).map_err(|_| missing)?;
        }
        Ok(range.root())
    }
}

/// A subtree that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no hash {index} of level {level}")]
pub struct Missing {
    /// Its level.
    pub level: u8,
    /// Its index there.
    pub index: u64,
}
