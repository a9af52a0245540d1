//! A folder as the factorised [`Ruleset`] that enforcement points apply.
//!
//! Addresses that policy treats alike share a class: the same zone, the same grants as a source, and as a
//! destination the same ports granted to the same sources by the same policies. So every class × class
//! permit is exact; nothing is opened for a neighbour. What an address filter cannot express is listed by [`limits`].
//!
//! * An address belongs to one device; a device behind another is found at that one's link address.
//! * What a device sends before it has an address (DHCP, address probes) has no source pair; admitting it
//!   is a matter of the enforcement point, not of permits.
//! * `first_port` = `last_port` holds the ICMP type, the IP protocol number or, for `link`, the EtherType.
//! * A `link` permit to frames of a group (GOOSE, PROFINET DCP) names a class that has no address.
//! * What zones declare about neighbourhood protocols ([`crate::treat`]) and what cards oblige to
//!   ([`crate::cards`]) is part of it: plans, exports and sites enforce one and the same ruleset.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use model::Mac;
use model::observation::Transport;
use model::ruleset::{
    Class, ClassId, Exception, Member, Mode, NamePermit, Peer, Permit, Ruleset, Terms, dns_name,
};

use crate::decide::{Decider, View};
use crate::folder::{self, Device, Folder, Service, Zone};
use crate::lower::{Change, Grant, Lowered, ask_of, index, lower_at, small};
use crate::moment::Moment;
use crate::text::slug;
use crate::{cards, treat};

/// Why a folder has no ruleset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// An exception asks for what a forbid denies.
    #[error(
        "exceptions.toml:{line}: exception `{exception}` is refused: `{policy}` forbids the path ({file}); change the policy or drop the exception"
    )]
    ExceptionForbidden {
        /// Exception.
        exception: String,
        /// Its line.
        line: u32,
        /// The forbidding policy.
        policy: String,
        /// Where that stands.
        file: String,
    },
    /// An exception cannot be enforced.
    #[error(
        "exceptions.toml:{line}: exception `{exception}` cannot be enforced: {why}; add addresses in estate.toml"
    )]
    ExceptionWithoutAddress {
        /// Exception.
        exception: String,
        /// Its line.
        line: u32,
        /// What is missing.
        why: String,
    },
    /// A generation does not follow its parent.
    #[error("generation {generation} does not follow its parent {parent}; number plans upwards")]
    Generation {
        /// Asked for.
        generation: u64,
        /// Planned against.
        parent: u64,
    },
    /// More classes than packet marks.
    #[error("{0} classes are more than a packet mark can tell apart; widen zones")]
    TooManyClasses(usize),
}

/// Compiles a folder.
pub fn ruleset(
    folder: &Folder,
    generation: u64,
    parent: Option<u64>,
) -> Result<Ruleset, CompileError> {
    ruleset_at(folder, Moment::default(), generation, parent)
}

/// Compiles a folder for a moment; see [`crate::moment::next_change`] for when to do so again.
pub fn ruleset_at(
    folder: &Folder,
    moment: Moment,
    generation: u64,
    parent: Option<u64>,
) -> Result<Ruleset, CompileError> {
    ruleset_of(folder, &lower_at(folder, moment), generation, parent)
}

/// [`ruleset`] for a folder that is lowered already. Every ruleset of a folder is made here.
pub fn ruleset_of(
    folder: &Folder,
    lowered: &Lowered,
    generation: u64,
    parent: Option<u64>,
) -> Result<Ruleset, CompileError> {
    if let Some(parent) = parent.filter(|parent| *parent >= generation) {
        return Err(CompileError::Generation { generation, parent });
    }
    let places = Places::of(folder, lowered);
    let mut classes = Classes::default();
    let (members, sources) = members(folder, lowered, &places, &mut classes);
    let peers = peers(folder, &places, mode_elsewhere(folder), &mut classes);
    if u32::try_from(classes.keys.len()).is_err() {
        return Err(CompileError::TooManyClasses(classes.keys.len()));
    }
    let (permits, proposed) = permits(folder, &places, &classes, &sources);
    let names = names(folder, lowered, &sources);
    let exceptions = exceptions(folder)?;
    let classes = classes.named(&places);
    let mut ruleset = Ruleset {
        generation,
        parent,
        classes,
        members,
        peers,
        permits,
        exceptions,
        names,
        proposed,
    };
    treat::apply(folder, &mut ruleset);
    cards::oblige(&mut ruleset, folder);
    Ok(ruleset)
}

