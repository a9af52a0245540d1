//! The kernel's log, read as verdicts.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use enforcer::Options;
use enforcer::contain::Method;
use enforcer::netlink::Place;
use enforcer::verdict::{Log, Namer, Seen};
use lab::proof::{self, Road};
use lab::wait;
use model::observation::Transport;
use model::ruleset::{ClassId, Exception, Mode};
use model::verdict::{Explain, Kind, VerdictRecord, Why};
use model::{Mac, SiteId, Timestamp};

use crate::begin::{now, running};
use crate::wires::{Wires, address, address6};

const RULES: &str = "table inet t { chain f { type filter hook forward priority 0; policy drop;
    udp dport 53 log prefix \"rf:d:7:3:0\" group 9
    tcp dport 80 log prefix \"rf:l:7:3:2\" group 9
    icmp type echo-request log prefix \"somebody else\" group 9 } }";

fn send(wires: &Wires, n: usize, to: IpAddr, port: u16, times: usize) {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let sent = wires.host(n).enter(|| {
        let socket = UdpSocket::bind(any)?;
        (0..times).try_for_each(|_| socket.send_to(b"x", (to, port)).map(drop))
    });
    sent.unwrap().unwrap();
}

/// What is read until `enough`.
fn read(log: &mut Log, enough: impl Fn(&[(Seen, String)]) -> bool) -> Vec<(Seen, String)> {
    let mut out = Vec::new();
    let end = wait::now() + Duration::from_secs(20);
    while !enough(&out) {
        assert!(wait::now() < end, "not logged: {out:?}");
        let gap = log.read(Duration::from_millis(200), |seen, links| {
            let name = seen.interface_in.map_or(String::new(), |index| links.name(index));
            out.push((seen.clone(), name));
        });
        assert_eq!(gap.unwrap(), None);
    }
    out
}

#[test]
fn netns_logged_packets_are_read_with_all_that_the_kernel_knows() {
    if !lab::need("netns_logged_packets_are_read_with_all_that_the_kernel_knows") {
        return;
    }
    let wires = Wires::new("rf-log", 2);
    wires.nft(RULES);
    let mut log = Log::open(&wires.place(), 9).unwrap();
    send(&wires, 1, address(2), 53, 1);
    send(&wires, 1, address6(2), 53, 1);
    let seen = read(&mut log, |seen| seen.len() >= 2);
    for (n, (from, to)) in [(0, (address(1), address(2))), (1, (address6(1), address6(2)))] {
        let (record, name) = &seen[n];
        let packet = record.packet.unwrap();
        assert_eq!((packet.from, packet.to), (Some(from), Some(to)));
        assert_eq!((packet.transport, packet.port), (Transport::Udp, Some(53)));
        assert_eq!(name, "w1");
        assert!(record.sender.is_some() && record.at.is_some(), "{record:?}");
        let prefix = record.prefix.unwrap();
        assert_eq!((prefix.generation, prefix.class.0, prefix.rule), (7, 3, 0));
    }
    // Records of others in our group are counted, and are no verdicts.
    let _ping = wires.ping(1, address(2));
    let end = wait::now() + Duration::from_secs(20);
    let counted = wait::until(end, || {
        log.read(Duration::from_millis(100), |seen, _| panic!("{seen:?}")).unwrap();
        log.foreign() > 0
    });
    assert!(counted.unwrap());
    // One reader a group.
    let error = Log::open(&wires.place(), 9).unwrap_err().to_string();
    assert!(error.contains("NFLOG group 9") && error.contains("another program"), "{error}");
}

#[test]
fn netns_records_that_nobody_read_are_counted() {
    if !lab::need("netns_records_that_nobody_read_are_counted") {
        return;
    }
    let wires = Wires::new("rf-lost", 2);
    wires.nft(RULES);
    let mut log = Log::open(&wires.place(), 9).unwrap();
    // Nobody reads while more comes than the buffer holds.
    let (mut sent, mut read, mut lost) = (0, 0, 0);
    for _ in 0..4 {
        send(&wires, 1, address(2), 53, 60_000);
        sent += 60_000;
    }
    let end = wait::now() + Duration::from_secs(60);
    let mut quiet = 0;
    while quiet < 4 {
        assert!(wait::now() < end, "{read} of {sent}");
        let before = read;
        let gap = log.read(Duration::from_millis(300), |_, _| read += 1).unwrap();
        if let Some(gap) = gap {
            lost += gap.records;
        }
        quiet = if read == before { quiet + 1 } else { 0 };
        if quiet == 2 && sent == 240_000 {
            // Behind a gap at the very end there is nothing to count by: one more.
            send(&wires, 1, address(2), 53, 1);
            sent += 1;
        }
    }
    assert!(lost > 0, "nothing was lost: {read} of {sent}");
    // What the wire or the sender dropped was never logged.
    assert!(read + lost <= sent && read + lost > sent / 2, "{read} + {lost} of {sent}");
}

/// Knows nothing.
struct Silent;

impl Explain for Silent {
    fn explain(&self, _: (Mac, IpAddr), _: IpAddr, _: Transport, _: u16) -> Why {
        Why::default()
    }

    fn explain_class(&self, from: ClassId, _: IpAddr, _: Transport, _: u16) -> Why {
        Why { nearest: Some(format!("class {}", from.0)), ..Why::default() }
    }
}

