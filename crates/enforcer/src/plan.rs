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

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::Timestamp;
use model::observation::Transport;
use model::ruleset::{ClassId, Mode, Permit, Ruleset};

use crate::Invalid;

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
                && ruleset
                    .classes
                    .values()
                    .all(|class| class.mode == Mode::Shadow),
            unsupported: Vec::new(),
            tables: Vec::new(),
        };
        let inet = Table {
            family: "inet",
            name: options.table.clone(),
            counters: counters(ruleset),
            sets: inet_sets(ruleset, options)?,
            chains: inet_chains(ruleset, options, &plan),
        };
        plan.tables.push(inet);
        if options.ports.is_empty() {
            let link = ruleset
                .permits
                .iter()
                .filter(|p| p.transport == Transport::Link);
            let told = |p: &Permit| format!("rule `{}`: no bridge port carries its frames", p.rule);
            plan.unsupported.extend(link.map(told));
        } else {
            let table = link_table(ruleset, options, &mut plan);
            plan.tables.push(table);
        }
        Ok(plan)
    }

    /// All sets with the family they are in.
    pub fn sets(&self) -> impl Iterator<Item = (&'static str, &Set)> {
        self.tables
            .iter()
            .flat_map(|table| table.sets.iter().map(|set| (table.family, set)))
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
        let c = if matches!(c, '"' | '\\' | '\'') || c.is_control() {
            '_'
        } else {
            c
        };
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
            Err(Invalid::Name {
                what,
                name: name.chars().take(64).collect(),
                max,
            })
        }
    };
    check("a table name", &options.table, 31, "")?;
    let letter_first = options.table.starts_with(|c: char| c.is_ascii_alphabetic());
    if !letter_first || options.table.contains(['.', '-']) {
        let name = options.table.clone();
        return Err(Invalid::Name {
            what: "a table name",
            name,
            max: 31,
        });
    }
    if options.interfaces.is_empty() {
        return Err(Invalid::NoInterface);
    }
    for name in &options.interfaces {
        check("an interface name", name, 15, "@")?;
    }
    for name in &options.ports {
        check(
            "a port name",
            name.strip_suffix('*').unwrap_or(name),
            15,
            "@",
        )?;
    }
    options
        .site
        .iter()
        .try_for_each(|(ip, prefix)| check_prefix(*ip, *prefix))
}

fn check_prefix(ip: IpAddr, prefix: u8) -> Result<(), Invalid> {
    let longest = if ip.is_ipv4() { 32 } else { 128 };
    if prefix > longest {
        Err(Invalid::Prefix { ip, prefix })
    } else {
        Ok(())
    }
}

fn check_classes(ruleset: &Ruleset) -> Result<(), Invalid> {
    if ruleset.classes.contains_key(&ClassId(0)) {
        return Err(Invalid::ClassZero);
    }
    let known = |class: ClassId, by: &dyn Fn() -> String| {
        if ruleset.classes.contains_key(&class) {
            Ok(())
        } else {
            Err(Invalid::NoSuchClass {
                by: by(),
                class: class.0,
            })
        }
    };
    let mut class_of: BTreeMap<IpAddr, ClassId> = BTreeMap::new();
    for member in &ruleset.members {
        known(member.class, &|| format!("device {}", member.device))?;
        if !member.mac.is_unicast() {
            return Err(Invalid::NotASender {
                mac: member.mac,
                ip: member.ip,
            });
        }
        let other = *class_of.entry(member.ip).or_insert(member.class);
        if other != member.class {
            let (one, other) = (other.0, member.class.0);
            return Err(Invalid::TwoClasses {
                ip: member.ip.to_string(),
                one,
                other,
            });
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
            return Err(Invalid::Ports {
                rule: permit.rule.clone(),
                first,
                last,
            });
        }
    }
    for e in &ruleset.exceptions {
        if e.from.is_ipv4() != e.to.is_ipv4() {
            return Err(Invalid::Families {
                name: e.name.clone(),
                from: e.from,
                to: e.to,
            });
        }
    }
    Ok(())
}

