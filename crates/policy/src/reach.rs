//! Blast radius: how far a taken-over device gets, directly and by hopping from device to device.
//!
//! A device reaches the services it is granted. By hopping it takes over the devices that offer those
//! services and then uses *their* grants, and so on. A device does not count itself, nor its own
//! services. A multicast group is a destination, not a hop.
//!
//! Exact on the factorised form: devices with equal grants share a node, the nodes' graph is condensed
//! to its strongly connected components, and destinations that the same nodes are granted share a column
//! of a bit matrix that is filled block by block. Memory stays at (components × one block).

use std::collections::{BTreeMap, BTreeSet};

use model::inspect::{DeviceReach, Reach, ReachSummary, Report};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::folder::Folder;
use crate::lower::{Lowered, index, lower};

/// Words of 64 columns in one block of the bit matrix.
const BLOCK_WORDS: usize = 32;
/// How many devices are named.
const WORST: usize = 10;

/// Reach of every device, by its index.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Analysis {
    /// Services in all.
    pub services: u64,
    /// Services of others: what the flat network offers.
    pub flat_services: Vec<u64>,
    /// Services granted.
    pub direct_services: Vec<u64>,
    /// Devices that offer them.
    pub direct_devices: Vec<u64>,
    /// Services reached by hopping.
    pub transitive_services: Vec<u64>,
    /// Devices reached by hopping.
    pub transitive_devices: Vec<u64>,
}

/// The reach section of a report whose draft is `folder`.
pub fn reach(report: &Report, folder: &Folder) -> Reach {
    let analysis = analyse(folder, &lower(folder));
    summary(folder, &analysis, used_pairs(report, folder))
}

/// Different (device, service) pairs that a recorded conduit used; a device's own services left out.
pub fn used_pairs(report: &Report, folder: &Folder) -> u64 {
    let devices: FxHashSet<&str> = folder.estate.devices.iter().map(|d| d.id.as_str()).collect();
    let hosts: FxHashMap<&str, Option<&str>> = folder
        .estate
        .services
        .iter()
        .map(|s| (s.id.as_str(), s.device.as_ref().map(|d| d.as_str())))
        .collect();
    let pairs: FxHashSet<(&str, &str)> = report
        .conduits
        .iter()
        .map(|c| (c.from.as_str(), c.to.as_str()))
        .filter(|(from, to)| {
            devices.contains(from) && hosts.get(to).is_some_and(|host| *host != Some(*from))
        })
        .collect();
    long(pairs.len())
}

