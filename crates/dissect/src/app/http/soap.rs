//! XML answers: ONVIF, HNAP and UPnP actions in SOAP, device descriptions, makers' own documents.

use model::observation::IdentifierKind;

use crate::scan::xml;
use crate::text::find;
use crate::{About, Ctx, Sink};

use super::super::identity::{Description, own_mac};

/// An XML body of a response.
pub(super) fn document(content: &[u8], ctx: &Ctx, sink: &mut dyn Sink) {
    let has = |name: &str| find(content, name.as_bytes()).is_some();
    if has("urn:schemas-upnp-org:device-1-0") || has("ThisModel") {
        crate::names::upnp::description(content, sink);
    } else if has("GetDeviceInformationResponse") {
        onvif(content, sink);
    } else if has("GetNetworkInterfacesResponse") && has("onvif") {
        for address in xml::leaves(content).filter(|leaf| leaf.name == b"HwAddress").take(8) {
            own_mac("onvif_device.mac", &address.text(), sink);
        }
    } else if has("GetDeviceSettingsResponse") {
        hnap(content, sink);
    } else if xml::root(content) == Some(b"Envelope") {
        action(content, ctx, sink);
    } else {
        description(content, ctx, sink);
    }
}

/// ONVIF Device Management §8.1.2 (GetDeviceInformation).
fn onvif(content: &[u8], sink: &mut dyn Sink) {
    let of = |name| xml::text_of(content, name).unwrap_or_default();
    sink.says("onvif_device.manufacturer", of("Manufacturer"));
    sink.says("onvif_device.model", of("Model"));
    sink.says("onvif_device.firmware", of("FirmwareVersion"));
    sink.says("onvif_device.hardware", of("HardwareId"));
    sink.says("onvif_device.serial", of("SerialNumber"));
    let serial = of("SerialNumber");
    if serial.len() >= 5 {
        sink.identifier(About::Sender, "onvif_device.serial", IdentifierKind::Serial, serial);
    }
}

/// Home Network Administration Protocol: GetDeviceSettings.
fn hnap(content: &[u8], sink: &mut dyn Sink) {
    for (field, name) in [
        ("hnap.vendor", "VendorName"),
        ("hnap.model", "ModelName"),
        ("hnap.firmware", "FirmwareVersion"),
        ("hnap.hardware", "HardwareVersion"),
        ("hnap.name", "DeviceName"),
        ("hnap.description", "ModelDescription"),
    ] {
        sink.says(field, xml::text_of(content, name).unwrap_or_default());
    }
    let mac = xml::text_of(content, "DeviceMacId").unwrap_or_default();
    own_mac("hnap.mac", &mac, sink);
}

/// An answer to a UPnP action: arguments may be called `NewModelName` (TR-064) or `ModelName`.
fn action(content: &[u8], ctx: &Ctx, sink: &mut dyn Sink) {
    let mut found = Description::default();
    for leaf in xml::leaves(content) {
        let name = String::from_utf8_lossy(leaf.name);
        let text = leaf.text();
        match name.as_ref() {
            // A speaker and a plug answer with one version each: no model beside it.
            "SoftwareVersion" | "FirmwareVersion" if super::super::is_local(ctx) => {
                sink.says("upnp_action.firmware", text.clone());
            }
            _ => {}
        }
        found.add(name.strip_prefix("New").unwrap_or(&name), &text);
    }
    found.report(ctx, sink);
}

/// Any document that describes the device that serves it (Roku `device-info`, ISAPI `DeviceInfo`).
fn description(content: &[u8], ctx: &Ctx, sink: &mut dyn Sink) {
    let mut found = Description::default();
    for leaf in xml::leaves(content) {
        found.add(&String::from_utf8_lossy(leaf.name), &leaf.text());
    }
    found.report(ctx, sink);
}