fn counters(ruleset: &Ruleset) -> Vec<(String, String)> {
    let fixed = [
        ("strangers", "packets whose source pair is no member's"),
        ("spoofed", "packets from outside with a member's address"),
        (
            "dhcp_to_neighbours",
            "DHCP requests that stop here: only this machine is asked",
        ),
        (
            "group",
            "broadcasts and multicasts to this machine that need no answer",
        ),
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

/// IPv4 first.
const FAMILIES: [(&str, &str, bool); 2] = [("4", "ip", true), ("6", "ip6", false)];

fn inet_sets(ruleset: &Ruleset, options: &Options) -> Result<Vec<Set>, Invalid> {
    let mut sets = Vec::new();
    for (suffix, _, v4) in FAMILIES {
        let named = |name: &str| format!("{name}{suffix}");
        let pick = |one, other| if v4 { one } else { other };
        let address = pick("ipv4_addr", "ipv6_addr");
        let pair = pick("ether_addr . ipv4_addr", "ether_addr . ipv6_addr");
        let mut bound = Set::new(&named(BOUND), pair, None);
        let mut member = Set::new(&named("member"), address, Some("mark"));
        for m in ruleset.members.iter().filter(|m| m.ip.is_ipv4() == v4) {
            bound.insert(format!("{} . {}", m.mac, m.ip), "", m.device.as_str());
            member.insert(m.ip.to_string(), m.class.0.to_string(), m.device.as_str());
        }
        let mut peer = Set::new(&named("peer"), address, Some("mark"));
        peer.flags = "interval";
        for (first, last, class) in disjoint(ruleset, options, v4)? {
            let key = if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            };
            peer.insert(key, class.0.to_string(), "");
        }
        let full = pick(
            "ipv4_addr . ipv4_addr . inet_proto . inet_service",
            "ipv6_addr . ipv6_addr . inet_proto . inet_service",
        );
        let portless = pick(
            "ipv4_addr . ipv4_addr . inet_proto",
            "ipv6_addr . ipv6_addr . inet_proto",
        );
        let mut except = Set::new(&named("except"), full, Some("verdict"));
        let mut except_any = Set::new(&named("except_any"), portless, Some("verdict"));
        fill_exceptions(ruleset, options, v4, &mut except, &mut except_any);
        let mut denied = Set::new(&named("denied"), full, None);
        let mut denied_any = Set::new(&named("denied_any"), portless, None);
        for set in [&mut denied, &mut denied_any] {
            set.flags = "dynamic,timeout";
        }
        sets.extend([bound, member, peer, except, except_any, denied, denied_any]);
    }
    for (name, target) in [("source", "from"), ("origin", "back")] {
        let mut dispatch = Set::new(name, "mark", Some("verdict"));
        dispatch.structural = true;
        for id in ruleset.classes.keys() {
            dispatch.insert(id.0.to_string(), format!("goto {target}_{}", id.0), "");
        }
        sets.push(dispatch);
    }
    for id in ruleset.classes.keys() {
        sets.extend(permit_sets(*id, ruleset));
    }
    Ok(sets)
}

fn fill_exceptions(
    ruleset: &Ruleset,
    options: &Options,
    v4: bool,
    except: &mut Set,
    except_any: &mut Set,
) {
    for set in [&mut *except, &mut *except_any] {
        set.flags = "timeout";
        set.counted = true;
    }
    for e in ruleset.exceptions.iter().filter(|e| e.from.is_ipv4() == v4) {
        let left = e.expires.seconds_since(options.now);
        if left < 1.0 {
            continue; // Over: the kernel would have removed it by now.
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive here; a saturated float is a long time as well"
        )]
        let seconds = (left as u64).min(400_000_000);
        for protocol in protocols(e.transport, e.port, e.port) {
            let pair = format!("{} . {} . {protocol}", e.from, e.to);
            let (set, key) = match e.transport {
                Transport::Tcp | Transport::Udp => (&mut *except, format!("{pair} . {}", e.port)),
                _ => (&mut *except_any, pair),
            };
            set.insert(key.clone(), "goto granted", &e.name);
            if let Some(element) = set.elements.get_mut(&key) {
                let longer = element.timeout_s.unwrap_or(0).max(seconds);
                element.timeout_s = Some(longer);
            }
        }
    }
}

