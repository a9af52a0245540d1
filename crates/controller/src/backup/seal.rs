//! The end of a backup: a skippable zstd frame (RFC 8878 §3.1.2) with the SHA-256 of every byte before it.
//!
//! It shows what was cut off and what was changed by accident. Whoever changes it on purpose can make another seal: what is in it proves itself by
//! the journal's signed head and its witnesses, and the file by whatever it was encrypted with.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, Write};
use std::path::Path;

use crypto::Sha256;

use super::Progress;
use super::error::{BackupError, io_error};

/// A skippable frame of 40 bytes, ours.
const HEAD: [u8; 16] = *b"\x50\x2a\x4d\x18\x28\0\0\0rfbackup";
/// Bytes of a seal.
const SEAL_BYTES: u64 = 48;
/// What a zstd frame begins with.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Bytes that are read at a time.
const PIECE: usize = 1 << 20;

/// Writes through, and knows the digest of what went by.
pub(super) struct Sealing<W> {
    to: W,
    digest: Sha256,
}

impl<W: Write> Sealing<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, digest: Sha256::new() }
    }

    /// Writes the seal.
    pub(super) fn finish(self) -> io::Result<()> {
        let Self { mut to, digest } = self;
        to.write_all(&HEAD)?;
        to.write_all(&digest.finish())?;
        to.flush()
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.digest.update(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A backup whose seal is whole, at its beginning.
pub(super) struct Sealed {
    file: File,
    /// Bytes before the seal.
    content: u64,
}

impl Sealed {
    pub(super) const fn size_bytes(&self) -> u64 {
        self.content.saturating_add(SEAL_BYTES)
    }

    /// What is before the seal.
    pub(super) fn content(self) -> impl io::BufRead {
        BufReader::with_capacity(PIECE, self.file).take(self.content)
    }
}

/// Opens a backup and reads all of it once.
pub(super) fn open(path: &Path, progress: Progress<'_>) -> Result<Sealed, BackupError> {
    let failed = io_error("read", path);
    let no_backup = || BackupError::NoBackup(path.to_owned());
    let mut file = File::open(path).map_err(&failed)?;
    let about = file.metadata().map_err(&failed)?;
    if !about.is_file() {
        return Err(no_backup());
    }
    let content = about.len().checked_sub(SEAL_BYTES).ok_or_else(no_backup)?;
    let (mut digest, mut done) = (Sha256::new(), 0_u64);
    let mut piece = vec![0; PIECE];
    let mut reader = (&file).take(content);
    loop {
        progress("reading", done, content);
        let read = reader.read(&mut piece).map_err(&failed)?;
        let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        if done == 0 && !bytes.starts_with(&ZSTD) {
            return Err(no_backup());
        }
        digest.update(bytes);
        done = done.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
    let mut seal = Vec::new();
    (&file).take(SEAL_BYTES).read_to_end(&mut seal).map_err(&failed)?;
    match seal.strip_prefix(&HEAD) {
        Some(said) if done == content && said == digest.finish() => {}
        Some(_) => {
            let why = "its bytes are not those that were sealed".to_owned();
            return Err(BackupError::Damaged { path: path.to_owned(), why });
        }
        None => return Err(no_backup()),
    }
    file.rewind().map_err(&failed)?;
    Ok(Sealed { file, content })
}
