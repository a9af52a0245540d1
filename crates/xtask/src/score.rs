//! `score inspect`: accuracy of the inventory against captures with a known truth.
//!
//! * A device is a set of rows that must be one. It is found when exactly one answer has its
//!   addresses and no other row's. An answer with addresses of which none is in the truth is false.
//! * Vendor, model, firmware: over the rows that have them and whose product can be proven.
//! * A model counts for recall when one of its tokens can be read in the capture's bytes.
//! * Required merges: pairs of rows with `same_asset_as`, not those marked "likely" (either is fine).
//! * Traps that can be checked by rule: a row's own trap must not change its maker, a chip-only row
//!   must not name a product, single frames of noise stay out of the inventory, addresses that were
//!   only asked for are no devices, and what sits behind a device is not its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use model::inspect::{Attribute, Device, Report, Status};
use model::{DeviceId, Mac};

use crate::figures::{self, Bar, Figure};
use crate::matching::{
    model_tokens, on_the_wire, same_model, same_serial, same_vendor, same_version,
};
use crate::truth::{self, Asset, Capture, Hidden};
use crate::{Options, Stop};

/// Scores every capture of a folder.
pub(crate) fn run(dir: &Path, options: &Options) -> Result<bool, Stop> {
    let binary = crate::ringfence()?;
    let mut tally = Tally::default();
    for capture in truth::read(dir)? {
        let path = dir.join(&capture.file);
        let bytes = std::fs::read(&path)
            .map_err(|e| Stop(format!("{} cannot be read: {e}", path.display())))?;
        let output = Command::new(&binary)
            .args(["inspect", "-o", "json"])
            .arg(&path)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|e| Stop(format!("{} cannot be run: {e}", binary.display())))?;
        // A fault in a capture is exit code 1 with a whole report; no report is a failure.
        match serde_json::from_slice::<Report>(&output.stdout) {
            Ok(report) => score(&capture, &report, &bytes, &mut tally),
            Err(e) => {
                tally.failed += 1.0;
                tally.miss(&capture, "report", &output.status.to_string(), &e.to_string());
            }
        }
    }
    let met = figures::print("score inspect", &tally.figures(), options)?;
    if options.verbose {
        for miss in &tally.misses {
            eprintln!("{miss}");
        }
    }
    Ok(met)
}

/// Rows right and rows counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Share {
    right: f64,
    of: f64,
}

impl Share {
    fn count(&mut self, right: bool) {
        self.of += 1.0;
        self.right += f64::from(u8::from(right));
    }

    /// Nothing to find is all found.
    fn value(self) -> f64 {
        if self.of == 0.0 { 1.0 } else { self.right / self.of }
    }
}

#[derive(Debug, Default)]
struct Tally {
    devices_found: Share,
    devices_said: Share,
    vendor: Share,
    model_recall: Share,
    model_recall_all: Share,
    model_precision: Share,
    firmware: Share,
    serial: Share,
    merges: Share,
    hidden: Share,
    false_merges: f64,
    traps: f64,
    neutral: f64,
    failed: f64,
    misses: Vec<String>,
}

impl Tally {
    fn miss(&mut self, capture: &Capture, what: &str, expected: &str, said: &str) {
        let file = &capture.file;
        self.misses.push(format!("{file}: {what}: expected {expected}; said {said}"));
    }

    fn trap(&mut self, capture: &Capture, trap: &str, said: &str) {
        self.traps += 1.0;
        self.miss(capture, "TRAP", trap, said);
    }

    fn figures(&self) -> Vec<Figure> {
        let (precision, recall) = (self.devices_said.value(), self.devices_found.value());
        let f1 = if precision + recall > 0.0 {
            2.0 * precision * recall / (precision + recall)
        } else {
            0.0
        };
        let share = |name: &str, s: Share| {
            Figure::new(format!("{name} ({} of {})", s.right, s.of), s.value(), "share")
        };
        let count = |name: &str, n: f64| Figure::new(name, n, "count");
        vec![
            share("device precision", self.devices_said),
            share("device recall", self.devices_found),
            Figure::new("device F1", f1, "share").bar(Bar::AtLeast(0.97)),
            share("vendor", self.vendor).bar(Bar::AtLeast(0.95)),
            share("model recall, on the wire", self.model_recall).bar(Bar::AtLeast(0.9)),
            share("model recall, all rows", self.model_recall_all),
            share("model precision", self.model_precision).bar(Bar::AtLeast(0.98)),
            share("firmware recall", self.firmware).bar(Bar::AtLeast(0.9)),
            share("serial recall", self.serial),
            share("required merges", self.merges).bar(Bar::AtLeast(0.8)),
            count("false merges", self.false_merges).bar(Bar::AtMost(0.0)),
            share("devices behind others", self.hidden),
            count("traps fallen into", self.traps).bar(Bar::AtMost(0.0)),
            count("captures without a report", self.failed).bar(Bar::AtMost(0.0)),
            count("rows where either answer is fine", self.neutral),
        ]
    }
}

