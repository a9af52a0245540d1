//! A map of who reaches whom that a person can read: zones, aggregated until they are few, and where they are drawn.
//!
//! Nobody reads a picture of ten thousand dots. Zones are nodes; where there are too many, those of one site and class are one node, then those of
//! one site. Places follow from who is connected with whom (a spring model, as Fruchterman and Reingold have it), begin at the same places every
//! time, and use nothing random: the same estate is drawn the same way.

use std::collections::{BTreeMap, BTreeSet};

use model::ruleset::Mode;

use crate::folder::{Folder, Zone};
use crate::lower::{Lowered, index};

/// Nodes that a map has at most.
pub const NODES_MAX: usize = 150;
/// Steps after which places hardly move any more.
const STEPS: u32 = 250;

/// A map.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sketch {
    /// What is drawn, at most [`NODES_MAX`].
    pub nodes: Vec<Node>,
    /// Who may open services of whom.
    pub edges: Vec<Edge>,
}

/// Zones that are drawn as one.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it stands for: a zone, `SITE/CLASS`, or a site.
    pub id: String,
    /// Zones that are in it.
    pub zones: u64,
    /// Devices that are in it.
    pub devices: u64,
    /// Services that are offered in it.
    pub services: u64,
    /// It is outside of the estate.
    pub outside: bool,
    /// All of its zones are enforced, rather than in shadow.
    pub enforced: bool,
    /// From the left, 0 to 1.
    pub x: f64,
    /// From the top, 0 to 1.
    pub y: f64,
}

/// Devices of one node may open services of another, or of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Number of the node that opens, from 0.
    pub from: usize,
    /// Number of the node that offers.
    pub to: usize,
    /// Pairs of a device and a service.
    pub pairs: u64,
    /// Services that are opened by at least one.
    pub services: u64,
}

/// Draws a folder's zones. Somebody may see only some of it: `counts` says which devices are counted, by their number, and `shows` which zones
/// are drawn; of the others only those that a device which is counted may open something in.
pub fn sketch(
    folder: &Folder,
    lowered: &Lowered,
    counts: &dyn Fn(usize) -> bool,
    shows: &dyn Fn(&Zone) -> bool,
) -> Sketch {
    let mut opened = BTreeSet::new();
    for (number, device) in folder.estate.devices.iter().enumerate().filter(|(n, _)| counts(*n)) {
        opened.insert(device.zone.as_str());
        let grants = lowered.grants(number).iter();
        let services = grants.filter_map(|g| folder.estate.services.get(index(g.service)));
        opened.extend(services.map(|service| service.zone.as_str()));
    }
    let drawn = |zone: &&Zone| shows(zone) || opened.contains(zone.id.as_str());
    let zones: Vec<&Zone> = folder.estate.zones.iter().filter(drawn).collect();
    let names = few(&zones);
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    for name in &names {
        let next = numbers.len();
        numbers.entry(name).or_insert(next);
    }
    let of_zone: BTreeMap<&str, usize> = zones
        .iter()
        .zip(&names)
        .filter_map(|(zone, name)| Some((zone.id.as_str(), *numbers.get(name.as_str())?)))
        .collect();
    let mut nodes = vec![None; numbers.len()];
    for (zone, name) in zones.iter().zip(&names) {
        let Some(slot) = numbers.get(name.as_str()).and_then(|n| nodes.get_mut(*n)) else {
            continue;
        };
        let node = slot.get_or_insert_with(|| Node {
            id: name.clone(),
            zones: 0,
            devices: 0,
            services: 0,
            outside: zone.site.is_none(),
            enforced: true,
            x: 0.5,
            y: 0.5,
        });
        node.zones += 1;
        node.enforced &= zone.mode == Mode::Enforce;
    }
    let mut nodes: Vec<Node> = nodes.into_iter().flatten().collect();
    let host: Vec<Option<usize>> = folder
        .estate
        .services
        .iter()
        .map(|service| of_zone.get(service.zone.as_str()).copied())
        .collect();
    for node in host.iter().flatten() {
        if let Some(node) = nodes.get_mut(*node) {
            node.services += 1;
        }
    }
    // Devices of a node that have the same grants are counted once.
    let mut alike: BTreeMap<(usize, u32), u64> = BTreeMap::new();
    for (number, device) in folder.estate.devices.iter().enumerate().filter(|(n, _)| counts(*n)) {
        let Some(node) = of_zone.get(device.zone.as_str()) else { continue };
        if let Some(node) = nodes.get_mut(*node) {
            node.devices += 1;
        }
        if let Some(profile) = lowered.profile_of.get(number) {
            *alike.entry((*node, *profile)).or_default() += 1;
        }
    }
    let mut pairs: BTreeMap<(usize, usize), BTreeMap<u32, u64>> = BTreeMap::new();
    for ((from, profile), devices) in alike {
        for grant in lowered.profiles.get(index(profile)).into_iter().flatten() {
            let Some(to) = host.get(index(grant.service)).copied().flatten() else { continue };
            *pairs.entry((from, to)).or_default().entry(grant.service).or_default() += devices;
        }
    }
    let edges: Vec<Edge> = pairs
        .into_iter()
        .map(|((from, to), services)| Edge {
            from,
            to,
            pairs: services.values().sum(),
            services: crate::plan::long(services.len()),
        })
        .collect();
    for (node, (x, y)) in nodes.iter_mut().zip(places(numbers.len(), &edges)) {
        (node.x, node.y) = (x, y);
    }
    Sketch { nodes, edges }
}

