//! Messages of conversations, shown to the dissectors that may know them.

/// Datagrams of one conversation shown to dissectors that did not recognise any of them.
const MISSES_MAX: u8 = 6;
/// A repeated message is read again after this long, so that times stay fresh.
const REPEAT_NANOS: i64 = 600_000_000_000;

use std::sync::Arc;

use dissect::frame::Tcp;
use dissect::{Ctx, Malformed, Role, Step};

use super::{Ends, Sensor, side};
use crate::dispatch::NameId;
use crate::flows::FlowId;
use crate::links::LinkId;
use crate::report::{Desk, Moment, Side};
use crate::streams::{PROBES_MAX, Read, Watch};

impl Sensor {
    /// Reads a datagram of a conversation, unless it says nothing new.
    #[inline]
    pub(super) fn datagram(
        &mut self,
        m: &Moment,
        id: FlowId,
        from_client: bool,
        (ends, payload): (&Ends, &[u8]),
        src: LinkId,
    ) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        if flow.misses >= MISSES_MAX || payload.is_empty() {
            return;
        }
        let (from, to) = ends.ports;
        let is_nothing = payload.len() < 4 && flow.application == 0 && flow.misses == 0;
        let known = |port| self.dispatch.udp_port_known(port);
        if is_nothing && !known(from) && !known(to) {
            return;
        }
        let role = flow.role(from_client);
        if self.repeated(m, src, u32::from(from) << 16 | u32::from(to), payload) {
            return;
        }
        self.show_datagram(m, id, role, (ends, payload), src);
    }

    /// Shows a datagram to the dissectors of its ports, then to those that know it by its bytes.
    fn show_datagram(
        &mut self,
        m: &Moment,
        id: FlowId,
        role: Role,
        (ends, payload): (&Ends, &[u8]),
        src: LinkId,
    ) {
        let (from, to) = ends.ports;
        let ends = self.sides(src, ends);
        let Some(flow) = self.flows.get_mut(id) else { return };
        let known = flow.application;
        let mut memory = flow.memory.take();
        let mut server_name = flow.server_name.take();
        let mut candidates: [u16; 8] = [u16::MAX; 8];
        let by_port = self.dispatch.udp_port(to).iter().chain(self.dispatch.udp_port(from));
        for (slot, candidate) in candidates.iter_mut().zip(by_port) {
            *slot = *candidate;
        }
        let mut accepted: NameId = 0;
        let mut foreign = true;
        for candidate in candidates.into_iter().take_while(|c| *c != u16::MAX) {
            let Some((name, dissector)) =
                self.dispatch.datagrams.get(usize::from(candidate)).copied()
            else {
                break;
            };
            match self.show(m, ends, role, &mut server_name, &mut memory, |ctx, desk| {
                (dissector.run)(payload, ctx, desk)
            }) {
                Err(Malformed::NotMine) => {}
                outcome => {
                    foreign = false;
                    accepted = if outcome.is_ok() { name } else { 0 };
                    break;
                }
            }
        }
        if foreign
            && let Some(i) = self.dispatch.probe_datagram(payload)
            && let Some((name, dissector)) = self.dispatch.datagrams.get(usize::from(i)).copied()
        {
            let outcome = self.show(m, ends, role, &mut server_name, &mut memory, |ctx, desk| {
                (dissector.run)(payload, ctx, desk)
            });
            accepted = if outcome.is_ok() { name } else { 0 };
        }
        if let Some(flow) = self.flows.get_mut(id) {
            flow.memory.put(memory);
            flow.server_name = server_name;
            flow.application = if accepted == 0 { known } else { accepted };
            flow.misses = if accepted == 0 && known == 0 { flow.misses + 1 } else { 0 };
        }
        self.speaks(src, accepted);
    }

    /// Shows a TCP segment to the dissector of its stream, finding that one first.
    pub(super) fn segment(
        &mut self,
        m: &Moment,
        id: FlowId,
        from_client: bool,
        (ends, tcp): (&Ends, &Tcp<'_>),
        src: LinkId,
    ) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        let mut watch = flow.watch.take().unwrap_or_default();
        let role = flow.role(from_client);
        let server_port = flow.server.port;
        if watch.dissector.is_none() {
            watch.dissector = self.dispatch.probe_stream(server_port, tcp.payload);
            watch.probed += 1;
        }
        let found =
            watch.dissector.and_then(|i| self.dispatch.streams.get(usize::from(i)).copied());
        let Some((name, dissector)) = found else {
            if let Some(flow) = self.flows.get_mut(id) {
                flow.read = watch.probed >= PROBES_MAX;
                flow.watch = (!flow.read).then_some(watch);
            }
            return;
        };
        let flow = self.flows.get_mut(id);
        let (mut memory, mut server_name) = flow
            .map_or_else(Default::default, |flow| (flow.memory.take(), flow.server_name.take()));
        let ends = self.sides(src, ends);
        let mut made_sense = false;
        if let Some(half) = watch.halves.get_mut(usize::from(!from_client)) {
            half.segment(tcp.seq, tcp.payload, &mut |bytes| {
                self.show(m, ends, role, &mut server_name, &mut memory, |ctx, desk| {
                    read(dissector.run, bytes, ctx, desk, &mut made_sense)
                })
            });
        }
        let Watch { halves: [a, b], .. } = watch.as_ref();
        let over = a.done && b.done;
        if let Some(flow) = self.flows.get_mut(id) {
            flow.memory.put(memory);
            flow.server_name = server_name;
            flow.read = over;
            if made_sense {
                flow.application = name;
                // The protocol speaks at its registered port: that end is the server, even when the
                // capture began in the middle of the connection.
                flow.roles_certain =
                    flow.roles_certain || dissector.ports.contains(&flow.server.port);
            }
            flow.watch = (!over).then_some(watch);
        }
        if made_sense {
            self.speaks(src, name);
        }
    }

    /// Both ends of a packet, for those who read it.
    #[inline]
    pub(super) fn sides(&self, src: LinkId, ends: &Ends) -> (Side, Side) {
        let Ends { link, ip, ports } = *ends;
        let dst = self.links.find(link.1);
        (side(src, link.0, Some(ip.0), ports.0), side(dst, link.1, Some(ip.1), ports.1))
    }

    /// Runs a dissector on one message.
    pub(super) fn show<T>(
        &mut self,
        m: &Moment,
        (src, dst): (Side, Side),
        role: Role,
        server_name: &mut Option<Arc<str>>,
        memory: &mut Vec<(u64, u64)>,
        run: impl FnOnce(&Ctx, &mut Desk<'_>) -> T,
    ) -> T {
        let ctx = Ctx { src: src.end, dst: dst.end, role, at: m.at };
        let mut desk = Desk {
            report: &mut self.report,
            links: &mut self.links,
            moment: *m,
            src,
            dst,
            memory,
            server_name,
            count: 0,
        };
        run(&ctx, &mut desk)
    }

    /// The same sender sent the same bytes to the same ports a short while ago.
    pub(super) fn repeated(&mut self, m: &Moment, src: LinkId, ports: u32, payload: &[u8]) -> bool {
        let period = m.at.as_nanos().div_euclid(REPEAT_NANOS);
        self.repeats.again((src, ports, period, payload))
    }

    #[inline]
    pub(super) fn speaks(&mut self, link: LinkId, name: NameId) {
        if let Some(link) = self.links.get_mut(link).filter(|_| link != 0) {
            link.speaks(name);
        }
    }
}

/// Lets a dissector read all it can of what is there.
fn read(
    run: fn(&[u8], &Ctx, &mut dyn dissect::Sink) -> Step,
    bytes: &[u8],
    ctx: &Ctx,
    desk: &mut Desk<'_>,
    made_sense: &mut bool,
) -> Read {
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match run(rest, ctx, desk) {
            Step::Consumed(n) => {
                *made_sense = true;
                at += n.clamp(1, rest.len());
            }
            Step::NeedMore => break,
            Step::Resync => return Read::Lost,
            Step::Done => {
                *made_sense = true;
                return Read::Done;
            }
        }
    }
    Read::Consumed(at)
}
