//! Sessions of information technology: web, TLS, messaging, banners.

use crate::fields::Field;
use crate::registry::{Datagram, Stream};

/// Field names of this group.
pub(crate) const FIELDS: &[Field] = &[];

/// Datagram protocols of this group.
pub(crate) const DATAGRAMS: &[Datagram] = &[];

/// Stream protocols of this group.
pub(crate) const STREAMS: &[Stream] = &[];
