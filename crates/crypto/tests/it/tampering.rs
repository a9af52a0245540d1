//! What must not verify, each for its own reason.

use crypto::{PrivateKey, Provider};
use model::Timestamp;
use pki::cms::{Demand, Invalid, Signed, Verified, sign};
use pki::path::{Purpose, Refusal};
use pki::{Certificate, KeyKind, Pem, Weak};

use crate::maker::{
    Blank, Chain, DIGITAL_SIGNATURE, KEY_CERT_SIGN, authority, der, extended, extension, key_usage,
    name, oid,
};

const FILE: &[u8] = b"{\"ietf-mud:mud\": {}}";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2035-06-01T12:00:00Z")
}

fn signed(chain: &Chain) -> Vec<u8> {
    let others = std::slice::from_ref(&chain.between);
    sign(FILE, &chain.signer, others, now(), &chain.signer_key, &Provider).unwrap()
}

fn check(
    signature: &[u8],
    file: &[u8],
    anchors: &[Certificate],
    when: Timestamp,
) -> Result<Verified, Invalid> {
    let demand = Demand { anchors, at: when, purpose: Purpose::MudFile, signer: None };
    Signed::read(signature).expect("it can be read").verify(file, &demand, &Provider)
}

fn verify(chain: &Chain) -> Result<Verified, Invalid> {
    check(&signed(chain), FILE, std::slice::from_ref(&chain.root), now())
}

