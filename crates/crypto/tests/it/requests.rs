//! Certificate requests: ours read by openssl, openssl's read by us, and nothing else.

use std::fs;
use std::sync::LazyLock;

use crypto::{PrivateKey, Provider};
use pki::issue::{Order, Profile};
use pki::request::{BYTES_MAX, Refusal, make, read};
use pki::{KeyKind, Pem, identity_of};
use proptest::prelude::*;

use crate::estate::{Authority, order, server_subject, subject};
use crate::maker::{der, oid};
use crate::peer::{Folder, need, openssl};

const KINDS: [KeyKind; 4] = [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519, KeyKind::Rsa(2_048)];

/// One of each kind of key.
static REQUESTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let keys = KINDS.map(|kind| PrivateKey::generate(kind).unwrap().0);
    let subject = server_subject("acme.example");
    keys.iter().map(|key| make(Profile::Server, &subject, key, &Provider).unwrap()).collect()
});

#[test]
fn openssl_verifies_and_shows_what_we_make() {
    if !need("openssl_verifies_and_shows_what_we_make") {
        return;
    }
    let folder = Folder::new("requests");
    for (kind, request) in KINDS.iter().zip(REQUESTS.iter()) {
        let file = folder.put("r.der", request);
        let arguments = ["req", "-verify", "-noout", "-text", "-inform", "DER"];
        let shown = openssl(&arguments, &[("-in", &file)]).unwrap();
        for line in [
            "Subject: O = acme.example, CN = hq-1",
            "DNS:hq-1.server.acme.example, DNS:localhost, DNS:controller.acme.example",
            "URI:spiffe://acme.example/server/hq-1",
            "IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1",
        ] {
            assert!(shown.contains(line), "{kind:?}: {line} in {shown}");
        }
    }
}

