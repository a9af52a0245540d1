//! Capability cards: which of the six device cybersecurity capabilities of NIST IR 8259A a type or model
//! has, and what stands in for one that it lacks.
//!
//! A missing capability is *compensated* where the folder's card says so: the control becomes a `forbid`
//! or an obligation of its own, named `card.TYPE.CONTROL`, that tests, claims, `why` and plans see like
//! any other policy. Everything else is *uncovered* and shown. Shipped cards never compile by themselves:
//! they only say what is uncovered until a person takes them into `cards.toml`.

mod generate;
mod read;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Fault;
use crate::folder::{Device, Folder};
use crate::text::count;

pub(crate) use generate::{oblige, policies};
pub(crate) use read::{read, write};

/// Cards file of a folder.
pub const CARDS_FILE: &str = "cards.toml";
const SHIPPED: &str = include_str!("../../../../policies/cards/types.toml");

/// What a type or model can do for its own security.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Device type.
    pub kind: String,
    /// Text that the device's name holds, for a card of one model; "" for all of the type.
    pub model: String,
    /// What it has.
    pub has: BTreeMap<Capability, Answer>,
    /// What stands in for what it lacks.
    pub controls: BTreeMap<Capability, Control>,
    /// Line in the file.
    pub line: u32,
}

/// The six capabilities of NIST IR 8259A.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Device identification: unique logically and physically.
    Identification,
    /// Device configuration: authorised entities can change it.
    Configuration,
    /// Data protection: stored and sent data are kept from others.
    DataProtection,
    /// Logical access to interfaces: only authorised entities.
    InterfaceAccess,
    /// Software update: by authorised entities, through a secure mechanism.
    SoftwareUpdate,
    /// Cybersecurity state awareness: it reports its own state.
    StateAwareness,
}

impl Capability {
    /// All of them, in the order of the publication.
    pub const ALL: [Self; 6] = [
        Self::Identification,
        Self::Configuration,
        Self::DataProtection,
        Self::InterfaceAccess,
        Self::SoftwareUpdate,
        Self::StateAwareness,
    ];

    /// Its key in cards.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Identification => "identification",
            Self::Configuration => "configuration",
            Self::DataProtection => "data_protection",
            Self::InterfaceAccess => "interface_access",
            Self::SoftwareUpdate => "software_update",
            Self::StateAwareness => "state_awareness",
        }
    }

    /// Controls that stand in for it.
    pub const fn controls(self) -> &'static [Control] {
        match self {
            Self::Identification => &[Control::NoSensitive],
            Self::Configuration => &[Control::SiteOnly],
            Self::DataProtection => &[Control::GatewayTermination, Control::SiteOnly],
            Self::InterfaceAccess => &[Control::NoInbound],
            Self::SoftwareUpdate => &[Control::SiteOnly, Control::NoInbound],
            Self::StateAwareness => &[Control::PassiveMonitoring],
        }
    }
}

/// Whether a capability is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It has it.
    Yes,
    /// It lacks it.
    No,
    /// Nobody has looked.
    Unknown,
}

/// What stands in for a missing capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// Its identity is only what the wire says, so sensitive services stay closed.
    NoSensitive,
    /// It reaches nothing beyond its own site.
    SiteOnly,
    /// What leaves the site is encrypted: elsewhere it reaches only ports that carry TLS, DTLS or SSH; all else
    /// goes through a gateway at its site.
    GatewayTermination,
    /// Nobody from another site opens anything on it, nor does a device without an owner.
    NoInbound,
    /// Every new flow of it is logged.
    PassiveMonitoring,
}

impl Control {
    /// Its name in cards, and in the id of the policy it becomes.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoSensitive => "no-sensitive",
            Self::SiteOnly => "site-only",
            Self::GatewayTermination => "gateway-termination",
            Self::NoInbound => "no-inbound",
            Self::PassiveMonitoring => "passive-monitoring",
        }
    }
}

/// What the cards of a folder cover, by type and model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// One row for each type or model that has devices, and capability.
    pub rows: Vec<Row>,
}

/// One capability of one type or model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Device type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Model, "" for the whole type.
    pub model: String,
    /// Devices it is about.
    pub devices: u64,
    /// Capability.
    pub capability: Capability,
    /// Whether it is there.
    pub answer: Answer,
    /// Who says so.
    pub source: Said,
    /// What stands in for it.
    pub control: Option<Control>,
}

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// The folder's card.
    Folder,
    /// A shipped card.
    Shipped,
    /// Nobody: there is no card.
    Nobody,
}

