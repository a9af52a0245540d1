//! Files that entries of the journal name by their digest: policy folders.
//!
//! A file is whole or not there: written aside, synced, renamed. Its name is the SHA-256 of its content, which is checked whenever it is
//! read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Relative path → text.
pub type Files = BTreeMap<String, String>;

/// Why a file is not there.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The disk.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what its name says.
    #[error("{} is not what its name says; restore it from a backup", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
}

/// The folder of them.
#[derive(Clone, Debug)]
pub struct Blobs(PathBuf);

impl Blobs {
    /// Opens the folder, or makes it.
    pub fn open(path: &Path) -> Result<Self, BlobError> {
        fs::create_dir_all(path).map_err(io("make", path))?;
        Ok(Self(path.to_owned()))
    }

    /// Keeps files under their digest, which is [`digest`].
    pub fn put(&self, files: &Files) -> Result<String, BlobError> {
        let name = digest(files);
        let at = self.0.join(&name);
        if at.exists() {
            return Ok(name);
        }
        let aside = self.0.join(format!(".{name}"));
        let bytes = serde_json::to_vec(files).unwrap_or_default();
        let mut file = File::create(&aside).map_err(io("write", &aside))?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(io("write", &aside))?;
        fs::rename(&aside, &at).map_err(io("name", &at))?;
        File::open(&self.0).and_then(|folder| folder.sync_all()).map_err(io("keep", &self.0))?;
        Ok(name)
    }

    /// The files of a digest; `None`: they are not kept.
    pub fn get(&self, name: &str) -> Result<Option<Files>, BlobError> {
        if name.len() != 64 || !name.chars().all(|c| c.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let at = self.0.join(name);
        let bytes = match fs::read(&at) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("read", &at)(error)),
        };
        let files: Option<Files> = serde_json::from_slice(&bytes).ok();
        match files.filter(|files| digest(files) == name) {
            Some(files) => Ok(Some(files)),
            None => Err(BlobError::Damaged { path: at }),
        }
    }
}

/// SHA-256 over names and texts, each with its length in front, in hex: what `ringfence site` calls the content of a folder.
pub fn digest(files: &Files) -> String {
    let mut bytes = Vec::new();
    for part in files.iter().flat_map(|(path, text)| [path, text]) {
        bytes.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    hex(&crypto::sha256(&bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn io(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> BlobError + use<> {
    let path = path.to_owned();
    move |source| BlobError::Io { doing, path: path.clone(), source }
}
