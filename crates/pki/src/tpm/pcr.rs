//! Platform configuration registers: which, and what is in them (TPM 2.0 Part 2 §10.6.1, §10.9.7).

use super::wire::{Cursor, digest_id, put_sized};
use crate::{Digest, Malformed, Verifier};

/// Registers of a PC client's TPM, in each bank.
pub const REGISTERS: u8 = 24;
/// Banks in one selection.
const BANKS_MAX: u32 = 3;

/// Some registers of some banks (TPML_PCR_SELECTION). A bank stands in it once, and never without a register, so there is
/// one way to write it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Selection {
    banks: Vec<(Digest, u32)>,
}

/// What is in the registers of a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pcrs {
    selection: Selection,
    /// In the order of the selection.
    values: Vec<u8>,
}

impl Selection {
    /// These registers of one bank; numbers of [`REGISTERS`] and more are left out.
    pub fn of(bank: Digest, registers: impl IntoIterator<Item = u8>) -> Self {
        Self::default().and(bank, registers)
    }

    /// The same, and these registers of a bank.
    #[must_use]
    pub fn and(mut self, bank: Digest, registers: impl IntoIterator<Item = u8>) -> Self {
        let bits =
            registers.into_iter().filter(|r| *r < REGISTERS).fold(0, |bits, r| bits | 1 << r);
        match self.banks.iter_mut().find(|(b, _)| *b == bank) {
            Some((_, old)) => *old |= bits,
            None if bits != 0 => self.banks.push((bank, bits)),
            None => {}
        }
        self
    }

    /// From a TPML_PCR_SELECTION.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        Cursor::whole(bytes, Self::from_cursor)
            .map_err(|why| Malformed::new("a selection of PCRs", why))
    }

    pub(super) fn from_cursor(cursor: &mut Cursor<'_>) -> Result<Self, String> {
        let count = cursor.u32()?;
        if count > BANKS_MAX {
            return Err(format!("{count} banks, and {BANKS_MAX} are the most"));
        }
        let mut banks = Vec::with_capacity(1);
        for _ in 0..count {
            let bank = cursor.digest()?;
            let size = cursor.u8()?;
            if size != REGISTERS / 8 {
                return Err(format!("a bank of {size} bytes instead of {}", REGISTERS / 8));
            }
            let [low, middle, high] = cursor.array()?;
            let bits = u32::from_le_bytes([low, middle, high, 0]);
            if bits == 0 {
                return Err("a bank without a register".to_owned());
            }
            if banks.iter().any(|(b, _)| *b == bank) {
                return Err("a bank that stands twice".to_owned());
            }
            banks.push((bank, bits));
        }
        Ok(Self { banks })
    }

    /// As a TPML_PCR_SELECTION.
    pub fn write(&self) -> Vec<u8> {
        let count = u32::try_from(self.banks.len()).unwrap_or_default();
        let mut bytes = count.to_be_bytes().to_vec();
        for (bank, bits) in &self.banks {
            bytes.extend(digest_id(*bank).to_be_bytes());
            let [low, middle, high, _] = bits.to_le_bytes();
            bytes.extend([REGISTERS / 8, low, middle, high]);
        }
        bytes
    }

    /// Banks and registers, in the order in which their values go into a digest.
    pub fn registers(&self) -> impl Iterator<Item = (Digest, u8)> + '_ {
        let of = |bits: u32| (0..REGISTERS).filter(move |r| bits >> r & 1 == 1);
        self.banks.iter().flat_map(move |(bank, bits)| of(*bits).map(|r| (*bank, r)))
    }

    /// Whether it has this register.
    pub fn has(&self, bank: Digest, register: u8) -> bool {
        let bits = self.banks.iter().find(|(b, _)| *b == bank).map_or(0, |(_, bits)| *bits);
        register < REGISTERS && bits >> register & 1 == 1
    }

    /// Whether there is no register in it.
    pub fn is_empty(&self) -> bool {
        self.banks.is_empty()
    }
}

impl Pcrs {
    /// From the values of all registers of a selection, in its order, one after the other.
    pub fn new(selection: Selection, values: &[u8]) -> Result<Self, Malformed> {
        let wanted: usize =
            selection.registers().map(|(bank, _)| usize::from(bank.size_bytes())).sum();
        if values.len() != wanted {
            let why = format!("{} bytes instead of {wanted}", values.len());
            return Err(Malformed::new("the values of these PCRs", why));
        }
        Ok(Self { selection, values: values.to_vec() })
    }

