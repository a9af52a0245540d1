//! BACnet application layer (clauses 15, 16, 20): I-Am, properties of the device object, control.

use std::borrow::Cow;
use std::net::IpAddr;

use model::observation::{EventKind, IdentifierKind};

use super::bacnet_names::VENDORS;
use super::wire::{key, lookup, once_of, word};
use crate::{About, Malformed, Outcome, Reader, Sink, text};

const MEMORY: u8 = b'B';
const DEVICE: u32 = 8;
/// "Any": what an instance is before it was configured (clause 12.11.1).
const UNCONFIGURED: u32 = 0x3f_ffff;

/// Confirmed services that change what a device does.
const CONTROL: &[(u8, &str)] = &[
    (7, "file write"),
    (10, "object creation"),
    (11, "object deletion"),
    (15, "property write"),
    (16, "property write"),
    (17, "communication control"),
    (20, "device restart"),
];

/// Where an APDU comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin<'a> {
    /// The sender of the packet.
    Sender,
    /// A host the sender forwards for.
    Host(IpAddr),
    /// A station of another network, which the sender routes.
    Routed {
        /// Its network number.
        network: u16,
        /// Its address there.
        mac: &'a [u8],
    },
}

/// Who sent an APDU.
#[derive(Clone, Copy)]
pub(super) struct Talker<'a> {
    pub(super) origin: Origin<'a>,
    /// Tells senders of one conversation apart: broadcasts of all share one.
    pub(super) tag: u64,
}

impl Talker<'_> {
    /// Whom its facts are about; built only where there is one, as most messages say nothing.
    pub(super) fn about(&self) -> About<'static> {
        match self.origin {
            Origin::Sender => About::Sender,
            Origin::Host(ip) => About::Host(ip),
            Origin::Routed { network, mac } => behind(format!("{network}:{}", station(mac))),
        }
    }

    /// Reports an instance, and says whom it names: a sender that says several, without a source
    /// network, speaks for several devices (a simulator or proxy).
    fn device(&self, instance: u32, sink: &mut dyn Sink) -> About<'static> {
        let mut about = self.about();
        if instance == UNCONFIGURED {
            return about;
        }
        if self.origin == Origin::Sender {
            let first = key(MEMORY, b'i', self.tag);
            match sink.recall(first) {
                None => sink.remember(first, u64::from(instance)),
                Some(own) if own == u64::from(instance) => {}
                Some(_) => about = behind(format!("0:{instance}")),
            }
        }
        sink.about(about.clone(), "bacnet.instance", instance.to_string());
        about
    }
}

fn behind(key: String) -> About<'static> {
    About::Child { via: "bacnet-network", key: Cow::Owned(key) }
}

/// A station's address as people write it: `114`, `192.0.2.1:47808`, or hex.
fn station(mac: &[u8]) -> String {
    match mac {
        [one] => one.to_string(),
        [a, b, c, d, 0xba, 0xc0] => format!("{a}.{b}.{c}.{d}:47808"),
        other => text::hex(other),
    }
}

/// Reads one APDU.
pub(super) fn run(apdu: &[u8], talker: &Talker<'_>, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(apdu);
    let first = r.u8()?;
    match first >> 4 {
        0 => {
            r.skip(2)?; // Segments accepted, invoke id.
            if first & 8 != 0 {
                r.skip(2)?;
            }
            confirmed_request(r.u8()?, talker, sink);
            Ok(())
        }
        1 => unconfirmed_request(&mut r, talker, sink),
        3 => {
            r.skip(1)?;
            if first & 8 != 0 && r.u16_be()? >> 8 != 0 {
                return Ok(()); // A later segment: it does not begin with a tag.
            }
            say_role(talker, 1, sink);
            match r.u8()? {
                12 => read_property(&mut r, talker, sink),
                14 => read_property_multiple(&mut r, talker, sink),
                _ => Ok(()),
            }
        }
        2 | 4..=7 => Ok(()),
        _ => Err(Malformed::Invalid),
    }
}

/// Said of senders only: what a child does, it does through its router.
fn say_role(talker: &Talker<'_>, which: u8, sink: &mut dyn Sink) {
    if talker.origin == Origin::Sender && once_of(sink, key(MEMORY, b'r', 0), which) {
        sink.says("bacnet.role", if which == 0 { "client" } else { "server" });
    }
}

fn confirmed_request(service: u8, talker: &Talker<'_>, sink: &mut dyn Sink) {
    say_role(talker, 0, sink);
    if let Some(what) = word(CONTROL, service)
        && once_of(sink, key(MEMORY, b'e', 0), service)
    {
        sink.event(About::Receiver, EventKind::ControlWrite, format!("BACnet {what}"));
    }
}

