//! Tiles of a tree: from a store, and in a folder that a web server can serve (C2SP tlog-tiles).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use journal::bundle;
use journal::tile::{Level, TilePath, TileSource, WIDTH};

use crate::{Files, LogError, Store, StoreError};

/// Highest level of tiles that a tree of [`journal::SIZE_MAX`] entries has.
const LEVEL_MAX: u8 = 7;

/// Whatever has the hashes of a tile as far as there are any.
pub(crate) trait Rows {
    fn row(&self, level: u8, index: u64) -> Result<Option<Vec<u8>>, StoreError>;
}

impl<S: Store> Rows for S {
    fn row(&self, level: u8, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.tile(level, index)
    }
}

/// A store's tiles, cut to the width that is asked for.
#[derive(Debug)]
pub struct StoreTiles<'a, S>(&'a S);

impl<'a, S> StoreTiles<'a, S> {
    /// Of a store.
    pub const fn new(store: &'a S) -> Self {
        Self(store)
    }
}

impl<S: Rows> TileSource for StoreTiles<'_, S> {
    type Error = StoreError;

    fn tile(&self, path: &TilePath) -> Result<Option<Vec<u8>>, StoreError> {
        let Level::Hashes(level) = path.level() else { return Ok(None) };
        let mut hashes = self.0.row(level, path.index())?;
        if let Some(hashes) = &mut hashes {
            hashes.truncate(usize::from(path.width()) * 32);
        }
        Ok(hashes)
    }
}

/// A folder with `checkpoint` and `tile/…`.
#[derive(Clone, Debug)]
pub struct TileFolder<F> {
    files: F,
    root: PathBuf,
}

impl<F: Files> TileFolder<F> {
    /// The folder at `root`; it need not be there.
    pub fn new(files: F, root: &Path) -> Self {
        Self { files, root: root.to_owned() }
    }

    /// Where its checkpoint is.
    pub fn checkpoint_path(&self) -> PathBuf {
        self.root.join("checkpoint")
    }

    /// Its checkpoint.
    pub fn checkpoint(&self) -> std::io::Result<Option<Vec<u8>>> {
        self.files.read(&self.checkpoint_path())
    }

    /// A bundle of entries. A partial one that is gone is the beginning of the full one (tlog-tiles, Partial Tiles).
    pub fn entries(&self, path: TilePath) -> std::io::Result<Option<Vec<u8>>> {
        let found = self.files.read(&self.place(&path))?;
        if found.is_some() || path.is_full() {
            return Ok(found);
        }
        let full = self.files.read(&self.place(&path.full()))?;
        Ok(full.map(|full| first(&full, path.width())))
    }

    fn place(&self, path: &TilePath) -> PathBuf {
        self.root.join(path.to_string())
    }

    /// Writes what a tree of `size` entries has and one of `published` has not, and returns when it is durable.
    pub(crate) fn write<S: Store>(
        &self,
        store: &S,
        published: u64,
        size: u64,
    ) -> Result<(), LogError> {
        let mut written = Vec::new();
        for path in files(published, size) {
            let bytes = match path.level() {
                Level::Entries => read_bundle(store, &path)?,
                Level::Hashes(level) => read_tile(store, level, &path)?,
            };
            let place = self.place(&path);
            let folder = place.parent().unwrap_or(&self.root);
            self.files.create_folder(folder).map_err(file(folder))?;
            self.files.write(&place, &bytes).map_err(file(&place))?;
            written.push(place);
        }
        let mut folders = BTreeSet::new();
        for place in &written {
            self.files.sync(place).map_err(file(place))?;
            let above = place.ancestors().skip(1);
            folders.extend(above.take_while(|a| a.starts_with(&self.root)));
        }
        for folder in folders {
            self.files.sync_folder(folder).map_err(file(folder))?;
        }
        Ok(())
    }

    /// Removes partial tiles that a tree of `published` entries had, and which are full in one of `size`.
    pub(crate) fn tidy(&self, published: u64, size: u64) -> Result<(), LogError> {
        for path in files(published, size).filter(TilePath::is_full) {
            let mut partial = self.place(&path).into_os_string();
            partial.push(".p");
            let partial = PathBuf::from(partial);
            self.files.remove_folder(&partial).map_err(file(&partial))?;
        }
        Ok(())
    }
}

impl<F: Files> TileSource for TileFolder<F> {
    type Error = std::io::Error;

    fn tile(&self, path: &TilePath) -> std::io::Result<Option<Vec<u8>>> {
        self.files.read(&self.place(path))
    }
}

/// Files that a tree of `size` entries has and one of `published` has not.
fn files(published: u64, size: u64) -> impl Iterator<Item = TilePath> {
    let width = u64::from(WIDTH);
    let levels = [(Level::Entries, 0)].into_iter();
    let levels = levels.chain((0..=LEVEL_MAX).map(|n| (Level::Hashes(n), u32::from(n) * 8)));
    levels.flat_map(move |(level, shift)| {
        let files = (published >> shift) / width..(size >> shift).div_ceil(width);
        files.filter_map(move |n| {
            let number = n * width;
            let path = TilePath::of(level, number, size)?;
            (TilePath::of(level, number, published) != Some(path)).then_some(path)
        })
    })
}

fn read_bundle<S: Store>(store: &S, path: &TilePath) -> Result<Vec<u8>, LogError> {
    let mut next = path.index() * u64::from(WIDTH);
    let end = next + u64::from(path.width());
    let mut bytes = Vec::new();
    while next < end {
        let entries = store.read(next, end)?;
        if entries.is_empty() {
            return Err(StoreError::Damaged(format!("entry {next} is missing")).into());
        }
        for entry in entries {
            bundle::push(&mut bytes, &entry)?;
            next += 1;
        }
    }
    Ok(bytes)
}

fn read_tile<S: Store>(store: &S, level: u8, path: &TilePath) -> Result<Vec<u8>, LogError> {
    let length = usize::from(path.width()) * 32;
    let hashes = store.tile(level, path.index())?;
    let hashes = hashes.and_then(|h| h.get(..length).map(<[u8]>::to_vec));
    hashes.ok_or_else(|| StoreError::Damaged(format!("{path} is missing")).into())
}

/// The first `width` entries of a bundle; as they are, when it cannot be read.
fn first(full: &[u8], width: u16) -> Vec<u8> {
    let Ok(entries) = bundle::read(full, WIDTH) else { return full.to_vec() };
    let bytes = entries.iter().take(width.into()).map(|entry| 2 + entry.len()).sum();
    full.get(..bytes).unwrap_or(full).to_vec()
}

/// A fault with its file.
pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> LogError + '_ {
    |error| match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            StoreError::Full.into()
        }
        _ => LogError::File { path: path.to_owned(), why: error.to_string() },
    }
}
