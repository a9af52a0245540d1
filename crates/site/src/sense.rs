//! The sensor of a site: listens on its interface and says who is there.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use inventory::{Ids, Inventory, Knowledge};
use model::inspect::{Device, Status};
use model::line::{End, Flow};
use model::observation::{Fact, Observation, Subject};
use model::{Mac, SensorId, SiteId, Timestamp};
use sensor::capture::ring::{self, Ring, Wait};
use sensor::capture::{Packet, Source};
use sensor::{Config, Frame, Sensor};
use serde::{Deserialize, Serialize};

/// Who was seen so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Confirmed devices.
    pub devices: Vec<Device>,
    /// Packets read.
    pub packets: u64,
    /// Packets the kernel dropped because nobody read them in time.
    pub dropped: u64,
    /// Faults of the capture; the capture is over when `over`.
    pub faults: Vec<String>,
    /// It ended.
    pub over: bool,
}

/// Who talked to whom since that was reported last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried(pub Vec<Flow>);

/// What the sensor works with.
pub struct Sense {
    /// Where it listens.
    pub interface: String,
    /// Name of the site.
    pub site: SiteId,
    /// Rules and address blocks.
    pub knowledge: Knowledge,
    /// Names devices.
    pub ids: Box<dyn Ids + Send>,
}

/// Time between two reports.
const REPORT_NANOS: i64 = 5_000_000_000;
/// Time between two reports of traffic: what crosses near the end of an hour may count for the next one by so much.
const CARRIED_NANOS: i64 = 10_000_000_000;

/// Opens the interface and listens on a thread of its own; reports go to `reports` until `stop`.
pub fn start<T: From<Seen> + From<Carried> + Send + 'static>(
    mut sense: Sense,
    stop: Arc<AtomicBool>,
    reports: Sender<T>,
) -> Result<(), ring::RingError> {
    // A site forwards at the same time: a quarter of the ring of an inspection is plenty.
    let options = ring::Options { blocks: 16, stop, ..ring::Options::default() };
    let mut ring = Ring::open(&sense.interface, &options)?;
    let refused = {
        let name = sense.interface.clone();
        move |source| ring::RingError::Refused { name, step: "a thread", source }
    };
    let builder = thread::Builder::new().name("sensor".to_owned());
    let thread = builder.spawn(move || {
        let mut sensor = Sensor::new(Config { site: sense.site.clone(), sensor: sensor_id() });
        let input = sensor.input(&sense.interface);
        let mut inventory = Inventory::default();
        let mut next = Timestamp::MIN;
        let mut carried_at = Timestamp::MIN;
        let mut dirty = true;
        loop {
            let at = match ring.wait(Duration::from_secs(1)) {
                Wait::Packet(at) => {
                    if let Some(packet) = ring.current() {
                        sensor.frame(&frame(input, &packet));
                    }
                    at
                }
                Wait::Idle => crate::shell::now(),
                Wait::Over => break,
            };
            for observation in sensor.drain() {
                inventory.apply(&observation, sense.ids.as_mut());
                dirty = true;
            }
            if at >= next && dirty {
                next = at.plus_nanos(REPORT_NANOS);
                dirty = false;
                let seen = report(&mut inventory, &mut sense, &ring, false);
                if reports.send(T::from(seen)).is_err() {
                    return;
                }
            }
            if at >= carried_at {
                carried_at = at.plus_nanos(CARRIED_NANOS);
                let mut carried = Carried::default();
                // It stays out of the inventory, which keeps every conversation that it hears of.
                sensor.traffic(&mut |observation| carried.0.extend(flow(observation)));
                if !carried.0.is_empty() && reports.send(T::from(carried)).is_err() {
                    return;
                }
            }
        }
        sensor.finish(&mut |observation| inventory.apply(&observation, sense.ids.as_mut()));
        let seen = report(&mut inventory, &mut sense, &ring, true);
        let _ = reports.send(T::from(seen)); // Whoever asked for the stop may be gone.
    });
    thread.map(drop).map_err(refused)
}

fn frame<'a>(input: u16, packet: &Packet<'a>) -> Frame<'a> {
    Frame {
        input,
        number: packet.number,
        at: packet.at,
        link: packet.link,
        wire_len: packet.wire_len,
        vlan: packet.vlan,
        data: packet.data,
    }
}

/// What the line says of a path.
fn flow(observation: Observation) -> Option<Flow> {
    let (Subject::Link { mac, .. }, Fact::Flow(flow)) = (observation.subject, observation.fact)
    else {
        return None;
    };
    Some(Flow {
        client: End { mac, ip: flow.client_ip },
        server: End { mac: flow.server_mac, ip: flow.server_ip },
        transport: flow.transport,
        port: flow.port,
        protocol: flow.application.as_deref().map(str::to_owned),
        name: flow.server_name.as_deref().map(str::to_owned),
        certain: flow.roles_certain,
        first: flow.first,
        last: flow.last,
        flows: flow.flows,
        packets: [flow.packets_out, flow.packets_in],
        bytes: [flow.bytes_out, flow.bytes_in],
    })
}

fn report(inventory: &mut Inventory, sense: &mut Sense, ring: &Ring, over: bool) -> Seen {
    let resolved = inventory.resolve(&sense.knowledge, sense.ids.as_mut());
    let status = ring.status();
    Seen {
        devices: resolved.devices.into_iter().filter(|d| d.status == Status::Confirmed).collect(),
        packets: status.packets,
        dropped: status.dropped,
        faults: status.errors,
        over,
    }
}

#[expect(clippy::expect_used, reason = "a constant of allowed characters")]
fn sensor_id() -> SensorId {
    SensorId::new("site").expect("a valid constant")
}

/// A device that the folder does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unknown {
    /// Link addresses.
    pub macs: Vec<Mac>,
    /// Network addresses.
    pub addresses: Vec<IpAddr>,
    /// What it seems to be.
    pub what: String,
}

/// The seen devices whose link addresses no device of the folder has; `own`: this machine's.
pub fn unknown(seen: &Seen, known: &BTreeSet<Mac>, own: &BTreeSet<Mac>) -> Vec<Unknown> {
    let stranger = |device: &&Device| {
        let inside = !device.macs.is_empty();
        inside && !device.macs.iter().any(|mac| known.contains(mac) || own.contains(mac))
    };
    let tell = |device: &Device| Unknown {
        macs: device.macs.clone(),
        addresses: device.ips.clone(),
        what: [&device.vendor, &device.model, &device.kind]
            .into_iter()
            .flatten()
            .map(|attribute| attribute.value.clone())
            .collect::<Vec<_>>()
            .join(" "),
    };
    seen.devices.iter().filter(stranger).map(tell).collect()
}

impl std::fmt::Debug for Sense {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sense").field("interface", &self.interface).finish_non_exhaustive()
    }
}
