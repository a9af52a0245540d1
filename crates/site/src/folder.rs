//! A policy folder on disk: read whole, bounded, named by the hash of its content.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use policy::Fault;
use policy::folder::{self, Folder};
use sha2::{Digest, Sha256};

use crate::journal::hex;

/// Relative path → text.
pub type Files = BTreeMap<String, String>;

/// A folder that was read and has no fault.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Its content.
    pub content: String,
    /// Its files.
    pub files: Files,
    /// What they say.
    pub folder: Folder,
}

/// Why a folder is refused. What is enforced stays.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is too large to be a policy folder.
    #[error("{} is no policy folder: {why}", path.display())]
    TooLarge {
        /// Where.
        path: PathBuf,
        /// What is too large.
        why: String,
    },
    /// It has faults; the files are there to show the lines.
    #[error("the policy folder has {} fault(s); the first: {}", faults.len(), faults.first().map_or(String::new(), ToString::to_string))]
    Faults {
        /// All of them.
        faults: Vec<Fault>,
        /// What was read.
        files: Files,
    },
    /// It cannot be compiled.
    #[error("the policy folder cannot be compiled: {0}")]
    Compile(String),
}

/// Files of one folder.
const FILES_MAX: usize = 10_000;
/// Bytes of one folder.
const BYTES_MAX: u64 = 256 << 20;
/// Folders within folders.
const DEPTH_MAX: usize = 4;

/// Reads `path` and checks everything that can be checked: syntax, types, references, tests, claims.
pub fn load(path: &Path) -> Result<Accepted, FolderError> {
    accept(read(path)?)
}

/// Checks files that were read.
pub fn accept(files: Files) -> Result<Accepted, FolderError> {
    let folder = match folder::parse(&files) {
        Ok(folder) => folder,
        Err(faults) => return Err(FolderError::Faults { faults, files }),
    };
    let broken = policy::check::run(&folder, &policy::lower::lower(&folder));
    if !broken.is_empty() {
        return Err(FolderError::Faults { faults: broken, files });
    }
    Ok(Accepted { content: name(&files), files, folder })
}

/// Checks files that came over a line: no more of them than a folder may have.
pub fn accept_bounded(files: Files) -> Result<Accepted, FolderError> {
    let bytes = files.iter().map(|(path, text)| path.len().saturating_add(text.len()));
    let bytes = u64::try_from(bytes.fold(0, usize::saturating_add)).unwrap_or(u64::MAX);
    let too_large = |why| FolderError::TooLarge { path: PathBuf::from("what was offered"), why };
    if files.len() > FILES_MAX {
        return Err(too_large(format!("it holds more than {FILES_MAX} files")));
    }
    if bytes > BYTES_MAX {
        return Err(too_large(format!("it holds more than {BYTES_MAX} bytes")));
    }
    accept(files)
}

/// The files of a folder that policy reads.
pub fn read(path: &Path) -> Result<Files, FolderError> {
    let mut files = Files::new();
    let mut bytes = 0;
    walk(path, "", 0, &mut files, &mut bytes)?;
    Ok(files)
}

fn walk(
    path: &Path,
    prefix: &str,
    depth: usize,
    files: &mut Files,
    bytes: &mut u64,
) -> Result<(), FolderError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| FolderError::Io { path, source }
    };
    for entry in fs::read_dir(path).map_err(io(path))? {
        let entry = entry.map_err(io(path))?;
        let at = entry.path();
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else {
            continue;
        };
        let relative = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        let metadata = fs::metadata(&at).map_err(io(&at))?;
        if metadata.is_dir() {
            if depth < DEPTH_MAX {
                walk(&at, &relative, depth.saturating_add(1), files, bytes)?;
            }
            continue;
        }
        let extension = at.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let read = matches!(extension, "toml" | "cedar" | "cedarschema" | "json");
        if !metadata.is_file() || !read {
            continue;
        }
        *bytes = bytes.saturating_add(metadata.len());
        let too_large = |why: String| FolderError::TooLarge { path: path.to_owned(), why };
        if *bytes > BYTES_MAX {
            return Err(too_large(format!("it holds more than {BYTES_MAX} bytes")));
        }
        if files.len() >= FILES_MAX {
            return Err(too_large(format!("it holds more than {FILES_MAX} files")));
        }
        let text = fs::read_to_string(&at).map_err(io(&at))?;
        files.insert(relative, text);
    }
    Ok(())
}

/// SHA-256 over names and texts, each with its length in front.
pub fn name(files: &Files) -> String {
    let mut hash = Sha256::new();
    for (path, text) in files {
        for part in [path, text] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_named_by_all_of_it() {
        let files = |pairs: &[(&str, &str)]| -> Files {
            pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
        };
        let one = name(&files(&[("a", "bc"), ("d", "e")]));
        assert_eq!(one.len(), 64);
        assert_ne!(one, name(&files(&[("ab", "c"), ("d", "e")])));
        assert_ne!(one, name(&files(&[("a", "bc")])));
        assert_eq!(one, name(&files(&[("d", "e"), ("a", "bc")])));
    }

    #[test]
    fn what_came_over_a_line_is_bounded() {
        let files =
            |n: usize| -> Files { (0..n).map(|n| (n.to_string(), String::new())).collect() };
        let told = |n| accept_bounded(files(n)).unwrap_err().to_string();
        assert!(told(FILES_MAX + 1).contains("more than 10000 files"));
        assert!(matches!(accept_bounded(files(FILES_MAX)), Err(FolderError::Faults { .. })));
    }

    #[test]
    fn a_folder_with_any_fault_is_refused_whole() {
        let here = std::env::temp_dir().join(format!("rf-folder-{}", std::process::id()));
        let _ = fs::remove_dir_all(&here);
        assert!(matches!(load(&here), Err(FolderError::Io { .. })));
        fs::create_dir_all(&here).unwrap();
        let Err(FolderError::Faults { faults, .. }) = load(&here) else {
            panic!("an empty folder is no policy");
        };
        assert!(faults.iter().any(|fault| fault.file == "estate.toml"), "{faults:?}");
        fs::write(here.join("estate.toml"), [0xff, 0xfe]).unwrap();
        assert!(matches!(load(&here), Err(FolderError::Io { .. })));
        fs::remove_dir_all(here).unwrap();
    }
}
