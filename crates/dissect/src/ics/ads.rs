//! Beckhoff ADS over AMS (Beckhoff Information System, "ADS/AMS specification"): TCP 48898, and
//! the discovery on UDP 48899.

use model::observation::{EventKind, IdentifierKind};

use super::wire::{key, name, next_message, once, once_of, say_role};
use crate::fields::{Field, field};
use crate::scan::xml::text_of;
use crate::{About, Ctx, Malformed, Outcome, Probe, Reader, Role, Sink, Step};

pub(super) const FIELDS: &[Field] = &[
    field("ads.role", "`client` or `server`"),
    field("ads.net_id", "AMS NetId of the sender, as `5.13.117.96.1.1`"),
    field("ads.device_name", "name in an answer to ReadDeviceInfo, as `PLC Server`"),
    field("ads.version", "version of the server named in an answer to ReadDeviceInfo"),
    field("ads.release", "TwinCAT release of ReadDeviceInfo, as `2.11`: one for all its servers"),
    field("ads.target_type", "TargetType of the target description, as `CX1020-CE`"),
    field("ads.twincat_version", "TwinCAT version of target description or discovery"),
    field("ads.hostname", "host name in a discovery answer"),
    field("ads.os_version", "operating system in a discovery answer, as `Windows 10.0.17763`"),
];

pub(super) const PORTS: &[u16] = &[48898];
pub(super) const DISCOVERY_PORTS: &[u16] = &[48899];

const MEMORY: u8 = b'a';
const HEADER: usize = 6 + 32;
const READ_DEVICE_INFO: u16 = 1;
const READ: u16 = 2;

struct Ams<'a> {
    source: [u8; 6],
    command: u16,
    answer: bool,
    error: u32,
    data: &'a [u8],
}

/// Length of the whole message when the headers agree.
fn length(bytes: &[u8]) -> Result<usize, Malformed> {
    let mut r = Reader::new(bytes);
    if r.u16_le()? != 0 {
        return Err(Malformed::NotMine);
    }
    let tcp = r.u32_le()?;
    r.skip(16)?;
    let command = r.u16_le()?;
    let flags = r.u16_le()?;
    let ams = r.u32_le()?;
    // Commands 0 to 9; bit 2 of the flags: an ADS command.
    if command > 9 || flags & 0x0004 == 0 || ams.checked_add(32) != Some(tcp) || tcp > 0x10_0000 {
        return Err(Malformed::NotMine);
    }
    usize::try_from(tcp).map(|n| n + 6).map_err(|_| Malformed::Limit)
}

/// Two lengths that agree are signature enough.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    match length(bytes) {
        Ok(_) => Probe::Yes,
        Err(Malformed::Truncated) if bytes.starts_with(&[0, 0]) => Probe::Maybe,
        Err(_) => Probe::No,
    }
}

/// Reads one AMS/TCP message.
pub(super) fn run(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    let (message, step) = match next_message(bytes, length(bytes)) {
        Ok(whole) => whole,
        Err(step) => return step,
    };
    if let Ok(ams) = header(message) {
        let _ = ads(&ams, sink);
    }
    step
}

fn header(message: &[u8]) -> Result<Ams<'_>, Malformed> {
    let mut r = Reader::new(message);
    r.skip(6 + 8)?;
    let source = r.array()?;
    r.skip(2)?;
    let command = r.u16_le()?;
    let flags = r.u16_le()?;
    r.skip(4)?;
    let error = r.u32_le()?;
    Ok(Ams {
        source,
        command,
        answer: flags & 1 != 0,
        error,
        data: message.get(HEADER..).unwrap_or_default(),
    })
}

fn ads(ams: &Ams<'_>, sink: &mut dyn Sink) -> Outcome {
    let role = if ams.answer { Role::Server } else { Role::Client };
    say_role(sink, "ads.role", MEMORY, role);
    say_net_id(ams.source, u8::from(ams.answer), sink);
    if !ams.answer || ams.error != 0 {
        return Ok(());
    }
    let mut r = Reader::new(ams.data);
    if r.u32_le()? != 0 {
        return Ok(());
    }
    match ams.command {
        READ_DEVICE_INFO => {
            let (major, minor) = (r.u8()?, r.u8()?);
            let build = r.u16_le()?;
            sink.says("ads.release", format!("{major}.{minor}"));
            sink.says("ads.version", format!("{major}.{minor}.{build}"));
            sink.says("ads.device_name", name(r.take_up_to(16)));
        }
        READ => {
            let length = r.u32_le()?;
            let body = r.take_up_to(usize::try_from(length).unwrap_or(usize::MAX));
            target_description(body, sink);
        }
        _ => {}
    }
    Ok(())
}

