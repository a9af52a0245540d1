//! Who is called what: address assignment, name service, discovery, management.

pub(crate) mod ber;
mod browser;
mod dhcp;
mod dhcp_options;
mod dhcpv6;
mod dns;
mod dns_message;
mod duid;
pub(crate) mod enterprise;
mod fhrp;
mod fields;
mod identity;
mod llmnr;
mod mdns;
mod mdns_txt;
mod nbns;
mod nbss;
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
pub(crate) mod xml;

use crate::registry::{Datagram, Frame, LinkKey, Stream};

pub(crate) use fields::FIELDS;

/// Link-layer protocols of this group.
pub(crate) const FRAMES: &[Frame] =
    &[Frame { name: "vrrp", key: &[LinkKey::IpProtocol(112)], run: fhrp::vrrp }];

/// Datagram protocols of this group.
pub(crate) const DATAGRAMS: &[Datagram] = &[
    Datagram { name: "dhcp", ports: &[67, 68], probe: None, run: dhcp::run },
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
    Stream { name: "netbios-ssn", ports: &[139], probe: nbss::probe, run: nbss::stream },
];

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::Role;
    use crate::testing::{Recorder, ctx, run_stream};

    proptest! {
        /// No dissector of this group panics or loops, whatever the bytes, the ports and the
        /// family of the network layer.
        #[test]
        fn any_bytes_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..400), v6: bool) {
            let mut feed = |bytes: &[u8]| {
                let mut sink = Recorder::default();
                for d in DATAGRAMS {
                    let port = d.ports[0];
                    for (src, dst) in [(port, 40000), (40000, port), (port, port)] {
                        let mut ctx = ctx(src, dst, Role::Unknown);
                        if v6 {
                            ctx.src.ip = Some("fe80::1".parse::<IpAddr>().unwrap());
                        }
                        let _ = (d.run)(bytes, &ctx, &mut sink);
                    }
                    d.probe.map(|probe| probe(bytes));
                }
                for f in FRAMES {
                    let _ = (f.run)(bytes, &ctx(0, 0, Role::Unknown), &mut sink);
                }
                for s in STREAMS {
                    (s.probe)(bytes);
                    let _ = run_stream(s.run, bytes, &ctx(40000, s.ports[0], Role::Client), &mut sink);
                }
                upnp::description(bytes, &mut sink);
                assert!(sink.lines.len() < 100_000);
            };
            feed(&bytes);
            // The same with heads that get past the first checks.
            for head in [&[1u8, 1, 6, 0][..], &[0x30, 0x82, 1, 0, 2, 1, 1], &[0, 0, 0x84, 0, 0, 0, 0, 5],
                         b"<x:Envelope>", b"NOTIFY * HTTP/1.1\r\n", b"<13>1 - "] {
                let n = head.len().min(bytes.len());
                bytes[..n].copy_from_slice(&head[..n]);
                feed(&bytes);
            }
        }
    }
}
