//! The sink of the dissectors: each fact becomes one observation, once.

use std::hash::{BuildHasher as _, Hash};
use std::net::IpAddr;
use std::sync::Arc;

use dissect::{About, Endpoint, Fact, Sink};
use foldhash::fast::RandomState;
use model::limits::{FACT_VALUE_BYTES_MAX, FACTS_PER_MESSAGE_MAX};
use model::observation::{self, EventKind, Observation, Origin, Subject};
use model::{Mac, SensorId, SiteId, Timestamp, is_private};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::links::{LinkId, Links};
use crate::recent::Recent;

/// Facts reported per link address, children included.
const FACTS_PER_LINK_MAX: u32 = 16_384;
/// Different values of one field reported per link address.
const VALUES_PER_FIELD_MAX: u16 = 256;
/// Resolved names remembered.
const NAMES_MAX: usize = 262_144;
/// Other link addresses one sender may speak about (a DHCP relay has many clients).
const SPOKEN_FOR_MAX: u16 = 1_024;
/// Numbers kept per conversation for dissectors.
const MEMORY_MAX: usize = 32;
/// Slots of the record of parts already read; a power of two.
const TOLD: usize = 1 << 13;
/// A repeated claim of an address is reported again after this long.
const CLAIM_EVERY_NANOS: i64 = 600_000_000_000;

/// When and where a packet was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) input: u16,
    pub(crate) packet: u64,
    pub(crate) at: Timestamp,
}

/// Collects observations, each fact once.
#[derive(Debug)]
pub(crate) struct Report {
    /// Of observations of no input.
    nowhere: Arc<Origin>,
    inputs: Vec<Arc<Origin>>,
    /// Other digests in each process: who sends does not know which facts would be taken for each other.
    hasher: RandomState,
    seen: FxHashSet<u64>,
    /// Parts of messages that were read already, see [`Sink::is_repeated`].
    told: Recent,
    /// Values of each field of each speaker, by their hash.
    values: FxHashMap<u64, u16>,
    spoken_for: FxHashMap<LinkId, u16>,
    /// By where they stand: a text at two places is kept twice.
    interned: FxHashMap<(usize, usize), Arc<str>>,
    names: FxHashMap<(LinkId, IpAddr), Arc<str>>,
    pub(crate) out: Vec<Observation>,
    /// Facts not reported because a bound was reached.
    pub(crate) refused: u64,
}

impl Report {
    pub(crate) fn new(site: SiteId, sensor: SensorId) -> Self {
        Self {
            nowhere: Arc::new(Origin { site, sensor, input: Arc::from("") }),
            inputs: Vec::new(),
            hasher: RandomState::default(),
            seen: FxHashSet::default(),
            told: Recent::new(TOLD),
            values: FxHashMap::default(),
            spoken_for: FxHashMap::default(),
            interned: FxHashMap::default(),
            names: FxHashMap::default(),
            out: Vec::new(),
            refused: 0,
        }
    }

    /// Registers an input; returns its number.
    pub(crate) fn input(&mut self, name: &str) -> u16 {
        self.inputs
            .push(Arc::new(Origin { input: Arc::from(name), ..Origin::clone(&self.nowhere) }));
        u16::try_from(self.inputs.len() - 1).unwrap_or(u16::MAX)
    }

    /// The shared text of a static name.
    pub(crate) fn intern(&mut self, name: &'static str) -> Arc<str> {
        let place = (name.as_ptr().addr(), name.len());
        Arc::clone(self.interned.entry(place).or_insert_with(|| Arc::from(name)))
    }

    /// Adds an observation as it is.
    pub(crate) fn push(&mut self, m: Moment, nth: u64, subject: Subject, fact: observation::Fact) {
        let origin = self.inputs.get(usize::from(m.input)).unwrap_or(&self.nowhere);
        self.out.push(Observation {
            v: observation::VERSION,
            origin: Arc::clone(origin),
            packet: m.packet,
            at: m.at,
            nth,
            subject,
            fact,
        });
    }

    /// True the first time it is asked about these things.
    pub(crate) fn first_time(&mut self, what: impl Hash) -> bool {
        self.seen.insert(self.hasher.hash_one(what))
    }

