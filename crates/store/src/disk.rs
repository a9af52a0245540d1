//! [`Files`] on the machine's file system.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::Files;

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        absent(fs::read(path).map(Some))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        fs::write(path, bytes)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        // The folder above `a` is the one we are in.
        let here = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        File::open(here)?.sync_all()
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        absent(fs::remove_dir_all(path))
    }
}

/// What is not there is no error.
fn absent<T: Default>(result: io::Result<T>) -> io::Result<T> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        other => other,
    }
}
