//! Ids that sort by the time they were made.

use model::Timestamp;

/// Crockford's alphabet in lower case: no letter that reads like a digit.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// 48 bits of milliseconds, then 80 random bits, behind a word: `dev-01kc…`.
pub(crate) fn make(word: &str, now: Timestamp, random: [u8; 10]) -> String {
    let millis = now.as_nanos().div_euclid(1_000_000).max(0);
    let mut bits = u128::try_from(millis).unwrap_or(0) & 0xffff_ffff_ffff;
    for byte in random {
        bits = (bits << 8) | u128::from(byte);
    }
    let digit = |n: u32| {
        let at = usize::try_from((bits >> (n * 5)) & 31).unwrap_or(0);
        ALPHABET.get(at).copied().map_or('0', char::from)
    };
    let digits: String = (0..26).rev().map(digit).collect();
    format!("{word}-{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_ids_sort_later_and_no_two_are_alike() {
        let at = |s| Timestamp::from_secs(s, 0);
        let a = make("dev", at(1_700_000_000), [0xff; 10]);
        let b = make("dev", at(1_700_000_001), [0; 10]);
        assert!(a < b, "{a} {b}");
        assert_eq!(a.len(), "dev-".len() + 26);
        assert_ne!(make("dev", at(1), [1; 10]), make("dev", at(1), [2; 10]));
    }
}
