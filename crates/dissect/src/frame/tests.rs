use proptest::prelude::*;

use super::*;
use crate::testing::unhex;

/// Prints a frame in one line, following tunnels.
fn show(link: u32, data: &[u8]) -> String {
    match parse(link, data) {
        Err(e) => format!("{e}"),
        Ok(p) => {
            let vlan = p.vlan.map_or(String::new(), |v| format!(" vlan {v}"));
            format!("{} > {}{vlan} {}", p.src, p.dst, body(&p.body))
        }
    }
}

fn body(body: &Body<'_>) -> String {
    match body {
        Body::Opaque => "opaque".to_owned(),
        Body::Link { key, payload } => format!("{key:x?} {} bytes", payload.len()),
        Body::Ip(ip) => {
            if let Some(t) = tunnelled(ip) {
                return format!("{} > {} [{} {}]", ip.src, ip.dst, t.via, show(t.link, t.data));
            }
            let carried = match ip.transport {
                Transport::Tcp(t) => {
                    format!("tcp {} > {} flags {:02x} {:?}", t.src, t.dst, t.flags, t.payload)
                }
                Transport::Udp { src, dst, payload } => format!("udp {src} > {dst} {payload:?}"),
                Transport::Other { protocol, payload } => {
                    format!("ip {protocol} {} bytes", payload.len())
                }
            };
            let part = ip.fragment.map_or(String::new(), |f| format!(" at {}", f.offset));
            format!("{} > {}{part} {carried}", ip.src, ip.dst)
        }
    }
}

const ETHER: &str = "020000000002 020000000001";
const UDP4: &str =
    "45 00 0020 0000 0000 40 11 0000 c0000201 c0000202  1f90 0035 000c 0000 61626364";

#[track_caller]
fn check(link: u32, hex: &str, expect: &str) {
    assert_eq!(show(link, &unhex(hex)), expect);
}

#[test]
fn ethernet_with_and_without_tags() {
    let tail = "192.0.2.1 > 192.0.2.2 udp 8080 > 53 [97, 98, 99, 100]";
    let ends = "02:00:00:00:00:01 > 02:00:00:00:00:02";
    check(1, &format!("{ETHER} 0800 {UDP4}"), &format!("{ends} {tail}"));
    check(1, &format!("{ETHER} 8100 6064 0800 {UDP4}"), &format!("{ends} vlan 100 {tail}"));
    check(
        1,
        &format!("{ETHER} 88a8 0005 8100 0064 0800 {UDP4}"),
        &format!("{ends} vlan 100 {tail}"),
    );
    // Ethernet padding behind the IP length is not payload.
    check(1, &format!("{ETHER} 0800 {UDP4} 0000000000"), &format!("{ends} {tail}"));
    check(1, &format!("{ETHER} 892f 0000 0001 0800 {UDP4}"), &format!("{ends} {tail}"));
    check(1, &format!("{ETHER} 8864 1100 0001 0022 0021 {UDP4}"), &format!("{ends} {tail}"));
}

#[test]
fn logical_link_control() {
    let ends = "02:00:00:00:00:01 > 02:00:00:00:00:02";
    check(1, &format!("{ETHER} 0007 42 42 03 00000000 ffff"), &format!("{ends} Llc(42) 4 bytes"));
    check(
        1,
        &format!("{ETHER} 000a aa aa 03 00000c 2000 02b4"),
        &format!("{ends} Snap(c, 2000) 2 bytes"),
    );
    check(
        1,
        &format!("{ETHER} 0026 aa aa 03 000000 0806 00"),
        &format!("{ends} EtherType(806) 1 bytes"),
    );
}

