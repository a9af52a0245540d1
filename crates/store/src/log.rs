//! A log: entries in a store, tiles in a folder, and heads that are signed when their bytes are durable.
//!
//! Three places, in the order in which they become durable: the store has the entries and their tree; the folder of tiles has the same for
//! everybody to read; the record of what was signed last is a file apart. A head is in the record before anybody sees it. Should
//! the store be an older copy, or another history, the record tells, and nothing is signed.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use journal::checkpoint::{Checkpoint, SignedCheckpoint};
use journal::entry::Entry;
use journal::guard;
use journal::policy::Policy;
use journal::tile::TileNodes;
use journal::{KeyName, SignatureType, Signer, Verifier, VerifierKey};

use crate::files::replace;
use crate::tiles::file;
use crate::{Expect, Files, LogError, Store, StoreError, StoreTiles, Ticket, TileFolder};

/// Where a log keeps what is not in its store.
#[derive(Clone, Debug)]
pub struct Places {
    /// The folder of tiles.
    pub tiles: PathBuf,
    /// The record of what was signed last. It belongs on another disk, and in no backup of the store.
    pub signed: PathBuf,
}

/// Something that was put right when a log was opened, or that somebody should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The folder's checkpoint cannot be believed; tiles and checkpoint are written anew.
    Republished {
        /// What is wrong with it.
        why: String,
    },
    /// A head was signed, and the process ended before it was published.
    Unpublished {
        /// Entries that are published.
        published: u64,
        /// Entries that were signed.
        signed: u64,
    },
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Republished { why } => {
                write!(
                    f,
                    "the published checkpoint is not believed ({why}); all tiles are written anew"
                )
            }
            Self::Unpublished { published, signed } => {
                write!(
                    f,
                    "{signed} entries were signed and {published} published; the rest is published now"
                )
            }
        }
    }
}

/// An opened log, and what there is to say of it.
#[derive(Debug)]
pub struct Opened<S, F> {
    /// The log.
    pub log: Log<S, F>,
    /// What was found.
    pub notices: Vec<Notice>,
}

/// A log that is written.
pub struct Log<S, F> {
    store: S,
    files: F,
    folder: TileFolder<F>,
    places: Places,
    origin: KeyName,
    signer: Box<dyn Signer + Send + Sync>,
    state: Mutex<State>,
}

struct State {
    signed: Option<SignedCheckpoint>,
    /// Entries whose tiles and checkpoint are in the folder.
    published: u64,
}

impl<S: Store, F: Files + Clone> Log<S, F> {
    /// Opens a log, or begins one where nothing was ever signed. Refused when the store does not have what was signed.
    pub fn open(
        store: S,
        files: F,
        places: Places,
        origin: KeyName,
        signer: Box<dyn Signer + Send + Sync>,
        verifier: &dyn Verifier,
    ) -> Result<Opened<S, F>, LogError> {
        let key = VerifierKey::of(origin.clone(), SignatureType::Ed25519, &*signer)?;
        let policy = Policy::log_alone(key);
        let believe = |note: &[u8]| -> Result<SignedCheckpoint, String> {
            let head = SignedCheckpoint::decode(note).map_err(|e| e.to_string())?;
            policy.judge(&head, verifier).map_err(|e| e.to_string())?;
            Ok(head)
        };
        let folder = TileFolder::new(files.clone(), &places.tiles);
        let mut notices = Vec::new();
        let record = files.read(&places.signed).map_err(file(&places.signed))?;
        let in_store = store.checkpoint()?;
        let at = folder.checkpoint_path();
        let in_folder = folder.checkpoint().map_err(file(&at))?;
        let Some(record) = record else {
            if in_store.is_some() || in_folder.is_some() {
                return Err(LogError::NoRecord(places.signed));
            }
            let state = Mutex::new(State { signed: None, published: 0 });
            let log = Self { store, files, folder, places, origin, signer, state };
            return Ok(Opened { log, notices });
        };
        let wrong = |path: &PathBuf, why| LogError::Record { path: path.clone(), why };
        let mut signed = believe(&record).map_err(|why| wrong(&places.signed, why))?;
        extends(&store, &origin, &signed)?;
        // The others are no record, but what they show was signed as well.
        if let Some(note) = in_store {
            let head = believe(&note).map_err(StoreError::Damaged)?;
            signed = later(&store, &origin, signed, head)?;
        }
        let mut published = 0;
        if let Some(note) = in_folder {
            match believe(&note) {
                Ok(head) => {
                    published = head.checkpoint().size;
                    signed = later(&store, &origin, signed, head)?;
                }
                Err(why) => notices.push(Notice::Republished { why }),
            }
        }
        let size = signed.checkpoint().size;
        if published < size {
            notices.push(Notice::Unpublished { published, signed: size });
        }
        let state = Mutex::new(State { signed: Some(signed), published });
        let log = Self { store, files, folder, places, origin, signer, state };
        Ok(Opened { log, notices })
    }

