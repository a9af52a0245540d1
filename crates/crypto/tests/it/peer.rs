//! The openssl program as a peer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pki::{Certificate, Pem};

/// Whether the peer is there; a missing one is a failure under `RINGFENCE_STRICT=1`.
pub(crate) fn need(test: &str) -> bool {
    if Command::new("openssl").arg("version").output().is_ok_and(|o| o.status.success()) {
        return true;
    }
    let strict = std::env::var_os("RINGFENCE_STRICT").is_some_and(|value| value == "1");
    assert!(!strict, "{test}: the program openssl is missing (Debian package openssl)");
    eprintln!("SKIPPED {test}: the program openssl is missing");
    false
}

/// A folder that is gone after the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringfence-{test}-{}", std::process::id()));
        // Numbers of processes come again, and one that was killed leaves its folder.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn certificate(&self, name: &str, certificate: &Certificate) -> PathBuf {
        self.put(name, Pem::write("CERTIFICATE", certificate.der()).unwrap().as_bytes())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What it says on standard output, or on standard error when it fails.
pub(crate) fn openssl(arguments: &[&str], paths: &[(&str, &Path)]) -> Result<String, String> {
    let output = run(arguments, paths);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

/// Everything it says, for those of its commands that judge on standard error.
pub(crate) fn openssl_says(arguments: &[&str], paths: &[(&str, &Path)]) -> String {
    let output = run(arguments, paths);
    [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat()
}

fn run(arguments: &[&str], paths: &[(&str, &Path)]) -> Output {
    let mut command = Command::new("openssl");
    command.args(arguments);
    for (option, path) in paths {
        command.arg(option).arg(path);
    }
    command.output().unwrap()
}
