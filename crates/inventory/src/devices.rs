//! Puts devices together: clusters of nodes, what they said, what that means.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use model::inspect::{Client, Device, Identifier, Location, MergeSuggestion, Status};
use model::observation::Transport;
use model::{Assurance, DeviceId, Mac, Timestamp};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::belief::{self, Beliefs};
use crate::findings;
use crate::graph::{Graph, Identity, Ids, Node, NodeId, Said, Source};
use crate::merge::{self, Merged};
use crate::oui::Oui;
use crate::owns::Owners;
use crate::paths::{Ends, Paths, Routed, Target, has_ports, may_be_routed_host};
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

/// Every device is made, handed to `take` and forgotten: there may be more of them than memory for all
/// of their documents.
pub(crate) fn resolve(
    graph: &mut Graph,
    knowledge: &Knowledge,
    ids: &mut dyn Ids,
    take: &mut dyn FnMut(Device),
) -> Resolved {
    let owners = Owners::of(graph);
    let owners = if add_routed_hosts(graph, &owners, ids) { Owners::of(graph) } else { owners };
    let merged = Merged::of(graph, &owners, &knowledge.oui);
    let ends = Ends { graph, owners: &owners, merged: &merged };
    let routes = ends.all();
    let ports = Ports::of(&routes);
    let assigned = Assigned::of(graph, &owners, &merged);
    let clusters = Clusters::of(graph, &owners, &merged, &assigned);
    let mut families = families(graph, &merged, &clusters);
    let mut ties = suggested(graph, &merged, &clusters);
    let mut clients = clients(graph, &merged);
    // Who is a destination gets a name in the list of services.
    let mut names: FxHashMap<NodeId, Option<String>> = FxHashMap::default();
    for (_, _, target) in &routes {
        if let Target::Device(node) = target {
            names.insert(*node, None);
        }
    }

    let mut blocks = Blocks::of(&knowledge.oui);
    let mut judge = knowledge.rules.judge();
    let scene =
        Scene { graph, owners: &owners, ports: &ports, assigned: &assigned, merged: &merged };
    let mut remarks = findings::Remarks::default();
    let mut quarantined: FxHashSet<NodeId> = FxHashSet::default();
    for root in clusters.in_order(graph) {
        let Some(cluster) = clusters.cluster(root) else { continue };
        let mut device = device(&cluster, scene, &mut blocks, &mut judge);
        device.children = families.remove(&root).unwrap_or_default();
        device.clients = clients.remove(&root).unwrap_or_default();
        device.located_at = located(graph, &merged, &device.macs);
        device.merge_suggestions = ties.remove(&root).unwrap_or_default();
        if device.status == Status::Quarantined {
            quarantined.insert(root);
        }
        if let Some(name) = names.get_mut(&root) {
            *name = Some(display_name(&device));
        }
        remarks.device(&device);
        take(device);
    }

    let name = |node: NodeId| {
        let root = merged.root(node);
        Some((graph.node(root)?.id.clone(), names.get(&root)?.clone()?))
    };
    let mut paths = Paths::default();
    for (c, from, target) in routes {
        let Some(from) = from else { continue };
        if quarantined.contains(&from) {
            continue;
        }
        if let Some(client) = graph.node(from) {
            paths.add(&client.id, c, target, &name);
        }
    }
    let (mut services, mut conduits) = paths.finish();
    let mut findings = remarks.with(graph, &owners, &merged);
    findings.extend(resolvers::mark(&knowledge.resolvers, &mut services, &mut conduits));
    findings::in_order(&mut findings);
    Resolved { devices: Vec::new(), services, conduits, findings }
}

/// The nodes of every device that is worth a row.
#[derive(Debug)]
struct Clusters<'a> {
    /// Each node with the one that stands for its device, sorted by that one.
    members: Vec<(NodeId, NodeId)>,
    /// Those that stand for a device which is shown, sorted.
    shown: Vec<NodeId>,
    graph: &'a Graph,
}

impl<'a> Clusters<'a> {
    fn of(graph: &'a Graph, owners: &Owners, merged: &Merged, assigned: &Assigned<'_>) -> Self {
        let mut members: Vec<(NodeId, NodeId)> =
            (0..).zip(&graph.nodes).map(|(id, _)| (merged.root(id), id)).collect();
        members.sort_unstable();
        let is_shown = |nodes: &[(NodeId, NodeId)]| {
            let root = nodes.first().map(|(root, _)| *root)?;
            let shows = |(_, id): &(NodeId, NodeId)| {
                graph.node(*id).is_some_and(|n| shows_itself(*id, n, owners))
            };
            (assigned.any(root) || nodes.iter().any(shows)).then_some(root)
        };
        let shown = members.chunk_by(|a, b| a.0 == b.0).filter_map(is_shown).collect();
        Self { members, shown, graph }
    }

