//! Foreign text made fit for documents and terminals.

use std::borrow::Cow;

use model::limits::FACT_VALUE_BYTES_MAX;

/// Text from bytes: UTF-8, or Latin-1 where it is not; control characters become spaces, ends are
/// trimmed of white space and NUL, the length is bounded. Never an escape sequence, never a
/// newline: the result is safe to print.
pub fn clean(bytes: &[u8]) -> Cow<'_, str> {
    let cut = bytes.len() > FACT_VALUE_BYTES_MAX;
    let bytes = bytes.get(..FACT_VALUE_BYTES_MAX).unwrap_or(bytes);
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
pub fn clean_str(text: &str) -> Cow<'_, str> {
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
pub fn c_string(bytes: &[u8]) -> Cow<'_, str> {
    clean(bytes.split(|b| *b == 0).next().unwrap_or_default())
}

/// UTF-16LE, cleaned.
pub fn utf16_le(bytes: &[u8]) -> String {
    let units = bytes
        .chunks_exact(2)
        .take(FACT_VALUE_BYTES_MAX)
        .map(|pair| u16::from_le_bytes(pair.try_into().unwrap_or_default()))
        .take_while(|unit| *unit != 0);
    let text: String = char::decode_utf16(units).map(|c| c.unwrap_or(' ')).collect();
    clean_str(&text).into_owned()
}

/// Lower-case hex without separators, for at most 64 bytes.
pub fn hex(bytes: &[u8]) -> String {
    let nibbles = bytes.iter().take(64).flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.filter_map(|nibble| char::from_digit(u32::from(nibble), 16)).collect()
}

/// Printable ASCII of a useful length: a guard for fields that should be names.
pub fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| (0x20..0x7f).contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_would_obey_survives() {
        assert_eq!(clean(b"\x1b[31mred\r\n\0"), "[31mred");
        assert_eq!(clean(b"a\x1bb"), "a b");
        assert_eq!(clean(b"caf\xe9"), "café");
        assert_eq!(clean("naïve\u{9b}x".as_bytes()), "naïve x");
        assert_eq!(c_string(b"name\0junk"), "name");
        assert_eq!(utf16_le(b"W\0I\0N\0\0\0x\0"), "WIN");
        assert_eq!(clean(&[b'x'; 2000]).len(), FACT_VALUE_BYTES_MAX);
    }
}
