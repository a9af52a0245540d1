//! Which open flows a ruleset still permits: for cutting those of a path that was closed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use model::observation::Transport;
use model::ruleset::{ClassId, Mode, Ruleset};

use super::{Entry, Tuple};
use crate::plan::ends;

/// A ruleset with look-ups by address, for a walk over many flows.
#[derive(Debug)]
pub struct Permitted {
    members: HashMap<IpAddr, ClassId>,
    /// Addresses of devices that are no members any more.
    gone: HashSet<IpAddr>,
    /// By family and prefix length, longest first; `None` for networks of the site and groups,
    /// whose addresses are nobody's.
    prefixes: BTreeMap<(bool, Reverse<u8>), HashMap<IpAddr, Option<ClassId>>>,
    permits: HashMap<(ClassId, ClassId), Vec<Ports>>,
    /// Source classes with permits to names: only the kernel knows the addresses.
    names: HashMap<ClassId, Vec<Ports>>,
    shadow: BTreeSet<ClassId>,
    exceptions: BTreeSet<(IpAddr, IpAddr)>,
}

/// Transport, first port, last port.
type Ports = (Transport, u16, u16);

impl Permitted {
    /// Builds the look-ups; `site` as in [`crate::Options::site`].
    pub fn new(ruleset: &Ruleset, site: &[(IpAddr, u8)]) -> Self {
        let mut out = Self {
            members: ruleset.members.iter().map(|m| (m.ip, m.class)).collect(),
            gone: HashSet::new(),
            prefixes: BTreeMap::new(),
            permits: HashMap::new(),
            names: HashMap::new(),
            shadow: BTreeSet::new(),
            exceptions: ruleset.exceptions.iter().map(|e| (e.from, e.to)).collect(),
        };
        let groups = [
            (IpAddr::from([224, 0, 0, 0]), 4),
            (IpAddr::from([255; 4]), 32),
            (IpAddr::from([0xff00, 0, 0, 0, 0, 0, 0, 0]), 8),
        ];
        // Peers last: one that is as long as a network of the site is somebody's.
        let nobodys = site.iter().chain(&groups).map(|(net, prefix)| (*net, *prefix, None));
        let peers = ruleset.peers.iter().map(|p| (p.ip, p.prefix, Some(p.class)));
        for (net, prefix, class) in nobodys.chain(peers) {
            let table = out.prefixes.entry((net.is_ipv4(), Reverse(prefix))).or_default();
            table.insert(ends(net, prefix).0, class);
        }
        for p in &ruleset.permits {
            let ports = (p.transport, p.first_port, p.last_port);
            out.permits.entry((p.from, p.to)).or_default().push(ports);
        }
        for p in &ruleset.names {
            let ports = (p.transport, p.first_port, p.last_port);
            out.names.entry(p.from).or_default().push(ports);
        }
        let shadow = ruleset.classes.iter().filter(|(_, class)| class.mode == Mode::Shadow);
        out.shadow = shadow.map(|(id, _)| *id).collect();
        out
    }

    /// Flows of devices that `before` had are denied too, whether they are members still or not.
    #[must_use]
    pub fn after(mut self, before: &Ruleset) -> Self {
        let members = before.members.iter().map(|member| member.ip);
        self.gone = members.filter(|ip| !self.members.contains_key(ip)).collect();
        self
    }

    /// The flow is a device's, and nothing in the ruleset lets it pass.
    pub fn denies(&self, entry: &Entry) -> bool {
        let flow = &entry.asked;
        // Where the destination was translated, the device is who answers.
        let ends = [flow.from, flow.to, entry.answered.from];
        ends.iter().any(|ip| self.members.contains_key(ip) || self.gone.contains(ip))
            && !self.passes(flow)
            && !self.passes(&Tuple { to: entry.answered.from, ..*flow })
    }

    fn passes(&self, flow: &Tuple) -> bool {
        let Some(from) = self.class(flow.from) else {
            return false;
        };
        if self.shadow.contains(&from) || self.exceptions.contains(&(flow.from, flow.to)) {
            return true;
        }
        let (transport, port) = flow.service();
        let covers = |(t, first, last): &Ports| {
            let port = transport == Transport::Icmp || (*first..=*last).contains(&port);
            *t == transport && port
        };
        // An address may be a name's: whether it is, the kernel decides.
        if self.names.get(&from).is_some_and(|ports| ports.iter().any(covers)) {
            return true;
        }
        let to = self.class(flow.to);
        let permits = to.and_then(|to| self.permits.get(&(from, to)));
        permits.is_some_and(|ports| ports.iter().any(covers))
    }

