//! Texts of lines, read strictly: every line ends in a newline, every number and hash has one spelling.

use crate::hash::{Hash, unbase64};
use crate::{Malformed, SIZE_MAX};

/// Reads a text line by line and knows where it is.
pub(crate) struct Lines<'a> {
    what: &'static str,
    text: &'a str,
    rest: &'a str,
    /// Where the line begins that was read last.
    line: usize,
}

impl<'a> Lines<'a> {
    pub(crate) const fn new(what: &'static str, text: &'a str) -> Self {
        Self { what, text, rest: text, line: 0 }
    }

    /// From foreign bytes: UTF-8 without control characters but newline (C2SP signed-note, Format), and
    /// not longer than allowed.
    pub(crate) fn of_bytes(
        what: &'static str,
        bytes: &'a [u8],
        bytes_max: usize,
    ) -> Result<Self, Malformed> {
        if bytes.len() > bytes_max {
            let why = format!("it is longer than {bytes_max} bytes");
            return Err(Malformed::new(what, bytes_max, why));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|e| Malformed::new(what, e.valid_up_to(), "it is not UTF-8"))?;
        match text.bytes().position(|b| b < 0x20 && b != b'\n') {
            Some(at) => Err(Malformed::new(what, at, "a control character")),
            None => Ok(Self::new(what, text)),
        }
    }

    /// Where the next line begins.
    pub(crate) const fn at(&self) -> usize {
        self.text.len() - self.rest.len()
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// What no line was read of yet.
    pub(crate) const fn rest(&self) -> &'a str {
        self.rest
    }

    /// The next line without its newline.
    pub(crate) fn next(&mut self, name: &str) -> Result<&'a str, Malformed> {
        self.line = self.at();
        let Some((line, rest)) = self.rest.split_once('\n') else {
            let why = match self.rest.is_empty() {
                true => format!("it ends where {name} is expected"),
                false => format!("{name} has no newline"),
            };
            return Err(Malformed::new(self.what, self.text.len(), why));
        };
        self.rest = rest;
        Ok(line)
    }

    /// The next line behind a word that it must begin with.
    pub(crate) fn keyword(&mut self, word: &'static str) -> Result<&'a str, Malformed> {
        let line = self.next(word)?;
        let value = line.strip_prefix(word).and_then(|l| l.strip_prefix(' '));
        let value = value.ok_or_else(|| self.wrong(0, format!("a line `{word} …` is expected")))?;
        self.line += word.len() + 1;
        Ok(value)
    }

    /// Something is wrong with the line that was read last, `offset` bytes behind its beginning.
    pub(crate) fn wrong(&self, offset: usize, why: impl Into<String>) -> Malformed {
        Malformed::new(self.what, self.line.saturating_add(offset), why)
    }

    /// A number of entries in the line that was read last.
    pub(crate) fn size(&self, text: &str) -> Result<u64, Malformed> {
        decimal(text).filter(|n| *n <= SIZE_MAX).ok_or_else(|| {
            self.wrong(0, "a decimal number below 2^63 without leading zeroes is expected")
        })
    }

    /// A hash in the line that was read last.
    pub(crate) fn hash(&self, text: &str) -> Result<Hash, Malformed> {
        Hash::from_base64(text).map_err(|e| self.wrong(e.at, format!("no hash: {}", e.why)))
    }

    /// Base64 in the line that was read last.
    pub(crate) fn base64(&self, text: &str) -> Result<Vec<u8>, Malformed> {
        unbase64(text).map_err(|e| self.wrong(e.at, format!("no base64: {}", e.why)))
    }

    /// Hashes, one a line, up to an empty line, which is taken too.
    pub(crate) fn hashes_until_empty(&mut self) -> Result<Vec<Hash>, Malformed> {
        let mut hashes = Vec::new();
        loop {
            let line = self.next("a hash or an empty line")?;
            if line.is_empty() {
                return Ok(hashes);
            }
            if hashes.len() == PROOF_HASHES_MAX {
                return Err(self.wrong(0, format!("more than {PROOF_HASHES_MAX} hashes")));
            }
            hashes.push(self.hash(line)?);
        }
    }
}

/// Hashes of the longest proof (C2SP tlog-witness, add-checkpoint).
pub(crate) const PROOF_HASHES_MAX: usize = 63;

/// A decimal number in its one spelling.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (canonical && digits).then(|| text.parse().ok()).flatten()
}