/// The three maps of one source class.
fn permit_sets(id: ClassId, ruleset: &Ruleset) -> [Set; 3] {
    let named = |name: &str| format!("{name}_{}", id.0);
    let ports = "mark . inet_proto . inet_service";
    let mut exact = Set::new(&named("exact"), ports, Some("verdict"));
    let mut any = Set::new(&named("any"), "mark . inet_proto", Some("verdict"));
    let mut range = Set::new(&named("range"), ports, Some("verdict"));
    range.flags = "interval";
    let mut ranges: BTreeMap<(u32, u16), Vec<&Permit>> = BTreeMap::new();
    for permit in ruleset.permits.iter().filter(|permit| permit.from == id) {
        let (first, last) = (permit.first_port, permit.last_port);
        if permit.transport == Transport::Link {
            continue; // The link-layer table's.
        }
        let has_ports = matches!(permit.transport, Transport::Tcp | Transport::Udp);
        for protocol in protocols(permit.transport, first, last) {
            let to = permit.to.0;
            if !has_ports || (first == 0 && last == u16::MAX) {
                any.insert(format!("{to} . {protocol}"), "goto allowed", &permit.rule);
            } else if first == last {
                let key = format!("{to} . {protocol} . {first}");
                exact.insert(key, "goto allowed", &permit.rule);
            } else {
                ranges.entry((to, protocol)).or_default().push(permit);
            }
        }
    }
    for ((to, protocol), mut permits) in ranges {
        // Overlapping intervals are refused by the kernel; all say `allowed`, so they unite.
        permits.sort_by_key(|permit| (permit.first_port, permit.last_port));
        let mut united: Vec<(u16, u16, Vec<&str>)> = Vec::new();
        for permit in permits {
            match united.last_mut() {
                Some((_, last, rules)) if permit.first_port <= last.saturating_add(1) => {
                    *last = permit.last_port.max(*last);
                    rules.push(&permit.rule);
                }
                _ => united.push((permit.first_port, permit.last_port, vec![&permit.rule])),
            }
        }
        for (first, last, rules) in united {
            for rule in rules {
                range.insert(
                    format!("{to} . {protocol} . {first}-{last}"),
                    "goto allowed",
                    rule,
                );
            }
        }
    }
    for set in [&mut exact, &mut any, &mut range] {
        set.counted = true;
    }
    [exact, any, range]
}

/// IP protocol numbers of a transport; for `ip` the "ports" are the numbers.
fn protocols(transport: Transport, first: u16, last: u16) -> Vec<u16> {
    match transport {
        Transport::Tcp => vec![6],
        Transport::Udp => vec![17],
        Transport::Icmp => vec![1, 58],
        Transport::Ip => (first.min(255)..=last.min(255)).collect(),
        Transport::Link => Vec::new(),
    }
}

/// Peers as disjoint ranges, the more specific prefix winning. Group addresses and the site's own
/// networks belong to nobody unless a prefix at least as specific says so.
fn disjoint(
    ruleset: &Ruleset,
    options: &Options,
    v4: bool,
) -> Result<Vec<(IpAddr, IpAddr, ClassId)>, Invalid> {
    let nobody = ClassId(0);
    let groups: &[(&str, u8)] = if v4 {
        &[("224.0.0.0", 4), ("255.255.255.255", 32)]
    } else {
        &[("ff00::", 8)]
    };
    let groups = groups
        .iter()
        .filter_map(|(ip, prefix)| Some((ip.parse().ok()?, *prefix)));
    let mut spans: BTreeMap<(u128, u8), (u128, ClassId)> = BTreeMap::new();
    for (ip, prefix) in groups.chain(options.site.iter().copied()) {
        if ip.is_ipv4() == v4 {
            let (first, last) = span(ip, prefix);
            spans.insert((first, prefix), (last, nobody));
        }
    }
    for peer in ruleset.peers.iter().filter(|peer| peer.ip.is_ipv4() == v4) {
        let (first, last) = span(peer.ip, peer.prefix);
        let before = spans.insert((first, peer.prefix), (last, peer.class));
        if let Some((_, other)) = before.filter(|(_, c)| *c != nobody && *c != peer.class) {
            let ip = format!("{}/{}", peer.ip, peer.prefix);
            return Err(Invalid::TwoClasses {
                ip,
                one: other.0,
                other: peer.class.0,
            });
        }
    }
    // Prefixes nest or are apart, and come outer first: a stack of the open ones is enough.
    let mut out = Vec::new();
    let mut open: Vec<(u128, ClassId)> = Vec::new();
    let mut at = 0u128;
    let mut emit = |first: u128, last: u128, class: ClassId| {
        if first <= last && class != nobody {
            out.push((address(first, v4), address(last, v4), class));
        }
    };
    for ((first, _), (last, class)) in spans {
        while let Some((end, outer)) = open.last().copied().filter(|(end, _)| *end < first) {
            emit(at, end, outer);
            at = at.max(end.saturating_add(1));
            open.pop();
        }
        if let (Some((_, outer)), Some(before)) = (open.last(), first.checked_sub(1)) {
            emit(at, before, *outer);
        }
        open.push((last, class));
        at = first;
    }
    while let Some((end, class)) = open.pop() {
        emit(at, end, class);
        match end.checked_add(1) {
            Some(next) => at = at.max(next),
            None => break,
        }
    }
    Ok(out)
}

