//! Common Industrial Protocol: explicit messages (CIP Volume 1, chapters 2 to 5).
//!
//! Answers do not repeat what was asked, so requests are remembered in the conversation. A request
//! routed through the backplane (`port 1, slot N`) is answered by a module *behind* the sender,
//! except for the slot of the sender's own network module: that one is recognised by its serial
//! number, or, before it said that itself, by being an Ethernet module.

use std::borrow::Cow;

use model::observation::{EventKind, IdentifierKind};

use super::cip_names::{VENDORS, device_type};
use super::cip_path::{Path, Route};
use super::pccc;
use super::wire::{key, lookup, name, once_of};
use crate::fields::{Field, field};
use crate::{About, Malformed, Outcome, Reader, Sink, text};

pub(super) const FIELDS: &[Field] = &[
    field("cip.vendor_id", "Identity object attribute 1: number of the vendor"),
    field("cip.vendor", "name of the vendor, from its number"),
    field("cip.device_type", "Identity object attribute 2, as `14 programmable logic controller`"),
    field("cip.product_code", "Identity object attribute 3"),
    field("cip.revision", "Identity object attribute 4, as `4.7`: the firmware"),
    field("cip.serial", "Identity object attribute 6: eight hex digits"),
    field("cip.product_name", "Identity object attribute 7"),
    field("cip.state", "Identity object attribute 8 in words"),
    field("cip.name", "name given to a Logix controller or module (class 0x64)"),
    field("cip.hostname", "TCP/IP Interface object attribute 6"),
    field("cip.mac", "Ethernet Link object attribute 3"),
];

const MEMORY: u8 = b'c';
const MULTIPLE_MAX: usize = 32;

const CLASS_IDENTITY: u16 = 0x01;
const CLASS_ROUTER: u16 = 0x02;
const CLASS_CONNECTIONS: u16 = 0x06;
const CLASS_NAME: u16 = 0x64;
const CLASS_TCP_IP: u16 = 0xf5;
const CLASS_ETHERNET: u16 = 0xf6;

const GET_ALL: u8 = 0x01;
const GET_LIST: u8 = 0x03;
const MULTIPLE: u8 = 0x0a;
const GET_SINGLE: u8 = 0x0e;
const UNCONNECTED_SEND: u8 = 0x52;
const FORWARD_OPEN: u8 = 0x54;
const LARGE_FORWARD_OPEN: u8 = 0x5b;

/// How a message came: what correlates it, and where it goes.
#[derive(Clone, Copy)]
pub(super) enum Carrier {
    /// Unconnected; the tag names session and sender context.
    Unconnected {
        /// Correlates request and answer.
        tag: u64,
    },
    /// Over a class 3 connection; the tag names session and sequence count.
    Connection {
        /// Connection id: the target's in requests, the originator's in answers.
        id: u32,
        /// Correlates request and answer.
        tag: u64,
    },
}

/// What is remembered of a request.
#[derive(Clone, Copy)]
struct Asked {
    service: u8,
    class: u16,
    attribute: u16,
    route: Route,
}

impl Asked {
    fn pack(self) -> u64 {
        u64::from(self.class)
            | u64::from(self.attribute) << 16
            | u64::from(self.service) << 32
            | u64::from(self.route.pack()) << 40
    }

    fn unpack(n: u64) -> Option<Self> {
        let [attribute_high, attribute_low, class_high, class_low] =
            u32::try_from(n & 0xffff_ffff).ok()?.to_be_bytes();
        Some(Self {
            service: u8::try_from(n >> 32 & 0xff).ok()?,
            class: u16::from_be_bytes([class_high, class_low]),
            attribute: u16::from_be_bytes([attribute_high, attribute_low]),
            route: Route::unpack(u16::try_from(n >> 40 & 0xffff).ok()?),
        })
    }
}

