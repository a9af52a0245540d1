//! pcapng capture files (draft-ietf-opsawg-pcapng): sections, interfaces, packets of all three
//! block kinds, and what the capturing machine says it lost.

use model::Timestamp;

use super::{Order, PACKET_BYTES_MAX, Packet, Reading, Record, Source, Status};

/// Type of a section header block; reads the same in both byte orders.
pub(super) const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

const SECTION_BLOCK: u32 = 0x0a0d_0d0a;
const INTERFACE_BLOCK: u32 = 1;
const OLD_PACKET_BLOCK: u32 = 2;
const SIMPLE_PACKET_BLOCK: u32 = 3;
const STATISTICS_BLOCK: u32 = 5;
const ENHANCED_PACKET_BLOCK: u32 = 6;

/// Largest block that is looked into: a packet and its options. Larger ones of other kinds are
/// passed over.
const BLOCK_BYTES_MAX: usize = PACKET_BYTES_MAX + 65_536;

/// Interfaces of one section that are kept.
const INTERFACES_MAX: usize = 4_096;

/// A pcapng file.
#[derive(Debug)]
pub(super) struct PcapNg {
    reading: Reading,
    order: Order,
    interfaces: Vec<Interface>,
    /// Drops told by the interfaces of earlier sections.
    dropped_before: u64,
    /// Time of the last packet that had one; simple packet blocks have none.
    last: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: u32,
    snap_len: u32,
    clock: Clock,
    offset_secs: i64,
    dropped: u64,
}

/// Unit of an interface's time stamps (`if_tsresol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    NanosPerTick(u64),
    TicksPerNano(u64),
    /// 2^-n seconds.
    Binary(u32),
}

/// What one block was.
enum Step {
    Packet(Record),
    Other,
    End,
}

impl PcapNg {
    /// Reads the first section header; fails when it is none.
    pub(super) fn new(mut reading: Reading) -> Result<Self, String> {
        let order = match reading.window.peek::<12>() {
            None => return Err("ends inside the first section header".to_owned()),
            Some(header) => {
                order_of(header).ok_or("has a section header without a valid byte-order magic")?
            }
        };
        Ok(Self {
            reading,
            order,
            interfaces: Vec::new(),
            dropped_before: 0,
            last: Timestamp::EPOCH,
        })
    }

    /// Goes to the next packet.
    #[inline(always)]
    fn record(&mut self) -> Option<Record> {
        self.reading.current = None;
        loop {
            match self.step() {
                Step::Packet(record) => return Some(record),
                Step::Other => {}
                Step::End => return None,
            }
        }
    }

    /// Reads one block.
    #[inline]
    fn step(&mut self) -> Step {
        let Some(header) = self.reading.window.peek::<12>() else {
            if self.reading.window.rest().is_empty() {
                self.reading.ended();
            } else {
                self.reading.ended_inside("a block header");
            }
            return Step::End;
        };
        if header.starts_with(&SECTION) {
            match order_of(header) {
                Some(order) => self.order = order,
                None => return self.recover("the section header has no valid byte-order magic"),
            }
        }
        let Some([kind, total]) = self.order.words::<2>(header) else {
            return Step::End;
        };
        let len = total as usize;
        if len < 12 || !len.is_multiple_of(4) {
            let what = format!("block of type {kind:#x} claims a length of {len} bytes");
            return self.recover(&what);
        }
        if len > BLOCK_BYTES_MAX {
            return self.pass_over(kind, total);
        }
        if !self.reading.window.ensure(len) {
            return self.cut(len);
        }
        let block = self.reading.window.rest().get(..len).unwrap_or_default();
        let trailer = block.last_chunk::<4>().map(|t| self.order.u32(*t));
        if trailer != Some(total) {
            let what = format!("block of type {kind:#x}: its two lengths differ");
            return self.recover(&what);
        }
        let offset = self.reading.window.offset();
        match self.read(kind, len) {
            Ok(Some(record)) => Step::Packet(self.reading.deliver(record.start, len, record)),
            Ok(None) => {
                self.reading.window.consume(len);
                Step::Other
            }
            Err(what) => {
                self.reading.fault_at(offset, what);
                self.reading.window.consume(len);
                Step::Other
            }
        }
    }

