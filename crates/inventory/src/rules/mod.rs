//! Identification rules: dissected fields in, claims about a device's attributes out.
//!
//! Rules are text that a network engineer writes (`rules/README.md`). This module reads them,
//! refuses what it does not understand, and evaluates them over everything one device said. It
//! believes nothing: each match is a [`Claim`] with a strength, and the fusion decides.
//!
//! * [`format`]: the TOML of a pack and its errors.
//! * [`examples`]: runs the examples that every rule carries.
//! * [`shipped`]: the packs that come with the program.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

mod compile;
mod condition;
mod engine;
pub mod examples;
pub mod format;
mod judge;
mod pattern;
mod shipped;
mod strength;
mod template;

pub use compile::RulePack;
pub use engine::Rules;
pub use format::{RuleError, Text};
pub use judge::Judge;

/// Whether rules may use a regular expression; the error is fit for its author.
///
/// # Errors
/// What is wrong with it, or that it grows too large.
pub fn check_pattern(pattern: &str) -> Result<(), String> {
    pattern::Pattern::parse(pattern).map(|_| ())
}

/// One thing a device said, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactView<'a> {
    /// Name from the catalogue of the dissectors.
    pub field: &'a str,
    /// What was said.
    pub value: &'a str,
}

/// A rule's conclusion from one fact.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// About what.
    pub attribute: Attribute,
    /// The value; vendors are normalised.
    pub value: String,
    /// How much this match alone proves, above 0 and at most 1.
    pub strength: f64,
    /// Id of the rule.
    pub rule: Arc<str>,
    /// Index of the fact that matched.
    pub fact: usize,
}

/// What rules can tell about a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attribute {
    /// Who sells the product.
    Vendor,
    /// The product.
    Model,
    /// What it is: `ip-camera`, `plc`….
    Type,
    /// Firmware or software version.
    Firmware,
    /// Hardware revision.
    Hardware,
    /// Serial number.
    Serial,
    /// Operating system.
    Os,
    /// A name it gave itself.
    Hostname,
    /// Who makes its network chip or module.
    ChipVendor,
    /// The part it plays: `gateway`, `server`….
    Role,
}

impl Attribute {
    /// All of them, in the order of documents.
    pub const ALL: [Self; 10] = [
        Self::Vendor,
        Self::Model,
        Self::Type,
        Self::Firmware,
        Self::Hardware,
        Self::Serial,
        Self::Os,
        Self::Hostname,
        Self::ChipVendor,
        Self::Role,
    ];

    /// The key used in rules.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Vendor => "vendor",
            Self::Model => "model",
            Self::Type => "type",
            Self::Firmware => "firmware",
            Self::Hardware => "hardware",
            Self::Serial => "serial",
            Self::Os => "os",
            Self::Hostname => "hostname",
            Self::ChipVendor => "chip_vendor",
            Self::Role => "role",
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Text that names no attribute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown key `{0}`; a rule tells vendor, model, type, firmware, hardware, serial, os, hostname, chip_vendor or role, and its other keys are in rules/README.md"
)]
pub struct UnknownKey(String);

impl FromStr for Attribute {
    type Err = UnknownKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|a| a.word() == text);
        found.ok_or_else(|| UnknownKey(text.chars().take(40).collect()))
    }
}

impl<'de> serde::Deserialize<'de> for Attribute {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Attributes with their text.
pub type Attributes = BTreeMap<Attribute, String>;

#[cfg(test)]
mod tests;
