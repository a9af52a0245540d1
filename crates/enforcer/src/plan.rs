//! Lays a ruleset out as nf_tables objects: sets, maps, chains. Pure; both the text and the
//! verifier come from it.
//!
//! A packet from a fenced interface is judged in this order:
//!
//! 1. its source pair (link address, network address) must belong to a member: [`BOUND`];
//! 2. an open flow that *this* generation permitted passes (its connection carries the
//!    generation as mark). A flow that an older generation permitted is judged again, so that a
//!    path which policy closed is cut, not left open until the device hangs up;
//! 3. device-specific exceptions; they never mark the flow, so a flow ends with its exception;
//! 4. source class → chain `from_N`; destination class → packet mark; then three maps: exact
//!    port, any port, port range;
//! 5. nothing found: `deny_N` counts, remembers the pair, and drops — or passes in shadow.

mod chains;
pub(crate) mod elements;
pub(crate) mod key;
mod link;
mod prefix;
pub(crate) mod rule;
pub(crate) mod sets;
mod tag;
pub(crate) mod terms;

use std::net::IpAddr;

use model::Timestamp;
use model::observation::Transport;
use model::ruleset::{ClassId, Mode, NamePermit, Ruleset, Terms};

use crate::Invalid;
use elements::{Element, Value};
pub use elements::{Elements, Value as ElementValue};
use key::Key;
pub use key::Type;
pub use prefix::{Kind, Prefix, rule_names};
use rule::{Field, Part, Rule};
pub(crate) use sets::ends;
pub use tag::{GENERATION, Marker, Tag};
use terms::Detours;

/// Where and how a ruleset is enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Name of our tables.
    pub table: String,
    /// Interfaces behind which the devices are (`br0`); all other traffic is not judged.
    pub interfaces: Vec<String>,
    /// Ports of the fenced bridges, `*` at the end for "begins with": on these, ARP senders are
    /// checked, and frames that are not IP need a permit. Empty: no link-layer table.
    pub ports: Vec<String>,
    /// Also judge what devices send to this machine itself.
    pub input: bool,
    /// Networks of the site: an address in them that is nobody's is unknown, even when a wider
    /// prefix (the internet) covers it.
    pub site: Vec<(IpAddr, u8)>,
    /// The present, from which exceptions have time left.
    pub now: Timestamp,
    /// NFLOG group that denied, would-be denied, would-be allowed and logged flows go to, each
    /// with a [`Prefix`]; none: nothing is logged.
    pub log_group: Option<u16>,
    /// How our tables are kept from others.
    pub ownership: Ownership,
}

/// How our tables are kept from others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// Owned by this process (`flags owner,persist`) where the kernel can (Linux 6.9), else open.
    #[default]
    WhereSupported,
    /// Anybody with the privilege may change them; changes are noticed by their generation.
    Open,
}

impl Options {
    /// Everything on, for devices behind `interface`, table `ringfence`.
    pub fn new(interface: &str, now: Timestamp) -> Self {
        Self {
            table: "ringfence".to_owned(),
            interfaces: vec![interface.to_owned()],
            ports: Vec::new(),
            input: true,
            site: Vec::new(),
            now,
            log_group: None,
            ownership: Ownership::default(),
        }
    }
}

/// A ruleset as nf_tables objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Generation it came from.
    pub generation: u64,
    /// Generation it was planned against.
    pub parent: Option<u64>,
    /// Connection mark of flows that this generation permitted, never 0.
    pub stamp: u32,
    /// Everything passes, denials are only counted: all classes are in shadow.
    pub shadow_only: bool,
    /// Permits this enforcement point cannot carry, in words. Never silently empty-handed.
    pub unsupported: Vec<String>,
    /// The moment it was planned for, from which exceptions have time left.
    pub planned_at: Timestamp,
    /// End of the names of all chains, sets and counters but the kernel's entrances.
    pub tag: Tag,
    /// `inet`, and `bridge` where ports are named.
    pub tables: Vec<Table>,
    /// Permits to DNS names, whose addresses come while the generation is in force.
    pub names: Vec<NamePermit>,
    pub(crate) detours: Detours,
}

