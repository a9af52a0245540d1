//! Classic capture files (draft-ietf-opsawg-pcap) with the variants that are met in the field.

use model::Timestamp;

use super::{Order, PACKET_BYTES_MAX, Packet, Reading, Record, Source, Status};

/// A classic capture file.
#[derive(Debug)]
pub(super) struct Pcap {
    reading: Reading,
    order: Order,
    variant: Variant,
    link: u32,
    /// Seconds of the last good packet, against which a resumed one is checked.
    last_secs: Option<u32>,
}

/// Whether a file starts with a known magic number.
pub(super) fn is_magic(first: &[u8]) -> bool {
    first.first_chunk().and_then(|m| recognise(*m)).is_some()
}

impl Pcap {
    /// Reads the file header; fails when it is none.
    pub(super) fn new(mut reading: Reading) -> Result<Self, NotPcap> {
        let header = reading.window.peek::<24>().ok_or(NotPcap)?;
        let magic = header.first_chunk().ok_or(NotPcap)?;
        let (order, variant) = recognise(*magic).ok_or(NotPcap)?;
        let [_, _, _, _, _, link] = order.words::<6>(header).ok_or(NotPcap)?;
        reading.window.consume(variant.file_header);
        Ok(Self {
            reading,
            order,
            variant,
            // The upper bits tell the length of a frame check sequence (draft §4).
            link: link & 0xffff,
            last_secs: None,
        })
    }

    /// How far the next certain record is.
    fn find(&mut self) -> Option<usize> {
        let (order, variant, last) = (self.order, self.variant, self.last_secs);
        self.reading.find(1, |bytes, ended| is_chain(bytes, ended, order, variant, last))
    }

    /// Records a fault at the current record and goes to the next good one.
    #[cold]
    fn recover(&mut self, what: &str) -> bool {
        let offset = self.reading.window.offset();
        self.reading.fault_at(offset, what);
        match self.find() {
            Some(skip) => self.reading.go_on(skip),
            None => self.reading.give_up(),
        }
        !self.reading.window.rest().is_empty()
    }

    /// The record does not fit in what is left: the input was cut, or the length lies.
    #[cold]
    fn cut(&mut self, total: usize) -> bool {
        let left = self.reading.window.rest().len();
        if left < self.variant.record_header {
            self.reading.ended_inside("a record header");
            return false;
        }
        let Some(skip) = self.find() else {
            let what = format!("a record of {total} bytes");
            self.reading.ended_inside(&what);
            return false;
        };
        let offset = self.reading.window.offset();
        let what = format!("the record claims {total} bytes and only {left} are left");
        self.reading.fault_at(offset, &what);
        self.reading.go_on(skip);
        true
    }
}

impl Pcap {
    /// Goes to the next record. Always inline: the record is not to be written and read again.
    #[inline(always)]
    fn step(&mut self) -> Option<Record> {
        self.reading.current = None;
        loop {
            let Variant { record_header, nanos_per_tick, .. } = self.variant;
            let Some(header) = self.reading.window.peek::<16>() else {
                if self.reading.window.rest().is_empty() {
                    self.reading.ended();
                } else {
                    self.reading.ended_inside("a record header");
                }
                return None;
            };
            let [secs, ticks, captured, wire_len] = self.order.words(header)?;
            let len = captured as usize;
            let fault = if len > PACKET_BYTES_MAX {
                Some(format!(
                    "the record claims {len} captured bytes, more than {PACKET_BYTES_MAX}"
                ))
            } else if len == 0 && wire_len == 0 && secs == 0 && ticks == 0 {
                Some("zeros where a record should begin".to_owned())
            } else {
                None
            };
            if let Some(fault) = fault {
                if self.recover(&fault) {
                    continue;
                }
                return None;
            }
            let total = record_header + len;
            if !self.reading.window.ensure(total) {
                if self.cut(total) {
                    continue;
                }
                return None;
            }
            self.last_secs = Some(secs);
            let record = Record {
                start: 0,
                len,
                wire_len,
                at: Timestamp::from_secs(i64::from(secs), i64::from(ticks) * nanos_per_tick),
                link: self.link,
            };
            return Some(self.reading.deliver(record_header, total, record));
        }
    }
}

impl Source for Pcap {
    fn advance(&mut self) -> Option<Timestamp> {
        self.reading.current = self.step();
        self.reading.current.map(|record| record.at)
    }

    fn next(&mut self) -> Option<Packet<'_>> {
        let record = self.step()?;
        self.reading.packet(record)
    }

    fn current(&self) -> Option<Packet<'_>> {
        self.reading.current()
    }

    fn status(&self) -> Status {
        self.reading.status()
    }
}

/// Not a classic capture file.
#[derive(Debug)]
pub(super) struct NotPcap;

/// What a magic number tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Variant {
    nanos_per_tick: i64,
    file_header: usize,
    record_header: usize,
}

/// Every variant with its magic number as written by the writer.
const VARIANTS: &[(u32, Variant)] = &[
    (0xa1b2_c3d4, variant(1_000, 24, 16)),
    (0xa1b2_3c4d, variant(1, 24, 16)),
    // A. Kuznetzov's libpcap: interface, protocol and packet type behind each record header.
    (0xa1b2_cd34, variant(1_000, 24, 24)),
    // IXIA hardware and software captures: total length behind the file header.
    (0x1c00_01ac, variant(1, 28, 16)),
    (0x1c00_01ab, variant(1_000, 28, 16)),
];

const fn variant(nanos_per_tick: i64, file_header: usize, record_header: usize) -> Variant {
    Variant { nanos_per_tick, file_header, record_header }
}

fn recognise(magic: [u8; 4]) -> Option<(Order, Variant)> {
    VARIANTS.iter().find_map(|&(value, variant)| {
        if value == u32::from_le_bytes(magic) {
            Some((Order::Little, variant))
        } else if value == u32::from_be_bytes(magic) {
            Some((Order::Big, variant))
        } else {
            None
        }
    })
}

/// Three plausible records in a row, or fewer that end exactly with the input. One header alone is
/// 16 bytes that packet data can imitate by chance.
fn is_chain(
    mut bytes: &[u8],
    ended: bool,
    order: Order,
    variant: Variant,
    last_secs: Option<u32>,
) -> bool {
    const DAY_SECS: u32 = 86_400;
    let ticks_per_sec = if variant.nanos_per_tick == 1 { 1_000_000_000 } else { 1_000_000 };
    for _ in 0..3 {
        let Some([secs, ticks, captured, wire_len]) = order.words(bytes) else {
            return false;
        };
        let near = last_secs.is_none_or(|last| secs.abs_diff(last) <= DAY_SECS);
        let len = captured as usize;
        let sane = (1..=PACKET_BYTES_MAX).contains(&len)
            && wire_len >= captured
            && wire_len as usize <= PACKET_BYTES_MAX
            && ticks < ticks_per_sec
            && near;
        if !sane {
            return false;
        }
        let Some(rest) = bytes.get(variant.record_header + len..) else {
            return false;
        };
        if rest.is_empty() {
            return ended;
        }
        bytes = rest;
    }
    true
}