    /// Reads a whole block that is in the window; `start` of the record counts from the block.
    #[inline]
    fn read(&mut self, kind: u32, len: usize) -> Result<Option<Record>, &'static str> {
        let order = self.order;
        let body = self.reading.window.rest().get(8..len.saturating_sub(4)).unwrap_or_default();
        match kind {
            ENHANCED_PACKET_BLOCK => {
                let [interface, high, low, captured, wire_len] =
                    order.words(body).ok_or("the packet block is shorter than its fixed part")?;
                let data = body.get(20..).unwrap_or_default();
                let record = packet(&self.interfaces, interface, high, low, captured, data)?;
                self.last = record.at;
                Ok(Some(Record { start: 28, wire_len, ..record }))
            }
            SIMPLE_PACKET_BLOCK => {
                let [wire_len] = order.words(body).ok_or("the packet block is empty")?;
                let interface = self
                    .interfaces
                    .first()
                    .ok_or("a packet comes before its interface is described")?;
                let snap_len = match interface.snap_len {
                    0 => u32::MAX,
                    snap_len => snap_len,
                };
                // The block has no captured length of its own (§4.4).
                let len = (wire_len.min(snap_len) as usize).min(body.len().saturating_sub(4));
                Ok(Some(Record { start: 12, len, wire_len, at: self.last, link: interface.link }))
            }
            OLD_PACKET_BLOCK => {
                let [first, high, low, captured, wire_len] =
                    order.words(body).ok_or("the packet block is shorter than its fixed part")?;
                // Interface and drops are two 16-bit fields (Appendix A), here read as one word.
                let interface = match order {
                    Order::Little => first & 0xffff,
                    Order::Big => first >> 16,
                };
                let data = body.get(20..).unwrap_or_default();
                let record = packet(&self.interfaces, interface, high, low, captured, data)?;
                self.last = record.at;
                Ok(Some(Record { start: 28, wire_len, ..record }))
            }
            SECTION_BLOCK => {
                self.interfaces.clear();
                self.dropped_before = self.reading.dropped;
                Ok(None)
            }
            INTERFACE_BLOCK => {
                if self.interfaces.len() >= INTERFACES_MAX {
                    return Err("more interfaces than are kept; packets of this one are lost");
                }
                let interface = interface(order, body)?;
                self.interfaces.push(interface);
                Ok(None)
            }
            STATISTICS_BLOCK => {
                self.statistics();
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Interface statistics: the counters are totals, so the last block of an interface counts.
    #[cold]
    fn statistics(&mut self) {
        let order = self.order;
        let body = self.reading.window.rest().get(8..).unwrap_or_default();
        let Some([interface]) = order.words::<1>(body) else {
            return;
        };
        let mut dropped = 0;
        options(order, body.get(12..).unwrap_or_default(), |code, value| {
            // isb_ifdrop and isb_osdrop
            if let (5 | 7, Some(n)) = (code, value.first_chunk()) {
                dropped = order.u64(*n).saturating_add(dropped);
            }
        });
        if let Some(interface) = self.interfaces.get_mut(interface as usize) {
            interface.dropped = dropped;
        }
        self.reading.dropped = self
            .interfaces
            .iter()
            .fold(self.dropped_before, |sum, i| sum.saturating_add(i.dropped));
    }

    /// A block too large to look into: fine when it is of another kind.
    #[cold]
    fn pass_over(&mut self, kind: u32, total: u32) -> Step {
        let offset = self.reading.window.offset();
        if matches!(kind, SECTION_BLOCK | 1..=6) {
            let what = format!("block of type {kind:#x} claims {total} bytes");
            return self.recover(&what);
        }
        let whole = self.reading.window.skip(u64::from(total) - 4);
        let order = self.order;
        match self.reading.window.peek::<4>().map(|t| order.u32(*t)) {
            Some(trailer) if whole && trailer == total => {
                self.reading.window.consume(4);
                Step::Other
            }
            Some(_) if whole => {
                let what = format!("block of type {kind:#x}: its two lengths differ");
                self.reading.fault_at(offset, &what);
                self.recover("searching for the next block")
            }
            _ => {
                self.reading.ended_inside("a block");
                let what = format!("block of type {kind:#x} claims {total} bytes");
                self.reading.fault_at(offset, &what);
                Step::End
            }
        }
    }

    fn find(&mut self) -> Option<usize> {
        let order = self.order;
        self.reading.find(4, |bytes, _| is_block(bytes, order))
    }

    /// Records a fault at the current block and goes to the next good one.
    #[cold]
    fn recover(&mut self, what: &str) -> Step {
        let offset = self.reading.window.offset();
        self.reading.fault_at(offset, what);
        match self.find() {
            Some(skip) => {
                self.reading.go_on(skip);
                Step::Other
            }
            None => {
                self.reading.give_up();
                Step::End
            }
        }
    }

    /// The block does not fit in what is left: the input was cut, or the length lies.
    #[cold]
    fn cut(&mut self, len: usize) -> Step {
        let (offset, left) = (self.reading.window.offset(), self.reading.window.rest().len());
        let Some(skip) = self.find() else {
            let what = format!("a block of {len} bytes");
            self.reading.ended_inside(&what);
            return Step::End;
        };
        let what = format!("the block claims {len} bytes and only {left} are left");
        self.reading.fault_at(offset, &what);
        self.reading.go_on(skip);
        Step::Other
    }
}

impl Source for PcapNg {
    fn advance(&mut self) -> Option<Timestamp> {
        self.reading.current = self.record();
        self.reading.current.map(|record| record.at)
    }

    fn next(&mut self) -> Option<Packet<'_>> {
        let record = self.record()?;
        self.reading.packet(record)
    }

    fn current(&self) -> Option<Packet<'_>> {
        self.reading.current()
    }

