//! What can be typed after `ringfence witness`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as Group, Subcommand};

/// Commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Witness {
    /// Begin a witness: a folder with a key and nothing cosigned.
    New(New),
    /// Cosign checkpoints of the logs that it follows, each only when it extends the last one.
    ///
    /// Answers over plain HTTP as C2SP tlog-witness says; what is cosigned is on the disk before the answer leaves. TLS, where it is wanted,
    /// ends in front of it. It keeps what a log signed and no witness may cosign, as evidence.
    Serve(Serve),
}

const NEW: &str = "\
Examples:
  ringfence witness new w1 --name witness.example.org/w1

The folder gets key.pem (the private key, readable by its owner alone), witness.vkey (the verifier
key, for policies), logs (which logs are followed; empty), state/ (the last head cosigned of each)
and evidence/. A witness whose state is lost is a new one: begin it with a new key.

Exit codes: 0 it is there, 1 something failed, 4 the folder is not empty, 64 wrong usage.";

/// Options of `new`.
#[derive(Debug, Group)]
#[command(after_help = NEW)]
pub(crate) struct New {
    /// The folder; it must be new or empty.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// The name of the witness, for ever: a host name of yours, and a path if you like.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
}

const SERVE: &str = "\
Examples:
  ringfence witness serve w1 --listen 127.0.0.1:8440 --log journal/log.vkey
  ringfence witness serve w1 --listen 10.0.0.7:8440      # logs as in the file w1/logs

A file of logs has one verifier key a line, or is a policy as in C2SP tlog-policy.

Exit codes: 0 it was told to end (SIGTERM, SIGINT), 1 something failed, 3 there is no such witness
or file, 4 another process serves it, 64 wrong usage.";

/// Options of `serve`.
#[derive(Debug, Group)]
#[command(after_help = SERVE)]
pub(crate) struct Serve {
    /// The folder of the witness.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8440")]
    pub(crate) listen: SocketAddr,
    /// A log to follow, besides those in the folder's file `logs`: its verifier key, or a file of logs. May be given
    /// several times.
    #[arg(long = "log", value_name = "KEY|FILE")]
    pub(crate) logs: Vec<String>,
}
