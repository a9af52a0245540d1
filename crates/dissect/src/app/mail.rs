//! SMTP (RFC 5321), IMAP (RFC 9051) and POP3 (RFC 1939): greetings, client names, credentials.

use model::observation::EventKind;

use crate::text::{base64_decoded, clean, find};
use crate::{About, Ctx, Probe, Role, Sink, Step};

use super::{lines, ntlm, tls};

/// An SMTP greeting, or any reply on the port.
pub(super) fn probe_smtp(bytes: &[u8]) -> Probe {
    if bytes.starts_with(b"220") {
        let smtp = find(&lines::opening(bytes), b"SMTP").is_some();
        return if smtp { Probe::Yes } else { Probe::Maybe };
    }
    let word = bytes.get(..5).unwrap_or_default();
    let hello = [b"EHLO ", b"HELO "].iter().any(|hello| word.eq_ignore_ascii_case(*hello));
    if hello { Probe::Yes } else { Probe::No }
}

/// An IMAP greeting or a tagged command.
pub(super) fn probe_imap(bytes: &[u8]) -> Probe {
    let line = lines::opening(bytes);
    let says = |word: &[u8]| find(&line, word).is_some();
    match () {
        () if bytes.starts_with(b"* OK") && says(b"IMAP") => Probe::Yes,
        () if bytes.starts_with(b"* OK") || bytes.starts_with(b"* PREAUTH") => Probe::Maybe,
        () if says(b" LOGIN ") || says(b" CAPABILITY") || says(b" ID ") => Probe::Maybe,
        () => Probe::No,
    }
}

/// A POP3 greeting or command.
pub(super) fn probe_pop(bytes: &[u8]) -> Probe {
    let known = [&b"+OK"[..], b"USER ", b"CAPA", b"APOP ", b"AUTH"];
    if known.iter().any(|word| bytes.starts_with(word)) { Probe::Maybe } else { Probe::No }
}

/// Reads SMTP line by line.
pub(super) fn smtp(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    by_line(bytes, ctx, sink, |line, text, sink| {
        let word = text.get(..5).unwrap_or_default().to_ascii_uppercase();
        match word.as_str() {
            "EHLO " | "HELO " => sink.says("smtp.client", text.get(5..).unwrap_or_default()),
            "AUTH " => credential(text, "SMTP", sink),
            "DATA" => {}
            _ if line.starts_with(b"220") => {
                sink.says("smtp.banner", clean(line.get(4..).unwrap_or_default()));
            }
            _ if line.starts_with(b"334 ") => {
                ntlm::find(&base64_decoded(line.get(4..).unwrap_or_default()), sink);
            }
            "X-MAI" | "USER-" => {
                if let Some((_, value)) = text.split_once(':') {
                    sink.says("smtp.mailer", value.trim());
                }
            }
            _ => {}
        }
    })
}

/// Reads IMAP line by line.
pub(super) fn imap(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    by_line(bytes, ctx, sink, |line, text, sink| {
        let mut words = text.split(' ');
        let command = words.nth(1).unwrap_or_default().to_ascii_uppercase();
        match command.as_str() {
            "OK" if line.starts_with(b"* OK") => {
                sink.says("imap.banner", text.get(5..).unwrap_or_default());
            }
            "LOGIN" => credential("AUTH PLAIN", "IMAP", sink),
            "AUTHENTICATE" => credential(text, "IMAP", sink),
            "ID" => sink.says("imap.id", text.splitn(3, ' ').nth(2).unwrap_or_default()),
            _ => {}
        }
    })
}

/// Reads POP3 line by line; only the greeting, not the mail.
pub(super) fn pop(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    if bytes.starts_with(b"+OK") && ctx.role != Role::Client {
        let Some((line, _)) = lines::line(bytes) else {
            return if bytes.len() < LINE_BYTES_MAX { Step::NeedMore } else { Step::Done };
        };
        sink.says("pop.banner", clean(line.get(3..).unwrap_or_default()));
        return Step::Done;
    }
    by_line(bytes, ctx, sink, |line, _, sink| {
        if line.get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"PASS ")) {
            credential("AUTH PLAIN", "POP3", sink);
        }
    })
}

const LINE_BYTES_MAX: usize = 4096;

fn by_line(
    bytes: &[u8],
    ctx: &Ctx,
    sink: &mut dyn Sink,
    read: fn(&[u8], &str, &mut dyn Sink),
) -> Step {
    if tls::begins(bytes) {
        return tls::run(bytes, ctx, sink);
    }
    match lines::line(bytes) {
        Some((line, length)) => {
            read(line, &clean(line), sink);
            Step::Consumed(length)
        }
        None if bytes.len() < LINE_BYTES_MAX => Step::NeedMore,
        None => Step::Resync,
    }
}

/// PLAIN and LOGIN send the password itself (RFC 4616); challenges do not.
fn credential(text: &str, protocol: &str, sink: &mut dyn Sink) {
    let text = text.to_ascii_uppercase();
    if text.contains("PLAIN") || text.contains("LOGIN") {
        let detail = format!("a password crosses in clear text over {protocol}");
        sink.event(About::Sender, EventKind::CleartextCredential, detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ctx, facts_of_stream};

    fn check(run: fn(&[u8], &Ctx, &mut dyn Sink) -> Step, text: &str, expect: &str) {
        assert_eq!(facts_of_stream(run, text.as_bytes(), &ctx(1, 2, Role::Unknown)), expect);
    }

    #[test]
    fn greetings() {
        check(
            smtp,
            "220 mail.example ESMTP Postfix (Debian)\r\n250 ok\r\n",
            "sender says smtp.banner = mail.example ESMTP Postfix (Debian)",
        );
        check(imap, "* OK Dovecot ready.\r\n", "sender says imap.banner = Dovecot ready.");
        check(pop, "+OK Dovecot ready.\r\nFrom: x", "sender says pop.banner = Dovecot ready.");
        check(smtp, "220 cut", "");
    }

    #[test]
    fn clients() {
        check(
            smtp,
            "EHLO mfp-17\r\nAUTH LOGIN\r\nX-Mailer: ScanCenter 2.1\r\n",
            "sender says smtp.client = mfp-17\n\
             sender event CleartextCredential: a password crosses in clear text over SMTP\n\
             sender says smtp.mailer = ScanCenter 2.1",
        );
        check(
            imap,
            "a1 LOGIN bob geheim\r\n",
            "sender event CleartextCredential: a password crosses in clear text over IMAP",
        );
        check(
            pop,
            "USER bob\r\npass geheim\r\n",
            "sender event CleartextCredential: a password crosses in clear text over POP3",
        );
        check(smtp, "AUTH CRAM-MD5\r\n", "");
    }

    #[test]
    fn probes() {
        assert_eq!(probe_smtp(b"220 x ESMTP"), Probe::Yes);
        assert_eq!(probe_smtp(b"220 x FTP"), Probe::Maybe);
        assert_eq!(probe_imap(b"* OK [CAPABILITY IMAP4rev1]"), Probe::Yes);
        assert_eq!(probe_imap(b"GET / HTTP/1.1"), Probe::No);
        assert_eq!(probe_pop(b"+OK x"), Probe::Maybe);
    }
}
