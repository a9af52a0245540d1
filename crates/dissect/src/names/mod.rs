//! Who is called what: address assignment, name service, discovery, management.

use crate::fields::Field;
use crate::registry::{Datagram, Frame, Stream};

/// Field names of this group.
pub(crate) const FIELDS: &[Field] = &[];

/// Link-layer protocols of this group.
pub(crate) const FRAMES: &[Frame] = &[];

/// Datagram protocols of this group.
pub(crate) const DATAGRAMS: &[Datagram] = &[];

/// Stream protocols of this group.
pub(crate) const STREAMS: &[Stream] = &[];
