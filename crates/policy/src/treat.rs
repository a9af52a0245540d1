//! What zones declare about neighbourhood protocols, as permits of a ruleset.
//!
//! | key | `permit` | `within-zone` |
//! |---|---|---|
//! | `mdns`, `ssdp` | the zone's devices may send to the groups | between each other by unicast; groups reach every port, so they stay closed |
//! | `profinet` | frames to groups and to every device | frames between the zone's devices; discovery by group stays closed |
//! | `goose` | frames to groups | always to a group: not enforceable, stays closed |
//! | `ipv6_nd` | as it is: open where a ruleset has IPv6 members | not enforceable |
//!
//! `deny`, and a key that is not there, add nothing; what a policy permits to single devices stays.
//! What cannot be kept is told by [`limits`], with what it would need.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use model::observation::Transport;
use model::ruleset::{Class, ClassId, Mode, Peer, Permit, Ruleset, Terms};

use crate::compile::mode_elsewhere;
use crate::folder::{Folder, Treatment};

/// PROFINET (IEC 61158-6-10).
const PROFINET: u16 = 0x8892;
/// GOOSE (IEC 61850-8-1).
const GOOSE: u16 = 0x88b8;

/// Group protocols over UDP: key, port, groups.
const GROUPS: [(&str, u16, &[&str]); 2] = [
    // RFC 6762 §3.
    ("mdns", 5353, &["224.0.0.251", "ff02::fb"]),
    // UPnP Device Architecture 2.0 §1.1.
    ("ssdp", 1900, &["239.255.255.250", "ff02::c", "ff05::c"]),
];

/// Adds what the zones of `folder` declare to a ruleset that was compiled from it.
pub(crate) fn apply(folder: &Folder, ruleset: &mut Ruleset) {
    let zones = classes(folder, ruleset);
    let mode = mode_elsewhere(folder);
    let everybody: BTreeSet<ClassId> = zones.values().flatten().copied().collect();
    let mut added: Vec<Permit> = Vec::new();
    for zone in &folder.estate.zones {
        let inside = zones.get(zone.id.as_str()).cloned().unwrap_or_default();
        if inside.is_empty() {
            continue;
        }
        let treatment = |key: &str| {
            let all = zone.treatment.all();
            all.into_iter().find(|(name, _)| *name == key).and_then(|(_, treatment)| treatment)
        };
        let permits = |key: &str, to: &BTreeSet<ClassId>, transport, number: u16| {
            let rule = format!("{}: {key} {}", zone.id, treatment(key).map_or("", Treatment::word));
            let pairs = inside.iter().flat_map(|from| to.iter().map(move |to| (*from, *to)));
            let permit = |(from, to)| Permit {
                from,
                to,
                transport,
                first_port: number,
                last_port: number,
                rule: rule.clone(),
                terms: Terms::default(),
            };
            pairs.map(permit).collect::<Vec<_>>()
        };
        for (key, port, groups) in GROUPS {
            match treatment(key) {
                Some(Treatment::Permit) => {
                    let to = groups
                        .iter()
                        .filter_map(|ip| Some(group(ruleset, key, ip.parse().ok()?, mode)));
                    let to: BTreeSet<ClassId> = to.collect();
                    added.extend(permits(key, &to, Transport::Udp, port));
                    added.extend(permits(key, &everybody, Transport::Udp, port));
                }
                Some(Treatment::WithinZone) => {
                    added.extend(permits(key, &inside, Transport::Udp, port));
                }
                _ => {}
            }
        }
        match zone.treatment.profinet {
            Some(Treatment::Permit) => {
                let mut to = everybody.clone();
                to.insert(named(ruleset, "group/profinet", mode));
                added.extend(permits("profinet", &to, Transport::Link, PROFINET));
            }
            Some(Treatment::WithinZone) => {
                added.extend(permits("profinet", &inside, Transport::Link, PROFINET));
            }
            _ => {}
        }
        if zone.treatment.goose == Some(Treatment::Permit) {
            let to = BTreeSet::from([named(ruleset, "group/goose", mode)]);
            added.extend(permits("goose", &to, Transport::Link, GOOSE));
        }
    }
    let key = |p: &Permit| (p.from, p.to, p.transport, p.first_port, p.last_port);
    // What a policy permits keeps its rule: it has an author and a reason.
    let known: BTreeSet<_> = ruleset.permits.iter().map(key).collect();
    added.retain(|permit| !known.contains(&key(permit)));
    ruleset.permits.append(&mut added);
    ruleset.permits.sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.rule.cmp(&b.rule)));
    ruleset.permits.dedup_by_key(|permit| key(permit));
}

