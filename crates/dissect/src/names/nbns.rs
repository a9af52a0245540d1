//! NetBIOS name service (RFC 1002 §4.2): names a host registers, and the table of names and the
//! link address that it tells when asked for its status.

use std::net::{IpAddr, Ipv4Addr};

use model::Mac;
use model::observation::IdentifierKind;

use super::dns_message::{Message, Record, Section, kind};
use crate::identity;
use crate::{About, Ctx, Fact, Malformed, Outcome, Reader, Sink, text};

const PORT: u16 = 137;
/// Group flag of a name (RFC 1002 §4.2.1.3, §4.2.18).
const GROUP: u16 = 0x8000;
/// Names of one status answer; real hosts have about ten.
const NAMES_MAX: u8 = 64;

/// Reads one datagram.
pub(super) fn run(payload: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    let message = Message::read(payload)?;
    match (message.opcode(), message.is_response()) {
        // Registration, refresh (two numbers are in use) and multi-homed registration.
        (5 | 8 | 9 | 15, false) => registration(&message, sink),
        (0, true) if ctx.src.port == PORT && message.rcode() == 0 => answer(&message, ctx, sink),
        (0 | 5..=9 | 15, _) => {}
        _ => return Err(Malformed::NotMine),
    }
    Ok(())
}

/// A name of 15 characters and its 16th byte, which says what service the name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetbiosName {
    pub(crate) name: String,
    pub(super) suffix: u8,
}

impl NetbiosName {
    /// First-level encoding: two letters from `A` to `P` for each byte (RFC 1001 §14.1).
    pub(crate) fn decode(label: &[u8]) -> Option<Self> {
        let nibble = |b: u8| b.checked_sub(b'A').filter(|n| *n < 16);
        let pairs = label.chunks_exact(2);
        let bytes: Option<Vec<u8>> = pairs
            .map(|pair| match pair {
                [high, low] => Some((nibble(*high)? << 4) | nibble(*low)?),
                _ => None,
            })
            .collect();
        Self::plain(&bytes?)
    }

    /// Sixteen bytes as they are in a status answer.
    fn plain(bytes: &[u8]) -> Option<Self> {
        let [name @ .., suffix] = <&[u8; 16]>::try_from(bytes).ok()?;
        let name = text::clean(name).into_owned();
        text::is_name(&name).then_some(Self { name, suffix: *suffix })
    }

    /// What the name says about its holder: its own name from the workstation (00) and file
    /// server (20) services, its workgroup from groups. User names (03) are nobody's business.
    pub(super) fn report(&self, is_group: bool, about: &About<'_>, sink: &mut dyn Sink) {
        let field = match (is_group, self.suffix) {
            (false, 0x00 | 0x20) => "nbns.name",
            (true, 0x00 | 0x1e) => "nbns.workgroup",
            _ => return,
        };
        sink.about(about.clone(), field, self.name.as_str());
    }
}

fn registration(message: &Message<'_>, sink: &mut dyn Sink) {
    let Some(question) = message.questions.first().filter(|q| q.kind == kind::NB) else {
        return;
    };
    let label = question.name.labels.first().copied().unwrap_or_default();
    let data = message.records.first().map(|r| r.data).unwrap_or_default();
    if let (Some(name), Ok(flags)) = (NetbiosName::decode(label), Reader::new(data).u16_be()) {
        name.report(flags & GROUP != 0, &About::Sender, sink);
    }
}

fn answer(message: &Message<'_>, ctx: &Ctx, sink: &mut dyn Sink) {
    let answers = message.records.iter().filter(|r| r.section == Section::Answer);
    for record in answers {
        match record.kind {
            kind::NB => name_query_answer(record, ctx, sink),
            kind::NBSTAT => {
                let _ = status(record.data, sink);
            }
            _ => {}
        }
    }
}

/// A positive answer. The holder of a name answers with its own address; a name server answers
/// for others.
fn name_query_answer(record: &Record<'_>, ctx: &Ctx, sink: &mut dyn Sink) {
    let label = record.name.labels.first().copied().unwrap_or_default();
    let Some(name) = NetbiosName::decode(label) else {
        return;
    };
    let mut r = Reader::new(record.data);
    while let (Ok(flags), Ok(ip)) = (r.u16_be(), r.array::<4>()) {
        let ip = IpAddr::V4(Ipv4Addr::from(ip));
        if ctx.src.ip == Some(ip) {
            name.report(flags & GROUP != 0, &About::Sender, sink);
        }
        if flags & GROUP == 0 && identity::is_host(ip) {
            let name = name.name.to_lowercase().into();
            sink.fact(About::Sender, Fact::Resolved { name, ip });
        }
    }
}

