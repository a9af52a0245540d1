//! Who was assigned a block of link addresses by the IEEE: 36-, 28- and 24-bit blocks, the
//! longest that fits wins.
//!
//! The table is text (`rules/README.md`), so that a site can add blocks or bring a newer registry:
//!
//! ```text
//! # comment
//! 0050C2D5C⇥Enertex Bayern GmbH
//! 001B1B⇥Siemens AG
//! ```

use model::Mac;

/// Blocks a table may hold; the registry has about 60,000.
pub const BLOCKS_MAX: usize = 1_000_000;

/// The table.
#[derive(Clone, Debug, Default)]
pub struct Oui {
    /// The table's text, in which the names are.
    text: Box<str>,
    /// Assignments by length of the prefix in bits, longest first, each sorted by prefix: the
    /// prefix, and where its organisation's name begins and ends.
    blocks: [Vec<(u64, u32, u32)>; 3],
}

/// Lengths of prefixes in bits, in the order of [`Oui::blocks`].
const BITS: [u32; 3] = [36, 28, 24];

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

impl Oui {
    /// Reads a table. Of two lines for one block the later wins, so a site's own lines can simply
    /// be appended.
    ///
    /// # Errors
    /// The first line that is not understood.
    pub fn parse(table: &[u8]) -> Result<Self, OuiError> {
        let text = std::str::from_utf8(table).map_err(|_| OuiError::NotText)?;
        let mut oui = Self::default();
        let mut count = 0usize;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = || OuiError::Line { line: number + 1 };
            let (prefix, name) = line.split_once('\t').ok_or_else(wrong)?;
            // The line is a part of the text, and the name of the line.
            let at = line.as_ptr().addr() - text.as_ptr().addr() + prefix.len() + 1;
            let at = at + (name.len() - name.trim_start().len());
            let name = name.trim();
            let place = (u32::try_from(at), u32::try_from(at + name.len()));
            let (Ok(begin), Ok(end)) = place else { return Err(OuiError::TooMany) };
            let slot = match prefix.len() {
                9 => 0,
                7 => 1,
                6 => 2,
                _ => return Err(wrong()),
            };
            let prefix = u64::from_str_radix(prefix, 16).map_err(|_| wrong())?;
            let blocks = oui.blocks.get_mut(slot).ok_or_else(wrong)?;
            blocks.push((prefix, begin, end));
            count += 1;
            if name.is_empty() {
                return Err(wrong());
            }
            if count > BLOCKS_MAX {
                return Err(OuiError::TooMany);
            }
        }
        for blocks in &mut oui.blocks {
            // Stable, and the last of equal prefixes is kept.
            blocks.sort_by_key(|(prefix, ..)| *prefix);
            blocks.dedup_by(|later, kept| {
                let same = later.0 == kept.0;
                if same {
                    (kept.1, kept.2) = (later.1, later.2);
                }
                same
            });
        }
        oui.text = text.into();
        Ok(oui)
    }

    /// The organisation that an address was assigned to.
    ///
    /// All addresses are looked up, locally administered ones too: a few old blocks have that bit.
    pub fn lookup(&self, mac: Mac) -> Option<&str> {
        let address = mac.as_u64();
        BITS.iter().zip(&self.blocks).find_map(|(bits, blocks)| {
            let prefix = address >> (48 - bits);
            let at = blocks.binary_search_by_key(&prefix, |(block, ..)| *block).ok()?;
            let (_, begin, end) = *blocks.get(at)?;
            self.text.get(usize::try_from(begin).ok()?..usize::try_from(end).ok()?)
        })
    }

    /// How many blocks it knows.
    pub fn len(&self) -> usize {
        self.blocks.iter().map(Vec::len).sum()
    }

    /// It knows none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "# blocks\n001B1B\tSiemens AG\n0050C2D5C\tEnertex Bayern GmbH\n\
        0055DA1\tTwentyEight\n0055DA\tTwentyFour\n0055DA1\tReplaced\n";

    #[test]
    fn the_longest_block_wins() {
        let oui = Oui::parse(TABLE.as_bytes()).unwrap();
        let check = |mac: &str, expect: Option<&str>| {
            assert_eq!(oui.lookup(mac.parse().unwrap()), expect, "{mac}");
        };
        check("00:1b:1b:35:84:10", Some("Siemens AG"));
        check("00:50:c2:d5:c1:23", Some("Enertex Bayern GmbH"));
        check("00:50:c2:d5:d1:23", None);
        check("00:55:da:1f:00:00", Some("Replaced"));
        check("00:55:da:2f:00:00", Some("TwentyFour"));
        assert_eq!(oui.len(), 4);
    }

    #[test]
    fn the_shipped_table_is_current_and_complete() {
        use std::io::Read as _;
        let mut table = Vec::new();
        flate2::read::GzDecoder::new(crate::rules::OUI_GZ).read_to_end(&mut table).unwrap();
        let oui = Oui::parse(&table).unwrap();
        assert!(oui.len() > 50_000, "{} blocks", oui.len());
        let check = |mac: &str, expect: &str| {
            let found = oui.lookup(mac.parse().unwrap()).unwrap_or_default();
            assert!(found.to_lowercase().contains(expect), "{mac}: {found}");
        };
        check("00:1b:1b:35:84:10", "siemens");
        check("00:17:88:24:76:ff", "philips");
        check("94:10:3e:42:80:69", "belkin");
        // A 36-bit block and a 28-bit block.
        check("00:50:c2:00:01:02", "t.l.s. corp");
        check("00:55:da:12:34:56", "koolpos");
        for nobody in ["00:00:00:00:00:01", "02:42:ac:11:00:02"] {
            assert_eq!(oui.lookup(nobody.parse().unwrap()), None, "{nobody}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |table: &[u8], expect: OuiError| {
            assert_eq!(Oui::parse(table).unwrap_err(), expect);
        };
        check(b"\x1f\x8b\x08\xff", OuiError::NotText);
        check(b"001B1B\tSiemens AG\n001B1B Siemens AG", OuiError::Line { line: 2 });
        check(b"001B\tSiemens AG", OuiError::Line { line: 1 });
        check(b"001B1X\tSiemens AG", OuiError::Line { line: 1 });
        check(b"001B1B\t ", OuiError::Line { line: 1 });
    }
}
