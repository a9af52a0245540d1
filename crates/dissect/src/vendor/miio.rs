//! Xiaomi miIO (UDP 54321): every message of a device carries its device id in the clear.

use super::own_id;
use crate::{Ctx, Malformed, Outcome, Reader, Sink};

/// Magic and a length that fits.
pub(super) fn probe(bytes: &[u8]) -> bool {
    header(bytes).is_ok()
}

/// Header of 32 bytes: magic, length, unknown, device id, stamp, checksum. The checksum of a hello
/// answer may be the device's token and is never looked at.
pub(super) fn run(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let device = header(payload)?;
    // An app puts the id of the device it talks to, or all ones in a hello.
    if ctx.src.port == 54321 && !matches!(device, 0 | u32::MAX) {
        own_id(sink, "miio.did", "miio", &device.to_string());
    }
    Ok(())
}

fn header(bytes: &[u8]) -> Result<u32, Malformed> {
    let mut r = Reader::new(bytes);
    if bytes.len() < 32 || r.u16_be()? != 0x2131 || usize::from(r.u16_be()?) != bytes.len() {
        return Err(Malformed::NotMine);
    }
    r.skip(4)?;
    r.u32_be()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::unhex;
    use crate::vendor::tests::check;

    #[test]
    fn only_a_device_states_its_id() {
        let answer = unhex("2131 0020 00000000 0a1b2c3d 00000064 ffffffffffffffffffffffffffffffff");
        let expect =
            ["sender says miio.did = 169552957", "sender is VendorId miio:169552957 (miio.did)"];
        check(run, (54321, 40000), &answer, Ok(&expect));
        check(run, (40000, 54321), &answer, Ok(&[]));
        let hello = [&unhex("2131 0020")[..], &[0xff; 28]].concat();
        check(run, (54321, 54321), &hello, Ok(&[]));
        check(run, (54321, 40000), &answer[..30], Err(Malformed::NotMine));
    }
}
