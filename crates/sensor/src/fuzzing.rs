//! Entry point for fuzzing the sensor itself: any bytes as a sequence of frames.

use model::limits::FACT_VALUE_BYTES_MAX;
use model::observation::{Fact, Observation};
use model::{SensorId, SiteId, Timestamp};

use crate::{Config, Frame, Sensor};

/// Link types that are taken in turn by the first byte of a frame.
const LINKS: [u32; 8] = [1, 1, 1, 1, 101, 113, 127, 276];

/// Reads bytes as frames: one byte of kind, two of length, then the frame. Frames follow each other
/// by up to minutes, so that conversations also end.
pub fn pipeline(input: &[u8]) {
    let (Ok(site), Ok(name)) = (SiteId::new("fuzz"), SensorId::new("fuzz")) else { return };
    let mut sensor = Sensor::new(Config { site, sensor: name });
    let input_number = sensor.input("fuzz");
    let mut rest = input;
    let (mut number, mut at) = (0u64, Timestamp::EPOCH);
    while let Some(([kind, high, low], tail)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([*high & 0x07, *low])).min(tail.len());
        let (data, tail) = tail.split_at(length);
        rest = tail;
        number += 1;
        at = at.plus_nanos(i64::from(*kind) * 1_000_000_000);
        sensor.frame(&Frame {
            input: input_number,
            number,
            at,
            link: LINKS.get(usize::from(kind & 7)).copied().unwrap_or(1),
            wire_len: u32::try_from(length).unwrap_or(u32::MAX),
            vlan: None,
            data,
        });
    }
    let check = |seen: Observation| {
        assert!(seen.packet <= number, "an observation names a packet that was never shown");
        if let Fact::Says { value, .. } = seen.fact {
            assert!(value.len() <= FACT_VALUE_BYTES_MAX && !value.is_empty());
        }
    };
    sensor.drain().for_each(check);
    sensor.finish(&mut { check });
    assert_eq!(sensor.totals().packets, number);
}
