//! X.509 certificates (RFC 5280): who a device says it is, not whether that is true.

use std::net::IpAddr;

use model::observation::IdentifierKind;
use sha2::{Digest, Sha256};

use crate::scan::ber::{self, Element, tag};
use crate::text::{clean, hex, utf16_be};
use crate::{About, Ctx, Malformed, Reader, Sink};

const SANS_MAX: usize = 64;
const SANS_SHOWN_MAX: usize = 24;
const NAME_PARTS_MAX: usize = 32;

/// Reports a certificate of the sender.
pub(super) fn report(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Result<(), Malformed> {
    if sink.said("tls.cert", &[bytes]) {
        return Ok(());
    }
    let certificate = parse(bytes)?;
    for (part, field) in [
        (Part::CommonName, "tls.cert.subject_cn"),
        (Part::Organization, "tls.cert.subject_o"),
        (Part::Unit, "tls.cert.subject_ou"),
        (Part::Serial, "tls.cert.subject_serial"),
    ] {
        for (_, value) in certificate.subject.iter().filter(|(p, _)| *p == part) {
            sink.says(field, value.as_str());
        }
    }
    sink.says("tls.cert.subject", shown(&certificate.subject));
    sink.says("tls.cert.issuer", shown(&certificate.issuer));
    for (part, field) in
        [(Part::CommonName, "tls.cert.issuer_cn"), (Part::Organization, "tls.cert.issuer_o")]
    {
        sink.says(field, first(&certificate.issuer, part));
    }
    sink.says("tls.cert.serial", hex(certificate.serial));
    sink.says("tls.cert.issued", certificate.not_before.as_str());
    sink.says("tls.cert.expires", certificate.not_after.as_str());
    if certificate.self_issued {
        sink.says("tls.cert.self_signed", "true");
    }
    // Names of web services come in dozens; what says more about a device goes first.
    let (services, own): (Vec<_>, Vec<_>) =
        certificate.sans.iter().partition(|san| san.starts_with("DNS:"));
    for san in own.into_iter().chain(services).take(SANS_SHOWN_MAX) {
        sink.says("tls.cert.san", san.as_str());
    }
    sink.says("tls.cert.hardware_serial", certificate.hardware_serial.as_str());
    sink.says("tls.cert.mud_url", certificate.mud_url.as_str());
    sink.says("tls.cert.mud_signer", certificate.mud_signer.as_str());
    let fingerprint = hex(&Sha256::digest(bytes));
    sink.says("tls.cert.fingerprint", fingerprint.as_str());
    if certificate.names_a_device(ctx) {
        let kind = IdentifierKind::Certificate;
        sink.identifier(About::Sender, "tls.cert.fingerprint", kind, fingerprint);
    }
    Ok(())
}

/// What is kept of a certificate.
#[derive(Debug, Default)]
struct Certificate<'a> {
    serial: &'a [u8],
    subject: Vec<(Part, String)>,
    issuer: Vec<(Part, String)>,
    self_issued: bool,
    not_before: String,
    not_after: String,
    sans: Vec<String>,
    hardware_serial: String,
    mud_url: String,
    mud_signer: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    CommonName,
    Organization,
    Unit,
    Serial,
    Country,
    Locality,
    State,
    Email,
    Uid,
    Domain,
    Other,
}

impl Part {
    /// X.520 attribute types, PKCS #9 email, RFC 4519 uid and dc.
    fn of(oid: &[u8]) -> Self {
        match oid {
            [0x55, 0x04, 0x03] => Self::CommonName,
            [0x55, 0x04, 0x05] => Self::Serial,
            [0x55, 0x04, 0x06] => Self::Country,
            [0x55, 0x04, 0x07] => Self::Locality,
            [0x55, 0x04, 0x08] => Self::State,
            [0x55, 0x04, 0x0a] => Self::Organization,
            [0x55, 0x04, 0x0b] => Self::Unit,
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01] => Self::Email,
            [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01] => Self::Uid,
            [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19] => Self::Domain,
            _ => Self::Other,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::CommonName => "CN",
            Self::Organization => "O",
            Self::Unit => "OU",
            Self::Serial => "serialNumber",
            Self::Country => "C",
            Self::Locality => "L",
            Self::State => "ST",
            Self::Email => "E",
            Self::Uid => "UID",
            Self::Domain => "DC",
            Self::Other => "?",
        }
    }
}

