//! Cards as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;
use toml::Spanned;

use super::{Answer, Capability, Card, Control};
use crate::Fault;
use crate::fault::position;
use crate::text::toml_string;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    card: Vec<RawCard>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCard {
    r#type: Spanned<String>,
    #[serde(default)]
    model: String,
    identification: Option<Answer>,
    configuration: Option<Answer>,
    data_protection: Option<Answer>,
    interface_access: Option<Answer>,
    software_update: Option<Answer>,
    state_awareness: Option<Answer>,
    #[serde(default)]
    controls: BTreeMap<Capability, Spanned<Control>>,
}

/// Reads cards; `file` is the name that faults carry.
pub(crate) fn read(file: &str, text: &str) -> Result<Vec<Card>, Vec<Fault>> {
    let raw: Raw = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        vec![Fault::at(file, text, at, "not understood", error.message().to_owned())]
    })?;
    let mut faults = Vec::new();
    let cards = raw.card.into_iter().map(|raw| card(file, text, raw, &mut faults)).collect();
    if faults.is_empty() { Ok(cards) } else { Err(faults) }
}

fn card(file: &str, text: &str, raw: RawCard, faults: &mut Vec<Fault>) -> Card {
    let at = raw.r#type.span().start;
    if raw.r#type.get_ref().trim().is_empty() {
        let why = "a card is about a device type".to_owned();
        faults.push(Fault::at(file, text, at, "empty value", why));
    }
    let has: BTreeMap<Capability, Answer> = [
        (Capability::Identification, raw.identification),
        (Capability::Configuration, raw.configuration),
        (Capability::DataProtection, raw.data_protection),
        (Capability::InterfaceAccess, raw.interface_access),
        (Capability::SoftwareUpdate, raw.software_update),
        (Capability::StateAwareness, raw.state_awareness),
    ]
    .into_iter()
    .filter_map(|(capability, answer)| Some((capability, answer?)))
    .collect();
    let mut controls = BTreeMap::new();
    for (capability, control) in raw.controls {
        let at = control.span().start;
        let control = control.into_inner();
        let (word, name) = (capability.word(), control.word());
        if !capability.controls().contains(&control) {
            let fit: Vec<&str> = capability.controls().iter().map(|c| c.word()).collect();
            let why = format!("`{name}` does not stand in for {word}; {} does", fit.join(" or "));
            faults.push(Fault::at(file, text, at, "wrong control", why));
        }
        if has.get(&capability) == Some(&Answer::Yes) {
            let why = format!("the card says that {word} is there, so nothing stands in for it");
            faults.push(Fault::at(file, text, at, "needless control", why));
        }
        controls.insert(capability, control);
    }
    Card {
        kind: raw.r#type.into_inner(),
        model: raw.model,
        has,
        controls,
        line: position(text, at).0,
    }
}

/// Cards as text.
pub(crate) fn write(cards: &[Card]) -> String {
    let mut out = String::from(
        "# What devices can do for their own security (NIST IR 8259A), and what stands in for what they lack.\n",
    );
    for card in cards {
        let _ = writeln!(out, "\n[[card]]\ntype = {}", toml_string(&card.kind));
        if !card.model.is_empty() {
            let _ = writeln!(out, "model = {}", toml_string(&card.model));
        }
        for (capability, answer) in &card.has {
            let word = match answer {
                Answer::Yes => "yes",
                Answer::No => "no",
                Answer::Unknown => "unknown",
            };
            let _ = writeln!(out, "{} = \"{word}\"", capability.word());
        }
        if !card.controls.is_empty() {
            out.push_str("[card.controls]\n");
        }
        for (capability, control) in &card.controls {
            let _ = writeln!(out, "{} = \"{}\"", capability.word(), control.word());
        }
    }
    out
}
