//! TDS (MS-TDS), the protocol of Microsoft SQL Server: versions, and the client's own names.

use model::observation::EventKind;

use crate::text::{clean, hex, utf16_le};
use crate::{About, Ctx, Malformed, Outcome, Probe, Reader, Role, Sink, Step};

use super::{key, ntlm, tls};

/// Packet header (§2.2.3.1): type, status, length, channel, number, window.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    match header(bytes) {
        Ok((PRELOGIN, length)) if bytes.get(8) == Some(&0) && length < 512 => Probe::Yes,
        Ok(_) => Probe::Maybe,
        Err(Malformed::Truncated) if !bytes.is_empty() => Probe::Maybe,
        Err(_) => Probe::No,
    }
}

const RESPONSE: u8 = 0x04;
const LOGIN7: u8 = 0x10;
const PRELOGIN: u8 = 0x12;
/// State per conversation: the login was seen.
const LOGGED_IN: u64 = 0x54_44_01;
/// Longest packet that is waited for; logins and their answers are short.
const WANTED_BYTES_MAX: usize = 8 * 1024;

/// Reads packets until both sides are known.
pub(super) fn run(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let (kind, length) = match header(bytes) {
        Ok(header) => header,
        Err(Malformed::Truncated) => return Step::NeedMore,
        Err(_) => return Step::Resync,
    };
    let wanted = matches!(kind, RESPONSE | LOGIN7 | PRELOGIN);
    if wanted && bytes.len() < length.min(WANTED_BYTES_MAX) {
        return Step::NeedMore;
    }
    let packet = bytes.get(8..length.min(bytes.len())).unwrap_or_default();
    let from_server = kind == RESPONSE || ctx.role == Role::Server;
    match kind {
        PRELOGIN if tls::begins(packet) => return Step::Done,
        PRELOGIN => drop(prelogin(packet, from_server, sink)),
        LOGIN7 => {
            sink.remember(key(LOGGED_IN, 0), 1);
            let _ = login(packet, sink);
        }
        // The first answer to a prelogin looks like any other.
        RESPONSE if packet.first() == Some(&0) => drop(prelogin(packet, true, sink)),
        RESPONSE => drop(tokens(packet, sink)),
        0x11 => ntlm::find(packet, sink),
        _ => {}
    }
    if bytes.len() < length {
        return Step::Resync;
    }
    Step::Consumed(length)
}

fn header(bytes: &[u8]) -> Result<(u8, usize), Malformed> {
    let mut r = Reader::new(bytes);
    let [kind, status] = r.array()?;
    let length = usize::from(r.u16_be()?);
    r.skip(3)?;
    let window = r.u8()?;
    let known = matches!(kind, 1 | 2 | 3 | RESPONSE | 6 | 7 | 14 | LOGIN7 | 0x11 | PRELOGIN);
    if known && status & !0x1f == 0 && (8..=32_768).contains(&length) && window == 0 {
        Ok((kind, length))
    } else {
        Err(Malformed::NotMine)
    }
}

/// SQL Server Browser (MC-SQLR §2.2.5), UDP 1434: an answer lists instances as `name;value;` pairs.
pub(super) fn browser(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(bytes);
    match r.u8()? {
        2..=4 if bytes.len() < 300 => return Ok(()),
        5 => {}
        _ => return Err(Malformed::NotMine),
    }
    let length = usize::from(r.u16_le()?);
    let text = clean(r.take_up_to(length));
    let words: Vec<&str> = text.split(';').take(64).collect();
    if words.first() != Some(&"ServerName") {
        return Err(Malformed::NotMine);
    }
    for pair in words.chunks_exact(2) {
        match pair {
            ["ServerName", name] => sink.says("tds.browser_name", *name),
            ["InstanceName", name] => sink.says("tds.instance", *name),
            ["Version", version] => sink.says("tds.version", *version),
            _ => {}
        }
    }
    Ok(())
}

/// PRELOGIN (§2.2.6.5): a table of options; the first is the version, six bytes long, right
/// behind the table. Results of queries can begin with the same byte, so all of that is checked.
fn prelogin(body: &[u8], from_server: bool, sink: &mut dyn Sink) -> Result<(), Malformed> {
    let mut table = Reader::new(body);
    let [option, high, low, 0, 6] = table.array()? else {
        return Err(Malformed::NotMine);
    };
    let offset = u16::from_be_bytes([high, low]);
    let end = (0..16u16).find(|n| body.get(usize::from(*n) * 5) == Some(&0xff));
    if option != 0 || end.is_none_or(|options| offset != options * 5 + 1) {
        return Err(Malformed::NotMine);
    }
    if let Some([major, minor, high, low, ..]) = body.get(usize::from(offset)..) {
        let build = u16::from_be_bytes([*high, *low]);
        let field = if from_server { "tds.version" } else { "tds.client_version" };
        sink.says(field, format!("{major}.{minor}.{build}"));
    }
    Ok(())
}

