//! Entry bundles (C2SP tlog-tiles, Log entries): up to 256 entries in a file, each behind its length in two
//! bytes, big end first.

use crate::Malformed;
use crate::tile::WIDTH;

/// Longest entry, in bytes: what a length of two bytes can say.
pub const ENTRY_BYTES_MAX: usize = 65_535;

const WHAT: &str = "an entry bundle";
/// Bytes of a length.
pub(crate) const PREFIX: usize = 2;

/// Appends an entry to a bundle.
pub fn push(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), Malformed> {
    let length = u16::try_from(entry.len()).map_err(|_| {
        Malformed::new(WHAT, bundle.len(), format!("an entry of more than {ENTRY_BYTES_MAX} bytes"))
    })?;
    bundle.extend(length.to_be_bytes());
    bundle.extend(entry);
    Ok(())
}

/// The entries of a bundle that has `width` of them, and nothing behind them.
pub fn read(bundle: &[u8], width: u16) -> Result<Vec<&[u8]>, Malformed> {
    let mut entries = Vec::with_capacity(usize::from(width.min(WIDTH)));
    let mut rest = bundle;
    for n in 0..width {
        let at = bundle.len() - rest.len();
        let Some((entry, behind)) = first(rest) else {
            return Err(Malformed::new(WHAT, at, format!("entry {n} of {width} is cut short")));
        };
        entries.push(entry);
        rest = behind;
    }
    match rest.is_empty() {
        true => Ok(entries),
        false => {
            let at = bundle.len() - rest.len();
            Err(Malformed::new(WHAT, at, format!("{} bytes behind entry {width}", rest.len())))
        }
    }
}

/// The first entry, and what is behind it.
pub(crate) fn first(bundle: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bundle.split_first_chunk::<PREFIX>()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}
