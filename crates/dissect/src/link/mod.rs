//! Protocols directly on the link layer: neighbours, switches, field buses on Ethernet.

mod arp;

use crate::fields::Field;
use crate::registry::{Datagram, Frame, LinkKey};

/// Field names of this group.
pub(crate) const FIELDS: &[Field] = &[];

/// Link-layer protocols of this group.
pub(crate) const FRAMES: &[Frame] =
    &[Frame { name: "arp", key: &[LinkKey::EtherType(0x0806)], run: arp::run }];

/// Datagram protocols of this group.
pub(crate) const DATAGRAMS: &[Datagram] = &[];
