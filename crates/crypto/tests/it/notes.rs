//! Notes, checkpoints and cosignatures with real keys.

use crypto::{KeyError, NoteKey, PrivateKey, Provider};
use journal::checkpoint::{Checkpoint, SignedCheckpoint};
use journal::note::{NotSigned, Note};
use journal::policy::{Distrust, Party, Policy};
use journal::tlog_proof::TlogProof;
use journal::witness::{AddCheckpoint, Witness, accept};
use journal::{Hash, KeyName, SignatureType, Signer, Verifier, VerifierKey, proof, tree};
use pki::KeyKind;

/// The example of C2SP signed-note, Verifier keys.
const EXAMPLE_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const EXAMPLE_NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo \
    Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

fn key() -> NoteKey {
    let (key, _) = PrivateKey::generate(KeyKind::Ed25519).unwrap();
    NoteKey::try_from(key).unwrap()
}

fn name(text: &str) -> KeyName {
    KeyName::new(text).unwrap()
}

#[test]
fn the_example_of_the_specification_verifies() {
    let key: VerifierKey = EXAMPLE_KEY.parse().unwrap();
    let note = Note::decode(EXAMPLE_NOTE.as_bytes()).unwrap();
    assert_eq!(note.verify([&key], &Provider).unwrap()[0].key, &key);
    for at in 0..EXAMPLE_NOTE.len() {
        let mut bytes = EXAMPLE_NOTE.as_bytes().to_vec();
        bytes[at] ^= 1;
        let verified = Note::decode(&bytes).map(|n| n.verify([&key], &Provider).is_ok());
        assert!(!matches!(verified, Ok(true)), "byte {at}");
    }
}

#[test]
fn an_entry_is_proven_with_a_log_and_two_witnesses() {
    let origin = name("ringfence.example/journal");
    let log = key();
    let log_key = VerifierKey::of(origin.clone(), SignatureType::Ed25519, &log).unwrap();
    let entries: Vec<Vec<u8>> = (0..100_u8).map(|n| vec![n; 20]).collect();
    let leaves: Vec<Hash> = entries.iter().map(|e| Hash::leaf(e)).collect();
    let root = tree::root(leaves.as_slice(), 100).unwrap();
    let mut checkpoint = SignedCheckpoint::sign(Checkpoint::new(&origin, 100, root), &log).unwrap();

    let mut parties = Vec::new();
    for party in ["it", "auditor"] {
        let (witness, cosigner) = (name(&format!("{party}.example/w")), key());
        let public = VerifierKey::of(witness.clone(), SignatureType::CosignatureV1, &cosigner);
        let public = public.unwrap();
        let mut watch = Witness::new([log_key.clone()]);
        let request = AddCheckpoint { old: 0, proof: Vec::new(), checkpoint: checkpoint.clone() };
        let grant = watch.judge(&request, &Provider).unwrap();
        let line = watch.commit(grant).unwrap().cosign(1_795_350_896, &witness, &cosigner).unwrap();
        let keys = [public.clone()];
        assert_eq!(accept(&mut checkpoint, &line.line(), &keys, &Provider), Ok(1_795_350_896));
        parties.push(Party { name: party.to_owned(), witnesses: vec![public] });
    }
    let policy = Policy::parties(log_key, 2, parties).unwrap();
    let hashes = proof::inclusion(leaves.as_slice(), 42, 100).unwrap();
    let proof = TlogProof { extra: None, index: 42, hashes, checkpoint };
    let text = proof.encode().unwrap();
    let verify = |bytes: &[u8]| {
        let proof = TlogProof::decode(bytes).map_err(|e| e.to_string())?;
        proof.verify(&leaves[42], &policy, &Provider).map_err(|e| e.to_string())
    };
    assert_eq!(verify(text.as_bytes()).unwrap().cosigned.len(), 2);
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        assert!(verify(&bytes).is_err(), "byte {at}: {}", String::from_utf8_lossy(&bytes));
    }
    let one = Note::decode(proof.checkpoint.encode().as_bytes()).unwrap();
    let mut less = Note::new(one.text().to_owned()).unwrap();
    one.signatures().iter().take(2).for_each(|line| less.add(line.clone()).unwrap());
    let less = SignedCheckpoint::decode(less.encode().as_bytes()).unwrap();
    assert!(matches!(policy.judge(&less, &Provider), Err(Distrust::Quorum { needed: 2, .. })));
}

/// The order of the group (RFC 8032 §5.1), little end first.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// "The verification MUST reject S outside of 0 ≤ S < L" (RFC 8032 §5.1.7): else one signature has several byte strings.
#[test]
fn a_signature_has_one_form() {
    let signer = key();
    let mut signature = signer.sign(b"text").unwrap();
    assert!(Verifier::verify(&Provider, &signer.public_key(), b"text", &signature));
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (u8::try_from(sum & 0xff).unwrap(), sum >> 8);
    }
    assert!(!Verifier::verify(&Provider, &signer.public_key(), b"text", &signature));
}

/// The neutral point as a key verifies a signature that takes no secret, whatever the text. So a key like that is none.
#[test]
fn a_key_that_everybody_can_sign_for_is_refused() {
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    for text in ["one text", "another text"] {
        assert!(Verifier::verify(&Provider, &neutral, text.as_bytes(), &signature));
    }
    let fault = VerifierKey::new(name("k"), SignatureType::Ed25519, neutral).unwrap_err();
    assert!(fault.why.contains("small order"), "{fault}");
}

#[test]
fn only_ed25519_signs_notes() {
    for kind in [KeyKind::P256, KeyKind::Rsa(2_048)] {
        let (key, _) = PrivateKey::generate(kind).unwrap();
        assert_eq!(NoteKey::try_from(key).unwrap_err(), KeyError::NotEd25519(kind));
    }
    let mut note = Note::new("text\n".to_owned()).unwrap();
    let signer = key();
    note.sign(&name("me.example"), &signer).unwrap();
    let own = VerifierKey::of(name("me.example"), SignatureType::Ed25519, &signer).unwrap();
    assert!(note.verify([&own], &Provider).is_ok());
    let other = VerifierKey::of(name("me.example"), SignatureType::Ed25519, &key()).unwrap();
    assert_eq!(note.verify([&other], &Provider), Err(NotSigned::Nobody));
}
