//! JSON and text answers of known identity interfaces.
//!
//! An answer is about the one that gives it: a bridge about itself and its lights, a plug about
//! its firmware. Cloud servers answer with other people's models, so what is not a known
//! interface is believed from hosts with private addresses only.

use model::observation::IdentifierKind;

use crate::scan::json::{self, Entry};
use crate::{About, Ctx, Sink, identity};

use super::super::identity::{Description, own_mac};

const CHILDREN_MAX: usize = 128;

/// A JSON body of a response.
pub(super) fn json(content: &[u8], ctx: &Ctx, sink: &mut dyn Sink) {
    let flat = json::flatten(content);
    let entries = flat.entries();
    let has = |path: &str| json::get(&entries, path).is_some();
    if hue(&entries, sink) {
        return;
    }
    if has("device_info.model_name") || has("build_info.cast_build_revision") || has("ssdp_udn") {
        eureka(&entries, sink);
    } else if has("StatusFWR.Version") || has("StatusNET.Mac") {
        tasmota(&entries, sink);
    } else if has("arch") && has("vid") || has("info.brand") {
        wled(&entries, sink);
    } else if has("data.propertyList.ProdNbr") {
        properties(&entries, "data.propertyList.", ctx, sink);
    } else if is_shelly(&entries) {
        shelly(&entries, sink);
    } else {
        properties(&entries, "", ctx, sink);
    }
}

/// `name=value` lines (VAPIX `param.cgi`, and many small web servers).
pub(super) fn lines(content: &[u8], ctx: &Ctx, sink: &mut dyn Sink) {
    let mut description = Description::default();
    for line in content.split(|b| *b == b'\n').take(256) {
        let line = crate::text::clean(line);
        if let Some((name, value)) = line.split_once('=') {
            let name = name.rsplit(['.', ' ']).next().unwrap_or(name);
            description.add(name, value.trim_matches(['"', '\'', ';', ' ', '\r']));
        }
    }
    description.report(ctx, sink);
}