    /// From one value after the other, each behind its length (TPML_DIGEST has the same, Part 2 §10.9.3, but no more than
    /// eight): a selection, then its values. This is how a device reports them.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let read = Cursor::whole(bytes, |c| {
            let selection = Selection::from_cursor(c)?;
            let mut values = Vec::new();
            for (bank, register) in selection.registers() {
                let value = c.sized(usize::from(bank.size_bytes()), "a value")?;
                if value.len() != usize::from(bank.size_bytes()) {
                    return Err(format!("{} bytes of PCR {register}", value.len()));
                }
                values.extend(value);
            }
            Ok(Self { selection, values })
        });
        read.map_err(|why| Malformed::new("the values of some PCRs", why))
    }

    /// What [`Self::read`] reads.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = self.selection.write();
        self.iter().for_each(|(_, _, value)| put_sized(&mut bytes, value));
        bytes
    }

    /// Which registers.
    pub const fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Bank, register and value of each.
    pub fn iter(&self) -> impl Iterator<Item = (Digest, u8, &[u8])> {
        let mut rest = self.values.as_slice();
        self.selection.registers().filter_map(move |(bank, register)| {
            let (value, after) = rest.split_at_checked(usize::from(bank.size_bytes()))?;
            rest = after;
            Some((bank, register, value))
        })
    }

    /// The digest over all values, as a quote has it (Part 3 §18.4, TPM2_Quote).
    pub fn digest(&self, digest: Digest, verifier: &dyn Verifier) -> Vec<u8> {
        verifier.digest(digest, &self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_both_ways() {
        // sha256:0,1,2,7, as tpm2-tools asks for it.
        let bytes = [0, 0, 0, 1, 0, 0x0b, 3, 0x87, 0, 0];
        let selection = Selection::of(Digest::Sha256, [7, 2, 1, 0, 24, 200]);
        assert_eq!(selection.write(), bytes);
        assert_eq!(Selection::read(&bytes), Ok(selection.clone()));
        assert!(selection.has(Digest::Sha256, 7) && !selection.has(Digest::Sha384, 7));
        assert!(!selection.has(Digest::Sha256, 24) && !selection.has(Digest::Sha256, 40));
        let both = selection.and(Digest::Sha384, [23]);
        assert_eq!(Selection::read(&both.write()), Ok(both.clone()));
        assert_eq!(both.registers().last(), Some((Digest::Sha384, 23)));
        assert!(Selection::of(Digest::Sha256, []).is_empty());
    }

    #[test]
    fn one_way_to_write_a_selection() {
        for wrong in [
            &[0, 0, 0, 4][..],
            &[0, 0, 0, 1, 0, 4, 3, 1, 0, 0],
            &[0, 0, 0, 1, 0, 0x0b, 4, 1, 0, 0, 0],
            &[0, 0, 0, 1, 0, 0x0b, 2, 1, 0],
            &[0, 0, 0, 1, 0, 0x0b, 3, 0, 0, 0],
            &[0, 0, 0, 2, 0, 0x0b, 3, 1, 0, 0, 0, 0x0b, 3, 2, 0, 0],
            &[0, 0, 0, 1, 0, 0x0b, 3, 1, 0, 0, 0],
        ] {
            assert!(Selection::read(wrong).is_err(), "{wrong:x?}");
        }
    }

    #[test]
    fn values_both_ways() {
        let selection = Selection::of(Digest::Sha256, [3, 5]).and(Digest::Sha384, [1]);
        let values: Vec<u8> = (0..112).collect();
        let pcrs = Pcrs::new(selection.clone(), &values).unwrap();
        let listed: Vec<_> = pcrs.iter().map(|(bank, r, v)| (bank, r, v[0], v.len())).collect();
        let (two, three) = (Digest::Sha256, Digest::Sha384);
        assert_eq!(listed, [(two, 3, 0, 32), (two, 5, 32, 32), (three, 1, 64, 48)]);
        assert_eq!(Pcrs::read(&pcrs.write()), Ok(pcrs.clone()));
        assert!(Pcrs::new(selection.clone(), &values[1..]).is_err());
        assert!(Pcrs::new(selection, &[&values[..], &[0]].concat()).is_err());
        let bytes = pcrs.write();
        assert!((0..bytes.len()).all(|cut| Pcrs::read(&bytes[..cut]).is_err()));
        assert!(Pcrs::read(&[&bytes[..], &[0]].concat()).is_err());
    }
}
