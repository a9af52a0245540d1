//! An issuing authority whose key lives in a token of PKCS #11 (SoftHSM), from the first start with it to the day another key follows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::hq::{has, ran};
use super::process::Process;
use crate::{Ran, folder};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

struct Token {
    here: PathBuf,
    settings: PathBuf,
}

impl Token {
    fn new(test: &str) -> Self {
        let here = folder(test);
        fs::create_dir(here.join("tokens")).unwrap();
        let settings = here.join("softhsm2.conf");
        let text = format!("directories.tokendir = {}\n", here.join("tokens").display());
        fs::write(&settings, text).unwrap();
        fs::write(here.join("pin"), "1234\n").unwrap();
        let token = Self { here, settings };
        token.ok("softhsm2-util", "--init-token --free --label hq --so-pin 4321 --pin 1234");
        token
    }

    fn run(&self, program: &str, line: &str) -> Ran {
        let mut command = Command::new(program);
        command.args(line.split_whitespace()).current_dir(&self.here);
        ran(command.env("SOFTHSM2_CONF", &self.settings).output().unwrap())
    }

    fn ok(&self, program: &str, line: &str) -> String {
        let ran = self.run(program, line);
        assert_eq!(ran.code, 0, "{program} {line}: {}{}", ran.out, ran.err);
        ran.out
    }

    /// A key that is in the token, and nowhere else.
    fn key(&self, label: &str, id: &str, curve: &str) {
        let made =
            "genpkey -algorithm EC -pkeyopt ec_param_enc:named_curve -out plain.pem -pkeyopt";
        self.ok("openssl", &format!("{made} ec_paramgen_curve:{curve}"));
        self.ok("openssl", &format!("pkey -in plain.pem -pubout -out {label}.pub"));
        let import = format!("--import plain.pem --token hq --label {label} --id {id} --pin 1234");
        self.ok("softhsm2-util", &import);
        fs::remove_file(self.here.join("plain.pem")).unwrap();
    }

    fn name(&self, label: &str, pin: &str) {
        let pin = self.here.join(pin).display().to_string();
        let uri = format!("pkcs11:token=hq;object={label}?module-path={MODULE}&pin-source={pin}\n");
        fs::write(self.here.join("hq/pki/issuing.pkcs11"), uri).unwrap();
    }

    fn start(&self) -> Process {
        let more: [(&str, &Path); 1] = [("SOFTHSM2_CONF", &self.settings)];
        Process::start_with(&self.here, "hq", "127.0.0.1:0", Stdio::inherit(), &more)
    }

    /// The list of an authority, fetched and judged by others.
    fn judged(&self, api: &str, path: &str, issuer: &str) {
        let get = "--silent --fail --cacert hq/pki/root.pem --output";
        self.ok("curl", &format!("{get} list.crl https://{api}/pki/{path}"));
        let said =
            self.run("openssl", &format!("crl -inform DER -in list.crl -noout -CAfile {issuer}"));
        assert!(said.err.contains("verify OK"), "{path}: {}", said.err);
    }

    /// Where the list of an authority of before is.
    fn list(&self, certificate: &str) -> String {
        let said = self.ok("openssl", &format!("dgst -sha256 -r {certificate}"));
        format!("issuers/{}.crl", said.split(' ').next().unwrap())
    }

    fn public_of(&self, certificate: &str) -> String {
        self.ok("openssl", &format!("x509 -in {certificate} -pubkey -noout"))
    }

    fn public(&self, label: &str) -> String {
        fs::read_to_string(self.here.join(format!("{label}.pub"))).unwrap()
    }
}

#[test]
fn an_authority_issues_with_a_key_that_lives_in_a_token() {
    let test = "an_authority_issues_with_a_key_that_lives_in_a_token";
    if !["softhsm2-util", "curl", "openssl"].iter().all(|program| has(test, program)) {
        return;
    }
    let token = Token::new("control-token");
    token.key("first", "01", "P-256");
    token.key("second", "02", "P-384");
    token.start().end();
    let pki = token.here.join("hq/pki");
    fs::copy(pki.join("issuing.pem"), token.here.join("file.pem")).unwrap();

    // What is wrong stops the start, and says why.
    fs::write(token.here.join("wrong"), "9999\n").unwrap();
    for (label, pin, why) in [
        ("first", "wrong", "log in at the token"),
        ("first", "nowhere", "PIN cannot be read"),
        ("third", "pin", "find the key"),
    ] {
        token.name(label, pin);
        let failed = token.run(env!("CARGO_BIN_EXE_ringfence"), "controller renew-root --state hq");
        let said = failed.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(failed.code == 1 && said.contains(why), "{label} {pin}: {said}");
        assert!(said.contains("pki/issuing.pkcs11"), "{said}");
    }
    assert_eq!(
        fs::read(pki.join("issuing.pem")).unwrap(),
        fs::read(token.here.join("file.pem")).unwrap()
    );

    token.name("first", "pin");
    for _ in 0..2 {
        let running = token.start();
        assert_eq!(token.public_of("hq/pki/issuing.pem"), token.public("first"));
        assert!(!pki.join("issuing.key.pem").exists());
        // It signs what the server shows, too: curl believes it. And the one of before still has a list.
        token.judged(&running.api, "issuing.crl", "hq/pki/issuing.pem");
        token.ok("openssl", "x509 -in file.pem -outform DER -out file.der");
        token.judged(&running.api, &token.list("file.der"), "file.pem");
        running.end();
    }
    token.ok("openssl", "verify -CAfile hq/pki/root.pem hq/pki/issuing.pem");

    // Another key of the token follows; the first one goes on signing its list.
    fs::copy(pki.join("issuing.pem"), token.here.join("first.pem")).unwrap();
    token.name("second", "pin");
    let running = token.start();
    assert_eq!(token.public_of("hq/pki/issuing.pem"), token.public("second"));
    token.judged(&running.api, "issuing.crl", "hq/pki/issuing.pem");
    token.ok("openssl", "x509 -in first.pem -outform DER -out first.der");
    token.judged(&running.api, &token.list("first.der"), "first.pem");
    running.end();

    // Another root takes the key of the token too.
    let renewed = token.run(env!("CARGO_BIN_EXE_ringfence"), "controller renew-root --state hq");
    assert_eq!(renewed.code, 0, "{}", renewed.err);
    let running = token.start();
    assert_eq!(token.public_of("hq/pki/issuing.pem"), token.public("second"));
    token.judged(&running.api, "issuing.crl", "hq/pki/issuing.pem");
    running.end();
}
