//! Policy folders and documents on disk, and faults with the line they are about.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, LabeledSpan, NamedSource, Result, Severity, SourceCode};
use model::Timestamp;
use model::inspect::Report;
use policy::Fault;
use policy::folder::{Folder, parse};
use policy::plan::{ENFORCED_SCHEMA, Enforced};
use serde::de::DeserializeOwned;

/// Largest file that is read, in bytes: an estate of a million devices stays below it.
const SIZE_BYTES_MAX: u64 = 1 << 30;
/// Files of one folder.
const FILES_MAX: usize = 10_000;
/// Levels of folders.
const DEPTH_MAX: usize = 8;
/// Faults that are printed; more are counted.
const FAULTS_SHOWN: usize = 20;
/// The state document in a state folder.
pub(crate) const ENFORCED_FILE: &str = "enforced.json";

#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum Unreadable {
    #[error("{} cannot be read: {why}", path.display())]
    #[diagnostic(code(ringfence::policy::unreadable))]
    File { path: PathBuf, why: String },
    #[error("{} is no policy folder: it has no estate.toml", .0.display())]
    #[diagnostic(
        code(ringfence::policy::no_folder),
        help("name a folder that `ringfence inspect --policy DIR` wrote")
    )]
    NoFolder(PathBuf),
    #[error("{} holds more than {FILES_MAX} files", .0.display())]
    #[diagnostic(code(ringfence::policy::too_many))]
    TooMany(PathBuf),
    #[error("{} is not a document of {schema}: {why}", path.display())]
    #[diagnostic(code(ringfence::policy::document))]
    Document { path: PathBuf, schema: &'static str, why: String },
    #[error("the policy folder has {0} fault(s) and is refused whole; what is enforced stays")]
    #[diagnostic(code(ringfence::policy::faults), help("the messages above name file and line"))]
    Faults(usize),
}

/// A folder as read from disk.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) files: BTreeMap<String, String>,
    pub(crate) folder: Folder,
}

/// Reads and parses a folder; faults are printed.
pub(crate) fn read(path: &Path) -> Result<Read> {
    let files = files(path)?;
    let folder = parse(&files).map_err(|faults| refused(path, &files, &faults))?;
    Ok(Read { files, folder })
}

/// The texts of a folder that policies are made of: relative path → text.
pub(crate) fn files(path: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    collect(path, "", 0, &mut files)?;
    if !files.contains_key(policy::folder::ESTATE_FILE) {
        return Err(Unreadable::NoFolder(path.to_owned()).into());
    }
    Ok(files)
}

fn collect(
    path: &Path,
    inside: &str,
    depth: usize,
    files: &mut BTreeMap<String, String>,
) -> Result<()> {
    let entries = fs::read_dir(path)
        .map_err(|error| Unreadable::File { path: path.to_owned(), why: error.to_string() })?;
    for entry in entries {
        let entry = entry
            .map_err(|error| Unreadable::File { path: path.to_owned(), why: error.to_string() })?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // `.git` and editors' files are no policy.
        if name.starts_with('.') {
            continue;
        }
        let inside = if inside.is_empty() { name.clone() } else { format!("{inside}/{name}") };
        let path = entry.path();
        if path.is_dir() {
            if depth < DEPTH_MAX {
                collect(&path, &inside, depth.saturating_add(1), files)?;
            }
            continue;
        }
        let is_policy = ["cedar", "cedarschema", "toml", "json"]
            .iter()
            .any(|ext| path.extension().is_some_and(|found| found == *ext));
        if is_policy {
            files.insert(inside, text(&path)?);
            if files.len() > FILES_MAX {
                return Err(Unreadable::TooMany(path).into());
            }
        }
    }
    Ok(())
}

