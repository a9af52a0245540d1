//! Small protocols of single makers: Red Lion Crimson, Fanuc FOCAS, GE SRTP, Emerson ROC,
//! Veeder-Root tank gauges and Host Engineering's ECOM.

use super::wire::{cut, key, name, once, runs, say_role, side};
use crate::fields::{Field, field};
use crate::{Ctx, Malformed, Outcome, Probe, Reader, Role, Sink, Step, text};

pub(super) const FIELDS: &[Field] = &[
    field("crimson.manufacturer", "answer of Red Lion Crimson to register 0x12b"),
    field("crimson.model", "answer of Red Lion Crimson to register 0x12a"),
    field("focas.role", "`client` or `server` of Fanuc FOCAS"),
    field("srtp.role", "`client` or `server` of GE SRTP"),
    field("srtp.controller", "text in the answer to Return Controller Type and ID"),
    field("roc.role", "`client` or `server` of Emerson ROC"),
    field("roc.address", "unit and group of the answering device, as `1/2`"),
    field("atg.station", "station header of a Veeder-Root inventory report"),
    field("ecom.role", "`client` or `server` of Host Engineering's HAP"),
];

pub(super) const CRIMSON_PORTS: &[u16] = &[789];
pub(super) const FOCAS_PORTS: &[u16] = &[8193];
pub(super) const SRTP_PORTS: &[u16] = &[18245];
pub(super) const ROC_PORTS: &[u16] = &[4000];
pub(super) const ATG_PORTS: &[u16] = &[10001];
pub(super) const ECOM_PORTS: &[u16] = &[28784];

/// A length, then a register: believed on the port.
pub(super) fn probe_crimson(bytes: &[u8]) -> Probe {
    match bytes {
        [0, length, 1, 0x2a | 0x2b, ..] if *length >= 4 => Probe::Maybe,
        _ => Probe::No,
    }
}

/// Crimson 3: length, register, kind, then text.
pub(super) fn crimson(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let [high, low, ..] = bytes else {
        return Step::NeedMore;
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if !(2..=1_024).contains(&length) {
        return Step::Resync;
    }
    let (message, step) = match cut(bytes, length + 2) {
        Ok(whole) => whole,
        Err(step) => return step,
    };
    if side(ctx, CRIMSON_PORTS) == Role::Server
        && let [_, _, 1, register, _, _, value @ ..] = message
    {
        match register {
            0x2b => sink.says("crimson.manufacturer", name(value)),
            0x2a => sink.says("crimson.model", name(value)),
            _ => {}
        }
    }
    step
}

/// Four times 0xa0.
pub(super) fn probe_focas(bytes: &[u8]) -> Probe {
    if bytes.len() >= 4 && bytes.starts_with(&[0xa0; 4]) { Probe::Yes } else { Probe::No }
}

/// FOCAS: presence only.
pub(super) fn focas(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    if bytes.len() < 4 {
        return Step::NeedMore;
    }
    if probe_focas(bytes) != Probe::Yes {
        return Step::Resync;
    }
    say_role(sink, "focas.role", b'O', side(ctx, FOCAS_PORTS));
    Step::Done
}

const SRTP_HEADER: usize = 56;

/// A header of 56 bytes that begins with a small type: believed on the port.
pub(super) fn probe_srtp(bytes: &[u8]) -> Probe {
    match bytes {
        [0..=3, 0, ..] if bytes.len() >= SRTP_HEADER => Probe::Maybe,
        _ => Probe::No,
    }
}

/// SRTP: types 2 ask and 3 answer; service 0x43 returns the controller's type and id.
pub(super) fn srtp(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    if bytes.len() < SRTP_HEADER {
        return Step::NeedMore;
    }
    let mut r = Reader::new(bytes);
    let (Ok(kind), Ok(0), Ok(index), Ok(length)) = (r.u8(), r.u8(), r.u16_le(), r.u16_le()) else {
        return Step::Resync;
    };
    if kind > 3 || length > 8_192 {
        return Step::Resync;
    }
    let (message, step) = match cut(bytes, SRTP_HEADER + usize::from(length)) {
        Ok(whole) => whole,
        Err(step) => return step,
    };
    let role = side(ctx, SRTP_PORTS);
    say_role(sink, "srtp.role", b'G', role);
    let asked = key(b'G', b'q', u64::from(index));
    if kind == 2 && role == Role::Client {
        let service = message.get(42).copied().unwrap_or(0);
        sink.remember(asked, u64::from(service));
    } else if kind == 3 && role == Role::Server && sink.recall(asked) == Some(0x43) {
        let text = runs(message.get(SRTP_HEADER..).unwrap_or_default(), 4).next();
        sink.says("srtp.controller", text::clean_str(text.unwrap_or_default()));
    }
    step
}

/// Length of a ROC frame: addresses, opcode, data, CRC.
fn roc_length(bytes: &[u8]) -> Option<usize> {
    bytes.get(5).map(|data| 8 + usize::from(*data))
}

/// CRC-16 (reflected 0x8005, initially zero), as ROC uses it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(*byte),
            |crc, _| {
                if crc & 1 == 1 { crc >> 1 ^ 0xa001 } else { crc >> 1 }
            },
        )
    })
}

fn is_roc(frame: &[u8]) -> bool {
    let Some((head, [low, high])) = frame.split_last_chunk::<2>() else {
        return false;
    };
    crc16(head) == u16::from_le_bytes([*low, *high])
}

/// A right checksum behind the stated length.
pub(super) fn probe_roc(bytes: &[u8]) -> Probe {
    match roc_length(bytes).and_then(|length| bytes.get(..length)) {
        Some(frame) if is_roc(frame) => Probe::Maybe,
        _ => Probe::No,
    }
}

