//! Reference values from before there was a catalogue: files of the state folder, which become releases of the controller's own when it starts. Each once: what is
//! in the catalogue, or was withdrawn from it, is known by the digest of its document.

use std::collections::BTreeSet;

use estate::releases::{Command, document};
use estate::side::Digest;

use crate::api::releases::release;
use crate::hub::itself;
use crate::state::{StateFolder, files};
use crate::{Hub, HubError};

/// Folder with their files.
const FOLDER: &str = "references";

/// Takes in files that are new; `told` gets a line for each, and for each that cannot be taken.
pub fn import(hub: &Hub, folder: &StateFolder, told: &mut dyn FnMut(&str)) -> Result<(), HubError> {
    let files = match files(&folder.file(FOLDER), "json") {
        Ok(files) => files,
        Err(why) => {
            told(&format!("reference values are not taken into the catalogue: {why}"));
            return Ok(());
        }
    };
    for (name, bytes) in files {
        let digest = Digest(crypto::sha256(&bytes));
        if hub.read(|estate| estate.releases().has_document(&digest)) {
            continue;
        }
        match take(hub, &name, &bytes) {
            Ok(Some(id)) => told(&format!("{name} is in the catalogue now, as {id}")),
            Ok(None) => {}
            Err(HubError::Refused(refusal)) => {
                told(&format!("{name} is not taken into the catalogue: {}", refusal.why));
            }
            Err(other) => return Err(other),
        }
    }
    Ok(())
}

/// The id of the release that a file became; `None`: another one says the same.
fn take(hub: &Hub, name: &str, bytes: &[u8]) -> Result<Option<String>, HubError> {
    let said = document::read(bytes).map_err(|why| {
        estate::Refusal::new(estate::Sort::Invalid, "release.document", name, why)
    })?;
    let why = "reference values from before there was a catalogue";
    let release = release(hub, said, bytes, &format!("{why}: {}", short(name)))?;
    let id = release.id.clone();
    let command = estate::Command::Release(Command::Add { release, replaces: None });
    let done = hub.command(&itself()?, why, command, BTreeSet::new())?;
    Ok((!done.events.is_empty()).then_some(id))
}

/// The name of a file without its folders, as a reason takes it.
fn short(name: &str) -> String {
    let name = name.rsplit('/').next().unwrap_or_default();
    name.chars().filter(|c| !c.is_control()).take(200).collect()
}