/// One nf_tables table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// `inet` or `bridge`.
    pub family: &'static str,
    /// Its name.
    pub name: String,
    /// Named counters and what they count.
    pub counters: Vec<(String, String)>,
    /// Sets and maps.
    pub sets: Vec<Set>,
    /// Chains.
    pub chains: Vec<Chain>,
}

/// A set, or a map where `data` is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Name without tag.
    pub name: String,
    /// Parts of a key.
    pub key: &'static [Type],
    /// What keys map to.
    pub data: Option<Data>,
    /// Keys are ranges.
    pub interval: bool,
    /// Elements may end by themselves.
    pub timeout: bool,
    /// Rules add elements.
    pub dynamic: Option<Dynamic>,
    /// Most elements, where the set is small and fixed.
    pub size: Option<u32>,
    /// Every element counts its packets.
    pub counted: bool,
    /// Elements come while the generation is in force, from [`crate::Fence::name_answer`].
    pub learned: bool,
    /// Elements in the order of their keys.
    pub elements: Elements,
}

/// What keys of a map map to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// A mark.
    Mark,
    /// A verdict.
    Verdict,
}

/// A set that rules add elements to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dynamic {
    /// Most elements.
    pub size: u32,
    /// Seconds until an element ends.
    pub timeout_s: u32,
}

/// A chain; a base chain where `hook` is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Name, without tag.
    pub name: String,
    /// Its name carries the tag: all but base chains and the generation's marker.
    pub tagged: bool,
    /// `forward`, `input`.
    pub hook: Option<&'static str>,
    /// For people.
    pub comment: String,
    /// Rules in order.
    pub rules: Vec<Rule>,
}

/// Prefix of the set of valid (link address, network address) pairs, `bound4` and `bound6`.
pub const BOUND: &str = "bound";
/// Remembered denials per set; more are counted but not remembered.
pub const DENIALS_MAX: u32 = 4_096;
/// Flows remembered as logged per set, so that each is logged once a minute; in a full set new
/// ones are not logged, and [`crate::InForce::full`] tells.
pub const SEEN_MAX: u32 = 8_192;

impl Plan {
    /// Checks `ruleset` and lays it out.
    pub fn new(ruleset: &Ruleset, options: &Options) -> Result<Self, Invalid> {
        check_names(options)?;
        check_classes(ruleset)?;
        let low = u32::try_from(ruleset.generation & 0xffff_ffff).unwrap_or(1);
        let mut plan = Self {
            generation: ruleset.generation,
            parent: ruleset.parent,
            stamp: if low == 0 { u32::MAX } else { low },
            shadow_only: !ruleset.classes.is_empty()
                && ruleset.classes.values().all(|class| class.mode == Mode::Shadow),
            unsupported: unsupported(ruleset, options),
            planned_at: options.now,
            tag: Tag::first(ruleset.generation),
            tables: Vec::new(),
            names: ruleset.names.clone(),
            detours: Detours::default(),
        };
        let mut detours = Detours::default();
        let sets = sets::inet(ruleset, options, &mut detours, plan.stamp)?;
        let mut counters = counters(ruleset);
        counters.extend(detours.counters());
        let inet = Table {
            family: "inet",
            name: options.table.clone(),
            counters,
            sets,
            chains: chains::inet(ruleset, options, &plan, &detours),
        };
        plan.tables.push(inet);
        plan.detours = detours;
        if !options.ports.is_empty() {
            let table = link::table(ruleset, options, &mut plan);
            plan.tables.push(table);
        }
        Ok(plan)
    }

    /// All sets with the family they are in.
    pub fn sets(&self) -> impl Iterator<Item = (&'static str, &Set)> {
        self.tables.iter().flat_map(|table| table.sets.iter().map(|set| (table.family, set)))
    }

