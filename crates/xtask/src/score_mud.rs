//! `score mud`: every MUD file of a folder is read, written and read again; signed ones are verified.
//!
//! * A MUD file is a file named `*.json`, or named without a dot or like `MUDFILE*`, that holds
//!   `ietf-mud`. Others are left alone.
//! * A signed pair is `NAME.json` beside `NAME.p7s`, with the anchors in `*.pem` of the same folder.
//!   It must verify in the last second of the anchor's validity, not a day later, and never with one
//!   byte of the file changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crypto::Provider;
use pki::Certificate;
use pki::cms::{Demand, Invalid, Signed};
use pki::path::{Purpose, Refusal};
use policy::mud;

use crate::figures::{self, Bar, Figure};
use crate::{Options, Stop};

/// Nanoseconds in a day.
const DAY: i64 = 86_400_000_000_000;

/// Scores every MUD file below a folder.
pub(crate) fn run(dir: &Path, options: &Options) -> Result<bool, Stop> {
    let mut tally = Tally::default();
    for path in files(dir)? {
        let bytes = read(&path)?;
        let text = String::from_utf8_lossy(&bytes);
        if text.contains("ietf-mud") {
            let name = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
            tally.file(&name, &text);
            tally.signature(&name, &path, &bytes)?;
        }
    }
    if tally.files == 0.0 {
        let hint = "name a folder of MUD files: ./x score mud DIR";
        return Err(Stop(format!("{} holds no MUD file; {hint}", dir.display())));
    }
    let met = figures::print("score mud", &tally.figures(), options)?;
    if options.verbose {
        tally.said.iter().for_each(|line| eprintln!("{line}"));
    }
    Ok(met)
}

#[derive(Debug, Default)]
struct Tally {
    files: f64,
    parsed: f64,
    same: f64,
    entries: f64,
    withheld: f64,
    unsupported: BTreeMap<String, f64>,
    abstractions: BTreeMap<&'static str, f64>,
    pairs: f64,
    verified: f64,
    expired: f64,
    flipped: f64,
    said: Vec<String>,
}

impl Tally {
    fn file(&mut self, name: &str, text: &str) {
        self.files += 1.0;
        let mud = match mud::parse(name, text) {
            Ok(mud) => mud,
            Err(faults) => {
                self.said.extend(faults.iter().map(|fault| format!("FAULT {fault}")));
                return;
            }
        };
        self.parsed += 1.0;
        self.same += f64::from(u8::from(mud::parse(name, &mud.to_json()).as_ref() == Ok(&mud)));
        let entries = mud.acls.iter().map(|acl| acl.aces.len()).sum::<usize>();
        self.entries += as_f64(entries);
        for told in mud.unsupported() {
            self.said.push(format!("{name}: {}: not supported: {}", told.place, told.statement));
            self.withheld += f64::from(u8::from(told.withholds));
            *self.unsupported.entry(told.statement).or_default() += 1.0;
        }
        for (abstraction, uses) in mud.abstractions() {
            *self.abstractions.entry(abstraction.word()).or_default() += as_f64(uses);
        }
        self.said.extend(mud.remarks().into_iter().map(|remark| format!("{name}: {remark}")));
    }

    fn signature(&mut self, name: &str, path: &Path, file: &[u8]) -> Result<(), Stop> {
        let beside = path.with_extension("p7s");
        if !beside.is_file() {
            return Ok(());
        }
        self.pairs += 1.0;
        let wrong = |e: pki::Malformed| Stop(format!("{}: {e}", beside.display()));
        let signed = Signed::read(&read(&beside)?).map_err(wrong)?;
        let mut anchors = Vec::new();
        for anchor in siblings(path, "pem")? {
            anchors.extend(Certificate::read_all(&read(&anchor)?).map_err(wrong)?);
        }
        let ends = anchors.iter().map(Certificate::not_after).min().unwrap_or_default();
        let check = |file: &[u8], at| {
            let demand = Demand { anchors: &anchors, at, purpose: Purpose::MudFile, signer: None };
            signed.verify(file, &demand, &Provider)
        };
        let mut count = |ok: bool, slot: fn(&mut Self) -> &mut f64, said: String| {
            *slot(self) += f64::from(u8::from(ok));
            self.said.push(format!("{name}: signature: {said}"));
        };
        let good = check(file, ends);
        let said = match &good {
            Ok(v) => {
                format!("{} by {}, vouched for by {}", v.algorithm, v.signer, v.issuers.join(", "))
            }
            Err(why) => why.to_string(),
        };
        count(good.is_ok(), |t| &mut t.verified, said);
        let late = check(file, ends.plus_nanos(DAY));
        let expired = matches!(late, Err(Invalid::Path(Refusal::Expired { .. })));
        count(expired, |t| &mut t.expired, format!("a day later: {late:?}"));
        let flipped = (0..file.len()).all(|i| {
            let mut other = file.to_vec();
            if let Some(byte) = other.get_mut(i) {
                *byte ^= 1;
            }
            check(&other, ends) == Err(Invalid::OtherFile)
        });
        count(flipped, |t| &mut t.flipped, format!("{} bytes flipped one by one", file.len()));
        Ok(())
    }

    fn figures(&self) -> Vec<Figure> {
        let count = |name: String, n: f64| Figure::new(name, n, "count");
        let all = |name: &str, n: f64, of: f64| {
            count(name.to_owned(), n).beside(Some(of)).bar(Bar::AtLeast(of))
        };
        let mut figures = vec![
            count("MUD files".to_owned(), self.files),
            all("parsed", self.parsed, self.files),
            all("the same when written and read again", self.same, self.files),
            count("access list entries".to_owned(), self.entries),
            count(
                "entries that open nothing, for a condition not understood".to_owned(),
                self.withheld,
            ),
        ];
        for (word, uses) in &self.abstractions {
            figures.push(count(format!("entries with {word}"), *uses));
        }
        for (statement, uses) in &self.unsupported {
            figures.push(count(format!("not supported: {statement}"), *uses));
        }
        if self.pairs > 0.0 {
            figures.push(all("signatures that verify in time", self.verified, self.pairs));
            figures.push(all(
                "signatures refused after the chain expired",
                self.expired,
                self.pairs,
            ));
            figures.push(all(
                "signatures refused for every flipped byte",
                self.flipped,
                self.pairs,
            ));
        }
        figures
    }
}

fn as_f64(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

fn read(path: &Path) -> Result<Vec<u8>, Stop> {
    std::fs::read(path).map_err(|e| Stop(format!("{} cannot be read: {e}", path.display())))
}

/// Files below a folder that may be MUD files, in order.
fn files(dir: &Path) -> Result<Vec<PathBuf>, Stop> {
    let mut found = Vec::new();
    for path in entries(dir)? {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let may_be = name.ends_with(".json") || name.starts_with("MUDFILE");
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if may_be {
            found.push(path);
        }
    }
    Ok(found)
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, Stop> {
    let wrong = |e| Stop(format!("{} cannot be read: {e}", dir.display()));
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(wrong)? {
        paths.push(entry.map_err(wrong)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn siblings(path: &Path, extension: &str) -> Result<Vec<PathBuf>, Stop> {
    let all = entries(path.parent().unwrap_or(Path::new(".")))?;
    Ok(all.into_iter().filter(|p| p.extension().is_some_and(|e| e == extension)).collect())
}