#[test]
fn other_link_types() {
    let tail = "192.0.2.1 > 192.0.2.2 udp 8080 > 53 [97, 98, 99, 100]";
    let nobody = "00:00:00:00:00:00 > 00:00:00:00:00:00";
    check(101, UDP4, &format!("{nobody} {tail}"));
    check(0, &format!("02000000 {UDP4}"), &format!("{nobody} {tail}"));
    check(
        113,
        &format!("0000 0001 0006 020000000001 0000 0800 {UDP4}"),
        &format!("02:00:00:00:00:01 > 00:00:00:00:00:00 {tail}"),
    );
    check(
        276,
        &format!("0800 0000 00000003 0001 00 06 020000000001 0000 {UDP4}"),
        &format!("02:00:00:00:00:01 > 00:00:00:00:00:00 {tail}"),
    );
    // Radiotap, then a QoS data frame from a station to the distribution system.
    check(
        127,
        &format!(
            "00 00 0800 00000000  88 01 0000 0a0000000003 020000000001 020000000002 0000 0000 \
             aaaa03 000000 0800 {UDP4}"
        ),
        &format!("02:00:00:00:00:01 > 02:00:00:00:00:02 {tail}"),
    );
    check(999, "00", "not this protocol");
}

#[test]
fn ipv6_extension_headers_and_fragments() {
    let head = |next: &str, len: &str| {
        format!(
            "{ETHER} 86dd 60000000 {len} {next} 40 20010db8000000000000000000000001 \
             20010db8000000000000000000000002"
        )
    };
    let ends = "02:00:00:00:00:01 > 02:00:00:00:00:02 2001:db8::1 > 2001:db8::2";
    check(
        1,
        &format!("{} 11 00 000000000000  1f90 0035 0009 0000 61", head("00", "0011")),
        &format!("{ends} udp 8080 > 53 [97]"),
    );
    check(
        1,
        &format!("{} 11 00 0009 00000007  1f90 0035", head("2c", "000c")),
        &format!("{ends} at 8 ip 17 4 bytes"),
    );
}

#[test]
fn tunnels_show_the_inner_frame() {
    let inner = format!("{ETHER} 0800 {UDP4}");
    let shown = "02:00:00:00:00:01 > 02:00:00:00:00:02 192.0.2.1 > 192.0.2.2 udp 8080 > 53 [97, 98, 99, 100]";
    let udp = |port: &str, body: &str| {
        let n = unhex(body).len();
        format!(
            "{ETHER} 0800 45 00 {:04x} 0000 0000 40 11 0000 c0000203 c0000204 1000 {port} {:04x} 0000 {body}",
            28 + n,
            8 + n
        )
    };
    let ends = "02:00:00:00:00:01 > 02:00:00:00:00:02 192.0.2.3 > 192.0.2.4";
    check(
        1,
        &udp("12b5", &format!("08000000 00000100 {inner}")),
        &format!("{ends} [vxlan {shown}]"),
    );
    check(
        1,
        &udp("147f", &format!("00 100000 00000000 {inner}")),
        &format!("{ends} [capwap {shown}]"),
    );
    // IEEE 802.11 inside: a probe request of a station; an association response and a data frame
    // of the access point itself, which is no device behind itself.
    let wireless = |head: &str, rest: &str| {
        udp("147f", &format!("00 100100 00000000 {head} 0000 {rest} 0000"))
    };
    let (ap, sta, all) = ("020000000aa0", "020000000001", "ffffffffffff");
    check(
        1,
        &wireless("4000", &format!("{all} {sta} {all}")),
        &format!("{ends} [capwap 02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff opaque]"),
    );
    for own in [
        wireless("1000", &format!("{sta} {ap} {ap}")),
        wireless("0801", &format!("{ap} {ap} {all}")),
        wireless("0108", &format!("{ap} {ap} {all}")),
        wireless("0802", &format!("{all} {ap} {ap}")),
    ] {
        let shown = show(1, &unhex(&own));
        assert!(shown.starts_with(&format!("{ends} udp 4096 > 5247")), "{shown}");
    }
    let gre = |body: &str| {
        let n = unhex(body).len();
        format!("{ETHER} 0800 45 00 {:04x} 0000 0000 40 2f 0000 c0000203 c0000204 {body}", 20 + n)
    };
    check(
        1,
        &gre(&format!("1000 88be 00000001 0000000000000000 {inner}")),
        &format!("{ends} [erspan {shown}]"),
    );
    check(1, &gre(&format!("0000 6558 {inner}")), &format!("{ends} [gre {shown}]"));
}

