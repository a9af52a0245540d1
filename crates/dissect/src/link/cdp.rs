//! Cisco's and Foundry's discovery protocols: one format, two names.

use std::net::IpAddr;

use model::observation::{BindingSource, IdentifierKind};

use super::words;
use crate::identity::bound;
use crate::{About, Ctx, Malformed, Outcome, Reader, Sink, text};

const TLVS_MAX: usize = 64;
const ADDRESSES_MAX: usize = 16;

/// Names that devices carry out of the box: they identify nobody.
const DEFAULT_NAMES: &[&str] =
    &["switch", "router", "ap", "cisco", "localhost", "ciscoasa", "not advertised", "foundry"];

struct Names {
    device_id: &'static str,
    port: &'static str,
    capabilities: &'static str,
    version: &'static str,
    platform: &'static str,
    capability_names: &'static [&'static str],
}

/// Cisco discovery protocol, versions 1 and 2.
pub(super) fn run_cdp(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    const CDP: Names = Names {
        device_id: "cdp.device_id",
        port: "cdp.port",
        capabilities: "cdp.capabilities",
        version: "cdp.software_version",
        platform: "cdp.platform",
        capability_names: &[
            "router",
            "tb-bridge",
            "sr-bridge",
            "switch",
            "host",
            "igmp",
            "repeater",
            "phone",
            "remote",
            "cast",
            "mac-relay",
        ],
    };
    run(payload, &CDP, sink)
}

/// Foundry discovery protocol.
pub(super) fn run_fdp(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    const FDP: Names = Names {
        device_id: "fdp.device_id",
        port: "fdp.port",
        capabilities: "fdp.capabilities",
        version: "fdp.software_version",
        platform: "fdp.platform",
        capability_names: &["router", "bridge", "host", "switch"],
    };
    run(payload, &FDP, sink)
}

fn run(payload: &[u8], names: &Names, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    if !matches!(r.u8()?, 1 | 2) {
        return Err(Malformed::NotMine);
    }
    r.skip(3)?; // time to live, checksum
    let cdp = names.device_id.starts_with("cdp.");
    for _ in 0..TLVS_MAX {
        if r.is_empty() {
            return Ok(());
        }
        let kind = r.u16_be()?;
        let length = usize::from(r.u16_be()?).checked_sub(4).ok_or(Malformed::Invalid)?;
        let body = r.take(length)?;
        match kind {
            0x01 => device_id(body, names, sink),
            0x02 | 0x16 => addresses(body, sink)?,
            0x03 => sink.says(names.port, text::clean(body)),
            0x04 => {
                let bits = Reader::new(body).u32_be()?;
                sink.says(names.capabilities, words(bits, names.capability_names));
            }
            0x05 => sink.says(names.version, text::clean(body)),
            0x06 => sink.says(names.platform, text::clean(body)),
            0x09 if cdp => sink.says("cdp.vtp_domain", text::clean(body)),
            0x0a if cdp => sink.says("cdp.native_vlan", Reader::new(body).u16_be()?.to_string()),
            0x14 if cdp => sink.says("cdp.system_name", text::clean(body)),
            // The first byte is a character set.
            0x17 if cdp => {
                sink.says("cdp.location", text::clean(body.get(1..).unwrap_or_default()));
            }
            _ => {}
        }
    }
    Err(Malformed::Limit)
}

fn device_id(body: &[u8], names: &Names, sink: &mut dyn Sink) {
    let id = text::clean(body);
    if id.len() >= 3 && !DEFAULT_NAMES.iter().any(|name| id.eq_ignore_ascii_case(name)) {
        let value = format!("cdp:{id}");
        sink.identifier(About::Sender, names.device_id, IdentifierKind::Chassis, value);
    }
    sink.says(names.device_id, id);
}

/// A count, then protocol type, protocol and address, each with its length.
fn addresses(body: &[u8], sink: &mut dyn Sink) -> Outcome {
    const IPV6: &[u8] = &[0xaa, 0xaa, 0x03, 0, 0, 0, 0x86, 0xdd];
    let mut r = Reader::new(body);
    let count = usize::try_from(r.u32_be()?).unwrap_or(ADDRESSES_MAX);
    for _ in 0..count.min(ADDRESSES_MAX) {
        r.skip(1)?;
        let length = r.u8()?;
        let protocol = r.take(usize::from(length))?;
        let length = r.u16_be()?;
        let mut address = Reader::new(r.take(usize::from(length))?);
        let ip = match (protocol, address.len()) {
            ([0xcc], 4) => IpAddr::from(address.array::<4>()?),
            (IPV6, 16) => IpAddr::from(address.array::<16>()?),
            _ => continue,
        };
        bound(sink, About::Sender, ip, BindingSource::Stated);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{run_cdp, run_fdp};
    use crate::Malformed;
    use crate::link::tests::check;

    fn tlv(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len() + 4).unwrap();
        [&kind.to_be_bytes()[..], &length.to_be_bytes(), body].concat()
    }

    #[test]
    fn a_switch_says_platform_software_and_address() {
        let frame = [
            b"\x02\xb4\x00\x00".to_vec(),
            tlv(1, b"store-12.example.com"),
            tlv(2, b"\0\0\0\x01\x01\x01\xcc\0\x04\xc0\x00\x02\x0c"),
            tlv(3, b"FastEthernet0/1"),
            tlv(4, b"\0\0\0\x28"),
            tlv(5, b"Example Software, Version 12.2(25)\nCopyright"),
            tlv(6, b"example EX-24"),
            tlv(9, b"retail"),
            tlv(10, b"\0\x0a"),
            tlv(
                0x16,
                b"\0\0\0\x01\x02\x08\xaa\xaa\x03\0\0\0\x86\xdd\0\x10\
                  \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x0c",
            ),
        ]
        .concat();
        check(
            run_cdp,
            &frame,
            Ok(&[
                "sender is Chassis cdp:store-12.example.com (cdp.device_id)",
                "sender says cdp.device_id = store-12.example.com",
                "sender uses 192.0.2.12 (Stated)",
                "sender says cdp.port = FastEthernet0/1",
                "sender says cdp.capabilities = switch,igmp",
                "sender says cdp.software_version = Example Software, Version 12.2(25) Copyright",
                "sender says cdp.platform = example EX-24",
                "sender says cdp.vtp_domain = retail",
                "sender says cdp.native_vlan = 10",
                "sender uses 2001:db8::c (Stated)",
            ]),
        );
    }

    #[test]
    fn a_factory_name_is_no_identity() {
        let frame = [b"\x01\xb4\x00\x00".to_vec(), tlv(1, b"Switch")].concat();
        check(run_cdp, &frame, Ok(&["sender says cdp.device_id = Switch"]));
        let expect = ["sender says fdp.device_id = Switch"];
        check(run_fdp, &frame, Ok(&expect));
    }

    #[test]
    fn broken_frames_are_refused() {
        check(run_cdp, b"\x07\xb4\0\0", Err(Malformed::NotMine));
        check(run_cdp, b"\x02\xb4\0\0\0\x01\0\x02", Err(Malformed::Invalid));
        check(run_cdp, b"\x02\xb4\0\0\0\x01\0\x20ab", Err(Malformed::Truncated));
        let endless = [b"\x02\xb4\0\0".to_vec(), tlv(99, b"").repeat(100)].concat();
        check(run_cdp, &endless, Err(Malformed::Limit));
    }
}
