//! Bodies of EST: openssl's requests read by us, our certificates and wishes read by openssl, and nothing else.

use std::fs;
use std::sync::LazyLock;

use crypto::{PrivateKey, Provider};
use pki::est::{
    Binding, REQUEST_MAX, Refusal, Wishes, binding, body, certs_only, challenge_of, csrattrs,
    read_certs_only, read_csrattrs, read_request, takes_key,
};
use pki::issue::Profile;
use pki::request::{CHALLENGE_MAX, Extras, Request, make, make_with, read_der};
use pki::{Certificate, KeyKind};
use proptest::prelude::*;

use crate::estate::{Authority, subject};
use crate::maker::{der, oid};
use crate::peer::{Folder, need, openssl};

const CHANNEL: &[u8] = b"\xfb\xefunique-12\xff";
const URL: &str = "https://mud.example/camera?v=2";

fn parse(body: &[u8]) -> Request {
    read_der(&read_request(body).unwrap(), &Provider).unwrap()
}

/// What openssl takes for a request with everything in it.
fn config(challenge: &str, mask: &str) -> String {
    format!(
        "[req]\nprompt = no\nstring_mask = {mask}\ndistinguished_name = dn\nattributes = attributes\n\
         req_extensions = extensions\n[dn]\nO = Acme\nserialNumber = 4711\nCN = cam 1\n\
         [attributes]\nchallengePassword = {challenge}\n[extensions]\n\
         subjectAltName = DNS:cam-1.example, otherName:1.3.6.1.5.5.7.8.4;SEQ:module\n\
         1.3.6.1.5.5.7.1.25 = ASN1:IA5STRING:{URL}\n\
         [module]\ntype = OID:1.2.3.4\nserial = FORMAT:HEX,OCT:4711\n"
    )
}

#[test]
fn we_read_what_openssl_sends() {
    if !need("we_read_what_openssl_sends") {
        return;
    }
    let folder = Folder::new("est-requests");
    let (request, text) = (folder.0.join("r.der"), folder.0.join("r.b64"));
    let null = std::path::Path::new("/dev/null");
    let curve = |name| ["-newkey", "ec", "-pkeyopt", name];
    let pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"];
    let rsa_pss = [&["-newkey", "rsa:2048"][..], &pss].concat();
    for (kind, more, mask) in [
        (KeyKind::P256, &curve("ec_paramgen_curve:P-256")[..], "utf8only"),
        (KeyKind::P384, &curve("ec_paramgen_curve:P-384"), "nombstr"),
        (KeyKind::Ed25519, &["-newkey", "ed25519"], "pkix"),
        (KeyKind::Rsa(2_048), &["-newkey", "rsa:2048"], "default"),
        (KeyKind::Rsa(3_072), &["-newkey", "rsa:3072", "-sha384"], "default"),
        (KeyKind::Rsa(2_048), &rsa_pss, "utf8only"),
        (KeyKind::Rsa(4_096), &["-newkey", "rsa:4096"], "default"),
    ] {
        let config = folder.put("c.cnf", config(&challenge_of(CHANNEL), mask).as_bytes());
        let mut arguments = vec!["req", "-new", "-nodes", "-outform", "DER"];
        arguments.extend(more);
        let paths = [("-config", config.as_path()), ("-out", &request), ("-keyout", null)];
        openssl(&arguments, &paths).unwrap_or_else(|said| panic!("{kind:?}: {said}"));
        // Lines of 64 characters, one line, and the breaks of MIME.
        openssl(&["base64"], &[("-in", &request), ("-out", &text)]).unwrap();
        let lines = fs::read_to_string(&text).unwrap();
        openssl(&["base64", "-A"], &[("-in", &request), ("-out", &text)]).unwrap();
        let line = fs::read_to_string(&text).unwrap();
        assert!(lines.lines().count() > 3 && line.lines().count() == 1);
        for body in [lines.clone(), lines.replace('\n', "\r\n"), line] {
            let request = parse(body.as_bytes());
            assert_eq!(request.key.kind, kind);
            assert!(takes_key(kind));
            assert_eq!(request.hosts, ["cam-1.example"]);
            assert_eq!(request.mud_url.as_deref(), Some(URL));
            assert_eq!(binding(&request, CHANNEL), Binding::Holds, "{mask}");
            for other in [&CHANNEL[1..], b"", b"\xfb\xefunique-12\xfe"] {
                assert_eq!(binding(&request, other), Binding::Other);
            }
            assert!(!format!("{request:?}").contains(&challenge_of(CHANNEL)));
        }
    }
    // An empty channel is nobody's, and text that is no base64 is no channel's.
    let config = folder.put("c.cnf", config("let me in", "utf8only").as_bytes());
    let arguments = ["req", "-new", "-nodes", "-outform", "DER", "-newkey", "ed25519"];
    let paths = [("-config", config.as_path()), ("-out", &request), ("-keyout", null)];
    openssl(&arguments, &paths).unwrap();
    let request = parse(body(&fs::read(&request).unwrap()).as_bytes());
    assert_eq!(request.challenge.as_ref().unwrap().as_str(), "let me in");
    assert_eq!(binding(&request, CHANNEL), Binding::Other);
}