/// First and last address of a prefix.
pub(crate) fn ends(ip: IpAddr, prefix: u8) -> (IpAddr, IpAddr) {
    let (first, last) = span(ip, prefix);
    (address(first, ip.is_ipv4()), address(last, ip.is_ipv4()))
}

fn span(ip: IpAddr, prefix: u8) -> (u128, u128) {
    let (bits, width) = match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()), 32u32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    };
    let host_bits = width.saturating_sub(u32::from(prefix));
    let host = 1u128.checked_shl(host_bits).map_or(u128::MAX, |n| n - 1);
    (bits & !host, bits | host)
}

fn address(bits: u128, v4: bool) -> IpAddr {
    match u32::try_from(bits) {
        Ok(low) if v4 => IpAddr::V4(low.into()),
        _ => IpAddr::V6(bits.into()),
    }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    format!("{{ {} }}", names.join(", "))
}

fn inet_chains(ruleset: &Ruleset, options: &Options, plan: &Plan) -> Vec<Chain> {
    let bite = if plan.shadow_only { "accept" } else { "drop" };
    let ours = quoted(&options.interfaces);
    let chain = |name: &str, comment: &str, rules: Vec<String>| Chain {
        name: name.to_owned(),
        hook: None,
        comment: comment.to_owned(),
        rules,
    };
    let lines = |text: &str| {
        text.lines()
            .map(|l| l.trim().to_owned())
            .filter(|l| !l.is_empty())
            .collect()
    };
    let parent = plan
        .parent
        .map_or("none".to_owned(), |parent| parent.to_string());
    let open = format!(
        "ct state established ct mark {stamp} accept
         ct state related meta l4proto {{ icmp, ipv6-icmp }} accept",
        stamp = plan.stamp
    );
    // Neighbours that may talk over IPv6 must find each other; others need not know they exist.
    let v6 = plan.shadow_only || ruleset.members.iter().any(|member| member.ip.is_ipv6());
    let types = "{ nd-neighbor-solicit, nd-neighbor-advert }";
    let discovery = if v6 {
        format!("icmpv6 type {types} ip6 hoplimit 255 accept\n")
    } else {
        String::new()
    };
    let mut chains = vec![
        chain(
            &format!("{GENERATION}{}", plan.generation),
            &format!("parent {parent}"),
            Vec::new(),
        ),
        chain(
            "allowed",
            "permitted by class",
            lines(&format!("ct mark set {} accept", plan.stamp)),
        ),
        chain(
            "granted",
            "permitted by an exception; the flow ends with it",
            lines("accept"),
        ),
        chain(
            "peer_class",
            "destination class to packet mark",
            lines(&class_of("daddr")),
        ),
        chain(
            "own_class",
            "source class to packet mark",
            lines(&class_of("saddr")),
        ),
        chain(
            "stranger",
            "source pair is no member's",
            lines(&format!(
                "{}\ncounter name \"strangers\" {bite}",
                remember()
            )),
        ),
        chain(
            "judge",
            "a new flow, or one that an older generation permitted",
            lines(&format!(
                "{}\njump own_class\nmeta mark vmap @source\ngoto stranger",
                exceptions("saddr", "daddr", "dport")
            )),
        ),
        chain(
            "answer",
            "the answering side of a flow that an older generation permitted",
            lines(&format!(
                "{}\njump peer_class\nmeta mark vmap @origin\ngoto stranger",
                exceptions("daddr", "saddr", "sport")
            )),
        ),
        chain(
            "known",
            "the source is who it says",
            lines(&format!(
                "{open}\nct direction reply goto answer\ngoto judge"
            )),
        ),
        chain(
            "inside",
            "from a device; DHCP is asked of this machine only",
            lines(&format!(
                "{discovery}udp sport 68 udp dport 67 counter name \"dhcp_to_neighbours\" {bite}
                 ether saddr . ip saddr @bound4 goto known
                 ether saddr . ip6 saddr @bound6 goto known
                 goto stranger"
            )),
        ),
        chain(
            "outside",
            "to a device from elsewhere; a member's address cannot come from there",
            lines(&format!(
                "{open}
                 ct direction reply goto answer
                 meta mark set 0
                 meta mark set ip saddr map @member4
                 meta mark set ip6 saddr map @member6
                 meta mark != 0 counter name \"spoofed\" {bite}
                 goto judge"
            )),
        ),
    ];
    for (id, class) in &ruleset.classes {
        chains.extend(class_chains(*id, &class.name, class.mode));
    }
    let base = |hook, rules: String| Chain {
        name: String::from(hook),
        hook: Some(hook),
        comment: String::new(),
        rules: lines(&rules),
    };
    if options.input {
        chains.push(chain(
            "local",
            "from a device to this machine",
            lines(&format!(
                "udp sport 68 udp dport 67 accept
                 udp sport 546 udp dport 547 accept
                 icmpv6 type {{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert }} ip6 hoplimit 255 accept
                 icmpv6 type {{ mld-listener-report, mld-listener-done, mld2-listener-report }} accept
                 meta pkttype {{ broadcast, multicast }} counter name \"group\" {bite}
                 ether saddr . ip saddr @bound4 ct direction reply ct state established,related accept
                 ether saddr . ip6 saddr @bound6 ct direction reply ct state established,related accept
                 goto inside"
            )),
        ));
        chains.push(base("input", format!("iifname {ours} goto local")));
    }
    chains.push(base(
        "forward",
        format!("iifname {ours} goto inside\noifname {ours} goto outside"),
    ));
    chains
}