    fn is_shown(&self, root: NodeId) -> bool {
        self.shown.binary_search(&root).is_ok()
    }

    /// The nodes of one device, in order of first sight.
    fn nodes(&self, root: NodeId) -> impl Iterator<Item = (NodeId, &'a Node)> {
        let from = self.members.partition_point(|(of, _)| *of < root);
        let rest = self.members.get(from..).unwrap_or_default();
        rest.iter()
            .take_while(move |(of, _)| *of == root)
            .filter_map(|(_, id)| Some((*id, self.graph.node(*id)?)))
    }

    fn cluster(&self, root: NodeId) -> Option<Cluster<'a>> {
        let id = self.graph.node(root)?.id.clone();
        Some(Cluster { id, root, nodes: self.nodes(root).collect() })
    }

    /// Those that are shown, in order of first sight.
    fn in_order(&self, graph: &Graph) -> Vec<NodeId> {
        let mut order: Vec<NodeId> = self.shown.clone();
        order.sort_by_cached_key(|root| {
            (first_seen(self.nodes(*root)), graph.node(*root).map(|n| n.id.clone()))
        });
        order
    }
}

fn first_seen<'a>(nodes: impl Iterator<Item = (NodeId, &'a Node)>) -> Timestamp {
    nodes.map(|(_, n)| n.first).min().unwrap_or_default()
}

