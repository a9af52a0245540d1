//! The link layer: frames between bridge ports.

use model::observation::Transport;
use model::ruleset::{Mode, Ruleset};

use super::{Chain, Options, Plan, Set, Table};

/// Frames between bridge ports that are not IP: ARP senders must be members, the rest needs a
/// permit of transport `link`, whose "ports" are EtherTypes.
pub(super) fn table(ruleset: &Ruleset, options: &Options, plan: &mut Plan) -> Table {
    let bite = if plan.shadow_only { "accept" } else { "drop" };
    let mut bound = Set::new("bound4", "ether_addr . ipv4_addr", None);
    let mut shadow = Set::new("shadow", "ether_addr", None);
    for m in &ruleset.members {
        if m.ip.is_ipv4() {
            bound.insert(format!("{} . {}", m.mac, m.ip), "", m.device.as_str());
        }
        if ruleset.classes.get(&m.class).is_some_and(|class| class.mode == Mode::Shadow) {
            shadow.insert(m.mac.to_string(), "", m.device.as_str());
        }
    }
    let [pairs, groups] = link_sets(ruleset, plan);
    let per_port = |what: &str| {
        let rules = options.ports.iter().map(|port| format!("iifname \"{port}\" {what}\n"));
        rules.collect::<String>()
    };
    let neighbours = format!(
        "arp saddr ether . arp saddr ip @bound4 accept
         arp saddr ip 0.0.0.0 accept
         counter name \"arp_spoofed\" {bite}"
    );
    let between = format!(
        "ether type {{ ip, ip6 }} accept
         ether type arp goto neighbours
         ether saddr . ether daddr . ether type @frame accept
         meta pkttype {{ broadcast, multicast }} ether saddr . ether type @group accept
         ether saddr @shadow counter name \"frames\" accept
         counter name \"frames\" {bite}"
    );
    let probes = "address probes (RFC 5227) have no sender address yet";
    Table {
        family: "bridge",
        name: options.table.clone(),
        counters: vec![
            ("arp_spoofed".to_owned(), "ARP whose sender pair is no member's".to_owned()),
            ("frames".to_owned(), "frames neither IP nor ARP nor permitted".to_owned()),
        ],
        sets: vec![bound, shadow, pairs, groups],
        chains: vec![
            Chain::generation(plan),
            Chain::new("neighbours", probes, &neighbours),
            Chain::new("between", "IP is judged by the inet table", &between),
            Chain::base("input", &per_port("ether type arp goto neighbours")),
            Chain::base("forward", &per_port("goto between")),
        ],
    }
}

/// EtherTypes one permit may span; a wider one is a mistake, and told.
const ETHERTYPES_MAX: u16 = 16;

/// Permitted (sender, receiver, EtherType) triples, and (sender, EtherType) to groups.
fn link_sets(ruleset: &Ruleset, plan: &mut Plan) -> [Set; 2] {
    let mut pairs = Set::new("frame", "ether_addr . ether_addr . ether_type", None);
    let mut groups = Set::new("group", "ether_addr . ether_type", None);
    let of = |class| ruleset.members.iter().filter(move |m| m.class == class).map(|m| m.mac);
    for permit in ruleset.permits.iter().filter(|p| p.transport == Transport::Link) {
        if permit.last_port - permit.first_port >= ETHERTYPES_MAX {
            let told = format!("rule `{}`: name single EtherTypes, not a range", permit.rule);
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
