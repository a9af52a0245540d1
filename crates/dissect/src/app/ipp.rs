//! IPP (RFC 8010, RFC 8011) inside HTTP: printer attributes of responses.

use model::observation::IdentifierKind;

use crate::text::clean;
use crate::{About, Malformed, Reader, Sink, identity};

/// Attributes of one message that are looked at.
const ATTRIBUTES_MAX: usize = 1024;

/// A response of a printer: the printer group is about the sender.
pub(super) fn response(bytes: &[u8], sink: &mut dyn Sink) {
    let _ = attributes(bytes, &mut |name, value| {
        let field = match name {
            b"printer-make-and-model" => "ipp.make_and_model",
            b"printer-firmware-string-version" => "ipp.firmware",
            b"printer-firmware-name" => "ipp.firmware_name",
            b"printer-device-id" => return device_id(value, sink),
            b"printer-info" => "ipp.info",
            b"printer-name" => "ipp.name",
            b"printer-dns-sd-name" => "ipp.dns_sd_name",
            b"printer-serial-number" => "ipp.serial",
            b"printer-uuid" => {
                let uuid = identity::uuid(&clean(value)).unwrap_or_default();
                return sink.identifier(About::Sender, "ipp.uuid", IdentifierKind::Uuid, uuid);
            }
            _ => return,
        };
        sink.says(field, clean(value));
    });
}

/// A response of a print server: the printers behind its queues, not the server.
pub(super) fn queue(bytes: &[u8], sink: &mut dyn Sink) {
    let _ = attributes(bytes, &mut |name, value| {
        if name == b"printer-make-and-model" {
            sink.says("ipp.queue", clean(value));
        }
    });
}

/// IEEE 1284 device id: `MFG:HP;MDL:LaserJet 4250;SN:CNBX…;FW:…;`.
pub(super) fn device_id(value: &[u8], sink: &mut dyn Sink) {
    let text = clean(value);
    sink.says("ipp.device_id", &*text);
    for pair in text.split(';').take(32) {
        let (name, value) = pair.split_once(':').unwrap_or_default();
        let value = value.trim();
        match name.trim().to_ascii_uppercase().as_str() {
            "SN" | "SERN" | "SERIALNUMBER" if value.len() >= 5 => {
                sink.identifier(About::Sender, "ipp.device_id", IdentifierKind::Serial, value);
            }
            "FW" | "FWVER" | "FWV" => sink.says("ipp.firmware", value),
            _ => {}
        }
    }
}

/// Visits name and value of the printer attributes of a response, first values only.
fn attributes(bytes: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Malformed> {
    /// RFC 8010 §3.5.1.
    const PRINTER_GROUP: u8 = 0x04;
    const END: u8 = 0x03;
    let mut r = Reader::new(bytes);
    let major = r.u8()?;
    r.skip(7)?;
    if !matches!(major, 1 | 2) {
        return Err(Malformed::NotMine);
    }
    let mut group = 0;
    for _ in 0..ATTRIBUTES_MAX {
        match r.u8()? {
            END => return Ok(()),
            tag @ 0..=0x0f => group = tag,
            tag => {
                let name_length = usize::from(r.u16_be()?);
                let name = r.take(name_length)?;
                let value_length = usize::from(r.u16_be()?);
                let value = r.take(value_length)?;
                // Text and name, with or without language, keyword, uri (§3.5.2).
                let textual = matches!(tag, 0x30 | 0x35 | 0x36 | 0x41..=0x49);
                if group == PRINTER_GROUP && textual && !name.is_empty() {
                    visit(name, without_language(tag, value));
                }
            }
        }
    }
    Err(Malformed::Limit)
}

/// `textWithLanguage` and `nameWithLanguage` hold two strings, the language first.
fn without_language(tag: u8, value: &[u8]) -> &[u8] {
    if !matches!(tag, 0x35 | 0x36) {
        return value;
    }
    let mut r = Reader::new(value);
    let text = r.u16_be().and_then(|n| r.skip(usize::from(n))).and_then(|()| r.u16_be());
    match text {
        Ok(length) => r.take_up_to(usize::from(length)),
        Err(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Recorder;

    fn attribute(tag: u8, name: &str, value: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        bytes.extend(value);
        bytes
    }

    fn answer() -> Vec<u8> {
        [
            vec![1, 1, 0, 0, 0, 0, 0, 1, 0x01],
            attribute(0x47, "attributes-charset", b"utf-8"),
            attribute(0x41, "printer-info", b"not in the printer group"),
            vec![0x04],
            attribute(0x41, "printer-make-and-model", b"Example LaserPrint 3000"),
            attribute(0x35, "printer-info", b"\0\x02en\0\x05Front"),
            attribute(0x41, "printer-device-id", b"MFG:Example;MDL:LP3000;SN:ABC12345;FW:2.1;"),
            attribute(0x45, "printer-uuid", b"urn:uuid:4509A320-00A0-008F-00B6-002507510ECA"),
            attribute(0x21, "printer-name", b"\0\0\0\x01"),
            vec![0x03],
        ]
        .concat()
    }

    #[test]
    fn a_printer_describes_itself() {
        let mut facts = Recorder::default();
        response(&answer(), &mut facts);
        assert_eq!(
            facts.text(),
            "sender says ipp.make_and_model = Example LaserPrint 3000\n\
             sender says ipp.info = Front\n\
             sender says ipp.device_id = MFG:Example;MDL:LP3000;SN:ABC12345;FW:2.1;\n\
             sender is Serial ABC12345 (ipp.device_id)\n\
             sender says ipp.firmware = 2.1\n\
             sender is Uuid 4509a320-00a0-008f-00b6-002507510eca (ipp.uuid)"
        );
    }

    #[test]
    fn a_print_server_is_not_its_printers() {
        let mut facts = Recorder::default();
        queue(&answer(), &mut facts);
        assert_eq!(facts.text(), "sender says ipp.queue = Example LaserPrint 3000");
    }

    #[test]
    fn cuts_keep_what_was_read() {
        let whole = answer();
        for end in 0..whole.len() {
            let mut facts = Recorder::default();
            response(&whole[..end], &mut facts);
            assert!(facts.lines.len() <= 6);
        }
        assert_eq!(attributes(b"GET / HTTP/1.1", &mut |_, _| ()), Err(Malformed::NotMine));
    }
}
