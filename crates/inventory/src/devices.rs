//! Puts devices together: clusters of nodes, what they said, what that means.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use model::inspect::{Client, Device, Identifier, Location, MergeSuggestion, Status};
use model::observation::Transport;
use model::{Assurance, DeviceId, Mac};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::belief::{self, Beliefs};
use crate::findings;
use crate::graph::{Graph, Identity, Ids, Node, NodeId, Said, Source};
use crate::merge::{self, Merged};
use crate::oui::Oui;
use crate::owns::Owners;
use crate::paths::{Ends, Paths, Target, has_ports, may_be_routed_host};
use crate::rules::{Attribute, FactView, Judge};
use crate::{Knowledge, Resolved, resolvers};

/// Confidence in a machine's name as its designation.
const MACHINE_NAME_CONFIDENCE: f64 = 0.2;
/// Fields in which a machine names itself.
const MACHINE_NAME_FIELDS: [&str; 8] = [
    "dhcp.hostname",
    "nbns.name",
    "browser.name",
    "mdns.host",
    "llmnr.name",
    "llmnr.claim",
    "ntlm.computer",
    "snmp.sys_name",
];
/// Hosts behind routers that become devices, at most.
const ROUTED_HOSTS_MAX: usize = 10_000;
/// Hosts a link address forwards for before it is called a gateway.
const GATEWAY_FORWARDS_MIN: usize = 2;
/// Different devices polled with industrial protocols that make a master.
const MASTER_POLLS_MIN: usize = 3;
/// Fields that say nothing about who a routed host is.
const ROUTED_NOISE: [&str; 3] = ["dhcp.", "dns.", "client."];
/// Protocols of controllers.
const CONTROL: [&str; 14] = [
    "modbus", "s7comm", "enip", "cip", "iec104", "dnp3", "mms", "opcua", "ads", "fins", "melsec",
    "umas", "bacnet", "hart-ip",
];

/// A device under construction: the nodes of one cluster.
#[derive(Debug)]
pub(crate) struct Cluster<'a> {
    pub(crate) id: DeviceId,
    pub(crate) root: NodeId,
    pub(crate) nodes: Vec<(NodeId, &'a Node)>,
}

pub(crate) fn resolve(graph: &mut Graph, knowledge: &Knowledge, ids: &mut dyn Ids) -> Resolved {
    let owners = Owners::of(graph);
    let owners = if add_routed_hosts(graph, &owners, ids) { Owners::of(graph) } else { owners };
    let merged = Merged::of(graph, &owners, &knowledge.oui);
    let clusters = clusters(graph, &merged);
    let ids_by_root: BTreeMap<NodeId, DeviceId> =
        clusters.iter().map(|c| (c.root, c.id.clone())).collect();

    let ends = Ends { graph, owners: &owners, merged: &merged };
    let ports = Ports::of(graph, ends);
    let assigned = assign_facts(graph, &owners, &merged);
    let mut resolved = Resolved::default();
    let mut blocks = Blocks::of(&knowledge.oui);
    let mut judge = knowledge.rules.judge();
    let scene = Scene {
        owners: &owners,
        ports: &ports,
        assigned: &assigned,
        ids: &ids_by_root,
        merged: &merged,
    };
    for cluster in clusters.iter().filter(|c| is_shown(c, &owners, &assigned)) {
        resolved.devices.push(device(cluster, scene, &mut blocks, &mut judge));
    }
    tie_families(graph, &merged, &clusters, &ids_by_root, &mut resolved.devices);
    locate(graph, &merged, &ids_by_root, &mut resolved.devices);
    suggest(&merged, &ids_by_root, &mut resolved.devices);

    let index = index_of(&resolved.devices);
    let quarantined = |id: &DeviceId| {
        index
            .get(id)
            .and_then(|i| resolved.devices.get(*i))
            .is_some_and(|d| d.status == Status::Quarantined)
    };
    let name = |node: NodeId| {
        let id = ids_by_root.get(&merged.root(node))?;
        let device = index.get(id).and_then(|i| resolved.devices.get(*i))?;
        Some((id.clone(), display_name(device)))
    };
    let mut paths = Paths::default();
    for c in &graph.conversations {
        let Some(from) = ends.client(c).and_then(|n| ids_by_root.get(&merged.root(n))) else {
            continue;
        };
        if !quarantined(from) {
            paths.add(from, c, &ends.target(c), &name);
        }
    }
    let (mut services, mut conduits) = paths.finish();
    resolved.findings = findings::of(graph, &owners, &merged, &ids_by_root, &resolved.devices);
    let astray = resolvers::mark(&knowledge.resolvers, &mut services, &mut conduits);
    resolved.findings.extend(astray);
    findings::in_order(&mut resolved.findings);
    resolved.services = services;
    resolved.conduits = conduits;
    resolved.devices.sort_by(|a, b| (a.first_seen, &a.id).cmp(&(b.first_seen, &b.id)));
    resolved
}

