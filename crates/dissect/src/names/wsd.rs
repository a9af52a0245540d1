//! WS-Discovery (OASIS 1.1, and the 2005/04 draft that devices speak) with ONVIF scopes (ONVIF
//! Core §7.3.2.2). Hello, ProbeMatches and ResolveMatches describe their sender; Probe and
//! Resolve name somebody who is looked for.

use std::net::{IpAddr, Ipv4Addr};

use model::observation::IdentifierKind;

use crate::identity;
use crate::scan::xml;
use crate::{About, Ctx, Fact, Malformed, Outcome, Sink, text};

/// Matches of one message; more than one come from a discovery proxy.
const MATCHES_MAX: usize = 32;
/// Words of one list of types, scopes or addresses.
const WORDS_MAX: usize = 32;
const ONVIF: &str = "onvif://www.onvif.org/";

/// Recognises the SOAP envelope on any port.
pub(super) fn probe(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    let discovery = b"ws/2005/04/discovery";
    let oasis = b"ws-dd/ns/discovery";
    start.starts_with(b"<")
        && (start.windows(discovery.len()).take(1024).any(|w| w == discovery)
            || start.windows(oasis.len()).take(1024).any(|w| w == oasis))
}

/// Reads one datagram.
pub(super) fn run(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut matches: Vec<Match> = Vec::new();
    let mut is_envelope = false;
    xml::scan(payload, |node| match node {
        xml::Node::Open([root]) => is_envelope = *root == b"Envelope",
        xml::Node::Open([_, body, message]) if *body == b"Body" && is_own(message) => {
            matches.push(Match::default());
        }
        xml::Node::Open([.., of])
            if matches!(*of, b"ProbeMatch" | b"ResolveMatch") && matches.len() < MATCHES_MAX =>
        {
            matches.push(Match::default());
        }
        xml::Node::Leaf(path, leaf) if path.get(1).is_some_and(|body| *body == b"Body") => {
            if let Some(current) = matches.last_mut() {
                current.read(path, &leaf);
            }
        }
        _ => {}
    });
    if !is_envelope {
        return Err(Malformed::NotMine);
    }
    matches.retain(|m| !m.is_empty());
    let is_proxy = matches.len() > 1;
    for found in &matches {
        let about = found.whose(is_proxy, ctx);
        found.report(&about, ctx, sink);
    }
    Ok(())
}

fn is_own(message: &[u8]) -> bool {
    matches!(message, b"Hello" | b"ProbeMatches" | b"ResolveMatches")
}

/// One endpoint that a message describes.
#[derive(Debug, Default)]
struct Match {
    address: String,
    types: String,
    scopes: String,
    addresses: String,
}

impl Match {
    fn read(&mut self, path: &[&[u8]], leaf: &xml::Leaf<'_>) {
        let of = path.iter().rev().nth(1).copied().unwrap_or_default();
        let slot = match leaf.name {
            b"Address" if of == b"EndpointReference" => &mut self.address,
            b"Types" => &mut self.types,
            b"Scopes" => &mut self.scopes,
            b"XAddrs" => &mut self.addresses,
            _ => return,
        };
        // Scope lists are longer than a fact's value: each word is cut on its own.
        *slot = String::from_utf8_lossy(leaf.raw).into_owned();
    }

    fn is_empty(&self) -> bool {
        self.address.is_empty() && self.types.is_empty() && self.scopes.is_empty()
    }

    /// A proxy describes others: those at the addresses it gives for them.
    fn whose(&self, is_proxy: bool, ctx: &Ctx) -> About<'static> {
        let mut hosts = words(&self.addresses).filter_map(url_host);
        match hosts.next() {
            Some(ip) if is_proxy && !hosts.any(|ip| ctx.src.ip == Some(ip)) => {
                identity::host(ip, ctx)
            }
            _ => About::Sender,
        }
    }

    fn report(&self, about: &About<'_>, ctx: &Ctx, sink: &mut dyn Sink) {
        identity::report_uuid(about, "wsd.endpoint", self.address.trim(), ctx, sink);
        for kind in words(&self.types) {
            // The name-space prefix is the sender's own choice.
            let name = kind.rsplit(':').next().unwrap_or_default();
            sink.about(about.clone(), "wsd.types", text::clean_str(name));
        }
        for address in words(&self.addresses) {
            sink.about(about.clone(), "wsd.xaddrs", text::clean_str(address));
        }
        for scope in words(&self.scopes) {
            match scope.strip_prefix(ONVIF) {
                Some(path) => onvif_scope(path, about, sink),
                None => sink.about(about.clone(), "wsd.scopes", text::clean_str(scope)),
            }
        }
    }
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split_ascii_whitespace().take(WORDS_MAX)
}