/// A device's link addresses: its own, else those of the device it sits behind.
fn link_addresses<'f>(devices: &BTreeMap<&str, &'f Device>, device: &'f Device) -> &'f [Mac] {
    let mut at = device;
    for _ in 0..model::limits::DEPTH_MAX {
        let behind = at.behind.as_ref().and_then(|id| devices.get(id.as_str()));
        match behind {
            Some(next) if at.macs.is_empty() => at = next,
            _ => break,
        }
    }
    &at.macs
}

/// What the ruleset cannot express.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Two services at one address, protocol and port: whoever is granted one reaches the other.
    SharedAddress {
        /// Granted service.
        granted: String,
        /// Service that is reached with it though not granted to all the same devices.
        other: String,
        /// Where both are.
        address: IpAddr,
    },
    /// A granted service has no address and no DNS name: a device without one.
    NoAddress {
        /// Service.
        service: String,
    },
    /// A granted service is known by DNS name only: its path opens when a device asks the site's
    /// resolver for the name, and needs one in front of the fence.
    NeedsResolver {
        /// Service.
        service: String,
        /// Its names.
        names: Vec<String>,
    },
    /// A DNS name of a granted service cannot be one; nothing is opened for it.
    NotAName {
        /// Service.
        service: String,
        /// What stands there.
        name: String,
    },
    /// A granted path is not IP: only a fence on the link layer opens and closes it.
    NotIp {
        /// Service.
        service: String,
    },
    /// A device with grants has no link address or no network address: its packets are dropped as unknown.
    NoSource {
        /// Device.
        device: String,
    },
}

/// Lists what the ruleset of a folder cannot express.
pub fn limits(folder: &Folder, lowered: &Lowered) -> Vec<Limit> {
    let mut limits = BTreeSet::new();
    let mut granted_to: BTreeMap<usize, BTreeSet<u32>> = BTreeMap::new();
    for (number, profile) in lowered.profiles.iter().enumerate() {
        for grant in profile {
            granted_to.entry(index(grant.service)).or_default().insert(small(number));
        }
    }
    let devices = by_id(folder);
    let mut ends: BTreeMap<(IpAddr, Transport, u16), Vec<usize>> = BTreeMap::new();
    for (i, service) in folder.estate.services.iter().enumerate() {
        let addresses = addresses(folder, &devices, service);
        for ip in &addresses {
            ends.entry((*ip, service.transport, service.port)).or_default().push(i);
        }
        if granted_to.contains_key(&i) {
            limits.extend(unreached(service, addresses.is_empty()));
        }
    }
    let name = |i: usize| folder.estate.services.get(i).map_or(String::new(), |s| s.id.to_string());
    for ((address, ..), services) in &ends {
        for a in services {
            let granted = granted_to.get(a);
            for b in services.iter().filter(|b| *b != a && granted_to.get(b) != granted) {
                if granted.is_some_and(|g| !granted_to.get(b).is_some_and(|h| g.is_subset(h))) {
                    let (granted, other) = (name(*a), name(*b));
                    limits.insert(Limit::SharedAddress { granted, other, address: *address });
                }
            }
        }
    }
    for (i, device) in folder.estate.devices.iter().enumerate() {
        let silent =
            own_addresses(device).next().is_none() || link_addresses(&devices, device).is_empty();
        if silent && !lowered.grants(i).is_empty() {
            limits.insert(Limit::NoSource { device: device.id.to_string() });
        }
    }
    limits.into_iter().collect()
}

