//! From what the kernel says to who it was and why: devices by their binding, destinations by
//! class, rules by the number in the prefix, and for a denial by default the rule that comes
//! nearest.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use model::observation::Transport;
use model::ruleset::{ClassId, Exception, Mode, Ruleset};
use model::verdict::{End, Explain, Kind, VerdictRecord, Why};
use model::{DeviceId, Mac, SiteId, Timestamp};

use super::{Links, Packet, Seen};
use crate::plan::{Kind as Logged, Prefix, ends, rule_names};

/// Generations whose rule numbers are remembered: records of a rule that was just replaced are
/// still under way.
const GENERATIONS_MAX: usize = 8;

/// Names what the kernel saw, by the ruleset in force.
pub struct Namer<'r> {
    site: SiteId,
    ruleset: &'r Ruleset,
    explain: &'r dyn Explain,
    /// Names of rules by generation.
    rules: BTreeMap<u64, Vec<String>>,
    bindings: HashMap<(Mac, IpAddr), &'r DeviceId>,
    /// Device of an address, where it is one's alone.
    hosts: HashMap<IpAddr, Option<&'r DeviceId>>,
    cards: HashMap<Mac, Option<&'r DeviceId>>,
    peers: BTreeMap<(bool, Reverse<u8>), HashMap<IpAddr, ClassId>>,
}

impl std::fmt::Debug for Namer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Namer({} generation {})", self.site, self.ruleset.generation)
    }
}

