//! Entry point for fuzzing what the kernel sends: packets of devices are inside it, cut off anywhere.

use std::net::IpAddr;

use crate::netlink::Messages;
use crate::verdict::Seen;
use crate::{cut, drift};

/// Reads `input` as a datagram of netlink messages by everyone who listens to the kernel.
pub fn kernel(input: &[u8]) {
    for message in Messages::new(input) {
        if let Some(seen) = Seen::read(&message) {
            // Both ends of a packet are of one family.
            let packet = seen.packet;
            assert!(packet.is_none_or(|p| p.from.map(is_v4) == p.to.map(is_v4)), "{seen:?}");
        }
        if let Some(entry) = cut::Entry::read(&message) {
            assert!(!entry.addresses().is_empty(), "{entry:?}");
        }
        drift::read_any(&message);
    }
}

fn is_v4(ip: IpAddr) -> bool {
    ip.is_ipv4()
}
