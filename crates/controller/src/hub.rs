//! The one place where the estate changes: decided on what is, written to the journal, folded, told.
//!
//! A command is decided, appended and waited for while no other one is; readers go on meanwhile. What they see is durable. An append
//! that fails changes nothing: a full disk stops writing, never reading, and no site.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use estate::commitments::{self, Outcome};
use estate::record::{self, Record};
use estate::{At, Command, Estate, Event, Refusal, identities};
use journal::commitment::Verified;
use journal::entry::{Actor, Entry, Name};
use journal::policy::Policy;
use journal::tile::TileNodes;
use journal::tlog_proof::TlogProof;
use journal::{Hash, Signer, VerifierKey};
use model::Timestamp;
use store::flows::Flows;
use store::{
    Disk, Expect, Http, Log, Places, Snapshot, Sqlite, Store as _, StoreError, StoreTiles,
    Witnesses,
};
use tokio::sync::broadcast;

use crate::commitments::Desk;
use crate::id;
use crate::state::{StateError, StateFolder};

/// Changes that a slow watcher may be behind before it has to look anew.
const TOLD_MAX: usize = 1_024;
/// Entries after which a snapshot is worth its time.
const SNAPSHOT_EVERY: u64 = 100_000;

/// File of the state folder with telemetry.
const FLOWS: &str = "flows.db";
/// Rows of telemetry where there is no file for it.
const FLOWS_IN_MEMORY: u64 = 50_000;
/// File of the state folder that names witnesses.
const WITNESSES: &str = "witnesses";
/// How long a witness may take to answer.
const WITNESS_PATIENCE: Duration = Duration::from_secs(5);

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The estate refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The journal could not be written; nothing changed.
    #[error("the journal cannot be written, so nothing was changed: {0}")]
    Journal(#[from] store::LogError),
    /// The journal's database.
    #[error("the journal cannot be read: {0}")]
    Store(#[from] store::StoreError),
    /// An entry that cannot be read or written.
    #[error("{0}")]
    Malformed(#[from] journal::Malformed),
    /// The state folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] crypto::NoRandom),
}

/// A change that is durable.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its entries.
    pub entries: Range<u64>,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub who: Actor,
    /// What came of the command.
    pub events: Vec<Event>,
}

/// A command that is done.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Its entries; empty: all of it was so already.
    pub entries: Range<u64>,
    /// What came of it.
    pub events: Vec<Event>,
}

/// The estate and its journal.
pub struct Hub {
    estate: RwLock<Estate>,
    log: Log<Sqlite, Disk>,
    key: VerifierKey,
    /// Whose cosignatures a checkpoint takes.
    quorum: Option<Policy>,
    /// Held from decision to fold.
    writing: Mutex<()>,
    told: broadcast::Sender<Arc<Told>>,
    clock: fn() -> Timestamp,
    snapshot_at: AtomicU64,
    /// The last append failed; the next that works ends it.
    stuck: AtomicBool,
    /// Commitments that wait to be written.
    desk: Desk,
    flows: Flows,
}

/// A key of which only the public half is here.
struct Unsigning([u8; 32]);

impl Signer for Unsigning {
    fn public_key(&self) -> [u8; 32] {
        self.0
    }

