//! SNMP v1, v2c and v3 (RFC 1157, RFC 3416, RFC 3412): an agent's answers describe it, its traps
//! tell where clients are. Community strings are credentials and are never reported.

use std::net::IpAddr;

use model::Mac;
use model::observation::{EventKind, IdentifierKind};

use super::{enterprise, snmp_oids, snmp_traps};
use crate::scan::ber::{self, Element, tag};
use crate::{About, Ctx, Malformed, Outcome, Reader, Sink, text};

/// PDU types (RFC 3416 §3; RFC 1157 for the trap of version 1).
mod pdu {
    pub(super) const GET: u32 = 0xa0;
    pub(super) const GET_NEXT: u32 = 0xa1;
    pub(super) const RESPONSE: u32 = 0xa2;
    pub(super) const SET: u32 = 0xa3;
    pub(super) const TRAP_V1: u32 = 0xa4;
    pub(super) const GET_BULK: u32 = 0xa5;
    pub(super) const INFORM: u32 = 0xa6;
    pub(super) const TRAP_V2: u32 = 0xa7;
    pub(super) const REPORT: u32 = 0xa8;
}

/// Application-wide type IpAddress (RFC 2578 §7.1.5).
pub(super) const IP_ADDRESS: u32 = 0x40;
/// Variables read from one message.
const VARIABLES_MAX: usize = 256;
const AGENT_PORT: u16 = 161;

/// One variable binding.
#[derive(Clone, Debug)]
pub(super) struct Variable<'a> {
    /// Object identifier.
    pub(super) oid: Vec<u32>,
    /// Tag and contents of the value.
    pub(super) value: Element<'a>,
}

/// Reads one message.
pub(super) fn run(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    if r.peek().is_some_and(|first| u32::from(first) != tag::SEQUENCE) {
        return Err(Malformed::NotMine);
    }
    let message = ber::element(&mut r)?;
    let mut r = Reader::new(message.body);
    let version = ber::expect(&mut r, tag::INTEGER).map_err(|_| Malformed::NotMine)?;
    let pdu = match ber::unsigned(version) {
        Some(version @ 0..=1) => {
            ber::expect(&mut r, tag::OCTET_STRING)?; // community
            say_version(if version == 0 { "1" } else { "2c" }, sink);
            ber::element(&mut r)?
        }
        Some(3) => match version_3(&mut r, ctx, sink)? {
            Some(pdu) => pdu,
            None => return Ok(()),
        },
        _ => return Err(Malformed::NotMine),
    };
    read_pdu(pdu, ctx, sink)
}

/// Every message says it.
fn say_version(version: &'static str, sink: &mut dyn Sink) {
    if !sink.said("snmp.version", &[version.as_bytes()]) {
        sink.says("snmp.version", version);
    }
}

fn read_pdu(pdu: Element<'_>, ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(pdu.body);
    match pdu.tag {
        pdu::TRAP_V1 => snmp_traps::version_1(&mut r, ctx, sink),
        pdu::TRAP_V2 | pdu::INFORM => {
            skip_head(&mut r)?;
            snmp_traps::version_2(&variables(&mut r), ctx, sink);
            Ok(())
        }
        pdu::RESPONSE => {
            let error = skip_head(&mut r)?;
            if error == 0 && ctx.src.port == AGENT_PORT {
                snmp_oids::report(&variables(&mut r), sink);
            }
            Ok(())
        }
        pdu::SET => {
            skip_head(&mut r)?;
            if let Some(first) = variables(&mut r).first() {
                let detail = format!("SNMP Set of {}", ber::dotted(&first.oid));
                sink.event(About::Receiver, EventKind::ControlWrite, detail);
            }
            Ok(())
        }
        pdu::GET | pdu::GET_NEXT | pdu::GET_BULK | pdu::REPORT => Ok(()),
        _ => Err(Malformed::Invalid),
    }
}

/// Request id, error status, error index; returns the error status.
fn skip_head(r: &mut Reader<'_>) -> Result<u64, Malformed> {
    ber::expect(r, tag::INTEGER)?;
    let error = ber::unsigned(ber::expect(r, tag::INTEGER)?);
    ber::expect(r, tag::INTEGER)?;
    error.ok_or(Malformed::Invalid)
}

/// The list of variables, as far as it is whole.
pub(super) fn variables<'a>(r: &mut Reader<'a>) -> Vec<Variable<'a>> {
    let mut list = Vec::new();
    let Ok(all) = ber::element(r) else {
        return list;
    };
    let mut r = Reader::new(all.body);
    while list.len() < VARIABLES_MAX {
        let Ok(pair) = ber::expect(&mut r, tag::SEQUENCE) else {
            break;
        };
        let mut pair = Reader::new(pair);
        let oid = ber::expect(&mut pair, tag::OID).and_then(ber::oid);
        if let (Ok(oid), Ok(value)) = (oid, ber::element(&mut pair)) {
            list.push(Variable { oid, value });
        }
    }
    list
}