#[test]
fn netns_what_the_fence_does_is_told_with_device_and_reason() {
    if !lab::need("netns_what_the_fence_does_is_told_with_device_and_reason") {
        return;
    }
    let road = Road::new().unwrap();
    let mut ruleset = proof::ruleset(9, 20);
    ruleset.permits[0].terms.log = true;
    let victim = ruleset.peers[0].ip;
    ruleset.exceptions.push(Exception {
        from: ruleset.members[5].ip,
        to: victim,
        transport: Transport::Udp,
        port: proof::NEVER,
        expires: Timestamp::MAX,
        name: "vendor-visit".into(),
    });
    let options = Options { log_group: Some(11), ..proof::options() };
    road.fence().apply(&ruleset, &options).unwrap();
    let mut log = Log::open(&Place::netns(&road.gateway.path()), 11).unwrap();
    for (device, port) in
        [(3, proof::NEVER), (4, proof::ALWAYS), (5, proof::NEVER), (40, proof::ALWAYS)]
    {
        road.device(device, port).unwrap().send(b"x").unwrap();
    }
    let namer = Namer::new(SiteId::new("road").unwrap(), &ruleset, &Silent);
    let mut told = Vec::new();
    let end = wait::now() + Duration::from_secs(20);
    while told.len() < 4 {
        assert!(wait::now() < end, "{told:#?}");
        let gap = log.read(Duration::from_millis(200), |seen, links| {
            told.extend(namer.name(seen, links, Timestamp::EPOCH));
        });
        assert_eq!(gap.unwrap(), None);
    }
    let find = |kind: Kind, check: Option<&str>| {
        let found = told.iter().find(|r| r.verdict == kind && r.why.check.as_deref() == check);
        found.unwrap_or_else(|| panic!("{kind} {check:?}: {told:#?}"))
    };
    let denied = find(Kind::Denied, None);
    assert_eq!(denied.from.device.as_ref().unwrap().as_str(), "d3");
    assert_eq!((denied.to.service.as_deref(), denied.port), (Some("victim"), Some(proof::NEVER)));
    assert_eq!(denied.why.nearest.as_deref(), Some("class 1"));
    assert_eq!((denied.generation, denied.interface_in.as_deref()), (Some(9), Some("dev0")));
    let logged = find(Kind::Logged, None);
    assert_eq!(logged.from.device.as_ref().unwrap().as_str(), "d4");
    assert_eq!(logged.why.rule.as_deref(), Some(ruleset.permits[0].rule.as_str()));
    let granted = find(Kind::AllowedByException, None);
    assert_eq!(granted.why.exception.as_deref(), Some("vendor-visit"));
    let stranger = find(Kind::Denied, Some("stranger"));
    assert_eq!(
        (stranger.from.device.as_ref(), stranger.from.ip),
        (None, Some(proof::source(40).into()))
    );
}

#[test]
fn netns_what_stops_on_the_link_layer_is_told_as_well() {
    if !lab::need("netns_what_stops_on_the_link_layer_is_told_as_well") {
        return;
    }
    let lab = running();
    let _isolated = lab.isolate(Method::BridgeFilter).unwrap();
    let ruleset = lab.ruleset(4, Mode::Enforce);
    let options = Options { log_group: Some(12), ..lab.options(now()) };
    lab.fence().apply(&ruleset, &options).unwrap();
    lab.fence().verify(&ruleset, &options).unwrap().unwrap();
    let mut log = Log::open(&Place::netns(&lab.gateway().path()), 12).unwrap();
    // Says by ARP that it is the gateway, and sends to the PLC inside a VLAN tag.
    lab::attack::take_over(&lab, "camera").unwrap();
    let namer = Namer::new(SiteId::new("lab").unwrap(), &ruleset, &Silent);
    let mut told = Vec::new();
    let end = wait::now() + Duration::from_secs(20);
    let poisoned = |r: &VerdictRecord| {
        (r.transport, r.port) == (Transport::Link, Some(0x0806))
            && (r.verdict, r.why.check.as_deref()) == (Kind::Denied, Some("stranger"))
    };
    let smuggled = |r: &VerdictRecord| r.verdict == Kind::Denied && r.from.port == Some(40_502);
    while !(told.iter().any(poisoned) && told.iter().any(smuggled)) {
        assert!(wait::now() < end, "{told:#?}");
        log.read(Duration::from_millis(200), |seen, links| {
            told.extend(namer.name(seen, links, Timestamp::EPOCH));
        })
        .unwrap();
    }
    let camera = lab.device("camera").unwrap();
    let arp = told.iter().find(|r| poisoned(r)).unwrap();
    assert_eq!((arp.from.device.as_ref(), arp.from.mac), (None, Some(camera.mac)));
    assert_eq!(arp.to.device.as_ref().unwrap().as_str(), "till");
    assert!(arp.interface_in.as_deref().unwrap().starts_with("v-"), "{arp:?}");
    let frame = told.iter().find(|r| smuggled(r)).unwrap();
    assert_eq!(frame.from.device.as_ref().unwrap().as_str(), "camera");
    // What is sent again and again is told once a minute.
    assert_eq!(told.iter().filter(|r| poisoned(r)).count(), 1, "{told:#?}");
}
