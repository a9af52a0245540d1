//! The core beside a world that it cannot see: devices, upstreams and an enforcement point, in every order.

use super::*;
use hickory_proto::op::{Edns, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::svcb::{IpHint, Mandatory, SVCB, SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, HTTPS, SOA};
use model::DeviceId;
use model::observation::Transport;
use model::ruleset::{Class, Member, Mode, NamePermit, Ruleset, Terms};

mod orders;

fn ruleset(permits: &[(u32, &str, u16)]) -> Ruleset {
    let member = |n: u8, class: u32| Member {
        device: DeviceId::new(&format!("d{n}")).unwrap(),
        mac: model::Mac([2, 0, 0, 0, 0, n]),
        ip: IpAddr::from([10, 0, 0, n]),
        class: ClassId(class),
    };
    let class = |n: u32| (ClassId(n), Class { name: format!("zone/{n}"), mode: Mode::Enforce });
    Ruleset {
        generation: 1,
        parent: None,
        classes: [class(1), class(2)].into(),
        members: vec![member(1, 1), member(2, 2), member(3, 1)],
        peers: Vec::new(),
        permits: Vec::new(),
        exceptions: Vec::new(),
        names: permits
            .iter()
            .map(|(from, name, port)| NamePermit {
                from: ClassId(*from),
                name: (*name).to_owned(),
                transport: Transport::Tcp,
                first_port: *port,
                last_port: *port,
                rule: format!("r-{name}"),
                terms: Terms::default(),
            })
            .collect(),
        proposed: Vec::new(),
    }
}

fn policy(permits: &[(u32, &str, u16)]) -> Arc<Policy> {
    Arc::new(Policy::of(&ruleset(permits), BTreeSet::new()))
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn device(n: u8) -> Return {
    Return { peer: SocketAddr::from(([10, 0, 0, n], 40_000)), socket: 0, tcp: false }
}

fn question(id: u16, text: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(text), kind));
    message.to_vec().unwrap()
}

fn a(owner: &str, ttl: u32, ip: &str) -> Record {
    let data = match ip.parse().unwrap() {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    };
    Record::from_rdata(name(owner), ttl, data)
}

fn alias(owner: &str, ttl: u32, target: &str) -> Record {
    Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
}

fn soa(ttl: u32, minimum: u32) -> Record {
    let data = SOA::new(name("ns.example."), name("who.example."), 1, 2, 3, 4, minimum);
    Record::from_rdata(name("example."), ttl, RData::SOA(data))
}

/// An upstream's answer to what was sent to it.
fn answer(asked: &[u8], change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let asked = Message::from_vec(asked).unwrap();
    let mut message = Message::response(asked.metadata.id, OpCode::Query);
    message.add_queries(asked.queries.iter().cloned());
    change(&mut message);
    message.to_vec().unwrap()
}

/// A core with what it wanted last.
struct World {
    core: Core,
    now: u64,
    out: Vec<Action>,
}

impl World {
    fn new(permits: &[(u32, &str, u16)], change: impl FnOnce(&mut Settings)) -> Self {
        let upstreams = [1, 2].map(|n| SocketAddr::from(([192, 0, 2, n], 53)));
        let mut settings = Settings::new(upstreams.to_vec());
        change(&mut settings);
        Self { core: Core::new(settings, policy(permits), [7; 32]), now: 0, out: Vec::new() }
    }

    fn ask(&mut self, n: u8, id: u16, text: &str, kind: RecordType) {
        self.send(device(n), &question(id, text, kind));
    }

    fn send(&mut self, to: Return, bytes: &[u8]) {
        self.core.question(self.now, to, bytes, &mut self.out);
    }

    /// Takes the question to an upstream that must be out: number, upstream, TCP, bytes.
    fn asked(&mut self) -> (u64, u8, bool, Vec<u8>) {
        let at = self.out.iter().position(|a| matches!(a, Action::Ask { .. }));
        match at.map(|at| self.out.remove(at)) {
            Some(Action::Ask { ask, upstream: SocketAddr::V4(to), tcp, bytes }) => {
                (ask, to.ip().octets()[3], tcp, bytes)
            }
            _ => panic!("nothing is asked: {:?}", self.out),
        }
    }

    /// The upstream answers what must be out.
    fn upstream(&mut self, change: impl FnOnce(&mut Message)) {
        let (ask, _, _, bytes) = self.asked();
        let answer = answer(&bytes, change);
        self.core.heard(self.now, ask, &answer, &mut self.out);
    }

    fn upstream_says(&mut self, records: &[Record]) {
        let records = records.to_vec();
        self.upstream(|m| {
            m.add_answers(records);
        });
    }

