//! MMS (ISO 9506) over session and presentation layer: IEC 61850 and ICCP servers.
//!
//! Session and presentation are passed over by their fixed shape in data transfer (ISO 8327 §8,
//! ISO 8823 §8): `01 00 01 00`, fully-encoded-data, PDV-list, context, single-ASN1-type.

use super::wire::{key, name, once, say_role};
use crate::fields::{Field, field};
use crate::scan::ber::{Element, children, find, tag, unsigned};
use crate::{Malformed, Outcome, Role, Sink, text};

pub(super) const FIELDS: &[Field] = &[
    field("mms.role", "`client` or `server`"),
    field("mms.vendor", "vendorName of the answer to Identify"),
    field("mms.model", "modelName of the answer to Identify"),
    field("mms.revision", "revision of the answer to Identify: the firmware"),
    field("mms.domain", "a named domain of the server: with IEC 61850 its logical device"),
    field("mms.plate_vendor", "vendor of a name plate (PhyNam or NamPlt, IEC 61850-7-3)"),
    field("mms.plate_hardware_revision", "hwRev of a name plate"),
    field("mms.plate_software_revision", "swRev of a name plate"),
    field("mms.plate_serial", "serNum of a name plate"),
    field("mms.plate_model", "model of a name plate"),
    field("mms.plate_location", "location of a name plate"),
];

const MEMORY: u8 = b'M';
const DOMAINS_MAX: usize = 16;
/// Variables per read that are followed: four bits each of a memory entry.
const VARIABLES_MAX: usize = 16;

/// Attributes of the common data class DPL in its order; a whole one is read as this structure.
const NAME_PLATE: &[(&str, &str)] = &[
    ("vendor", "mms.plate_vendor"),
    ("hwRev", "mms.plate_hardware_revision"),
    ("swRev", "mms.plate_software_revision"),
    ("serNum", "mms.plate_serial"),
    ("model", "mms.plate_model"),
    ("location", "mms.plate_location"),
];
const WHOLE_PLATE: u64 = 15;

/// Reads one SPDU.
pub(super) fn run(spdu: &[u8], role: Role, sink: &mut dyn Sink) -> Outcome {
    let [1, 0, 1, 0, presentation @ ..] = spdu else {
        // Connect and accept: the association names nobody that later messages do not.
        return Ok(());
    };
    let pdv = find(presentation, 0x61).and_then(|data| find(data, 0x30));
    let Some(Element { tag, body }) =
        pdv.and_then(|pdv| find(pdv, 0xa0)).and_then(|v| children(v).next())
    else {
        return Err(Malformed::NotMine);
    };
    say_role(sink, "mms.role", MEMORY, role);
    match (tag, role) {
        (0xa0, Role::Client) => {
            confirmed_request(body, sink);
        }
        (0xa1, Role::Server) => {
            confirmed_response(body, sink);
        }
        (0xa3, Role::Server) => report(body, sink),
        _ => {}
    }
    Ok(())
}

/// Remembers name lists of class domain (9), and reads of name plates: answers do not say what
/// they answer.
fn confirmed_request(body: &[u8], sink: &mut dyn Sink) -> Option<()> {
    let invoke = unsigned(find(body, 0x02)?)?;
    if let Some(read) = find(body, 0xa4) {
        let wanted = plates_read(read)?;
        if wanted != 0 {
            sink.remember(key(MEMORY, b'v', invoke), wanted);
        }
        return Some(());
    }
    let class = find(find(body, 0xa1)?, 0xa0)?;
    if unsigned(find(class, 0x80)?)? == 9 {
        sink.remember(key(MEMORY, b'n', invoke), 1);
    }
    Some(())
}

/// Which variables of a Read request (ISO 9506-2 §14.7) are name plates of the device or of its
/// logical device (LLN0), in order.
fn plates_read(read: &[u8]) -> Option<u64> {
    let list = find(find(read, 0xa1)?, 0xa0)?;
    let wanted = children(list).take(VARIABLES_MAX).enumerate().map(|(at, variable)| {
        let name = find(variable.body, 0xa0).and_then(|v| find(v, 0xa1)).and_then(last_string);
        plate_attribute(name.unwrap_or_default()) << (at * 4)
    });
    Some(wanted.fold(0, |all, one| all | one))
}

