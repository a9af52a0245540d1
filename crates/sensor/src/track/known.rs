//! Segments that only go on with what is known: most packets of most networks.

use dissect::frame::{self, Tcp};

use super::{Frame, Sensor};
use crate::flows::{Flows, Key};

impl Sensor {
    /// Counts a segment of a known sender in a known conversation of which nothing more is to be read: what reading it as any other frame would
    /// come to. `false`: it may be more than that, and nothing was counted.
    ///
    /// Always inline: it is called once, with every packet.
    #[inline(always)]
    pub(super) fn goes_on(&mut self, frame: &Frame<'_>) -> bool {
        let Some(segment) = frame::segment(frame.link, frame.data) else { return false };
        if segment.flags & (Tcp::SYN | Tcp::FIN | Tcp::RST) != 0 {
            return false;
        }
        let Some(src) = self.links.sender(segment.link_src).filter(|src| *src != 0) else {
            return false;
        };
        let (key, forward) = Key::v4(segment.src, segment.dst, 6);
        let Some(id) = self.flows.find(key) else { return false };
        let Some(flow) = self.flows.get_mut(id) else { return false };
        let from_client = Flows::from_client(flow, forward);
        let end = if from_client { &flow.client } else { &flow.server };
        if end.link != src || segment.carries && !flow.read {
            return false;
        }
        let bytes = u64::from(frame.wire_len);
        flow.count(from_client, frame.at, bytes, segment.ttl);
        flow.sent(from_client).data |= segment.carries;
        self.links.count(src, segment.vlan.or(frame.vlan), frame.at, bytes);
        true
    }
}