    fn grant(&mut self) -> (Option<u64>, Grant) {
        let at = self.out.iter().position(|a| matches!(a, Action::PutInForce { .. }));
        match at.map(|at| self.out.remove(at)) {
            Some(Action::PutInForce { release, grant }) => (release, grant),
            _ => panic!("nothing is put in force: {:?}", self.out),
        }
    }

    fn reply(&mut self) -> Message {
        self.reply_if_any().unwrap_or_else(|| panic!("no reply: {:?}", self.out))
    }

    fn reply_if_any(&mut self) -> Option<Message> {
        let at = self.out.iter().position(|a| matches!(a, Action::Reply { .. }))?;
        match self.out.remove(at) {
            Action::Reply { bytes, .. } => Some(Message::from_vec(&bytes).unwrap()),
            _ => None,
        }
    }

    /// Puts in force, and takes the reply.
    fn released(&mut self) -> Message {
        assert_eq!(self.reply_if_any(), None, "released too early");
        let (release, _) = self.grant();
        self.core.acknowledged(self.now, release.unwrap(), Ok(()), &mut self.out);
        self.reply()
    }

    fn findings(&mut self) -> Vec<&'static str> {
        let kinds = self.out.iter().filter_map(|a| match a {
            Action::Tell(Event::Finding(finding)) => Some(finding.kind()),
            _ => None,
        });
        let kinds = kinds.collect();
        self.out.retain(|a| !matches!(a, Action::Tell(_)));
        kinds
    }

    fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.core.tick(self.now, &mut self.out);
    }
}

fn addresses(message: &Message) -> Vec<String> {
    message.answers.iter().filter_map(message::address).map(|ip| ip.to_string()).collect()
}

const CLOUD: &[(u32, &str, u16)] = &[(1, "api.cloud.example", 443)];

#[test]
fn failures_of_upstreams_reach_the_device_as_failures() {
    for (code, expect) in [
        (ResponseCode::ServFail, ResponseCode::ServFail),
        (ResponseCode::Refused, ResponseCode::ServFail),
        (ResponseCode::NotAuth, ResponseCode::ServFail),
    ] {
        let mut w = World::new(CLOUD, |_| {});
        w.ask(1, 5, "api.cloud.example.", RecordType::A);
        w.upstream(|m| m.metadata.response_code = code);
        assert_eq!(w.reply_if_any(), None, "the second upstream may know better");
        w.upstream(|m| m.metadata.response_code = code);
        let reply = w.reply();
        assert_eq!((reply.metadata.id, reply.metadata.response_code), (5, expect));
        assert!(w.findings().is_empty(), "it answered: it is not down");
    }
    let mut w = World::new(CLOUD, |_| {});
    w.ask(1, 5, "api.cloud.example.", RecordType::A);
    w.upstream(|m| {
        m.metadata.response_code = ResponseCode::NXDomain;
        m.add_authority(soa(900, 30));
    });
    let reply = w.reply();
    assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(reply.authorities.len(), 1);
    // Kept as long as the SOA says, and no longer.
    w.pass(29_000);
    w.ask(3, 6, "API.cloud.example.", RecordType::A);
    let reply = w.reply();
    assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(reply.authorities[0].ttl, 871);
    w.pass(1_000);
    w.ask(3, 7, "api.cloud.example.", RecordType::A);
    w.asked();
}

#[test]
fn silent_upstreams_are_left_for_others_and_an_outage_is_told_once() {
    let mut w = World::new(CLOUD, |_| {});
    w.ask(1, 5, "api.cloud.example.", RecordType::A);
    let mut order = Vec::new();
    for _ in 0..3 {
        order.push(w.asked().1);
        w.pass(1_500);
    }
    assert_eq!(order, [1, 2, 1]);
    let reply = w.reply();
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    w.now += 1_000;
    w.ask(1, 6, "api.cloud.example.", RecordType::A);
    for _ in 0..3 {
        w.asked();
        w.pass(1_500);
    }
    assert_eq!(w.findings(), ["dns-upstreams-down"]);
    w.reply();
    w.pass(1_000);
    w.ask(1, 7, "api.cloud.example.", RecordType::A);
    w.upstream_says(&[a("api.cloud.example.", 60, "203.0.113.1")]);
    assert_eq!(w.findings(), ["dns-upstreams-back"]);
    assert_eq!(addresses(&w.released()), ["203.0.113.1"]);
}

