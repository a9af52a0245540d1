//! Multicast DNS and DNS service discovery (RFC 6762, RFC 6763).
//!
//! Only own records name the sender: the answers and additional records of a response, and the
//! records that a probe proposes for itself (§8.1). Questions and known answers name others. A
//! responder may speak for another host (sleep proxy, reflector): its records then lead to an
//! address that is not the sender's, and the facts are about that host.

use std::collections::BTreeSet;
use std::hash::{Hash as _, Hasher as _};
use std::net::IpAddr;

use model::Mac;
use model::observation::IdentifierKind;
use rustc_hash::FxHasher;

use super::dns_message::{Message, Name, Record, Section, join, kind};
use super::mdns_txt;
use crate::identity;
use crate::{About, Ctx, Fact, Malformed, Outcome, Reader, Sink, text};

const PORT: u16 = 5353;
/// Service types a client is reported to look for in one message.
const QUERIES_MAX: usize = 32;
/// EDNS option of the Bonjour sleep proxy: owner of the records.
const OPTION_OWNER: u16 = 4;

/// Reads one datagram.
pub(super) fn run(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let message = Message::read(payload)?;
    if message.opcode() != 0 {
        return Err(Malformed::NotMine);
    }
    if message.is_response() {
        // RFC 6762 §6: a response from another port, or with an error, is to be ignored.
        if ctx.src.port == PORT && message.rcode() == 0 {
            OwnRecords::new(&message, &[Section::Answer, Section::Additional], ctx).report(sink);
        }
    } else if ctx.dst.port == PORT {
        browse(&message, sink);
        if ctx.src.port == PORT {
            OwnRecords::new(&message, &[Section::Authority], ctx).report(sink);
        }
    }
    Ok(())
}

fn browse(message: &Message<'_>, sink: &mut dyn Sink) {
    let mut seen = BTreeSet::new();
    for question in message.questions.iter().filter(|q| q.kind == kind::PTR) {
        let Some(service) = Service::of(&question.name) else {
            continue;
        };
        if seen.len() < QUERIES_MAX && seen.insert(service.kind.clone()) {
            sink.says("mdns.query", service.kind);
        }
    }
}

/// A name of the form `instance._service._proto.local`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Service {
    /// `_hap._tcp`.
    kind: String,
    /// What stands before it, unless that is a subtype.
    instance: Option<String>,
}

impl Service {
    fn of(name: &Name<'_>) -> Option<Self> {
        let labels = name.local()?;
        let transport =
            |l: &&[u8]| l.eq_ignore_ascii_case(b"_tcp") || l.eq_ignore_ascii_case(b"_udp");
        let at = labels.iter().rposition(transport)?;
        let (before, own) = labels.split_at_checked(at.checked_sub(1)?)?;
        let mut kind = join(own.get(..2)?);
        kind.make_ascii_lowercase();
        let is_subtype = before.iter().any(|l| l.eq_ignore_ascii_case(b"_sub"));
        (kind.starts_with('_') && text::is_name(&kind)).then(|| Self {
            kind,
            instance: (!before.is_empty() && !is_subtype).then(|| join(before)),
        })
    }
}

/// The records of one message that its sender owns or speaks for.
struct OwnRecords<'m, 'a> {
    message: &'m Message<'a>,
    records: Vec<&'m Record<'a>>,
    ctx: &'m Ctx,
    /// Host names with their addresses.
    hosts: Vec<(&'m Name<'a>, Vec<IpAddr>)>,
    /// Instances with their hosts.
    targets: Vec<(&'m Name<'a>, Name<'a>)>,
    /// Link address that the sleep proxy's owner option names.
    owner: Option<Mac>,
}

impl<'m, 'a> OwnRecords<'m, 'a> {
    fn new(message: &'m Message<'a>, sections: &[Section], ctx: &'m Ctx) -> Self {
        let in_sections = |r: &&Record<'a>| sections.contains(&r.section);
        let mut own = Self {
            message,
            // A time to live of 0 withdraws a record (§10.1).
            records: (message.records.iter().filter(in_sections))
                .filter(|r| r.ttl > 0 || r.kind == kind::OPT)
                .collect(),
            ctx,
            hosts: Vec::new(),
            targets: Vec::new(),
            owner: None,
        };
        for record in &own.records {
            match record.kind {
                kind::A | kind::AAAA => {
                    match own.hosts.iter_mut().find(|(name, _)| name.is(&record.name)) {
                        Some((_, addresses)) => addresses.extend(record.address()),
                        None => {
                            own.hosts.push((&record.name, record.address().into_iter().collect()));
                        }
                    }
                }
                kind::SRV => {
                    if let Some(target) = message.name_in(record, 6) {
                        own.targets.push((&record.name, target));
                    }
                }
                kind::OPT => own.owner = owner(record.data),
                _ => {}
            }
        }
        own
    }

