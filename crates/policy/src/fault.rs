//! What is wrong with a policy folder, and where.

/// One fault: a folder with any fault is refused whole.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    thiserror::Error,
    serde::Serialize,
    serde::Deserialize,
)]
#[error("{file}:{line}:{column}: {what}: {why}{}", if help.is_empty() { String::new() } else { format!(" ({help})") })]
pub struct Fault {
    /// Path inside the folder.
    pub file: String,
    /// Line from 1; 0 where the fault concerns the whole file.
    pub line: u32,
    /// Column from 1, in characters; 0 where unknown.
    pub column: u32,
    /// What is wrong.
    pub what: String,
    /// Why it is.
    pub why: String,
    /// What to do; may be empty.
    pub help: String,
}

impl Fault {
    /// A fault at a byte offset of `text`.
    pub(crate) fn at(file: &str, text: &str, offset: usize, what: &str, why: String) -> Self {
        let (line, column) = position(text, offset);
        Self { line, column, ..Self::of_file(file, what, why) }
    }

    /// A fault at a known line.
    pub(crate) fn on_line(file: &str, line: u32, what: &str, why: String) -> Self {
        Self { line, column: u32::from(line > 0), ..Self::of_file(file, what, why) }
    }

    /// A fault of a whole file.
    pub(crate) fn of_file(file: &str, what: &str, why: String) -> Self {
        let (file, what) = (file.to_owned(), what.to_owned());
        Self { file, line: 0, column: 0, what, why, help: String::new() }
    }

    /// Adds what to do.
    #[must_use]
    pub(crate) fn help(mut self, help: &str) -> Self {
        help.clone_into(&mut self.help);
        self
    }
}

/// Line and column (from 1, in characters) of a byte offset.
pub(crate) fn position(text: &str, offset: usize) -> (u32, u32) {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line = before.bytes().filter(|b| *b == b'\n').count().saturating_add(1);
    let column = before.rsplit('\n').next().unwrap_or("").chars().count().saturating_add(1);
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (small(line), small(column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        assert_eq!(position("a\nüx", 4), (2, 2));
        assert_eq!(position("", 99), (1, 1));
    }

    #[test]
    fn reads_as_one_line() {
        let fault = Fault::at("a.toml", "x\ny = 1", 2, "unknown key `y`", "not a key".into());
        assert_eq!(fault.to_string(), "a.toml:2:1: unknown key `y`: not a key");
        let fault = fault.help("remove it");
        assert_eq!(fault.to_string(), "a.toml:2:1: unknown key `y`: not a key (remove it)");
    }
}
