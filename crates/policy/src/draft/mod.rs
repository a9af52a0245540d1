//! A least-privilege proposal from what was recorded: zones, services, permits, tests, claims, MUD
//! files, and a list of what it refuses to learn, with reasons.
//!
//! A capture may be polluted by the very attack that policy should stop. So a path is *not* permitted
//! just because it was used: scans, destinations that none of a device's peers use, clear-text
//! administration and paths without a known opener are listed as not allowed, for a person to decide.

mod estate;
mod guard;
mod paths;
mod rules;
pub(crate) mod words;

use std::collections::BTreeMap;

use model::inspect::{Reach, Report};
use model::observation::Transport;
use model::ruleset::Mode;
use model::{DeviceId, ServiceId, Timestamp};

use crate::folder::{Folder, Observed, SCHEMA, Tests};
use crate::lower::lower;
use crate::{mud, packs, reach};

pub use estate::Roster;

/// How to generalise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftOptions {
    /// Mode of the zones.
    pub mode: Mode,
    /// Devices of a type in a zone that must share a path before it is permitted to all of them.
    pub shared_by_min: usize,
    /// … and the share of them, in percent.
    pub shared_percent_min: usize,
    /// Peers without a path that make its only user suspicious.
    pub rare_peers_min: usize,
    /// Where MUD files will be served; ends with a slash.
    pub mud_base: String,
    /// Also what only a reader of the folder needs: tests, claims, remarks on them, MUD files and all
    /// texts. Without, a draft says what it permits, which paths it leaves closed and how far devices
    /// reach: all that a report needs.
    pub folder: bool,
}

impl Default for DraftOptions {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            shared_by_min: 2,
            shared_percent_min: 50,
            rare_peers_min: 3,
            mud_base: crate::mud::URL_BASE.to_owned(),
            folder: true,
        }
    }
}

/// A draft.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The folder as a value.
    pub folder: Folder,
    /// The folder as text: relative path → content, README, MUD files and proposals included.
    pub files: BTreeMap<String, String>,
    /// Recorded paths that are left closed.
    pub refused: Vec<Refused>,
    /// What it was learnt from.
    pub observed: Observed,
    /// How far each device gets in the flat network and under the draft.
    pub reach: Reach,
    /// Remarks for a person: claims that do not hold, addresses that several devices claimed, paths that
    /// a packet filter cannot tell apart.
    pub remarks: Vec<String>,
}

/// A recorded path that the draft leaves closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Client.
    pub from: DeviceId,
    /// Destination.
    pub to: ServiceId,
    /// Transport.
    pub transport: Transport,
    /// Port.
    pub port: u16,
    /// Why, at least one.
    pub reasons: Vec<Reason>,
    /// `input#packet` of first sights.
    pub evidence: Vec<String>,
    /// First use.
    pub first_seen: Timestamp,
    /// Last use.
    pub last_seen: Timestamp,
    /// Connections or exchanges.
    pub flows: u64,
    /// Indexes into `report.conduits`.
    pub conduits: Vec<usize>,
}

/// Why a path is left closed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    /// Which.
    pub kind: ReasonKind,
    /// In words.
    pub text: String,
}

/// Kinds of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReasonKind {
    /// The inventory already proposed not to allow it.
    Inventory,
    /// The device probes the network and its peers do not use the path.
    Scanner,
    /// Only this device uses the destination, its peers do not.
    RareDestination,
    /// A policy of a pack forbids it.
    Forbidden,
    /// Administration in clear text.
    CleartextAdmin,
    /// Who opens it is not known.
    DirectionUnknown,
}

impl ReasonKind {
    /// A stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Inventory => "inventory",
            Self::Scanner => "scanner",
            Self::RareDestination => "rare-destination",
            Self::Forbidden => "forbidden",
            Self::CleartextAdmin => "cleartext-admin",
            Self::DirectionUnknown => "direction-unknown",
        }
    }
}

/// Drafts a policy folder.
pub fn draft(report: &Report, options: &DraftOptions) -> Draft {
    draft_of(Roster::of(report), report, options)
}

/// The same, from a report whose devices were not kept. Only for drafts without a folder: the makers and
/// models in MUD files come from the documents of devices.
pub fn draft_of(roster: Roster, report: &Report, options: &DraftOptions) -> Draft {
    let observed = words::observed(report);
    let built = estate::build(roster, &report.services, options, observed.clone());
    let mut remarks = built.remarks;
    let mut estate = built.estate;
    estate.packs = vec![packs::BASE.to_owned()];
    // The shipped text is read by the crate's own tests; a pack that could not be read would grant nothing more.
    let base = packs::policies(packs::BASE).unwrap_or_default();
    let mut folder = Folder {
        schema: SCHEMA.to_owned(),
        estate,
        policies: base,
        tests: Tests::default(),
        claims: Vec::new(),
        exceptions: Vec::new(),
        cards: Vec::new(),
    };
    let (allowed, refused) = paths::sort(report, &folder, options);
    let rules = rules::generalise(&folder.estate, &allowed, &refused, options);
    folder.policies.extend(rules.policies);
    folder.estate.groups = rules.groups;
    folder.estate.conduits = rules.conduits;
    let lowered = lower(&folder);
    let analysis = reach::analyse(&folder, &lowered);
    let reach = reach::summary(&folder, &analysis, reach::used_pairs(report, &folder));
    if !options.folder {
        let files = BTreeMap::new();
        return Draft { folder, files, refused, observed, remarks, reach };
    }
    folder.tests = guard::tests(&folder, &lowered, &analysis, &rules.samples, &refused);
    let (claims, broken) = guard::claims(&folder, &lowered);
    folder.claims = claims;
    remarks.extend(broken.iter().cloned());
    remarks.extend(words::limits(&folder, &lowered));

    let mut notes = words::refused_by_file(&folder, &refused);
    notes.insert(crate::folder::CLAIMS_FILE.to_owned(), broken);
    let mut files = folder.files_with(&notes);
    for (kind, file) in
        mud::of_types(Some(report), &folder, &lowered, observed.last, &options.mud_base)
    {
        files.insert(format!("mud/{kind}.json"), file.to_json());
    }
    files.insert("proposals.md".to_owned(), words::proposals(&folder, &refused, &remarks));
    files.insert("README.md".to_owned(), words::readme(&folder, &observed, &refused, &remarks));
    Draft { folder, files, refused, observed, remarks, reach }
}