fn score(capture: &Capture, report: &Report, bytes: &[u8], tally: &mut Tally) {
    let said: BTreeMap<Mac, &Device> =
        report.devices.iter().flat_map(|d| d.macs.iter().map(move |m| (*m, d))).collect();
    score_devices(capture, report, &said, tally);
    for asset in &capture.assets {
        if let Some(device) = said.get(&asset.mac) {
            score_row(capture, asset, device, bytes, tally);
        } else {
            score_absent(capture, asset, bytes, tally);
        }
    }
    for hidden in &capture.not_from_mac {
        score_hidden(capture, hidden, report, tally);
    }
    score_phantoms(capture, report, &said, tally);
}

fn score_devices(
    capture: &Capture,
    report: &Report,
    said: &BTreeMap<Mac, &Device>,
    tally: &mut Tally,
) {
    let id_of = |row: usize| {
        let asset = capture.assets.get(row)?;
        said.get(&asset.mac).map(|d| &d.id)
    };
    let rows_of = |id: &DeviceId| -> BTreeSet<usize> {
        (0..capture.assets.len()).filter(|row| id_of(*row) == Some(id)).collect()
    };
    let macs = |rows: &[usize]| -> String {
        let macs = rows.iter().filter_map(|r| capture.assets.get(*r));
        macs.map(|a| a.mac.to_string()).collect::<Vec<_>>().join(" + ")
    };
    let loose = capture.devices(true);
    for rows in capture.devices(false) {
        let neutral = |r: &usize| capture.assets.get(*r).is_some_and(|a| capture.is_neutral(a));
        if rows.iter().all(neutral) {
            tally.neutral += 1.0;
            continue;
        }
        let ids: BTreeSet<_> = rows.iter().filter_map(|r| id_of(*r)).collect();
        // Rows that are "likely" the same may be in the same answer.
        let allowed: BTreeSet<usize> = loose
            .iter()
            .filter(|g| rows.first().is_some_and(|r| g.contains(r)))
            .flatten()
            .copied()
            .collect();
        let one = ids.len() == 1 && rows.iter().all(|r| id_of(*r).is_some());
        let alone = ids.iter().all(|id| rows_of(id).is_subset(&allowed));
        tally.devices_found.count(one && alone);
        if one && alone {
            tally.devices_said.count(true);
        } else {
            let said = if ids.is_empty() {
                "nothing".to_owned()
            } else if !alone {
                "merged with others".to_owned()
            } else {
                format!("{} devices", ids.len())
            };
            tally.miss(capture, "device", &macs(&rows), &said);
        }
    }
    let known: BTreeSet<Mac> = capture.assets.iter().map(|a| a.mac).collect();
    for device in &report.devices {
        if !device.macs.is_empty() && device.macs.iter().all(|m| !known.contains(m)) {
            tally.devices_said.count(false);
            tally.miss(capture, "device", "no such device", &name(device));
        }
        let rows = rows_of(&device.id);
        if !rows.is_empty() && !loose.iter().any(|g| rows.iter().all(|r| g.contains(r))) {
            tally.false_merges += 1.0;
            let rows: Vec<usize> = rows.into_iter().collect();
            tally.miss(capture, "FALSE MERGE", "several devices", &macs(&rows));
        }
    }
    for asset in &capture.assets {
        let Some((other, true)) = asset.same_as() else {
            continue;
        };
        if !known.contains(&other) {
            continue;
        }
        let merged = match (said.get(&asset.mac), said.get(&other)) {
            (Some(a), Some(b)) => a.id == b.id,
            _ => false,
        };
        tally.merges.count(merged);
        if !merged {
            let pair = format!("{} and {other} to be one device", asset.mac);
            tally.miss(capture, "merge", &pair, "two");
        }
    }
}

