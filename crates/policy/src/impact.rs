//! What one device can do to the others: when it is taken over, and when it is cut off.
//!
//! [`Graph`] holds who may open what in flat arrays, so that questions about one device of a million cost
//! what they touch: devices with equal grants share one list, and each list is followed once.

use std::collections::BTreeMap;

use model::inspect::Report;
use model::observation::Transport;
use model::{DeviceId, ServiceId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::folder::Folder;
use crate::lower::{Lowered, index, small};
use crate::plan::{Place, owner};
use crate::reach::hosts;

const NONE: u32 = u32::MAX;

/// Who may open what, in flat arrays.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Profile of each device.
    profile_of: Vec<u32>,
    /// Where each profile's services start; one more at the end.
    starts: Vec<u32>,
    /// Services of all profiles, one after the other.
    services: Vec<u32>,
    /// Policy that grants each of them.
    policies: Vec<u32>,
    /// Device that offers each service, or none.
    hosts: Vec<u32>,
}

/// What a device reaches in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Direct {
    /// Services of others.
    pub services: u32,
    /// Devices that offer them.
    pub devices: u32,
}

/// What a taken-over device reaches, hopping included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takeover {
    /// The device.
    pub device: DeviceId,
    /// Devices it reaches, nearest first.
    pub devices: Vec<Step>,
    /// Services it reaches, by the hops to the device that opens them.
    pub services: Vec<ServiceId>,
}

/// A device that is reached, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Device that is reached.
    pub device: DeviceId,
    /// Hops to it.
    pub hops: u32,
    /// Device from which the last hop goes.
    pub from: DeviceId,
    /// Service that the last hop opens.
    pub through: ServiceId,
    /// Policy that grants it.
    pub rule: Place,
}

/// What stops when a device is cut off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutOff {
    /// The device.
    pub device: DeviceId,
    /// Its services that others may no longer open.
    pub offers: Vec<Offer>,
    /// Services of others that it may no longer open.
    pub uses: Vec<Use>,
    /// Recorded flows that stop.
    pub flows: Vec<StoppedFlow>,
}

/// A service that is lost to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Service.
    pub service: ServiceId,
    /// Transport.
    pub transport: Transport,
    /// Port.
    pub port: u16,
    /// Devices that may open it, by the owner who answers for them ("" for nobody).
    pub clients: BTreeMap<String, u64>,
}

/// A service that is lost to the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// Service.
    pub service: ServiceId,
    /// Who answers for it; "" when nobody does.
    pub owner: String,
    /// Policy that grants it.
    pub rule: Place,
}

/// A recorded flow that stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedFlow {
    /// Source.
    pub from: DeviceId,
    /// Destination.
    pub to: ServiceId,
    /// Who answers for the source; "" when nobody does.
    pub owner: String,
    /// Connections or exchanges.
    pub flows: u64,
    /// Last use.
    pub last_seen: Timestamp,
    /// Document it was recorded in.
    pub document: String,
}

impl Graph {
    /// The graph of a folder.
    pub fn of(folder: &Folder, lowered: &Lowered) -> Self {
        let hosts = hosts(folder).into_iter().map(|host| host.map_or(NONE, small)).collect();
        let edges = lowered.profiles.iter().map(Vec::len).sum();
        let mut graph = Self {
            profile_of: lowered.profile_of.clone(),
            starts: Vec::with_capacity(lowered.profiles.len().saturating_add(1)),
            services: Vec::with_capacity(edges),
            policies: Vec::with_capacity(edges),
            hosts,
        };
        for profile in &lowered.profiles {
            graph.starts.push(small(graph.services.len()));
            graph.services.extend(profile.iter().map(|grant| grant.service));
            graph.policies.extend(profile.iter().map(|grant| grant.policy));
        }
        graph.starts.push(small(graph.services.len()));
        graph
    }

    /// Allowed (profile, service) edges.
    pub fn edges(&self) -> usize {
        self.services.len()
    }

    /// Positions of a profile's services.
    fn range(&self, profile: u32) -> std::ops::Range<usize> {
        let at = index(profile);
        let read = |i: usize| self.starts.get(i).map_or(0, |start| index(*start));
        read(at)..read(at.saturating_add(1))
    }

