//! Members, peers, permits and exceptions as sets and maps.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::observation::Transport;
use model::ruleset::{ClassId, Permit, Ruleset};

use super::{BOUND, FAMILIES, Options, Set};
use crate::Invalid;

pub(super) fn inet(ruleset: &Ruleset, options: &Options) -> Result<Vec<Set>, Invalid> {
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
            let key = if first == last { first.to_string() } else { format!("{first}-{last}") };
            peer.insert(key, class.0.to_string(), "");
        }
        let full = pick(
            "ipv4_addr . ipv4_addr . inet_proto . inet_service",
            "ipv6_addr . ipv6_addr . inet_proto . inet_service",
        );
        let portless =
            pick("ipv4_addr . ipv4_addr . inet_proto", "ipv6_addr . ipv6_addr . inet_proto");
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
                range.insert(format!("{to} . {protocol} . {first}-{last}"), "goto allowed", rule);
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