fn score_row(capture: &Capture, asset: &Asset, device: &Device, bytes: &[u8], tally: &mut Tally) {
    let mac = asset.mac;
    if asset.chip_only() {
        if let Some(model) = &device.model {
            tally.trap(capture, &format!("{mac}: only the chip can be seen"), &model.value);
        }
        return;
    }
    if let Some(truth) = &asset.vendor {
        let right = device.vendor.as_ref().is_some_and(|v| same_vendor(truth, &v.value));
        tally.vendor.count(right);
        if !right {
            tally.miss(capture, &format!("{mac} vendor"), truth, text(device.vendor.as_ref()));
            if let (Some(trap), Some(said)) = (&asset.trap, &device.vendor) {
                tally.trap(capture, &format!("{mac}: {trap}"), &said.value);
            }
        }
    }
    if let (Some(trap), Some(truth), Some(said)) = (&asset.trap, &asset.kind, &device.kind)
        && said.value == "phone"
        && truth != "phone"
    {
        tally.trap(capture, &format!("{mac}: {trap}"), &said.value);
    }
    if let Some(truth) = &asset.model {
        let tokens = model_tokens(truth, asset.vendor.as_deref());
        if !tokens.is_empty() {
            let right = device.model.as_ref().is_some_and(|m| same_model(&tokens, &m.value));
            let readable = tokens.iter().any(|t| on_the_wire(t, bytes));
            tally.model_recall_all.count(right);
            if readable {
                tally.model_recall.count(right);
            }
            if device.model.is_some() {
                tally.model_precision.count(right);
            }
            if !right {
                let what = if readable { "model" } else { "model (not on the wire)" };
                tally.miss(capture, &format!("{mac} {what}"), truth, text(device.model.as_ref()));
            }
        }
    }
    if let Some(truth) = &asset.firmware {
        let right = device.firmware.as_ref().is_some_and(|f| same_version(truth, &f.value));
        tally.firmware.count(right);
        if !right {
            tally.miss(capture, &format!("{mac} firmware"), truth, text(device.firmware.as_ref()));
        }
    }
    if let Some(truth) = &asset.serial {
        let right = device.serial.as_ref().is_some_and(|s| same_serial(truth, &s.value));
        tally.serial.count(right);
        if !right {
            tally.miss(capture, &format!("{mac} serial"), truth, text(device.serial.as_ref()));
        }
    }
}

/// A device that was not found has no attributes: its rows are misses, not left out.
fn score_absent(capture: &Capture, asset: &Asset, bytes: &[u8], tally: &mut Tally) {
    if asset.chip_only() || capture.is_neutral(asset) {
        return;
    }
    if asset.vendor.is_some() {
        tally.vendor.count(false);
    }
    if let Some(model) = &asset.model {
        let tokens = model_tokens(model, asset.vendor.as_deref());
        if !tokens.is_empty() {
            tally.model_recall_all.count(false);
            if tokens.iter().any(|t| on_the_wire(t, bytes)) {
                tally.model_recall.count(false);
            }
        }
    }
    if asset.firmware.is_some() {
        tally.firmware.count(false);
    }
    if asset.serial.is_some() {
        tally.serial.count(false);
    }
}

/// A device without an address of its own is found by serial, by name, or by model behind its
/// parent; and what it says is not said of the device that carried it.
fn score_hidden(capture: &Capture, hidden: &Hidden, report: &Report, tally: &mut Tally) {
    let parent = hidden
        .parent
        .and_then(|mac| report.devices.iter().find(|d| d.macs.contains(&mac)))
        .map(|d| &d.id);
    let named = |d: &Device| {
        hidden
            .hostname
            .as_ref()
            .is_some_and(|h| d.hostnames.iter().any(|n| n.eq_ignore_ascii_case(h)))
    };
    let is_it = |d: &Device| {
        let tokens = hidden.model.as_deref().map(|m| model_tokens(m, hidden.vendor.as_deref()));
        let serial = match (&hidden.serial, &d.serial) {
            (Some(truth), Some(said)) => Some(same_serial(truth, &said.value)),
            _ => None,
        };
        let model = match (&tokens, &d.model) {
            (Some(tokens), Some(said)) => same_model(tokens, &said.value),
            _ => false,
        };
        serial.unwrap_or_else(|| model || named(d))
    };
    let behind = |d: &&Device| match parent {
        Some(parent) => d.parent.as_ref() == Some(parent),
        None => d.parent.is_some() || d.macs.iter().all(|m| !is_row(capture, *m)),
    };
    let found = report.devices.iter().filter(behind).any(is_it);
    tally.hidden.count(found);
    let what = format!(
        "{} {}",
        hidden.model.as_deref().unwrap_or("?"),
        hidden.serial.as_deref().or(hidden.hostname.as_deref()).unwrap_or_default()
    );
    if !found {
        tally.miss(capture, "device behind another", &what, "nothing");
    }
    if let Some(carrier) =
        report.devices.iter().find(|d| named(d) && d.macs.iter().any(|m| is_row(capture, *m)))
    {
        tally.trap(capture, &format!("{what} is not the device that carried it"), &name(carrier));
    }
}

