//! PC Worx (TCP 1962) of Phoenix Contact controllers and ProConOS (TCP 20547), the runtime in them
//! and in others. Neither is published: offsets as the ICS community's discovery scripts use them.

use super::wire::{cut, name, side};
use crate::fields::{Field, field};
use crate::{Ctx, Probe, Role, Sink, Step};

pub(super) const FIELDS: &[Field] = &[
    field("pcworx.plc_type", "PLC type in the answer to a type request, as `ILC 151 ETH`"),
    field("pcworx.firmware", "firmware version in the same answer"),
    field("pcworx.firmware_date", "firmware date and time in the same answer"),
    field("pcworx.model", "model number in the same answer"),
    field("proconos.runtime", "ladder logic runtime in the answer to an information request"),
    field("proconos.plc_type", "PLC type in the same answer"),
    field("proconos.project", "project name in the same answer"),
    field("proconos.boot_project", "boot project in the same answer"),
];

pub(super) const PCWORX_PORTS: &[u16] = &[1962];
pub(super) const PROCONOS_PORTS: &[u16] = &[20547];

/// A frame kind (requests 1, answers 0x81), and a length at offset 2.
pub(super) fn probe_pcworx(bytes: &[u8]) -> Probe {
    match bytes {
        [0x01 | 0x81, _, 0, length, ..] if *length >= 4 => Probe::Maybe,
        [0x01 | 0x81, ..] if bytes.len() < 4 => Probe::Maybe,
        _ => Probe::No,
    }
}

/// Reads one PC Worx frame.
pub(super) fn pcworx(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let [kind, _, high, low, ..] = bytes else {
        return Step::NeedMore;
    };
    let total = usize::from(u16::from_be_bytes([*high, *low]));
    if !matches!(kind, 0x01 | 0x81) || !(4..=2_048).contains(&total) {
        return Step::Resync;
    }
    let (message, step) = match cut(bytes, total) {
        Ok(whole) => whole,
        Err(step) => return step,
    };
    // The information answer is the only one this long with text at these places.
    if *kind == 0x81 && side(ctx, PCWORX_PORTS) == Role::Server && message.len() >= 153 {
        let text = |at: usize, length: usize| {
            name(message.get(at..).map_or(&[][..], |rest| rest.get(..length).unwrap_or(rest)))
        };
        let (plc, firmware) = (text(30, 36), text(66, 13));
        if !plc.is_empty() && firmware.starts_with(|c: char| c.is_ascii_digit()) {
            sink.says("pcworx.plc_type", plc);
            sink.says("pcworx.firmware", firmware);
            let date = format!("{} {}", text(79, 13), text(92, 10));
            sink.says("pcworx.firmware_date", date.trim());
            sink.says("pcworx.model", text(152, 32));
        }
    }
    step
}

/// Answers begin with 0xcc.
pub(super) fn probe_proconos(bytes: &[u8]) -> Probe {
    if bytes.starts_with(&[0xcc]) { Probe::Maybe } else { Probe::No }
}

/// Reads an answer of ProConOS.
pub(super) fn proconos(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    if bytes.first() != Some(&0xcc) {
        return Step::Resync;
    }
    if side(ctx, PROCONOS_PORTS) == Role::Server && bytes.len() >= 100 {
        for (at, field) in [
            (12, "proconos.runtime"),
            (44, "proconos.plc_type"),
            (77, "proconos.project"),
            (90, "proconos.boot_project"),
        ] {
            sink.says(field, name(bytes.get(at..).unwrap_or_default()));
        }
    }
    Step::Consumed(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Recorder, ctx};

    fn put(bytes: &mut [u8], at: usize, text: &str) {
        bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
    }

    #[test]
    fn pcworx_answers() {
        let mut answer = vec![0u8; 180];
        answer[..4].copy_from_slice(&[0x81, 6, 0, 180]);
        for (at, text) in [
            (30, "ILC 151 ETH"),
            (66, "4.42"),
            (79, "May  3 2013"),
            (92, "12:00:00"),
            (152, "2700974"),
        ] {
            put(&mut answer, at, text);
        }
        let mut facts = Recorder::default();
        let step = pcworx(&answer, &ctx(1962, 1, Role::Server), &mut facts);
        assert_eq!(step, Step::Consumed(180));
        let expect = [
            "sender says pcworx.plc_type = ILC 151 ETH",
            "sender says pcworx.firmware = 4.42",
            "sender says pcworx.firmware_date = May  3 2013 12:00:00",
            "sender says pcworx.model = 2700974",
        ];
        assert_eq!(facts.lines, expect);
        let again =
            |bytes: &[u8]| pcworx(bytes, &ctx(1962, 1, Role::Server), &mut Recorder::default());
        assert_eq!(again(&answer[..50]), Step::NeedMore);
        assert_eq!(again(b"GET /"), Step::Resync);
    }

    #[test]
    fn proconos_answers() {
        let mut answer = vec![0u8; 120];
        answer[0] = 0xcc;
        put(&mut answer, 12, "ProConOS V4.1.0230");
        put(&mut answer, 44, "ADAM5510KW");
        put(&mut answer, 77, "Pump");
        let mut facts = Recorder::default();
        let step = proconos(&answer, &ctx(20547, 1, Role::Server), &mut facts);
        assert_eq!(step, Step::Consumed(120));
        assert_eq!(facts.lines.len(), 3);
        assert_eq!(probe_proconos(b"HTTP"), Probe::No);
    }
}
