//! `bench estate`: a million devices in memory, a start from a snapshot, and what deciding leases costs.
//!
//! Devices have what devices have: seven claims of three sources, two identifiers, one or two addresses; vendors, models and
//! firmware come in as many versions as a large estate has. They come in as reports of their sites, are decided and folded, as in a
//! controller. Memory is what this process holds more than before them.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use estate::devices::{self, Edit, Facts, Field, Said};
use estate::leases::{self, Judge, Judged};
use estate::{At, Command, Estate, sites, teams};
use journal::entry::{Actor, Name};
use model::{DeviceId, SiteId, Timestamp};

use crate::figures::{self, Bar, Figure};
use crate::reach::timed;
use crate::{Options, Stop, decisions};

const DEVICES: u32 = 1_000_000;
const SITES: u32 = 1_000;
const ZONES: u32 = 500;
/// Policies of the folder; shapes as in `bench policy`.
const POLICIES: u32 = 50;
const LEASED: u32 = 50_000;
const FEW: u32 = 10_000;
/// Changes of one device that are timed.
const CHANGES: u32 = 1_000;
/// Devices of one report.
const REPORT: usize = 1_000;

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<bool, Stop> {
    // The large one first: nothing that others gave back is taken for its memory.
    let mut figures = million()?;
    figures.extend(leased()?);
    figures.extend(changed()?);
    figures::print("bench estate", &figures, options)
}

fn million() -> Result<Vec<Figure>, Stop> {
    let before = resident()?;
    let (made, fold_secs) = timed(|| estate(DEVICES));
    let made = made?;
    let held = resident()? - before;
    let (snapshot, write_secs) = timed(|| made.snapshot().map_err(stop));
    let snapshot = snapshot?;
    let (restored, restore_secs) = timed(|| Estate::restore(&snapshot).map_err(stop));
    let restored = restored?;
    if restored != made {
        return Err(Stop("the restored estate is another".to_owned()));
    }
    restored.devices().check().map_err(Stop)?;
    let size = float(snapshot.len());
    let (one, lookup_secs) = timed(|| {
        let site = SiteId::new("site-1").ok()?;
        let found = (0..DEVICES).filter_map(|n| restored.devices().by_key(&assigned(n), &site));
        Some(found.count())
    });
    if one != usize::try_from(DEVICES).ok() {
        return Err(Stop(format!("{one:?} of {DEVICES} devices are found by their address")));
    }
    Ok(vec![
        Figure::new("devices", f64::from(DEVICES), "device"),
        Figure::new("memory", held / 1e6, "MB").bar(Bar::AtMost(1_500.0)),
        Figure::new("memory per device", held / f64::from(DEVICES), "byte"),
        Figure::new("reported, decided and folded", f64::from(DEVICES) / fold_secs, "device/s"),
        Figure::new("snapshot", size / 1e6, "MB"),
        Figure::new("snapshot, written", write_secs, "s"),
        Figure::new("snapshot, restored", restore_secs, "s").bar(Bar::AtMost(10.0)),
        Figure::new("found by identifier", lookup_secs * 1e6 / f64::from(DEVICES), "µs"),
    ])
}

/// A policy change: every device is asked about, and everything that differs is decided.
fn leased() -> Result<Vec<Figure>, Stop> {
    let folder = decisions::estate(POLICIES, decisions::DEVICES)?;
    let mut estate = estate(LEASED)?;
    let (all, first_secs) = timed(|| {
        let judged = leases::judge(&folder, &estate);
        differing(&judged, &estate)
    });
    let count = all.len();
    if count != usize::try_from(LEASED).unwrap_or(0) {
        return Err(Stop(format!("{count} decisions about {LEASED} devices")));
    }
    let granted =
        all.iter().filter(|d| matches!(d.verdict, leases::Verdict::Granted { .. })).count();
    let (_, fold_secs) = timed(|| fold_decisions(&mut estate, all));
    let (left, sweep_secs) = timed(|| {
        let judged = leases::judge(&folder, &estate);
        differing(&judged, &estate).len()
    });
    let services = float(folder.estate.services.len());
    Ok(vec![
        Figure::new("leases: devices", f64::from(LEASED), "device"),
        Figure::new("leases: services", services, "service"),
        Figure::new("leases: devices that are granted something", float(granted), "device"),
        Figure::new("leases: all of them anew", first_secs, "s").bar(Bar::AtMost(2.0)),
        Figure::new("leases: decided and folded", fold_secs, "s"),
        Figure::new("leases: a sweep that finds nothing", sweep_secs, "s").bar(Bar::AtMost(2.0)),
        Figure::new("leases: left over by the sweep", float(left), "decision")
            .bar(Bar::AtMost(0.0)),
    ])
}