    /// The name of the marker chain.
    pub fn marker(&self) -> Marker {
        Marker { generation: self.generation, tag: self.tag }
    }

    /// Names objects as another build of the same ruleset.
    pub(crate) fn retag(&mut self, tag: Tag) {
        self.tag = tag;
        let marker = self.marker().to_string();
        for chain in self.tables.iter_mut().flat_map(|table| &mut table.chains) {
            if chain.name.starts_with(GENERATION) {
                chain.name.clone_from(&marker);
            }
        }
    }
}

impl Chain {
    /// Its name in the kernel.
    pub fn full_name(&self, tag: &Tag) -> String {
        if self.tagged { tag.name(&self.name) } else { self.name.clone() }
    }
}

impl Set {
    pub(crate) fn new(name: &str, key: &'static [Type], data: Option<Data>) -> Self {
        Self {
            name: name.to_owned(),
            key,
            data,
            interval: false,
            timeout: false,
            dynamic: None,
            size: None,
            counted: false,
            learned: false,
            elements: Elements::new(key::key_length(key), false),
        }
    }

    fn interval(&mut self) {
        self.interval = true;
        self.elements = Elements::new(key::key_length(self.key), true);
    }

    fn add(&mut self, key: &Key, value: Value<'_>, comment: &str) {
        let comment = comment_text(comment);
        let key = key.bytes();
        self.elements.push(Element { key, end: None, value, timeout_s: None, comment: &comment });
    }

    fn add_range(&mut self, first: &Key, last: &Key, value: Value<'_>, comment: &str) {
        let comment = comment_text(comment);
        let (key, end) = (first.bytes(), Some(last.bytes()));
        self.elements.push(Element { key, end, value, timeout_s: None, comment: &comment });
    }
}

/// What packets alone cannot keep, or this enforcement point cannot carry.
fn unsupported(ruleset: &Ruleset, options: &Options) -> Vec<String> {
    let mut out = Vec::new();
    let names = ruleset.names.iter().map(|permit| (&permit.rule, &permit.terms));
    let all = ruleset.permits.iter().map(|permit| (&permit.rule, &permit.terms)).chain(names);
    for (rule, terms) in all {
        for (protocol, what) in &terms.application {
            let told = format!("rule `{rule}`: {protocol} {what} needs a gateway for {protocol}");
            out.push(told);
        }
    }
    for permit in ruleset.permits.iter().chain(&ruleset.proposed) {
        let link = permit.transport == Transport::Link;
        let plain = Terms { application: permit.terms.application.clone(), ..Terms::default() };
        if link && options.ports.is_empty() {
            out.push(format!("rule `{}`: no bridge port carries its frames", permit.rule));
        } else if link && permit.terms != plain {
            let told = format!(
                "rule `{}`: frames that are not IP are neither limited, logged nor judged in shadow",
                permit.rule
            );
            out.push(told);
        }
    }
    for permit in &ruleset.names {
        let wide = permit.last_port - permit.first_port >= sets::NAME_PORTS_MAX
            && (permit.first_port, permit.last_port) != (0, u16::MAX);
        let link = permit.transport == Transport::Link;
        if link || (wide && matches!(permit.transport, Transport::Tcp | Transport::Udp)) {
            let told = format!(
                "rule `{}`: for a DNS name, permit single ports, at most {} in a row, or all",
                permit.rule,
                sets::NAME_PORTS_MAX
            );
            out.push(told);
        }
    }
    // Rules may repeat what cannot be carried.
    let mut seen = std::collections::BTreeSet::new();
    out.retain(|told| seen.insert(told.clone()));
    out
}

/// What nft takes between quotes: printable, no quotes, at most 120 bytes (the kernel's room is 128).
pub(crate) fn comment_text(text: &str) -> String {
    let mut clean = String::new();
    for c in text.chars() {
        let c = if matches!(c, '"' | '\\') || c.is_control() { '_' } else { c };
        if clean.len() + c.len_utf8() > 120 {
            break;
        }
        clean.push(c);
    }
    clean
}

