//! Offline proofs that an entry is in a log and that witnesses saw it (C2SP tlog-proof): what somebody keeps who
//! wants to show it years later.

use crate::checkpoint::SignedCheckpoint;
use crate::hash::{Hash, base64};
use crate::lines::{Lines, PROOF_HASHES_MAX};
use crate::note::NOTE_BYTES_MAX;
use crate::policy::{Believed, Distrust, Policy};
use crate::{Malformed, Verifier, proof};

const WHAT: &str = "a tlog-proof";
const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// Longest extra data, in bytes.
const EXTRA_BYTES_MAX: usize = 64 * 1024;
/// Longest proof: a checkpoint, 63 hashes, and extra data in base64.
const BYTES_MAX: usize = NOTE_BYTES_MAX + 64 * 45 + EXTRA_BYTES_MAX / 3 * 4 + 256;

/// Where an entry is, the path to the root, and the checkpoint that signs the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// Data that nobody signed, such as where the entry can be fetched.
    pub extra: Option<Vec<u8>>,
    /// Number of the entry, from 0.
    pub index: u64,
    /// The inclusion proof in the checkpoint's tree.
    pub hashes: Vec<Hash>,
    /// The head with its signatures.
    pub checkpoint: SignedCheckpoint,
}

/// Why a proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disproved {
    /// The checkpoint is not believed.
    #[error("the checkpoint is not believed: {0}")]
    Checkpoint(#[from] Distrust),
    /// The entry is not in its tree.
    #[error("entry {index} is not in the tree of the checkpoint: {why}")]
    Inclusion {
        /// The entry.
        index: u64,
        /// Why not.
        why: proof::Invalid,
    },
}

impl TlogProof {
    /// The proof as it is stored (`.tlog-proof`) and sent.
    pub fn encode(&self) -> Result<String, Malformed> {
        let mut text = format!("{HEADER}\n");
        if let Some(extra) = &self.extra {
            if extra.len() > EXTRA_BYTES_MAX {
                let why = format!("more than {EXTRA_BYTES_MAX} bytes of extra data");
                return Err(Malformed::new(WHAT, text.len(), why));
            }
            text.push_str(&format!("extra {}\n", base64(extra)));
        }
        text.push_str(&format!("index {}\n", self.index));
        if self.hashes.len() > PROOF_HASHES_MAX {
            return Err(Malformed::new(
                WHAT,
                text.len(),
                format!("more than {PROOF_HASHES_MAX} hashes"),
            ));
        }
        text.extend(self.hashes.iter().map(|h| format!("{h}\n")));
        text.push('\n');
        text.push_str(&self.checkpoint.encode());
        Ok(text)
    }

    /// Reads a proof.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut lines = Lines::of_bytes(WHAT, bytes, BYTES_MAX)?;
        if lines.next("the header")? != HEADER {
            return Err(lines.wrong(0, format!("`{HEADER}` is expected")));
        }
        let extra = match lines.rest().starts_with("extra ") {
            true => {
                let line = lines.keyword("extra")?;
                let extra = lines.base64(line)?;
                if extra.len() > EXTRA_BYTES_MAX {
                    let why = format!("more than {EXTRA_BYTES_MAX} bytes of extra data");
                    return Err(lines.wrong(0, why));
                }
                Some(extra)
            }
            false => None,
        };
        let index = lines.keyword("index")?;
        let index = lines.size(index)?;
        let hashes = lines.hashes_until_empty()?;
        let begin = lines.at();
        let checkpoint =
            SignedCheckpoint::decode(lines.rest().as_bytes()).map_err(|e| e.within(WHAT, begin))?;
        Ok(Self { extra, index, hashes, checkpoint })
    }

    /// Whether an entry, by its leaf hash, is in a log that the policy believes. Extra data is not looked at.
    pub fn verify(
        &self,
        leaf: &Hash,
        policy: &Policy,
        verifier: &dyn Verifier,
    ) -> Result<Believed, Disproved> {
        let believed = policy.judge(&self.checkpoint, verifier)?;
        let head = self.checkpoint.checkpoint();
        proof::verify_inclusion(leaf, self.index, head.size, &self.hashes, &head.root)
            .map_err(|why| Disproved::Inclusion { index: self.index, why })?;
        Ok(believed)
    }
}
