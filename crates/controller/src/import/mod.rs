//! Lists of devices from elsewhere: a purchase list as CSV, the leases of a DHCP server. What would change is told row by row before anything does.
//!
//! ```text
//!  bytes ─▶ table (CSV) ─▶ sheet ──┐
//!                                  ├─▶ rows ─▶ plan (rows × estate) ─▶ what differs, and the commands that make it so
//!  bytes ─▶ hosts (DHCP) ──────────┘
//! ```
//!
//! What a list says of a device (type, vendor, serial number, host name…) is a claim of its source, and stands beside what sensors say. What only
//! people can know (name, owner, zone, site, criticality, posture, labels) is a decision of whoever imports. A value that is believed already is nothing
//! new, so the same file again changes nothing. [`export`] writes what can be read back.
//!
//! Nothing here has a clock, a socket or a file.

pub mod export;
mod hosts;
mod plan;
mod sheet;
mod table;

use std::collections::BTreeMap;
use std::net::IpAddr;

use estate::devices::Field;
use inventory::leases;
use model::{DeviceId, SiteId, Timestamp};

pub use self::plan::{Change, Outcome, Plan, Planned, Scope, plan};
pub use self::sheet::SheetError;
pub use self::table::{Table, TableError, TableRow, plain};

/// Rows of one file.
pub const ROWS_MAX: usize = 100_000;
/// How sure a list is of what it says, in percent: people typed it, and nobody looked at the device.
const LIST_CONFIDENCE: u8 = 80;
/// How sure it is that a client's name for itself is its host name.
const LEASE_CONFIDENCE: u8 = 70;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table with a line of column names.
    Csv,
    /// What a DHCP server writes.
    Leases(leases::Format),
}

impl Format {
    /// The format of a word; `None`: there is none of that name.
    pub fn of(word: &str) -> Option<Self> {
        Some(match word {
            "csv" => Self::Csv,
            "dnsmasq" => Self::Leases(leases::Format::Dnsmasq),
            "isc" => Self::Leases(leases::Format::Isc),
            "kea" => Self::Leases(leases::Format::Kea),
            _ => return None,
        })
    }

    /// What a file seems to be.
    pub fn guess(bytes: &[u8]) -> Self {
        leases::guess(bytes).map_or(Self::Csv, Self::Leases)
    }

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Leases(leases::Format::Dnsmasq) => "dnsmasq",
            Self::Leases(leases::Format::Isc) => "isc",
            Self::Leases(leases::Format::Kea) => "kea",
        }
    }
}

/// One device of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Where it begins, from 1.
    pub line: u64,
    /// Our id for it.
    pub id: Option<DeviceId>,
    /// Where it says that the device is.
    pub site: Option<SiteId>,
    /// What identifies it: `mac/…`, `serial/…`.
    pub keys: Vec<String>,
    /// Its addresses; `None`: it does not say.
    pub addresses: Option<Vec<IpAddr>>,
    /// Addresses of the other family are none of its business.
    pub one_family: bool,
    /// What it claims.
    pub said: BTreeMap<Field, String>,
    /// Where in the source that stands.
    pub detail: &'static str,
    /// How sure it is, in percent.
    pub confidence: u8,
    /// What whoever imports it decides.
    pub decided: BTreeMap<Field, String>,
    /// Labels, too.
    pub labels: BTreeMap<String, String>,
    /// First sign of it.
    pub first_seen: Option<Timestamp>,
    /// Last sign of it.
    pub last_seen: Option<Timestamp>,
}

/// What a line of a file comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A device.
    Row(Row),
    /// Nothing that could be read.
    Refused {
        /// Which line, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// A lease that has ended: no sign of life.
    Ended {
        /// Which line, from 1.
        line: u64,
        /// Whose it was.
        key: String,
    },
}

impl Line {
    const fn number(&self) -> u64 {
        match self {
            Self::Row(row) => row.line,
            Self::Refused { line, .. } | Self::Ended { line, .. } => *line,
        }
    }
}

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    /// In order.
    pub lines: Vec<Line>,
    /// What stands between values; `None`: no table.
    pub separator: Option<char>,
}

/// Reads a file. `now` tells leases that hold from those that have ended.
pub fn read(format: Format, bytes: &[u8], now: Timestamp) -> Result<Lines, SheetError> {
    match format {
        Format::Csv => sheet::read(bytes),
        Format::Leases(format) => {
            let lines = hosts::read(format, bytes, now);
            match lines.len() > ROWS_MAX {
                true => Err(TableError::TooMany.into()),
                false => Ok(Lines { lines, separator: None }),
            }
        }
    }
}