/// Where each device stands in the list.
fn index_of(devices: &[Device]) -> FxHashMap<DeviceId, usize> {
    devices.iter().enumerate().map(|(i, d)| (d.id.clone(), i)).collect()
}

/// Whether a cluster is worth a row: it sent something, said something, or is somebody's child.
fn is_shown(
    cluster: &Cluster<'_>,
    owners: &Owners,
    assigned: &BTreeMap<NodeId, Vec<&Said>>,
) -> bool {
    assigned.contains_key(&cluster.root)
        || cluster.nodes.iter().any(|(id, n)| match n.identity {
            Identity::Link(_) => n.packets > 0 || n.behind.is_some(),
            Identity::Host(ip) => owners.node(*id).owns(ip),
            Identity::Child { .. } => true,
        })
}

/// A name for people: the device's own, its model, or its id.
pub(crate) fn display_name(device: &Device) -> String {
    device
        .hostnames
        .first()
        .cloned()
        .or_else(|| device.model.as_ref().filter(|m| m.is_product()).map(|m| m.value.clone()))
        .or_else(|| device.ips.first().map(ToString::to_string))
        .unwrap_or_else(|| device.id.to_string())
}

/// Private hosts seen only through a router that identify themselves or hold conversations.
fn add_routed_hosts(graph: &mut Graph, owners: &Owners, ids: &mut dyn Ids) -> bool {
    let mut hosts: BTreeMap<IpAddr, NodeId> = BTreeMap::new();
    for (id, node) in (0..).zip(&graph.nodes) {
        let forwarded = &owners.node(id).forwarded;
        if forwarded.is_empty() {
            continue;
        }
        for said in &node.said {
            let noise = ROUTED_NOISE.iter().any(|p| said.field.starts_with(p));
            if let Some(ip) = said.ip.filter(|ip| !noise && forwarded.contains(ip)) {
                hosts.entry(ip).or_insert(id);
            }
        }
    }
    for c in &graph.conversations {
        let server =
            c.flow.server_ip.and_then(|ip| Some((ip, graph.find_link(c.flow.server_mac)?)));
        let client = c.flow.client_ip.map(|ip| (ip, c.client));
        let quiet = matches!(c.flow.port, 53 | 67 | 68) && c.flow.transport == Transport::Udp;
        for (ip, node) in [server, client].into_iter().flatten().filter(|_| !quiet) {
            if owners.node(node).forwarded.contains(&ip) {
                hosts.entry(ip).or_insert(node);
            }
        }
    }
    hosts.retain(|ip, _| may_be_routed_host(*ip) && owners.owners(*ip).is_empty());
    let before = graph.nodes.len();
    for (ip, via) in hosts.into_iter().take(ROUTED_HOSTS_MAX) {
        graph.add_host(ip, via, ids);
    }
    graph.nodes.len() > before
}

fn clusters<'a>(graph: &'a Graph, merged: &Merged) -> Vec<Cluster<'a>> {
    let mut by_root: BTreeMap<NodeId, Vec<(NodeId, &Node)>> = BTreeMap::new();
    for (id, node) in (0..).zip(&graph.nodes) {
        by_root.entry(merged.root(id)).or_default().push((id, node));
    }
    by_root
        .into_iter()
        .filter_map(|(root, nodes)| {
            let id = nodes.iter().find(|(n, _)| *n == root)?.1.id.clone();
            Some(Cluster { id, root, nodes })
        })
        .collect()
}

