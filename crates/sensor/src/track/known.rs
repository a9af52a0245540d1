//! Packets that only go on with what is known: most of most networks.

use dissect::frame::{self, Tcp, Transport};

use super::{Ends, Frame, Sensor};
use crate::flows::{Flows, Key};
use crate::report::Moment;

impl Sensor {
    /// Takes a packet of a known sender in a known conversation, as [`Sensor::read`] would, with fewer questions. `false`: it may be more than
    /// that, and nothing was counted.
    ///
    /// Always inline: it is called once, with every packet.
    #[inline(always)]
    pub(super) fn goes_on(&mut self, m: &Moment, frame: &Frame<'_>) -> bool {
        let Some(packet) = frame::plain(frame.link, frame.data) else { return false };
        let (ports, protocol) = match packet.transport {
            // Who opens may be another than before; who closes changes how long it is waited for more.
            Transport::Tcp(tcp) if tcp.flags & (Tcp::SYN | Tcp::FIN | Tcp::RST) == 0 => {
                ((tcp.src, tcp.dst), 6)
            }
            Transport::Udp { src, dst, .. } => ((src, dst), 17),
            _ => return false,
        };
        let Some(src) = self.links.sender(packet.link.0).filter(|src| *src != 0) else {
            return false;
        };
        let (key, forward) = Key::v4((packet.ip.0, ports.0), (packet.ip.1, ports.1), protocol);
        let Some(id) = self.flows.find(key) else { return false };
        let Some(flow) = self.flows.get_mut(id) else { return false };
        let from_client = Flows::from_client(flow, forward);
        let end = if from_client { &flow.client } else { &flow.server };
        if end.link != src {
            return false;
        }
        let bytes = u64::from(frame.wire_len);
        flow.count(from_client, frame.at, bytes, packet.ttl);
        self.links.count(src, packet.vlan.or(frame.vlan), frame.at, bytes);
        let ends =
            || Ends { link: packet.link, ip: (packet.ip.0.into(), packet.ip.1.into()), ports };
        match packet.transport {
            Transport::Tcp(tcp) if !tcp.payload.is_empty() => {
                flow.sent(from_client).data = true;
                if !flow.read {
                    self.segment(m, id, from_client, (&ends(), &tcp), src);
                }
            }
            Transport::Udp { payload, .. } => {
                self.datagram(m, id, from_client, (&ends(), payload), src);
            }
            _ => {}
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use dissect::frame::link_type;
    use model::{SensorId, SiteId, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::Config;

    /// What may be in a frame, chosen from few so that packets meet.
    #[derive(Clone, Debug)]
    struct Sent {
        forward: bool,
        macs: (u8, u8),
        ports: (u16, u16),
        /// TCP's flags; UDP without.
        flags: Option<u8>,
        payload: &'static [u8],
        seq: u32,
        tag: Option<u16>,
        vlan: Option<u16>,
        ttl: u8,
        /// Flags and offset of fragments.
        fragment: u16,
        gap_secs: i64,
    }

    fn sent() -> impl Strategy<Value = Sent> {
        let payload = prop::sample::select(vec![
            &b""[..],
            b"x",
            b"GET /a HTTP/1.1\r\nHost: cam.example\r\nUser-Agent: probe/1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nServer: cam/2\r\nContent-Length: 0\r\n\r\n",
            b"\x00\x01\x00\x00\x00\x05\x01\x2b\x0e\x01\x00",
            b"SSH-2.0-dropbear_2019.78\r\n",
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03cam\x07example\x00\x00\x01\x00\x01",
            b"noise that nobody knows",
        ]);
        let ports = prop::sample::select(vec![
            (40_000, 80),
            (40_000, 502),
            (40_001, 53),
            (40_002, 4789),
            (5247, 40_003),
            (40_004, 40_005),
            (22, 40_006),
        ]);
        let flags =
            prop::option::of(prop::sample::select(vec![0x10, 0x18, 0x02, 0x12, 0x11, 0x14]));
        let shape = (any::<bool>(), (0..3_u8, 0..3_u8), ports, flags, payload, 0..3_u32);
        let rest = (
            prop::option::weighted(0.2, 0..3_u16),
            prop::option::weighted(0.1, 5..7_u16),
            prop::sample::select(vec![64_u8, 63]),
            prop::sample::select(vec![0_u16, 0x4000, 0x4000, 0x2000, 7]),
            prop::sample::select(vec![0_i64, 0, 0, 1, -1, 130, 4_000]),
        );
        (shape, rest).prop_map(
            |(
                (forward, macs, ports, flags, payload, seq),
                (tag, vlan, ttl, fragment, gap_secs),
            )| {
                let seq = seq * 40;
                Sent {
                    forward,
                    macs,
                    ports,
                    flags,
                    payload,
                    seq,
                    tag,
                    vlan,
                    ttl,
                    fragment,
                    gap_secs,
                }
            },
        )
    }

    /// One connection, from beginning to end in any order.
    fn connection() -> impl Strategy<Value = Sent> {
        sent().prop_map(|sent| Sent {
            macs: (0, 0),
            ports: (40_000, 80),
            flags: sent.flags.or(Some(0x18)),
            fragment: 0,
            ..sent
        })
    }

    impl Sent {
        fn data(&self) -> Vec<u8> {
            let turn = |(a, b): (u16, u16)| if self.forward { (a, b) } else { (b, a) };
            let mac = |n: u8| [if n == 2 { 3 } else { 2 }, 0, 0, 0, 0, n];
            let (src, dst) = turn((self.macs.0.into(), 8 + u16::from(self.macs.1)));
            let (from, to) = turn(self.ports);
            let (a, b) = turn((1, 2));
            let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
            let transport = match self.flags {
                Some(flags) => [
                    ports,
                    self.seq.to_be_bytes().to_vec(),
                    vec![0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0],
                ],
                None => [ports, vec![0, 0], vec![0, 0]],
            };
            let carried = [transport.concat(), self.payload.to_vec()].concat();
            let length = u16::try_from(20 + carried.len()).unwrap().to_be_bytes();
            let protocol = if self.flags.is_some() { 6 } else { 17 };
            let tag = self.tag.map(|id| [vec![0x81, 0x00], id.to_be_bytes().to_vec()].concat());
            [
                mac(u8::try_from(dst).unwrap()).to_vec(),
                mac(u8::try_from(src).unwrap()).to_vec(),
                tag.unwrap_or_default(),
                vec![0x08, 0x00, 0x45, 0x00],
                length.to_vec(),
                vec![0, 9],
                self.fragment.to_be_bytes().to_vec(),
                vec![self.ttl, protocol, 0, 0, 10, 0, 0, u8::try_from(a).unwrap()],
                vec![10, 0, 0, u8::try_from(b).unwrap()],
                carried,
            ]
            .concat()
        }
    }

    /// What a sensor tells of these packets, and how many of them only went on.
    fn told(packets: &[Sent], ask: bool) -> (Vec<String>, usize) {
        let (site, name) = (SiteId::new("site").unwrap(), SensorId::new("sensor").unwrap());
        let mut sensor = Sensor::new(Config { site, sensor: name });
        let (mut told, mut known, mut secs) = (Vec::new(), 0, 1_000_000);
        for (number, packet) in (1..).zip(packets) {
            secs += packet.gap_secs;
            let data = packet.data();
            let frame = Frame {
                input: 0,
                number,
                at: Timestamp::from_secs(secs, 0),
                link: link_type::ETHERNET,
                wire_len: u32::try_from(data.len()).unwrap(),
                vlan: packet.vlan,
                data: &data,
            };
            if packet.gap_secs > 100 {
                sensor.sweep(frame.at);
            }
            let moment = sensor.count(&frame);
            if ask && sensor.goes_on(&moment, &frame) {
                known += 1;
            } else {
                sensor.read(&moment, &frame);
            }
            told.extend(sensor.drain().map(|o| format!("{o:?}")));
        }
        told.push(format!("{:?}", sensor.totals()));
        sensor.finish(&mut |o| told.push(format!("{o:?}")));
        (told, known)
    }

    proptest! {
        #[test]
        fn what_goes_on_is_told_as_if_it_were_read(
            packets in prop_oneof![
                prop::collection::vec(sent(), 1..60),
                prop::collection::vec(connection(), 1..20),
            ],
        ) {
            prop_assert_eq!(told(&packets, true).0, told(&packets, false).0);
        }
    }

    #[test]
    fn most_packets_of_a_conversation_only_go_on() {
        let packet = |forward, flags, payload| Sent {
            forward,
            macs: (0, 0),
            ports: (40_000, 80),
            flags: Some(flags),
            payload,
            seq: 0,
            tag: None,
            vlan: None,
            ttl: 64,
            fragment: 0,
            gap_secs: 0,
        };
        let mut packets = vec![packet(true, 0x02, b""), packet(false, 0x12, b"")];
        packets.extend((0..20).map(|n| packet(n % 2 == 0, 0x18, b"data")));
        packets.push(packet(true, 0x11, b""));
        assert_eq!(told(&packets, true).1, 20);
    }
}
