//! Files that a person names: policy folders, documents, the present; and faults with the line they are about.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use miette::{Diagnostic, LabeledSpan, NamedSource, Report, Result, Severity, SourceCode};
use model::Timestamp;
use policy::Fault;
use policy::folder::{ESTATE_FILE, Folder};
use serde::de::DeserializeOwned;
use site::folder::{Files, FolderError};

/// Largest single file that is read, in bytes: a document of a million devices stays below it.
const SIZE_BYTES_MAX: u64 = 1 << 30;
/// Faults that are printed; more are counted.
const FAULTS_SHOWN: usize = 20;
/// Longest line that is shown with a fault, in bytes: some files are one line.
const LINE_BYTES_MAX: usize = 400;

#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum Unreadable {
    #[error("{} cannot be read: {why}", path.display())]
    #[diagnostic(code(ringfence::file::unreadable))]
    File { path: PathBuf, why: String },
    #[error("{} cannot be written: {why}", path.display())]
    #[diagnostic(code(ringfence::file::unwritable))]
    Place { path: PathBuf, why: String },
    #[error("{} is not a document of {schema}: {why}", path.display())]
    #[diagnostic(code(ringfence::file::document))]
    Document { path: PathBuf, schema: &'static str, why: String },
    #[error("{} cannot be read: {why}", path.display())]
    #[diagnostic(
        code(ringfence::policy::unreadable),
        help("name a folder that `ringfence inspect --policy DIR` wrote")
    )]
    Folder { path: PathBuf, why: String },
    #[error("{} is no policy folder: it has no estate.toml", .0.display())]
    #[diagnostic(
        code(ringfence::policy::no_folder),
        help("name a folder that `ringfence inspect --policy DIR` wrote")
    )]
    NoFolder(PathBuf),
    #[error("{} is too large for a policy folder: {why}", path.display())]
    #[diagnostic(
        code(ringfence::policy::too_large),
        help("keep captures, documents and other estates beside the folder, not in it")
    )]
    TooLarge { path: PathBuf, why: String },
    #[error("{} cannot be compiled: {why}", path.display())]
    #[diagnostic(code(ringfence::policy::not_compiled), help("what is enforced stays"))]
    NotCompiled { path: PathBuf, why: String },
    #[error("the policy folder has {0} fault(s) and is refused whole; what is enforced stays")]
    #[diagnostic(code(ringfence::policy::faults), help("the messages above name file and line"))]
    Faults(usize),
}

/// A folder as read from disk.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) files: Files,
    pub(crate) folder: Folder,
}

/// Reads and parses a policy folder; faults are printed.
pub(crate) fn read(path: &Path) -> Result<Read> {
    let files = files(path)?;
    let folder = policy::folder::parse(&files).map_err(|faults| refused(path, &files, &faults))?;
    Ok(Read { files, folder })
}

/// The texts of a policy folder: relative path → text.
pub(crate) fn files(path: &Path) -> Result<Files> {
    let wrong = |why: String| Unreadable::Folder { path: path.to_owned(), why };
    let is_dir = fs::metadata(path).map_err(|error| wrong(error.to_string()))?.is_dir();
    if !is_dir {
        return Err(wrong("it is a file; a folder is wanted".to_owned()).into());
    }
    // What is no policy folder is not walked: it may be all of a disk.
    let estate = fs::metadata(path.join(ESTATE_FILE));
    if estate.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Err(Unreadable::NoFolder(path.to_owned()).into());
    }
    site::folder::read(path).map_err(|error| unusable(path, error))
}

