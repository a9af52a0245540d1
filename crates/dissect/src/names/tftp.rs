//! TFTP requests (RFC 1350 §5, options RFC 2347): which file a device asks for, and firmware that
//! travels in clear and unsigned by the protocol.

use model::observation::EventKind;

use crate::{About, Ctx, Malformed, Outcome, Reader, Sink, text};

const READ: u16 = 1;
const WRITE: u16 = 2;

/// Endings of firmware images, and words that name them.
const ENDINGS: &[&str] = &[
    ".bin",
    ".img",
    ".fw",
    ".upg",
    ".rom",
    ".chk",
    ".trx",
    ".ubi",
    ".squashfs",
    ".uimage",
    ".itb",
    ".rbi",
    ".sbn",
    ".loads",
    ".pkg",
    ".stk",
    ".tar",
    ".swi",
    ".ros",
    ".npk",
    ".efi",
    ".hex",
];
const WORDS: &[&str] = &["firmware", "upgrade", "uimage", "vmlinu", "zimage", "rootfs"];

/// Reads one datagram; data and acknowledgements run between other ports and say nothing.
pub(super) fn run(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(payload);
    let operation = r.u16_be()?;
    if !matches!(operation, READ | WRITE) || ctx.dst.port != 69 {
        return Err(Malformed::NotMine);
    }
    let mut strings = r.rest().split(|b| *b == 0);
    let file = text::clean(strings.next().unwrap_or_default());
    let mode = strings.next().unwrap_or_default().to_ascii_lowercase();
    if !text::is_name(&file) || !matches!(mode.as_slice(), b"octet" | b"netascii" | b"mail") {
        return Err(Malformed::Invalid);
    }
    let is_firmware = is_firmware(&file);
    sink.says("tftp.file", file.as_ref());
    sink.says("tftp.operation", if operation == READ { "read" } else { "write" });
    // Option names in order: boot loaders differ in them.
    let options: Vec<_> = (strings.step_by(2).take(8))
        .map(|name| text::clean(name).to_lowercase())
        .filter(|name| !name.is_empty())
        .collect();
    sink.says("tftp.options", options.join(","));
    if is_firmware {
        let (who, verb) = match operation {
            READ => (About::Sender, "asks for"),
            _ => (About::Receiver, "is sent"),
        };
        let detail = format!("{verb} firmware {file} over TFTP");
        sink.event(who, EventKind::FirmwareTransfer, detail);
    }
    Ok(())
}

fn is_firmware(file: &str) -> bool {
    let file = file.to_lowercase();
    let name = file.rsplit(['/', '\\']).next().unwrap_or_default();
    ENDINGS.iter().any(|e| name.ends_with(e)) || WORDS.iter().any(|w| name.contains(w))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{ctx, facts_of};

    fn check(bytes: &[u8], expect: Result<&str, Malformed>) {
        assert_eq!(facts_of(run, bytes, &ctx(40000, 69, Role::Client)), expect.map(str::to_owned));
    }

    #[test]
    fn requests_name_files() {
        check(
            b"\0\x01/update.sh\0octet\0",
            Ok("sender says tftp.file = /update.sh\nsender says tftp.operation = read"),
        );
        check(
            b"\0\x01c2960-lanbase.bin\0OCTET\0blksize\x001468\0tsize\x000\0",
            Ok("sender says tftp.file = c2960-lanbase.bin\n\
                sender says tftp.operation = read\n\
                sender says tftp.options = blksize,tsize\n\
                sender event FirmwareTransfer: asks for firmware c2960-lanbase.bin over TFTP"),
        );
        check(
            b"\0\x02images\\Firmware_2\0octet\0",
            Ok("sender says tftp.file = images\\Firmware_2\n\
                sender says tftp.operation = write\n\
                receiver event FirmwareTransfer: is sent firmware images\\Firmware_2 over TFTP"),
        );
    }

    #[test]
    fn damage() {
        check(b"\0", Err(Malformed::Truncated));
        check(b"\0\x03\0\x01data", Err(Malformed::NotMine));
        check(b"\0\x01file", Err(Malformed::Invalid));
        check(b"\0\x01\0octet\0", Err(Malformed::Invalid));
        check(b"\0\x01f\xff\x01\0octet\0", Err(Malformed::Invalid));
    }
}
