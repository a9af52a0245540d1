//! What a policy folder declares becomes part of the estate: sites, owners, devices with zone and owner.
//!
//! A folder is a person's word. It declares what nobody has decided yet, and changes no decision that somebody made since. A device
//! that was discovered before is recognised by its link address; the folder's id for it is the one from then on.

use std::collections::{BTreeMap, BTreeSet};

use estate::devices::{self, Edit, Facts, Field, Said};
use estate::teams::Team;
use estate::{Command, sites, teams};
use journal::entry::Actor;
use model::{DeviceId, SiteId, Timestamp};
use policy::folder::{Device, Folder};

use crate::{Hub, HubError};

/// The source that a folder is.
const SOURCE: &str = "import/policy";
/// Devices of one command.
const BATCH: usize = 500;

pub(super) fn import(hub: &Hub, who: &Actor, why: &str, folder: &Folder) -> Result<(), HubError> {
    let command = |command| hub.command(who, why, command, BTreeSet::new());
    for site in &folder.estate.sites {
        if hub.read(|estate| estate.sites().get(&site.id).is_none()) {
            let name = site.id.to_string();
            command(Command::Site(sites::Command::Create { id: site.id.clone(), name }))?;
        }
    }
    for owner in &folder.estate.owners {
        if hub.read(|estate| estate.teams().get(&owner.id).is_none()) {
            let contact = if owner.contact.is_empty() { "not stated" } else { &owner.contact };
            let team = Team {
                id: owner.id.clone(),
                name: owner.id.clone(),
                contact: contact.to_owned(),
                escalate_after_min: 240,
                escalate_to: None,
            };
            command(Command::Team(teams::Command::Set { team }))?;
        }
    }
    let zones: BTreeMap<&str, &SiteId> = folder
        .estate
        .zones
        .iter()
        .filter_map(|z| Some((z.id.as_str(), z.site.as_ref()?)))
        .collect();
    let now = hub.now();
    let mut by_site: BTreeMap<SiteId, Vec<Facts>> = BTreeMap::new();
    let mut merges = Vec::new();
    for device in &folder.estate.devices {
        let Some(site) = zones.get(device.zone.as_str()) else {
            continue; // Destinations outside are no devices of a site.
        };
        let keys: Vec<String> = device.macs.iter().map(|mac| format!("mac/{mac}")).collect();
        let (known, other) = hub.read(|estate| {
            let all = estate.devices();
            let known = all.get(&device.id).is_some();
            let of_key = |key: &String| all.by_key(key, site).map(|d| d.id.clone());
            (known, keys.iter().find_map(of_key).filter(|id| *id != device.id))
        });
        // One record first, then the merge gives it the identifiers.
        let own_keys = if other.is_some() { Vec::new() } else { keys };
        by_site.entry((*site).clone()).or_default().push(facts(device, own_keys, now));
        if let (false, Some(other)) = (known, other) {
            merges.push((device.id.clone(), other));
        }
    }
    for (site, facts) in by_site {
        for part in facts.chunks(BATCH) {
            let (site, source, devices) = (site.clone(), SOURCE.to_owned(), part.to_vec());
            command(Command::Device(devices::Command::Report { site, source, devices }))?;
        }
    }
    for (keep, other) in merges {
        command(Command::Device(devices::Command::Merge { keep, other }))?;
    }
    decide(hub, who, why, folder)
}

/// Zone and owner of those about whom nobody has decided.
fn decide(hub: &Hub, who: &Actor, why: &str, folder: &Folder) -> Result<(), HubError> {
    let mut alike: BTreeMap<BTreeMap<Field, Option<String>>, Vec<DeviceId>> = BTreeMap::new();
    hub.read(|estate| {
        for device in &folder.estate.devices {
            let Some(known) = estate.devices().get(&device.id) else {
                continue;
            };
            let undecided =
                |field: Field| !known.claims().iter().any(|c| c.decided && c.field == field);
            let mut set = BTreeMap::new();
            for (field, value) in [
                (Field::Zone, device.meant()),
                (Field::Owner, device.owner.as_str()),
                (Field::Name, device.name.as_str()),
            ] {
                if !value.is_empty() && undecided(field) {
                    set.insert(field, Some(value.to_owned()));
                }
            }
            if device.posture != "normal" && undecided(Field::Posture) {
                set.insert(Field::Posture, Some(device.posture.clone()));
            }
            if !set.is_empty() {
                alike.entry(set).or_default().push(device.id.clone());
            }
        }
    });
    for (set, ids) in alike {
        for part in ids.chunks(BATCH) {
            let edit = Edit { set: set.clone(), labels: BTreeMap::new() };
            let command = devices::Command::Edit { devices: part.to_vec(), edit };
            hub.command(who, why, Command::Device(command), BTreeSet::new())?;
        }
    }
    Ok(())
}

fn facts(device: &Device, keys: Vec<String>, now: Timestamp) -> Facts {
    let says = |field: Field, value: &str| {
        let said = Said {
            field,
            value: Some(value.to_owned()),
            detail: String::new(),
            confidence: 90,
            at: now,
        };
        (!value.is_empty() && value != "unknown").then_some(said)
    };
    Facts {
        id: device.id.clone(),
        subject: device.id.to_string(),
        keys,
        addresses: (!device.addresses.is_empty()).then(|| device.addresses.clone()),
        said: [
            says(Field::Type, &device.kind),
            says(Field::Support, &device.support),
            says(Field::Exposure, &device.exposure),
            says(Field::MudUrl, device.mud_url.as_deref().unwrap_or_default()),
        ]
        .into_iter()
        .flatten()
        .collect(),
        first_seen: now,
        last_seen: now,
    }
}
