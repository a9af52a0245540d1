//! Keys with which devices sign what they send.

use std::path::PathBuf;

use clap::{Args as Group, Subcommand};

use super::{At, Format, Reason};

/// Commands of `keys`.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Keys that speak for a device, and those that did.
    #[command(
        after_help = "Examples:\n  ringfence keys list camera-7\n  ringfence keys list camera-7 -o json\n\nExit codes: 0 printed, 1 failed, 3 no such device, 5 not allowed, 64 wrong usage."
    )]
    List(KeysOf),
    /// How far a device has committed to what it sent, and what was found.
    #[command(
        after_help = "Examples:\n  ringfence keys chains camera-7\n  ringfence keys chains camera-7 -o json\n\nExit codes: 0 printed, 1 failed, 3 no such device, 5 not allowed, 64 wrong usage."
    )]
    Chains(KeysOf),
    /// Lets a key speak for a device, in the place of the one before.
    ///
    /// The key is made on the device and never leaves it; only its public half is given here.
    #[command(
        after_help = "Examples:\n  openssl pkey -in device.pem -pubout > camera-7.pub\n  ringfence keys register camera-7 --key camera-7.pub --reason \"installed\"\n  ringfence keys register plc-3 --key gateway.pub --gateway gate-1 --reason \"cannot sign\"\n\nA key is Ed25519 or P-256, and belongs to one device, or to one gateway.\n\nExit codes: 0 done, 1 failed, 3 no such device, 4 somebody else has the key, or the epoch was used,\n5 not allowed, 64 wrong usage."
    )]
    Register(KeysRegister),
    /// Revokes a key: what it signs from now on does not count.
    #[command(
        after_help = "Example:\n  ringfence keys revoke camera-7 bcd1d56b5845… --reason \"device was opened\"\n\nThe key may be given by its beginning.\n\nExit codes: 0 done, 1 failed, 3 no such device or key, 5 not allowed, 64 wrong usage."
    )]
    Revoke(KeysRevoke),
}

/// Options of `keys list` and `keys chains`.
#[derive(Debug, Group)]
pub(crate) struct KeysOf {
    /// Which.
    #[arg(value_name = "DEVICE")]
    pub(crate) device: String,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `keys register`.
#[derive(Debug, Group)]
pub(crate) struct KeysRegister {
    /// Which.
    #[arg(value_name = "DEVICE")]
    pub(crate) device: String,
    /// File with the public key in PEM; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// The device that sees its messages and signs for it: evidence of a class of its own.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) gateway: Option<String>,
    /// The epoch that the device counts in (else: the next one).
    #[arg(long, value_name = "NUMBER")]
    pub(crate) epoch: Option<u64>,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `keys revoke`.
#[derive(Debug, Group)]
pub(crate) struct KeysRevoke {
    /// Whose.
    #[arg(value_name = "DEVICE")]
    pub(crate) device: String,
    /// Which, or its beginning.
    #[arg(value_name = "KEY")]
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}