impl<'a> Variable<'a> {
    /// The index behind a column or scalar, when the variable lies under `prefix`.
    pub(super) fn under(&self, prefix: &[u32]) -> Option<&[u32]> {
        self.oid.strip_prefix(prefix)
    }

    /// Contents of an OCTET STRING.
    pub(super) fn octets(&self) -> Option<&'a [u8]> {
        (self.value.tag == tag::OCTET_STRING).then_some(self.value.body)
    }

    /// Value of any of the integer types.
    pub(super) fn number(&self) -> Option<u64> {
        let is_number = matches!(self.value.tag, tag::INTEGER | 0x41..=0x43);
        is_number.then(|| ber::unsigned(self.value.body)).flatten()
    }

    /// Value of an OBJECT IDENTIFIER.
    pub(super) fn identifier(&self) -> Option<Vec<u32>> {
        (self.value.tag == tag::OID).then(|| ber::oid(self.value.body).ok()).flatten()
    }

    /// Value of an IpAddress.
    pub(super) fn address(&self) -> Option<IpAddr> {
        let bytes: [u8; 4] = self.value.body.try_into().ok()?;
        (self.value.tag == IP_ADDRESS).then(|| bytes.into())
    }
}

/// Header of version 3. The engine identifier of an agent's message is its own (RFC 3411 §5,
/// SnmpEngineID); the PDU is readable when it is not encrypted.
fn version_3<'a>(
    r: &mut Reader<'a>,
    ctx: &Ctx,
    sink: &mut dyn Sink,
) -> Result<Option<Element<'a>>, Malformed> {
    say_version("3", sink);
    let mut global = Reader::new(ber::expect(r, tag::SEQUENCE)?);
    ber::expect(&mut global, tag::INTEGER)?; // message id
    ber::expect(&mut global, tag::INTEGER)?; // largest message
    let flags = ber::expect(&mut global, tag::OCTET_STRING)?;
    let security = ber::expect(r, tag::OCTET_STRING)?;
    let mut usm = Reader::new(security);
    let usm = ber::expect(&mut usm, tag::SEQUENCE)?;
    let engine = ber::expect(&mut Reader::new(usm), tag::OCTET_STRING)?;
    if ctx.src.port == AGENT_PORT {
        engine_id(engine, sink);
    }
    if flags.first().is_none_or(|f| f & 2 != 0) {
        return Ok(None);
    }
    let mut scoped = Reader::new(ber::element(r)?.body);
    ber::expect(&mut scoped, tag::OCTET_STRING)?; // context engine
    ber::expect(&mut scoped, tag::OCTET_STRING)?; // context name
    ber::element(&mut scoped).map(Some)
}

fn engine_id(engine: &[u8], sink: &mut dyn Sink) {
    let mut r = Reader::new(engine);
    let Ok(number) = r.u32_be() else { return };
    sink.says("snmp.engine_id", text::hex(engine));
    let name = enterprise::name(number & 0x7fff_ffff).unwrap_or_default();
    sink.says("snmp.engine_enterprise", name);
    // The first bit marks the self-describing form; format 3 is a link address.
    let is_described = number & 0x8000_0000 != 0;
    if let (true, Ok(3), Ok(mac)) = (is_described, r.u8(), r.array()) {
        let mac = Mac(mac);
        if mac.is_unicast() && !mac.is_local() {
            let (field, kind) = ("snmp.engine_id", IdentifierKind::Mac);
            sink.identifier(About::Sender, field, kind, mac.to_string());
        }
    }
}

