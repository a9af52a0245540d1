//! Descriptions in XML that devices serve over HTTP: UPnP device descriptions (UPnP Device
//! Architecture 2.0 §2.3) and WS-Discovery metadata (Devices Profile for Web Services §5). The
//! HTTP dissector hands the bodies over.

use model::observation::IdentifierKind;

use crate::identity;
use crate::scan::xml;
use crate::{About, Sink};

/// Reports what the sender of this document says about itself. Documents of other kinds report
/// nothing; damaged ones what stands before the damage.
pub(crate) fn description(body: &[u8], sink: &mut dyn Sink) {
    let mut manufacturer = String::new();
    xml::scan(body, |node| {
        let xml::Node::Leaf(path, leaf) = node else { return };
        let field = match path {
            // Embedded devices stand deeper: only the root device identifies.
            [root, device, tag] if *root == b"root" && *device == b"device" => upnp_field(tag),
            [.., part, tag] if matches!(*part, b"ThisDevice" | b"ThisModel") => wsd_field(tag),
            _ => None,
        };
        let Some(field) = field else { return };
        let value = leaf.text();
        if field.ends_with(".manufacturer") {
            manufacturer = value.to_string();
        }
        match field {
            "upnp.udn" => {
                let uuid = identity::uuid(&value).unwrap_or_default();
                sink.identifier(About::Sender, field, IdentifierKind::Uuid, uuid);
            }
            "upnp.mac" => {
                let mac = identity::mac(&value).map(|mac| mac.to_string());
                let mac = mac.unwrap_or_default();
                sink.identifier(About::Sender, field, IdentifierKind::Mac, mac);
                return;
            }
            "upnp.serial_number" | "wsd.serial"
                if is_serial(&value) && !manufacturer.is_empty() =>
            {
                let serial = format!("{manufacturer}/{value}");
                sink.identifier(About::Sender, field, IdentifierKind::Serial, serial);
            }
            _ => {}
        }
        sink.says(field, value);
    });
}

/// A number that can tell units apart: not a placeholder of the development kit.
fn is_serial(text: &str) -> bool {
    let mut kinds: Vec<char> = text.chars().filter(char::is_ascii_alphanumeric).collect();
    let (length, digits) = (kinds.len(), kinds.iter().any(char::is_ascii_digit));
    kinds.sort_unstable();
    kinds.dedup();
    length >= 6 && digits && kinds.len() >= 3 && !"12345678901234567890".contains(text)
}

fn upnp_field(tag: &[u8]) -> Option<&'static str> {
    Some(match tag {
        b"deviceType" => "upnp.device_type",
        b"friendlyName" => "upnp.friendly_name",
        b"manufacturer" => "upnp.manufacturer",
        b"manufacturerURL" => "upnp.manufacturer_url",
        b"modelName" => "upnp.model_name",
        b"modelNumber" => "upnp.model_number",
        b"modelDescription" => "upnp.model_description",
        b"modelURL" => "upnp.model_url",
        b"displayName" => "upnp.display_name",
        b"serialNumber" | b"serialNum" => "upnp.serial_number",
        b"UDN" => "upnp.udn",
        b"UPC" => "upnp.upc",
        b"macAddress" | b"MACAddress" | b"mac" => "upnp.mac",
        b"firmwareVersion" | b"softwareVersion" | b"swversion" | b"firmware" | b"swVersion"
        | b"displayVersion" | b"software_version" | b"softwareBuild" => "upnp.firmware",
        b"hardwareVersion" | b"hwVersion" | b"hardware_version" => "upnp.hardware",
        b"presentationURL" => "upnp.presentation_url",
        b"X_hardwareId" | b"X_deviceCategory" => "upnp.windows_hardware_id",
        b"roomName" => "upnp.room",
        _ => return None,
    })
}

fn wsd_field(tag: &[u8]) -> Option<&'static str> {
    Some(match tag {
        b"FriendlyName" => "wsd.friendly_name",
        b"FirmwareVersion" => "wsd.firmware",
        b"SerialNumber" => "wsd.serial",
        b"Manufacturer" => "wsd.manufacturer",
        b"ModelName" => "wsd.model_name",
        b"ModelNumber" => "wsd.model_number",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Recorder;

    fn check(xml: &str, expect: &str) {
        let mut sink = Recorder::default();
        description(xml.as_bytes(), &mut sink);
        assert_eq!(sink.text(), expect, "{xml}");
    }

    #[test]
    fn only_the_root_device_identifies() {
        check(
            r#"<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major></specVersion>
            <device><deviceType>urn:Belkin:device:insight:1</deviceType><friendlyName>Fan &amp; Light</friendlyName>
            <manufacturer>Belkin</manufacturer><modelName>Insight</modelName><serialNumber>221542K1200339</serialNumber>
            <UDN>uuid:Insight-1_0-221542K1200339</UDN><macAddress>94103E41C205</macAddress>
            <firmwareVersion>WeMo_WW_2.00.8326</firmwareVersion>
            <deviceList><device><modelName>Part</modelName></device></deviceList></device></root>"#,
            "sender says upnp.device_type = urn:Belkin:device:insight:1\n\
             sender says upnp.friendly_name = Fan & Light\n\
             sender says upnp.manufacturer = Belkin\n\
             sender says upnp.model_name = Insight\n\
             sender is Serial Belkin/221542K1200339 (upnp.serial_number)\n\
             sender says upnp.serial_number = 221542K1200339\n\
             sender is Uuid Insight-1_0-221542K1200339 (upnp.udn)\n\
             sender says upnp.udn = uuid:Insight-1_0-221542K1200339\n\
             sender is Mac 94:10:3e:41:c2:05 (upnp.mac)\n\
             sender says upnp.firmware = WeMo_WW_2.00.8326",
        );
    }

    #[test]
    fn metadata_over_soap() {
        check(
            "<e><Body><m:ThisModel><m:Manufacturer>Brother</m:Manufacturer><m:ModelName>HL-L2340D</m:ModelName></m:ThisModel>",
            "sender says wsd.manufacturer = Brother\nsender says wsd.model_name = HL-L2340D",
        );
    }

    #[test]
    fn other_documents_and_placeholders() {
        check("<html><head><title>x</title></head></html>", "");
        check(
            "<root><device><serialNumber>12345678</serialNumber></device>",
            "sender says upnp.serial_number = 12345678",
        );
        for text in ["", "none", "000000000", "123456789", "abcdef", "1212121212"] {
            assert!(!is_serial(text), "{text}");
        }
    }
}