fn check_names(options: &Options) -> Result<(), Invalid> {
    let check = |what, name: &str, max: usize, extra: &str| {
        let fits = (1..=max).contains(&name.len());
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c) || extra.contains(c);
        if fits && name.chars().all(plain) {
            Ok(())
        } else {
            Err(Invalid::Name { what, name: name.chars().take(64).collect(), max })
        }
    };
    check("a table name", &options.table, 31, "")?;
    let letter_first = options.table.starts_with(|c: char| c.is_ascii_alphabetic());
    if !letter_first || options.table.contains(['.', '-']) {
        let name = options.table.clone();
        return Err(Invalid::Name { what: "a table name", name, max: 31 });
    }
    if options.interfaces.is_empty() {
        return Err(Invalid::NoInterface);
    }
    for name in &options.interfaces {
        check("an interface name", name, 15, "@")?;
    }
    for name in &options.ports {
        check("a port name", name.strip_suffix('*').unwrap_or(name), 15, "@")?;
    }
    options.site.iter().try_for_each(|(ip, prefix)| check_prefix(*ip, *prefix))
}

fn check_prefix(ip: IpAddr, prefix: u8) -> Result<(), Invalid> {
    let longest = if ip.is_ipv4() { 32 } else { 128 };
    if prefix > longest { Err(Invalid::Prefix { ip, prefix }) } else { Ok(()) }
}

fn check_classes(ruleset: &Ruleset) -> Result<(), Invalid> {
    if ruleset.classes.contains_key(&ClassId(0)) {
        return Err(Invalid::ClassZero);
    }
    let known = |class: ClassId, by: &dyn Fn() -> String| {
        if ruleset.classes.contains_key(&class) {
            Ok(())
        } else {
            Err(Invalid::NoSuchClass { by: by(), class: class.0 })
        }
    };
    for member in &ruleset.members {
        known(member.class, &|| format!("device {}", member.device))?;
        if !member.mac.is_unicast() {
            return Err(Invalid::NotASender { mac: member.mac, ip: member.ip });
        }
    }
    for peer in &ruleset.peers {
        check_prefix(peer.ip, peer.prefix)?;
        known(peer.class, &|| format!("peer {}/{}", peer.ip, peer.prefix))?;
    }
    let rule = |rule: &str, terms: &Terms, first: u16, last: u16| {
        if first > last {
            return Err(Invalid::Ports { rule: rule.to_owned(), first, last });
        }
        if terms.rate_per_second == Some(0) {
            return Err(Invalid::Rate { rule: rule.to_owned() });
        }
        Ok(())
    };
    for permit in ruleset.permits.iter().chain(&ruleset.proposed) {
        known(permit.from, &|| format!("rule `{}`", permit.rule))?;
        known(permit.to, &|| format!("rule `{}`", permit.rule))?;
        rule(&permit.rule, &permit.terms, permit.first_port, permit.last_port)?;
    }
    for permit in &ruleset.names {
        known(permit.from, &|| format!("rule `{}`", permit.rule))?;
        rule(&permit.rule, &permit.terms, permit.first_port, permit.last_port)?;
    }
    for e in &ruleset.exceptions {
        if e.from.is_ipv4() != e.to.is_ipv4() {
            return Err(Invalid::Families { name: e.name.clone(), from: e.from, to: e.to });
        }
    }
    Ok(())
}

fn counters(ruleset: &Ruleset) -> Vec<(String, String)> {
    let fixed = [
        ("strangers", "packets whose source pair is no member's"),
        ("spoofed", "packets from outside with a member's address"),
        ("dhcp_to_neighbours", "DHCP requests that stop here: only this machine is asked"),
        ("group", "broadcasts and multicasts to this machine that need no answer"),
    ];
    let fixed = fixed.map(|(name, what)| (name.to_owned(), what.to_owned()));
    let by_class = ruleset.classes.iter().map(|(id, class)| {
        let what = match class.mode {
            Mode::Enforce => format!("denied to {}", class.name),
            Mode::Shadow => format!("would be denied to {}", class.name),
        };
        (format!("denied_{}", id.0), comment_text(&what))
    });
    fixed.into_iter().chain(by_class).collect()
}