#[test]
fn what_cannot_be_put_in_force_is_withheld() {
    let mut w = World::new(CLOUD, |_| {});
    w.ask(1, 5, "api.cloud.example.", RecordType::A);
    w.upstream_says(&[a("api.cloud.example.", 60, "203.0.113.1")]);
    let (release, _) = w.grant();
    w.core.acknowledged(0, release.unwrap(), Err("table is full".to_owned()), &mut w.out);
    let reply = w.reply();
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert!(reply.answers.is_empty());
    assert_eq!(w.findings(), ["dns-not-in-force"]);
    // The enforcement point hangs: a failure after a while, and its late word releases nothing.
    w.ask(1, 6, "api.cloud.example.", RecordType::A);
    let (release, _) = w.grant();
    w.pass(3_000);
    assert_eq!(w.reply().metadata.response_code, ResponseCode::ServFail);
    w.core.acknowledged(w.now, release.unwrap(), Ok(()), &mut w.out);
    assert_eq!(w.reply_if_any(), None);
    assert_eq!(w.core.counts().withheld, 2);
}

#[test]
fn an_answer_leaves_after_its_addresses_are_in_force() {
    let mut w = World::new(&[(1, "api.cloud.example", 443), (1, "*.cloud.example", 8883)], |_| {});
    w.ask(1, 5, "Api.Cloud.example.", RecordType::A);
    w.upstream_says(&[
        a("api.cloud.example.", 30, "203.0.113.1"),
        a("api.cloud.example.", 300, "203.0.113.2"),
    ]);
    assert_eq!(w.reply_if_any(), None);
    let (release, grant) = w.grant();
    assert_eq!((grant.class, grant.name.as_str()), (ClassId(1), "api.cloud.example"));
    let opened: Vec<_> = grant
        .openings
        .iter()
        .map(|o| (o.address.to_string(), o.permit.first_port, o.timeout_s, o.permit.rule.as_str()))
        .collect();
    assert_eq!(
        opened,
        [
            ("203.0.113.1".to_owned(), 443, 120, "r-api.cloud.example"),
            ("203.0.113.2".to_owned(), 443, 360, "r-api.cloud.example"),
            ("203.0.113.1".to_owned(), 8883, 120, "r-*.cloud.example"),
            ("203.0.113.2".to_owned(), 8883, 360, "r-*.cloud.example"),
        ]
    );
    w.core.acknowledged(0, release.unwrap(), Ok(()), &mut w.out);
    let reply = w.reply();
    assert_eq!(reply.metadata.id, 5);
    assert!(reply.metadata.recursion_available);
    let owner = &reply.answers[0].name;
    assert!(owner.eq_ignore_root_case(&name("Api.Cloud.example.")), "{owner}");
    assert_eq!(addresses(&reply), ["203.0.113.1", "203.0.113.2"]);
}

#[test]
fn a_cache_hit_opens_again_and_never_shortens() {
    let permits = &[(1, "a.example", 443), (1, "b.example", 443), (2, "a.example", 443)];
    let mut w = World::new(permits, |_| {});
    let timeouts = |grant: &Grant| grant.openings.iter().map(|o| o.timeout_s).collect::<Vec<_>>();
    w.ask(1, 1, "a.example.", RecordType::A);
    w.upstream_says(&[a("a.example.", 1_000, "203.0.113.1")]);
    let (_, grant) = w.grant();
    assert_eq!(timeouts(&grant), [1_060]);
    w.now = 990_000;
    w.ask(1, 2, "a.example.", RecordType::A);
    assert_eq!(timeouts(&w.grant().1), [120], "ten seconds left: floor and grace");
    w.ask(2, 3, "a.example.", RecordType::A);
    let (_, grant) = w.grant();
    assert_eq!((grant.class, timeouts(&grant)), (ClassId(2), vec![120]));
    // Another name at the same address, living longer or shorter.
    w.ask(1, 4, "b.example.", RecordType::A);
    w.upstream_says(&[a("b.example.", 7_000, "203.0.113.1")]);
    assert_eq!(timeouts(&w.grant().1), [7_060]);
    w.ask(1, 5, "a.example.", RecordType::A);
    assert_eq!(timeouts(&w.grant().1), [7_060]);
    assert_eq!(w.core.counts().hits, 3);
    w.now = 1_000_000;
    w.ask(1, 6, "a.example.", RecordType::A);
    w.asked();
}

