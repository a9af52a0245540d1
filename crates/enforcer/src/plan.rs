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
mod link;
mod prefix;
mod sets;

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::Timestamp;
use model::observation::Transport;
use model::ruleset::{ClassId, Mode, Permit, Ruleset};

use crate::Invalid;
pub use prefix::{Kind, Prefix, rule_names};
pub(crate) use sets::ends;

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
    /// `inet`, and `bridge` where ports are named.
    pub tables: Vec<Table>,
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
    /// Name.
    pub name: String,
    /// Key type, as nft writes it.
    pub key: &'static str,
    /// What keys map to: `mark`, `verdict`.
    pub data: Option<&'static str>,
    /// `interval`, `timeout`, `dynamic`….
    pub flags: &'static str,
    /// Every element counts its packets.
    pub counted: bool,
    /// Part of the frame, not of the policy: its elements name chains.
    pub structural: bool,
    /// Elements by key, the key's parts joined with ` . `.
    pub elements: BTreeMap<String, Element>,
}

/// What belongs to a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// `7`, `goto allowed`; empty in a set.
    pub value: String,
    /// Seconds until the kernel removes it.
    pub timeout_s: Option<u64>,
    /// Device, rule or exception it came from.
    pub comment: String,
}

/// A chain; a base chain where `hook` is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Name.
    pub name: String,
    /// `forward`, `input`.
    pub hook: Option<&'static str>,
    /// For people.
    pub comment: String,
    /// Rules in order.
    pub rules: Vec<String>,
}

/// Prefix of the set of valid (link address, network address) pairs, `bound4` and `bound6`.
pub const BOUND: &str = "bound";
/// Prefix of the chain whose name carries the generation in force.
pub const GENERATION: &str = "generation_";
/// Remembered denials per set; more are counted but not remembered.
pub const DENIALS_MAX: u32 = 4_096;

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
            unsupported: Vec::new(),
            tables: Vec::new(),
        };
        let inet = Table {
            family: "inet",
            name: options.table.clone(),
            counters: counters(ruleset),
            sets: sets::inet(ruleset, options)?,
            chains: chains::inet(ruleset, options, &plan),
        };
        plan.tables.push(inet);
        if options.ports.is_empty() {
            let link = ruleset.permits.iter().filter(|p| p.transport == Transport::Link);
            let told = |p: &Permit| format!("rule `{}`: no bridge port carries its frames", p.rule);
            plan.unsupported.extend(link.map(told));
        } else {
            let table = link::table(ruleset, options, &mut plan);
            plan.tables.push(table);
        }
        Ok(plan)
    }

    /// All sets with the family they are in.
    pub fn sets(&self) -> impl Iterator<Item = (&'static str, &Set)> {
        self.tables.iter().flat_map(|table| table.sets.iter().map(|set| (table.family, set)))
    }
}

impl Set {
    fn new(name: &str, key: &'static str, data: Option<&'static str>) -> Self {
        Self {
            name: name.to_owned(),
            key,
            data,
            flags: "",
            counted: false,
            structural: false,
            elements: BTreeMap::new(),
        }
    }

    fn insert(&mut self, key: String, value: impl Into<String>, comment: &str) {
        let element = self.elements.entry(key).or_default();
        element.value = value.into();
        // Several rules may permit the same: the element names them all, as far as there is room.
        if element.comment.is_empty() {
            element.comment = comment_text(comment);
        } else if !element.comment.split(", ").any(|known| known == comment) {
            element.comment = comment_text(&format!("{}, {comment}", element.comment));
        }
    }
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
    let mut class_of: BTreeMap<IpAddr, ClassId> = BTreeMap::new();
    for member in &ruleset.members {
        known(member.class, &|| format!("device {}", member.device))?;
        if !member.mac.is_unicast() {
            return Err(Invalid::NotASender { mac: member.mac, ip: member.ip });
        }
        let other = *class_of.entry(member.ip).or_insert(member.class);
        if other != member.class {
            let (one, other) = (other.0, member.class.0);
            return Err(Invalid::TwoClasses { ip: member.ip.to_string(), one, other });
        }
    }
    for peer in &ruleset.peers {
        check_prefix(peer.ip, peer.prefix)?;
        known(peer.class, &|| format!("peer {}/{}", peer.ip, peer.prefix))?;
    }
    for permit in &ruleset.permits {
        known(permit.from, &|| format!("rule `{}`", permit.rule))?;
        known(permit.to, &|| format!("rule `{}`", permit.rule))?;
        if permit.first_port > permit.last_port {
            let (first, last) = (permit.first_port, permit.last_port);
            return Err(Invalid::Ports { rule: permit.rule.clone(), first, last });
        }
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
    /// A chain; `rules` has one rule a line.
    fn new(name: impl Into<String>, comment: &str, rules: &str) -> Self {
        let rules = rules.lines().map(str::trim).filter(|rule| !rule.is_empty());
        Self {
            name: name.into(),
            hook: None,
            comment: comment_text(comment),
            rules: rules.map(str::to_owned).collect(),
        }
    }

    /// The chain that the kernel calls at `hook`.
    fn base(hook: &'static str, rules: &str) -> Self {
        Self { hook: Some(hook), ..Self::new(hook, "", rules) }
    }

    /// The empty chain whose name says which generation is in force.
    fn generation(plan: &Plan) -> Self {
        let parent = plan.parent.map_or("none".to_owned(), |parent| parent.to_string());
        Self::new(format!("{GENERATION}{}", plan.generation), &format!("parent {parent}"), "")
    }
}

/// Suffix of set names, protocol as nft writes it, and whether it is IPv4.
const FAMILIES: [(&str, &str, bool); 2] = [("4", "ip", true), ("6", "ip6", false)];

#[cfg(test)]
mod tests;
