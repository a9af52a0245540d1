//! Signed notes, checkpoints, cosignatures and offline proofs (C2SP), as texts.

use journal::checkpoint::{Checkpoint, SignedCheckpoint};
use journal::note::{NOTE_BYTES_MAX, NotSigned, Note, NoteSignature};
use journal::policy::{Party, Policy};
use journal::tlog_proof::{Disproved, TlogProof};
use journal::witness::{AddCheckpoint, Witness};
use journal::{Hash, KeyName, SIZE_MAX, SignatureType, VerifierKey, cosignature, proof, tree};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::reference::{Toy, Toys, Uniform};

/// The example of C2SP signed-note, Verifier keys.
const EXAMPLE_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const EXAMPLE_NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo \
    Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

/// The example of C2SP tlog-cosignature.
const EXAMPLE_CHECKPOINT: &str = "example.com/behind-the-sofa\n20852163\n\
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
    \u{2014} example.com/behind-the-sofa \
    Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
    \u{2014} witness.example.com/w1 \
    jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";

/// A checkpoint by a log, with the cosignatures of witnesses.
pub(crate) fn signed(log: &Toy, size: u64, root: Hash, witnesses: &[&Toy]) -> SignedCheckpoint {
    let mut signed = SignedCheckpoint::sign(Checkpoint::new(&log.name, size, root), log).unwrap();
    for (toy, time) in witnesses.iter().zip(1_700_000_000..) {
        let request = AddCheckpoint { old: 0, proof: Vec::new(), checkpoint: signed.clone() };
        let mut witness = Witness::new([log.log()]);
        let grant = witness.judge(&request, &Toys).unwrap();
        let line = witness.commit(grant).unwrap().cosign(time, &toy.name, *toy).unwrap();
        signed.add(line).unwrap();
    }
    signed
}