#[test]
fn the_name_that_was_asked_decides_for_all_at_the_end_of_its_aliases() {
    let mut w = World::new(&[(1, "www.shop.example", 443)], |_| {});
    w.ask(1, 1, "www.shop.example.", RecordType::AAAA);
    w.upstream_says(&[
        a("edge.cdn.example.", 20, "2001:db8::2"),
        alias("lb.cdn.example.", 500, "edge.cdn.example."),
        alias("www.shop.example.", 400, "lb.cdn.example."),
        a("edge.cdn.example.", 20, "2001:db8::1"),
        a("other.example.", 20, "2001:db8::666"),
        a("www.shop.example.", 20, "2001:db8::667"),
    ]);
    assert_eq!(addresses(&w.released()), ["2001:db8::2", "2001:db8::1"]);
    // The end of the alias is no policy name: asked by itself it opens nothing.
    w.ask(1, 2, "edge.cdn.example.", RecordType::AAAA);
    w.upstream_says(&[a("edge.cdn.example.", 20, "2001:db8::3")]);
    assert_eq!(addresses(&w.reply()), ["2001:db8::3"]);
    assert!(!w.out.iter().any(|a| matches!(a, Action::PutInForce { .. })));
}

#[test]
fn aliases_an_upstream_leaves_open_are_followed_and_circles_end() {
    let mut w = World::new(&[(1, "www.shop.example", 443)], |_| {});
    w.ask(1, 1, "www.shop.example.", RecordType::A);
    w.upstream_says(&[alias("www.shop.example.", 400, "lb.cdn.example.")]);
    w.upstream_says(&[alias("lb.cdn.example.", 400, "edge.cdn.example.")]);
    w.upstream_says(&[a("edge.cdn.example.", 20, "203.0.113.1")]);
    let reply = w.released();
    assert_eq!((reply.answers.len(), addresses(&reply)), (3, vec!["203.0.113.1".to_owned()]));
    for circle in [
        vec![
            alias("www.shop.example.", 1, "b.example."),
            alias("b.example.", 1, "www.shop.example."),
        ],
        vec![alias("www.shop.example.", 1, "www.shop.example.")],
    ] {
        let mut w = World::new(&[(1, "www.shop.example", 443)], |_| {});
        w.ask(1, 1, "www.shop.example.", RecordType::A);
        w.upstream_says(&circle);
        assert_eq!(w.reply().metadata.response_code, ResponseCode::ServFail);
        assert_eq!(w.findings(), ["dns-alias-loop"]);
    }
    // A circle in single steps.
    let mut w = World::new(&[(1, "www.shop.example", 443)], |_| {});
    w.ask(1, 1, "www.shop.example.", RecordType::A);
    w.upstream_says(&[alias("www.shop.example.", 1, "b.example.")]);
    w.upstream_says(&[alias("b.example.", 1, "www.shop.example.")]);
    assert_eq!(w.reply().metadata.response_code, ResponseCode::ServFail);
    // An endless row of names.
    let mut w = World::new(&[(1, "n0.example", 443)], |s| s.give_up_ms = u64::MAX);
    w.ask(1, 1, "n0.example.", RecordType::A);
    for n in 0..40 {
        let (here, there) = (format!("n{n}.example."), format!("n{}.example.", n + 1));
        w.upstream_says(&[alias(&here, 1, &there)]);
        if let Some(reply) = w.reply_if_any() {
            assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
            assert!(n <= message::ALIASES_MAX, "{n}");
            return;
        }
    }
    panic!("never ended");
}

#[test]
fn guesses_are_not_believed_and_lead_to_tcp() {
    let mut w = World::new(CLOUD, |_| {});
    w.ask(1, 1, "api.cloud.example.", RecordType::A);
    let (ask, _, tcp, bytes) = w.asked();
    assert!(!tcp);
    let good = answer(&bytes, |m| {
        m.add_answer(a("api.cloud.example.", 9, "203.0.113.1"));
    });
    let mut wrong_id = good.clone();
    wrong_id[0] ^= 1;
    let other_name =
        question(u16::from_be_bytes([bytes[0], bytes[1]]), "x.example.", RecordType::A);
    let mut other_name = answer(&other_name, |_| {});
    other_name[2] |= 0x80;
    for guess in [&wrong_id, &other_name, &bytes, &Vec::new()] {
        w.core.heard(0, ask, guess, &mut w.out);
        assert_eq!(w.reply_if_any(), None);
    }
    w.core.heard(0, ask, &wrong_id, &mut w.out);
    assert_eq!(w.findings(), ["dns-guessed-answers"]);
    let (same, upstream, tcp, bytes) = w.asked();
    assert_eq!((same, upstream, tcp), (ask, 1, true));
    let answer = answer(&bytes, |m| {
        m.add_answer(a("api.cloud.example.", 9, "203.0.113.9"));
    });
    w.core.heard(0, ask, &answer, &mut w.out);
    assert_eq!(addresses(&w.released()), ["203.0.113.9"]);
}

