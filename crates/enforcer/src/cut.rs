//! Ends open flows: a rule that is taken away does not stop a connection that it let begin.
//!
//! The kernel's connection table is walked over netlink (ctnetlink) and what belongs to a device
//! is deleted, in both directions and for every protocol. One device in a large table is looked
//! for by the kernel itself (`CTA_FILTER`, Linux 5.8); for many devices the table is walked once.
//! Then it is read again: *verified* means that nothing of theirs was found.
//!
//! The order is: first the elements go (so that nothing new is let in), then the flows.
//! [`revoke`] does both.

mod entry;
mod paths;

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

pub use entry::{Entry, Tuple};
pub use paths::Permitted;

use model::ruleset::{Member, Ruleset};

use crate::netlink::{Encoder, NetlinkError, Place, Protocol, Socket};
use crate::{Applied, EnforceError, Fence};

const GET: u8 = 1;
const DELETE: u8 = 2;
const GET_STATS: u8 = 5;
/// `CTA_STATS_GLOBAL_ENTRIES`.
const ENTRIES: u16 = 1;
const FILTER: u16 = 25;
const NESTED: u16 = 0x8000;
/// `CTA_FILTER_F_CTA_IP_SRC` and `_DST`: which parts of a tuple are compared.
const BY_SOURCE: u32 = 1;
const BY_DESTINATION: u32 = 2;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Addresses for which the kernel looks by itself. Each needs four walks of the table; a walk that
/// copies nothing costs about a twentieth of one that lists everything.
const FILTERED_MAX: usize = 4;
/// Entries below which listing everything is as quick.
const SMALL_TABLE: u32 = 2_000;
/// How often the table is read again: packets that are under way may open a flow once more.
const ROUNDS: usize = 3;
/// Flows named in a report that something is left.
const NAMED_MAX: usize = 16;

/// What was cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Flows deleted.
    pub deleted: usize,
    /// Flows found by the last reading; empty when all are gone. At most 16 are named.
    pub left: Vec<Tuple>,
    /// How often the table was read.
    pub readings: usize,
    /// From the first reading to the last.
    pub took: Duration,
}

impl Cut {
    /// Nothing was left when the table was read back.
    pub fn is_verified(&self) -> bool {
        self.readings > 1 && self.left.is_empty()
    }
}

/// The connection table of one network namespace.
#[derive(Debug)]
pub struct Connections {
    socket: Socket,
}

impl Connections {
    /// Opens the table in `place`.
    ///
    /// # Errors
    /// Where netlink cannot be used: no privilege (`CAP_NET_ADMIN`), no such namespace.
    pub fn open(place: &Place) -> Result<Self, NetlinkError> {
        let socket = Socket::open(Protocol::Netfilter, place)?;
        // A listing comes in parts of up to 32 KiB, faster than they are looked at.
        socket.buffers(1 << 20, 8 << 20)?;
        Ok(Self { socket })
    }

    /// Number of open flows.
    pub fn count(&mut self) -> Result<u32, NetlinkError> {
        let mut count = None;
        let kind = kind(GET_STATS);
        self.socket.get(
            kind,
            |e| e.netfilter(0, 0),
            |message| {
                let attributes = message.netfilter().map(|(_, _, attributes)| attributes);
                let entries = attributes.and_then(|a| a.get(ENTRIES)).and_then(|n| n.be32());
                count = entries.or(count);
            },
        )?;
        count.ok_or(NetlinkError::Unreadable("no number of connections"))
    }

    /// Open flows that `wanted` picks; the whole table is walked.
    pub fn list(
        &mut self,
        mut wanted: impl FnMut(&Entry) -> bool,
    ) -> Result<Vec<Entry>, NetlinkError> {
        self.dump(|e| e.netfilter(0, 0), &mut wanted)
    }

    /// Open flows in which one of `addresses` appears, on either side and in either direction.
    pub fn of(&mut self, addresses: &HashSet<IpAddr>) -> Result<Vec<Entry>, NetlinkError> {
        let concerns = |entry: &Entry| entry.addresses().iter().any(|ip| addresses.contains(ip));
        if addresses.len() > FILTERED_MAX || self.count()? < SMALL_TABLE {
            return self.list(concerns);
        }
        let mut out = Vec::new();
        let mut known = HashSet::new();
        for ip in addresses {
            for side in [TUPLE_ASKED, TUPLE_ANSWERED] {
                for part in [BY_SOURCE, BY_DESTINATION] {
                    let found = self.dump(|e| filter(e, *ip, side, part), &mut { concerns });
                    let found = match found {
                        // A kernel that cannot filter says so, or lists everything.
                        Err(error) if error.code().is_some() => return self.list(concerns),
                        other => other?,
                    };
                    out.extend(found.into_iter().filter(|entry| known.insert(entry.key.clone())));
                }
            }
        }
        Ok(out)
    }

    /// Deletes all flows of `addresses` and reads back that none is left.
    pub fn cut(&mut self, addresses: &HashSet<IpAddr>) -> Result<Cut, NetlinkError> {
        self.cut_with(|table| table.of(addresses))
    }

    /// Deletes all flows that `wanted` picks and reads back that none is left. With
    /// [`Permitted::denies`] these are the flows of paths that a new generation closed.
    pub fn cut_where(&mut self, wanted: impl Fn(&Entry) -> bool) -> Result<Cut, NetlinkError> {
        self.cut_with(|table| table.list(&wanted))
    }