/// Reads one request or answer.
pub(super) fn message(data: &[u8], carrier: Carrier, sink: &mut dyn Sink) -> Outcome {
    let (tag, route) = match carrier {
        Carrier::Unconnected { tag } => (key(MEMORY, b'u', tag), Route::Direct),
        Carrier::Connection { id, tag } => {
            let route = sink.recall(key(MEMORY, b'k', u64::from(id)));
            let route = route.and_then(|n| u16::try_from(n).ok());
            (key(MEMORY, b's', tag), route.map_or(Route::Far, Route::unpack))
        }
    };
    match data.first() {
        Some(service) if service & 0x80 != 0 => answer(data, tag, 0, sink),
        Some(_) => request(data, route, tag, 0, sink).map(drop),
        None => Err(Malformed::Truncated),
    }
}

/// Gives whether the request was remembered.
fn request(
    data: &[u8],
    route: Route,
    tag: u64,
    depth: u8,
    sink: &mut dyn Sink,
) -> Result<bool, Malformed> {
    let mut r = Reader::new(data);
    let service = r.u8()?;
    let words = r.u8()?;
    let path = Path::parse(r.take(usize::from(words) * 2)?);
    let body = r.rest();
    let class = path.class.unwrap_or(0);
    let mut asked = Asked { service, class, attribute: path.attribute.unwrap_or(0), route };
    match (class, service) {
        (CLASS_CONNECTIONS, UNCONNECTED_SEND) if depth == 0 => {
            return unconnected_send(body, tag, sink);
        }
        (CLASS_ROUTER, MULTIPLE) if depth < 2 => {
            // Answers are looked at when one of their parts was waited for.
            let mut remembered = false;
            let each = |part: &[u8], index, sink: &mut dyn Sink| {
                remembered |= request(part, route, nested(tag, index), 2, sink) == Ok(true);
            };
            multiple(body, each, sink)?;
            if !remembered {
                return Ok(false);
            }
        }
        (CLASS_CONNECTIONS, FORWARD_OPEN) => asked.route = forward_open(body, 35)?,
        (CLASS_CONNECTIONS, LARGE_FORWARD_OPEN) => asked.route = forward_open(body, 39)?,
        (pccc::CLASS, pccc::EXECUTE) => asked.attribute = pccc::function(body)?,
        _ => {}
    }
    if let Some((kind, what)) = control(service, class) {
        let slot = (class << 2) ^ u16::from(service);
        let bit = u8::try_from(slot % 64).unwrap_or(0);
        if once_of(sink, key(MEMORY, b'e', u64::from(route.pack())), bit) {
            let about = target(route, sink);
            sink.event(about, kind, what);
        }
    }
    let worth = worth_remembering(&asked);
    if worth {
        sink.remember(tag, asked.pack());
    }
    Ok(worth)
}

/// Requests whose answers say who somebody is, or where a connection goes.
fn worth_remembering(asked: &Asked) -> bool {
    match asked.class {
        CLASS_IDENTITY | CLASS_NAME | CLASS_TCP_IP | CLASS_ETHERNET => {
            matches!(asked.service, GET_ALL | GET_LIST | GET_SINGLE)
        }
        CLASS_ROUTER => asked.service == MULTIPLE,
        CLASS_CONNECTIONS => matches!(asked.service, FORWARD_OPEN | LARGE_FORWARD_OPEN),
        pccc::CLASS => asked.attribute == pccc::DIAGNOSTIC_STATUS,
        _ => false,
    }
}

/// Requests that change what a device does, and what they do.
fn control(service: u8, class: u16) -> Option<(EventKind, &'static str)> {
    use EventKind::{ControlWrite, FirmwareTransfer};
    Some(match (class, service) {
        (0xa1, 0x4b..=0x51) => (FirmwareTransfer, "CIP firmware update (class 0xA1)"),
        (0x37, 0x4c | 0x4d) => (FirmwareTransfer, "CIP file download (class 0x37)"),
        (CLASS_IDENTITY, 0x05) => (ControlWrite, "CIP device reset"),
        (0x8e | CLASS_NAME, 0x06) => (ControlWrite, "CIP controller mode change to run"),
        (0x8e | CLASS_NAME, 0x07) => (ControlWrite, "CIP controller mode change to program"),
        (0x68 | 0x6b | 0x6c | 0x70, 0x08 | 0x09) => (ControlWrite, "CIP program download"),
        (CLASS_TCP_IP, 0x02 | 0x04 | 0x10) => (ControlWrite, "CIP network address change"),
        _ => return None,
    })
}

