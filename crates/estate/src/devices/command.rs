//! What can be commanded about devices, and what comes of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::{Assurance, DeviceId, SiteId, Timestamp};
use serde::{Deserialize, Serialize};

use super::Field;

/// What can be commanded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Command {
    /// A site, an import or a gateway tells what it knows.
    Report {
        /// Where the devices are.
        site: SiteId,
        /// Who tells: `sensor`, `leases/kea`, `import/purchase.csv`.
        source: String,
        /// What it knows, one for each device.
        devices: Vec<Facts>,
    },
    /// A device says what runs on it: all that it says of itself.
    SelfReport {
        /// Which.
        device: DeviceId,
        /// What it says.
        said: Vec<OwnWord>,
    },
    /// A person decides about some devices.
    Edit {
        /// Which.
        devices: Vec<DeviceId>,
        /// What.
        edit: Edit,
    },
    /// A person decides about each of some devices, something else about each: a list of theirs.
    EditEach {
        /// Which, and what; no device twice.
        edits: Vec<(DeviceId, Edit)>,
    },
    /// They are gone for good; their ids stay taken.
    Retire {
        /// Which.
        devices: Vec<DeviceId>,
    },
    /// A retired device is back.
    Return {
        /// Which.
        device: DeviceId,
    },
    /// Two records are one device.
    Merge {
        /// Its id from now on.
        keep: DeviceId,
        /// An alias from now on.
        other: DeviceId,
    },
    /// Two records that share an identifier are two devices all the same.
    KeepApart {
        /// One.
        device: DeviceId,
        /// The other.
        other: DeviceId,
    },
    /// After how long without a sign devices are stale, and retired.
    SetTimeouts {
        /// All of them.
        timeouts: Timeouts,
    },
    /// Time has passed: who is stale, who is retired.
    Sweep,
}

/// What one source knows about one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Id to give it, if it is new.
    pub id: DeviceId,
    /// What the source calls it; stable there.
    pub subject: String,
    /// What identifies it: `mac/00:80:f4:01:02:03`, `serial/ACME/17`; see [`super::key`].
    #[serde(default)]
    pub keys: Vec<String>,
    /// Network addresses it uses now; `None`: not known to this source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<IpAddr>>,
    /// What is said about it.
    #[serde(default)]
    pub said: Vec<Said>,
    /// First sign of it.
    pub first_seen: Timestamp,
    /// Last sign of it.
    pub last_seen: Timestamp,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// About what.
    pub field: Field,
    /// The value; `None`: no longer said.
    pub value: Option<String>,
    /// Where in the source it stands: `lldp.system-description`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// How sure, in percent.
    pub confidence: u8,
    /// When it was seen.
    pub at: Timestamp,
}

/// One value that a device says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnWord {
    /// About what.
    pub field: Field,
    /// The value.
    pub value: String,
    /// What it says besides: `sha256.5b2f…` of an image.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// What a person decides. Absent: as it was. `None`: the decision is taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Edit {
    /// Values by field.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<Field, Option<String>>,
    /// Labels by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Option<String>>,
}

/// After how long devices without a sign of life change their state, by type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// For types that are not listed.
    pub other: Wait,
    /// By type.
    pub types: BTreeMap<String, Wait>,
}

impl Default for Timeouts {
    /// A week, and half a year.
    fn default() -> Self {
        Self {
            other: Wait { stale_s: 7 * 86_400, retired_s: 180 * 86_400 },
            types: BTreeMap::new(),
        }
    }
}

/// How long one type may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// Stale after this many seconds.
    pub stale_s: u32,
    /// Retired after this many.
    pub retired_s: u32,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// There is a new device.
    Found(Found),
    /// A source says something new about one.
    Told(Told),
    /// It turned up at another site.
    Moved {
        /// Which.
        id: DeviceId,
        /// Where it was.
        from: SiteId,
        /// Where it is.
        to: SiteId,
    },
    /// Signs of life, and nothing else new.
    Seen {
        /// When.
        at: Timestamp,
        /// Of whom.
        ids: Vec<DeviceId>,
    },
    /// What several devices are was claimed by one: a person has to look.
    Confused {
        /// What was told of.
        id: DeviceId,
        /// Who has an identifier of it too.
        others: Vec<DeviceId>,
    },
    /// A person decided.
    Edited {
        /// About whom.
        ids: Vec<DeviceId>,
        /// What.
        edit: Edit,
    },
    /// By its evidence it stands elsewhere on the ladder.
    Assured {
        /// Which.
        id: DeviceId,
        /// Where.
        level: Assurance,
        /// Why no higher: the word of a [`crate::identities::Limit`].
        limit: String,
    },
    /// No sign of life for long.
    Stale {
        /// Of whom.
        ids: Vec<DeviceId>,
    },
    /// Gone for good.
    Retired {
        /// Who.
        ids: Vec<DeviceId>,
        /// By time, not by a person.
        timed_out: bool,
    },
    /// Sign of life of one that is retired.
    Resurfaced {
        /// Which.
        id: DeviceId,
    },
    /// Not retired any more.
    Returned {
        /// Which.
        id: DeviceId,
    },
    /// Two records are one.
    Merged {
        /// Its id.
        keep: DeviceId,
        /// Its alias.
        other: DeviceId,
    },
    /// They are two devices, whatever they share.
    KeptApart {
        /// Both.
        ids: [DeviceId; 2],
    },
    /// When devices are stale and retired.
    TimeoutsSet {
        /// All of them.
        timeouts: Timeouts,
    },
}

/// A new device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Where.
    pub site: SiteId,
    /// Who tells.
    pub source: String,
    /// What it knows.
    pub facts: Facts,
}

/// What is new about a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Which.
    pub id: DeviceId,
    /// Where the source is.
    pub site: SiteId,
    /// Who tells.
    pub source: String,
    /// What the source calls it, where that is new.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// New identifiers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Its addresses, where they changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<IpAddr>>,
    /// What changed of what is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Said>,
    /// Last sign of it.
    pub last_seen: Timestamp,
}

impl Event {
    /// Its word in the journal.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Found(_) => "found",
            Self::Told(_) => "told",
            Self::Moved { .. } => "moved",
            Self::Seen { .. } => "seen",
            Self::Confused { .. } => "confused",
            Self::Edited { .. } => "edited",
            Self::Assured { .. } => "assured",
            Self::Stale { .. } => "stale",
            Self::Retired { .. } => "retired",
            Self::Resurfaced { .. } => "resurfaced",
            Self::Returned { .. } => "returned",
            Self::Merged { .. } => "merged",
            Self::KeptApart { .. } => "kept-apart",
            Self::TimeoutsSet { .. } => "timeouts-set",
        }
    }

    /// Whom it concerns.
    pub fn devices(&self) -> &[DeviceId] {
        match self {
            Self::Found(found) => std::slice::from_ref(&found.facts.id),
            Self::Told(told) => std::slice::from_ref(&told.id),
            Self::Moved { id, .. }
            | Self::Confused { id, .. }
            | Self::Resurfaced { id }
            | Self::Returned { id }
            | Self::Assured { id, .. }
            | Self::Merged { keep: id, .. } => std::slice::from_ref(id),
            Self::Seen { ids, .. }
            | Self::Edited { ids, .. }
            | Self::Stale { ids }
            | Self::Retired { ids, .. } => ids,
            Self::KeptApart { ids } => ids,
            Self::TimeoutsSet { .. } => &[],
        }
    }
}