    fn granted(&self, profile: u32) -> &[u32] {
        self.services.get(self.range(profile)).unwrap_or_default()
    }

    fn host(&self, service: u32) -> Option<u32> {
        self.hosts.get(index(service)).copied().filter(|host| *host != NONE)
    }

    /// Direct reach of every device.
    pub fn direct(&self) -> Vec<Direct> {
        let profiles = self.starts.len().saturating_sub(1);
        // Which profile named a host last: counts each host once per profile without clearing.
        let mut seen = vec![NONE; self.profile_of.len()];
        let mut of_profile = Vec::with_capacity(profiles);
        let mut own: Vec<Direct> = vec![Direct::default(); self.profile_of.len()];
        for profile in 0..small(profiles) {
            let granted = self.granted(profile);
            let mut direct = Direct { services: small(granted.len()), devices: 0 };
            for host in granted.iter().filter_map(|service| self.host(*service)) {
                let at = index(host);
                let Some(last) = seen.get_mut(at) else {
                    continue;
                };
                let is_new = *last != profile;
                *last = profile;
                direct.devices = direct.devices.saturating_add(u32::from(is_new));
                let is_own = self.profile_of.get(at) == Some(&profile);
                if let Some(own) = own.get_mut(at).filter(|_| is_own) {
                    own.services = own.services.saturating_add(1);
                    own.devices = 1;
                }
            }
            of_profile.push(direct);
        }
        self.profile_of
            .iter()
            .zip(own)
            .map(|(profile, own)| {
                let of = of_profile.get(index(*profile)).copied().unwrap_or_default();
                Direct {
                    services: of.services.saturating_sub(own.services),
                    devices: of.devices.saturating_sub(own.devices),
                }
            })
            .collect()
    }

    /// Everything that one device reaches by hopping, nearest first. A device does not count itself, nor its
    /// own services.
    pub fn closure(&self, device: u32) -> Closure {
        let mut closure = Closure { devices: Vec::new(), services: Vec::new() };
        let mut met = Bits::new(self.profile_of.len());
        let mut opened = Bits::new(self.hosts.len());
        let mut followed = Bits::new(self.starts.len());
        met.is_first(device);
        let mut now = vec![device];
        let mut hops = 0u32;
        while !now.is_empty() {
            hops = hops.saturating_add(1);
            let mut next = Vec::new();
            for from in now {
                let Some(profile) = self.profile_of.get(index(from)).copied() else {
                    continue;
                };
                if !followed.is_first(profile) {
                    continue;
                }
                let edges = self.range(profile);
                let services = self.services.get(edges.clone()).unwrap_or_default();
                let policies = self.policies.get(edges).unwrap_or_default();
                for (service, policy) in services.iter().copied().zip(policies.iter().copied()) {
                    // Most edges lead to what is known: one bit says so, without asking for the host.
                    if !opened.is_first(service) {
                        continue;
                    }
                    let host = self.host(service);
                    if host == Some(device) {
                        continue;
                    }
                    closure.services.push(service);
                    if let Some(host) = host.filter(|host| met.is_first(*host)) {
                        next.push(host);
                        closure.devices.push(Hop { device: host, hops, from, service, policy });
                    }
                }
            }
            now = next;
        }
        closure
    }
}

/// A bit for each of many numbers: few enough bytes to stay in the processor's cache.
struct Bits(Vec<u64>);

impl Bits {
    fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    /// Sets the bit; `true` when it was not set. Numbers that do not exist were always set.
    fn is_first(&mut self, number: u32) -> bool {
        let Some(word) = self.0.get_mut(index(number / 64)) else {
            return false;
        };
        let bit = 1u64 << (number % 64);
        let is_first = *word & bit == 0;
        *word |= bit;
        is_first
    }
}

/// What one device reaches, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closure {
    /// Devices, nearest first.
    pub devices: Vec<Hop>,
    /// Services.
    pub services: Vec<u32>,
}

/// One hop, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Device reached.
    pub device: u32,
    /// Hops to it.
    pub hops: u32,
    /// Device the hop starts from.
    pub from: u32,
    /// Service it opens.
    pub service: u32,
    /// Policy that grants it.
    pub policy: u32,
}

