//! Exceptions asked about like policies: what they open is held against standing claims, like all else that is permitted.
//!
//! Tests say what must stay true of the policies, and a draft writes one for each path that it refused and each reach that it saw: an exception is
//! made to differ from these for a while. So it is told of them, and refused by claims and forbids only.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use model::Timestamp;

use crate::cedar;
use crate::folder::{EXCEPTIONS_FILE, Exception, Folder, Tests};
use crate::text::cedar_string;
use crate::{Fault, check, lower};

/// The same folder with each exception that has not ended as a permit of its own. Forbids stay, and win.
pub fn as_permits(folder: &Folder, now: Timestamp) -> Folder {
    let alive: Vec<&Exception> = folder.exceptions.iter().filter(|e| e.expires > now).collect();
    let mut with = folder.clone();
    let mut text = String::new();
    for (number, exception) in alive.iter().enumerate() {
        let [from, to] = [exception.from.as_str(), exception.to.as_str()].map(cedar_string);
        let _ = writeln!(
            text,
            "@id(\"exception.{number}\")\n@reason(\"an exception\")\n\
             permit (principal == Device::{from}, action == Action::\"connect\", resource == Service::{to});"
        );
    }
    // Only ids are put in, and quoted: it is always understood.
    let mut permits = cedar::read_all(&[(EXCEPTIONS_FILE, &text)]).unwrap_or_default();
    for (permit, exception) in permits.iter_mut().zip(alive) {
        permit.id = format!("exception {}", exception.id);
        permit.line = exception.line;
    }
    with.policies.extend(permits);
    with
}

/// Claims that hold without the exceptions of a folder, and not with them.
pub fn broken(folder: &Folder, now: Timestamp) -> Vec<Fault> {
    if folder.exceptions.iter().all(|exception| exception.expires <= now) {
        return Vec::new();
    }
    let mut without = folder.clone();
    without.tests = Tests::default();
    let with = as_permits(&without, now);
    without.exceptions.clear();
    let sides = [&without, &with].map(|folder| check::run(folder, &lower::lower(folder)));
    let [before, after] = sides;
    newly(&before, after)
}

/// Faults that are not among others.
pub fn newly(before: &[Fault], mut after: Vec<Fault>) -> Vec<Fault> {
    // A reason may name another policy and mean the same line.
    fn line(fault: &Fault) -> (&str, u32, &str) {
        (&fault.file, fault.line, &fault.what)
    }
    let known: BTreeSet<_> = before.iter().map(line).collect();
    after.retain(|fault| !known.contains(&line(fault)));
    after
}