/// Unconnected Send (Volume 1, §3-5.5.4): a request in an envelope with the rest of its way.
fn unconnected_send(body: &[u8], tag: u64, sink: &mut dyn Sink) -> Result<bool, Malformed> {
    let mut r = Reader::new(body);
    r.skip(2)?; // Priority, time-out.
    let length = usize::from(r.u16_le()?);
    let inner = r.take(length)?;
    r.skip(length % 2)?;
    let words = r.u8()?;
    r.skip(1)?;
    let route = Path::parse(r.take(usize::from(words) * 2)?).route;
    request(inner, route, tag, 1, sink)
}

/// The way a Forward Open's connection takes; `fixed` is the length before the path.
fn forward_open(body: &[u8], fixed: usize) -> Result<Route, Malformed> {
    let mut r = Reader::new(body);
    r.skip(fixed)?;
    let words = r.u8()?;
    Ok(Path::parse(r.take(usize::from(words) * 2)?).route)
}

/// The parts of a Multiple Service Packet (Volume 1, Appendix A, service 0x0a): offsets from their own count.
fn multiple(
    body: &[u8],
    mut each: impl FnMut(&[u8], u64, &mut dyn Sink),
    sink: &mut dyn Sink,
) -> Outcome {
    let mut r = Reader::new(body);
    let count = usize::from(r.u16_le()?).min(MULTIPLE_MAX);
    let mut start = usize::from(r.u16_le()?);
    for index in 0..count {
        let end = if index + 1 < count { usize::from(r.u16_le()?) } else { body.len() };
        each(body.get(start..end).ok_or(Malformed::Invalid)?, index as u64, sink);
        start = end;
    }
    Ok(())
}

const fn nested(tag: u64, index: u64) -> u64 {
    tag ^ (index + 1).rotate_left(40)
}

fn answer(data: &[u8], tag: u64, depth: u8, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(data);
    let service = r.u8()? & 0x7f;
    r.skip(1)?;
    let status = r.u8()?;
    let extra = r.u8()?;
    r.skip(usize::from(extra) * 2)?;
    // 0x1e: one of several services failed (Volume 1, Appendix B).
    if status != 0 && !(service == MULTIPLE && status == 0x1e) {
        return Ok(());
    }
    let Some(asked) = sink.recall(tag).and_then(Asked::unpack) else {
        return Ok(());
    };
    if asked.service != service {
        return Ok(());
    }
    let body = r.rest();
    match (asked.class, service) {
        (CLASS_ROUTER, MULTIPLE) if depth == 0 => multiple(
            body,
            |part, index, sink| {
                let _ = answer(part, nested(tag, index), 1, sink);
            },
            sink,
        ),
        (CLASS_CONNECTIONS, _) => {
            let mut r = Reader::new(body);
            for _ in 0..2 {
                let id = key(MEMORY, b'k', u64::from(r.u32_le()?));
                sink.remember(id, u64::from(asked.route.pack()));
            }
            Ok(())
        }
        (CLASS_IDENTITY, _) => identity_answer(&asked, body, sink),
        _ => object_answer(&asked, body, sink),
    }
}

/// Whom a request goes to.
fn target(route: Route, sink: &mut dyn Sink) -> About<'static> {
    match route {
        Route::Slot(slot) if !is_own_slot(slot, sink) => {
            About::ChildOfReceiver { via: "cip-backplane", key: slot_name(slot) }
        }
        _ => About::Receiver,
    }
}