/// The item of a domain-specific name: the second of two VisibleStrings.
fn last_string(name: &[u8]) -> Option<&[u8]> {
    children(name).filter(|e| e.tag == tag::VISIBLE_STRING).nth(1).map(|e| e.body)
}

/// `LPHD1$DC$PhyNam$vendor` is 1, its `hwRev` 2…; the whole plate 15; anything else 0.
fn plate_attribute(item: &[u8]) -> u64 {
    let Ok(item) = std::str::from_utf8(item) else {
        return 0;
    };
    let mut parts = item.split('$');
    let (node, constraint, object) = (parts.next(), parts.next(), parts.next());
    let plate = match (node.unwrap_or_default(), object) {
        (node, Some("PhyNam")) => node.starts_with("LPHD"),
        (node, Some("NamPlt")) => node == "LLN0",
        _ => false,
    };
    match (plate && constraint == Some("DC"), parts.next()) {
        (true, None) if object == Some("PhyNam") => WHOLE_PLATE,
        (true, Some(attribute)) => {
            let at = NAME_PLATE.iter().position(|row| row.0 == attribute);
            at.map_or(0, |at| at as u64 + 1)
        }
        _ => 0,
    }
}

/// The results of a Read, in the order of its variables.
fn plates_said(read: &[u8], wanted: u64, sink: &mut dyn Sink) {
    let results = children(find(read, 0xa1).unwrap_or(read));
    for (at, Element { tag, body: value }) in results.take(VARIABLES_MAX).enumerate() {
        match (wanted >> (at * 4) & 15, tag) {
            (WHOLE_PLATE, 0xa2) => {
                let strings: Vec<&[u8]> = children(value)
                    .filter(|e| matches!(e.tag, 0x8a | 0x90))
                    .map(|e| e.body)
                    .collect();
                // Only vendor is mandatory: a shorter structure does not say which are missing.
                let known = if strings.len() == NAME_PLATE.len() { strings.len() } else { 1 };
                for ((_, field), value) in NAME_PLATE.iter().zip(strings).take(known) {
                    sink.says(field, text::clean(value));
                }
            }
            (attribute, 0x8a | 0x90) if attribute != WHOLE_PLATE => {
                let row = attribute.checked_sub(1).and_then(|at| usize::try_from(at).ok());
                if let Some((_, field)) = row.and_then(|at| NAME_PLATE.get(at)) {
                    sink.says(field, text::clean(value));
                }
            }
            _ => {}
        }
    }
}

fn confirmed_response(body: &[u8], sink: &mut dyn Sink) -> Option<()> {
    if let Some(identify) = find(body, 0xa2) {
        for Element { tag, body: value } in children(identify) {
            let field = match tag {
                0x80 => "mms.vendor",
                0x81 => "mms.model",
                0x82 => "mms.revision",
                _ => continue,
            };
            sink.says(field, text::clean(value));
        }
    }
    let invoke = unsigned(find(body, 0x02)?)?;
    if let Some(read) = find(body, 0xa4) {
        if let Some(wanted) = sink.recall(key(MEMORY, b'v', invoke)) {
            plates_said(read, wanted, sink);
        }
        return Some(());
    }
    let list = find(find(body, 0xa1)?, 0xa0)?;
    if sink.recall(key(MEMORY, b'n', invoke)).is_some() {
        for domain in children(list).filter(|e| e.tag == tag::VISIBLE_STRING).take(DOMAINS_MAX) {
            sink.says("mms.domain", name(domain.body));
        }
    }
    Some(())
}