    /// The name `client` (or anybody) resolved to this address.
    pub(crate) fn name_of(&self, client: LinkId, ip: IpAddr) -> Option<Arc<str>> {
        self.names.get(&(client, ip)).or_else(|| self.names.get(&(0, ip))).cloned()
    }

    fn learn_name(&mut self, client: LinkId, ip: IpAddr, name: &str) {
        // Names are resolved again and again.
        let known = |who| self.names.get(&(who, ip)).is_some_and(|known| **known == *name);
        if known(0) && (client == 0 || known(client)) {
            return;
        }
        if self.names.len() < NAMES_MAX && !ip.is_unspecified() && !ip.is_loopback() {
            let name: Arc<str> = Arc::from(name);
            if client != 0 {
                self.names.insert((client, ip), Arc::clone(&name));
            }
            self.names.insert((0, ip), name);
        }
    }
}

/// A side of the packet at hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    pub(crate) link: LinkId,
    pub(crate) end: Endpoint,
}

impl Side {
    /// A host of the Internet behind a router: not a device of this estate.
    fn is_remote(&self, links: &Links) -> bool {
        let public = self
            .end
            .ip
            .is_some_and(|ip| !ip.is_unspecified() && !ip.is_multicast() && !is_private(ip));
        public && links.get(self.link).is_some_and(crate::links::Link::shows_internet)
    }

    /// Who it is, where the port does not matter.
    const fn who(&self) -> (LinkId, Mac, Option<IpAddr>) {
        (self.link, self.end.mac, self.end.ip)
    }
}

/// What dissectors of one message report to.
pub(crate) struct Desk<'s> {
    pub(crate) report: &'s mut Report,
    pub(crate) links: &'s mut Links,
    pub(crate) moment: Moment,
    pub(crate) src: Side,
    pub(crate) dst: Side,
    pub(crate) memory: &'s mut Vec<(u64, u64)>,
    pub(crate) server_name: &'s mut Option<Arc<str>>,
    /// Facts reported for this message.
    pub(crate) count: usize,
}