/// What each device said: a node's own words, and those of hosts that other nodes forward.
fn assign_facts<'a>(
    graph: &'a Graph,
    owners: &Owners,
    merged: &Merged,
) -> BTreeMap<NodeId, Vec<&'a Said>> {
    let mut assigned: BTreeMap<NodeId, Vec<&Said>> = BTreeMap::new();
    for (id, node) in (0..).zip(&graph.nodes) {
        let ownership = owners.node(id);
        for said in &node.said {
            let speaker = match said.ip {
                Some(ip) if !ownership.owns(ip) => owners.owners(ip).last().copied(),
                _ => Some(id),
            };
            if let Some(speaker) = speaker {
                assigned.entry(merged.root(speaker)).or_default().push(said);
            }
        }
    }
    for facts in assigned.values_mut() {
        facts.sort_by_key(|f| (f.source.at, f.source.packet));
    }
    assigned
}

/// Ports that devices offer and use, and what follows from them.
#[derive(Debug, Default)]
struct Ports {
    facts: BTreeMap<NodeId, Vec<Said>>,
    /// Devices polled with industrial protocols, by master.
    polled: BTreeMap<NodeId, BTreeSet<NodeId>>,
    /// All devices that are polled.
    controllers: BTreeSet<NodeId>,
    /// Clients by server.
    clients: BTreeMap<NodeId, BTreeSet<NodeId>>,
}

impl Ports {
    fn of(graph: &Graph, ends: Ends<'_>) -> Self {
        let mut ports = Self::default();
        let mut seen: FxHashSet<(NodeId, &'static str, Arc<str>)> = FxHashSet::default();
        // The same few ports and fields come in all conversations: one text serves all facts.
        let mut values: FxHashMap<(u16, &str), Arc<str>> = FxHashMap::default();
        let mut fields: FxHashMap<&'static str, Arc<str>> = FxHashMap::default();
        for c in &graph.conversations {
            let Some(client) = ends.client(c) else { continue };
            let target = ends.target(c);
            let application = c.flow.application.as_deref().unwrap_or("unknown");
            let port = c.flow.port;
            let value = Arc::clone(
                values
                    .entry((port, application))
                    .or_insert_with(|| Arc::from(format!("{port}/{application}"))),
            );
            let (offers, uses) = match c.flow.transport {
                Transport::Tcp => ("service.tcp", "client.tcp"),
                _ => ("service.udp", "client.udp"),
            };
            let mut add = |node: NodeId, name: &'static str| {
                if seen.insert((node, name, Arc::clone(&value))) {
                    let field = fields.entry(name).or_insert_with(|| Arc::from(name));
                    ports.facts.entry(node).or_default().push(Said {
                        field: Arc::clone(field),
                        value: Arc::clone(&value),
                        ip: None,
                        source: c.source.clone(),
                    });
                }
            };
            if has_ports(c.flow.transport) {
                add(client, uses);
                // Without a handshake and without a known protocol the port may be the client's.
                let trusted = c.flow.roles_certain || c.flow.application.is_some();
                if let Target::Device(server) = target
                    && trusted
                {
                    add(server, offers);
                }
            }
            if let Target::Device(server) = target {
                ports.clients.entry(server).or_default().insert(client);
                if CONTROL.contains(&application) {
                    ports.polled.entry(client).or_default().insert(server);
                    ports.controllers.insert(server);
                }
            }
        }
        ports
    }
}

/// What is known of all clusters when one of them becomes a device.
#[derive(Clone, Copy)]
struct Scene<'a> {
    owners: &'a Owners,
    ports: &'a Ports,
    assigned: &'a BTreeMap<NodeId, Vec<&'a Said>>,
    ids: &'a BTreeMap<NodeId, DeviceId>,
    merged: &'a Merged,
}

