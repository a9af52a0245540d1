//! What the fuzz target calls: any bytes as everything that is read here, and as a small tree.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::audit::Auditor;
use crate::checkpoint::SignedCheckpoint;
use crate::entry::Entry;
use crate::hash::Hash;
use crate::note::{Note, NoteSignature};
use crate::policy::Policy;
use crate::tile::{TilePath, Tiler};
use crate::tlog_proof::TlogProof;
use crate::tree::{CompactRange, root};
use crate::witness::{AddCheckpoint, Witness};
use crate::{Malformed, Verifier, VerifierKey, bundle, commitment, proof};

/// Reads the bytes as each format; what is read is written again, and must be the same bytes. The provider says yes to every
/// signature, so that the code behind it is reached.
pub fn journal(bytes: &[u8]) {
    same(bytes, Entry::decode(bytes).ok(), Entry::encode);
    same(bytes, Note::decode(bytes).ok(), |n| Ok(n.encode()));
    same(bytes, SignedCheckpoint::decode(bytes).ok(), |c| Ok(c.encode()));
    same(bytes, TlogProof::decode(bytes).ok(), TlogProof::encode);
    same(bytes, AddCheckpoint::decode(bytes).ok(), AddCheckpoint::encode);
    same(bytes, commitment::Signed::decode(bytes).ok(), commitment::Signed::encode);
    same(bytes, CompactRange::from_bytes(bytes).ok(), |r| Ok(r.to_bytes()));
    if let Ok(text) = std::str::from_utf8(bytes) {
        same(bytes, text.parse::<VerifierKey>().ok(), |k| Ok(k.to_string()));
        same(bytes, text.parse::<TilePath>().ok(), |p| Ok(p.to_string()));
        let lines = NoteSignature::decode_lines(text).ok();
        same(bytes, lines, |l| Ok(l.iter().map(NoteSignature::line).collect::<String>()));
        // A policy has comments and shorthands: it is the same value, not the same text.
        if let Ok(policy) = text.parse::<Policy>() {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
    }
    believed(bytes);
    grown(bytes);
}

/// Reads the bytes as a sequence of commitments; what is read is written again, and must be the same bytes. Each is then judged as the
/// registry would have it, with a provider that says yes.
pub fn commitments(bytes: &[u8]) {
    let Ok(all) = commitment::Signed::decode_sequence(bytes) else { return };
    assert!(!all.is_empty() && all.len() <= commitment::SEQUENCE_MAX, "within its bounds");
    let mut again = Vec::new();
    for signed in &all {
        again.extend(signed.encode().unwrap_or_default());
    }
    assert_eq!(again, bytes, "one byte string for {all:?}");
    let key = commitment::Key::P256([4; 65]);
    let mut last: Option<commitment::Last> = None;
    for signed in &all {
        let mut ours = signed.clone();
        ours.commitment.key = key.id();
        let device = ours.commitment.device.clone();
        let speaker = commitment::Speaker {
            class: ours.commitment.class,
            key: &key,
            device: &device,
            epoch: ours.commitment.epoch,
        };
        if let Ok(accepted) = commitment::accept(&ours, &speaker, last.as_ref(), &Yes) {
            last = Some(accepted.last());
        }
    }
}

fn same<T: Debug, B: AsRef<[u8]>>(
    bytes: &[u8],
    read: Option<T>,
    write: impl Fn(&T) -> Result<B, Malformed>,
) {
    let Some(value) = read else { return };
    let written = write(&value);
    let written = written.as_ref().map(AsRef::as_ref);
    assert_eq!(written, Ok(bytes), "one byte string for {value:?}");
}

/// A witness and an auditor meet the bytes.
fn believed(bytes: &[u8]) {
    let Ok(request) = AddCheckpoint::decode(bytes) else {
        return;
    };
    let origin = &request.checkpoint.checkpoint().origin;
    let key = |line: &NoteSignature| {
        let named = line.name.as_str() == origin;
        named.then(|| VerifierKey::new(line.name.clone(), crate::SignatureType::Ed25519, [7; 32]))
    };
    let Some(Ok(key)) = request.checkpoint.note().signatures().iter().find_map(key) else {
        return;
    };
    let mut witness = Witness::new([key.clone()]);
    if let Ok(grant) = witness.judge(&request, &Yes) {
        let _ = witness.commit(grant);
    }
    let note = request.checkpoint.encode();
    let checkpoints = [("request", note.as_bytes())];
    let policy = Policy::log_alone(key);
    let tiles = BTreeMap::new();
    let mut auditor = Auditor::new(&checkpoints, Some(&tiles), &policy, &Yes);
    auditor.bundle(bytes);
    let _ = auditor.finish();
}

/// Every proof of a tree whose entries are pieces of the bytes is good, and tiles give the same tree.
fn grown(bytes: &[u8]) {
    let leaves: Vec<Hash> = bytes.chunks(7).take(40).map(Hash::leaf).collect();
    let mut tiler = Tiler::new();
    let mut heads = vec![tiler.root()];
    for leaf in &leaves {
        if tiler.append(*leaf).is_err() {
            return;
        }
        heads.push(tiler.root());
    }
    let size = tiler.size();
    let picked = u64::from(bytes.first().copied().unwrap_or_default()) % size.max(1);
    let (Some(leaf), Some(head)) =
        (usize::try_from(picked).ok().and_then(|n| leaves.get(n)), heads.last())
    else {
        return;
    };
    assert_eq!(root(leaves.as_slice(), size), Ok(*head));
    let inclusion = proof::inclusion(leaves.as_slice(), picked, size);
    let checked = inclusion.map(|p| proof::verify_inclusion(leaf, picked, size, &p, head));
    assert_eq!(checked, Ok(Ok(())));
    let old = picked + 1;
    let Some(old_head) = usize::try_from(old).ok().and_then(|n| heads.get(n)) else { return };
    let consistency = proof::consistency(leaves.as_slice(), old, size);
    let checked = consistency.map(|p| proof::verify_consistency(old, old_head, size, head, &p));
    assert_eq!(checked, Ok(Ok(())));
    // Foreign hashes in place of the proof prove nothing.
    let (foreign, _) = bytes.as_chunks::<32>();
    let foreign: Vec<Hash> = foreign.iter().copied().map(Hash).collect();
    let checked = proof::verify_inclusion(leaf, picked, size, &foreign, head);
    assert!(size == 1 || checked.is_err(), "a proof out of nothing: {foreign:?}");
    let _ = bundle::read(bytes, bytes.first().copied().unwrap_or_default().into());
}

struct Yes;

impl Verifier for Yes {
    fn verify(&self, _: &[u8; 32], _: &[u8], _: &[u8; 64]) -> bool {
        true
    }
}

impl commitment::Verifier for Yes {
    fn verify_commitment(&self, _: &commitment::Key, _: &[u8], _: &[u8; 64]) -> bool {
        true
    }
}
