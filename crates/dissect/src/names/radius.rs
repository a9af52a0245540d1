//! RADIUS requests (RFC 2865, RFC 2866): an access switch or access point says which client is at
//! which of its ports. Names of users and their credentials are never reported.

use std::net::IpAddr;

use super::enterprise;
use crate::identity;
use crate::{About, Ctx, Fact, Malformed, Outcome, Reader, Sink, text};

const ACCESS_REQUEST: u8 = 1;
const ACCOUNTING_REQUEST: u8 = 4;

/// Attribute types.
mod attribute {
    pub(super) const NAS_IP: u8 = 4;
    pub(super) const NAS_PORT: u8 = 5;
    pub(super) const VENDOR: u8 = 26;
    pub(super) const CALLED_STATION: u8 = 30;
    pub(super) const CALLING_STATION: u8 = 31;
    pub(super) const NAS_IDENTIFIER: u8 = 32;
    pub(super) const ACCT_STATUS: u8 = 40;
    pub(super) const NAS_PORT_ID: u8 = 87;
}

const ACCT_STOP: u32 = 2;

/// Reads one datagram.
pub(super) fn run(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    let (code, _id, length) = (r.u8()?, r.u8()?, r.u16_be()?);
    if !(1..=5).contains(&code) && !matches!(code, 11 | 40..=45) || !(20..=4096).contains(&length) {
        return Err(Malformed::NotMine);
    }
    r.skip(16)?; // authenticator
    if matches!(code, ACCESS_REQUEST | ACCOUNTING_REQUEST) {
        let body = r.take_up_to(usize::from(length) - 20);
        request(&attributes(body), ctx, sink);
    }
    Ok(())
}

type Attributes<'a> = Vec<(u8, &'a [u8])>;

fn attributes(bytes: &[u8]) -> Attributes<'_> {
    let mut r = Reader::new(bytes);
    let mut list = Vec::new();
    while let (Ok(kind), Ok(length @ 2..)) = (r.u8(), r.u8()) {
        let Ok(value) = r.take(usize::from(length) - 2) else {
            break;
        };
        list.push((kind, value));
    }
    list
}

fn request(list: &Attributes<'_>, ctx: &Ctx, sink: &mut dyn Sink) {
    let find = |kind| list.iter().find(|(k, _)| *k == kind).map(|(_, v)| *v);
    let number = |kind| find(kind).and_then(|v| Reader::new(v).u32_be().ok());
    // A proxy forwards requests of others: the access device says its address.
    let nas = find(attribute::NAS_IP).and_then(|v| <[u8; 4]>::try_from(v).ok());
    let about = match nas.map(IpAddr::from).filter(|ip| identity::is_host(*ip)) {
        Some(ip) => identity::host(ip, ctx),
        None => About::Sender,
    };
    let name = text::clean(find(attribute::NAS_IDENTIFIER).unwrap_or_default());
    sink.about(about.clone(), "radius.nas_identifier", name);
    let vendors = list.iter().filter(|(kind, _)| *kind == attribute::VENDOR);
    let numbers = vendors.filter_map(|(_, v)| Reader::new(v).u32_be().ok());
    // Microsoft's attributes (311) are authentication methods, used by all makers.
    for vendor in numbers.filter(|n| *n != 311).take(1) {
        let name = enterprise::name(vendor).unwrap_or_default();
        sink.about(about.clone(), "radius.vendor", name);
    }
    let calling = text::clean(find(attribute::CALLING_STATION).unwrap_or_default());
    let Some(client) = identity::mac(&calling) else {
        return;
    };
    let port_id = text::clean(find(attribute::NAS_PORT_ID).unwrap_or_default()).into_owned();
    let called = text::clean(find(attribute::CALLED_STATION).unwrap_or_default()).into_owned();
    // `AA-BB-CC-DD-EE-FF:SSID`: radio and network of a wireless client.
    let network = called.get(17..).and_then(|rest| rest.strip_prefix(':'));
    let port = match (port_id.is_empty(), network, number(attribute::NAS_PORT)) {
        (false, _, _) => port_id,
        (true, Some(ssid), _) if !ssid.is_empty() => format!("SSID {ssid}"),
        (true, _, Some(port)) => port.to_string(),
        _ => return,
    };
    sink.fact(
        about,
        Fact::Located {
            client,
            port: port.into(),
            present: number(attribute::ACCT_STATUS) != Some(ACCT_STOP),
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{ctx, facts_of};

    fn message(code: u8, attributes: &[(u8, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (kind, value) in attributes {
            body.extend([*kind, u8::try_from(value.len() + 2).unwrap()]);
            body.extend(*value);
        }
        let length = u8::try_from(body.len() + 20).unwrap();
        [vec![code, 7, 0, length], vec![0xaa; 16], body].concat()
    }

    fn check(bytes: &[u8], expect: Result<&str, Malformed>) {
        assert_eq!(
            facts_of(run, bytes, &ctx(40000, 1812, Role::Client)),
            expect.map(str::to_owned)
        );
    }

    const CLIENT: (u8, &[u8]) = (31, b"00-1B-1B-35-84-10");

    #[test]
    fn an_access_device_places_its_client() {
        check(
            &message(
                1,
                &[
                    (1, b"user"),
                    (2, b"0123456789abcdef"),
                    (4, &[192, 0, 2, 1]),
                    (5, &[0, 0, 0, 9]),
                    CLIENT,
                    (26, &[0, 0, 0, 9, 1, 2]),
                    (32, b"sw-12"),
                    (87, b"GigabitEthernet1/0/9"),
                ],
            ),
            Ok("sender says radius.nas_identifier = sw-12\n\
                sender says radius.vendor = Cisco\n\
                sender sees 00:1b:1b:35:84:10 at GigabitEthernet1/0/9"),
        );
        check(
            &message(
                4,
                &[
                    (4, &[192, 0, 2, 77]),
                    (30, b"00-0B-86-00-00-01:Factory"),
                    CLIENT,
                    (40, &[0, 0, 0, 2]),
                ],
            ),
            Ok("192.0.2.77 lost 00:1b:1b:35:84:10 at SSID Factory"),
        );
        check(&message(1, &[(5, &[0, 0, 0, 9]), CLIENT]), Ok("sender sees 00:1b:1b:35:84:10 at 9"));
        check(&message(1, &[(5, &[0, 0, 0, 9]), (31, b"192.0.2.5")]), Ok(""));
        check(&message(2, &[CLIENT]), Ok(""));
    }

    #[test]
    fn damage() {
        check(&[9; 30], Err(Malformed::NotMine));
        check(&[1, 1, 0, 10], Err(Malformed::NotMine));
        check(&[1, 1, 0, 40, 0], Err(Malformed::Truncated));
        let whole = message(1, &[(32, b"sw-12")]);
        check(&whole[..whole.len() - 2], Ok(""));
    }
}