/// Builds messages for the tests of this family.
#[cfg(test)]
pub(super) mod build {
    /// One element.
    pub(in crate::names) fn tlv(tag: u32, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&[u8::try_from(tag).unwrap(), 0x82], &length[..], body].concat()
    }

    /// An object identifier.
    pub(in crate::names) fn oid(dotted: &str) -> Vec<u8> {
        let arcs: Vec<u32> = dotted.split('.').map(|a| a.parse().unwrap()).collect();
        let mut body = vec![u8::try_from(arcs[0] * 40 + arcs[1]).unwrap()];
        for arc in &arcs[2..] {
            for shift in [28, 21, 14, 7] {
                if arc >> shift != 0 {
                    body.push(u8::try_from((arc >> shift) & 0x7f).unwrap() | 0x80);
                }
            }
            body.push(u8::try_from(arc & 0x7f).unwrap());
        }
        tlv(6, &body)
    }

    /// A variable with a value of this tag.
    pub(in crate::names) fn variable(of: &str, tag: u32, value: &[u8]) -> Vec<u8> {
        let value =
            if tag == 6 { oid(std::str::from_utf8(value).unwrap()) } else { tlv(tag, value) };
        tlv(0x30, &[oid(of), value].concat())
    }

    /// A message of version 2c with request id 1 and no error.
    pub(in crate::names) fn message(pdu: u32, variables: &[Vec<u8>]) -> Vec<u8> {
        let head = [tlv(2, &[1]), tlv(2, &[0]), tlv(2, &[0])].concat();
        let list = tlv(0x30, &variables.concat());
        let pdu = tlv(pdu, &[head, list].concat());
        tlv(0x30, &[tlv(2, &[1]), tlv(4, b"secret"), pdu].concat())
    }

    /// A trap of version 1 from an agent.
    pub(in crate::names) fn trap_v1(
        enterprise: &str,
        agent: [u8; 4],
        codes: [u8; 2],
        variables: &[Vec<u8>],
    ) -> Vec<u8> {
        let pdu = [
            oid(enterprise),
            tlv(0x40, &agent),
            tlv(2, &codes[..1]),
            tlv(2, &codes[1..]),
            tlv(0x43, &[1]),
            tlv(0x30, &variables.concat()),
        ];
        let pdu = tlv(0xa4, &pdu.concat());
        tlv(0x30, &[tlv(2, &[0]), tlv(4, b"secret"), pdu].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::build::{message, tlv, variable};
    use super::*;
    use crate::Role;
    use crate::testing::{ctx, facts_of, unhex};

    fn check(bytes: &[u8], ports: (u16, u16), expect: Result<&str, Malformed>) {
        let facts = facts_of(run, bytes, &ctx(ports.0, ports.1, Role::Unknown));
        assert!(!facts.as_ref().is_ok_and(|f| f.contains("secret")), "a community string leaked");
        assert_eq!(facts, expect.map(str::to_owned));
    }

    #[test]
    fn answers_describe_the_agent_and_requests_nobody() {
        let name = [variable("1.3.6.1.2.1.1.5.0", 4, b"sw-12")];
        check(
            &message(pdu::RESPONSE, &name),
            (161, 40000),
            Ok("sender says snmp.version = 2c\nsender says snmp.sys_name = sw-12"),
        );
        let none = [variable("1.3.6.1.2.1.1.5.0", 5, b"")];
        check(&message(pdu::GET, &none), (40000, 161), Ok("sender says snmp.version = 2c"));
        // An echo of the request is not an answer.
        check(&message(pdu::RESPONSE, &name), (40000, 161), Ok("sender says snmp.version = 2c"));
        check(
            &message(pdu::SET, &name),
            (40000, 161),
            Ok(
                "sender says snmp.version = 2c\nreceiver event ControlWrite: SNMP Set of 1.3.6.1.2.1.1.5.0",
            ),
        );
    }

    #[test]
    fn a_cut_message_gives_its_whole_variables() {
        let two = message(
            pdu::RESPONSE,
            &[
                variable("1.3.6.1.2.1.1.1.0", 4, b"Device X"),
                variable("1.3.6.1.2.1.1.5.0", 4, b"sw-12"),
            ],
        );
        check(
            &two[..two.len() - 3],
            (161, 40000),
            Ok("sender says snmp.version = 2c\nsender says snmp.sys_descr = Device X"),
        );
    }

    #[test]
    fn version_3_names_the_engine() {
        let engine = unhex("80000009 03 001b1b358410");
        let usm = tlv(
            0x30,
            &[
                tlv(4, &engine),
                tlv(2, &[0]),
                tlv(2, &[0]),
                tlv(4, b"user"),
                tlv(4, b""),
                tlv(4, b""),
            ]
            .concat(),
        );
        let global =
            tlv(0x30, &[tlv(2, &[1]), tlv(2, &[5, 0xdc]), tlv(4, &[0]), tlv(2, &[3])].concat());
        let list = tlv(0x30, &variable("1.3.6.1.2.1.1.5.0", 4, b"sw-12"));
        let answer = tlv(pdu::RESPONSE, &[tlv(2, &[1]), tlv(2, &[0]), tlv(2, &[0]), list].concat());
        let scoped = tlv(0x30, &[tlv(4, &engine), tlv(4, b""), answer].concat());
        let message = tlv(0x30, &[tlv(2, &[3]), global, tlv(4, &usm), scoped].concat());
        check(
            &message,
            (161, 40000),
            Ok("sender says snmp.version = 3\n\
                sender says snmp.engine_id = 8000000903001b1b358410\n\
                sender says snmp.engine_enterprise = Cisco\n\
                sender is Mac 00:1b:1b:35:84:10 (snmp.engine_id)\n\
                sender says snmp.sys_name = sw-12"),
        );
    }

    #[test]
    fn damage() {
        check(b"", (161, 1), Err(Malformed::Truncated));
        check(b"GET / HTTP", (161, 1), Err(Malformed::NotMine));
        check(&unhex("30 03 020107"), (161, 1), Err(Malformed::NotMine));
        check(&unhex("30 80 020101"), (161, 1), Err(Malformed::Invalid));
        let odd = tlv(0x30, &[tlv(2, &[1]), tlv(4, b"secret"), tlv(0xbf & 0xfe, b"")].concat());
        check(&odd, (161, 1), Ok("sender says snmp.version = 2c").and(Err(Malformed::Invalid)));
    }
}
