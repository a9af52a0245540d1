//! What an audit finds: every fault with its place, and what differs there.

use std::fmt;

use crate::Malformed;
use crate::flip::Flip;
use crate::hash::Hash;
use crate::policy::{Believed, Distrust};
use crate::tile::TilePath;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// An entry is not the one that was signed.
    EntryChanged {
        /// Its number, from 0.
        entry: u64,
        /// Where it begins, when it came in a bundle.
        place: Option<Place>,
        /// The byte of the entry that differs, when it is one byte.
        flip: Option<Flip>,
        /// Why it is no entry as it is, when it is none.
        fault: Option<Malformed>,
        /// Its hash.
        is: Hash,
        /// The hash that was signed.
        signed: Hash,
    },
    /// The length in front of an entry is not the one that was written.
    LengthChanged {
        /// The entry.
        entry: u64,
        /// Where its length begins.
        place: Place,
        /// The byte of the bundle that differs.
        flip: Flip,
    },
    /// A bundle cannot be read from some entry on.
    BundleDamaged {
        /// The first entry that cannot be read.
        entry: u64,
        /// Where that is.
        place: Place,
        /// What is wrong.
        why: String,
    },
    /// An entry has no canonical encoding, although its hash is as it should be, or nothing tells how it should be.
    EntryMalformed {
        /// The entry.
        entry: u64,
        /// Where it begins, when it came in a bundle.
        place: Option<Place>,
        /// What is wrong with it.
        fault: Malformed,
    },
    /// Entries that were signed are not there; their hashes are.
    EntriesMissing {
        /// The first.
        from: u64,
        /// The one after the last.
        to: u64,
    },
    /// A hash of a tile is not that of the entries that were signed.
    TileChanged {
        /// Which tile.
        path: TilePath,
        /// The first byte of the tile that differs.
        flip: Flip,
        /// First entry under the hash.
        entry: u64,
    },
    /// A tile is missing, or not as long as it should be.
    TileDamaged {
        /// Which tile.
        path: TilePath,
        /// First entry under the tile.
        entry: u64,
        /// What is wrong.
        why: String,
    },
    /// Entries and a hash in a tile disagree, and nothing that is signed tells which is right.
    Disagreement {
        /// The entry, or the first one under the hash.
        entry: u64,
        /// Where it begins, when it came in a bundle.
        place: Option<Place>,
        /// The tile.
        path: TilePath,
    },
    /// A checkpoint cannot be read.
    CheckpointMalformed {
        /// What the checkpoint was called.
        name: String,
        /// What is wrong with it.
        fault: Malformed,
        /// The byte that differs, when turning one bit makes it good.
        flip: Option<Flip>,
    },
    /// A checkpoint does not count.
    CheckpointDistrusted {
        /// What the checkpoint was called.
        name: String,
        /// Why not.
        why: Distrust,
        /// The byte that differs, when turning one bit makes it good.
        flip: Option<Flip>,
    },
    /// The log signed two histories: these entries lead to one signed head, and not to this one.
    Forked {
        /// What the other head was called.
        name: String,
        /// Its size.
        size: u64,
        /// Its root.
        signed: Hash,
        /// The root of as many entries here.
        here: Hash,
        /// Up to here both are known to be the same.
        same: u64,
    },
    /// A head was signed that is larger than what is here.
    RolledBack {
        /// What the head was called.
        name: String,
        /// Its size.
        signed: u64,
        /// How many entries are here.
        here: u64,
    },
    /// Some of these entries are not those that were signed; no tile tells which.
    EntriesAltered {
        /// What the head was called.
        name: String,
        /// The first that may be.
        from: u64,
        /// The one after the last that may be.
        to: u64,
        /// The root that was signed.
        signed: Hash,
        /// The root of the entries, when all of them are there.
        here: Option<Hash>,
    },
    /// There is no checkpoint that counts, so nothing is proven.
    NothingSigned,
}

/// A byte of an entry bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The bundle.
    pub path: TilePath,
    /// The byte, from 0.
    pub offset: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.path, self.offset)
    }
}

