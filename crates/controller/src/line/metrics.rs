//! What the line counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start of the process.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Connections that were taken.
    pub connections: Counter,
    /// Handshakes that came to nothing.
    pub handshakes_failed: Counter,
    /// Connections that were cut because their site is not believed any more.
    pub cut: Counter,
    /// Certificates that were issued.
    pub certificates: Counter,
    /// Bundles that were sent.
    pub bundles: Counter,
    /// Of those, such as said only what changed.
    pub deltas: Counter,
    /// Lease frames that were sent.
    pub leases: Counter,
    /// Acknowledgements that were taken.
    pub acks: Counter,
    /// Batches that were taken.
    pub batches: Counter,
    /// Batches that came again.
    pub batches_again: Counter,
    /// Reports of traffic that were taken.
    pub traffic: Counter,
    /// Flows of them that are of no device that the estate knows.
    pub flows_unknown: Counter,
    /// Requests with commitments that were taken.
    pub signed: Counter,
    /// Devices of batches that the estate did not take.
    pub devices_refused: Counter,
    /// Requests that were refused.
    pub refused: Counter,
    /// Requests that came too early.
    pub too_early: Counter,
}

/// One of them.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub(super) fn up(&self) {
        self.more(1);
    }

    /// So many more.
    pub(super) fn more(&self, count: usize) {
        self.0.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Metrics {
    /// Name, what it counts, and how many: all of them are counters.
    pub fn figures(&self) -> [(&'static str, &'static str, u64); 16] {
        let of = |name, what, counter: &Counter| (name, what, counter.count());
        [
            of("line_connections", "Connections of sites that were taken.", &self.connections),
            of("line_handshakes_failed", "TLS handshakes that failed.", &self.handshakes_failed),
            of("line_cut", "Connections cut because a site is not believed.", &self.cut),
            of("line_certificates", "Certificates issued to sites.", &self.certificates),
            of("line_bundles", "Bundles sent.", &self.bundles),
            of("line_deltas", "Bundles sent as what changed.", &self.deltas),
            of("line_leases", "Lease frames sent.", &self.leases),
            of("line_acks", "Acknowledgements taken.", &self.acks),
            of("line_batches", "Batches of observations taken.", &self.batches),
            of("line_batches_again", "Batches that came again.", &self.batches_again),
            of("line_traffic", "Reports of traffic taken.", &self.traffic),
            of("line_flows_unknown", "Flows of no known device.", &self.flows_unknown),
            of("line_signed", "Requests with signed commitments taken.", &self.signed),
            of("line_devices_refused", "Devices of batches not taken.", &self.devices_refused),
            of("line_refused", "Requests of sites refused.", &self.refused),
            of("line_too_early", "Requests of sites that came too early.", &self.too_early),
        ]
    }
}