#[test]
fn ids_and_spellings_differ_from_question_to_question() {
    let mut w = World::new(CLOUD, |s| s.rate_per_s = 100_000);
    let mut seen = BTreeSet::new();
    for n in 0..64 {
        w.ask(1, 1, &format!("a-rather-long-name-{n}.with-many-letters.example."), RecordType::A);
        let (_, _, _, bytes) = w.asked();
        let message = Message::from_vec(&bytes).unwrap();
        let spelling = message.queries[0].name().to_ascii();
        assert!(spelling.bytes().any(|b| b.is_ascii_uppercase()), "{spelling}");
        assert!(spelling.bytes().any(|b| b.is_ascii_lowercase()), "{spelling}");
        assert_eq!(message.max_payload(), message::PAYLOAD);
        seen.insert(message.metadata.id);
        w.out.clear();
    }
    assert!(seen.len() > 60);
}

#[test]
fn an_upstream_that_changes_the_spelling_is_asked_over_tcp() {
    let mut w = World::new(CLOUD, |_| {});
    w.ask(1, 1, "api.cloud.example.", RecordType::A);
    let lower = |m: &mut Message| {
        let query = Query::query(name("api.cloud.example."), RecordType::A);
        m.queries = vec![query];
        m.add_answer(a("api.cloud.example.", 9, "203.0.113.1"));
    };
    w.upstream(lower);
    assert_eq!(w.reply_if_any(), None);
    w.upstream(lower);
    assert_eq!(addresses(&w.released()), ["203.0.113.1"]);
}

#[test]
fn a_cut_answer_is_asked_again_over_tcp_and_cut_for_the_device() {
    let many: Vec<Record> =
        (0..100).map(|n| a("api.cloud.example.", 60, &format!("203.0.113.{n}"))).collect();
    let mut w = World::new(CLOUD, |_| {});
    w.ask(1, 1, "api.cloud.example.", RecordType::A);
    w.upstream(|m| m.metadata.truncation = true);
    let (ask, _, tcp, bytes) = w.asked();
    assert!(tcp);
    let whole = answer(&bytes, |m| {
        m.add_answers(many.clone());
    });
    w.core.heard(0, ask, &whole, &mut w.out);
    let reply = w.released();
    assert!(reply.metadata.truncation && reply.answers.is_empty());
    let tcp = Return { tcp: true, ..device(1) };
    w.send(tcp, &question(2, "api.cloud.example.", RecordType::A));
    let reply = w.released();
    assert_eq!((reply.metadata.truncation, reply.answers.len()), (false, 100));
    // A device that takes more over UDP gets as much, up to what fits in one frame.
    let mut edns = Message::from_vec(&question(3, "api.cloud.example.", RecordType::A)).unwrap();
    edns.set_edns({
        let mut edns = Edns::new();
        edns.set_max_payload(4_096);
        edns
    });
    let mut w = World::new(CLOUD, |_| {});
    w.send(device(1), &edns.to_vec().unwrap());
    w.upstream_says(&many[..60]);
    let reply = w.released();
    assert_eq!((reply.metadata.truncation, reply.answers.len()), (false, 60));
    assert_eq!(reply.edns.unwrap().max_payload(), message::PAYLOAD);
}

#[test]
fn a_name_that_points_inwards_opens_nothing() {
    let check = |ip: &str, inside: &[(&str, &str)], opens: bool| {
        let mut w = World::new(CLOUD, |s| {
            s.site = vec![("203.0.113.0".parse().unwrap(), 24)];
        });
        let mut policy = Policy::of(&ruleset(CLOUD), BTreeSet::new());
        for (name, ip) in inside {
            policy.add_inside(name, &[ip.parse().unwrap()]);
        }
        w.core.set_policy(w.now, Arc::new(policy), &mut w.out);
        w.ask(1, 1, "api.cloud.example.", RecordType::A);
        w.upstream_says(&[
            a("api.cloud.example.", 60, ip),
            a("api.cloud.example.", 60, "198.51.100.1"),
        ]);
        let reply = w.released();
        let both = addresses(&reply).contains(&ip.to_owned());
        assert_eq!(both, opens, "{ip} {inside:?}: {:?}", addresses(&reply));
        assert_eq!(w.findings().is_empty(), opens);
    };
    check("10.9.9.9", &[], false);
    check("10.0.0.2", &[], false);
    check("127.0.0.1", &[], false);
    check("203.0.113.77", &[], false);
    // The site itself has the name, and only where it has it.
    check("10.9.9.9", &[("api.cloud.example", "10.9.9.9")], true);
    check("10.9.9.9", &[("*.cloud.example", "10.9.9.9")], true);
    check("10.9.9.9", &[("api.cloud.example", "10.9.9.8")], false);
    check("10.9.9.9", &[("cloud.example", "10.9.9.9")], false);
    check("10.9.9.9", &[("*.oud.example", "10.9.9.9")], false);
    check("10.0.0.2", &[("api.cloud.example", "10.0.0.2")], true);
    check("198.51.100.2", &[], true);
    let mut w = World::new(CLOUD, |_| {});
    w.ask(1, 1, "api.cloud.example.", RecordType::A);
    w.upstream_says(&[a("api.cloud.example.", 60, "10.9.9.9")]);
    assert_eq!(w.reply().metadata.response_code, ResponseCode::ServFail);
    assert_eq!(w.findings(), ["dns-rebinding"]);
}