fn refusal(chain: &Chain) -> Refusal {
    match verify(chain) {
        Err(Invalid::Path(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_kind_of_key_signs_and_verifies() {
    for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519, KeyKind::Rsa(2_048)] {
        let chain = Chain::new(kind);
        let verified = verify(&chain).unwrap();
        assert_eq!(verified.signer, "CN=Signer,O=Example", "{kind:?}");
        assert_eq!(verified.issuers, ["CN=Between,O=Example", "CN=Root,O=Example"]);
        assert_eq!(verified.signed_at, Some(now()));
        assert_eq!(verified.valid_until, at("2040-01-01T00:00:00Z"));
        // The same in text armour.
        let pem = Pem::write("CMS", &signed(&chain)).unwrap();
        let again = check(pem.as_bytes(), FILE, std::slice::from_ref(&chain.root), now());
        assert!(again.is_ok(), "{kind:?}");
        // The key survives its file.
        let key = PrivateKey::from_pem(chain.signer_pem.as_bytes()).unwrap();
        assert_eq!(key.public(), chain.signer.key().unwrap());
    }
}

#[test]
fn another_file_is_refused() {
    let chain = Chain::new(KeyKind::P256);
    let anchors = std::slice::from_ref(&chain.root);
    let signature = signed(&chain);
    for i in 0..FILE.len() {
        let mut file = FILE.to_vec();
        file[i] ^= 1;
        assert_eq!(check(&signature, &file, anchors, now()), Err(Invalid::OtherFile), "byte {i}");
    }
    assert_eq!(check(&signature, b"", anchors, now()), Err(Invalid::OtherFile));
}

/// Every single bit of a signature: either it cannot be read any more, or it does not verify, or the
/// bit decides nothing (a version, the digest list, an unused time…) and the answer names the same signer.
#[test]
fn a_flipped_bit_never_lets_another_file_or_signer_through() {
    let chain = Chain::new(KeyKind::P256);
    let anchors = std::slice::from_ref(&chain.root);
    let signature = signed(&chain);
    let (mut unread, mut refused, mut same) = (0, 0, 0);
    for i in 0..signature.len() * 8 {
        let mut spoilt = signature.clone();
        spoilt[i / 8] ^= 1 << (i % 8);
        let Ok(read) = Signed::read(&spoilt) else {
            unread += 1;
            continue;
        };
        let demand = Demand { anchors, at: now(), purpose: Purpose::MudFile, signer: None };
        match read.verify(FILE, &demand, &Provider) {
            Err(_) => refused += 1,
            Ok(verified) => {
                assert_eq!(verified.signer, "CN=Signer,O=Example");
                same += 1;
            }
        }
        let other = read.verify(b"another file", &demand, &Provider);
        assert!(other.is_err(), "bit {i}");
    }
    // Version numbers and the list of digests of the whole are covered by no signature.
    assert!(same <= 8 * 64, "{same} bits decide nothing");
    assert!(refused > 2_000 && unread > 100, "{refused} refused, {unread} unread");
}

#[test]
fn a_spoilt_signature_names_the_signer() {
    let chain = Chain::new(KeyKind::Ed25519);
    let mut signature = signed(&chain);
    *signature.last_mut().unwrap() ^= 1;
    let why = check(&signature, FILE, std::slice::from_ref(&chain.root), now()).unwrap_err();
    assert_eq!(why, Invalid::Signature { signer: "CN=Signer,O=Example".to_owned() });
}

#[test]
fn a_spoilt_certificate_is_refused() {
    let chain = Chain::new(KeyKind::P256);
    let mut bytes = chain.signer.der().to_vec();
    // A letter of the subject's name.
    let place = bytes.windows(6).rposition(|w| w == b"Signer").unwrap();
    bytes[place] = b'T';
    let signer = Certificate::from_der(&bytes).unwrap();
    let why = refusal(&Chain { signer, ..chain });
    let expect = Refusal::Signature {
        subject: "CN=Tigner,O=Example".to_owned(),
        issuer: "CN=Between,O=Example".to_owned(),
    };
    assert_eq!(why, expect);
}

#[test]
fn time_is_checked_for_every_certificate() {
    let chain = Chain::new(KeyKind::P256);
    let anchors = std::slice::from_ref(&chain.root);
    let signature = signed(&chain);
    for (when, good) in [
        ("2029-12-31T23:59:59Z", false),
        ("2030-01-01T00:00:00Z", true),
        ("2040-01-01T00:00:00Z", true),
        ("2040-01-01T00:00:01Z", false),
    ] {
        assert_eq!(check(&signature, FILE, anchors, at(when)).is_ok(), good, "{when}");
    }
    let early = check(&signature, FILE, anchors, at("2029-01-01T00:00:00Z")).unwrap_err();
    assert!(matches!(early, Invalid::Path(Refusal::NotYetValid { .. })), "{early}");
    let ended = || "310101000000Z";
    for place in 0..3 {
        let mut blanks = [Blank::root(), Blank::between(), Blank::signer()];
        blanks[place].ends = ended();
        let [root, between, signer] = blanks;
        let why = refusal(&Chain::of(KeyKind::P256, root, between, signer));
        assert!(matches!(why, Refusal::Expired { .. }), "{place}: {why}");
    }
}

#[test]
fn the_purpose_is_checked() {
    for (extensions, part) in [
        (vec![], "no key usage"),
        (vec![key_usage(KEY_CERT_SIGN)], "lacks digitalSignature"),
        (
            vec![key_usage(DIGITAL_SIGNATURE), extended("1.3.6.1.5.5.7.3.1")],
            "allows only 1.3.6.1.5.5.7.3.1",
        ),
    ] {
        let signer = Blank { extensions, ..Blank::signer() };
        let chain = Chain::of(KeyKind::P256, Blank::root(), Blank::between(), signer);
        let why = refusal(&chain).to_string();
        assert!(why.contains(part), "{why}");
    }
    for usage in ["2.5.29.37.0", "1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.3", "1.3.6.1.5.5.7.3.36"] {
        let extensions = vec![key_usage(DIGITAL_SIGNATURE), extended(usage)];
        let signer = Blank { extensions, ..Blank::signer() };
        let chain = Chain::of(KeyKind::P256, Blank::root(), Blank::between(), signer);
        assert!(verify(&chain).is_ok(), "{usage}");
    }
}

#[test]
fn only_authorities_issue() {
    for (extensions, part) in [
        (vec![key_usage(KEY_CERT_SIGN)], "basic constraints"),
        (vec![authority(None), key_usage(DIGITAL_SIGNATURE)], "keyCertSign"),
    ] {
        let between = Blank { extensions, ..Blank::between() };
        let chain = Chain::of(KeyKind::P256, Blank::root(), between, Blank::signer());
        let why = refusal(&chain).to_string();
        assert!(why.contains(part), "{why}");
    }
    let root = Blank { extensions: vec![authority(Some(0))], ..Blank::root() };
    let chain = Chain::of(KeyKind::P256, root, Blank::between(), Blank::signer());
    assert!(refusal(&chain).to_string().contains("more authorities below it"));
    let root = Blank { extensions: vec![authority(Some(1))], ..Blank::root() };
    let chain = Chain::of(KeyKind::P256, root, Blank::between(), Blank::signer());
    assert!(verify(&chain).is_ok());
}

#[test]
fn unknown_anchors_and_missing_certificates() {
    let (chain, stranger) = (Chain::new(KeyKind::P256), Chain::new(KeyKind::P256));
    let signature = signed(&chain);
    let why = check(&signature, FILE, &[], now()).unwrap_err();
    assert!(matches!(why, Invalid::Path(Refusal::UnknownAnchor { .. })), "{why}");
    // Another authority of the same name: its signature is not the one.
    let why = check(&signature, FILE, std::slice::from_ref(&stranger.root), now()).unwrap_err();
    assert!(matches!(why, Invalid::Path(Refusal::Signature { .. })), "{why}");
    // Without the authority in between there is no path; with it among the anchors there is.
    let bare = sign(FILE, &chain.signer, &[], now(), &chain.signer_key, &Provider).unwrap();
    let why = check(&bare, FILE, std::slice::from_ref(&chain.root), now()).unwrap_err();
    assert!(matches!(why, Invalid::Path(Refusal::UnknownAnchor { .. })), "{why}");
    let verified = check(&bare, FILE, std::slice::from_ref(&chain.between), now()).unwrap();
    assert_eq!(verified.issuers, ["CN=Between,O=Example"]);
    // The signer itself may be the anchor.
    assert!(check(&bare, FILE, std::slice::from_ref(&chain.signer), now()).is_ok());
}

#[test]
fn critical_extensions_that_nobody_understands() {
    let mut extensions = vec![key_usage(DIGITAL_SIGNATURE)];
    extensions.push(extension("1.3.6.1.4.1.99999.1", false, &[5, 0]));
    let signer = Blank { extensions: extensions.clone(), ..Blank::signer() };
    let chain = Chain::of(KeyKind::P256, Blank::root(), Blank::between(), signer);
    assert!(verify(&chain).is_ok());
    extensions.push(extension("1.3.6.1.4.1.99999.2", true, &[5, 0]));
    let signer = Blank { extensions, ..Blank::signer() };
    let chain = Chain::of(KeyKind::P256, Blank::root(), Blank::between(), signer);
    assert!(matches!(refusal(&chain), Refusal::Critical { .. }));
}

#[test]
fn weak_algorithms_are_named() {
    let sha1 = der(0x30, &[&oid("1.2.840.10045.4.1")]);
    let signer = Blank { algorithm: Some(sha1), ..Blank::signer() };
    let chain = Chain::of(KeyKind::P256, Blank::root(), Blank::between(), signer);
    let why = refusal(&chain).to_string();
    assert!(why.contains("ECDSA with SHA-1 is too weak"), "{why}");

    let short = {
        let modulus = der(2, &[&[0], &[0xc5; 128]]);
        let key = der(0x30, &[&modulus, &der(2, &[&[1, 0, 1]])]);
        let algorithm = der(0x30, &[&oid("1.2.840.113549.1.1.1"), &der(5, &[])]);
        der(0x30, &[&algorithm, &der(3, &[&[0], &key])])
    };
    let between = Blank { key_info: Some(short), ..Blank::between() };
    let chain = Chain::of(KeyKind::P256, Blank::root(), between, Blank::signer());
    let why = refusal(&chain).to_string();
    assert!(why.contains("an RSA key of 1024 bits is too weak"), "{why}");

    // SHA-1 as the digest of the file.
    let chain = Chain::new(KeyKind::P256);
    let signature = signed(&chain);
    let sha256 = oid("2.16.840.1.101.3.4.2.1");
    let place = signature.windows(sha256.len()).rposition(|w| w == sha256).unwrap();
    let mut spoilt = signature;
    // SHA-224 is not accepted either, and has an identifier of the same length.
    spoilt[place + sha256.len() - 1] = 4;
    let why = check(&spoilt, FILE, std::slice::from_ref(&chain.root), now()).unwrap_err();
    assert_eq!(why, Invalid::Weak(Weak::Unsupported("SHA-224".to_owned())));
}

#[test]
fn the_signer_that_a_device_names() {
    let mud_signer = extension("1.3.6.1.5.5.7.1.30", false, &name("Signer"));
    let url = extension("1.3.6.1.5.5.7.1.25", false, &der(0x16, &[b"https://x.example/m.json"]));
    let chain = Chain::new(KeyKind::P256);
    let device = Blank { subject: "Device", extensions: vec![mud_signer, url], ..Blank::signer() };
    let device = device.sign(&chain.signer_key.public(), &chain.between_key);
    assert_eq!(device.mud_url().as_deref(), Some("https://x.example/m.json"));
    assert_eq!(device.mud_signer(), Some(&name("Signer")[..]));
    let anchors = std::slice::from_ref(&chain.root);
    let read = Signed::read(&signed(&chain)).unwrap();
    let with = |signer| {
        let demand = Demand { anchors, at: now(), purpose: Purpose::MudFile, signer };
        read.verify(FILE, &demand, &Provider)
    };
    assert!(with(device.mud_signer()).is_ok());
    let why = with(Some(&name("Somebody"))).unwrap_err();
    assert!(matches!(why, Invalid::OtherSigner { .. }), "{why}");
}

#[test]
fn a_key_signs_only_for_its_certificate() {
    let (chain, other) = (Chain::new(KeyKind::P256), Chain::new(KeyKind::P256));
    let why = sign(FILE, &chain.signer, &[], now(), &other.signer_key, &Provider).unwrap_err();
    assert!(why.contains("belong together"), "{why}");
    let why = sign(FILE, &chain.root, &[], now(), &other.root_key, &Provider).unwrap_err();
    assert!(why.contains("belong together"), "{why}");
}

#[test]
fn files_that_are_no_keys() {
    use crypto::KeyError;
    for (text, expect) in [
        ("", KeyError::None),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", KeyError::None),
        (
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            KeyError::Encrypted,
        ),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", KeyError::Unsupported),
    ] {
        assert_eq!(PrivateKey::from_pem(text.as_bytes()).unwrap_err(), expect, "{text}");
    }
}