impl Certificate<'_> {
    /// One certificate, one device: self-signed, or shown by a host of the estate. Certificates
    /// of public web authorities and wildcards are put on many machines.
    fn names_a_device(&self, ctx: &Ctx) -> bool {
        const PUBLIC: &[&str] = &[
            "let's encrypt",
            "digicert",
            "globalsign",
            "sectigo",
            "comodo",
            "godaddy",
            "amazon",
            "google trust",
            "verisign",
            "symantec",
            "thawte",
            "geotrust",
            "rapidssl",
            "entrust",
            "zerossl",
            "microsoft",
            "starfield",
            "gts",
            "baltimore",
            "apple",
            "buypass",
            "actalis",
        ];
        let issuer = shown(&self.issuer).to_lowercase();
        let public = PUBLIC.iter().any(|name| issuer.contains(name));
        let wildcard = |name: &str| name.starts_with("*.") || name.starts_with("DNS:*.");
        let shared = self.sans.iter().any(|san| wildcard(san))
            || wildcard(&first(&self.subject, Part::CommonName));
        let served_here = super::is_local(ctx);
        (self.self_issued || served_here && !public) && !shared
    }
}

fn parse(bytes: &[u8]) -> Result<Certificate<'_>, Malformed> {
    let outer = ber::expect(&mut Reader::new(bytes), tag::SEQUENCE)?;
    let tbs = ber::expect(&mut Reader::new(outer), tag::SEQUENCE)?;
    let mut r = Reader::new(tbs);
    let mut certificate = Certificate::default();
    let mut serial = ber::element(&mut r)?;
    if serial.tag == 0xa0 {
        serial = ber::element(&mut r)?;
    }
    certificate.serial = serial.body;
    ber::expect(&mut r, tag::SEQUENCE)?;
    let issuer = ber::expect(&mut r, tag::SEQUENCE)?;
    let validity = ber::expect(&mut r, tag::SEQUENCE)?;
    let subject = ber::expect(&mut r, tag::SEQUENCE)?;
    certificate.issuer = name(issuer);
    certificate.subject = name(subject);
    certificate.self_issued = issuer == subject;
    let mut times = ber::children(validity).map(date);
    certificate.not_before = times.next().unwrap_or_default();
    certificate.not_after = times.next().unwrap_or_default();
    for element in ber::children(r.rest()).filter(|e| e.tag == 0xa3) {
        for list in ber::children(element.body) {
            ber::children(list.body).take(64).for_each(|e| extension(e.body, &mut certificate));
        }
    }
    Ok(certificate)
}

fn extension(body: &[u8], certificate: &mut Certificate<'_>) {
    const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
    /// 1.3.6.1.5.5.7.1.25 (RFC 8520 §11).
    const MUD_URL: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x19];
    /// 1.3.6.1.5.5.7.1.30 (RFC 8520 §11): who signs the description.
    const MUD_SIGNER: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x1e];
    let mut parts = ber::children(body).filter(|e| e.tag != tag::BOOLEAN);
    let (Some(oid), Some(value)) = (parts.next(), parts.next()) else {
        return;
    };
    if oid.tag != tag::OID || value.tag != tag::OCTET_STRING {
        return;
    }
    let Some(inner) = ber::children(value.body).next() else {
        return;
    };
    match oid.body {
        MUD_URL => certificate.mud_url = clean(inner.body).into_owned(),
        MUD_SIGNER => certificate.mud_signer = shown(&name(inner.body)),
        SUBJECT_ALT_NAME => {
            for name in ber::children(inner.body).take(SANS_MAX) {
                match general_name(&name) {
                    Some(General::Shown(san)) => certificate.sans.push(san),
                    Some(General::Hardware(serial)) => certificate.hardware_serial = serial,
                    None => {}
                }
            }
        }
        _ => {}
    }
}

enum General {
    Shown(String),
    Hardware(String),
}

