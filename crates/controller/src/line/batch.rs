//! What a site saw, from bytes that may be anything, to facts that the estate takes.
//!
//! A site is believed about what its sensor sees, and about nothing else: zones, owners, postures are not its to say.

use std::io::Read as _;

use estate::devices::{ADDRESSES_MAX, Facts, Field, KEYS_MAX, Said, VALUE_CHARS_MAX};
use estate::sites::Happened;
use model::line::{BATCH_BYTES_MAX, Batch, DEVICES_MAX, EVENTS_MAX, Sighting};
use model::{DeviceId, Mac};
use serde::de::DeserializeOwned;

/// Binary logarithm of the most memory that decompression may ask for.
const WINDOW_LOG_MAX: u32 = 23;
/// What a sensor can see of a device.
const SEEN: [Field; 9] = [
    Field::Type,
    Field::Vendor,
    Field::Model,
    Field::Firmware,
    Field::Hardware,
    Field::Serial,
    Field::Os,
    Field::Hostname,
    Field::MudUrl,
];

/// Why some bytes are no batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BatchError {
    #[error("it is no zstd: {0}")]
    Packed(String),
    #[error("it is longer than {BATCH_BYTES_MAX} bytes")]
    TooLong,
    #[error("it is no batch: {0}")]
    Malformed(String),
    #[error("it has {has} {of}, and {max} is the most")]
    TooMany { of: &'static str, has: usize, max: usize },
}

/// Reads a batch. Whatever the bytes are, no more than [`BATCH_BYTES_MAX`] come of them.
pub(super) fn decode(packed: &[u8]) -> Result<Batch, BatchError> {
    let batch: Batch = unpack(packed)?;
    for (of, has, max) in
        [("events", batch.events.len(), EVENTS_MAX), ("devices", batch.devices.len(), DEVICES_MAX)]
    {
        if has > max {
            return Err(BatchError::TooMany { of, has, max });
        }
    }
    Ok(batch)
}

/// JSON in zstd, of at most [`BATCH_BYTES_MAX`].
pub(super) fn unpack<T: DeserializeOwned>(packed: &[u8]) -> Result<T, BatchError> {
    let wrong = |error: std::io::Error| BatchError::Packed(error.to_string());
    let mut unpacking = zstd::stream::read::Decoder::with_buffer(packed).map_err(wrong)?;
    unpacking.window_log_max(WINDOW_LOG_MAX).map_err(wrong)?;
    let most = u64::try_from(BATCH_BYTES_MAX).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    unpacking.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.len() > BATCH_BYTES_MAX {
        return Err(BatchError::TooLong);
    }
    serde_json::from_slice(&bytes).map_err(|error| BatchError::Malformed(error.to_string()))
}

/// What happened, as the estate has it.
pub(super) fn happened(batch: &Batch) -> Vec<Happened> {
    let one = |event: &model::line::Happened| Happened {
        at: event.at,
        kind: event.kind.clone(),
        subject: event.subject.clone(),
        what: event.what.clone(),
    };
    batch.events.iter().map(one).collect()
}

