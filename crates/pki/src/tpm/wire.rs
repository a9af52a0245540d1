//! A TPM's bytes, read and written: big-endian numbers, and buffers behind their length (TPM 2.0 Part 2 §4, §10.4).
//!
//! Nothing is read past a bound, and what is read whole has nothing behind it.

use crate::Digest;

/// What errors call a cut.
const CUT: &str = "it ends too early";

/// Bytes that are still to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Reads all of `bytes`: whatever `read` leaves is too much.
    pub(super) fn whole<T>(
        bytes: &'a [u8],
        read: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut cursor = Self::new(bytes);
        let value = read(&mut cursor)?;
        cursor.end()?;
        Ok(value)
    }

    pub(super) fn take(&mut self, size: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(size).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(CUT)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, String> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, String> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_be_bytes)
    }

    /// A buffer behind its length of two bytes (TPM2B).
    pub(super) fn sized(&mut self, max: usize, what: &str) -> Result<&'a [u8], String> {
        let size = usize::from(self.u16()?);
        if size > max {
            return Err(format!("{what} of {size} bytes, and {max} are the most"));
        }
        self.take(size)
    }

    /// TPMI_ALG_HASH (Part 2 §9.27), where it is a digest that is good enough.
    pub(super) fn digest(&mut self) -> Result<Digest, String> {
        let id = self.u16()?;
        digest(id).ok_or_else(|| format!("the digest {id:#06x}, which does not count"))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn end(self) -> Result<(), String> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(format!("{more} bytes follow it")),
        }
    }

    /// Numbers of the event log, which alone are little-endian.
    pub(super) fn u16_le(&mut self) -> Result<u16, String> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32_le(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }
}

/// TPM_ALG_ID (TCG Algorithm Registry §6) of the digests that are good enough.
pub(super) const fn digest(id: u16) -> Option<Digest> {
    match id {
        0x000b => Some(Digest::Sha256),
        0x000c => Some(Digest::Sha384),
        0x000d => Some(Digest::Sha512),
        _ => None,
    }
}

/// The TPM_ALG_ID of a digest.
pub(super) const fn digest_id(digest: Digest) -> u16 {
    match digest {
        Digest::Sha256 => 0x000b,
        Digest::Sha384 => 0x000c,
        Digest::Sha512 => 0x000d,
    }
}

/// A buffer behind its length. What is written here is shorter than 64 KiB; a longer one is written as nothing, which no
/// reader takes for it.
pub(super) fn put_sized(bytes: &mut Vec<u8>, buffer: &[u8]) {
    let (size, buffer) = match u16::try_from(buffer.len()) {
        Ok(size) => (size, buffer),
        Err(_) => (0, &[][..]),
    };
    bytes.extend(size.to_be_bytes());
    bytes.extend(buffer);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_past_the_end_and_nothing_left() {
        let read = |bytes| Cursor::whole(bytes, |c| Ok((c.u16()?, c.sized(2, "a buffer")?.len())));
        assert_eq!(read(&[1, 2, 0, 2, 9, 9]), Ok((0x102, 2)));
        assert_eq!(read(&[1, 2, 0, 0]), Ok((0x102, 0)));
        assert_eq!(
            read(&[1, 2, 0, 3, 9, 9, 9]).unwrap_err(),
            "a buffer of 3 bytes, and 2 are the most"
        );
        assert_eq!(read(&[1, 2, 0, 2, 9]).unwrap_err(), CUT);
        assert_eq!(read(&[1]).unwrap_err(), CUT);
        assert_eq!(read(&[1, 2, 0, 1, 9, 9]).unwrap_err(), "1 bytes follow it");
    }

    #[test]
    fn digests_both_ways() {
        for kind in [Digest::Sha256, Digest::Sha384, Digest::Sha512] {
            assert_eq!(digest(digest_id(kind)), Some(kind));
        }
        // SHA-1 and SM3 among them.
        assert_eq!((0..=0xffff).filter(|id| digest(*id).is_some()).count(), 3);
    }
}
