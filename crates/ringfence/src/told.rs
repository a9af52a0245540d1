//! Errors of the libraries as people read them: once, because their messages name their cause, and with what to do.

use std::error::Error;
use std::fmt;

use miette::{Diagnostic, Report, Result};

/// What a process without rights gets from the kernel.
const NO_RIGHTS: [&str; 2] = ["(os error 1)", "(os error 13)"];

#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Told {
    text: String,
    code: &'static str,
}

impl Diagnostic for Told {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let rights = NO_RIGHTS.iter().any(|refusal| self.text.contains(refusal));
        rights.then(|| {
            Box::new("this needs rights that the process does not have: try it with sudo")
                as Box<dyn fmt::Display>
        })
    }
}

/// An error under a stable code.
pub(crate) fn error(code: &'static str, error: &dyn Error) -> Report {
    Told { text: error.to_string(), code }.into()
}

/// Turns the errors of a library into reports.
pub(crate) trait Tell<T> {
    /// Under a stable code.
    fn told(self, code: &'static str) -> Result<T>;
}

impl<T, E: Error> Tell<T> for std::result::Result<T, E> {
    fn told(self, code: &'static str) -> Result<T> {
        self.map_err(|failed| error(code, &failed))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn missing_rights_have_their_help() {
        let help = |number: i32| {
            let error = error("ringfence::x", &io::Error::from_raw_os_error(number));
            error.help().map(|help| help.to_string())
        };
        assert!(help(1).is_some_and(|help| help.contains("sudo")));
        assert!(help(13).is_some() && help(2).is_none() && help(11).is_none());
    }
}
