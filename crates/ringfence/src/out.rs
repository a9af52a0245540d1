//! Standard output. A reader that has seen enough (`| head`) is no error.

use std::io::{self, Write};

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
