//! What a MUD file would open in an estate, and what stands against it.
//!
//! A file is evidence. Its entries become permits in shadow over the devices and services of the
//! folder; nothing of them is in force until a person promotes it. A path that local policy forbids is
//! no part of the proposal, whatever the file says: it is a conflict, with the file and line of the
//! forbid. The other way round, what devices do and their file does not describe is a finding.

mod conflicts;
mod matching;
mod permits;

use std::collections::{BTreeMap, BTreeSet};

use model::inspect::{Finding, Report, Scope, Severity};
use model::observation::Transport;
use model::{Assurance, DeviceId, ServiceId, is_private};
use serde::Serialize;

use super::{Ace, Mud, PortMatch, Who};
use crate::folder::{Folder, Service};
use crate::lower::{Lowered, lower};
use crate::text::{count, line, list};
use matching::{World, way};

pub use matching::Controllers;
use matching::Way;

/// Comparisons of an entry with a path before the question is refused.
const WORK_MAX: usize = 500_000_000;
/// Items of each kind that are listed; the rest is counted.
const LISTED_MAX: usize = 10_000;

/// Whom a file is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// All devices of a type.
    Kind(String),
    /// One device.
    Device(DeviceId),
}

impl Subject {
    fn name(&self) -> &str {
        match self {
            Self::Kind(kind) => kind,
            Self::Device(id) => id.as_str(),
        }
    }
}

/// Why there is no proposal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The estate does not have it.
    #[error("{} `{}` is not in estate.toml", if matches!(.0, Subject::Kind(_)) { "a device of type" } else { "device" }, .0.name())]
    Unknown(Subject),
    /// The file is too long for so large an estate.
    #[error("{entries} entries over {paths} paths are too many at once; ask about one device")]
    TooMuch {
        /// Entries.
        entries: usize,
        /// Devices times services.
        paths: usize,
    },
}

/// What a file would mean for an estate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proposal {
    /// `mud-url`.
    pub url: String,
    /// Devices it is about.
    pub devices: u64,
    /// Each entry, in order.
    pub entries: Vec<Entry>,
    /// Pairs that the entries open and local policy does not have yet.
    pub opens: Vec<Path>,
    /// Pairs that the entries describe and local policy has.
    pub already: u64,
    /// Pairs that the file would open and local policy forbids: never part of the proposal.
    pub conflicts: Vec<Conflict>,
    /// What devices do and their file does not describe.
    pub undescribed: Vec<Path>,
    /// The pairs that were compared were observed; otherwise they are what policy grants today.
    pub compared_with_traffic: bool,
    /// Services outside the estate that the file names and `estate.toml` does not have yet.
    #[serde(skip)]
    pub services: Vec<Service>,
    /// File in the folder that [`Self::cedar`] is meant for.
    pub policy_file: String,
    /// Permits in shadow, as Cedar text.
    pub cedar: String,
    /// What could not be weighed, and what to do.
    pub unresolved: Vec<String>,
    /// The same as findings of the inventory's kind.
    pub findings: Vec<Finding>,
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Access list.
    pub list: String,
    /// Its name.
    pub name: String,
    /// What it says, for people.
    pub says: String,
    /// What follows.
    pub outcome: Outcome,
    /// Pairs that it describes.
    pub paths: u64,
    /// Of these, pairs that it opens.
    pub opens: u64,
    /// Nothing that was observed (or, without traffic, granted) is described by it.
    pub unused: bool,
}

/// What follows from an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It describes paths.
    Describes,
    /// It lets answers pass, which pass with their connection anyway.
    Answers,
    /// It closes.
    Closes,
    /// It describes no path of the estate.
    Nothing,
    /// It cannot be weighed.
    Unresolved,
    /// It accepts under a condition that is not understood, and opens nothing.
    Withheld,
}

/// A device and a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Path {
    /// Who opens.
    pub from: DeviceId,
    /// Where to.
    pub to: ServiceId,
    /// The entry, `LIST ENTRY`; empty where none speaks of it.
    pub entry: String,
}

