//! NTLMSSP (MS-NLMP): names and Windows version, wherever the token travels.

use crate::text::{clean, utf16_le};
use crate::{Malformed, Reader, Sink};

const SIGNATURE: &[u8] = b"NTLMSSP\0";
/// How far into a security blob the token may begin.
const SEARCH_BYTES_MAX: usize = 4096;
const UNICODE: u32 = 0x0000_0001;
const VERSION: u32 = 0x0200_0000;

/// Looks for a token and reports what its sender says about itself.
pub(super) fn find(bytes: &[u8], sink: &mut dyn Sink) {
    let head = bytes.get(..bytes.len().min(SEARCH_BYTES_MAX)).unwrap_or(bytes);
    if let Some(at) = crate::text::find(head, SIGNATURE) {
        let _ = token(bytes.get(at..).unwrap_or_default(), sink);
    }
}

fn token(token: &[u8], sink: &mut dyn Sink) -> Result<(), Malformed> {
    let mut r = Reader::new(token);
    r.skip(8)?;
    match r.u32_le()? {
        1 => negotiate(token, r, sink),
        2 => challenge(token, r, sink),
        3 => authenticate(token, r, sink),
        _ => Err(Malformed::Invalid),
    }
}

/// NEGOTIATE_MESSAGE (§2.2.1.1): names here are in the OEM character set.
fn negotiate(token: &[u8], mut r: Reader<'_>, sink: &mut dyn Sink) -> Result<(), Malformed> {
    let flags = r.u32_le()?;
    let domain = field(token, &mut r)?;
    let workstation = field(token, &mut r)?;
    sink.says("ntlm.domain", clean(domain));
    sink.says("ntlm.computer", clean(workstation));
    version(flags, r, sink)
}

/// CHALLENGE_MESSAGE (§2.2.1.2) with its target information (§2.2.2.1).
fn challenge(token: &[u8], mut r: Reader<'_>, sink: &mut dyn Sink) -> Result<(), Malformed> {
    let target = field(token, &mut r)?;
    let flags = r.u32_le()?;
    sink.says("ntlm.target", text(target, flags));
    r.skip(16)?;
    let information = field(token, &mut r)?;
    let mut pairs = Reader::new(information);
    for _ in 0..16 {
        let (Ok(id), Ok(length)) = (pairs.u16_le(), pairs.u16_le()) else {
            break;
        };
        let value = pairs.take_up_to(usize::from(length));
        let name = match id {
            0 => break,
            1 => "ntlm.computer",
            2 => "ntlm.domain",
            3 => "ntlm.dns_computer",
            4 => "ntlm.dns_domain",
            _ => continue,
        };
        sink.says(name, utf16_le(value));
    }
    version(flags, r, sink)
}

/// AUTHENTICATE_MESSAGE (§2.2.1.3). The user is a person, not the device: not reported.
fn authenticate(token: &[u8], mut r: Reader<'_>, sink: &mut dyn Sink) -> Result<(), Malformed> {
    r.skip(16)?;
    let domain = field(token, &mut r)?;
    r.skip(8)?;
    let workstation = field(token, &mut r)?;
    r.skip(8)?;
    let flags = r.u32_le()?;
    sink.says("ntlm.domain", text(domain, flags));
    sink.says("ntlm.computer", text(workstation, flags));
    version(flags, r, sink)
}

/// Length, allocation and offset of a payload field (§2.2.1).
fn field<'a>(token: &'a [u8], r: &mut Reader<'_>) -> Result<&'a [u8], Malformed> {
    let length = usize::from(r.u16_le()?);
    r.skip(2)?;
    let offset = usize::try_from(r.u32_le()?).map_err(|_| Malformed::Limit)?;
    let end = offset.checked_add(length).ok_or(Malformed::Limit)?;
    Ok(token.get(offset..end).unwrap_or_default())
}

fn text(bytes: &[u8], flags: u32) -> String {
    if flags & UNICODE != 0 { utf16_le(bytes) } else { clean(bytes).into_owned() }
}

/// VERSION (§2.2.2.10): major, minor, build.
fn version(flags: u32, mut r: Reader<'_>, sink: &mut dyn Sink) -> Result<(), Malformed> {
    if flags & VERSION != 0 {
        let (major, minor, build) = (r.u8()?, r.u8()?, r.u16_le()?);
        if (3..=20).contains(&major) {
            sink.says("ntlm.os_version", format!("{major}.{minor}.{build}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Recorder, unhex};

    fn check(hex: &str, expect: &str) {
        let mut facts = Recorder::default();
        find(&unhex(hex), &mut facts);
        assert_eq!(facts.text(), expect);
    }

    #[test]
    fn a_challenge_names_the_server() {
        check(
            "6082                       # some wrapping
             4e544c4d53535000 02000000
             0400 0400 38000000         # target name
             01000002                   # unicode, version
             0102030405060708 0000000000000000
             1800 1800 3c000000         # target information
             0501280a 0000000f          # 5.1.2600
             46004400                   # FD
             0200 0400 46004400         # domain FD
             0300 0800 70006300 31002e00 # dns computer pc1.
             0000 0000",
            "sender says ntlm.target = FD\n\
             sender says ntlm.domain = FD\n\
             sender says ntlm.dns_computer = pc1.\n\
             sender says ntlm.os_version = 5.1.2600",
        );
    }

    #[test]
    fn an_authenticate_names_the_client() {
        check(
            "4e544c4d53535000 03000000
             0000 0000 00000000  0000 0000 00000000
             0200 0200 40000000  0200 0200 42000000  0300 0300 44000000
             0000 0000 00000000  00000000
             4142 5553 504331",
            "sender says ntlm.domain = AB\nsender says ntlm.computer = PC1",
        );
    }

    #[test]
    fn cuts_and_lies() {
        check("4e544c4d53535000", "");
        check("4e544c4d53535000 09000000", "");
        check("4e544c4d53535000 02000000 ffffffff ffffffff 01000000", "");
    }
}
