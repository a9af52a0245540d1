//! Members, peers, permits and exceptions as sets and maps.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::observation::Transport;
use model::ruleset::{ClassId, Permit, Ruleset};

use super::elements::{Element, Value};
use super::key::{Key, Type};
use super::terms::Detours;
use super::{BOUND, Data, Dynamic, FAMILIES, Options, Set, comment_text};
use crate::Invalid;

const PORT_KEY: &[Type] = &[Type::Mark, Type::Protocol, Type::Port];
const PORTLESS_KEY: &[Type] = &[Type::Mark, Type::Protocol];
/// Ports one name permit may span as single elements; a wider range but not all is told.
pub(crate) const NAME_PORTS_MAX: u16 = 16;

pub(super) fn inet(
    ruleset: &Ruleset,
    options: &Options,
    detours: &mut Detours,
    stamp: u32,
) -> Result<Vec<Set>, Invalid> {
    let mut sets = fixed(stamp);
    for family in &FAMILIES {
        let v4 = family.v4;
        let mut bound = Set::new(&family.named(BOUND), family.pair, None);
        let mut member = Set::new(&family.named("member"), family.address, Some(Data::Mark));
        for m in ruleset.members.iter().filter(|m| m.ip.is_ipv4() == v4) {
            bound.add(&Key::new().mac(m.mac).ip(m.ip), Value::None, m.device.as_str());
            member.add(&Key::new().ip(m.ip), Value::Mark(m.class.0), "");
        }
        check_one_class(&member, ruleset)?;
        let mut peer = Set::new(&family.named("peer"), family.address, Some(Data::Mark));
        peer.interval();
        for (first, last, class) in disjoint(ruleset, options, v4)? {
            peer.add_range(&Key::new().ip(first), &Key::new().ip(last), Value::Mark(class.0), "");
        }
        let verdict = Some(Data::Verdict);
        let mut except = Set::new(&family.named("except"), family.full, verdict);
        let mut except_any = Set::new(&family.named("except_any"), family.portless, verdict);
        fill_exceptions(ruleset, options, v4, &mut except, &mut except_any);
        sets.extend([bound, member, peer, except, except_any]);
        if !ruleset.names.is_empty() {
            for (name, key) in [("name", family.name_full), ("name_any", family.name_portless)] {
                let mut set = Set::new(&family.named(name), key, verdict);
                (set.timeout, set.counted, set.learned) = (true, true, true);
                sets.push(set);
            }
        }
        let remembered = [("denied", super::DENIALS_MAX, 3_600), ("seen", super::SEEN_MAX, 60)];
        let used = if options.log_group.is_some() { 2 } else { 1 };
        for (name, size, timeout_s) in remembered.into_iter().take(used) {
            for (name, key) in
                [(name.to_owned(), family.full), (format!("{name}_any"), family.portless)]
            {
                let mut set = Set::new(&family.named(&name), key, None);
                set.dynamic = Some(Dynamic { size, timeout_s });
                sets.push(set);
            }
        }
    }
    for (name, target) in [("source", "from"), ("origin", "back")] {
        let mut dispatch = Set::new(name, &[Type::Mark], Some(Data::Verdict));
        for id in ruleset.classes.keys() {
            let chain = format!("{target}_{}", id.0);
            dispatch.add(&Key::new().mark(id.0), Value::Goto(&chain), "");
        }
        sets.push(dispatch);
    }
    for permit in &ruleset.names {
        detours.add_name(permit);
    }
    let mut by_class: BTreeMap<ClassId, [Vec<&Permit>; 2]> = BTreeMap::new();
    for (list, permits) in [&ruleset.permits, &ruleset.proposed].into_iter().enumerate() {
        for permit in permits.iter().filter(|permit| permit.transport != Transport::Link) {
            let lists = by_class.entry(permit.from).or_default();
            lists.get_mut(list).into_iter().for_each(|list| list.push(permit));
        }
    }
    for id in ruleset.classes.keys() {
        let [permits, proposed] = by_class.remove(id).unwrap_or_default();
        sets.extend(port_maps(["exact", "any", "range"], *id, &permits, &mut |permits| {
            detours.add_permits(*id, permits)
        }));
        if !proposed.is_empty() {
            let names = ["maybe_exact", "maybe_any", "maybe_range"];
            sets.extend(port_maps(names, *id, &proposed, &mut |permits| {
                let rule = permits.first().map_or("", |permit| permit.rule.as_str());
                detours.add_proposed(*id, rule)
            }));
        }
    }
    for set in &mut sets {
        set.elements.sort(comment_text);
    }
    Ok(sets)
}