/// A path that local policy forbids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Conflict {
    /// The path.
    #[serde(flatten)]
    pub path: Path,
    /// Policy that forbids it.
    pub policy: String,
    /// Its file.
    pub file: String,
    /// Its line.
    pub line: u32,
}

/// An entry in its place.
pub(crate) struct Line<'a> {
    list: &'a str,
    ace: &'a Ace,
    way: Way,
}

impl Line<'_> {
    fn place(&self) -> String {
        line(&format!("{} {}", self.list, self.ace.name))
    }
}

/// Weighs a file. `observed` is recorded traffic of the same estate, when there is any.
pub fn propose(
    folder: &Folder,
    mud: &Mud,
    subject: &Subject,
    observed: Option<&Report>,
) -> Result<Proposal, Refused> {
    let lines = lines(mud);
    let mut unresolved = Vec::new();
    // Services that only the file knows are weighed like all others.
    let mut estate_with = folder.clone();
    let services = new_services(folder, mud, &lines, &mut unresolved);
    estate_with.estate.services.extend(services.iter().cloned());
    let folder = &estate_with;
    let of_subject = of_subject(folder, subject)?;
    let world = World::of(&folder.estate, mud);
    let paths = folder.estate.devices.len().saturating_mul(folder.estate.services.len());
    if paths.saturating_mul(lines.len()) > WORK_MAX {
        return Err(Refused::TooMuch { entries: lines.len(), paths });
    }
    for line in lines.iter().filter(|l| l.ace.accepts()) {
        unresolved.extend(unmapped(&world, line));
    }
    unresolved.sort();
    unresolved.dedup();
    let described = describe(folder, &world, &lines, &of_subject);
    let lowered = lower(folder);
    let granted = |(device, service): &(usize, usize)| lowered.grant(*device, *service).is_some();
    let wanted: BTreeMap<(usize, usize), usize> =
        described.iter().filter(|(pair, _)| !granted(pair)).map(|(p, l)| (*p, *l)).collect();
    let forbidden = conflicts::find(folder, &wanted.keys().copied().collect());
    let named = |pair: &(usize, usize), at: Option<usize>| path(folder, &lines, *pair, at);
    let conflicts: Vec<Conflict> = forbidden
        .iter()
        .filter_map(|(pair, policy)| {
            let path = named(pair, wanted.get(pair).copied())?;
            let policy = folder.policies.get(*policy)?;
            let (id, file) = (policy.id.clone(), policy.file.clone());
            Some(Conflict { path, policy: id, file, line: policy.line })
        })
        .collect();
    let opened: BTreeMap<(usize, usize), usize> =
        wanted.into_iter().filter(|(pair, _)| !forbidden.contains_key(pair)).collect();
    let used = used(folder, &of_subject, observed, &lowered);
    let undescribed: Vec<Path> = used
        .iter()
        .filter(|p| !described.contains_key(*p))
        .filter_map(|p| named(p, None))
        .collect();
    let entries = entries(&lines, &described, &opened, &used, &world);
    let mut policies = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let pairs = opened.iter().filter(|(_, at)| **at == number).map(|(p, _)| *p).collect();
        let pairs: BTreeSet<(usize, usize)> = pairs;
        if !pairs.is_empty() {
            let more =
                permits::of_line(folder, &world, subject, &of_subject, &mud.url, line, &pairs);
            policies.extend(more);
        }
    }
    permits_apart(&mut policies, folder);
    let mut proposal = Proposal {
        url: mud.url.clone(),
        devices: wide(of_subject.len()),
        entries,
        opens: opened.iter().filter_map(|(p, at)| named(p, Some(*at))).take(LISTED_MAX).collect(),
        already: wide(described.keys().filter(|p| granted(p)).count()),
        conflicts,
        undescribed,
        compared_with_traffic: observed.is_some(),
        services: needed(services, &policies),
        policy_file: permits::file(subject),
        cedar: policies.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        unresolved,
        findings: Vec::new(),
    };
    proposal.findings = findings(&proposal, observed);
    Ok(proposal)
}

