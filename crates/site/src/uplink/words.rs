//! What goes between the thread of the line and the loop of the site.

use model::Timestamp;
use model::line::{Flow, Happened, Sighting};
use serde::{Deserialize, Serialize};

use super::reckon::Variant;
use super::state::Offer;
use crate::life::Control;

pub(crate) use crate::life::short;

/// How far what is enforced has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Content of the files of the order in force or on its way.
    pub content: String,
    /// The kernel's generation for it.
    pub generation: u64,
    /// How far it is.
    pub control: Control,
    /// Why it is no further.
    pub why: Option<String>,
}

/// What the line says to the site.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// Enforce this.
    Offer(Offer),
    /// Leases ended, or hold again: for the journal.
    Turned {
        /// What is enforced from now on.
        to: Variant,
    },
    /// This deserves attention.
    Find {
        /// Stable word.
        kind: &'static str,
        /// Whom it concerns.
        subject: String,
        /// One line.
        what: String,
    },
    /// One line for people.
    Tell(String),
    /// What was found by this word is over: the next time it is news again.
    Over {
        /// Stable word of what was found and is over.
        kind: &'static str,
    },
}

/// What the site says to the line.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// An offer was looked at whole.
    Judged {
        /// Of which bundle.
        generation: u64,
        /// Why it cannot be enforced; none: it can.
        refused: Option<String>,
    },
    /// How far it has come.
    Stands(Standing),
    /// This happened.
    Happened {
        /// What.
        happened: Happened,
        /// Number of its line in the site's journal, where it has one: so it is never told twice.
        journal: Option<u64>,
    },
    /// These devices are there.
    Seen(Vec<(String, Sighting)>),
    /// This crossed the wire.
    Carried(Vec<Flow>),
}

/// How the line stands, for `ringfence site status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Where the controller is.
    pub controller: String,
    /// Whether it is connected.
    pub connected: bool,
    /// Since when it is, or is not.
    pub since: Timestamp,
    /// Why it is not; empty where it is.
    pub why: String,
    /// Until when leases hold, by the controller's clock; none: it never said.
    pub leases_until: Option<Timestamp>,
    /// The bundle that was taken last; 0: none yet.
    pub offered: u64,
    /// The newest that the kernel took; 0: none.
    pub applied: u64,
    /// The newest that was read back; 0: none.
    pub verified: u64,
    /// Why the one that was taken last is refused; empty where it is not.
    pub refused: String,
    /// What is enforced of it; none: nothing yet.
    pub variant: Option<Variant>,
    /// Events and devices that the controller does not have yet.
    pub outbox: usize,
    /// Events that there was no room for.
    pub lost: u64,
    /// Until when the site's certificate is good.
    pub certificate_until: Timestamp,
}
