//! The archive: a manifest and the files that it names, in tar and zstd. What is read has to be exactly that, in that order.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crypto::Sha256;
use tar::{Archive, Builder, Entry, EntryType, Header};

use super::Progress;
use super::error::{BackupError, io_error};
use super::manifest::{self, Kept, Manifest};
use super::seal::{Sealed, Sealing};
use crate::blobs::hex;

/// How hard to press: quick, and most of what there is to gain.
const LEVEL: i32 = 3;

/// Writes a backup of files in a folder.
pub(super) fn write(
    to: &File,
    path: &Path,
    manifest: &Manifest,
    folder: &Path,
    progress: Progress<'_>,
) -> Result<(), BackupError> {
    let failed = io_error("write", path);
    let sealing = Sealing::new(BufWriter::new(to));
    let pressing = zstd::Encoder::new(sealing, LEVEL).map_err(&failed)?;
    let mut tar = Builder::new(pressing);
    let seconds = u64::try_from(manifest.made_at.as_nanos() / 1_000_000_000).unwrap_or(0);
    let head = |path: &str, size: u64, mode: u32| -> io::Result<Header> {
        let mut head = Header::new_ustar();
        head.set_path(path)?;
        head.set_size(size);
        head.set_mode(mode);
        head.set_mtime(seconds);
        head.set_entry_type(EntryType::Regular);
        head.set_cksum();
        Ok(head)
    };
    let text = serde_json::to_vec_pretty(manifest).map_err(|e| failed(e.into()))?;
    let size = u64::try_from(text.len()).unwrap_or(u64::MAX);
    head(manifest::NAME, size, 0o600)
        .and_then(|head| tar.append(&head, text.as_slice()))
        .map_err(&failed)?;
    let (mut done, of) = (0_u64, manifest.size_bytes());
    for Kept { path: name, size_bytes, public, .. } in &manifest.files {
        progress("writing", done, of);
        let at = folder.join(name);
        let file = File::open(&at).map_err(io_error("read", &at))?;
        let mode = if *public { 0o644 } else { 0o600 };
        head(name, *size_bytes, mode).and_then(|head| tar.append(&head, file)).map_err(&failed)?;
        done = done.saturating_add(*size_bytes);
    }
    let pressing = tar.into_inner().map_err(&failed)?;
    pressing.finish().and_then(Sealing::finish).map_err(&failed)
}

/// Reads a backup into an empty folder. Returns its manifest when every file of it is there, and as it says.
pub(super) fn read(
    sealed: Sealed,
    path: &Path,
    to: &Path,
    progress: Progress<'_>,
) -> Result<Manifest, BackupError> {
    let wrong = |why: String| BackupError::Damaged { path: path.to_owned(), why };
    let unreadable = |e: io::Error| wrong(format!("it cannot be unpacked: {e}"));
    let unpacking = zstd::Decoder::with_buffer(sealed.content()).map_err(unreadable)?;
    let mut archive = Archive::new(unpacking);
    // Raw: a name or a size in an extension would have no bound.
    let mut entries = archive.entries().map_err(unreadable)?.raw(true);
    let mut next = |name: &str| match entries.next() {
        Some(entry) => {
            let entry = entry.map_err(unreadable)?;
            let found = entry.header().path_bytes();
            if found.as_ref() != name.as_bytes()
                || entry.header().entry_type() != EntryType::Regular
            {
                let found =
                    String::from_utf8_lossy(&found).escape_debug().take(200).collect::<String>();
                return Err(wrong(format!("`{found}` stands where the file `{name}` should")));
            }
            Ok(entry)
        }
        None => Err(wrong(format!("`{name}` is missing"))),
    };

    let mut text = Vec::new();
    let entry = next(manifest::NAME)?;
    if entry.header().size().map_err(unreadable)? > manifest::BYTES_MAX {
        return Err(wrong("its manifest is too long".to_owned()));
    }
    entry.take(manifest::BYTES_MAX).read_to_end(&mut text).map_err(unreadable)?;
    let manifest = manifest::read(&text, path)?;
    let (mut done, of) = (0_u64, manifest.size_bytes());
    for kept in &manifest.files {
        progress("unpacking", done, of);
        unpack(next(&kept.path)?, kept, to, &wrong)?;
        done = done.saturating_add(kept.size_bytes);
    }
    match entries.next() {
        None => Ok(manifest),
        Some(_) => Err(wrong("it has more files than its manifest names".to_owned())),
    }
}

/// Writes one file, and makes it durable.
fn unpack<R: Read>(
    mut entry: Entry<'_, R>,
    kept: &Kept,
    to: &Path,
    wrong: &dyn Fn(String) -> BackupError,
) -> Result<(), BackupError> {
    let Kept { path, size_bytes, sha256, public } = kept;
    let at = to.join(path);
    let failed = io_error("write", &at);
    if let Some(above) = at.parent() {
        fs::create_dir_all(above).map_err(io_error("make", above))?;
    }
    let mode = if *public { 0o644 } else { 0o600 };
    let file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&at);
    let mut file = file.map_err(&failed)?;
    let (mut digest, mut size) = (Sha256::new(), 0_u64);
    let mut piece = vec![0; 1 << 16];
    loop {
        let read =
            entry.read(&mut piece).map_err(|e| wrong(format!("`{path}` ends early: {e}")))?;
        let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        size = size.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        if size > *size_bytes {
            break;
        }
        digest.update(bytes);
        file.write_all(bytes).map_err(&failed)?;
    }
    if size != *size_bytes || hex(&digest.finish()) != *sha256 {
        return Err(wrong(format!("`{path}` is not what its manifest says")));
    }
    file.sync_all().map_err(&failed)
}
