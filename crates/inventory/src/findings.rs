//! What deserves a person's attention, in sentences that say what was seen and what to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::inspect::{Device, Evidence, Finding, Severity, Status};
use model::observation::EventKind;
use model::{DeviceId, Timestamp};

use crate::graph::{Graph, Happened, NodeId};
use crate::merge::Merged;
use crate::owns::Owners;

/// A usual lease; two claims within it are a conflict, not a hand-over.
const LEASE_SECONDS: f64 = 86_400.0;
/// Details quoted in one finding.
const QUOTED_MAX: usize = 4;
/// Pieces of evidence kept with one finding.
const EVIDENCE_MAX: usize = 8;

struct Kind {
    word: &'static str,
    severity: Severity,
    title: &'static str,
    advice: &'static str,
}

const fn kind(
    word: &'static str,
    severity: Severity,
    title: &'static str,
    advice: &'static str,
) -> Kind {
    Kind { word, severity, title, advice }
}

fn describe(event: EventKind) -> Kind {
    use Severity::{High, Info, Medium};
    match event {
        EventKind::FirmwareTransfer => kind(
            "firmware-transfer",
            Medium,
            "A firmware image was sent to it",
            "Check that this was a planned update and which version runs now.",
        ),
        EventKind::ControlWrite => kind(
            "control-write",
            Medium,
            "A controller's program, mode or configuration was changed",
            "Check that an engineer did this; only engineering stations should be able to.",
        ),
        EventKind::CleartextCredential => kind(
            "cleartext-credential",
            High,
            "A credential crossed the network in clear text",
            "Change the credential, and move the service to TLS or behind a gateway.",
        ),
        EventKind::Scan => kind(
            "scan",
            High,
            "It probes many addresses or ports",
            "If it is not your scanner, isolate it; its attempts are left out of the draft policy.",
        ),
        EventKind::Flood => kind(
            "flood",
            High,
            "Made-up identities flood the segment",
            "Find the switch port they come from; port security or DHCP snooping stops them.",
        ),
        EventKind::LimitReached => kind(
            "limit-reached",
            Medium,
            "A bound of the sensor was reached",
            "What came later is not in this inventory; look at the sender first.",
        ),
        EventKind::CleartextAdmin => kind(
            "cleartext-admin",
            Medium,
            "It is administered in clear text",
            "Switch to SSH or HTTPS, or allow administration from one management zone only.",
        ),
        EventKind::AddressConflict => kind(
            "address-conflict",
            Medium,
            "Its network address is claimed by another device too",
            "Check for a wrong static address, a cloned machine or address spoofing.",
        ),
        EventKind::Malformed => kind(
            "malformed",
            Info,
            "It sends frames that make no sense as their protocol",
            "A broken stack, a bad cable, or a fuzzer.",
        ),
    }
}

/// What single devices gave rise to, collected while they are made.
#[derive(Debug, Default)]
pub(crate) struct Remarks {
    changed: Vec<Finding>,
    strays: u64,
    first_stray: Option<Timestamp>,
}

impl Remarks {
    pub(crate) fn device(&mut self, device: &Device) {
        self.changed.extend(firmware_changed(device));
        if device.status == Status::Quarantined {
            self.strays += 1;
            let first = self.first_stray.map_or(device.first_seen, |t| t.min(device.first_seen));
            self.first_stray = Some(first);
        }
    }

    /// These, and what nodes and their addresses gave rise to.
    pub(crate) fn with(self, graph: &Graph, owners: &Owners, merged: &Merged) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut by_device: BTreeMap<(Option<DeviceId>, EventKind), Vec<&Happened>> =
            BTreeMap::new();
        for (id, node) in (0..).zip(&graph.nodes) {
            for event in &node.events {
                let device = graph.node(merged.root(id)).map(|n| n.id.clone());
                by_device.entry((device, event.kind)).or_default().push(event);
            }
        }
        for event in &graph.sensor_events {
            by_device.entry((None, event.kind)).or_default().push(event);
        }
        for ((device, kind), events) in by_device {
            findings.extend(from_events(device, kind, &events));
        }
        findings.extend(self.changed);
        findings.extend(address_conflicts(graph, owners, merged));
        findings.extend(self.first_stray.map(|first| quarantined(self.strays, first)));
        findings
    }
}