/// Why a folder cannot be used; faults are printed.
pub(crate) fn unusable(path: &Path, error: FolderError) -> Report {
    let folder = path.to_owned();
    match error {
        FolderError::Faults { files, .. } if !files.contains_key(ESTATE_FILE) => {
            Unreadable::NoFolder(folder).into()
        }
        FolderError::Faults { faults, files } => refused(path, &files, &faults),
        FolderError::Io { path, source } if source.kind() == ErrorKind::InvalidData => {
            Unreadable::File { path, why: "it is not text in UTF-8".to_owned() }.into()
        }
        FolderError::Io { path, source } if path == folder => {
            Unreadable::Folder { path, why: source.to_string() }.into()
        }
        FolderError::Io { path, source } => {
            Unreadable::File { path, why: source.to_string() }.into()
        }
        FolderError::TooLarge { path, why } => Unreadable::TooLarge { path, why }.into(),
        FolderError::Compile(why) => Unreadable::NotCompiled { path: folder, why }.into(),
    }
}

/// Prints the faults of a policy folder with the lines they are about, and says how many there are.
pub(crate) fn refused(path: &Path, files: &Files, faults: &[Fault]) -> Report {
    show(path, files, faults, Severity::Error);
    Unreadable::Faults(faults.len()).into()
}

/// Prints faults (or remarks) to standard error, the line underlined.
pub(crate) fn show(path: &Path, files: &Files, faults: &[Fault], severity: Severity) {
    for fault in faults.iter().take(FAULTS_SHOWN) {
        eprintln!("{:?}", Report::new(Located::new(path, files, fault, severity)));
    }
    if faults.len() > FAULTS_SHOWN {
        eprintln!("… and {} more", faults.len() - FAULTS_SHOWN);
    }
}

/// A file can be written there: said before what is written costs somebody a minute.
pub(crate) fn is_place_for(path: &Path) -> Result<(), Unreadable> {
    let wrong = |why: String| Unreadable::Place { path: path.to_owned(), why };
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match folder {
        _ if path.is_dir() => Err(wrong("it is a folder".to_owned())),
        Some(folder) if !folder.is_dir() => {
            Err(wrong(format!("there is no folder {}", folder.display())))
        }
        _ => Ok(()),
    }
}

/// A file's bytes, bounded.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, Unreadable> {
    let wrong = |why: String| Unreadable::File { path: path.to_owned(), why };
    let file = fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(SIZE_BYTES_MAX.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(error.to_string()))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > SIZE_BYTES_MAX {
        return Err(wrong("it is larger than 1 GiB".to_owned()));
    }
    Ok(bytes)
}

/// A file's text, bounded.
pub(crate) fn text(path: &Path) -> Result<String, Unreadable> {
    String::from_utf8(bytes(path)?).map_err(|_| Unreadable::File {
        path: path.to_owned(),
        why: "it is not text in UTF-8".to_owned(),
    })
}

/// A JSON document that names its schema.
pub(crate) fn document<T: DeserializeOwned>(
    path: &Path,
    schema: &'static str,
) -> Result<T, Unreadable> {
    let bytes = bytes(path)?;
    let wrong = |why: String| Unreadable::Document { path: path.to_owned(), schema, why };
    let named: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    match named.get("schema").and_then(serde_json::Value::as_str) {
        Some(found) if found == schema => {}
        Some(found) => return Err(wrong(format!("it says `{}`", found.escape_debug()))),
        None => return Err(wrong("it names no schema".to_owned())),
    }
    serde_json::from_value(named).map_err(|error| wrong(error.to_string()))
}

/// The present.
#[expect(clippy::disallowed_methods, reason = "the edge of the process reads the clock")]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let secs = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_secs(secs, i64::from(since.subsec_nanos()))
}

/// A fault with the text it is in.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
struct Located {
    what: String,
    why: String,
    help: String,
    source_text: Option<NamedSource<String>>,
    /// Offset and length, in bytes.
    span: (usize, usize),
    severity: Severity,
}