/// Limits of how a granted service is reached.
fn unreached(service: &Service, no_address: bool) -> Vec<Limit> {
    let id = || service.id.to_string();
    if service.transport == Transport::Link {
        return vec![Limit::NotIp { service: id() }];
    }
    let (names, odd): (Vec<&String>, Vec<&String>) =
        service.dns_names.iter().partition(|name| dns_name(name).is_some());
    let mut limits: Vec<Limit> =
        odd.into_iter().map(|name| Limit::NotAName { service: id(), name: name.clone() }).collect();
    if no_address && names.is_empty() {
        limits.push(Limit::NoAddress { service: id() });
    } else if no_address {
        let names = names.into_iter().cloned().collect();
        limits.push(Limit::NeedsResolver { service: id(), names });
    }
    limits
}

fn by_id(folder: &Folder) -> BTreeMap<&str, &Device> {
    folder.estate.devices.iter().map(|d| (d.id.as_str(), d)).collect()
}

/// Usable destination addresses of a service.
fn addresses(
    folder: &Folder,
    devices: &BTreeMap<&str, &Device>,
    service: &Service,
) -> BTreeSet<IpAddr> {
    if service.transport == Transport::Link && service.device.is_none() {
        return BTreeSet::new(); // Frames to a group.
    }
    let device = service.device.as_ref().and_then(|d| devices.get(d.as_str())).copied();
    let all = folder.estate.addresses(service, device);
    all.iter().copied().filter(|ip| !ip.is_unspecified()).collect()
}

/// Addresses a device may send from.
fn own_addresses(device: &Device) -> impl Iterator<Item = IpAddr> + '_ {
    let usable =
        |ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast() && *ip != Ipv4Addr::BROADCAST;
    device.addresses.iter().copied().filter(usable)
}

/// A port and who is granted it: what a destination offers, as far as a packet filter can tell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Offer {
    transport: Transport,
    port: u16,
    /// Source profiles, and how each stands to it.
    audience: Vec<(u32, Standing)>,
}

/// How a source stands to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// A policy grants it; another in shadow may close it.
    Granted { policy: u32, closing: Option<u32> },
    /// A policy in shadow would open it.
    Proposed(u32),
}

impl Standing {
    /// The policy that grants or would.
    fn policy(self) -> u32 {
        match self {
            Self::Granted { policy, .. } | Self::Proposed(policy) => policy,
        }
    }

    /// What comes with it, said by the policy that grants.
    fn terms(self, folder: &Folder) -> Terms {
        let policy = |n: u32| folder.policies.get(index(n));
        let terms = policy(self.policy()).map(|p| crate::terms::of(&p.annotations));
        let closing = match self {
            Self::Granted { closing, .. } => closing.and_then(policy).map(|p| p.id.clone()),
            Self::Proposed(_) => None,
        };
        Terms { closing, ..terms.unwrap_or_default() }
    }
}

/// How every source profile stands to the services it is granted or may be.
fn standings(lowered: &Lowered) -> impl Iterator<Item = (u32, u32, Standing)> {
    lowered.profiles.iter().enumerate().flat_map(|(profile, grants)| {
        let profile = small(profile);
        let shadows = lowered.shadows(profile);
        let closing = |grant: &Grant| {
            let closes =
                |s: &&crate::lower::Shadow| s.service == grant.service && s.change == Change::Close;
            shadows.iter().find(closes).map(|s| s.policy)
        };
        let granted = grants.iter().map(move |grant| {
            let standing = Standing::Granted { policy: grant.policy, closing: closing(grant) };
            (profile, grant.service, standing)
        });
        let proposed = shadows.iter().filter(|s| s.change == Change::Open);
        granted.chain(proposed.map(move |s| (profile, s.service, Standing::Proposed(s.policy))))
    })
}

