//! Contexts, and who somebody is.

use std::path::PathBuf;

use clap::{Args as Group, Subcommand};

use super::{At, Output};

/// Commands of `context`.
#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// All contexts.
    #[command(
        after_help = "Example:\n  ringfence context list\n\nExit codes: 0 listed, 1 the file cannot be read, 64 wrong usage."
    )]
    List(ContextList),
    /// Asks this one from now on.
    #[command(
        after_help = "Example:\n  ringfence context use hq\n\nExit codes: 0 done, 1 failed, 3 no such context, 64 wrong usage."
    )]
    Use(ContextName),
    /// One context; secrets are not shown.
    #[command(
        after_help = "Examples:\n  ringfence context show\n  ringfence context show hq -o json\n\nExit codes: 0 shown, 1 failed, 3 no such context, 64 wrong usage."
    )]
    Show(ContextShow),
    /// Forgets one, with its credential; its session goes on until it ends: log out before.
    #[command(
        after_help = "Example:\n  ringfence logout --context lab && ringfence context remove lab\n\nExit codes: 0 done, 1 failed, 3 no such context, 64 wrong usage."
    )]
    Remove(ContextName),
}

/// Options of `context list`.
#[derive(Debug, Group)]
pub(crate) struct ContextList {
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// A context.
#[derive(Debug, Group)]
pub(crate) struct ContextName {
    /// Its name.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// Options of `context show`.
#[derive(Debug, Group)]
pub(crate) struct ContextShow {
    /// Its name (else: the one in use).
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

const LOGIN: &str = "\
Examples:
  ringfence login --server https://hq.example:8443 --ca root.pem --login anna
  ringfence login --server https://hq.example:8443 --ca-sha256 5f0c… --login anna --context hq
  ringfence login                                   again, where the session has ended
  ringfence login --server hq.example --ca root.pem --token-file ci-token --context ci
  sudo ringfence login --state /var/lib/ringfence/controller

--ca-sha256 takes the digest that the controller prints when it starts: compare it with somebody who
reads it there. What was seen once is remembered in the context. Programs need no context:
RINGFENCE_SERVER, RINGFENCE_CA (a file) and RINGFENCE_TOKEN say the same.

Exit codes: 0 logged in, 1 failed (the message says why), 3 no such context, 64 wrong usage.";

/// Options of `login`.
#[derive(Debug, Default, Group)]
#[command(after_help = LOGIN)]
pub(crate) struct Login {
    #[command(flatten)]
    pub(crate) known: Known,
    /// Login name (else: the one of last time, or it is asked for).
    #[arg(long, value_name = "NAME", conflicts_with_all = ["token_file", "state"])]
    pub(crate) login: Option<String>,
    /// File with the password; `-` is standard input (else: the terminal is asked).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["token_file", "state"])]
    pub(crate) password_file: Option<PathBuf>,
    /// File with an API token (rft_…) instead of a password; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "state")]
    pub(crate) token_file: Option<PathBuf>,
}

/// How a controller is found and known.
#[derive(Debug, Default, Group)]
pub(crate) struct Known {
    /// Where the controller is (port 8443 unless another one is given).
    #[arg(long, value_name = "https://HOST:PORT")]
    pub(crate) server: Option<String>,
    /// The estate's root certificate (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// SHA-256 of the estate's root certificate, in hex.
    #[arg(long, value_name = "HEX", conflicts_with = "ca")]
    pub(crate) ca_sha256: Option<String>,
    /// State folder of a controller on this machine: its root and its tokens are used.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["ca", "ca_sha256"])]
    pub(crate) state: Option<PathBuf>,
    /// Name of the context (else: the one in use, or the name of the host).
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

const SETUP: &str = "\
Examples:
  sudo ringfence setup --state /var/lib/ringfence/controller --login anna --name \"Anna Berg\"
  ringfence setup --server hq.example --ca-sha256 5f0c… --setup-token-file token --login anna

The first operator may do everything. Further ones: ringfence operators create.

Exit codes: 0 made, and logged in, 1 failed, 4 there is a first operator already, 64 wrong usage.";

/// Options of `setup`.
#[derive(Debug, Group)]
#[command(after_help = SETUP)]
pub(crate) struct Setup {
    #[command(flatten)]
    pub(crate) known: Known,
    /// File with the setup token; `-` is standard input (else: `setup-token` in the state folder, or
    /// the terminal is asked).
    #[arg(long, value_name = "FILE")]
    pub(crate) setup_token_file: Option<PathBuf>,
    /// Login name (else: the terminal is asked).
    #[arg(long, value_name = "NAME")]
    pub(crate) login: Option<String>,
    /// Name, for people (else: the login name).
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// File with the new password; `-` is standard input (else: the terminal is asked, twice).
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

const LOGOUT: &str = "\
Example:
  ringfence logout

An API token is only forgotten here; `ringfence tokens revoke` ends it.

Exit codes: 0 logged out, 1 failed, 3 no such context, 64 wrong usage.";

/// Options of `logout`.
#[derive(Debug, Group)]
#[command(after_help = LOGOUT)]
pub(crate) struct Logout {
    #[command(flatten)]
    pub(crate) at: At,
}

const WHOAMI: &str = "\
Examples:
  ringfence whoami
  ringfence whoami -o json | jq -r '.roles[]'

Exit codes: 0 shown, 1 not logged in, or the controller is out of reach, 64 wrong usage.";

/// Options of `whoami`.
#[derive(Debug, Group)]
#[command(after_help = WHOAMI)]
pub(crate) struct Whoami {
    #[command(flatten)]
    pub(crate) at: At,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

const PASSWORD: &str = "\
Examples:
  ringfence password
  ringfence password --old-file old --new-file new

Exit codes: 0 changed, 1 failed (the message says why), 64 wrong usage.";

/// Options of `password`.
#[derive(Debug, Group)]
#[command(after_help = PASSWORD)]
pub(crate) struct Password {
    #[command(flatten)]
    pub(crate) at: At,
    /// File with the old password (else: the terminal is asked).
    #[arg(long, value_name = "FILE")]
    pub(crate) old_file: Option<PathBuf>,
    /// File with the new password (else: the terminal is asked, twice).
    #[arg(long, value_name = "FILE")]
    pub(crate) new_file: Option<PathBuf>,
}
