//! A proof that a device sent one message: what somebody keeps who wants to show it years later, to somebody who believes neither side.
//!
//! ```text
//! ringfence message-proof v1
//! sha256 HASH                       of every byte below this line
//! sequence 17
//! commitment HASH                   journal::commitment::Commitment::hash
//! message BASE64
//! HASH …                            the message's path to the root that the commitment names
//!
//! index N                           the entry that has the signed commitment
//! entry BASE64
//! HASH …                            its path to the root of the checkpoint
//!
//! index K                           the entry that registered the key, before it
//! entry BASE64
//! HASH …                            its path to the same root
//!
//! CHECKPOINT                        signed by the log, cosigned by witnesses
//! ```
//!
//! Hashes and base64 are as in C2SP tlog-proof. Every byte is bound by something: what no signature and no path binds (a line by a witness that
//! nobody knows) is bound by the SHA-256 on top, so that whoever passes it on cannot change even that unseen. A proof names the step at
//! which it fails, in the order of [`Step`].
//!
//! It must never know how a signature is checked, or whom to believe.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use journal::checkpoint::SignedCheckpoint;
use journal::commitment::{self, Class, Commitment, Signed};
use journal::entry::Entry;
use journal::policy::{Believed, Policy};
use journal::{Hash, Malformed, Verifier, proof};
use model::{DeviceId, Timestamp};

use super::{Event as Of, PublicKey, Sent};
use crate::{Event, record};

/// First line of a proof.
pub const HEADER: &str = "ringfence message-proof v1\n";
/// Longest message that is proved, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

const WHAT: &str = "a message proof";
const ENTRY_BYTES_MAX: usize = 65_535;
const HASHES_MAX: usize = 63;
/// A message and two entries in base64, three paths, a note, and what is around them.
const BYTES_MAX: usize = 2 << 20;

/// A proof that a device sent a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageProof {
    /// Number of the message, as its device counts.
    pub sequence: u64,
    /// [`Commitment::hash`] of the commitment to its batch.
    pub commitment: Hash,
    /// What was sent.
    pub message: Vec<u8>,
    /// From the message to the root of its batch.
    pub path: Vec<Hash>,
    /// The entry that has the commitment.
    pub committed: Placed,
    /// The entry that registered its key.
    pub registered: Placed,
    /// The head that both entries are under.
    pub checkpoint: SignedCheckpoint,
}

/// An entry, and where in the journal it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its number.
    pub index: u64,
    /// Its bytes.
    pub entry: Vec<u8>,
    /// Its path to the root of the checkpoint.
    pub hashes: Vec<Hash>,
}

/// A step of a proof, in the order in which they are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// It is written in its one form.
    Form,
    /// The checkpoint is signed and cosigned by whom the policy believes.
    Checkpoint,
    /// The entry with the commitment is in the journal.
    Entry,
    /// The entry has the commitment.
    Commitment,
    /// The entry that registers the key is in the journal, before it.
    Registration,
    /// It registers the key for that device, class and epoch.
    Key,
    /// The key signed the commitment.
    Signature,
    /// The message is in the batch, at its number.
    Message,
    /// Nothing else was changed.
    Seal,
}

impl Step {
    /// A stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Checkpoint => "checkpoint",
            Self::Entry => "entry",
            Self::Commitment => "commitment",
            Self::Registration => "registration",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Message => "message",
            Self::Seal => "seal",
        }
    }
}

/// Why a proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", step.word())]
pub struct Disproved {
    /// The first step that fails.
    pub step: Step,
    /// Why.
    pub why: String,
}

impl Disproved {
    /// It cannot be read.
    pub fn form(error: Malformed) -> Self {
        let Malformed { at, why, .. } = error;
        fails(Step::Form, format!("at byte {at}: {why}"))
    }
}

/// What a proof proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// What the device, or the gateway about it, signed.
    pub signed: Signed,
    /// The key that it signed with.
    pub key: PublicKey,
    /// The gateway whose key it is; `None`: the device's own, so that it cannot deny it.
    pub gateway: Option<DeviceId>,
    /// When the journal took the commitment.
    pub at: Timestamp,
    /// When it took the key.
    pub registered_at: Timestamp,
    /// Who cosigned the journal.
    pub believed: Believed,
}

/// A proof as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// It.
    pub proof: MessageProof,
    /// Its SHA-256 is that of its bytes.
    sealed: bool,
}

impl MessageProof {
    /// Whether bytes begin as a proof does.
    pub fn looks_like(bytes: &[u8]) -> bool {
        bytes.starts_with(HEADER.as_bytes())
    }

    /// The proof as it is kept and sent. What would not be read again is refused.
    pub fn encode(&self) -> Result<String, Malformed> {
        let below = self.below();
        let text = format!("{HEADER}sha256 {}\n{below}", Hash::of(below.as_bytes()).to_base64());
        Self::decode(text.as_bytes())?;
        Ok(text)
    }