/// Information reports of IEC 61850-8-1 carry their data set's reference, `IED1LD0/LLN0$dsname`.
fn report(body: &[u8], sink: &mut dyn Sink) {
    let results = find(body, 0xa0).and_then(|report| find(report, 0xa0));
    for Element { tag, body: value } in children(results.unwrap_or_default()).take(8) {
        if tag != 0x8a {
            continue;
        }
        let reference = name(value);
        if let Some((domain, item)) = reference.split_once('/')
            && item.contains('$')
            && once(sink, key(MEMORY, b'd', super::wire::digest(domain.as_bytes())))
        {
            sink.says("mms.domain", domain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Recorder, unhex};

    /// An MMS PDU in data transfer.
    fn spdu(mms: &str) -> Vec<u8> {
        let mms = unhex(mms);
        let n = mms.len() as u8;
        let head = [1, 0, 1, 0, 0x61, n + 7, 0x30, n + 5, 2, 1, 3, 0xa0, n];
        [&head[..], &mms].concat()
    }

    fn check(turns: &[(Role, &str)], expect: &[&str]) {
        let mut facts = Recorder::default();
        for (role, mms) in turns {
            assert_eq!(run(&spdu(mms), *role, &mut facts), Ok(()));
        }
        assert_eq!(facts.lines, expect);
    }

    #[test]
    fn identify_names_the_server() {
        check(
            &[
                (Role::Client, "a005 0201 07 8200"),
                (Role::Server, "a113 0201 07 a20e 8004 41434d45 8102 5837 8202 3132"),
            ],
            &[
                "sender says mms.role = client",
                "sender says mms.role = server",
                "sender says mms.vendor = ACME",
                "sender says mms.model = X7",
                "sender says mms.revision = 12",
            ],
        );
    }

    #[test]
    fn domains_are_those_of_a_domain_list() {
        let answer = "a110 0201 08 a10b a006 1a04 49454431 810100";
        check(&[(Role::Server, answer)], &["sender says mms.role = server"]);
        check(
            &[(Role::Client, "a00e 0201 08 a109 a003 8001 09 a102 8000"), (Role::Server, answer)],
            &[
                "sender says mms.role = client",
                "sender says mms.role = server",
                "sender says mms.domain = IED1",
            ],
        );
    }

    #[test]
    fn name_plates_are_answers_to_reads_of_them() {
        let tlv = |tag: u8, parts: &[&[u8]]| {
            let body = parts.concat();
            [&[tag, body.len() as u8][..], &body].concat()
        };
        let variable = |item: &str| {
            let name = tlv(0xa1, &[&tlv(0x1a, &[b"L"]), &tlv(0x1a, &[item.as_bytes()])]);
            tlv(0x30, &[&tlv(0xa0, &[&name])])
        };
        let list = [variable("MMXU1$MX$TotW"), variable("LPHD1$DC$PhyNam$model")].concat();
        let read = tlv(0xa4, &[&tlv(0xa1, &[&tlv(0xa0, &[&list])])]);
        let request = tlv(0xa0, &[&tlv(2, &[&[9]]), &read]);
        let request: String = request.iter().map(|b| format!("{b:02x}")).collect();
        let answer = "a110 0201 09 a40b a109 8a01 78 8a04 41434d45";
        check(&[(Role::Server, answer)], &["sender says mms.role = server"]);
        assert_eq!(plate_attribute(b"LPHD1$DC$PhyNam$vendor"), 1);
        assert_eq!(plate_attribute(b"LPHD1$DC$PhyNam"), WHOLE_PLATE);
        assert_eq!(plate_attribute(b"LLN0$DC$NamPlt$swRev"), 3);
        assert_eq!(plate_attribute(b"MMXU1$DC$NamPlt$swRev"), 0);
        assert_eq!(plate_attribute(b"MMXU1$MX$TotW$mag"), 0);
        check(
            &[(Role::Client, &request), (Role::Server, answer)],
            &[
                "sender says mms.role = client",
                "sender says mms.role = server",
                "sender says mms.plate_model = ACME",
            ],
        );
    }

    #[test]
    fn reports_name_their_data_set() {
        check(
            &[(Role::Server, "a31a a018 a105 8003 525054 a00f 8a0d 494544312f4c4c4e3024647331")],
            &["sender says mms.role = server", "sender says mms.domain = IED1"],
        );
    }

    #[test]
    fn foreign_bytes() {
        let mut facts = Recorder::default();
        assert_eq!(run(&unhex("01000100 ff"), Role::Server, &mut facts), Err(Malformed::NotMine));
        assert_eq!(facts.text(), "");
    }
}
