//! How the system's programs are called: in this network namespace, or in another one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::EnforceError;

/// Runs a program to its end.
pub trait Runner {
    /// Runs `argv` with `stdin`; a program that ran and failed is not an `Err`.
    fn run(&self, argv: &[&str], stdin: &str) -> io::Result<Output>;
}

/// What a program left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Exit code; −1 when it was killed.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// The machine we run on, or one network namespace of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    netns: Option<PathBuf>,
}

impl Host {
    /// This process's own network namespace.
    pub fn here() -> Self {
        Self::default()
    }

    /// The network namespace that `path` names (`/run/netns/x`, `/proc/PID/ns/net`,
    /// `/proc/PID/fd/N`); entered with `nsenter`.
    pub fn netns(path: &Path) -> Self {
        Self { netns: Some(path.to_owned()) }
    }
}

impl Runner for Host {
    fn run(&self, argv: &[&str], stdin: &str) -> io::Result<Output> {
        let missing = || io::Error::new(io::ErrorKind::InvalidInput, "empty command line");
        let (program, arguments) = argv.split_first().ok_or_else(missing)?;
        let mut command = match &self.netns {
            None => Command::new(program),
            Some(path) => {
                let mut enter = Command::new("nsenter");
                enter.arg(format!("--net={}", path.display())).arg("--").arg(program);
                enter
            }
        };
        // Ordinary users' PATH lacks the places where nft and ip are.
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        command.args(arguments).env("LC_ALL", "C").env("PATH", path);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let feed = child.stdin.take();
        let output = std::thread::scope(|scope| {
            // A program may answer before it has read all: both directions at once.
            scope.spawn(move || feed.map(|mut pipe| pipe.write_all(stdin.as_bytes())));
            child.wait_with_output()
        })?;
        let code = output.status.code().unwrap_or(-1);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if code == 127 && self.netns.is_some() && stderr.contains("No such file or directory") {
            return Err(io::Error::new(io::ErrorKind::NotFound, stderr));
        }
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(Output { code, stdout, stderr })
    }
}

/// Runs `argv` and turns every way to fail into an error that says what to do.
pub(crate) fn must(
    runner: &dyn Runner,
    argv: &[&str],
    stdin: &str,
) -> Result<String, EnforceError> {
    let output = attempt(runner, argv, stdin)?;
    if output.code == 0 {
        return Ok(output.stdout);
    }
    Err(failure(argv, &output))
}

/// Runs `argv`; only a program that could not be started is an error.
pub(crate) fn attempt(
    runner: &dyn Runner,
    argv: &[&str],
    stdin: &str,
) -> Result<Output, EnforceError> {
    let program = argv.first().copied().unwrap_or_default();
    runner.run(argv, stdin).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => {
            EnforceError::Missing { program: program.to_owned(), package: package(program), source }
        }
        _ => EnforceError::Io { doing: format!("run `{program}`"), source },
    })
}

/// The error for a program that ran and failed.
pub(crate) fn failure(argv: &[&str], output: &Output) -> EnforceError {
    let said = output.stderr.trim();
    if said.contains("Operation not permitted") || said.contains("Permission denied") {
        return EnforceError::NotPermitted { said: first_line(said).to_owned() };
    }
    EnforceError::Failed {
        command: argv.join(" "),
        code: output.code,
        said: said.chars().take(500).collect(),
    }
}

pub(crate) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn package(program: &str) -> &'static str {
    match program {
        "nft" => "nftables",
        "ip" | "bridge" => "iproute2",
        "nsenter" | "unshare" => "util-linux",
        _ => "coreutils",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_missing_and_where_to_get_it() {
        let error = must(&Host::here(), &["nft-that-is-not-there"], "").unwrap_err();
        assert!(error.to_string().contains("cannot run `nft-that-is-not-there`"), "{error}");
        let refused = Output {
            code: 1,
            stderr: "Error: Operation not permitted\n".into(),
            ..Output::default()
        };
        let error = failure(&["nft", "list"], &refused);
        assert!(matches!(error, EnforceError::NotPermitted { .. }), "{error}");
        let error = must(&Host::here(), &["sh", "-c", "echo no >&2; exit 3"], "").unwrap_err();
        assert_eq!(error.to_string(), "`sh -c echo no >&2; exit 3` failed with code 3: no");
    }

    #[test]
    fn a_program_that_does_not_read_its_input_is_no_deadlock() {
        let long = "x".repeat(1 << 20);
        assert_eq!(must(&Host::here(), &["true"], &long).unwrap(), "");
        assert_eq!(must(&Host::here(), &["cat"], &long).unwrap().len(), 1 << 20);
    }
}
