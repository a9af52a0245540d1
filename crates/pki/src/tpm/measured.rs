//! Whether what was measured is good: a log against the registers of a quote, then each event against reference values.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::log::{EventKind, Log};
use super::pcr::{Pcrs, REGISTERS};
use super::quote::Confirmed;
use crate::{Digest, Verifier};

/// What may be measured, and what must be, for one version of a device's firmware.
///
/// Only what is named is good: an event that is not, in a register that was quoted, refuses the whole. A register that is named
/// must have been measured into, so that a machine that measures nothing is not taken for one that measures good things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    bank: Digest,
    registers: BTreeMap<u8, Values>,
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Values {
    /// Those that must occur are among them.
    allowed: BTreeSet<Vec<u8>>,
    required: BTreeSet<Vec<u8>>,
}

/// What was found good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Events in registers that were quoted: all of them are in the reference.
    pub events: usize,
    /// Events in other registers: nobody vouches for them, and they count for nothing.
    pub unquoted: usize,
}

/// Why what was measured does not count as good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMeasured {
    /// There is nothing to compare with.
    #[error("there are no reference values")]
    NoReference,
    /// A register that matters is not in the quote.
    #[error("the reference has values for PCR {pcr} of {}, and it was not quoted", .bank.name())]
    NotQuoted {
        /// Its bank.
        bank: Digest,
        /// Its number.
        pcr: u8,
    },
    /// The log is without a bank.
    #[error("the log has no digests of {}, and they were quoted", .0.name())]
    NoBank(Digest),
    /// The log is not the story of these registers.
    #[error(
        "the log does not lead to PCR {pcr} of {}: events are missing in it, or were changed",
        .bank.name()
    )]
    OtherRegister {
        /// Its bank.
        bank: Digest,
        /// Its number.
        pcr: u8,
    },
    /// Something was measured that is not known to be good: the first one.
    #[error("event {number} ({kind} in PCR {pcr}) is not in the reference: {digest}")]
    Unknown {
        /// Its place in the log.
        number: usize,
        /// The register.
        pcr: u8,
        /// What it says it is.
        kind: EventKind,
        /// What was measured, in hexadecimal.
        digest: String,
    },
    /// Something was not measured that has to be.
    #[error("nothing in PCR {pcr} is {digest}, which has to be there")]
    Missing {
        /// The register.
        pcr: u8,
        /// What has to be measured, in hexadecimal.
        digest: String,
    },
    /// Nothing was measured at all.
    #[error("nothing was measured into PCR {pcr}")]
    Nothing {
        /// The register.
        pcr: u8,
    },
}

impl Reference {
    /// Values of one bank; none yet.
    pub const fn new(bank: Digest) -> Self {
        Self { bank, registers: BTreeMap::new() }
    }

    /// This may be measured into a register. Registers that no TPM has, and digests of another length, match nothing.
    pub fn allow(&mut self, pcr: u8, digest: &[u8]) {
        self.registers.entry(pcr).or_default().allowed.insert(digest.to_vec());
    }

    /// This has to be measured into a register.
    pub fn require(&mut self, pcr: u8, digest: &[u8]) {
        self.allow(pcr, digest);
        self.registers.entry(pcr).or_default().required.insert(digest.to_vec());
    }

    /// Registers that it has values for: what to ask a quote for.
    pub fn registers(&self) -> impl Iterator<Item = u8> + '_ {
        self.registers.keys().copied()
    }

    /// Its bank.
    pub const fn bank(&self) -> Digest {
        self.bank
    }
}

/// Judges a log. Every register that a quote confirmed ([`super::quote`]) has to come out of it. The order of
/// events within the reference is not asked, nor how often one occurs.
pub fn measured(
    log: &Log<'_>,
    quoted: &Confirmed,
    reference: &Reference,
    verifier: &dyn Verifier,
) -> Result<Measured, NotMeasured> {
    let bank = reference.bank;
    if reference.registers.is_empty() {
        return Err(NotMeasured::NoReference);
    }
    let quoted = quoted.pcrs();
    let selection = quoted.selection();
    if let Some(pcr) = reference.registers().find(|pcr| !selection.has(bank, *pcr)) {
        return Err(NotMeasured::NotQuoted { bank, pcr });
    }
    replayed(log, quoted, verifier)?;
    let (mut events, mut unquoted) = (0usize, 0usize);
    let mut seen = vec![BTreeSet::new(); usize::from(REGISTERS)];
    for event in log.events() {
        if !selection.has(bank, event.pcr) {
            unquoted = unquoted.saturating_add(1);
            continue;
        }
        let digest = event.digest(bank).ok_or(NotMeasured::NoBank(bank))?;
        let values = reference.registers.get(&event.pcr);
        if !values.is_some_and(|values| values.allowed.contains(digest)) {
            return Err(NotMeasured::Unknown {
                number: event.number,
                pcr: event.pcr,
                kind: event.kind,
                digest: hex(digest),
            });
        }
        events = events.saturating_add(1);
        if let Some(seen) = seen.get_mut(usize::from(event.pcr)) {
            seen.insert(digest);
        }
    }
    for (pcr, values) in &reference.registers {
        let Some(seen) = seen.get(usize::from(*pcr)).filter(|seen| !seen.is_empty()) else {
            return Err(NotMeasured::Nothing { pcr: *pcr });
        };
        if let Some(digest) = values.required.iter().find(|d| !seen.contains(d.as_slice())) {
            return Err(NotMeasured::Missing { pcr: *pcr, digest: hex(digest) });
        }
    }
    Ok(Measured { events, unquoted })
}

/// Every register that was quoted comes out of the log.
fn replayed(log: &Log<'_>, quoted: &Pcrs, verifier: &dyn Verifier) -> Result<(), NotMeasured> {
    let mut replayed: Option<(Digest, Vec<Vec<u8>>)> = None;
    for (bank, pcr, value) in quoted.iter() {
        // Registers come bank by bank.
        let known = replayed.take().filter(|(of, _)| *of == bank);
        let (of, registers) = match known {
            Some(known) => known,
            None => (bank, log.replay(bank, verifier).ok_or(NotMeasured::NoBank(bank))?),
        };
        if registers.get(usize::from(pcr)).map(Vec::as_slice) != Some(value) {
            return Err(NotMeasured::OtherRegister { bank, pcr });
        }
        replayed = Some((of, registers));
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(128);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
