//! PCCC in CIP (class 0x67): PLC-5, SLC 500 and MicroLogix controllers.
//!
//! Allen-Bradley DF1 Protocol and Command Set, publication 1770-6.5.16, chapters 7 and 10.

use super::wire::name;
use crate::fields::{Field, field};
use crate::{About, Malformed, Outcome, Reader, Sink};

pub(super) const FIELDS: &[Field] = &[
    field("pccc.catalog", "catalogue string in the answer to diagnostic status, as `1766-LEC`"),
    field("pccc.series", "series letter in the same answer"),
    field("pccc.revision", "revision letter in the same answer"),
];

/// The PCCC object.
pub(super) const CLASS: u16 = 0x67;
/// Its service Execute PCCC.
pub(super) const EXECUTE: u8 = 0x4b;
/// Command 06, function 03.
pub(super) const DIAGNOSTIC_STATUS: u16 = 0x0603;

/// Command and function of a request.
pub(super) fn function(body: &[u8]) -> Result<u16, Malformed> {
    let mut r = requestor(body)?;
    let command = r.u8()?;
    r.skip(3)?; // Status, transaction.
    Ok(u16::from_be_bytes([command, r.u8()?]))
}

/// Passes over the requestor's id: its length, vendor and serial number.
fn requestor(body: &[u8]) -> Result<Reader<'_>, Malformed> {
    let mut r = Reader::new(body);
    let length = r.u8()?;
    r.skip(usize::from(length.max(1) - 1))?;
    Ok(r)
}

/// The answer of SLC 500 and MicroLogix: mode, three type bytes, series and revision, catalogue.
pub(super) fn diagnostic_status(body: &[u8], about: About<'_>, sink: &mut dyn Sink) -> Outcome {
    let mut r = requestor(body)?;
    if r.u8()? != 0x46 || r.u8()? != 0 {
        return Err(Malformed::Invalid);
    }
    r.skip(2 + 1)?; // Transaction; mode.
    if r.u8()? != 0xee {
        return Ok(()); // No extended types: a PLC-5, whose layout has no text.
    }
    r.skip(2)?; // Interface and processor type.
    let version = r.u8()?;
    let catalog = name(r.take(11)?);
    if catalog.is_empty() {
        return Ok(());
    }
    sink.about(about.clone(), "pccc.catalog", catalog);
    let letter = |n: u8| char::from(b'A' + n.min(25)).to_string();
    sink.about(about.clone(), "pccc.series", letter(version >> 5));
    sink.about(about, "pccc.revision", letter(version & 0x1f));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Recorder, unhex};

    #[test]
    fn a_micrologix_names_itself() {
        let request = unhex("07 0100 78563412 06 00 0100 03");
        assert_eq!(function(&request), Ok(DIAGNOSTIC_STATUS));
        let mut facts = Recorder::default();
        let answer =
            unhex("07 0100 78563412 46 00 0100  06 ee 4c 9c 22 313736362d4c4543202020 0000");
        assert_eq!(diagnostic_status(&answer, About::Sender, &mut facts), Ok(()));
        assert_eq!(
            facts.lines,
            [
                "sender says pccc.catalog = 1766-LEC",
                "sender says pccc.series = B",
                "sender says pccc.revision = C",
            ]
        );
        assert_eq!(function(&request[..9]), Err(Malformed::Truncated));
    }
}