/// Philips Hue, CLIP v1: `/api/config`, `/api/<user>`, `/api/<user>/lights`.
fn hue(entries: &[Entry<'_>], sink: &mut dyn Sink) -> bool {
    let is_there = |path: &str| json::get(entries, path).is_some();
    let root = match () {
        () if is_there("swversion") && is_there("apiversion") => Some(""),
        () if is_there("config.swversion") && is_there("config.apiversion") => Some("config."),
        () => None,
    };
    if let Some(root) = root {
        let of = |name: &str| json::get(entries, &format!("{root}{name}")).unwrap_or_default();
        sink.says("hue.name", of("name"));
        sink.says("hue.modelid", of("modelid"));
        sink.says("hue.swversion", of("swversion"));
        sink.says("hue.apiversion", of("apiversion"));
        sink.says("hue.bridgeid", of("bridgeid"));
        own_mac("hue.mac", of("mac"), sink);
        let bridge = of("bridgeid").to_ascii_lowercase();
        sink.identifier(About::Sender, "hue.bridgeid", IdentifierKind::VendorId, bridge);
    }
    let children = hue_children(entries, sink);
    root.is_some() || children
}

/// Lights and sensors with a radio of their own: those have a `uniqueid`; a bridge's clock and a
/// rule's variable have none. One radio may be several resources, so its address is the key.
fn hue_children(entries: &[Entry<'_>], sink: &mut dyn Sink) -> bool {
    let mut count = 0;
    for entry in entries {
        let Some(base) = entry.path.strip_suffix("uniqueid") else {
            continue;
        };
        let of = |name: &str| json::get(entries, &format!("{base}{name}")).unwrap_or_default();
        if !is_radio(entry.value) || of("modelid").is_empty() || count >= CHILDREN_MAX {
            continue;
        }
        count += 1;
        let radio = entry.value.get(..23).unwrap_or(entry.value).to_ascii_lowercase();
        let child = || About::Child { via: "hue", key: radio.as_str().into() };
        sink.identifier(child(), "hue.uniqueid", IdentifierKind::VendorId, radio.as_str());
        for (field, name) in [
            ("hue.modelid", "modelid"),
            ("hue.name", "name"),
            ("hue.type", "type"),
            ("hue.swversion", "swversion"),
            ("hue.manufacturer", "manufacturername"),
            ("hue.product", "productname"),
        ] {
            sink.about(child(), field, of(name));
        }
    }
    count > 0
}

/// `00:17:88:01:10:3f:7a:b1-0b`: an EUI-64 and an endpoint.
fn is_radio(text: &str) -> bool {
    text.get(..23).is_some_and(|eui| {
        eui.split(':').count() == 8
            && eui.split(':').all(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))
    })
}

/// Google Cast: `/setup/eureka_info`.
fn eureka(entries: &[Entry<'_>], sink: &mut dyn Sink) {
    let first = |paths: &[&str]| {
        paths.iter().find_map(|path| json::get(entries, path)).unwrap_or_default().to_owned()
    };
    sink.says("eureka.name", first(&["name", "device_info.name"]));
    sink.says("eureka.model", first(&["device_info.model_name", "model_name"]));
    sink.says("eureka.manufacturer", first(&["device_info.manufacturer"]));
    sink.says("eureka.product", first(&["device_info.product_name"]));
    sink.says(
        "eureka.build",
        first(&["build_info.cast_build_revision", "cast_build_revision", "build_version"]),
    );
    own_mac("eureka.mac", &first(&["mac_address", "device_info.mac_address"]), sink);
    let udn = identity::uuid(&first(&["ssdp_udn", "device_info.ssdp_udn"])).unwrap_or_default();
    sink.identifier(About::Sender, "eureka.udn", IdentifierKind::Uuid, udn);
}

/// Tasmota: `/cm?cmnd=Status%200`.
fn tasmota(entries: &[Entry<'_>], sink: &mut dyn Sink) {
    let of = |path: &str| json::get(entries, path).unwrap_or_default();
    sink.says("tasmota.name", of("Status.DeviceName"));
    sink.says("tasmota.version", of("StatusFWR.Version"));
    sink.says("tasmota.hardware", of("StatusFWR.Hardware"));
    sink.says("tasmota.hostname", of("StatusNET.Hostname"));
    sink.says("tasmota.module", of("Status.Module"));
    own_mac("tasmota.mac", of("StatusNET.Mac"), sink);
}

/// WLED: `/json/info`, `/json`.
fn wled(entries: &[Entry<'_>], sink: &mut dyn Sink) {
    let root = if json::get(entries, "info.ver").is_some() { "info." } else { "" };
    let of = |name: &str| json::get(entries, &format!("{root}{name}")).unwrap_or_default();
    sink.says("wled.version", of("ver"));
    sink.says("wled.brand", of("brand"));
    sink.says("wled.product", of("product"));
    sink.says("wled.name", of("name"));
    sink.says("wled.arch", of("arch"));
    own_mac("wled.mac", of("mac"), sink);
}

fn is_shelly(entries: &[Entry<'_>]) -> bool {
    let of = |path| json::get(entries, path).unwrap_or_default();
    let first = of("type").starts_with("SH") || of("device.type").starts_with("SH");
    first || of("id").starts_with("shelly") && !of("mac").is_empty()
}

/// Shelly: `/shelly` and `/settings` of both generations.
fn shelly(entries: &[Entry<'_>], sink: &mut dyn Sink) {
    let first = |paths: &[&str]| {
        paths.iter().find_map(|path| json::get(entries, path)).unwrap_or_default().to_owned()
    };
    sink.says("shelly.type", first(&["type", "device.type", "model"]));
    sink.says("shelly.firmware", first(&["fw", "ver", "fw_id"]));
    sink.says("shelly.name", first(&["name"]));
    sink.says("shelly.app", first(&["app"]));
    sink.says("shelly.id", first(&["id", "device.hostname"]));
    own_mac("shelly.mac", &first(&["mac", "device.mac"]), sink);
}

/// Any other interface: keys at the top or one level below `root`.
fn properties(entries: &[Entry<'_>], root: &str, ctx: &Ctx, sink: &mut dyn Sink) {
    let mut description = Description::default();
    for entry in entries {
        let Some(path) = entry.path.strip_prefix(root) else {
            continue;
        };
        // An array holds other things, not the one that answers.
        if path.split('.').count() > 2 || path.split('.').any(|p| p.parse::<u32>().is_ok()) {
            continue;
        }
        description.add(path.rsplit('.').next().unwrap_or(path), entry.value);
    }
    description.report(ctx, sink);
}