/// Totals, the share never used, and the devices that reach most.
pub fn summary(folder: &Folder, analysis: &Analysis, used_pairs: u64) -> Reach {
    let devices = &folder.estate.devices;
    let totals = |direct: &[u64], transitive: &[u64]| ReachSummary {
        devices: long(devices.len()),
        services: analysis.services,
        direct_pairs: direct.iter().sum(),
        transitive_pairs: transitive.iter().sum(),
        direct_max: direct.iter().copied().max().unwrap_or(0),
        transitive_max: transitive.iter().copied().max().unwrap_or(0),
    };
    let flat = totals(&analysis.flat_services, &analysis.flat_services);
    let draft = totals(&analysis.direct_services, &analysis.transitive_services);
    let unused_share = share(flat.direct_pairs.saturating_sub(used_pairs), flat.direct_pairs);
    let at = |of: &[u64], i: usize| of.get(i).copied().unwrap_or(0);
    let mut order: Vec<usize> = (0..devices.len()).collect();
    order.sort_by_key(|i| {
        let reach = [
            at(&analysis.transitive_services, *i),
            at(&analysis.transitive_devices, *i),
            at(&analysis.direct_services, *i),
        ];
        (std::cmp::Reverse(reach), devices.get(*i).map(|d| &d.id))
    });
    let worst = order
        .into_iter()
        .take(WORST)
        .filter_map(|i| {
            Some(DeviceReach {
                device: devices.get(i)?.id.clone(),
                flat_services: at(&analysis.flat_services, i),
                direct_services: at(&analysis.direct_services, i),
                direct_devices: at(&analysis.direct_devices, i),
                transitive_services: at(&analysis.transitive_services, i),
                transitive_devices: at(&analysis.transitive_devices, i),
            })
        })
        .collect();
    Reach { flat, draft, unused_share, worst }
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn share(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}

fn long(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Devices reached from `start` by hopping (`start` included) and services reached, by index.
pub fn closure(
    folder: &Folder,
    lowered: &Lowered,
    start: &[usize],
) -> (BTreeSet<usize>, BTreeSet<usize>) {
    hops(&hosts(folder), lowered, start)
}

/// [`closure`] where the hosts of services are known already.
pub(crate) fn hops(
    hosts: &[Option<usize>],
    lowered: &Lowered,
    start: &[usize],
) -> (BTreeSet<usize>, BTreeSet<usize>) {
    let (mut devices, mut services) = (BTreeSet::new(), BTreeSet::new());
    let mut done: BTreeSet<u32> = BTreeSet::new();
    let mut todo: Vec<usize> = start.to_vec();
    while let Some(device) = todo.pop() {
        if !devices.insert(device) {
            continue;
        }
        let profile = lowered.profile_of.get(device).copied().unwrap_or_default();
        if !done.insert(profile) {
            continue;
        }
        for grant in lowered.grants(device) {
            let service = index(grant.service);
            services.insert(service);
            todo.extend(hosts.get(service).copied().flatten());
        }
    }
    (devices, services)
}

/// Device (by index) that offers each service.
pub(crate) fn hosts(folder: &Folder) -> Vec<Option<usize>> {
    let numbers: FxHashMap<&str, usize> =
        folder.estate.devices.iter().enumerate().map(|(i, d)| (d.id.as_str(), i)).collect();
    let host = |d: &model::DeviceId| numbers.get(d.as_str()).copied();
    folder.estate.services.iter().map(|s| s.device.as_ref().and_then(host)).collect()
}

/// Direct and transitive reach of every device.
pub fn analyse(folder: &Folder, lowered: &Lowered) -> Analysis {
    let hosts = hosts(folder);
    let device_count = folder.estate.devices.len();
    let service_count = long(folder.estate.services.len());
    let mut flat_services = vec![service_count; device_count];
    for host in hosts.iter().flatten() {
        if let Some(n) = flat_services.get_mut(*host) {
            *n = n.saturating_sub(1);
        }
    }
    let host_of = |service: u32| hosts.get(index(service)).copied().flatten();
    // Devices that offer what a profile is granted.
    let offered: Vec<Vec<usize>> = lowered
        .profiles
        .iter()
        .map(|grants| {
            let mut devices: Vec<usize> =
                grants.iter().filter_map(|g| host_of(g.service)).collect();
            devices.sort_unstable();
            devices.dedup();
            devices
        })
        .collect();

    let profile = |device: usize| lowered.profile_of.get(device).map_or(0, |p| index(*p));
    let mut direct_services: Vec<u64> = (0..device_count)
        .map(|d| lowered.profiles.get(profile(d)).map_or(0, |g| long(g.len())))
        .collect();
    for (service, host) in hosts.iter().enumerate() {
        let granted = host.filter(|host| lowered.grant(*host, service).is_some());
        if let Some(n) = granted.and_then(|host| direct_services.get_mut(host)) {
            *n = n.saturating_sub(1);
        }
    }
    let direct_devices: Vec<u64> = (0..device_count)
        .map(|d| {
            let offered = offered.get(profile(d)).map_or(&[][..], Vec::as_slice);
            long(offered.len()).saturating_sub(u64::from(offered.binary_search(&d).is_ok()))
        })
        .collect();

    let next: Vec<Vec<usize>> = offered
        .iter()
        .map(|devices| {
            let mut next: Vec<usize> = devices.iter().map(|d| profile(*d)).collect();
            next.sort_unstable();
            next.dedup();
            next
        })
        .collect();
    let condensed = Condensed::of(&next);
    let services = columns(
        lowered.profiles.iter().map(|grants| grants.iter().map(|g| index(g.service)).collect()),
        |service| hosts.get(service).copied().flatten(),
    );
    let devices = columns(offered.into_iter(), Some);
    let transitive_services = condensed.count(&services, device_count, &profile);
    let transitive_devices = condensed.count(&devices, device_count, &profile);
    Analysis {
        services: service_count,
        flat_services,
        direct_services,
        direct_devices,
        transitive_services,
        transitive_devices,
    }
}

/// Destinations that the same profiles are granted.
#[derive(Default)]
struct Column {
    profiles: Vec<usize>,
    /// How many destinations it stands for.
    weight: u64,
    /// Devices that must not count a destination of it, once per destination.
    owners: Vec<usize>,
}

/// Groups destinations by the set of profiles that are granted them.
fn columns(
    lists: impl Iterator<Item = Vec<usize>>,
    owner: impl Fn(usize) -> Option<usize>,
) -> Vec<Column> {
    let mut profiles_of: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (profile, list) in lists.enumerate() {
        for item in list {
            profiles_of.entry(item).or_default().push(profile);
        }
    }
    let mut known: FxHashMap<Vec<usize>, usize> = FxHashMap::default();
    let mut columns: Vec<Column> = Vec::new();
    for (item, profiles) in profiles_of {
        let at = *known.entry(profiles).or_insert_with_key(|profiles| {
            columns.push(Column { profiles: profiles.clone(), ..Column::default() });
            columns.len().saturating_sub(1)
        });
        if let Some(column) = columns.get_mut(at) {
            column.weight = column.weight.saturating_add(1);
            column.owners.extend(owner(item));
        }
    }
    columns
}

/// Strongly connected components in reverse topological order: successors have smaller numbers.
struct Condensed {
    component_of: Vec<usize>,
    /// Successor components, sorted, without itself.
    next: Vec<Vec<usize>>,
}

impl Condensed {
    fn of(graph: &[Vec<usize>]) -> Self {
        let component_of = components(graph);
        let count = component_of.iter().max().map_or(0, |max| max.saturating_add(1));
        let mut next: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (node, successors) in graph.iter().enumerate() {
            let Some(component) = component_of.get(node).copied() else {
                continue;
            };
            if let Some(of) = next.get_mut(component) {
                let others = successors.iter().filter_map(|s| component_of.get(*s).copied());
                of.extend(others.filter(|c| *c != component));
            }
        }
        for of in &mut next {
            of.sort_unstable();
            of.dedup();
        }
        Self { component_of, next }
    }

    /// For every device: the number of destinations its component reaches, less its own.
    fn count(
        &self,
        columns: &[Column],
        devices: usize,
        profile: &impl Fn(usize) -> usize,
    ) -> Vec<u64> {
        let component = |node: usize| self.component_of.get(node).copied().unwrap_or(0);
        let mut totals = vec![0u64; self.next.len()];
        let mut own = vec![0u64; devices];
        let mut rows: Vec<[u64; BLOCK_WORDS]> = Vec::new();
        for block in columns.chunks(BLOCK_WORDS * 64) {
            rows.clear();
            rows.resize(self.next.len(), [0; BLOCK_WORDS]);
            for (bit, column) in block.iter().enumerate() {
                for node in &column.profiles {
                    if let Some(row) = rows.get_mut(component(*node)) {
                        set(row, bit);
                    }
                }
            }
            for (number, successors) in self.next.iter().enumerate() {
                let (before, from_here) = rows.split_at_mut(number);
                let Some(row) = from_here.first_mut() else {
                    break;
                };
                for other in successors.iter().filter_map(|s| before.get(*s)) {
                    row.iter_mut().zip(other).for_each(|(a, b)| *a |= b);
                }
            }
            let planes = planes(block);
            for (total, row) in totals.iter_mut().zip(&rows) {
                *total = total.saturating_add(weigh(row, &planes));
            }
            for (bit, column) in block.iter().enumerate() {
                for owner in &column.owners {
                    let reached =
                        rows.get(component(profile(*owner))).is_some_and(|row| get(row, bit));
                    if let Some(n) = own.get_mut(*owner).filter(|_| reached) {
                        *n = n.saturating_add(1);
                    }
                }
            }
        }
        (0..devices)
            .zip(own)
            .map(|(d, own)| totals.get(component(profile(d))).map_or(0, |t| t.saturating_sub(own)))
            .collect()
    }
}

fn set(row: &mut [u64; BLOCK_WORDS], bit: usize) {
    if let Some(word) = row.get_mut(bit / 64) {
        *word |= 1 << (bit % 64);
    }
}

fn get(row: &[u64; BLOCK_WORDS], bit: usize) -> bool {
    row.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
}

/// Weights by binary digit: `planes[k]` has the columns whose weight has digit `k`.
fn planes(block: &[Column]) -> Vec<(u32, [u64; BLOCK_WORDS])> {
    let digits = block.iter().map(|c| u64::BITS - c.weight.leading_zeros()).max().unwrap_or(0);
    (0..digits)
        .map(|digit| {
            let mut plane = [0; BLOCK_WORDS];
            for (bit, _) in block.iter().enumerate().filter(|(_, c)| c.weight >> digit & 1 == 1) {
                set(&mut plane, bit);
            }
            (digit, plane)
        })
        .filter(|(_, plane)| plane.iter().any(|word| *word != 0))
        .collect()
}

fn weigh(row: &[u64; BLOCK_WORDS], planes: &[(u32, [u64; BLOCK_WORDS])]) -> u64 {
    planes
        .iter()
        .map(|(digit, plane)| {
            let ones: u64 =
                row.iter().zip(plane).map(|(a, b)| u64::from((a & b).count_ones())).sum();
            ones << digit
        })
        .sum()
}

/// Component of each node (Tarjan, without recursion); a component's successors have smaller numbers.
fn components(graph: &[Vec<usize>]) -> Vec<usize> {
    const NEW: usize = usize::MAX;
    let mut order = vec![NEW; graph.len()];
    let mut low = vec![NEW; graph.len()];
    let mut component = vec![NEW; graph.len()];
    let (mut stack, mut clock, mut found) = (Vec::new(), 0usize, 0usize);
    let read = |of: &[usize], i: usize| of.get(i).copied().unwrap_or(NEW);
    for root in 0..graph.len() {
        if read(&order, root) != NEW {
            continue;
        }
        let mut calls: Vec<(usize, usize)> = vec![(root, 0)];
        while let Some((node, edge)) = calls.pop() {
            if edge == 0 {
                write(&mut order, node, clock);
                write(&mut low, node, clock);
                clock = clock.saturating_add(1);
                stack.push(node);
            }
            match graph.get(node).and_then(|next| next.get(edge)).copied() {
                Some(next) => {
                    calls.push((node, edge.saturating_add(1)));
                    if read(&order, next) == NEW {
                        calls.push((next, 0));
                    } else if read(&component, next) == NEW {
                        let lower = read(&low, node).min(read(&order, next));
                        write(&mut low, node, lower);
                    }
                }
                None => {
                    if read(&low, node) == read(&order, node) {
                        while let Some(member) = stack.pop() {
                            write(&mut component, member, found);
                            if member == node {
                                break;
                            }
                        }
                        found = found.saturating_add(1);
                    }
                    if let Some((parent, _)) = calls.last().copied() {
                        let lower = read(&low, parent).min(read(&low, node));
                        write(&mut low, parent, lower);
                    }
                }
            }
        }
    }
    component
}

fn write(of: &mut [usize], i: usize, value: usize) {
    if let Some(slot) = of.get_mut(i) {
        *slot = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_come_after_their_successors() {
        // 0 → 1 ⇄ 2 → 3, 4 → 4
        let graph = vec![vec![1], vec![2], vec![1, 3], vec![], vec![4]];
        let of = components(&graph);
        assert_eq!(of[1], of[2]);
        assert!(of[3] < of[1] && of[1] < of[0]);
        assert_eq!(of.iter().collect::<BTreeSet<_>>().len(), 4);
    }

    #[test]
    fn weights_are_summed_by_digit() {
        let column = |weight| Column { weight, ..Column::default() };
        let block = [column(1), column(5), column(1000)];
        let mut row = [0; BLOCK_WORDS];
        set(&mut row, 1);
        set(&mut row, 2);
        assert_eq!(weigh(&row, &planes(&block)), 1005);
    }
}
