//! Inclusion and consistency proofs, of trees (RFC 9162 §2.1.3, §2.1.4) and of subtrees
//! (draft-ietf-plants-merkle-tree-certs §4.3, §4.4).
//!
//! Proofs are made from any provider of hashes and believe it; whoever receives one verifies it. A tree is the subtree that
//! begins at entry 0, so there is one algorithm for both.

use crate::hash::Hash;
use crate::tree::{Nodes, is_subtree, split, subtree};

/// Why a proof cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotProve<E> {
    /// What is asked for does not exist.
    #[error("{0}")]
    Nothing(OutOfRange),
    /// A hash cannot be had.
    #[error("{0}")]
    Nodes(E),
}

/// Entries or sizes that do not exist in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfRange {
    /// No such entry.
    #[error("entry {index} is not among entries {start} to before {end}")]
    Index {
        /// The entry.
        index: u64,
        /// First entry.
        start: u64,
        /// Entry after the last.
        end: u64,
    },
    /// These entries never stand beneath one node.
    #[error("entries {start} to before {end} are no subtree")]
    Subtree {
        /// First entry.
        start: u64,
        /// Entry after the last.
        end: u64,
    },
    /// The subtree ends behind the tree.
    #[error("{old} entries are not among {new}")]
    Sizes {
        /// Where the subtree ends, or the older size.
        old: u64,
        /// The size of the tree.
        new: u64,
    },
    /// An empty tree is consistent with every tree, so a proof would say nothing.
    #[error("a tree without entries proves nothing")]
    Empty,
}

/// Why a proof is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It speaks of what does not exist.
    #[error("{0}")]
    OutOfRange(#[from] OutOfRange),
    /// It has not the number of hashes that entry and size ask for.
    #[error("the proof has {got} hashes, too {}", if *.more { "many" } else { "few" })]
    Length {
        /// Hashes it has.
        got: usize,
        /// Too many rather than too few.
        more: bool,
    },
    /// It does not lead to the root.
    #[error("the proof leads to the root {computed}, not to {expected}")]
    Root {
        /// Where it leads.
        computed: Hash,
        /// Where it should.
        expected: Hash,
    },
    /// It does not contain the older tree.
    #[error("the proof speaks of an older root {computed}, not of {expected}")]
    OldRoot {
        /// What it contains.
        computed: Hash,
        /// What it should.
        expected: Hash,
    },
}

/// Proves that entry `index` is in the tree of `size` entries (RFC 9162 §2.1.3.1), leaf's sibling first.
pub fn inclusion<N: Nodes + ?Sized>(
    nodes: &N,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, CannotProve<N::Error>> {
    subtree_inclusion(nodes, index, 0, size)
}

/// Proves that entry `index` is in the subtree from `start` to before `end`.
pub fn subtree_inclusion<N: Nodes + ?Sized>(
    nodes: &N,
    index: u64,
    start: u64,
    end: u64,
) -> Result<Vec<Hash>, CannotProve<N::Error>> {
    check_inclusion(index, start, end).map_err(CannotProve::Nothing)?;
    let (mut start, mut end) = (start, end);
    let mut proof = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        let sibling = if index < middle { (middle, end) } else { (start, middle) };
        proof.push(subtree(nodes, sibling.0, sibling.1).map_err(CannotProve::Nodes)?);
        (start, end) = if index < middle { (start, middle) } else { (middle, end) };
    }
    proof.reverse();
    Ok(proof)
}

