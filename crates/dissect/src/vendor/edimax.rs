//! Edimax plugs: local discovery (UDP 20560) and the registration at the vendor's cloud, XML with
//! its bytes rotated by a few bits (UDP 8765).

use std::net::{IpAddr, Ipv4Addr};

use model::Mac;

use super::own_ip;
use crate::identity::{own_mac, own_mac_text};
use crate::{Ctx, Malformed, Outcome, Reader, Sink, text};

const CLOUD_BYTES_MAX: usize = 2048;

/// The maker's name behind a MAC address.
pub(super) fn probe(bytes: &[u8]) -> bool {
    bytes.get(6..13) == Some(b"EDIMAX\0")
}

/// A question has a broadcast address and 22 bytes; an answer names model, version and owner's
/// name in fixed places.
pub(super) fn run(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    if !probe(payload) {
        return Err(Malformed::NotMine);
    }
    let mut r = Reader::new(payload);
    let mac = Mac(r.array()?);
    if mac == Mac::BROADCAST {
        return Ok(());
    }
    r.skip(16)?;
    let (model, version) = (r.take(14)?, r.take(8)?);
    let name = r.take(128)?;
    own_mac(sink, "edimax.mac", mac);
    sink.says("edimax.model", text::c_string(model));
    sink.says("edimax.firmware", text::c_string(version));
    sink.says("edimax.alias", text::c_string(name));
    r.skip(2)?; // port
    own_ip(sink, IpAddr::V4(Ipv4Addr::from(r.array::<4>()?)));
    Ok(())
}

/// `<param>` behind any of the eight rotations.
pub(super) fn probe_cloud(bytes: &[u8]) -> bool {
    bytes.get(..24).is_some_and(|head| decode(head).is_some_and(|t| t.starts_with(b"<param>")))
}

/// A device's registration (code 1010); all other messages name others or nobody.
pub(super) fn run_cloud(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    if !probe_cloud(payload) {
        return Err(Malformed::NotMine);
    }
    if payload.len() > CLOUD_BYTES_MAX {
        return Err(Malformed::Limit);
    }
    let text = decode(payload).ok_or(Malformed::NotMine)?;
    let text = String::from_utf8_lossy(&text);
    if attribute(&text, "code") != Some("1010") {
        return Ok(());
    }
    let fields = [
        ("edimax.model", "model"),
        ("edimax.type", "type"),
        ("edimax.alias", "alias"),
        ("edimax.firmware", "devfwver"),
        ("edimax.product_id", "productid"),
    ];
    for (field, name) in fields {
        sink.says(field, text::clean_str(attribute(&text, name).unwrap_or_default()));
    }
    own_mac_text(sink, "edimax.mac", attribute(&text, "id").unwrap_or_default());
    if let Some(Ok(ip)) = attribute(&text, "lanip").map(str::parse) {
        own_ip(sink, ip);
    }
    Ok(())
}

/// The first byte is `<` plus the number of bits that all others are rotated right.
fn decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let (first, rest) = bytes.split_first()?;
    let bits = first.checked_sub(b'<').filter(|bits| *bits < 8)?;
    let rotated = rest.iter().map(|b| b.rotate_left(u32::from(bits)));
    Some(std::iter::once(b'<').chain(rotated).collect())
}

/// The value in `<name value="…" />`.
fn attribute<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, after) = text.split_once(&format!("<{name} value=\""))?;
    after.split_once('"').map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::tests::check;

    #[test]
    fn an_answer_to_discovery_names_model_and_owner() {
        let mut answer = vec![0, 0, 0x5e, 0, 0x53, 1];
        answer.extend(b"EDIMAX\0\0\0\0\0\0\0\0\0\0");
        answer.extend(b"SP1101W\0\0\0\0\0\0\0");
        answer.extend(b"2.04\0\0\0\0");
        answer.extend([&b"plug one"[..], &[0; 120]].concat());
        answer.extend([0x10, 0x27, 192, 0, 2, 44, 0, 0]);
        let expect = [
            "sender says edimax.mac = 00:00:5e:00:53:01",
            "sender is Mac 00:00:5e:00:53:01 (edimax.mac)",
            "sender says edimax.model = SP1101W",
            "sender says edimax.firmware = 2.04",
            "sender says edimax.alias = plug one",
            "sender uses 192.0.2.44 (Stated)",
        ];
        check(run, (20560, 40000), &answer, Ok(&expect));
        let question = [&[0xff; 6][..], b"EDIMAX\0\0\0\0\0\0\0\xa1\xff\x5e"].concat();
        check(run, (40000, 20560), &question, Ok(&[]));
        check(run, (40000, 20560), b"hello", Err(Malformed::NotMine));
    }

    fn rotated(text: &str, bits: u8) -> Vec<u8> {
        let rest = text.bytes().skip(1).map(|b| b.rotate_right(u32::from(bits)));
        std::iter::once(b'<' + bits).chain(rest).collect()
    }

    #[test]
    fn a_registration_is_read_behind_every_rotation() {
        let text = "<param>\n<code value=\"1010\" />\n<model value=\"SP-1101W\" />\n\
            <id value=\"00005E005301\" />\n<alias value=\"plug one\" />\n\
            <lanip value=\"192.0.2.44\" />\n<devfwver value=\"1.09#010001\" />\n</param>";
        let expect = [
            "sender says edimax.model = SP-1101W",
            "sender says edimax.alias = plug one",
            "sender says edimax.firmware = 1.09#010001",
            "sender says edimax.mac = 00:00:5e:00:53:01",
            "sender is Mac 00:00:5e:00:53:01 (edimax.mac)",
            "sender uses 192.0.2.44 (Stated)",
        ];
        for bits in 0..8 {
            check(run_cloud, (50000, 8765), &rotated(text, bits), Ok(&expect));
        }
        let answer = "<param><code value=\"1020\" /><id value=\"00005E005301\" /></param>";
        check(run_cloud, (8765, 50000), &rotated(answer, 3), Ok(&[]));
        check(run_cloud, (8765, 50000), b"<html><body>...........</body>", Err(Malformed::NotMine));
    }
}
