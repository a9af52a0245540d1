//! The openssl program as a peer: it verifies what we sign, and we verify what it signs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crypto::Provider;
use model::Timestamp;
use pki::cms::{Demand, Signed, sign};
use pki::path::Purpose;
use pki::{Certificate, KeyKind, Pem};

use crate::maker::Chain;

const FILE: &[u8] = b"{\"ietf-mud:mud\": {\"mud-url\": \"https://x.example/m\"}}\n";

/// Whether the peer is there; a missing one is a failure under `RINGFENCE_STRICT=1`.
fn need(test: &str) -> bool {
    if Command::new("openssl").arg("version").output().is_ok_and(|o| o.status.success()) {
        return true;
    }
    let strict = std::env::var_os("RINGFENCE_STRICT").is_some_and(|value| value == "1");
    assert!(!strict, "{test}: the program openssl is missing (Debian package openssl)");
    eprintln!("SKIPPED {test}: the program openssl is missing");
    false
}

struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringfence-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn certificate(&self, name: &str, certificate: &Certificate) -> PathBuf {
        self.put(name, Pem::write("CERTIFICATE", certificate.der()).unwrap().as_bytes())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn openssl(arguments: &[&str], paths: &[(&str, &Path)]) -> Result<(), String> {
    let mut command = Command::new("openssl");
    command.args(arguments);
    for (option, path) in paths {
        command.arg(option).arg(path);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    output.status.success().then_some(()).ok_or(said)
}

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
        assert_eq!(openssl(&arguments, &paths), Ok(()), "{kind:?}");
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
        assert_eq!(openssl(&arguments, &paths), Ok(()), "{more:?}");
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
    assert_eq!(openssl(&arguments, &paths), Ok(()));
    let signed = Signed::read(&fs::read(&out).unwrap()).unwrap();
    let anchors = std::slice::from_ref(&chain.root);
    let demand = Demand { anchors, at: now(), purpose: Purpose::MudFile, signer: None };
    let why = signed.verify(FILE, &demand, &Provider).unwrap_err().to_string();
    assert!(why.contains("SHA-1 is too weak"), "{why}");
}