/// Whether a node makes its cluster worth a row: it sent something, or is somebody's child.
fn shows_itself(id: NodeId, node: &Node, owners: &Owners) -> bool {
    match node.identity {
        Identity::Link(_) => node.packets > 0 || node.behind.is_some(),
        Identity::Host(ip) => owners.node(id).owns(ip),
        Identity::Child(_) => true,
    }
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
        let forwarded = owners.node(id).forwarded;
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

/// What each device said: a node's own words, and those of hosts that other nodes forward.
#[derive(Debug)]
struct Assigned<'a> {
    /// With the node that stands for the device, sorted by that one and then by time.
    facts: Vec<(NodeId, &'a Said)>,
}

impl<'a> Assigned<'a> {
    fn of(graph: &'a Graph, owners: &Owners, merged: &Merged) -> Self {
        let mut facts: Vec<(NodeId, &'a Said)> =
            Vec::with_capacity(graph.nodes.iter().map(|n| n.said.len()).sum());
        for (id, node) in (0..).zip(&graph.nodes) {
            let ownership = owners.node(id);
            for said in &node.said {
                let speaker = match said.ip {
                    Some(ip) if !ownership.owns(ip) => owners.owners(ip).last().copied(),
                    _ => Some(id),
                };
                if let Some(speaker) = speaker {
                    facts.push((merged.root(speaker), said));
                }
            }
        }
        facts.sort_by_key(|(root, f)| (*root, f.source.at, f.source.packet));
        Self { facts }
    }

    fn of_device(&self, root: NodeId) -> impl Iterator<Item = &'a Said> {
        let from = self.facts.partition_point(|(of, _)| *of < root);
        let rest = self.facts.get(from..).unwrap_or_default();
        rest.iter().take_while(move |(of, _)| *of == root).map(|(_, said)| *said)
    }

    fn any(&self, root: NodeId) -> bool {
        self.of_device(root).next().is_some()
    }
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
    fn of(routes: &[Routed<'_>]) -> Self {
        let mut ports = Self::default();
        let mut seen: FxHashSet<(NodeId, &'static str, Arc<str>)> = FxHashSet::default();
        // The same few ports and fields come in all conversations: one text serves all facts.
        let mut values: FxHashMap<(u16, &str), Arc<str>> = FxHashMap::default();
        let mut fields: FxHashMap<&'static str, Arc<str>> = FxHashMap::default();
        for (c, client, target) in routes.iter().copied() {
            let Some(client) = client else { continue };
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
    graph: &'a Graph,
    owners: &'a Owners,
    ports: &'a Ports,
    assigned: &'a Assigned<'a>,
    merged: &'a Merged,
}

fn device(
    cluster: &Cluster<'_>,
    scene: Scene<'_>,
    blocks: &mut Blocks<'_>,
    judge: &mut Judge<'_>,
) -> Device {
    let Scene { graph, owners, ports, assigned, merged } = scene;
    let macs: Vec<Mac> = cluster
        .nodes
        .iter()
        .filter_map(|(_, n)| match n.identity {
            Identity::Link(mac) => Some(mac),
            _ => None,
        })
        .collect();
    let blocks: Vec<Said> = cluster.nodes.iter().filter_map(|(_, n)| blocks.fact(n)).collect();
    let mut facts: Vec<&Said> = assigned.of_device(cluster.root).collect();
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
            Identity::Child(child) => (child.parent, &child.via),
            _ => n.behind.as_ref().map(|behind| (behind.0, &behind.1))?,
        };
        let parent = merged.root(parent);
        (parent != cluster.root)
            .then(|| (graph.node(parent).map(|n| n.id.clone()), via.to_string()))
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
        cluster.nodes.iter().flat_map(|(_, n)| &*n.protocols).map(|p| p.to_string()).collect();
    let identifiers: BTreeSet<Identifier> = cluster
        .nodes
        .iter()
        .flat_map(|(id, n)| {
            let own = owners.node(*id);
            n.stated.iter().filter(move |s| s.ip.is_none_or(|ip| own.owns(ip)))
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
        first_seen: first_seen(cluster.nodes.iter().copied()),
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
        .flat_map(|(id, _)| owners.node(*id).own)
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
        for ip in owners.node(*id).own {
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

/// Devices behind each device. A child whose parent turned out to be itself has none.
fn families(
    graph: &Graph,
    merged: &Merged,
    clusters: &Clusters<'_>,
) -> FxHashMap<NodeId, Vec<DeviceId>> {
    let mut children: FxHashMap<NodeId, Vec<DeviceId>> = FxHashMap::default();
    let mut listed: FxHashSet<(NodeId, NodeId)> = FxHashSet::default();
    for (root, id) in &clusters.members {
        let (Some(device), Some(node)) = (graph.node(*root), graph.node(*id)) else { continue };
        let parent = match &node.identity {
            Identity::Child(child) => Some(child.parent),
            _ => node.behind.as_ref().map(|behind| behind.0),
        };
        if let Some(parent) = parent.map(|p| merged.root(p)).filter(|p| p != root)
            && graph.node(parent).is_some()
            && listed.insert((parent, *root))
        {
            children.entry(parent).or_default().push(device.id.clone());
        }
    }
    children
}

/// What each switch reported at its ports.
fn clients(graph: &Graph, merged: &Merged) -> FxHashMap<NodeId, Vec<Client>> {
    let mut clients: FxHashMap<NodeId, Vec<Client>> = FxHashMap::default();
    let mut known: Vec<_> = graph.located.iter().collect();
    known.sort_by_key(|(mac, _)| **mac);
    for (mac, places) in known {
        for place in places {
            let of_switch = clients.entry(merged.root(place.at)).or_default();
            if of_switch.len() < model::limits::CHILDREN_PER_DEVICE_MAX {
                let port = place.port.to_string();
                of_switch.push(Client { mac: *mac, port, at: place.when });
            }
        }
    }
    clients
}

/// The switch ports that reported these addresses.
fn located(graph: &Graph, merged: &Merged, macs: &[Mac]) -> Vec<Location> {
    let places = macs.iter().filter_map(|mac| graph.located.get(mac)).flatten();
    places
        .filter_map(|place| {
            let device = graph.node(merged.root(place.at))?.id.clone();
            Some(Location { device, port: place.port.to_string(), at: place.when })
        })
        .collect()
}

/// What may be the same device, at both of them.
fn suggested(
    graph: &Graph,
    merged: &Merged,
    clusters: &Clusters<'_>,
) -> FxHashMap<NodeId, Vec<MergeSuggestion>> {
    let mut suggested: FxHashMap<NodeId, Vec<MergeSuggestion>> = FxHashMap::default();
    for s in &merged.suggestions {
        let (a, b) = (merged.root(s.nodes.0), merged.root(s.nodes.1));
        // A link address that was only talked about is no device to merge with.
        if !clusters.is_shown(a) || !clusters.is_shown(b) {
            continue;
        }
        for (device, other) in [(a, b), (b, a)] {
            let Some(other) = graph.node(other).map(|n| &n.id) else { continue };
            let list = suggested.entry(device).or_default();
            match list.iter_mut().find(|m| m.device == *other) {
                Some(known) if known.confidence >= s.confidence => {}
                Some(known) => {
                    known.confidence = s.confidence;
                    known.reason.clone_from(&s.reason);
                }
                None => list.push(MergeSuggestion {
                    device: other.clone(),
                    confidence: s.confidence,
                    reason: s.reason.clone(),
                }),
            }
        }
    }
    suggested
}
