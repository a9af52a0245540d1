//! The camera's RTSP server (RFC 2326) with media interleaved in the connection (§10.12).

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::http::request_length;
use super::{Handler, Session};
use crate::wait;

const SERVER: &str = "GStreamer RTSP server";
const REALM: &str = "AXIS_ACCC8E123440";
const SDP: &str = "v=0\r\no=- 1188340656180883 1 IN IP4 10.77.0.40\r\n\
    s=Session streamed with GStreamer\r\ni=rtsp-server\r\nt=0 0\r\na=tool:GStreamer\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:stream=0\r\n";
/// Packets of video in one session.
const FRAMES: u16 = 12;

pub(crate) fn handler() -> Handler {
    Arc::new(serve)
}

fn serve(session: &mut Session<'_>) -> io::Result<()> {
    while let Some(request) = session.message(request_length)? {
        let text = String::from_utf8_lossy(&request).into_owned();
        let method = text.split_whitespace().next().unwrap_or("").to_owned();
        session.log.note("camera", session.client, format!("RTSP {method}"));
        let sequence = header(&text, "CSeq").unwrap_or("0").to_owned();
        let denied = method == "DESCRIBE" && header(&text, "Authorization").is_none();
        let (status, more, body) = match method.as_str() {
            "OPTIONS" => {
                ("200 OK", "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n".to_owned(), "")
            }
            "DESCRIBE" if denied => {
                let more =
                    format!("WWW-Authenticate: Digest realm=\"{REALM}\", nonce=\"00fa31\"\r\n");
                ("401 Unauthorized", more, "")
            }
            "DESCRIBE" => ("200 OK", "Content-Type: application/sdp\r\n".to_owned(), SDP),
            "SETUP" => {
                let more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 4Kq1Z0\r\n";
                ("200 OK", more.to_owned(), "")
            }
            "PLAY" | "TEARDOWN" => ("200 OK", "Session: 4Kq1Z0\r\n".to_owned(), ""),
            _ => ("501 Not Implemented", String::new(), ""),
        };
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let answer = format!(
            "RTSP/1.0 {status}\r\nCSeq: {sequence}\r\nServer: {SERVER}\r\n{more}{length}\r\n{body}"
        );
        session.stream.write_all(answer.as_bytes())?;
        match method.as_str() {
            "PLAY" => play(session)?,
            "TEARDOWN" => return Ok(()),
            _ => {}
        }
    }
    Ok(())
}

fn play(session: &mut Session<'_>) -> io::Result<()> {
    for number in 0..FRAMES {
        if session.stop.load(Ordering::Relaxed) {
            break;
        }
        // `$`, channel 0, length; RTP version 2, payload type 96, sequence, timestamp, SSRC.
        let mut frame = vec![b'$', 0, 0x01, 0x0c, 0x80, 96];
        frame.extend(number.to_be_bytes());
        frame.extend((u32::from(number) * 3600).to_be_bytes());
        frame.extend(0x4158_4953u32.to_be_bytes());
        frame.resize(4 + 268, 0x65);
        session.stream.write_all(&frame)?;
        let _ = wait::pass(Duration::from_millis(15));
    }
    Ok(())
}

pub(crate) fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    })
}
