//! What comes of commands about releases.

use std::collections::BTreeSet;

use super::{
    Command, Event, Form, REGISTERS, RELEASES_MAX, Register, Release, Releases, VALUES_MAX,
    VALUES_OF_ONE_MAX, kind, tidy,
};
use crate::{Refusal, Sort};

/// Characters of a vendor, a model, a version: as of what is believed of a device.
const NAME_CHARS_MAX: usize = crate::devices::VALUE_CHARS_MAX;
const REASON_BYTES_MAX: usize = 4_096;
/// Values of one event: with SHA-512 and the longest names it still fits an entry.
const EVENT_VALUES_MAX: usize = 192;

impl Releases {
    pub(crate) fn decide(&self, command: &Command) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Add { release, replaces } => self.add(release, replaces.as_deref()),
            Command::Withdraw { id, reason } => {
                let known = self.get(id).ok_or_else(|| unknown(id))?;
                check_reason(&title(&known.release), reason)?;
                let (id, reason) = (id.clone(), reason.clone());
                let event = Event::Withdrawn { id, reason, replaced_by: None, carried: false };
                Ok(if known.withdrawn.is_none() { vec![event] } else { Vec::new() })
            }
        }
    }

    fn add(&self, wanted: &Release, replaces: Option<&str>) -> Result<Vec<Event>, Refusal> {
        check(wanted)?;
        let new = Release { registers: tidy(&wanted.registers), ..wanted.clone() };
        let what = || title(&new);
        let current = self.current.get(&kind(&new)).and_then(|id| self.get(id));
        let current = current.map(|known| &*known.release);
        let same = |is: &Release| {
            (is.bank, is.form, &is.registers) == (new.bank, new.form, &new.registers)
        };
        match (current, replaces) {
            (Some(is), None) if same(is) => return Ok(Vec::new()),
            (Some(is), None) => {
                let why = format!("{} has other values for it", is.id);
                return Err(Refusal::new(Sort::Conflict, "release.exists", what(), why)
                    .help(format!("`--replace {}` puts this one in its place", is.id)));
            }
            (Some(is), Some(id)) if is.id == id => {}
            (is, Some(id)) => {
                let why = match is {
                    Some(is) => format!("{} is what counts for it, not {}", is.id, clip(id)),
                    None => format!("nothing counts for it, so {} is in no place", clip(id)),
                };
                return Err(Refusal::new(Sort::Conflict, "release.replaces", what(), why)
                    .help("`ringfence release list` says which"));
            }
            (None, None) => {}
        }
        if self.all.contains_key(&new.id) {
            let why = format!("there is one with the id {}", new.id);
            return Err(Refusal::new(Sort::Conflict, "release.id", what(), why));
        }
        let (before, has) = (self.current.len(), current.map_or(0, Release::values));
        if current.is_none() && before >= RELEASES_MAX {
            let why = format!("there are {RELEASES_MAX} that are not withdrawn");
            return Err(full(what(), why));
        }
        let values = self.values.saturating_sub(has).saturating_add(new.values());
        if values > VALUES_MAX {
            let why =
                format!("all releases together would have {values} values; {VALUES_MAX} at most");
            return Err(full(what(), why));
        }
        let replaced = current.map(|is| Event::Withdrawn {
            id: is.id.clone(),
            reason: new.reason.clone(),
            replaced_by: Some(new.id.clone()),
            carried: is.is_within(&new),
        });
        Ok(parts(new).chain(replaced).collect())
    }
}

