//! How a site stands, as a document: `ringfence.site.status/v1`.

use model::Timestamp;
use model::inspect::Severity;
use model::ruleset::Mode;
use serde::{Deserialize, Serialize};

use crate::asked::Questions;
use crate::gate::Gate;
use crate::life::{Control, Grant, Pending};
use crate::sense::Unknown;
use crate::uplink::Line;

/// Version of the document.
pub const SCHEMA: &str = "ringfence.site.status/v1";

/// The document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name of the site.
    pub site: String,
    /// Interface the devices are behind.
    pub interface: String,
    /// When this was.
    pub at: Timestamp,
    /// Since when the process runs.
    pub started: Timestamp,
    /// Generation that is wanted; 0 when nothing is.
    pub generation: u64,
    /// Generation that the kernel holds.
    pub in_kernel: Option<u64>,
    /// Content of the policy folder that is enforced.
    pub content: Option<String>,
    /// Why it is this generation.
    pub why: String,
    /// Every control with its state.
    pub controls: Vec<ControlState>,
    /// Every zone.
    pub zones: Vec<ZoneState>,
    /// A change that waits for a confirmation.
    pub pending: Option<Pending>,
    /// Emergency grants in force.
    pub break_glass: Vec<Grant>,
    /// Faults of the folder on disk; what is enforced is the one before it.
    pub faults: Vec<String>,
    /// What cannot be kept here, and what it needs.
    pub not_enforceable: Vec<String>,
    /// Devices seen, and those that the folder does not have.
    pub devices: Devices,
    /// What devices asked the resolver, where there is one.
    #[serde(default)]
    pub questions: Option<Questions>,
    /// The line to the controller, where the site is on one.
    #[serde(default)]
    pub line: Option<Line>,
    /// What deserves attention, the newest first.
    pub findings: Vec<Noted>,
}

/// One control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlState {
    /// `containment`, `rules`, `sensor`, `resolver` (where there is one), `shadow ZONE`.
    pub control: String,
    /// How far it is.
    pub state: Control,
    /// Why it is no further; empty when it is.
    pub why: String,
}

/// One zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneState {
    /// Its id.
    pub zone: String,
    /// The mode it has.
    pub mode: Mode,
    /// Who decided: `folder`, `--shadow`, or the site with its reason.
    pub decided: String,
    /// Devices of the folder in it.
    pub devices: usize,
    /// Flows that rules explained since it is watched in shadow.
    pub explained: u64,
    /// Packets that would have been denied meanwhile.
    pub would_deny: u64,
    /// The promotion gate, for a zone in shadow.
    pub gate: Option<Gate>,
}

/// Who is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Devices {
    /// Seen.
    pub seen: usize,
    /// Of the folder.
    pub known: usize,
    /// Not of the folder.
    pub unknown: Vec<Unknown>,
    /// Packets read.
    pub packets: u64,
    /// Packets lost before they were read.
    pub dropped: u64,
}

/// Something that deserves attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noted {
    /// Stable word.
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// Whom it concerns.
    pub subject: String,
    /// One line.
    pub what: String,
    /// First time.
    pub first: Timestamp,
    /// Last time.
    pub last: Timestamp,
    /// How many times.
    pub count: u64,
}

/// Findings kept in memory; all of them are in `findings.jsonl`.
const NOTED_MAX: usize = 1_000;

/// What deserves attention, each thing once.
#[derive(Clone, Debug, Default)]
pub struct Notes(Vec<Noted>);

impl Notes {
    /// Adds a finding; gives it back when it is new.
    pub fn add(&mut self, at: Timestamp, kind: &str, subject: &str, what: &str) -> Option<Noted> {
        let same = |n: &&mut Noted| n.kind == kind && n.subject == subject;
        if let Some(noted) = self.0.iter_mut().find(same) {
            noted.last = at;
            noted.count = noted.count.saturating_add(1);
            what.clone_into(&mut noted.what);
            return None;
        }
        let severity = match kind {
            "drift" | "bypass" | "setting" | "not-applied" | "stepped-back" | "rolled-back"
            | "containment" | "older-bundle" | "damaged-bundle" | "certificate-ended" => {
                Severity::High
            }
            "unknown-device"
            | "canary-not-counted"
            | "sensor"
            | "state-behind-kernel"
            | "resolver"
            | "denials-not-remembered"
            | "clock-wrong"
            | "clock-differs"
            | "line-refused"
            | "line-not-kept"
            | "line-state-damaged"
            | "line-behind"
            | "outbox-full"
            | "certificate-not-renewed"
            | "flows-not-logged"
            | "used-paths-denied" => Severity::Medium,
            _ => Severity::Low,
        };
        let noted = Noted {
            kind: kind.to_owned(),
            severity,
            subject: subject.to_owned(),
            what: what.to_owned(),
            first: at,
            last: at,
            count: 1,
        };
        if self.0.len() >= NOTED_MAX {
            self.0.remove(0);
        }
        self.0.push(noted.clone());
        Some(noted)
    }

    /// What was noted by this word is over: the next time it is news again.
    pub fn over(&mut self, kind: &str) {
        self.0.retain(|noted| noted.kind != kind);
    }

    /// The newest first.
    pub fn newest(&self) -> Vec<Noted> {
        let mut all = self.0.clone();
        all.sort_by_key(|noted| std::cmp::Reverse(noted.last));
        all
    }
}