/// Addresses that were only asked for, offered or flipped by noise are no devices.
fn score_phantoms(
    capture: &Capture,
    report: &Report,
    said: &BTreeMap<Mac, &Device>,
    tally: &mut Tally,
) {
    // Hosts behind a router may be devices, if there is anything to know them by.
    let nameless = |d: &&Device| {
        d.vendor.is_none() && d.kind.is_none() && d.model.is_none() && d.hostnames.is_empty()
    };
    let bodiless = report.devices.iter().filter(|d| d.macs.is_empty() && d.parent.is_none());
    let bodiless = bodiless.filter(nameless).count();
    let warned = capture.traps.iter().any(|trap| trap.contains("not "));
    if warned && bodiless > 5.max(2 * capture.assets.len()) {
        let traps = capture.traps.join("; ");
        tally.trap(capture, &traps, &format!("{bodiless} unknown devices without a link address"));
    }
    let neutral: Vec<_> = capture.assets.iter().filter(|a| capture.is_neutral(a)).collect();
    let believed = neutral
        .iter()
        .filter(|a| said.get(&a.mac).is_some_and(|d| d.status == Status::Confirmed))
        .count();
    if 2 * believed > neutral.len() {
        let traps = capture.traps.join("; ");
        tally.trap(capture, &traps, &format!("{believed} devices from single frames"));
    }
}

fn is_row(capture: &Capture, mac: Mac) -> bool {
    capture.assets.iter().any(|a| a.mac == mac)
}

fn text(attribute: Option<&Attribute>) -> &str {
    attribute.map_or("nothing", |a| a.value.as_str())
}