impl Desk<'_> {
    /// The subject, the link whose bounds count, and whether it is worth a fact.
    fn subject(&mut self, about: &About<'_>) -> Option<(Subject, LinkId)> {
        let side = |side: &Side, links: &Links| -> Option<(Subject, LinkId)> {
            let Endpoint { mac, ip, .. } = side.end;
            let ip = ip.filter(|ip| !ip.is_unspecified() && !ip.is_multicast());
            if side.is_remote(links) {
                return None;
            }
            if mac.is_unicast() {
                return Some((Subject::Link { mac, ip }, side.link));
            }
            ip.filter(|_| !mac.is_group()).map(|ip| (Subject::Host { ip }, side.link))
        };
        match about {
            About::Sender => side(&self.src, self.links),
            About::Receiver => side(&self.dst, self.links),
            About::Mac(mac) if *mac == self.src.end.mac => side(&self.src, self.links),
            About::Mac(mac) if mac.is_unicast() => {
                let count = self.report.spoken_for.entry(self.src.link).or_insert(0);
                let fresh = self.links.find(*mac) == 0;
                if fresh && *count >= SPOKEN_FOR_MAX {
                    self.flood();
                    return None;
                }
                if fresh && self.report.first_time((self.src.link, mac, "spoken for")) {
                    *self.report.spoken_for.entry(self.src.link).or_insert(0) += 1;
                }
                Some((Subject::Link { mac: *mac, ip: None }, self.src.link))
            }
            About::Mac(_) => None,
            About::Host(ip) => (!ip.is_unspecified() && !ip.is_multicast())
                .then_some((Subject::Host { ip: *ip }, self.src.link)),
            About::Child { via, key } => {
                let (parent, link) = side(&self.src, self.links)?;
                Some((self.child(parent, via, key), link))
            }
            About::ChildOfReceiver { via, key } => {
                let (parent, link) = side(&self.dst, self.links)?;
                Some((self.child(parent, via, key), link))
            }
        }
    }

    fn child(&mut self, parent: Subject, via: &'static str, key: &str) -> Subject {
        let via = self.report.intern(via);
        Subject::Child { parent: Box::new(parent), via, key: Arc::from(cut(key)) }
    }

    #[cold]
    fn flood(&mut self) {
        let mac = self.src.end.mac;
        if self.report.first_time((mac, "flood")) {
            let detail = format!("{mac} speaks for more than {SPOKEN_FOR_MAX} link addresses");
            let fact = observation::Fact::Event { kind: EventKind::Flood, detail: detail.into() };
            self.report.push(self.moment, 0, Subject::Link { mac, ip: None }, fact);
        }
        self.report.refused += 1;
    }

    #[cold]
    fn full(&mut self, link: LinkId, what: &str) {
        self.report.refused += 1;
        let mac = self.links.get(link).map_or(Mac::ZERO, |l| l.mac);
        if self.report.first_time((mac, what, "full")) {
            let fact = observation::Fact::Event {
                kind: EventKind::LimitReached,
                detail: Arc::from(format!("no more facts are kept about {mac}: {what}")),
            };
            self.report.push(self.moment, 0, Subject::Link { mac, ip: None }, fact);
        }
    }

    /// Reports a fact about a subject unless it is known or a bound is reached.
    fn tell(&mut self, subject: Subject, link: LinkId, fact: observation::Fact) {
        let nth = self.links.get(link).map_or(0, |l| l.packets);
        if let Some(entry) = self.links.get_mut(link).filter(|_| link != 0) {
            entry.facts += 1;
            if entry.facts > FACTS_PER_LINK_MAX {
                entry.facts = FACTS_PER_LINK_MAX;
                return self.full(link, "too many facts");
            }
        }
        self.report.push(self.moment, nth, subject, fact);
    }

    fn says(&mut self, about: &About<'_>, field: Field<'_>, value: &str) {
        let value = cut(value);
        if value.is_empty() {
            return;
        }
        let Some((subject, link)) = self.subject(about) else { return };
        if !self.report.first_time((&subject, field.name, field.key, value)) {
            return;
        }
        if !matches!(subject, Subject::Child { .. }) {
            let ip = match &subject {
                Subject::Link { ip, .. } => *ip,
                _ => None,
            };
            let place = self.report.hasher.hash_one((link, ip, field.name));
            let known = self.report.values.entry(place).or_insert(0);
            *known += 1;
            if *known > VALUES_PER_FIELD_MAX {
                *known = VALUES_PER_FIELD_MAX;
                return self.full(link, field.name);
            }
        }
        let name = match field.key {
            None => self.report.intern(field.name),
            Some(key) => Arc::from(format!("{}.{}", field.name, key.to_lowercase())),
        };
        self.tell(subject, link, observation::Fact::Says { field: name, value: Arc::from(value) });
    }
}

/// A field name, with the key of an open-ended one.
#[derive(Clone, Copy)]
struct Field<'a> {
    name: &'static str,
    key: Option<&'a str>,
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(FACT_VALUE_BYTES_MAX)).unwrap_or_default()
}

