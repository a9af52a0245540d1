//! The folder that a controller lives in.
//!
//! | file | what it is |
//! |---|---|
//! | `journal.db`, `log/`, `signed`, `key.pem`, `log.vkey` | the journal, as `ringfence journal` has it |
//! | `witnesses` | whom checkpoints go to; may be absent |
//! | `blobs/` | policy folders by digest |
//! | `people.db` | personal data and passwords, erasable |
//! | `flows.db` | who talked to whom, two weeks of it at most: telemetry, in no journal and no backup |
//! | `pki/` | root and issuing authority; `issuing.pkcs11` names a key in a token instead of that one's |
//! | `passphrase` | what private keys are under, where nobody keeps that elsewhere ([`crate::keys`]) |
//! | `pki/tpm-roots/` | roots of manufacturers of TPMs (PEM); may be absent |
//! | `references/` | what devices may measure, from before releases were in the estate: taken in at the next start; may be absent |
//! | `setup-token` | who reads it may make the first operator; gone after that |
//! | `host-token` | who reads it acts as this machine's administrator |

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crypto::sealed::{Passphrase, SealError};
use crypto::{KeyError, NoteKey, PrivateKey};
use journal::{KeyName, SignatureType, VerifierKey};
use pki::KeyKind;

use crate::keys::{self, Keeper};

/// Files of a folder that are read.
const FILES_MAX: usize = 4_096;
/// Bytes of one of them.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// The journal's key.
pub(crate) const LOG_KEY: &str = "key.pem";

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The disk.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key.
    #[error("{}: {why}", path.display())]
    Key {
        /// Of which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file that should give the passphrase of the keys.
    #[error("{} does not give the passphrase of the private keys: {why}", path.display())]
    Passphrase {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Keys are under a passphrase, and nobody gave one.
    #[error(
        "{} is under a passphrase, and none was given: name its file with --passphrase-file, or give it as the systemd credential {}",
        path.display(), keys::CREDENTIAL
    )]
    NoPassphrase {
        /// Which key.
        path: PathBuf,
    },
    /// They are under another one.
    #[error(
        "the passphrase does not open {}: it is under another one, or damaged; name the file with the right one with --passphrase-file, and after a change the file of before with --old-passphrase-file",
        path.display()
    )]
    OtherPassphrase {
        /// Which key.
        path: PathBuf,
    },
    /// The witnesses.
    #[error("{} does not name witnesses as a policy does (C2SP tlog-policy): {why}", path.display())]
    Witnesses {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A maker whose devices are to be believed.
    #[error("{} does not have a maker's root certificates: {why}", path.display())]
    Maker {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Another process has it.
    #[error("{} is in use by another controller", path.display())]
    InUse {
        /// Which folder.
        path: PathBuf,
    },
}

/// The folder, held by one process.
#[derive(Debug)]
pub struct StateFolder {
    root: PathBuf,
    /// What private keys in it are under; `None`: it was not opened for these.
    passphrase: Option<Passphrase>,
    /// Locked for as long as the process lives.
    _lock: fs::File,
}

impl StateFolder {
    /// Opens the folder, or makes it, readable by its owner only. It keeps the passphrase of its keys itself.
    pub fn open(root: &Path) -> Result<Self, StateError> {
        Self::open_with(root, &Keeper::default())
    }

    /// The same, with a passphrase that may be kept elsewhere. Private keys that are under none, or under the one of before, are under it afterwards.
    pub fn open_with(root: &Path, keeper: &Keeper) -> Result<Self, StateError> {
        let mut folder = Self::look(root)?;
        folder.passphrase = Some(keys::open(&folder, keeper)?);
        Ok(folder)
    }

    /// Opens the folder, or makes it, and leaves private keys alone.
    pub fn look(root: &Path) -> Result<Self, StateError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(io_error("make", root))?;
        let at = root.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&at)
            .map_err(io_error("open", &at))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root: root.to_owned(), passphrase: None, _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(StateError::InUse { path: root.to_owned() }),
            Err(fs::TryLockError::Error(source)) => Err(io_error("lock", &at)(source)),
        }
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// What the log is called, and the key that verifies its checkpoints. A file `log.vkey` has it.
    pub fn log_name(&self) -> Result<VerifierKey, StateError> {
        let at = self.file("log.vkey");
        let text = fs::read_to_string(&at).map_err(io_error("read", &at))?;
        text.trim_end()
            .parse()
            .map_err(|e: journal::Malformed| StateError::Key { path: at, why: e.to_string() })
    }

    /// The key that signs checkpoints, and its public half, which names the log: made at the first start.
    pub fn log_key(&self, origin: &str) -> Result<(VerifierKey, NoteKey), StateError> {
        let wrong = |name: &str| {
            let path = self.file(name);
            move |why: String| StateError::Key { path: path.clone(), why }
        };
        let note =
            |key: PrivateKey| NoteKey::try_from(key).map_err(|e| wrong(LOG_KEY)(e.to_string()));
        if !self.file(LOG_KEY).exists() {
            let (key, pem) = PrivateKey::generate(KeyKind::Ed25519)
                .map_err(|e| wrong(LOG_KEY)(e.to_string()))?;
            let name = KeyName::new(origin).map_err(|e| wrong("log.vkey")(e.to_string()))?;
            let verifier = VerifierKey::of(name, SignatureType::Ed25519, &note(key)?)
                .map_err(|e| wrong("log.vkey")(e.to_string()))?;
            // The key last: where it is, the rest is.
            self.write("log.vkey", format!("{verifier}\n").as_bytes(), 0o644)?;
            let again = PrivateKey::from_pem(pem.as_bytes());
            self.write_key(LOG_KEY, &again.map_err(|e| wrong(LOG_KEY)(e.to_string()))?)?;
        }
        let key = self.key(LOG_KEY)?.ok_or_else(|| wrong(LOG_KEY)("it is gone".to_owned()))?;
        Ok((self.log_name()?, note(key)?))
    }

    /// A private key; `None`: there is no such file.
    pub fn key(&self, name: &str) -> Result<Option<PrivateKey>, StateError> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        let read = match &self.passphrase {
            Some(passphrase) => PrivateKey::from_sealed(&bytes, passphrase),
            None => PrivateKey::from_pem(&bytes),
        };
        read.map(Some).map_err(|error| self.key_error(name, &error))
    }

    /// Writes a private key, under the passphrase, whole and durably.
    pub fn write_key(&self, name: &str, key: &PrivateKey) -> Result<(), StateError> {
        let sealed = key.sealed(self.passphrase()?);
        let sealed = sealed.map_err(|error| self.key_error(name, &error))?;
        self.write(name, sealed.as_bytes(), 0o600)
    }

    /// What secrets in the folder are under.
    pub(crate) fn passphrase(&self) -> Result<&Passphrase, StateError> {
        let none = || StateError::NoPassphrase { path: self.root.clone() };
        self.passphrase.as_ref().ok_or_else(none)
    }

    pub(crate) fn key_error(&self, name: &str, error: &KeyError) -> StateError {
        let path = self.file(name);
        match error {
            KeyError::Encrypted => StateError::NoPassphrase { path },
            KeyError::Sealed(SealError::Passphrase) => StateError::OtherPassphrase { path },
            other => StateError::Key { path, why: other.to_string() },
        }
    }

    /// Writes a small file whole and durably.
    pub fn write(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), StateError> {
        let at = self.file(name);
        let aside = self.file(&format!("{name}.new"));
        if let Some(above) = at.parent() {
            fs::create_dir_all(above).map_err(io_error("make", above))?;
        }
        let _ = fs::remove_file(&aside); // Of an earlier, interrupted write.
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(mode)
            .open(&aside)
            .map_err(io_error("write", &aside))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error("write", &aside))?;
        fs::rename(&aside, &at).map_err(io_error("name", &at))?;
        let above = at.parent().unwrap_or(&self.root);
        fs::File::open(above).and_then(|f| f.sync_all()).map_err(io_error("keep", above))
    }

    /// Takes a file away, durably; it may be gone already.
    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        let at = self.file(name);
        match fs::remove_file(&at) {
            Ok(()) => {
                let above = at.parent().unwrap_or(&self.root);
                fs::File::open(above).and_then(|f| f.sync_all()).map_err(io_error("keep", above))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io_error("remove", &at)(error)),
        }
    }

    /// Reads a small file; `None`: there is none.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let at = self.file(name);
        match fs::read(&at) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("read", &at)(error)),
        }
    }
}

