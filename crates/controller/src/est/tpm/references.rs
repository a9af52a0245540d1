//! What is believed before a device says anything: manufacturers' roots, and what may be measured. Files of the state folder, read again when
//! they were not looked at for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crypto::Provider;
use model::Timestamp;
use pki::tpm::{Confirmed, LOG_BYTES_MAX, Log, REGISTERS, Reference, Selection, measured};
use pki::{Certificate, Digest};
use serde::Deserialize;

/// Folder with manufacturers' roots, PEM files.
pub(super) const ROOTS: &str = "pki/tpm-roots";
/// Folder with reference values.
pub(super) const REFERENCES: &str = "references";
/// What a file says that it is.
const SCHEMA: &str = "ringfence.reference/v1";
/// After this long files are read again, in nanoseconds.
const AGAIN_NANOS: i64 = 10 * 1_000_000_000;
/// Files of a folder.
const FILES_MAX: usize = 4_096;
/// Bytes of a file.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What a device is, as the estate believes: vendor, model, firmware.
pub(super) type Kind = (String, String, String);

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

/// What may be in registers.
#[derive(Debug)]
pub(super) enum Values {
    /// Values of whole registers, of one bank.
    Whole(Digest, BTreeMap<u8, BTreeSet<Vec<u8>>>),
    /// Events that an event log has.
    Events(Reference),
}

/// All reference values, and what is wrong with files.
#[derive(Clone, Debug, Default)]
pub(super) struct References {
    all: BTreeMap<Kind, Arc<Values>>,
    /// A line for each file that does not count.
    pub(super) wrong: Vec<String>,
}

impl References {
    /// Of a folder; of none, where there is no such folder.
    pub(super) fn read(folder: &Path) -> Self {
        let mut read = Self::default();
        let files = match files(folder, "json") {
            Ok(files) => files,
            Err(why) => return Self { wrong: vec![why], ..read },
        };
        for (name, bytes) in files {
            match parse(&bytes) {
                Ok((kind, _)) if read.all.contains_key(&kind) => {
                    let (vendor, model, firmware) = kind;
                    read.wrong.push(format!(
                        "{name}: another file has values for {vendor} {model} {firmware} already"
                    ));
                }
                Ok((kind, values)) => {
                    read.all.insert(kind, Arc::new(values));
                }
                Err(why) => read.wrong.push(format!("{name}: {why}")),
            }
        }
        read
    }

    pub(super) fn of(&self, kind: &Kind) -> Option<Arc<Values>> {
        self.all.get(kind).cloned()
    }
}

/// Names and bytes, by name.
fn files(folder: &Path, extension: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
    let failed = |at: &Path, error: std::io::Error| format!("{}: {error}", at.display());
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(|error| failed(folder, error))?,
    };
    let mut paths = Vec::new();
    for file in listed {
        let path = file.map_err(|error| failed(folder, error))?.path();
        if path.extension().is_some_and(|has| has == extension) {
            paths.push(path);
        }
    }
    if paths.len() > FILES_MAX {
        return Err(format!("{}: more than {FILES_MAX} files", folder.display()));
    }
    paths.sort();
    let read = |path: PathBuf| {
        let size = fs::metadata(&path).map_err(|error| failed(&path, error))?.len();
        if size > FILE_BYTES_MAX {
            return Err(format!("{}: longer than {FILE_BYTES_MAX} bytes", path.display()));
        }
        let bytes = fs::read(&path).map_err(|error| failed(&path, error))?;
        Ok((path.display().to_string(), bytes))
    };
    paths.into_iter().map(read).collect()
}

/// A file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: String,
    vendor: String,
    model: String,
    firmware: String,
    #[serde(default = "sha256")]
    bank: String,
    #[serde(default)]
    values: BTreeMap<u8, Vec<String>>,
    #[serde(default)]
    events: BTreeMap<u8, Events>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Events {
    #[serde(default)]
    allowed: Vec<String>,
    #[serde(default)]
    required: Vec<String>,
}

fn sha256() -> String {
    "sha256".to_owned()
}

fn parse(bytes: &[u8]) -> Result<(Kind, Values), String> {
    let document: Document = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let Document { schema, vendor, model, firmware, bank, values, events } = document;
    if schema != SCHEMA {
        return Err(format!("its schema is {schema}, and {SCHEMA} is expected"));
    }
    let bank = match bank.as_str() {
        "sha256" => Digest::Sha256,
        "sha384" => Digest::Sha384,
        "sha512" => Digest::Sha512,
        other => return Err(format!("the bank {other} is none of sha256, sha384 and sha512")),
    };
    let mut registers = values.keys().chain(events.keys());
    if let Some(pcr) = registers.find(|pcr| **pcr >= REGISTERS) {
        return Err(format!("no TPM has a PCR {pcr}"));
    }
    let values = match (values.is_empty(), events.is_empty()) {
        (false, true) => Values::Whole(bank, whole(bank, values)?),
        (true, false) => Values::Events(reference(bank, events)?),
        _ => return Err("it has either values or events, and one of them".to_owned()),
    };
    Ok(((vendor, model, firmware), values))
}