fn net_id(id: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = id;
    format!("{a}.{b}.{c}.{d}.{e}.{f}")
}

/// The id of a system ends in `.1.1`; other endings are its fieldbus masters.
fn say_net_id(id: [u8; 6], which: u8, sink: &mut dyn Sink) {
    if !id.ends_with(&[1, 1]) || id.starts_with(&[0, 0, 0, 0]) || id.starts_with(&[127, 0, 0, 1]) {
        return;
    }
    if once_of(sink, key(MEMORY, b'n', 0), which) {
        let text = net_id(id);
        sink.says("ads.net_id", text.as_str());
        let kind = IdentifierKind::VendorId;
        sink.identifier(About::Sender, "ads.net_id", kind, format!("ams:{text}"));
    }
}

/// The XML that index group 700 holds: `<TcTargetDesc><TargetType>…`.
fn target_description(body: &[u8], sink: &mut dyn Sink) {
    if !body.starts_with(b"<TcTargetDesc") || !once(sink, key(MEMORY, b'd', 0)) {
        return;
    }
    sink.says("ads.target_type", text_of(body, "TargetType").unwrap_or_default());
    let parts: Vec<_> = ["Version", "Revision", "Build"]
        .iter()
        .map_while(|tag| text_of(body, tag))
        .filter(|part| part.bytes().all(|b| b.is_ascii_digit()))
        .collect();
    if parts.len() > 1 {
        sink.says("ads.twincat_version", parts.join("."));
    }
}

/// Reads one message of the discovery service: only answers to "identify" describe their sender.
pub(super) fn discovery(bytes: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(bytes);
    if r.u32_le()? != 0x7114_6603 {
        return Err(Malformed::NotMine);
    }
    r.skip(4)?;
    let service = r.u32_le()?;
    let id: [u8; 6] = r.array()?;
    r.skip(2)?;
    if service == 1 {
        sink.says("ads.role", "client");
        say_net_id(id, 0, sink);
    }
    if service == 6 {
        return add_route(&mut r, sink);
    }
    if service != 0x8000_0001 {
        return Ok(());
    }
    say_net_id(id, 1, sink);
    for _ in 0..r.u32_le()?.min(16) {
        let tag = r.u16_le()?;
        let length = r.u16_le()?;
        let value = r.take(usize::from(length))?;
        match (tag, value) {
            (5, host) => sink.says("ads.hostname", name(host)),
            (3, [major, minor, low, high, ..]) => {
                let build = u16::from_le_bytes([*low, *high]);
                sink.says("ads.twincat_version", format!("{major}.{minor}.{build}"));
            }
            (4, version) => os_version(version, sink)?,
            _ => {}
        }
    }
    Ok(())
}

/// "Add route" opens a controller to its sender, with a user's name and password in clear text.
fn add_route(r: &mut Reader<'_>, sink: &mut dyn Sink) -> Outcome {
    let what = "ADS route registration";
    sink.event(About::Receiver, EventKind::ControlWrite, what);
    for _ in 0..r.u32_le()?.min(16) {
        let tag = r.u16_le()?;
        let length = r.u16_le()?;
        r.skip(usize::from(length))?;
        if tag == 2 {
            let kind = EventKind::CleartextCredential;
            sink.event(About::Sender, kind, "password of an ADS route registration");
        }
    }
    Ok(())
}

