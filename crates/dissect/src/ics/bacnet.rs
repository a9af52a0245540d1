//! BACnet (ASHRAE 135): virtual link layer of BACnet/IP (Annex J), network layer (clause 6), and
//! the same network layer directly on LLC (clause 7) and in captures of MS/TP (clause 9).
//!
//! A message with a source network comes from a device *behind* the sender, which routes it. A
//! forwarded message comes from the address it names, not from the sender.

use std::net::{IpAddr, Ipv4Addr};

use super::bacnet_apdu::{self, Origin, Talker};
use super::wire::digest;
use crate::fields::{Field, field};
use crate::{Ctx, Malformed, Outcome, Reader, Sink};

pub(super) const FIELDS: &[Field] = &[
    field("bacnet.role", "`client` or `server`, from requests and answers"),
    field("bacnet.instance", "device instance (clause 12.11)"),
    field("bacnet.vendor_id", "vendor identifier of ASHRAE"),
    field("bacnet.vendor", "name of the vendor, from its number"),
    field("bacnet.object_name", "object-name of the device object"),
    field("bacnet.vendor_name", "vendor-name of the device object"),
    field("bacnet.model_name", "model-name of the device object"),
    field("bacnet.firmware_revision", "firmware-revision of the device object"),
    field("bacnet.application_version", "application-software-version of the device object"),
    field("bacnet.description", "description of the device object"),
    field("bacnet.location", "location of the device object"),
    field("bacnet.serial_number", "serial-number of the device object"),
    field("bacnet.profile", "profile-name of the device object"),
    field("bacnet.protocol_revision", "protocol-revision of the device object"),
    field("bacnet.router_to", "a network number this router says it reaches"),
    field("bacnet.network", "number of its own network, from Network-Number-Is"),
    field("bacnet.mstp_address", "MS/TP station address"),
];

pub(super) const PORTS: &[u16] = &[47808];

/// BACnet/IP: the length in the header is that of the datagram.
pub(super) fn probe(bytes: &[u8]) -> bool {
    match bytes {
        [0x81, 0..=0x0c, high, low, ..] => {
            usize::from(u16::from_be_bytes([*high, *low])) == bytes.len()
        }
        _ => false,
    }
}

/// Reads one BVLC message.
pub(super) fn datagram(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(bytes);
    if r.u8()? != 0x81 {
        return Err(Malformed::NotMine);
    }
    let function = r.u8()?;
    let length = usize::from(r.u16_be()?);
    if length < 4 {
        return Err(Malformed::Invalid);
    }
    // A broadcast address sends nothing: somebody repeats what others said.
    if matches!(ctx.src.ip, Some(IpAddr::V4(ip)) if ip.octets()[3] == 255) {
        return Ok(());
    }
    let mut r = Reader::new(r.take_up_to(length - 4));
    match function {
        // Original unicast and broadcast; a foreign device's broadcast request.
        0x09..=0x0b => network(r.rest(), Origin::Sender, ctx, sink),
        0x04 => {
            let ip = IpAddr::V4(Ipv4Addr::from(r.array::<4>()?));
            r.skip(2)?;
            let origin = if ctx.src.ip == Some(ip) { Origin::Sender } else { Origin::Host(ip) };
            network(r.rest(), origin, ctx, sink)
        }
        0x00..=0x0c => Ok(()),
        _ => Err(Malformed::NotMine),
    }
}

/// BACnet on LLC (SAP 0x82).
pub(super) fn frame(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    network(payload, Origin::Sender, ctx, sink)
}

/// MS/TP frames in Ethernet, as Cimetrics' capture tools write them (SNAP 00-10-90, 1): the
/// wrapper's link address ends in the station address; the rest of it is zero.
pub(super) fn mstp(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    r.skip(3)?; // Timer and value of the capturing side.
    let kind = r.u8()?;
    let _destination = r.u8()?;
    let source = r.u8()?;
    let length = usize::from(r.u16_be()?);
    r.skip(1)?; // Header checksum.
    // 5 and 6: BACnet data, expecting a reply or not; others pass the token or poll.
    if matches!(kind, 5 | 6) {
        sink.says("bacnet.mstp_address", source.to_string());
        return network(r.take_up_to(length), Origin::Sender, ctx, sink);
    }
    Ok(())
}

