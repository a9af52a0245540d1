use std::collections::BTreeMap;
use std::net::IpAddr;

use model::observation::Transport;
use model::ruleset::{Class, ClassId, Exception, Member, Mode, Peer, Permit, Ruleset, Terms};
use model::{DeviceId, Mac, Timestamp};

use super::sets::disjoint;
use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn member(device: &str, mac: &str, at: &str, class: u32) -> Member {
    let mac: Mac = mac.parse().unwrap();
    Member { device: DeviceId::new(device).unwrap(), mac, ip: ip(at), class: ClassId(class) }
}

fn peer(net: &str, class: u32) -> Peer {
    let (at, prefix) = net.split_once('/').unwrap();
    Peer { ip: ip(at), prefix: prefix.parse().unwrap(), class: ClassId(class) }
}

fn permit(from: u32, to: u32, transport: Transport, ports: (u16, u16), rule: &str) -> Permit {
    Permit {
        from: ClassId(from),
        to: ClassId(to),
        transport,
        first_port: ports.0,
        last_port: ports.1,
        rule: rule.to_owned(),
        terms: Terms::default(),
    }
}

fn class(name: &str, mode: Mode) -> Class {
    Class { name: name.to_owned(), mode }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + seconds, 0)
}

/// A little of everything.
fn sample() -> Ruleset {
    Ruleset {
        generation: 7,
        parent: Some(6),
        classes: BTreeMap::from([
            (ClassId(1), class("zone/cameras", Mode::Enforce)),
            (ClassId(2), class("zone/\"recorders\"", Mode::Shadow)),
            (ClassId(3), class("service/internet", Mode::Enforce)),
        ]),
        members: vec![
            member("camera-1", "ac:cc:8e:01:02:03", "10.77.0.21", 1),
            member("camera-1", "ac:cc:8e:01:02:03", "fd00::21", 1),
            member("nvr-1", "00:11:32:01:02:03", "10.77.0.31", 2),
        ],
        peers: vec![peer("0.0.0.0/0", 3), peer("203.0.113.10/32", 2), peer("2001:db8::/32", 3)],
        permits: vec![
            permit(2, 1, Transport::Tcp, (554, 554), "nvr-pulls-rtsp"),
            permit(2, 1, Transport::Tcp, (80, 80), "nvr-pulls-stills"),
            permit(2, 1, Transport::Udp, (6970, 6999), "rtp"),
            permit(2, 1, Transport::Udp, (6990, 7010), "rtp-more"),
            permit(1, 3, Transport::Udp, (123, 123), "ntp"),
            permit(1, 2, Transport::Icmp, (0, u16::MAX), "ping"),
            permit(1, 2, Transport::Link, (0x88cc, 0x88cc), "lldp"),
        ],
        exceptions: vec![
            Exception {
                from: ip("10.77.0.21"),
                to: ip("198.51.100.7"),
                transport: Transport::Tcp,
                port: 443,
                expires: at(3600),
                name: "vendor-visit".to_owned(),
            },
            Exception {
                from: ip("10.77.0.21"),
                to: ip("198.51.100.8"),
                transport: Transport::Tcp,
                port: 443,
                expires: at(-1),
                name: "over".to_owned(),
            },
        ],
        names: Vec::new(),
        proposed: Vec::new(),
    }
}

fn options() -> Options {
    Options {
        ports: vec!["v-*".to_owned()],
        site: vec![(ip("10.77.0.0"), 24)],
        ..Options::new("br0", at(0))
    }
}

#[test]
fn text_of_a_little_of_everything() {
    insta::assert_snapshot!(crate::render(&sample(), &options()).unwrap());
}

#[test]
fn contradictions_are_refused_with_their_reason() {
    let check = |change: &dyn Fn(&mut Ruleset, &mut Options), expect: &str| {
        let (mut ruleset, mut options) = (sample(), options());
        change(&mut ruleset, &mut options);
        let said = Plan::new(&ruleset, &options).unwrap_err().to_string();
        assert!(said.contains(expect), "{said}");
    };
    check(&|_, o| o.table = "x; flush ruleset".into(), "cannot be a table name");
    check(&|_, o| o.table = "7up".into(), "cannot be a table name");
    check(&|_, o| o.interfaces = vec!["br0\" accept".into()], "cannot be an interface name");
    check(&|_, o| o.interfaces.clear(), "no interface is named");
    check(&|_, o| o.ports = vec!["*".into()], "cannot be a port name");
    check(&|_, o| o.site = vec![(ip("10.0.0.0"), 33)], "/33 is too long");
    check(&|r, _| r.peers[0].prefix = 64, "/64 is too long");
    check(&|r, _| r.members[0].class = ClassId(9), "device camera-1 refers to class 9");
    check(&|r, _| r.permits[0].to = ClassId(9), "rule `nvr-pulls-rtsp` refers to class 9");
    check(&|r, _| r.permits[0].first_port = 555, "the first is after the last");
    check(&|r, _| r.members[0].mac = Mac::BROADCAST, "cannot be the link address");
    check(&|r, _| r.members[2].ip = ip("10.77.0.21"), "one class");
    check(&|r, _| r.peers.push(peer("0.0.0.0/0", 1)), "0.0.0.0/0 is in class 3 and in class 1");
    check(&|r, _| r.exceptions[0].to = ip("::1"), "one is IPv4, the other IPv6");
    check(
        &|r, _| drop(r.classes.insert(ClassId(0), class("x", Mode::Enforce))),
        "class number 0 is reserved",
    );
}

