//! What an enforcement point does with the first packet of a flow: the reference interpreter of a
//! [`Ruleset`]. It predicts probes and explains verdicts; every other implementation must agree.
//!
//! Exceptions count as in force: their end is kept by the kernel's clock, not here.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;

use model::Mac;
use model::observation::Transport;
use model::ruleset::{ClassId, Mode, Permit, Ruleset};
use model::verdict::Explain;

/// What happens, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// A permit or exception covers it.
    pub allowed: bool,
    /// Mode of the source's class; for an unknown source shadow only where all classes are. In shadow a
    /// denied packet passes and is logged.
    pub mode: Mode,
    /// The reason.
    pub why: Why,
}

impl Verdict {
    /// The packet goes through, be it because shadow mode does not bite.
    pub fn passes(&self) -> bool {
        self.allowed || self.mode == Mode::Shadow
    }
}

/// Why a verdict is what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// This policy permits it.
    Rule(String),
    /// This exception grants it.
    Exception(String),
    /// No permit; the nearest one and where it differs.
    Nearest {
        /// Policy that comes closest, if the source class has any or another class has this path.
        rule: Option<String>,
        /// First field that differs.
        differs: Field,
    },
}

/// Field in which the nearest rule differs.
pub use model::verdict::Differs as Field;

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::Rule(rule) => write!(f, "allowed by {rule}"),
            Why::Exception(name) => write!(f, "allowed by exception {name}"),
            Why::Nearest { rule, differs } => {
                write!(f, "denied by default: {differs}")?;
                if let Some(rule) = rule {
                    write!(f, "; nearest rule is {rule}")?;
                }
                Ok(())
            }
        }?;
        if self.mode == Mode::Shadow && !self.allowed {
            write!(f, " (shadow: passes)")?;
        }
        Ok(())
    }
}

/// One question. For many, build an [`Evaluator`] once.
pub fn evaluate(
    ruleset: &Ruleset,
    from: (Mac, IpAddr),
    to: IpAddr,
    transport: Transport,
    port: u16,
) -> Verdict {
    Evaluator::new(ruleset).evaluate(from, to, transport, port)
}

/// A ruleset with its look-ups.
#[derive(Debug)]
pub struct Evaluator<'r> {
    ruleset: &'r Ruleset,
    sources: HashMap<(Mac, IpAddr), ClassId>,
    hosts: HashMap<IpAddr, ClassId>,
    prefixes: Vec<(IpAddr, u8, ClassId)>,
    permits: BTreeMap<(ClassId, ClassId), Vec<&'r Permit>>,
}

impl<'r> Evaluator<'r> {
    /// Builds the look-ups.
    pub fn new(ruleset: &'r Ruleset) -> Self {
        let mut hosts = HashMap::new();
        let mut prefixes = Vec::new();
        for peer in &ruleset.peers {
            let whole = if peer.ip.is_ipv4() { 32 } else { 128 };
            if peer.prefix >= whole {
                hosts.insert(peer.ip, peer.class);
            } else {
                prefixes.push((peer.ip, peer.prefix, peer.class));
            }
        }
        prefixes.sort_by_key(|(ip, prefix, _)| (std::cmp::Reverse(*prefix), *ip));
        let mut sources = HashMap::new();
        for member in &ruleset.members {
            sources.insert((member.mac, member.ip), member.class);
            if !member.ip.is_unspecified() {
                hosts.insert(member.ip, member.class);
            }
        }
        let mut permits: BTreeMap<_, Vec<&Permit>> = BTreeMap::new();
        for permit in &ruleset.permits {
            permits.entry((permit.from, permit.to)).or_default().push(permit);
        }
        Self { ruleset, sources, hosts, prefixes, permits }
    }

    /// Class of a destination address: a host's, else that of the longest prefix.
    pub fn destination(&self, to: IpAddr) -> Option<ClassId> {
        let prefix = || self.prefixes.iter().find(|(net, length, _)| covers(*net, *length, to));
        self.hosts.get(&to).copied().or_else(|| prefix().map(|(.., class)| *class))
    }