impl Row {
    /// Neither there nor compensated.
    pub fn is_uncovered(&self) -> bool {
        self.answer != Answer::Yes && self.control.is_none()
    }
}

impl Coverage {
    /// One sentence for each type or model with something uncovered.
    pub fn uncovered_words(&self) -> Vec<String> {
        let mut of: BTreeMap<(&str, &str), Vec<&Row>> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| row.is_uncovered()) {
            of.entry((&row.kind, &row.model)).or_default().push(row);
        }
        of.into_iter()
            .filter_map(|((kind, model), rows)| {
                let first = rows.first()?;
                let model = if model.is_empty() { String::new() } else { format!(" {model}") };
                let devices = count(usize::try_from(first.devices).unwrap_or(usize::MAX), "device");
                if first.source == Said::Nobody {
                    return Some(format!("{devices} of type {kind}{model}: no capability card"));
                }
                let of = |answer| {
                    let words = rows.iter().filter(|row| row.answer == answer);
                    words.map(|row| row.capability.word()).collect::<Vec<_>>().join(", ")
                };
                let mut parts = Vec::new();
                for (answer, what) in [(Answer::No, "lacks"), (Answer::Unknown, "not known:")] {
                    let words = of(answer);
                    if !words.is_empty() {
                        parts.push(format!("{what} {words}"));
                    }
                }
                let source = match first.source {
                    Said::Shipped => " (shipped card; confirm it in cards.toml)",
                    _ => "",
                };
                Some(format!("{devices} of type {kind}{model}: {}{source}", parts.join("; ")))
            })
            .collect()
    }
}

/// What the folder's cards cover, with the shipped ones where it has none.
pub fn cover(folder: &Folder) -> Coverage {
    let shipped = shipped();
    let mut counted: BTreeMap<(&str, &str), (u64, Option<&Card>, Said)> = BTreeMap::new();
    for device in &folder.estate.devices {
        let own = card_of(&folder.cards, device);
        let (card, said) = match own {
            Some(card) => (Some(card), Said::Folder),
            None => match card_of(&shipped, device) {
                Some(card) => (Some(card), Said::Shipped),
                None => (None, Said::Nobody),
            },
        };
        let model = card.map_or("", |card| card.model.as_str());
        let slot = counted.entry((&device.kind, model)).or_insert((0, card, said));
        slot.0 = slot.0.saturating_add(1);
    }
    let rows = counted.into_iter().flat_map(|((kind, model), (devices, card, source))| {
        Capability::ALL.map(|capability| Row {
            kind: kind.to_owned(),
            model: model.to_owned(),
            devices,
            capability,
            answer: card.and_then(|c| c.has.get(&capability)).copied().unwrap_or(Answer::Unknown),
            source,
            control: match source {
                Said::Folder => card.and_then(|c| c.controls.get(&capability)).copied(),
                _ => None,
            },
        })
    });
    Coverage { rows: rows.collect() }
}

/// The shipped cards.
pub fn shipped() -> Vec<Card> {
    read("policies/cards/types.toml", SHIPPED).unwrap_or_default()
}

/// A device's card: its model's, else its type's.
fn card_of<'c>(cards: &'c [Card], device: &Device) -> Option<&'c Card> {
    let of = || cards.iter().filter(|card| card.kind == device.kind);
    let model = of().find(|card| !card.model.is_empty() && device.name.contains(&card.model));
    model.or_else(|| of().find(|card| card.model.is_empty()))
}

/// Cards that stand twice.
pub(crate) fn duplicates(cards: &[Card]) -> Vec<Fault> {
    let mut seen: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut faults = Vec::new();
    for card in cards {
        if let Some(line) = seen.insert((&card.kind, &card.model), card.line) {
            let what = format!("duplicate card for type `{}`", card.kind);
            let why = format!("there is one at line {line}; one card for each type and model");
            faults.push(Fault::on_line(CARDS_FILE, card.line, &what, why));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_cards_are_read_and_complete() {
        let cards = read("policies/cards/types.toml", SHIPPED).unwrap();
        assert!(cards.len() >= 10);
        assert!(cards.iter().all(|card| card.has.len() == 6 && card.controls.is_empty()));
        assert!(duplicates(&cards).is_empty());
    }
}