fn class_chains(id: ClassId, name: &str, mode: Mode) -> [Chain; 3] {
    let n = id.0;
    let end = match mode {
        Mode::Enforce => "drop",
        Mode::Shadow => "accept",
    };
    let split = |text: String| text.lines().map(|l| l.trim().to_owned()).collect();
    let look = |class: &str, port: &str| {
        split(format!(
            "jump {class}
             meta mark . meta l4proto . th {port} vmap @exact_{n}
             meta mark . meta l4proto vmap @any_{n}
             meta mark . meta l4proto . th {port} vmap @range_{n}
             goto deny_{n}"
        ))
    };
    let chain = |name: String, comment: String, rules| Chain {
        name,
        hook: None,
        comment: comment_text(&comment),
        rules,
    };
    [
        chain(
            format!("deny_{n}"),
            format!(
                "{name}: {}",
                if end == "drop" { "enforce" } else { "shadow" }
            ),
            split(format!("{}\ncounter name \"denied_{n}\" {end}", remember())),
        ),
        chain(
            format!("from_{n}"),
            format!("from {name}"),
            look("peer_class", "dport"),
        ),
        chain(
            format!("back_{n}"),
            format!("answers to {name}"),
            look("own_class", "sport"),
        ),
    ]
}

/// Packet mark := class of an address; members before peers.
fn class_of(side: &str) -> String {
    let mut text = "meta mark set 0".to_owned();
    for map in ["peer", "member"] {
        for (suffix, ip, _) in FAMILIES {
            text.push_str(&format!("\nmeta mark set {ip} {side} map @{map}{suffix}"));
        }
    }
    text
}

fn exceptions(from: &str, to: &str, port: &str) -> String {
    FAMILIES
        .map(|(suffix, ip, _)| {
            format!(
                "{ip} {from} . {ip} {to} . meta l4proto . th {port} vmap @except{suffix}
                 {ip} {from} . {ip} {to} . meta l4proto vmap @except_any{suffix}"
            )
        })
        .join("\n")
}

/// Keeps the pair for the list of denials; a full set only stops remembering.
fn remember() -> String {
    FAMILIES
        .map(|(suffix, ip, _)| {
            format!(
                "meta l4proto {{ tcp, udp }} add @denied{suffix} {{ {ip} saddr . {ip} daddr . meta l4proto . th dport counter }}
meta l4proto != {{ tcp, udp }} add @denied_any{suffix} {{ {ip} saddr . {ip} daddr . meta l4proto counter }}"
            )
        })
        .join("\n")
}

