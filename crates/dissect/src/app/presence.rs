//! Protocols that are only recognised: that a device speaks them is all that is known.

use crate::{Ctx, Probe, Sink, Step};

use super::ntlm;

/// RTMP: version 3 and a handshake of random bytes on its port.
pub(super) fn probe_rtmp(bytes: &[u8]) -> Probe {
    match bytes {
        [3, _, _, _, _, 0, 0, 0, 0, ..] if bytes.len() > 64 => Probe::Maybe,
        _ => Probe::No,
    }
}

/// Weave (Nest): a length, the version nibble, then node ids with Nest's EUI-64 block.
pub(super) fn probe_weave(bytes: &[u8]) -> Probe {
    match bytes {
        [low, high, _, version, ..] => {
            let length = usize::from(u16::from_le_bytes([*low, *high]));
            let fits = (8..=2048).contains(&length) && version >> 4 == 1;
            if fits { Probe::Maybe } else { Probe::No }
        }
        _ => Probe::No,
    }
}

/// DCE/RPC over TCP (C706 §12.6): version 5, and a little-endian length that fits.
pub(super) fn probe_dcerpc(bytes: &[u8]) -> Probe {
    match bytes {
        [5, 0..=1, 0..=19, _, 0x10 | 0, 0, 0, 0, low, high, ..] => {
            let length = usize::from(u16::from_le_bytes([*low, *high]));
            match bytes.get(2) {
                Some(11 | 12) if length >= 28 => Probe::Yes,
                _ if length >= 16 => Probe::Maybe,
                _ => Probe::No,
            }
        }
        _ => Probe::No,
    }
}

/// A bind and its answer carry names when they authenticate with NTLM.
pub(super) fn dcerpc(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let length = match bytes {
        [5, _, _, _, _, _, _, _, low, high, ..] => usize::from(u16::from_le_bytes([*low, *high])),
        _ if bytes.len() < 10 => return Step::NeedMore,
        _ => return Step::Resync,
    };
    if length < 16 {
        return Step::Resync;
    }
    if matches!(bytes.get(2), Some(11..=16)) {
        let Some(packet) = bytes.get(..length) else {
            return if length < 8192 { Step::NeedMore } else { Step::Resync };
        };
        ntlm::find(packet, sink);
    }
    if bytes.len() < length { Step::Resync } else { Step::Consumed(length) }
}

/// Nothing to read.
pub(super) fn nothing(_bytes: &[u8], _ctx: &Ctx, _sink: &mut dyn Sink) -> Step {
    Step::Done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{Recorder, ctx, unhex};

    #[test]
    fn probes() {
        assert_eq!(probe_weave(&unhex("1102 0013 08030000")), Probe::Maybe);
        assert_eq!(probe_weave(b"GET / HTTP"), Probe::No);
        assert_eq!(probe_rtmp(&[3; 100]), Probe::No);
        assert_eq!(probe_dcerpc(&unhex("05 00 0b 03 10000000 4800 0000")), Probe::Yes);
        assert_eq!(probe_dcerpc(b"\x05\0"), Probe::No);
    }

    #[test]
    fn cut_packets_are_left() {
        let here = ctx(135, 4000, Role::Client);
        let step = |hex: &str| dcerpc(&unhex(hex), &here, &mut Recorder::default());
        assert_eq!(step("05 00 0b 03 10000000 4800 0000"), Step::NeedMore);
        assert_eq!(step("05 00 00 03 10000000 4800 0000"), Step::Resync);
        assert_eq!(step("05 00 00 03 10000000 0100 0000"), Step::Resync);
        assert_eq!(step("05"), Step::NeedMore);
        assert_eq!(nothing(b"x", &here, &mut Recorder::default()), Step::Done);
    }
}
