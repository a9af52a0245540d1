//! The label printer's raw port 9100: jobs, PJL information, ZPL host identification.

use std::io::{self, Write};
use std::sync::Arc;

use super::{Handler, Session};

pub(crate) fn handler() -> Handler {
    Arc::new(serve)
}

fn serve(session: &mut Session<'_>) -> io::Result<()> {
    while let Some(line) = session.message(line_length)? {
        let text = String::from_utf8_lossy(&line);
        if text.contains("@PJL INFO ID") {
            session.stream.write_all(b"@PJL INFO ID\r\n\"Zebra ZT410-203dpi\"\r\n\x0c")?;
        } else if text.contains("~HI") {
            session.stream.write_all(b"\x02ZT410-203dpi,V75.20.01Z,8,8192KB\x03\r\n")?;
        } else if text.contains("^XZ") {
            session.log.note("printer", session.client, "label printed");
        }
    }
    Ok(())
}

fn line_length(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1)
}
