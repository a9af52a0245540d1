//! Drafts as people read them.

use model::observation::Transport;
use policy::compile::{CompileError, Limit, limits, ruleset};
use policy::draft::{Draft, DraftOptions, ReasonKind, draft};
use policy::evaluate::evaluate;
use policy::folder;
use policy::lower::lower;
use policy::reach::reach;

use crate::sample::{Sample, TCP, UDP, at, warehouse};

fn drafted() -> Draft {
    draft(&warehouse(), &DraftOptions::default())
}

#[test]
fn the_folder_of_a_warehouse() {
    let draft = drafted();
    for (path, text) in &draft.files {
        insta::assert_snapshot!(path.replace('/', "__"), text);
    }
}

#[test]
fn the_ruleset_of_a_warehouse() {
    let ruleset = ruleset(&drafted().folder, 1, None).unwrap();
    insta::assert_json_snapshot!(ruleset);
}

#[test]
fn the_reach_of_a_warehouse() {
    insta::assert_json_snapshot!(reach(&warehouse(), &drafted().folder));
}

#[test]
fn the_taken_over_camera_meets_the_fence() {
    let compiled = ruleset(&drafted().folder, 1, None).unwrap();
    let member = |device: &str| {
        let member = compiled.members.iter().find(|m| m.device.as_str() == device);
        let member = member.unwrap();
        (member.mac, member.ip)
    };
    let check = |from: &str, to: &str, transport, port, expect: &str| {
        let verdict = evaluate(&compiled, member(from), to.parse().unwrap(), transport, port);
        assert_eq!(verdict.to_string(), expect, "{from} {to} {port}");
    };
    check("nvr", "10.0.1.13", TCP, 554, "allowed by nvr-to-main-cameras-10.0.1.0-24-tcp-554");
    check(
        "cam-2",
        "203.0.113.7",
        TCP,
        443,
        "allowed by main-cameras-10.0.1.0-24-to-cloud.acme.example-tcp-443",
    );
    check(
        "cam-2",
        "10.0.3.11",
        TCP,
        443,
        "denied by default: the destination differs; nearest rule is main-cameras-10.0.1.0-24-to-cloud.acme.example-tcp-443",
    );
    check(
        "cam-2",
        "10.0.1.12",
        TCP,
        554,
        "denied by default: the source differs; nearest rule is nvr-to-main-cameras-10.0.1.0-24-tcp-554",
    );
    check(
        "cam-2",
        "10.0.1.20",
        Transport::Icmp,
        13,
        "denied by default: the port differs; nearest rule is main-cameras-10.0.1.0-24-to-nvr-icmp-8",
    );
    check("hmi", "10.0.2.12", TCP, 502, "allowed by hmi-to-main-plcs-10.0.2.0-24-tcp-502");
}

/// The kinds of reasons for one path, empty when it is permitted.
fn reasons(sample: &Sample, from: &str, to: &str) -> Vec<ReasonKind> {
    let draft = draft(&sample.0, &DraftOptions::default());
    let found = draft.refused.iter().find(|r| r.from.as_str() == from && r.to.as_str() == to);
    found.map_or(Vec::new(), |r| r.reasons.iter().map(|r| r.kind).collect())
}

/// `n` cameras, a server, and the first camera using the server.
fn cameras(n: u8) -> (Sample, String) {
    let mut s = Sample::new(60);
    for i in 1..=n {
        s.device(&format!("cam-{i}"), "ip-camera", &[&format!("10.0.1.{i}")]);
    }
    s.device("server", "file-server", &["10.0.2.1"]);
    let service = s.service("server", "", &["10.0.2.1"], TCP, 445, "smb");
    s.path("cam-1", &service);
    (s, service)
}

#[test]
fn a_destination_is_rare_only_among_enough_peers() {
    for (n, rare) in [(1, false), (3, false), (4, true), (8, true)] {
        let (s, service) = cameras(n);
        let expect = if rare { vec![ReasonKind::RareDestination] } else { vec![] };
        assert_eq!(reasons(&s, "cam-1", &service), expect, "{n} cameras");
    }
    let (mut s, service) = cameras(4);
    s.path("cam-2", &service);
    assert_eq!(reasons(&s, "cam-1", &service), []);
    // Another server of the same zone at the same port is the same kind of path.
    let (mut s, service) = cameras(4);
    s.device("server-2", "file-server", &["10.0.2.2"]);
    let other = s.service("server-2", "", &["10.0.2.2"], TCP, 445, "smb");
    s.path("cam-2", &other);
    assert_eq!(reasons(&s, "cam-1", &service), []);
    // Unknown devices are nobody's peers.
    let (mut s, service) = cameras(4);
    s.0.devices.iter_mut().for_each(|d| d.kind = None);
    assert_eq!(reasons(&s, "cam-1", &service), []);
}

