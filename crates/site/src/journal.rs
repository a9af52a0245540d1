//! The site's own journal: one JSON line per event, each with the hash of the line before it, made
//! durable before the change it tells of takes effect.
//!
//! It shows afterwards that nothing was removed or altered in the middle. Cutting off its end shows
//! only to somebody who kept the last hash (`ringfence site journal` prints it).

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::life::Entry;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Number, from 1.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Hash of the line before it, in hexadecimal; zeros for the first.
    pub prev: String,
    /// What.
    #[serde(flatten)]
    pub entry: Entry,
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    seq: u64,
    last: String,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Lines in order.
    pub lines: Vec<Line>,
    /// Hash of the last one.
    pub last: String,
    /// Bytes after the last whole line: a write that a crash cut off.
    pub torn: u64,
}

/// What is wrong with a journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line that does not follow the one before it.
    #[error("{}:{line}: {why}; the journal was changed by something else than Ringfence: keep the file as evidence and start a new state directory", path.display())]
    Broken {
        /// Where.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
}

/// Hash before the first line.
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Longest line, in bytes.
const LINE_MAX: usize = 16 << 10;

impl Journal {
    /// Opens or begins the journal at `path` and checks it. A last line that a crash cut off is
    /// removed: what it told of did not happen, because it was not durable.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let io = |doing| move |source| JournalError::Io { doing, path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(path).map_err(io("open"))?;
        let checked = check(path)?;
        let end = file.metadata().map_err(io("read"))?.len().saturating_sub(checked.torn);
        if checked.torn > 0 {
            file.set_len(end).map_err(io("repair"))?;
        }
        file.seek(SeekFrom::Start(end)).map_err(io("read"))?;
        let seq = checked.lines.last().map_or(0, |line| line.seq);
        Ok(Self { file, path: path.to_owned(), seq, last: checked.last })
    }

    /// Number of the last line; 0: there is none.
    pub const fn last(&self) -> u64 {
        self.seq
    }

    /// Writes one event and waits until it is durable.
    pub fn append(&mut self, at: Timestamp, entry: &Entry) -> Result<(), JournalError> {
        let line = Line {
            seq: self.seq.saturating_add(1),
            at,
            prev: self.last.clone(),
            entry: entry.clone(),
        };
        let io = |source| JournalError::Io { doing: "write", path: self.path.clone(), source };
        let mut text = serde_json::to_string(&line).map_err(|e| io(io::Error::other(e)))?;
        let hash = hash(&text);
        text.push('\n');
        self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data()).map_err(io)?;
        self.seq = line.seq;
        self.last = hash;
        Ok(())
    }
}

/// Reads and checks the journal at `path`.
pub fn check(path: &Path) -> Result<Checked, JournalError> {
    let io = |source| JournalError::Io { doing: "read", path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(io)?);
    let mut checked = Checked { lines: Vec::new(), last: NOTHING.to_owned(), torn: 0 };
    let mut text = Vec::new();
    for number in 1u64.. {
        text.clear();
        let length = reader.read_until(b'\n', &mut text).map_err(io)?;
        if length == 0 {
            break;
        }
        if text.pop_if(|last| *last == b'\n').is_none() {
            checked.torn = u64::try_from(length).unwrap_or(u64::MAX);
            break;
        }
        let broken =
            |why: String| JournalError::Broken { path: path.to_owned(), line: number, why };
        if length > LINE_MAX {
            return Err(broken(format!("the line is longer than {LINE_MAX} bytes")));
        }
        let text = std::str::from_utf8(&text).map_err(|e| broken(e.to_string()))?;
        let line: Line = serde_json::from_str(text).map_err(|e| broken(e.to_string()))?;
        if line.prev != checked.last {
            return Err(broken("it does not carry the hash of the line before it".to_owned()));
        }
        if line.seq != number {
            return Err(broken(format!("its number is {}, not {number}", line.seq)));
        }
        checked.last = hash(text);
        checked.lines.push(line);
    }
    Ok(checked)
}

/// SHA-256 in hexadecimal.
pub(crate) fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds, 0)
    }

    fn entry(event: &str) -> Entry {
        Entry { reason: "pump 3 is stuck".to_owned(), ..Entry::new(event, "root (0)") }
    }

    fn file(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("rf-journal-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    #[test]
    fn lines_are_chained_over_restarts() {
        let path = file("chain");
        let mut journal = Journal::open(&path).unwrap();
        journal.append(at(1), &entry("break-glass")).unwrap();
        drop(journal);
        let mut journal = Journal::open(&path).unwrap();
        journal.append(at(2), &entry("break-glass-ended")).unwrap();
        let checked = check(&path).unwrap();
        assert_eq!(checked.lines.len(), 2);
        assert_eq!(checked.lines[1].seq, 2);
        assert_eq!(checked.lines[1].entry, entry("break-glass-ended"));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_changed_removed_or_added_line_is_told() {
        let path = file("changed");
        let mut journal = Journal::open(&path).unwrap();
        for n in 1..=4 {
            journal.append(at(n), &entry("break-glass")).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let broken = |text: String, line: u64| {
            std::fs::write(&path, text).unwrap();
            let error = Journal::open(&path).unwrap_err().to_string();
            assert!(error.contains(&format!(":{line}: ")), "{error}");
        };
        broken(text.replacen("pump 3", "pump 4", 1), 2);
        broken([lines[0], lines[2], lines[3], ""].join("\n"), 2);
        broken([lines[1], lines[2], lines[3], ""].join("\n"), 1);
        broken(text.clone() + lines[3] + "\n", 5);
        broken(text.clone() + "{}\n", 5);
        // A crash in the middle of a write: the half line goes, the next one follows.
        std::fs::write(&path, text.clone() + lines[3].get(..20).unwrap()).unwrap();
        assert_eq!(check(&path).unwrap().torn, 20);
        Journal::open(&path).unwrap().append(at(9), &entry("confirmed")).unwrap();
        assert_eq!(check(&path).unwrap().lines.len(), 5);
        std::fs::remove_file(path).unwrap();
    }
}
