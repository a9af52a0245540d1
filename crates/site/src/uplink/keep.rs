//! What survives of the line, in `uplink/` of the state directory. Only the site's user reads it.
//!
//! ```text
//! lock          held by the running site, or by `site join`
//! key.pem       the site's key; made here, never leaves
//! root.pem      the estate's root: what the token pinned
//! chain.pem     the site's certificate, then those up to the root
//! controller    where the controller is, and which site this is; written last: without it nobody has joined
//! bundles.json  state::Bundles
//! mark.json     state::Mark
//! outbox.json   outbox::Head
//! events.jsonl  outbox::Noted, a line each
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crypto::PrivateKey;
use crypto::tls::Credentials;
use model::{SiteId, Timestamp};
use pki::{Certificate, Identity, KeyKind, Pem};
use serde::{Deserialize, Serialize};

use super::outbox::{Head, Noted};
use super::state::{Bundles, Mark};
use crate::store::{self, StoreError};

/// Name of the directory in the state directory.
pub const FOLDER: &str = "uplink";

const KEY: &str = "key.pem";
const ROOT: &str = "root.pem";
const CHAIN: &str = "chain.pem";
const CONTROLLER: &str = "controller";
const BUNDLES: &str = "bundles.json";
const MARK: &str = "mark.json";
const HEAD: &str = "outbox.json";
const EVENTS: &str = "events.jsonl";

/// Where the controller is, and which site this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// `HOST:PORT`, as it was given.
    pub controller: String,
    /// The site's id in the estate.
    pub site: SiteId,
}

/// Who this site is.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// Where the controller is, and which site this is.
    pub joined: Joined,
    /// What it shows of itself.
    pub credentials: Credentials,
    /// The estate's root.
    pub root: Certificate,
    /// Whom its certificate speaks for.
    pub identity: Identity,
    /// First second of its certificate.
    pub not_before: Timestamp,
    /// Last second of its certificate.
    pub not_after: Timestamp,
}

/// Why the site's identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The state directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody has joined.
    #[error(
        "this site has not joined a controller; `ringfence site join --controller HOST:PORT` does that, with a token of the controller"
    )]
    NotJoined,
    /// A file that is not what it should be.
    #[error("{}: {why}; join again with a new token of the controller", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// The directory, open; nobody else has it open.
#[derive(Debug)]
pub struct Keep {
    path: PathBuf,
    /// Its lock goes with the process, however that ends.
    _lock: File,
}

