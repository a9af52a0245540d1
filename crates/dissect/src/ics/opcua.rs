//! OPC UA binary over TCP (OPC 10000-6 §6.7, §7.1): who calls whom, and what servers say without
//! encryption.

use model::observation::IdentifierKind;
use sha2::{Digest as _, Sha256};

use super::wire::{key, next_message, once, runs, say_role, side};
use crate::fields::{Field, field};
use crate::{About, Ctx, Fact, Malformed, Outcome, Probe, Reader, Role, Sink, Step, text};

pub(super) const FIELDS: &[Field] = &[
    field("opcua.role", "`client` or `server`"),
    field("opcua.endpoint_url", "URL a client called the server by"),
    field("opcua.security_policy", "security policy of a secure channel, its last part"),
    field("opcua.application_uri", "applicationUri of the server's description or certificate"),
    field("opcua.product_uri", "productUri of the server's description or build information"),
    field("opcua.application_name", "applicationName of the server's description"),
    field("opcua.certificate", "SHA-256 of the application instance certificate"),
    field("opcua.manufacturer", "manufacturerName of the server's build information"),
    field("opcua.product_name", "productName of the server's build information"),
    field("opcua.software_version", "softwareVersion of the server's build information"),
    field("opcua.build_number", "buildNumber of the server's build information"),
];

pub(super) const PORTS: &[u16] = &[4840];

const MEMORY: u8 = b'u';
/// Numeric node ids of encodings in namespace 0.
const FIND_SERVERS_RESPONSE: u16 = 425;
const GET_ENDPOINTS_RESPONSE: u16 = 431;
const BUILD_INFO: u16 = 340;
const SERVER_STATUS: u16 = 864;

fn length(bytes: &[u8]) -> Result<usize, Malformed> {
    let mut r = Reader::new(bytes);
    let kind = r.array::<3>()?;
    let chunk = r.u8()?;
    let known = matches!(&kind, b"HEL" | b"ACK" | b"ERR" | b"RHE" | b"OPN" | b"CLO" | b"MSG");
    let length = r.u32_le()?;
    if known && b"FCA".contains(&chunk) && (8..=0x0100_0000).contains(&length) {
        usize::try_from(length).map_err(|_| Malformed::Limit)
    } else {
        Err(Malformed::NotMine)
    }
}

/// Message type, chunk type and length are signature enough.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    match length(bytes) {
        Ok(_) => Probe::Yes,
        Err(Malformed::Truncated) => Probe::Maybe,
        Err(_) => Probe::No,
    }
}

/// Reads one chunk.
pub(super) fn run(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let (message, step) = match next_message(bytes, length(bytes)) {
        Ok(whole) => whole,
        Err(step) => return step,
    };
    let role = side(ctx, PORTS);
    say_role(sink, "opcua.role", MEMORY, role);
    let body = message.get(8..).unwrap_or_default();
    let _ = match message.get(..3) {
        Some(b"HEL") => hello(body, sink),
        Some(b"OPN") => open(body, sink),
        Some(b"MSG") if role == Role::Server => response(body, sink),
        _ => Ok(()),
    };
    step
}

/// A string or byte string: a signed length, -1 for null.
fn string<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    match r.u32_le()? {
        u32::MAX => Ok(&[]),
        length => r.take(usize::try_from(length).map_err(|_| Malformed::Limit)?),
    }
}

fn hello(body: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(body);
    r.skip(20)?;
    let url = text::clean(string(&mut r)?);
    let rest = url.strip_prefix("opc.tcp://").ok_or(Malformed::Invalid)?;
    let host = rest.split(['/', ':']).next().unwrap_or_default();
    sink.about(About::Receiver, "opcua.endpoint_url", url.as_ref());
    if !host.is_empty() && host.parse::<std::net::IpAddr>().is_err() {
        let name = host.to_lowercase().into();
        sink.fact(About::Sender, Fact::ServerName { name });
    }
    Ok(())
}

/// OpenSecureChannel: policy and the sender's own certificate are in clear in both directions.
fn open(body: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(body);
    r.skip(4)?;
    let policy = text::clean(string(&mut r)?);
    let policy = policy.rsplit('#').next().unwrap_or_default();
    if once(sink, key(MEMORY, b'p', u64::from(policy.len() as u32))) {
        sink.says("opcua.security_policy", policy);
    }
    certificate(string(&mut r)?, sink);
    Ok(())
}

/// Fingerprint, and the application URI in the alternative names (§6.2.2): `urn:…`.
fn certificate(der: &[u8], sink: &mut dyn Sink) {
    if der.first() != Some(&0x30) || der.len() < 128 {
        return;
    }
    let print = text::hex(&Sha256::digest(der));
    sink.says("opcua.certificate", print.as_str());
    sink.identifier(About::Sender, "opcua.certificate", IdentifierKind::Certificate, print);
    if let Some(uri) = runs(der, 8).find_map(|run| run.find("urn:").and_then(|at| run.get(at..))) {
        sink.says("opcua.application_uri", text::clean_str(uri));
    }
}