    fn cut_with(
        &mut self,
        mut find: impl FnMut(&mut Self) -> Result<Vec<Entry>, NetlinkError>,
    ) -> Result<Cut, NetlinkError> {
        let begin = crate::clock::now();
        let mut cut = Cut::default();
        loop {
            let found = find(self)?;
            cut.readings += 1;
            if found.is_empty() || cut.readings > ROUNDS {
                cut.left = found.iter().map(|entry| entry.asked).take(NAMED_MAX).collect();
                if cut.readings == 1 {
                    // Nothing to delete: that reading is the proof.
                    cut.readings = 2;
                }
                cut.took = begin.elapsed();
                return Ok(cut);
            }
            cut.deleted += self.delete(&found)?;
        }
    }

    /// Deletes these entries; those that ended by themselves meanwhile are not counted.
    fn delete(&mut self, entries: &[Entry]) -> Result<usize, NetlinkError> {
        let mut deleted = 0;
        for entry in entries {
            let key = &entry.key;
            let done = self.socket.request(kind(DELETE), 0, |e| {
                e.netfilter(key.family, 0);
                e.put(TUPLE_ASKED | NESTED, &key.tuple);
                if let Some(zone) = key.zone {
                    e.put_be16(entry::ZONE, zone);
                }
                if let Some(id) = key.id {
                    e.put_be32(entry::ID, id);
                }
            });
            match done {
                Ok(()) => deleted += 1,
                Err(error) if error.is_absent() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(deleted)
    }

    fn dump(
        &mut self,
        body: impl Fn(&mut Encoder),
        wanted: &mut dyn FnMut(&Entry) -> bool,
    ) -> Result<Vec<Entry>, NetlinkError> {
        self.socket.dump(kind(GET), body, |out: &mut Vec<Entry>, message| {
            out.extend(Entry::read(&message).filter(|entry| wanted(entry)));
        })
    }
}

/// A device that lost its place: what was done about it, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked<R> {
    /// What taking its elements away gave.
    pub elements: R,
    /// Its flows.
    pub cut: Cut,
    /// From the first step to the proof.
    pub took: Duration,
}

/// Takes devices' elements away with `elements`, and then ends their flows: in this order, so that
/// no flow can begin again between the two.
///
/// # Errors
/// Those of `elements`, after which no flow was touched; those of netlink, after which the
/// elements are gone and flows may be left: call it again.
pub fn revoke<R>(
    connections: &mut Connections,
    addresses: &HashSet<IpAddr>,
    elements: impl FnOnce() -> Result<R, EnforceError>,
) -> Result<Revoked<R>, EnforceError> {
    let begin = crate::clock::now();
    let elements = elements()?;
    let cut = connections.cut(addresses)?;
    Ok(Revoked { elements, cut, took: begin.elapsed() })
}

/// [`revoke`] for devices of a fence in `place`: their elements go, then their flows, then both
/// sides are read back.
///
/// # Errors
/// Those of [`Fence::revoke`] and of netlink, as with [`revoke`].
pub fn quarantine(
    fence: &Fence,
    place: &Place,
    members: &[Member],
) -> Result<Revoked<Applied>, EnforceError> {
    let mut connections = Connections::open(place)?;
    let addresses = members.iter().map(|member| member.ip).collect();
    revoke(&mut connections, &addresses, || fence.revoke(members))
}

/// Ends the open flows in `place` that `ruleset` does not permit: those of paths that it closed, and
/// those of devices that `before` had and it has not. Call it when the ruleset is in force; `site`
/// as in [`crate::Options::site`].
///
/// # Errors
/// Those of netlink. The kernel judges each packet of an open flow again when the generation
/// changed, so flows that are left are dead, not open.
pub fn closed(
    place: &Place,
    before: Option<&Ruleset>,
    ruleset: &Ruleset,
    site: &[(IpAddr, u8)],
) -> Result<Cut, EnforceError> {
    let permitted = Permitted::new(ruleset, site);
    let permitted = match before {
        Some(before) => permitted.after(before),
        None => permitted,
    };
    Ok(Connections::open(place)?.cut_where(|entry| permitted.denies(entry))?)
}

const TUPLE_ASKED: u16 = entry::TUPLE_ORIG;
const TUPLE_ANSWERED: u16 = entry::TUPLE_REPLY;

fn kind(code: u8) -> u16 {
    u16::from_be_bytes([entry::SUBSYSTEM, code])
}

/// A listing of the entries whose tuple `side` has `ip` as `part`.
fn filter(e: &mut Encoder, ip: IpAddr, side: u16, part: u32) {
    e.netfilter(if ip.is_ipv4() { AF_INET } else { AF_INET6 }, 0);
    e.nested(side | NESTED, |e| {
        e.nested(entry::TUPLE_IP | NESTED, |e| match (ip, part) {
            (IpAddr::V4(ip), BY_SOURCE) => e.put(1, &ip.octets()),
            (IpAddr::V4(ip), _) => e.put(2, &ip.octets()),
            (IpAddr::V6(ip), BY_SOURCE) => e.put(3, &ip.octets()),
            (IpAddr::V6(ip), _) => e.put(4, &ip.octets()),
        });
    });
    let flags = if side == TUPLE_ASKED { 1 } else { 2 };
    e.nested(FILTER | NESTED, |e| e.put_u32(flags, part));
}
