//! The openssl program as a peer: it verifies what we sign, and we verify what it signs.

use std::fs;
use std::path::Path;

use crypto::Provider;
use model::Timestamp;
use pki::KeyKind;
use pki::cms::{Demand, Signed, sign};
use pki::path::Purpose;

use crate::maker::Chain;
use crate::peer::{Folder, need, openssl};

const FILE: &[u8] = b"{\"ietf-mud:mud\": {\"mud-url\": \"https://x.example/m\"}}\n";

fn now() -> Timestamp {
    "2035-06-01T12:00:00Z".parse().unwrap()
}

#[test]
fn it_verifies_what_we_sign() {
    if !need("it_verifies_what_we_sign") {
        return;
    }
    let folder = Folder::new("ours");
    // Ed25519 in CMS came with OpenSSL 3.2, after Debian 12.
    for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Rsa(2_048)] {
        let chain = Chain::new(kind);
        let others = std::slice::from_ref(&chain.between);
        let signature =
            sign(FILE, &chain.signer, others, now(), &chain.signer_key, &Provider).unwrap();
        let (file, signature) = (folder.put("m.json", FILE), folder.put("m.p7s", &signature));
        let root = folder.certificate("root.pem", &chain.root);
        let seconds = (now().as_nanos() / 1_000_000_000).to_string();
        let arguments =
            ["cms", "-verify", "-binary", "-inform", "DER", "-purpose", "any", "-attime", &seconds];
        let null = Path::new("/dev/null");
        let paths = [
            ("-in", signature.as_path()),
            ("-content", file.as_path()),
            ("-CAfile", root.as_path()),
            ("-out", null),
        ];
        openssl(&arguments, &paths).unwrap_or_else(|said| panic!("{kind:?}: {said}"));
        fs::write(&file, b"{}").unwrap();
        assert!(openssl(&arguments, &paths).is_err(), "{kind:?}");
    }
}

#[test]
fn we_verify_what_it_signs() {
    if !need("we_verify_what_it_signs") {
        return;
    }
    let folder = Folder::new("theirs");
    let rsa = KeyKind::Rsa(2_048);
    for (kind, more) in [
        (KeyKind::P256, &[][..]),
        (KeyKind::P384, &["-md", "sha384"]),
        (rsa, &["-md", "sha512"]),
        (rsa, &["-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:digest"]),
        (KeyKind::P256, &["-keyid"]),
        (KeyKind::P256, &["-noattr"]),
        (KeyKind::P256, &["-econtent_type", "1.2.840.113549.1.9.16.1.41"]),
        (KeyKind::P256, &["-outform", "PEM"]),
    ] {
        let mut signer = crate::maker::Blank::signer();
        let key_id = crate::maker::der(4, &[&[7; 20]]);
        signer.extensions.push(crate::maker::extension("2.5.29.14", false, &key_id));
        let (root, between) = (crate::maker::Blank::root(), crate::maker::Blank::between());
        let chain = Chain::of(kind, root, between, signer);
        let file = folder.put("m.json", FILE);
        let certificate = folder.certificate("signer.pem", &chain.signer);
        let between = folder.certificate("between.pem", &chain.between);
        let key = folder.put("key.pem", chain.signer_pem.as_bytes());
        let out = folder.0.join("m.p7s");
        let mut arguments = vec!["cms", "-sign", "-binary"];
        if !more.contains(&"-outform") {
            arguments.extend(["-outform", "DER"]);
        }
        arguments.extend(["-signer", certificate.to_str().unwrap()]);
        arguments.extend(more);
        let paths = [
            ("-inkey", key.as_path()),
            ("-certfile", between.as_path()),
            ("-in", file.as_path()),
            ("-out", out.as_path()),
        ];
        openssl(&arguments, &paths).unwrap_or_else(|said| panic!("{more:?}: {said}"));
        let signed = Signed::read(&fs::read(&out).unwrap()).unwrap();
        let anchors = std::slice::from_ref(&chain.root);
        let demand = Demand { anchors, at: now(), purpose: Purpose::MudFile, signer: None };
        let verified = signed.verify(FILE, &demand, &Provider).unwrap();
        assert_eq!(verified.signer, "CN=Signer,O=Example", "{more:?}");
        assert!(signed.verify(b"{}", &demand, &Provider).is_err(), "{more:?}");
    }
    // SHA-1 is refused by name.
    let chain = Chain::new(rsa);
    let certificate = folder.certificate("signer.pem", &chain.signer);
    let key = folder.put("key.pem", chain.signer_pem.as_bytes());
    let (file, out) = (folder.put("m.json", FILE), folder.0.join("m.p7s"));
    let arguments = ["cms", "-sign", "-binary", "-outform", "DER", "-md", "sha1"];
    let paths = [
        ("-signer", certificate.as_path()),
        ("-inkey", key.as_path()),
        ("-in", file.as_path()),
        ("-out", out.as_path()),
    ];
    openssl(&arguments, &paths).unwrap();
    let signed = Signed::read(&fs::read(&out).unwrap()).unwrap();
    let anchors = std::slice::from_ref(&chain.root);
    let demand = Demand { anchors, at: now(), purpose: Purpose::MudFile, signer: None };
    let why = signed.verify(FILE, &demand, &Provider).unwrap_err().to_string();
    assert!(why.contains("SHA-1 is too weak"), "{why}");
}
