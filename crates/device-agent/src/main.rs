//! The agent's program: one command, then it ends. A timer starts it again.

use std::io::{self, Write as _};
use std::process::ExitCode;

use crypto::tls::{Clock as _, SystemClock};
use device_agent::cli;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(now) = SystemClock.now() else {
        let _ = io::stderr().write_all(b"device-agent: the time is not known\n");
        return ExitCode::from(1);
    };
    let done = cli::run(&words, now);
    let written = io::stdout()
        .write_all(done.out.as_bytes())
        .and_then(|()| io::stderr().write_all(done.err.as_bytes()));
    match written {
        Ok(()) => ExitCode::from(done.code),
        Err(_) => ExitCode::from(1),
    }
}