/// What is offered where.
struct Places {
    offers: Vec<Offer>,
    /// Names of the services of an offer at an address, for peers' class names.
    names: Vec<BTreeSet<String>>,
    offers_at: BTreeMap<IpAddr, Vec<u32>>,
    /// Offers of frames to groups.
    frames: BTreeSet<u32>,
}

impl Places {
    fn of(folder: &Folder, lowered: &Lowered) -> Self {
        let mut audiences: BTreeMap<u32, Vec<(u32, Standing)>> = BTreeMap::new();
        for (profile, service, standing) in standings(lowered) {
            audiences.entry(service).or_default().push((profile, standing));
        }
        let devices = by_id(folder);
        let mut known: BTreeMap<Offer, u32> = BTreeMap::new();
        let mut places = Self {
            offers: Vec::new(),
            names: Vec::new(),
            offers_at: BTreeMap::new(),
            frames: BTreeSet::new(),
        };
        for (number, audience) in audiences {
            let Some(service) = folder.estate.services.get(index(number)) else {
                continue;
            };
            let offer = Offer { transport: service.transport, port: service.port, audience };
            let offer = *known.entry(offer).or_insert_with_key(|offer| {
                places.offers.push(offer.clone());
                places.names.push(BTreeSet::new());
                small(places.offers.len().saturating_sub(1))
            });
            if service.device.is_none() {
                let name = slug(&service.name);
                let name = if name.is_empty() { slug(service.id.as_str()) } else { name };
                if let Some(names) = places.names.get_mut(index(offer)) {
                    names.insert(name);
                }
            }
            if service.transport == Transport::Link && service.device.is_none() {
                places.frames.insert(offer);
            }
            for ip in addresses(folder, &devices, service) {
                places.offers_at.entry(ip).or_default().push(offer);
            }
        }
        for offers in places.offers_at.values_mut() {
            offers.sort_unstable();
            offers.dedup();
        }
        places
    }

    fn at(&self, ip: IpAddr) -> &[u32] {
        self.offers_at.get(&ip).map_or(&[], Vec::as_slice)
    }

    fn name(&self, offers: &[u32]) -> String {
        let names = offers.iter().filter_map(|offer| self.names.get(index(*offer))).flatten();
        let names: BTreeSet<&String> = names.collect();
        let rest = names.len().saturating_sub(1);
        match names.first() {
            None => "service".to_owned(),
            Some(only) if rest == 0 => format!("service/{only}"),
            Some(first) => format!("services/{first}+{rest}"),
        }
    }
}

/// What makes two addresses one class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// Zone of a member; none for a peer.
    zone: Option<String>,
    mode: Mode,
    /// Profile of grants as a source.
    profile: Option<u32>,
    /// What it offers as a destination.
    offers: Vec<u32>,
}

#[derive(Default)]
struct Classes {
    numbers: BTreeMap<Key, usize>,
    keys: Vec<Key>,
    /// Devices of each class, to name classes of one.
    devices: Vec<BTreeSet<String>>,
}

impl Classes {
    fn number(&mut self, key: Key, device: Option<&str>) -> ClassId {
        let keys = &mut self.keys;
        let number = *self.numbers.entry(key).or_insert_with_key(|key| {
            keys.push(key.clone());
            keys.len().saturating_sub(1)
        });
        if self.devices.len() <= number {
            self.devices.resize_with(number.saturating_add(1), BTreeSet::new);
        }
        if let (Some(of), Some(device)) = (self.devices.get_mut(number), device) {
            of.insert(device.to_owned());
        }
        id(number)
    }