#[test]
fn devices_may_have_keys_of_these_sizes() {
    for (kind, takes) in [
        (KeyKind::P256, true),
        (KeyKind::Rsa(2_047), false),
        (KeyKind::Rsa(2_048), true),
        (KeyKind::Rsa(4_096), true),
        (KeyKind::Rsa(4_097), false),
        (KeyKind::Rsa(8_192), false),
    ] {
        assert_eq!(takes_key(kind), takes, "{kind:?}");
    }
}

#[test]
fn what_we_send_says_what_it_has_to() {
    let key = PrivateKey::generate(KeyKind::P256).unwrap().0;
    let subject = subject("acme.example", "cam-1");
    let challenge = challenge_of(CHANNEL);
    let extras = Extras { challenge: Some(&challenge), mud_url: Some(URL) };
    let bytes = make_with(Profile::Site, &subject, extras, &key, &Provider).unwrap();
    let request = parse(body(&bytes).as_bytes());
    assert_eq!(binding(&request, CHANNEL), Binding::Holds);
    assert_eq!(request.mud_url.as_deref(), Some(URL));
    assert_eq!(request.uris, ["spiffe://acme.example/site/cam-1"]);
    let plain = read_der(&make(Profile::Site, &subject, &key, &Provider).unwrap(), &Provider);
    let plain = plain.unwrap();
    assert_eq!(binding(&plain, CHANNEL), Binding::Absent);
    assert_eq!(plain, Request { challenge: None, mud_url: None, ..request });
    let refused = |extras| make_with(Profile::Site, &subject, extras, &key, &Provider).is_err();
    let long = "x".repeat(CHALLENGE_MAX + 1);
    for challenge in ["", &long] {
        assert!(refused(Extras { challenge: Some(challenge), mud_url: None }));
    }
    for url in ["", "https://x.example/\u{e9}", "https://x.example/a b", &long] {
        assert!(refused(Extras { challenge: None, mud_url: Some(url) }), "{url}");
    }
    if !need("what_we_send_says_what_it_has_to") {
        return;
    }
    let folder = Folder::new("est-ours");
    let file = folder.put("r.der", &bytes);
    let arguments = ["req", "-verify", "-noout", "-text", "-inform", "DER"];
    let shown = openssl(&arguments, &[("-in", &file)]).unwrap();
    assert!(shown.contains(&format!("challengePassword        :{challenge}")), "{shown}");
    assert!(shown.contains("1.3.6.1.5.5.7.1.25"), "{shown}");
}

