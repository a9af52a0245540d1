//! A TPM in software (swtpm) and the programs that people use with one (tpm2-tools).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crypto::Provider;
use pki::Certificate;
use pki::tpm::{AttestationKey, EndorsementKey};

use crate::peer::Folder;

/// Whether the programs are there; a missing one is a failure under `RINGFENCE_STRICT=1`.
pub(crate) fn need(test: &str) -> bool {
    let wanted = [("swtpm", "swtpm"), ("swtpm_setup", "swtpm-tools"), ("tpm2", "tpm2-tools")];
    // One of them has no option that only says its version.
    let there = |program: &str| Command::new(program).arg("--help").output().is_ok();
    let Some((program, package)) = wanted.into_iter().find(|(program, _)| !there(program)) else {
        return true;
    };
    let strict = std::env::var_os("RINGFENCE_STRICT").is_some_and(|value| value == "1");
    assert!(!strict, "{test}: the program {program} is missing (Debian package {package})");
    eprintln!("SKIPPED {test}: the program {program} is missing");
    false
}

/// Where swtpm keeps its P-384 endorsement key.
pub(crate) const P384_HANDLE: &str = "0x81010016";

/// Signs only what its TPM made.
pub(crate) const RESTRICTED: &str =
    "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign|noda";

/// One TPM, with endorsement keys and their certificates, powered on.
pub(crate) struct Tpm {
    folder: Folder,
    running: Option<Child>,
}

impl Tpm {
    /// A new one, from a manufacturer of its own.
    pub(crate) fn new(test: &str) -> Self {
        let folder = Folder::new(&format!("tpm-{test}"));
        let at = |name: &str| folder.0.join(name).display().to_string();
        for name in ["state", "ca"] {
            fs::create_dir_all(folder.0.join(name)).unwrap();
        }
        let ca = format!(
            "statedir = {0}\nsigningkey = {0}/signkey.pem\nissuercert = {0}/issuercert.pem\ncertserial = {0}/certserial\n",
            at("ca")
        );
        folder.put("ca.conf", ca.as_bytes());
        folder.put("ca.options", b"--platform-manufacturer Acme\n");
        let program = "/usr/bin/swtpm_localca";
        let setup = format!(
            "create_certs_tool = {program}\ncreate_certs_tool_config = {}\ncreate_certs_tool_options = {}\nactive_pcr_banks = sha256,sha384\n",
            at("ca.conf"),
            at("ca.options")
        );
        folder.put("setup.conf", setup.as_bytes());
        let output = Command::new("swtpm_setup")
            .args(["--tpm2", "--create-ek-cert", "--lock-nvram", "--tpmstate"])
            .arg(folder.0.join("state"))
            .args(["--config", &at("setup.conf"), "--logfile", &at("setup.log")])
            .output()
            .unwrap();
        let log = fs::read_to_string(folder.0.join("setup.log")).unwrap_or_default();
        assert!(output.status.success(), "{output:?}\n{log}");
        let mut tpm = Self { folder, running: None };
        tpm.power_on();
        tpm
    }