#[test]
fn a_name_with_too_many_addresses_is_capped_aloud() {
    let mut w = World::new(CLOUD, |s| s.addresses_max = 3);
    let at = |n: u32| a("api.cloud.example.", 1, &format!("203.0.113.{n}"));
    w.ask(1, 1, "api.cloud.example.", RecordType::A);
    w.upstream_says(&[at(1), at(2)]);
    assert_eq!(addresses(&w.released()).len(), 2);
    w.pass(2_000);
    w.ask(1, 2, "api.cloud.example.", RecordType::A);
    w.upstream_says(&[at(2), at(3), at(4), at(5)]);
    assert_eq!(w.findings(), ["dns-too-many-addresses"]);
    assert_eq!(addresses(&w.released()), ["203.0.113.2", "203.0.113.3"]);
    w.pass(2_000);
    w.ask(1, 3, "api.cloud.example.", RecordType::A);
    w.upstream_says(&[at(6)]);
    assert_eq!(w.reply().metadata.response_code, ResponseCode::ServFail);
    // What is over makes room.
    w.pass(121_000);
    w.ask(1, 4, "api.cloud.example.", RecordType::A);
    w.upstream_says(&[at(6)]);
    assert_eq!(addresses(&w.released()), ["203.0.113.6"]);
}

#[test]
fn bounds_of_names_and_paths_are_told() {
    for (names_max, paths_max) in [(2, 1_000), (1_000, 2)] {
        let mut w = World::new(&[(1, "*.example", 443)], |s| {
            s.names_max = names_max;
            s.paths_max = paths_max;
        });
        for n in 1..=3 {
            let asked = format!("n{n}.example.");
            w.ask(1, n, &asked, RecordType::A);
            w.upstream_says(&[a(&asked, 60, &format!("203.0.113.{n}"))]);
            if n < 3 {
                w.released();
            }
        }
        assert_eq!(w.reply().metadata.response_code, ResponseCode::ServFail);
        assert_eq!(w.findings(), ["dns-too-many-names"]);
    }
}

#[test]
fn strangers_floods_and_refused_names() {
    let mut w = World::new(CLOUD, |s| {
        s.burst = 3;
        s.rate_per_s = 1;
    });
    w.ask(9, 1, "api.cloud.example.", RecordType::A);
    assert_eq!(w.reply().metadata.response_code, ResponseCode::Refused);
    assert!(w.out.is_empty(), "a stranger is not forwarded: {:?}", w.out);
    for n in 0..5 {
        w.ask(1, n, &format!("n{n}.example."), RecordType::A);
    }
    let asks = w.out.iter().filter(|a| matches!(a, Action::Ask { .. })).count();
    assert_eq!(asks, 3);
    assert_eq!(w.reply().metadata.response_code, ResponseCode::Refused);
    assert_eq!(w.findings(), ["dns-flood"]);
    w.out.clear();
    w.pass(1_000);
    w.ask(1, 9, "again.example.", RecordType::A);
    w.asked();
    // A zone that refuses what policy does not know still gets what it knows.
    let refusing = Policy::of(&ruleset(CLOUD), [ClassId(1)].into());
    w.core.set_policy(w.now, Arc::new(refusing), &mut w.out);
    w.out.clear();
    w.pass(2_000);
    w.out.clear();
    w.ask(1, 10, "evil.example.", RecordType::A);
    let told = w.out.iter().any(|a| {
        matches!(a, Action::Tell(Event::Asked(asked))
            if asked.outcome == Outcome::Refused && asked.name == "evil.example")
    });
    assert!(told, "{:?}", w.out);
    assert_eq!(w.reply().metadata.response_code, ResponseCode::Refused);
    w.ask(1, 11, "api.cloud.example.", RecordType::A);
    w.asked();
}