/// Frames between bridge ports that are not IP: ARP senders must be members, the rest needs a
/// permit of transport `link`, whose "ports" are EtherTypes.
fn link_table(ruleset: &Ruleset, options: &Options, plan: &mut Plan) -> Table {
    let bite = if plan.shadow_only { "accept" } else { "drop" };
    let mut bound = Set::new("bound4", "ether_addr . ipv4_addr", None);
    let mut shadow = Set::new("shadow", "ether_addr", None);
    for m in &ruleset.members {
        if m.ip.is_ipv4() {
            bound.insert(format!("{} . {}", m.mac, m.ip), "", m.device.as_str());
        }
        if ruleset
            .classes
            .get(&m.class)
            .is_some_and(|class| class.mode == Mode::Shadow)
        {
            shadow.insert(m.mac.to_string(), "", m.device.as_str());
        }
    }
    let [pairs, groups] = link_sets(ruleset, plan);
    let rules = |text: &str| {
        text.lines()
            .map(|l| l.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let chain = |name: &str, hook, comment: &str, rules| Chain {
        name: name.to_owned(),
        hook,
        comment: comment.to_owned(),
        rules,
    };
    let per_port = |what: &str| {
        options
            .ports
            .iter()
            .map(|port| format!("iifname \"{port}\" {what}"))
            .collect()
    };
    let parent = plan
        .parent
        .map_or("none".to_owned(), |parent| parent.to_string());
    let generation = format!("{GENERATION}{}", plan.generation);
    Table {
        family: "bridge",
        name: options.table.clone(),
        counters: vec![
            (
                "arp_spoofed".to_owned(),
                "ARP whose sender pair is no member's".to_owned(),
            ),
            (
                "frames".to_owned(),
                "frames neither IP nor ARP nor permitted".to_owned(),
            ),
        ],
        sets: vec![bound, shadow, pairs, groups],
        chains: vec![
            chain(&generation, None, &format!("parent {parent}"), Vec::new()),
            chain(
                "neighbours",
                None,
                "address probes (RFC 5227) have no sender address yet",
                rules(&format!(
                    "arp saddr ether . arp saddr ip @bound4 accept
                     arp saddr ip 0.0.0.0 accept
                     counter name \"arp_spoofed\" {bite}"
                )),
            ),
            chain(
                "between",
                None,
                "IP is judged by the inet table",
                rules(&format!(
                    "ether type {{ ip, ip6 }} accept
                     ether type arp goto neighbours
                     ether saddr . ether daddr . ether type @frame accept
                     meta pkttype {{ broadcast, multicast }} ether saddr . ether type @group accept
                     ether saddr @shadow counter name \"frames\" accept
                     counter name \"frames\" {bite}"
                )),
            ),
            chain(
                "input",
                Some("input"),
                "",
                per_port("ether type arp goto neighbours"),
            ),
            chain("forward", Some("forward"), "", per_port("goto between")),
        ],
    }
}

/// EtherTypes one permit may span; a wider one is a mistake, and told.
const ETHERTYPES_MAX: u16 = 16;

/// Permitted (sender, receiver, EtherType) triples, and (sender, EtherType) to groups.
fn link_sets(ruleset: &Ruleset, plan: &mut Plan) -> [Set; 2] {
    let mut pairs = Set::new("frame", "ether_addr . ether_addr . ether_type", None);
    let mut groups = Set::new("group", "ether_addr . ether_type", None);
    let of = |class| {
        ruleset
            .members
            .iter()
            .filter(move |m| m.class == class)
            .map(|m| m.mac)
    };
    for permit in ruleset
        .permits
        .iter()
        .filter(|p| p.transport == Transport::Link)
    {
        if permit.last_port - permit.first_port >= ETHERTYPES_MAX {
            let told = format!(
                "rule `{}`: name single EtherTypes, not a range",
                permit.rule
            );
            plan.unsupported.push(told);
            continue;
        }
        for kind in permit.first_port..=permit.last_port {
            for from in of(permit.from) {
                groups.insert(format!("{from} . {kind}"), "", &permit.rule);
                for to in of(permit.to) {
                    pairs.insert(format!("{from} . {to} . {kind}"), "", &permit.rule);
                }
            }
        }
    }
    [pairs, groups]
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
