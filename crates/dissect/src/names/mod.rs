//! Who is called what: address assignment, name service, discovery, management.

mod browser;
mod dhcp;
mod dhcp_options;
mod dhcpv6;
mod dns;
mod dns_message;
mod duid;
mod enterprise;
mod fhrp;
mod fields;
mod llmnr;
mod mdns;
mod mdns_txt;
pub(crate) mod nbns;
mod ntp;
mod radius;
mod snmp;
mod snmp_oids;
mod snmp_traps;
mod ssdp;
mod syslog;
mod tftp;
pub(crate) mod upnp;
mod wsd;

use crate::registry::{Datagram, Frame, LinkKey, Stream};

pub(crate) use fields::FIELDS;

/// Link-layer protocols of this group.
pub(crate) const FRAMES: &[Frame] =
    &[Frame { name: "vrrp", key: &[LinkKey::IpProtocol(112)], run: fhrp::vrrp }];

/// Datagram protocols of this group.
pub(crate) const DATAGRAMS: &[Datagram] = &[
    Datagram { name: "dhcp", ports: &[67, 68, 4011], probe: None, run: dhcp::run },
    Datagram { name: "dhcpv6", ports: &[546, 547], probe: None, run: dhcpv6::run },
    Datagram { name: "dns", ports: &[53], probe: None, run: dns::run },
    Datagram { name: "mdns", ports: &[5353], probe: None, run: mdns::run },
    Datagram { name: "llmnr", ports: &[5355], probe: None, run: llmnr::run },
    Datagram { name: "nbns", ports: &[137], probe: None, run: nbns::run },
    Datagram { name: "netbios-dgm", ports: &[138], probe: None, run: browser::run },
    Datagram { name: "ssdp", ports: &[1900], probe: Some(ssdp::probe), run: ssdp::run },
    Datagram { name: "ws-discovery", ports: &[3702], probe: Some(wsd::probe), run: wsd::run },
    Datagram { name: "snmp", ports: &[161, 162], probe: None, run: snmp::run },
    Datagram { name: "syslog", ports: &[514], probe: None, run: syslog::run },
    Datagram { name: "ntp", ports: &[123], probe: None, run: ntp::run },
    Datagram { name: "tftp", ports: &[69], probe: None, run: tftp::run },
    Datagram { name: "radius", ports: &[1812, 1813, 1645, 1646], probe: None, run: radius::run },
    Datagram { name: "hsrp", ports: &[1985, 2029], probe: None, run: fhrp::hsrp },
];

/// Stream protocols of this group.
pub(crate) const STREAMS: &[Stream] = &[
    Stream { name: "dns", ports: &[53], probe: dns::probe, run: dns::stream },
    Stream { name: "syslog", ports: &[514, 601], probe: syslog::probe, run: syslog::stream },
];

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::dns_message::build as dns_build;
    use super::snmp::build as snmp_build;
    use super::*;
    use crate::Role;
    use crate::testing::{Recorder, ctx, run_stream, unhex};

    /// Shows bytes to everything in this group, from both sides and over both families.
    fn feed(bytes: &[u8]) {
        let mut sink = Recorder::default();
        for d in DATAGRAMS {
            let port = d.ports[0];
            for (src, dst) in [(port, 40000), (40000, port), (port, port)] {
                let mut ctx = ctx(src, dst, Role::Unknown);
                let _ = (d.run)(bytes, &ctx, &mut sink);
                ctx.src.ip = Some("fe80::1".parse::<IpAddr>().unwrap());
                let _ = (d.run)(bytes, &ctx, &mut sink);
            }
            d.probe.map(|probe| probe(bytes));
        }
        let ctx = ctx(40000, 53, Role::Client);
        for f in FRAMES {
            let _ = (f.run)(bytes, &ctx, &mut sink);
        }
        for s in STREAMS {
            (s.probe)(bytes);
            let _ = run_stream(s.run, bytes, &ctx, &mut sink);
        }
        upnp::description(bytes, &mut sink);
        assert!(sink.lines.len() < 20_000);
        for line in &sink.lines {
            assert!(!line.chars().any(char::is_control), "{line:?}");
        }
    }

    /// Valid messages to damage.
    fn seeds() -> Vec<Vec<u8>> {
        let record = dns_build::record;
        let instance = "a._hap._tcp.local";
        let records = [
            record("_hap._tcp.local", 12, &dns_build::name(instance)),
            record(instance, 33, &dns_build::srv("a.local")),
            record(instance, 16, &dns_build::txt(&["md=X", "id=00:11:22:33:44:55"])),
            record("a.local", 1, &[192, 0, 2, 77]),
        ];
        let dhcp = "01010600 3903f326 00000000 00000000 00000000 00000000 00000000 001b1b358410";
        let options = "63825363 350101 3d0fff0000000100030001001b1b358411 0c0161 2b0605044142 \
                       7d110000 0de90c0106303031423142020253 37 5212010600040064020502080006020000000099 ff";
        vec![
            dns_build::message(0x8400, &[], [&records, &[], &[]]),
            snmp_build::message(
                0xa2,
                &[
                    snmp_build::variable("1.3.6.1.2.1.1.2.0", 6, b"1.3.6.1.4.1.9.1.1"),
                    snmp_build::variable("1.3.6.1.2.1.47.1.1.1.1.13.1", 4, b"Model"),
                ],
            ),
            snmp_build::trap_v1(
                "1.0.8802.1.1.2.1.5.4795",
                [192, 0, 2, 9],
                [6, 1],
                &[snmp_build::variable("1.0.8802.1.1.2.1.4.1.1.4.1.2.3", 2, &[4])],
            ),
            unhex(&format!("{dhcp} {} {options}", "00".repeat(202))),
            unhex("01 102030 0001 000a 0003 0001 001b1b358410 0010 000a 00000137 0004 4d534654"),
            b"NOTIFY * HTTP/1.1\r\nSERVER: a\r\nUSN: uuid:abcdefgh::x\r\nX-A: b\r\n\r\n".to_vec(),
            b"<s:Envelope><s:Body><d:Hello><d:Scopes>onvif://www.onvif.org/name/a%20b</d:Scopes>\
              </d:Hello></s:Body></s:Envelope>"
                .to_vec(),
            b"<root><device><modelName>a&amp;b</modelName></device></root>".to_vec(),
            b"<189>Jan  1 00:00:00 a b[1]: devid=\"x\" sn=y".to_vec(),
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            feed(&bytes);
        }

        #[test]
        fn damaged_messages_are_survived(
            which in any::<prop::sample::Index>(),
            cut in any::<prop::sample::Index>(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        ) {
            let mut bytes = which.get(&seeds()).clone();
            for (at, value) in damage {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            feed(&bytes);
            feed(&bytes[..cut.index(bytes.len())]);
        }
    }
}