/// What each zone is drawn as: the finest division of which there are few enough.
fn few(zones: &[&Zone]) -> Vec<String> {
    let site = |zone: &Zone| zone.site.as_ref().map(ToString::to_string);
    let finest: [&dyn Fn(&Zone) -> String; 3] = [
        &|zone| zone.id.clone(),
        &|zone| site(zone).map_or_else(|| zone.id.clone(), |site| format!("{site}/{}", zone.class)),
        &|zone| site(zone).unwrap_or_else(|| zone.id.clone()),
    ];
    for division in finest {
        let names: Vec<String> = zones.iter().map(|zone| division(zone)).collect();
        let mut different: Vec<&String> = names.iter().collect();
        different.sort_unstable();
        different.dedup();
        if different.len() <= NODES_MAX {
            return names;
        }
    }
    // More sites than a map has room for: the first ones by themselves, all others together.
    let mut sites: Vec<String> = zones.iter().filter_map(|zone| site(zone)).collect();
    sites.sort_unstable();
    sites.dedup();
    sites.truncate(NODES_MAX - 2);
    let name = |zone: &Zone| match site(zone) {
        None => "outside".to_owned(),
        Some(site) if sites.binary_search(&site).is_ok() => site,
        Some(_) => "other sites".to_owned(),
    };
    zones.iter().map(|zone| name(zone)).collect()
}

/// Where nodes are drawn, from 0 to 1 in both directions.
fn places(nodes: usize, edges: &[Edge]) -> Vec<(f64, f64)> {
    // Floating-point numbers of few nodes are exact.
    let real = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    // A sunflower: evenly spread, and neighbours by number are near each other.
    let golden = std::f64::consts::PI * (3.0 - 5.0_f64.sqrt());
    let mut at: Vec<(f64, f64)> = (0..nodes)
        .map(|n| {
            let radius = ((real(n) + 0.5) / real(nodes.max(1))).sqrt();
            (radius * (real(n) * golden).cos(), radius * (real(n) * golden).sin())
        })
        .collect();
    let ideal = (1.0 / real(nodes.max(1))).sqrt();
    for step in 0..STEPS {
        let heat = 0.1 * (1.0 - f64::from(step) / f64::from(STEPS));
        let mut moved: Vec<(f64, f64)> = at
            .iter()
            .enumerate()
            .map(|(n, a)| {
                // Towards the middle, so that nothing drifts away.
                let mut push = (-a.0 * ideal * 0.5, -a.1 * ideal * 0.5);
                for (_, b) in at.iter().enumerate().filter(|(other, _)| *other != n) {
                    let (dx, dy) = (a.0 - b.0, a.1 - b.1);
                    let apart = (dx * dx + dy * dy).max(1e-6);
                    push.0 += dx / apart * ideal * ideal;
                    push.1 += dy / apart * ideal * ideal;
                }
                push
            })
            .collect();
        for edge in edges.iter().filter(|edge| edge.from != edge.to) {
            let (Some(a), Some(b)) = (at.get(edge.from), at.get(edge.to)) else { continue };
            let (dx, dy) = (a.0 - b.0, a.1 - b.1);
            let pull = (dx * dx + dy * dy).sqrt() / ideal;
            for (end, sign) in [(edge.from, -1.0), (edge.to, 1.0)] {
                if let Some(push) = moved.get_mut(end) {
                    push.0 += sign * dx * pull;
                    push.1 += sign * dy * pull;
                }
            }
        }
        for (at, push) in at.iter_mut().zip(moved) {
            let long = (push.0 * push.0 + push.1 * push.1).sqrt().max(1e-9);
            let part = long.min(heat) / long;
            at.0 += push.0 * part;
            at.1 += push.1 * part;
        }
    }
    let bounds = |of: &dyn Fn(&(f64, f64)) -> f64| {
        let all = at.iter().map(of);
        let (low, high) = (all.clone().fold(f64::MAX, f64::min), all.fold(f64::MIN, f64::max));
        (low, (high - low).max(1e-9))
    };
    let ((left, wide), (top, high)) = (bounds(&|p| p.0), bounds(&|p| p.1));
    let one = nodes < 2;
    at.iter()
        .map(|(x, y)| match one {
            true => (0.5, 0.5),
            false => (rounded((x - left) / wide), rounded((y - top) / high)),
        })
        .collect()
}

