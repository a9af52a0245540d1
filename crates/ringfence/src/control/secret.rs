//! Secrets from where nobody sees them: a terminal without echo, a file, standard input; never the command line.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::context;
use super::fault::Fault;

/// Longest secret that is typed, in bytes.
const BYTES_MAX: usize = 1_024;

/// From a file (`-`: the first line of standard input), or typed.
pub(super) fn read(file: Option<&Path>, prompt: &str) -> Result<String, Fault> {
    match file {
        Some(path) if path == Path::new("-") => stdin(),
        Some(path) => context::secret(path),
        None => typed(prompt),
    }
}

/// A new password: from a file, or typed twice.
pub(super) fn new(file: Option<&Path>, prompt: &str) -> Result<String, Fault> {
    if file.is_some() {
        return read(file, prompt);
    }
    let first = typed(prompt)?;
    match first == typed("the same again")? {
        true => Ok(first),
        false => Err(Fault::new("password", "the passwords", "they are not the same", "try again")),
    }
}

/// A line that may be seen: a login name.
pub(super) fn asked(prompt: &str) -> Result<String, Fault> {
    let file = terminal()?;
    let mut terminal = &file;
    let line = write!(terminal, "{prompt}: ").and_then(|()| line(&mut terminal, 0x7f));
    line.map_err(no_terminal)
}

fn stdin() -> Result<String, Fault> {
    let mut text = String::new();
    let read = io::stdin().take(BYTES_MAX as u64).read_to_string(&mut text);
    read.map_err(|error| Fault::new("password", "standard input", error, ""))?;
    match text.lines().next().filter(|line| !line.is_empty()) {
        Some(line) => Ok(line.to_owned()),
        None => Err(Fault::new("password", "standard input", "it is empty", "")),
    }
}

fn typed(prompt: &str) -> Result<String, Fault> {
    let file = terminal()?;
    let mut terminal = &file;
    let silent = Silent::begin(&file).map_err(no_terminal)?;
    let line = write!(terminal, "{prompt}: ").and_then(|()| line(&mut terminal, 0x7f));
    drop(silent);
    let _ = writeln!(terminal);
    line.map_err(no_terminal)
}

fn terminal() -> Result<File, Fault> {
    OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(no_terminal)
}

fn no_terminal(error: io::Error) -> Fault {
    if error.kind() == io::ErrorKind::Interrupted {
        return Fault::new("password", "what was asked", "it was broken off", "");
    }
    let help = "give a file: --password-file FILE, or `-` for standard input";
    Fault::new("password", "there is no terminal to ask at", error, help)
}

/// One line, byte by byte: whoever types sees none of it, so backspace (and Ctrl-U, Ctrl-C) are done here.
fn line(from: &mut impl io::Read, backspace: u8) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut byte = [0_u8];
    loop {
        if from.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match byte {
            [b'\n' | b'\r'] => break,
            [3] => return Err(io::ErrorKind::Interrupted.into()),
            [4] if bytes.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            [21] => bytes.clear(),
            [b] if b == backspace || b == 8 => {
                // A character may be several bytes.
                while bytes.pop().is_some_and(|b: u8| b & 0xc0 == 0x80) {}
            }
            [b] if bytes.len() < BYTES_MAX => bytes.push(b),
            _ => return Err(io::Error::other("it is too long")),
        }
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}

/// A terminal that shows nothing of what is typed, until this ends.
struct Silent<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Silent<'a> {
    fn begin(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        // Signals too: a process that is ended must not leave the terminal silent.
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_edited_while_it_is_typed() {
        let typed = |text: &[u8]| line(&mut &*text, 0x7f).map_err(|error| error.kind());
        assert_eq!(typed(b"secret\nrest"), Ok("secret".to_owned()));
        assert_eq!(typed("grün\x7f\x7fay\r".as_bytes()), Ok("gray".to_owned()));
        assert_eq!(typed(b"\x7fwrong\x15right\n"), Ok("right".to_owned()));
        assert_eq!(typed(b"abc\x03"), Err(io::ErrorKind::Interrupted));
        assert_eq!(typed(b"\x04"), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(typed(b"abc"), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(typed(&[b'x'; BYTES_MAX + 1]), Err(io::ErrorKind::Other));
    }
}
