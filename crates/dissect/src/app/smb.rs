//! SMB 1 (MS-CIFS), SMB 2 and 3 (MS-SMB2) over NetBIOS sessions (RFC 1002 §4.3) and directly.

use crate::names::nbns::NetbiosName;
use crate::text::{clean, hex, utf16_le};
use crate::{Ctx, Malformed, Probe, Reader, Sink, Step};

use super::ntlm;

/// Session header of a NetBIOS session service packet, with SMB inside on any port.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    match bytes {
        [0, 0..=1, _, _, 0xff | 0xfe, b'S', b'M', b'B', ..] => Probe::Yes,
        [0x81, 0, 0, 68, 0x20, ..] => Probe::Yes,
        [0, 0..=1, ..] | [0x81..=0x85, 0, ..] => Probe::Maybe,
        _ => Probe::No,
    }
}

/// Bytes of one packet that are waited for; reads and writes of files are longer.
const WANTED_BYTES_MAX: usize = 8 * 1024;

/// Reads packets.
pub(super) fn run(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let mut r = Reader::new(bytes);
    let Ok([kind, high, middle, low]) = r.array::<4>() else {
        return Step::NeedMore;
    };
    let length = usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap_or(usize::MAX);
    match kind {
        0x81 if length == 68 => match r.take(length) {
            Ok(names) => session_request(names, sink),
            Err(_) => return Step::NeedMore,
        },
        0x82..=0x85 if length <= 6 => {
            if r.skip(length).is_err() {
                return Step::NeedMore;
            }
        }
        0 => {
            let known = matches!(r.rest(), [0xff | 0xfe, b'S', b'M', b'B', ..]);
            if !known {
                // Encrypted, or the middle of a file.
                return if r.len() < 4 { Step::NeedMore } else { Step::Resync };
            }
            if r.len() < length.min(WANTED_BYTES_MAX) {
                return Step::NeedMore;
            }
            let packet = r.take_up_to(length);
            let _ = message(packet, sink);
            if packet.len() < length {
                // What follows is file content: found again at the next packet of its own.
                return Step::Resync;
            }
        }
        _ => return Step::Resync,
    }
    Step::Consumed(bytes.len() - r.len())
}

/// Called and calling names, half-ASCII encoded (RFC 1001 §14.1).
fn session_request(names: &[u8], sink: &mut dyn Sink) {
    let Some(encoded) = names.get(35..67) else {
        return;
    };
    if let Some(calling) = NetbiosName::decode(encoded) {
        sink.says("smb.netbios_name", calling.name);
    }
}

fn message(packet: &[u8], sink: &mut dyn Sink) -> Result<(), Malformed> {
    let mut r = Reader::new(packet);
    match r.u8()? {
        0xff => smb1(packet, sink),
        _ => smb2(packet, sink),
    }
}

/// MS-CIFS §2.2.3.1.
fn smb1(packet: &[u8], sink: &mut dyn Sink) -> Result<(), Malformed> {
    let mut r = Reader::new(packet);
    r.skip(4)?;
    let command = r.u8()?;
    r.skip(4)?;
    let reply = r.u8()? & 0x80 != 0;
    let unicode = r.u16_le()? & 0x8000 != 0;
    r.skip(20)?;
    let words = usize::from(r.u8()?) * 2;
    let parameters = r.take(words)?;
    let length = usize::from(r.u16_le()?);
    let data = r.take_up_to(length);
    let start = packet.len() - r.len() - data.len();
    match (command, reply, parameters.len()) {
        (0x73, false, 26) => {
            // Passwords, account, domain, system, manager (MS-CIFS §2.2.4.53.1).
            let mut p = Reader::new(parameters);
            p.skip(14)?;
            let skip = usize::from(p.u16_le()?) + usize::from(p.u16_le()?);
            system(strings(data, skip, start, unicode).skip(2), sink);
        }
        (0x73, false, 24) => {
            let mut p = Reader::new(parameters);
            p.skip(14)?;
            blob(data, usize::from(p.u16_le()?), start, unicode, sink);
        }
        (0x73, true, 8) => {
            let mut p = Reader::new(parameters);
            p.skip(6)?;
            blob(data, usize::from(p.u16_le()?), start, unicode, sink);
        }
        (0x73, true, 6) => {
            let mut names = strings(data, 0, start, unicode);
            system(names.by_ref(), sink);
            sink.says("smb.domain", names.next().unwrap_or_default());
        }
        (0x72, true, _) => {
            sink.says("smb.dialect", "1");
            ntlm::find(data, sink);
        }
        _ => {}
    }
    Ok(())
}

fn blob(data: &[u8], length: usize, start: usize, unicode: bool, sink: &mut dyn Sink) {
    ntlm::find(data.get(..length).unwrap_or(data), sink);
    system(strings(data, length, start, unicode), sink);
}

/// Native operating system and LAN manager, each said about who sends it.
fn system(mut names: impl Iterator<Item = String>, sink: &mut dyn Sink) {
    sink.says("smb.native_os", names.next().unwrap_or_default());
    sink.says("smb.lanman", names.next().unwrap_or_default());
}