/// RFC 5280 §4.2.1.6.
fn general_name(name: &Element<'_>) -> Option<General> {
    Some(General::Shown(match name.tag {
        0x81 => ["email:", &clean(name.body)].concat(),
        0x82 => ["DNS:", &clean(name.body)].concat(),
        0x86 => ["URI:", &clean(name.body)].concat(),
        0x87 => {
            let ip = match name.body.len() {
                4 => IpAddr::from(<[u8; 4]>::try_from(name.body).ok()?),
                16 => IpAddr::from(<[u8; 16]>::try_from(name.body).ok()?),
                _ => return None,
            };
            format!("IP:{ip}")
        }
        0xa4 => format!("DN:{}", shown(&self::name(ber::children(name.body).next()?.body))),
        0xa0 => return hardware_module(name.body).map(General::Hardware),
        _ => return None,
    }))
}

/// HardwareModuleName (RFC 4108 §5), as IDevIDs carry it (IEEE 802.1AR §8.10.4).
fn hardware_module(other_name: &[u8]) -> Option<String> {
    const OID: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x08, 0x04];
    let mut parts = ber::children(other_name);
    parts.next().filter(|oid| oid.body == OID)?;
    let module = ber::children(parts.next()?.body).next()?;
    let serial = ber::children(module.body).nth(1)?;
    let printable = serial.body.iter().all(|b| b.is_ascii_graphic());
    Some(if printable { clean(serial.body).into_owned() } else { hex(serial.body) })
}

fn name(body: &[u8]) -> Vec<(Part, String)> {
    let mut parts = Vec::new();
    for set in ber::children(body).filter(|e| e.tag == tag::SET).take(NAME_PARTS_MAX) {
        for pair in ber::children(set.body).take(4) {
            let mut halves = ber::children(pair.body);
            if let (Some(oid), Some(value)) = (halves.next(), halves.next()) {
                let text = match value.tag {
                    tag::BMP_STRING => utf16_be(value.body),
                    _ => clean(value.body).into_owned(),
                };
                if !text.is_empty() {
                    parts.push((Part::of(oid.body), text));
                }
            }
        }
    }
    parts
}

fn first(name: &[(Part, String)], part: Part) -> String {
    name.iter().find(|(p, _)| *p == part).map(|(_, value)| value.clone()).unwrap_or_default()
}

/// `CN=a, O=b`, in the order of the certificate.
fn shown(name: &[(Part, String)]) -> String {
    let mut text = String::with_capacity(128);
    for (part, value) in name {
        let comma = if text.is_empty() { "" } else { ", " };
        text.extend([comma, part.word(), "=", value]);
    }
    text.truncate(text.floor_char_boundary(500));
    text
}