    /// Classes by number with names: `zone/…` for all of a zone, `device/…` for one, else numbered.
    fn named(self, places: &Places) -> BTreeMap<ClassId, Class> {
        let mut per_zone: BTreeMap<&str, usize> = BTreeMap::new();
        for key in &self.keys {
            if let Some(zone) = &key.zone {
                *per_zone.entry(zone).or_default() += 1;
            }
        }
        let mut nth: BTreeMap<&str, usize> = BTreeMap::new();
        let mut used: BTreeSet<String> = BTreeSet::new();
        let mut named = BTreeMap::new();
        for (number, key) in self.keys.iter().enumerate() {
            let devices = self.devices.get(number);
            let one = devices.filter(|d| d.len() == 1).and_then(|d| d.first());
            let base = match (&key.zone, one) {
                (Some(zone), _) if per_zone.get(zone.as_str()) == Some(&1) => {
                    format!("zone/{zone}")
                }
                (Some(_), Some(device)) => format!("device/{device}"),
                (Some(zone), None) => {
                    let n = nth.entry(zone).or_default();
                    *n += 1;
                    format!("zone/{zone}/part-{n}")
                }
                (None, _) => places.name(&key.offers),
            };
            let mut name = base.clone();
            let mut again = 1u32;
            while !used.insert(name.clone()) {
                again = again.saturating_add(1);
                name = format!("{base}/{again}");
            }
            named.insert(id(number), Class { name, mode: key.mode });
        }
        named
    }
}

fn id(number: usize) -> ClassId {
    ClassId(small(number).saturating_add(1))
}

/// Members, and for each source class its profile.
fn members(
    folder: &Folder,
    lowered: &Lowered,
    places: &Places,
    classes: &mut Classes,
) -> (Vec<Member>, BTreeMap<ClassId, u32>) {
    let zones = zones_by_id(folder);
    let devices = by_id(folder);
    let mut members = Vec::new();
    let mut sources = BTreeMap::new();
    for (i, device) in folder.estate.devices.iter().enumerate() {
        let macs = link_addresses(&devices, device).iter().copied();
        let macs: BTreeSet<Mac> = macs.filter(|mac| mac.is_unicast()).collect();
        let profile = lowered.profile_of.get(i).copied().unwrap_or_default();
        let mode = mode_of(&zones, device);
        for ip in own_addresses(device).collect::<BTreeSet<IpAddr>>() {
            let key = Key {
                zone: Some(device.zone.clone()),
                mode,
                profile: Some(profile),
                offers: places.at(ip).to_vec(),
            };
            let class = classes.number(key, Some(device.id.as_str()));
            for mac in &macs {
                sources.insert(class, profile);
                members.push(Member { device: device.id.clone(), mac: *mac, ip, class });
            }
        }
    }
    members.sort_by_key(|m| (m.ip, m.mac, m.class));
    members.dedup_by_key(|m| (m.ip, m.mac));
    (members, sources)
}

fn zones_by_id(folder: &Folder) -> BTreeMap<&str, &Zone> {
    folder.estate.zones.iter().map(|zone| (zone.id.as_str(), zone)).collect()
}

/// Its zone's mode, in shadow beyond the zone's share.
fn mode_of(zones: &BTreeMap<&str, &Zone>, device: &Device) -> Mode {
    zones.get(device.zone.as_str()).map_or(Mode::default(), |zone| {
        let inside = zone.share.is_none_or(|s| crate::share::holds(device.id.as_str(), s));
        if inside { zone.mode } else { Mode::Shadow }
    })
}

/// Mode of what is in no zone with devices: destinations, groups, and with them unknown devices. In
/// shadow while every device is; the first one that is enforced closes the site to strangers.
pub(crate) fn mode_elsewhere(folder: &Folder) -> Mode {
    let zones = zones_by_id(folder);
    let mut modes = folder.estate.devices.iter().map(|device| mode_of(&zones, device)).peekable();
    let some = modes.peek().is_some();
    if some && modes.all(|mode| mode == Mode::Shadow) { Mode::Shadow } else { Mode::Enforce }
}