/// What zones declare and a packet filter on a bridge cannot keep, with what it needs.
pub fn limits(folder: &Folder) -> Vec<String> {
    let mut out = Vec::new();
    for zone in &folder.estate.zones {
        for (key, treatment) in zone.treatment.all() {
            let why = match (key, treatment) {
                ("goose" | "mdns" | "ssdp", Some(Treatment::WithinZone)) => {
                    "frames to a group reach every port of a bridge, so they are closed; needs a bridge or VLAN per zone, or a reflector"
                }
                ("profinet", Some(Treatment::WithinZone)) => {
                    "its discovery goes to a group and is closed; needs a bridge or VLAN per zone"
                }
                ("ipv6_nd", Some(Treatment::Deny | Treatment::WithinZone)) => {
                    "neighbours that may talk over IPv6 must find each other, and solicitations name no zone; needs a VLAN per zone"
                }
                _ => continue,
            };
            let word = treatment.map_or("", Treatment::word);
            out.push(format!("{key} = {word} in zone {}: not enforceable here; {why}", zone.id));
        }
    }
    out
}

/// Classes of the devices of each zone.
fn classes<'f>(folder: &'f Folder, ruleset: &Ruleset) -> BTreeMap<&'f str, BTreeSet<ClassId>> {
    let devices: BTreeMap<&str, &str> =
        folder.estate.devices.iter().map(|d| (d.id.as_str(), d.zone.as_str())).collect();
    let mut out: BTreeMap<&str, BTreeSet<ClassId>> = BTreeMap::new();
    for member in &ruleset.members {
        if let Some(zone) = devices.get(member.device.as_str()) {
            out.entry(zone).or_default().insert(member.class);
        }
    }
    out
}

/// The class of a group's address: the one it has, else a new one.
fn group(ruleset: &mut Ruleset, key: &str, ip: IpAddr, mode: Mode) -> ClassId {
    let prefix = if ip.is_ipv4() { 32 } else { 128 };
    let own = ruleset.peers.iter().find(|peer| peer.ip == ip && peer.prefix == prefix);
    if let Some(peer) = own {
        return peer.class;
    }
    let class = named(ruleset, &format!("group/{key}"), mode);
    ruleset.peers.push(Peer { ip, prefix, class });
    class
}

