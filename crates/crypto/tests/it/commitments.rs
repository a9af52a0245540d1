//! Commitments of devices under real keys.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use crypto::{NoteKey, PrivateKey, Provider};
use journal::Signer as _;
use journal::commitment::{
    Class, Commitment, Key, NOTHING, Refusal, Signed, Speaker, accept, root,
};
use pki::KeyKind;

fn commitment(key: &Key) -> Commitment {
    Commitment {
        class: Class::Gateway,
        key: key.id(),
        device: "cam-118".to_owned(),
        epoch: 0,
        first: 0,
        last: 1,
        previous: NOTHING,
        root: root(&["a", "b"]),
    }
}

/// The good one counts; with any bit of the signature turned, or any bit of what is signed, it does not.
fn check(signed: &Signed, key: &Key) {
    let Commitment { class, device, epoch, .. } = &signed.commitment;
    let speaker = Speaker { class: *class, key, device, epoch: *epoch };
    assert!(accept(signed, &speaker, None, &Provider).is_ok());
    for bit in 0..512 {
        let mut turned = signed.clone();
        turned.signature[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(accept(&turned, &speaker, None, &Provider), Err(Refusal::Signature), "{bit}");
    }
    let mut other = signed.clone();
    other.commitment.root.0[31] ^= 1;
    assert_eq!(accept(&other, &speaker, None, &Provider), Err(Refusal::Signature));
}

#[test]
fn fixtures_signed_by_openssl_hold() {
    // RFC 8032 §7.1, test 1.
    let key = Key::Ed25519([
        0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07,
        0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07,
        0x51, 0x1a,
    ]);
    let hex = |text: &str| {
        let code: String = text.lines().map(|l| l.split(';').next().unwrap().trim()).collect();
        let digits: Vec<u32> = code.chars().map(|c| c.to_digit(16).unwrap()).collect();
        let bytes: Vec<u8> =
            digits.chunks(2).map(|d| u8::try_from(d[0] * 16 + d[1]).unwrap()).collect();
        Signed::decode(&bytes).unwrap()
    };
    let first = hex(include_str!("../../../journal/tests/fixtures/commitment-v1/first.hex"));
    let second = hex(include_str!("../../../journal/tests/fixtures/commitment-v1/second.hex"));
    check(&first, &key);
    let speaker = Speaker { class: Class::Device, key: &key, device: "cam-118", epoch: 0 };
    let last = accept(&first, &speaker, None, &Provider).unwrap().last();
    assert!(accept(&second, &speaker, Some(&last), &Provider).is_ok());
    assert_eq!(
        accept(&second, &speaker, None, &Provider),
        Err(Refusal::Gap { expected: 0, got: 3 })
    );
}

#[test]
fn both_kinds_of_keys_sign_commitments() {
    let note: NoteKey = PrivateKey::generate(KeyKind::Ed25519).unwrap().0.try_into().unwrap();
    let key = Key::Ed25519(note.public_key());
    check(&Signed::sign(commitment(&key), &note).unwrap(), &key);
    let other: NoteKey = PrivateKey::generate(KeyKind::Ed25519).unwrap().0.try_into().unwrap();
    assert!(Signed::sign(commitment(&key), &other).is_err(), "not in another's name");
    // A device does P-256 with whatever it has.
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref()).unwrap();
    let key = Key::P256(pair.public_key().as_ref().try_into().unwrap());
    let commitment = commitment(&key);
    let signature = pair.sign(&random, &commitment.message().unwrap()).unwrap();
    let signature = signature.as_ref().try_into().unwrap();
    check(&Signed { commitment, signature }, &key);
}