fn unconfirmed_request(r: &mut Reader<'_>, talker: &Talker<'_>, sink: &mut dyn Sink) -> Outcome {
    match r.u8()? {
        0 => i_am(r, talker, sink),
        // I-Have: the device that has the object is the sender.
        1 => {
            let (kind, instance) = object(&tag(r)?)?;
            if kind == DEVICE {
                talker.device(instance, sink);
            }
            Ok(())
        }
        // Who-Has, Who-Is: say nothing on the sender; the rest is process data.
        2..=14 | 128.. => Ok(()),
        _ => Err(Malformed::Invalid),
    }
}

/// Clause 16.10: device identifier, largest APDU, segmentation, vendor.
fn i_am(r: &mut Reader<'_>, talker: &Talker<'_>, sink: &mut dyn Sink) -> Outcome {
    let (kind, instance) = object(&tag(r)?)?;
    if kind != DEVICE {
        return Err(Malformed::Invalid);
    }
    tag(r)?;
    tag(r)?;
    let vendor = u16::try_from(unsigned(&tag(r)?)?).map_err(|_| Malformed::Invalid)?;
    let about = talker.device(instance, sink);
    sink.about(about.clone(), "bacnet.vendor_id", vendor.to_string());
    sink.about(about.clone(), "bacnet.vendor", lookup(VENDORS, vendor).unwrap_or_default());
    if instance != UNCONFIGURED {
        // Instances are unique in an internetwork, whatever network the device sits on; the
        // vendor keeps default instances of different makes apart.
        let kind = IdentifierKind::BacnetInstance;
        sink.identifier(about, "bacnet.instance", kind, format!("{vendor}:{instance}"));
    }
    Ok(())
}

/// ReadProperty-ACK (clause 15.5): object, property, perhaps an index, `{ value }`.
fn read_property(r: &mut Reader<'_>, talker: &Talker<'_>, sink: &mut dyn Sink) -> Outcome {
    let (kind, instance) = object(&tag(r)?)?;
    let property = unsigned(&tag(r)?)?;
    let mut next = tag(r)?;
    if next.is_context(2) && next.shape == Shape::Value {
        return Ok(()); // One element of an array; none is identity.
    }
    if kind != DEVICE || next.shape != Shape::Open {
        return Ok(());
    }
    let about = talker.device(instance, sink);
    next = tag(r)?;
    property_value(property, &next, &about, sink);
    Ok(())
}

/// ReadPropertyMultiple-ACK (clause 15.7): objects with lists of property and value or error.
fn read_property_multiple(r: &mut Reader<'_>, talker: &Talker<'_>, sink: &mut dyn Sink) -> Outcome {
    let mut device = None;
    let mut property = 0;
    // A flat walk: tags at depth one are the list's, deeper ones belong to values.
    let mut depth = 0u8;
    for _ in 0..512 {
        if r.is_empty() {
            return Ok(());
        }
        let next = tag(r)?;
        match (next.shape, depth) {
            (Shape::Open, _) => depth = depth.saturating_add(1),
            (Shape::Close, _) => depth = depth.saturating_sub(1),
            (Shape::Value, 0) => {
                let (kind, instance) = object(&next)?;
                device = (kind == DEVICE).then(|| talker.device(instance, sink));
            }
            (Shape::Value, 1) if next.is_context(2) => property = unsigned(&next)?,
            (Shape::Value, 2) if !next.context => {
                if let Some(about) = &device {
                    property_value(property, &next, about, sink);
                }
            }
            _ => {}
        }
    }
    Err(Malformed::Limit)
}

fn property_value(property: u32, value: &Tag<'_>, about: &About<'static>, sink: &mut dyn Sink) {
    let field = match property {
        12 => "bacnet.application_version",
        28 => "bacnet.description",
        44 => "bacnet.firmware_revision",
        58 => "bacnet.location",
        70 => "bacnet.model_name",
        77 => "bacnet.object_name",
        120 => "bacnet.vendor_id",
        121 => "bacnet.vendor_name",
        139 => "bacnet.protocol_revision",
        168 => "bacnet.profile",
        372 => "bacnet.serial_number",
        _ => return,
    };
    let said: Cow<'_, str> = match value.number {
        2 => unsigned(value).map_or(Cow::Borrowed(""), |n| Cow::Owned(n.to_string())),
        7 => characters(value.body),
        _ => return,
    };
    if property == 120
        && let Some(vendor) = said.parse().ok().and_then(|n| lookup(VENDORS, n))
    {
        sink.about(about.clone(), "bacnet.vendor", vendor);
    }
    sink.about(about.clone(), field, said);
}

/// Character string (clause 20.2.9): a byte of encoding, then text.
fn characters(body: &[u8]) -> Cow<'_, str> {
    match body.split_first() {
        // UTF-8 and Latin-1.
        Some((0 | 5, text)) => text::clean(text),
        // UCS-2, big-endian.
        Some((4, wide)) => Cow::Owned(text::utf16_be(wide)),
        _ => Cow::Borrowed(""),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Value,
    Open,
    Close,
}

/// A tag with its contents (clause 20.2.1).
struct Tag<'a> {
    number: u8,
    context: bool,
    shape: Shape,
    body: &'a [u8],
}