#[test]
fn open_questions_are_bounded() {
    let mut w = World::new(CLOUD, |s| {
        s.open_per_device_max = 2;
        s.open_max = 3;
    });
    for n in 0..3 {
        w.ask(1, n, &format!("n{n}.example."), RecordType::A);
    }
    assert_eq!(w.reply().metadata.response_code, ResponseCode::Refused);
    w.ask(2, 7, "x.example.", RecordType::A);
    w.ask(3, 8, "y.example.", RecordType::A);
    assert_eq!(w.reply().metadata.response_code, ResponseCode::ServFail);
    assert_eq!(w.findings(), ["dns-flood", "dns-busy"]);
    w.out.clear();
    w.pass(1_500);
    w.pass(1_500);
    w.pass(1_500);
    w.out.clear();
    assert_eq!((w.core.open, w.core.open_of.len(), w.core.asks.len()), (0, 0, 0));
}

#[test]
fn who_asks_the_same_joins_and_each_gets_its_own_answer() {
    let mut w = World::new(&[(1, "a.example", 443)], |_| {});
    w.ask(1, 11, "a.example.", RecordType::A);
    w.ask(2, 12, "A.example.", RecordType::A);
    let asks = w.out.iter().filter(|a| matches!(a, Action::Ask { .. })).count();
    assert_eq!(asks, 1);
    w.upstream_says(&[a("a.example.", 60, "203.0.113.1")]);
    // The second is in a class that policy gives nothing: it is answered, and nothing opens.
    let reply = w.reply();
    assert_eq!((reply.metadata.id, addresses(&reply).len()), (12, 1));
    assert_eq!(w.released().metadata.id, 11);
}

#[test]
fn hints_of_service_records_are_taken_out() {
    let record = |target: &str, params| {
        let svcb = SVCB::new(1, name(target), params);
        Record::from_rdata(name("api.cloud.example."), 60, RData::HTTPS(HTTPS(svcb)))
    };
    let hints = || {
        vec![
            (
                SvcParamKey::Mandatory,
                SvcParamValue::Mandatory(Mandatory(vec![SvcParamKey::Ipv4Hint])),
            ),
            (SvcParamKey::Port, SvcParamValue::Port(8443)),
            (
                SvcParamKey::Ipv4Hint,
                SvcParamValue::Ipv4Hint(IpHint(vec![A("203.0.113.9".parse().unwrap())])),
            ),
        ]
    };
    let mut w = World::new(CLOUD, |_| {});
    w.ask(1, 1, "api.cloud.example.", RecordType::HTTPS);
    w.upstream(|m| {
        m.add_answer(record(".", hints()));
        m.add_answer(record("elsewhere.example.", hints()));
        m.add_additional(a("api.cloud.example.", 60, "203.0.113.9"));
    });
    let reply = w.reply();
    let [only] = &reply.answers[..] else { panic!("{:?}", reply.answers) };
    let RData::HTTPS(https) = &only.data else { panic!("{only:?}") };
    assert_eq!(https.0.svc_params, [(SvcParamKey::Port, SvcParamValue::Port(8443))]);
    assert!(reply.additionals.is_empty());
}

#[test]
fn other_kinds_pass_through() {
    let mut w = World::new(CLOUD, |_| {});
    w.ask(1, 1, "1.113.0.203.in-addr.arpa.", RecordType::PTR);
    let target = hickory_proto::rr::rdata::PTR(name("host.example."));
    let record = Record::from_rdata(name("1.113.0.203.in-addr.arpa."), 60, RData::PTR(target));
    w.upstream_says(std::slice::from_ref(&record));
    assert_eq!(w.reply().answers, [record]);
}

