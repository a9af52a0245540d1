//! The chains that judge IP packets.

use model::ruleset::{Class, ClassId, Mode, Ruleset};

use super::rule::{ACCEPT, DROP, ESTABLISHED, Field, Part, RELATED, Rule, Way, goto, jump};
use super::terms::{Detours, log, original, with_ports};
use super::{Chain, FAMILIES, Kind, Options, Plan, Prefix};

pub(super) fn inet(
    ruleset: &Ruleset,
    options: &Options,
    plan: &Plan,
    detours: &Detours,
) -> Vec<Chain> {
    let bite = if plan.shadow_only { ACCEPT } else { DROP };
    let stamp = vec![Part::SetFlowMarkFrom(vec![Field::Family], "stamp".to_owned()), ACCEPT];
    let prefix =
        Prefix { kind: Kind::Granted, generation: plan.generation, class: ClassId(0), rule: 0 };
    let mut granted: Vec<Rule> = log(options, prefix).into_iter().map(original).collect();
    granted.push(vec![ACCEPT]);
    let mut chains = vec![
        Chain::generation(plan),
        Chain::new("allowed", "permitted by class", vec![stamp]),
        Chain::new("granted", "permitted by an exception; the flow ends with it", granted),
        Chain::new("peer_class", "destination class to packet mark", class_of(false)),
        Chain::new("own_class", "source class to packet mark", class_of(true)),
    ];
    chains.extend(judging(ruleset, options, &bite));
    chains.extend(entrances(ruleset, plan, &bite));
    for (id, class) in &ruleset.classes {
        let proposed = ruleset.proposed.iter().any(|permit| permit.from == *id);
        chains.extend(class_chains(*id, class, ruleset.generation, proposed, options));
    }
    chains.extend(detours.chains(ruleset, options));
    let mut input: Vec<Rule> = Vec::new();
    let mut forward: Vec<Rule> = Vec::new();
    for (way, chain) in [(Way::In, "inside"), (Way::Out, "outside")] {
        for name in &options.interfaces {
            let part = Part::Interface(way, name.clone());
            if way == Way::In {
                input.push(vec![part.clone(), goto("local")]);
            }
            forward.push(vec![part, goto(chain)]);
        }
    }
    if options.input {
        chains.push(local(&bite));
        chains.push(Chain::base("input", input));
    }
    chains.push(Chain::base("forward", forward));
    chains
}

/// What is asked once the source is known to be who it says.
fn judging(ruleset: &Ruleset, options: &Options, bite: &Part) -> [Chain; 4] {
    let names = !ruleset.names.is_empty();
    let vmap = |set: &str| Part::Map(vec![Field::Mark], set.to_owned());
    let mut stranger = remember(true);
    let prefix =
        Prefix { kind: Kind::Stranger, generation: ruleset.generation, class: ClassId(0), rule: 0 };
    stranger.extend(log(options, prefix));
    let refuse = vec![Part::Count("strangers".to_owned()), bite.clone()];
    stranger.push(refuse.clone());
    let mut stranger_back = remember(false);
    stranger_back.push(refuse);
    let mut judge = exceptions(true);
    judge.push(vec![jump("own_class")]);
    if names {
        judge.extend(named(true));
    }
    judge.extend([vec![vmap("source")], vec![goto("stranger")]]);
    let mut answer = exceptions(false);
    answer.push(vec![jump("peer_class")]);
    if names {
        answer.extend(named(false));
    }
    answer.extend([vec![vmap("origin")], vec![goto("stranger_back")]]);
    [
        Chain::new("stranger", "source pair is no member's", stranger),
        Chain::new("stranger_back", "answers to no member", stranger_back),
        Chain::new("judge", "a new flow, or one that an older generation permitted", judge),
        Chain::new(
            "answer",
            "the answering side of a flow that an older generation permitted",
            answer,
        ),
    ]
}

