//! Open flows end when their device is revoked, and only those.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use enforcer::cut::{Connections, revoke};
use enforcer::netlink::{Protocol, Socket};
use lab::wait;

use crate::wires::{Stream, Wires, address, address6};

/// Only members may begin a flow; open flows go on.
const FENCE: &str = "table inet t {
    set member { type ipv4_addr; elements = { 10.9.1.2, 10.9.2.2, 10.9.3.2 } }
    set member6 { type ipv6_addr; elements = { fd09:1::2, fd09:2::2, fd09:3::2 } }
    chain f { type filter hook forward priority 0; policy drop;
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        ct state established,related accept
        ip saddr @member ip daddr @member accept
        ip6 saddr @member6 ip6 daddr @member6 accept } }";

fn flows(connections: &mut Connections, ip: IpAddr) -> Vec<String> {
    let found = connections.list(|entry| entry.addresses().contains(&ip)).unwrap();
    found.iter().map(|entry| entry.asked.to_string()).collect()
}

#[test]
fn netns_a_revoked_devices_flows_stop_and_others_go_on() {
    if !lab::need("netns_a_revoked_devices_flows_stop_and_others_go_on") {
        return;
    }
    let wires = Wires::new("rf-cut", 3);
    wires.nft(FENCE);
    let open = |from, to: u8, ip: IpAddr, port| {
        Stream::open(wires.host(from), wires.host(to.into()), SocketAddr::new(ip, port))
    };
    let gone = open(1, 2, address(2), 5_001);
    let gone6 = open(1, 2, address6(2), 5_006);
    let answered = open(3, 1, address(1), 5_003);
    let kept = open(3, 2, address(2), 5_002);
    let kept6 = open(3, 2, address6(2), 5_007);
    let _ping = wires.ping(1, address(2));
    let _kept_ping = wires.ping(3, address(2));
    let mut connections = Connections::open(&wires.place()).unwrap();
    let end = wait::now() + Duration::from_secs(20);
    let pings = |connections: &mut Connections| {
        let icmp = |ip| flows(connections, ip).iter().any(|flow| flow.contains("icmp"));
        [address(1), address(3)].map(icmp) == [true, true]
    };
    assert!(wait::until(end, || pings(&mut connections)).unwrap());

    // The rule alone does not stop them: that is why there is a cut.
    wires.nft("delete element inet t member { 10.9.1.2 }\n");
    assert!(gone.moves(Duration::from_secs(5)));

    let addresses = HashSet::from([address(1), address6(1)]);
    let revoked = revoke(&mut connections, &addresses, || {
        wires.nft("delete element inet t member6 { fd09:1::2 }\n");
        Ok("elements")
    })
    .unwrap();
    assert_eq!(revoked.elements, "elements");
    assert!(revoked.cut.is_verified(), "{revoked:?}");
    // Two streams of its own, one to it, one ping.
    assert!(revoked.cut.deleted >= 4, "{revoked:?}");
    for (name, stream) in [("v4", &gone), ("v6", &gone6), ("to it", &answered)] {
        stream.silence(Duration::from_millis(700));
        assert!(!stream.moves(Duration::from_millis(500)), "{name} came back");
    }
    assert_eq!(flows(&mut connections, address(1)), [""; 0]);
    assert_eq!(flows(&mut connections, address6(1)), [""; 0]);
    assert!(kept.moves(Duration::from_secs(5)) && kept6.moves(Duration::from_secs(5)));
    assert!(flows(&mut connections, address(3)).iter().any(|flow| flow.contains("icmp")));

    // Again: nothing is left to cut.
    let again = connections.cut(&addresses).unwrap();
    assert_eq!((again.deleted, again.is_verified()), (0, true));
}

/// An open UDP flow that nobody has, made by hand.
fn make(socket: &mut Socket, family: u8, from: &[u8], to: &[u8]) {
    const NESTED: u16 = 0x8000;
    let kinds = if family == 2 { (1, 2) } else { (3, 4) };
    // IPCTNL_MSG_CT_NEW, to be created.
    let made = socket.request(0x0100, 0x600, |e| {
        e.netfilter(family, 0);
        for (side, from, to) in [(1, from, to), (2, to, from)] {
            e.nested(side | NESTED, |e| {
                e.nested(1 | NESTED, |e| {
                    e.put(kinds.0, from);
                    e.put(kinds.1, to);
                });
                e.nested(2 | NESTED, |e| {
                    e.put_u8(1, 17);
                    e.put_be16(2, if side == 1 { 40_000 } else { 53 });
                    e.put_be16(3, if side == 1 { 53 } else { 40_000 });
                });
            });
        }
        e.put_be32(7, 600);
    });
    made.unwrap();
}

#[test]
fn netns_the_kernels_filter_finds_what_a_walk_finds() {
    if !lab::need("netns_the_kernels_filter_finds_what_a_walk_finds") {
        return;
    }
    let wires = Wires::new("rf-find", 3);
    // Entries are made by hand: what they are about is not there. One is translated.
    wires.nft(
        "table inet t { chain f { type filter hook forward priority 0; ct state new accept } }",
    );
    let mut connections = Connections::open(&wires.place()).unwrap();
    let mut maker = Socket::open(Protocol::Netfilter, &wires.place()).unwrap();
    for n in 0..3_000_u16 {
        let (a, b) = (u8::try_from(n / 250).unwrap(), u8::try_from(n % 250 + 1).unwrap());
        make(&mut maker, 2, &[10, 1, a, b], &[10, 2, a, b]);
    }
    let octets = |ip: &str| ip.parse::<std::net::Ipv6Addr>().unwrap().octets();
    make(&mut maker, 10, &octets("fd01::1"), &octets("fd02::2"));
    assert!(connections.count().unwrap() >= 3_001);

    for ip in ["10.1.3.7", "10.2.3.7", "fd01::1", "fd02::2", "10.1.99.1"] {
        let ip: IpAddr = ip.parse().unwrap();
        let found = connections.of(&HashSet::from([ip])).unwrap();
        let walked = connections.list(|entry| entry.addresses().contains(&ip)).unwrap();
        assert_eq!(found, walked, "{ip}");
        assert_eq!(found.len(), usize::from(ip != IpAddr::from([10, 1, 99, 1])), "{ip}");
    }
    // Many at once: one walk.
    let many: HashSet<IpAddr> = (1..=200).map(|b| IpAddr::from([10, 1, 5, b])).collect();
    let cut = connections.cut(&many).unwrap();
    assert_eq!((cut.deleted, cut.readings, cut.is_verified()), (200, 2, true));
    assert!(connections.count().unwrap() >= 2_801);
    // By what a ruleset says: all to one network, whatever the port.
    let closed = connections.cut_where(|entry| entry.asked.to == IpAddr::from([10, 2, 6, 6]));
    assert_eq!(closed.unwrap().deleted, 1);
}