#[test]
fn numbered_names_are_one_destination_and_groups_are_nobody_s_secret() {
    let (mut s, _) = cameras(4);
    let one = s.service("", "a1.vendor.example", &["203.0.113.1"], TCP, 443, "tls");
    let two = s.service("", "a22.vendor.example", &["203.0.113.2"], TCP, 443, "tls");
    let evil = s.service("", "drop.example", &["203.0.113.3"], TCP, 443, "tls");
    let group = s.service("", "ssdp", &["239.255.255.250"], UDP, 1900, "ssdp");
    s.path("cam-1", &one);
    s.path("cam-2", &two);
    s.path("cam-3", &evil);
    s.path("cam-3", &group);
    assert_eq!(reasons(&s, "cam-1", &one), []);
    assert_eq!(reasons(&s, "cam-3", &evil), [ReasonKind::RareDestination]);
    assert_eq!(reasons(&s, "cam-3", &group), []);
}

#[test]
fn a_scanner_keeps_only_what_its_peers_use() {
    let (mut s, service) = cameras(2);
    s.finding("scan", "cam-1", "tcp");
    assert_eq!(reasons(&s, "cam-1", &service), [ReasonKind::Scanner]);
    s.path("cam-2", &service);
    assert_eq!(reasons(&s, "cam-1", &service), []);
    s.finding("flood", "cam-2", "udp");
    assert_eq!(reasons(&s, "cam-2", &service), [ReasonKind::Scanner]);
}

#[test]
fn cleartext_admin_by_port_protocol_and_finding() {
    let (mut s, _) = cameras(1);
    for (port, protocol, expect) in [
        (21, "", Some(ReasonKind::Forbidden)),
        (23, "", Some(ReasonKind::Forbidden)),
        (2323, "telnet", Some(ReasonKind::Forbidden)),
        (80, "http", Some(ReasonKind::CleartextAdmin)),
        (8080, "", None),
    ] {
        let service = s.service("server", "", &["10.0.2.1"], TCP, port, protocol);
        s.path("cam-1", &service);
        s.finding("cleartext-admin", "server", "http");
        assert_eq!(Vec::from_iter(expect), reasons(&s, "cam-1", &service), "{port} {protocol}");
    }
    let service = s.service("server", "", &["10.0.2.1"], UDP, 23, "");
    s.path("cam-1", &service);
    assert_eq!(reasons(&s, "cam-1", &service), []);
}

#[test]
fn a_permit_widens_only_when_enough_peers_share() {
    // (cameras, users) → policies for the path
    for (n, users, expect) in [(4, 2, 1), (4, 1, 0), (8, 3, 3), (2, 2, 1), (3, 1, 1)] {
        let (mut s, service) = cameras(n);
        for user in 2..=users {
            s.path(&format!("cam-{user}"), &service);
        }
        let draft = draft(&s.0, &DraftOptions::default());
        let permits =
            draft.folder.policies.iter().filter(|p| p.file.ends_with("cameras.cedar")).count();
        assert_eq!(permits, expect, "{users} of {n}");
    }
}

#[test]
fn a_refused_peer_stops_the_widening() {
    let (mut s, service) = cameras(4);
    s.path("cam-2", &service);
    s.path("cam-3", &service);
    s.path("cam-4", &service).proposal = model::inspect::Proposal::NotAllowed("odd".to_owned());
    let draft = draft(&s.0, &DraftOptions::default());
    let lowered = lower(&draft.folder);
    assert_eq!([0, 1, 2, 3].map(|d| lowered.grant(d, 0).is_some()), [true, true, true, false]);
}