impl Finding {
    /// A name for programs that never changes.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::EntryChanged { .. } => "entry-changed",
            Self::LengthChanged { .. } => "length-changed",
            Self::BundleDamaged { .. } => "bundle-damaged",
            Self::EntryMalformed { .. } => "entry-malformed",
            Self::EntriesMissing { .. } => "entries-missing",
            Self::TileChanged { .. } => "tile-changed",
            Self::TileDamaged { .. } => "tile-damaged",
            Self::Disagreement { .. } => "disagreement",
            Self::CheckpointMalformed { .. } => "checkpoint-malformed",
            Self::CheckpointDistrusted { .. } => "checkpoint-distrusted",
            Self::Forked { .. } => "forked",
            Self::RolledBack { .. } => "rolled-back",
            Self::EntriesAltered { .. } => "entries-altered",
            Self::NothingSigned => "nothing-signed",
        }
    }

    /// The first entry that it concerns.
    pub const fn entry(&self) -> Option<u64> {
        match self {
            Self::EntryChanged { entry, .. }
            | Self::LengthChanged { entry, .. }
            | Self::BundleDamaged { entry, .. }
            | Self::EntryMalformed { entry, .. }
            | Self::TileChanged { entry, .. }
            | Self::TileDamaged { entry, .. }
            | Self::Disagreement { entry, .. } => Some(*entry),
            Self::EntriesMissing { from, .. } | Self::EntriesAltered { from, .. } => Some(*from),
            Self::Forked { same, .. } => Some(*same),
            Self::RolledBack { here, .. } => Some(*here),
            Self::CheckpointMalformed { .. }
            | Self::CheckpointDistrusted { .. }
            | Self::NothingSigned => None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |place: &Option<Place>| place.map(|p| format!(" ({p})")).unwrap_or_default();
        let byte = |flip: &Option<Flip>| flip.map(|b| format!(": {b}")).unwrap_or_default();
        match self {
            Self::EntryChanged { entry, place, flip, fault, is, signed } => {
                write!(f, "entry {entry}{} is not the one that was signed", at(place))?;
                if let Some(flip) = flip {
                    write!(f, ": its {flip}")?;
                }
                if let Some(fault) = fault {
                    write!(f, "; {fault}")?;
                }
                write!(f, "; its hash is {is} instead of {signed}")
            }
            Self::LengthChanged { entry, place, flip } => {
                let path = place.path;
                write!(f, "the length of entry {entry} was changed in {path}: {flip}")
            }
            Self::BundleDamaged { entry, place, why } => {
                write!(f, "entry {entry} cannot be read ({place}): {why}")
            }
            Self::EntryMalformed { entry, place, fault } => {
                write!(f, "entry {entry}{} is malformed: {fault}", at(place))
            }
            Self::EntriesMissing { from, to } => {
                write!(f, "entries {from} to {} are missing; their hashes are there", to - 1)
            }
            Self::TileChanged { path, flip, entry } => {
                write!(f, "{path} was changed: {flip} (over entry {entry})")
            }
            Self::TileDamaged { path, why, .. } => write!(f, "{path}: {why}"),
            Self::Disagreement { entry, place, path } => {
                let place = at(place);
                write!(f, "entry {entry}{place} and what {path} says of it disagree")
            }
            Self::CheckpointMalformed { name, fault, flip } => {
                write!(f, "checkpoint {name}: {fault}{}", byte(flip))
            }
            Self::CheckpointDistrusted { name, why, flip } => {
                write!(f, "checkpoint {name} does not count: {why}{}", byte(flip))
            }
            Self::Forked { name, size, signed, here, same } => write!(
                f,
                "the log was forked: checkpoint {name} signs {size} entries with the root {signed}, \
                 here they have {here}; they are known to be the same up to entry {same}"
            ),
            Self::RolledBack { name, signed, here } => write!(
                f,
                "the log was rolled back: checkpoint {name} signs {signed} entries, {here} are here"
            ),
            Self::EntriesAltered { name, from, to, signed, here } => {
                write!(f, "entries {from} to {} are not those ", to - 1)?;
                write!(f, "that checkpoint {name} signs: the root is ")?;
                match here {
                    Some(here) => write!(f, "{here} instead of {signed}"),
                    None => write!(f, "not known, it should be {signed}"),
                }
            }
            Self::NothingSigned => f.write_str("no checkpoint counts, so nothing is proven"),
        }
    }
}

/// What came of an audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How many entries there were.
    pub entries: u64,
    /// How many of them, from the first, are proven to be those that were signed.
    pub proven: u64,
    /// Heads that count, by size.
    pub heads: Vec<Head>,
    /// Faults, by the first entry that each concerns; those of checkpoints first.
    pub findings: Vec<Finding>,
    /// Faults that were found and are not listed.
    pub more: u64,
}

/// A head that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the checkpoint was called.
    pub name: String,
    /// Its size.
    pub size: u64,
    /// Its root.
    pub root: Hash,
    /// Who cosigned it; signature lines that count for nothing.
    pub believed: Believed,
}

impl Report {
    /// Whether nothing is wrong, and something proven.
    pub fn is_intact(&self) -> bool {
        self.findings.is_empty() && self.more == 0 && !self.heads.is_empty()
    }

    /// Whether no signature line was of an unknown key. A line whose name was changed counts for nothing, and shows here.
    pub fn knows_every_signature(&self) -> bool {
        self.heads.iter().all(|h| h.believed.unknown.is_empty())
    }
}
