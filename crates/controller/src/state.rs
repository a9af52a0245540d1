//! The folder that a controller lives in.
//!
//! | file | what it is |
//! |---|---|
//! | `journal.db`, `log/`, `signed`, `key.pem`, `log.vkey` | the journal, as `ringfence journal` has it |
//! | `witnesses` | whom checkpoints go to; may be absent |
//! | `blobs/` | policy folders by digest |
//! | `people.db` | personal data and passwords, erasable |
//! | `pki/` | root, issuing authority, and the server's certificate |
//! | `pki/tpm-roots/` | roots of manufacturers of TPMs (PEM); may be absent |
//! | `references/` | what devices may measure; may be absent |
//! | `setup-token` | who reads it may make the first operator; gone after that |
//! | `host-token` | who reads it acts as this machine's administrator |

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crypto::{NoteKey, PrivateKey};
use journal::{KeyName, SignatureType, VerifierKey};
use pki::KeyKind;

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
    /// Locked for as long as the process lives.
    _lock: fs::File,
}

impl StateFolder {
    /// Opens the folder, or makes it, readable by its owner only.
    pub fn open(root: &Path) -> Result<Self, StateError> {
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
            Ok(()) => Ok(Self { root: root.to_owned(), _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(StateError::InUse { path: root.to_owned() }),
            Err(fs::TryLockError::Error(source)) => Err(io_error("lock", &at)(source)),
        }
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The key that signs checkpoints, and its public half, which names the log: made at the first start. A file `log.vkey` has the latter.
    pub fn log_key(&self, origin: &str) -> Result<(VerifierKey, NoteKey), StateError> {
        let (at, public) = (self.file("key.pem"), self.file("log.vkey"));
        let wrong = |path: &Path| {
            let path = path.to_owned();
            move |why: String| StateError::Key { path: path.clone(), why }
        };
        if !at.exists() {
            let (key, pem) =
                PrivateKey::generate(KeyKind::Ed25519).map_err(|e| wrong(&at)(e.to_string()))?;
            let key = NoteKey::try_from(key).map_err(|e| wrong(&at)(e.to_string()))?;
            let name = KeyName::new(origin).map_err(|e| wrong(&public)(e.to_string()))?;
            let verifier = VerifierKey::of(name, SignatureType::Ed25519, &key)
                .map_err(|e| wrong(&public)(e.to_string()))?;
            // The key last: where it is, the rest is.
            self.write("log.vkey", format!("{verifier}\n").as_bytes(), 0o644)?;
            self.write("key.pem", pem.as_bytes(), 0o600)?;
        }
        let text = fs::read_to_string(&public).map_err(io_error("read", &public))?;
        let verifier: VerifierKey = text
            .trim_end()
            .parse()
            .map_err(|e: journal::Malformed| wrong(&public)(e.to_string()))?;
        let pem = fs::read(&at).map_err(io_error("read", &at))?;
        let key = PrivateKey::from_pem(&pem).map_err(|e| wrong(&at)(e.to_string()))?;
        let key = NoteKey::try_from(key).map_err(|e| wrong(&at)(e.to_string()))?;
        Ok((verifier, key))
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

fn io_error(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> StateError + use<> {
    let path = path.to_owned();
    move |source| StateError::Io { doing, path: path.clone(), source }
}
