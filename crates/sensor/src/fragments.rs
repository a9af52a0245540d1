//! Reassembly of fragmented IP packets, bounded in number, size and age.

use std::collections::BTreeMap;
use std::net::IpAddr;

use dissect::frame::Fragment;
use model::Timestamp;
use model::limits::FRAGMENTS_MAX;
use rustc_hash::FxHashMap;

/// Fragments of one packet wait this long (RFC 8200 §4.5: 60 seconds).
const WAIT_NANOS: i64 = 60_000_000_000;
/// Largest packet put together.
const PACKET_BYTES_MAX: usize = 65_535;
/// Fragments of one packet.
const PARTS_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    id: u32,
}

#[derive(Debug)]
struct Partial {
    since: Timestamp,
    parts: BTreeMap<u32, Vec<u8>>,
    end: Option<u32>,
}

/// Packets of which fragments are missing.
#[derive(Debug, Default)]
pub(crate) struct Fragments {
    waiting: FxHashMap<Key, Partial>,
    /// Fragments dropped because too many packets were incomplete at once.
    pub(crate) dropped: u64,
}

impl Fragments {
    /// Takes one fragment; returns the packet's payload when it is complete.
    pub(crate) fn take(
        &mut self,
        (src, dst, protocol): (IpAddr, IpAddr, u8),
        place: Fragment,
        payload: &[u8],
        at: Timestamp,
    ) -> Option<Vec<u8>> {
        let key = Key { src, dst, protocol, id: place.id };
        if self.waiting.len() >= FRAGMENTS_MAX && !self.waiting.contains_key(&key) {
            self.waiting
                .retain(|_, p| at.as_nanos().saturating_sub(p.since.as_nanos()) < WAIT_NANOS);
            if self.waiting.len() >= FRAGMENTS_MAX {
                self.dropped += 1;
                return None;
            }
        }
        let partial = self.waiting.entry(key).or_insert_with(|| Partial {
            since: at,
            parts: BTreeMap::new(),
            end: None,
        });
        let end = place.offset.saturating_add(u32::try_from(payload.len()).ok()?);
        if end as usize > PACKET_BYTES_MAX || partial.parts.len() >= PARTS_MAX {
            self.waiting.remove(&key);
            return None;
        }
        // The first copy of a fragment counts: overlapping ones are an evasion, not a protocol.
        partial.parts.entry(place.offset).or_insert_with(|| payload.to_vec());
        if !place.more {
            partial.end = Some(end);
        }
        let total = partial.end?;
        let mut next = 0;
        for (offset, part) in &partial.parts {
            if *offset != next {
                return None;
            }
            next += u32::try_from(part.len()).ok()?;
        }
        if next != total {
            return None;
        }
        self.waiting.remove(&key).map(|p| p.parts.into_values().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u32, more: bool) -> Fragment {
        Fragment { id: 7, offset, more }
    }

    const ENDS: (IpAddr, IpAddr, u8) = (
        IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)),
        IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)),
        17,
    );

    #[test]
    fn any_order_gives_the_packet() {
        let mut f = Fragments::default();
        assert_eq!(f.take(ENDS, place(16, false), b"end", Timestamp::EPOCH), None);
        assert_eq!(f.take(ENDS, place(8, true), b"ijklmnop", Timestamp::EPOCH), None);
        // An overlapping rewrite of a part already held changes nothing.
        assert_eq!(f.take(ENDS, place(8, true), b"XXXXXXXX", Timestamp::EPOCH), None);
        let whole = f.take(ENDS, place(0, true), b"abcdefgh", Timestamp::EPOCH);
        assert_eq!(whole.as_deref(), Some(&b"abcdefghijklmnopend"[..]));
        assert!(f.waiting.is_empty());
    }

    #[test]
    fn a_flood_of_first_fragments_is_bounded_and_ages() {
        let mut f = Fragments::default();
        let limit = u32::try_from(FRAGMENTS_MAX).unwrap();
        for id in 0..=limit {
            f.take(ENDS, Fragment { id, offset: 0, more: true }, b"x", Timestamp::EPOCH);
        }
        assert_eq!((f.waiting.len(), f.dropped), (FRAGMENTS_MAX, 1));
        let later = Timestamp::from_secs(61, 0);
        f.take(ENDS, Fragment { id: limit + 1, offset: 0, more: true }, b"x", later);
        assert_eq!((f.waiting.len(), f.dropped), (1, 1));
    }

    #[test]
    fn an_oversized_packet_is_dropped() {
        let mut f = Fragments::default();
        assert_eq!(f.take(ENDS, place(65_528, false), &[0; 64], Timestamp::EPOCH), None);
        assert!(f.waiting.is_empty());
    }
}