/// Two entries may have names that differ only in letters that ids cannot have.
fn permits_apart(policies: &mut [crate::language::Policy], folder: &Folder) {
    let mut taken: BTreeSet<String> = folder.policies.iter().map(|p| p.id.clone()).collect();
    for policy in policies {
        let mut n = 2u32;
        let base = policy.id.clone();
        while !taken.insert(policy.id.clone()) {
            policy.id = format!("{base}.{n}");
            n = n.saturating_add(1);
        }
    }
}

/// Only services that a permit names are worth adding.
fn needed(services: Vec<Service>, policies: &[crate::language::Policy]) -> Vec<Service> {
    let named: BTreeSet<&str> =
        policies.iter().flat_map(|p| p.entities()).map(|e| e.id.as_str()).collect();
    services.into_iter().filter(|s| named.contains(s.id.as_str())).collect()
}

fn lines(mud: &Mud) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    for (names, from_device) in [(&mud.from_device, true), (&mud.to_device, false)] {
        for name in names {
            for ace in
                mud.acls.iter().find(|acl| acl.name == *name).into_iter().flat_map(|a| &a.aces)
            {
                lines.push(Line { list: name, ace, way: way(ace, from_device) });
            }
        }
    }
    lines
}

fn of_subject(folder: &Folder, subject: &Subject) -> Result<BTreeSet<usize>, Refused> {
    let devices = folder.estate.devices.iter().enumerate();
    let these: BTreeSet<usize> = devices
        .filter(|(_, d)| match subject {
            Subject::Kind(kind) => d.kind == *kind,
            Subject::Device(id) => d.id == *id,
        })
        .map(|(i, _)| i)
        .collect();
    if these.is_empty() { Err(Refused::Unknown(subject.clone())) } else { Ok(these) }
}