impl Located {
    fn new(path: &Path, files: &Files, fault: &Fault, severity: Severity) -> Self {
        let pack = policy::packs::text(&fault.file);
        let name = match pack {
            Some(_) => fault.file.clone(),
            None => path.join(&fault.file).display().to_string(),
        };
        let text = files.get(&fault.file).map(String::as_str).or(pack);
        let found = text.and_then(|text| Some((text, span(text, fault)?)));
        let what = match (found, fault.line) {
            (Some(_), _) => fault.what.clone(),
            (None, 0) => format!("{name}: {}", fault.what),
            (None, line) => format!("{name}:{line}:{}: {}", fault.column, fault.what),
        };
        Self {
            what,
            why: fault.why.clone(),
            help: fault.help.clone(),
            source_text: found.map(|(text, _)| NamedSource::new(name, plain(text))),
            span: found.map_or((0, 0), |(_, span)| span),
            severity,
        }
    }
}

/// What a fault is about; none where the text has no such line, or one that nobody can read.
fn span(text: &str, fault: &Fault) -> Option<(usize, usize)> {
    let line = usize::try_from(fault.line.checked_sub(1)?).ok()?;
    let around = text.lines().skip(line.saturating_sub(1)).take(3);
    if around.into_iter().any(|line| line.len() > LINE_BYTES_MAX) {
        return None;
    }
    let here = text.lines().nth(line)?;
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let skip = usize::try_from(fault.column.saturating_sub(1)).unwrap_or(0);
    let before: usize = here.chars().take(skip).map(char::len_utf8).sum();
    let rest = here.get(before..).unwrap_or("").trim_end();
    Some((start.saturating_add(before), rest.len()))
}

/// Text that no terminal obeys; every byte keeps its place.
fn plain(text: &str) -> String {
    let plain = |c: char| match c {
        '\n' | '\t' | '\r' => c,
        c if c.is_control() && c.is_ascii() => '?',
        c if c.is_control() => '¿',
        c => c,
    };
    text.chars().map(plain).collect()
}

impl Diagnostic for Located {
    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        (!self.help.is_empty()).then(|| Box::new(&self.help) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source_text.as_ref().map(|text| text as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.source_text.as_ref()?;
        let label = LabeledSpan::new_with_span(Some("here".to_owned()), self.span);
        Some(Box::new(std::iter::once(label)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(file: &str, text: &str, line: u32, column: u32) -> Located {
        let fault = Fault {
            file: file.to_owned(),
            line,
            column,
            what: "what".to_owned(),
            why: "why".to_owned(),
            help: String::new(),
        };
        let files = Files::from([("a.toml".to_owned(), text.to_owned())]);
        Located::new(Path::new("dir"), &files, &fault, Severity::Error)
    }

    #[test]
    fn a_fault_underlines_its_line() {
        let at = |text: &str, line, column| {
            let located = located("a.toml", text, line, column);
            let (start, len) = located.span;
            let text = located.source_text.map(|text| text.inner().clone());
            text.map(|text| text.get(start..start + len).unwrap().to_owned())
        };
        assert_eq!(at("one\ntwo = ü x \nthree", 2, 7).as_deref(), Some("ü x"));
        assert_eq!(at("one\r\ntwo\r\n", 2, 1).as_deref(), Some("two"));
        assert_eq!(at("one", 1, 9).as_deref(), Some(""));
        assert_eq!(at("one\n", 0, 0), None);
        assert_eq!(at("one\n", 7, 1), None);
        assert_eq!(at(&format!("one\n{}\n", "x".repeat(401)), 1, 1), None);
        assert_eq!(at("\u{1b}[31m\u{9b}x", 1, 1).as_deref(), Some("?[31m¿x"));
    }

    #[test]
    fn a_fault_without_a_line_names_its_file() {
        assert_eq!(located("a.toml", "x", 0, 0).to_string(), "dir/a.toml: what: why");
        assert_eq!(located("gone.toml", "x", 3, 4).to_string(), "dir/gone.toml:3:4: what: why");
        let pack = located("pack:base/identity.cedar", "x", 1, 1);
        assert!(pack.source_text.is_some_and(|text| text.name() == "pack:base/identity.cedar"));
    }
}