fn device(
    cluster: &Cluster<'_>,
    scene: Scene<'_>,
    blocks: &mut Blocks<'_>,
    judge: &mut Judge<'_>,
) -> Device {
    let Scene { owners, ports, assigned, ids, merged } = scene;
    let macs: Vec<Mac> = cluster
        .nodes
        .iter()
        .filter_map(|(_, n)| match n.identity {
            Identity::Link(mac) => Some(mac),
            _ => None,
        })
        .collect();
    let blocks: Vec<Said> = cluster.nodes.iter().filter_map(|(_, n)| blocks.fact(n)).collect();
    let mut facts: Vec<&Said> = assigned.get(&cluster.root).cloned().unwrap_or_default();
    facts.extend(&blocks);
    facts.extend(ports.facts.get(&cluster.root).into_iter().flatten());
    let views: Vec<FactView<'_>> =
        facts.iter().map(|f| FactView { field: &f.field, value: &f.value }).collect();
    let mut claims = Vec::new();
    judge.evaluate(&views, &mut claims);
    let mut beliefs = Beliefs::of(&claims, &facts);

    let packets_to_identity = beliefs.packets_until(Attribute::Model);
    let model = beliefs.take(Attribute::Model).or_else(|| machine_name(&beliefs, &facts));
    let hostnames = hostnames(&facts, beliefs.value(Attribute::Hostname));
    let ips = addresses(cluster, owners);
    let forwards: usize =
        cluster.nodes.iter().map(|(id, _)| owners.node(*id).forwarded.len()).sum();
    let serves_network = facts.iter().any(|f| matches!(&*f.field, "dhcp.server" | "ndp.router"));
    let role = role(forwards, serves_network, cluster.root, ports)
        .or_else(|| beliefs.take(Attribute::Role).map(|r| r.value));
    let parent = cluster.nodes.iter().find_map(|(_, n)| {
        let (parent, via) = match &n.identity {
            Identity::Child { parent, via, .. } => (*parent, via),
            _ => n.behind.as_ref().map(|(p, via)| (*p, via))?,
        };
        let parent = merged.root(parent);
        (parent != cluster.root).then(|| (ids.get(&parent).cloned(), via.to_string()))
    });
    let (parent, via) = parent.map_or((None, None), |(p, via)| (p, Some(via)));
    let sum = |f: fn(&Node) -> u64| cluster.nodes.iter().map(|(_, n)| f(n)).sum::<u64>();
    let packets = sum(|n| n.packets);
    let stray =
        packets <= 1 && !macs.is_empty() && parent.is_none() && is_stray(cluster, owners, &facts);
    let list = |f: fn(&Node) -> &[u16]| {
        let all: BTreeSet<u16> = cluster.nodes.iter().flat_map(|(_, n)| f(n)).copied().collect();
        all.into_iter().collect()
    };
    let protocols: BTreeSet<String> =
        cluster.nodes.iter().flat_map(|(_, n)| &n.protocols).map(|p| p.to_string()).collect();
    let identifiers: BTreeSet<Identifier> = cluster
        .nodes
        .iter()
        .flat_map(|(id, n)| {
            let own = owners.node(*id);
            n.stated.iter().filter(|s| s.ip.is_none_or(|ip| own.owns(ip)))
        })
        .map(|s| Identifier { kind: s.kind, value: s.value.to_string() })
        .collect();
    let mud_url = crate::mud::announced(&facts);
    Device {
        id: cluster.id.clone(),
        aliases: cluster
            .nodes
            .iter()
            .filter(|(n, _)| *n != cluster.root)
            .map(|(_, n)| n.id.clone())
            .collect(),
        site: cluster.nodes.first().map_or_else(default_site, |(_, n)| n.site.clone()),
        macs,
        ips,
        vlans: list(|n| &n.vlans),
        hostnames,
        vendor: beliefs.take(Attribute::Vendor),
        model,
        kind: beliefs.take(Attribute::Type),
        firmware: beliefs.take(Attribute::Firmware),
        hardware: beliefs.take(Attribute::Hardware),
        serial: beliefs.take(Attribute::Serial),
        os: beliefs.take(Attribute::Os),
        chip_vendor: beliefs.take(Attribute::ChipVendor).map(|a| a.value),
        role,
        status: if stray { Status::Quarantined } else { Status::Confirmed },
        assurance: Assurance::Observed,
        parent,
        children: Vec::new(),
        via,
        identifiers: identifiers.into_iter().collect(),
        firmware_history: std::mem::take(&mut beliefs.firmware_history),
        mud_url,
        located_at: Vec::new(),
        clients: Vec::new(),
        merge_suggestions: Vec::new(),
        protocols: protocols.into_iter().collect(),
        first_seen: cluster.nodes.iter().map(|(_, n)| n.first).min().unwrap_or_default(),
        last_seen: cluster.nodes.iter().map(|(_, n)| n.last).max().unwrap_or_default(),
        packets,
        bytes: sum(|n| n.bytes),
        packets_to_identity,
    }
}