/// A response of a channel without encryption; others do not parse as one.
fn response(body: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(body);
    r.skip(16)?; // Channel, token, sequence number, request id.
    let kind = node_id(&mut r)?;
    match kind {
        FIND_SERVERS_RESPONSE | GET_ENDPOINTS_RESPONSE => {
            response_header(&mut r)?;
            if r.u32_le()? == 0 {
                return Ok(());
            }
            if kind == GET_ENDPOINTS_RESPONSE {
                string(&mut r)?; // Endpoint URL.
            }
            application(&mut r, sink)?;
            if kind == GET_ENDPOINTS_RESPONSE {
                certificate(string(&mut r)?, sink);
            }
            Ok(())
        }
        // Read responses: build information is an extension object somewhere in the results.
        634 => {
            build_info(r.rest(), sink);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A numeric node id of namespace 0 (two- or four-byte encoding).
fn node_id(r: &mut Reader<'_>) -> Result<u16, Malformed> {
    match r.u8()? {
        0 => Ok(u16::from(r.u8()?)),
        1 if r.u8()? == 0 => r.u16_le(),
        _ => Err(Malformed::NotMine),
    }
}

fn response_header(r: &mut Reader<'_>) -> Outcome {
    r.skip(8 + 4)?; // Timestamp, handle.
    if r.u32_le()? != 0 || r.u8()? != 0 {
        return Err(Malformed::NotMine); // A bad result, or diagnostics that are not read.
    }
    if !matches!(r.u32_le()?, 0 | u32::MAX) {
        return Err(Malformed::NotMine);
    }
    r.skip(3) // Additional header: a null extension object.
}

/// ApplicationDescription (OPC 10000-4 §7.2).
fn application(r: &mut Reader<'_>, sink: &mut dyn Sink) -> Outcome {
    sink.says("opcua.application_uri", text::clean(string(r)?));
    sink.says("opcua.product_uri", text::clean(string(r)?));
    let mask = r.u8()?;
    if mask & 1 != 0 {
        string(r)?;
    }
    if mask & 2 != 0 {
        sink.says("opcua.application_name", text::clean(string(r)?));
    }
    r.skip(4)?; // Type.
    string(r)?; // Gateway.
    string(r)?; // Discovery profile.
    let urls = r.u32_le()?;
    for _ in 0..if urls == u32::MAX { 0 } else { urls.min(16) } {
        string(r)?;
    }
    Ok(())
}

/// BuildInfo (OPC 10000-5 §12.4), alone or inside ServerStatusDataType.
fn build_info(bytes: &[u8], sink: &mut dyn Sink) {
    for (kind, before) in [(BUILD_INFO, 0), (SERVER_STATUS, 8 + 8 + 4)] {
        let [low, high] = kind.to_le_bytes();
        let head = [1, 0, low, high, 1];
        let Some(at) = text::find(bytes, &head) else {
            continue;
        };
        let mut r = Reader::new(bytes.get(at + head.len() + 4 + before..).unwrap_or_default());
        for field in [
            "opcua.product_uri",
            "opcua.manufacturer",
            "opcua.product_name",
            "opcua.software_version",
            "opcua.build_number",
        ] {
            match string(&mut r) {
                Ok(value) => sink.says(field, text::clean(value)),
                Err(_) => return,
            }
        }
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ics::wire::tests::dialogue;
    use crate::testing::{Recorder, ctx, hex, unhex};

    fn text(value: &str) -> String {
        format!("{}{}", hex(&(value.len() as u32).to_le_bytes()), hex(value.as_bytes()))
    }

    fn message(kind: &str, body: &str) -> String {
        let body = unhex(body);
        let length = (body.len() as u32 + 8).to_le_bytes();
        format!("{}46{}{}", hex(kind.as_bytes()), hex(&length), hex(&body))
    }

    const HEADER: &str = "0000000000000000 01000000 00000000 00 ffffffff 000000";

    #[test]
    fn a_server_describes_itself() {
        let hello =
            message("HEL", &format!("{} {}", "00".repeat(20), text("opc.tcp://PLC7:4840/x")));
        let endpoints = message(
            "MSG",
            &format!(
                "{} 0100 af01 {HEADER} 01000000 {} {} {} 02 {} 00000000 ffffffff ffffffff 00000000 ffffffff",
                "01000000".repeat(4),
                text("opc.tcp://PLC7:4840"),
                text("urn:PLC7:app"),
                text("http://acme.example/x"),
                text("ACME server"),
            ),
        );
        let status = message(
            "MSG",
            &format!(
                "{} 0100 7a02 {HEADER} 01000000 01 16 0100 6003 01 40000000 {} {} {} {} {} {}",
                "01000000".repeat(4),
                "00".repeat(20),
                text("http://acme.example/x"),
                text("ACME"),
                text("X server"),
                text("1.4.2"),
                text("77"),
            ),
        );
        let facts = dialogue(
            run,
            4840,
            &[(Role::Client, &hello), (Role::Server, &endpoints), (Role::Server, &status)],
        );
        let expect = [
            "sender says opcua.role = client",
            "receiver says opcua.endpoint_url = opc.tcp://PLC7:4840/x",
            "sender asks for plc7",
            "sender says opcua.role = server",
            "sender says opcua.application_uri = urn:PLC7:app",
            "sender says opcua.product_uri = http://acme.example/x",
            "sender says opcua.application_name = ACME server",
            "sender says opcua.product_uri = http://acme.example/x",
            "sender says opcua.manufacturer = ACME",
            "sender says opcua.product_name = X server",
            "sender says opcua.software_version = 1.4.2",
            "sender says opcua.build_number = 77",
        ];
        assert_eq!(facts, expect.join("\n"));
    }

    #[test]
    fn foreign_and_short_bytes() {
        let step =
            |hex: &str| run(&unhex(hex), &ctx(1, 4840, Role::Client), &mut Recorder::default());
        assert_eq!(step("48454c"), Step::NeedMore);
        assert_eq!(step("48454c46 20000000 00"), Step::NeedMore);
        assert_eq!(step("47455420 2f204854"), Step::Resync);
        assert_eq!(probe(b"MSGF\x10\0\0\0"), Probe::Yes);
        // An encrypted body is no response.
        let encrypted = message("MSG", &"ab".repeat(64));
        let facts = dialogue(run, 4840, &[(Role::Server, &encrypted)]);
        assert_eq!(facts, "sender says opcua.role = server");
    }
}
