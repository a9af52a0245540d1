//! Lights: Philips WiZ (UDP 38899, 38900) and Yeelight (UDP 1982).

use super::{own_id, own_ip};
use crate::identity::own_mac_text;
use crate::scan::json;
use crate::{Ctx, Malformed, Outcome, Sink, text};

const HEADERS_MAX: usize = 64;

/// WiZ: JSON with a `method`; answers have a `result`, and the light itself starts `firstBeat`
/// and `syncPilot`.
pub(super) fn run_wiz(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    if payload.first() != Some(&b'{') {
        return Err(Malformed::NotMine);
    }
    let mut method = String::new();
    let mut values: Vec<(String, String)> = Vec::new();
    json::walk(payload, &mut |path, value| match path.split_once('.') {
        None if path == "method" => value.clone_into(&mut method),
        Some(("result" | "params", "mac" | "moduleName" | "fwVersion")) => {
            values.push((path.to_owned(), value.to_owned()));
        }
        _ => {}
    })
    .map_err(|_| Malformed::NotMine)?;
    if method.is_empty() {
        return Err(Malformed::NotMine);
    }
    let own =
        if matches!(method.as_str(), "firstBeat" | "syncPilot") { "params." } else { "result." };
    for (path, value) in &values {
        match path.strip_prefix(own) {
            Some("mac") => own_mac_text(sink, "wiz.mac", value),
            Some("moduleName") => sink.says("wiz.module", value.as_str()),
            Some("fwVersion") => sink.says("wiz.firmware", value.as_str()),
            _ => {}
        }
    }
    Ok(())
}

/// Yeelight: like SSDP, with the light's own headers in answers and announcements.
pub(super) fn run_yeelight(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let message = std::str::from_utf8(payload).map_err(|_| Malformed::NotMine)?;
    let mut lines = message.lines();
    match lines.next().unwrap_or_default() {
        "HTTP/1.1 200 OK" | "NOTIFY * HTTP/1.1" => {}
        "M-SEARCH * HTTP/1.1" => return Ok(()),
        _ => return Err(Malformed::NotMine),
    }
    if !message.contains("yeelight://") {
        return Err(Malformed::NotMine);
    }
    for line in lines.take(HEADERS_MAX) {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        match key.to_ascii_lowercase().as_str() {
            "location" => {
                let host = value.strip_prefix("yeelight://").and_then(|v| v.split(':').next());
                if let Some(Ok(ip)) = host.map(str::parse) {
                    own_ip(sink, ip);
                }
            }
            "id" => own_id(sink, "yeelight.id", "yeelight", value),
            "model" => sink.says("yeelight.model", text::clean_str(value)),
            "fw_ver" => sink.says("yeelight.firmware", text::clean_str(value)),
            "name" => sink.says("yeelight.name", text::clean_str(value)),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::tests::check;

    const MAC: [&str; 2] =
        ["sender says wiz.mac = 00:00:5e:00:53:01", "sender is Mac 00:00:5e:00:53:01 (wiz.mac)"];

    #[test]
    fn a_wiz_light_answers_and_announces() {
        let answer = br#"{"method":"getSystemConfig","env":"pro","result":{"mac":"00005e005301",
            "homeId":1,"moduleName":"ESP01_SHRGB1C_31","fwVersion":"1.25.0"}}"#;
        let more =
            ["sender says wiz.module = ESP01_SHRGB1C_31", "sender says wiz.firmware = 1.25.0"];
        check(run_wiz, (38899, 40000), answer, Ok(&[&MAC[..], &more].concat()));
        let beat = br#"{"method":"firstBeat","params":{"mac":"00005e005301"}}"#;
        check(run_wiz, (38899, 38900), beat, Ok(&MAC));
        let app = br#"{"method":"registration","params":{"mac":"00005e005399","register":false}}"#;
        check(run_wiz, (40000, 38899), app, Ok(&[]));
        check(run_wiz, (40000, 38899), b"{\"a\":1}", Err(Malformed::NotMine));
        check(run_wiz, (40000, 38899), b"hello", Err(Malformed::NotMine));
    }

    #[test]
    fn a_yeelight_answers() {
        let answer = b"HTTP/1.1 200 OK\r\nLocation: yeelight://192.0.2.77:55443\r\n\
            id: 0x000000000015243f\r\nmodel: color\r\nfw_ver: 18\r\nname: bay 4\r\n\r\n";
        let expect = [
            "sender uses 192.0.2.77 (Stated)",
            "sender says yeelight.id = 0x000000000015243f",
            "sender is VendorId yeelight:0x000000000015243f (yeelight.id)",
            "sender says yeelight.model = color",
            "sender says yeelight.firmware = 18",
            "sender says yeelight.name = bay 4",
        ];
        check(run_yeelight, (1982, 40000), answer, Ok(&expect));
        check(run_yeelight, (40000, 1982), b"M-SEARCH * HTTP/1.1\r\nST: wifi_bulb\r\n", Ok(&[]));
        let other = b"HTTP/1.1 200 OK\r\nLocation: http://192.0.2.1/\r\n";
        check(run_yeelight, (1982, 40000), other, Err(Malformed::NotMine));
    }
}
