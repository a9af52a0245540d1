//! Devices as a table that can be read back: the same table imported again changes nothing.

use std::collections::BTreeSet;

use csv::Writer;
use estate::devices::{Device, Field};

use super::sheet::{LABEL, encoded};

/// Columns that are no fields, in front.
const FRONT: [&str; 3] = ["id", "site", "state"];
/// And behind.
const BEHIND: [&str; 4] = ["addresses", "keys", "first-seen", "last-seen"];

/// Fields that a table has.
fn fields() -> impl Iterator<Item = Field> {
    Field::ALL.into_iter().filter(|field| !matches!(field, Field::Site | Field::Assurance))
}

/// The line of names; `labels` are those of all devices that follow.
pub fn head(labels: &BTreeSet<String>) -> String {
    let labels = labels.iter().map(|name| format!("{LABEL}{name}"));
    let front = FRONT.into_iter().map(str::to_owned);
    let fields = fields().map(|field| field.word().to_owned());
    let behind = BEHIND.into_iter().map(str::to_owned);
    line(front.chain(fields).chain(behind).chain(labels))
}

/// One device.
pub fn row(device: &Device, labels: &BTreeSet<String>) -> String {
    let list = |words: &mut dyn Iterator<Item = String>| words.collect::<Vec<_>>().join(" ");
    let front = [device.id.to_string(), device.site.to_string(), device.state.word().to_owned()];
    let fields = fields().map(|field| device.value(field).unwrap_or_default().to_owned());
    let behind = [
        list(&mut device.addresses.iter().map(ToString::to_string)),
        list(&mut device.keys.iter().map(|key| encoded(key))),
        device.first_seen().to_string(),
        device.last_seen().to_string(),
    ];
    let labels = labels.iter().map(|name| device.label(name).unwrap_or_default().to_owned());
    line(front.into_iter().chain(fields).chain(behind).chain(labels))
}

fn line(values: impl Iterator<Item = String>) -> String {
    let mut writer = Writer::from_writer(Vec::new());
    // Into memory nothing fails.
    let _ = writer.write_record(values);
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}
