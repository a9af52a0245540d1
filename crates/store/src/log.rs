//! A log: entries in a store, tiles in a folder, and heads that are signed when their bytes are durable.
//!
//! Three places, in the order in which they become durable: the store has the entries and their tree; the folder of tiles has the same for
//! everybody to read; the record of what was signed last is a file apart. A head is in the record before anybody sees it. Should
//! the store be an older copy, or another history, the record tells, and nothing is signed.
//!
//! With witnesses, they are asked what they hold before the first signature, because the record may be an older copy too; and a head
//! is published when a quorum of them has cosigned it.

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
use crate::witnesses::{Gathered, Wait};
use crate::{
    Expect, Files, Late, LogError, Store, StoreError, StoreTiles, Ticket, TileFolder, Witnesses,
};

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
                    "{signed} entries were signed and {published} published; the rest is published next"
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
    /// Held while a head is signed and cosigned, so that there are never two.
    publishing: Mutex<Option<Cosigners>>,
    state: Mutex<State>,
}

struct State {
    signed: Option<SignedCheckpoint>,
    /// Entries whose tiles and checkpoint are in the folder.
    published: u64,
    late: Option<Late>,
}

struct Cosigners {
    witnesses: Witnesses,
    /// Whether they were asked since the start, and hold nothing that is not here.
    asked: bool,
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
            let state = Mutex::new(State { signed: None, published: 0, late: None });
            let publishing = Mutex::new(None);
            let log = Self { store, files, folder, places, origin, signer, publishing, state };
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
        let state = Mutex::new(State { signed: Some(signed), published, late: None });
        let publishing = Mutex::new(None);
        let log = Self { store, files, folder, places, origin, signer, publishing, state };
        Ok(Opened { log, notices })
    }

    /// From now on a head is published when a quorum of these witnesses has cosigned it, and nothing is signed before they were asked.
    pub fn witnessed_by(self, witnesses: Witnesses) -> Self {
        let cosigners = Cosigners { witnesses, asked: false };
        Self { publishing: Mutex::new(Some(cosigners)), ..self }
    }

    /// Asks the witnesses what they hold, once after a start: refused when one of them holds more than was signed here or something else, and
    /// when none can be asked. [`Self::publish`] does the same; whoever asks earlier knows before anything is appended.
    pub fn ask_witnesses(&self) -> Result<(), LogError> {
        let mut publishing = held(&self.publishing);
        let Some(cosigners) = &mut *publishing else { return Ok(()) };
        self.ask(cosigners)
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

    /// Publishes what is durable: tiles, then a signed checkpoint. One that was signed before is not signed again. With witnesses, a
    /// head that too few of them cosigned is signed and not published: [`Self::late`] tells, and the next call tries again.
    pub fn publish(&self) -> Result<SignedCheckpoint, LogError> {
        // Two heads are never signed at the same time.
        let mut publishing = held(&self.publishing);
        let head = self.store.head();
        let size = head.size();
        let (last, published) = {
            let state = self.state();
            (state.signed.clone(), state.published)
        };
        if let Some(last) = last {
            extends(&self.store, &self.origin, &last)?;
            if last.checkpoint().size == size && published == size {
                return Ok(last);
            }
        }
        if let Some(cosigners) = &mut *publishing {
            self.ask(cosigners)?;
        }
        let tiles = StoreTiles::new(&self.store);
        let nodes = TileNodes::new(&tiles, size);
        let root = journal::tree::root(&nodes, size);
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
        self.folder.write(&self.store, published, size)?;

        let checkpoint = Checkpoint::new(&self.origin, size, root);
        let mut signed =
            SignedCheckpoint::sign(checkpoint, &*self.signer).map_err(LogError::Sign)?;
        // The record first: a head that anybody has seen is in it.
        self.record(&signed)?;
        if let Some(Cosigners { witnesses, .. }) = &mut *publishing {
            let gathered = witnesses.gather(signed, &nodes, Wait::Quorum)?;
            no_alarm(&gathered)?;
            let Gathered { head, quorum, missing, .. } = gathered;
            if let Err(why) = quorum {
                let since = self.late_since(witnesses.now())?;
                let late = Late { since, signed: size, published, why, missing };
                self.state().late = Some(late);
                return Ok(head);
            }
            signed = head;
            self.record(&signed)?;
            self.no_longer_late()?;
        }
        let note = signed.encode();
        let at = self.folder.checkpoint_path();
        replace(&self.files, &at, note.as_bytes()).map_err(file(&at))?;
        self.store.save_checkpoint(size, note.as_bytes())?;
        self.state().published = size;
        self.folder.tidy(published, size)?;
        Ok(signed)
    }

    /// Whether a head waits for a quorum of witnesses: an alarm, with since when.
    pub fn late(&self) -> Option<Late> {
        self.state().late.clone()
    }

    fn record(&self, signed: &SignedCheckpoint) -> Result<(), LogError> {
        let at = &self.places.signed;
        replace(&self.files, at, signed.encode().as_bytes()).map_err(file(at))?;
        self.state().signed = Some(signed.clone());
        Ok(())
    }

    fn ask(&self, cosigners: &mut Cosigners) -> Result<(), LogError> {
        if cosigners.asked || cosigners.witnesses.policy().witnesses().is_empty() {
            return Ok(());
        }
        let last = match self.state().signed.clone() {
            Some(last) => last,
            // The head over nothing says nothing, and every history extends it; nobody sees it but the witnesses.
            None => {
                let nothing = Checkpoint::new(&self.origin, 0, journal::Hash::empty());
                SignedCheckpoint::sign(nothing, &*self.signer).map_err(LogError::Sign)?
            }
        };
        extends(&self.store, &self.origin, &last)?;
        let tiles = StoreTiles::new(&self.store);
        let nodes = TileNodes::new(&tiles, self.store.head().size());
        let gathered = cosigners.witnesses.gather(last, &nodes, Wait::All)?;
        no_alarm(&gathered)?;
        if gathered.cosigned == 0 {
            return Err(LogError::NoWitness(gathered.missing));
        }
        cosigners.asked = true;
        Ok(())
    }

    /// Since when a head has been waiting: kept in a file, so that a restart does not begin anew.
    fn late_since(&self, now: u64) -> Result<u64, LogError> {
        let at = self.late_path();
        let kept = self.files.read(&at).map_err(file(&at))?.unwrap_or_default();
        let kept = String::from_utf8(kept).ok().and_then(|text| text.trim_end().parse().ok());
        if let Some(since) = kept {
            return Ok(since);
        }
        replace(&self.files, &at, format!("{now}\n").as_bytes()).map_err(file(&at))?;
        Ok(now)
    }

    fn no_longer_late(&self) -> Result<(), LogError> {
        self.state().late = None;
        let at = self.late_path();
        match self.files.read(&at).map_err(file(&at))? {
            Some(kept) if !kept.is_empty() => replace(&self.files, &at, b"").map_err(file(&at)),
            _ => Ok(()),
        }
    }

    fn late_path(&self) -> PathBuf {
        let mut path = self.places.signed.clone().into_os_string();
        path.push(".late");
        path.into()
    }

    /// What was signed last.
    pub fn signed(&self) -> Option<SignedCheckpoint> {
        self.state().signed.clone()
    }

    /// Its published tiles.
    pub const fn tiles(&self) -> &TileFolder<F> {
        &self.folder
    }

    /// Its store.
    pub const fn store(&self) -> &S {
        &self.store
    }

    fn state(&self) -> MutexGuard<'_, State> {
        held(&self.state)
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A witness that holds more than was signed, or another history, stops everything.
fn no_alarm(gathered: &Gathered) -> Result<(), LogError> {
    let alarm = gathered.missing.iter().find(|(_, failure)| failure.is_alarm());
    alarm.map_or(Ok(()), |(name, failure)| {
        Err(LogError::Witness { name: name.clone(), failure: failure.clone() })
    })
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
    // Of the same head, the published one has the cosignatures.
    let is_later = other.checkpoint().size >= one.checkpoint().size;
    Ok(if is_later { other } else { one })
}

impl<S, F> std::fmt::Debug for Log<S, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("origin", &self.origin).finish_non_exhaustive()
    }
}