/// Small sets of numbers that rules refer to, and the stamp of this generation's flows.
fn fixed(stamp: u32) -> Vec<Set> {
    let numbers = |name: &str, key: &'static [Type], numbers: &[u8]| {
        let mut set = Set::new(name, key, None);
        for number in numbers {
            set.add(&Key::new().byte(*number), Value::None, "");
        }
        set
    };
    let mut stamps = Set::new("stamp", &[Type::Family], Some(Data::Mark));
    for family in [2, 10] {
        stamps.add(&Key::new().byte(family), Value::Mark(stamp), "");
    }
    let mut open = Set::new("open", &[Type::Mark], None);
    open.add(&Key::new().mark(stamp), Value::None, "");
    // A change puts the new stamp beside the old before it takes that away.
    (stamps.size, open.size) = (Some(16), Some(16));
    vec![
        stamps,
        open,
        numbers("with_ports", &[Type::Protocol], &[6, 17]),
        numbers("icmp", &[Type::Protocol], &[1, 58]),
        // Neighbour solicitation and advertisement; those and router solicitation; MLD (RFC 3810).
        numbers("discovery", &[Type::Icmp6], &[135, 136]),
        numbers("discovery_local", &[Type::Icmp6], &[133, 135, 136]),
        numbers("listeners", &[Type::Icmp6], &[131, 132, 143]),
    ]
}

fn check_one_class(member: &Set, ruleset: &Ruleset) -> Result<(), Invalid> {
    // Duplicates are rare: the whole comparison is only made where there is one.
    let mut sorted = member.elements.clone();
    sorted.sort(str::to_owned);
    if sorted.len() == member.elements.len() {
        return Ok(());
    }
    let mut class_of: BTreeMap<IpAddr, ClassId> = BTreeMap::new();
    for member in &ruleset.members {
        let other = *class_of.entry(member.ip).or_insert(member.class);
        if other != member.class {
            let (one, other) = (other.0, member.class.0);
            return Err(Invalid::TwoClasses { ip: member.ip.to_string(), one, other });
        }
    }
    Ok(())
}

fn fill_exceptions(
    ruleset: &Ruleset,
    options: &Options,
    v4: bool,
    except: &mut Set,
    except_any: &mut Set,
) {
    for set in [&mut *except, &mut *except_any] {
        (set.timeout, set.counted) = (true, true);
    }
    let mut longest: BTreeMap<(bool, Key), (u32, Vec<&str>)> = BTreeMap::new();
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
        let seconds = (left as u32).min(400_000_000);
        for protocol in protocols(e.transport, e.port, e.port) {
            let key = Key::new().ip(e.from).ip(e.to).byte(protocol);
            let ports = matches!(e.transport, Transport::Tcp | Transport::Udp);
            let key = if ports { key.port(e.port) } else { key };
            let (longest, names) = longest.entry((ports, key)).or_default();
            *longest = seconds.max(*longest);
            names.push(&e.name);
        }
    }
    for ((ports, key), (seconds, names)) in longest {
        let set = if ports { &mut *except } else { &mut *except_any };
        let comment = joined(names);
        set.elements.push(Element {
            key: key.bytes(),
            end: None,
            value: Value::Goto("granted"),
            timeout_s: Some(seconds),
            comment: &comment,
        });
    }
}

