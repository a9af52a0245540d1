//! An estate as bytes, so that a start does not fold the whole journal.
//!
//! `RFESTATE`, the version as four bytes, then the state in postcard. A snapshot is a copy of what the journal says: one of
//! another version is not read but made anew. An area that is new stands behind all others, so that a snapshot from before it is read too:
//! that area is empty.

use crate::{Estate, commitments};

const MAGIC: &[u8; 8] = b"RFESTATE";
/// Version of the form; a change of any type in it is a new one.
const VERSION: u32 = 3;
/// The version that ends before [`commitments`].
const BEFORE_COMMITMENTS: u32 = 2;

/// Bytes that are no snapshot of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Another version, or no snapshot at all.
    #[error("it is no snapshot of version {VERSION}; the estate is folded from the journal")]
    Version,
    /// The state in it cannot be read.
    #[error("the snapshot is damaged ({0}); the estate is folded from the journal")]
    Damaged(String),
    /// The state cannot be written.
    #[error("a snapshot cannot be written: {0}")]
    Unwritable(String),
}

impl Estate {
    /// A snapshot of this state.
    pub fn snapshot(&self) -> Result<Vec<u8>, SnapshotError> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        postcard::to_extend(self, bytes)
            .map_err(|error| SnapshotError::Unwritable(error.to_string()))
    }

    /// The state of a snapshot.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let damaged = |error: postcard::Error| SnapshotError::Damaged(error.to_string());
        let of = |version: u32| {
            bytes.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(&version.to_be_bytes()))
        };
        if let Some(rest) = of(VERSION) {
            return postcard::from_bytes(rest).map_err(damaged);
        }
        let rest = of(BEFORE_COMMITMENTS).ok_or(SnapshotError::Version)?;
        let whole = postcard::to_extend(&commitments::Commitments::default(), rest.to_vec());
        postcard::from_bytes(&whole.map_err(damaged)?).map_err(damaged)
    }
}