#[test]
fn messages_that_are_no_questions() {
    let check = |bytes: &[u8], expect: Option<ResponseCode>| {
        let mut w = World::new(CLOUD, |_| {});
        w.send(device(1), bytes);
        let code = w.reply_if_any().map(|m| m.metadata.response_code);
        assert_eq!(code, expect, "{bytes:?}");
        assert!(!w.out.iter().any(|a| matches!(a, Action::Ask { .. })));
    };
    let good = question(1, "api.cloud.example.", RecordType::A);
    let mut response = good.clone();
    response[2] |= 0x80;
    let mut update = good.clone();
    update[2] = 5 << 3;
    let mut two = Message::from_vec(&good).unwrap();
    two.add_query(Query::query(name("b.example."), RecordType::A));
    let mut chaos = Message::from_vec(&question(1, "version.bind.", RecordType::TXT)).unwrap();
    chaos.queries[0].set_query_class(hickory_proto::rr::DNSClass::CH);
    let mut edns = Message::from_vec(&good).unwrap();
    let mut options = Edns::new();
    options.set_version(1);
    edns.set_edns(options);
    check(&[], None);
    check(&good[..11], None);
    check(&response, None);
    check(&good[..20], Some(ResponseCode::FormErr));
    check(&update, Some(ResponseCode::NotImp));
    check(&two.to_vec().unwrap(), Some(ResponseCode::FormErr));
    check(&chaos.to_vec().unwrap(), Some(ResponseCode::Refused));
    check(&edns.to_vec().unwrap(), Some(ResponseCode::BADSIG)); // 16: BADVERS here (RFC 6891 §9)
    check(&question(1, "example.", RecordType::AXFR), Some(ResponseCode::Refused));
    check(&question(1, "example.", RecordType::ANY), Some(ResponseCode::Refused));
}

#[test]
fn a_server_without_edns_is_asked_without() {
    let mut w = World::new(CLOUD, |_| {});
    w.ask(1, 1, "api.cloud.example.", RecordType::A);
    let (ask, _, _, bytes) = w.asked();
    let mut refusal = bytes[..12].to_vec();
    refusal[2] |= 0x80;
    refusal[3] = 1;
    refusal[4..12].fill(0);
    w.core.heard(0, ask, &refusal, &mut w.out);
    let (ask, upstream, _, bytes) = w.asked();
    assert_eq!(upstream, 1);
    assert_eq!(Message::from_vec(&bytes).unwrap().edns, None);
    let answer = answer(&bytes, |m| {
        m.add_answer(a("api.cloud.example.", 9, "203.0.113.1"));
    });
    w.core.heard(0, ask, &answer, &mut w.out);
    assert_eq!(addresses(&w.released()), ["203.0.113.1"]);
}

#[test]
fn a_new_policy_opens_what_is_alive_and_releases_nothing_of_the_old() {
    let mut w = World::new(&[(1, "a.example", 443)], |_| {});
    w.ask(1, 1, "a.example.", RecordType::A);
    w.upstream_says(&[a("a.example.", 600, "203.0.113.1")]);
    w.released();
    w.now = 60_000;
    w.ask(3, 2, "a.example.", RecordType::A);
    let (old, _) = w.grant();
    // Classes are numbered anew, and the port is another.
    let mut other = ruleset(&[(2, "a.example", 8443)]);
    for member in &mut other.members {
        member.class = ClassId(3 - member.class.0);
    }
    let other = Arc::new(Policy::of(&other, BTreeSet::new()));
    w.core.set_policy(w.now, other, &mut w.out);
    w.core.acknowledged(w.now, old.unwrap(), Ok(()), &mut w.out);
    assert_eq!(w.reply_if_any(), None, "acknowledged under the old policy");
    let (again, grant) = w.grant();
    assert_eq!((grant.class, grant.openings[0].permit.first_port), (ClassId(2), 8443));
    let (nobody, grant) = w.grant();
    assert_eq!((nobody, grant.class, grant.name.as_str()), (None, ClassId(2), "a.example"));
    assert_eq!((grant.openings[0].permit.first_port, grant.openings[0].timeout_s), (8443, 600));
    w.core.acknowledged(w.now, again.unwrap(), Ok(()), &mut w.out);
    assert_eq!(w.reply().metadata.id, 2);
    // A policy without the name opens nothing.
    w.core.set_policy(w.now, policy(&[]), &mut w.out);
    assert!(!w.out.iter().any(|a| matches!(a, Action::PutInForce { .. })));
}

#[test]
fn a_restart_opens_what_devices_still_hold() {
    let mut w = World::new(&[(1, "a.example", 443)], |_| {});
    w.ask(1, 1, "a.example.", RecordType::A);
    w.upstream_says(&[a("a.example.", 600, "203.0.113.1")]);
    w.released();
    w.now = 100_000;
    let live = w.core.live(w.now);
    let mut fresh = World::new(&[(1, "a.example", 443)], |_| {});
    fresh.core.restore(5, live.clone(), &mut fresh.out);
    let (release, grant) = fresh.grant();
    assert_eq!((release, grant.class), (None, ClassId(1)));
    assert_eq!(grant.openings[0].timeout_s, 560);
    assert_eq!(fresh.core.live(5), live);
    assert!(w.core.live(660_000).is_empty());
}
