//! A TPM that is only played, so that every bit of what it says can be turned: quotes, certifications, challenges.

use aws_lc_rs::cipher::{AES_128, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey,
};
use crypto::{PrivateKey, Provider};
use pki::tpm::{
    About, Attest, AttestationKey, Clock, Demand, EndorsementKey, Log, Name, NotMeasured, Pcrs,
    Public, Reference, Sealer, Selection, Signature, Unfit, binding, certify, challenge, measured,
    quote, write_log,
};
use pki::{Digest, Key, KeyKind, Signer};
use proptest::prelude::*;

const SIGNER: u32 = 0x0005_0072;
const RESIDENT: u32 = 0x0004_0072;

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// A TPMT_PUBLIC by hand: a P-256 key that signs with ECDSA and SHA-256.
fn public(attributes: u32, key: &Key) -> Vec<u8> {
    let (x, y) = key.bytes[1..].split_at(32);
    let head = [&[0, 0x23, 0, 0x0b][..], &attributes.to_be_bytes(), &[0, 0]].concat();
    let scheme = [0, 0x10, 0, 0x18, 0, 0x0b, 0, 3, 0, 0x10];
    [&head[..], &scheme, &sized(x), &sized(y)].concat()
}

/// An attestation key, and what it says.
struct Played {
    signer: PrivateKey,
    key: AttestationKey,
}

impl Played {
    fn new() -> Self {
        let signer = PrivateKey::generate(KeyKind::P256).unwrap().0;
        let key = AttestationKey::read(&public(SIGNER, &signer.public()), &Provider).unwrap();
        Self { signer, key }
    }

    fn says(&self, about: About, nonce: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let clock = Clock { clock_ms: 7_000, resets: 3, restarts: 1, safe: true };
        let signer = self.key.name().clone();
        let attest = Attest { signer, nonce: nonce.to_vec(), clock, firmware: 1, about }.write();
        let signature = self.sign(&attest);
        (attest, signature)
    }

    /// A TPMT_SIGNATURE.
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let der = self.signer.sign(message).unwrap();
        // A SEQUENCE of two short INTEGERs.
        let r = usize::from(der[3]);
        let (first, second) = (&der[4..4 + r], &der[4 + r + 2..]);
        let digits = |number: &[u8]| {
            let number: Vec<u8> = number.iter().copied().skip_while(|b| *b == 0).collect();
            [vec![0; 32 - number.len()], number].concat()
        };
        [&[0, 0x18, 0, 0x0b][..], &sized(&digits(first)), &sized(&digits(second))].concat()
    }
}

fn registers() -> (Selection, Pcrs) {
    let selection = Selection::of(Digest::Sha256, [0, 7]).and(Digest::Sha384, [3]);
    let values: Vec<u8> = (0..112).collect();
    (selection.clone(), Pcrs::new(selection, &values).unwrap())
}

/// Every cut of these bytes, and every turned bit.
fn spoilt(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let cuts = (0..bytes.len()).map(|cut| bytes[..cut].to_vec());
    let longer = std::iter::once([bytes, &[0]].concat());
    let turned = (0..bytes.len() * 8).map(|bit| {
        let mut turned = bytes.to_vec();
        turned[bit / 8] ^= 1 << (bit % 8);
        turned
    });
    cuts.chain(longer).chain(turned)
}