/// A release as events that fit their entries.
fn parts(release: Release) -> impl Iterator<Item = Event> {
    let all = release.registers.iter().flat_map(|register| {
        let of = |needed| move |one| (register.pcr, needed, one);
        let allowed = register.allowed.iter().map(of(false));
        allowed.chain(register.required.iter().map(of(true)))
    });
    let all: Vec<_> = all.collect();
    let one = |(pcr, needed, one): &(u8, bool, &crate::identities::Octets)| {
        let (is, none) = (vec![(*one).clone()], Vec::new());
        let (allowed, required) = if *needed { (none, is) } else { (is, none) };
        Register { pcr: *pcr, allowed, required }
    };
    let part = |part: &[_]| tidy(&part.iter().map(one).collect::<Vec<_>>());
    let mut parts: Vec<Vec<Register>> = all.chunks(EVENT_VALUES_MAX).map(part).collect();
    let rest = parts.split_off(parts.len().min(1));
    let id = release.id.clone();
    let registers = parts.pop().unwrap_or_default();
    let added = Event::Added { release: Release { registers, ..release } };
    let more = move |registers| Event::Continued { id: id.clone(), registers };
    std::iter::once(added).chain(rest.into_iter().map(more))
}

fn check(release: &Release) -> Result<(), Refusal> {
    let wrong = |code, why: String| Err(Refusal::new(Sort::Invalid, code, title(release), why));
    let of_id = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if release.id.is_empty() || release.id.len() > 63 || !release.id.chars().all(of_id) {
        return wrong("release.malformed", "its id is 1 to 63 of a-z A-Z 0-9 -".to_owned());
    }
    for (name, text) in
        [("vendor", &release.vendor), ("model", &release.model), ("version", &release.version)]
    {
        let long = text.chars().count() > NAME_CHARS_MAX;
        if text.trim().is_empty() || long || text.chars().any(char::is_control) {
            let why = format!(
                "its {name} is 1 to {NAME_CHARS_MAX} characters, none of them a control character"
            );
            return wrong("release.malformed", why);
        }
    }
    check_reason(&title(release), &release.reason)?;
    let (bank, mut seen) = (release.bank, BTreeSet::new());
    for Register { pcr, allowed, required } in &release.registers {
        if *pcr >= REGISTERS {
            return wrong("release.register", format!("no TPM has a PCR {pcr}"));
        }
        if !seen.insert(pcr) {
            return wrong("release.register", format!("PCR {pcr} is there twice"));
        }
        if allowed.is_empty() && required.is_empty() {
            return wrong("release.register", format!("PCR {pcr} has no {}", release.form.word()));
        }
        if release.form == Form::Values && !required.is_empty() {
            let why = format!("PCR {pcr} has one value at a time: none is required beside others");
            return wrong("release.register", why);
        }
        if let Some(digest) =
            allowed.iter().chain(required).find(|digest| digest.0.len() != bank.size_bytes())
        {
            let why = format!("{} is no {} (PCR {pcr})", clip(&digest.to_string()), bank.word());
            return wrong("release.digest", why);
        }
    }
    match release.values() {
        0 => wrong("release.register", "it says of no register what may be in it".to_owned()),
        1..=VALUES_OF_ONE_MAX => Ok(()),
        values => {
            wrong("release.long", format!("it has {values} values; {VALUES_OF_ONE_MAX} at most"))
        }
    }
}

fn check_reason(what: &str, reason: &str) -> Result<(), Refusal> {
    let fits = |c: char| !c.is_control() || c == '\n';
    if reason.trim().is_empty() || reason.len() > REASON_BYTES_MAX || !reason.chars().all(fits) {
        let why = "what nobody gives a reason for cannot be judged";
        return Err(Refusal::new(Sort::Invalid, "release.reason", what, why));
    }
    Ok(())
}

/// There is no such release.
pub fn unknown(id: &str) -> Refusal {
    let what = format!("release {}", clip(id));
    Refusal::new(Sort::Unknown, "release.unknown", what, "there is none with this id")
        .help("`ringfence release list` lists them")
}

fn full(what: String, why: String) -> Refusal {
    Refusal::new(Sort::Full, "release.full", what, why)
        .help("withdraw those that no device runs: `ringfence release list`")
}

fn title(release: &Release) -> String {
    let Release { vendor, model, version, .. } = release;
    format!("release {} {} {}", clip(vendor), clip(model), clip(version))
}

fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}