impl<'r> Namer<'r> {
    /// Names by `ruleset`; `explain` is its interpreter.
    pub fn new(site: SiteId, ruleset: &'r Ruleset, explain: &'r dyn Explain) -> Self {
        let mut out = Self {
            site,
            ruleset,
            explain,
            rules: BTreeMap::new(),
            bindings: HashMap::new(),
            hosts: HashMap::new(),
            cards: HashMap::new(),
            peers: BTreeMap::new(),
        };
        let alone = |entry: &mut Option<&'r DeviceId>, device| {
            if *entry != Some(device) {
                *entry = None;
            }
        };
        for member in &ruleset.members {
            let device = &member.device;
            out.bindings.insert((member.mac, member.ip), device);
            alone(out.hosts.entry(member.ip).or_insert(Some(device)), device);
            alone(out.cards.entry(member.mac).or_insert(Some(device)), device);
        }
        for peer in &ruleset.peers {
            let table = out.peers.entry((peer.ip.is_ipv4(), Reverse(peer.prefix))).or_default();
            table.insert(ends(peer.ip, peer.prefix).0, peer.class);
        }
        out.remember(ruleset);
        out
    }

    /// Also knows the rule numbers of another generation: of the one before, whose last records
    /// are still coming.
    pub fn remember(&mut self, ruleset: &Ruleset) {
        let names = rule_names(ruleset).into_iter().map(str::to_owned).collect();
        self.rules.insert(ruleset.generation, names);
        while self.rules.len() > GENERATIONS_MAX {
            self.rules.pop_first();
        }
    }

    /// What the kernel saw as a verdict. `now` is used where the kernel gave no time.
    ///
    /// `None` for a record that no rule of ours sent.
    pub fn name(&self, seen: &Seen, links: &mut Links, now: Timestamp) -> Option<VerdictRecord> {
        let prefix = seen.prefix?;
        let packet = seen.packet.unwrap_or(Packet {
            from: None,
            to: None,
            transport: Transport::Link,
            protocol: 0,
            from_port: None,
            port: Some(seen.kind).filter(|kind| *kind != 0),
        });
        Some(VerdictRecord {
            at: seen.at.unwrap_or(now),
            site: self.site.clone(),
            verdict: self.kind(prefix.kind),
            from: self.source(seen.sender, &packet),
            to: self.destination(seen.receiver, &packet),
            transport: packet.transport,
            protocol: packet.protocol,
            port: packet.port,
            why: self.why(prefix, seen.sender, &packet),
            generation: Some(prefix.generation),
            interface_in: seen.interface_in.map(|index| links.name(index)),
            interface_out: seen.interface_out.map(|index| links.name(index)),
        })
    }

    fn kind(&self, logged: Logged) -> Kind {
        let all_shadow = !self.ruleset.classes.is_empty()
            && self.ruleset.classes.values().all(|class| class.mode == Mode::Shadow);
        match logged {
            Logged::Stranger if all_shadow => Kind::WouldDeny,
            Logged::Denied | Logged::TooMany | Logged::Stranger => Kind::Denied,
            Logged::WouldDeny | Logged::Closing => Kind::WouldDeny,
            Logged::WouldAllow => Kind::WouldAllow,
            Logged::Logged => Kind::Logged,
            Logged::Granted => Kind::AllowedByException,
        }
    }

    fn source(&self, mac: Option<Mac>, packet: &Packet) -> End {
        let bound = match (mac, packet.from) {
            (Some(mac), Some(ip)) => self.bindings.get(&(mac, ip)).copied(),
            // Frames that are not IP have only the link address.
            (Some(mac), None) => self.cards.get(&mac).copied().flatten(),
            (None, _) => None,
        };
        End {
            device: bound.cloned(),
            service: packet.from.filter(|_| bound.is_none()).and_then(|ip| self.class_name(ip)),
            mac,
            ip: packet.from,
            port: packet.from_port,
        }
    }

    fn destination(&self, mac: Option<Mac>, packet: &Packet) -> End {
        let host = packet.to.and_then(|ip| self.hosts.get(&ip).copied().flatten());
        let card = || mac.and_then(|mac| self.cards.get(&mac).copied().flatten());
        let device = if packet.to.is_none() { card() } else { host };
        let ports = matches!(packet.transport, Transport::Tcp | Transport::Udp);
        End {
            device: device.cloned(),
            service: packet.to.filter(|_| device.is_none()).and_then(|ip| self.class_name(ip)),
            mac: mac.filter(|_| packet.to.is_none()),
            ip: packet.to,
            port: packet.port.filter(|_| ports),
        }
    }

    /// Name of the class of an address that is no device's: `service/ntp`, `group/mdns`.
    fn class_name(&self, ip: IpAddr) -> Option<String> {
        let tables = self.peers.iter().filter(|((v4, _), _)| *v4 == ip.is_ipv4());
        let mut found = tables
            .filter_map(|((_, Reverse(prefix)), table)| table.get(&ends(ip, *prefix).0).copied());
        let class = self.ruleset.classes.get(&found.next()?)?;
        Some(class.name.clone())
    }

    fn why(&self, prefix: Prefix, mac: Option<Mac>, packet: &Packet) -> Why {
        let number = usize::try_from(prefix.rule).ok().and_then(|n| n.checked_sub(1));
        let names = self.rules.get(&prefix.generation);
        let rule = number.and_then(|n| names?.get(n).cloned());
        match prefix.kind {
            Logged::Closing | Logged::WouldAllow | Logged::Logged => Why { rule, ..Why::default() },
            Logged::Granted => {
                let exception = self.exception(packet);
                Why { exception, ..Why::default() }
            }
            Logged::TooMany => Why { rule, check: Some("rate".to_owned()), ..Why::default() },
            Logged::Denied | Logged::WouldDeny | Logged::Stranger => {
                self.denied(prefix, mac, packet)
            }
        }
    }

    /// The exception for these two, in either direction: answers are granted too.
    fn exception(&self, packet: &Packet) -> Option<String> {
        let (from, to) = (packet.from?, packet.to?);
        let pair = |e: &&Exception| {
            let ends = [(e.from, e.to), (e.to, e.from)];
            ends.contains(&(from, to)) && e.transport == packet.transport
        };
        let mut all = self.ruleset.exceptions.iter().filter(pair);
        let exact = all.clone().find(|e| packet.port == Some(e.port));
        exact.or_else(|| all.next()).map(|e| e.name.clone())
    }

    /// Nothing permits it: what comes nearest.
    fn denied(&self, prefix: Prefix, mac: Option<Mac>, packet: &Packet) -> Why {
        // Frames that are not IP are judged without a class: whose they are, their link address says.
        let nobody = packet.from.is_none() && mac.is_some_and(|mac| !self.cards.contains_key(&mac));
        let stranger = prefix.kind == Logged::Stranger || nobody;
        let check = stranger.then(|| "stranger".to_owned());
        let (Some(from), Some(to)) = (packet.from, packet.to) else {
            return Why { check, ..Why::default() };
        };
        let port = packet.port.unwrap_or(0);
        let told = if prefix.class.0 == 0 {
            self.explain.explain((mac.unwrap_or(Mac::ZERO), from), to, packet.transport, port)
        } else {
            self.explain.explain_class(prefix.class, to, packet.transport, port)
        };
        // The interpreter does not know the kernel's clock, nor which names have answers: what it
        // permits and the kernel does not is near, and what differs is time.
        let nearest = told.nearest.or(told.rule).or(told.exception);
        Why { nearest, differs: told.differs, check, ..Why::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Place;
    use crate::verdict::record::tests::{ipv4, seen, udp};
    use model::ruleset::{Class, Member, Peer, Permit, Terms};
    use model::verdict::Differs;

    /// Says what it was asked.
    struct Echo;

    impl Explain for Echo {
        fn explain(&self, from: (Mac, IpAddr), to: IpAddr, t: Transport, port: u16) -> Why {
            let nearest = Some(format!("{} {} {to} {}/{port}", from.0, from.1, t.word()));
            Why { nearest, differs: Some(Differs::SourceBinding), ..Why::default() }
        }

        fn explain_class(&self, from: ClassId, to: IpAddr, t: Transport, port: u16) -> Why {
            let rule = Some(format!("{} {to} {}/{port}", from.0, t.word()));
            Why { rule, ..Why::default() }
        }
    }

    fn ruleset() -> Ruleset {
        let class = |name: &str| Class { name: name.to_owned(), mode: Mode::Enforce };
        Ruleset {
            generation: 5,
            parent: None,
            classes: [(ClassId(1), class("cameras")), (ClassId(2), class("service/recorder"))]
                .into(),
            members: vec![Member {
                device: DeviceId::new("camera-1").unwrap(),
                mac: Mac([2, 0, 0, 0, 0, 1]),
                ip: IpAddr::from([10, 0, 0, 1]),
                class: ClassId(1),
            }],
            peers: vec![
                Peer { ip: IpAddr::from([10, 0, 0, 2]), prefix: 32, class: ClassId(2) },
                Peer { ip: IpAddr::from([10, 0, 0, 0]), prefix: 8, class: ClassId(1) },
            ],
            permits: vec![Permit {
                from: ClassId(1),
                to: ClassId(2),
                transport: Transport::Udp,
                first_port: 5,
                last_port: 5,
                rule: "b-second".into(),
                terms: Terms { closing: Some("a-first".into()), ..Terms::default() },
            }],
            exceptions: vec![Exception {
                from: IpAddr::from([10, 0, 0, 1]),
                to: IpAddr::from([10, 0, 0, 2]),
                transport: Transport::Udp,
                port: 123,
                expires: Timestamp::MAX,
                name: "visit".into(),
            }],
            names: Vec::new(),
            proposed: Vec::new(),
        }
    }

    #[test]
    fn records_are_named() {
        let ruleset = ruleset();
        let site = SiteId::new("north").unwrap();
        let mut namer = Namer::new(site, &ruleset, &Echo);
        let mut before = ruleset.clone();
        (before.generation, before.permits[0].rule) = (4, "a-before".into());
        namer.remember(&before);
        let mut links = Links::new(Place::here());
        let mut check = |prefix: &str, kind, payload: &[u8], verdict, expect: Why| {
            let seen = seen(prefix, kind, payload);
            let record = namer.name(&seen, &mut links, Timestamp::EPOCH).unwrap();
            assert_eq!((record.verdict, &record.why), (verdict, &expect), "{prefix}");
            record
        };
        let packet = ipv4(17, 0, &udp(40_000, 123));
        let near = |nearest: &str, differs, check: Option<&str>| Why {
            nearest: Some(nearest.into()),
            differs,
            check: check.map(Into::into),
            ..Why::default()
        };
        let by = |rule: &str| Why { rule: Some(rule.into()), ..Why::default() };
        let asked = near("1 10.0.0.2 udp/123", None, None);
        let record = check("rf:d:5:1:0", 0x0800, &packet, Kind::Denied, asked.clone());
        assert_eq!(record.from.device.unwrap().as_str(), "camera-1");
        assert_eq!(record.to.service.unwrap(), "service/recorder");
        assert_eq!((record.from.port, record.to.port), (Some(40_000), Some(123)));
        assert_eq!((record.generation, record.port), (Some(5), Some(123)));
        check("rf:w:5:1:0", 0x0800, &packet, Kind::WouldDeny, asked);
        check("rf:c:5:1:1", 0x0800, &packet, Kind::WouldDeny, by("a-first"));
        check("rf:p:5:1:2", 0x0800, &packet, Kind::WouldAllow, by("b-second"));
        let granted = Why { exception: Some("visit".into()), ..Why::default() };
        check("rf:e:5:0:0", 0x0800, &packet, Kind::AllowedByException, granted);
        check("rf:l:4:1:1", 0x0800, &packet, Kind::Logged, by("a-before"));
        check("rf:l:5:1:9", 0x0800, &packet, Kind::Logged, Why::default());
        check("rf:l:3:1:1", 0x0800, &packet, Kind::Logged, Why::default());
        let rate = Why { check: Some("rate".into()), ..by("b-second") };
        check("rf:r:5:1:2", 0x0800, &packet, Kind::Denied, rate);
        let spoofed = near(
            "02:00:00:00:00:01 10.0.0.1 10.0.0.2 udp/123",
            Some(Differs::SourceBinding),
            Some("stranger"),
        );
        check("rf:s:5:0:0", 0x0800, &packet, Kind::Denied, spoofed);
        let record = check("rf:d:5:1:0", 0x88b8, &[], Kind::Denied, Why::default());
        assert_eq!(record.from.device.unwrap().as_str(), "camera-1");
        assert_eq!((record.transport, record.port), (Transport::Link, Some(0x88b8)));
        // Frames say whose they are by their link address alone.
        let mut foreign = seen("rf:d:5:0:0", 0x88b8, &[]);
        foreign.sender = Some(Mac([2, 0, 0, 0, 0, 9]));
        let record = namer.name(&foreign, &mut links, Timestamp::EPOCH).unwrap();
        assert_eq!((record.from.device, record.why.check.as_deref()), (None, Some("stranger")));
        assert!(
            namer.name(&seen("DROP ", 0x0800, &packet), &mut links, Timestamp::EPOCH).is_none()
        );
    }
}