    fn class(&self, ip: IpAddr) -> Option<ClassId> {
        if let Some(class) = self.members.get(&ip) {
            return Some(*class);
        }
        let tables = self.prefixes.iter().filter(|((v4, _), _)| *v4 == ip.is_ipv4());
        for ((_, Reverse(prefix)), table) in tables {
            if let Some(class) = table.get(&ends(ip, *prefix).0) {
                return *class;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cut::entry::tests::listed;
    use crate::netlink::Messages;
    use model::ruleset::{Class, Member, NamePermit, Peer, Permit, Terms};
    use model::{DeviceId, Mac};

    fn ruleset() -> Ruleset {
        let class = |name: &str, mode| Class { name: name.to_owned(), mode };
        let member = |n: u8, class| Member {
            device: DeviceId::new(&format!("d{n}")).unwrap(),
            mac: Mac([2, 0, 0, 0, 0, n]),
            ip: IpAddr::from([10, 0, 0, n]),
            class: ClassId(class),
        };
        let peer = |ip: &str, prefix, class| Peer {
            ip: ip.parse().unwrap(),
            prefix,
            class: ClassId(class),
        };
        let permit = |from, to, transport, port| Permit {
            from: ClassId(from),
            to: ClassId(to),
            transport,
            first_port: port,
            last_port: port,
            rule: "r".into(),
            terms: Terms::default(),
        };
        Ruleset {
            generation: 2,
            parent: None,
            classes: [
                (ClassId(1), class("cameras", Mode::Enforce)),
                (ClassId(2), class("printers", Mode::Shadow)),
                (ClassId(3), class("internet", Mode::Enforce)),
            ]
            .into(),
            members: vec![member(1, 1), member(2, 2), member(3, 1)],
            peers: vec![peer("0.0.0.0", 0, 3), peer("10.0.0.99", 32, 3)],
            permits: vec![
                permit(1, 3, Transport::Tcp, 443),
                permit(3, 1, Transport::Tcp, 80),
                permit(1, 1, Transport::Icmp, 0),
            ],
            exceptions: Vec::new(),
            names: vec![NamePermit {
                from: ClassId(1),
                name: "time.example".into(),
                transport: Transport::Udp,
                first_port: 123,
                last_port: 123,
                rule: "time".into(),
                terms: Terms::default(),
            }],
            proposed: Vec::new(),
        }
    }

    #[test]
    fn only_flows_of_devices_that_nothing_permits_are_denied() {
        let site = [("10.0.0.0".parse().unwrap(), 24)];
        let permitted = Permitted::new(&ruleset(), &site);
        let check = |from: &str, to: &str, protocol, port, answers: &str, expect| {
            let parse = |ip: &str| ip.parse::<IpAddr>().unwrap();
            let (from_port, to_port) =
                if protocol == 1 { (None, Some(8)) } else { (Some(40_000), Some(port)) };
            let asked = Tuple { from: parse(from), to: parse(to), protocol, from_port, to_port };
            let answered = Tuple { from: parse(answers), to: parse(from), ..asked };
            let bytes = listed(2, &asked, &answered);
            let entry = Entry::read(&Messages::new(&bytes).next().unwrap()).unwrap();
            assert_eq!(permitted.denies(&entry), expect, "{asked}");
        };
        let plain = |from, to, protocol, port, expect| check(from, to, protocol, port, to, expect);
        plain("10.0.0.1", "192.0.2.1", 6, 443, false);
        plain("10.0.0.1", "192.0.2.1", 6, 80, true);
        plain("10.0.0.1", "192.0.2.1", 17, 123, false);
        plain("10.0.0.1", "10.0.0.3", 1, 0, false);
        plain("10.0.0.1", "10.0.0.3", 6, 443, true);
        // An address of the site that is nobody's, one that is a peer's, and a group.
        plain("10.0.0.1", "10.0.0.77", 6, 443, true);
        plain("10.0.0.1", "10.0.0.99", 6, 443, false);
        plain("10.0.0.1", "239.1.1.1", 6, 443, true);
        // In shadow everything passes; flows of others are not ours to judge.
        plain("10.0.0.2", "192.0.2.1", 6, 80, false);
        plain("192.0.2.1", "192.0.2.2", 6, 80, false);
        // From elsewhere to a device, also through a translated address.
        plain("192.0.2.1", "10.0.0.1", 6, 80, false);
        plain("192.0.2.1", "10.0.0.1", 6, 22, true);
        check("192.0.2.1", "198.51.100.1", 6, 80, "10.0.0.1", false);
        check("192.0.2.1", "198.51.100.1", 6, 22, "10.0.0.1", true);
        // A device that is a member no more: its flows are nobody's to a stranger, and cut after.
        let mut fewer = ruleset();
        fewer.members.retain(|member| member.ip != IpAddr::from([10, 0, 0, 3]));
        let of = |from: [u8; 4]| {
            let (from, to) = (IpAddr::from(from), IpAddr::from([192, 0, 2, 1]));
            let (from_port, to_port) = (Some(40_000), Some(443));
            let asked = Tuple { from, to, protocol: 6, from_port, to_port };
            let bytes = listed(2, &asked, &Tuple { from: to, to: from, ..asked });
            Entry::read(&Messages::new(&bytes).next().unwrap()).unwrap()
        };
        let alone = Permitted::new(&fewer, &site);
        assert!(!alone.denies(&of([10, 0, 0, 3])));
        let after = alone.after(&ruleset());
        assert!(after.denies(&of([10, 0, 0, 3])) && !after.denies(&of([10, 0, 0, 1])));
    }
}
