//! The agent's commands and a real TPM (in software), with the verifier on the other end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crypto::{PrivateKey, Provider};
use device_agent::{Keys, Stored, Tpm, transport};
use pki::tpm::{
    AttestationKey, Demand, EndorsementKey, NoQuote, NotCertified, Pcrs, Public, Selection, Since,
    Untrue, binding, certify, challenge, endorsed, quote, since,
};
use pki::{Certificate, Digest, KeyKind, Verifier};

/// swtpm in a folder, and its manufacturer.
struct Machine {
    folder: PathBuf,
    running: Option<Child>,
}

/// `None`, loudly, where swtpm is missing; a failure under `RINGFENCE_STRICT=1`.
fn machine(test: &str) -> Option<Machine> {
    for (program, package) in [("swtpm", "swtpm"), ("swtpm_setup", "swtpm-tools")] {
        if Command::new(program).arg("--help").output().is_err() {
            let strict = std::env::var_os("RINGFENCE_STRICT").is_some_and(|value| value == "1");
            assert!(!strict, "{test}: the program {program} is missing (Debian package {package})");
            eprintln!("SKIPPED {test}: the program {program} is missing");
            return None;
        }
    }
    let name = format!("ringfence-agent-{test}-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    let mut machine = Machine { folder, running: None };
    machine.manufacture();
    machine.power_on();
    Some(machine)
}

impl Machine {
    fn at(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn manufacture(&self) {
        fs::create_dir_all(self.folder.join("state")).unwrap();
        fs::create_dir_all(self.folder.join("ca")).unwrap();
        let put = |name: &str, text: String| fs::write(self.folder.join(name), text).unwrap();
        put(
            "ca.conf",
            format!(
                "statedir = {0}\nsigningkey = {0}/key.pem\nissuercert = {0}/issuer.pem\ncertserial = {0}/serial\n",
                self.at("ca")
            ),
        );
        put("ca.options", "--platform-manufacturer Acme\n".to_owned());
        put(
            "setup.conf",
            format!(
                "create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = {}\ncreate_certs_tool_options = {}\nactive_pcr_banks = sha256,sha384\n",
                self.at("ca.conf"),
                self.at("ca.options")
            ),
        );
        let output = Command::new("swtpm_setup")
            .args(["--tpm2", "--create-ek-cert", "--lock-nvram", "--tpmstate", &self.at("state")])
            .args(["--config", &self.at("setup.conf"), "--logfile", &self.at("setup.log")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn power_on(&mut self) {
        let socket = self.at("socket");
        let listens = format!("{socket}.pid");
        let _ = (fs::remove_file(&socket), fs::remove_file(&listens));
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--tpmstate", &format!("dir={}", self.at("state"))])
            .args(["--server", &format!("type=unixio,path={socket}")])
            .args(["--ctrl", &format!("type=unixio,path={socket}.ctrl")])
            .args(["--pid", &format!("file={listens}")])
            .args(["--flags", "not-need-init,startup-clear"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.running = Some(child);
        // It binds its socket first, then listens, and then writes this file.
        let waits = format!("until [ -s {listens} ]; do sleep 0.02; done");
        assert!(
            Command::new("timeout").args(["20", "sh", "-c", &waits]).status().unwrap().success()
        );
    }

    fn power_off(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn tpm(&self) -> Tpm {
        Tpm::new(transport::open(&format!("unix:{}", self.at("socket"))).unwrap())
    }

    fn manufacturer(&self) -> (Vec<Certificate>, Vec<Certificate>) {
        let all = |path: &Path| Certificate::read_all(&fs::read(path).unwrap()).unwrap();
        let ca = self.folder.join("ca");
        (all(&ca.join("swtpm-localca-rootca-cert.pem")), all(&ca.join("issuer.pem")))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.power_off();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn fresh() -> [u8; 32] {
    let mut bytes = [0; 32];
    crypto::random(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_device_enrols_and_attests() {
    let Some(mut machine) = machine("enrols") else {
        return;
    };
    let mut keys = Keys::make(machine.tpm()).unwrap();
    // The verifier: a manufacturer vouches for the TPM.
    let (roots, between) = machine.manufacturer();
    let certificate =
        Certificate::from_der(keys.endorsement().certificate.as_ref().unwrap()).unwrap();
    let endorsement = EndorsementKey::read(&keys.endorsement().public, &Provider).unwrap();
    let now = "2035-06-01T12:00:00Z".parse().unwrap();
    let endorsed = endorsed(endorsement, &certificate, &between, &roots, now, &Provider).unwrap();
    assert_eq!(endorsed.model.model, "swtpm");
    // The attestation key is in it.
    let stored = keys.stored().clone();
    let attestation = AttestationKey::read(&stored.attestation.public, &Provider).unwrap();
    let attestation = attestation.below(&endorsed.key, &Provider);
    let secret = fresh();
    let sealed = challenge(&endorsed.key, attestation.name(), &secret, &Provider).unwrap();
    assert_eq!(keys.activate(&sealed).unwrap(), secret);
    let mut spoilt = sealed.clone();
    *spoilt.blob.last_mut().unwrap() ^= 1;
    let refused = keys.activate(&spoilt).unwrap_err();
    assert!(refused.to_string().contains("made by another TPM, or changed"), "{refused}");
    // The device's key is in it, too.
    let device = Public::read(&stored.device.public).unwrap().key;
    let nonce = binding(&fresh(), b"exported", &device, &Provider);
    let said = keys.certify(&nonce).unwrap();
    let judge = |key, nonce: &[u8]| {
        let public = &stored.device.public;
        certify(&said.attest, &said.signature, public, key, &attestation, nonce, &Provider)
    };
    assert_eq!(judge(&device, &nonce).unwrap().key, device);
    let other = PrivateKey::generate(KeyKind::P256).unwrap().0.public();
    assert_eq!(judge(&other, &nonce), Err(NotCertified::OtherKey));
    assert!(judge(&device, &fresh()).is_err());
    // It signs what it is given.
    let signature = pki::tpm::Signature::read(&keys.sign(b"message").unwrap()).unwrap();
    let algorithm = signature.scheme.algorithm();
    let bytes = signature.standard(device.kind).unwrap();
    assert!(Provider.verify(algorithm, &device, b"message", &bytes));
    assert!(!Provider.verify(algorithm, &device, b"massage", &bytes));
    // More registers than one command reads, in two banks.
    let selection = Selection::of(Digest::Sha256, 0..16).and(Digest::Sha384, [0, 7, 23]);
    let ask = |keys: &mut Keys| {
        let nonce = binding(&fresh(), b"exported", &device, &Provider);
        let answer = keys.quote(&nonce, &selection).unwrap();
        let demand = Demand { nonce: &nonce, selection: &selection };
        let said = &answer.quote;
        let pcrs = answer.pcrs.clone();
        let judged = quote(&said.attest, &said.signature, pcrs, &attestation, &demand, &Provider);
        (judged.unwrap().0, answer)
    };
    let (first, old) = ask(&mut keys);
    let demand = Demand { nonce: &fresh(), selection: &selection };
    let replayed = quote(
        &old.quote.attest,
        &old.quote.signature,
        old.pcrs.clone(),
        &attestation,
        &demand,
        &Provider,
    );
    assert_eq!(replayed, Err(NoQuote::Untrue(Untrue::OtherNonce)));
    // Something is measured, and the machine is booted: the keys are the same.
    let mut tpm = keys.into_tpm();
    let (two, three) = (fresh(), [7; 48]);
    tpm.extend(7, &[(Digest::Sha256, &two), (Digest::Sha384, &three)]).unwrap();
    let mut keys = Keys::open(tpm, Stored::read(&stored.write()).unwrap()).unwrap();
    let (second, extended) = ask(&mut keys);
    assert_ne!(extended.pcrs, old.pcrs);
    assert_eq!(since(&first, &second), Ok(Since::default()));
    drop(keys);
    machine.power_off();
    machine.power_on();
    let mut keys = Keys::open(machine.tpm(), stored.clone()).unwrap();
    let (third, booted) = ask(&mut keys);
    assert_eq!(since(&second, &third), Ok(Since { rebooted: true, ..Since::default() }));
    assert_eq!(booted.pcrs, old.pcrs);
    assert!(since(&third, &second).is_err());
}

#[test]
fn keys_are_of_no_use_to_another_tpm() {
    let (Some(machine), Some(other)) = (machine("one"), machine("other")) else {
        return;
    };
    let keys = Keys::make(machine.tpm()).unwrap();
    let mut stolen = Keys::open(other.tpm(), keys.stored().clone()).unwrap();
    for refused in [
        stolen.quote(b"nonce", &Selection::of(Digest::Sha256, [0])).unwrap_err(),
        stolen.certify(b"nonce").unwrap_err(),
        stolen.sign(b"message").unwrap_err(),
    ] {
        assert!(refused.to_string().contains("the TPM refused Load"), "{refused}");
    }
    // Nothing of it stays in the TPM: it has room for three objects and three sessions, and none is leaked.
    for _ in 0..10 {
        assert!(stolen.certify(b"nonce").is_err());
    }
    let mut own = Keys::make(stolen.into_tpm()).unwrap();
    for _ in 0..10 {
        own.certify(b"nonce").unwrap();
    }
}

#[test]
fn a_file_of_keys_is_read_whole() {
    let Some(machine) = machine("file") else {
        return;
    };
    let stored = Keys::make(machine.tpm()).unwrap().stored().clone();
    let bytes = stored.write();
    assert_eq!(Stored::read(&bytes).unwrap(), stored);
    for cut in 0..bytes.len() {
        assert!(Stored::read(bytes.get(..cut).unwrap()).is_err(), "{cut}");
    }
    assert!(Stored::read(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn the_program_answers_a_verifier() {
    let Some(machine) = machine("program") else {
        return;
    };
    let place = format!("unix:{}", machine.at("socket"));
    let folder = machine.at("agent");
    let run = |words: &[&str]| -> Result<Vec<Vec<u8>>, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_device-agent"));
        let output =
            command.args(["--tpm", &place, "--state", &folder]).args(words).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if !output.status.success() {
            return Err(text(output.stderr));
        }
        let value = |line: &str| unhex(line.split_once(' ').unwrap().1);
        Ok(text(output.stdout).lines().map(value).collect())
    };
    assert!(run(&["show"]).unwrap_err().contains("there are no keys in the TPM"));
    let shown = run(&["make"]).unwrap();
    assert_eq!(run(&["show"]).unwrap(), shown);
    assert_eq!(run(&["make"]).unwrap(), shown, "keys are never replaced");
    let [_, endorsement, attestation, device] = shown.try_into().unwrap();
    let endorsement = EndorsementKey::read(&endorsement, &Provider).unwrap();
    let attestation = AttestationKey::read(&attestation, &Provider).unwrap();
    let attestation = attestation.below(&endorsement, &Provider);
    let secret = fresh();
    let sealed = challenge(&endorsement, attestation.name(), &secret, &Provider).unwrap();
    let opened = run(&["activate", &hex(&sealed.blob), &hex(&sealed.seed)]).unwrap();
    assert_eq!(opened, [secret]);
    let nonce = fresh();
    let [attest, signature] = run(&["certify", &hex(&nonce)]).unwrap().try_into().unwrap();
    let key = Public::read(&device).unwrap().key;
    certify(&attest, &signature, &device, &key, &attestation, &nonce, &Provider).unwrap();
    let asked = run(&["quote", &hex(&nonce), "sha256:0,7+sha384:0"]).unwrap();
    let [attest, signature, pcrs] = asked.try_into().unwrap();
    let selection = Selection::of(Digest::Sha256, [0, 7]).and(Digest::Sha384, [0]);
    let demand = Demand { nonce: &nonce, selection: &selection };
    let pcrs = Pcrs::read(&pcrs).unwrap();
    quote(&attest, &signature, pcrs, &attestation, &demand, &Provider).unwrap();
    assert!(run(&["quote", "xyz", "sha256:0"]).unwrap_err().contains("is not hexadecimal"));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(text.get(at..at + 2).unwrap(), 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}