impl Sink for Desk<'_> {
    fn fact(&mut self, about: About<'_>, fact: Fact<'_>) {
        self.count += 1;
        if self.count > FACTS_PER_MESSAGE_MAX {
            self.report.refused += 1;
            return;
        }
        match fact {
            Fact::Says { field, value } => {
                self.says(&about, Field { name: field, key: None }, &value);
            }
            Fact::SaysKeyed { field, key, value } => {
                self.says(&about, Field { name: field, key: Some(cut(&key)) }, &value);
            }
            Fact::Identifier { field, kind, value } => {
                let Some((subject, link)) = self.subject(&about) else { return };
                if self.report.first_time((&subject, kind, cut(&value))) {
                    let field = self.report.intern(field);
                    let value = Arc::from(cut(&value));
                    let fact = observation::Fact::Identifier { field, kind, value };
                    self.tell(subject, link, fact);
                }
            }
            Fact::Bound { ip, how } => {
                let Some((subject, link)) = self.subject(&about) else { return };
                let period = self.moment.at.as_nanos().div_euclid(CLAIM_EVERY_NANOS);
                if self.report.first_time((&subject, ip, how, period)) {
                    self.tell(subject, link, observation::Fact::Bound { ip, how });
                }
            }
            Fact::Resolved { name, ip } => {
                self.report.learn_name(self.dst.link, ip, cut(&name));
            }
            Fact::ServerName { name } => {
                if self.server_name.is_none() && !name.is_empty() {
                    *self.server_name = Some(Arc::from(cut(&name)));
                }
            }
            Fact::Located { client, port, present } => {
                let Some((subject, link)) = self.subject(&about) else { return };
                if self.report.first_time((&subject, client, cut(&port), present)) {
                    let port = Arc::from(cut(&port));
                    self.tell(subject, link, observation::Fact::Located { client, port, present });
                }
            }
            Fact::Event { kind, detail } => {
                let Some((subject, link)) = self.subject(&about) else { return };
                if self.report.first_time((&subject, kind, cut(&detail))) {
                    let detail = Arc::from(cut(&detail));
                    self.tell(subject, link, observation::Fact::Event { kind, detail });
                }
            }
        }
    }

    fn remember(&mut self, key: u64, value: u64) {
        if let Some(entry) = self.memory.iter_mut().find(|(k, _)| *k == key) {
            entry.1 = value;
            return;
        }
        if self.memory.len() >= MEMORY_MAX {
            self.memory.remove(0);
        }
        self.memory.push((key, value));
    }

    fn recall(&mut self, key: u64) -> Option<u64> {
        self.memory.iter().find(|(k, _)| *k == key).map(|(_, v)| *v)
    }

    fn is_repeated(&mut self, what: &'static str, parts: &[&[u8]], to_anyone: bool) -> bool {
        let period = self.moment.at.as_nanos().div_euclid(CLAIM_EVERY_NANOS);
        let receiver = (!to_anyone).then(|| self.dst.who());
        self.report.told.again((self.src.who(), receiver, period, what, parts))
    }

    fn keeps_sender(&self) -> bool {
        !self.src.is_remote(self.links)
    }
}

#[cfg(test)]
mod tests {
    use dissect::frame::{Body, Packet};

    use super::*;
    use crate::links::Station;

    const DEVICE: Mac = Mac([0, 0x1b, 0x1b, 0, 0, 1]);
    const ROUTER: Mac = Mac([0, 0x1b, 0x1b, 0, 0, 2]);

    fn said(
        report: &mut Report,
        links: &mut Links,
        from: (Mac, &str),
        to: &str,
        secs: i64,
    ) -> bool {
        let side = |mac, ip: &str, links: &Links| Side {
            link: links.find(mac),
            end: Endpoint { mac, ip: ip.parse().ok(), port: 443 },
        };
        let (src, dst) = (side(from.0, from.1, links), side(Mac::BROADCAST, to, links));
        let moment = Moment { input: 0, packet: 1, at: Timestamp::from_secs(secs, 0) };
        let (memory, server_name) = (&mut Vec::new(), &mut None);
        let mut desk = Desk { report, links, moment, src, dst, memory, server_name, count: 0 };
        let sink: &mut dyn Sink = &mut desk;
        sink.said("hello", &[b"bytes"])
    }

    #[test]
    fn what_was_said_is_not_read_again_whoever_hears_it() {
        let mut report =
            Report::new(SiteId::new("site").unwrap(), SensorId::new("sensor").unwrap());
        let mut links = Links::new();
        let at = Timestamp::from_secs(0, 0);
        for src in [DEVICE, ROUTER] {
            let packet = Packet { src, dst: Mac::BROADCAST, vlan: None, body: Body::Opaque };
            links.sent(&packet, at, 60);
        }
        let device = (DEVICE, "10.0.0.7");
        assert!(!said(&mut report, &mut links, device, "10.0.0.1", 0));
        assert!(said(&mut report, &mut links, device, "10.0.0.2", 599), "to whomever");
        assert!(!said(&mut report, &mut links, device, "10.0.0.2", 600), "it forgets");
        assert!(!said(&mut report, &mut links, (DEVICE, "10.0.0.8"), "10.0.0.1", 600));

        let server = (ROUTER, "192.0.2.1");
        assert!(!said(&mut report, &mut links, server, "10.0.0.7", 600));
        for host in 1..=4 {
            let ip = IpAddr::from([192, 0, 2, host]);
            links.station(links.find(ROUTER), ip, Station::at(at));
        }
        // Behind a router are hosts of the Internet, of which nothing is kept.
        assert!(said(&mut report, &mut links, (ROUTER, "192.0.2.9"), "10.0.0.7", 600));
        assert!(!said(&mut report, &mut links, (ROUTER, "10.0.0.9"), "10.0.0.7", 600));
    }
}
