//! ASN.1 BER as MMS uses it (X.690): definite lengths, bounded.

use crate::{Malformed, Reader};

/// One element: its identifier octets as a number (`0xbf4d` for two) and its contents, cut to
/// what was captured.
pub(super) fn element<'a>(r: &mut Reader<'a>) -> Result<(u32, &'a [u8]), Malformed> {
    let first = r.u8()?;
    let mut tag = u32::from(first);
    if first & 0x1f == 0x1f {
        // High tag numbers; MMS needs one more octet, two are accepted (X.690 §8.1.2.4).
        for _ in 0..2 {
            let next = r.u8()?;
            tag = tag << 8 | u32::from(next);
            if next & 0x80 == 0 {
                break;
            }
        }
    }
    let length = match r.u8()? {
        short @ 0..=0x7f => usize::from(short),
        long @ 0x81..=0x84 => {
            r.take(usize::from(long & 0x7f))?.iter().fold(0usize, |n, b| n << 8 | usize::from(*b))
        }
        _ => return Err(Malformed::Invalid),
    };
    Ok((tag, r.take_up_to(length)))
}

/// The contents of the first element with this tag among siblings, looking at 64 at most.
pub(super) fn find(bytes: &[u8], wanted: u32) -> Option<&[u8]> {
    children(bytes).find(|(tag, _)| *tag == wanted).map(|e| e.1)
}

/// The siblings in `bytes`, 64 at most, up to the first that does not parse.
pub(super) fn children(bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut r = Reader::new(bytes);
    std::iter::from_fn(move || {
        if r.is_empty() {
            return None;
        }
        element(&mut r).ok()
    })
    .take(64)
}

/// A small INTEGER.
pub(super) fn integer(contents: &[u8]) -> Option<u64> {
    (1..=8)
        .contains(&contents.len())
        .then(|| contents.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_tags() {
        let one = |bytes| element(&mut Reader::new(bytes));
        assert_eq!(one(&[0x02, 1, 7]), Ok((2, &[7u8][..])));
        assert_eq!(one(&[0xbf, 0x4d, 0]), Ok((0xbf4d, &[][..])));
        assert_eq!(one(&[0x30, 0x82, 0, 1, 9]), Ok((0x30, &[9u8][..])));
        // Cut by a snap length: what is there.
        assert_eq!(one(&[0x30, 5, 1]), Ok((0x30, &[1u8][..])));
        assert_eq!(one(&[0x30, 0x80]), Err(Malformed::Invalid));
        assert_eq!(one(&[0x30]), Err(Malformed::Truncated));
        assert_eq!(find(&[2, 1, 7, 4, 1, 8], 4), Some(&[8u8][..]));
        assert_eq!(integer(&[1, 0]), Some(256));
        assert_eq!(integer(&[]), None);
    }
}
