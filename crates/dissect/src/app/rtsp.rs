//! RTSP (RFC 2326, RFC 7826): what cameras and recorders say about themselves.

use model::observation::EventKind;

use crate::text::clean;
use crate::{About, Ctx, Fact, Probe, Sink, Step};

use super::lines::{self, Start};
use super::{direction, key, pass_over};

/// A start line of RTSP, or the beginning of one.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    const BEGINNINGS: &[&str] = &[
        "RTSP/",
        "OPTIONS rtsp",
        "OPTIONS *",
        "DESCRIBE rtsp",
        "SETUP rtsp",
        "PLAY rtsp",
        "PAUSE rtsp",
        "TEARDOWN rtsp",
        "ANNOUNCE rtsp",
        "RECORD rtsp",
        "GET_PARAMETER rtsp",
        "SET_PARAMETER rtsp",
    ];
    match lines::line(bytes) {
        Some((line, _)) if lines::start(line, "RTSP/").is_some() => Probe::Yes,
        None if bytes.starts_with(b"RTSP/") => Probe::Yes,
        None if BEGINNINGS.iter().any(|text| {
            let shared = text.len().min(bytes.len());
            shared > 0 && text.as_bytes().get(..shared) == bytes.get(..shared)
        }) =>
        {
            Probe::Maybe
        }
        _ => Probe::No,
    }
}

/// State per direction: body bytes to pass over.
const SKIP: u64 = 0x52_54_01;
const SDP_BYTES_MAX: usize = 16 * 1024;

/// Reads messages; passes over interleaved media (RFC 2326 §10.12).
pub(super) fn run(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let memory = key(SKIP, direction(ctx));
    let message = lines::line(bytes).and_then(|(line, n)| Some((lines::start(line, "RTSP/")?, n)));
    let Some((start, first_length)) = message else {
        return between(bytes, memory, sink);
    };
    let Some(length) = lines::head_length(bytes) else {
        return wait(bytes);
    };
    let head = bytes.get(first_length..length).unwrap_or_default();
    let body_length = lines::header(head, "content-length")
        .and_then(|text| std::str::from_utf8(text).ok()?.parse::<usize>().ok())
        .unwrap_or_default();
    let is_sdp = lines::header(head, "content-type").is_some_and(|kind| kind.ends_with(b"sdp"));
    let body = bytes.get(length..).unwrap_or_default();
    if is_sdp && body.len() < body_length.min(SDP_BYTES_MAX) {
        return Step::NeedMore;
    }
    report(start, head, sink);
    let there = body.len().min(body_length);
    if is_sdp {
        sdp(body.get(..there).unwrap_or_default(), sink);
    }
    sink.remember(memory, u64::try_from(body_length - there).unwrap_or_default());
    Step::Consumed(length + there)
}

/// Bytes that begin no message: the rest of a body, media, or nothing known.
fn between(bytes: &[u8], memory: u64, sink: &mut dyn Sink) -> Step {
    if let Some(step) = pass_over(bytes, memory, sink) {
        return step;
    }
    match bytes {
        [b'$', _, high, low, rest @ ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let passed = length.min(rest.len());
            sink.remember(memory, u64::try_from(length - passed).unwrap_or_default());
            Step::Consumed(4 + passed)
        }
        [b'$', ..] => Step::NeedMore,
        [b'\r' | b'\n', ..] => Step::Consumed(1),
        _ if probe(bytes) != Probe::No => wait(bytes),
        _ => Step::Resync,
    }
}

fn wait(bytes: &[u8]) -> Step {
    if bytes.len() < lines::HEAD_BYTES_MAX { Step::NeedMore } else { Step::Resync }
}

