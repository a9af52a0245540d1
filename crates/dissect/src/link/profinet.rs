//! PROFINET (IEC 61158-6-10) directly on Ethernet: DCP names stations, vendors and addresses.
//! Cyclic data, alarms and time protocols are presence only.

use std::net::{IpAddr, Ipv4Addr};

use model::Mac;
use model::observation::{BindingSource, EventKind, IdentifierKind};

use super::{pn_vendors, words};
use crate::identity::{bound, own_mac};
use crate::{About, Ctx, Malformed, Outcome, Reader, Sink, text};

const BLOCKS_MAX: usize = 64;

/// By frame id: 0xfefc hello, 0xfefd get/set, 0xfefe identify request, 0xfeff identify response.
pub(super) fn run(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    match r.u16_be()? {
        id @ 0xfefc..=0xfeff => dcp(id, r, ctx, sink),
        _ => Ok(()),
    }
}

/// A name of station as IEC 61158-6-10 §4.3.1.4.15 allows it: labels of lower-case letters, digits
/// and hyphens.
pub(super) fn is_station_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let label = |l: &str| (1..=63).contains(&l.len()) && l.bytes().all(allowed);
    name.len() <= 240 && name.split('.').all(label)
}

/// Names that engineering tools give every first controller (`pn-io`, and the encoded form of
/// `PLC_1`): many devices of one plant have them, so they identify nobody.
pub(super) fn is_factory_name(name: &str) -> bool {
    name.starts_with("pn-io") || name.starts_with("plcxb1d0ed")
}

/// The sender's own name.
pub(super) fn says_station_name(name: &str, sink: &mut dyn Sink) {
    const FIELD: &str = "pn.station_name";
    if !is_factory_name(name) {
        sink.identifier(About::Sender, FIELD, IdentifierKind::StationName, name.to_owned());
    }
    sink.says(FIELD, name.to_owned());
}

/// What the blocks of a message mean, by its service (§4.3.1.3.2).
#[derive(Clone, Copy, PartialEq)]
enum Meaning {
    /// Answers and hello: the sender describes itself.
    Itself,
    /// An identify request: a filter.
    Filter,
    /// A set request: the receiver is changed.
    Change,
    /// A get request or the acknowledgement of a set: nothing about anybody.
    Nothing,
}

fn dcp(frame_id: u16, mut r: Reader<'_>, ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    const GET: u8 = 3;
    const SET: u8 = 4;
    const IDENTIFY: u8 = 5;
    const HELLO: u8 = 6;
    const REQUEST: u8 = 0;
    const SUCCESS: u8 = 1;
    let meaning = match (frame_id, r.u8()?, r.u8()?) {
        (0xfeff, IDENTIFY, SUCCESS) | (0xfefd, GET, SUCCESS) | (0xfefc, HELLO, REQUEST) => {
            Meaning::Itself
        }
        (0xfefe, IDENTIFY, REQUEST) => Meaning::Filter,
        (0xfefd, SET, REQUEST) => Meaning::Change,
        (0xfefd, GET | SET, _) | (0xfeff, ..) => Meaning::Nothing,
        _ => return Err(Malformed::Invalid),
    };
    r.skip(6)?; // transaction id, response delay
    let length = r.u16_be()?;
    let mut blocks = Reader::new(r.take_up_to(usize::from(length)));
    if meaning == Meaning::Nothing {
        return Ok(());
    }
    for _ in 0..BLOCKS_MAX {
        if blocks.is_empty() {
            return Ok(());
        }
        let [option, suboption] = blocks.array()?;
        let length = blocks.u16_be()?;
        let body = Reader::new(blocks.take(usize::from(length))?);
        match meaning {
            Meaning::Itself => describes(option, suboption, body, sink)?,
            Meaning::Filter => seeks(option, suboption, body, sink),
            Meaning::Change => changes(option, suboption, body, ctx, sink)?,
            Meaning::Nothing => {}
        }
        blocks.take_up_to(usize::from(length % 2)); // blocks are padded to even length
    }
    Err(Malformed::Limit)
}

/// A block of the sender's own: block info, then the value.
fn describes(option: u8, suboption: u8, mut r: Reader<'_>, sink: &mut dyn Sink) -> Outcome {
    if !matches!(option, 1 | 2) {
        return Ok(());
    }
    r.skip(2)?; // block info
    match (option, suboption) {
        (1, 1) => own_mac(sink, "pn.mac", Mac(r.array()?)),
        (1, 2 | 3) => {
            let ip = IpAddr::V4(Ipv4Addr::from(r.array::<4>()?));
            bound(sink, About::Sender, ip, BindingSource::Stated);
        }
        (2, 1) => sink.says("pn.type_of_station", text::c_string(r.rest())),
        (2, 2) => {
            let name = text::c_string(r.rest());
            if is_station_name(&name) {
                says_station_name(&name, sink);
            }
        }
        (2, 3) => {
            let (vendor, device) = (r.u16_be()?, r.u16_be()?);
            sink.says("pn.vendor_id", format!("{vendor:#06x}"));
            sink.says("pn.vendor", pn_vendors::name(vendor).unwrap_or_default());
            sink.says("pn.device_id", format!("{device:#06x}"));
        }
        (2, 4) => {
            const ROLES: &[&str] = &["device", "controller", "multidevice", "supervisor"];
            sink.says("pn.role", words(u32::from(r.u8()?), ROLES));
        }
        (2, 6) => sink.says("pn.alias", text::c_string(r.rest())),
        (2, 8) => {
            let (vendor, device) = (r.u16_be()?, r.u16_be()?);
            sink.says("pn.oem_id", format!("{vendor:#06x}:{device:#06x}"));
        }
        _ => {}
    }
    Ok(())
}

