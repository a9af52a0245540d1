//! What identifies a device, as text: `KIND/VALUE`.
//!
//! | key | what it is | where it counts |
//! |---|---|---|
//! | `mac/…` | a link address that a maker assigned (IEEE 802, U/L bit 0) | everywhere |
//! | `mac/…` with the U/L bit | one that the device or a machine made up | at its site |
//! | `serial/VENDOR/…`, `duid/…`, `uuid/…`, `certificate/…`, `cip-serial/…`… | as `inventory` calls them | everywhere |
//! | `bacnet-instance/…`, `station-name/…`, `host-key/…`, `bridge/…` | given by people, or shared by copies | at its site |
//!
//! A key that counts at one site only is looked up with the site in front of it; a device that moves leaves it behind. A key
//! leads to one device: who has it first keeps it, and another that shows it is confused with that one.

use model::{Mac, SiteId};

/// Kinds that say the same wherever they are seen.
const EVERYWHERE: [&str; 7] =
    ["serial", "duid", "uuid", "certificate", "cip-serial", "vendor-id", "chassis"];
/// Kinds that copies share, or that people give.
const AT_SITE: [&str; 4] = ["bacnet-instance", "station-name", "host-key", "bridge"];

/// A key as the index has it; `None`: it is none.
pub fn indexed(key: &str, site: &SiteId) -> Option<String> {
    let (kind, value) = key.split_once('/')?;
    if value.is_empty() {
        return None;
    }
    let local = || format!("{site}|{key}");
    match kind {
        "mac" => {
            let mac: Mac = value.parse().ok()?;
            // However it is written it is one address; those of nobody and of groups are no identity.
            let group = mac.0.first().is_some_and(|first| first & 1 == 1);
            match (group || mac.0 == [0; 6], mac.is_local()) {
                (true, _) => None,
                (false, true) => Some(format!("{site}|mac/{mac}")),
                (false, false) => Some(format!("mac/{mac}")),
            }
        }
        _ if EVERYWHERE.contains(&kind) => Some(key.to_owned()),
        _ if AT_SITE.contains(&kind) => Some(local()),
        _ => None,
    }
}

/// Whether a key says nothing away from the site where it was seen.
pub(super) fn is_local(key: &str) -> bool {
    match key.split_once('/') {
        Some(("mac", value)) => value.parse().is_ok_and(|mac: Mac| mac.is_local()),
        Some((kind, _)) => AT_SITE.contains(&kind),
        None => false,
    }
}

/// How the index has a source's own name for a device.
pub fn subject(site: &SiteId, source: &str, subject: &str) -> String {
    format!("{site}|{source}|{subject}")
}
