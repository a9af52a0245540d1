//! Client sides: what devices ask of each other.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::estate::GATEWAY;
use crate::{mdns, serve};

/// How long a device waits for another.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

fn open(to: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from((to, port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads until `enough` says how long the answer is.
fn read(stream: &mut TcpStream, enough: impl Fn(&[u8]) -> Option<usize>) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut chunk = [0u8; 4096];
    loop {
        if let Some(length) = enough(&out) {
            out.truncate(length);
            return Ok(out);
        }
        let n = stream.read(&mut chunk)?;
        if n == 0 || out.len() > 1 << 20 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        out.extend(chunk.iter().take(n));
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Asks the gateway for an address (RFC 1035).
pub(crate) fn resolve(host: &str) -> io::Result<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let id = socket.local_addr()?.port().to_be_bytes();
    let mut query = vec![id[0], id[1], 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    query.extend(mdns::name(host));
    query.extend([0, 1, 0, 1]);
    socket.send_to(&query, (GATEWAY, 53))?;
    let mut answer = [0u8; 512];
    let length = socket.recv(&mut answer)?;
    // One question; the first answer's name is a pointer: type, class, TTL, length, address.
    let record = answer.get(query.len()..length).unwrap_or_default();
    match record {
        [0xc0, 12, 0, 1, 0, 1, _, _, _, _, 0, 4, a, b, c, d, ..] => {
            Ok(Ipv4Addr::new(*a, *b, *c, *d))
        }
        _ => Err(wrong("no address for that name")),
    }
}

/// Asks the gateway for the time.
pub(crate) fn ntp() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut request = vec![0x23, 0, 6, 0xec];
    request.resize(40, 0);
    request.extend(serve::ntp::now_ntp().to_be_bytes());
    socket.send_to(&request, (GATEWAY, 123))?;
    let mut answer = [0u8; 128];
    match socket.recv(&mut answer)? {
        48 => Ok(()),
        _ => Err(wrong("not an NTP answer")),
    }
}

/// One HTTP request; `extra` are header lines, each ended.
pub(crate) fn http(
    to: Ipv4Addr,
    port: u16,
    request: &str,
    host: &str,
    agent: &str,
    extra: &str,
    body: &str,
) -> io::Result<String> {
    let mut stream = open(to, port)?;
    let length =
        if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let text = format!(
        "{request} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nAccept: */*\r\n\
         {extra}{length}\r\n{body}"
    );
    stream.write_all(text.as_bytes())?;
    let answer = read(&mut stream, serve::http::request_length)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    if answer.starts_with("HTTP/1.1 2") {
        Ok(answer)
    } else {
        Err(wrong(answer.lines().next().unwrap_or("")))
    }
}

/// Digest answers are not checked by the camera; the header is what is on the wire.
pub(crate) const DIGEST: &str = "Authorization: Digest username=\"recorder\", \
    realm=\"AXIS_ACCC8E123440\", nonce=\"5f2c8a\", uri=\"/\", \
    response=\"6629fae49393a05397450978507c4ef1\"\r\n";

/// Pulls a little video.
pub(crate) fn rtsp(to: Ipv4Addr) -> io::Result<usize> {
    let mut stream = open(to, 554)?;
    let url = format!("rtsp://{to}:554/axis-media/media.amp");
    let agent = "User-Agent: Synology Surveillance Station\r\n";
    let mut ask = |method: &str, sequence: u8, extra: &str| -> io::Result<String> {
        let text = format!("{method} {url} RTSP/1.0\r\nCSeq: {sequence}\r\n{agent}{extra}\r\n");
        stream.write_all(text.as_bytes())?;
        let answer = read(&mut stream, serve::http::request_length)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    ask("OPTIONS", 1, "")?;
    ask("DESCRIBE", 2, "Accept: application/sdp\r\n")?;
    let described = ask("DESCRIBE", 3, DIGEST)?;
    if !described.contains("m=video") {
        return Err(wrong("no video described"));
    }
    ask("SETUP", 4, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n")?;
    let text = format!("PLAY {url} RTSP/1.0\r\nCSeq: 5\r\n{agent}Session: 4Kq1Z0\r\n\r\n");
    stream.write_all(text.as_bytes())?;
    let video = read(&mut stream, |bytes| (bytes.len() > 2_000).then_some(bytes.len()))?;
    let text = format!("TEARDOWN {url} RTSP/1.0\r\nCSeq: 6\r\n{agent}Session: 4Kq1Z0\r\n\r\n");
    stream.write_all(text.as_bytes())?;
    Ok(video.len())
}

/// One Modbus request in one connection each; returns the answers' PDUs.
pub(crate) fn modbus(to: Ipv4Addr, requests: &[&[u8]]) -> io::Result<Vec<Vec<u8>>> {
    let mut stream = open(to, 502)?;
    let mut out = Vec::new();
    for (number, pdu) in (1u16..).zip(requests) {
        let mut adu = number.to_be_bytes().to_vec();
        adu.extend([0, 0]);
        adu.extend(u16::try_from(pdu.len() + 1).unwrap_or(1).to_be_bytes());
        adu.push(1);
        adu.extend(*pdu);
        stream.write_all(&adu)?;
        let answer = read(&mut stream, serve::modbus::length)?;
        let pdu = answer.get(7..).unwrap_or_default().to_vec();
        if pdu.first().is_none_or(|function| function & 0x80 != 0) {
            return Err(wrong("Modbus exception"));
        }
        out.push(pdu);
    }
    Ok(out)
}

/// Prints one label.
pub(crate) fn print(to: Ipv4Addr, label: &str) -> io::Result<()> {
    let mut stream = open(to, 9100)?;
    stream.write_all(b"\x1b%-12345X@PJL INFO ID\r\n")?;
    read(&mut stream, |bytes| bytes.contains(&0x0c).then_some(bytes.len()))?;
    stream.write_all(b"~HI\r\n")?;
    read(&mut stream, |bytes| bytes.contains(&3).then_some(bytes.len()))?;
    stream.write_all(format!("^XA^FO50,50^A0N,50,50^FD{label}^FS^XZ\r\n").as_bytes())
}
