//! Keys and secrets of the estate: whose, how old, when another one is due.

use std::path::PathBuf;

use clap::{Args as Group, Subcommand};

use super::{At, Format, Reason};

const KINDS: [&str; 10] = [
    "root",
    "former-root",
    "issuing",
    "former-issuing",
    "server",
    "site",
    "certificate",
    "psk",
    "oscore",
    "mqtt-password",
];
const TOLD: [&str; 3] = ["psk", "oscore", "mqtt-password"];

/// Options and commands of `identity keys`.
#[derive(Debug, Group)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct IdentityKeys {
    #[command(subcommand)]
    pub(crate) command: Option<KeyCommands>,
    #[command(flatten)]
    pub(crate) list: KeyList,
}

/// Which keys are printed.
#[derive(Debug, Group)]
pub(crate) struct KeyList {
    /// Only of this kind.
    #[arg(long, value_name = "KIND", value_parser = KINDS)]
    pub(crate) kind: Option<String>,
    /// Only those that this team is answerable for.
    #[arg(long, value_name = "TEAM")]
    pub(crate) owner: Option<String>,
    /// Only those of this device.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<String>,
    /// Only those that should have been followed by another one.
    #[arg(long)]
    pub(crate) overdue: bool,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Commands of `identity keys`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommands {
    /// Tells a secret that a device shares with somebody: a PSK, an OSCORE context, a password of MQTT.
    ///
    /// The controller keeps a digest, under a key of the estate; nobody reads the secret back.
    #[command(
        after_help = "Examples:\n  ringfence identity keys add meter-9 --kind psk --secret-file psk --reason \"installed\"\n  pass show broker/scale-2 | ringfence identity keys add scale-2 --kind mqtt-password \\\n    --secret-file - --rotate-days 90 --reason \"broker account\"\n\nA PSK and an OSCORE secret are 16 to 256 bytes in hex or base64. The same secret on two devices is\na finding, and such a PSK shows nothing.\n\nExit codes: 0 done, 1 failed, 3 no such device, 4 there is another one with that name, 5 not\nallowed, 64 wrong usage."
    )]
    Add(KeyAdd),
    /// Tells many secrets, from a table (CSV).
    #[command(
        after_help = "Examples:\n  ringfence identity keys import psks.csv --reason \"delivery 4711\"\n  ringfence identity keys import broker.csv --kind mqtt-password --reason \"broker accounts\"\n\nColumns: device, and psk or secret; kind, name, since (RFC 3339) and rotate_days may be there.\nIt is CSV in UTF-8 with commas, semicolons or tabs. Nothing of a file is taken if a row of it is\nwrong: each is named with its line. What is known already stays as it is, so the same file may be\nsent again.\n\nExit codes: 0 done, 1 failed, 5 not allowed, 64 wrong usage, or rows that are wrong."
    )]
    Import(KeyImport),
    /// Puts another secret in the place of one: what was proved with that counts no more.
    #[command(
        after_help = "Example:\n  ringfence identity keys rotate meter-9 --kind psk --secret-file new --reason \"yearly\"\n\nExit codes: 0 done, 1 failed, 3 no such device or secret, 5 not allowed, 64 wrong usage."
    )]
    Rotate(KeyAdd),
    /// Ends a secret, also of a retired device: what was proved with it counts no more.
    #[command(
        after_help = "Example:\n  ringfence identity keys end meter-9 --kind psk --reason \"it was told to the installer\"\n\nExit codes: 0 done, 1 failed, 3 no such device or secret, 5 not allowed, 64 wrong usage."
    )]
    End(KeyEnd),
}

/// Options of `identity keys add` and `rotate`.
#[derive(Debug, Group)]
pub(crate) struct KeyAdd {
    #[command(flatten)]
    pub(crate) of: KeyOf,
    /// A file with the secret alone; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: PathBuf,
    /// When it was made (RFC 3339). [default: now]
    #[arg(long, value_name = "INSTANT")]
    pub(crate) since: Option<String>,
    /// Days after which another one has to be in its place. [default: 365, or as before]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub(crate) rotate_days: Option<u16>,
}

/// Which secret.
#[derive(Debug, Group)]
pub(crate) struct KeyOf {
    /// Whose.
    #[arg(value_name = "DEVICE")]
    pub(crate) device: String,
    /// What it is for.
    #[arg(long, value_name = "KIND", value_parser = TOLD)]
    pub(crate) kind: String,
    /// Identity of the PSK, OSCORE context, or user name. [default: the device's id]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `identity keys import`.
#[derive(Debug, Group)]
pub(crate) struct KeyImport {
    /// A CSV file with a header.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// What they are for, where no column says it.
    #[arg(long, value_name = "KIND", value_parser = TOLD, default_value = "psk")]
    pub(crate) kind: String,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `identity keys end`.
#[derive(Debug, Group)]
pub(crate) struct KeyEnd {
    #[command(flatten)]
    pub(crate) of: KeyOf,
}
