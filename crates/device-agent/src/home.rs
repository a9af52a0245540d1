//! The folder that an agent keeps what it has in.
//!
//! | file | what it is |
//! |---|---|
//! | `server` | who gave the certificate: `HOST:PORT` |
//! | `root.pem` | the root that its server is trusted by |
//! | `keys` | keys in the TPM; of no use to another one |
//! | `key.pem` | the key of a device without a TPM; nobody else may read it |
//! | `certificate.pem` | the certificate |
//! | `certificate.new.pem` | one that was not tried yet |

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use pki::{Certificate, Pem};

/// Bytes of the longest file that is read.
const FILE_BYTES_MAX: u64 = 65_536;

/// File with the server's name.
pub const SERVER: &str = "server";
/// File with the root.
pub const ROOT: &str = "root.pem";
/// File with keys in the TPM.
pub const KEYS: &str = "keys";
/// File with a key that is in no TPM.
pub const KEY: &str = "key.pem";
/// File with the certificate.
pub const CERTIFICATE: &str = "certificate.pem";
/// File with the next one.
pub const NEXT: &str = "certificate.new.pem";

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct HomeError {
    path: PathBuf,
    why: String,
}

/// The folder.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

impl Home {
    /// A folder that is there, or will be.
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn error(&self, name: &str, why: impl ToString) -> HomeError {
        HomeError { path: self.file(name), why: why.to_string() }
    }

    /// The bytes of a file; `None`: there is none.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, HomeError> {
        let at = self.file(name);
        let size = match fs::metadata(&at) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(|error| self.error(name, error))?.len(),
        };
        if size > FILE_BYTES_MAX {
            return Err(self.error(name, format!("it is longer than {FILE_BYTES_MAX} bytes")));
        }
        fs::read(&at).map(Some).map_err(|error| self.error(name, error))
    }

    /// The same of a file that has to be there.
    pub fn need(&self, name: &str) -> Result<Vec<u8>, HomeError> {
        self.read(name)?.ok_or_else(|| self.error(name, "it is missing: enrol first"))
    }

    /// Writes a file whole or not at all, and only for its owner.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), HomeError> {
        let aside = self.file(&format!("{name}.part"));
        let written =
            DirBuilder::new().recursive(true).mode(0o700).create(&self.0).and_then(|()| {
                let mut options = OpenOptions::new();
                let mut file =
                    options.write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
                file.write_all(bytes)?;
                file.sync_all()?;
                fs::rename(&aside, self.file(name))?;
                fs::File::open(&self.0)?.sync_all()
            });
        written.map_err(|error| self.error(name, error))
    }

    /// Puts one file in the place of another.
    pub fn swap(&self, name: &str, into: &str) -> Result<(), HomeError> {
        let swapped = fs::rename(self.file(name), self.file(into))
            .and_then(|()| fs::File::open(&self.0)?.sync_all());
        swapped.map_err(|error| self.error(into, error))
    }

    /// Takes a file away.
    pub fn remove(&self, name: &str) -> Result<(), HomeError> {
        match fs::remove_file(self.file(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.error(name, error)),
            _ => Ok(()),
        }
    }

    /// The first certificate of a file; `None`: there is no such file.
    pub fn certificate(&self, name: &str) -> Result<Option<Certificate>, HomeError> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        let all = Certificate::read_all(&bytes).map_err(|error| self.error(name, error))?;
        match all.into_iter().next() {
            Some(first) => Ok(Some(first)),
            None => Err(self.error(name, "there is no certificate in it")),
        }
    }

    /// Keeps a certificate.
    pub fn keep(&self, name: &str, certificate: &Certificate) -> Result<(), HomeError> {
        let pem = Pem::write("CERTIFICATE", certificate.der());
        self.write(name, pem.map_err(|error| self.error(name, error))?.as_bytes())
    }
}