/// Destinations that are no member's address.
fn peers(folder: &Folder, places: &Places, mode: Mode, classes: &mut Classes) -> Vec<Peer> {
    let mut owned: BTreeSet<IpAddr> = BTreeSet::new();
    let devices = by_id(folder);
    for device in &folder.estate.devices {
        if !link_addresses(&devices, device).is_empty() {
            owned.extend(own_addresses(device));
        }
    }
    let mut number = |offers: Vec<u32>| {
        let key = Key { zone: None, mode, profile: None, offers };
        classes.number(key, None)
    };
    let mut peers = Vec::new();
    for (ip, offers) in places.offers_at.iter().filter(|(ip, _)| !owned.contains(ip)) {
        let prefix = if ip.is_ipv4() { 32 } else { 128 };
        peers.push(Peer { ip: *ip, prefix, class: number(offers.clone()) });
    }
    for offer in &places.frames {
        number(vec![*offer]);
    }
    peers
}

/// What is permitted, and what policies in shadow would permit.
fn permits(
    folder: &Folder,
    places: &Places,
    classes: &Classes,
    sources: &BTreeMap<ClassId, u32>,
) -> (Vec<Permit>, Vec<Permit>) {
    let mut by_profile: BTreeMap<u32, Vec<ClassId>> = BTreeMap::new();
    for (class, profile) in sources {
        by_profile.entry(*profile).or_default().push(*class);
    }
    let mut standing_of: BTreeMap<(ClassId, ClassId, Transport, u16), Standing> = BTreeMap::new();
    for (number, key) in classes.keys.iter().enumerate() {
        for offer in key.offers.iter().filter_map(|offer| places.offers.get(index(*offer))) {
            for (profile, standing) in &offer.audience {
                for from in by_profile.get(profile).into_iter().flatten() {
                    let path = (*from, id(number), offer.transport, offer.port);
                    let first = standing_of.entry(path).or_insert(*standing);
                    *first = (*first).min(*standing);
                }
            }
        }
    }
    let (mut permits, mut proposed) = (Vec::new(), Vec::new());
    for ((from, to, transport, port), standing) in standing_of {
        let (rule, terms) = (rule(folder, standing), standing.terms(folder));
        let permit = Permit { from, to, transport, first_port: port, last_port: port, rule, terms };
        match standing {
            Standing::Granted { .. } => permits.push(permit),
            Standing::Proposed(_) => proposed.push(permit),
        }
    }
    (permits, proposed)
}

/// Name of the policy that grants, or would.
fn rule(folder: &Folder, standing: Standing) -> String {
    folder.policies.get(index(standing.policy())).map_or(String::new(), |p| p.id.clone())
}

/// Permits to services that have DNS names: the site's resolver fills in their addresses.
fn names(folder: &Folder, lowered: &Lowered, sources: &BTreeMap<ClassId, u32>) -> Vec<NamePermit> {
    let mut by_profile: BTreeMap<u32, Vec<ClassId>> = BTreeMap::new();
    for (class, profile) in sources {
        by_profile.entry(*profile).or_default().push(*class);
    }
    let mut named: BTreeMap<(ClassId, String, Transport, u16), Standing> = BTreeMap::new();
    for (profile, service, standing) in standings(lowered) {
        let service = folder.estate.services.get(index(service));
        let Some(service) = service.filter(|s| s.transport != Transport::Link) else {
            continue;
        };
        if matches!(standing, Standing::Proposed(_)) {
            continue; // The resolver puts nothing in force for what is denied.
        }
        for from in by_profile.get(&profile).into_iter().flatten() {
            for name in service.dns_names.iter().filter_map(|name| dns_name(name)) {
                let path = (*from, name, service.transport, service.port);
                let first = named.entry(path).or_insert(standing);
                *first = (*first).min(standing);
            }
        }
    }
    named
        .into_iter()
        .map(|((from, name, transport, port), standing)| NamePermit {
            from,
            name,
            transport,
            first_port: port,
            last_port: port,
            rule: rule(folder, standing),
            terms: standing.terms(folder),
        })
        .collect()
}

fn exceptions(folder: &Folder) -> Result<Vec<Exception>, CompileError> {
    let mut ends = Ends::of(folder);
    let mut compiled = Vec::new();
    for exception in &folder.exceptions {
        compiled.extend(ends.open(exception)?);
    }
    compiled.sort_by(|a, b| {
        (a.from, a.to, a.transport, a.port, &a.name).cmp(&(
            b.from,
            b.to,
            b.transport,
            b.port,
            &b.name,
        ))
    });
    Ok(compiled)
}

