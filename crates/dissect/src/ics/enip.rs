//! EtherNet/IP encapsulation (CIP Volume 2, chapter 2): sessions, ListIdentity, and the way to CIP.

use super::cip::{self, Carrier};
use super::cip_names::state;
use super::wire::{cut, digest, key, once, runs, say_role, side};
use crate::fields::{Field, field};
use crate::{About, Ctx, Malformed, Outcome, Probe, Reader, Role, Sink, Step, text};

pub(super) const FIELDS: &[Field] = &[
    field("enip.role", "`client` or `server` of an encapsulation session"),
    field("enip.services", "name in the answer to ListServices"),
    field("enip.io", "`yes` for senders of class 0/1 connection data (UDP 2222)"),
];

pub(super) const PORTS: &[u16] = &[44818];
pub(super) const IO_PORTS: &[u16] = &[2222];

const MEMORY: u8 = b'e';
const HEADER: usize = 24;
/// Common Packet Format items per message: four are the most that any command has.
const ITEMS_MAX: u16 = 8;

struct Header {
    command: u16,
    length: u16,
    session: u32,
    status: u32,
    context: u64,
}

fn header(bytes: &[u8]) -> Result<Header, Malformed> {
    let mut r = Reader::new(bytes);
    let header = Header {
        command: r.u16_le()?,
        length: r.u16_le()?,
        session: r.u32_le()?,
        status: r.u32_le()?,
        context: r.u64_be()?,
    };
    let options = r.u32_le()?;
    let known = matches!(header.command, 0 | 1 | 4 | 0x63..=0x66 | 0x6f | 0x70 | 0x72 | 0x73);
    // Status codes are below 0x100 (Table 2-3.3); options shall be zero (§2-3.7).
    if known && options == 0 && header.status < 0x100 {
        Ok(header)
    } else {
        Err(Malformed::NotMine)
    }
}

/// Certain when a whole header fits and the payload's length agrees.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    match header(bytes) {
        Ok(h) if h.command != 0 && bytes.len() >= HEADER + usize::from(h.length) => Probe::Yes,
        Ok(_) | Err(Malformed::Truncated) => Probe::Maybe,
        Err(_) => Probe::No,
    }
}

/// Reads one encapsulation message of a session.
pub(super) fn run(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let head = match header(bytes) {
        Ok(head) => head,
        Err(Malformed::Truncated) => return Step::NeedMore,
        Err(_) => return Step::Resync,
    };
    let (message, step) = match cut(bytes, HEADER + usize::from(head.length)) {
        Ok(whole) => whole,
        Err(step) => return step,
    };
    let body = message.get(HEADER..).unwrap_or_default();
    let role = side(ctx, PORTS);
    if head.command >= 0x63 {
        say_role(sink, "enip.role", MEMORY, role);
    }
    // A cut or odd message is no reason to leave the stream: its length was stated.
    let _ = command(&head, body, role, sink);
    step
}

/// Reads one UDP message: ListIdentity, ListServices and their answers.
pub(super) fn datagram(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let head = header(bytes)?;
    let body = bytes.get(HEADER..).unwrap_or_default();
    if body.len() > usize::from(head.length) + 8 {
        return Err(Malformed::NotMine);
    }
    command(&head, body, side(ctx, PORTS), sink)
}

/// Connected class 0/1 data on UDP 2222: sequenced address and data items, nothing before them.
pub(super) fn io(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(bytes);
    if r.u16_le()? != 2 || r.u16_le()? != 0x8002 || r.u16_le()? != 8 {
        return Err(Malformed::NotMine);
    }
    r.skip(8)?;
    if r.u16_le()? != 0x00b1 {
        return Err(Malformed::NotMine);
    }
    // Both ends use the same port: each says it for itself.
    if once(sink, key(MEMORY, b'i', digest(&ctx.src.mac.0))) {
        sink.says("enip.io", "yes");
    }
    Ok(())
}

fn command(head: &Header, body: &[u8], role: Role, sink: &mut dyn Sink) -> Outcome {
    if head.status != 0 {
        return Ok(());
    }
    match head.command {
        0x04 if !body.is_empty() && role != Role::Client => items(
            body,
            |kind, item, sink| {
                if kind == 0x100 {
                    let name = item.get(4..).unwrap_or_default();
                    let name = runs(name, 4).next().unwrap_or_default();
                    sink.says("enip.services", text::clean_str(name));
                }
            },
            sink,
        ),
        0x63 if !body.is_empty() && role != Role::Client => items(
            body,
            |kind, item, sink| {
                if kind == 0x0c {
                    let _ = list_identity(item, sink);
                }
            },
            sink,
        ),
        0x6f | 0x70 => {
            let mut r = Reader::new(body);
            r.skip(6)?; // Interface handle and timeout.
            explicit(head, r.rest(), sink)
        }
        _ => Ok(()),
    }
}

