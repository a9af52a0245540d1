//! ISO transport over TCP (RFC 1006; ISO 8073 class 0): the way to S7, S7comm-plus and MMS.

use super::wire::{cut, key, name, side};
use super::{mms, s7, s7plus};
use crate::fields::{Field, field};
use crate::{Ctx, Malformed, Probe, Reader, Role, Sink, Step};

pub(super) const FIELDS: &[Field] = &[field(
    "cotp.tsap",
    "transport selector the server was called by and accepted, where it is text",
)];

pub(super) const PORTS: &[u16] = &[102];

const MEMORY: u8 = b't';
const CALLED: u64 = key(MEMORY, b'c', 0);

const CONNECT_REQUEST: u8 = 0xe0;
const CONNECT_CONFIRM: u8 = 0xd0;
const DATA: u8 = 0xf0;

/// A TPKT with a COTP header; certain when the payload is a protocol of this module.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    let [3, 0, high, low, rest @ ..] = bytes else {
        return if bytes.len() < 4
            && b"\x03\0".starts_with(bytes.get(..bytes.len().min(2)).unwrap_or_default())
        {
            Probe::Maybe
        } else {
            Probe::No
        };
    };
    if u16::from_be_bytes([*high, *low]) < 7 {
        return Probe::No;
    }
    match rest {
        [2, DATA, _, 0x32 | 0x72, ..] => Probe::Yes,
        [length, CONNECT_REQUEST | CONNECT_CONFIRM, ..] if *length >= 6 => Probe::Maybe,
        [2, DATA, ..] | [] | [_] => Probe::Maybe,
        _ => Probe::No,
    }
}

/// Reads one TPKT.
pub(super) fn run(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let [3, 0, high, low, ..] = bytes else {
        return if bytes.len() < 4 { Step::NeedMore } else { Step::Resync };
    };
    let total = usize::from(u16::from_be_bytes([*high, *low]));
    if total < 7 {
        return Step::Resync;
    }
    let (message, step) = match cut(bytes, total) {
        Ok(whole) => whole,
        Err(step) => return step,
    };
    let tpdu = message.get(4..).unwrap_or_default();
    // A TPDU that is not understood does not end the stream: TPKT states its length.
    let _ = transport(tpdu, side(ctx, PORTS), sink);
    step
}

fn transport(tpdu: &[u8], role: Role, sink: &mut dyn Sink) -> Result<(), Malformed> {
    let mut r = Reader::new(tpdu);
    let length = r.u8()?;
    let mut head = Reader::new(r.take(usize::from(length))?);
    match head.u8()? & 0xf0 {
        kind @ (CONNECT_REQUEST | CONNECT_CONFIRM) => {
            head.skip(5)?; // References, class.
            called(&mut head, kind == CONNECT_CONFIRM, sink)
        }
        DATA => {
            let last = head.u8()? & 0x80 != 0;
            if r.is_empty() || continues(last, role, sink) {
                return Ok(());
            }
            data(r.rest(), role, sink)
        }
        _ => Ok(()),
    }
}

/// Whether a data TPDU continues the one before it (ISO 8073 §13.7: the end mark): only the first
/// of several begins with a header of the protocol above.
fn continues(last: bool, role: Role, sink: &mut dyn Sink) -> bool {
    let open = key(MEMORY, b'f', if role == Role::Client { 0 } else { 1 });
    let middle = sink.recall(open) == Some(1);
    if last == middle {
        sink.remember(open, u64::from(!last));
    }
    middle
}

/// Remembers the called selector (parameter 0xC2); what it means depends on the protocol above.
fn called(head: &mut Reader<'_>, confirmed: bool, sink: &mut dyn Sink) -> Result<(), Malformed> {
    while !head.is_empty() {
        let parameter = head.u8()?;
        let length = head.u8()?;
        let value = head.take(usize::from(length))?;
        if parameter != 0xc2 {
            continue;
        }
        if let [kind, place] = value {
            sink.remember(CALLED, u64::from(u16::from_be_bytes([*kind, *place])));
        } else if confirmed && value.len() > 3 {
            sink.says("cotp.tsap", name(value));
        }
    }
    Ok(())
}

/// Rack and slot the server was called by, for S7 (`0/2`).
pub(super) fn rack_slot(sink: &mut dyn Sink) -> Option<String> {
    let called = sink.recall(CALLED)?;
    let [kind, place] = u16::try_from(called).ok()?.to_be_bytes();
    // 1 PG, 2 OP, 3 step 7 basic; other numbers are not rack and slot.
    matches!(kind, 1..=3).then(|| format!("{}/{}", place >> 5, place & 0x1f))
}

fn data(payload: &[u8], role: Role, sink: &mut dyn Sink) -> Result<(), Malformed> {
    match payload.first() {
        Some(0x32) => s7::run(payload, role, sink),
        Some(0x72) => {
            s7plus::run(payload, role, sink);
            Ok(())
        }
        // SPDUs of ISO 8327: connect, accept, give tokens before data.
        Some(0x0d | 0x0e | 0x01) => mms::run(payload, role, sink),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Recorder, ctx, unhex};

    #[test]
    fn only_the_first_part_of_a_message_has_a_header() {
        // The second TPDU begins with 0x32, the third starts a new message.
        let parts = "0300 0009 02f000 3207 0300 0009 02f080 3201 0300 0008 02f080 72";
        let mut facts = Recorder::default();
        let ctx = ctx(102, 1, Role::Server);
        crate::testing::run_stream(run, &unhex(parts), &ctx, &mut facts);
        assert_eq!(facts.text(), "");
        let open = key(MEMORY, b'f', 1);
        assert_eq!(facts.recall(open), Some(0));
        assert!(!continues(false, Role::Server, &mut facts));
        assert!(continues(true, Role::Server, &mut facts));
        assert!(!continues(true, Role::Server, &mut facts));
    }

    #[test]
    fn probes_and_steps() {
        let tpkt = |hex| probe(&unhex(hex));
        assert_eq!(tpkt("0300 0019 02f080 32"), Probe::Yes);
        assert_eq!(tpkt("0300 0016 11e0 0000 0007 00"), Probe::Maybe);
        assert_eq!(tpkt("0300"), Probe::Maybe);
        assert_eq!(tpkt("0300 0003 02"), Probe::No);
        assert_eq!(tpkt("4745 5420"), Probe::No);
        let step = |hex| run(&unhex(hex), &ctx(1, 102, Role::Client), &mut Recorder::default());
        assert_eq!(step("0300 0007 02f0"), Step::NeedMore);
        assert_eq!(step("0300 0007 02f000 0300"), Step::Consumed(7));
        assert_eq!(step("0300 0002 02f000"), Step::Resync);
        assert_eq!(step("47455420"), Step::Resync);
    }
}