/// `hardware/P3225-LV` → `onvif.hardware`.
fn onvif_scope(path: &str, about: &About<'_>, sink: &mut dyn Sink) {
    let Some((category, value)) = path.split_once('/') else {
        return;
    };
    let category = category.to_ascii_lowercase();
    let value = percent_decode(value);
    let value = text::clean(&value);
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if value.is_empty() || !(1..=32).contains(&category.len()) || !category.bytes().all(word) {
        return;
    }
    if matches!(category.as_str(), "mac" | "macaddr" | "macaddress")
        && let Some(mac) = identity::mac(&value)
    {
        let (field, kind) = ("onvif.mac", IdentifierKind::Mac);
        sink.identifier(about.clone(), field, kind, mac.to_string());
    }
    sink.fact(about.clone(), Fact::SaysKeyed { field: "onvif", key: category.into(), value });
}

fn percent_decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = (tail.get(..2).filter(|_| *first == b'%'))
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(code.unwrap_or(*first));
        let read = if code.is_some() { 2 } else { 0 };
        rest = tail.get(read..).unwrap_or_default();
    }
    out
}

/// IPv4 host of a URL.
fn url_host(url: &str) -> Option<IpAddr> {
    let (_, rest) = url.split_once("://")?;
    let host = rest.split(['/', ':']).next()?;
    host.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{Recorder, ctx, facts_of};

    fn envelope(body: &str) -> String {
        format!(
            r#"<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"
            xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"><s:Header><a:MessageID>urn:uuid:11111111-2222-3333-4444-555555555555</a:MessageID>
            <a:To>urn:x</a:To></s:Header><s:Body>{body}</s:Body></s:Envelope>"#
        )
    }

    fn endpoint(tail: &str, ip: &str) -> String {
        format!(
            "<a:EndpointReference><a:Address>urn:uuid:4D454930-0000-1000-8000-{tail}</a:Address></a:EndpointReference>\
             <d:Types>dn:NetworkVideoTransmitter tds:Device</d:Types>\
             <d:Scopes>onvif://www.onvif.org/type/video_encoder onvif://www.onvif.org/hardware/P3225-LV \
             onvif://www.onvif.org/name/AXIS%20P3225 http://example.com/x</d:Scopes>\
             <d:XAddrs>http://{ip}/onvif/device_service</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion>"
        )
    }

    fn check(xml: &str, expect: Result<&str, Malformed>) {
        assert_eq!(
            facts_of(run, xml.as_bytes(), &ctx(3702, 40000, Role::Unknown)),
            expect.map(str::to_owned)
        );
    }

    #[test]
    fn a_camera_answers() {
        let body = endpoint("0200000000aa", "192.0.2.1");
        let answer = envelope(&format!(
            "<d:ProbeMatches><d:ProbeMatch>{body}</d:ProbeMatch></d:ProbeMatches>"
        ));
        assert!(probe(answer.as_bytes()));
        check(
            &answer,
            Ok("sender is Uuid 4d454930-0000-1000-8000-0200000000aa (wsd.endpoint)\n\
                sender is Mac 02:00:00:00:00:aa (wsd.endpoint)\n\
                sender says wsd.types = NetworkVideoTransmitter\n\
                sender says wsd.types = Device\n\
                sender says wsd.xaddrs = http://192.0.2.1/onvif/device_service\n\
                sender says onvif.type = video_encoder\n\
                sender says onvif.hardware = P3225-LV\n\
                sender says onvif.name = AXIS P3225\n\
                sender says wsd.scopes = http://example.com/x"),
        );
    }

    #[test]
    fn a_hello_describes_its_sender_and_a_proxy_others() {
        let mut sink = Recorder::default();
        let hello =
            envelope(&format!("<d:Hello>{}</d:Hello>", endpoint("0a0000000001", "192.0.2.1")));
        run(hello.as_bytes(), &ctx(3702, 3702, Role::Unknown), &mut sink).unwrap();
        assert!(sink.text().contains("sender says onvif.hardware = P3225-LV"));
        let one = |n: u8| {
            format!(
                "<d:ProbeMatch>{}</d:ProbeMatch>",
                endpoint("0a0000000001", &format!("192.0.2.7{n}"))
            )
        };
        let both = envelope(&format!("<d:ProbeMatches>{}{}</d:ProbeMatches>", one(1), one(2)));
        let mut sink = Recorder::default();
        run(both.as_bytes(), &ctx(3702, 3702, Role::Unknown), &mut sink).unwrap();
        assert!(sink.text().contains("192.0.2.71 says onvif.hardware = P3225-LV"));
        assert!(sink.text().contains("192.0.2.72 says onvif.hardware = P3225-LV"));
        assert!(!sink.text().contains("sender"));
    }

    #[test]
    fn questions_name_others() {
        let resolve = "<d:Resolve><a:EndpointReference><a:Address>urn:uuid:4D454930-0000-1000-8000-0200000000aa\
                       </a:Address></a:EndpointReference></d:Resolve>";
        check(&envelope(resolve), Ok(""));
        check(
            &envelope("<d:Probe><d:Types>dn:NetworkVideoTransmitter</d:Types></d:Probe>"),
            Ok(""),
        );
        check("<html><body/></html>", Err(Malformed::NotMine));
        check("", Err(Malformed::NotMine));
        assert!(!probe(b"<html>"));
    }
}
