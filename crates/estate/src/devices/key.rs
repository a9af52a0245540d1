//! What identifies a device, as text: `KIND/VALUE`.
//!
//! | key | what it is | where it counts |
//! |---|---|---|
//! | `mac/…` | a link address that a maker assigned (IEEE 802, U/L bit 0) | everywhere |
//! | `mac/…` with the U/L bit | one that the device or a machine made up | at its site |
//! | `serial/VENDOR/…`, `duid/…`, `uuid/…`, `certificate/…`, `cip-serial/…`… | as `inventory` calls them | everywhere |
//! | `bacnet-instance/…`, `station-name/…`, `host-key/…`, `bridge/…` | given by people, or shared by copies | at its site |
//!
//! A key that counts at one site only is looked up with the site in front of it.

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
            Some(if mac.is_local() { local() } else { key.to_owned() })
        }
        _ if EVERYWHERE.contains(&kind) => Some(key.to_owned()),
        _ if AT_SITE.contains(&kind) => Some(local()),
        _ => None,
    }
}

/// How the index has a source's own name for a device.
pub fn subject(site: &SiteId, source: &str, subject: &str) -> String {
    format!("{site}|{source}|{subject}")
}