/// One device changes: from the person's decision to the lease, over a prepared judge.
fn changed() -> Result<Vec<Figure>, Stop> {
    let folder = decisions::estate(POLICIES, decisions::DEVICES)?;
    let mut estate = estate(FEW)?;
    let all = differing(&leases::judge(&folder, &estate), &estate);
    fold_decisions(&mut estate, all)?;
    let (mut judge, ready_secs) = timed(|| Judge::new(&folder));
    let mut took = Vec::new();
    for change in 0..CHANGES {
        let id = id(change.wrapping_mul(2_654_435_761) % FEW)?;
        let posture = if change % 2 == 0 { "quarantined" } else { "watched" };
        let begin = Instant::now();
        edit(&mut estate, vec![id.clone()], Field::Posture, posture)?;
        let ids = [id];
        let judged = judge.some(&estate, &ids);
        let mut name = || format!("change-{change}");
        let decisions = judged.differing_of(&estate, &ids, "policy", "device", &mut name);
        fold_decisions(&mut estate, decisions)?;
        took.push(begin.elapsed().as_secs_f64() * 1_000.0);
    }
    took.sort_by(f64::total_cmp);
    let at = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or(f64::NAN);
    Ok(vec![
        Figure::new("one of 10,000: judge made ready", ready_secs * 1_000.0, "ms"),
        Figure::new("one of 10,000: change to lease, median", at(50), "ms"),
        Figure::new("one of 10,000: change to lease, p99", at(99), "ms").bar(Bar::AtMost(5.0)),
    ])
}

fn differing(judged: &Judged, estate: &Estate) -> Vec<leases::Decision> {
    let mut number = 0_u32;
    let mut id = || {
        number = number.saturating_add(1);
        format!("decision-{number}")
    };
    judged.differing(estate, "policy", "policy", usize::MAX, &mut id)
}

fn fold_decisions(estate: &mut Estate, decisions: Vec<leases::Decision>) -> Result<(), Stop> {
    for part in decisions.chunks(leases::BATCH_MAX) {
        let decide = leases::Command::Decide { decisions: part.to_vec() };
        command(estate, &Command::Lease(decide))?;
    }
    Ok(())
}

/// An estate of so many devices, each placed in a zone with an owner.
fn estate(devices: u32) -> Result<Estate, Stop> {
    let mut estate = Estate::default();
    for team in 0..20 {
        let team = teams::Team {
            id: format!("team-{team}"),
            name: format!("Team {team}"),
            contact: "desk".to_owned(),
            escalate_after_min: 30,
            escalate_to: None,
        };
        command(&mut estate, &Command::Team(teams::Command::Set { team }))?;
    }
    let per_site = devices.div_ceil(SITES).max(1);
    let mut n = 0_u32;
    for number in 0..SITES {
        let site = SiteId::new(&format!("site-{number}")).map_err(stop)?;
        let create = sites::Command::Create { id: site.clone(), name: format!("Site {number}") };
        command(&mut estate, &Command::Site(create))?;
        let here: Vec<u32> = (n..n.saturating_add(per_site).min(devices)).collect();
        n = n.saturating_add(per_site);
        for part in here.chunks(REPORT) {
            for source in ["sensor", "leases/kea"] {
                let told: Result<Vec<Facts>, Stop> =
                    part.iter().map(|n| facts(*n, source)).collect();
                let (site, source) = (site.clone(), source.to_owned());
                let report = devices::Command::Report { site, source, devices: told? };
                command(&mut estate, &Command::Device(report))?;
            }
        }
        if here.is_empty() {
            continue;
        }
        let ids: Result<Vec<DeviceId>, Stop> = here.iter().map(|n| id(*n)).collect();
        let ids = ids?;
        edit(&mut estate, ids.clone(), Field::Owner, &format!("team-{}", number % 20))?;
        // Zones of the folder.
        let mut zones: BTreeMap<u32, Vec<DeviceId>> = BTreeMap::new();
        for (place, id) in (0_u32..).zip(ids) {
            let zone = number.wrapping_mul(7).wrapping_add(place % 5) % ZONES;
            zones.entry(zone).or_default().push(id);
        }
        for (zone, ids) in zones {
            edit(&mut estate, ids, Field::Zone, &format!("z{zone}"))?;
        }
    }
    Ok(estate)
}

