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

use std::borrow::Cow;

use model::Mac;

mod pack;

use pack::{BITS, BLOCK, HEAD};
pub use pack::{BLOCKS_MAX, OuiError};

/// The shipped table, packed by the build script.
const SHIPPED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/oui.bin"));

/// The table.
#[derive(Clone, Debug, Default)]
pub struct Oui {
    /// As [`pack`] describes it.
    packed: Cow<'static, [u8]>,
    /// Blocks of each length.
    counts: [usize; 3],
}

impl Oui {
    /// The table that comes with the program: `rules/oui.tsv.gz`.
    pub fn shipped() -> Self {
        Self::of(Cow::Borrowed(SHIPPED))
    }

    /// Reads a table. Of two lines for one block the later wins, so a site's own lines can simply
    /// be appended.
    ///
    /// # Errors
    /// The first line that is not understood.
    pub fn parse(table: &[u8]) -> Result<Self, OuiError> {
        Ok(Self::of(Cow::Owned(pack::pack(table)?)))
    }

    fn of(packed: Cow<'static, [u8]>) -> Self {
        let mut counts = [0; 3];
        for (count, number) in counts.iter_mut().zip(packed.as_chunks().0) {
            *count = usize::try_from(u32::from_le_bytes(*number)).unwrap_or(0);
        }
        Self { packed, counts }
    }

    /// The organisation that an address was assigned to.
    ///
    /// All addresses are looked up, locally administered ones too: a few old blocks have that bit.
    pub fn lookup(&self, mac: Mac) -> Option<&str> {
        let address = mac.as_u64();
        let mut blocks = self.packed.get(HEAD..)?.as_chunks::<BLOCK>().0;
        let names = self.packed.get(HEAD + self.len() * BLOCK..)?;
        BITS.iter().zip(self.counts).find_map(|(bits, count)| {
            let (list, rest) = blocks.split_at_checked(count)?;
            blocks = rest;
            let [_, _, prefix @ ..] = (address >> (48 - bits) << (48 - bits)).to_be_bytes();
            let at = list.binary_search_by_key(&prefix, pack::first).ok()?;
            let [.., n0, n1, n2, n3, l0, l1] = *list.get(at)?;
            let begin = usize::try_from(u32::from_le_bytes([n0, n1, n2, n3])).ok()?;
            let end = begin + usize::from(u16::from_le_bytes([l0, l1]));
            std::str::from_utf8(names.get(begin..end)?).ok()
        })
    }

    /// How many blocks it knows.
    pub fn len(&self) -> usize {
        self.counts.iter().sum()
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
        let oui = Oui::shipped();
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
