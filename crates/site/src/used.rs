//! Which denied flows went over a path that was used before: a conduit that the folder records, or a
//! rule of an earlier generation that had hits. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use enforcer::{Denial, Flow, InForce, Judgement, Options, judge};
use model::observation::Transport;
use model::ruleset::Ruleset;
use policy::folder::{Device, Folder, Service};

use crate::gate::Sample;

/// What the folder records, by address.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Device id and zone of an address.
    device: HashMap<IpAddr, (String, String)>,
    /// Services at an address, and their groups.
    service: HashMap<(IpAddr, Transport, u16), Vec<String>>,
    /// Conduits as (source, destination) in the folder's words.
    conduits: BTreeSet<(String, String)>,
}

impl Recorded {
    /// Reads a folder.
    pub fn of(folder: &Folder) -> Self {
        let estate = &folder.estate;
        let mut out = Self::default();
        let devices: BTreeMap<&str, &Device> =
            estate.devices.iter().map(|device| (device.id.as_str(), device)).collect();
        for device in &estate.devices {
            for ip in &device.addresses {
                out.device.insert(*ip, (device.id.to_string(), device.zone.clone()));
            }
        }
        let mut groups: HashMap<&str, Vec<&str>> = HashMap::new();
        for group in &estate.groups {
            for service in &group.services {
                groups.entry(service.as_str()).or_default().push(&group.id);
            }
        }
        let host = |service: &Service| {
            service.device.as_ref().and_then(|id| devices.get(id.as_str())).copied()
        };
        for service in &estate.services {
            for ip in estate.addresses(service, host(service)) {
                let at = out.service.entry((*ip, service.transport, service.port)).or_default();
                at.push(format!("service {}", service.id));
                let of = groups.get(service.id.as_str()).into_iter().flatten();
                at.extend(of.map(|group| format!("group {group}")));
            }
        }
        out.conduits = estate.conduits.iter().map(|c| (c.from.clone(), c.to.clone())).collect();
        out
    }

    /// Device id of an address.
    pub fn name(&self, ip: IpAddr) -> String {
        self.device.get(&ip).map_or_else(|| ip.to_string(), |(id, _)| id.clone())
    }

    /// Zone of a device's address.
    pub fn zone(&self, ip: IpAddr) -> Option<&str> {
        self.device.get(&ip).map(|(_, zone)| zone.as_str())
    }

    /// The recorded conduit that a flow went over.
    pub fn conduit(&self, flow: &Flow) -> Option<&(String, String)> {
        let (id, zone) = self.device.get(&flow.from)?;
        let sources = [format!("device {id}"), format!("zone {zone}")];
        let services = self.service.get(&(flow.to, flow.transport, flow.port))?;
        self.conduits.iter().find(|(from, to)| sources.contains(from) && services.contains(to))
    }
}

/// Earlier rulesets with the rules that had hits.
#[derive(Debug, Default)]
pub struct Earlier(Vec<(Ruleset, BTreeSet<String>)>);

/// Rulesets remembered.
const EARLIER_MAX: usize = 4;

impl Earlier {
    /// Remembers a ruleset that is being replaced.
    pub fn push(&mut self, ruleset: Ruleset, hits: &BTreeMap<String, u64>) {
        let used = hits.iter().filter(|(_, packets)| **packets > 0);
        // The comment of an element may name several rules.
        let used = used.flat_map(|(names, _)| names.split(',').map(|n| n.trim().to_owned()));
        let used: BTreeSet<String> = used.collect();
        if used.is_empty() {
            return;
        }
        if self.0.len() >= EARLIER_MAX {
            self.0.remove(0);
        }
        self.0.push((ruleset, used));
    }

    /// The used rule of an earlier ruleset that permitted a flow.
    pub fn rule(&self, options: &Options, flow: &Flow) -> Option<&str> {
        self.0.iter().rev().find_map(|(ruleset, used)| match judge(ruleset, options, flow) {
            Judgement::Permitted { rule } if used.contains(rule) => Some(rule),
            _ => None,
        })
    }
}

