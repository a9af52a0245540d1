//! NetBIOS datagrams (RFC 1002 §4.4) and the browser announcements inside them (MS-BRWS §2.2):
//! Windows and Samba hosts, old printers, NAS boxes and operator panels tell name, version and a
//! comment that often names the product.

use std::net::IpAddr;

use super::nbns::NetbiosName;
use crate::{About, Ctx, Malformed, Outcome, Reader, Sink, text};

const SMB_TRANSACTION: u8 = 0x25;
const MAILSLOT: &[u8] = b"\\MAILSLOT\\BROWSE\0";

/// Bits of the server type (MS-BRWS §2.2.1) worth showing.
const SERVER_TYPES: &[(u32, &str)] = &[
    (0x0000_0002, "server"),
    (0x0000_0004, "sql-server"),
    (0x0000_0008, "domain-controller"),
    (0x0000_0010, "backup-domain-controller"),
    (0x0000_0040, "apple"),
    (0x0000_0080, "novell"),
    (0x0000_0200, "print-server"),
    (0x0000_0400, "dial-in"),
    (0x0000_0800, "unix"),
    (0x0000_1000, "nt-workstation"),
    (0x0000_2000, "windows-for-workgroups"),
    (0x0000_8000, "nt-server"),
    (0x0004_0000, "master-browser"),
    (0x0008_0000, "domain-master-browser"),
    (0x0040_0000, "windows-95"),
    (0x0100_0000, "terminal-server"),
];

/// Reads one datagram.
pub(super) fn run(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    let kind = r.u8()?;
    if !(0x10..=0x16).contains(&kind) {
        return Err(Malformed::NotMine);
    }
    r.skip(3)?; // flags, datagram id
    let source = IpAddr::from(r.array::<4>()?);
    r.skip(2)?;
    // Direct and broadcast datagrams carry data; the others are errors and queries.
    if !(0x10..=0x12).contains(&kind) {
        return Ok(());
    }
    r.skip(4)?; // length, packet offset
    // The source address is the host's own; a router in between may have changed ours.
    if ctx.src.ip != Some(source) {
        return Ok(());
    }
    if let Some(name) = second_level_name(&mut r)? {
        name.report(false, &About::Sender, sink);
    }
    second_level_name(&mut r)?;
    match mailslot(r.rest()) {
        Some(frame) => announcement(frame, sink),
        None => Ok(()),
    }
}

/// A name as one label and its scope.
fn second_level_name(r: &mut Reader<'_>) -> Result<Option<NetbiosName>, Malformed> {
    let length = r.u8()?;
    let name = NetbiosName::decode(r.take(usize::from(length))?);
    loop {
        match r.u8()? {
            0 => return Ok(name),
            n @ 1..=63 => r.skip(usize::from(n))?,
            _ => return Err(Malformed::Invalid),
        }
    }
}

/// Data of an SMB transaction to the browser's mailslot (MS-CIFS §2.2.4.33).
fn mailslot(smb: &[u8]) -> Option<&[u8]> {
    let mut r = Reader::new(smb);
    if r.take(5).ok()? != [0xff, b'S', b'M', b'B', SMB_TRANSACTION] {
        return None;
    }
    r.skip(27).ok()?;
    let words = r.u8().ok()?;
    let mut parameters = Reader::new(r.take(usize::from(words) * 2).ok()?);
    parameters.skip(22).ok()?;
    let length = usize::from(parameters.u16_le().ok()?);
    let offset = usize::from(parameters.u16_le().ok()?);
    r.skip(2).ok()?;
    let name = r.take(MAILSLOT.len()).ok()?;
    if !name.eq_ignore_ascii_case(MAILSLOT) {
        return None;
    }
    let data = smb.get(offset..)?;
    data.get(..length).or(Some(data))
}

/// Host announcement (1) and local master announcement (15); the others name groups and servers.
fn announcement(frame: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(frame);
    if !matches!(r.u8()?, 1 | 15) {
        return Ok(());
    }
    r.skip(5)?; // update count, periodicity
    sink.says("browser.name", text::c_string(r.take(16)?));
    let (major, minor) = (r.u8()?, r.u8()?);
    sink.says("browser.os_version", format!("{major}.{minor}"));
    let types = r.u32_le()?;
    let words: Vec<_> =
        (SERVER_TYPES.iter()).filter(|(bit, _)| types & bit != 0).map(|(_, word)| *word).collect();
    sink.says("browser.server_type", words.join(","));
    r.skip(4)?; // browser version, signature
    sink.says("browser.comment", text::c_string(r.rest()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::nbns::encode;
    use super::*;
    use crate::Role;
    use crate::testing::{Recorder, ctx, facts_of, unhex};

    fn datagram(source: &str, opcode: u8) -> Vec<u8> {
        let frame = [
            vec![opcode],
            unhex("00 60ea0000"),
            b"LINE4-HMI\0\0\0\0\0\0\0".to_vec(),
            unhex("06 01  03900100  0f01 55aa"), // 6.1; workstation, server, NT, NT server, potential browser
            b"Panel PC 870\0".to_vec(),
        ]
        .concat();
        let length = u8::try_from(frame.len()).unwrap();
        let offset = u8::try_from(32 + 1 + 34 + 2 + MAILSLOT.len()).unwrap();
        [
            unhex("11 0a 0001"),
            unhex(source),
            unhex("008a 00bb 0000"),
            encode("LINE4-HMI", 0x20),
            encode("PLANT", 0x1d),
            unhex("ff534d42 25"),
            vec![0; 27],
            vec![17],
            vec![0; 22],
            vec![length, 0, offset, 0],
            vec![0; 8],
            vec![0, 0],
            MAILSLOT.to_vec(),
            frame,
        ]
        .concat()
    }

    fn check(bytes: &[u8], expect: Result<&str, Malformed>) {
        assert_eq!(facts_of(run, bytes, &ctx(138, 138, Role::Unknown)), expect.map(str::to_owned));
    }

    #[test]
    fn a_host_announces_itself() {
        check(
            &datagram("c0000201", 1),
            Ok("sender says nbns.name = LINE4-HMI\n\
                sender says browser.name = LINE4-HMI\n\
                sender says browser.os_version = 6.1\n\
                sender says browser.server_type = server,nt-workstation,nt-server\n\
                sender says browser.comment = Panel PC 870"),
        );
        // A domain announcement names the group and its master.
        check(&datagram("c0000201", 12), Ok("sender says nbns.name = LINE4-HMI"));
        // Somebody else's datagram, forwarded.
        check(&datagram("c000024d", 1), Ok(""));
    }

    #[test]
    fn damage() {
        check(&unhex("ff"), Err(Malformed::NotMine));
        let whole = datagram("c0000201", 1);
        check(&whole[..20], Err(Malformed::Truncated));
        for n in 0..whole.len() {
            let mut sink = Recorder::default();
            let _ = run(&whole[..n], &ctx(138, 138, Role::Unknown), &mut sink);
        }
    }
}
