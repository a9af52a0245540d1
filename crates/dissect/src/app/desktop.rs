//! Remote control: RFB (RFC 6143), RDP (MS-RDPBCGR) and the Android debug bridge.

use model::observation::EventKind;

use crate::text::{c_string, clean, is_name};
use crate::{About, Ctx, Probe, Sink, Step};

use super::{lines, tls};

/// `RFB 003.008\n`.
pub(super) fn probe_rfb(bytes: &[u8]) -> Probe {
    if bytes.starts_with(b"RFB 0") { Probe::Yes } else { Probe::No }
}

/// Reads the version and, without a password, the desktop's name.
pub(super) fn rfb(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    match lines::line(bytes) {
        Some((line, _)) if line.starts_with(b"RFB ") => {
            sink.says("rfb.version", clean(line.get(4..).unwrap_or_default()));
            Step::Done
        }
        None if bytes.len() < 12 => Step::NeedMore,
        _ => Step::Done,
    }
}

/// A connection request in TPKT (§2.2.1.1) with a cookie or negotiation of RDP.
pub(super) fn probe_rdp(bytes: &[u8]) -> Probe {
    match bytes {
        [3, 0, _, _, _, 0xe0, 0, 0, _, _, 0, rest @ ..] => {
            let cookie = rest.starts_with(b"Cookie: ") || rest.starts_with(&[1, 0, 8, 0]);
            if cookie { Probe::Yes } else { Probe::Maybe }
        }
        [3, 0, _, _, _, 0xd0, ..] => Probe::Maybe,
        _ => Probe::No,
    }
}

/// Reads the negotiation; the certificate behind it names the computer.
pub(super) fn rdp(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let length = match bytes {
        [22, 3, ..] => return tls::run(bytes, ctx, sink),
        [3, 0, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
        [] | [3] | [3, 0] | [3, 0, _] => return Step::NeedMore,
        _ => return Step::Done,
    };
    let Some(packet) = bytes.get(..length).filter(|packet| packet.len() > 6) else {
        return if length > 6 { Step::NeedMore } else { Step::Done };
    };
    match packet.get(5) {
        Some(0xe0) => {
            let text = packet.get(11..).unwrap_or_default();
            let line = lines::line(text).map_or(&b""[..], |(line, _)| line);
            if let Some(user) = line.strip_prefix(b"Cookie: mstshash=") {
                sink.says("rdp.cookie", clean(user));
            }
            Step::Consumed(length)
        }
        Some(0xd0) => Step::Consumed(length),
        _ => Step::Done,
    }
}

/// Header of a CNXN message: command and its complement around four numbers.
pub(super) fn probe_adb(bytes: &[u8]) -> Probe {
    match bytes {
        [b'C', b'N', b'X', b'N', ..] if bytes.get(20..24) == Some(&[0xbc, 0xb1, 0xa7, 0xb1]) => {
            Probe::Yes
        }
        _ => Probe::No,
    }
}

/// Reads the banner: `device::ro.product.name=…;ro.product.model=…;ro.product.device=…;`.
pub(super) fn adb(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    if probe_adb(bytes) == Probe::No {
        return if bytes.len() < 24 { Step::NeedMore } else { Step::Done };
    }
    let length = bytes.get(12..16).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    let length = length.and_then(|n| usize::try_from(n).ok()).unwrap_or_default().min(4096);
    let Some(banner) = bytes.get(24..24 + length) else {
        return Step::NeedMore;
    };
    let text = c_string(banner);
    let (kind, properties) = text.split_once("::").unwrap_or((&text, ""));
    if !is_name(kind) {
        return Step::Done;
    }
    sink.says("adb.kind", kind);
    for property in properties.split(';').take(32) {
        match property.split_once('=') {
            Some(("ro.product.model", model)) => sink.says("adb.model", model),
            Some(("ro.product.name", name)) => sink.says("adb.product", name),
            Some(("ro.product.device", device)) => sink.says("adb.device", device),
            _ => {}
        }
    }
    if kind.starts_with("device") {
        let detail = "the Android debug bridge is open to the network";
        sink.event(About::Sender, EventKind::CleartextAdmin, detail);
    }
    Step::Done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{ctx, facts_of_stream, unhex};

    fn check(run: fn(&[u8], &Ctx, &mut dyn Sink) -> Step, bytes: &[u8], expect: &str) {
        assert_eq!(facts_of_stream(run, bytes, &ctx(1, 2, Role::Server)), expect);
    }

    #[test]
    fn versions_and_cookies() {
        check(rfb, b"RFB 003.008\n", "sender says rfb.version = 003.008");
        check(rfb, b"RFB 00", "");
        let request =
            [&unhex("0300 0025 20 e0 0000 0000 00")[..], b"Cookie: mstshash=hmi1\r\n\0\0"];
        let mut request = request.concat();
        request[3] = request.len().try_into().unwrap();
        assert_eq!(probe_rdp(&request), Probe::Yes);
        check(rdp, &request, "sender says rdp.cookie = hmi1");
        check(rdp, &request[..9], "");
        check(rdp, b"\x03\0\0\x02", "");
    }

    #[test]
    fn an_open_debug_bridge() {
        let banner = b"device::ro.product.name=aosp;ro.product.model=TV Box;features=x";
        let mut bytes = b"CNXN\x01\0\0\x01\0\0\x10\0".to_vec();
        bytes.extend(u32::try_from(banner.len()).unwrap().to_le_bytes());
        bytes.extend([0, 0, 0, 0, 0xbc, 0xb1, 0xa7, 0xb1]);
        bytes.extend(banner);
        check(
            adb,
            &bytes,
            "sender says adb.kind = device\nsender says adb.product = aosp\n\
             sender says adb.model = TV Box\n\
             sender event CleartextAdmin: the Android debug bridge is open to the network",
        );
        check(adb, &bytes[..30], "");
        check(adb, &[b'x'; 30], "");
    }
}