    fn below(&self) -> String {
        let mut text = format!("sequence {}\n", self.sequence);
        text.push_str(&format!("commitment {}\n", self.commitment.to_base64()));
        text.push_str(&format!("message {}\n", STANDARD.encode(&self.message)));
        hashes(&mut text, &self.path);
        for Placed { index, entry, hashes: path } in [&self.committed, &self.registered] {
            text.push_str(&format!("index {index}\nentry {}\n", STANDARD.encode(entry)));
            hashes(&mut text, path);
        }
        text.push_str(&self.checkpoint.encode());
        text
    }

    /// Reads a proof. Whether it proves something is asked with [`Read::verify`].
    pub fn decode(bytes: &[u8]) -> Result<Read, Malformed> {
        let wrong = |at: usize, why: String| Malformed { what: WHAT, at, why };
        if bytes.len() > BYTES_MAX {
            return Err(wrong(BYTES_MAX, format!("it is longer than {BYTES_MAX} bytes")));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|error| wrong(error.valid_up_to(), "it is no UTF-8".to_owned()))?;
        let mut lines = Lines { text, at: 0 };
        if !text.starts_with(HEADER) {
            return Err(wrong(0, format!("`{}` is expected", HEADER.trim_end())));
        }
        lines.at = HEADER.len();
        let seal = lines.hash("sha256")?;
        let below = lines.rest();
        let sealed = Hash::of(below.as_bytes()) == seal;
        let sequence = lines.number("sequence")?;
        let commitment = lines.hash("commitment")?;
        let message = lines.bytes("message", MESSAGE_BYTES_MAX)?;
        let path = lines.path()?;
        let mut placed = || {
            let index = lines.number("index")?;
            let entry = lines.bytes("entry", ENTRY_BYTES_MAX)?;
            Ok(Placed { index, entry, hashes: lines.path()? })
        };
        let (committed, registered) = (placed()?, placed()?);
        let begin = lines.at;
        let checkpoint = SignedCheckpoint::decode(lines.rest().as_bytes())
            .map_err(|error| wrong(begin.saturating_add(error.at), error.why))?;
        let proof = Self { sequence, commitment, message, path, committed, registered, checkpoint };
        // One text for each proof.
        if proof.below() != below {
            return Err(wrong(HEADER.len(), "it is not written in its one form".to_owned()));
        }
        Ok(Read { proof, sealed })
    }

    /// Whether it proves what it says, whatever its SHA-256 is.
    fn steps(
        &self,
        policy: &Policy,
        notes: &dyn Verifier,
        commitments: &dyn commitment::Verifier,
    ) -> Result<Proven, Disproved> {
        let believed = policy
            .judge(&self.checkpoint, notes)
            .map_err(|error| fails(Step::Checkpoint, error.to_string()))?;
        let committed = self.placed(&self.committed, Step::Entry)?;
        let sent = committed.events.iter().filter_map(|event| match event {
            Event::Commitment(Of::Committed { commitments }) => Some(commitments),
            _ => None,
        });
        let wanted = |sent: &&Sent| sent.0.commitment.hash() == Ok(self.commitment);
        let Some(Sent(signed)) = sent.flatten().find(wanted) else {
            let why = format!("entry {} does not have it", self.committed.index);
            return Err(fails(Step::Commitment, why));
        };
        if self.registered.index >= self.committed.index {
            let why = "the key is registered after the commitment".to_owned();
            return Err(fails(Step::Registration, why));
        }
        let registered = self.placed(&self.registered, Step::Registration)?;
        let (key, gateway) = registering(&registered.events, &signed.commitment)
            .ok_or_else(|| {
                let Commitment { device, epoch, class, .. } = &signed.commitment;
                let why = format!(
                    "entry {} does not register the key that the commitment names, for device {device}, epoch {epoch} and {class:?} evidence",
                    self.registered.index
                );
                fails(Step::Key, why)
            })?;
        commitment::check(signed, &key.0, commitments)
            .map_err(|error| fails(Step::Signature, error.to_string()))?;
        let Commitment { first, last, root, .. } = &signed.commitment;
        let index = self.sequence.checked_sub(*first).filter(|_| self.sequence <= *last);
        let index = index.ok_or_else(|| {
            let why = format!("the batch has messages {first} to {last}, not {}", self.sequence);
            fails(Step::Message, why)
        })?;
        let size = last.saturating_sub(*first).saturating_add(1);
        proof::verify_inclusion(&Hash::leaf(&self.message), index, size, &self.path, root)
            .map_err(|error| fails(Step::Message, error.to_string()))?;
        let (at, registered_at) = (committed.at, registered.at);
        Ok(Proven { signed: signed.clone(), key, gateway, at, registered_at, believed })
    }

