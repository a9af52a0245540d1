//! FTP (RFC 959): the server's greeting and system, and credentials in clear text.

use model::observation::EventKind;

use crate::text::{clean, find};
use crate::{About, Ctx, Probe, Role, Sink, Step};

use super::{key, lines, tls};

/// A greeting that says FTP; any greeting or command on the registered port.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    if !bytes.starts_with(b"220") {
        let (word, rest) = bytes.split_at_checked(4).unwrap_or_default();
        let command = [b"USER", b"AUTH", b"FEAT", b"SYST", b"QUIT"]
            .iter()
            .any(|command| word.eq_ignore_ascii_case(*command))
            && matches!(rest.first(), None | Some(b' ' | b'\r' | b'\n'));
        return if command { Probe::Maybe } else { Probe::No };
    }
    let line = lines::opening(bytes);
    if find(&line, b"FTP").is_some() && find(&line, b"SMTP").is_none() {
        Probe::Yes
    } else {
        Probe::Maybe
    }
}

/// State per conversation: the user is anonymous.
const ANONYMOUS: u64 = 0x46_54_01;
const LINE_BYTES_MAX: usize = 2048;

/// Reads line by line.
pub(super) fn run(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    if tls::begins(bytes) {
        return tls::run(bytes, ctx, sink);
    }
    let Some((line, length)) = lines::line(bytes) else {
        return if bytes.len() < LINE_BYTES_MAX { Step::NeedMore } else { Step::Resync };
    };
    match line {
        [a @ b'1'..=b'5', b, c, b' ' | b'-', text @ ..] if ctx.role != Role::Client => {
            reply([*a, *b, *c], text, sink);
        }
        _ => command(line, sink),
    }
    Step::Consumed(length)
}

fn reply(code: [u8; 3], text: &[u8], sink: &mut dyn Sink) {
    match &code {
        b"220" => sink.says("ftp.banner", clean(text)),
        b"215" => sink.says("ftp.system", clean(text)),
        _ => {}
    }
}

fn command(line: &[u8], sink: &mut dyn Sink) {
    let text = clean(line);
    let (word, argument) = text.split_once(' ').unwrap_or((&text, ""));
    match word.to_ascii_uppercase().as_str() {
        "USER" => {
            let anonymous = matches!(argument.to_ascii_lowercase().as_str(), "anonymous" | "ftp");
            sink.remember(key(ANONYMOUS, 0), u64::from(anonymous));
        }
        "PASS" if sink.recall(key(ANONYMOUS, 0)) != Some(1) && !argument.is_empty() => {
            let detail = "an FTP password crosses in clear text";
            sink.event(About::Sender, EventKind::CleartextCredential, detail);
        }
        "RETR" if lines::is_firmware_path(argument) => {
            let detail = format!("FTP download of {argument}");
            sink.event(About::Sender, EventKind::FirmwareTransfer, detail);
        }
        "STOR" if lines::is_firmware_path(argument) => {
            let detail = format!("FTP upload of {argument}");
            sink.event(About::Receiver, EventKind::FirmwareTransfer, detail);
        }
        "CLNT" => sink.says("ftp.client", argument),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ctx, facts_of_stream};

    fn check(role: Role, text: &str, expect: &str) {
        assert_eq!(facts_of_stream(run, text.as_bytes(), &ctx(21, 4000, role)), expect);
    }

    #[test]
    fn greetings_and_systems() {
        check(
            Role::Server,
            "220-ProFTPD\r\n220 NAS FTP server\r\n215 UNIX Type: L8\r\n331 Password\r\n",
            "sender says ftp.banner = ProFTPD\nsender says ftp.banner = NAS FTP server\n\
             sender says ftp.system = UNIX Type: L8",
        );
    }

    #[test]
    fn passwords_are_events_without_the_password() {
        check(
            Role::Client,
            "USER admin\r\nPASS geheim\r\nSTOR fw.bin\r\n",
            "sender event CleartextCredential: an FTP password crosses in clear text\n\
             receiver event FirmwareTransfer: FTP upload of fw.bin",
        );
        check(Role::Client, "USER anonymous\r\nPASS a@b\r\nRETR x.txt\r\n", "");
        check(Role::Client, "PASS cut", "");
    }

    #[test]
    fn probes() {
        assert_eq!(probe(b"220 Axis FTP ready\r\n"), Probe::Yes);
        assert_eq!(probe(b"220 mail ESMTP\r\n"), Probe::Maybe);
        assert_eq!(probe(b"USER x\r\n"), Probe::Maybe);
        assert_eq!(probe(b"500"), Probe::No);
    }
}