fn edit(
    estate: &mut Estate,
    devices: Vec<DeviceId>,
    field: Field,
    value: &str,
) -> Result<(), Stop> {
    let set = BTreeMap::from([(field, Some(value.to_owned()))]);
    let edit = Edit { set, ..Edit::default() };
    command(estate, &Command::Device(devices::Command::Edit { devices, edit }))
}

fn command(estate: &mut Estate, command: &Command) -> Result<(), Stop> {
    let who = Actor { kind: Name::new("person").map_err(stop)?, id: "op-1".to_owned() };
    let time = Timestamp::from_secs(1_900_000_100, 0);
    let events = estate.decide(command, &who, time).map_err(stop)?;
    let at = At { entry: estate.size(), time, who: &who };
    estate.apply(&events, at);
    Ok(())
}

pub(crate) fn id(n: u32) -> Result<DeviceId, Stop> {
    let text = match n {
        // Some of them offer services of the folder.
        0..LEASED => format!("d{n}"),
        // As long as ids of a controller are.
        _ => format!("dev-01981f5e-7d2c-7b3a-{n:012x}"),
    };
    DeviceId::new(&text).map_err(stop)
}

fn assigned(n: u32) -> String {
    let [a, b, c, d] = n.to_be_bytes();
    format!("mac/00:{:02x}:{a:02x}:{b:02x}:{c:02x}:{d:02x}", 0x80_u8)
}

/// What one source tells of a device.
pub(crate) fn facts(n: u32, source: &str) -> Result<Facts, Stop> {
    let at = Timestamp::from_secs(1_900_000_000, 0);
    let said = |field, value: String, detail: &str| Said {
        field,
        value: Some(value),
        detail: detail.to_owned(),
        confidence: 80,
        at,
    };
    let kind = n % 10;
    let address = |block: u32| IpAddr::V4(Ipv4Addr::from_bits(block | (n % 0x00ff_ffff)));
    let mut addresses = vec![address(0x0a00_0000)];
    if n.is_multiple_of(3) {
        addresses.push(address(0x6400_0000));
    }
    let facts = |subject: String, keys, addresses, said| -> Result<Facts, Stop> {
        let (first_seen, last_seen) = (at, at);
        Ok(Facts { id: id(n)?, subject, keys, addresses, said, first_seen, last_seen })
    };
    if source == "sensor" {
        let told = vec![
            said(Field::Type, format!("{}-{}", decisions::class_of(kind), n % 3), "class"),
            said(Field::Vendor, format!("Vendor {}", n % 300), "oui"),
            said(Field::Model, format!("Model {}", n % 5_000), "lldp.system-description"),
            said(Field::Firmware, format!("{}.{}.{}", kind, n % 40, n % 7), "http.server"),
        ];
        let keys = vec![assigned(n), format!("serial/ACME/{n:010}")];
        return facts(format!("dev-{n}"), keys, Some(addresses), told);
    }
    let told = vec![said(Field::Hostname, format!("host-{n}"), "")];
    facts(format!("{n}"), vec![assigned(n)], None, told)
}

/// Bytes of memory that this process holds.
fn resident() -> Result<f64, Stop> {
    let text = std::fs::read_to_string("/proc/self/statm").map_err(stop)?;
    let pages: Option<u32> = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    let pages = pages.ok_or_else(|| Stop("/proc/self/statm is not understood".to_owned()))?;
    Ok(f64::from(pages) * 4_096.0)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn float(n: usize) -> f64 {
    n as f64
}

fn stop(error: impl std::fmt::Display) -> Stop {
    Stop(error.to_string())
}
