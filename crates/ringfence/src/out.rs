//! Standard output. A reader that has seen enough (`| head`) is no error.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;

use miette::{IntoDiagnostic, Result};
use serde::Serialize;

/// Writes for people, or lines for programs.
pub(crate) fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.into_diagnostic(),
    }
}

/// Writes one document.
pub(crate) fn document<T: Serialize + ?Sized>(value: &T) -> Result<()> {
    print(|out| {
        serde_json::to_writer_pretty(&mut *out, value)?;
        writeln!(out)
    })
}

/// Standard output for a document that may be large: written in large pieces. What is behind [`io::stdout`] looks for ends of lines, and copies all of it once more.
pub(crate) fn large() -> Result<io::BufWriter<File>> {
    const PIECE_BYTES: usize = 256 * 1024;
    let out = io::stdout().as_fd().try_clone_to_owned().into_diagnostic()?;
    Ok(io::BufWriter::with_capacity(PIECE_BYTES, File::from(out)))
}
