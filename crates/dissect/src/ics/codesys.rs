//! CODESYS: version 3's name service on UDP 1740–1743 and its blocks on TCP 11740, version 2 on
//! TCP 1200 and 2455. Not published: layouts as public analyses of the runtime describe them.

use super::wire::{cut, key, name, once, say_role, side};
use crate::fields::{Field, field};
use crate::{Ctx, Malformed, Outcome, Probe, Reader, Role, Sink, Step, text};

pub(super) const FIELDS: &[Field] = &[
    field("codesys.role", "`client` or `server`"),
    field("codesys.node_name", "node name in an answer of the V3 name service"),
    field("codesys.device_name", "device name in the same answer"),
    field("codesys.vendor_name", "vendor name in the same answer"),
    field("codesys.os_name", "operating system in a V2 information answer"),
    field("codesys.os_version", "its version or type in the same answer"),
    field("codesys.product", "product in the same answer"),
];

pub(super) const V3_DATAGRAM_PORTS: &[u16] = &[1740, 1741, 1742, 1743];
pub(super) const V3_PORTS: &[u16] = &[11740, 1217];
pub(super) const V2_PORTS: &[u16] = &[1200, 2455];

const MEMORY: u8 = b'y';
/// First byte of a V3 datagram layer message.
const MAGIC: u8 = 0xc5;
const NAME_SERVICE_CLIENT: u8 = 4;
const BLOCK: [u8; 4] = [0x00, 0x01, 0x17, 0xe8];

/// Reads one V3 datagram: name service answers carry up to three UTF-16 strings.
pub(super) fn datagram(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    routed(bytes, sink)
}

/// Datagram layer: magic, hop info, packet info, service, message id, lengths, addresses.
fn routed(bytes: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(bytes);
    if r.u8()? != MAGIC {
        return Err(Malformed::NotMine);
    }
    let header = usize::from(r.u8()? & 7) * 2;
    r.skip(1)?;
    let service = r.u8()?;
    if header < 4 || !matches!(service, 1..=4 | 0x40 | 0x41) {
        return Err(Malformed::NotMine);
    }
    if service != NAME_SERVICE_CLIENT {
        return Ok(());
    }
    let found = wide_strings(r.rest());
    // Node and device name at least; the vendor's is missing in old runtimes.
    if found.len() < 2 {
        return Ok(());
    }
    let fields = ["codesys.node_name", "codesys.device_name", "codesys.vendor_name"];
    for (field, value) in fields.into_iter().zip(found) {
        sink.says(field, value);
    }
    Ok(())
}

/// Runs of UTF-16LE printable ASCII of at least three characters, three at most.
fn wide_strings(bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while found.len() < 3 && rest.len() >= 6 {
        let run = rest.chunks_exact(2).take_while(|pair| matches!(pair, [0x20..=0x7e, 0])).count();
        let step = if run >= 3 {
            found.push(text::utf16_le(rest.get(..run * 2).unwrap_or_default()));
            run * 2
        } else {
            1
        };
        rest = rest.get(step..).unwrap_or_default();
    }
    found
}

/// V3's block driver has a magic number.
pub(super) fn probe_v3(bytes: &[u8]) -> Probe {
    if bytes.len() >= 4 && bytes.starts_with(&BLOCK) { Probe::Yes } else { Probe::No }
}

/// Reads one block of V3 over TCP.
pub(super) fn v3(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let mut r = Reader::new(bytes);
    let (Ok(magic), Ok(length)) = (r.array::<4>(), r.u32_le()) else {
        return Step::NeedMore;
    };
    let total = usize::try_from(length).unwrap_or(usize::MAX);
    if magic != BLOCK || !(8..=65_536).contains(&total) {
        return Step::Resync;
    }
    let (message, step) = match cut(bytes, total) {
        Ok(whole) => whole,
        Err(step) => return step,
    };
    say_role(sink, "codesys.role", MEMORY, side(ctx, V3_PORTS));
    let _ = routed(message.get(8..).unwrap_or_default(), sink);
    step
}

/// V2 frames begin with 0xbb twice.
pub(super) fn probe_v2(bytes: &[u8]) -> Probe {
    if bytes.starts_with(&[0xbb, 0xbb]) { Probe::Maybe } else { Probe::No }
}

/// Reads V2's information answer: three C strings at fixed places.
pub(super) fn v2(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    if !bytes.starts_with(&[0xbb, 0xbb]) {
        return Step::Resync;
    }
    let role = side(ctx, V2_PORTS);
    say_role(sink, "codesys.role", MEMORY, role);
    if role == Role::Server && bytes.len() > 130 && once(sink, key(MEMORY, b'2', 0)) {
        for (at, field) in
            [(64, "codesys.os_name"), (96, "codesys.os_version"), (128, "codesys.product")]
        {
            let value = bytes.get(at..).unwrap_or_default();
            sink.says(field, name(value.get(..32).unwrap_or(value)));
        }
    }
    Step::Consumed(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ics::wire::tests::datagrams;
    use crate::testing::{Recorder, ctx};

    #[test]
    fn name_service_answers() {
        let wide = |s: &str| -> String { s.bytes().map(|b| format!("{b:02x}00")).collect() };
        let answer = format!(
            "c5 6b 40 04 0011 0000 0002 0304 80c2 0004 {} 0000 {} 0000 {} 0000",
            wide("PLC-7"),
            wide("ACME Control"),
            wide("ACME")
        );
        let facts = datagrams(datagram, 1740, &[(Role::Server, &answer)]);
        let expect = "sender says codesys.node_name = PLC-7\n\
            sender says codesys.device_name = ACME Control\nsender says codesys.vendor_name = ACME";
        assert_eq!(facts, Ok(expect.to_owned()));
        let foreign = datagrams(datagram, 1740, &[(Role::Server, "ff 6b 40 04")]);
        assert_eq!(foreign, Err(Malformed::NotMine));
    }

    #[test]
    fn version_2_answers() {
        let mut answer = vec![0u8; 160];
        answer[..2].copy_from_slice(&[0xbb, 0xbb]);
        for (at, text) in [(64, "Nucleus PLUS"), (96, "1.13"), (128, "750-841")] {
            answer[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        let mut facts = Recorder::default();
        assert_eq!(v2(&answer, &ctx(2455, 1, Role::Server), &mut facts), Step::Consumed(160));
        assert_eq!(facts.lines.len(), 4);
        assert_eq!(v2(b"SSH-", &ctx(2455, 1, Role::Server), &mut facts), Step::Resync);
        assert_eq!(probe_v3(&[0, 1, 0x17, 0xe8, 9, 0, 0, 0]), Probe::Yes);
    }
}