/// Exceptions that cannot be in force, and why.
pub fn exceptions_left_out(folder: &Folder) -> Vec<(folder::Exception, CompileError)> {
    let mut ends = Ends::of(folder);
    let out = |e: &folder::Exception| ends.open(e).err().map(|error| (e.clone(), error));
    folder.exceptions.iter().filter_map(out).collect()
}

/// Leaves those out: a device that is cut off, or has no address for a while, must not keep the rest of a folder from being enforced. Whoever
/// writes a folder is told of them instead ([`ruleset`]).
pub fn leave_out_exceptions(folder: &mut Folder) -> Vec<(folder::Exception, CompileError)> {
    let out = exceptions_left_out(folder);
    folder.exceptions.retain(|exception| out.iter().all(|(other, _)| other.id != exception.id));
    out
}

/// Where exceptions begin and end; made only of what they need, because most folders have none.
struct Ends<'f> {
    folder: &'f Folder,
    devices: BTreeMap<&'f str, &'f Device>,
    numbers: BTreeMap<&'f str, usize>,
    services: BTreeMap<&'f str, usize>,
    decider: Option<Decider<'f>>,
}

impl<'f> Ends<'f> {
    fn of(folder: &'f Folder) -> Self {
        let estate = &folder.estate;
        let any = !folder.exceptions.is_empty();
        let devices = estate.devices.iter().enumerate().filter(|_| any);
        let services = estate.services.iter().enumerate().filter(|_| any);
        Self {
            folder,
            devices: if any { by_id(folder) } else { BTreeMap::new() },
            numbers: devices.map(|(number, device)| (device.id.as_str(), number)).collect(),
            services: services.map(|(number, service)| (service.id.as_str(), number)).collect(),
            decider: None,
        }
    }

    /// The paths that an exception opens.
    fn open(&mut self, exception: &folder::Exception) -> Result<Vec<Exception>, CompileError> {
        let folder = self.folder;
        let without = |why: &str| CompileError::ExceptionWithoutAddress {
            exception: exception.id.clone(),
            line: exception.line,
            why: why.to_owned(),
        };
        let device = self.numbers.get(exception.from.as_str()).copied();
        let service = self.services.get(exception.to.as_str()).copied();
        let (Some(d), Some(s)) = (device, service) else {
            return Err(without("its device or service does not exist"));
        };
        let forbidding = ask_of(folder, d, s, Moment::default())
            .and_then(|ask| {
                self.decider
                    .get_or_insert_with(|| Decider::new(folder, View::Today))
                    .forbidding(&ask)
            })
            .and_then(|policy| folder.policies.get(policy));
        if let Some(policy) = forbidding {
            return Err(CompileError::ExceptionForbidden {
                exception: exception.id.clone(),
                line: exception.line,
                policy: policy.id.clone(),
                file: format!("{}:{}", policy.file, policy.line),
            });
        }
        let ends = (folder.estate.devices.get(d), folder.estate.services.get(s));
        let (Some(device), Some(service)) = ends else {
            return Ok(Vec::new());
        };
        let from: BTreeSet<IpAddr> = own_addresses(device).collect();
        let to = addresses(folder, &self.devices, service);
        if from.is_empty() {
            return Err(without("the device has no address"));
        }
        if to.is_empty() || service.transport == Transport::Link {
            return Err(without("the service has no IP address"));
        }
        let pairs = from.iter().flat_map(|from| {
            to.iter().filter(|to| to.is_ipv4() == from.is_ipv4()).map(|to| (*from, *to))
        });
        let path = |(from, to)| Exception {
            from,
            to,
            transport: service.transport,
            port: service.port,
            expires: exception.expires,
            name: exception.id.clone(),
        };
        Ok(pairs.map(path).collect())
    }
}