/// Whom an answer is from; nobody known for answers from further networks.
fn origin(route: Route, sink: &mut dyn Sink) -> Option<About<'static>> {
    match route {
        Route::Direct => Some(About::Sender),
        Route::Slot(slot) if is_own_slot(slot, sink) => Some(About::Sender),
        Route::Slot(slot) => Some(About::Child { via: "cip-backplane", key: slot_name(slot) }),
        Route::Far => None,
    }
}

fn slot_name(slot: u8) -> Cow<'static, str> {
    Cow::Owned(format!("slot {slot}"))
}

const SELF: u64 = key(MEMORY, b'i', 0);

fn own_slot(slot: u8) -> u64 {
    key(MEMORY, b'o', u64::from(slot))
}

fn is_own_slot(slot: u8, sink: &mut dyn Sink) -> bool {
    sink.recall(own_slot(slot)).is_some()
}

/// Remembers which module the conversation's server itself is.
pub(super) fn remember_self(vendor: u16, serial: u32, sink: &mut dyn Sink) {
    sink.remember(SELF, u64::from(vendor) << 32 | u64::from(serial));
}

/// Notes when the module in a slot is the network module that was talked to.
fn note_own_slot(slot: u8, vendor: u16, serial: u32, product: &str, sink: &mut dyn Sink) {
    let module = u64::from(vendor) << 32 | u64::from(serial);
    let own = match sink.recall(SELF) {
        Some(known) => known == module,
        None => {
            let ethernet = vendor == 1 && is_ethernet_module(product);
            if ethernet {
                sink.remember(SELF, module);
            }
            ethernet
        }
    };
    if own {
        sink.remember(own_slot(slot), 1);
    }
}

/// Rockwell's names of modules that a chassis is reached through: `1756-ENBT/A`, `1768-EWEB`,
/// `1734-AENTR`; and of controllers whose port is their own: `1769-L33ER`, `5069-L306ER`.
fn is_ethernet_module(product: &str) -> bool {
    let kind = product.split_once('-').map_or("", |parts| parts.1);
    let own_port =
        ["1769-L", "5069-L"].iter().any(|p| product.starts_with(p)) && kind.contains('E');
    own_port || ["EN", "EWEB", "AEN"].iter().any(|p| kind.starts_with(p))
}

/// The fixed part of the Identity object and what follows its product name.
pub(super) struct Identity<'a> {
    pub(super) vendor: u16,
    pub(super) serial: u32,
    pub(super) rest: &'a [u8],
}

/// Attributes 1 to 7 of the Identity object in order (Volume 1, §5-2.2), reported about `about`.
pub(super) fn identity<'a>(
    data: &'a [u8],
    about: About<'_>,
    sink: &mut dyn Sink,
) -> Result<Identity<'a>, Malformed> {
    let (attributes, rest) = IdentityAttributes::parse(data)?;
    attributes.report(about, sink);
    Ok(Identity { vendor: attributes.vendor, serial: attributes.serial, rest })
}

struct IdentityAttributes<'a> {
    vendor: u16,
    device_type: u16,
    code: u16,
    revision: (u8, u8),
    serial: u32,
    product: Cow<'a, str>,
}

impl<'a> IdentityAttributes<'a> {
    fn parse(data: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let mut r = Reader::new(data);
        let vendor = r.u16_le()?;
        let device_type = r.u16_le()?;
        let code = r.u16_le()?;
        // Bit 7 of the major revision is reserved.
        let revision = (r.u8()? & 0x7f, r.u8()?);
        r.skip(2)?; // Status.
        let serial = r.u32_le()?;
        let length = r.u8()?;
        let product = text::clean(r.take_up_to(usize::from(length)));
        if vendor == 0 {
            return Err(Malformed::Invalid);
        }
        let attributes = Self { vendor, device_type, code, revision, serial, product };
        Ok((attributes, r.rest()))
    }

