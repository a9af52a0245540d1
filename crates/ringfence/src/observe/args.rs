//! What can be typed behind `observe`.

use std::path::PathBuf;

use clap::{Args as Group, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  ringfence observe --state /var/lib/ringfence/site --verdict denied --since 1h
  ringfence observe --state /var/lib/ringfence/site --follow --device camera-7
  ringfence observe verdicts.jsonl --from zone/cameras --to-port 554 -o jsonl | ringfence observe -
  sudo ringfence observe --live --policy plant/ -i lan3

Filters of one kind are alternatives (--verdict denied --verdict would-deny); filters of different
kinds all have to hold. Gaps in the log pass every filter but time and --site: they are never
hidden.

Exit codes: 0 something was shown or the log is empty, 1 part of the input could not be read,
2 verdicts were lost (with --detailed-exitcode), 3 nothing matches, 64 wrong usage.";

/// Options of `observe`.
#[derive(Debug, Default, Group)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Observe {
    /// Log of verdicts, one JSON document a line (`ringfence.verdict/v1`); `-` is standard input.
    #[arg(value_name = "FILE", conflicts_with_all = ["state", "live"], required_unless_present_any = ["state", "live"])]
    pub(crate) file: Option<PathBuf>,
    /// State directory of a running or stopped site: its log is read.
    #[arg(long, value_name = "DIR", conflicts_with = "live")]
    pub(crate) state: Option<PathBuf>,
    /// Read verdicts from the kernel as they happen (needs CAP_NET_ADMIN, and no site that reads
    /// them already).
    #[arg(long)]
    pub(crate) live: bool,
    /// NFLOG group that the fence's rules log to.
    #[arg(long, value_name = "NUMBER", default_value_t = enforcer::verdict::GROUP, conflicts_with_all = ["file", "state"])]
    pub(crate) group: u16,
    /// Goes on when the end is reached, and prints each verdict as it comes; Ctrl-C ends it.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Policy folder: names devices and services, and checks the names in filters.
    #[arg(long, value_name = "DIR")]
    pub(crate) policy: Option<PathBuf>,
    /// Only these verdicts.
    #[arg(long, value_enum, value_name = "VERDICT", value_delimiter = ',')]
    pub(crate) verdict: Vec<Word>,
    /// Only what this device sends or is sent: id, name, network or link address.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Vec<String>,
    /// Only what this device, class or address sends.
    #[arg(long, value_name = "NAME")]
    pub(crate) from: Vec<String>,
    /// Only what is for this device, service, class or address.
    #[arg(long, value_name = "NAME")]
    pub(crate) to: Vec<String>,
    /// Only what is for this service: id, name, class, or `tcp/554`.
    #[arg(long, value_name = "SERVICE")]
    pub(crate) service: Vec<String>,
    /// Only what is for this port (or ICMP type, IP protocol, EtherType).
    #[arg(long = "to-port", value_name = "NUMBER")]
    pub(crate) to_port: Vec<u16>,
    /// Only what this rule or exception decided or came nearest to.
    #[arg(long, value_name = "RULE")]
    pub(crate) rule: Vec<String>,
    /// Only at this site.
    #[arg(long, value_name = "SITE")]
    pub(crate) site: Vec<String>,
    /// Only what came in or would have left by this interface.
    #[arg(short, long, value_name = "IFACE")]
    pub(crate) interface: Vec<String>,
    /// Only since: 90s, 10m, 2h, 3d ago, or an instant (2026-04-17T08:00:00Z).
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only until: written like --since.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// What standard output gets.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// Show every row of the table.
    #[arg(long)]
    pub(crate) all: bool,
    /// Exit with 2 when verdicts were lost.
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

/// A verdict in the words of the documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Word {
    /// Dropped.
    Denied,
    /// Passed, because of shadow.
    WouldDeny,
    /// Dropped, and a policy in shadow would permit it.
    WouldAllow,
    /// Permitted by a rule that asks for a log.
    Logged,
    /// Permitted by an exception.
    AllowedByException,
}

/// What standard output gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// What happened how often, for people; with --follow or --live one line each.
    #[default]
    Table,
    /// The documents, one a line: can be read back in.
    Jsonl,
}