    /// Appends entries and waits until they are durable. Returns their numbers.
    pub fn append(&self, expect: Expect, entries: &[Entry]) -> Result<Range<u64>, LogError> {
        Ok(self.submit(expect, entries)?.wait()?)
    }

    /// Hands entries over; the ticket is answered when they are durable.
    pub fn submit(&self, expect: Expect, entries: &[Entry]) -> Result<Ticket, LogError> {
        let entries = entries.iter().map(Entry::encode).collect::<Result<_, _>>()?;
        Ok(self.store.submit(expect, entries))
    }

    /// Publishes what is durable: tiles, then a signed checkpoint. One that was signed before is not signed again.
    pub fn publish(&self) -> Result<SignedCheckpoint, LogError> {
        // Two heads are never signed at the same time.
        let mut state = self.state();
        let head = self.store.head();
        let size = head.size();
        if let Some(last) = &state.signed {
            extends(&self.store, &self.origin, last)?;
            if last.checkpoint().size == size && state.published == size {
                return Ok(last.clone());
            }
        }
        let tiles = StoreTiles::new(&self.store);
        let root = journal::tree::root(&TileNodes::new(&tiles, size), size);
        let root = root.map_err(|e| StoreError::Damaged(e.to_string()))?;
        if root != head.root() {
            let why = "its tiles do not lead to the root of its entries";
            return Err(StoreError::Damaged(why.to_owned()).into());
        }
        let root_folder = &self.places.tiles;
        self.files.create_folder(root_folder).map_err(file(root_folder))?;
        if let Some(above) = root_folder.parent() {
            self.files.sync_folder(above).map_err(file(above))?;
        }
        self.folder.write(&self.store, state.published, size)?;

        let checkpoint = Checkpoint::new(&self.origin, size, root);
        let signed = SignedCheckpoint::sign(checkpoint, &*self.signer).map_err(LogError::Sign)?;
        let note = signed.encode();
        // The record first: a head that anybody has seen is in it.
        replace(&self.files, &self.places.signed, note.as_bytes())
            .map_err(file(&self.places.signed))?;
        state.signed = Some(signed.clone());
        let at = self.folder.checkpoint_path();
        replace(&self.files, &at, note.as_bytes()).map_err(file(&at))?;
        self.store.save_checkpoint(size, note.as_bytes())?;
        let before = std::mem::replace(&mut state.published, size);
        self.folder.tidy(before, size)?;
        Ok(signed)
    }

    /// What was signed last.
    pub fn signed(&self) -> Option<SignedCheckpoint> {
        self.state().signed.clone()
    }

    /// Its store.
    pub const fn store(&self) -> &S {
        &self.store
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether what is in the store extends a head that was signed.
fn extends<S: Store>(store: &S, origin: &KeyName, last: &SignedCheckpoint) -> Result<(), LogError> {
    let size = store.head().size();
    let tiles = StoreTiles::new(store);
    Ok(guard::extends(last.checkpoint(), origin.as_str(), size, &TileNodes::new(&tiles, size))?)
}

/// The larger of two heads, when the store extends the second one too.
fn later<S: Store>(
    store: &S,
    origin: &KeyName,
    one: SignedCheckpoint,
    other: SignedCheckpoint,
) -> Result<SignedCheckpoint, LogError> {
    extends(store, origin, &other)?;
    let is_later = other.checkpoint().size > one.checkpoint().size;
    Ok(if is_later { other } else { one })
}

impl<S, F> std::fmt::Debug for Log<S, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("origin", &self.origin).finish_non_exhaustive()
    }
}