/// `2031-05-07` from UTCTime and GeneralizedTime (RFC 5280 §4.1.2.5).
fn date(time: Element<'_>) -> String {
    let text = clean(time.body);
    let (year, rest) = match time.tag {
        tag::UTC_TIME => {
            let year = text.get(..2).unwrap_or_default();
            let century = if year < "50" { "20" } else { "19" };
            (format!("{century}{year}"), text.get(2..6))
        }
        tag::GENERALIZED_TIME => (text.get(..4).unwrap_or_default().to_owned(), text.get(4..8)),
        _ => return String::new(),
    };
    match rest.and_then(|rest| rest.split_at_checked(2)) {
        Some((month, day)) if text.bytes().take(8).all(|b| b.is_ascii_digit()) => {
            format!("{year}-{month}-{day}")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{Recorder, ctx};

    /// An element around its parts.
    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        let mut bytes = vec![tag];
        match body.len() {
            short @ 0..=0x7f => bytes.push(short.try_into().unwrap()),
            long => {
                bytes.push(0x82);
                bytes.extend(u16::try_from(long).unwrap().to_be_bytes());
            }
        }
        bytes.extend(body);
        bytes
    }

    fn rdn(last: u8, text: &str) -> Vec<u8> {
        let pair = der(0x30, &[&der(6, &[&[0x55, 4, last]]), &der(0x0c, &[text.as_bytes()])]);
        der(0x31, &[&pair])
    }

    fn extension(oid: &[u8], value: &[u8]) -> Vec<u8> {
        der(0x30, &[&der(6, &[oid]), &der(4, &[value])])
    }

    /// A device certificate with every part that is read.
    pub(in super::super) fn sample() -> Vec<u8> {
        let algorithm = der(0x30, &[&der(6, &[&[0x2a, 3]])]);
        let issuer = der(0x30, &[&rdn(3, "Example Root"), &rdn(10, "Example Corp")]);
        let subject =
            der(0x30, &[&rdn(3, "34-7E-5C-00-00-01:9"), &rdn(11, "model 20.3"), &rdn(5, "SN77")]);
        let validity =
            der(0x30, &[&der(0x17, &[b"180102030405Z"]), &der(0x18, &[b"20510607080910Z"])]);
        let module = der(0x30, &[&der(6, &[&[0x2a, 9]]), &der(4, &[b"HW-123"])]);
        let oid = der(6, &[&[0x2b, 6, 1, 5, 5, 7, 8, 4]]);
        let sans = der(
            0x30,
            &[
                &der(0x82, &[b"device.local"]),
                &der(0x86, &[b"urn:example:model:20.3"]),
                &der(0x87, &[&[192, 0, 2, 7]]),
                &der(0xa0, &[&oid, &der(0xa0, &[&module])]),
            ],
        );
        let mud = der(0x16, &[b"https://mud.example/x.json"]);
        let list = der(
            0x30,
            &[
                &extension(&[0x55, 0x1d, 0x11], &sans),
                &extension(&[0x2b, 6, 1, 5, 5, 7, 1, 0x19], &mud),
                &extension(&[0x2b, 6, 1, 5, 5, 7, 1, 0x1e], &der(0x30, &[&rdn(3, "Maker")])),
            ],
        );
        let version = der(0xa0, &[&der(2, &[&[2]])]);
        let key = der(0x30, &[]);
        let tbs = der(
            0x30,
            &[
                &version,
                &der(2, &[&[0x12, 0x34]]),
                &algorithm,
                &issuer,
                &validity,
                &subject,
                &key,
                &der(0xa3, &[&list]),
            ],
        );
        der(0x30, &[&tbs, &algorithm, &der(3, &[&[0]])])
    }

    #[test]
    fn everything_that_names_a_device() {
        let mut facts = Recorder::default();
        let mut here = ctx(443, 4000, Role::Server);
        here.src.ip = Some("10.0.0.7".parse().unwrap());
        report(&sample(), &here, &mut facts).unwrap();
        let text = facts.text();
        for line in [
            "sender says tls.cert.subject_cn = 34-7E-5C-00-00-01:9",
            "sender says tls.cert.subject_ou = model 20.3",
            "sender says tls.cert.subject_serial = SN77",
            "sender says tls.cert.issuer = CN=Example Root, O=Example Corp",
            "sender says tls.cert.serial = 1234",
            "sender says tls.cert.issued = 2018-01-02",
            "sender says tls.cert.expires = 2051-06-07",
            "sender says tls.cert.san = DNS:device.local",
            "sender says tls.cert.san = URI:urn:example:model:20.3",
            "sender says tls.cert.san = IP:192.0.2.7",
            "sender says tls.cert.hardware_serial = HW-123",
            "sender says tls.cert.mud_url = https://mud.example/x.json",
            "sender says tls.cert.mud_signer = CN=Maker",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(text.contains("sender is Certificate"));
        assert!(!text.contains("self_signed"));
        let mut far = Recorder::default();
        let public = ctx(443, 4000, Role::Server);
        let mut remote = public;
        remote.src.ip = Some("8.8.8.8".parse().unwrap());
        report(&sample(), &remote, &mut far).unwrap();
        assert!(!far.text().contains("sender is Certificate"));
    }

    #[test]
    fn cuts_and_nonsense_are_refused() {
        let whole = sample();
        for end in 0..whole.len() {
            let outcome = report(&whole[..end], &ctx(1, 2, Role::Server), &mut Recorder::default());
            assert!(outcome.is_err(), "{end}");
        }
        for nonsense in [&b""[..], b"\x30\x00", b"\x30\x02\x30\x00", b"HTTP/1.1 200 OK"] {
            assert!(parse(nonsense).is_err());
        }
    }
}
