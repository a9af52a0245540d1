//! Where packets come from: capture files of every common kind, several of them in time order, and
//! live interfaces.
//!
//! A capture is foreign input. Lengths in it are claims, never instructions: memory is bounded by
//! [`PACKET_BYTES_MAX`] whatever a file says, and a fault is recorded with its offset while all that
//! was readable before it (and after it, where the next record is certain) is delivered.
//!
//! ```text
//! file, stdin ─▶ gzip, zstd ─▶ Window ─▶ Pcap | PcapNg ─┐
//!                                                       ├─▶ Source ─▶ Merge ─▶ (source, Packet)
//! interface ───▶ mapped ring ─────────────────▶ Ring ───┘
//! ```
//!
//! Files are read in large pieces instead of being mapped: a piece stays in the second-level cache,
//! which makes it as fast as a mapping, pipes and compressed files take the same way, and a file that
//! shrinks while it is read is an error instead of a `SIGBUS`.

pub mod fuzzing;
mod merge;
mod open;
mod pcap;
mod pcapng;
pub mod ring;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_ring;
mod window;

use model::Timestamp;

pub use merge::{Merge, merge};
pub use open::{OpenError, open, read};
pub use ring::Ring;

/// Largest packet that is read, in bytes: libpcap's own bound (`MAXIMUM_SNAPLEN`). A record that
/// claims more is a fault, not a packet.
pub const PACKET_BYTES_MAX: usize = 262_144;

/// Faults described one by one; further ones are only counted.
pub const ERRORS_MAX: usize = 32;

/// One packet as captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The captured bytes, from the link header on.
    pub data: &'a [u8],
    /// Length on the wire; more than `data` when a snap length cut it.
    pub wire_len: u32,
    /// When it was captured; [`Timestamp::EPOCH`] where the format has no clock.
    pub at: Timestamp,
    /// Link type (the registry of `LINKTYPE_` values): 1 Ethernet, 101 raw IP, 113 Linux cooked….
    pub link: u32,
    /// Number in its source, from 1.
    pub number: u64,
    /// VLAN id that the kernel took out of the frame before the capture saw it.
    pub vlan: Option<u16>,
}

/// A sequence of packets, read once from the front.
pub trait Source: Send {
    /// Goes to the next packet and tells its time; `None` at the end. A live source waits.
    fn advance(&mut self) -> Option<Timestamp>;

    /// The packet [`Self::advance`] went to. Not to be asked after [`Self::next`], which need not write it down.
    fn current(&self) -> Option<Packet<'_>>;

    /// How far it is and what went wrong so far.
    fn status(&self) -> Status;

    /// Goes to the next packet and shows it. What is written down for [`Self::current`] and read at once is waited for, so a source whose packets come by the
    /// million shows them without.
    fn next(&mut self) -> Option<Packet<'_>> {
        self.advance()?;
        self.current()
    }
}

/// How far a source is and what went wrong so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// File or interface, as it was given.
    pub name: String,
    /// Packets delivered.
    pub packets: u64,
    /// Captured bytes of those packets.
    pub bytes: u64,
    /// Bytes of the file read so far (as stored, so compressed ones count compressed).
    pub position: u64,
    /// Bytes of the whole file, where that is known.
    pub size: Option<u64>,
    /// What went wrong, each with its byte offset; at most [`ERRORS_MAX`] and a count of the rest.
    pub errors: Vec<String>,
    /// It ended inside a packet.
    pub truncated: bool,
    /// Packets the capture lost, by the kernel's count or by what the file tells.
    pub dropped: u64,
}

impl From<Status> for model::inspect::Input {
    fn from(status: Status) -> Self {
        Self {
            name: status.name,
            packets: status.packets,
            bytes: status.bytes,
            errors: status.errors,
            truncated: status.truncated,
            dropped: status.dropped,
        }
    }
}

/// Faults of one source, described up to a bound and counted beyond it.
#[derive(Debug, Default)]
struct Faults {
    described: Vec<String>,
    more: u64,
    truncated: bool,
}

