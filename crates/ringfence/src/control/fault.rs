//! What stops a command: what, why and what to do, a stable code, and the exit code.

use std::fmt;
use std::path::Path;

use miette::{Diagnostic, Report};
use serde::Deserialize;

use crate::exit;

/// Longest text of a problem that is shown, in characters.
const SHOWN_CHARS_MAX: usize = 4_000;

/// One fault.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub(crate) struct Fault {
    what: String,
    why: String,
    help: String,
    code: String,
    exit: u8,
    /// Of HTTP; 0: no answer.
    status: u16,
}

impl Fault {
    /// Something failed.
    pub(crate) fn new(
        code: &str,
        what: impl Into<String>,
        why: impl fmt::Display,
        help: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            why: why.to_string(),
            help: help.into(),
            code: format!("ringfence::control::{code}"),
            exit: exit::FAILED,
            status: 0,
        }
    }

    /// The same under another exit code.
    pub(crate) fn exit(mut self, exit: u8) -> Self {
        self.exit = exit;
        self
    }

    /// The same with something else to do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// A file that is not what it should be.
    pub(crate) fn file(path: &Path, why: impl fmt::Display, help: impl Into<String>) -> Self {
        Self::new("file", path.display().to_string(), why, help)
    }

    /// What makes no sense on the command line.
    pub(crate) fn usage(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::new("usage", what, why, "--help has examples").exit(exit::USAGE)
    }

    /// What the controller said instead of an answer.
    pub(crate) fn problem(status: u16, body: &[u8]) -> Self {
        let problem: Problem = serde_json::from_slice(body).unwrap_or_else(|_| Problem {
            title: format!("the controller answers with status {status}"),
            detail: text(&String::from_utf8_lossy(body)),
            ..Problem::default()
        });
        let again = problem.retry_after_s.map(|s| format!("try again after {s} s"));
        let help = [text(&problem.help), again.unwrap_or_default()];
        let help = help.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>();
        let code = match problem.code.as_str() {
            "" => format!("status.{status}"),
            code => text(code),
        };
        Self {
            what: text(&problem.title),
            why: text(&problem.detail),
            help: help.join("; "),
            code,
            exit: match status {
                400 => exit::USAGE,
                404 => exit::NOT_FOUND,
                409 | 412 => exit::CONFLICT,
                403 => exit::REFUSED,
                _ => exit::FAILED,
            },
            status,
        }
    }

    /// The exit code.
    pub(crate) const fn code_of_exit(&self) -> u8 {
        self.exit
    }

    /// There was no answer: the controller may be back in a moment.
    pub(crate) fn is_of_the_way(&self) -> bool {
        ["unreachable", "lost", "late"].iter().any(|word| self.code.ends_with(&format!("::{word}")))
    }

    /// The controller does not know (any more) who asks.
    pub(crate) fn is_unknown(&self) -> bool {
        self.status == 401
    }

    /// The stable code.
    pub(crate) fn word(&self) -> &str {
        &self.code
    }

    /// What to do.
    pub(crate) fn todo(&self) -> &str {
        &self.help
    }
}

/// RFC 9457.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    detail: String,
    code: String,
    help: String,
    retry_after_s: Option<u32>,
}

/// Foreign text that no terminal obeys; its lines stay lines.
pub(crate) fn text(foreign: &str) -> String {
    let plain = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    foreign.trim_end().chars().take(SHOWN_CHARS_MAX).map(plain).collect()
}

impl Diagnostic for Fault {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (!self.help.is_empty()).then(|| Box::new(&self.help) as Box<dyn fmt::Display>)
    }
}

/// What ends a command early: a fault, or an error of another part of the program.
#[derive(Debug)]
pub(crate) enum Stop {
    Fault(Box<Fault>),
    Other(Report),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(Box::new(fault))
    }
}

impl From<Report> for Stop {
    fn from(report: Report) -> Self {
        Self::Other(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_keeps_its_words_and_gets_an_exit_code() {
        let body = br#"{"type":"x","title":"device d-9","status":404,"code":"device.unknown",
            "detail":"there is none with this id","help":"list them","retry_after_s":3}"#;
        let fault = Fault::problem(404, body);
        assert_eq!(fault.to_string(), "device d-9: there is none with this id");
        assert_eq!(
            (fault.word(), fault.todo()),
            ("device.unknown", "list them; try again after 3 s")
        );
        for (status, code) in
            [(400, 64), (401, 1), (403, 5), (404, 3), (409, 4), (412, 4), (500, 1)]
        {
            assert_eq!(Fault::problem(status, body).code_of_exit(), code, "{status}");
        }
    }

    #[test]
    fn what_is_no_problem_document_is_shown_as_text() {
        let fault = Fault::problem(502, b"<h1>\x1b[31mBad gateway</h1>\n");
        assert_eq!(
            fault.to_string(),
            "the controller answers with status 502: <h1> [31mBad gateway</h1>"
        );
        assert_eq!(fault.word(), "status.502");
    }
}
