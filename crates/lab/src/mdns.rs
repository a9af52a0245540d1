//! What devices say by multicast: the printer's DNS-SD records, the camera's WS-Discovery hello.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};

/// Group and port of multicast DNS (RFC 6762 §3).
pub(crate) const MDNS: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 251), 5353);
/// Group and port of WS-Discovery.
pub(crate) const WSD: (Ipv4Addr, u16) = (Ipv4Addr::new(239, 255, 255, 250), 3702);

/// The printer announces itself (RFC 6762 §8.3).
pub(crate) fn announce_printer(ip: Ipv4Addr) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, MDNS.1))?;
    socket.send_to(&printer_records(ip), MDNS).map(|_| ())
}

/// The camera says hello.
pub(crate) fn hello_camera(ip: Ipv4Addr) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let hello = format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><SOAP-ENV:Envelope xmlns:SOAP-ENV="http://www.w3.org/2003/05/soap-envelope" xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:dn="http://www.onvif.org/ver10/network/wsdl"><SOAP-ENV:Header><wsa:MessageID>urn:uuid:5a7d9e10-0000-1000-8000-accc8e123440</wsa:MessageID><wsa:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</wsa:To><wsa:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Hello</wsa:Action></SOAP-ENV:Header><SOAP-ENV:Body><d:Hello><wsa:EndpointReference><wsa:Address>urn:uuid:c8d5a1f0-0000-1000-8000-accc8e123440</wsa:Address></wsa:EndpointReference><d:Types>dn:NetworkVideoTransmitter</d:Types><d:Scopes>onvif://www.onvif.org/type/video_encoder onvif://www.onvif.org/Profile/Streaming onvif://www.onvif.org/hardware/M3045-V onvif://www.onvif.org/name/AXIS%20M3045-V onvif://www.onvif.org/location/</d:Scopes><d:XAddrs>http://{ip}/onvif/device_service</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion></d:Hello></SOAP-ENV:Body></SOAP-ENV:Envelope>"#
    );
    socket.send_to(hello.as_bytes(), WSD).map(|_| ())
}

fn printer_records(ip: Ipv4Addr) -> Vec<u8> {
    let service = "_pdl-datastream._tcp.local";
    let instance = "ZBR6A1050._pdl-datastream._tcp.local";
    let host = "ZBR6A1050.local";
    let text = [
        "txtvers=1",
        "ty=Zebra Technologies ZTC ZT410-203dpi ZPL",
        "product=(ZTC ZT410-203dpi ZPL)",
        "usb_MFG=Zebra Technologies",
        "usb_MDL=ZTC ZT410-203dpi ZPL",
        "adminurl=http://ZBR6A1050.local/",
    ];
    // Response, authoritative; four answers.
    let mut out = vec![0, 0, 0x84, 0, 0, 0, 0, 4, 0, 0, 0, 0];
    record(&mut out, service, 12, 0x0001, &name(instance));
    let mut server = vec![0, 0, 0, 0];
    server.extend(9100u16.to_be_bytes());
    server.extend(name(host));
    record(&mut out, instance, 33, 0x8001, &server);
    let strings: Vec<u8> = text.iter().flat_map(|t| label(t)).collect();
    record(&mut out, instance, 16, 0x8001, &strings);
    record(&mut out, host, 1, 0x8001, &ip.octets());
    out
}

fn record(out: &mut Vec<u8>, owner: &str, kind: u16, class: u16, data: &[u8]) {
    out.extend(name(owner));
    out.extend(kind.to_be_bytes());
    out.extend(class.to_be_bytes());
    out.extend(120u32.to_be_bytes());
    out.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
    out.extend(data);
}

/// A domain name as labels (RFC 1035 §3.1).
pub(crate) fn name(text: &str) -> Vec<u8> {
    text.split('.').flat_map(label).chain([0]).collect()
}

fn label(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    std::iter::once(length).chain(text.bytes().take(usize::from(length))).collect()
}