#[test]
fn the_examples_of_the_specifications_are_read_and_written() {
    let key: VerifierKey = EXAMPLE_KEY.parse().unwrap();
    assert_eq!(key.to_string(), EXAMPLE_KEY);
    assert_eq!((key.name().as_str(), key.signs()), ("example.com/foo", SignatureType::Ed25519));
    let note = Note::decode(EXAMPLE_NOTE.as_bytes()).unwrap();
    assert_eq!(note.text(), "This is an example message.\n");
    assert_eq!(note.signatures()[0].id, key.id());
    assert_eq!(note.encode(), EXAMPLE_NOTE);

    let signed = SignedCheckpoint::decode(EXAMPLE_CHECKPOINT.as_bytes()).unwrap();
    let head = signed.checkpoint();
    assert_eq!((head.origin.as_str(), head.size), ("example.com/behind-the-sofa", 20_852_163));
    assert_eq!(head.root.to_string(), "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=");
    assert_eq!(signed.note().signatures().len(), 2);
    assert_eq!(signed.encode(), EXAMPLE_CHECKPOINT);
    // The cosignature says 1679315147, eight bytes behind the key id.
    assert_eq!(signed.note().signatures()[1].signature[..8], 1_679_315_147_u64.to_be_bytes());
    assert_eq!(
        cosignature::message(signed.note().text(), 1_679_315_147),
        "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n\
         CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    );
}

#[test]
fn key_ids_are_as_defined() {
    for (key, byte) in [(Toy::new("log.example").log(), 1), (Toy::new("w.example").witness(), 4)] {
        let whole = [key.name().as_str().as_bytes(), b"\n", &[byte], key.key()].concat();
        assert_eq!(key.id().0, Sha256::digest(whole)[..4]);
    }
}

#[test]
fn keys_in_other_forms_are_refused() {
    let (name, rest) = EXAMPLE_KEY.split_once('+').unwrap();
    let (id, material) = rest.split_once('+').unwrap();
    for (text, at) in [
        (String::new(), 0),
        (format!("{name}+{id}"), name.len() + 1 + id.len()),
        (format!("+{id}+{material}"), 0),
        (format!("exam ple+{id}+{material}"), 4),
        (format!("{name}+530d903b+{material}"), name.len() + 1),
        (format!("{name}+530D903A+{material}"), name.len() + 1),
        (format!("{name}+0530d903a+{material}"), name.len() + 1),
        (format!("{name}2+{id}+{material}"), name.len() + 2),
        (format!("{name}+{id}+"), name.len() + id.len() + 2),
        (format!("{name}+{id}+{material}="), name.len() + id.len() + 2 + material.len()),
        (format!("{name}+{id}+AQ=="), name.len() + id.len() + 2),
        // Types 0x02 and 0x06.
        (format!("{name}+{id}+Ag{}", &material[2..]), name.len() + id.len() + 2),
        (format!("{name}+{id}+Bg{}", &material[2..]), name.len() + id.len() + 2),
    ] {
        assert_eq!(text.parse::<VerifierKey>().map_err(|e| e.at), Err(at), "{text}");
    }
    assert!(KeyName::new(&"n".repeat(255)).is_ok());
    assert!(KeyName::new(&"n".repeat(256)).is_err());
    for name in ["", "a b", "a+b", "a\u{2003}b", "a\u{a0}b", "a\nb", "a\u{7f}b", "\u{85}"] {
        assert!(KeyName::new(name).is_err(), "{name:?}");
    }
}

/// Points of small order and their other spellings: with such a key everybody can sign.
#[test]
fn keys_that_everybody_can_sign_for_are_refused() {
    let weak = |low: u8, middle: u8, high: u8| {
        let mut key = [middle; 32];
        (key[0], key[31]) = (low, high);
        VerifierKey::new(KeyName::new("k").unwrap(), SignatureType::Ed25519, key).is_err()
    };
    for high in [0x00, 0x80] {
        assert!(weak(0, 0, high) && weak(1, 0, high));
        assert!(!weak(2, 0, high));
    }
    for high in [0x7f, 0xff] {
        assert!(weak(0xec, 0xff, high) && weak(0xed, 0xff, high) && weak(0xee, 0xff, high));
        assert!(!weak(0xeb, 0xff, high));
    }
}

#[test]
fn malformed_notes_are_refused_with_their_place() {
    let line = "\u{2014} k AAAAAAA=\n";
    for (note, at) in [
        ("text\n".to_owned(), 5),
        ("text\n\n".to_owned(), 6),
        (format!("text\n{line}"), 5 + line.len()),
        (format!("text\n\n{}", line.trim_end()), 6 + line.len() - 1),
        (format!("text\n\n{line}x"), 6 + line.len() + 1),
        (format!("text\n\n{line}x\n"), 6 + line.len()),
        ("text\n\n- k AAAAAAA=\n".to_owned(), 6),
        ("text\n\n\u{2014}k AAAAAAA=\n".to_owned(), 6),
        ("text\n\n\u{2014} k\n".to_owned(), 11),
        ("text\n\n\u{2014} k \n".to_owned(), 12),
        ("text\n\n\u{2014}  AAAAAAA=\n".to_owned(), 10),
        ("text\n\n\u{2014} k+ AAAAAAA=\n".to_owned(), 11),
        ("text\n\n\u{2014} k AAAAAA==\n".to_owned(), 12),
        ("text\n\n\u{2014} k AAAAAAA\n".to_owned(), 19),
        ("text\n\n\u{2014} k AAAAAAB=\n".to_owned(), 18),
        ("text\n\n\u{2014} k AAA-AAA=\n".to_owned(), 15),
        (format!("te\rxt\n\n{line}"), 2),
        (format!("te\0xt\n\n{line}"), 2),
    ] {
        assert_eq!(Note::decode(note.as_bytes()).map_err(|e| e.at), Err(at), "{note:?}");
    }
    let latin = [b"t\xe4xt\n\n", line.as_bytes()].concat();
    assert_eq!(Note::decode(&latin).map_err(|e| e.at), Err(1));
    let long = format!("{}\n\n{line}", "x".repeat(NOTE_BYTES_MAX));
    assert!(Note::decode(long.as_bytes()).is_err());
    let lines = |n: usize| (0..n).map(|i| format!("\u{2014} k{i} AAAAAAA=\n")).collect::<String>();
    assert!(Note::decode(format!("text\n\n{}", lines(64)).as_bytes()).is_ok());
    assert!(Note::decode(format!("text\n\n{}", lines(65)).as_bytes()).is_err());
    // The last empty line parts text and signatures.
    let note = Note::decode(format!("one\n\ntwo\n\n\n{line}").as_bytes()).unwrap();
    assert_eq!(note.text(), "one\n\ntwo\n\n");
    assert!(Note::new("no newline".to_owned()).is_err());
}

#[test]
fn signatures_count_by_name_and_id() {
    let [alice, bob, eve] = ["alice", "bob", "eve"].map(Toy::new);
    let mut note = Note::new("text\n".to_owned()).unwrap();
    note.sign(&alice.name, &alice).unwrap();
    note.sign(&bob.name, &bob).unwrap();
    let note = Note::decode(note.encode().as_bytes()).unwrap();
    let names = |keys: &[VerifierKey]| {
        let signed = note.verify(keys, &Toys)?;
        Ok(signed.iter().map(|s| s.key.name().to_string()).collect::<Vec<_>>())
    };
    let (a, b) = (alice.log(), bob.log());
    assert_eq!(names(&[b.clone(), a.clone()]), Ok(vec!["alice".to_owned(), "bob".to_owned()]));
    assert_eq!(names(std::slice::from_ref(&b)), Ok(vec!["bob".to_owned()]));
    assert_eq!(names(&[]), Err(NotSigned::Nobody));
    // The same key for something else, and another key of the same name.
    let other = VerifierKey::new(alice.name.clone(), SignatureType::Ed25519, *eve.log().key());
    assert_eq!(names(&[alice.witness(), other.unwrap()]), Err(NotSigned::Nobody));
    assert_eq!(note.unknown([&a])[0].0, 4, "bob's line");

    // A known key's bad signature spoils the note.
    let mut spoilt = note.signatures()[1].clone();
    spoilt.signature[0] ^= 1;
    let mut bad = Note::new("text\n".to_owned()).unwrap();
    bad.add(note.signatures()[0].clone()).unwrap();
    bad.add(spoilt).unwrap();
    let why = "it does not verify".to_owned();
    let expected = NotSigned::Bad { name: bob.name.clone(), line: 4, why };
    assert_eq!(bad.verify(&[a.clone(), b], &Toys), Err(expected));
    assert!(bad.verify([&a], &Toys).is_ok(), "but not for those who do not know the key");
}

#[test]
fn malformed_checkpoints_are_refused_with_their_place() {
    let root = Hash::empty();
    for (text, at) in [
        (String::new(), 0),
        (format!("\n1\n{root}\n"), 0),
        ("o\n".to_owned(), 2),
        (format!("o\n\n{root}\n"), 2),
        (format!("o\n01\n{root}\n"), 2),
        (format!("o\n+1\n{root}\n"), 2),
        (format!("o\n1 \n{root}\n"), 2),
        (format!("o\n-1\n{root}\n"), 2),
        (format!("o\n{}\n{root}\n", SIZE_MAX + 1), 2),
        (format!("o\n{}0\n{root}\n", u64::MAX), 2),
        ("o\n1\n\n".to_owned(), 4),
        ("o\n1\nAAAA\n".to_owned(), 4),
        (format!("o\n1\n{}\n", root.to_string().replace('=', "")), 4 + 43),
        (format!("o\n1\n{root}"), 4 + 44),
        (format!("o\n1\n{root}\n\n"), 4 + 45),
        (format!("o\n1\n{root}\nextension"), 4 + 45 + 9),
        (format!("{}\n1\n{root}\n", "o".repeat(256)), 0),
    ] {
        assert_eq!(Checkpoint::from_text(&text).map_err(|e| e.at), Err(at), "{text:?}");
    }
    let text = format!("o\n{SIZE_MAX}\n{root}\nextension one\nextension two\n");
    let head = Checkpoint::from_text(&text).unwrap();
    assert_eq!(head.extensions, ["extension one", "extension two"]);
    assert_eq!(head.to_text(), text);
}

#[test]
fn a_text_that_would_be_read_differently_is_not_signed() {
    let log = Toy::new("log.example");
    let mut head = Checkpoint::new(&log.name, 1, Hash::empty());
    head.extensions = vec!["one\ntwo".to_owned()];
    assert_eq!(
        SignedCheckpoint::sign(head.clone(), &log).unwrap().checkpoint().extensions.len(),
        2
    );
    head.extensions = vec![String::new()];
    assert!(SignedCheckpoint::sign(head.clone(), &log).is_err());
    head.extensions = vec!["\r".to_owned()];
    assert!(SignedCheckpoint::sign(head.clone(), &log).is_err());
    head.extensions = Vec::new();
    head.origin = "not a name".to_owned();
    assert!(SignedCheckpoint::sign(head, &log).is_err());
}

fn three_parties() -> (Toy, [Toy; 3], Policy) {
    let log = Toy::new("ringfence.example.com/journal");
    let witnesses = ["it.example.com/w", "ot.example.com/w", "auditor.example/w"].map(Toy::new);
    let party = |w: &Toy| Party { name: w.name.to_string(), witnesses: vec![w.witness()] };
    let policy = Policy::parties(log.log(), 3, witnesses.iter().map(party).collect()).unwrap();
    (log, witnesses, policy)
}

#[test]
fn a_proof_at_a_billion_entries_is_below_two_kilobytes() {
    let (log, witnesses, policy) = three_parties();
    let leaf = Hash::leaf(b"entry");
    let nodes = Uniform::new(leaf);
    let (index, size) = (123_456_789, 1_000_000_000);
    let root = tree::root(&nodes, size).unwrap();
    let checkpoint = signed(&log, size, root, &witnesses.each_ref());
    let hashes = proof::inclusion(&nodes, index, size).unwrap();
    assert_eq!(hashes.len(), 30, "960 bytes");
    let proof = TlogProof { extra: None, index, hashes, checkpoint };
    let text = proof.encode().unwrap();
    assert!(text.len() <= 2_000, "{} bytes with three cosignatures", text.len());
    let read = TlogProof::decode(text.as_bytes()).unwrap();
    assert_eq!(read, proof);
    let believed = read.verify(&leaf, &policy, &Toys).unwrap();
    assert_eq!(believed.cosigned.len(), 3);
    // Somebody else's entry, another place, another log.
    let other = read.verify(&Hash::leaf(b"other"), &policy, &Toys);
    assert!(matches!(other, Err(Disproved::Inclusion { .. })), "{other:?}");
    let beyond = TlogProof { index: size, ..read.clone() };
    assert!(matches!(beyond.verify(&leaf, &policy, &Toys), Err(Disproved::Inclusion { .. })));
    let stranger = Policy::log_alone(Toy::new("other.example").log());
    let other = read.verify(&leaf, &stranger, &Toys);
    assert!(matches!(other, Err(Disproved::Checkpoint(_))), "{other:?}");
}

#[test]
fn malformed_proofs_are_refused_with_their_place() {
    let checkpoint = signed(&Toy::new("l"), 2, Hash::empty(), &[]).encode();
    let hash = Hash::empty();
    let head = "c2sp.org/tlog-proof@v1\n";
    let read = |text: &str| TlogProof::decode(text.as_bytes());
    for text in [
        format!("{head}index 1\n{hash}\n\n{checkpoint}"),
        format!("{head}index 0\n\n{checkpoint}"),
        format!("{head}extra AAEC\nindex 1\n{hash}\n\n{checkpoint}"),
        format!("{head}extra \nindex 1\n{hash}\n\n{checkpoint}"),
    ] {
        let proof = read(&text).unwrap();
        assert_eq!(proof.encode().unwrap(), text);
    }
    let begin = head.len();
    for (text, at) in [
        (String::new(), 0),
        (format!("c2sp.org/tlog-proof@v2\nindex 1\n\n{checkpoint}"), 0),
        (format!("{head}extra\nindex 1\n\n{checkpoint}"), begin),
        (format!("{head}extra A\nindex 1\n\n{checkpoint}"), begin + 7),
        (format!("{head}index 01\n\n{checkpoint}"), begin + 6),
        (format!("{head}index -1\n\n{checkpoint}"), begin + 6),
        (format!("{head}index  1\n\n{checkpoint}"), begin + 6),
        (format!("{head}Index 1\n\n{checkpoint}"), begin),
        (format!("{head}index 1\nextra AAEC\n\n{checkpoint}"), begin + 8 + 5),
        (format!("{head}index 1\n{hash} \n\n{checkpoint}"), begin + 8 + 44),
        (format!("{head}index 1\n{checkpoint}"), begin + 8 + 1),
        (format!("{head}index 1\n\n\n{checkpoint}"), begin + 9),
        (format!("{head}index 1\n\n"), begin + 9),
        (
            format!("{head}index 1\n{}\n{checkpoint}", format!("{hash}\n").repeat(64)),
            begin + 8 + 63 * 45,
        ),
    ] {
        let fault = read(&text).unwrap_err();
        assert_eq!((fault.what, fault.at), ("a tlog-proof", at), "{text:?}: {fault}");
    }
    let proof = read(&format!("{head}index 1\n{hash}\n\n{checkpoint}")).unwrap();
    let extra = TlogProof { extra: Some(vec![0; 64 * 1024 + 1]), ..proof.clone() };
    assert!(extra.encode().is_err());
    let long = TlogProof { hashes: vec![hash; 64], ..proof };
    assert!(long.encode().is_err());
}

#[test]
fn no_byte_of_a_signed_checkpoint_may_change() {
    let (log, witnesses, policy) = three_parties();
    let note = signed(&log, 7, Hash::of(b"root"), &witnesses.each_ref()).encode().into_bytes();
    let judge = |note: &[u8]| {
        let signed = SignedCheckpoint::decode(note).map_err(|e| e.to_string())?;
        policy.judge(&signed, &Toys).map_err(|e| e.to_string())
    };
    assert!(judge(&note).is_ok());
    for at in 0..note.len() {
        for mask in [0x01, 0x20, 0x80, 0xff] {
            let mut changed = note.clone();
            changed[at] ^= mask;
            let judged = judge(&changed);
            assert!(judged.is_err(), "byte {at}: {:?}", String::from_utf8_lossy(&changed));
        }
    }
    for cut in 0..note.len() {
        assert!(judge(&note[..cut]).is_err(), "cut to {cut}");
    }
}

#[test]
fn cosignatures_have_a_time() {
    let (log, [witness, ..], _) = three_parties();
    let mut signed = signed(&log, 1, Hash::of(b"root"), &[&witness]);
    let line = signed.note().signatures()[1].clone();
    let key = [witness.witness()];
    let verified = signed.note().verify(&key, &Toys).unwrap();
    assert_eq!(verified[0].timestamp, Some(1_700_000_000));
    // Another time than the one that was signed, one that cannot be, and none.
    for (n, bytes) in [
        [&1_700_000_001_u64.to_be_bytes()[..], &line.signature[8..]].concat(),
        [&u64::MAX.to_be_bytes()[..], &line.signature[8..]].concat(),
        line.signature[8..].to_vec(),
        line.signature[..71].to_vec(),
        vec![1],
    ]
    .into_iter()
    .enumerate()
    {
        let mut note = Note::new(signed.note().text().to_owned()).unwrap();
        note.add(NoteSignature { signature: bytes, ..line.clone() }).unwrap();
        let verified = note.verify(&key, &Toys);
        assert!(matches!(verified, Err(NotSigned::Bad { .. })), "{n}: {verified:?}");
    }
    // The same line twice is one signature.
    let before = signed.clone();
    signed.add(line).unwrap();
    assert_eq!(signed, before);
}

proptest! {
    #[test]
    fn any_note_is_read_as_it_is_written(
        lines in prop::collection::vec("[^\u{0}-\u{1f}]{0,20}", 1..6),
        names in prop::collection::vec("[a-zäöü./—-]{1,12}", 1..5),
        signatures in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..90), 5),
    ) {
        let mut note = Note::new(lines.iter().map(|l| format!("{l}\n")).collect()).unwrap();
        for (name, signature) in names.iter().zip(signatures) {
            let name = KeyName::new(name).unwrap();
            let id = Toy::new("x").log().id();
            note.add(NoteSignature { name, id, signature }).unwrap();
        }
        prop_assert_eq!(Note::decode(note.encode().as_bytes()), Ok(note));
    }

    #[test]
    fn what_is_read_is_written_the_same(bytes in "(\u{2014} )?[ -~\n]{0,200}") {
        if let Ok(note) = Note::decode(bytes.as_bytes()) {
            prop_assert_eq!(note.encode(), bytes);
        }
    }
}
