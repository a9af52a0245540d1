//! What makes the command line easier to use.

use std::path::PathBuf;

use clap::{Args as Group, ValueEnum};

const COMPLETIONS: &str = "\
Examples:
  ringfence completions bash > /etc/bash_completion.d/ringfence
  ringfence completions zsh > \"${fpath[1]}/_ringfence\"
  ringfence completions fish > ~/.config/fish/completions/ringfence.fish

Exit codes: 0 written, 64 wrong usage.";

/// Options of `completions`.
#[derive(Debug, Group)]
#[command(after_help = COMPLETIONS)]
pub(crate) struct Completions {
    /// For which shell.
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// A shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
}

const MAN: &str = "\
Example:
  ringfence man /usr/local/share/man/man1 && man ringfence-get

Exit codes: 0 written, 1 a file cannot be written, 64 wrong usage.";

/// Options of `man`.
#[derive(Debug, Group)]
#[command(after_help = MAN)]
pub(crate) struct Man {
    /// Folder that gets them; it is made where it is not there.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}
