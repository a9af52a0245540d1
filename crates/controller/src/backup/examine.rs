//! Opens a state folder as a controller does, and says what is in it: the journal is opened and folded, every entry is hashed again, and what the
//! estate names has to be there.

use std::path::Path;

use journal::Hash;
use journal::tree::CompactRange;
use model::Timestamp;
use serde::Serialize;
use store::Store as _;
use store::side::{Side, Verified};

use super::error::BackupError;
use crate::blobs::Blobs;
use crate::hub::{Hub, HubError};
use crate::state::StateFolder;

/// What a state folder holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// The estate's name.
    pub estate: String,
    /// The journal's name.
    pub origin: String,
    /// Entries of the journal.
    pub entries: u64,
    /// Root of their tree, in base64.
    pub root: String,
    /// Entries under the head that was signed last.
    pub signed: Option<u64>,
    /// Whether heads are shown to witnesses.
    pub witnessed: bool,
    /// Sites.
    pub sites: usize,
    /// Devices.
    pub devices: usize,
    /// Operators that were not erased.
    pub operators: usize,
    /// Records of operators that are not what the journal says of them: they cannot log in.
    pub operators_lost: usize,
}

/// Opens a folder that nobody else has, and looks at everything in it.
pub(super) fn examine(at: &Path, clock: fn() -> Timestamp) -> Result<Facts, BackupError> {
    // What is missing would be made anew, and that is no state of anybody.
    for needed in ["journal.db", "key.pem", "log.vkey", "name"] {
        if !at.join(needed).is_file() {
            return Err(BackupError::NoState { path: at.to_owned(), needed });
        }
    }
    let folder = StateFolder::look(at).map_err(Box::new)?;
    let name = folder.read("name").map_err(Box::new)?.unwrap_or_default();
    let estate = String::from_utf8_lossy(&name).trim_end().to_owned();
    let hub = Hub::look(&folder, clock).map_err(Box::new)?;
    let (entries, root) = hashed(&hub)?;

    let in_force = hub.read(|estate| estate.policies().current().map(|v| v.content.clone()));
    if let Some(content) = in_force {
        let blobs = Blobs::open(&folder.file("blobs")).map_err(Box::new)?;
        if blobs.get(&content).map_err(Box::new)?.is_none() {
            return Err(BackupError::NoPolicy(content));
        }
    }
    let (sites, devices) = hub.read(|e| (e.sites().iter().count(), e.devices().len()));
    let (operators, operators_lost) = people(&hub, &folder)?;
    Ok(Facts {
        estate,
        origin: hub.key().name().to_string(),
        entries,
        root: root.to_base64(),
        signed: hub.log().signed().map(|head| head.checkpoint().size),
        witnessed: folder.read("witnesses").map_err(Box::new)?.is_some(),
        sites,
        devices,
        operators,
        operators_lost,
    })
}

/// Number and root of the entries, from their bytes.
fn hashed(hub: &Hub) -> Result<(u64, Hash), BackupError> {
    let store = hub.log().store();
    let head = store.head();
    let wrong = |error: store::StoreError| Box::new(HubError::Store(error));
    let mut range = CompactRange::new();
    while range.size() < head.size() {
        let read = store.read(range.size(), head.size()).map_err(wrong)?;
        for entry in &read {
            // A tree holds as many as its head says.
            let _ = range.append(Hash::leaf(entry));
        }
        if read.is_empty() {
            break;
        }
    }
    let (entries, found, said) = (range.size(), range.root(), head.root());
    if entries != head.size() || found != said {
        let (found, said) = (found.to_base64().into(), said.to_base64().into());
        return Err(BackupError::Tree { entries, found, said });
    }
    Ok((entries, found))
}

/// How many operators there are, and how many have records that are not what the journal says.
fn people(hub: &Hub, folder: &StateFolder) -> Result<(usize, usize), BackupError> {
    let operators = hub.read(|estate| estate.access().operators().clone());
    let there = operators.values().filter(|operator| operator.erased_at.is_none());
    let at = folder.file("people.db");
    if !at.is_file() {
        let there = there.count();
        return Ok((there, there));
    }
    let side = Side::open(&at).map_err(Box::new)?;
    let (mut all, mut lost) = (0, 0);
    for operator in there {
        all += 1;
        let password = operator.password.as_ref().map(|password| &password.record);
        for commitment in std::iter::once(&operator.profile).chain(password) {
            let digest = commitment.digest.into();
            let found = side.verify(commitment.record.as_str(), &digest).map_err(Box::new)?;
            if !matches!(found, Verified::Kept(_)) {
                lost += 1;
                break;
            }
        }
    }
    Ok((all, lost))
}