#[test]
fn shops_of_one_type_share_one_permit() {
    let mut s = Sample::new(60);
    for shop in 1..=3u8 {
        let device = s.device(&format!("till-{shop}"), "till", &[&format!("10.{shop}.0.5")]);
        device.site = model::SiteId::new(&format!("shop-{shop}")).unwrap();
    }
    let bank = s.service("", "bank.example", &["203.0.113.9"], TCP, 443, "tls");
    for shop in 1..=3u8 {
        s.path(&format!("till-{shop}"), &bank);
    }
    let draft = draft(&s.0, &DraftOptions::default());
    let ids: Vec<_> = draft.folder.policies.iter().map(|p| p.id.as_str()).collect();
    assert!(ids.contains(&"all-till-to-bank.example-tcp-443"), "{ids:?}");
    assert_eq!(draft.folder.estate.conduits.len(), 1);
}

#[test]
fn a_span_says_what_it_cannot_have_seen() {
    let day = 86_400;
    for (seconds, unseen) in [(60, 3), (day - 1, 3), (day, 2), (7 * day, 1), (31 * day, 0)] {
        let draft = draft(&Sample::new(seconds).0, &DraftOptions::default());
        assert_eq!(draft.observed.unseen.len(), unseen, "{seconds}");
        assert_eq!(draft.files["README.md"].contains("cannot have seen"), unseen > 0);
        folder::parse(&draft.files).unwrap();
    }
}

#[test]
fn an_address_belongs_to_whom_it_was_seen_at_last() {
    let mut s = Sample::new(60);
    s.device("old", "plc", &["10.0.0.5", "10.0.0.6"]).last_seen = at(10);
    s.device("new", "plc", &["10.0.0.5"]).last_seen = at(20);
    let draft = draft(&s.0, &DraftOptions::default());
    let addresses = |i: usize| format!("{:?}", draft.folder.estate.devices[i].addresses);
    assert_eq!((addresses(0), addresses(1)), ("[10.0.0.6]".to_owned(), "[10.0.0.5]".to_owned()));
    assert!(draft.remarks[0].contains("10.0.0.5") && draft.remarks[0].contains("`new`"));
}

#[test]
fn two_names_at_one_address_are_pointed_out() {
    let (mut s, _) = cameras(2);
    let good = s.service("", "good.example", &["203.0.113.1"], TCP, 443, "tls");
    let bad = s.service("", "bad.example", &["203.0.113.1"], TCP, 443, "tls");
    s.path("cam-1", &good);
    s.path("cam-2", &bad).proposal = model::inspect::Proposal::NotAllowed("odd".to_owned());
    let draft = draft(&s.0, &DraftOptions::default());
    let limits = limits(&draft.folder, &lower(&draft.folder));
    assert!(
        matches!(&limits[..], [Limit::SharedAddress { granted, .. }] if *granted == good),
        "{limits:?}"
    );
    assert!(draft.files["proposals.md"].contains("cannot tell them apart"));
}

#[test]
fn granted_names_are_the_resolvers_to_open() {
    let mut s = Sample::new(60);
    s.device("cam-1", "ip-camera", &["10.0.0.1"]);
    s.device("plc-1", "plc", &["10.0.0.2"]);
    let cloud = s.service("", "Cloud.Vendor.example.", &[], TCP, 8883, "mqtt");
    s.0.services[0].dns_names.push("not a name".to_owned());
    s.path("cam-1", &cloud);
    let draft = draft(&s.0, &DraftOptions::default());
    let compiled = ruleset(&draft.folder, 1, None).unwrap();
    let from = compiled.members.iter().find(|m| m.device.as_str() == "cam-1").unwrap().class;
    let [permit] = &compiled.names[..] else { panic!("{:?}", compiled.names) };
    assert_eq!((permit.from, permit.name.as_str()), (from, "cloud.vendor.example"));
    assert_eq!((permit.transport, permit.first_port, permit.last_port), (TCP, 8883, 8883));
    assert!(draft.folder.policies.iter().any(|p| p.id == permit.rule), "{}", permit.rule);
    let limits = limits(&draft.folder, &lower(&draft.folder));
    let needs = |l: &Limit| matches!(l, Limit::NeedsResolver { service, .. } if *service == cloud);
    let odd = |l: &Limit| matches!(l, Limit::NotAName { name, .. } if name == "not a name");
    assert!(limits.iter().any(needs) && limits.iter().any(odd), "{limits:?}");
    assert!(!limits.iter().any(|l| matches!(l, Limit::NoAddress { .. })), "{limits:?}");
    assert!(draft.files["proposals.md"].contains("asks the site's resolver for the name"));
}