fn report(start: Start<'_>, head: &[u8], sink: &mut dyn Sink) {
    if let Start::Request(_, target) = start {
        let target = clean(target);
        let path = target.split_once("://").map_or(&*target, |(_, rest)| rest);
        let host = lines::before(path, &['/']).split('@').next_back().unwrap_or_default();
        if let Some(name) = lines::host_name(host.as_bytes()) {
            sink.fact(About::Sender, Fact::ServerName { name: name.into() });
        }
        let shown = path.split_once('/').map(|(_, path)| lines::redact(path, 200));
        sink.says("rtsp.path", shown.unwrap_or_default());
    }
    for (name, value) in lines::headers(head) {
        match name.to_ascii_lowercase().as_str() {
            "server" => sink.says("rtsp.server", clean(value)),
            "user-agent" => sink.says("rtsp.user_agent", clean(value)),
            "www-authenticate" => {
                let text = clean(value);
                sink.says("rtsp.realm", lines::parameter(&text, "realm").unwrap_or_default());
            }
            "content-base" => {
                let text = clean(value);
                let path = text.splitn(4, '/').nth(3).unwrap_or_default();
                sink.says("rtsp.content_base", lines::redact(path, 200));
            }
            "authorization" if value.to_ascii_lowercase().starts_with(b"basic") => {
                let detail = "RTSP Basic credentials cross in clear text";
                sink.event(About::Sender, EventKind::CleartextCredential, detail);
            }
            _ => {}
        }
    }
}

/// Session name, information and tool (RFC 8866 §5).
fn sdp(body: &[u8], sink: &mut dyn Sink) {
    for line in body.split(|b| *b == b'\n').take(64) {
        match line {
            [b's', b'=', text @ ..] => sink.says("rtsp.sdp_session", clean(text)),
            [b'i', b'=', text @ ..] => sink.says("rtsp.sdp_info", clean(text)),
            [b'm', b'=', ..] => break,
            _ => {
                if let Some(tool) = line.strip_prefix(b"a=tool:") {
                    sink.says("rtsp.sdp_tool", clean(tool));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{ctx, facts_of_stream};

    fn check(role: Role, bytes: &[u8], expect: &str) {
        assert_eq!(facts_of_stream(run, bytes, &ctx(554, 4000, role)), expect);
    }

    #[test]
    fn a_camera_describes_its_stream() {
        check(
            Role::Server,
            b"RTSP/1.0 401 Unauthorized\r\nServer: H264DVR 1.0\r\n\
              WWW-Authenticate: Digest realm=\"IP Camera(C1234)\", nonce=\"1\"\r\n\r\n\
              RTSP/1.0 200 OK\r\nContent-Base: rtsp://10.0.0.9/ch1/\r\n\
              Content-Type: application/sdp\r\nContent-Length: 43\r\n\r\n\
              v=0\r\ns=Media Presentation\r\na=tool:LIVE555\r\n$\0\0\x02xx$\0\0\x09x",
            "sender says rtsp.server = H264DVR 1.0\n\
             sender says rtsp.realm = IP Camera(C1234)\n\
             sender says rtsp.content_base = ch1/\n\
             sender says rtsp.sdp_session = Media Presentation\n\
             sender says rtsp.sdp_tool = LIVE555",
        );
    }

    #[test]
    fn a_recorder_asks() {
        check(
            Role::Client,
            b"DESCRIBE rtsp://admin:geheim@cam.example:554/s?token=abc RTSP/1.0\r\n\
              User-Agent: NVR 4.1\r\nAuthorization: Basic xyz\r\n\r\n",
            "sender asks for cam.example\n\
             sender says rtsp.path = s?token=*\n\
             sender says rtsp.user_agent = NVR 4.1\n\
             sender event CleartextCredential: RTSP Basic credentials cross in clear text",
        );
    }

    #[test]
    fn cuts() {
        check(Role::Client, b"OPTIONS rtsp://x/ RTSP/1.0\r\nUser-Agent: cut", "");
        assert_eq!(probe(b"OPTIONS * RTSP/1.0\r\n"), Probe::Yes);
        assert_eq!(probe(b"OPTIONS * HTTP/1.1\r\n"), Probe::No);
        assert_eq!(probe(b"OPTIONS rtsp://"), Probe::Maybe);
    }
}