/// The three maps of one source class: exact port, any port, port range. `target` names the chain
/// for a flow that all of some permits allow.
fn port_maps(
    names: [&str; 3],
    id: ClassId,
    permits: &[&Permit],
    target: &mut dyn FnMut(&[&Permit]) -> String,
) -> [Set; 3] {
    let [exact, any, range] = names.map(|name| format!("{name}_{}", id.0));
    let mut exact = Set::new(&exact, PORT_KEY, Some(Data::Verdict));
    let mut any = Set::new(&any, PORTLESS_KEY, Some(Data::Verdict));
    let mut range = Set::new(&range, PORT_KEY, Some(Data::Verdict));
    range.interval();
    let mut singles: BTreeMap<(u32, u8, u16), Vec<&Permit>> = BTreeMap::new();
    let mut wholes: BTreeMap<(u32, u8), Vec<&Permit>> = BTreeMap::new();
    let mut ranges: BTreeMap<(u32, u8), Vec<&Permit>> = BTreeMap::new();
    for permit in permits {
        let (first, last) = (permit.first_port, permit.last_port);
        let has_ports = matches!(permit.transport, Transport::Tcp | Transport::Udp);
        for protocol in protocols(permit.transport, first, last) {
            let to = permit.to.0;
            if !has_ports || (first == 0 && last == u16::MAX) {
                wholes.entry((to, protocol)).or_default().push(permit);
            } else if first == last {
                singles.entry((to, protocol, first)).or_default().push(permit);
            } else {
                ranges.entry((to, protocol)).or_default().push(permit);
            }
        }
    }
    let rules = |permits: &[&Permit]| {
        let mut names: Vec<&str> = Vec::new();
        for permit in permits {
            if !names.contains(&permit.rule.as_str()) {
                names.push(&permit.rule);
            }
        }
        joined(names)
    };
    for ((to, protocol, port), permits) in &singles {
        let key = Key::new().mark(*to).byte(*protocol).port(*port);
        exact.add(&key, Value::Goto(&target(permits)), &rules(permits));
    }
    for ((to, protocol), permits) in &wholes {
        let key = Key::new().mark(*to).byte(*protocol);
        any.add(&key, Value::Goto(&target(permits)), &rules(permits));
    }
    for ((to, protocol), mut permits) in ranges {
        permits.sort_by_key(|permit| (permit.first_port, permit.last_port));
        // Overlapping intervals are refused by the kernel: where the same follows, they unite;
        // where not, they are cut.
        let mut united: Vec<(u16, u16, String, Vec<&Permit>)> = Vec::new();
        for (first, last, covering) in pieces(&permits) {
            let chain = target(&covering);
            match united.last_mut() {
                Some((_, end, same, known))
                    if end.checked_add(1) == Some(first) && *same == chain =>
                {
                    *end = last;
                    let more = covering.into_iter().filter(|p| !known.contains(p));
                    let more: Vec<_> = more.collect();
                    known.extend(more);
                }
                _ => united.push((first, last, chain, covering)),
            }
        }
        for (first, last, chain, permits) in &united {
            let key = |port| Key::new().ordered_mark(to).byte(protocol).port(port);
            range.add_range(&key(*first), &key(*last), Value::Goto(chain), &rules(permits));
        }
    }
    for set in [&mut exact, &mut any, &mut range] {
        set.counted = true;
    }
    [exact, any, range]
}

/// Cuts overlapping port ranges into pieces that the same permits cover.
fn pieces<'a>(permits: &[&'a Permit]) -> Vec<(u16, u16, Vec<&'a Permit>)> {
    let mut cuts: Vec<u32> = permits
        .iter()
        .flat_map(|p| [u32::from(p.first_port), u32::from(p.last_port) + 1])
        .collect();
    cuts.sort_unstable();
    cuts.dedup();
    let mut out = Vec::new();
    for (first, next) in cuts.iter().zip(cuts.iter().skip(1)) {
        let (Ok(first), Ok(last)) = (u16::try_from(*first), u16::try_from(next - 1)) else {
            continue;
        };
        let covers = |p: &&&Permit| p.first_port <= first && last <= p.last_port;
        let covering: Vec<_> = permits.iter().filter(covers).copied().collect();
        if !covering.is_empty() {
            out.push((first, last, covering));
        }
    }
    out
}

fn joined(names: Vec<&str>) -> String {
    comment_text(&names.join(", "))
}

/// IP protocol numbers of a transport; for `ip` the "ports" are the numbers.
pub(crate) fn protocols(transport: Transport, first: u16, last: u16) -> Vec<u8> {
    match transport {
        Transport::Tcp => vec![6],
        Transport::Udp => vec![17],
        Transport::Icmp => vec![1, 58],
        Transport::Ip => {
            let byte = |n: u16| u8::try_from(n).unwrap_or(u8::MAX);
            (byte(first)..=byte(last)).collect()
        }
        Transport::Link => Vec::new(),
    }
}
/// Peers as disjoint ranges, the more specific prefix winning. Group addresses and the site's own
/// networks belong to nobody unless a prefix at least as specific says so.
pub(super) fn disjoint(
    ruleset: &Ruleset,
    options: &Options,
    v4: bool,
) -> Result<Vec<(IpAddr, IpAddr, ClassId)>, Invalid> {
    let nobody = ClassId(0);
    let groups: &[(&str, u8)] =
        if v4 { &[("224.0.0.0", 4), ("255.255.255.255", 32)] } else { &[("ff00::", 8)] };
    let groups = groups.iter().filter_map(|(ip, prefix)| Some((ip.parse().ok()?, *prefix)));
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
            return Err(Invalid::TwoClasses { ip, one: other.0, other: peer.class.0 });
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
