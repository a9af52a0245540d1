//! IEEE 802.11 data frames, bare or behind a radio header.

use model::Mac;

use super::{Body, Packet, llc};
use crate::{Malformed, Reader};

/// A frame behind a header whose length `length` reads from its first bytes.
pub(super) fn behind_header(
    data: &[u8],
    length: fn(&mut Reader<'_>) -> Result<usize, Malformed>,
) -> Result<Packet<'_>, Malformed> {
    let n = length(&mut Reader::new(data))?;
    self::data(data.get(n..).ok_or(Malformed::Truncated)?)
}

/// Whether an access point sent this as itself, not for a station: its source is its BSSID
/// (IEEE 802.11 §9.3.2.1, §9.3.3.1).
pub(super) fn is_access_points_own(frame: &[u8]) -> bool {
    let ends = || -> Result<(Mac, Mac), Malformed> {
        let mut r = Reader::new(frame);
        let (control, flags) = frame_control(&mut r)?;
        r.skip(2)?;
        let (a1, a2, a3) = (Mac(r.array()?), Mac(r.array()?), Mac(r.array()?));
        Ok(match (control >> 2 & 3, flags & 3) {
            (0, _) | (2, 0) => (a2, a3),
            (2, 1) => (a2, a1),
            (2, 2) => (a3, a2),
            _ => return Err(Malformed::NotMine),
        })
    };
    ends().is_ok_and(|(source, bssid)| source == bssid)
}

/// Both bytes of the frame control field.
fn frame_control(r: &mut Reader<'_>) -> Result<(u8, u8), Malformed> {
    let [mut control, mut flags] = r.array::<2>()?;
    // Some controllers store the field with its bytes swapped inside CAPWAP.
    if control & 3 != 0 || (control >> 2 & 3 != 2 && flags >> 2 & 3 == 2 && flags & 3 == 0) {
        (control, flags) = (flags, control);
    }
    if control & 3 != 0 {
        return Err(Malformed::Invalid);
    }
    Ok((control, flags))
}

/// A bare 802.11 frame. Management frames show their sender; encrypted data its ends.
pub(super) fn data(frame: &[u8]) -> Result<Packet<'_>, Malformed> {
    let mut r = Reader::new(frame);
    let (control, flags) = frame_control(&mut r)?;
    r.skip(2)?;
    let a1 = Mac(r.array()?);
    // Control frames have at most a transmitter, and no body worth reading.
    if control >> 2 & 3 == 1 {
        return Ok(Packet { src: Mac::ZERO, dst: a1, vlan: None, body: Body::Opaque });
    }
    let a2 = Mac(r.array()?);
    let a3 = Mac(r.array()?);
    r.skip(2)?;
    let opaque = |src, dst| Packet { src, dst, vlan: None, body: Body::Opaque };
    if control >> 2 & 3 == 0 {
        return Ok(opaque(a2, a1));
    }
    let (to_ds, from_ds) = (flags & 1 != 0, flags & 2 != 0);
    let (src, dst) = match (to_ds, from_ds) {
        (false, false) => (a2, a1),
        (true, false) => (a2, a3),
        (false, true) => (a3, a1),
        (true, true) => (Mac(r.array()?), a3),
    };
    let qos = control & 0x80 != 0;
    if qos {
        let [low, _] = r.array::<2>()?;
        // An aggregate of frames (A-MSDU) is not taken apart.
        if low & 0x80 != 0 {
            return Ok(opaque(src, dst));
        }
        // High-throughput control field.
        if flags & 0x80 != 0 {
            r.skip(4)?;
        }
    }
    let protected = flags & 0x40 != 0;
    let no_data = control & 0x40 != 0;
    if protected || no_data || r.is_empty() {
        return Ok(opaque(src, dst));
    }
    let body = llc(r.len(), r.rest()).unwrap_or(Body::Opaque);
    Ok(Packet { src, dst, vlan: None, body })
}
