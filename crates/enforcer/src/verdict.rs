//! What the fence did, packet by packet, as the kernel logs it (NFLOG), and why.
//!
//! ```text
//! NFLOG group ──▶ Log ──▶ Seen (what the kernel says) ──▶ Namer ──▶ VerdictRecord (who, why)
//! ```
//!
//! Records are numbered by the kernel: what is missing is counted and told as a
//! [`model::verdict::Lost`], never passed over. The prefix of a record says which rule logged it
//! ([`crate::plan::Prefix`]); which packets are logged at all, and how often, the rules decide.
//!
//! Bounds: at most [`COPY_BYTES`] of a packet are copied out of the kernel; names of interfaces are
//! asked for once each.

mod links;
mod name;
mod record;

use std::time::Duration;

use model::verdict::Lost;
use model::{SiteId, Timestamp};

pub use links::Links;
pub use name::Namer;
pub use record::{Packet, Seen};

use crate::EnforceError;
use crate::netlink::{NetlinkError, Place, Protocol, Socket};

/// NFLOG group that a site's rules log to.
pub const GROUP: u16 = 77;
/// Bytes of each packet that are looked at: IPv6 with extension headers and a transport header.
pub const COPY_BYTES: u32 = 128;
/// Receive buffer, bytes: some 40,000 records.
const BUFFER_BYTES: usize = 16 << 20;
/// Records the kernel gathers before it sends them, and how long it waits for them (1/100 s).
const GATHER: u32 = 32;
const GATHER_CENTISECONDS: u32 = 1;
/// Bytes of one gathering.
const GATHER_BYTES: u32 = 64 << 10;

/// `NFULNL_MSG_CONFIG` of `NFNL_SUBSYS_ULOG`.
const CONFIG: u16 = u16::from_be_bytes([record::SUBSYSTEM, 1]);
const CFG_COMMAND: u16 = 1;
const CFG_MODE: u16 = 2;
const CFG_BUFFER: u16 = 3;
const CFG_TIMEOUT: u16 = 4;
const CFG_THRESHOLD: u16 = 5;
const CFG_FLAGS: u16 = 6;
const BIND: u8 = 1;
const COPY_PACKET: u8 = 2;
const NUMBERED: u16 = 1;

/// The reading end of an NFLOG group. There is one reader per group and network namespace.
#[derive(Debug)]
pub struct Log {
    socket: Socket,
    links: Links,
    gaps: Gaps,
    foreign: u64,
}

impl Log {
    /// Binds `group` in `place`.
    ///
    /// # Errors
    /// Where the group has another reader already, or netlink cannot be used.
    pub fn open(place: &Place, group: u16) -> Result<Self, EnforceError> {
        let mut socket = Socket::open(Protocol::Netfilter, place)?;
        socket.buffers(1 << 16, BUFFER_BYTES)?;
        let bound = socket.request(CONFIG, 0, |e| {
            e.netfilter(0, group);
            e.put_u8(CFG_COMMAND, BIND);
        });
        bound.map_err(|error| taken(error, group))?;
        socket.request(CONFIG, 0, |e| {
            e.netfilter(0, group);
            let [a, b, c, d] = COPY_BYTES.to_be_bytes();
            e.put(CFG_MODE, &[a, b, c, d, COPY_PACKET, 0]);
            e.put_be32(CFG_BUFFER, GATHER_BYTES);
            e.put_be32(CFG_TIMEOUT, GATHER_CENTISECONDS);
            e.put_be32(CFG_THRESHOLD, GATHER);
            e.put_be16(CFG_FLAGS, NUMBERED);
        })?;
        Ok(Self { socket, links: Links::new(place.clone()), gaps: Gaps::default(), foreign: 0 })
    }