/// A filter's value has no block info. A controller asks for its devices, and every device asks
/// for its own name at start-up to find duplicates: the question alone does not tell which.
fn seeks(option: u8, suboption: u8, r: Reader<'_>, sink: &mut dyn Sink) {
    if (option, suboption) == (2, 2) {
        let name = text::c_string(r.rest());
        if is_station_name(&name) {
            sink.says("pn.seeks", name);
        }
    }
}

/// A block of a set request: block qualifier, then the value.
fn changes(
    option: u8,
    suboption: u8,
    mut r: Reader<'_>,
    ctx: &Ctx,
    sink: &mut dyn Sink,
) -> Outcome {
    r.skip(2)?;
    let detail = match (option, suboption) {
        (1, 2 | 3) => {
            let ip = Ipv4Addr::from(r.array::<4>()?);
            format!("PROFINET DCP sets the address to {ip}")
        }
        (2, 2) => {
            format!("PROFINET DCP sets the name of station to `{}`", text::c_string(r.rest()))
        }
        (5, 5 | 6) => "PROFINET DCP resets to factory settings".to_owned(),
        _ => return Ok(()), // transaction brackets and the blinking light
    };
    if ctx.dst.mac.is_unicast() {
        sink.event(About::Receiver, EventKind::ControlWrite, detail);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::tests::check;
    use crate::testing::unhex;

    #[test]
    fn an_identify_response_describes_its_sender() {
        let frame = unhex(
            "feff 05 01 01000001 0000 0046
             0202 0008 0000 76616c766531                 # name: valve1
             0205 0004 0000 0201
             0201 0009 0000 4943323030 58 58 00          # type of station, odd length, padding
             0203 0006 0000 002a 0a01
             0204 0004 0000 01 00
             0102 000e 0001 c0000207 ffffff00 c0000201
             000000000000",
        );
        let expect = [
            "sender is StationName valve1 (pn.station_name)",
            "sender says pn.station_name = valve1",
            "sender says pn.type_of_station = IC200XX",
            "sender says pn.vendor_id = 0x002a",
            "sender says pn.vendor = Siemens",
            "sender says pn.device_id = 0x0a01",
            "sender says pn.role = device",
            "sender uses 192.0.2.7 (Stated)",
        ];
        check(run, &frame, Ok(&expect));
    }

    #[test]
    fn a_request_names_somebody_else() {
        let frame = unhex("fefe 05 00 00000002 0001 000a 0202 0005 7475726e31 00 0000000000");
        check(run, &frame, Ok(&["sender says pn.seeks = turn1"]));
        let all = unhex("fefe 05 00 00000002 0001 0004 ffff 0000");
        check(run, &all, Ok(&[]));
    }

    #[test]
    fn a_set_request_is_a_control_write_to_its_receiver() {
        let frame = unhex("fefd 04 00 00000003 0000 000a 0202 0006 0001 6e657731 0000");
        let expect =
            ["receiver event ControlWrite: PROFINET DCP sets the name of station to `new1`"];
        check(run, &frame, Ok(&expect));
        let reset = unhex("fefd 04 00 00000003 0000 0006 0506 0002 0004");
        let expect = ["receiver event ControlWrite: PROFINET DCP resets to factory settings"];
        check(run, &reset, Ok(&expect));
        let signal = unhex("fefd 04 00 00000003 0000 0008 0503 0004 0000 0100");
        check(run, &signal, Ok(&[]));
        let acknowledged = unhex("fefd 04 01 00000003 0000 0008 0504 0003 020200 00");
        check(run, &acknowledged, Ok(&[]));
    }

    #[test]
    fn cyclic_data_is_presence_and_broken_frames_are_refused() {
        check(run, &unhex("c000 8000 0000"), Ok(&[]));
        check(run, &unhex("fefe 09 00"), Err(Malformed::Invalid));
        check(
            run,
            &unhex("feff 05 01 00000001 0000 0008 0202 0020 0000 6161"),
            Err(Malformed::Truncated),
        );
    }

    #[test]
    fn a_factory_name_is_no_identity() {
        let frame = unhex("feff 05 01 00000001 0000 000c 0202 0007 0000 706e2d696f 00");
        check(run, &frame, Ok(&["sender says pn.station_name = pn-io"]));
    }

    #[test]
    fn station_names_follow_the_standard() {
        for name in ["valve1", "a.b-c.d", "plcxb1d0ed"] {
            assert!(is_station_name(name), "{name}");
        }
        for name in ["", "Valve", "a b", "a..b", "SIMATIC S7", &"x".repeat(64)] {
            assert!(!is_station_name(name), "{name}");
        }
    }
}