/// The class of that name: the one there is, else a new one.
fn named(ruleset: &mut Ruleset, name: &str, mode: Mode) -> ClassId {
    if let Some((id, _)) = ruleset.classes.iter().find(|(_, class)| class.name == name) {
        return *id;
    }
    let last = ruleset.classes.keys().next_back().map_or(0, |id| id.0);
    let id = ClassId(last.saturating_add(1));
    ruleset.classes.insert(id, Class { name: name.to_owned(), mode });
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::DeviceId;
    use model::ruleset::Member;

    use crate::folder::{Device, Treatments, Zone};

    fn device(name: &str, zone: &str) -> Device {
        Device {
            id: DeviceId::new(name).unwrap(),
            name: String::new(),
            kind: "plc".to_owned(),
            zone: zone.to_owned(),
            macs: Vec::new(),
            meant: None,
            mud_url: None,
            addresses: Vec::new(),
            behind: None,
            owner: String::new(),
            assurance: model::Assurance::Observed,
            support: String::new(),
            exposure: String::new(),
            posture: String::new(),
        }
    }

    /// Two devices in zone `cells`, one in zone `office`, each in a class of its own.
    fn lowered(treatment: Treatments) -> (Ruleset, Vec<String>) {
        let zone = |id: &str, treatment| Zone { id: id.to_owned(), treatment, ..Zone::default() };
        let mut folder = Folder {
            schema: String::new(),
            policies: Vec::new(),
            estate: crate::folder::Estate::default(),
            tests: crate::folder::Tests::default(),
            claims: Vec::new(),
            exceptions: Vec::new(),
            cards: Vec::new(),
        };
        folder.estate.zones = vec![zone("cells", treatment), zone("office", Treatments::default())];
        folder.estate.devices =
            vec![device("plc-1", "cells"), device("plc-2", "cells"), device("pc", "office")];
        let mut ruleset = Ruleset {
            generation: 1,
            parent: None,
            classes: BTreeMap::new(),
            members: Vec::new(),
            peers: Vec::new(),
            permits: Vec::new(),
            exceptions: Vec::new(),
            names: Vec::new(),
            proposed: Vec::new(),
        };
        for (number, device) in (1u8..).zip(&folder.estate.devices) {
            let class = ClassId(number.into());
            let name = device.id.to_string();
            ruleset.classes.insert(class, Class { name, mode: Mode::Enforce });
            ruleset.members.push(Member {
                device: device.id.clone(),
                mac: model::Mac([2, 0, 0, 0, 0, number]),
                ip: IpAddr::from([10, 0, 0, number]),
                class,
            });
        }
        apply(&folder, &mut ruleset);
        (ruleset, limits(&folder))
    }

    fn pairs(ruleset: &Ruleset) -> Vec<(String, String)> {
        let name = |class: &ClassId| ruleset.classes[class].name.clone();
        ruleset.permits.iter().map(|p| (name(&p.from), name(&p.to))).collect()
    }

    #[test]
    fn nothing_declared_adds_nothing() {
        let (ruleset, limits) = lowered(Treatments::default());
        assert_eq!((ruleset.permits.len(), ruleset.peers.len(), limits.len()), (0, 0, 0));
        let deny = Some(Treatment::Deny);
        let denied =
            Treatments { mdns: deny, ssdp: deny, profinet: deny, goose: deny, ipv6_nd: None };
        assert_eq!(lowered(denied).0.permits.len(), 0);
    }

    #[test]
    fn a_permit_opens_the_group_for_the_zone_only() {
        let treatment = Treatments { mdns: Some(Treatment::Permit), ..Treatments::default() };
        let (ruleset, limits) = lowered(treatment);
        assert_eq!(limits, [""; 0]);
        let groups: Vec<_> = ruleset.peers.iter().map(|peer| peer.ip.to_string()).collect();
        assert_eq!(groups, ["224.0.0.251", "ff02::fb"]);
        assert!(pairs(&ruleset).contains(&("plc-1".to_owned(), "group/mdns".to_owned())));
        assert!(!pairs(&ruleset).iter().any(|(from, _)| from == "pc"));
        assert!(ruleset.permits.iter().all(|p| (p.first_port, p.last_port) == (5353, 5353)));
        assert_eq!(ruleset.permits[0].rule, "cells: mdns permit");
    }

    #[test]
    fn within_the_zone_is_between_its_devices_and_the_rest_is_told() {
        let within = Some(Treatment::WithinZone);
        let treatment = Treatments { profinet: within, goose: within, ..Treatments::default() };
        let (ruleset, limits) = lowered(treatment);
        let devices = ["plc-1", "plc-2"];
        for (from, to) in pairs(&ruleset) {
            assert!(devices.contains(&from.as_str()) && devices.contains(&to.as_str()));
        }
        assert!(ruleset.permits.iter().all(|p| p.first_port == PROFINET));
        assert_eq!(ruleset.permits.len(), 4);
        assert_eq!(limits.len(), 2, "{limits:?}");
        assert!(limits.iter().all(|limit| limit.contains("not enforceable here; ")));
        // GOOSE to a group has a class without devices.
        let goose = Treatments { goose: Some(Treatment::Permit), ..Treatments::default() };
        let (ruleset, _) = lowered(goose);
        assert_eq!(pairs(&ruleset)[0], ("plc-1".to_owned(), "group/goose".to_owned()));
    }
}
