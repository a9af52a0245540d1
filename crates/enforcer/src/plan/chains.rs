//! The chains that judge IP packets.

use model::ruleset::{ClassId, Mode, Ruleset};

use super::{Chain, FAMILIES, Options, Plan};

pub(super) fn inet(ruleset: &Ruleset, options: &Options, plan: &Plan) -> Vec<Chain> {
    let bite = if plan.shadow_only { "accept" } else { "drop" };
    let mut chains = vec![
        Chain::generation(plan),
        Chain::new("allowed", "permitted by class", &format!("ct mark set {} accept", plan.stamp)),
        Chain::new("granted", "permitted by an exception; the flow ends with it", "accept"),
        Chain::new("peer_class", "destination class to packet mark", &class_of("daddr")),
        Chain::new("own_class", "source class to packet mark", &class_of("saddr")),
    ];
    chains.extend(judging(bite));
    chains.extend(entrances(ruleset, plan, bite));
    for (id, class) in &ruleset.classes {
        chains.extend(class_chains(*id, &class.name, class.mode));
    }
    let names: Vec<_> = options.interfaces.iter().map(|name| format!("\"{name}\"")).collect();
    let ours = format!("{{ {} }}", names.join(", "));
    if options.input {
        chains.push(local(bite));
        chains.push(Chain::base("input", &format!("iifname {ours} goto local")));
    }
    let forward = format!("iifname {ours} goto inside\noifname {ours} goto outside");
    chains.push(Chain::base("forward", &forward));
    chains
}

/// What is asked once the source is known to be who it says.
fn judging(bite: &str) -> [Chain; 3] {
    let remember = remember();
    let asked = exceptions("saddr", "daddr", "dport");
    let answered = exceptions("daddr", "saddr", "sport");
    [
        Chain::new(
            "stranger",
            "source pair is no member's",
            &format!("{remember}\ncounter name \"strangers\" {bite}"),
        ),
        Chain::new(
            "judge",
            "a new flow, or one that an older generation permitted",
            &format!("{asked}\njump own_class\nmeta mark vmap @source\ngoto stranger"),
        ),
        Chain::new(
            "answer",
            "the answering side of a flow that an older generation permitted",
            &format!("{answered}\njump peer_class\nmeta mark vmap @origin\ngoto stranger"),
        ),
    ]
}

/// Where packets come in: from a device, or from elsewhere to a device.
fn entrances(ruleset: &Ruleset, plan: &Plan, bite: &str) -> [Chain; 3] {
    let open = format!(
        "ct state established ct mark {} accept
         ct state related meta l4proto {{ icmp, ipv6-icmp }} accept
         ct direction reply goto answer",
        plan.stamp
    );
    // Neighbours that may talk over IPv6 must find each other; others need not know they exist.
    let v6 = plan.shadow_only || ruleset.members.iter().any(|member| member.ip.is_ipv6());
    let discovery = if v6 {
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept"
    } else {
        ""
    };
    [
        Chain::new("known", "the source is who it says", &format!("{open}\ngoto judge")),
        Chain::new(
            "inside",
            "from a device; DHCP is asked of this machine only",
            &format!(
                "{discovery}
                 udp sport 68 udp dport 67 counter name \"dhcp_to_neighbours\" {bite}
                 ether saddr . ip saddr @bound4 goto known
                 ether saddr . ip6 saddr @bound6 goto known
                 goto stranger"
            ),
        ),
        Chain::new(
            "outside",
            "to a device from elsewhere; a member's address cannot come from there",
            &format!(
                "{open}
                 meta mark set 0
                 meta mark set ip saddr map @member4
                 meta mark set ip6 saddr map @member6
                 meta mark != 0 counter name \"spoofed\" {bite}
                 goto judge"
            ),
        ),
    ]
}

fn local(bite: &str) -> Chain {
    let discovery = "{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert }";
    let listeners = "{ mld-listener-report, mld-listener-done, mld2-listener-report }";
    let answer = "ct direction reply ct state established,related accept";
    let rules = format!(
        "udp sport 68 udp dport 67 accept
         udp sport 546 udp dport 547 accept
         icmpv6 type {discovery} ip6 hoplimit 255 accept
         icmpv6 type {listeners} accept
         meta pkttype {{ broadcast, multicast }} counter name \"group\" {bite}
         ether saddr . ip saddr @bound4 {answer}
         ether saddr . ip6 saddr @bound6 {answer}
         goto inside"
    );
    Chain::new("local", "from a device to this machine", &rules)
}

fn class_chains(id: ClassId, name: &str, mode: Mode) -> [Chain; 3] {
    let n = id.0;
    let (end, word) = match mode {
        Mode::Enforce => ("drop", "enforce"),
        Mode::Shadow => ("accept", "shadow"),
    };
    let look = |class: &str, port: &str| {
        format!(
            "jump {class}
             meta mark . meta l4proto . th {port} vmap @exact_{n}
             meta mark . meta l4proto vmap @any_{n}
             meta mark . meta l4proto . th {port} vmap @range_{n}
             goto deny_{n}"
        )
    };
    let deny = format!("{}\ncounter name \"denied_{n}\" {end}", remember());
    [
        Chain::new(format!("deny_{n}"), &format!("{name}: {word}"), &deny),
        Chain::new(format!("from_{n}"), &format!("from {name}"), &look("peer_class", "dport")),
        Chain::new(format!("back_{n}"), &format!("answers to {name}"), &look("own_class", "sport")),
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