/// A general-purpose machine has no product name on the wire; what its operators call it is the
/// only designation there is (docs/adr/0004). Its rule and its low confidence say so.
fn machine_name(beliefs: &Beliefs, facts: &[&Said]) -> Option<model::inspect::Attribute> {
    const MACHINES: [&str; 7] = [
        "computer",
        "server",
        "workstation",
        "engineering-workstation",
        "virtual-machine",
        "single-board-computer",
        "laptop",
    ];
    let kind = beliefs.value(Attribute::Type)?;
    let named = facts.iter().find(|f| MACHINE_NAME_FIELDS.contains(&&*f.field))?;
    MACHINES.contains(&kind).then(|| model::inspect::Attribute {
        value: named.value.to_string(),
        confidence: MACHINE_NAME_CONFIDENCE,
        evidence: vec![belief::cite(named, &Arc::from(model::inspect::MACHINE_NAME_RULE))],
        contradicted_by: Vec::new(),
    })
}

/// One packet is a device when it comes from a known maker's block, says something, and does not
/// use an address that another device owns: a damaged frame fails at least one of these.
fn is_stray(cluster: &Cluster<'_>, owners: &Owners, facts: &[&Said]) -> bool {
    let known_block = facts.iter().any(|f| &*f.field == "mac.oui");
    let spoke = facts.iter().any(|f| {
        !matches!(&*f.field, "mac.oui" | "client.tcp" | "client.udp")
            && !f.field.starts_with("dns.")
    });
    let shared = cluster
        .nodes
        .iter()
        .flat_map(|(id, _)| &owners.node(*id).own)
        .any(|ip| owners.owners(*ip).len() > 1);
    !known_block || !spoke || shared
}

#[expect(clippy::expect_used, reason = "a constant that a test reads")]
fn default_site() -> model::SiteId {
    model::SiteId::new("site").expect("a valid constant")
}

/// Owners of address blocks as facts, each text made once for all devices.
#[derive(Debug)]
struct Blocks<'k> {
    oui: &'k Oui,
    field: Arc<str>,
    input: Arc<str>,
    owners: FxHashMap<&'k str, Arc<str>>,
}

impl<'k> Blocks<'k> {
    fn of(oui: &'k Oui) -> Self {
        let (field, input) = (Arc::from("mac.oui"), Arc::from(""));
        Self { oui, field, input, owners: FxHashMap::default() }
    }

    /// The owner of the node's address block. Station numbers of other media in an Ethernet wrapper
    /// have no maker.
    fn fact(&mut self, node: &Node) -> Option<Said> {
        let Identity::Link(mac) = node.identity else { return None };
        if merge::is_wrapped(mac) {
            return None;
        }
        let owner = self.oui.lookup(mac)?;
        let value = Arc::clone(self.owners.entry(owner).or_insert_with(|| Arc::from(owner)));
        let input = Arc::clone(&self.input);
        let source = Source { input, packet: 0, at: node.first, nth: 0 };
        Some(Said { field: Arc::clone(&self.field), value, ip: None, source })
    }
}

/// Names a device gave itself, most often told first.
fn hostnames(facts: &[&Said], believed: Option<&str>) -> Vec<String> {
    const FIELDS: [&str; 12] = [
        "dhcp.hostname",
        "dhcp.fqdn",
        "lldp.system_name",
        "cdp.device_id",
        "snmp.sys_name",
        "mdns.host",
        "nbns.name",
        "browser.name",
        "llmnr.name",
        "llmnr.claim",
        "pn.station_name",
        "syslog.hostname",
    ];
    let mut names: Vec<String> = believed.map(str::to_owned).into_iter().collect();
    for field in FIELDS {
        for fact in facts.iter().filter(|f| &*f.field == field) {
            if !names.iter().any(|n| n.eq_ignore_ascii_case(&fact.value)) && names.len() < 8 {
                names.push(fact.value.to_string());
            }
        }
    }
    names
}

fn addresses(cluster: &Cluster<'_>, owners: &Owners) -> Vec<IpAddr> {
    let mut ips: Vec<IpAddr> = Vec::new();
    for (id, _) in &cluster.nodes {
        for ip in &owners.node(*id).own {
            if !ips.contains(ip) {
                ips.push(*ip);
            }
        }
    }
    ips.truncate(model::limits::ADDRESSES_PER_DEVICE_MAX);
    ips
}