fn whole(
    bank: Digest,
    values: BTreeMap<u8, Vec<String>>,
) -> Result<BTreeMap<u8, BTreeSet<Vec<u8>>>, String> {
    let of = |(pcr, texts): (u8, Vec<String>)| {
        if texts.is_empty() {
            return Err(format!("PCR {pcr} has no values"));
        }
        let all: Result<_, String> = texts.iter().map(|text| digest(bank, text)).collect();
        Ok((pcr, all?))
    };
    values.into_iter().map(of).collect()
}

fn reference(bank: Digest, events: BTreeMap<u8, Events>) -> Result<Reference, String> {
    let mut reference = Reference::new(bank);
    for (pcr, Events { allowed, required }) in events {
        if allowed.is_empty() && required.is_empty() {
            return Err(format!("PCR {pcr} has no events"));
        }
        for text in allowed {
            reference.allow(pcr, &digest(bank, &text)?);
        }
        for text in required {
            reference.require(pcr, &digest(bank, &text)?);
        }
    }
    Ok(reference)
}

fn digest(bank: Digest, text: &str) -> Result<Vec<u8>, String> {
    let bytes = text.to_lowercase().parse::<estate::identities::Octets>().map(|octets| octets.0);
    bytes
        .ok()
        .filter(|bytes| bytes.len() == usize::from(bank.size_bytes()))
        .ok_or_else(|| format!("{text} is no {} in hexadecimal", bank.name()))
}

impl Values {
    /// What to ask a quote for.
    pub(super) fn selection(&self) -> Selection {
        match self {
            Self::Whole(bank, by) => Selection::of(*bank, by.keys().copied()),
            Self::Events(reference) => Selection::of(reference.bank(), reference.registers()),
        }
    }

    /// Whether an event log is needed.
    pub(super) const fn needs_log(&self) -> bool {
        matches!(self, Self::Events(_))
    }

    /// Judges registers that a quote confirmed; a stable word and a line for why they are not good.
    pub(super) fn judge(
        &self,
        quoted: &Confirmed,
        log: Option<&[u8]>,
    ) -> Result<(), (&'static str, String)> {
        let reference = match self {
            Self::Whole(_, by) => return judge_whole(by, quoted),
            Self::Events(reference) => reference,
        };
        let log = log.ok_or_else(|| ("log", "the event log did not come along".to_owned()))?;
        if log.len() > LOG_BYTES_MAX {
            return Err(("log", format!("the event log is longer than {LOG_BYTES_MAX} bytes")));
        }
        let log = Log::read(log).map_err(|error| ("log", error.to_string()))?;
        let judged = measured(&log, quoted, reference, &Provider);
        judged.map(drop).map_err(|error| ("pcr", error.to_string()))
    }
}

fn judge_whole(
    by: &BTreeMap<u8, BTreeSet<Vec<u8>>>,
    quoted: &Confirmed,
) -> Result<(), (&'static str, String)> {
    let mut left: BTreeSet<u8> = by.keys().copied().collect();
    for (bank, pcr, value) in quoted.pcrs().iter() {
        left.remove(&pcr);
        if !by.get(&pcr).is_some_and(|good| good.contains(value)) {
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
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn document(rest: &str) -> Result<(Kind, Values), String> {
        let head =
            r#""schema":"ringfence.reference/v1","vendor":"Acme","model":"X1","firmware":"2.4""#;
        parse(format!("{{{head},{rest}}}").as_bytes())
    }

    #[test]
    fn a_file_has_values_or_events() {
        let (kind, values) = document(&format!(r#""values":{{"0":["{A}"],"7":["{A}"]}}"#)).unwrap();
        assert_eq!(kind, ("Acme".to_owned(), "X1".to_owned(), "2.4".to_owned()));
        assert_eq!(values.selection(), Selection::of(Digest::Sha256, [0, 7]));
        assert!(!values.needs_log());
        let (_, events) = document(&format!(r#""events":{{"4":{{"required":["{A}"]}}}}"#)).unwrap();
        assert_eq!(events.selection(), Selection::of(Digest::Sha256, [4]));
        assert!(events.needs_log());
        for wrong in [
            r#""bank":"sha256""#.to_owned(),
            format!(r#""values":{{"24":["{A}"]}}"#),
            r#""values":{"0":["aa"]}"#.to_owned(),
            format!(r#""bank":"sha1","values":{{"0":["{A}"]}}"#),
            format!(r#""bank":"sha384","values":{{"0":["{A}"]}}"#),
            r#""events":{"0":{}}"#.to_owned(),
            r#""values":{"0":[]}"#.to_owned(),
            format!(r#""values":{{"0":["{A}"]}},"events":{{"4":{{"allowed":["{A}"]}}}}"#),
            format!(r#""values":{{"0":["{A}"]}},"value":1"#),
        ] {
            assert!(document(&wrong).is_err(), "{wrong}");
        }
        assert!(parse(b"{}").is_err());
    }

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
