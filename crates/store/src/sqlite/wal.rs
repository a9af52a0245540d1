//! What SQLite leaves out of its write-ahead log when it opens it after a crash, so that it can be said.
//!
//! SQLite's file format, §4: a header of 32 bytes, then frames of 24 bytes and a page. A frame counts when it has the salts of
//! the header and its checksum goes on from the one before; frames count up to the last that ends a transaction.

use std::fmt;
use std::io;
use std::path::Path;

use super::beside;
use crate::{Disk, Files as _};

/// A write that did not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Bytes of the write-ahead log that belong to it.
    pub size_bytes: u64,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a write of {} bytes had not ended when the last process did; it was never acknowledged, and is left out",
            self.size_bytes
        )
    }
}

/// What will be left out of a database's log.
pub(super) fn unfinished(database: &Path) -> io::Result<Option<Unfinished>> {
    let bytes = Disk.read(&beside(database, "-wal"))?;
    Ok(bytes.and_then(|bytes| tail(&bytes)))
}

const FRAME: usize = 24;

fn tail(wal: &[u8]) -> Option<Unfinished> {
    let (header, mut rest) = wal.split_first_chunk::<32>()?;
    let word = |bytes: &[u8], n: usize| {
        let four = bytes.get(n * 4..)?.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*four))
    };
    // The last bit of the magic number says how checksums read their words.
    let big_end = match word(header, 0)? {
        0x377f_0682 => false,
        0x377f_0683 => true,
        _ => return None,
    };
    let page = usize::try_from(word(header, 2)?).ok()?;
    let salts = header.get(16..24)?;
    let mut sum = checksum([0, 0], header.get(..24)?, big_end);
    if [word(header, 6)?, word(header, 7)?] != sum {
        return None;
    }
    // Bytes behind the last frame that ended a transaction.
    let mut open = 0_usize;
    while let Some((frame, behind)) = rest.split_at_checked(FRAME + page) {
        let (head, content) = frame.split_at(FRAME);
        if head.get(8..16) != Some(salts) {
            break;
        }
        sum = checksum(checksum(sum, head.get(..8)?, big_end), content, big_end);
        if [word(head, 4)?, word(head, 5)?] != sum {
            break;
        }
        let ends = word(head, 1)? != 0;
        open = if ends { 0 } else { open + frame.len() };
        rest = behind;
    }
    // Frames with other salts are of an earlier time, and were done with.
    while rest.get(8..16) == Some(salts) {
        let length = rest.len().min(FRAME + page);
        open += length;
        rest = rest.get(length..)?;
    }
    let size_bytes = u64::try_from(open).ok()?;
    (open > 0).then_some(Unfinished { size_bytes })
}

fn checksum([mut a, mut b]: [u32; 2], bytes: &[u8], big_end: bool) -> [u32; 2] {
    let read = |word: [u8; 4]| match big_end {
        true => u32::from_be_bytes(word),
        false => u32::from_le_bytes(word),
    };
    for pair in bytes.as_chunks::<4>().0.as_chunks::<2>().0 {
        let [first, second] = *pair;
        a = a.wrapping_add(read(first)).wrapping_add(b);
        b = b.wrapping_add(read(second)).wrapping_add(a);
    }
    [a, b]
}