    /// Unknown sources pass only while everything is in shadow.
    fn strangers(&self) -> Mode {
        let mut classes = self.ruleset.classes.values().peekable();
        let some = classes.peek().is_some();
        if some && classes.all(|c| c.mode == Mode::Shadow) { Mode::Shadow } else { Mode::Enforce }
    }

    /// What happens to a first packet of a source that the site's resolver gave `to` as an answer to
    /// each of `names` (lower case, without the last dot), and those answers are still alive.
    pub fn evaluate_named(
        &self,
        from: (Mac, IpAddr),
        to: IpAddr,
        names: &[&str],
        transport: Transport,
        port: u16,
    ) -> Verdict {
        let verdict = self.evaluate(from, to, transport, port);
        let source = self.sources.get(&from).filter(|_| !verdict.allowed);
        let permit = source.and_then(|source| {
            let here = self.ruleset.names.iter().filter(|p| {
                p.from == *source
                    && p.transport == transport
                    && (p.first_port..=p.last_port).contains(&port)
            });
            here.into_iter().find(|p| names.iter().any(|name| p.covers(name)))
        });
        match permit {
            Some(permit) => {
                let why = Why::Rule(permit.rule.clone());
                Verdict { allowed: true, mode: verdict.mode, why }
            }
            None => verdict,
        }
    }

    /// What happens to a first packet, as far as addresses tell.
    pub fn evaluate(
        &self,
        from: (Mac, IpAddr),
        to: IpAddr,
        transport: Transport,
        port: u16,
    ) -> Verdict {
        let Some(source) = self.sources.get(&from).copied() else {
            let known = self.ruleset.members.iter().any(|m| m.ip == from.1);
            let differs = if known { Field::SourceBinding } else { Field::UnknownSource };
            return Verdict {
                allowed: false,
                mode: self.strangers(),
                why: Why::Nearest { rule: None, differs },
            };
        };
        let mode = self.ruleset.classes.get(&source).map(|c| c.mode).unwrap_or_default();
        let exception =
            self.ruleset.exceptions.iter().find(|e| {
                e.from == from.1 && e.to == to && e.transport == transport && e.port == port
            });
        if let Some(exception) = exception {
            return Verdict { allowed: true, mode, why: Why::Exception(exception.name.clone()) };
        }
        let covers =
            |p: &Permit| p.transport == transport && (p.first_port..=p.last_port).contains(&port);
        let destination = self.destination(to);
        let rule = destination
            .and_then(|to| self.permits.get(&(source, to)))
            .and_then(|permits| permits.iter().find(|p| covers(p)));
        match rule {
            Some(permit) => Verdict { allowed: true, mode, why: Why::Rule(permit.rule.clone()) },
            None => {
                let why = self.nearest(source, destination, transport, port);
                Verdict { allowed: false, mode, why }
            }
        }
    }

    /// The permit that shares most with the flow: source and destination first, then path, then source.
    fn nearest(
        &self,
        source: ClassId,
        to: Option<ClassId>,
        transport: Transport,
        port: u16,
    ) -> Why {
        let here = to.and_then(|to| self.permits.get(&(source, to))).into_iter().flatten();
        let same_path =
            |p: &&Permit| p.transport == transport && (p.first_port..=p.last_port).contains(&port);
        let near = |p: &Permit, differs| Why::Nearest { rule: Some(p.rule.clone()), differs };
        let mut here: Vec<&Permit> = here.copied().collect();
        here.sort_by_key(|p| (p.transport != transport, p.first_port.abs_diff(port), &p.rule));
        if let Some(permit) = here.first() {
            let same = permit.transport == transport;
            return near(permit, if same { Field::Port } else { Field::Transport });
        }
        let mut own = self.ruleset.permits.iter().filter(|p| p.from == source);
        let unknown = if to.is_none() { Field::UnknownDestination } else { Field::Destination };
        if let Some(permit) = own.clone().find(same_path) {
            return near(permit, unknown);
        }
        let Some(to) = to else {
            return Why::Nearest { rule: None, differs: Field::UnknownDestination };
        };
        if let Some(permit) = self.ruleset.permits.iter().filter(|p| p.to == to).find(same_path) {
            return near(permit, Field::Source);
        }
        match own.next() {
            Some(permit) => near(permit, Field::Destination),
            None => Why::Nearest { rule: None, differs: Field::NoRule },
        }
    }
}