/// The gravest first, then by time.
pub(crate) fn in_order(findings: &mut [Finding]) {
    findings.sort_by(|a, b| {
        (b.severity, a.at, &a.kind, &a.device).cmp(&(a.severity, b.at, &b.kind, &b.device))
    });
}

fn from_events(
    device: Option<DeviceId>,
    event: EventKind,
    events: &[&Happened],
) -> Option<Finding> {
    let first = events.iter().min_by_key(|e| e.source.at)?;
    let about = describe(event);
    let mut quoted: Vec<&str> = events.iter().map(|e| &*e.detail).collect();
    quoted.dedup();
    let more = quoted.len().saturating_sub(QUOTED_MAX);
    quoted.truncate(QUOTED_MAX);
    let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
    Some(Finding {
        kind: about.word.to_owned(),
        severity: about.severity,
        device,
        title: about.title.to_owned(),
        detail: format!("{}{more}. {}", quoted.join("; "), about.advice),
        at: first.source.at,
        evidence: events.iter().take(EVIDENCE_MAX).map(|e| cite(e, about.word)).collect(),
        count: events.len() as u64,
    })
}

fn cite(event: &Happened, kind: &str) -> Evidence {
    Evidence {
        input: Arc::clone(&event.source.input),
        packet: event.source.packet,
        protocol: Arc::from(""),
        field: Arc::from("event"),
        value: Arc::clone(&event.detail),
        rule: Arc::from(kind),
        observed_at: event.source.at,
    }
}

fn firmware_changed(device: &Device) -> Option<Finding> {
    let [.., before, now] = device.firmware_history.as_slice() else { return None };
    Some(Finding {
        kind: "firmware-changed".to_owned(),
        severity: Severity::Medium,
        device: Some(device.id.clone()),
        title: format!("Its firmware changed from {} to {}", before.value, now.value),
        detail: format!(
            "It said {} on {} and {} from {} on. Check that this was a planned update.",
            before.value, before.since, now.value, now.since
        ),
        at: now.since,
        evidence: device.firmware.iter().flat_map(|f| f.evidence.clone()).collect(),
        count: 1,
    })
}

fn address_conflicts(graph: &Graph, owners: &Owners, merged: &Merged) -> Vec<Finding> {
    let id = |node: NodeId| graph.node(merged.root(node)).map(|n| n.id.clone());
    let mut findings = Vec::new();
    for (ip, nodes) in owners.shared() {
        for (i, a) in nodes.iter().enumerate() {
            let Some(b) = nodes.get(i + 1) else { continue };
            let stations = (
                graph.node(*a).and_then(|n| n.stations.get(&ip)),
                graph.node(*b).and_then(|n| n.stations.get(&ip)),
            );
            let (Some(x), Some(y)) = stations else { continue };
            // A lease that wandered is no conflict: both must have *claimed* it in one period.
            let claimed = x.bound.is_some() && y.bound.is_some();
            let overlap = x.first <= y.last && y.first <= x.last;
            if merged.root(*a) == merged.root(*b) || !overlap || !claimed {
                continue;
            }
            let other = id(*b).map_or_else(String::new, |id| id.to_string());
            let about = describe(EventKind::AddressConflict);
            // Over a long time a lease that went back and forth looks the same.
            let long = x.last.seconds_since(x.first).max(y.last.seconds_since(y.first));
            let brief = long < LEASE_SECONDS;
            findings.push(Finding {
                kind: about.word.to_owned(),
                severity: if brief { about.severity } else { Severity::Info },
                device: id(*a),
                title: about.title.to_owned(),
                detail: format!("{ip} is also claimed by {other}. {}", about.advice),
                at: x.first.max(y.first),
                evidence: Vec::new(),
                count: 1,
            });
        }
    }
    findings
}

fn quarantined(strays: u64, first: Timestamp) -> Finding {
    Finding {
        kind: "quarantined-addresses".to_owned(),
        severity: Severity::Info,
        device: None,
        title: format!("{strays} link addresses sent one packet that nothing confirms"),
        detail: "They are listed but not counted as devices, and get no zone and no path."
            .to_owned(),
        at: first,
        evidence: Vec::new(),
        count: strays,
    }
}
