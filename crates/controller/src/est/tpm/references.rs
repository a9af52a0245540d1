//! What is believed before a device says anything: manufacturers' roots, files of the state folder that are read again when they were not looked at for a
//! while; and what may be measured, as a release of the estate says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crypto::Provider;
use estate::releases::{Bank, Form, Register, Release};
use model::Timestamp;
use pki::tpm::{Confirmed, LOG_BYTES_MAX, Log, Reference, Selection, measured};
use pki::{Certificate, Digest};

use crate::state::files;

/// Folder with manufacturers' roots, PEM files.
pub(super) const ROOTS: &str = "pki/tpm-roots";
/// After this long files are read again, in nanoseconds.
const AGAIN_NANOS: i64 = 10 * 1_000_000_000;

/// What was read of a folder, and when.
#[derive(Debug)]
pub(super) struct Files<T> {
    folder: PathBuf,
    kept: Mutex<Option<(Timestamp, T)>>,
}

impl<T: Clone> Files<T> {
    pub(super) const fn new(folder: PathBuf) -> Self {
        Self { folder, kept: Mutex::new(None) }
    }

    /// As it was a short while ago, or as `read` has it now.
    pub(super) fn get(&self, now: Timestamp, read: impl FnOnce(&Path) -> T) -> T {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, value)) = &*kept
            && (0..AGAIN_NANOS).contains(&now.as_nanos().saturating_sub(at.as_nanos()))
        {
            return value.clone();
        }
        let value = read(&self.folder);
        *kept = Some((now, value.clone()));
        value
    }
}

/// Manufacturers' roots; none where there is no such folder. A file that cannot be read is no empty one: then nobody is judged.
pub(super) fn roots(folder: &Path) -> Result<Vec<Certificate>, String> {
    let mut all = Vec::new();
    for (name, bytes) in files(folder, "pem")? {
        let read = Certificate::read_all(&bytes).map_err(|error| format!("{name}: {error}"))?;
        if read.is_empty() {
            return Err(format!("{name}: there is no certificate in it"));
        }
        all.extend(read);
    }
    Ok(all)
}

/// What may be in registers, as a release says.
#[derive(Debug)]
pub(super) struct Values(Arc<Release>);

impl Values {
    pub(super) const fn of(release: Arc<Release>) -> Self {
        Self(release)
    }

    /// Who says so.
    pub(super) fn release(&self) -> &Release {
        &self.0
    }

    /// What to ask a quote for.
    pub(super) fn selection(&self) -> Selection {
        let registers = self.0.registers.iter().map(|register| register.pcr);
        Selection::of(digest(self.0.bank), registers)
    }

    /// Whether an event log is needed.
    pub(super) fn needs_log(&self) -> bool {
        self.0.form == Form::Events
    }

    /// Judges registers that a quote confirmed; a stable word and a line for why they are not good.
    pub(super) fn judge(
        &self,
        quoted: &Confirmed,
        log: Option<&[u8]>,
    ) -> Result<(), (&'static str, String)> {
        if self.0.form == Form::Values {
            return judge_whole(&self.0.registers, quoted);
        }
        let log = log.ok_or_else(|| ("log", "the event log did not come along".to_owned()))?;
        if log.len() > LOG_BYTES_MAX {
            return Err(("log", format!("the event log is longer than {LOG_BYTES_MAX} bytes")));
        }
        let log = Log::read(log).map_err(|error| ("log", error.to_string()))?;
        let mut reference = Reference::new(digest(self.0.bank));
        for Register { pcr, allowed, required } in &self.0.registers {
            allowed.iter().for_each(|one| reference.allow(*pcr, &one.0));
            required.iter().for_each(|one| reference.require(*pcr, &one.0));
        }
        let judged = measured(&log, quoted, &reference, &Provider);
        judged.map(drop).map_err(|error| ("pcr", error.to_string()))
    }
}

const fn digest(bank: Bank) -> Digest {
    match bank {
        Bank::Sha256 => Digest::Sha256,
        Bank::Sha384 => Digest::Sha384,
        Bank::Sha512 => Digest::Sha512,
    }
}

fn judge_whole(registers: &[Register], quoted: &Confirmed) -> Result<(), (&'static str, String)> {
    let mut left: BTreeSet<u8> = registers.iter().map(|register| register.pcr).collect();
    for (bank, pcr, value) in quoted.pcrs().iter() {
        left.remove(&pcr);
        let of = registers.iter().find(|register| register.pcr == pcr);
        if !of.is_some_and(|of| of.allowed.iter().any(|good| good.0 == value)) {
            let value = estate::identities::Octets(value.to_vec());
            let why =
                format!("PCR {pcr} of {} is {value}, which is not in the reference", bank.name());
            return Err(("pcr", why));
        }
    }
    match left.first() {
        None => Ok(()),
        Some(pcr) => Err(("pcr", format!("PCR {pcr} was not quoted"))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_broken_file_of_roots_is_not_none() {
        let folder = std::env::temp_dir().join(format!("rf-roots-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        assert_eq!(roots(&folder), Ok(Vec::new()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("notes.txt"), "no root").unwrap();
        assert_eq!(roots(&folder), Ok(Vec::new()));
        fs::write(folder.join("acme.pem"), "").unwrap();
        assert!(roots(&folder).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