/// Node status (RFC 1002 §4.2.18): names, then statistics that begin with the link address.
fn status(data: &[u8], sink: &mut dyn Sink) -> Result<(), Malformed> {
    let mut r = Reader::new(data);
    let count = r.u8()?;
    if count > NAMES_MAX {
        return Err(Malformed::Limit);
    }
    for _ in 0..count {
        let name = NetbiosName::plain(r.take(16)?);
        let flags = r.u16_be()?;
        if let Some(name) = name {
            name.report(flags & GROUP != 0, &About::Sender, sink);
        }
    }
    // Samba leaves the address zero.
    let mac = Mac(r.array()?);
    if mac.is_unicast() {
        let field = "nbns.mac";
        sink.identifier(About::Sender, field, IdentifierKind::Mac, mac.to_string());
    }
    Ok(())
}

/// First-level encoding for tests.
#[cfg(test)]
pub(super) fn encode(name: &str, suffix: u8) -> Vec<u8> {
    let mut bytes = format!("{name:<15}").into_bytes();
    bytes.push(suffix);
    let letters = |b: u8| [b'A' + (b >> 4), b'A' + (b & 15)];
    let mut label = vec![32];
    label.extend(bytes.into_iter().flat_map(letters));
    label.push(0);
    label
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use crate::testing::{ctx, facts_of, unhex};

    fn check(bytes: &[u8], expect: Result<&str, Malformed>) {
        assert_eq!(facts_of(run, bytes, &ctx(137, 137, Role::Unknown)), expect.map(str::to_owned));
    }

    fn registering(name: &str, suffix: u8, flags: &str) -> Vec<u8> {
        [
            unhex("0001 2910 0001 0000 0000 0001"), // registration, broadcast
            encode(name, suffix),
            unhex("0020 0001  c00c 0020 0001 000493e0 0006"),
            unhex(flags),
            unhex("c0000201"),
        ]
        .concat()
    }

    #[test]
    fn registrations_name_host_and_workgroup() {
        check(&registering("KW-VLIPC", 0, "0000"), Ok("sender says nbns.name = KW-VLIPC"));
        check(&registering("WORKGROUP", 0, "8000"), Ok("sender says nbns.workgroup = WORKGROUP"));
        check(&registering("JOHNDOE", 3, "0000"), Ok(""));
    }

    #[test]
    fn queries_name_others() {
        let query =
            [unhex("0001 0110 0001 0000 0000 0000"), encode("SERVER", 0x20), unhex("0020 0001")];
        check(&query.concat(), Ok(""));
    }

    #[test]
    fn answers_name_the_sender_only_with_its_own_address() {
        let answer = |ip: &str| {
            [
                unhex("0001 8500 0000 0001 0000 0000"),
                encode("NAS", 0x20),
                unhex("0020 0001 000493e0 0006 0000"),
                unhex(ip),
            ]
            .concat()
        };
        check(
            &answer("c0000201"),
            Ok("sender says nbns.name = NAS\nsender resolves nas = 192.0.2.1"),
        );
        check(&answer("c000024d"), Ok("sender resolves nas = 192.0.2.77"));
    }

    #[test]
    fn node_status_tells_names_and_address() {
        let entry = |name: &str, suffix: u8, flags: [u8; 2]| {
            [format!("{name:<15}").into_bytes(), vec![suffix], flags.to_vec()].concat()
        };
        let data = [
            vec![2],
            entry("PLC-HMI", 0x20, [4, 0]),
            entry("PLANT", 0, [0x84, 0]),
            unhex("001b1b358410"),
        ]
        .concat();
        let head =
            [unhex("0001 8400 0000 0001 0000 0000"), encode("*", 0), unhex("0021 0001 00000000")]
                .concat();
        let length = u16::try_from(data.len()).unwrap().to_be_bytes().to_vec();
        let whole = [head, length, data].concat();
        check(
            &whole,
            Ok("sender says nbns.name = PLC-HMI\n\
                sender says nbns.workgroup = PLANT\n\
                sender is Mac 00:1b:1b:35:84:10 (nbns.mac)"),
        );
        check(&whole[..10], Err(Malformed::Truncated));
    }

    #[test]
    fn encoded_names_must_be_sixteen_letters_pairs() {
        assert_eq!(NetbiosName::decode(b"EOEBFD"), None);
        assert_eq!(NetbiosName::decode(&[b'Q'; 32]), None);
        let label = encode("NAS", 0x20);
        let name = NetbiosName::decode(&label[1..33]).unwrap();
        assert_eq!((name.name.as_str(), name.suffix), ("NAS", 0x20));
    }
}
