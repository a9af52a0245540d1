//! The definitions of RFC 6962 and of the Merkle Tree Certificates draft written down as they stand, recursion and all; and keys that
//! are no cryptography.

use journal::tree::Nodes;
use journal::{Hash, KeyName, SignatureType, Signer, Verifier, VerifierKey};
use sha2::{Digest as _, Sha256};

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut state = Sha256::new();
    parts.iter().for_each(|part| state.update(part));
    Hash(state.finalize().into())
}

/// "k, the largest power of two smaller than n" (RFC 6962 §2.1).
fn k(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

/// MTH (RFC 6962 §2.1).
pub(crate) fn mth(d: &[Vec<u8>]) -> Hash {
    match d {
        [] => sha256(&[]),
        [d0] => sha256(&[&[0], d0]),
        _ => {
            let (left, right) = d.split_at(k(d.len()));
            sha256(&[&[1], &mth(left).0, &mth(right).0])
        }
    }
}

/// PATH (RFC 6962 §2.1.1).
pub(crate) fn path(m: usize, d: &[Vec<u8>]) -> Vec<Hash> {
    if d.len() == 1 {
        return Vec::new();
    }
    let (left, right) = d.split_at(k(d.len()));
    let (mut path, sibling) = match m < left.len() {
        true => (path(m, left), mth(right)),
        false => (path(m - left.len(), right), mth(left)),
    };
    path.push(sibling);
    path
}

/// PROOF (RFC 6962 §2.1.2).
pub(crate) fn proof(m: usize, d: &[Vec<u8>]) -> Vec<Hash> {
    subproof(m, d, true)
}

fn subproof(m: usize, d: &[Vec<u8>], b: bool) -> Vec<Hash> {
    if m == d.len() {
        return if b { Vec::new() } else { vec![mth(d)] };
    }
    let (left, right) = d.split_at(k(d.len()));
    let (mut proof, other) = match m <= left.len() {
        true => (subproof(m, left, b), mth(right)),
        false => (subproof(m - left.len(), right, false), mth(left)),
    };
    proof.push(other);
    proof
}

/// SUBTREE_PROOF (draft-ietf-plants-merkle-tree-certs §4.4.1).
pub(crate) fn subtree_proof(start: usize, end: usize, d: &[Vec<u8>]) -> Vec<Hash> {
    subtree_subproof(start, end, d, true)
}

fn subtree_subproof(start: usize, end: usize, d: &[Vec<u8>], b: bool) -> Vec<Hash> {
    if start == 0 && end == d.len() {
        return if b { Vec::new() } else { vec![mth(d)] };
    }
    let k = k(d.len());
    let (left, right) = d.split_at(k);
    let (mut proof, other) = if end <= k {
        (subtree_subproof(start, end, left, b), mth(right))
    } else if k <= start {
        (subtree_subproof(start - k, end - k, right, b), mth(left))
    } else {
        assert_eq!(start, 0, "only a subtree from the first entry goes over a split");
        (subtree_subproof(0, end - k, right, false), mth(left))
    };
    proof.push(other);
    proof
}

/// A tree whose entries are all the same, so that one of any size can be had.
pub(crate) struct Uniform(Vec<Hash>);

impl Uniform {
    pub(crate) fn new(leaf: Hash) -> Self {
        let mut levels = vec![leaf];
        for level in 0..63 {
            levels.push(sha256(&[&[1], &levels[level].0, &levels[level].0]));
        }
        Self(levels)
    }
}

impl Nodes for Uniform {
    type Error = std::convert::Infallible;

    fn node(&self, level: u8, _: u64) -> Result<Hash, Self::Error> {
        Ok(self.0[usize::from(level)])
    }
}

/// Every perfect subtree of some entries, made once.
pub(crate) struct Grid(Vec<Vec<Hash>>);

impl Grid {
    pub(crate) fn new(d: &[Vec<u8>]) -> Self {
        let mut levels = vec![d.iter().map(|d| sha256(&[&[0], d])).collect::<Vec<_>>()];
        while let Some(below) = levels.last().filter(|l| l.len() > 1) {
            let pairs = below.chunks_exact(2);
            levels.push(pairs.map(|p| sha256(&[&[1], &p[0].0, &p[1].0])).collect());
        }
        Self(levels)
    }
}

impl Nodes for Grid {
    type Error = std::convert::Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error> {
        Ok(self.0[usize::from(level)][usize::try_from(index).unwrap()])
    }
}

/// A key whose public half is all there is to it: enough to see who vouches for which bytes.
#[derive(Clone, Debug)]
pub(crate) struct Toy {
    pub(crate) name: KeyName,
    public: [u8; 32],
}

impl Toy {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: KeyName::new(name).unwrap(), public: sha256(&[b"toy", name.as_bytes()]).0 }
    }

    /// Its key as a log.
    pub(crate) fn log(&self) -> VerifierKey {
        VerifierKey::new(self.name.clone(), SignatureType::Ed25519, self.public).unwrap()
    }

    /// Its key as a witness.
    pub(crate) fn witness(&self) -> VerifierKey {
        VerifierKey::new(self.name.clone(), SignatureType::CosignatureV1, self.public).unwrap()
    }
}

fn toy_signature(key: &[u8; 32], message: &[u8]) -> [u8; 64] {
    let halves = [sha256(&[key, b"0", message]).0, sha256(&[key, b"1", message]).0];
    halves.concat().try_into().unwrap()
}

impl Signer for Toy {
    fn public_key(&self) -> [u8; 32] {
        self.public
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        Ok(toy_signature(&self.public, message))
    }
}

/// Checks signatures of [`Toy`]s.
pub(crate) struct Toys;

impl Verifier for Toys {
    fn verify(&self, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        *signature == toy_signature(key, message)
    }
}

/// Distinct entries of different lengths; the first one is empty.
pub(crate) fn data(n: usize) -> Vec<Vec<u8>> {
    (0..n).map(|i| if i == 0 { Vec::new() } else { format!("{i:b}").into_bytes() }).collect()
}