/// Turns the kernel's running totals into what was new since the last reading.
#[derive(Debug, Default)]
pub struct Meter {
    hits: BTreeMap<String, u64>,
    denials: HashMap<(IpAddr, IpAddr, u8, Option<u16>), u64>,
}

/// What was new.
#[derive(Clone, Debug, Default)]
pub struct Fresh {
    /// Packets that opened a flow, by rule.
    pub hits: BTreeMap<String, u64>,
    /// Denied pairs.
    pub denials: Vec<Denial>,
}

impl Meter {
    /// Takes a reading. Totals begin at 0 when rules are built anew: begin with a new meter then.
    pub fn take(&mut self, read: &InForce) -> Fresh {
        let mut fresh = Fresh::default();
        for (rule, total) in &read.hits {
            let before = self.hits.insert(rule.clone(), *total).filter(|n| n <= total);
            let before = before.unwrap_or(0);
            if *total > before {
                fresh.hits.insert(rule.clone(), total.saturating_sub(before));
            }
        }
        let mut now = HashMap::with_capacity(read.denials.len());
        for denial in &read.denials {
            let key = (denial.from, denial.to, denial.protocol, denial.port);
            // An element that timed out meanwhile begins at 0 again.
            let before = self.denials.get(&key).copied().filter(|n| *n <= denial.packets);
            let packets = denial.packets.saturating_sub(before.unwrap_or(0));
            now.insert(key, denial.packets);
            if packets > 0 {
                fresh.denials.push(Denial { packets, ..denial.clone() });
            }
        }
        self.denials = now;
        fresh
    }
}

/// The flow that a denial is about; none for protocols without a name.
pub fn flow(denial: &Denial) -> Flow {
    let (transport, port) = match denial.protocol {
        6 => (Transport::Tcp, denial.port.unwrap_or(0)),
        17 => (Transport::Udp, denial.port.unwrap_or(0)),
        1 | 58 => (Transport::Icmp, 0),
        number => (Transport::Ip, u16::from(number)),
    };
    Flow { from: denial.from, to: denial.to, transport, port }
}

/// Shares what was new out to zones.
pub fn samples(
    fresh: &Fresh,
    ruleset: &Ruleset,
    recorded: &Recorded,
    earlier: &Earlier,
    options: &Options,
) -> BTreeMap<String, Sample> {
    let mut out: BTreeMap<String, Sample> = BTreeMap::new();
    let mut zones_of: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    let mut class_zone = HashMap::new();
    for member in &ruleset.members {
        if let Some(zone) = recorded.zone(member.ip) {
            class_zone.insert(member.class, zone);
        }
    }
    for permit in &ruleset.permits {
        if let Some(zone) = class_zone.get(&permit.from) {
            zones_of.entry(permit.rule.as_str()).or_default().insert(zone);
        }
    }
    for (names, packets) in &fresh.hits {
        let zones = names.split(',').filter_map(|name| zones_of.get(name.trim())).flatten();
        let zones: BTreeSet<&&str> = zones.collect();
        // A rule of several zones counts in each: all of them used it or could have.
        for zone in zones {
            let sample = out.entry((*zone).to_owned()).or_default();
            sample.explained = sample.explained.saturating_add(*packets);
        }
    }
    for denial in &fresh.denials {
        let Some(zone) = recorded.zone(denial.from) else {
            continue;
        };
        let sample = out.entry(zone.to_owned()).or_default();
        sample.denied = sample.denied.saturating_add(denial.packets);
        let flow = flow(denial);
        if recorded.conduit(&flow).is_some() || earlier.rule(options, &flow).is_some() {
            let path = format!(
                "{} → {} {}/{}",
                recorded.name(flow.from),
                recorded.name(flow.to),
                flow.transport.word(),
                flow.port
            );
            let count = sample.used.entry(path).or_default();
            *count = count.saturating_add(denial.packets);
        }
    }
    out
}