    pub(crate) fn power_on(&mut self) {
        let (socket, listens) = (self.path("socket"), self.path("pid"));
        let _ = (fs::remove_file(&socket), fs::remove_file(&listens));
        let state = format!("dir={}", self.path("state").display());
        let server = format!("type=unixio,path={}", socket.display());
        let control = format!("type=unixio,path={}.ctrl", socket.display());
        let noted = format!("file={}", listens.display());
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--tpmstate", &state, "--server", &server, "--pid", &noted])
            .args(["--ctrl", &control, "--flags", "not-need-init,startup-clear"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.running = Some(child);
        let mut probe = Command::new("timeout");
        // It binds its socket first, then listens, and then writes this file.
        let waits = format!("until [ -s {} ]; do sleep 0.02; done", listens.display());
        assert!(probe.args(["20", "sh", "-c", &waits]).status().unwrap().success(), "no socket");
    }

    /// Power is taken away; `orderly` says it to the TPM before.
    pub(crate) fn power_off(&mut self, orderly: bool) {
        if orderly {
            self.tool(&["shutdown", "-c"]);
        }
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        self.folder.put(name, bytes);
    }

    /// Runs one of the tools, which has to succeed.
    pub(crate) fn tool(&self, arguments: &[&str]) -> String {
        self.attempt(arguments).unwrap_or_else(|said| panic!("{arguments:?}: {said}"))
    }

    /// What a tool says on standard output, or on standard error when it fails. Without a resource manager, what it leaves in
    /// the TPM has to be taken away.
    pub(crate) fn attempt(&self, arguments: &[&str]) -> Result<String, String> {
        let said = self.run(arguments);
        if arguments.first() != Some(&"startauthsession") && arguments.first() != Some(&"shutdown")
        {
            self.run(&["flushcontext", "-t"]).unwrap();
        }
        said
    }

    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let socket = self.path("socket");
        let output = Command::new("timeout")
            .args(["60", "tpm2"])
            .args(arguments)
            .current_dir(&self.folder.0)
            .env("TPM2TOOLS_TCTI", format!("swtpm:path={}", socket.display()))
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }

    /// The certificate in an NV index.
    pub(crate) fn certificate(&self, index: &str) -> Certificate {
        self.tool(&["nvread", index, "-C", "o", "-o", "nv.der"]);
        Certificate::from_der(&self.read("nv.der")).unwrap()
    }

    /// The manufacturer's root, and what is between it and the certificates.
    pub(crate) fn manufacturer(&self) -> (Vec<Certificate>, Vec<Certificate>) {
        let all = |name| Certificate::read_all(&self.read(name)).unwrap();
        (all("ca/swtpm-localca-rootca-cert.pem"), all("ca/issuercert.pem"))
    }

    /// The endorsement key at a handle, or of a kind that is made now. Its context is in `ek.ctx`.
    pub(crate) fn endorsement_key(&self, which: &str) -> EndorsementKey {
        match which.starts_with("0x") {
            true => self.put("ek.name", which.as_bytes()),
            false => {
                self.tool(&["createek", "-G", which, "-c", "ek.ctx"]);
                self.put("ek.name", b"ek.ctx");
            }
        }
        let handle = self.ek();
        self.tool(&["readpublic", "-c", &handle, "-f", "tpmt", "-o", "ek.pub"]);
        EndorsementKey::read(&self.read("ek.pub"), &Provider).unwrap()
    }

    /// What the tools call the endorsement key.
    pub(crate) fn ek(&self) -> String {
        String::from_utf8(self.read("ek.name")).unwrap()
    }

    /// A new attestation key below the endorsement key; it stays at `handle`.
    pub(crate) fn attestation_key(
        &self,
        [kind, scheme]: [&str; 2],
        handle: &str,
    ) -> AttestationKey {
        let ek = self.ek();
        let _ = self.attempt(&["evictcontrol", "-C", "o", "-c", handle]);
        // The tool for it makes names with the parent's digest.
        if ek == P384_HANDLE {
            let made = ["create", "-C", &ek, "-G", "ecc256:ecdsa-sha256:null", "-g", "sha256"];
            let files = ["-u", "ak.tpm2b", "-r", "ak.priv", "-c", "ak.ctx", "-a", RESTRICTED];
            self.tool(&[&made[..], &files].concat());
            self.tool(&[
                "readpublic",
                "-c",
                "ak.ctx",
                "-f",
                "tpmt",
                "-o",
                "ak.pub",
                "-n",
                "ak.name",
            ]);
        } else {
            let made = ["createak", "-C", &ek, "-c", "ak.ctx", "-G", kind, "-g", "sha256"];
            let files = ["-s", scheme, "-u", "ak.pub", "-f", "tpmt", "-n", "ak.name"];
            self.tool(&[&made[..], &files].concat());
        }
        self.tool(&["evictcontrol", "-C", "o", "-c", "ak.ctx", handle]);
        let _ = self.run(&["flushcontext", "-l"]);
        AttestationKey::read(&self.read("ak.pub"), &Provider).unwrap()
    }

    /// Copies the state of a TPM that is off.
    pub(crate) fn copy_state(&self, from: &str, to: &str) {
        let _ = fs::remove_dir_all(self.path(to));
        fs::create_dir_all(self.path(to)).unwrap();
        for entry in fs::read_dir(self.path(from)).unwrap() {
            let entry = entry.unwrap().path();
            let name = entry.file_name().unwrap().to_owned();
            fs::copy(&entry, Path::new(&self.path(to)).join(name)).unwrap();
        }
    }

    /// Lets the TPM's clock go on.
    pub(crate) fn wait(&self) {
        let _ = Command::new("sleep").arg("0.02").status();
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        self.power_off(false);
    }
}
