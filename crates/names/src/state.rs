//! The file of live names: what devices may still hold after a restart. Times in it are the wall
//! clock's; the resolver's own clock starts anew.

use std::net::IpAddr;

use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ledger::Live;

const FORMAT: &str = "ringfence/names/1";
/// A larger file is not ours.
pub(crate) const SIZE_BYTES_MAX: u64 = 256 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    names: Vec<Name>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Name {
    name: String,
    addresses: Vec<(IpAddr, Timestamp)>,
    askers: Vec<(IpAddr, Timestamp)>,
}

pub(crate) fn write(live: &[Live], now: Timestamp) -> Result<String, String> {
    let at = |left: &[(IpAddr, u64)]| {
        let ends = left.iter().map(|(ip, ms)| {
            let nanos = i64::try_from(*ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
            (*ip, now.plus_nanos(nanos))
        });
        ends.collect()
    };
    let names = live.iter().map(|one| Name {
        name: one.name.clone(),
        addresses: at(&one.addresses),
        askers: at(&one.askers),
    });
    let document = Document { format: FORMAT.to_owned(), names: names.collect() };
    serde_json::to_string(&document).map_err(|e| e.to_string())
}

/// What of a file is still alive. A file that cannot be read is refused whole.
pub(crate) fn read(text: &str, now: Timestamp) -> Result<Vec<Live>, String> {
    let document: Document = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if document.format != FORMAT {
        return Err(format!("its format is `{}`, this program reads `{FORMAT}`", document.format));
    }
    let left = |ends: Vec<(IpAddr, Timestamp)>| {
        let left = ends.into_iter().map(|(ip, end)| {
            let nanos = end.as_nanos().saturating_sub(now.as_nanos()).max(0);
            (ip, u64::try_from(nanos / 1_000_000).unwrap_or_default())
        });
        left.filter(|(_, ms)| *ms > 0).collect::<Vec<_>>()
    };
    let mut live = Vec::new();
    for one in document.names {
        let name = model::ruleset::dns_name(&one.name).filter(|name| *name == one.name);
        let Some(name) = name else {
            return Err(format!("`{}` is no name", one.name.escape_debug()));
        };
        let one = Live { name, addresses: left(one.addresses), askers: left(one.askers) };
        if !one.addresses.is_empty() && !one.askers.is_empty() {
            live.push(one);
        }
    }
    Ok(live)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_as_far_as_it_lives() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let live = vec![
            Live {
                name: "a.example".to_owned(),
                addresses: vec![(ip("203.0.113.1"), 5_000), (ip("2001:db8::1"), 90_000)],
                askers: vec![(ip("10.0.0.1"), 90_000)],
            },
            Live {
                name: "b.example".to_owned(),
                addresses: vec![(ip("203.0.113.2"), 5_000)],
                askers: vec![(ip("10.0.0.1"), 5_000)],
            },
        ];
        let now = Timestamp::from_secs(1_700_000_000, 0);
        let text = write(&live, now).unwrap();
        assert_eq!(read(&text, now).unwrap(), live);
        let later = read(&text, Timestamp::from_secs(1_700_000_010, 0)).unwrap();
        let expect = Live {
            name: "a.example".to_owned(),
            addresses: vec![(ip("2001:db8::1"), 80_000)],
            askers: vec![(ip("10.0.0.1"), 80_000)],
        };
        assert_eq!(later, [expect]);
    }

    #[test]
    fn other_files_are_refused_with_the_reason() {
        let check = |text: &str, expect: &str| {
            let why = read(text, Timestamp::EPOCH).unwrap_err();
            assert!(why.contains(expect), "{why}");
        };
        check("", "EOF");
        check("{}", "missing field");
        check(r#"{"format":"x","names":[]}"#, "its format is `x`");
        let name = r#"{"name":"A b","addresses":[],"askers":[]}"#;
        check(&format!(r#"{{"format":"{FORMAT}","names":[{name}]}}"#), "`A b` is no name");
        check(&format!(r#"{{"format":"{FORMAT}","names":[],"x":1}}"#), "unknown field");
    }
}
