//! What a ruleset says about one flow, worked out from the ruleset itself and not from the plan:
//! the second opinion that probes of the kernel are compared with.

use std::net::IpAddr;

use model::observation::Transport;
use model::ruleset::{ClassId, Mode, Ruleset};

use crate::Options;
use crate::plan::ends;

/// A flow from a device behind the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Source address.
    pub from: IpAddr,
    /// Destination address.
    pub to: IpAddr,
    /// Transport.
    pub transport: Transport,
    /// Destination port, IP protocol number or 0.
    pub port: u16,
}

/// What is done with a flow, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement<'a> {
    /// An exception grants it.
    Granted {
        /// Its name.
        exception: &'a str,
    },
    /// A rule permits it.
    Permitted {
        /// Its name.
        rule: &'a str,
    },
    /// Nothing permits it.
    Denied {
        /// What is missing.
        why: Denied,
        /// It passes nevertheless: its source is in shadow.
        shadow: bool,
    },
}

/// Why nothing permits a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The source is no member.
    UnknownSource,
    /// The destination is neither member nor peer.
    UnknownDestination,
    /// Source and destination classes are known, and no rule joins them on this port.
    NoRule {
        /// Source class.
        from: ClassId,
        /// Destination class.
        to: ClassId,
    },
}

impl Judgement<'_> {
    /// The flow gets through.
    pub fn passes(&self) -> bool {
        !matches!(self, Self::Denied { shadow: false, .. })
    }
}

/// Judges one flow.
pub fn judge<'a>(ruleset: &'a Ruleset, options: &Options, flow: &Flow) -> Judgement<'a> {
    let enforced = ruleset.classes.is_empty()
        || ruleset.classes.values().any(|class| class.mode == Mode::Enforce);
    let Some(from) = member_class(ruleset, flow.from) else {
        return Judgement::Denied { why: Denied::UnknownSource, shadow: !enforced };
    };
    let granted = ruleset.exceptions.iter().find(|e| {
        let port = e.port == flow.port || !has_ports(e.transport);
        let same = (e.from, e.to, e.transport) == (flow.from, flow.to, flow.transport);
        same && port && e.expires.seconds_since(options.now) >= 1.0
    });
    if let Some(exception) = granted {
        return Judgement::Granted { exception: &exception.name };
    }
    let mode = ruleset.classes.get(&from).map(|class| class.mode);
    let denied = |why| Judgement::Denied { why, shadow: mode == Some(Mode::Shadow) };
    let Some(to) = destination_class(ruleset, options, flow.to) else {
        return denied(Denied::UnknownDestination);
    };
    let permit = ruleset.permits.iter().find(|permit| {
        let joined = (permit.from, permit.to, permit.transport) == (from, to, flow.transport);
        let port = permit.transport == Transport::Icmp
            || (permit.first_port..=permit.last_port).contains(&flow.port);
        joined && port
    });
    match permit {
        Some(permit) => Judgement::Permitted { rule: &permit.rule },
        None => denied(Denied::NoRule { from, to }),
    }
}

/// Judges one flow to an address that the site's resolver gave its source as an answer to each of
/// `names` (lower case, without the last dot), and those answers are still alive.
pub fn judge_named<'a>(
    ruleset: &'a Ruleset,
    options: &Options,
    flow: &Flow,
    names: &[&str],
) -> Judgement<'a> {
    let judgement = judge(ruleset, options, flow);
    let Judgement::Denied { why, .. } = &judgement else {
        return judgement;
    };
    let from = member_class(ruleset, flow.from).filter(|_| *why != Denied::UnknownSource);
    let permit = ruleset.names.iter().find(|permit| {
        Some(permit.from) == from
            && permit.transport == flow.transport
            && (permit.first_port..=permit.last_port).contains(&flow.port)
            && names.iter().any(|name| permit.covers(name))
    });
    permit.map_or(judgement, |permit| Judgement::Permitted { rule: &permit.rule })
}

fn has_ports(transport: Transport) -> bool {
    matches!(transport, Transport::Tcp | Transport::Udp | Transport::Ip)
}

fn member_class(ruleset: &Ruleset, ip: IpAddr) -> Option<ClassId> {
    ruleset.members.iter().find(|member| member.ip == ip).map(|member| member.class)
}

/// Members first, then the longest prefix; groups and the site's own networks are nobody's unless
/// a prefix at least as long names them.
fn destination_class(ruleset: &Ruleset, options: &Options, ip: IpAddr) -> Option<ClassId> {
    if let Some(class) = member_class(ruleset, ip) {
        return Some(class);
    }
    let holds = |net: IpAddr, prefix: u8| {
        let (first, last) = ends(net, prefix);
        net.is_ipv4() == ip.is_ipv4() && (first..=last).contains(&ip)
    };
    let peers = ruleset.peers.iter().filter(|peer| holds(peer.ip, peer.prefix));
    let best = peers.max_by_key(|peer| peer.prefix)?;
    let site = options.site.iter().filter(|(net, prefix)| holds(*net, *prefix));
    let group = match ip {
        IpAddr::V4(v4) if v4.is_broadcast() => Some(32),
        IpAddr::V4(v4) if v4.is_multicast() => Some(4),
        IpAddr::V6(v6) if v6.is_multicast() => Some(8),
        _ => None,
    };
    let nobody = site.map(|(_, prefix)| *prefix).chain(group).max();
    nobody.is_none_or(|prefix| best.prefix >= prefix).then_some(best.class)
}