    fn placed(&self, placed: &Placed, step: Step) -> Result<InEntry, Disproved> {
        let head = self.checkpoint.checkpoint();
        let Placed { index, entry, hashes } = placed;
        proof::verify_inclusion(&Hash::leaf(entry), *index, head.size, hashes, &head.root)
            .map_err(|why| fails(step, format!("entry {index} is not in the journal: {why}")))?;
        let entry = Entry::decode(entry).map_err(|error| fails(step, error.to_string()))?;
        let events = record::events(&entry).map_err(|error| fails(step, error.to_string()))?;
        Ok(InEntry { at: entry.at, events })
    }
}

impl Read {
    /// Whether it proves that the device sent the message, to whoever believes what the policy says.
    pub fn verify(
        &self,
        policy: &Policy,
        notes: &dyn Verifier,
        commitments: &dyn commitment::Verifier,
    ) -> Result<Proven, Disproved> {
        let proven = self.proof.steps(policy, notes, commitments)?;
        match self.sealed {
            true => Ok(proven),
            false => {
                let why = "its SHA-256 is another one: a byte was changed that proves nothing";
                Err(fails(Step::Seal, why.to_owned()))
            }
        }
    }
}

struct InEntry {
    at: Timestamp,
    events: Vec<Event>,
}

/// The key of a commitment as an entry's events register it, and the gateway that it belongs to.
pub fn registering(
    events: &[Event],
    commitment: &Commitment,
) -> Option<(PublicKey, Option<DeviceId>)> {
    events.iter().find_map(|event| match event {
        Event::Commitment(Of::KeyRegistered { device, gateway, key, epoch }) => {
            let class = if gateway.is_some() { Class::Gateway } else { Class::Device };
            let same = key.0.id() == commitment.key
                && device.as_str() == commitment.device
                && *epoch == commitment.epoch
                && class == commitment.class;
            same.then(|| (*key, gateway.clone()))
        }
        _ => None,
    })
}

fn fails(step: Step, why: String) -> Disproved {
    Disproved { step, why }
}

fn hashes(text: &mut String, path: &[Hash]) {
    for hash in path {
        text.push_str(&hash.to_base64());
        text.push('\n');
    }
    text.push('\n');
}

/// The lines of a proof, as far as they were read.
struct Lines<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lines<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn wrong(&self, why: impl Into<String>) -> Malformed {
        Malformed { what: WHAT, at: self.at, why: why.into() }
    }

    fn line(&mut self) -> Result<&'t str, Malformed> {
        let (line, _) =
            self.rest().split_once('\n').ok_or_else(|| self.wrong("a line is expected"))?;
        self.at = self.at.saturating_add(line.len()).saturating_add(1);
        Ok(line)
    }

    /// What stands behind a word; `at` stays before the line when it is another one.
    fn value(&mut self, word: &str) -> Result<&'t str, Malformed> {
        let begin = self.at;
        let line = self.line()?;
        let value = line.strip_prefix(word).and_then(|rest| rest.strip_prefix(' '));
        value.ok_or_else(|| {
            self.at = begin;
            self.wrong(format!("`{word} …` is expected"))
        })
    }

    fn number(&mut self, word: &str) -> Result<u64, Malformed> {
        let begin = self.at;
        let text = self.value(word)?;
        let number: Option<u64> = text.parse().ok();
        // One text for each number.
        number.filter(|number| number.to_string() == text).ok_or_else(|| {
            self.at = begin;
            self.wrong(format!("`{word}` is no number"))
        })
    }

    fn hash(&mut self, word: &str) -> Result<Hash, Malformed> {
        let begin = self.at;
        Hash::from_base64(self.value(word)?).map_err(|error| {
            self.at = begin;
            self.wrong(error.why)
        })
    }

    fn bytes(&mut self, word: &str, max: usize) -> Result<Vec<u8>, Malformed> {
        let begin = self.at;
        let bytes = STANDARD.decode(self.value(word)?).ok().filter(|bytes| bytes.len() <= max);
        bytes.ok_or_else(|| {
            self.at = begin;
            self.wrong(format!("`{word}` is no base64 of at most {max} bytes"))
        })
    }

    /// Hashes, one a line, up to an empty line.
    fn path(&mut self) -> Result<Vec<Hash>, Malformed> {
        let mut path = Vec::new();
        loop {
            let begin = self.at;
            let line = self.line()?;
            if line.is_empty() {
                return Ok(path);
            }
            if path.len() == HASHES_MAX {
                return Err(self.wrong(format!("more than {HASHES_MAX} hashes")));
            }
            path.push(Hash::from_base64(line).map_err(|error| {
                self.at = begin;
                self.wrong(error.why)
            })?);
        }
    }
}
