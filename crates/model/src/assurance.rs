//! The identity ladder.

use serde::{Deserialize, Serialize};

/// How strongly a device's identity is established, weakest first. Its order is the ladder: a
/// policy ceiling is `assurance >= …`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Assurance {
    /// Wire evidence only: anyone on the segment could send the same bytes.
    #[default]
    Observed,
    /// A gateway or two people speak for it.
    Vouched,
    /// It proved a per-device shared secret.
    SharedSecret,
    /// It proved possession of a certified key.
    DeviceKey,
    /// The key was shown to live in hardware.
    HardwareKey,
    /// A fresh attestation matched reference values.
    Attested,
}

impl Assurance {
    /// All levels, weakest first.
    pub const ALL: [Self; 6] = [
        Self::Observed,
        Self::Vouched,
        Self::SharedSecret,
        Self::DeviceKey,
        Self::HardwareKey,
        Self::Attested,
    ];

    /// The word used in documents and policies.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Vouched => "vouched",
            Self::SharedSecret => "shared-secret",
            Self::DeviceKey => "device-key",
            Self::HardwareKey => "hardware-key",
            Self::Attested => "attested",
        }
    }

    /// Position on the ladder, 0 for `observed`; what a policy compares.
    pub fn rank(self) -> u8 {
        Self::ALL.iter().position(|a| *a == self).and_then(|i| u8::try_from(i).ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ladder_order_matches_rank_and_words() {
        for (rank, level) in Assurance::ALL.iter().enumerate() {
            assert_eq!(usize::from(level.rank()), rank);
            assert_eq!(serde_json_word(*level), level.word());
        }
        assert!(Assurance::Observed < Assurance::Attested);
    }

    /// The serde name, without pulling in a format crate.
    fn serde_json_word(level: Assurance) -> String {
        use serde::de::IntoDeserializer;
        let word = level.word();
        let back = Assurance::deserialize::<
            serde::de::value::StrDeserializer<'_, serde::de::value::Error>,
        >(word.into_deserializer())
        .unwrap();
        assert_eq!(back, level);
        word.to_owned()
    }
}