#[test]
fn nonsense_is_named() {
    check(1, "0200", "the message ends too early");
    check(1, &format!("{ETHER} 0800 15"), "the message ends too early");
    check(
        1,
        &format!("{ETHER} 0800 42 00 0020 0000 0000 40 11 0000 c0000201 c0000202"),
        "a field has a value the protocol does not allow",
    );
    let tags = "8100 0001 ".repeat(8);
    check(1, &format!("{ETHER} {tags}"), "deeper, longer or more than the parser's bound");
}

proptest! {
    #[test]
    fn no_bytes_panic(link in prop_oneof![0u32..300, Just(1), Just(127)], data in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = show(link, &data);
    }

    /// What has the most frequent shape is to the reader of all shapes what it is to that of the one.
    #[test]
    fn a_plain_frame_is_what_it_is_to_parse(
        tag in prop_oneof![2 => Just(""), 1 => Just("8100 a005"), 1 => Just("8100 0000"), 1 => Just("88a8 0005")],
        transport in prop_oneof![
            Just("06 0000 c0000201 c0000202 1f90 01f6 00000001 00000002 5018 1000 0000 0000 61626364"),
            Just("06 0000 c0000201 c0000202 1f90 01f6 00000001 00000002 8018 1000 0000 0000 0101080a"),
            Just("11 0000 c0000201 c0000202 1f90 0035 000c 0000 61626364"),
            Just("11 0000 c0000201 c0000202 1f90 12b5 000c 0000 61626364"),
            Just("11 0000 c0000201 c0000202 147f 1f90 0000 0000 61626364"),
        ],
        changes in proptest::collection::vec((0..64_usize, any::<u8>()), 0..3),
        length in 0..80_usize,
    ) {
        let hex = format!("{ETHER} {tag} 0800 45 00 0030 0000 4000 40 {transport}");
        let mut data = unhex(&hex);
        data.resize(data.len().max(length), 0);
        data.truncate(length.max(20));
        for (at, value) in changes {
            data.get_mut(at).into_iter().for_each(|byte| *byte = value);
        }
        if let Some(plain) = plain(link_type::ETHERNET, &data) {
            let body = Ip {
                src: plain.ip.0.into(),
                dst: plain.ip.1.into(),
                ttl: plain.ttl,
                fragment: None,
                transport: plain.transport,
            };
            prop_assert!(tunnelled(&body).is_none());
            let (src, dst) = plain.link;
            let same = Packet { src, dst, vlan: plain.vlan, body: Body::Ip(body) };
            prop_assert_eq!(format!("{:?}", parse(link_type::ETHERNET, &data)), format!("{:?}", Ok::<_, Malformed>(same)));
        }
    }

    /// Nearly all frames of most networks have that shape.
    #[test]
    fn usual_frames_are_plain(tagged in any::<bool>(), length in 0..40_usize) {
        let tag = if tagged { "8100 0064" } else { "" };
        for transport in [
            "06 0000 c0000201 c0000202 1f90 01f6 00000001 00000002 5018 1000 0000 0000",
            "11 0000 c0000201 c0000202 1f90 0035 0000 0000",
        ] {
            let head = format!("{ETHER} {tag} 0800 45 00 0000 0000 4000 40 {transport}");
            let data = [unhex(&head), vec![0; length]].concat();
            prop_assert!(plain(link_type::ETHERNET, &data).is_some());
            prop_assert!(plain(link_type::LINUX_SLL, &data).is_none());
        }
    }
}
