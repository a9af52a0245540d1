//! Releases: firmware that somebody answers for.

use std::path::PathBuf;

use clap::{Args as Group, Subcommand};

use super::{At, Format, Reason};

/// Commands of `release`.
#[derive(Debug, Subcommand)]
pub(crate) enum Releases {
    /// Which firmware there is, for which devices, and who answers for it.
    #[command(
        after_help = "Examples:\n  ringfence release list\n  ringfence release list --vendor Acme --state withdrawn -o wide\n\nExit codes: 0 printed, 1 failed, 5 not allowed, 64 wrong usage."
    )]
    List(ReleaseList),
    /// One release with what a device that runs it may measure.
    #[command(
        after_help = "Example:\n  ringfence release show rel-01JD2M… -o json\n\nExit codes: 0 printed, 1 failed, 3 no such release, 5 not allowed, 64 wrong usage."
    )]
    Show(ReleaseShow),
    /// Adds a release: a file with reference values of firmware, which devices are attested by from then on.
    ///
    /// The SHA-256 of the file is in the journal, as sha256sum prints it. The same values once more change nothing.
    #[command(
        after_help = "Examples:\n  ringfence release add x1-2.4.json --reason \"measured in the lab, ticket 17\"\n  ringfence release add x1-2.4b.json --replace rel-01JD2M… --reason \"another board\"\n\nThe form of the file: docs/identity-tpm.md. What a release says is never changed: with --replace\nanother one is in its place. Devices that it attested measure themselves again, unless all that it\ntook is good for the new one too.\n\nExit codes: 0 added, 1 failed, 4 there are other values for it, 5 not allowed, 64 wrong usage."
    )]
    Add(ReleaseAdd),
    /// Withdraws releases: devices that they attested fall at once.
    #[command(
        after_help = "Example:\n  ringfence release withdraw rel-01JD2M… --reason \"the maker recalled it\"\n\nExit codes: 0 done, 1 failed, 3 no such release, 4 changed meanwhile, 5 not allowed,\n64 wrong usage."
    )]
    Withdraw(ReleaseWithdraw),
}

/// Options of `release list`.
#[derive(Debug, Group)]
pub(crate) struct ReleaseList {
    /// Only in this state.
    #[arg(long, value_name = "STATE", value_parser = ["current", "withdrawn"])]
    pub(crate) state: Option<String>,
    /// Only for devices of this vendor.
    #[arg(long, value_name = "VENDOR")]
    pub(crate) vendor: Option<String>,
    /// Only for devices of this model.
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `release show`.
#[derive(Debug, Group)]
pub(crate) struct ReleaseShow {
    /// Which.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `release add`.
#[derive(Debug, Group)]
pub(crate) struct ReleaseAdd {
    /// A file of the form ringfence.reference/v1.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The release of the same vendor, model and version in whose place it is.
    #[arg(long, value_name = "ID")]
    pub(crate) replace: Option<String>,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `release withdraw`.
#[derive(Debug, Group)]
pub(crate) struct ReleaseWithdraw {
    /// Which.
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}