#[test]
fn the_more_specific_prefix_wins_and_nobody_owns_groups_or_the_site() {
    let check = |peers: &[(&str, u32)], expect: &[&str]| {
        let mut ruleset = sample();
        ruleset.peers = peers.iter().map(|(net, class)| peer(net, *class)).collect();
        let plan = Plan::new(&ruleset, &options()).unwrap();
        let spans: Vec<_> = plan
            .sets()
            .filter(|(family, set)| *family == "inet" && set.name.starts_with("peer"))
            .flat_map(|(_, set)| set.elements.iter().map(move |element| (set, element)))
            .map(|(set, element)| {
                let key = super::key::key_text(set.key, element.key, element.end, true);
                let super::Value::Mark(class) = element.value else { panic!("{element:?}") };
                format!("{key}={class}")
            })
            .collect();
        assert_eq!(spans, expect);
    };
    check(&[], &[]);
    check(&[("10.77.0.9/32", 1)], &["10.77.0.9=1"]);
    check(
        &[("0.0.0.0/0", 3)],
        &["0.0.0.0-10.76.255.255=3", "10.77.1.0-223.255.255.255=3", "240.0.0.0-255.255.255.254=3"],
    );
    check(
        &[("10.0.0.0/8", 1), ("10.1.0.0/16", 2), ("10.1.255.0/24", 3)],
        &[
            "10.0.0.0-10.0.255.255=1",
            "10.1.0.0-10.1.254.255=2",
            "10.1.255.0-10.1.255.255=3",
            "10.2.0.0-10.76.255.255=1",
            "10.77.1.0-10.255.255.255=1",
        ],
    );
    check(&[("224.0.0.251/32", 1)], &["224.0.0.251=1"]);
    check(&[("::/0", 3)], &["::-feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff=3"]);
}

#[test]
fn what_cannot_be_carried_is_told() {
    let plan = Plan::new(&sample(), &Options::new("br0", at(0))).unwrap();
    assert_eq!(plan.unsupported, ["rule `lldp`: no bridge port carries its frames"]);
    assert!(Plan::new(&sample(), &options()).unwrap().unsupported.is_empty());
    let mut wide = sample();
    wide.permits = vec![permit(1, 2, Transport::Link, (0, u16::MAX), "all")];
    let told = Plan::new(&wide, &options()).unwrap().unsupported;
    assert_eq!(told, ["rule `all`: name single EtherTypes, not a range"]);
}

#[test]
fn comments_cannot_end_the_quotes() {
    assert_eq!(comment_text("a\"b\\c\nd"), "a_b_c_d");
    assert!(comment_text(&"ü".repeat(300)).len() <= 120);
}

proptest::proptest! {
    /// Each address belongs to the longest prefix that holds it, and to one range only.
    #[test]
    fn ranges_are_longest_prefix_match(
        nets in proptest::collection::btree_map((0u32..4, 0u32..8, 22u8..=32), 1u32..=3, 0..8),
        probe in 0u32..4096,
    ) {
        let net = |(a, b, prefix): (u32, u32, u8)| (0x0a00_0000 | (a << 10) | (b << 5), prefix);
        let nets: BTreeMap<(u32, u8), u32> = nets.into_iter()
            .map(|(key, class)| {
                let (bits, prefix) = net(key);
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                ((bits & mask, prefix), class)
            })
            .collect();
        let mut ruleset = sample();
        ruleset.peers = nets.iter()
            .map(|((bits, prefix), class)| Peer {
                ip: IpAddr::V4((*bits).into()), prefix: *prefix, class: ClassId(*class),
            })
            .collect();
        let options = Options { site: Vec::new(), ..options() };
        let ranges = disjoint(&ruleset, &options, true).unwrap();
        let probe: IpAddr = IpAddr::V4((0x0a00_0000 | probe).into());
        let holding: Vec<_> =
            ranges.iter().filter(|(first, last, _)| (*first..=*last).contains(&probe)).collect();
        let expect = nets.iter()
            .filter(|((bits, prefix), _)| {
                let (first, last) = ends(IpAddr::V4((*bits).into()), *prefix);
                (first..=last).contains(&probe)
            })
            .max_by_key(|((_, prefix), _)| *prefix)
            .map(|(_, class)| ClassId(*class));
        proptest::prop_assert_eq!(holding.first().map(|(_, _, class)| *class), expect);
        proptest::prop_assert!(holding.len() <= 1);
    }
}

#[test]
fn the_second_opinion_names_the_rule_or_what_is_missing() {
    let (ruleset, options) = (sample(), options());
    let check = |from: &str, to: &str, transport, port, expect: &str| {
        let flow = crate::Flow { from: ip(from), to: ip(to), transport, port };
        let judgement = crate::judge(&ruleset, &options, &flow);
        assert!(format!("{judgement:?}").contains(expect), "{judgement:?}");
    };
    use Transport::{Icmp, Tcp, Udp};
    check("10.77.0.31", "10.77.0.21", Tcp, 554, "nvr-pulls-rtsp");
    check("10.77.0.31", "10.77.0.21", Udp, 7005, "rtp-more");
    check(
        "10.77.0.31",
        "10.77.0.21",
        Udp,
        7011,
        "NoRule { from: ClassId(2), to: ClassId(1) }, shadow: true",
    );
    check("10.77.0.21", "10.77.0.31", Icmp, 8, "ping");
    check("10.77.0.21", "9.9.9.9", Udp, 123, "ntp");
    check("10.77.0.21", "198.51.100.7", Tcp, 443, "vendor-visit");
    check("10.77.0.21", "198.51.100.8", Tcp, 443, "NoRule");
    check("10.77.0.21", "10.77.0.99", Udp, 123, "UnknownDestination, shadow: false");
    check("10.77.0.21", "224.0.0.251", Udp, 123, "UnknownDestination");
    check("10.77.0.99", "9.9.9.9", Udp, 123, "UnknownSource, shadow: false");
}