/// A ten-thousandth of the picture is finer than anybody draws, and the same on every machine.
fn rounded(part: f64) -> f64 {
    (part * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: usize, to: usize) -> Edge {
        Edge { from, to, pairs: 1, services: 1 }
    }

    fn zone(site: usize, class: usize, subnet: usize) -> Zone {
        Zone {
            id: format!("s{site}/c{class}/{subnet}"),
            site: Some(model::SiteId::new(&format!("s{site}")).unwrap()),
            class: format!("c{class}"),
            subnet: String::new(),
            mode: Mode::Enforce,
            share: None,
            security_level: None,
            owner: String::new(),
            ..Zone::default()
        }
    }

    fn named(zones: &[Zone]) -> Vec<String> {
        let mut names = few(&zones.iter().collect::<Vec<_>>());
        names.sort_unstable();
        names.dedup();
        names
    }

    #[test]
    fn where_zones_are_too_many_they_are_drawn_together_and_never_are_there_more() {
        let one_site = |subnets: usize| (0..subnets).map(|n| zone(0, n % 5, n)).collect::<Vec<_>>();
        assert_eq!(named(&one_site(NODES_MAX)).len(), NODES_MAX, "each by itself");
        assert_eq!(named(&one_site(NODES_MAX + 1)).len(), 5, "by class");
        let sites = |n: usize| (0..2 * n).map(|m| zone(m / 2, m % 2, m)).collect::<Vec<_>>();
        assert_eq!(named(&sites(NODES_MAX)).len(), NODES_MAX, "by site");
        let many = named(&sites(NODES_MAX + 1));
        assert!(many.len() < NODES_MAX, "{}", many.len());
        assert!(many.contains(&"other sites".to_owned()));
    }

    fn apart(at: &[(f64, f64)], a: usize, b: usize) -> f64 {
        (at[a].0 - at[b].0).hypot(at[a].1 - at[b].1)
    }

    #[test]
    fn the_same_is_drawn_the_same_and_nothing_covers_anything() {
        let edges: Vec<Edge> = (1..NODES_MAX).map(|n| edge(n, n / 7)).collect();
        let at = places(NODES_MAX, &edges);
        assert_eq!(at, places(NODES_MAX, &edges));
        for (n, a) in at.iter().enumerate() {
            assert!((0.0..=1.0).contains(&a.0) && (0.0..=1.0).contains(&a.1), "{a:?}");
            for other in 0..n {
                assert!(apart(&at, n, other) > 0.004, "{n} and {other} are at one place");
            }
        }
    }

    #[test]
    fn what_is_connected_is_near() {
        // Two groups of four, all connected within, and one edge between them.
        let mut edges = vec![edge(3, 4)];
        for group in [0, 4] {
            for a in group..group + 4 {
                edges.extend((group..a).map(|b| edge(a, b)));
            }
        }
        let at = places(8, &edges);
        assert!(apart(&at, 0, 1) < apart(&at, 0, 7), "{at:?}");
        assert!(apart(&at, 5, 6) < apart(&at, 1, 6), "{at:?}");
    }

    #[test]
    fn nothing_and_one_are_drawn_too() {
        assert_eq!(places(0, &[]), []);
        assert_eq!(places(1, &[]), [(0.5, 0.5)]);
    }
}