    fn report(&self, about: About<'_>, sink: &mut dyn Sink) {
        say_vendor(self.vendor, about.clone(), sink);
        sink.about(about.clone(), "cip.device_type", device_type(self.device_type));
        sink.about(about.clone(), "cip.product_code", self.code.to_string());
        let (major, minor) = self.revision;
        sink.about(about.clone(), "cip.revision", format!("{major}.{minor}"));
        let serial = format!("{:08x}", self.serial);
        let own = !matches!(self.serial, 0 | u32::MAX);
        if own {
            sink.about(about.clone(), "cip.serial", serial.as_str());
        }
        sink.about(about.clone(), "cip.product_name", self.product.as_ref());
        if own {
            let kind = IdentifierKind::CipSerial;
            sink.identifier(about, "cip.serial", kind, format!("{}:{serial}", self.vendor));
        }
    }
}

fn say_vendor(vendor: u16, about: About<'_>, sink: &mut dyn Sink) {
    sink.about(about.clone(), "cip.vendor_id", vendor.to_string());
    sink.about(about, "cip.vendor", lookup(VENDORS, vendor).unwrap_or_default());
}

fn identity_answer(asked: &Asked, body: &[u8], sink: &mut dyn Sink) -> Outcome {
    if asked.service == GET_ALL {
        let (attributes, _) = IdentityAttributes::parse(body)?;
        let (vendor, serial) = (attributes.vendor, attributes.serial);
        match asked.route {
            Route::Slot(slot) => note_own_slot(slot, vendor, serial, &attributes.product, sink),
            Route::Direct => remember_self(vendor, serial, sink),
            Route::Far => {}
        }
        if let Some(about) = origin(asked.route, sink) {
            attributes.report(about, sink);
        }
        return Ok(());
    }
    let Some(about) = origin(asked.route, sink) else {
        return Ok(());
    };
    let mut r = Reader::new(body);
    if asked.service == GET_SINGLE {
        return identity_attribute(asked.attribute, &mut r, about, sink);
    }
    for _ in 0..r.u16_le()?.min(16) {
        let attribute = r.u16_le()?;
        if r.u16_le()? == 0 {
            identity_attribute(attribute, &mut r, about.clone(), sink)?;
        }
    }
    Ok(())
}

fn identity_attribute(
    attribute: u16,
    r: &mut Reader<'_>,
    about: About<'_>,
    sink: &mut dyn Sink,
) -> Outcome {
    match attribute {
        1 => say_vendor(r.u16_le()?, about, sink),
        2 => sink.about(about, "cip.device_type", device_type(r.u16_le()?)),
        3 => sink.about(about, "cip.product_code", r.u16_le()?.to_string()),
        4 => {
            let (major, minor) = (r.u8()? & 0x7f, r.u8()?);
            sink.about(about, "cip.revision", format!("{major}.{minor}"));
        }
        5 => r.skip(2)?,
        6 => sink.about(about, "cip.serial", format!("{:08x}", r.u32_le()?)),
        7 => {
            let length = r.u8()?;
            sink.about(about, "cip.product_name", text::clean(r.take_up_to(usize::from(length))));
        }
        _ => return Err(Malformed::Limit),
    }
    Ok(())
}

