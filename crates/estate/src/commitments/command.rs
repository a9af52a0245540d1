//! What can be commanded about signature keys and commitments, and what comes of it.

use journal::commitment::Verified;
use model::DeviceId;
use serde::{Deserialize, Serialize, Serializer};

use super::{PublicKey, Sent};
use crate::side::Digest;

/// What can be commanded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Command {
    /// A key speaks for a device from now on, in the place of the one before.
    RegisterKey {
        /// Whose messages it may commit to.
        device: DeviceId,
        /// The device that sees them, where that device does not sign itself: its key, and evidence of the class *gateway*.
        #[serde(skip_serializing_if = "Option::is_none")]
        gateway: Option<DeviceId>,
        /// The key.
        key: PublicKey,
        /// For which epoch: above every one that was registered for it.
        epoch: u64,
    },
    /// A key speaks for a device no more.
    RevokeKey {
        /// Which.
        device: DeviceId,
        /// [`PublicKey::id`].
        key: Digest,
    },
    /// These were sent; their signatures hold.
    Commit {
        /// In the order in which they came. The entry has those that count, and those that are findings, in its events.
        #[serde(rename = "commitments", serialize_with = "count")]
        batch: Vec<Verified>,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// It speaks for the device from now on.
    KeyRegistered {
        /// Whose messages it may commit to.
        device: DeviceId,
        /// The device that sees them; none: the device itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gateway: Option<DeviceId>,
        /// The key.
        key: PublicKey,
        /// For which epoch.
        epoch: u64,
    },
    /// It speaks no more.
    KeyRevoked {
        /// For which device.
        device: DeviceId,
        /// [`PublicKey::id`].
        key: Digest,
    },
    /// They count.
    Committed {
        /// Byte for byte, in the order in which they came.
        commitments: Vec<Sent>,
    },
    /// One that does not count, and under whose good signature something is wrong.
    Found {
        /// Stable word: `fork`, `gap`….
        finding: String,
        /// One line.
        what: String,
        /// The evidence, byte for byte.
        commitment: Sent,
        /// What else is found about this chain today is only counted.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        last_of_day: bool,
    },
}

impl Event {
    /// Its word in the journal.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::KeyRegistered { .. } => "key-registered",
            Self::KeyRevoked { .. } => "key-revoked",
            Self::Committed { .. } => "committed",
            Self::Found { .. } => "found",
        }
    }

    /// Names of the devices that it concerns, as commitments name them.
    pub fn devices(&self) -> Vec<&str> {
        match self {
            Self::KeyRegistered { device, .. } | Self::KeyRevoked { device, .. } => {
                vec![device.as_str()]
            }
            Self::Committed { commitments } => {
                commitments.iter().map(|sent| sent.0.commitment.device.as_str()).collect()
            }
            Self::Found { commitment, .. } => vec![commitment.0.commitment.device.as_str()],
        }
    }
}

fn count<S: Serializer>(batch: &[Verified], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(batch.len()).unwrap_or(u64::MAX))
}