    /// Whose host this is. Addresses are compared within one family and scope only: a host
    /// answers over IPv6 with records of both families.
    fn host(&self, name: &Name<'_>) -> About<'static> {
        let known = self.hosts.iter().find(|(host, _)| host.is(name));
        self.owner_of(known.map(|(_, addresses)| addresses.as_slice()).unwrap_or_default())
    }

    /// Who has these addresses.
    fn owner_of(&self, addresses: &[IpAddr]) -> About<'static> {
        let Some(src) = self.ctx.src.ip else {
            return About::Sender;
        };
        if addresses.is_empty() || addresses.contains(&src) {
            return About::Sender;
        }
        let comparable = |ip: &&IpAddr| match (src, **ip) {
            (IpAddr::V4(_), IpAddr::V4(_)) => true,
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                a.is_unicast_link_local() == b.is_unicast_link_local()
            }
            _ => false,
        };
        match addresses.iter().find(comparable) {
            Some(ip) if identity::is_host(*ip) => self.owner.map_or(About::Host(*ip), About::Mac),
            _ => About::Sender,
        }
    }

    /// Whose instance this is: its host's, or without a SRV record that of the only host of the
    /// message, or the sender's when the message names no host.
    fn instance(&self, name: &Name<'_>) -> Option<About<'static>> {
        // The last of equal names counts.
        if let Some((_, target)) = self.targets.iter().rev().find(|(of, _)| of.is(name)) {
            return Some(self.host(target));
        }
        let mut hosts: Vec<_> = self.hosts.iter().map(|(_, ips)| self.owner_of(ips)).collect();
        if hosts.is_empty() || hosts.contains(&About::Sender) {
            return Some(About::Sender);
        }
        hosts.dedup();
        hosts.pop().filter(|_| hosts.is_empty())
    }

    fn report(&self, sink: &mut dyn Sink) {
        let mut seen = Seen::default();
        for record in &self.records {
            match record.kind {
                kind::A | kind::AAAA => self.address(record, &mut seen, sink),
                kind::SRV => {
                    let target = self.message.name_in(record, 6);
                    if let Some(target) = target {
                        let about = self.host(&target);
                        host_name(&target, &about, &mut seen, sink);
                    }
                    self.service(&record.name, &mut seen, sink);
                }
                kind::PTR => {
                    let Some(target) = self.message.name_in(record, 0) else {
                        continue;
                    };
                    // `_services._dns-sd._udp` lists service types, others list instances.
                    if !record.name.is_reverse() {
                        self.service(&target, &mut seen, sink);
                    }
                }
                kind::TXT => self.txt(record, sink),
                kind::HINFO => self.host_info(record, sink),
                _ => {}
            }
        }
        self.own_address(sink);
    }

    fn address(&self, record: &Record<'_>, seen: &mut Seen, sink: &mut dyn Sink) {
        let Some(ip) = record.address().filter(|ip| identity::is_host(*ip)) else {
            return;
        };
        let about = self.host(&record.name);
        host_name(&record.name, &about, seen, sink);
        let name = record.name.lower();
        if text::is_name(&name) {
            let name = name.into();
            sink.fact(about, Fact::Resolved { name, ip });
        }
    }

    fn service(&self, name: &Name<'_>, seen: &mut Seen, sink: &mut dyn Sink) {
        let Some(service) = Service::of(name) else {
            return;
        };
        let Some(about) = self.instance(name) else {
            return;
        };
        if seen.first(&about, "service", &[&service.kind]) {
            sink.about(about.clone(), "mdns.service", service.kind.as_str());
        }
        let Some(instance) = service.instance else {
            return;
        };
        if !seen.first(&about, "instance", &[&service.kind, &instance]) {
            return;
        }
        if let Some(mac) = mdns_txt::mac_in_instance(&service.kind, &instance) {
            let field = "mdns.instance";
            sink.identifier(about.clone(), field, IdentifierKind::Mac, mac.to_string());
        }
        sink.about(about, "mdns.instance", instance);
    }

    fn txt(&self, record: &Record<'_>, sink: &mut dyn Sink) {
        let Some(service) = Service::of(&record.name) else {
            return;
        };
        if let Some(about) = self.instance(&record.name) {
            mdns_txt::report(&service.kind, record.data, &about, sink);
        }
    }

    /// HINFO (RFC 1035 §3.3.2): Avahi tells processor and operating system.
    fn host_info(&self, record: &Record<'_>, sink: &mut dyn Sink) {
        let about = self.host(&record.name);
        let mut r = Reader::new(record.data);
        for field in ["mdns.hinfo_cpu", "mdns.hinfo_os"] {
            if let Ok(value) = r.u8().and_then(|n| r.take(usize::from(n))) {
                sink.about(about.clone(), field, text::clean(value));
            }
        }
    }

    /// The owner option of a host that speaks for itself names its primary interface, which may
    /// be another than the one it speaks from.
    fn own_address(&self, sink: &mut dyn Sink) {
        let is_own =
            self.hosts.iter().flat_map(|(_, ips)| ips).any(|ip| Some(*ip) == self.ctx.src.ip);
        if let Some(mac) = self.owner.filter(|mac| is_own && *mac != self.ctx.src.mac) {
            let field = "mdns.owner";
            sink.identifier(About::Sender, field, IdentifierKind::Mac, mac.to_string());
        }
    }
}

/// What one message reported already, as digests: responders repeat themselves in it.
#[derive(Default)]
struct Seen(Vec<u64>);

impl Seen {
    /// True the first time it is asked.
    fn first(&mut self, about: &About<'_>, what: &str, values: &[&str]) -> bool {
        let mut hasher = FxHasher::default();
        (about, what, values).hash(&mut hasher);
        let digest = hasher.finish();
        let fresh = !self.0.contains(&digest);
        if fresh {
            self.0.push(digest);
        }
        fresh
    }
}

fn host_name(name: &Name<'_>, about: &About<'_>, seen: &mut Seen, sink: &mut dyn Sink) {
    let Some(labels) = name.local() else { return };
    let host = join(labels);
    if seen.first(about, "host", &[&host]) {
        sink.about(about.clone(), "mdns.host", host);
    }
}

/// Primary link address in the owner option (draft-cheshire-edns0-owner-option §3).
fn owner(data: &[u8]) -> Option<Mac> {
    let mut r = Reader::new(data);
    while let (Ok(code), Ok(length)) = (r.u16_be(), r.u16_be()) {
        let value = r.take(usize::from(length)).ok()?;
        if code == OPTION_OWNER {
            let mut owner = Reader::new(value);
            owner.skip(2).ok()?; // version, sequence number
            return owner.array().ok().map(Mac).filter(|mac| mac.is_unicast());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::dns_message::build::{message, name, question, record, srv, txt};
    use super::*;
    use crate::Role;
    use crate::testing::{ctx, facts_of};

    const RESPONSE: u16 = 0x8400;
    const OWN: [u8; 4] = [192, 0, 2, 1];
    const OTHER: [u8; 4] = [192, 0, 2, 77];

    fn facts(bytes: &[u8], ports: (u16, u16)) -> String {
        facts_of(run, bytes, &ctx(ports.0, ports.1, Role::Unknown)).unwrap()
    }

    fn hue(address: &[u8]) -> Vec<u8> {
        let instance = "Philips hue - 2476ff._hap._tcp.local";
        message(
            RESPONSE,
            &[],
            [
                &[record("_hap._tcp.local", kind::PTR, &name(instance))],
                &[],
                &[
                    record(instance, kind::SRV, &srv("Philips-hue.local")),
                    record(instance, kind::TXT, &txt(&["md=BSB002", "id=AA:BB:CC:DD:EE:01"])),
                    record("Philips-hue.local", kind::A, address),
                ],
            ],
        )
    }

    #[test]
    fn own_records_name_the_sender() {
        assert_eq!(
            facts(&hue(&OWN), (5353, 5353)),
            "sender says mdns.service = _hap._tcp\n\
             sender says mdns.instance = Philips hue - 2476ff\n\
             sender says mdns.host = Philips-hue\n\
             sender says mdns.txt.md = BSB002\n\
             sender is VendorId hap:aa:bb:cc:dd:ee:01 (mdns.txt.id)\n\
             sender says mdns.txt.id = AA:BB:CC:DD:EE:01\n\
             sender resolves philips-hue.local = 192.0.2.1"
        );
        assert_eq!(facts(&hue(&OWN), (40000, 5353)), "", "not from the mDNS port");
    }

    #[test]
    fn a_proxy_is_not_the_host_it_speaks_for() {
        let text = facts(&hue(&OTHER), (5353, 5353));
        assert!(!text.contains("sender"), "{text}");
        assert!(text.contains("192.0.2.77 says mdns.txt.md = BSB002"));
        assert!(text.contains("192.0.2.77 says mdns.service = _hap._tcp"));
        // The owner option says whose records they are.
        let option = [&[0u8, 4, 0, 8, 0, 1][..], &[2, 0, 0, 0, 0, 0xaa]].concat();
        let asleep = message(
            RESPONSE,
            &[],
            [&[record("mac.local", kind::A, &OTHER)], &[], &[record("", kind::OPT, &option)]],
        );
        assert!(facts(&asleep, (5353, 5353)).starts_with("02:00:00:00:00:aa says mdns.host = mac"));
        let awake = message(
            RESPONSE,
            &[],
            [&[record("mac.local", kind::A, &OWN)], &[], &[record("", kind::OPT, &option)]],
        );
        assert!(
            facts(&awake, (5353, 5353)).ends_with("sender is Mac 02:00:00:00:00:aa (mdns.owner)")
        );
    }

    #[test]
    fn records_of_two_hosts_are_kept_apart() {
        let two = message(
            RESPONSE,
            &[],
            [
                &[
                    record("a._x._tcp.local", kind::SRV, &srv("one.local")),
                    record("b._x._tcp.local", kind::SRV, &srv("two.local")),
                    record("b._x._tcp.local", kind::TXT, &txt(&["m=2"])),
                    record("c._x._tcp.local", kind::TXT, &txt(&["m=3"])),
                ],
                &[],
                &[
                    record("one.local", kind::A, &[192, 0, 2, 78]),
                    record("two.local", kind::A, &OTHER),
                ],
            ],
        );
        let text = facts(&two, (5353, 5353));
        assert!(text.contains("192.0.2.77 says mdns.txt.m = 2"));
        assert!(text.contains("192.0.2.78 says mdns.instance = a"));
        assert!(!text.contains("= 3") && !text.contains("sender"), "{text}");
    }

    #[test]
    fn queries_say_what_is_looked_for_and_known_answers_nothing() {
        let query = message(
            0,
            &[
                question("_googlecast._tcp.local", kind::PTR),
                question("_universal._sub._ipp._tcp.local", kind::PTR),
                question("Philips-hue.local", kind::A),
            ],
            [&[record("_hap._tcp.local", kind::PTR, &name("x._hap._tcp.local"))], &[], &[]],
        );
        assert_eq!(
            facts(&query, (5353, 5353)),
            "sender says mdns.query = _googlecast._tcp\nsender says mdns.query = _ipp._tcp"
        );
        // A probe proposes records for the sender.
        let probe = message(
            0,
            &[question("plug.local", kind::ANY)],
            [&[], &[record("plug.local", kind::A, &OWN)], &[]],
        );
        assert_eq!(
            facts(&probe, (5353, 5353)),
            "sender says mdns.host = plug\nsender resolves plug.local = 192.0.2.1"
        );
    }

    #[test]
    fn withdrawn_records_and_host_info() {
        let mut bye = record("plug.local", kind::A, &OWN);
        let ttl = bye.len() - 4 - 2 - 4;
        bye[ttl..ttl + 4].fill(0);
        assert_eq!(facts(&message(RESPONSE, &[], [&[bye], &[], &[]]), (5353, 5353)), "");
        let info = record("pi.local", kind::HINFO, &txt(&["ARMV7L", "LINUX"]));
        assert_eq!(
            facts(&message(RESPONSE, &[], [&[info], &[], &[]]), (5353, 5353)),
            "sender says mdns.hinfo_cpu = ARMV7L\nsender says mdns.hinfo_os = LINUX"
        );
    }

    #[test]
    fn service_names() {
        let check = |text: &str, expect: Option<(&str, Option<&str>)>| {
            let bytes = name(text);
            let (name, _) = super::super::dns_message::name(&bytes, 0).unwrap();
            let got = Service::of(&name);
            let got = got.as_ref().map(|s| (s.kind.as_str(), s.instance.as_deref()));
            assert_eq!(got, expect, "{text}");
        };
        check("_HAP._tcp.local", Some(("_hap._tcp", None)));
        check("a b._hap._tcp.local", Some(("_hap._tcp", Some("a b"))));
        check("_v._sub._ipp._tcp.local", Some(("_ipp._tcp", None)));
        check("host.local", None);
        check("_tcp.local", None);
        check("x._hap._tcp.example", None);
    }
}