#[test]
fn bodies_that_are_none_say_why() {
    // The length of a signature differs by a byte or two: a body whose base64 is padded, so that
    // nothing can follow it.
    let padded = (0..64).find_map(|_| {
        let key = PrivateKey::generate(KeyKind::P256).unwrap().0;
        let bytes = make(Profile::Site, &subject("acme", "cam"), &key, &Provider).unwrap();
        (!bytes.len().is_multiple_of(3)).then_some(bytes)
    });
    let bytes = padded.unwrap();
    let text = body(&bytes);
    assert_eq!(read_request(text.as_bytes()), Ok(bytes.clone()));
    for (wrong, why) in [
        (String::new(), "is empty"),
        ("\r\n\n".to_owned(), "is empty"),
        (format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n"), "between its BEGIN and END"),
        (text.replacen('M', "-", 1), "not base64"),
        (format!("{text} "), "not base64"),
        (format!("{text}="), "not base64"),
        (format!("{text}AAAA"), "not base64"),
        (text.split_at(text.len() - 1).0.to_owned(), "not base64"),
        (body(b"hello"), "not a certificate request"),
        (body(&bytes[1..]), "not a certificate request"),
    ] {
        let refusal = read_request(wrong.as_bytes()).unwrap_err().to_string();
        assert!(refusal.contains(why), "{why}: {refusal}");
    }
    // At the bound.
    let sized = |size: usize| body(&der(0x30, &[&vec![0; size - 4]]));
    assert_eq!(read_request(sized(REQUEST_MAX).as_bytes()).unwrap().len(), REQUEST_MAX);
    let too_long = Err(Refusal::TooLong { bytes_max: REQUEST_MAX });
    assert_eq!(read_request(sized(REQUEST_MAX + 1).as_bytes()), too_long);
    assert_eq!(read_request(&vec![b'\n'; 2 * REQUEST_MAX]), Err(Refusal::Empty));
    assert_eq!(read_request(&vec![b'\n'; 2 * REQUEST_MAX + 1]), too_long);
}

/// Signed by the right key, and still odd.
#[test]
fn odd_attributes_refuse_a_request() {
    use pki::Signer as _;
    let key = PrivateKey::generate(KeyKind::P256).unwrap().0;
    let signed = |attributes: &[&[u8]]| {
        let info = der(
            0x30,
            &[&der(2, &[&[0]]), &der(0x30, &[]), &key.public().write(), &der(0xa0, attributes)],
        );
        let signature = key.sign(&info).unwrap();
        let algorithm = der(0x30, &[&oid("1.2.840.10045.4.3.2")]);
        read_der(&der(0x30, &[&info, &algorithm, &der(3, &[&[0], &signature])]), &Provider)
    };
    let challenge =
        |values: &[&[u8]]| der(0x30, &[&oid("1.2.840.113549.1.9.7"), &der(0x31, values)]);
    let mud = |value: &[u8]| der(0x30, &[&oid("1.3.6.1.5.5.7.1.25"), &der(4, &[value])]);
    let wish = |extensions: &[&[u8]]| {
        let set = der(0x31, &[&der(0x30, extensions)]);
        der(0x30, &[&oid("1.2.840.113549.1.9.14"), &set])
    };
    let one = challenge(&[&[0x16, 1, b'x']]);
    let read = signed(&[&one]).unwrap().challenge.unwrap();
    assert_eq!(read.as_str(), "x");
    let at_bound = der(0x0c, &[&[b'x'; CHALLENGE_MAX]]);
    assert!(signed(&[&challenge(&[&at_bound])]).is_ok());
    let url = mud(&[0x16, 1, b'x']);
    assert_eq!(signed(&[&wish(&[&url])]).unwrap().mud_url.as_deref(), Some("x"));
    for (attributes, why) in [
        (vec![one.clone(), one], "challengePassword twice"),
        (vec![challenge(&[&[0x0c, 1, b'x'], &[0x0c, 1, b'y']])], "too many"),
        (vec![challenge(&[])], "no value"),
        (vec![challenge(&[&[0x1e, 2, 0, b'x']])], "neither UTF-8 nor ASCII"),
        (vec![challenge(&[&[0x0c, 1, 0xff]])], "not the text it says"),
        (vec![challenge(&[&[0x13, 2, 0xc3, 0xa9]])], "not the text it says"),
        (vec![challenge(&[&der(0x0c, &[&[b'x'; CHALLENGE_MAX + 1]])])], "longer than"),
        (vec![wish(&[&url, &url])], "MUD URL twice"),
        (vec![wish(&[&mud(&[0x16, 0])])], "MUD URL is none"),
        (vec![wish(&[&mud(&[0x16, 1, 0x1b])])], "MUD URL is none"),
        (vec![wish(&[&mud(&[0x0c, 1, b'x'])])], "instead of 0x16"),
    ] {
        let attributes: Vec<&[u8]> = attributes.iter().map(Vec::as_slice).collect();
        let refusal = signed(&attributes).unwrap_err().to_string();
        assert!(refusal.contains(why), "{why}: {refusal}");
    }
}

static CERTIFICATES: LazyLock<Vec<Certificate>> = LazyLock::new(|| {
    let root = Authority::root("acme.example", KeyKind::P384);
    let issuing = root.issuing("acme.example", KeyKind::P256);
    let member = issuing.member(Profile::Site, &subject("acme.example", "shop-12"));
    vec![member.certificate, issuing.certificate, root.certificate]
});

#[test]
fn openssl_reads_our_certificates_and_we_read_its() {
    let bytes = certs_only(&CERTIFICATES);
    let line = body(&bytes);
    assert!(!line.contains(['\r', '\n', ' ']));
    let read = read_certs_only(line.as_bytes()).unwrap();
    let mut sorted = CERTIFICATES.clone();
    sorted.sort_by(|a, b| a.der().cmp(b.der()));
    assert_eq!(read, sorted);
    let twice: Vec<Certificate> = CERTIFICATES.iter().chain(CERTIFICATES.iter()).cloned().collect();
    assert_eq!(certs_only(&twice), bytes);
    if !need("openssl_reads_our_certificates_and_we_read_its") {
        return;
    }
    let folder = Folder::new("certs-only");
    let (file, out) = (folder.put("c.p7", &bytes), folder.0.join("out"));
    for program in ["pkcs7", "cms"] {
        let show: &[&str] = if program == "cms" { &["-cmsout", "-noout"] } else { &["-noout"] };
        let arguments = [&[program, "-inform", "DER"][..], show].concat();
        openssl(&arguments, &[("-in", &file)]).unwrap_or_else(|said| panic!("{program}: {said}"));
    }
    openssl(&["pkcs7", "-inform", "DER", "-print_certs"], &[("-in", &file), ("-out", &out)])
        .unwrap();
    assert_eq!(Certificate::read_all(&fs::read(&out).unwrap()).unwrap(), sorted);
    // The same in one line of base64, decoded by it.
    let (text, again) = (folder.put("c.b64", line.as_bytes()), folder.0.join("again"));
    openssl(&["base64", "-d", "-A"], &[("-in", &text), ("-out", &again)]).unwrap();
    assert_eq!(fs::read(&again).unwrap(), bytes);
    // Its own.
    let all: Vec<String> =
        CERTIFICATES.iter().map(|c| pki::Pem::write("CERTIFICATE", c.der()).unwrap()).collect();
    let pem = folder.put("all.pem", all.concat().as_bytes());
    let arguments = ["crl2pkcs7", "-nocrl", "-outform", "DER"];
    openssl(&arguments, &[("-certfile", &pem), ("-out", &out)]).unwrap();
    openssl(&["base64"], &[("-in", &out), ("-out", &text)]).unwrap();
    assert_eq!(read_certs_only(&fs::read(&text).unwrap()).unwrap(), *CERTIFICATES);
}

#[test]
fn anything_beside_certificates_is_refused() {
    let certificate = CERTIFICATES[0].der().to_vec();
    let make =
        |version: u8, digests: &[u8], content: &[u8], certificates: &[u8], more: &[&[u8]]| {
            let data = [oid("1.2.840.113549.1.7.1"), content.to_vec()].concat();
            let head = [der(2, &[&[version]]), der(0x31, &[digests]), der(0x30, &[&data])].concat();
            let signed = der(0x30, &[&head, certificates, &more.concat()]);
            body(&der(0x30, &[&oid("1.2.840.113549.1.7.2"), &der(0xa0, &[&signed])]))
        };
    let (one, none) = (der(0xa0, &[&certificate]), der(0x31, &[]));
    let good = make(1, &[], &[], &one, &[&none]);
    assert_eq!(read_certs_only(good.as_bytes()).unwrap(), CERTIFICATES[..1]);
    let many = |n| der(0xa0, &vec![certificate.as_slice(); n]);
    for (wrong, why) in [
        (make(3, &[], &[], &one, &[&none]), "version"),
        (make(1, &[0x30, 0], &[], &one, &[&none]), "names digests"),
        (make(1, &[], &[0xa0, 2, 4, 0], &one, &[&none]), "too many"),
        (make(1, &[], &[], &one, &[&der(0xa1, &[]), &none]), "no signers"),
        (make(1, &[], &[], &one, &[&der(0x31, &[&[0x30, 0]])]), "somebody signed"),
        (make(1, &[], &[], &one, &[&none, &none]), "too many"),
        (make(1, &[], &[], &one, &[]), "no signers"),
        (make(1, &[], &[], &[], &[&none]), "no certificates"),
        (make(1, &[], &[], &der(0xa0, &[]), &[&none]), "no certificate in it"),
        (make(1, &[], &[], &many(2), &[&none]), "twice"),
        (make(1, &[], &[], &many(33), &[&none]), "more than 32"),
        (make(1, &[], &[], &der(0xa0, &[&[0x30, 0]]), &[&none]), "not a certificate"),
        (body(&certificate), "not certificates"),
    ] {
        let refusal = read_certs_only(wrong.as_bytes()).unwrap_err().to_string();
        assert!(refusal.contains(why), "{why}: {refusal}");
    }
}

#[test]
fn wishes_go_both_ways() {
    let bound = Wishes { bound: true, ..Wishes::default() };
    let named = Wishes {
        hosts: vec!["cam-1.device.acme.example".to_owned()],
        uris: vec!["spiffe://acme.example/device/cam-1".to_owned()],
        ..bound.clone()
    };
    for wishes in [Wishes::default(), bound, named.clone()] {
        assert_eq!(read_csrattrs(body(&csrattrs(&wishes)).as_bytes()), Ok(wishes));
    }
    // The example of RFC 7030 §4.5.2, which has attributes that mean nothing here.
    let example = "MEEGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiMBYGCSqGSIb3DQEJDjEJBgcrBgEBAQEWBggqhkjOPQQDAw==";
    let bound = Wishes { bound: true, ..Wishes::default() };
    assert_eq!(read_csrattrs(example.as_bytes()), Ok(bound));
    for wrong in [&[0x30, 3, 0x04, 1, 0][..], &[0x30, 2, 0x30, 0], &[0x31, 0], &[0x30, 1]] {
        assert!(read_csrattrs(body(wrong).as_bytes()).is_err(), "{wrong:x?}");
    }
    if !need("wishes_go_both_ways") {
        return;
    }
    let folder = Folder::new("csrattrs");
    let file = folder.put("a.der", &csrattrs(&named));
    let shown = openssl(&["asn1parse", "-inform", "DER"], &[("-in", &file)]).unwrap();
    for line in [
        "challengePassword",
        "Extension Request",
        "id-ecPublicKey",
        "prime256v1",
        "ecdsa-with-SHA256",
    ] {
        assert!(shown.contains(line), "{line} in {shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// No bit of an answer can be turned without another answer or a refusal, and no cut of it is one.
    #[test]
    fn every_bit_and_cut_of_certificates_counts(
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = certs_only(&CERTIFICATES);
        let good = read_certs_only(body(&bytes).as_bytes()).unwrap();
        let mut turned = bytes.clone();
        turned[at.index(bytes.len())] ^= 1 << bit;
        prop_assert_ne!(read_certs_only(body(&turned).as_bytes()).ok(), Some(good.clone()));
        let cut = cut.index(bytes.len());
        prop_assert!(read_certs_only(body(&bytes[..cut]).as_bytes()).is_err());
        // The same in its base64.
        let mut text = body(&bytes).into_bytes();
        let at = at.index(text.len());
        text[at] ^= 1 << bit;
        let read = read_certs_only(&text).ok();
        let harmless = matches!(text[at], b'\r' | b'\n');
        prop_assert!(harmless || read != Some(good));
        prop_assert!(read_certs_only(&text[..at]).is_err());
    }

    #[test]
    fn bodies_are_read_whatever_their_breaks(
        breaks in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..40),
    ) {
        let bytes = certs_only(&CERTIFICATES[..1]);
        let mut text = body(&bytes);
        for (at, windows) in breaks {
            text.insert_str(at.index(text.len()), if windows { "\r\n" } else { "\n" });
        }
        prop_assert_eq!(read_certs_only(text.as_bytes()).unwrap(), &CERTIFICATES[..1]);
    }

    #[test]
    fn any_bytes_are_no_body(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        pki::fuzzing::est(&bytes);
        prop_assert!(read_request(&bytes).is_err());
    }

    #[test]
    fn nothing_panics_behind_the_base64(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        which in 0..2,
    ) {
        let mut bytes = match which {
            0 => certs_only(&CERTIFICATES),
            _ => csrattrs(&Wishes {
                bound: true,
                hosts: vec!["a.example".to_owned()],
                uris: vec!["spiffe://acme".to_owned()],
            }),
        };
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        pki::fuzzing::est(&bytes);
    }
}
