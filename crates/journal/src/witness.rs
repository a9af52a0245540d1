//! A witness (C2SP tlog-witness): cosigns the heads of logs it watches, each one only when it extends the last one.
//!
//! A state machine without disk and network. Whoever runs it
//!
//! 1. [`Witness::judge`]s a request,
//! 2. makes [`Grant::record`] durable,
//! 3. [`Witness::commit`]s the grant, which fails when another request was faster,
//! 4. and only then can [`Committed::cosign`].
//!
//! A log's part is [`AddCheckpoint`], and [`accept`] for the answer.

use std::collections::BTreeMap;

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::cosignature::cosign;
use crate::hash::Hash;
use crate::key::{KeyName, VerifierKey};
use crate::lines::{Lines, PROOF_HASHES_MAX};
use crate::note::{NOTE_BYTES_MAX, NotSigned, Note, NoteSignature};
use crate::proof::{Invalid, verify_consistency};
use crate::{Malformed, Signer, Verifier};

const WHAT: &str = "an add-checkpoint request";
/// Longest request, in bytes.
pub const REQUEST_BYTES_MAX: usize = NOTE_BYTES_MAX + 64 * 45 + 64;

/// What a log sends to a witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Size of the last head that the witness cosigned, as the log believes; 0 for none.
    pub old: u64,
    /// Consistency proof from there; empty from size 0.
    pub proof: Vec<Hash>,
    /// The new head.
    pub checkpoint: SignedCheckpoint,
}

impl AddCheckpoint {
    /// The body of the request.
    pub fn encode(&self) -> Result<String, Malformed> {
        let mut body = format!("old {}\n", self.old);
        if self.proof.len() > PROOF_HASHES_MAX {
            return Err(Malformed::new(
                WHAT,
                body.len(),
                format!("more than {PROOF_HASHES_MAX} hashes"),
            ));
        }
        body.extend(self.proof.iter().map(|h| format!("{h}\n")));
        body.push('\n');
        body.push_str(&self.checkpoint.encode());
        Ok(body)
    }

    /// Reads the body of a request.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut lines = Lines::of_bytes(WHAT, body, REQUEST_BYTES_MAX)?;
        let old = lines.keyword("old")?;
        let old = lines.size(old)?;
        let proof = lines.hashes_until_empty()?;
        let begin = lines.at();
        let checkpoint =
            SignedCheckpoint::decode(lines.rest().as_bytes()).map_err(|e| e.within(WHAT, begin))?;
        Ok(Self { old, proof, checkpoint })
    }
}

/// The logs that are watched, and the last head cosigned of each.
#[derive(Clone, Debug, Default)]
pub struct Witness {
    logs: BTreeMap<String, Watched>,
}

#[derive(Clone, Debug, Default)]
struct Watched {
    keys: Vec<VerifierKey>,
    last: Option<SignedCheckpoint>,
}

/// Why nothing is cosigned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The origin is not watched.
    #[error("no log {origin} is watched here")]
    UnknownLog {
        /// The origin.
        origin: String,
    },
    /// The log did not sign it, or badly.
    #[error("the checkpoint does not count: {0}")]
    NotSigned(NotSigned),
    /// The old size is above the new one.
    #[error("the old size {old} is above the checkpoint's {new}")]
    Reversed {
        /// Old size.
        old: u64,
        /// New size.
        new: u64,
    },
    /// The old size is not that of the last head cosigned: the log missed an answer, or was rolled back.
    #[error("{last} entries were cosigned last, not {old}; the checkpoint has {new}")]
    Stale {
        /// Size of the last head cosigned.
        last: u64,
        /// What the log believes.
        old: u64,
        /// Size that it asks for.
        new: u64,
    },
    /// A tree without entries has another root than that of no entries.
    #[error("a tree without entries cannot have the root {0}")]
    EmptyRoot(Hash),
    /// Two heads of one size with different roots, both signed by the log: it was forked, and this proves it.
    #[error(
        "the log was forked: {size} entries were cosigned with the root {cosigned}, not {offered}"
    )]
    Fork {
        /// Entries of both.
        size: u64,
        /// Root of the head that was cosigned.
        cosigned: Hash,
        /// Root of this one.
        offered: Hash,
    },
    /// The proof does not lead from the last head to this one: the proof is wrong, or the log was forked.
    #[error("nothing shows that {new} entries extend the {old} that were cosigned: {why}")]
    Proof {
        /// Size of the last head cosigned.
        old: u64,
        /// Size that it asks for.
        new: u64,
        /// What is wrong with the proof.
        why: Invalid,
    },
}

impl Refusal {
    /// The HTTP status of the answer.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Reversed { .. } => 400,
            Self::NotSigned(_) => 403,
            Self::UnknownLog { .. } => 404,
            Self::Stale { .. } => 409,
            Self::EmptyRoot(_) | Self::Fork { .. } | Self::Proof { .. } => 422,
        }
    }

    /// The size with which a log can try again: the body of a 409, of type `text/x.tlog.size`.
    pub const fn last_size(&self) -> Option<u64> {
        match self {
            Self::Stale { last, .. } => Some(*last),
            _ => None,
        }
    }

    /// Whether the request, signed by the log, may show that the log misbehaves and is worth keeping.
    pub const fn is_evidence(&self) -> bool {
        matches!(self, Self::EmptyRoot(_) | Self::Fork { .. } | Self::Proof { .. })
    }
}

