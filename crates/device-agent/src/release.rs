//! What runs here: as `/etc/os-release` says it (os-release(5)), or as somebody typed it.

use std::collections::BTreeMap;
use std::path::Path;

use model::report::Report;

/// Where a distribution says what it is.
pub const OS_RELEASE: &str = "/etc/os-release";
/// Bytes of such a file.
pub const FILE_BYTES_MAX: usize = 65_536;
/// Characters of a value that is reported.
const VALUE_CHARS_MAX: usize = 256;

/// What was typed, which counts more than what is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Typed {
    /// Version of the firmware.
    pub version: Option<String>,
    /// Who makes the device.
    pub vendor: Option<String>,
    /// Which of theirs it is.
    pub model: Option<String>,
    /// SHA-256 of the firmware's image.
    pub hash: Option<String>,
}

/// What is reported; `None`: nobody says which version it is.
///
/// The version is that of the image (`IMAGE_VERSION`), which is what an update replaces, else of the build, else of the distribution.
pub fn report(file: &[u8], typed: Typed) -> Option<Report> {
    let said = values(file);
    let one = |name: &str| said.get(name).cloned();
    let words = ["IMAGE_VERSION", "BUILD_ID", "VERSION_ID"];
    let version = typed.version.or_else(|| words.into_iter().find_map(one))?;
    let os = one("PRETTY_NAME").or_else(|| one("NAME"));
    Some(Report { vendor: typed.vendor, model: typed.model, version, os, hash: typed.hash })
}

/// Reads such a file; one that is longer than it may be is none.
pub fn file(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let file = std::fs::File::open(path)?;
    let mut bytes = Vec::new();
    let most = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes)?;
    match bytes.len() > FILE_BYTES_MAX {
        true => Err(std::io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes"))),
        false => Ok(bytes),
    }
}

/// Assignments as a shell reads them, one a line. What is none is passed over, and of two the last counts.
fn values(file: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(file);
    let lines = text.lines().filter_map(|line| line.trim().split_once('='));
    let named = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let all = lines.filter(|(name, _)| named(name));
    let all = all.map(|(name, value)| (name.to_owned(), unquoted(value)));
    all.filter(|(_, value)| !value.is_empty()).collect()
}

/// A value without its quotes; a backslash stands before what would mean something else.
fn unquoted(value: &str) -> String {
    let mut plain = String::new();
    let (mut quote, mut escaped) = (None, false);
    for c in value.chars() {
        match c {
            _ if escaped => {
                escaped = false;
                plain.push(c);
            }
            '\\' if quote != Some('\'') => escaped = true,
            '"' | '\'' if quote.is_none() => quote = Some(c),
            _ if quote == Some(c) => quote = None,
            // A comment, or whatever a shell would make of the rest.
            c if quote.is_none() && c.is_whitespace() => break,
            c => plain.push(c),
        }
    }
    let plain = plain.chars().filter(|c| !c.is_control()).take(VALUE_CHARS_MAX);
    plain.collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(file: &str) -> Option<String> {
        report(file.as_bytes(), Typed::default()).map(|report| report.version)
    }

    #[test]
    fn the_image_is_what_an_update_replaces() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"13\"\n";
        let said = report(debian.as_bytes(), Typed::default()).unwrap();
        assert_eq!(said.version, "13");
        assert_eq!(said.os.as_deref(), Some("Debian GNU/Linux 13 (trixie)"));
        let image = format!("{debian}BUILD_ID=b7\nIMAGE_VERSION='2.4'\n");
        assert_eq!(version(&image).as_deref(), Some("2.4"));
        let typed = Typed { version: Some("9".to_owned()), ..Typed::default() };
        assert_eq!(report(image.as_bytes(), typed).unwrap().version, "9");
        for nothing in ["", "NAME=Debian", "VERSION_ID=", "VERSION_ID=\"\"", "# VERSION_ID=1", "=1"]
        {
            assert_eq!(version(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn values_are_read_as_a_shell_reads_them() {
        for (value, read) in [
            ("2.4", "2.4"),
            ("\"2.4 beta\"", "2.4 beta"),
            ("'2.4 $x'", "2.4 $x"),
            (r#""a\"b\\c\$d""#, "a\"b\\c$d"),
            ("2.4 # a comment", "2.4"),
            ("\"unfinished", "unfinished"),
            ("\"2\u{1b}[1m.4\"", "2[1m.4"),
            ("2.4\r", "2.4"),
        ] {
            assert_eq!(version(&format!("VERSION_ID={value}\n")).as_deref(), Some(read), "{value}");
        }
        assert_eq!(version("VERSION_ID=1\nVERSION_ID=2").as_deref(), Some("2"), "the last counts");
    }

    proptest! {
        #[test]
        fn whatever_is_there_is_read_and_what_is_reported_may_be(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let file = [b"VERSION_ID=", bytes.as_slice()].concat();
            if let Some(report) = report(&file, Typed::default()) {
                for text in [Some(report.version), report.os].into_iter().flatten() {
                    prop_assert!((1..=VALUE_CHARS_MAX).contains(&text.chars().count()));
                    prop_assert!(!text.chars().any(char::is_control));
                }
            }
        }
    }
}