#[test]
fn one_lease_seen_is_a_lease_for_all_of_the_type() {
    let folder = drafted().folder;
    let dhcp = folder.estate.services.iter().position(|s| s.port == 67).unwrap();
    let lowered = lower(&folder);
    let granted = folder.estate.devices.iter().enumerate();
    let granted = granted.filter(|(d, _)| lowered.grant(*d, dhcp).is_some());
    let granted: Vec<&str> = granted.map(|(_, device)| device.id.as_str()).collect();
    assert_eq!(granted, ["cam-1", "cam-2", "cam-3", "cam-4"]);
}

#[test]
fn frames_to_a_group_have_a_class_without_addresses() {
    let compiled = ruleset(&drafted().folder, 1, None).unwrap();
    let permit = compiled.permits.iter().find(|p| p.transport == Transport::Link).unwrap();
    assert_eq!((permit.first_port, permit.last_port), (0x88b8, 0x88b8));
    let from = compiled.members.iter().find(|m| m.class == permit.from).unwrap();
    assert_eq!(from.device.as_str(), "plc-1");
    assert!(compiled.members.iter().all(|m| m.class != permit.to));
    assert!(compiled.peers.iter().all(|p| p.class != permit.to));
}

#[test]
fn generations_only_go_up() {
    let folder = drafted().folder;
    let expect = CompileError::Generation { generation: 3, parent: 3 };
    assert_eq!(ruleset(&folder, 3, Some(3)), Err(expect));
}

#[test]
fn names_from_the_wire_cannot_write_policy() {
    let mut s = Sample::new(60);
    let evil = "x\n@id(\"y\") permit (principal, action, resource); // \u{202e} | ` \"\"\" ]";
    s.device("cam-1", "ip-camera\"]\n[[owner]]", &["10.0.0.1"]).hostnames = vec![evil.to_owned()];
    let service = s.service("", "x.example", &["203.0.113.1"], TCP, 443, "tls");
    s.0.services[0].name = evil.to_owned();
    s.0.services[0].dns_names = vec![evil.to_owned()];
    s.0.services[0].protocol = Some(evil.to_owned());
    s.path("cam-1", &service);
    s.path("cam-1", &service).proposal = model::inspect::Proposal::NotAllowed(evil.to_owned());
    s.0.conduits[0].evidence.input = evil.into();
    s.0.inputs[0].name = evil.to_owned();
    let draft = draft(&s.0, &DraftOptions::default());
    let read = folder::parse(&draft.files).unwrap();
    assert!(read.policies.iter().all(|p| p.id.starts_with("base.")), "{:?}", read.policies);
    assert_eq!(read.estate, draft.folder.estate);
}

#[test]
fn a_refused_service_stops_the_grouping() {
    for (refused, permits) in [(false, 1), (true, 3)] {
        let mut s = Sample::new(60);
        s.device("hmi", "hmi", &["10.0.0.9"]);
        for n in 1..=4u8 {
            let (plc, ip) = (format!("plc-{n}"), format!("10.0.0.{n}"));
            s.device(&plc, "plc", &[&ip]);
            let service = s.service(&plc, "", &[&ip], TCP, 502, "modbus");
            let conduit = s.path("hmi", &service);
            if refused && n == 4 {
                conduit.proposal = model::inspect::Proposal::NotAllowed("odd".to_owned());
            }
        }
        let draft = draft(&s.0, &DraftOptions::default());
        assert_eq!(draft.folder.estate.conduits.len(), permits);
        assert_eq!(lower(&draft.folder).grants(0).len(), if refused { 3 } else { 4 });
    }
}

#[test]
fn resolvers_outside_stay_closed() {
    let (mut s, _) = cameras(2);
    for (port, transport, protocol, expect) in [
        (53, UDP, "dns", true),
        (53, TCP, "", true),
        (853, TCP, "", true),
        (443, TCP, "doh", true),
        (443, UDP, "quic", false),
    ] {
        let name = format!("r{port}-{}-{protocol}.example", transport.word());
        let service = s.service("", &name, &["203.0.113.53"], transport, port, protocol);
        for camera in ["cam-1", "cam-2"] {
            s.path(camera, &service);
        }
        let expect = if expect { vec![ReasonKind::Forbidden] } else { vec![] };
        assert_eq!(reasons(&s, "cam-1", &service), expect, "{port} {protocol}");
    }
    let inside = s.service("server", "", &["10.0.2.1"], UDP, 53, "dns");
    s.path("cam-1", &inside);
    assert_eq!(reasons(&s, "cam-1", &inside), []);
}