/// Strings with terminator from `skip` on; UTF-16 is aligned to the packet, not to the data.
fn strings(data: &[u8], skip: usize, start: usize, unicode: bool) -> impl Iterator<Item = String> {
    let aligned = if unicode { skip + (start + skip) % 2 } else { skip };
    let mut rest = data.get(aligned..).unwrap_or_default();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (text, used) = if unicode {
            let units = rest.chunks_exact(2).take_while(|unit| *unit != [0, 0]).count();
            (utf16_le(rest.get(..units * 2)?), units * 2 + 2)
        } else {
            let end = rest.iter().position(|b| *b == 0).unwrap_or(rest.len());
            (clean(rest.get(..end)?).into_owned(), end + 1)
        };
        rest = rest.get(used..).unwrap_or_default();
        Some(text)
    })
}

/// MS-SMB2 §2.2.1: negotiation and session setup.
fn smb2(packet: &[u8], sink: &mut dyn Sink) -> Result<(), Malformed> {
    let mut r = Reader::new(packet);
    r.skip(12)?;
    let command = r.u16_le()?;
    r.skip(2)?;
    let reply = r.u32_le()? & 1 != 0;
    r.skip(44)?;
    match (command, reply) {
        // NEGOTIATE request (§2.2.3): the client's GUID behind its capabilities.
        (0, false) => {
            r.skip(12)?;
            guid("smb.client_guid", r.take(16)?, sink);
        }
        // NEGOTIATE response (§2.2.4).
        (0, true) => {
            r.skip(4)?;
            let dialect = r.u16_le()?;
            sink.says("smb.dialect", dialect_name(dialect));
            r.skip(2)?;
            guid("smb.server_guid", r.take(16)?, sink);
            ntlm::find(r.rest(), sink);
        }
        (1, _) => ntlm::find(r.rest(), sink),
        _ => {}
    }
    Ok(())
}

fn guid(field: &'static str, bytes: &[u8], sink: &mut dyn Sink) {
    if bytes.iter().any(|b| *b != 0) {
        sink.says(field, hex(bytes));
    }
}

fn dialect_name(dialect: u16) -> String {
    match dialect {
        0x02ff => "2".to_owned(),
        0x0202 => "2.0.2".to_owned(),
        0x0210 => "2.1".to_owned(),
        0x0300 => "3.0".to_owned(),
        0x0302 => "3.0.2".to_owned(),
        0x0311 => "3.1.1".to_owned(),
        other => format!("{other:#06x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{ctx, facts_of_stream, unhex};

    fn framed(packet: &[u8]) -> Vec<u8> {
        let length = u32::try_from(packet.len()).unwrap().to_be_bytes();
        [&[0, length[1], length[2], length[3]], packet].concat()
    }

    fn smb1_packet(command: u8, reply: bool, words: &[u8], data: &[u8]) -> Vec<u8> {
        let mut packet = b"\xffSMB".to_vec();
        packet.push(command);
        packet.extend([0; 4]);
        packet.push(if reply { 0x88 } else { 0x08 });
        packet.extend([0x01, 0x80]);
        packet.extend([0; 20]);
        packet.push((words.len() / 2).try_into().unwrap());
        packet.extend(words);
        packet.extend(u16::try_from(data.len()).unwrap().to_le_bytes());
        packet.extend(data);
        packet
    }

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
    }

    fn check(bytes: &[u8], expect: &str) {
        assert_eq!(facts_of_stream(run, bytes, &ctx(445, 4000, Role::Server)), expect);
    }

    #[test]
    fn session_setup_says_the_system() {
        // Response without extended security: three words, strings aligned behind one pad byte.
        let data = [&[0][..], &utf16("Windows 5.1"), &utf16("LM 5.1"), &utf16("DOM")].concat();
        let expect = "sender says smb.native_os = Windows 5.1\n\
            sender says smb.lanman = LM 5.1\nsender says smb.domain = DOM";
        check(&framed(&smb1_packet(0x73, true, &[0; 6], &data)), expect);
        // Request with a security blob of one byte.
        let mut words = [0; 24];
        words[14] = 1;
        let data = [&[9][..], &utf16("Unix"), &utf16("Samba")].concat();
        // 32 + 1 + 24 + 2 = 59: the byte of the blob makes the strings even.
        let expect = "sender says smb.native_os = Unix\nsender says smb.lanman = Samba";
        check(&framed(&smb1_packet(0x73, false, &words, &data)), expect);
    }

    #[test]
    fn smb2_negotiation() {
        let mut packet = unhex("fe534d42 4000 0000 00000000 0000 0100 01000000");
        packet.resize(64, 0);
        packet.extend(unhex("4100 0100 1103 0000 00112233445566778899aabbccddeeff"));
        check(
            &framed(&packet),
            "sender says smb.dialect = 3.1.1\n\
             sender says smb.server_guid = 00112233445566778899aabbccddeeff",
        );
    }

    #[test]
    fn netbios_session_request() {
        let name = |text: &str| {
            let padded = format!("{text:<15}\0");
            let coded = padded.bytes().flat_map(|b| [b'A' + (b >> 4), b'A' + (b & 15)]);
            [vec![0x20], coded.collect(), vec![0]].concat()
        };
        let body = [name("SERVER"), name("PC-17")].concat();
        let packet = [&[0x81, 0, 0, 68][..], &body].concat();
        assert_eq!(probe(&packet), Probe::Yes);
        check(&packet, "sender says smb.netbios_name = PC-17");
    }

    #[test]
    fn cuts_and_others() {
        let whole = framed(&smb1_packet(0x73, true, &[0; 6], &utf16("Windows 5.1")));
        for end in 0..whole.len() {
            check(&whole[..end], "");
        }
        check(b"\0\0\0\x04abcd", "");
        assert_eq!(probe(b"GET /"), Probe::No);
    }
}