fn object_answer(asked: &Asked, body: &[u8], sink: &mut dyn Sink) -> Outcome {
    let Some(about) = origin(asked.route, sink) else {
        return Ok(());
    };
    let mut r = Reader::new(body);
    match (asked.class, asked.service, asked.attribute) {
        (CLASS_NAME, GET_ALL, _) => {
            let length = r.u16_le()?;
            sink.about(about, "cip.name", name(r.take(usize::from(length))?));
        }
        (CLASS_TCP_IP, GET_SINGLE, 6) => {
            let length = r.u16_le()?;
            sink.about(about, "cip.hostname", name(r.take(usize::from(length))?));
        }
        (CLASS_TCP_IP, GET_ALL, _) => {
            r.skip(12)?; // Status, capability, control.
            let words = r.u16_le()?;
            r.skip(usize::from(words) * 2 + 20)?; // Path of the link, addresses.
            let domain = usize::from(r.u16_le()?);
            r.skip(domain + domain % 2)?;
            let length = r.u16_le()?;
            sink.about(about, "cip.hostname", name(r.take(usize::from(length))?));
        }
        (CLASS_ETHERNET, GET_ALL | GET_SINGLE, attribute) => {
            match (asked.service, attribute) {
                (GET_ALL, _) => r.skip(8)?, // Speed, flags.
                (_, 3) => {}
                _ => return Ok(()),
            }
            let mac = model::Mac(r.array()?);
            if mac.is_unicast() && asked.route == Route::Direct {
                sink.about(about.clone(), "cip.mac", mac.to_string());
                sink.identifier(about, "cip.mac", IdentifierKind::Mac, mac.to_string());
            }
        }
        (pccc::CLASS, pccc::EXECUTE, _) => pccc::diagnostic_status(body, about, sink)?,
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::Role;
    use crate::ics::enip;
    use crate::ics::wire::tests::dialogue;
    use crate::testing::{hex, unhex};

    /// SendRRData with a sender context, or SendUnitData when `connection` is given.
    fn wrap(context: u8, connection: Option<(u32, u16)>, cip: &str) -> String {
        let cip = unhex(cip);
        let mut items = match connection {
            None => unhex("0200 0000 0000 b200"),
            Some((id, _)) => {
                [unhex("0200 a100 0400"), id.to_le_bytes().to_vec(), unhex("b100")].concat()
            }
        };
        let sequence = connection.map_or(Vec::new(), |(_, n)| n.to_le_bytes().to_vec());
        items.extend(((cip.len() + sequence.len()) as u16).to_le_bytes());
        items.extend(sequence);
        items.extend(cip);
        let command = if connection.is_some() { "7000" } else { "6f00" };
        let length = (items.len() as u16 + 6).to_le_bytes();
        format!(
            "{command}{} 01000000 00000000 {context:02x}00000000000000 00000000 000000000a00 {}",
            hex(&length),
            hex(&items)
        )
    }

    fn check(turns: &[(Role, String)], expect: &[&str]) {
        let turns: Vec<(Role, &str)> = turns.iter().map(|(r, h)| (*r, h.as_str())).collect();
        let facts = dialogue(enip::run, 44818, &turns);
        let facts: Vec<&str> = facts
            .lines()
            .filter(|l| {
                ["cip.revision", "hostname", "event", " is ", "pccc"].iter().any(|w| l.contains(w))
            })
            .collect();
        assert_eq!(facts, expect);
    }

    const ASK: &str = "01 02 2001 2401";
    const ENBT: &str = "81000000 0100 0c00 3a00 0407 3000 78563412 0b 313735362d454e42542f41";
    const CPU: &str = "81000000 0100 0e00 3600 1014 6030 11111111 0a 313735362d4c36312f42";
    const MVI: &str = "81000000 3501 0c00 5300 0102 7000 22222222 05 4d56493536";

    fn routed(slot: u8) -> String {
        format!("52 02 2006 2401 069a 0600 01022001 2401 0100 01{slot:02x}")
    }

    fn asked(context: u8, request: &str, answer: &str) -> [(Role, String); 2] {
        [(Role::Client, wrap(context, None, request)), (Role::Server, wrap(context, None, answer))]
    }

    #[test]
    fn modules_behind_the_backplane_are_children_and_the_own_slot_is_not() {
        let turns =
            [asked(1, &routed(0), CPU), asked(2, &routed(1), ENBT), asked(3, &routed(2), MVI)]
                .concat();
        check(
            &turns,
            &[
                "sender/cip-backplane[slot 0] says cip.revision = 16.20",
                "sender/cip-backplane[slot 0] is CipSerial 1:11111111 (cip.serial)",
                "sender says cip.revision = 4.7",
                "sender is CipSerial 1:12345678 (cip.serial)",
                "sender/cip-backplane[slot 2] says cip.revision = 1.2",
                "sender/cip-backplane[slot 2] is CipSerial 309:22222222 (cip.serial)",
            ],
        );
    }

    #[test]
    fn a_known_server_decides_which_ethernet_module_is_itself() {
        let other = ENBT.replace("78563412", "99999999");
        let turns = [asked(1, ASK, ENBT), asked(2, &routed(3), &other), asked(3, &routed(1), ENBT)];
        check(
            &turns.concat(),
            &[
                "sender says cip.revision = 4.7",
                "sender is CipSerial 1:12345678 (cip.serial)",
                "sender/cip-backplane[slot 3] says cip.revision = 4.7",
                "sender/cip-backplane[slot 3] is CipSerial 1:99999999 (cip.serial)",
                "sender says cip.revision = 4.7",
                "sender is CipSerial 1:12345678 (cip.serial)",
            ],
        );
    }

    #[test]
    fn answers_without_their_request_and_failures_say_nothing() {
        check(&[(Role::Server, wrap(1, None, ENBT))], &[]);
        check(&asked(1, ASK, "81000800"), &[]);
        // A different service than the one asked for.
        check(&asked(1, "0e 03 2001 2401 3004", ENBT), &[]);
    }

    #[test]
    fn connected_messages_follow_their_forward_open() {
        let open = "54 02 2006 2401 0a05 00000000 02000000 0100 0100 01000000 00000000
            00000000 0000 00000000 0000 a3 03 0100 2002 2401";
        let opened = "d4000000 0a000000 02000000 0100 0100 01000000";
        let list = "03 02 2001 2401 0200 0400 0600";
        let listed = "83000000 0200 0400 0000 1014 0600 0000 11111111";
        let mut turns = asked(1, open, opened).to_vec();
        turns.push((Role::Client, wrap(0, Some((10, 7)), list)));
        turns.push((Role::Server, wrap(0, Some((2, 7)), listed)));
        // Over a connection whose opening was not seen: nobody knows who answers.
        turns.push((Role::Client, wrap(0, Some((99, 8)), list)));
        turns.push((Role::Server, wrap(0, Some((98, 8)), listed)));
        check(&turns, &["sender/cip-backplane[slot 0] says cip.revision = 16.20"]);
    }

    #[test]
    fn services_in_one_packet() {
        let request = "0a 02 2002 2401 0200 0600 0e00 0e03 2001 2401 3004 0e03 20f5 2401 3006";
        let answer = "8a000000 0200 0600 0c00 8e000000 0407 8e000000 0300 706c63";
        check(
            &asked(1, request, answer),
            &["sender says cip.revision = 4.7", "sender says cip.hostname = plc"],
        );
    }

    #[test]
    fn control_is_an_event_once() {
        let flash = (Role::Client, wrap(1, None, "4b 02 20a1 2401 16ff"));
        let turns = [
            flash.clone(),
            flash,
            (Role::Client, wrap(2, None, "52 02 2006 2401 069a 0600 0702208e 2401 0100 0104")),
            (Role::Client, wrap(3, None, "10 03 20f5 2401 3005 0000")),
        ];
        check(
            &turns,
            &[
                "receiver event FirmwareTransfer: CIP firmware update (class 0xA1)",
                "receiver/cip-backplane[slot 4] event ControlWrite: CIP controller mode change to program",
                "receiver event ControlWrite: CIP network address change",
            ],
        );
    }

    #[test]
    fn pccc_answers() {
        let request = "4b 02 2067 2401 07 0100 78563412 06 00 0100 03";
        let answer = "cb000000 07 0100 78563412 46 00 0100 06ee4c9c22 313736362d4c4543202020";
        check(
            &asked(1, request, answer),
            &[
                "sender says pccc.catalog = 1766-LEC",
                "sender says pccc.series = B",
                "sender says pccc.revision = C",
            ],
        );
    }
}