    /// Waits for records at most `timeout` and hands each of ours to `each`, with the interfaces by
    /// name. Returns what is known to be lost since the last call.
    pub fn read(
        &mut self,
        timeout: Duration,
        mut each: impl FnMut(&Seen, &mut Links),
    ) -> Result<Option<Gap>, EnforceError> {
        let Self { socket, links, gaps, foreign } = self;
        let read = socket.events(timeout, |message| {
            let Some(seen) = Seen::read(&message) else {
                return;
            };
            gaps.number(seen.number);
            if seen.prefix.is_some() {
                each(&seen, links);
            } else {
                *foreign += 1;
            }
        });
        match read {
            Ok(some) => Ok(gaps.take(!some)),
            Err(NetlinkError::Lost) => {
                gaps.overrun = true;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Interfaces by name, for records that were kept.
    pub fn links(&mut self) -> &mut Links {
        &mut self.links
    }

    /// Records in our group that rules of others sent: their prefix is not ours.
    pub fn foreign(&self) -> u64 {
        self.foreign
    }
}

fn taken(error: NetlinkError, group: u16) -> EnforceError {
    // EPERM is also what the kernel says when the group is another socket's.
    if matches!(error.code(), Some(libc::EBUSY | libc::EEXIST | libc::EPERM)) {
        return EnforceError::Io {
            doing: format!(
                "read NFLOG group {group}; another program may be reading it (see \
                 /proc/net/netfilter/nfnetlink_log), or CAP_NET_ADMIN is missing"
            ),
            source: std::io::Error::other(error),
        };
    }
    error.into()
}

/// Records that nobody saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// How many, by their numbers; 0 where the kernel only said that there were some.
    pub records: u64,
    /// The socket itself said so, and not only the numbers.
    pub overrun: bool,
}

impl Gap {
    /// The gap as a line of the log.
    pub fn line(self, at: Timestamp, site: SiteId) -> Lost {
        // The kernel's reason is the same with and without an error on the socket.
        let why = "verdicts came faster than they were read: the kernel's log buffer was full";
        Lost { at, site, records: self.records, why: why.to_owned() }
    }
}

/// Finds what is missing.
#[derive(Debug, Default)]
struct Gaps {
    next: Option<u32>,
    missing: u64,
    overrun: bool,
}

impl Gaps {
    fn number(&mut self, number: Option<u32>) {
        let Some(number) = number else {
            return;
        };
        if let Some(next) = self.next {
            self.missing += u64::from(number.wrapping_sub(next));
        }
        self.next = Some(number.wrapping_add(1));
    }

    /// What is known by now. An overrun is told with the number of records as soon as the next one
    /// has come; when nothing comes (`quiet`), without.
    fn take(&mut self, quiet: bool) -> Option<Gap> {
        let told = self.missing > 0 || (self.overrun && quiet);
        let gap = Gap { records: self.missing, overrun: self.overrun };
        if told {
            (self.missing, self.overrun) = (0, false);
        }
        told.then_some(gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_also_across_the_wrap_and_after_an_overrun() {
        let mut gaps = Gaps::default();
        let mut check = |numbers: &[u32], overrun, quiet, expect: Option<(u64, bool)>| {
            gaps.overrun |= overrun;
            numbers.iter().for_each(|n| gaps.number(Some(*n)));
            let gap = gaps.take(quiet).map(|gap| (gap.records, gap.overrun));
            assert_eq!(gap, expect, "{numbers:?}");
        };
        // A group that was read by another program before does not begin at 0.
        check(&[7, 8], false, false, None);
        check(&[9, 12], false, false, Some((2, false)));
        check(&[], true, false, None);
        check(&[20], false, false, Some((7, true)));
        check(&[u32::MAX], false, false, Some((u64::from(u32::MAX) - 21, false)));
        check(&[0, 1], false, false, None);
        check(&[], true, true, Some((0, true)));
        check(&[], false, true, None);
    }

    #[test]
    fn a_gap_is_a_line_of_the_log() {
        let line = Gap { records: 3, overrun: true }
            .line(Timestamp::from_secs(1, 0), SiteId::new("north").unwrap());
        assert_eq!(line.records, 3);
        assert!(line.why.contains("buffer was full"));
    }
}
