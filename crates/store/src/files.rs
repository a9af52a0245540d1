//! The operations on files that a log needs. What is not synced may be lost, torn or reordered when the power goes.

use std::io;
use std::path::Path;

/// A file system.
pub trait Files: Send + Sync {
    /// A file's bytes; `None` when there is none.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;
    /// Makes a file with these bytes, or gives it these. Durable after [`Self::sync`] of it and [`Self::sync_folder`] of its folder.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Returns when the file's bytes are durable.
    fn sync(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name in its folder, in place of what has it: all or nothing. Durable after [`Self::sync_folder`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes a folder and those above it; it may be there. Durable after [`Self::sync_folder`] of those above.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Returns when the names in a folder are durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder and what is in it, if there is one.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
}

impl<F: Files + ?Sized> Files for &F {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        (**self).read(path)
    }
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        (**self).write(path, bytes)
    }
    fn sync(&self, path: &Path) -> io::Result<()> {
        (**self).sync(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        (**self).rename(from, to)
    }
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        (**self).create_folder(path)
    }
    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        (**self).sync_folder(path)
    }
    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        (**self).remove_folder(path)
    }
}

/// Puts bytes in place of a file's, all or nothing, and returns when that is durable.
pub fn replace<F: Files + ?Sized>(files: &F, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    files.write(new, bytes)?;
    files.sync(new)?;
    files.rename(new, path)?;
    match path.parent() {
        Some(folder) => files.sync_folder(folder),
        None => Ok(()),
    }
}