    fn status(&self) -> Status {
        self.reading.status()
    }
}

impl Clock {
    fn of(resolution: u8) -> Self {
        let exponent = u32::from(resolution & 0x7f);
        if resolution & 0x80 != 0 {
            Self::Binary(exponent)
        } else if exponent <= 9 {
            Self::NanosPerTick(10_u64.pow(9 - exponent))
        } else {
            Self::TicksPerNano(10_u64.checked_pow(exponent - 9).unwrap_or(u64::MAX))
        }
    }

    #[inline]
    fn nanos(self, ticks: u64) -> i64 {
        let nanos = match self {
            Self::NanosPerTick(n) => ticks.saturating_mul(n),
            Self::TicksPerNano(n) => ticks / n,
            Self::Binary(exponent) => {
                let nanos = u128::from(ticks) * 1_000_000_000;
                u64::try_from(nanos >> exponent).unwrap_or(u64::MAX)
            }
        };
        i64::try_from(nanos).unwrap_or(i64::MAX)
    }
}

/// Byte order of a section, from its header's magic (§4.1).
fn order_of(header: &[u8; 12]) -> Option<Order> {
    match header {
        [.., 0x4d, 0x3c, 0x2b, 0x1a] => Some(Order::Little),
        [.., 0x1a, 0x2b, 0x3c, 0x4d] => Some(Order::Big),
        _ => None,
    }
}

/// The common part of enhanced and old packet blocks.
#[inline]
fn packet(
    interfaces: &[Interface],
    interface: u32,
    high: u32,
    low: u32,
    captured: u32,
    data: &[u8],
) -> Result<Record, &'static str> {
    let interface = interfaces
        .get(interface as usize)
        .ok_or("a packet names an interface that was not described")?;
    let len = captured as usize;
    if len > data.len() {
        return Err("a packet claims more bytes than its block has");
    }
    if len > PACKET_BYTES_MAX {
        return Err("a packet is larger than any that is read");
    }
    let ticks = u64::from(high) << 32 | u64::from(low);
    Ok(Record {
        start: 0,
        len,
        wire_len: captured,
        at: Timestamp::from_secs(interface.offset_secs, interface.clock.nanos(ticks)),
        link: interface.link,
    })
}

/// An interface description block (§4.2).
fn interface(order: Order, body: &[u8]) -> Result<Interface, &'static str> {
    let (Some(link), Some([_, snap_len])) = (body.first_chunk(), order.words(body)) else {
        return Err("the interface block is shorter than its fixed part");
    };
    let mut it = Interface {
        link: u32::from(order.u16(*link)),
        snap_len,
        clock: Clock::NanosPerTick(1_000),
        offset_secs: 0,
        dropped: 0,
    };
    options(order, body.get(8..).unwrap_or_default(), |code, value| match (code, value) {
        (9, [resolution, ..]) => it.clock = Clock::of(*resolution),
        (14, _) => {
            if let Some(offset) = value.first_chunk() {
                it.offset_secs = order.u64(*offset).cast_signed();
            }
        }
        _ => {}
    });
    Ok(it)
}

/// Visits the options of a block up to the end mark or the first that does not fit (§3.5).
fn options(order: Order, mut bytes: &[u8], mut visit: impl FnMut(u16, &[u8])) {
    while let Some(&[a, b, c, d]) = bytes.first_chunk() {
        let (code, len) = (order.u16([a, b]), usize::from(order.u16([c, d])));
        let Some(value) = bytes.get(4..4 + len) else {
            return;
        };
        if code == 0 {
            return;
        }
        visit(code, value);
        bytes = bytes.get(4 + len.next_multiple_of(4)..).unwrap_or_default();
    }
}

/// A whole block of a known kind whose two lengths agree: nothing that chance or packet data makes.
fn is_block(bytes: &[u8], order: Order) -> bool {
    let order = match bytes.first_chunk().map(order_of) {
        Some(Some(section)) if bytes.starts_with(&SECTION) => section,
        _ => order,
    };
    let Some([kind, total]) = order.words::<2>(bytes) else {
        return false;
    };
    let len = total as usize;
    matches!(kind, SECTION_BLOCK | 1..=6)
        && (16..=BLOCK_BYTES_MAX).contains(&len)
        && len.is_multiple_of(4)
        && bytes.get(len - 4..len).and_then(<[u8]>::first_chunk)
            == bytes.get(4..8).and_then(<[u8]>::first_chunk::<4>)
}