#[test]
fn every_cut_and_every_bit_of_a_quote_is_refused() {
    let tpm = Played::new();
    let (selection, pcrs) = registers();
    let about = About::Quote(selection.clone(), pcrs.digest(Digest::Sha256, &Provider));
    let (attest, signature) = tpm.says(about, b"nonce");
    let demand = Demand { nonce: b"nonce", selection: &selection };
    let check = |attest: &[u8], signature: &[u8], pcrs: &Pcrs| {
        quote(attest, signature, pcrs.clone(), &tpm.key, &demand, &Provider)
    };
    assert!(check(&attest, &signature, &pcrs).is_ok());
    assert!(spoilt(&attest).all(|attest| check(&attest, &signature, &pcrs).is_err()));
    assert!(spoilt(&signature).all(|signature| check(&attest, &signature, &pcrs).is_err()));
    let reported = pcrs.write();
    for pcrs in spoilt(&reported).filter_map(|bytes| Pcrs::read(&bytes).ok()) {
        assert!(check(&attest, &signature, &pcrs).is_err());
    }
    // The same under a signature that holds: then it is what is said that decides. Signer, clock and firmware are told,
    // not asked; everything else has one answer.
    for attest in spoilt(&attest) {
        let said = check(&attest, &tpm.sign(&attest), &pcrs);
        if let Ok((quote, _)) = said {
            let other = Attest::read(&attest).unwrap();
            assert_eq!(
                (quote.signer, quote.clock, quote.firmware),
                (other.signer, other.clock, other.firmware)
            );
            assert_eq!(other.nonce, b"nonce");
            assert_eq!(
                other.about,
                About::Quote(selection.clone(), pcrs.digest(Digest::Sha256, &Provider))
            );
        }
    }
}

#[test]
fn every_cut_and_every_bit_of_a_certification_is_refused() {
    let tpm = Played::new();
    let device = PrivateKey::generate(KeyKind::P256).unwrap().0.public();
    let shown = public(RESIDENT, &device);
    let name = Public::read(&shown).unwrap().name(&Provider);
    let (attest, signature) = tpm.says(About::Certify(name.clone(), name.clone()), b"nonce");
    let check = |attest: &[u8], signature: &[u8], shown: &[u8]| {
        certify(attest, signature, shown, &device, &tpm.key, b"nonce", &Provider)
    };
    assert_eq!(check(&attest, &signature, &shown).unwrap().name, name);
    assert!(spoilt(&attest).all(|attest| check(&attest, &signature, &shown).is_err()));
    assert!(spoilt(&signature).all(|signature| check(&attest, &signature, &shown).is_err()));
    assert!(spoilt(&shown).all(|shown| check(&attest, &signature, &shown).is_err()));
}

/// What a TPM does with a challenge (TPM2_ActivateCredential, Part 3 §12.5), for an endorsement key of RSA.
fn activate(
    key: &OaepPrivateDecryptingKey,
    name: &Name,
    blob: &[u8],
    seed: &[u8],
) -> Option<Vec<u8>> {
    let unsized_ = |bytes: &[u8]| -> Option<Vec<u8>> {
        let (size, rest) = bytes.split_first_chunk::<2>()?;
        (usize::from(u16::from_be_bytes(*size)) == rest.len()).then(|| rest.to_vec())
    };
    let (wrapped, object) = (unsized_(seed)?, unsized_(blob)?);
    let mut space = vec![0; 256];
    let label = Some(&b"IDENTITY\0"[..]);
    let seed = key.decrypt(&OAEP_SHA256_MGF1SHA256, &wrapped, &mut space, label).ok()?.to_vec();
    let (integrity, sealed) = object.get(2..)?.split_at_checked(32)?;
    let derive = |label: &[u8], context: &[u8], bits: u32| {
        let parts = [&1u32.to_be_bytes(), label, &[0], context, &bits.to_be_bytes()];
        Provider.hmac(Digest::Sha256, &seed, &parts)
    };
    let hmac = derive(b"INTEGRITY", &[], 256);
    let right = Provider.hmac(Digest::Sha256, &hmac, &[sealed, name.as_bytes()]);
    if object[..2] != [0, 32] || right != integrity {
        return None;
    }
    let cipher = derive(b"STORAGE", name.as_bytes(), 128)[..16].to_vec();
    let cipher = DecryptingKey::cfb128(UnboundCipherKey::new(&AES_128, &cipher).ok()?).ok()?;
    let zeros = DecryptionContext::Iv128(FixedLength::from([0; 16]));
    let mut sealed = sealed.to_vec();
    unsized_(cipher.decrypt(&mut sealed, zeros).ok()?)
}

