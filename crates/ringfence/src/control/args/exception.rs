//! Exceptions: paths that are open for a while.

use std::time::Duration;

use clap::{Args as Group, Subcommand};

use super::{Approval, At, Format, Reason};
use crate::args::duration;

/// Commands of `exception`.
#[derive(Debug, Subcommand)]
pub(crate) enum Exceptions {
    /// What is open as an exception, whose it is, and when it ends; what is over is shown for 90 days.
    #[command(
        after_help = "Examples:\n  ringfence exception list\n  ringfence exception list --state expiring -o wide\n  ringfence exception list -l site=w1,type=plc -o json\n\nStates: open, expiring (within 14 days), not-in-force (a forbid closes it, or its device has no\naddress; -o wide says why), expired, ended.\n\nExit codes: 0 printed, 1 failed, 5 not allowed, 64 wrong usage."
    )]
    List(ExceptionList),
    /// Lets one device open one service for a while.
    ///
    /// It opens nothing that a policy forbids and breaks no claim of the policy folder. It ends by itself, at the site too when that is cut off.
    #[command(
        after_help = "Examples:\n  ringfence exception add scale-2 svc:nvr/tcp/443 --owner repairs --for 4h --reason \"vendor visit\"\n  ringfence exception add scale-2 svc:nvr/tcp/443 --owner repairs --reason x --dry-run \\\n    --until 2031-03-14T18:00:00Z\n\nServices are those of the policy in force; an exception lasts 90 days at most.\n\nExit codes: 0 made (or, with --dry-run, it could be), 1 failed, 3 no such device, service or team,\n4 it is open already, 5 not allowed, refused by policy, or it takes a second person, 64 wrong usage."
    )]
    Add(ExceptionAdd),
    /// Ends exceptions now, also those of the policy folder.
    #[command(
        after_help = "Example:\n  ringfence exception end exc-01JD2M… --reason \"repaired\"\n\nThe line of a policy folder opens nothing from then on, also when the same folder is applied again.\n\nExit codes: 0 done, 1 failed, 3 no such exception, 4 changed meanwhile, 5 not allowed,\n64 wrong usage."
    )]
    End(ExceptionEnd),
}

/// Options of `exception list`.
#[derive(Debug, Group)]
pub(crate) struct ExceptionList {
    /// Only in this state.
    #[arg(long, value_name = "STATE", value_parser = ["open", "expiring", "not-in-force", "expired", "ended"])]
    pub(crate) state: Option<String>,
    /// Only those that this team answers for.
    #[arg(long, value_name = "TEAM")]
    pub(crate) owner: Option<String>,
    /// Only of devices that a selector selects (see `ringfence get --help`).
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,
    /// Only of devices that a Cedar expression holds for (see `ringfence get --help`).
    #[arg(long = "where", value_name = "EXPRESSION")]
    pub(crate) expression: Option<String>,
    /// Only of devices with these words in a name, an address, vendor, model, owner or id.
    #[arg(long, value_name = "WORDS")]
    pub(crate) search: Option<String>,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `exception add`.
#[derive(Debug, Group)]
#[command(group = clap::ArgGroup::new("end").required(true).args(["lasts", "until"]))]
pub(crate) struct ExceptionAdd {
    /// Device that may.
    #[arg(value_name = "DEVICE")]
    pub(crate) device: String,
    /// What it may open.
    #[arg(value_name = "SERVICE")]
    pub(crate) service: String,
    /// Team that answers for it.
    #[arg(long, value_name = "TEAM")]
    pub(crate) owner: String,
    /// How long: 30m, 4h, 2d; 90d at most.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) lasts: Option<Duration>,
    /// Until when (RFC 3339).
    #[arg(long, value_name = "INSTANT")]
    pub(crate) until: Option<String>,
    /// Tell what it would open, and make nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) approval: Approval,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Options of `exception end`.
#[derive(Debug, Group)]
pub(crate) struct ExceptionEnd {
    /// Which.
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) at: At,
}