/// Paths that the file accepts, each with the entry that decides: the first that speaks of it.
fn describe(
    folder: &Folder,
    world: &World<'_>,
    lines: &[Line<'_>],
    of_subject: &BTreeSet<usize>,
) -> BTreeMap<(usize, usize), usize> {
    let estate = &folder.estate;
    let mut described = BTreeMap::new();
    for (s, service) in estate.services.iter().enumerate() {
        let host = service.device.as_ref();
        let hosted = host.is_some_and(|h| {
            of_subject.iter().any(|d| estate.devices.get(*d).is_some_and(|d| d.id == *h))
        });
        for (d, device) in estate.devices.iter().enumerate() {
            if host == Some(&device.id) {
                continue;
            }
            let out = of_subject.contains(&d).then(|| first(world, lines, Way::Out, d, s));
            let into = hosted.then(|| first(world, lines, Way::In, d, s));
            // One file describes one end. Between two devices of the subject either end may do so.
            if let Some(at) = out.flatten().or(into.flatten()) {
                described.insert((d, s), at);
            }
        }
    }
    described
}

/// The entry that accepts a path; `None` where one closes it first, or none speaks of it.
fn first(
    world: &World<'_>,
    lines: &[Line<'_>],
    way: Way,
    device: usize,
    service: usize,
) -> Option<usize> {
    let device = world.estate.devices.get(device)?;
    let service = world.estate.services.get(service)?;
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.way == way) {
        // An unclear condition may hold or not: it closes when it closes, and opens nothing.
        if line.ace.accepts() && line.ace.is_unclear() {
            continue;
        }
        if world.speaks_of(way, line.ace, device, service) {
            return line.ace.accepts().then_some(number);
        }
    }
    None
}

/// Pairs in use at one end of which is the subject: observed ones, or granted ones.
fn used(
    folder: &Folder,
    of_subject: &BTreeSet<usize>,
    observed: Option<&Report>,
    lowered: &Lowered,
) -> BTreeSet<(usize, usize)> {
    let estate = &folder.estate;
    let device_at: BTreeMap<&str, usize> =
        estate.devices.iter().enumerate().map(|(i, d)| (d.id.as_str(), i)).collect();
    let concerns = |device: usize, service: usize| {
        let host = estate.services.get(service).and_then(|s| s.device.as_ref());
        let host = host.and_then(|h| device_at.get(h.as_str()));
        of_subject.contains(&device) || host.is_some_and(|h| of_subject.contains(h))
    };
    if let Some(report) = observed {
        let service_at: BTreeMap<&str, usize> =
            estate.services.iter().enumerate().map(|(i, s)| (s.id.as_str(), i)).collect();
        let pair = |c: &model::inspect::Conduit| {
            let device = *device_at.get(c.from.as_str())?;
            Some((device, *service_at.get(c.to.as_str())?))
        };
        let pairs = report.conduits.iter().filter_map(pair);
        return pairs.filter(|(d, s)| concerns(*d, *s)).collect();
    }
    let granted = |d: usize| {
        let services = lowered.grants(d).iter().map(|g| crate::lower::index(g.service));
        services.map(move |s| (d, s))
    };
    (0..estate.devices.len()).flat_map(granted).filter(|(d, s)| concerns(*d, *s)).collect()
}

fn path(
    folder: &Folder,
    lines: &[Line<'_>],
    (device, service): (usize, usize),
    at: Option<usize>,
) -> Option<Path> {
    Some(Path {
        from: folder.estate.devices.get(device)?.id.clone(),
        to: folder.estate.services.get(service)?.id.clone(),
        entry: at.and_then(|at| lines.get(at)).map(Line::place).unwrap_or_default(),
    })
}

fn entries(
    lines: &[Line<'_>],
    described: &BTreeMap<(usize, usize), usize>,
    opened: &BTreeMap<(usize, usize), usize>,
    used: &BTreeSet<(usize, usize)>,
    world: &World<'_>,
) -> Vec<Entry> {
    let mut counts = vec![(0u64, 0u64, false); lines.len()];
    for (pair, at) in described {
        if let Some((paths, opens, in_use)) = counts.get_mut(*at) {
            *paths = paths.saturating_add(1);
            *opens = opens.saturating_add(u64::from(opened.contains_key(pair)));
            *in_use |= used.contains(pair);
        }
    }
    let entry = |(line, (paths, opens, in_use)): (&Line<'_>, (u64, u64, bool))| {
        let outcome = match line.way {
            _ if !line.ace.accepts() => Outcome::Closes,
            _ if line.ace.is_unclear() => Outcome::Withheld,
            Way::Answer => Outcome::Answers,
            _ if paths > 0 => Outcome::Describes,
            _ if unmapped(world, line).is_some() => Outcome::Unresolved,
            _ => Outcome::Nothing,
        };
        Entry {
            list: self::line(line.list),
            name: self::line(&line.ace.name),
            says: says(line),
            outcome,
            paths,
            opens,
            unused: matches!(outcome, Outcome::Describes | Outcome::Nothing) && !in_use,
        }
    };
    lines.iter().zip(counts).map(entry).collect()
}

/// An abstraction that nobody gave a meaning in this estate, and what to do.
fn unmapped(world: &World<'_>, at: &Line<'_>) -> Option<String> {
    let who = at.ace.matches.who.iter().find(|who| world.controllers(who).is_none())?;
    let key = match who {
        Who::Controller(uri) => line(uri),
        _ => "my-controller".to_owned(),
    };
    Some(format!(
        "entry {}: nobody said who `{key}` is; add \"{key}\" = [\"DEVICE or SERVICE\"] to [controllers] in estate.toml",
        at.place()
    ))
}

/// Services that entries name by DNS name or address, and that the estate does not have.
fn new_services(
    folder: &Folder,
    mud: &Mud,
    lines: &[Line<'_>],
    unresolved: &mut Vec<String>,
) -> Vec<Service> {
    let world = World::of(&folder.estate, mud);
    let mut new: Vec<Service> = Vec::new();
    for at in lines.iter().filter(|l| l.ace.accepts() && !l.ace.is_unclear()) {
        let m = &at.ace.matches;
        let Some(ip) = m.ip.as_ref().filter(|_| m.who.is_empty()) else {
            continue;
        };
        if at.way == Way::In {
            if ip.source_name.is_some() {
                unresolved.push(format!(
                    "entry {}: {} opens connections from outside; policies are about devices of the estate",
                    at.place(),
                    says(at)
                ));
            }
            continue;
        }
        let known = folder.estate.services.iter().any(|service| {
            folder.estate.devices.iter().any(|d| world.speaks_of(at.way, at.ace, d, service))
        });
        let address = ip.destination.filter(super::Network::is_host).map(|n| n.ip);
        if at.way == Way::Answer || known || (ip.destination_name.is_none() && address.is_none()) {
            continue;
        }
        match new_service(at, ip.destination_name.as_deref(), address) {
            Ok(service) if folder.estate.services.iter().any(|other| other.id == service.id) => {
                unresolved.push(format!(
                    "entry {}: {} would be the service `{}`, and the estate calls something else that",
                    at.place(),
                    says(at),
                    service.id
                ));
            }
            Ok(service) if new.iter().all(|other| other.id != service.id) => new.push(service),
            Ok(_) => {}
            Err(why) => unresolved.push(format!("entry {}: {} {why}", at.place(), says(at))),
        }
    }
    new
}

fn new_service(
    at: &Line<'_>,
    name: Option<&str>,
    address: Option<std::net::IpAddr>,
) -> Result<Service, &'static str> {
    let m = &at.ace.matches;
    let protocol = m.ip.as_ref().and_then(|ip| ip.protocol);
    let (transport, port) = match (&m.ports, protocol, m.icmp) {
        (Some(ports), _, _) => {
            let transport = if ports.tcp { Transport::Tcp } else { Transport::Udp };
            match ports.destination {
                Some(PortMatch::Equal(port)) => (transport, port),
                _ => return Err("names no single port, and no service of the estate fits"),
            }
        }
        (None, _, Some(icmp)) => {
            let kind = icmp.kind.ok_or("names no ICMP type, and no service of the estate fits")?;
            (Transport::Icmp, u16::from(kind))
        }
        (None, Some(protocol), None) if ![1, 6, 17, 58].contains(&protocol) => {
            (Transport::Ip, u16::from(protocol))
        }
        _ => return Err("names no port, and no service of the estate fits"),
    };
    let group = address.is_some_and(|ip| {
        ip.is_multicast() || ip == std::net::IpAddr::V4(std::net::Ipv4Addr::BROADCAST)
    });
    if let (None, Some(ip), false) = (name, address, group)
        && is_private(ip)
    {
        return Err("is an address of the site at which the estate has nothing");
    }
    let scope = if group { Scope::Group } else { Scope::External };
    let where_to = name.map_or_else(|| address.map(|ip| ip.to_string()), |n| Some(n.to_owned()));
    let where_to = where_to.unwrap_or_default();
    let id = format!("svc:{where_to}/{}/{port}", transport.word());
    Ok(Service {
        id: ServiceId::new(&id).map_err(|_| "has a name that cannot be one of a service")?,
        name: where_to,
        device: None,
        scope,
        zone: if group { "groups" } else { "external" }.to_owned(),
        addresses: address.into_iter().collect(),
        dns_names: name.map(str::to_owned).into_iter().collect(),
        transport,
        port,
        application: String::new(),
        owner: String::new(),
        sensitive: false,
        assurance_min: Assurance::Observed,
    })
}

/// The entries of a list in words, one each: `accept tcp/443 with cloud.example`.
pub fn sentences(mud: &Mud, list: &str, from_device: bool) -> Vec<String> {
    let acl = mud.acls.iter().find(|acl| acl.name == list);
    let sentence = |ace: &Ace| {
        let at = Line { list, ace, way: way(ace, from_device) };
        let verb = match ace.forwarding {
            super::Forwarding::Accept => "accept",
            super::Forwarding::Drop => "drop",
            super::Forwarding::Reject => "reject",
        };
        let answers = if at.way == Way::Answer { ", as an answer" } else { "" };
        let unclear =
            if ace.is_unclear() { ", under a condition that is not understood" } else { "" };
        format!("{verb} {}{answers}{unclear}", says(&at))
    };
    acl.into_iter().flat_map(|acl| &acl.aces).map(sentence).collect()
}

/// An entry in words: `tcp/443 to cloud.example`.
fn says(at: &Line<'_>) -> String {
    let m = &at.ace.matches;
    let port = |p: Option<PortMatch>| match p {
        None => "any".to_owned(),
        Some(PortMatch::Equal(p)) => p.to_string(),
        Some(PortMatch::NotEqual(p)) => format!("not {p}"),
        Some(PortMatch::AtMost(p)) => format!("0-{p}"),
        Some(PortMatch::AtLeast(p)) => format!("{p}-65535"),
        Some(PortMatch::Range(a, b)) => format!("{a}-{b}"),
    };
    let protocol = m.ip.as_ref().and_then(|ip| ip.protocol);
    let what = match (&m.ports, m.icmp, protocol, m.ethernet.and_then(|e| e.ethertype)) {
        (Some(ports), ..) => {
            let word = if ports.tcp { "tcp" } else { "udp" };
            let (end, side) = match (ports.source, ports.destination) {
                (Some(_), None) => (ports.source, " from"),
                _ => (ports.destination, ""),
            };
            format!("{word}{side}/{}", port(end))
        }
        (_, Some(icmp), ..) => {
            format!("icmp/{}", icmp.kind.map_or("any".to_owned(), |k| k.to_string()))
        }
        (_, _, Some(protocol), _) => format!("ip protocol {protocol}"),
        (_, _, _, Some(number)) => format!("frames {number:#06x}"),
        _ => "anything".to_owned(),
    };
    let mut whom: Vec<String> = m.who.iter().map(who).collect();
    if let Some(ip) = &m.ip {
        let named = [&ip.destination_name, &ip.source_name].into_iter().flatten().map(|n| line(n));
        whom.extend(named);
        whom.extend([ip.destination, ip.source].into_iter().flatten().map(|n| n.to_string()));
    }
    let whom = if whom.is_empty() { "anybody".to_owned() } else { whom.join(" and ") };
    format!("{what} {} {whom}", if at.way == Way::In { "from" } else { "with" })
}

fn who(who: &Who) -> String {
    match who {
        Who::Controller(uri) => format!("controller {}", line(uri)),
        Who::MyController => "its controller".to_owned(),
        Who::Manufacturer(name) => format!("devices of {}", line(name)),
        Who::SameManufacturer => "devices of the same manufacturer".to_owned(),
        Who::Model(url) => format!("devices of model {}", line(url)),
        Who::LocalNetworks => "the local networks".to_owned(),
    }
}

fn findings(proposal: &Proposal, observed: Option<&Report>) -> Vec<Finding> {
    let at = observed.map(|r| r.span.last).unwrap_or_default();
    let finding = |kind: &str, severity, title: String, detail: String, count: usize| Finding {
        kind: kind.to_owned(),
        severity,
        device: None,
        title,
        detail,
        at,
        evidence: Vec::new(),
        count: wide(count),
    };
    let mut all = Vec::new();
    if !proposal.undescribed.is_empty() {
        let n = proposal.undescribed.len();
        let shown = proposal.undescribed.iter().map(|p| format!("{} to {}", p.from, p.to));
        let title = format!("{} that the manufacturer does not describe", count(n, "path"));
        let detail = format!("{}; ask what they are for, or close them", list(shown, 5));
        all.push(finding("mud-undescribed", Severity::Medium, title, detail, n));
    }
    if !proposal.conflicts.is_empty() {
        let n = proposal.conflicts.len();
        let rules: BTreeSet<String> = proposal
            .conflicts
            .iter()
            .map(|c| format!("{} ({}:{})", c.policy, c.file, c.line))
            .collect();
        let title = format!(
            "{} that the manufacturer describes and local policy forbids",
            count(n, "path")
        );
        let detail = format!("they stay closed by {}", list(rules, 5));
        all.push(finding("mud-conflict", Severity::Low, title, detail, n));
    }
    let unused: Vec<String> = proposal
        .entries
        .iter()
        .filter(|e| e.unused)
        .map(|e| format!("{} {} ({})", e.list, e.name, e.says))
        .collect();
    if !unused.is_empty() {
        let n = unused.len();
        let title = match n {
            1 => "1 entry of the description is never used".to_owned(),
            n => format!("{n} entries of the description are never used"),
        };
        all.push(finding("mud-unused", Severity::Info, title, list(unused, 5), n));
    }
    all
}

fn wide(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