impl Faults {
    fn add(&mut self, fault: String) {
        if self.described.len() < ERRORS_MAX {
            self.described.push(fault);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    fn truncated(&mut self, fault: String) {
        self.truncated = true;
        self.add(fault);
    }

    fn to_vec(&self) -> Vec<String> {
        let mut all = self.described.clone();
        if self.more > 0 {
            all.push(format!("and {} more faults like these", self.more));
        }
        all
    }
}

/// Where the bytes of the current packet are in the window, and what its header said.
#[derive(Clone, Copy, Debug)]
struct Record {
    start: usize,
    len: usize,
    wire_len: u32,
    at: Timestamp,
    link: u32,
}

/// What both file formats keep: the bytes, the current packet, counters.
#[derive(Debug)]
struct Reading {
    name: String,
    window: window::Window,
    /// What offsets count: `byte` or, inside a compressed file, `decompressed byte`.
    unit: &'static str,
    progress: window::Progress,
    current: Option<Record>,
    packets: u64,
    bytes: u64,
    dropped: u64,
    faults: Faults,
    /// Searches for the next good record so far; bounded by [`RESYNCS_MAX`].
    resyncs: u32,
}

/// Searches for the next good record in one file; a file with more faults than that is noise.
const RESYNCS_MAX: u32 = 64;

/// How far such a search looks.
const RESYNC_BYTES_MAX: usize = 512 * 1024;

impl Reading {
    fn new(
        name: String,
        window: window::Window,
        unit: &'static str,
        progress: window::Progress,
    ) -> Self {
        Self {
            name,
            window,
            unit,
            progress,
            current: None,
            packets: 0,
            bytes: 0,
            dropped: 0,
            faults: Faults::default(),
            resyncs: 0,
        }
    }

    /// Passes `total` bytes, of which the packet's own lie `skip` bytes ahead. They must have been ensured.
    #[inline]
    fn deliver(&mut self, skip: usize, total: usize, record: Record) -> Record {
        let start = self.window.start().saturating_add(skip);
        self.window.consume(total);
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(record.len as u64);
        Record { start, ..record }
    }

    #[inline]
    fn current(&self) -> Option<Packet<'_>> {
        self.packet(self.current?)
    }

    /// What a record at hand shows.
    #[inline]
    fn packet(&self, record: Record) -> Option<Packet<'_>> {
        Some(Packet {
            data: self.window.at(record.start, record.len)?,
            wire_len: record.wire_len,
            at: record.at,
            link: record.link,
            number: self.packets,
            vlan: None,
        })
    }

    /// `at byte 24: …`
    fn fault_at(&mut self, offset: u64, what: &str) {
        let unit = self.unit;
        self.faults.add(format!("at {unit} {offset}: {what}"));
    }

    /// The input ended inside `what`; also says so when reading failed instead.
    fn ended_inside(&mut self, what: &str) {
        let (offset, unit) = (self.window.offset(), self.unit);
        let have = self.window.rest().len();
        match self.window.take_error() {
            Some(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
                let end = offset.saturating_add(have as u64);
                self.faults.truncated(format!(
                    "at {unit} {end}: reading failed inside {what} that begins at {offset}: {error}"
                ));
            }
            _ => self.faults.truncated(format!(
                "at {unit} {offset}: the input ends inside {what} ({have} bytes of it are there)"
            )),
        }
        self.window.consume(have);
    }

    /// A clean end, unless reading failed exactly there.
    fn ended(&mut self) {
        if let Some(error) = self.window.take_error() {
            let (offset, unit) = (self.window.offset(), self.unit);
            self.faults.truncated(format!("at {unit} {offset}: reading failed: {error}"));
        }
    }

    /// Looks ahead, in steps of `step` bytes, for the next place where `is_record` holds, and says
    /// how far that is. `is_record` sees the bytes and whether the input ends behind them.
    fn find(&mut self, step: usize, is_record: impl Fn(&[u8], bool) -> bool) -> Option<usize> {
        self.resyncs = self.resyncs.saturating_add(1);
        if self.resyncs > RESYNCS_MAX {
            let offset = self.window.offset();
            self.fault_at(offset, "too many faults; the rest was not read");
            return None;
        }
        self.window.ensure(RESYNC_BYTES_MAX);
        let ended = self.window.is_last();
        let rest = self.window.rest();
        (step..rest.len())
            .step_by(step)
            .find(|&skip| rest.get(skip..).is_some_and(|at| is_record(at, ended)))
    }

    /// Goes to the place that [`Self::find`] found.
    fn go_on(&mut self, skip: usize) {
        self.window.consume(skip);
        let offset = self.window.offset();
        let what = format!("reading goes on here, {skip} bytes behind the fault");
        self.fault_at(offset, &what);
    }

    /// Nothing more can be read.
    fn give_up(&mut self) {
        let offset = self.window.offset();
        self.fault_at(offset, "no further record was found; the rest was not read");
        self.window.close();
    }

    fn status(&self) -> Status {
        Status {
            name: self.name.clone(),
            packets: self.packets,
            bytes: self.bytes,
            position: self.progress.position(),
            size: self.progress.size(),
            errors: self.faults.to_vec(),
            truncated: self.faults.truncated,
            dropped: self.dropped,
        }
    }
}

/// Byte order of a file, by its magic number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Order {
    #[inline]
    const fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    #[inline]
    const fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    #[inline]
    const fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }

    /// The first `N` 32-bit words of `bytes`.
    #[inline]
    fn words<const N: usize>(self, bytes: &[u8]) -> Option<[u32; N]> {
        let (words, _) = bytes.as_chunks::<4>();
        words.first_chunk::<N>().map(|w| w.map(|b| self.u32(b)))
    }
}