impl Explain for Evaluator<'_> {
    fn explain(
        &self,
        from: (Mac, IpAddr),
        to: IpAddr,
        transport: Transport,
        port: u16,
    ) -> model::verdict::Why {
        told(self.evaluate(from, to, transport, port).why)
    }

    fn explain_class(
        &self,
        from: ClassId,
        to: IpAddr,
        transport: Transport,
        port: u16,
    ) -> model::verdict::Why {
        let to = self.destination(to);
        let covers =
            |p: &&&Permit| p.transport == transport && (p.first_port..=p.last_port).contains(&port);
        let here = to.and_then(|to| self.permits.get(&(from, to))).into_iter().flatten();
        told(match here.clone().find(covers) {
            Some(permit) => Why::Rule(permit.rule.clone()),
            None => self.nearest(from, to, transport, port),
        })
    }
}

fn told(why: Why) -> model::verdict::Why {
    let out = model::verdict::Why::default();
    match why {
        Why::Rule(rule) => model::verdict::Why { rule: Some(rule), ..out },
        Why::Exception(name) => model::verdict::Why { exception: Some(name), ..out },
        Why::Nearest { rule, differs } => {
            model::verdict::Why { nearest: rule, differs: Some(differs), ..out }
        }
    }
}

fn covers(net: IpAddr, length: u8, ip: IpAddr) -> bool {
    match (net, ip) {
        (IpAddr::V4(net), IpAddr::V4(ip)) => {
            let shift = 32u32.saturating_sub(u32::from(length));
            let cut = |a: u32| a.checked_shr(shift).unwrap_or(0);
            cut(net.to_bits()) == cut(ip.to_bits())
        }
        (IpAddr::V6(net), IpAddr::V6(ip)) => {
            let shift = 128u32.saturating_sub(u32::from(length));
            let cut = |a: u128| a.checked_shr(shift).unwrap_or(0);
            cut(net.to_bits()) == cut(ip.to_bits())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::DeviceId;
    use model::ruleset::{Class, Member, NamePermit, Peer, Terms};

    fn sample() -> Ruleset {
        let class = |name: &str, mode| Class { name: name.to_owned(), mode };
        let member = |n: u8, ip: &str, class| Member {
            device: DeviceId::new(&format!("d{n}")).unwrap(),
            mac: Mac([0, 0, 0, 0, 0, n]),
            ip: ip.parse().unwrap(),
            class: ClassId(class),
        };
        let permit = |from, to, transport, port: u16, rule: &str| Permit {
            from: ClassId(from),
            to: ClassId(to),
            transport,
            first_port: port,
            last_port: port.saturating_add(1),
            rule: rule.to_owned(),
            terms: Terms::default(),
        };
        let peer = |ip: &str, prefix, class| Peer {
            ip: ip.parse().unwrap(),
            prefix,
            class: ClassId(class),
        };
        Ruleset {
            generation: 1,
            parent: None,
            classes: [
                (ClassId(1), class("zone/cameras", Mode::Enforce)),
                (ClassId(2), class("zone/nvr", Mode::Shadow)),
                (ClassId(3), class("service/cloud", Mode::Enforce)),
                (ClassId(4), class("service/wide", Mode::Enforce)),
            ]
            .into(),
            members: vec![
                member(1, "10.0.0.1", 1),
                member(1, "0.0.0.0", 1),
                member(2, "10.0.0.2", 2),
                member(3, "10.0.0.3", 1),
            ],
            peers: vec![
                peer("203.0.113.7", 32, 3),
                peer("203.0.113.0", 24, 4),
                peer("2001:db8::", 64, 4),
            ],
            permits: vec![
                permit(1, 2, Transport::Tcp, 554, "cam-nvr"),
                permit(1, 3, Transport::Tcp, 443, "cam-cloud"),
                permit(2, 4, Transport::Udp, 123, "nvr-ntp"),
            ],
            exceptions: Vec::new(),
            names: Vec::new(),
            proposed: Vec::new(),
        }
    }

    #[test]
    fn verdicts_and_their_reasons() {
        let ruleset = sample();
        let check = |mac: u8, from: &str, to: &str, transport, port, expect: &str| {
            let from = (Mac([0, 0, 0, 0, 0, mac]), from.parse().unwrap());
            let verdict = evaluate(&ruleset, from, to.parse().unwrap(), transport, port);
            assert_eq!(verdict.to_string(), expect, "{from:?} {to} {port}");
        };
        let (tcp, udp) = (Transport::Tcp, Transport::Udp);
        let denied = "denied by default: the";
        check(1, "10.0.0.1", "10.0.0.2", tcp, 555, "allowed by cam-nvr");
        check(
            1,
            "10.0.0.1",
            "10.0.0.2",
            tcp,
            556,
            &format!("{denied} port differs; nearest rule is cam-nvr"),
        );
        check(
            1,
            "10.0.0.1",
            "10.0.0.2",
            udp,
            554,
            &format!("{denied} transport differs; nearest rule is cam-nvr"),
        );
        check(
            1,
            "10.0.0.1",
            "10.0.0.3",
            tcp,
            443,
            &format!("{denied} destination differs; nearest rule is cam-cloud"),
        );
        check(
            1,
            "10.0.0.1",
            "9.9.9.9",
            tcp,
            443,
            &format!("{denied} destination is unknown; nearest rule is cam-cloud"),
        );
        check(
            1,
            "10.0.0.1",
            "203.0.113.8",
            udp,
            123,
            &format!("{denied} source differs; nearest rule is nvr-ntp"),
        );
        check(1, "0.0.0.0", "203.0.113.7", tcp, 443, "allowed by cam-cloud");
        check(
            2,
            "10.0.0.1",
            "10.0.0.2",
            tcp,
            554,
            &format!("{denied} source address belongs to another link address"),
        );
        check(9, "10.0.0.9", "10.0.0.2", tcp, 554, &format!("{denied} source is unknown"));
        check(2, "10.0.0.2", "203.0.113.250", udp, 124, "allowed by nvr-ntp");
        check(2, "10.0.0.2", "2001:db8::9", udp, 123, "allowed by nvr-ntp");
        check(
            2,
            "10.0.0.2",
            "203.0.113.7",
            udp,
            123,
            &format!("{denied} destination differs; nearest rule is nvr-ntp (shadow: passes)"),
        );
        check(
            1,
            "10.0.0.1",
            "0.0.0.0",
            tcp,
            443,
            &format!("{denied} destination is unknown; nearest rule is cam-cloud"),
        );
    }

    #[test]
    fn an_answer_of_the_resolver_opens_the_path_of_its_name_only() {
        let mut ruleset = sample();
        ruleset.names = vec![NamePermit {
            from: ClassId(1),
            name: "*.vendor.example".to_owned(),
            transport: Transport::Tcp,
            first_port: 8883,
            last_port: 8883,
            rule: "cam-vendor".to_owned(),
            terms: Terms::default(),
        }];
        let evaluator = Evaluator::new(&ruleset);
        let check = |mac: u8, from: &str, names: &[&str], port, expect: &str| {
            let from = (Mac([0, 0, 0, 0, 0, mac]), from.parse().unwrap());
            let to = "198.51.100.9".parse().unwrap();
            let verdict = evaluator.evaluate_named(from, to, names, Transport::Tcp, port);
            assert!(verdict.to_string().starts_with(expect), "{verdict} for {names:?} {port}");
        };
        check(1, "10.0.0.1", &[], 8883, "denied");
        check(1, "10.0.0.1", &["eu.vendor.example"], 8883, "allowed by cam-vendor");
        check(1, "10.0.0.1", &["x.example", "eu.vendor.example"], 8883, "allowed by cam-vendor");
        check(1, "10.0.0.1", &["eu.vendor.example"], 443, "denied");
        check(1, "10.0.0.1", &["vendor.example"], 8883, "denied");
        check(2, "10.0.0.2", &["eu.vendor.example"], 8883, "denied");
        check(9, "10.0.0.1", &["eu.vendor.example"], 8883, "denied");
    }
}