/// A head that may be cosigned once it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "nothing is cosigned before the grant is committed"]
pub struct Grant {
    old: u64,
    record: SignedCheckpoint,
}

impl Grant {
    /// What has to be durable before the commit: the head with its log's signatures.
    pub const fn record(&self) -> &SignedCheckpoint {
        &self.record
    }
}

/// A head that is the last one now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a commit is made to cosign"]
pub struct Committed {
    text: String,
}

impl Committed {
    /// The cosignature at a time, in seconds since the epoch; its line is the answer to the log.
    pub fn cosign(
        &self,
        timestamp: u64,
        name: &KeyName,
        signer: &dyn Signer,
    ) -> Result<NoteSignature, String> {
        cosign(&self.text, timestamp, name, signer)
    }
}

impl Witness {
    /// Watches the logs with these keys; a key's name is the origin of its log.
    pub fn new(keys: impl IntoIterator<Item = VerifierKey>) -> Self {
        let mut witness = Self::default();
        for key in keys {
            let watched = witness.logs.entry(key.name().as_str().to_owned()).or_default();
            watched.keys.push(key);
        }
        witness
    }

    /// Takes what was recorded before the start. Records of one log may come in any order; the largest counts.
    pub fn restore(
        &mut self,
        record: SignedCheckpoint,
        verifier: &dyn Verifier,
    ) -> Result<(), Refusal> {
        let watched = self.watched(record.checkpoint())?;
        record.note().verify(&watched.keys, verifier).map_err(Refusal::NotSigned)?;
        let origin = record.checkpoint().origin.clone();
        if let Some(watched) = self.logs.get_mut(&origin)
            && watched.last.as_ref().is_none_or(|l| l.checkpoint().size < record.checkpoint().size)
        {
            watched.last = Some(record);
        }
        Ok(())
    }

    /// The last head cosigned of a log.
    pub fn last(&self, origin: &str) -> Option<&SignedCheckpoint> {
        self.logs.get(origin)?.last.as_ref()
    }

    /// Whether a head may be cosigned. Nothing changes yet.
    pub fn judge(
        &self,
        request: &AddCheckpoint,
        verifier: &dyn Verifier,
    ) -> Result<Grant, Refusal> {
        let head = request.checkpoint.checkpoint();
        let watched = self.watched(head)?;
        let note = request.checkpoint.note();
        note.verify(&watched.keys, verifier).map_err(Refusal::NotSigned)?;
        let (old, new) = (request.old, head.size);
        if old > new {
            return Err(Refusal::Reversed { old, new });
        }
        watched.is_last(old, new)?;
        if new == 0 && head.root != Hash::empty() {
            return Err(Refusal::EmptyRoot(head.root));
        }
        let bad = |why| Refusal::Proof { old, new, why };
        match watched.last.as_ref().map(SignedCheckpoint::checkpoint).filter(|l| l.size > 0) {
            None if request.proof.is_empty() => {}
            None => return Err(bad(Invalid::Length { got: request.proof.len(), more: true })),
            Some(last) if new == last.size && head.root != last.root => {
                let (cosigned, offered) = (last.root, head.root);
                return Err(Refusal::Fork { size: new, cosigned, offered });
            }
            Some(last) => {
                verify_consistency(last.size, &last.root, new, &head.root, &request.proof)
                    .map_err(bad)?;
            }
        }
        let mut record = request.checkpoint.clone();
        record.keep_signatures_of(&watched.keys);
        Ok(Grant { old, record })
    }

    /// Makes a granted head the last one, unless another one became it since.
    pub fn commit(&mut self, grant: Grant) -> Result<Committed, Refusal> {
        let head = grant.record.checkpoint();
        self.watched(head)?.is_last(grant.old, head.size)?;
        let text = grant.record.note().text().to_owned();
        if let Some(watched) = self.logs.get_mut(&head.origin) {
            watched.last = Some(grant.record);
        }
        Ok(Committed { text })
    }

    fn watched(&self, head: &Checkpoint) -> Result<&Watched, Refusal> {
        let unknown = || Refusal::UnknownLog { origin: head.origin.clone() };
        self.logs.get(&head.origin).ok_or_else(unknown)
    }
}

impl Watched {
    fn is_last(&self, old: u64, new: u64) -> Result<(), Refusal> {
        let last = self.last.as_ref().map_or(0, |l| l.checkpoint().size);
        if old == last { Ok(()) } else { Err(Refusal::Stale { last, old, new }) }
    }
}

/// Why a witness's answer is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// It is not a sequence of signature lines.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// The witness did not sign this head.
    #[error("{0}")]
    NotSigned(#[from] NotSigned),
}

/// Adds the cosignatures of a witness's answer that are by these keys, and good; lines by others are ignored.
/// Returns when the witness cosigned, in seconds since the epoch.
pub fn accept(
    checkpoint: &mut SignedCheckpoint,
    answer: &str,
    keys: &[VerifierKey],
    verifier: &dyn Verifier,
) -> Result<u64, BadAnswer> {
    let mut note = Note::new(checkpoint.note().text().to_owned())?;
    for line in NoteSignature::decode_lines(answer)? {
        note.add(line)?;
    }
    let signed = note.verify(keys, verifier)?;
    let cosigned = signed.iter().filter_map(|s| s.timestamp).max().ok_or(NotSigned::Nobody)?;
    note.keep_signatures_of(keys);
    for line in note.signatures() {
        checkpoint.add(line.clone())?;
    }
    Ok(cosigned)
}