/// A Windows OSVERSIONINFO structure.
fn os_version(value: &[u8], sink: &mut dyn Sink) -> Outcome {
    let mut r = Reader::new(value);
    r.skip(4)?;
    let (major, minor, build) = (r.u32_le()?, r.u32_le()?, r.u32_le()?);
    let family = match r.u32_le()? {
        2 => "Windows",
        3 => "Windows CE",
        _ => return Ok(()),
    };
    sink.says("ads.os_version", format!("{family} {major}.{minor}.{build}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ics::wire::tests::{datagrams, dialogue};
    use crate::testing::{Recorder, ctx, hex, unhex};

    fn message(source: &str, command: u8, flags: u8, data: &str) -> String {
        let data = unhex(data);
        format!(
            "0000 {} 0a0000010101 2103 {source} 0180 {command:02x}00 {flags:02x}00 {} 00000000 07000000 {}",
            hex(&(data.len() as u32 + 32).to_le_bytes()),
            hex(&(data.len() as u32).to_le_bytes()),
            hex(&data)
        )
    }

    #[test]
    fn device_info_and_target_description() {
        let info =
            message("050d00010101", 1, 5, "00000000 02 0b 3708 504c4320536572766572000000000000");
        let xml = "<TcTargetDesc><TargetType>CX9-CE</TargetType><TargetVersion><Version>2</Version>\
                   <Revision>11</Revision><Build>2228</Build></TargetVersion>";
        let read =
            format!("00000000 {} {}", hex(&(xml.len() as u32).to_le_bytes()), hex(xml.as_bytes()));
        let facts = dialogue(
            run,
            48898,
            &[
                (Role::Client, &message("0a0000630101", 1, 4, "")),
                (Role::Server, &info),
                (Role::Server, &message("050d00010101", 2, 5, &read)),
            ],
        );
        let expect = [
            "sender says ads.role = client",
            "sender says ads.net_id = 10.0.0.99.1.1",
            "sender is VendorId ams:10.0.0.99.1.1 (ads.net_id)",
            "sender says ads.role = server",
            "sender says ads.net_id = 5.13.0.1.1.1",
            "sender is VendorId ams:5.13.0.1.1.1 (ads.net_id)",
            "sender says ads.release = 2.11",
            "sender says ads.version = 2.11.2103",
            "sender says ads.device_name = PLC Server",
            "sender says ads.target_type = CX9-CE",
            "sender says ads.twincat_version = 2.11.2228",
        ];
        assert_eq!(facts, expect.join("\n"));
    }

    #[test]
    fn discovery_answers() {
        let answer = "03661471 00000000 01000080 050d00010101 1027 03000000
            0500 0a00 43582d303030303031 00
            0400 1400 14010000 06000000 00000000 00000000 03000000
            0300 0400 03 01 b60f";
        let facts = datagrams(discovery, 48899, &[(Role::Server, answer)]);
        let expect = "sender says ads.net_id = 5.13.0.1.1.1\n\
            sender is VendorId ams:5.13.0.1.1.1 (ads.net_id)\n\
            sender says ads.hostname = CX-000001\n\
            sender says ads.os_version = Windows CE 6.0.0\n\
            sender says ads.twincat_version = 3.1.4022";
        assert_eq!(facts, Ok(expect.to_owned()));
        let other = datagrams(discovery, 48899, &[(Role::Client, "48462d413131415353495354")]);
        assert_eq!(other, Err(Malformed::NotMine));
    }

    #[test]
    fn route_registrations_are_control_and_show_a_password() {
        let add = "03661471 00000000 06000000 0a0000630101 1027 02000000
            0c00 0200 6100 0200 0600 736563726574";
        let facts = datagrams(discovery, 48899, &[(Role::Client, add)]);
        let expect = "receiver event ControlWrite: ADS route registration\n\
            sender event CleartextCredential: password of an ADS route registration";
        assert_eq!(facts, Ok(expect.to_owned()));
    }

    #[test]
    fn foreign_and_short_bytes() {
        let step =
            |hex: &str| run(&unhex(hex), &ctx(1, 48898, Role::Client), &mut Recorder::default());
        assert_eq!(step("0000 20000000"), Step::NeedMore);
        assert_eq!(step(&"00".repeat(40)), Step::Resync);
        assert_eq!(probe(b"GET / HTTP/1.1"), Probe::No);
        assert_eq!(probe(&unhex(&message("050d00010101", 1, 5, ""))), Probe::Yes);
    }
}