/// The part a device plays, as far as its traffic shows.
fn role(forwards: usize, serves_network: bool, root: NodeId, ports: &Ports) -> Option<String> {
    let count = |map: &BTreeMap<NodeId, BTreeSet<NodeId>>| map.get(&root).map_or(0, BTreeSet::len);
    let word = if forwards >= GATEWAY_FORWARDS_MIN || serves_network {
        "gateway"
    } else if count(&ports.polled) >= MASTER_POLLS_MIN {
        "scada-master"
    } else if ports.controllers.contains(&root) {
        "controller"
    } else if count(&ports.clients) >= 2 {
        "server"
    } else {
        return None;
    };
    Some(word.to_owned())
}

/// Lists children at their parents. A child whose parent turned out to be itself has none.
fn tie_families(
    graph: &Graph,
    merged: &Merged,
    clusters: &[Cluster<'_>],
    ids: &BTreeMap<NodeId, DeviceId>,
    devices: &mut [Device],
) {
    let mut children: BTreeMap<NodeId, Vec<DeviceId>> = BTreeMap::new();
    let mut listed: FxHashSet<(NodeId, NodeId)> = FxHashSet::default();
    for cluster in clusters {
        for (_, node) in &cluster.nodes {
            let parent = match &node.identity {
                Identity::Child { parent, .. } => Some(*parent),
                _ => node.behind.as_ref().map(|(p, _)| *p),
            };
            if let Some(parent) = parent.map(|p| merged.root(p)).filter(|p| *p != cluster.root)
                && graph.node(parent).is_some()
                && listed.insert((parent, cluster.root))
            {
                children.entry(parent).or_default().push(cluster.id.clone());
            }
        }
    }
    let index = index_of(devices);
    for (parent, mut list) in children {
        let at = ids.get(&parent).and_then(|id| index.get(id));
        if let Some(device) = at.and_then(|i| devices.get_mut(*i)) {
            device.children.append(&mut list);
        }
    }
}

/// Places devices at the switch ports that reported them.
fn locate(
    graph: &Graph,
    merged: &Merged,
    ids: &BTreeMap<NodeId, DeviceId>,
    devices: &mut [Device],
) {
    let index = index_of(devices);
    let mut known: Vec<_> = graph.located.iter().collect();
    known.sort_by_key(|(mac, _)| **mac);
    for (mac, places) in known {
        for place in places {
            let switch = ids.get(&merged.root(place.at)).and_then(|id| index.get(id));
            if let Some(switch) = switch.and_then(|i| devices.get_mut(*i))
                && switch.clients.len() < model::limits::CHILDREN_PER_DEVICE_MAX
            {
                let port = place.port.to_string();
                switch.clients.push(Client { mac: *mac, port, at: place.when });
            }
        }
    }
    for device in devices {
        for mac in &device.macs {
            for place in graph.located.get(mac).into_iter().flatten() {
                if let Some(at) = ids.get(&merged.root(place.at)) {
                    let port = place.port.to_string();
                    device.located_at.push(Location { device: at.clone(), port, at: place.when });
                }
            }
        }
    }
}

fn suggest(merged: &Merged, ids: &BTreeMap<NodeId, DeviceId>, devices: &mut [Device]) {
    let index = index_of(devices);
    for s in &merged.suggestions {
        let pair = (ids.get(&merged.root(s.nodes.0)), ids.get(&merged.root(s.nodes.1)));
        let (Some(a), Some(b)) = pair else { continue };
        // A link address that was only talked about is no device to merge with.
        if !index.contains_key(a) || !index.contains_key(b) {
            continue;
        }
        for (device, other) in [(a, b), (b, a)] {
            let Some(device) = index.get(device).and_then(|i| devices.get_mut(*i)) else {
                continue;
            };
            let known = device.merge_suggestions.iter_mut().find(|m| m.device == *other);
            match known {
                Some(known) if known.confidence >= s.confidence => {}
                Some(known) => {
                    known.confidence = s.confidence;
                    known.reason.clone_from(&s.reason);
                }
                None => device.merge_suggestions.push(MergeSuggestion {
                    device: other.clone(),
                    confidence: s.confidence,
                    reason: s.reason.clone(),
                }),
            }
        }
    }
}