#[test]
fn we_read_what_openssl_makes() {
    if !need("we_read_what_openssl_makes") {
        return;
    }
    let folder = Folder::new("foreign-requests");
    for kind in KINDS {
        let (mut key, pem) = PrivateKey::generate(kind).unwrap();
        let key_file = folder.put("key.pem", pem.as_bytes());
        if kind == KeyKind::Ed25519 {
            // OpenSSL 3.0 does not read the form with the public key in it (RFC 5958 §2).
            openssl(&["genpkey", "-algorithm", "ed25519"], &[("-out", &key_file)]).unwrap();
            key = PrivateKey::from_pem(&fs::read(&key_file).unwrap()).unwrap();
        }
        let out = folder.0.join("r.csr");
        for (more, hosts, identity) in [
            (&[][..], &[][..], None),
            (
                &[
                    "-addext",
                    "subjectAltName=DNS:a.example,IP:192.0.2.7,URI:spiffe://acme/site/s,email:x@y",
                    "-addext",
                    "keyUsage=critical,digitalSignature",
                ],
                &["a.example"],
                Some("spiffe://acme/site/s"),
            ),
            (&["-outform", "DER"], &[], None),
        ] {
            let mut arguments = vec!["req", "-new", "-subj", "/O=Acme/CN=shop 1"];
            arguments.extend(more);
            openssl(&arguments, &[("-key", &key_file), ("-out", &out)]).unwrap();
            let bytes = fs::read(&out).unwrap();
            let request = read(&bytes, &Provider).unwrap();
            assert_eq!(request.key, key.public(), "{kind:?}");
            assert_eq!(request.subject, "CN=shop 1,O=Acme");
            assert_eq!(request.hosts, hosts);
            assert_eq!(request.identity().map(|i| i.to_string()).as_deref(), identity);
        }
    }
    // What does not count is refused by name.
    let out = folder.0.join("weak.csr");
    for (more, why) in [
        (&["-newkey", "rsa:1024"][..], "an RSA key of 1024 bits is too weak"),
        (&["-newkey", "rsa:2048", "-sha1"], "RSA with SHA-1 is too weak"),
        (&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"], "1.3.132.0.10"),
    ] {
        let mut arguments = vec!["req", "-new", "-nodes", "-subj", "/CN=x"];
        arguments.extend(more);
        let null = std::path::Path::new("/dev/null");
        openssl(&arguments, &[("-out", &out), ("-keyout", null)]).unwrap();
        let refusal = read(&fs::read(&out).unwrap(), &Provider).unwrap_err();
        assert!(matches!(refusal, Refusal::Weak(_)), "{refusal}");
        assert!(refusal.to_string().contains(why), "{refusal}");
    }
}

#[test]
fn a_request_becomes_a_certificate() {
    let root = Authority::root("acme.example", KeyKind::P256);
    let issuing = root.issuing("acme.example", KeyKind::P256);
    let key = PrivateKey::generate(KeyKind::P256).unwrap().0;
    let wished = subject("acme.example", "shop-99");
    let bytes = make(Profile::Site, &wished, &key, &Provider).unwrap();
    let request = read(&bytes, &Provider).unwrap();
    assert_eq!(request.identity().unwrap().to_string(), "spiffe://acme.example/site/shop-99");
    // The name is what the authority decided, whatever was wished.
    let decided = subject("acme.example", "shop-12");
    let order = Order { key: &request.key, ..order(Profile::Site, &decided, &request.key) };
    let issued = issuing.issue(&order).unwrap();
    assert_eq!(identity_of(&issued).unwrap().id.as_str(), "shop-12");
    assert_eq!(issued.key(), Ok(key.public()));
    // As text, under both names that are in use, and only alone.
    let text = Pem::write("CERTIFICATE REQUEST", &bytes).unwrap();
    let old = Pem::write("NEW CERTIFICATE REQUEST", &bytes).unwrap();
    for good in [&text, &old] {
        assert_eq!(read(good.as_bytes(), &Provider).as_ref(), Ok(&request));
    }
    let other = Pem::write("CERTIFICATE", &bytes).unwrap();
    for bad in [other, format!("{text}{old}")] {
        assert!(matches!(read(bad.as_bytes(), &Provider), Err(Refusal::Malformed(_))));
    }
    let padding = "x\n".repeat(BYTES_MAX / 2);
    let long = read(format!("{padding}{text}").as_bytes(), &Provider).unwrap_err();
    assert!(long.to_string().contains("longer than"), "{long}");
}

/// Signed by the right key, and still not what a request looks like.
#[test]
fn odd_requests_are_refused() {
    use pki::Signer as _;
    let key = PrivateKey::generate(KeyKind::P256).unwrap().0;
    let ecdsa = der(0x30, &[&oid("1.2.840.10045.4.3.2")]);
    let signed = |version: u8, attributes: &[u8], algorithm: &[u8]| {
        let info = der(
            0x30,
            &[&der(2, &[&[version]]), &der(0x30, &[]), &key.public().write(), attributes],
        );
        let signature = key.sign(&info).unwrap();
        read(&der(0x30, &[&info, algorithm, &der(3, &[&[0], &signature])]), &Provider)
    };
    let san = |names: &[u8]| der(0x30, &[&oid("2.5.29.17"), &der(4, &[&der(0x30, &[names])])]);
    let wish = |extensions: &[&[u8]]| {
        let set = der(0x31, &[&der(0x30, extensions)]);
        der(0xa0, &[&der(0x30, &[&oid("1.2.840.113549.1.9.14"), &set])])
    };
    let name = san(&[0x82, 1, b'a']);
    assert_eq!(signed(0, &wish(&[&name]), &ecdsa).unwrap().hosts, ["a"]);
    assert_eq!(signed(0, &[], &ecdsa).unwrap().hosts, Vec::<String>::new());
    let null = der(5, &[]);
    for (version, attributes, algorithm, why) in [
        (1, der(0xa0, &[]), ecdsa.clone(), "its version is not 1"),
        (0, wish(&[&name, &name]), ecdsa.clone(), "names twice"),
        (0, wish(&[&san(&[0x82, 1, 0])]), ecdsa.clone(), "not printable"),
        (0, wish(&[&san(&[0x87, 1, 0])]), ecdsa.clone(), "neither 4 nor 16"),
        (0, der(0xa0, &[&der(2, &[&[0]])]), ecdsa.clone(), "instead of 0x30"),
        (0, der(0xa1, &[]), ecdsa.clone(), "too many"),
        (0, vec![], der(0x30, &[&oid("1.2.840.10045.4.3.2"), &null]), "odd parameters"),
        (0, vec![], der(0x30, &[&oid("1.2.840.10045.4.1")]), "SHA-1 is too weak"),
        (0, vec![], der(0x30, &[&oid("1.3.101.112")]), "not signed with the key"),
    ] {
        let refusal = signed(version, &attributes, &algorithm).unwrap_err().to_string();
        assert!(refusal.contains(why), "{why}: {refusal}");
    }
}

#[test]
fn every_cut_and_every_bit_of_the_signature_count() {
    for request in REQUESTS.iter() {
        for cut in 0..request.len() {
            assert!(read(&request[..cut], &Provider).is_err(), "{cut}");
        }
        assert!(read(&[request.as_slice(), b"\0"].concat(), &Provider).is_err());
    }
    // Ed25519 has a signature of fixed length at the end, so all of these are well-formed.
    let request = &REQUESTS[2];
    for bit in 0..512 {
        let mut bytes = request.clone();
        let at = bytes.len() - 64 + bit / 8;
        bytes[at] ^= 1 << (bit % 8);
        assert_eq!(read(&bytes, &Provider), Err(Refusal::Signature), "bit {bit}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn a_flipped_byte_is_never_accepted(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        mask in 1_u8..=255,
    ) {
        let mut bytes = which.get(&REQUESTS).clone();
        prop_assert!(read(&bytes, &Provider).is_ok());
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        prop_assert!(read(&bytes, &Provider).is_err(), "byte {}", at);
    }

    #[test]
    fn any_bytes_are_no_request(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(read(&bytes, &Provider).is_err());
    }

    #[test]
    fn pieces_of_requests_are_none(
        which in any::<[prop::sample::Index; 2]>(),
        cuts in any::<[prop::sample::Index; 2]>(),
    ) {
        let [first, second] = [which[0].get(&REQUESTS), which[1].get(&REQUESTS)];
        let mut bytes = first[..cuts[0].index(first.len())].to_vec();
        bytes.extend(&second[cuts[1].index(second.len())..]);
        if !REQUESTS.contains(&bytes) {
            prop_assert!(read(&bytes, &Provider).is_err());
        }
    }

    /// With a provider that says yes to every signature, so that what is behind it is reached.
    #[test]
    fn nothing_behind_the_signature_panics(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = which.get(&REQUESTS).clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
        pki::fuzzing::signatures(&bytes);
    }
}