#[test]
fn every_cut_and_every_bit_of_a_challenge_is_refused() {
    let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let info: PublicKeyX509Der<'_> = private.public_key().as_der().unwrap();
    let key = Key::read(info.as_ref()).unwrap();
    let policy = unhex(POLICY_A);
    // The modulus stands in the middle of an RSAPublicKey.
    let modulus = &key.bytes[9..9 + 256];
    let template = |policy: &[u8], attributes: u32| {
        let head = [&[0, 1, 0, 0x0b][..], &attributes.to_be_bytes(), &sized(policy)].concat();
        let scheme = [0, 6, 0, 0x80, 0, 0x43, 0, 0x10, 8, 0, 0, 0, 0, 0];
        [&head[..], &scheme, &sized(modulus)].concat()
    };
    let bytes = template(&policy, 0x0003_00b2);
    let endorsement = EndorsementKey::read(&bytes, &Provider).unwrap();
    assert_eq!(endorsement.public().key, key);
    assert_eq!(endorsement.public().write(), bytes);
    // Every other attribute, and every other policy.
    for bit in 0..32 {
        let attributes = 0x0003_00b2 ^ 1 << bit;
        assert!(EndorsementKey::read(&template(&policy, attributes), &Provider).is_err(), "{bit}");
        let mut other = policy.clone();
        other[bit] ^= 1;
        assert_eq!(
            EndorsementKey::read(&template(&other, 0x0003_00b2), &Provider),
            Err(Unfit::Template("its policy is another one"))
        );
    }
    let private = OaepPrivateDecryptingKey::new(private).unwrap();
    let name = Played::new().key.name().clone();
    let secret = [9; 32];
    let sealed = challenge(&endorsement, &name, &secret, &Provider).unwrap();
    let opened = |name: &Name, blob: &[u8], seed: &[u8]| activate(&private, name, blob, seed);
    assert_eq!(opened(&name, &sealed.blob, &sealed.seed), Some(secret.to_vec()));
    assert!(spoilt(&sealed.blob).all(|blob| opened(&name, &blob, &sealed.seed).is_none()));
    let seeds: Vec<_> = spoilt(&sealed.seed).step_by(7).collect();
    assert!(seeds.iter().all(|seed| opened(&name, &sealed.blob, seed).is_none()));
    for name in spoilt(name.as_bytes()).filter_map(|bytes| Name::read(&bytes).ok()) {
        assert_eq!(opened(&name, &sealed.blob, &sealed.seed), None);
    }
}

const POLICY_A: &str = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";

#[test]
fn an_attestation_key_has_all_it_needs_and_nothing_more() {
    let key = PrivateKey::generate(KeyKind::P256).unwrap().0.public();
    let read = |attributes| AttestationKey::read(&public(attributes, &key), &Provider);
    assert!(read(SIGNER).is_ok());
    for (bit, name) in [
        (1, "fixedTPM"),
        (4, "fixedParent"),
        (5, "sensitiveDataOrigin"),
        (16, "restricted"),
        (18, "sign"),
    ] {
        let lacks = Unfit::Lacks { what: "attestation key", attribute: name };
        assert_eq!(read(SIGNER & !(1 << bit)), Err(lacks));
    }
    for (bit, name) in [(17, "decrypt"), (19, "x509sign")] {
        let has = Unfit::Has { what: "attestation key", attribute: name };
        assert_eq!(read(SIGNER | 1 << bit), Err(has));
    }
    for bit in [0, 3, 8, 9, 12, 15, 20, 31] {
        assert!(matches!(read(SIGNER | 1 << bit), Err(Unfit::Malformed(_))), "{bit}");
    }
    let good = public(SIGNER, &key);
    let mut other = good.clone();
    other[3] = 0x0c;
    assert_eq!(AttestationKey::read(&other, &Provider), Err(Unfit::NameDigest(Digest::Sha384)));
    // A scheme of nothing: two bytes less.
    let loose = [&good[..12], &[0, 0x10], &good[16..]].concat();
    assert_eq!(AttestationKey::read(&loose, &Provider), Err(Unfit::NoScheme));
}

