//! Foreign text made fit for documents and terminals.

use std::borrow::Cow;

use model::limits::FACT_VALUE_BYTES_MAX;

/// Text from bytes: UTF-8, or Latin-1 where it is not; control characters become spaces, ends are
/// trimmed of white space and NUL, the length is bounded. Never an escape sequence, never a
/// newline: the result is safe to print.
pub(crate) fn clean(bytes: &[u8]) -> Cow<'_, str> {
    let cut = bytes.len() > FACT_VALUE_BYTES_MAX;
    let bytes = bytes.get(..FACT_VALUE_BYTES_MAX).unwrap_or(bytes);
    // Nearly all text is printable ASCII, which needs no decoding; without a branch this is a few instructions for many bytes.
    let printable = bytes.iter().fold(true, |all, b| all & (0x20..0x7f).contains(b));
    if printable && let Ok(text) = std::str::from_utf8(bytes.trim_ascii()) {
        return Cow::Borrowed(text);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => clean_str(text),
        // A cut inside a character is not a reason to read the rest as Latin-1.
        Err(e) if cut && e.error_len().is_none() => {
            let valid = bytes.get(..e.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(valid).map_or(Cow::Borrowed(""), clean_str)
        }
        Err(_) => {
            let text: String = bytes.iter().map(|b| char::from(*b)).collect();
            Cow::Owned(clean_str(&text).into_owned())
        }
    }
}

/// As [`clean`], for what is text already.
pub(crate) fn clean_str(text: &str) -> Cow<'_, str> {
    let blank = |c: char| c.is_whitespace() || c.is_control();
    let text = text.trim_matches(blank);
    let end = text.floor_char_boundary(FACT_VALUE_BYTES_MAX);
    let text = text.get(..end).unwrap_or(text);
    if text.chars().any(char::is_control) {
        Cow::Owned(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// The part before the first NUL, cleaned: C strings in fixed fields.
pub(crate) fn c_string(bytes: &[u8]) -> Cow<'_, str> {
    clean(bytes.split(|b| *b == 0).next().unwrap_or_default())
}

/// UTF-16LE, cleaned.
pub(crate) fn utf16_le(bytes: &[u8]) -> String {
    let units = bytes
        .chunks_exact(2)
        .take(FACT_VALUE_BYTES_MAX)
        .map(|pair| u16::from_le_bytes(pair.try_into().unwrap_or_default()))
        .take_while(|unit| *unit != 0);
    let text: String = char::decode_utf16(units).map(|c| c.unwrap_or(' ')).collect();
    clean_str(&text).into_owned()
}

/// As [`utf16_le`], for big-endian.
pub(crate) fn utf16_be(bytes: &[u8]) -> String {
    let swapped: Vec<u8> = bytes
        .chunks_exact(2)
        .take(FACT_VALUE_BYTES_MAX)
        .flat_map(|pair| pair.iter().rev().copied())
        .collect();
    utf16_le(&swapped)
}

/// Lower-case hex without separators, for at most 64 bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let bytes = bytes.get(..64).unwrap_or(bytes);
    let mut text = String::with_capacity(bytes.len() * 2);
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    text.extend(nibbles.filter_map(|nibble| char::from_digit(u32::from(nibble), 16)));
    text
}

/// Base64 without padding, as `ssh-keygen -l` prints fingerprints.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, b| bits << 8 | u32::from(*b));
        let bits = bits << (8 * (3 - chunk.len()));
        for position in 0..=chunk.len() {
            let index = usize::try_from(bits >> (18 - 6 * position) & 0x3f).unwrap_or_default();
            text.push(char::from(ALPHABET.get(index).copied().unwrap_or(b'?')));
        }
    }
    text
}

/// Decodes standard base64 (RFC 4648 §4), at most 1 KiB of it; stops at the first foreign byte.
pub(crate) fn base64_decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in text.iter().take(1024) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        bits = (bits << 6 | u32::from(value)) & 0xff_ffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xff).unwrap_or_default());
        }
    }
    out
}

/// The position of `needle` in `hay`.
pub(crate) fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return None;
    }
    memchr::memmem::find(hay, needle)
}

/// Printable ASCII of a useful length: a guard for fields that should be names.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| (0x20..0x7f).contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_would_obey_survives() {
        assert_eq!(clean(b"\x1b[31mred\r\n\0"), "[31mred");
        assert_eq!(clean(b"a\x1bb"), "a b");
        assert_eq!(clean(b"  a b "), "a b");
        assert_eq!(clean(b"   "), "");
        assert_eq!(clean(b"caf\xe9"), "café");
        assert_eq!(clean("naïve\u{9b}x".as_bytes()), "naïve x");
        assert_eq!(c_string(b"name\0junk"), "name");
        assert_eq!(utf16_le(b"W\0I\0N\0\0\0x\0"), "WIN");
        assert_eq!(utf16_be(b"\0W\0I\0N\0\0\0x"), "WIN");
        assert_eq!(clean(&[b'x'; 2000]).len(), FACT_VALUE_BYTES_MAX);
    }

    proptest::proptest! {
        #[test]
        fn printable_text_is_cleaned_like_any_other(text in "[ -~]{0,40}") {
            proptest::prop_assert_eq!(clean(text.as_bytes()), clean_str(&text));
        }
    }

    #[test]
    fn base64_both_ways() {
        for (bytes, text) in [(&b""[..], ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foob", "Zm9vYg")] {
            assert_eq!(
                (base64(bytes).as_str(), &base64_decoded(text.as_bytes())[..]),
                (text, bytes)
            );
        }
        assert_eq!(base64_decoded(b"TlRMTVNTUAA=!!"), b"NTLMSSP\0");
        assert_eq!(base64_decoded(&[b'A'; 5000]).len(), 768);
    }
}
