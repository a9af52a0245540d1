//! Leases of a DHCP server as rows: one for each client, with all its addresses.

use std::collections::BTreeMap;

use estate::devices::Field;
use inventory::leases::{Format, Lease, Leases};
use model::Timestamp;

use super::{LEASE_CONFIDENCE, Line, Row};

const NANOS: i64 = 1_000_000_000;

/// Reads a file of leases.
pub(super) fn read(format: Format, bytes: &[u8], now: Timestamp) -> Vec<Line> {
    let Leases { leases, refused, refused_count, .. } = Leases::read(format, bytes);
    let now_s = now.as_nanos().div_euclid(NANOS);
    let mut clients: BTreeMap<String, Vec<Lease>> = BTreeMap::new();
    let mut ended = BTreeMap::new();
    for lease in leases {
        // A link address is what a device is known by; a DUID where there is none.
        let key = match (&lease.mac, &lease.duid) {
            (Some(mac), _) => format!("mac/{mac}"),
            (None, Some(duid)) => format!("duid/{duid}"),
            (None, None) => continue,
        };
        match lease.holds(now_s) {
            true => clients.entry(key).or_default().push(lease),
            false => drop(ended.insert(key, lease.line)),
        }
    }
    let gone = ended.into_iter().filter(|(key, _)| !clients.contains_key(key));
    let mut lines: Vec<Line> = gone.map(|(key, line)| Line::Ended { line, key }).collect();
    let told = refused.len();
    lines.extend(refused.into_iter().map(|r| Line::Refused { line: r.line, why: r.why }));
    if refused_count > told {
        let why = format!("{} more lines were not understood", refused_count.saturating_sub(told));
        lines.push(Line::Refused { line: 0, why });
    }
    lines.extend(clients.into_iter().map(|(key, leases)| Line::Row(row(key, &leases))));
    lines.sort_by_key(Line::number);
    lines
}

/// What the leases of one client say.
fn row(key: String, leases: &[Lease]) -> Row {
    let newest = leases.iter().max_by_key(|lease| (lease.heard_s, lease.line));
    let named = leases.iter().filter(|lease| lease.hostname.is_some());
    let named = named.max_by_key(|lease| (lease.heard_s, lease.line));
    let mut addresses: Vec<_> = leases.iter().map(|lease| lease.address).collect();
    addresses.sort_unstable();
    let mut said = BTreeMap::new();
    if let Some(name) = named.and_then(|lease| lease.hostname.clone()) {
        said.insert(Field::Hostname, name);
    }
    let mut keys = vec![key];
    for duid in leases.iter().filter_map(|lease| lease.duid.as_ref()) {
        let duid = format!("duid/{duid}");
        if !keys.contains(&duid) {
            keys.push(duid);
        }
    }
    let heard = leases.iter().filter_map(|lease| lease.heard_s).max();
    Row {
        line: newest.map_or(0, |lease| lease.line),
        keys,
        addresses: Some(addresses),
        one_family: true,
        said,
        detail: "hostname",
        confidence: LEASE_CONFIDENCE,
        last_seen: heard.map(|s| Timestamp::from_secs(s, 0)),
        ..Row::default()
    }
}