fn digests() -> impl Strategy<Value = Digest> {
    prop_oneof![Just(Digest::Sha256), Just(Digest::Sha384), Just(Digest::Sha512)]
}

fn names() -> impl Strategy<Value = Name> {
    (digests(), any::<u8>()).prop_map(|(digest, byte)| {
        let id = match digest {
            Digest::Sha256 => 0x0b,
            Digest::Sha384 => 0x0c,
            Digest::Sha512 => 0x0d,
        };
        let body = vec![byte; usize::from(digest.size_bytes())];
        Name::read(&[&[0, id][..], &body].concat()).unwrap()
    })
}

fn selections() -> impl Strategy<Value = Selection> {
    let bank = (digests(), prop::collection::vec(0u8..24, 1..24));
    prop::collection::vec(bank, 1..6).prop_map(|banks| {
        banks.into_iter().fold(Selection::default(), |all, (bank, pcrs)| all.and(bank, pcrs))
    })
}

fn attests() -> impl Strategy<Value = Attest> {
    let quote = (selections(), prop::collection::vec(any::<u8>(), 0..=64))
        .prop_map(|(selection, digest)| About::Quote(selection, digest));
    let certify = (names(), names()).prop_map(|(name, above)| About::Certify(name, above));
    let clock = (any::<u64>(), any::<u32>(), any::<u32>(), any::<bool>())
        .prop_map(|(clock_ms, resets, restarts, safe)| Clock { clock_ms, resets, restarts, safe });
    let nonce = prop::collection::vec(any::<u8>(), 0..=66);
    (names(), nonce, clock, any::<u64>(), prop_oneof![quote, certify]).prop_map(
        |(signer, nonce, clock, firmware, about)| Attest { signer, nonce, clock, firmware, about },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(attest in attests(), selection in selections(), byte in any::<u8>()) {
        let bytes = attest.write();
        prop_assert_eq!(Attest::read(&bytes), Ok(attest));
        for cut in 0..bytes.len() {
            prop_assert!(Attest::read(&bytes[..cut]).is_err());
        }
        prop_assert!(Attest::read(&[&bytes[..], &[byte]].concat()).is_err());
        prop_assert_eq!(Selection::read(&selection.write()), Ok(selection.clone()));
        let size: usize = selection.registers().map(|(bank, _)| usize::from(bank.size_bytes())).sum();
        let pcrs = Pcrs::new(selection, &vec![byte; size]).unwrap();
        prop_assert_eq!(Pcrs::read(&pcrs.write()), Ok(pcrs));
    }

    #[test]
    fn what_is_read_is_written_again(
        head in prop::sample::select(vec![
            vec![], vec![0, 0x18, 0, 0x0b, 0, 2], vec![0, 0x14, 0, 0x0c], vec![0, 0, 0, 1, 0, 0x0b, 3],
            vec![0xff, 0x54, 0x43, 0x47, 0x80, 0x18], vec![0, 0x23, 0, 0x0b, 0, 5, 0, 0x72, 0, 0],
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        // It compares what it reads with what is written of it.
        pki::fuzzing::tpm(&[head.clone(), rest.clone()].concat());
        pki::fuzzing::event_log(&[head, rest].concat());
    }

    #[test]
    fn public_areas_both_ways(attributes in any::<u32>(), strong in any::<bool>(), x in any::<u8>()) {
        let (kind, size) = if strong { (KeyKind::P384, 48) } else { (KeyKind::P256, 32) };
        let curve = if strong { 4 } else { 3 };
        let point = vec![x; size];
        let bytes = [
            &[0, 0x23, 0, 0x0b][..], &attributes.to_be_bytes(), &[0, 0, 0, 0x10, 0, 0x10, 0, curve, 0, 0x10],
            &sized(&point), &sized(&point),
        ].concat();
        match Public::read(&bytes) {
            Ok(public) => {
                prop_assert_eq!(public.write(), bytes.clone());
                prop_assert_eq!(public.key.kind, kind);
                prop_assert_eq!(Public::read_sized(&sized(&bytes)), Ok(public));
                for cut in 0..bytes.len() {
                    prop_assert!(Public::read(&bytes[..cut]).is_err());
                }
            }
            Err(_) => prop_assert!(attributes & !0x000f_0cf6 != 0),
        }
    }

    #[test]
    fn signatures_both_ways(r in prop::collection::vec(any::<u8>(), 0..=48), s in prop::collection::vec(any::<u8>(), 0..=48)) {
        let bytes = [&[0, 0x18, 0, 0x0c][..], &sized(&r), &sized(&s)].concat();
        let signature = Signature::read(&bytes).unwrap();
        prop_assert_eq!(signature.write(), bytes.clone());
        for cut in 0..bytes.len() {
            prop_assert!(Signature::read(&bytes[..cut]).is_err());
        }
    }
}

#[test]
fn a_refusal_is_small() {
    use std::mem::size_of;
    assert!(size_of::<pki::tpm::NoQuote>() < 128);
    assert!(size_of::<pki::tpm::NotCertified>() < 128);
    assert!(size_of::<pki::tpm::NotEndorsed>() < 128);
    assert!(size_of::<pki::tpm::NotMeasured>() < 128);
    assert!(size_of::<pki::tpm::Backwards>() < 128);
    assert!(size_of::<Unfit>() < 128);
}

#[test]
fn a_bank_of_sha1_is_read_past() {
    let log = |bytes: &'static [u8]| Log::read(bytes).unwrap();
    let plain = log(include_bytes!("../../../../fuzz/corpus/event_log/one_bank"));
    let beside = log(include_bytes!("../../../../fuzz/corpus/event_log/sha1_beside"));
    let bank = Digest::Sha256;
    assert_eq!(beside.replay(bank, &Provider), plain.replay(bank, &Provider));
    assert_eq!(beside.replay(Digest::Sha384, &Provider), None);
}

#[test]
fn a_machine_that_measures_nothing_is_not_good() {
    let bank = Digest::Sha256;
    let tpm = Played::new();
    let selection = Selection::of(bank, [0, 4]);
    let pcrs = Pcrs::new(selection.clone(), &[0; 64]).unwrap();
    let about = About::Quote(selection.clone(), pcrs.digest(bank, &Provider));
    let (attest, signature) = tpm.says(about, b"nonce");
    let demand = Demand { nonce: b"nonce", selection: &selection };
    let (_, zeros) = quote(&attest, &signature, pcrs, &tpm.key, &demand, &Provider).unwrap();
    let empty = write_log(&[bank], 0, &[], &Provider);
    let mut reference = Reference::new(bank);
    reference.allow(4, &[7; 32]);
    assert_eq!(
        measured(&Log::read(&empty).unwrap(), &zeros, &reference, &Provider),
        Err(NotMeasured::Nothing { pcr: 4 })
    );
}

#[test]
fn a_binding_is_what_it_says() {
    // The generator of P-256 as a key; the digest was computed with another program.
    let point = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
        4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
    let key = Key { kind: KeyKind::P256, bytes: unhex(point) };
    let bound = |nonce: &[u8], exporter: &[u8]| binding(nonce, exporter, &key, &Provider).to_vec();
    assert_eq!(
        bound(b"nonce", b"exported"),
        unhex("159c5695c9599cef33e497b83d09b2817d0e54d56d7a7e7e2de5a7faa50b0aa5")
    );
    assert_ne!(
        bound(b"nonceex", b"ported"),
        bound(b"nonce", b"exported"),
        "parts do not run together"
    );
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(text.get(at..at + 2).unwrap(), 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}
