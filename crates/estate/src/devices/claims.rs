//! What is said about a device.

use std::sync::Arc;

use model::{Assurance, Timestamp};
use serde::{Deserialize, Serialize};

/// What can be said about a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Field {
    /// What people call it.
    Name,
    /// Team that is answerable.
    Owner,
    /// Zone of the policy.
    Zone,
    /// Site that it belongs to, where a person decided so.
    Site,
    /// What it is: `ip-camera`, `plc`.
    Type,
    /// Who makes it.
    Vendor,
    /// Product designation.
    Model,
    /// Version of what runs on it.
    Firmware,
    /// Hardware revision.
    Hardware,
    /// Serial number.
    Serial,
    /// Operating system.
    Os,
    /// Name it gives itself.
    Hostname,
    /// How strongly its identity is established.
    Assurance,
    /// `low`, `normal`, `high`, `safety`.
    Criticality,
    /// `normal`, `watched`, `quarantined`.
    Posture,
    /// `supported`, `ending`, `ended`, `unknown`.
    Support,
    /// `none`, `vulnerable`, `known-exploited`, `unknown`.
    Exposure,
    /// Manufacturer usage description that it announces (RFC 8520).
    MudUrl,
}

/// Claims kept about one device; at the bound the weakest go.
pub const CLAIMS_MAX: usize = 96;

/// Values of criticality, weakest first.
pub(super) const CRITICALITY: [&str; 4] = ["low", "normal", "high", "safety"];

impl Field {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Name,
        Self::Owner,
        Self::Zone,
        Self::Site,
        Self::Type,
        Self::Vendor,
        Self::Model,
        Self::Firmware,
        Self::Hardware,
        Self::Serial,
        Self::Os,
        Self::Hostname,
        Self::Assurance,
        Self::Criticality,
        Self::Posture,
        Self::Support,
        Self::Exposure,
        Self::MudUrl,
    ];

    /// Its word in documents, selectors and the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Owner => "owner",
            Self::Zone => "zone",
            Self::Site => "site",
            Self::Type => "type",
            Self::Vendor => "vendor",
            Self::Model => "model",
            Self::Firmware => "firmware",
            Self::Hardware => "hardware",
            Self::Serial => "serial",
            Self::Os => "os",
            Self::Hostname => "hostname",
            Self::Assurance => "assurance",
            Self::Criticality => "criticality",
            Self::Posture => "posture",
            Self::Support => "support",
            Self::Exposure => "exposure",
            Self::MudUrl => "mud-url",
        }
    }

    /// The field of a word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.word() == word)
    }

    /// The values it may have, where they are words of a list.
    pub fn words(self) -> Option<Vec<&'static str>> {
        match self {
            Self::Criticality => Some(CRITICALITY.to_vec()),
            Self::Posture => Some(policy::folder::POSTURE.to_vec()),
            Self::Support => Some(policy::folder::SUPPORT.to_vec()),
            Self::Exposure => Some(policy::folder::EXPOSURE.to_vec()),
            Self::Assurance => Some(Assurance::ALL.iter().map(|level| level.word()).collect()),
            _ => None,
        }
    }

    /// Only people, policies and proofs say it; no sensor can.
    pub const fn is_decided_only(self) -> bool {
        matches!(self, Self::Owner | Self::Zone | Self::Site | Self::Criticality | Self::Assurance)
    }

    /// Values are as many as devices: sharing them saves nothing.
    pub(super) const fn is_unique(self) -> bool {
        matches!(self, Self::Serial | Self::Hostname | Self::Name)
    }
}

/// One thing that one source says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// About what.
    pub field: Field,
    /// A person, or a policy in a person's name, decided it.
    pub decided: bool,
    /// How sure the source is, in percent.
    pub confidence: u8,
    /// The value.
    pub value: Arc<str>,
    /// Who says it: `sensor/lldp.system-description`, `person/op-1`, `import/purchase.csv`.
    pub source: Arc<str>,
    /// When it was seen or decided, in nanoseconds since the epoch.
    pub at: i64,
}

impl Claim {
    /// When it was seen or decided.
    pub const fn at(&self) -> Timestamp {
        Timestamp::from_nanos(self.at)
    }

    /// What makes one claim win over another about the same field.
    pub(super) fn weight(&self) -> (bool, u8, i64, &str) {
        (self.decided, self.confidence, self.at, &self.source)
    }
}
