//! The memory of a witness: what it cosigned last of each log, on the disk before anybody hears of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crypto::{NoteKey, PrivateKey, Provider};
use journal::checkpoint::SignedCheckpoint;
use journal::witness::{AddCheckpoint, Refusal, Witness};
use journal::{Hash, KeyName, SignatureType, VerifierKey};
use store::{Disk, Files as _, replace};

use super::fault::Fault;

/// Requests that are kept as evidence; further ones are refused all the same, and told.
const EVIDENCE_MAX: usize = 1_024;

/// The folder of a witness.
#[derive(Debug)]
pub(super) struct Place<'a>(&'a Path);

impl<'a> Place<'a> {
    pub(super) const fn new(folder: &'a Path) -> Self {
        Self(folder)
    }

    pub(super) fn key(&self) -> PathBuf {
        self.0.join("key.pem")
    }

    pub(super) fn verifier_key(&self) -> PathBuf {
        self.0.join("witness.vkey")
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    pub(super) fn evidence(&self) -> PathBuf {
        self.0.join("evidence")
    }
}

/// A witness with its key and its folder.
#[derive(Debug)]
pub(super) struct Keeper {
    witness: Mutex<Witness>,
    name: KeyName,
    key: NoteKey,
    state: PathBuf,
    evidence: PathBuf,
    /// Held as long as it lives, so that there is one.
    _lock: fs::File,
}

/// Why a request has no cosignature.
#[derive(Debug)]
pub(super) enum Denied {
    /// It is no request.
    Malformed(journal::Malformed),
    /// It may not be cosigned.
    Refused(Refusal),
    /// It could not be made durable, so it was not cosigned.
    Failed(String),
}

impl Keeper {
    /// Opens a folder, alone, and takes up what was cosigned before.
    pub(super) fn open(folder: &Path, logs: Vec<VerifierKey>) -> Result<Self, Fault> {
        let place = Place::new(folder);
        let lock = fs::File::open(place.key()).map_err(Fault::io(&place.key()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(Fault::Busy(folder.to_owned())),
            Err(fs::TryLockError::Error(e)) => return Err(Fault::io(&place.key())(e)),
        }
        let pem = fs::read(place.key()).map_err(Fault::io(&place.key()))?;
        let key = PrivateKey::from_pem(&pem).and_then(NoteKey::try_from);
        let key = key.map_err(Fault::malformed(place.key().display().to_string()))?;
        let at = place.verifier_key();
        let text = fs::read_to_string(&at).map_err(Fault::io(&at))?;
        let said: VerifierKey =
            text.trim_end().parse().map_err(Fault::malformed(at.display().to_string()))?;
        let name = said.name().clone();
        let own = VerifierKey::of(name.clone(), SignatureType::CosignatureV1, &key);
        if own.as_ref() != Ok(&said) {
            let why = "it is not the public half of key.pem".to_owned();
            return Err(Fault::Malformed { what: at.display().to_string(), why });
        }
        // Without the folder everything cosigned would be forgotten, unseen.
        for below in [place.state(), place.evidence()] {
            fs::metadata(&below).map_err(Fault::io(&below))?;
        }
        let origins: std::collections::BTreeSet<String> =
            logs.iter().map(|key| key.name().as_str().to_owned()).collect();
        let mut witness = Witness::new(logs);
        for origin in origins {
            let path = file(&place.state(), &origin);
            let Some(note) = Disk.read(&path).map_err(Fault::io(&path))? else { continue };
            let wrong = |why: String| Fault::State { path: path.clone(), why };
            let record = SignedCheckpoint::decode(&note).map_err(|e| wrong(e.to_string()))?;
            if record.checkpoint().origin != origin {
                return Err(wrong("it is of another log".to_owned()));
            }
            witness.restore(record, &Provider).map_err(|e| wrong(e.to_string()))?;
        }
        let (state, evidence) = (place.state(), place.evidence());
        Ok(Self { witness: Mutex::new(witness), name, key, state, evidence, _lock: lock })
    }

    pub(super) const fn name(&self) -> &KeyName {
        &self.name
    }

    /// Answers a request: the signature line.
    pub(super) fn add(&self, body: &[u8], now: u64) -> Result<String, Denied> {
        let request = AddCheckpoint::decode(body).map_err(Denied::Malformed)?;
        // Held from the judgement to the disk: of two requests, the second one is judged by what the first one made.
        let mut witness = self.witness.lock().unwrap_or_else(PoisonError::into_inner);
        let grant = witness.judge(&request, &Provider).map_err(|refusal| {
            if refusal.is_evidence() {
                let last = witness.last(&request.checkpoint.checkpoint().origin);
                self.keep(&refusal, &request, body, last);
            }
            Denied::Refused(refusal)
        })?;
        let path = file(&self.state, &request.checkpoint.checkpoint().origin);
        let record = grant.record().encode();
        replace(&Disk, &path, record.as_bytes())
            .map_err(|e| Denied::Failed(format!("{}: {e}", path.display())))?;
        let committed = witness.commit(grant).map_err(Denied::Refused)?;
        let line = committed.cosign(now, &self.name, &self.key).map_err(Denied::Failed)?.line();
        // For those who ask later. The head is safe already: should this be lost, the next one takes its place.
        let _ = fs::write(path.with_extension("cosigned"), format!("{record}{line}"));
        Ok(line)
    }

    /// The head of a log that was cosigned last, with the signatures of log and witness; the log is named by the hash of its origin.
    pub(super) fn checkpoint(&self, log: &str) -> Option<Vec<u8>> {
        // The name is ours before it is a path.
        let good = log.len() == 64 && log.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let path = self.state.join(good.then_some(log)?);
        let note = fs::read(path.with_extension("cosigned")).ok()?;
        let record = fs::read(path).ok()?;
        note.starts_with(&record).then_some(note)
    }

    /// Keeps a request that the log signed and that may not be cosigned, beside what was cosigned: one for each head.
    fn keep(
        &self,
        refusal: &Refusal,
        request: &AddCheckpoint,
        body: &[u8],
        last: Option<&SignedCheckpoint>,
    ) {
        let head = request.checkpoint.checkpoint();
        let kind = match refusal {
            Refusal::Fork { .. } => "fork",
            Refusal::Proof { .. } => "proof",
            _ => "empty-root",
        };
        let id = hex(&Hash::of(request.checkpoint.note().text().as_bytes()));
        let name = format!("{kind}-{}-{}", head.size, id.get(..16).unwrap_or_default());
        let path = self.evidence.join(&name);
        eprintln!("ringfence: {}: {refusal} ({name})", head.origin.escape_debug());
        if path.exists() {
            return;
        }
        let kept = fs::read_dir(&self.evidence).map_or(usize::MAX, Iterator::count);
        let mut bytes = body.to_vec();
        if let Some(last) = last {
            bytes.extend_from_slice(b"\n");
            bytes.extend_from_slice(last.encode().as_bytes());
        }
        let written = match kept < EVIDENCE_MAX {
            true => replace(&Disk, &path, &bytes).map_err(|e| e.to_string()),
            false => Err(format!("{EVIDENCE_MAX} are kept already")),
        };
        if let Err(why) = written {
            eprintln!("ringfence: {name} is not kept as evidence: {why}");
        }
    }
}

/// The file of a log: origins are foreign text, and no file names.
fn file(folder: &Path, origin: &str) -> PathBuf {
    folder.join(hex(&Hash::of(origin.as_bytes())))
}

fn hex(hash: &Hash) -> String {
    hash.0.iter().map(|byte| format!("{byte:02x}")).collect()
}