/// A device as the estate takes it, under an id that it gets if it is new. `None`: nothing says which device it is.
pub(super) fn facts(seen: &Sighting, id: DeviceId) -> Option<Facts> {
    let mut macs: Vec<Mac> =
        seen.macs.iter().filter_map(|text| text.parse().ok()).filter(is_of_one).collect();
    macs.sort_unstable();
    macs.dedup();
    let mut keys: Vec<String> = macs.iter().map(|mac| format!("mac/{mac}")).collect();
    keys.extend(seen.keys.iter().filter_map(|text| key(text)));
    keys.truncate(KEYS_MAX);
    let mut addresses: Vec<_> = seen.ips.iter().filter_map(|text| text.parse().ok()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    // A sensor has no name of its own for it that would be stable: the first thing that identifies it is as good.
    let subject = match (keys.first(), addresses.first()) {
        (Some(key), _) => key.clone(),
        (None, Some(address)) => format!("ip/{address}"),
        (None, None) => return None,
    };
    let said = SEEN.iter().filter_map(|field| {
        let (value, confidence) = seen.attributes.get(field.word())?;
        let value = text(value)?;
        let known = field.words().is_none_or(|words| words.contains(&value.as_str()));
        known.then(|| Said {
            field: *field,
            value: Some(value),
            detail: String::new(),
            confidence: percent(*confidence),
            at: seen.seen_at,
        })
    });
    let said = said.collect();
    let (first_seen, last_seen) = (seen.seen_at, seen.seen_at);
    Some(Facts { id, subject, keys, addresses: Some(addresses), said, first_seen, last_seen })
}

/// Addresses of nobody and of groups say nothing about who it is.
fn is_of_one(mac: &Mac) -> bool {
    mac.0 != [0; 6] && mac.0.first().is_some_and(|first| first & 1 == 0)
}

/// `serial:ACME/17` as the estate writes it: `serial/ACME/17`.
fn key(text: &str) -> Option<String> {
    let (kind, value) = text.split_once([':', '/'])?;
    let good = !kind.is_empty()
        && kind != "mac"
        && kind.chars().all(|c| c.is_ascii_lowercase() || c == '-')
        && !value.is_empty()
        && !text.chars().any(char::is_control)
        && text.chars().count() <= VALUE_CHARS_MAX;
    good.then(|| format!("{kind}/{value}"))
}

/// Text of a device that nobody vouches for; `None`: nothing is left of it.
pub(super) fn text(text: &str) -> Option<String> {
    let clean: String = text.chars().filter(|c| !c.is_control()).take(VALUE_CHARS_MAX).collect();
    let clean = clean.trim();
    (!clean.is_empty()).then(|| clean.to_owned())
}

fn percent(confidence: f32) -> u8 {
    let percent = (confidence.clamp(0.0, 1.0) * 100.0).round();
    // What is no number is no confidence.
    (0..=100_u8).find(|n| f32::from(*n) >= percent).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use estate::devices::{Command, Devices};
    use model::{SiteId, Timestamp};
    use proptest::prelude::*;

    use super::*;

    fn packed(json: &str) -> Vec<u8> {
        zstd::encode_all(json.as_bytes(), 3).unwrap()
    }

    fn sighting() -> Sighting {
        Sighting {
            macs: Vec::new(),
            ips: Vec::new(),
            keys: Vec::new(),
            attributes: BTreeMap::new(),
            seen_at: Timestamp::from_secs(1_900_000_000, 0),
        }
    }

    fn id() -> DeviceId {
        DeviceId::new("dev-1").unwrap()
    }

    #[test]
    fn a_bomb_ends_at_the_bound() {
        let zeros = zstd::encode_all(std::io::repeat(b' ').take(64 << 20), 19).unwrap();
        assert!(zeros.len() < 64 << 10, "{} bytes", zeros.len());
        assert_eq!(decode(&zeros), Err(BatchError::TooLong));
        // Many frames, one after the other, are one stream.
        let one = packed(&" ".repeat(1 << 20));
        assert_eq!(decode(&one.repeat(9)), Err(BatchError::TooLong));
        // A window of 128 MiB is not given.
        let mut wide = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        wide.window_log(27).unwrap();
        std::io::copy(&mut std::io::repeat(b' ').take(1 << 20), &mut wide).unwrap();
        assert!(matches!(decode(&wide.finish().unwrap()), Err(BatchError::Packed(_))));
    }

    #[test]
    fn what_is_no_batch_is_refused_with_the_reason() {
        assert!(decode(b"").is_err());
        assert!(matches!(decode(b"{}"), Err(BatchError::Packed(_))));
        assert!(matches!(decode(&packed("{}")), Err(BatchError::Malformed(_))));
        let whole = packed(r#"{"number":1,"events":[],"devices":[],"later":true}"#);
        assert_eq!(decode(&whole).unwrap().number, 1);
        assert!(decode(&whole[..whole.len() - 1]).is_err());
        let event = r#"{"at":"2030-01-01T00:00:00Z","kind":"k","subject":"s","what":"w"}"#;
        let many = vec![event; EVENTS_MAX + 1].join(",");
        let many = packed(&format!(r#"{{"number":1,"events":[{many}],"devices":[]}}"#));
        assert!(matches!(decode(&many), Err(BatchError::TooMany { of: "events", .. })));
        let deep = format!("{}{}", r#"{"number":1,"x":"#, "[".repeat(1_000_000));
        assert!(matches!(decode(&packed(&deep)), Err(BatchError::Malformed(_))));
    }

    #[test]
    fn a_site_says_what_its_sensor_sees_and_nothing_else() {
        let mut seen = sighting();
        assert_eq!(facts(&seen, id()), None, "nothing says which device it is");
        seen.ips = vec!["10.0.0.9".to_owned(), "nonsense".to_owned()];
        assert_eq!(facts(&seen, id()).unwrap().subject, "ip/10.0.0.9");
        let macs =
            ["00:80:F4:00:00:02", "00-80-f4-00-00-01", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"];
        seen.macs = macs.map(str::to_owned).to_vec();
        seen.keys = vec!["serial:ACME/17".to_owned(), "mac:00:80:f4:00:00:09".to_owned()];
        for (field, value) in [
            ("type", "plc"),
            ("vendor", "  A\u{7}CME "),
            ("posture", "normal"),
            ("zone", "office"),
            ("owner", "it"),
            ("criticality", "low"),
            ("colour", "red"),
            ("os", "\u{7}"),
        ] {
            seen.attributes.insert(field.to_owned(), (value.to_owned(), 0.755));
        }
        seen.attributes.insert("model".to_owned(), ("x".repeat(10_000), f32::NAN));
        let facts = facts(&seen, id()).unwrap();
        assert_eq!(facts.subject, "mac/00:80:f4:00:00:01");
        let keys = ["mac/00:80:f4:00:00:01", "mac/00:80:f4:00:00:02", "serial/ACME/17"];
        assert_eq!(facts.keys, keys);
        let said: Vec<_> = facts
            .said
            .iter()
            .map(|s| (s.field.word(), s.value.as_ref().unwrap().chars().count(), s.confidence))
            .collect();
        assert_eq!(said, [("type", 3, 76), ("vendor", 4, 76), ("model", 256, 0)]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_batch_or_are_not(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode(&bytes);
            let _ = decode(&zstd::encode_all(&*bytes, 1).unwrap());
        }

        #[test]
        fn whatever_a_site_says_of_a_device_the_estate_takes_it_or_there_is_nothing(
            macs in prop::collection::vec(".{0,20}|([0-9a-f]{2}:){5}[0-9a-f]{2}", 0..4),
            ips in prop::collection::vec(".{0,20}|10\\.0\\.0\\.[0-9]|fe80::[0-9]", 0..80),
            keys in prop::collection::vec(".{0,300}|(serial|duid|mac|x)[:/].{0,20}", 0..80),
            attributes in prop::collection::btree_map(
                "type|vendor|model|serial|os|hostname|mud-url|posture|support|zone|.{0,9}",
                (".{0,300}", any::<f32>()),
                0..12,
            ),
            at in any::<i64>(),
        ) {
            let seen_at = Timestamp::from_nanos(at);
            let seen = Sighting { macs, ips, keys, attributes, seen_at };
            if let Some(facts) = facts(&seen, id()) {
                let site = SiteId::new("north").unwrap();
                let source = "sensor".to_owned();
                let report = Command::Report { site, source, devices: vec![facts] };
                let now = Timestamp::from_secs(1_900_000_000, 0);
                let decided = Devices::default().decide(&report, now);
                prop_assert_eq!(decided.map(|events| events.len()), Ok(1));
            }
        }
    }
}