impl Chain {
    fn new(name: impl Into<String>, comment: &str, rules: Vec<Rule>) -> Self {
        let comment = comment_text(comment);
        Self { name: name.into(), tagged: true, hook: None, comment, rules }
    }

    /// The chain that the kernel calls at `hook`.
    fn base(hook: &'static str, rules: Vec<Rule>) -> Self {
        let name = hook.to_owned();
        Self { name, tagged: false, hook: Some(hook), comment: String::new(), rules }
    }

    /// The empty chain whose name says which generation is in force.
    fn generation(plan: &Plan) -> Self {
        let parent = plan.parent.map_or("none".to_owned(), |parent| parent.to_string());
        let chain = Self::new(plan.marker().to_string(), &format!("parent {parent}"), Vec::new());
        Self { tagged: false, ..chain }
    }
}

/// What differs between IPv4 and IPv6.
pub(crate) struct Family {
    /// End of the names of its sets.
    pub suffix: &'static str,
    pub v4: bool,
    /// Link address and network address.
    pub pair: &'static [Type],
    pub address: &'static [Type],
    /// Source, destination, protocol, port.
    pub full: &'static [Type],
    pub portless: &'static [Type],
    /// Class, destination, protocol, port.
    pub name_full: &'static [Type],
    pub name_portless: &'static [Type],
    pub source: Field,
    pub destination: Field,
}

pub(crate) const FAMILIES: [Family; 2] = [
    Family {
        suffix: "4",
        v4: true,
        pair: &[Type::Ether, Type::Ip4],
        address: &[Type::Ip4],
        full: &[Type::Ip4, Type::Ip4, Type::Protocol, Type::Port],
        portless: &[Type::Ip4, Type::Ip4, Type::Protocol],
        name_full: &[Type::Mark, Type::Ip4, Type::Protocol, Type::Port],
        name_portless: &[Type::Mark, Type::Ip4, Type::Protocol],
        source: Field::Ip4Source,
        destination: Field::Ip4Destination,
    },
    Family {
        suffix: "6",
        v4: false,
        pair: &[Type::Ether, Type::Ip6],
        address: &[Type::Ip6],
        full: &[Type::Ip6, Type::Ip6, Type::Protocol, Type::Port],
        portless: &[Type::Ip6, Type::Ip6, Type::Protocol],
        name_full: &[Type::Mark, Type::Ip6, Type::Protocol, Type::Port],
        name_portless: &[Type::Mark, Type::Ip6, Type::Protocol],
        source: Field::Ip6Source,
        destination: Field::Ip6Destination,
    },
];

impl Family {
    pub(crate) fn named(&self, base: &str) -> String {
        format!("{base}{}", self.suffix)
    }

    /// What identifies a flow as it is asked for, and the set of `base` for it.
    fn flow(&self, base: &str, ports: bool) -> (Vec<Field>, String) {
        let mut fields = vec![self.source, self.destination, Field::Protocol];
        if ports {
            fields.push(Field::DestinationPort);
            return (fields, self.named(base));
        }
        (fields, self.named(&format!("{base}_any")))
    }

    /// The same, seen from a packet that answers.
    fn answered(&self, ports: bool) -> Vec<Field> {
        let mut fields = vec![self.destination, self.source, Field::Protocol];
        if ports {
            fields.push(Field::SourcePort);
        }
        fields
    }

    /// The source pair belongs to a member.
    fn bound(&self) -> Part {
        Part::In(vec![Field::EtherSource, self.source], self.named(BOUND))
    }
}

#[cfg(test)]
mod tests;