/// Where packets come in: from a device, or from elsewhere to a device.
fn entrances(ruleset: &Ruleset, plan: &Plan, bite: &Part) -> [Chain; 3] {
    let open = || -> Vec<Rule> {
        vec![
            vec![
                Part::State(ESTABLISHED),
                Part::In(vec![Field::FlowMark], "open".to_owned()),
                ACCEPT,
            ],
            vec![Part::State(RELATED), Part::In(vec![Field::Protocol], "icmp".to_owned()), ACCEPT],
            vec![reply(), goto("answer")],
        ]
    };
    let mut known = open();
    known.push(vec![goto("judge")]);

    // Neighbours that may talk over IPv6 must find each other; others need not know they exist.
    let v6 = plan.shadow_only || ruleset.members.iter().any(|member| member.ip.is_ipv6());
    let mut inside: Vec<Rule> = Vec::new();
    if v6 {
        inside.push(vec![icmp6("discovery"), hop_limit(), ACCEPT]);
    }
    inside.push(vec![
        udp(Field::UdpSource, 68),
        udp(Field::UdpDestination, 67),
        Part::Count("dhcp_to_neighbours".to_owned()),
        bite.clone(),
    ]);
    inside.extend(FAMILIES.iter().map(|family| vec![family.bound(), goto("known")]));
    inside.push(vec![goto("stranger")]);

    let mut outside = open();
    outside.push(vec![Part::SetMark(0)]);
    for family in &FAMILIES {
        outside.push(vec![Part::SetMarkFrom(vec![family.source], family.named("member"))]);
    }
    outside.push(vec![
        Part::IsNot(Field::Mark, vec![0; 4]),
        Part::Count("spoofed".to_owned()),
        bite.clone(),
    ]);
    outside.push(vec![goto("judge")]);
    [
        Chain::new("known", "the source is who it says", known),
        Chain::new("inside", "from a device; DHCP is asked of this machine only", inside),
        Chain::new(
            "outside",
            "to a device from elsewhere; a member's address cannot come from there",
            outside,
        ),
    ]
}

fn local(bite: &Part) -> Chain {
    let ports =
        |from, to| vec![udp(Field::UdpSource, from), udp(Field::UdpDestination, to), ACCEPT];
    let group = |kind: u8| {
        vec![Part::Is(Field::PacketType, vec![kind]), Part::Count("group".to_owned()), bite.clone()]
    };
    let mut rules = vec![
        ports(68, 67),
        ports(546, 547),
        vec![icmp6("discovery_local"), hop_limit(), ACCEPT],
        vec![icmp6("listeners"), ACCEPT],
        group(1),
        group(2),
    ];
    for family in &FAMILIES {
        rules.push(vec![family.bound(), reply(), Part::State(ESTABLISHED | RELATED), ACCEPT]);
    }
    rules.push(vec![goto("inside")]);
    Chain::new("local", "from a device to this machine", rules)
}