/// ROC: presence and address.
pub(super) fn roc(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let Some(length) = roc_length(bytes) else {
        return Step::NeedMore;
    };
    let (message, step) = match cut(bytes, length) {
        Ok(whole) => whole,
        Err(step) => return step,
    };
    if !is_roc(message) {
        return Step::Resync;
    }
    let role = side(ctx, ROC_PORTS);
    say_role(sink, "roc.role", b'R', role);
    if role == Role::Server
        && let [_, _, unit, group, ..] = message
        && once(sink, key(b'R', b'a', 0))
    {
        sink.says("roc.address", format!("{unit}/{group}"));
    }
    step
}

/// A report in computer or display format begins with SOH and its function.
pub(super) fn probe_atg(bytes: &[u8]) -> Probe {
    match bytes {
        [1, b'I' | b'i' | b'S' | b's', a, b, ..] if a.is_ascii_digit() && b.is_ascii_digit() => {
            Probe::Maybe
        }
        _ => Probe::No,
    }
}

/// Veeder-Root TLS: the display report (`I20100`) names the station after date and time.
pub(super) fn atg(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    if bytes.first() != Some(&1) {
        return Step::Resync;
    }
    if side(ctx, ATG_PORTS) != Role::Server {
        return Step::Consumed(bytes.len());
    }
    // ETX ends a report.
    if !bytes.contains(&3) && bytes.len() < 512 {
        return Step::NeedMore;
    }
    let mut lines = bytes
        .split(|b| matches!(b, b'\r' | b'\n'))
        .map(text::clean)
        .filter(|line| !line.is_empty());
    let function = lines.next().unwrap_or_default();
    // Date, then the first line of the header.
    if function.starts_with('I') && lines.next().is_some_and(|date| date.contains(':')) {
        sink.says("atg.station", lines.next().unwrap_or_default());
    }
    Step::Consumed(bytes.len())
}

/// Host Engineering's HAP: presence only.
pub(super) fn ecom(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(bytes);
    if &r.array::<3>()? != b"HAP" {
        return Err(Malformed::NotMine);
    }
    r.skip(4)?; // Application value, checksum.
    if usize::from(r.u16_le()?) != r.len() {
        return Err(Malformed::NotMine);
    }
    say_role(sink, "ecom.role", b'H', side(ctx, ECOM_PORTS));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ics::wire::tests::{datagrams, dialogue};
    use crate::testing::unhex;

    #[test]
    fn crimson_and_focas() {
        let facts = dialogue(
            crimson,
            789,
            &[
                (Role::Client, "0004 012b 1b00"),
                (Role::Server, "000d 012b 1b00 526564204c696f6e00"),
            ],
        );
        assert_eq!(facts, "sender says crimson.manufacturer = Red Lion");
        assert_eq!(probe_crimson(b"HTTP"), Probe::No);
        let facts = dialogue(focas, 8193, &[(Role::Server, "a0a0a0a0 0001 0102 0002 0000")]);
        assert_eq!(facts, "sender says focas.role = server");
        assert_eq!(dialogue(focas, 8193, &[(Role::Server, "485454502f")]), "");
    }

    #[test]
    fn srtp_answers_are_read_with_their_question() {
        let frame = |kind: u8, length: u8, service: u8, body: &str| {
            let mut head = [0u8; SRTP_HEADER];
            (head[0], head[2], head[4], head[42]) = (kind, 5, length, service);
            let head: String = head.iter().map(|b| format!("{b:02x}")).collect();
            format!("{head}{body}")
        };
        let answer = frame(3, 8, 0, "0000 50414331 0000");
        assert_eq!(
            dialogue(
                srtp,
                18245,
                &[(Role::Client, &frame(2, 0, 0x43, "")), (Role::Server, &answer)]
            ),
            "sender says srtp.role = client\nsender says srtp.role = server\n\
             sender says srtp.controller = PAC1"
        );
        assert_eq!(
            dialogue(srtp, 18245, &[(Role::Server, &answer)]),
            "sender says srtp.role = server"
        );
    }

    #[test]
    fn roc_needs_its_checksum() {
        let mut frame = unhex("0102 0304 07 00");
        frame.extend(crc16(&frame).to_le_bytes());
        let hex: String = frame.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            dialogue(roc, 4000, &[(Role::Server, &hex)]),
            "sender says roc.role = server\nsender says roc.address = 3/4"
        );
        assert_eq!(dialogue(roc, 4000, &[(Role::Server, "0102 0304 07 00 0000")]), "");
        // Check value of CRC-16/ARC.
        assert_eq!(crc16(b"123456789"), 0xbb3d);
    }

    #[test]
    fn tank_gauges_and_ecom() {
        let report =
            b"\x01\r\nI20100\r\nJAN 01, 2020 10:00 AM\r\n\r\nACME FUEL 7\r\n1 MAIN ST\r\n\x03";
        let hex: String = report.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            dialogue(atg, 10001, &[(Role::Server, &hex)]),
            "sender says atg.station = ACME FUEL 7"
        );
        assert_eq!(probe_atg(b"\x01I20100\n"), Probe::Maybe);
        let facts = datagrams(ecom, 28784, &[(Role::Client, "484150 0100 0000 0100 05")]);
        assert_eq!(facts, Ok("sender says ecom.role = client".to_owned()));
        let foreign = datagrams(ecom, 28784, &[(Role::Client, "484150 0100 0000 0900 05")]);
        assert_eq!(foreign, Err(Malformed::NotMine));
    }
}