/// Walks the items of the Common Packet Format (§2-6).
fn items(
    body: &[u8],
    mut each: impl FnMut(u16, &[u8], &mut dyn Sink),
    sink: &mut dyn Sink,
) -> Outcome {
    let mut r = Reader::new(body);
    for _ in 0..r.u16_le()?.min(ITEMS_MAX) {
        let kind = r.u16_le()?;
        let length = r.u16_le()?;
        each(kind, r.take_up_to(usize::from(length)), sink);
    }
    Ok(())
}

/// CIP Identity item (§2-4.2.2): the socket address, then the Identity object's attributes.
fn list_identity(item: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(item);
    r.skip(2 + 16)?;
    let after = cip::identity(r.rest(), About::Sender, sink)?;
    cip::remember_self(after.vendor, after.serial, sink);
    if let Some(code) = after.rest.first() {
        sink.says("cip.state", state(*code));
    }
    Ok(())
}

/// SendRRData and SendUnitData: an address item tells how, a data item carries the message.
fn explicit(head: &Header, body: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut connection = None;
    items(
        body,
        |kind, item, sink| {
            let mut r = Reader::new(item);
            match kind {
                0x00a1 => connection = r.u32_le().ok(),
                0x00b1 => {
                    if let (Some(id), Ok(sequence)) = (connection, r.u16_le()) {
                        let tag = u64::from(head.session) << 16 | u64::from(sequence);
                        let carrier = Carrier::Connection { id, tag };
                        let _ = cip::message(r.rest(), carrier, sink);
                    }
                }
                0x00b2 => {
                    let tag = head.context ^ u64::from(head.session).rotate_left(32);
                    let _ = cip::message(item, Carrier::Unconnected { tag }, sink);
                }
                _ => {}
            }
        },
        sink,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ics::wire::tests::{datagrams, dialogue};
    use crate::testing::{Recorder, ctx, unhex};

    /// ListIdentity answer of a made-up adapter at 192.0.2.1.
    const LIST_IDENTITY: &str = "6300 3300 00000000 00000000 0000000000000000 00000000
        0100 0c00 2d00 0100 0002 af12 c0000201 0000000000000000
        0100 0c00 3a00 04 07 3000 78563412 0b 313735362d454e42542f41 03";

    #[test]
    fn list_identity_is_the_sender() {
        let expect = [
            "sender says cip.vendor_id = 1",
            "sender says cip.vendor = Rockwell Automation",
            "sender says cip.device_type = 12 communications adapter",
            "sender says cip.product_code = 58",
            "sender says cip.revision = 4.7",
            "sender says cip.serial = 12345678",
            "sender says cip.product_name = 1756-ENBT/A",
            "sender is CipSerial 1:12345678 (cip.serial)",
            "sender says cip.state = operational",
        ];
        let facts = datagrams(datagram, 44818, &[(Role::Server, LIST_IDENTITY)]);
        assert_eq!(facts, Ok(expect.join("\n")));
        let request = "6300 0000 00000000 00000000 0000000000000000 00000000";
        assert_eq!(datagrams(datagram, 44818, &[(Role::Client, request)]), Ok(String::new()));
    }

    #[test]
    fn services_and_io() {
        let services = "0400 1a00 00000000 00000000 0000000000000000 00000000
            0100 0001 1400 0100 2000 436f6d6d756e69636174696f6e730000";
        assert_eq!(
            dialogue(run, 44818, &[(Role::Server, services)]),
            "sender says enip.services = Communications"
        );
        let data = "0200 0280 0800 01000000 02000000 b100 0200 0100";
        let facts = datagrams(io, 2222, &[(Role::Server, data), (Role::Server, data)]);
        assert_eq!(facts, Ok("sender says enip.io = yes".to_owned()));
        let other = datagrams(io, 2222, &[(Role::Server, "0200 0000 0800 01000000")]);
        assert_eq!(other, Err(Malformed::NotMine));
    }

    #[test]
    fn foreign_and_short_bytes() {
        let step = |hex| run(&unhex(hex), &ctx(1, 44818, Role::Client), &mut Recorder::default());
        assert_eq!(step("6f00 0400"), Step::NeedMore);
        let cut = "6f00 0400 01000000 00000000 0000000000000000 00000000 00";
        assert_eq!(step(cut), Step::NeedMore);
        assert_eq!(step(&"47".repeat(30)), Step::Resync);
        assert_eq!(probe(&unhex(LIST_IDENTITY)), Probe::Yes);
        assert_eq!(probe(b"GET / HTTP/1.1\r\nHost: example"), Probe::No);
    }
}
