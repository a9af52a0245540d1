//! Lines of a log, one JSON document each, from a file that may still grow.

use std::io::{self, BufRead};

use model::verdict::{Entry, LOST_SCHEMA, SCHEMA};

/// Longest line that is read, in bytes; a longer one is passed over and counted.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Faults that are told with their line; more are counted.
const FAULTS_TOLD: usize = 3;

/// Reads lines; remembers what could not be read.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    line: Vec<u8>,
    number: u64,
    too_long: bool,
    /// Lines that are no verdicts.
    pub(crate) bad: u64,
    /// The first of them, for people.
    pub(crate) faults: Vec<String>,
}

impl Lines {
    /// Hands every whole line that is there to `each`, which says whether to go on. A last line
    /// without an end is kept until the rest of it comes.
    pub(crate) fn read(
        &mut self,
        input: &mut dyn BufRead,
        each: &mut dyn FnMut(Entry) -> bool,
    ) -> io::Result<bool> {
        loop {
            let bytes = match input.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if bytes.is_empty() {
                return Ok(true);
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
            let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
            self.too_long |= part.len() > room;
            self.line.extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
            let used = part.len() + usize::from(end.is_some());
            input.consume(used);
            if end.is_some() && !self.end().is_none_or(&mut *each) {
                return Ok(false);
            }
        }
    }

    /// The input is over: a last line without an end counts when it is whole.
    pub(crate) fn finish(&mut self) -> Option<Entry> {
        if self.line.is_empty() { None } else { self.end() }
    }

    /// The line is complete.
    fn end(&mut self) -> Option<Entry> {
        self.number += 1;
        let line = std::mem::take(&mut self.line);
        let too_long = std::mem::take(&mut self.too_long);
        if line.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        let entry = if too_long {
            Err(format!("longer than {LINE_BYTES_MAX} bytes"))
        } else {
            serde_json::from_slice(&line).map_err(|error| plain(&error.to_string()))
        };
        match entry {
            Ok(entry) => Some(entry),
            Err(why) => {
                self.bad += 1;
                if self.faults.len() < FAULTS_TOLD {
                    let number = self.number;
                    self.faults.push(format!(
                        "line {number} is neither {SCHEMA} nor {LOST_SCHEMA}: {why}"
                    ));
                }
                None
            }
        }
    }
}

/// Foreign text that no terminal obeys.
pub(crate) fn plain(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
