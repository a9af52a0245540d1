//! An estate as bytes, so that a start does not fold the whole journal.
//!
//! `RFESTATE`, the version as four bytes, then the state in postcard. A snapshot is a copy of what the journal says: one of
//! another version is not read but made anew. What is new stands behind all else, so that a snapshot from before it is read too: there it
//! is empty.

use crate::{Estate, commitments, devices, exceptions, identities, releases, views};

const MAGIC: &[u8; 8] = b"RFESTATE";
/// Version of the form; a change of any type in it is a new one.
const VERSION: u32 = 9;
/// The version that ends before [`commitments`].
const BEFORE_COMMITMENTS: u32 = 2;
/// The version that ends before [`views`] and the pairs of devices that are kept apart.
const BEFORE_VIEWS: u32 = 3;
/// The version that ends before [`exceptions`].
const BEFORE_EXCEPTIONS: u32 = 4;

/// The version that ends before [`identities`].
const BEFORE_IDENTITIES: u32 = 5;
/// The version that ends before [`identities::Secrets`].
const BEFORE_SECRETS: u32 = 6;
/// The version that ends before [`releases`] and what rests on them.
const BEFORE_RELEASES: u32 = 7;
/// The version that ends before what devices have shown and [`identities::Door`].
const BEFORE_DOOR: u32 = 8;

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
            .and_then(|bytes| postcard::to_extend(self.devices.apart(), bytes))
            .and_then(|bytes| postcard::to_extend(&self.exceptions, bytes))
            .and_then(|bytes| postcard::to_extend(&self.identities, bytes))
            .and_then(|bytes| postcard::to_extend(self.identities.secrets(), bytes))
            .and_then(|bytes| postcard::to_extend(&self.releases, bytes))
            .and_then(|bytes| postcard::to_extend(&self.identities.all_resting(), bytes))
            .and_then(|bytes| postcard::to_extend(&self.identities.all_shown(), bytes))
            .and_then(|bytes| postcard::to_extend(self.identities.door(), bytes))
            .map_err(|error| SnapshotError::Unwritable(error.to_string()))
    }

    /// The state of a snapshot.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let of = |version: &u32| {
            bytes.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(&version.to_be_bytes()))
        };
        let known = [
            VERSION,
            BEFORE_DOOR,
            BEFORE_RELEASES,
            BEFORE_SECRETS,
            BEFORE_IDENTITIES,
            BEFORE_EXCEPTIONS,
            BEFORE_VIEWS,
            BEFORE_COMMITMENTS,
        ];
        let (version, rest) = known
            .into_iter()
            .filter_map(|version| Some((version, of(&version)?)))
            .next()
            .ok_or(SnapshotError::Version)?;
        let read = match version {
            VERSION => whole(rest),
            older => completed(older, rest).and_then(|all| whole(&all)),
        };
        read.map_err(|error| SnapshotError::Damaged(error.to_string()))
    }
}

/// An older state, with what is new in it empty.
fn completed(version: u32, rest: &[u8]) -> postcard::Result<Vec<u8>> {
    let mut all = rest.to_vec();
    if version <= BEFORE_COMMITMENTS {
        all = postcard::to_extend(&commitments::Commitments::default(), all)?;
    }
    if version <= BEFORE_VIEWS {
        all = postcard::to_extend(&views::Views::default(), all)?;
        all = postcard::to_extend(&devices::Apart::default(), all)?;
    }
    if version <= BEFORE_EXCEPTIONS {
        all = postcard::to_extend(&exceptions::Exceptions::default(), all)?;
    }
    if version <= BEFORE_IDENTITIES {
        all = postcard::to_extend(&identities::Identities::default(), all)?;
    }
    if version <= BEFORE_SECRETS {
        all = postcard::to_extend(&identities::Secrets::default(), all)?;
    }
    if version <= BEFORE_RELEASES {
        all = postcard::to_extend(&releases::Releases::default(), all)?;
        all = postcard::to_extend::<identities::Resting, _>(&Vec::new(), all)?;
    }
    all = postcard::to_extend::<identities::AllShown, _>(&Vec::new(), all)?;
    postcard::to_extend(&identities::Door::default(), all)
}

fn whole(bytes: &[u8]) -> postcard::Result<Estate> {
    let (mut estate, rest) = postcard::take_from_bytes::<Estate>(bytes)?;
    let (apart, rest) = postcard::take_from_bytes(rest)?;
    estate.devices.keep_apart(apart);
    let (exceptions, rest) = postcard::take_from_bytes(rest)?;
    estate.exceptions = exceptions;
    let (identities, rest) = postcard::take_from_bytes::<identities::Identities>(rest)?;
    let (secrets, rest) = postcard::take_from_bytes(rest)?;
    let (releases, rest) = postcard::take_from_bytes::<releases::Releases>(rest)?;
    let (resting, rest) = postcard::take_from_bytes(rest)?;
    let (shown, rest) = postcard::take_from_bytes(rest)?;
    estate.identities = identities.indexed(secrets, resting, shown, postcard::from_bytes(rest)?);
    estate.releases = releases.indexed();
    Ok(estate)
}