/// LOGIN7 (§2.2.6.4): names as offset and length pairs behind 36 fixed bytes.
fn login(body: &[u8], sink: &mut dyn Sink) -> Result<(), Malformed> {
    let mut r = Reader::new(body);
    r.skip(36)?;
    for field in ["tds.hostname", "", "password", "tds.app", "tds.server_name", "", "tds.library"] {
        let offset = usize::from(r.u16_le()?);
        let length = usize::from(r.u16_le()?) * 2;
        let text = body.get(offset..offset + length).unwrap_or_default();
        match field {
            // Obfuscated with a fixed pattern, which hides nothing.
            "password" if length > 0 => {
                let detail = "an SQL Server password crosses without TLS";
                sink.event(About::Sender, EventKind::CleartextCredential, detail);
            }
            "" | "password" => {}
            _ => sink.says(field, utf16_le(text)),
        }
    }
    r.skip(8)?;
    let client = r.take(6)?;
    if client.iter().any(|b| *b != 0) {
        sink.says("tds.client_id", hex(client));
    }
    ntlm::find(body, sink);
    Ok(())
}

/// The tokens of a login's answer (§2.2.7); those of query results are not followed.
fn tokens(body: &[u8], sink: &mut dyn Sink) -> Result<(), Malformed> {
    const LOGINACK: u8 = 0xad;
    let mut r = Reader::new(body);
    for _ in 0..32 {
        match r.u8()? {
            // ERROR, INFO, ENVCHANGE, ORDER, SSPI.
            0xaa | 0xab | 0xe3 | 0xa9 => {
                let length = usize::from(r.u16_le()?);
                r.skip(length)?;
            }
            0xed => {
                let length = usize::from(r.u16_le()?);
                ntlm::find(r.take(length)?, sink);
            }
            LOGINACK => {
                let length = usize::from(r.u16_le()?);
                let mut ack = Reader::new(r.take(length)?);
                ack.skip(5)?;
                let characters = usize::from(ack.u8()?);
                let name = utf16_le(ack.take(characters * 2)?);
                let [major, minor, high, low] = ack.array()?;
                let build = u16::from_be_bytes([high, low]);
                sink.says("tds.server", format!("{name} {major}.{minor}.{build}"));
                return Ok(());
            }
            _ => return Ok(()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Recorder, ctx, facts_of_stream, unhex};

    fn check(role: Role, bytes: &[u8], expect: &str) {
        assert_eq!(facts_of_stream(run, bytes, &ctx(1433, 4000, role)), expect);
    }

    fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len() + 8).unwrap().to_be_bytes();
        [&[kind, 1, length[0], length[1], 0, 0, 1, 0], body].concat()
    }

    #[test]
    fn prelogin_of_both_sides() {
        // Version at 11, encryption at 17; from MS-TDS §4.2 shortened.
        let body = unhex("00 000b 0006 01 0011 0001 ff 0a320640 0000 00");
        assert_eq!(probe(&packet(0x12, &body)), Probe::Yes);
        check(Role::Client, &packet(0x12, &body), "sender says tds.client_version = 10.50.1600");
        check(Role::Server, &packet(0x04, &body), "sender says tds.version = 10.50.1600");
    }

    #[test]
    fn login_and_its_answer() {
        let mut body = vec![0; 94];
        let mut names = Vec::new();
        for (index, text) in
            ["HMI-3", "sa", "pw", "InTouch", "SQL1", "", "OLEDB"].iter().enumerate()
        {
            let offset = u16::try_from(94 + names.len()).unwrap().to_le_bytes();
            let length = u16::try_from(text.len()).unwrap().to_le_bytes();
            let at = 36 + index * 4;
            body[at..at + 2].copy_from_slice(&offset);
            body[at + 2..at + 4].copy_from_slice(&length);
            names.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        }
        body[72..78].copy_from_slice(&[0, 0x1b, 0x1b, 0x35, 0x84, 0x10]);
        body.extend(names);
        check(
            Role::Client,
            &packet(0x10, &body),
            "sender says tds.hostname = HMI-3\n\
             sender event CleartextCredential: an SQL Server password crosses without TLS\n\
             sender says tds.app = InTouch\n\
             sender says tds.server_name = SQL1\n\
             sender says tds.library = OLEDB\n\
             sender says tds.client_id = 001b1b358410",
        );
        check(
            Role::Server,
            &packet(4, &unhex("ab 0200 0000 ad 0e00 01 74000004 02 53005100 0a320640")),
            "sender says tds.server = SQ 10.50.1600",
        );
    }

    #[test]
    fn the_browser_lists_instances() {
        let mut facts = Recorder::default();
        let here = ctx(1434, 4000, Role::Unknown);
        let list =
            b"ServerName;SQL1;InstanceName;MES;IsClustered;No;Version;10.50.1600.1;tcp;1433;;";
        let answer = [&[5, list.len().try_into().unwrap(), 0][..], list].concat();
        browser(&answer, &here, &mut facts).unwrap();
        assert_eq!(
            facts.text(),
            "sender says tds.browser_name = SQL1\nsender says tds.instance = MES\n\
             sender says tds.version = 10.50.1600.1"
        );
        assert_eq!(browser(b"\x05\x01\0x", &here, &mut facts), Err(Malformed::NotMine));
        assert_eq!(browser(b"\x04MES\0", &here, &mut facts), Ok(()));
        assert_eq!(browser(b"", &here, &mut facts), Err(Malformed::Truncated));
    }

    #[test]
    fn cuts_and_others() {
        check(Role::Client, &packet(0x10, &[0; 20]), "");
        check(Role::Client, &packet(0x12, &[0, 0xff, 0xff, 0, 6])[..9], "");
        check(Role::Client, b"GET / HTTP/1.1\r\n", "");
        assert_eq!(probe(b"GET / HTTP/1.1"), Probe::No);
    }
}