impl Tag<'_> {
    const fn is_context(&self, number: u8) -> bool {
        self.context && self.number == number
    }
}

fn tag<'a>(r: &mut Reader<'a>) -> Result<Tag<'a>, Malformed> {
    let first = r.u8()?;
    let context = first & 8 != 0;
    let number = match first >> 4 {
        15 => r.u8()?,
        number => number,
    };
    let (shape, length) = match first & 7 {
        6 if context => (Shape::Open, 0),
        7 if context => (Shape::Close, 0),
        // A Boolean's value is in its length field.
        _ if !context && number == 1 => (Shape::Value, 0),
        5 => match r.u8()? {
            254 => (Shape::Value, usize::from(r.u16_be()?)),
            255 => return Err(Malformed::Limit),
            length => (Shape::Value, usize::from(length)),
        },
        length @ 0..=4 => (Shape::Value, usize::from(length)),
        _ => return Err(Malformed::Invalid),
    };
    Ok(Tag { number, context, shape, body: r.take(length)? })
}

fn unsigned(tag: &Tag<'_>) -> Result<u32, Malformed> {
    if (1..=4).contains(&tag.body.len()) {
        Ok(tag.body.iter().fold(0, |n, b| n << 8 | u32::from(*b)))
    } else {
        Err(Malformed::Invalid)
    }
}

/// Type and instance of an object identifier.
fn object(tag: &Tag<'_>) -> Result<(u32, u32), Malformed> {
    let bytes: [u8; 4] = tag.body.try_into().map_err(|_| Malformed::Invalid)?;
    let id = u32::from_be_bytes(bytes);
    Ok((id >> 22, id & UNCONFIGURED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Recorder, unhex};

    fn check(hex: &str, expect: Result<&[&str], Malformed>) {
        let mut facts = Recorder::default();
        let talker = Talker { origin: Origin::Sender, tag: 1 };
        let outcome = run(&unhex(hex), &talker, &mut facts);
        assert_eq!(
            outcome.map(|()| facts.lines),
            expect.map(|e| e.iter().map(|s| s.to_string()).collect())
        );
    }

    #[test]
    fn properties_of_the_device_object() {
        check(
            "30 01 0c  0c 02000007 19 46  3e 75 05 00 58312d37 3f",
            Ok(&[
                "sender says bacnet.role = server",
                "sender says bacnet.instance = 7",
                "sender says bacnet.model_name = X1-7",
            ]),
        );
        // The same property of an analog input is no identity.
        check(
            "30 01 0c  0c 00000007 19 4d  3e 75 05 00 58312d37 3f",
            Ok(&["sender says bacnet.role = server"]),
        );
        check("30 01 0c  0c 0200", Err(Malformed::Truncated));
    }

    #[test]
    fn many_properties_at_once() {
        check(
            "30 02 0e  0c 02000007 1e
               29 79 4e 75 05 00 41434d45 4f
               29 1c 5e 91 02 91 20 5f
               29 2c 4e 74 00 312e32 4f
               29 78 4e 21 24 4f
               29 4c 4e c4 02000007 c4 00000001 4f 1f
             0c 00000001 1e 29 4d 4e 74 00 616231 4f 1f",
            Ok(&[
                "sender says bacnet.role = server",
                "sender says bacnet.instance = 7",
                "sender says bacnet.vendor_name = ACME",
                "sender says bacnet.firmware_revision = 1.2",
                "sender says bacnet.vendor = Tridium",
                "sender says bacnet.vendor_id = 36",
            ]),
        );
    }

    #[test]
    fn requests_say_that_the_sender_is_a_client_and_control_is_an_event() {
        check("00 04 05 0c 0c 02000007 19 4d", Ok(&["sender says bacnet.role = client"]));
        check(
            "00 04 05 14 09 00",
            Ok(&[
                "sender says bacnet.role = client",
                "receiver event ControlWrite: BACnet device restart",
            ]),
        );
        check("10 08 09 07 19 07", Ok(&[]));
    }

    #[test]
    fn one_sender_with_several_instances_speaks_for_several_devices() {
        let mut facts = Recorder::default();
        let talker = Talker { origin: Origin::Sender, tag: 1 };
        for instance in ["07", "08", "07"] {
            let i_am = unhex(&format!("10 00 c40200 00{instance} 2201e0 9103 22ffff"));
            assert_eq!(run(&i_am, &talker, &mut facts), Ok(()));
        }
        facts.lines.retain(|line| line.contains("says bacnet.instance"));
        let expect = [
            "sender says bacnet.instance = 7",
            "sender/bacnet-network[0:8] says bacnet.instance = 8",
            "sender says bacnet.instance = 7",
        ];
        assert_eq!(facts.lines, expect);
    }

    #[test]
    fn an_unconfigured_device_has_no_identifier() {
        check(
            "10 00 c4023fffff 2201e0 9103 2118",
            Ok(&[
                "sender says bacnet.vendor_id = 24",
                "sender says bacnet.vendor = Automated Logic",
            ]),
        );
    }
}