impl Keep {
    /// Opens `uplink/` of a state directory, making it where it is not there.
    pub fn open(state: &Path) -> Result<Self, StoreError> {
        let path = state.join(FOLDER);
        let lock = store::take(&path)?;
        Ok(Self { path, _lock: lock })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The site's key; made, and durable, where there is none.
    pub fn key(&self) -> Result<PrivateKey, KeepError> {
        if let Some(key) = self.known_key()? {
            return Ok(key);
        }
        let made = PrivateKey::generate(KeyKind::P256);
        let (key, pem) = made.map_err(|error| self.damaged(KEY, error.to_string()))?;
        store::replace(&self.file(KEY), pem.as_bytes())?;
        Ok(key)
    }

    fn known_key(&self) -> Result<Option<PrivateKey>, KeepError> {
        let Some(pem) = store::bytes(&self.file(KEY))? else {
            return Ok(None);
        };
        let key = PrivateKey::from_pem(&pem);
        key.map(Some).map_err(|error| self.damaged(KEY, error.to_string()))
    }

    /// Who this site is, where it has joined.
    pub fn enrolled(&self) -> Result<Enrolled, KeepError> {
        let joined: Option<Joined> = store::read(&self.file(CONTROLLER))?;
        let joined = joined.ok_or(KeepError::NotJoined)?;
        let missing = |name| move || self.damaged(name, "it is not there".to_owned());
        let key = self.known_key()?.ok_or_else(missing(KEY))?;
        let root = self.certificates(ROOT)?;
        let root = root.into_iter().next().ok_or_else(missing(ROOT))?;
        let chain = self.certificates(CHAIN)?;
        self.enrolled_as(joined, key, chain, root)
    }

    fn enrolled_as(
        &self,
        joined: Joined,
        key: PrivateKey,
        chain: Vec<Certificate>,
        root: Certificate,
    ) -> Result<Enrolled, KeepError> {
        let wrong = |why: &str| self.damaged(CHAIN, why.to_owned());
        let leaf = chain.first().ok_or_else(|| wrong("there is no certificate in it"))?;
        if leaf.key().as_ref() != Ok(&key.public()) {
            return Err(wrong("its first certificate is for another key than the site's"));
        }
        let identity = pki::identity_of(leaf);
        let identity = identity.filter(|identity| identity.kind == pki::identity::Kind::Site);
        let identity = identity.ok_or_else(|| wrong("its first certificate is for no site"))?;
        let (not_before, not_after) = (leaf.not_before(), leaf.not_after());
        let credentials = Credentials { chain, key: Arc::new(key) };
        Ok(Enrolled { joined, credentials, root, identity, not_before, not_after })
    }

    /// A first or a next certificate, checked before it is kept.
    pub fn enrol(
        &self,
        joined: Joined,
        chain: &str,
        root: Certificate,
    ) -> Result<Enrolled, KeepError> {
        let wrong = |why: String| self.damaged(CHAIN, why);
        let certificates = Certificate::read_all(chain.as_bytes());
        let certificates = certificates.map_err(|error| wrong(error.to_string()))?;
        let key = self.key()?;
        let enrolled = self.enrolled_as(joined, key, certificates, root)?;
        self.forget_others(&enrolled)?;
        let root = Pem::write("CERTIFICATE", enrolled.root.der());
        let root = root.map_err(|error| wrong(error.to_string()))?;
        store::replace(&self.file(ROOT), root.as_bytes())?;
        store::replace(&self.file(CHAIN), chain.as_bytes())?;
        // The last: where it is, the others are.
        store::write(&self.file(CONTROLLER), &enrolled.joined)?;
        Ok(enrolled)
    }

    /// Numbers of another site, or of another estate, mean nothing here.
    fn forget_others(&self, new: &Enrolled) -> Result<(), KeepError> {
        let before: Option<Joined> = store::read(&self.file(CONTROLLER)).unwrap_or_default();
        let root = self.certificates(ROOT).unwrap_or_default();
        let same = before.is_none_or(|before| before.site == new.joined.site)
            && root.first().is_none_or(|root| *root == new.root);
        if same {
            return Ok(());
        }
        for name in [BUNDLES, MARK, HEAD, EVENTS, CONTROLLER] {
            let path = self.file(name);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::Io { doing: "remove", path, source }.into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn certificates(&self, name: &str) -> Result<Vec<Certificate>, KeepError> {
        let Some(bytes) = store::bytes(&self.file(name))? else {
            return Ok(Vec::new());
        };
        Certificate::read_all(&bytes).map_err(|error| self.damaged(name, error.to_string()))
    }

    fn damaged(&self, name: &str, why: String) -> KeepError {
        KeepError::Damaged { path: self.file(name), why }
    }

    /// The bundles.
    pub fn bundles(&self) -> Result<Bundles, StoreError> {
        Ok(store::read(&self.file(BUNDLES))?.unwrap_or_default())
    }

    /// Makes bundles durable.
    pub fn save_bundles(&self, bundles: &Bundles) -> Result<(), StoreError> {
        store::write(&self.file(BUNDLES), bundles)
    }

    /// The mark.
    pub fn mark(&self) -> Result<Option<Mark>, StoreError> {
        store::read(&self.file(MARK))
    }

    /// Makes a mark durable.
    pub fn save_mark(&self, mark: &Mark) -> Result<(), StoreError> {
        store::write(&self.file(MARK), mark)
    }

    /// The outbox's head.
    pub fn head(&self) -> Result<Head, StoreError> {
        Ok(store::read(&self.file(HEAD))?.unwrap_or_default())
    }

    /// Makes the outbox's head durable.
    pub fn save_head(&self, head: &Head) -> Result<(), StoreError> {
        store::write(&self.file(HEAD), head)
    }

    /// The outbox's events. A last line that a crash cut off is taken away: what it told of comes again, or was in no journal.
    pub fn events(&self) -> Result<Vec<Noted>, StoreError> {
        let path = self.file(EVENTS);
        let Some(bytes) = store::bytes(&path)? else {
            return Ok(Vec::new());
        };
        let whole =
            bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
        if whole < bytes.len() {
            let io = |source| StoreError::Io { doing: "repair", path: path.clone(), source };
            let file = OpenOptions::new().write(true).open(&path).map_err(io)?;
            let length = u64::try_from(whole).unwrap_or(u64::MAX);
            file.set_len(length).and_then(|()| file.sync_all()).map_err(io)?;
        }
        let lines = bytes.get(..whole).unwrap_or_default();
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let damaged = |error: serde_json::Error| StoreError::Damaged {
            path: path.clone(),
            why: error.to_string(),
        };
        lines.map(|line| serde_json::from_slice(line).map_err(damaged)).collect()
    }

    /// Adds events, durably.
    pub fn add_events(&self, events: &[Noted]) -> Result<(), StoreError> {
        let path = self.file(EVENTS);
        let io = |source| StoreError::Io { doing: "write", path: path.clone(), source };
        let text = lines(events.iter()).map_err(io)?;
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).mode(0o600).open(&path).map_err(io)?;
        let before = file.metadata().map_err(io)?.len();
        let written = file.write_all(&text).and_then(|()| file.sync_data());
        if written.is_err() {
            // Half a line in the middle could not be read again.
            let _ = file.set_len(before);
        }
        written.map_err(io)
    }

    /// Replaces the file of events by these.
    pub fn replace_events<'a>(
        &self,
        events: impl Iterator<Item = &'a Noted>,
    ) -> Result<(), StoreError> {
        let path = self.file(EVENTS);
        let text = lines(events);
        let text =
            text.map_err(|source| StoreError::Io { doing: "write", path: path.clone(), source })?;
        store::replace(&path, &text)
    }

    /// Bytes of the file of events.
    pub fn events_bytes(&self) -> u64 {
        fs::metadata(self.file(EVENTS)).map_or(0, |file| file.len())
    }
}

fn lines<'a>(events: impl Iterator<Item = &'a Noted>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for event in events {
        serde_json::to_writer(&mut text, event)?;
        text.push(b'\n');
    }
    Ok(text)
}