fn class_chains(
    id: ClassId,
    class: &Class,
    generation: u64,
    proposed: bool,
    options: &Options,
) -> Vec<Chain> {
    let n = id.0;
    let name = &class.name;
    let (end, word, kind) = match class.mode {
        Mode::Enforce => (DROP, "enforce", Kind::Denied),
        Mode::Shadow => (ACCEPT, "shadow", Kind::WouldDeny),
    };
    let maps = |kinds: [&str; 3], port: Field| -> Vec<Rule> {
        let [exact, any, range] = kinds.map(|kind| format!("{kind}_{n}"));
        let ports = vec![Field::Mark, Field::Protocol, port];
        vec![
            vec![Part::Map(ports.clone(), exact)],
            vec![Part::Map(vec![Field::Mark, Field::Protocol], any)],
            vec![Part::Map(ports, range)],
        ]
    };
    let look = |class: &str, port: Field, next: String| {
        let mut rules = vec![vec![jump(class)]];
        rules.extend(maps(["exact", "any", "range"], port));
        rules.push(vec![goto(next)]);
        rules
    };
    let refuse = vec![Part::Count(format!("denied_{n}")), end];
    let mut refuse_asked = remember(true);
    refuse_asked.extend(log(options, Prefix { kind, generation, class: id, rule: 0 }));
    refuse_asked.push(refuse.clone());
    // Whose flow it is was logged when it asked; who answers has done nothing that is refused.
    let mut refuse_answer = remember(false);
    refuse_answer.push(refuse);

    let mut chains = Vec::new();
    let refused = format!("refuse_{n}");
    let unanswered = format!("unanswered_{n}");
    let denied = if proposed {
        let mut rules = maps(["maybe_exact", "maybe_any", "maybe_range"], Field::DestinationPort);
        rules.push(vec![goto(refused.clone())]);
        let chain = format!("deny_{n}");
        chains.push(Chain::new(chain.clone(), "would a policy in shadow open it?", rules));
        chain
    } else {
        refused.clone()
    };
    let from = look("peer_class", Field::DestinationPort, denied);
    let back = look("own_class", Field::SourcePort, unanswered.clone());
    chains.extend([
        Chain::new(refused, &format!("{name}: {word}"), refuse_asked),
        Chain::new(unanswered, &format!("answers to {name}: {word}"), refuse_answer),
        Chain::new(format!("from_{n}"), &format!("from {name}"), from),
        Chain::new(format!("back_{n}"), &format!("answers to {name}"), back),
    ]);
    chains
}

/// Packet mark := class of an address; members before peers.
fn class_of(source: bool) -> Vec<Rule> {
    let mut rules = vec![vec![Part::SetMark(0)]];
    for map in ["peer", "member"] {
        for family in &FAMILIES {
            let field = if source { family.source } else { family.destination };
            rules.push(vec![Part::SetMarkFrom(vec![field], family.named(map))]);
        }
    }
    rules
}

/// Grants of devices; `asked` or answered.
fn exceptions(asked: bool) -> Vec<Rule> {
    let mut rules = Vec::new();
    for family in &FAMILIES {
        for ports in [true, false] {
            let (fields, set) = family.flow("except", ports);
            rules.push(vec![Part::Map(if asked { fields } else { family.answered(ports) }, set)]);
        }
    }
    rules
}

/// Addresses that DNS names resolved to; the asking class is in the packet mark.
fn named(asked: bool) -> Vec<Rule> {
    let mut rules = Vec::new();
    for family in &FAMILIES {
        let (address, port) = if asked {
            (family.destination, Field::DestinationPort)
        } else {
            (family.source, Field::SourcePort)
        };
        let mut fields = vec![Field::Mark, address, Field::Protocol];
        rules.push(vec![Part::Map(fields.clone(), family.named("name_any"))]);
        fields.push(port);
        rules.push(vec![Part::Map(fields, family.named("name"))]);
    }
    rules
}

/// Keeps the flow for the list of denials, as it was `asked` for also when this packet answers; a full
/// set only stops remembering.
fn remember(asked: bool) -> Vec<Rule> {
    let mut rules = Vec::new();
    for family in &FAMILIES {
        for ports in [true, false] {
            let (fields, set) = family.flow("denied", ports);
            let fields = if asked { fields } else { family.answered(ports) };
            rules.push(vec![with_ports(ports), Part::Remember(fields, set, true)]);
        }
    }
    rules
}

fn reply() -> Part {
    Part::Is(Field::Direction, vec![1])
}

fn icmp6(set: &str) -> Part {
    Part::In(vec![Field::Icmp6Type], set.to_owned())
}

fn hop_limit() -> Part {
    Part::Is(Field::HopLimit, vec![255])
}

fn udp(field: Field, port: u16) -> Part {
    Part::Is(field, port.to_be_bytes().to_vec())
}