    fn sign(&self, _: &[u8]) -> Result<[u8; 64], String> {
        Err("the private key is not here".to_owned())
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

impl Hub {
    /// Opens the journal of a state folder and folds it. `told` gets what people should know.
    pub fn open(
        folder: &StateFolder,
        origin: &str,
        clock: fn() -> Timestamp,
        told: &mut dyn FnMut(&str),
    ) -> Result<Self, HubError> {
        let (verifier, key) = folder.log_key(origin)?;
        Self::with(folder, verifier, Box::new(key), clock, told)
    }

    /// Opens it without its private key, which may be under a passphrase that is kept elsewhere: nothing can be signed.
    pub(crate) fn look(folder: &StateFolder, clock: fn() -> Timestamp) -> Result<Self, HubError> {
        let verifier = folder.log_name()?;
        let key = Box::new(Unsigning(*verifier.key()));
        Self::with(folder, verifier, key, clock, &mut |_| {})
    }

    fn with(
        folder: &StateFolder,
        verifier: VerifierKey,
        key: Box<dyn Signer + Send + Sync>,
        clock: fn() -> Timestamp,
        told: &mut dyn FnMut(&str),
    ) -> Result<Self, HubError> {
        let name = verifier.name().clone();
        let database = Sqlite::open(&folder.file("journal.db"))?;
        let places = Places { tiles: folder.file("log"), signed: folder.file("signed") };
        let opened = Log::open(database, Disk, places, name, key, &crypto::Provider)?;
        opened.notices.iter().for_each(|notice| told(&format!("journal: {notice}")));
        let (log, quorum) = match witnesses(folder, clock)? {
            Some(witnesses) => {
                let quorum = witnesses.policy().clone();
                (opened.log.witnessed_by(witnesses), Some(quorum))
            }
            None => (opened.log, None),
        };
        let size = log.store().head().size();
        let mut estate = match log.store().snapshot()? {
            Some(snapshot) if snapshot.size <= size => match Estate::restore(&snapshot.blob) {
                Ok(estate) => estate,
                Err(error) => {
                    told(&error.to_string());
                    Estate::default()
                }
            },
            _ => Estate::default(),
        };
        let snapshot_at = AtomicU64::new(estate.size());
        fold(&mut estate, log.store(), size)?;
        let flows = match Flows::open(&folder.file(FLOWS)) {
            Ok(flows) => flows,
            Err(error) => {
                told(&format!("{FLOWS}: {error}; flows are forgotten when this process ends"));
                Flows::memory(FLOWS_IN_MEMORY)?
            }
        };
        Ok(Self {
            estate: RwLock::new(estate),
            log,
            key: verifier,
            quorum,
            writing: Mutex::new(()),
            told: broadcast::Sender::new(TOLD_MAX),
            clock,
            snapshot_at,
            stuck: AtomicBool::new(false),
            desk: Desk::default(),
            flows,
        })
    }

    /// The present, in whole microseconds: documents carry no more, and what is read back has to be what was written.
    pub fn now(&self) -> Timestamp {
        let nanos = (self.clock)().as_nanos();
        Timestamp::from_nanos(nanos.saturating_sub(nanos.rem_euclid(1_000)))
    }

    /// A new id that sorts by time.
    pub fn id(&self, word: &str) -> Result<String, HubError> {
        let mut random = [0; 10];
        crypto::random(&mut random)?;
        Ok(id::make(word, self.now(), random))
    }

    /// Looks at the estate. Not for long: changes wait.
    pub fn read<T>(&self, look: impl FnOnce(&Estate) -> T) -> T {
        look(&self.estate.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The estate as it was when the journal had this many entries. Takes as long as a start without a snapshot.
    pub fn then(&self, size: u64) -> Result<Estate, HubError> {
        let mut estate = Estate::default();
        fold(&mut estate, self.log.store(), size.min(self.read(Estate::size)))?;
        Ok(estate)
    }

    /// Who talked to whom, as sites tell: telemetry, beside the estate.
    pub const fn flows(&self) -> &Flows {
        &self.flows
    }

    /// Hears of every change from now on.
    pub fn watch(&self) -> broadcast::Receiver<Arc<Told>> {
        self.told.subscribe()
    }

    /// The journal.
    pub const fn log(&self) -> &Log<Sqlite, Disk> {
        &self.log
    }

    /// The key that checkpoints are verified with; its name is the journal's.
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Whose cosignatures a checkpoint takes; `None`: it has no witnesses.
    pub const fn quorum(&self) -> Option<&Policy> {
        self.quorum.as_ref()
    }

    /// The last change could not be written.
    pub fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed)
    }

    /// Does what is commanded, or nothing. Blocks until it is durable.
    pub fn command(
        &self,
        who: &Actor,
        why: &str,
        command: Command,
        evidence: BTreeSet<Hash>,
    ) -> Result<Committed, HubError> {
        let decide =
            |estate: &Estate, command: &Command, now| Ok((estate.decide(command, who, now)?, ()));
        Ok(self.decided(who, why, command, evidence, decide)?.0)
    }

    /// Commits to what devices signed; what became of each. Blocks until it is durable.
    pub fn commit(
        &self,
        who: &Actor,
        why: &str,
        batch: Vec<Verified>,
    ) -> Result<Vec<Outcome>, HubError> {
        let command = Command::Commitment(commitments::Command::Commit { batch });
        let decide = |estate: &Estate, command: &Command, now| match command {
            Command::Commitment(commitments::Command::Commit { batch }) => {
                estate.commit(batch, now)
            }
            other => Ok((estate.decide(other, who, now)?, Vec::new())),
        };
        Ok(self.decided(who, why, command, BTreeSet::new(), decide)?.1)
    }

    /// Gives devices certificates that were signed; what became of each. Blocks until it is durable.
    pub fn enrol(
        &self,
        who: &Actor,
        why: &str,
        batch: Vec<identities::Enrolment>,
    ) -> Result<Vec<identities::Outcome>, HubError> {
        let command = Command::Identity(identities::Command::Enrol { batch });
        let decide = |estate: &Estate, command: &Command, now| match command {
            Command::Identity(identities::Command::Enrol { batch }) => {
                estate.enrol(batch, who, now)
            }
            other => Ok((estate.decide(other, who, now)?, Vec::new())),
        };
        Ok(self.decided(who, why, command, BTreeSet::new(), decide)?.1)
    }

    /// Decides, writes and folds, while nothing else does; with what else the decision says.
    fn decided<T>(
        &self,
        who: &Actor,
        why: &str,
        command: Command,
        evidence: BTreeSet<Hash>,
        decide: impl FnOnce(&Estate, &Command, Timestamp) -> Result<(Vec<Event>, T), Refusal>,
    ) -> Result<(Committed, T), HubError> {
        let _writing = self.writing();
        let now = self.now();
        let (events, said) = self.read(|estate| decide(estate, &command, now))?;
        let size = self.read(Estate::size);
        if events.is_empty() {
            return Ok((Committed { entries: size..size, events }, said));
        }
        let record =
            Record { at: now, who: who.clone(), why: why.to_owned(), command, evidence, events };
        let entries = record.entries()?;
        let appended = self.log.append(Expect::At(size), &entries);
        self.stuck.store(appended.is_err(), Ordering::Relaxed);
        let numbers = appended?;
        {
            let mut estate = self.estate.write().unwrap_or_else(PoisonError::into_inner);
            for (number, entry) in numbers.clone().zip(&entries) {
                estate.apply(&record::events(entry)?, At { entry: number, time: now, who });
            }
        }
        let Record { who, events, .. } = record;
        let told = Told { entries: numbers.clone(), at: now, who, events: events.clone() };
        // Nobody may be listening.
        let _ = self.told.send(Arc::new(told));
        Ok((Committed { entries: numbers, events }, said))
    }

    /// Where commitments wait.
    pub(crate) const fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Signs and publishes what is durable; makes a snapshot when many entries are new.
    pub fn publish(&self) -> Result<(), HubError> {
        self.log.publish()?;
        let size = self.read(Estate::size);
        if size.saturating_sub(self.snapshot_at.load(Ordering::Relaxed)) >= SNAPSHOT_EVERY {
            self.snapshot()?;
        }
        Ok(())
    }

    /// Keeps the state, so that the next start need not fold the journal.
    pub fn snapshot(&self) -> Result<(), HubError> {
        let (size, blob) = self.read(|estate| (estate.size(), estate.snapshot()));
        // Without a snapshot a start takes longer, and that is all.
        let Ok(blob) = blob else { return Ok(()) };
        self.log.store().save_snapshot(Snapshot { size, blob })?;
        self.snapshot_at.store(size, Ordering::Relaxed);
        Ok(())
    }

    /// An entry of the journal by its number.
    pub fn entry(&self, number: u64) -> Result<Option<Entry>, HubError> {
        if number >= self.read(Estate::size) {
            return Ok(None);
        }
        let read = self.log.store().read(number, number.saturating_add(1))?;
        Ok(read.first().map(|bytes| Entry::decode(bytes)).transpose()?)
    }

    /// Entries of the journal as they were written.
    pub fn entries(&self, numbers: Range<u64>) -> Result<Vec<Vec<u8>>, HubError> {
        let mut entries = Vec::new();
        let mut next = numbers.start;
        while next < numbers.end {
            let read = self.log.store().read(next, numbers.end)?;
            if read.is_empty() {
                return Err(StoreError::Damaged(format!("entry {next} is missing")).into());
            }
            next = next.saturating_add(u64::try_from(read.len()).unwrap_or(u64::MAX));
            entries.extend(read);
        }
        Ok(entries)
    }

    /// The bytes of a signed entry, and the proof that it is in the signed tree; `None`: nothing that is signed has it.
    pub fn prove(&self, number: u64) -> Result<Option<(Vec<u8>, TlogProof)>, HubError> {
        let Some(checkpoint) = self.log.signed() else { return Ok(None) };
        let size = checkpoint.checkpoint().size;
        if number >= size {
            return Ok(None);
        }
        let store = self.log.store();
        let damaged = |why: String| HubError::Store(StoreError::Damaged(why));
        let bytes = store.read(number, number.saturating_add(1))?.into_iter().next();
        let bytes = bytes.ok_or_else(|| damaged(format!("entry {number} is missing")))?;
        let tiles = StoreTiles::new(store);
        let hashes = journal::proof::inclusion(&TileNodes::new(&tiles, size), number, size);
        let hashes = hashes.map_err(|error| damaged(error.to_string()))?;
        Ok(Some((bytes, TlogProof { extra: None, index: number, hashes, checkpoint })))
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Folds what the journal has after an estate, up to a size.
fn fold(estate: &mut Estate, store: &Sqlite, size: u64) -> Result<(), HubError> {
    while estate.size() < size {
        let from = estate.size();
        for (number, bytes) in (from..).zip(store.read(from, size)?) {
            let entry = Entry::decode(&bytes)?;
            let at = At { entry: number, time: entry.at, who: &entry.who };
            estate.apply(&record::events(&entry)?, at);
        }
    }
    Ok(())
}

/// Those whom a file of the state folder names: a policy as in C2SP tlog-policy.
fn witnesses(
    folder: &StateFolder,
    clock: fn() -> Timestamp,
) -> Result<Option<Witnesses>, StateError> {
    let Some(bytes) = folder.read(WITNESSES)? else {
        return Ok(None);
    };
    let wrong = |why: String| StateError::Witnesses { path: folder.file(WITNESSES), why };
    let text = String::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
    let policy: Policy = text.parse().map_err(|e: journal::Malformed| wrong(e.to_string()))?;
    let seconds = move || u64::try_from(clock().as_nanos() / 1_000_000_000).unwrap_or(0);
    let wire = Arc::new(Http::new(WITNESS_PATIENCE));
    Ok(Some(Witnesses::new(policy, wire, Box::new(crypto::Provider), Box::new(seconds))))
}

/// The controller itself, as an actor.
pub fn itself() -> Result<Actor, journal::Malformed> {
    Ok(Actor { kind: Name::new("controller")?, id: "controller".to_owned() })
}
