//! Taking in a list.

use std::path::PathBuf;

use clap::{Args as Group, ValueEnum};

use super::{Approval, At, Output};

const IMPORT: &str = "\
Examples:
  ringfence import purchase.csv --site w1 --dry-run
  ringfence import purchase.csv --site w1 --source import/purchase --reason \"delivery 17\"
  ringfence import /var/lib/misc/dnsmasq.leases --site w1 --reason \"hourly\"
  ringfence get devices -o csv > devices.csv    # edit it, then import it again

A table has a line of column names: id, mac, keys, serial (one of them has to be there), site,
addresses, first-seen, last-seen, name, owner, zone, type, vendor, model, firmware, hardware, os,
hostname, criticality, posture, support, exposure, mud-url, label.NAME. An empty value says nothing.
A row with an id is about that device, another one about the device with its identifiers. Names,
owners, zones, sites, criticality, postures and labels are decided by you; everything else is a
claim of the source, beside what sensors say. The same list again changes nothing.

Exit codes: 0 done (or shown), 1 failed, or rows are refused, 2 something is new or changed (with
--detailed-exitcode), 5 not allowed, or a second person has to approve it first, 64 wrong usage.";

/// Options of `import`.
#[derive(Debug, Group)]
#[command(after_help = IMPORT)]
pub(crate) struct Import {
    /// The list; `-` for standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Site of devices whose row does not say; leases need it.
    #[arg(long, value_name = "SITE")]
    pub(crate) site: Option<String>,
    /// What the list is.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: ListFormat,
    /// Who tells: import/NAME, leases/NAME. [default: import/list, or leases/ and the format]
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Only show what would change.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Change nothing when a row is refused.
    #[arg(long)]
    pub(crate) all_or_nothing: bool,
    /// Show every row, also those that are known.
    #[arg(long)]
    pub(crate) all: bool,
    /// Exit with 2 when something is new or changed.
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Why; it goes into the journal.
    #[arg(long, visible_alias = "why", value_name = "TEXT", required_unless_present = "dry_run")]
    pub(crate) reason: Option<String>,
    /// Output on standard output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) approval: Approval,
    #[command(flatten)]
    pub(crate) at: At,
}

/// What a list is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// What it looks like.
    #[default]
    Auto,
    /// A table in UTF-8, with commas, semicolons or tabs.
    Csv,
    /// Leases of dnsmasq.
    Dnsmasq,
    /// Leases of ISC dhcpd (dhcpd.leases).
    Isc,
    /// Leases of Kea (kea-leases4.csv, kea-leases6.csv).
    Kea,
}