/// Network layer (clause 6.2).
fn network<'a>(npdu: &'a [u8], mut origin: Origin<'a>, ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(npdu);
    if r.u8()? != 1 {
        return Err(Malformed::NotMine);
    }
    let control = r.u8()?;
    if control & 0x20 != 0 {
        r.skip(2)?;
        let length = r.u8()?;
        r.skip(usize::from(length))?;
    }
    if control & 0x08 != 0 {
        let network = r.u16_be()?;
        let length = r.u8()?;
        let mac = r.take(usize::from(length))?;
        if network == 0 || network == u16::MAX || mac.is_empty() {
            return Err(Malformed::Invalid);
        }
        origin = Origin::Routed { network, mac };
    }
    if control & 0x20 != 0 {
        r.skip(1)?; // Hop count.
    }
    let tag = digest(&ctx.src.mac.0) ^ u64::from(ctx.src.port);
    let talker = Talker { origin, tag };
    if control & 0x80 != 0 {
        return network_message(&mut r, &talker, sink);
    }
    bacnet_apdu::run(r.rest(), &talker, sink)
}

fn network_message(r: &mut Reader<'_>, talker: &Talker<'_>, sink: &mut dyn Sink) -> Outcome {
    match r.u8()? {
        // I-Am-Router-To-Network: a list of networks.
        0x01 => {
            for _ in 0..(r.len() / 2).min(32) {
                sink.about(talker.about(), "bacnet.router_to", r.u16_be()?.to_string());
            }
        }
        // Network-Number-Is.
        0x13 => sink.about(talker.about(), "bacnet.network", r.u16_be()?.to_string()),
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::ics::wire::tests::datagrams;
    use crate::testing::{Recorder, ctx, unhex};

    fn check(hex: &str, expect: Result<&str, Malformed>) {
        let facts = datagrams(datagram, 47808, &[(Role::Unknown, hex)]);
        assert_eq!(facts, expect.map(str::to_owned));
    }

    #[test]
    fn i_am_of_a_device() {
        check(
            "810b 0018 0120ffff00ff 1000 c402000801 2205c4 9103 2118",
            Ok("sender says bacnet.instance = 2049\n\
                sender says bacnet.vendor_id = 24\n\
                sender says bacnet.vendor = Automated Logic\n\
                sender is BacnetInstance 24:2049 (bacnet.instance)"),
        );
    }

    #[test]
    fn routed_and_forwarded_messages_are_not_the_senders() {
        check(
            "810b 001c 0128ffff00 65910172 fe 1000 c402015062 2201e0 9103 2118",
            Ok("sender/bacnet-network[26001:114] says bacnet.instance = 86114\n\
                sender/bacnet-network[26001:114] says bacnet.vendor_id = 24\n\
                sender/bacnet-network[26001:114] says bacnet.vendor = Automated Logic\n\
                sender/bacnet-network[26001:114] is BacnetInstance 24:86114 (bacnet.instance)"),
        );
        check("8104 0014 c6336407bac0 0100 1000 c402000801 22", Err(Malformed::Truncated));
        check(
            "8104 001a c6336407bac0 0100 1000 c402000801 2205c4 9103 2118",
            Ok("198.51.100.7 says bacnet.instance = 2049\n\
                198.51.100.7 says bacnet.vendor_id = 24\n\
                198.51.100.7 says bacnet.vendor = Automated Logic\n\
                198.51.100.7 is BacnetInstance 24:2049 (bacnet.instance)"),
        );
    }

    #[test]
    fn routers_name_their_networks() {
        check(
            "810b 000b 0180 01 0001 0003",
            Ok("sender says bacnet.router_to = 1\nsender says bacnet.router_to = 3"),
        );
        check("810a 000a 0180 13 0005 01", Ok("sender says bacnet.network = 5"));
    }

    #[test]
    fn a_broadcast_address_is_no_sender() {
        let mut ctx = ctx(47808, 47808, Role::Unknown);
        ctx.src.ip = Some(IpAddr::from([192, 0, 2, 255]));
        let mut facts = Recorder::default();
        let message = unhex("810b 0018 0120ffff00ff 1000 c402000801 2205c4 9103 2118");
        assert_eq!(datagram(&message, &ctx, &mut facts), Ok(()));
        assert_eq!(facts.text(), "");
    }

    #[test]
    fn foreign_bytes() {
        check("8201 0004", Err(Malformed::NotMine));
        check("810a 0003", Err(Malformed::Invalid));
        check("810a 0006 0200", Err(Malformed::NotMine));
        assert!(probe(&unhex("810b 0008 0100 1008")));
        assert!(!probe(&unhex("810b 0009 0100 1008")));
    }

    #[test]
    fn mstp_in_ethernet() {
        let run = |hex| {
            let mut facts = Recorder::default();
            let outcome = mstp(&unhex(hex), &ctx(0, 0, Role::Unknown), &mut facts);
            outcome.map(|()| facts.text())
        };
        assert_eq!(run("000080 00 01 72 0000 84"), Ok(String::new()));
        assert_eq!(
            run("000080 06 ff 72 0010 00 0100 1000 c402015062 2201e0 9103 2118 ffff")
                .map(|facts| facts.lines().count()),
            Ok(5)
        );
        assert_eq!(run("000080 06"), Err(Malformed::Truncated));
    }
}
