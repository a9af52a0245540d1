//! Proofs of messages as bytes that may be anything; what they prove is in `ringfence/tests/it/messages.rs`, under real keys.

use estate::commitments::proof::{HEADER, MESSAGE_BYTES_MAX, MessageProof, Placed};
use journal::Hash;
use journal::checkpoint::SignedCheckpoint;
use proptest::prelude::*;

fn head() -> SignedCheckpoint {
    let root = Hash::of(b"root").to_base64();
    let signature = format!("{}==", "A".repeat(90));
    let note = format!("example.com/journal\n9\n{root}\n\n— example.com/journal {signature}\n");
    SignedCheckpoint::decode(note.as_bytes()).unwrap()
}

fn proof(message: Vec<u8>, entry: Vec<u8>, sequence: u64, hashes: usize) -> MessageProof {
    let path = vec![Hash::of(&message); hashes];
    let placed = |index| Placed { index, entry: entry.clone(), hashes: path.clone() };
    MessageProof {
        sequence,
        commitment: Hash::of(b"commitment"),
        message,
        path: path.clone(),
        committed: placed(7),
        registered: placed(3),
        checkpoint: head(),
    }
}

#[test]
fn what_is_too_large_is_not_written() {
    assert!(proof(vec![0; 10], Vec::new(), 0, 63).encode().is_ok());
    assert!(proof(vec![0; 10], Vec::new(), 0, 64).encode().is_err());
    assert!(proof(vec![0; MESSAGE_BYTES_MAX], vec![0; 65_535], u64::MAX, 1).encode().is_ok());
    assert!(proof(vec![0; MESSAGE_BYTES_MAX + 1], Vec::new(), 0, 1).encode().is_err());
    assert!(proof(Vec::new(), vec![0; 65_536], 0, 1).encode().is_err());
}

proptest! {
    #[test]
    fn a_proof_has_one_text(
        message in prop::collection::vec(any::<u8>(), 0..40),
        entry in prop::collection::vec(any::<u8>(), 0..40),
        sequence: u64,
        hashes in 0_usize..6,
        at: prop::sample::Index,
        put in prop::collection::vec(any::<char>(), 0..3),
    ) {
        let proof = proof(message, entry, sequence, hashes);
        let text = proof.encode().unwrap();
        prop_assert_eq!(&MessageProof::decode(text.as_bytes()).unwrap().proof, &proof);
        // Anything else anywhere: refused, or read as another proof whose text it is.
        let cut = at.index(text.len());
        let cut = (0..=cut).rev().find(|cut| text.is_char_boundary(*cut)).unwrap();
        let (before, behind) = text.split_at(cut);
        let other: String = before.chars().chain(put).chain(behind.chars().skip(1)).collect();
        if let Ok(read) = MessageProof::decode(other.as_bytes()) {
            let again = read.proof.encode().unwrap();
            // The SHA-256 on top is all that may differ.
            prop_assert_eq!(again.lines().skip(2).collect::<Vec<_>>(), other.lines().skip(2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn no_bytes_stop_the_process(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = MessageProof::decode(&bytes);
        let _ = MessageProof::decode(&[HEADER.as_bytes(), &bytes].concat());
    }
}
