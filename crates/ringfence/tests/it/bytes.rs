//! Packets and captures made byte by byte.

use std::path::Path;

pub(crate) const PLUG: [u8; 6] = [0x50, 0xc7, 0xbf, 0, 0xfc, 0xa3];
pub(crate) const ROUTER: [u8; 6] = [0x00, 0x0d, 0xb9, 0, 0, 1];
const ALL: [u8; 6] = [0xff; 6];

/// A classic capture of Ethernet frames, one second apart from `start`.
pub(crate) fn pcap(start: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 262_144, 1] {
        file.extend(word.to_le_bytes());
    }
    for (second, frame) in (start..).zip(frames) {
        let length = u32::try_from(frame.len()).unwrap();
        for word in [second, 0, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}

/// Writes a capture.
pub(crate) fn save(path: &Path, frames: &[Vec<u8>]) {
    std::fs::write(path, pcap(1_700_000_000, frames)).unwrap();
}

fn ethernet(dst: [u8; 6], src: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    [&dst[..], &src, &kind.to_be_bytes(), payload].concat()
}

fn ipv4(protocol: u8, src: [u8; 4], dst: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let head = [0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0];
    [&head[..], &src, &dst, payload].concat()
}

fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload].concat()
}

fn tcp(from: u16, to: u16, seq: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let head = [0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0];
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &seq.to_be_bytes(), &head, payload].concat()
}

/// "192.0.2.`host` is at `mac`."
pub(crate) fn arp(mac: [u8; 6], host: u8) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, 1];
    let body = [&head[..], &mac, &[192, 0, 2, host], &[0; 6], &[192, 0, 2, 1]].concat();
    ethernet(ALL, mac, 0x0806, &body)
}

/// A DHCP request (RFC 2131) with a host name (option 12).
pub(crate) fn dhcp(mac: [u8; 6], host_name: &[u8]) -> Vec<u8> {
    let mut message = vec![1, 1, 6, 0, 1, 2, 3, 4, 0, 0, 0, 0];
    message.extend([0; 16]);
    message.extend(mac);
    message.extend([0; 10 + 64 + 128]);
    message.extend([99, 130, 83, 99, 53, 1, 3, 12, u8::try_from(host_name.len()).unwrap()]);
    message.extend(host_name);
    message.push(255);
    let datagram = udp(68, 67, &message);
    ethernet(ALL, mac, 0x0800, &ipv4(17, [0; 4], [255; 4], &datagram))
}

/// A whole HTTP exchange between two hosts of the segment.
pub(crate) fn http(client: ([u8; 6], u8), server: ([u8; 6], u8), answer: &[u8]) -> Vec<Vec<u8>> {
    let [c, s] = [client, server].map(|(mac, host)| (mac, [192, 0, 2, host]));
    let out = |seq, flags, data: &[u8]| {
        ethernet(s.0, c.0, 0x0800, &ipv4(6, c.1, s.1, &tcp(40_000, 80, seq, flags, data)))
    };
    let back = |seq, flags, data: &[u8]| {
        ethernet(c.0, s.0, 0x0800, &ipv4(6, s.1, c.1, &tcp(80, 40_000, seq, flags, data)))
    };
    vec![
        out(100, 2, b""),
        back(500, 0x12, b""),
        out(101, 0x10, b""),
        out(101, 0x18, b"GET / HTTP/1.1\r\nHost: cam.example\r\n\r\n"),
        back(501, 0x18, answer),
    ]
}