/// One text file, bounded.
pub(crate) fn text(path: &Path) -> Result<String> {
    let wrong = |why: String| Unreadable::File { path: path.to_owned(), why };
    let file = fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    let mut text = String::new();
    file.take(SIZE_BYTES_MAX.saturating_add(1))
        .read_to_string(&mut text)
        .map_err(|error| wrong(error.to_string()))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > SIZE_BYTES_MAX {
        return Err(wrong("it is larger than 1 GiB".to_owned()).into());
    }
    Ok(text)
}

/// A JSON document.
pub(crate) fn document<T: DeserializeOwned>(path: &Path, schema: &'static str) -> Result<T> {
    let text = text(path)?;
    let wrong = |why: String| Unreadable::Document { path: path.to_owned(), schema, why };
    let named: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    match named.get("schema").and_then(serde_json::Value::as_str) {
        Some(found) if found == schema => {}
        Some(found) => return Err(wrong(format!("it says `{found}`")).into()),
        None => return Err(wrong("it names no schema".to_owned()).into()),
    }
    Ok(serde_json::from_value(named).map_err(|error| wrong(error.to_string()))?)
}

/// What is enforced: a document, or a folder that holds one. A folder without one enforces nothing yet.
pub(crate) fn enforced(path: Option<&Path>) -> Result<Option<Enforced>> {
    let Some(path) = path else {
        return Ok(None);
    };
    let file = if path.is_dir() { path.join(ENFORCED_FILE) } else { path.to_owned() };
    if path.is_dir() && !file.exists() {
        return Ok(None);
    }
    document(&file, ENFORCED_SCHEMA).map(Some)
}

/// Recorded flows, by document.
pub(crate) fn flows(paths: &[PathBuf]) -> Result<Vec<(String, Report)>> {
    let read = |path: &PathBuf| {
        let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        Ok((name, document(path, model::inspect::SCHEMA)?))
    };
    paths.iter().map(read).collect()
}

/// Prints faults with the lines they are about, and says how many there are.
pub(crate) fn refused(
    path: &Path,
    files: &BTreeMap<String, String>,
    faults: &[Fault],
) -> miette::Report {
    show(path, files, faults, Severity::Error);
    Unreadable::Faults(faults.len()).into()
}

/// Prints faults (or remarks) to standard error, the line underlined.
pub(crate) fn show(
    path: &Path,
    files: &BTreeMap<String, String>,
    faults: &[Fault],
    severity: Severity,
) {
    for fault in faults.iter().take(FAULTS_SHOWN) {
        let text = files.get(&fault.file).cloned().unwrap_or_default();
        let name = path.join(&fault.file).display().to_string();
        let located =
            Located { fault: fault.clone(), text: NamedSource::new(name, text), severity };
        eprintln!("{:?}", miette::Report::new(located));
    }
    if faults.len() > FAULTS_SHOWN {
        eprintln!("… and {} more", faults.len() - FAULTS_SHOWN);
    }
}

/// A fault with the text it is in.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", fault.what, fault.why)]
struct Located {
    fault: Fault,
    text: NamedSource<String>,
    severity: Severity,
}

impl Diagnostic for Located {
    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        (!self.fault.help.is_empty())
            .then(|| Box::new(&self.fault.help) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        (self.fault.line > 0).then_some(&self.text as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let text = self.text.inner();
        let line = usize::try_from(self.fault.line.checked_sub(1)?).ok()?;
        let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
        let here = text.get(start..)?.lines().next().unwrap_or("");
        let skip = usize::try_from(self.fault.column.saturating_sub(1)).unwrap_or(0);
        let before: usize = here.chars().take(skip).map(char::len_utf8).sum();
        let rest = here.get(before..).unwrap_or("").trim_end();
        let label = LabeledSpan::new_with_span(
            Some("here".to_owned()),
            (start.saturating_add(before), rest.len()),
        );
        Some(Box::new(std::iter::once(label)))
    }
}

/// The present.
#[expect(clippy::disallowed_methods, reason = "the edge of the process: time for plans")]
pub(crate) fn now() -> Timestamp {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_secs(i64::try_from(since.as_secs()).unwrap_or(i64::MAX), 0)
}
