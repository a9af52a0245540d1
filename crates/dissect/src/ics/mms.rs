//! MMS (ISO 9506) over session and presentation layer: IEC 61850 and ICCP servers.
//!
//! Session and presentation are passed over by their fixed shape in data transfer (ISO 8327 §8,
//! ISO 8823 §8): `01 00 01 00`, fully-encoded-data, PDV-list, context, single-ASN1-type.

use super::ber::{children, find, integer};
use super::wire::{key, name, once, say_role};
use crate::fields::{Field, field};
use crate::{Malformed, Outcome, Role, Sink, text};

pub(super) const FIELDS: &[Field] = &[
    field("mms.role", "`client` or `server`"),
    field("mms.vendor", "vendorName of the answer to Identify"),
    field("mms.model", "modelName of the answer to Identify"),
    field("mms.revision", "revision of the answer to Identify: the firmware"),
    field("mms.domain", "a named domain of the server: with IEC 61850 its logical device"),
];

const MEMORY: u8 = b'M';
const DOMAINS_MAX: usize = 16;

/// Reads one SPDU.
pub(super) fn run(spdu: &[u8], role: Role, sink: &mut dyn Sink) -> Outcome {
    let [1, 0, 1, 0, presentation @ ..] = spdu else {
        // Connect and accept: the association names nobody that later messages do not.
        return Ok(());
    };
    let pdv = find(presentation, 0x61).and_then(|data| find(data, 0x30));
    let Some((tag, body)) = pdv.and_then(|pdv| find(pdv, 0xa0)).and_then(|v| children(v).next())
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

/// Remembers name lists of class domain (9): their answers do not say what they list.
fn confirmed_request(body: &[u8], sink: &mut dyn Sink) -> Option<()> {
    let invoke = integer(find(body, 0x02)?)?;
    let class = find(find(body, 0xa1)?, 0xa0)?;
    if integer(find(class, 0x80)?)? == 9 {
        sink.remember(key(MEMORY, b'n', invoke), 1);
    }
    Some(())
}

fn confirmed_response(body: &[u8], sink: &mut dyn Sink) -> Option<()> {
    if let Some(identify) = find(body, 0xa2) {
        for (tag, value) in children(identify) {
            let field = match tag {
                0x80 => "mms.vendor",
                0x81 => "mms.model",
                0x82 => "mms.revision",
                _ => continue,
            };
            sink.says(field, text::clean(value));
        }
    }
    let invoke = integer(find(body, 0x02)?)?;
    let list = find(find(body, 0xa1)?, 0xa0)?;
    if sink.recall(key(MEMORY, b'n', invoke)).is_some() {
        for (_, value) in children(list).filter(|e| e.0 == 0x1a).take(DOMAINS_MAX) {
            sink.says("mms.domain", name(value));
        }
    }
    Some(())
}

/// Information reports of IEC 61850-8-1 carry their data set's reference, `IED1LD0/LLN0$dsname`.
fn report(body: &[u8], sink: &mut dyn Sink) {
    let results = find(body, 0xa0).and_then(|report| find(report, 0xa0));
    for (tag, value) in children(results.unwrap_or_default()).take(8) {
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
            &[
                (Role::Client, "a00e 0201 08 a109 a003 8001 09 a102 8000"),
                (Role::Server, answer),
            ],
            &[
                "sender says mms.role = client",
                "sender says mms.role = server",
                "sender says mms.domain = IED1",
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
