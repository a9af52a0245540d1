//! What guards a draft: derived tests and standing claims. Its forbids are the base pack's.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use super::Refused;
use crate::check::Claims;
use crate::class;
use crate::folder::{Claim, Folder, PathTest, ReachOf, ReachTest, Tests};
use crate::lower::{Lowered, index};
use crate::reach::Analysis;
use crate::text::line;

/// Must allow: one recorded path per permit. Must deny: what was refused, and one path between each two
/// classes that have none. Reach: no zone gets further than it does now.
pub(super) fn tests(
    folder: &Folder,
    lowered: &Lowered,
    analysis: &Analysis,
    samples: &[(usize, usize, String)],
    refused: &[Refused],
) -> Tests {
    let estate = &folder.estate;
    let test = |device: usize, service: usize, because: String| {
        let (device, service) = (estate.devices.get(device)?, estate.services.get(service)?);
        Some(PathTest { from: device.id.clone(), to: service.id.clone(), because, line: 0 })
    };
    let allow = samples
        .iter()
        .filter(|(device, service, _)| lowered.grant(*device, *service).is_some())
        .filter_map(|(device, service, rule)| test(*device, *service, format!("recorded; {rule}")))
        .collect();
    let mut deny: Vec<PathTest> = refused
        .iter()
        .map(|r| PathTest {
            from: r.from.clone(),
            to: r.to.clone(),
            because: line(&r.reasons.first().map_or(String::new(), |r| r.text.clone())),
            line: 0,
        })
        .collect();
    for (device, service, from, to) in between_classes(folder, lowered) {
        deny.extend(test(device, service, format!("{from} do not use {to}")));
    }
    let mut reach: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (i, device) in estate.devices.iter().enumerate() {
        let at = |of: &[u64]| of.get(i).copied().unwrap_or(0);
        let max = reach.entry(&device.zone).or_default();
        max.0 = max.0.max(at(&analysis.transitive_services));
        max.1 = max.1.max(at(&analysis.transitive_devices));
    }
    let reach = reach
        .into_iter()
        .map(|(zone, (services_max, devices_max))| ReachTest {
            of: ReachOf::Zone(zone.to_owned()),
            services_max,
            devices_max,
            line: 0,
        })
        .collect();
    Tests { allow, deny, reach }
}

/// For each two classes without any granted path: their first device and first service.
fn between_classes<'f>(
    folder: &'f Folder,
    lowered: &Lowered,
) -> Vec<(usize, usize, &'f str, &'f str)> {
    let estate = &folder.estate;
    let classes: FxHashMap<&str, &str> =
        estate.zones.iter().map(|z| (z.id.as_str(), z.class.as_str())).collect();
    let class = |zone: &str| classes.get(zone).copied().unwrap_or(class::UNKNOWN);
    let mut devices: BTreeMap<&str, usize> = BTreeMap::new();
    let mut services: BTreeMap<&str, usize> = BTreeMap::new();
    let mut linked: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for (i, device) in estate.devices.iter().enumerate() {
        let from = class(&device.zone);
        devices.entry(from).or_insert(i);
        if seen.insert((from, lowered.profile_of.get(i))) {
            for grant in lowered.grants(i) {
                let to = estate.services.get(index(grant.service));
                linked.extend(to.map(|s| (from, class(&s.zone))));
            }
        }
    }
    for (i, service) in estate.services.iter().enumerate() {
        services.entry(class(&service.zone)).or_insert(i);
    }
    let mut pairs = Vec::new();
    for (from, device) in &devices {
        for (to, service) in &services {
            if from != to && !linked.contains(&(*from, *to)) {
                pairs.push((*device, *service, *from, *to));
            }
        }
    }
    pairs
}

/// Claims that hold on the draft, and remarks about those that do not.
pub(super) fn claims(folder: &Folder, lowered: &Lowered) -> (Vec<Claim>, Vec<String>) {
    let classes: BTreeSet<&str> = folder.estate.zones.iter().map(|z| z.class.as_str()).collect();
    let standing_claims = Claims::over(folder, lowered);
    let (mut claims, mut broken) = (Vec::new(), Vec::new());
    for standing in class::CLAIMS {
        if !classes.contains(standing.from) || !classes.contains(standing.never) {
            continue;
        }
        let claim = |hops| Claim {
            id: format!("{}-never-{}", standing.from, standing.never),
            from: standing.from.to_owned(),
            never: standing.never.to_owned(),
            hops,
            because: standing.because.to_owned(),
            line: 0,
        };
        let fails = |hops| standing_claims.broken(&claim(hops)).map(|fault| fault.why);
        let what = format!("{} never reach {}", standing.from, standing.never);
        match (fails(true), fails(false)) {
            (None, _) => claims.push(claim(true)),
            (Some(why), None) => {
                broken
                    .push(format!("\"{what}\" holds directly, but not by hopping: {}", line(&why)));
                claims.push(claim(false));
            }
            (_, Some(why)) => {
                broken.push(format!(
                    "\"{what}\" is not claimed, because it does not hold: {}",
                    line(&why)
                ));
            }
        }
    }
    (claims, broken)
}