fn name(device: &Device) -> String {
    let macs: Vec<_> = device.macs.iter().map(Mac::to_string).collect();
    format!("{} {}", macs.join(" + "), text(device.model.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report of devices, each by its fields in JSON; the rest is filled in.
    fn report(devices: &[serde_json::Value]) -> Report {
        let at = "2026-01-01T00:00:00Z";
        let devices: Vec<_> = devices
            .iter()
            .enumerate()
            .map(|(n, given)| {
                let mut device = serde_json::json!({
                    "id": format!("dev-{n}"), "aliases": [], "site": "lab", "macs": [], "ips": [],
                    "vlans": [], "hostnames": [], "assurance": "observed", "children": [],
                    "identifiers": [], "firmware_history": [], "located_at": [],
                    "merge_suggestions": [], "protocols": [], "first_seen": at, "last_seen": at,
                    "packets": 1, "bytes": 60,
                });
                for (key, value) in given.as_object().unwrap() {
                    let attribute =
                        matches!(key.as_str(), "vendor" | "model" | "type" | "firmware" | "serial");
                    device[key] = if attribute {
                        serde_json::json!({"value": value, "confidence": 1.0, "evidence": []})
                    } else {
                        value.clone()
                    };
                }
                device
            })
            .collect();
        serde_json::from_value(serde_json::json!({
            "schema": "ringfence.inspect/v1", "inputs": [], "span": {"first": at, "last": at},
            "devices": devices, "services": [], "conduits": [], "findings": [], "reach": null,
        }))
        .unwrap()
    }

    fn tally(truth: serde_json::Value, devices: &[serde_json::Value], bytes: &[u8]) -> Tally {
        let capture: Capture = serde_json::from_value(truth).unwrap();
        let mut tally = Tally::default();
        score(&capture, &report(devices), bytes, &mut tally);
        tally
    }

    fn share(right: f64, of: f64) -> Share {
        Share { right, of }
    }

    const A: &str = "02:00:00:00:00:0a";
    const B: &str = "02:00:00:00:00:0b";
    const C: &str = "02:00:00:00:00:0c";

    #[test]
    fn devices_merges_and_strangers_are_counted() {
        use serde_json::json;
        let truth = || {
            json!({"file": "x", "assets": [
                {"mac": A}, {"mac": B, "same_asset_as": A}, {"mac": C},
            ]})
        };
        let good = tally(truth(), &[json!({"macs": [A, B]}), json!({"macs": [C]})], b"");
        assert_eq!((good.devices_found, good.merges), (share(2.0, 2.0), share(1.0, 1.0)));
        assert!(good.misses.is_empty(), "{:?}", good.misses);

        let split = tally(
            truth(),
            &[json!({"macs": [A]}), json!({"macs": [B]}), json!({"macs": [C]})],
            b"",
        );
        assert_eq!((split.devices_found, split.merges), (share(1.0, 2.0), share(0.0, 1.0)));

        let merged = tally(truth(), &[json!({"macs": [A, B, C]})], b"");
        assert_eq!((merged.devices_found.right, merged.false_merges), (0.0, 1.0));

        let strange = tally(
            truth(),
            &[
                json!({"macs": [A, B]}),
                json!({"macs": [C]}),
                json!({"macs": ["02:00:00:00:00:0d"]}),
            ],
            b"",
        );
        assert_eq!(strange.devices_said, share(2.0, 3.0));

        let likely = json!({"file": "x", "assets": [
            {"mac": A}, {"mac": B, "same_asset_as": format!("{A} (likely)")},
        ]});
        for answer in
            [vec![json!({"macs": [A, B]})], vec![json!({"macs": [A]}), json!({"macs": [B]})]]
        {
            let either = tally(likely.clone(), &answer, b"");
            assert_eq!((either.devices_found, either.false_merges), (share(2.0, 2.0), 0.0));
            assert_eq!(either.merges, share(0.0, 0.0));
        }
    }

    #[test]
    fn attributes_count_where_the_truth_has_them() {
        use serde_json::json;
        let truth = json!({"file": "x", "assets": [
            {"mac": A, "vendor": "Acme", "model": "XY-100", "firmware": "1.2", "serial": "0a"},
            {"mac": B, "vendor": "Brand", "model": "Z9000"},
            {"mac": C, "vendor": "Hidden", "model": "H1", "observable": "chip only"},
        ]});
        let answers = [
            json!({"macs": [A], "vendor": "ACME Inc.", "model": "XY-100", "firmware": "v1.2", "serial": "A"}),
            json!({"macs": [B], "vendor": "Other", "model": "Q7"}),
            json!({"macs": [C], "model": "H1"}),
        ];
        let t = tally(truth, &answers, b"...xy-100...");
        assert_eq!(
            (t.vendor, t.firmware, t.serial),
            (share(1.0, 2.0), share(1.0, 1.0), share(1.0, 1.0))
        );
        assert_eq!(t.model_recall, share(1.0, 1.0), "Z9000 is not on the wire");
        assert_eq!((t.model_recall_all, t.model_precision), (share(1.0, 2.0), share(1.0, 2.0)));
        assert_eq!(t.traps, 1.0, "naming a chip-only device is a guess");
    }

    #[test]
    fn what_sits_behind_is_found_and_not_taken_for_its_carrier() {
        use serde_json::json;
        let truth = || {
            json!({"file": "x", "assets": [{"mac": A}], "not_from_mac": [
                {"parent": A, "model": "M56", "serial": "0000ad77"},
                {"inside": "a tunnel", "model": "Tablet3", "hostname": "my-tablet"},
            ]})
        };
        let good = [
            json!({"macs": [A]}),
            json!({"parent": "dev-0", "model": "M56", "serial": "ad77"}),
            json!({"parent": "dev-0", "hostnames": ["my-tablet"]}),
        ];
        let t = tally(truth(), &good, b"");
        assert_eq!((t.hidden, t.traps), (share(2.0, 2.0), 0.0), "{:?}", t.misses);
        let t = tally(truth(), &[json!({"macs": [A], "hostnames": ["my-tablet"]})], b"");
        assert_eq!((t.hidden, t.traps), (share(0.0, 2.0), 1.0), "{:?}", t.misses);
    }

    #[test]
    fn noise_and_addresses_that_were_only_asked_for_are_traps() {
        use serde_json::json;
        let truth = json!({"file": "x", "traps": ["noise must stay in quarantine, probed addresses are not assets"], "assets": [
            {"mac": A, "packets": 1}, {"mac": B, "packets": 9},
        ]});
        let t = tally(truth.clone(), &[json!({"macs": [B]})], b"");
        assert_eq!((t.traps, t.neutral, t.devices_found), (0.0, 1.0, share(1.0, 1.0)));
        let t = tally(truth.clone(), &[json!({"macs": [A]}), json!({"macs": [B]})], b"");
        assert_eq!((t.traps, t.devices_found), (1.0, share(1.0, 1.0)));
        let mut answers = vec![json!({"ips": ["192.0.2.7"]}); 6];
        answers.push(json!({"macs": [B]}));
        assert_eq!(tally(truth, &answers, b"").traps, 1.0);
    }
}