/// Proves that the tree of `new` entries begins with the tree of `old` entries (RFC 9162 §2.1.4.1).
pub fn consistency<N: Nodes + ?Sized>(
    nodes: &N,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, CannotProve<N::Error>> {
    if old == 0 {
        return Err(CannotProve::Nothing(OutOfRange::Empty));
    }
    subtree_consistency(nodes, 0, old, new)
}

/// Proves that the tree of `size` entries has the subtree from `start` to before `end`. The proof of an empty
/// subtree is empty.
pub fn subtree_consistency<N: Nodes + ?Sized>(
    nodes: &N,
    start: u64,
    end: u64,
    size: u64,
) -> Result<Vec<Hash>, CannotProve<N::Error>> {
    check_consistency(start, end, size).map_err(CannotProve::Nothing)?;
    let mut proof = Vec::new();
    if start == end {
        return Ok(proof);
    }
    let hash = |a, b| subtree(nodes, a, b).map_err(CannotProve::Nodes);
    // What is sought, and where; the verifier has its hash only while nothing was taken off it.
    let (mut from, mut known) = (start, true);
    let (mut low, mut high) = (0, size);
    while (from, end) != (low, high) {
        let middle = low + split(high - low);
        if end <= middle {
            proof.push(hash(middle, high)?);
            high = middle;
        } else {
            proof.push(hash(low, middle)?);
            low = middle;
            if from < middle {
                (from, known) = (middle, false);
            }
        }
    }
    if !known {
        proof.push(hash(low, high)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that `leaf` is entry `index` of the tree of `size` entries with this root (RFC 9162 §2.1.3.2).
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), Invalid> {
    verify_subtree_inclusion(leaf, index, 0, size, proof, root)
}

/// Checks that `leaf` is entry `index` of the subtree from `start` to before `end` with this root.
pub fn verify_subtree_inclusion(
    leaf: &Hash,
    index: u64,
    start: u64,
    end: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), Invalid> {
    check_inclusion(index, start, end)?;
    let length = |more| Invalid::Length { got: proof.len(), more };
    let mut node = Place { first: index - start, last: end - start - 1 };
    let mut hash = *leaf;
    for sibling in proof {
        if node.last == 0 {
            return Err(length(true));
        }
        if node.has_left_sibling() {
            hash = Hash::node(sibling, &hash);
            node.skip_levels_without_sibling();
        } else {
            hash = Hash::node(&hash, sibling);
        }
        node.up();
    }
    if node.last != 0 {
        return Err(length(false));
    }
    lead_to(&hash, root)
}

/// Checks that the tree of `new` entries with `new_root` begins with the tree of `old` entries with
/// `old_root` (RFC 9162 §2.1.4.2). A tree without entries is refused: it would prove nothing.
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), Invalid> {
    if old == 0 {
        return Err(OutOfRange::Empty.into());
    }
    verify_subtree_consistency((0, old), old_root, new, new_root, proof)
}

/// Checks that the tree of `size` entries with this root has the subtree of these entries (first, and the one after the
/// last) with its root. An empty subtree has the hash of nothing and says nothing of the tree.
pub fn verify_subtree_consistency(
    (start, end): (u64, u64),
    subtree_root: &Hash,
    size: u64,
    root: &Hash,
    proof: &[Hash],
) -> Result<(), Invalid> {
    check_consistency(start, end, size)?;
    let length = |more| Invalid::Length { got: proof.len(), more };
    if start == end {
        return if !proof.is_empty() {
            Err(length(true))
        } else if *subtree_root == Hash::empty() {
            Ok(())
        } else {
            Err(Invalid::OldRoot { computed: Hash::empty(), expected: *subtree_root })
        };
    }
    // The right edge of the subtree in the tree, and how far left the subtree goes on the same level.
    let mut node = Place { first: end - 1, last: size - 1 };
    let mut begin = start;
    // Up to the largest perfect subtree at the right edge; at the edge of the tree itself, to the whole subtree.
    while begin != node.first && (node.first == node.last || node.first & 1 == 1) {
        begin >>= 1;
        node.up();
    }
    let mut hashes = proof.iter();
    let seed = if begin == node.first {
        subtree_root
    } else {
        hashes.next().ok_or_else(|| length(false))?
    };
    let (mut old, mut new) = (*seed, *seed);
    for sibling in hashes {
        if node.last == 0 {
            return Err(length(true));
        }
        if node.has_left_sibling() {
            if begin < node.first {
                old = Hash::node(sibling, &old);
            }
            new = Hash::node(sibling, &new);
            begin >>= node.skip_levels_without_sibling();
        } else {
            new = Hash::node(&new, sibling);
        }
        begin >>= 1;
        node.up();
    }
    if node.last != 0 {
        return Err(length(false));
    }
    if old != *subtree_root {
        return Err(Invalid::OldRoot { computed: old, expected: *subtree_root });
    }
    lead_to(&new, root)
}

/// A node on the way up, and the last node of its level: `fn` and `sn` of RFC 9162 §2.1.3.2.
struct Place {
    first: u64,
    last: u64,
}

impl Place {
    /// Otherwise its sibling is on the right.
    const fn has_left_sibling(&self) -> bool {
        self.first & 1 == 1 || self.first == self.last
    }

    /// A last node that is a left child has no sibling: it is moved up as it is. How many levels.
    fn skip_levels_without_sibling(&mut self) -> u32 {
        let levels = if self.first == 0 { 0 } else { self.first.trailing_zeros() };
        self.first >>= levels;
        self.last >>= levels;
        levels
    }

    const fn up(&mut self) {
        self.first >>= 1;
        self.last >>= 1;
    }
}

fn check_inclusion(index: u64, start: u64, end: u64) -> Result<(), OutOfRange> {
    if !is_subtree(start, end) {
        return Err(OutOfRange::Subtree { start, end });
    }
    if index < start || index >= end {
        return Err(OutOfRange::Index { index, start, end });
    }
    Ok(())
}

fn check_consistency(start: u64, end: u64, size: u64) -> Result<(), OutOfRange> {
    if !is_subtree(start, end) {
        return Err(OutOfRange::Subtree { start, end });
    }
    if end > size {
        return Err(OutOfRange::Sizes { old: end, new: size });
    }
    Ok(())
}

fn lead_to(computed: &Hash, expected: &Hash) -> Result<(), Invalid> {
    match computed == expected {
        true => Ok(()),
        false => Err(Invalid::Root { computed: *computed, expected: *expected }),
    }
}
