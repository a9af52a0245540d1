//! The link layer: frames between bridge ports.

use model::observation::Transport;
use model::ruleset::{ClassId, Mode, Ruleset};

use super::elements::Value;
use super::key::{Key, Type};
use super::rule::{ACCEPT, DROP, Field, Part, Rule, Way, goto};
use super::{Chain, Dynamic, Kind, Options, Plan, Prefix, SEEN_MAX, Set, Table, comment_text};

const ETHER_IP: u16 = 0x0800;
const ETHER_IP6: u16 = 0x86dd;
const ETHER_ARP: u16 = 0x0806;
/// Sender of an ARP packet: link address and network address.
const ARP_PAIR: &[Type] = &[Type::Ether, Type::Ip4];
/// Sender and EtherType of a frame.
const FRAME: &[Type] = &[Type::Ether, Type::EtherType];

/// Frames between bridge ports that are not IP: ARP senders must be members, the rest needs a
/// permit of transport `link`, whose "ports" are EtherTypes.
pub(super) fn table(ruleset: &Ruleset, options: &Options, plan: &mut Plan) -> Table {
    let bite = if plan.shadow_only { ACCEPT } else { DROP };
    let mut bound = Set::new("bound4", ARP_PAIR, None);
    let mut shadow = Set::new("shadow", &[Type::Ether], None);
    for m in &ruleset.members {
        if m.ip.is_ipv4() {
            bound.add(&Key::new().mac(m.mac).ip(m.ip), Value::None, m.device.as_str());
        }
        if ruleset.classes.get(&m.class).is_some_and(|class| class.mode == Mode::Shadow) {
            shadow.add(&Key::new().mac(m.mac), Value::None, m.device.as_str());
        }
    }
    let [pairs, groups] = link_sets(ruleset, plan);
    let mut sets = vec![bound, shadow, pairs, groups];
    sets.iter_mut().for_each(|set| set.elements.sort(comment_text));
    let log = Log { options, generation: plan.generation };
    if options.log_group.is_some() {
        sets.extend([("seen_arp", ARP_PAIR), ("seen_frame", FRAME)].map(|(name, key)| {
            let mut set = Set::new(name, key, None);
            set.dynamic = Some(Dynamic { size: SEEN_MAX, timeout_s: 60 });
            set
        }));
    }

    let ether = |kind: u16| Part::Is(Field::EtherType, kind.to_be_bytes().to_vec());
    let count = |name: &str| Part::Count(name.to_owned());
    let within = |fields: &[Field], set: &str| Part::In(fields.to_vec(), set.to_owned());
    let arp = [Field::ArpSenderEther, Field::ArpSenderIp];
    let mut neighbours = vec![
        vec![within(&arp, "bound4"), ACCEPT],
        vec![Part::Is(Field::ArpSenderIp, vec![0; 4]), ACCEPT],
    ];
    neighbours.extend(log.once(Kind::Stranger, &arp, "seen_arp"));
    neighbours.push(vec![count("arp_spoofed"), bite.clone()]);
    let pair = [Field::EtherSource, Field::EtherDestination, Field::EtherType];
    let group = |kind: u8| {
        let to_group = Part::Is(Field::PacketType, vec![kind]);
        vec![to_group, within(&[Field::EtherSource, Field::EtherType], "group"), ACCEPT]
    };
    let sender = [Field::EtherSource, Field::EtherType];
    let mut between = vec![
        vec![ether(ETHER_IP), ACCEPT],
        vec![ether(ETHER_IP6), ACCEPT],
        vec![ether(ETHER_ARP), goto("neighbours")],
        vec![within(&pair, "frame"), ACCEPT],
        group(1),
        group(2),
        vec![within(&[Field::EtherSource], "shadow"), goto("would_stop")],
    ];
    let mut would_stop = Vec::from_iter(log.once(Kind::WouldDeny, &sender, "seen_frame"));
    would_stop.push(vec![count("frames"), ACCEPT]);
    let kind = if plan.shadow_only { Kind::WouldDeny } else { Kind::Denied };
    between.extend(log.once(kind, &sender, "seen_frame"));
    between.push(vec![count("frames"), bite]);
    let per_port = |then: &[Part]| -> Vec<Rule> {
        let of = |port: &String| {
            let mut rule = vec![Part::Interface(Way::In, port.clone())];
            rule.extend_from_slice(then);
            rule
        };
        options.ports.iter().map(of).collect()
    };
    let probes = "address probes (RFC 5227) have no sender address yet";
    Table {
        family: "bridge",
        name: options.table.clone(),
        counters: vec![
            ("arp_spoofed".to_owned(), "ARP whose sender pair is no member's".to_owned()),
            ("frames".to_owned(), "frames neither IP nor ARP nor permitted".to_owned()),
        ],
        sets,
        chains: vec![
            Chain::generation(plan),
            Chain::new("neighbours", probes, neighbours),
            Chain::new("would_stop", "not IP, from a device in shadow", would_stop),
            Chain::new("between", "IP is judged by the inet table", between),
            Chain::base("input", per_port(&[ether(ETHER_ARP), goto("neighbours")])),
            Chain::base("forward", per_port(&[goto("between")])),
        ],
    }
}

/// Logs what is dropped here, or would be. Class 0: frames are judged by address, not by class.
struct Log<'o> {
    options: &'o Options,
    generation: u64,
}

impl Log<'_> {
    /// The rule that logs what has the same `fields` once while `set` remembers it.
    fn once(&self, kind: Kind, fields: &[Field], set: &str) -> Option<Rule> {
        let prefix = Prefix { kind, generation: self.generation, class: ClassId(0), rule: 0 };
        let (fields, set) = (fields.to_vec(), set.to_owned());
        let logged = |group| {
            vec![
                Part::NotIn(fields.clone(), set.clone()),
                Part::Remember(fields, set, false),
                Part::Log(group, prefix),
            ]
        };
        self.options.log_group.map(logged)
    }
}

/// EtherTypes one permit may span; a wider one is a mistake, and told.
const ETHERTYPES_MAX: u16 = 16;

/// Permitted (sender, receiver, EtherType) triples, and (sender, EtherType) to groups.
fn link_sets(ruleset: &Ruleset, plan: &mut Plan) -> [Set; 2] {
    let mut pairs = Set::new("frame", &[Type::Ether, Type::Ether, Type::EtherType], None);
    let mut groups = Set::new("group", FRAME, None);
    let of = |class| ruleset.members.iter().filter(move |m| m.class == class).map(|m| m.mac);
    for permit in ruleset.permits.iter().filter(|p| p.transport == Transport::Link) {
        if permit.last_port - permit.first_port >= ETHERTYPES_MAX {
            let told = format!("rule `{}`: name single EtherTypes, not a range", permit.rule);
            plan.unsupported.push(told);
            continue;
        }
        // A class without devices stands for a group: frames to it are flooded to every port. A
        // permit to devices opens no group.
        let to: Vec<_> = of(permit.to).collect();
        for kind in permit.first_port..=permit.last_port {
            for from in of(permit.from) {
                let sender = Key::new().mac(from);
                if to.is_empty() {
                    groups.add(&sender.clone().port(kind), Value::None, &permit.rule);
                }
                for to in &to {
                    pairs.add(&sender.clone().mac(*to).port(kind), Value::None, &permit.rule);
                }
            }
        }
    }
    [pairs, groups]
}
