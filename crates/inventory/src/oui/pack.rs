//! The table of address blocks in the form in which it is searched. The build script packs the shipped
//! table with this file, so that the program starts without reading 60,000 lines.
//!
//! ```text
//! blocks of 36, of 28, of 24 bits: 3 × u32
//! each block, sorted: its first address (6 bytes), where its name is (u32), how long it is (u16)
//! names, each once
//! ```
//!
//! Numbers are little-endian, addresses as they are on the wire.

use std::collections::HashMap;

/// Blocks a table may hold; the registry has about 60,000.
pub const BLOCKS_MAX: usize = 1_000_000;
/// Lengths of prefixes in bits, longest first.
pub(crate) const BITS: [u32; 3] = [36, 28, 24];
/// Bytes of a block.
pub(crate) const BLOCK: usize = 12;
/// Bytes before the first block.
pub(crate) const HEAD: usize = 12;

/// Why a table was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OuiError {
    /// It is no text.
    #[error("the table of address blocks is not UTF-8 text; decompress it first")]
    NotText,
    /// A line is not `PREFIX⇥NAME`.
    #[error(
        "line {line} of the table of address blocks is wrong: write 6, 7 or 9 hex digits, a tab, and the organisation"
    )]
    Line {
        /// From 1.
        line: usize,
    },
    /// Too many lines.
    #[error("the table of address blocks has more than {BLOCKS_MAX} blocks; is it the right file?")]
    TooMany,
}

/// Packs a table of text. Of two lines for one block the later wins.
pub(crate) fn pack(table: &[u8]) -> Result<Vec<u8>, OuiError> {
    let text = std::str::from_utf8(table).map_err(|_| OuiError::NotText)?;
    let mut lists: [Vec<[u8; BLOCK]>; 3] = Default::default();
    let mut names = Vec::new();
    let mut known: HashMap<&str, u32> = HashMap::new();
    let mut count = 0usize;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = || OuiError::Line { line: number + 1 };
        let (prefix, name) = line.split_once('\t').ok_or_else(wrong)?;
        let name = name.trim();
        let length = u16::try_from(name.len()).ok().filter(|length| *length > 0);
        let [l0, l1] = length.ok_or_else(wrong)?.to_le_bytes();
        let digits = u32::try_from(prefix.len()).map_err(|_| wrong())?;
        let mut kinds = BITS.iter().zip(&mut lists);
        let (bits, list) = kinds.find(|(bits, _)| **bits == digits * 4).ok_or_else(wrong)?;
        let prefix = u64::from_str_radix(prefix, 16).map_err(|_| wrong())?;
        let [_, _, a, b, c, d, e, f] = (prefix << (48 - bits)).to_be_bytes();
        count += 1;
        if count > BLOCKS_MAX {
            return Err(OuiError::TooMany);
        }
        let at = match known.get(name) {
            Some(at) => *at,
            None => {
                let at = u32::try_from(names.len()).map_err(|_| OuiError::TooMany)?;
                names.extend_from_slice(name.as_bytes());
                known.insert(name, at);
                at
            }
        };
        let [n0, n1, n2, n3] = at.to_le_bytes();
        list.push([a, b, c, d, e, f, n0, n1, n2, n3, l0, l1]);
    }
    let mut packed = Vec::with_capacity(HEAD + count * BLOCK + names.len());
    for list in &mut lists {
        // Stable, and the last of equal blocks is kept.
        list.sort_by_key(first);
        list.dedup_by(|later, kept| {
            let same = first(later) == first(kept);
            if same {
                *kept = *later;
            }
            same
        });
        packed.extend(u32::try_from(list.len()).map_err(|_| OuiError::TooMany)?.to_le_bytes());
    }
    packed.extend(lists.iter().flatten().flatten());
    packed.extend(names);
    Ok(packed)
}

/// The first address of a block.
pub(crate) fn first(block: &[u8; BLOCK]) -> [u8; 6] {
    let [a, b, c, d, e, f, ..] = *block;
    [a, b, c, d, e, f]
}