/// Names and bytes of a folder's files, by name; none, where there is no such folder.
pub(crate) fn files(folder: &Path, extension: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
    let failed = |at: &Path, error: std::io::Error| format!("{}: {error}", at.display());
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(|error| failed(folder, error))?,
    };
    let mut paths = Vec::new();
    for file in listed {
        let path = file.map_err(|error| failed(folder, error))?.path();
        if path.extension().is_some_and(|has| has == extension) {
            paths.push(path);
        }
    }
    if paths.len() > FILES_MAX {
        return Err(format!("{}: more than {FILES_MAX} files", folder.display()));
    }
    paths.sort();
    let read = |path: PathBuf| {
        let size = fs::metadata(&path).map_err(|error| failed(&path, error))?.len();
        if size > FILE_BYTES_MAX {
            return Err(format!("{}: longer than {FILE_BYTES_MAX} bytes", path.display()));
        }
        let bytes = fs::read(&path).map_err(|error| failed(&path, error))?;
        Ok((path.display().to_string(), bytes))
    };
    paths.into_iter().map(read).collect()
}

pub(crate) fn io_error(
    doing: &'static str,
    path: &Path,
) -> impl Fn(io::Error) -> StateError + use<> {
    let path = path.to_owned();
    move |source| StateError::Io { doing, path: path.clone(), source }
}