/// What a device (by index) reaches when it is taken over.
pub fn takeover(folder: &Folder, lowered: &Lowered, device: usize) -> Option<Takeover> {
    let estate = &folder.estate;
    let graph = Graph::of(folder, lowered);
    let closure = graph.closure(small(device));
    let name = |d: u32| estate.devices.get(index(d)).map(|d| d.id.clone());
    let service = |s: u32| estate.services.get(index(s)).map(|s| s.id.clone());
    let devices = closure.devices.iter().filter_map(|hop| {
        Some(Step {
            device: name(hop.device)?,
            hops: hop.hops,
            from: name(hop.from)?,
            through: service(hop.service)?,
            rule: folder.policies.get(index(hop.policy)).map(Place::of)?,
        })
    });
    Some(Takeover {
        device: estate.devices.get(device)?.id.clone(),
        devices: devices.collect(),
        services: closure.services.iter().filter_map(|s| service(*s)).collect(),
    })
}

impl Takeover {
    /// The way to a device: its hops in order; empty when it is not reached.
    pub fn path(&self, to: &DeviceId) -> Vec<&Step> {
        let mut path = Vec::new();
        let mut at = to;
        while let Some(step) = self.devices.iter().find(|step| step.device == *at) {
            path.push(step);
            if step.from == self.device {
                break;
            }
            at = &step.from;
        }
        path.reverse();
        path
    }
}

/// What stops when a device (by index) is cut off.
pub fn cut_off(
    folder: &Folder,
    lowered: &Lowered,
    device: usize,
    documents: &[(String, Report)],
) -> Option<CutOff> {
    let estate = &folder.estate;
    let cut = estate.devices.get(device)?;
    let mut offers = Vec::new();
    for (s, service) in estate.services.iter().enumerate() {
        if service.device.as_ref() != Some(&cut.id) {
            continue;
        }
        let mut clients: BTreeMap<String, u64> = BTreeMap::new();
        for (d, client) in estate.devices.iter().enumerate() {
            if d != device && lowered.grant(d, s).is_some() {
                *clients.entry(owner(folder, client)).or_default() += 1;
            }
        }
        if !clients.is_empty() {
            offers.push(Offer {
                service: service.id.clone(),
                transport: service.transport,
                port: service.port,
                clients,
            });
        }
    }
    let uses = lowered.grants(device).iter().filter_map(|grant| {
        let service = estate.services.get(index(grant.service))?;
        let host = service.device.as_ref();
        let host = host.and_then(|id| estate.devices.iter().find(|d| d.id == *id));
        (host.map(|h| &h.id) != Some(&cut.id)).then(|| Use {
            service: service.id.clone(),
            owner: match host {
                Some(host) if service.owner.is_empty() => owner(folder, host),
                _ => service.owner.clone(),
            },
            rule: folder.policies.get(index(grant.policy)).map(Place::of).unwrap_or(Place {
                rule: String::new(),
                file: String::new(),
                line: 0,
            }),
        })
    });
    let mine: Vec<&str> = estate
        .services
        .iter()
        .filter(|s| s.device.as_ref() == Some(&cut.id))
        .map(|s| s.id.as_str())
        .collect();
    let mut flows: Vec<StoppedFlow> = Vec::new();
    for (name, report) in documents {
        let used =
            report.conduits.iter().filter(|c| c.from == cut.id || mine.contains(&c.to.as_str()));
        flows.extend(used.map(|used| {
            StoppedFlow {
                from: used.from.clone(),
                to: used.to.clone(),
                owner: estate
                    .devices
                    .iter()
                    .find(|d| d.id == used.from)
                    .map_or(String::new(), |d| owner(folder, d)),
                flows: used.flows,
                last_seen: used.last_seen,
                document: name.clone(),
            }
        }));
    }
    flows.sort_by(|a, b| b.last_seen.cmp(&a.last_seen).then_with(|| a.from.cmp(&b.from)));
    Some(CutOff { device: cut.id.clone(), offers, uses: uses.collect(), flows })
}
