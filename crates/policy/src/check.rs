//! A folder's own tests and standing claims, run on what its policies grant.
//!
//! A broken line is a [`Fault`] at that line; its reason names the policy that is responsible.

use std::collections::{BTreeMap, HashMap};

use crate::Fault;
use crate::decide::{Decider, View};
use crate::folder::{CLAIMS_FILE, Claim, Device, Folder, ReachOf, TESTS_FILE, Zone};
use crate::lower::{Lowered, index};
use crate::reach::{Analysis, analyse, hops, hosts};
use crate::text::count;

/// Lines that do not hold; empty when all do.
pub fn run(folder: &Folder, lowered: &Lowered) -> Vec<Fault> {
    let mut broken = paths(folder, lowered);
    if !folder.tests.reach.is_empty() {
        broken.extend(reach(folder, lowered, &analyse(folder, lowered)));
    }
    let claims = Claims::over(folder, lowered);
    broken.extend(folder.claims.iter().filter_map(|claim| claims.broken(claim)));
    broken
}

/// Policies that could not be compiled and run on Cedar's authorizer: where they stand, and why.
pub fn on_cedar(folder: &Folder) -> Vec<String> {
    let listed = Decider::new(folder, View::Candidate).on_cedar().into_iter();
    listed.map(|p| format!("{}: `{}` runs on Cedar: {}", p.place, p.policy, p.why)).collect()
}

fn paths(folder: &Folder, lowered: &Lowered) -> Vec<Fault> {
    let estate = &folder.estate;
    let devices: HashMap<&str, usize> =
        estate.devices.iter().enumerate().map(|(i, d)| (d.id.as_str(), i)).collect();
    let services: HashMap<&str, usize> =
        estate.services.iter().enumerate().map(|(i, s)| (s.id.as_str(), i)).collect();
    let allow = folder.tests.allow.iter().map(|test| (test, true));
    let deny = folder.tests.deny.iter().map(|test| (test, false));
    allow
        .chain(deny)
        .filter_map(|(test, expected)| {
            let ends = (devices.get(test.from.as_str()), services.get(test.to.as_str()));
            let grant = match ends {
                (Some(device), Some(service)) => lowered.grant(*device, *service),
                _ => None,
            };
            if grant.is_some() == expected {
                return None;
            }
            let word = if expected { "must be allowed" } else { "must be denied" };
            let what = format!("{} to {} {word}", test.from, test.to);
            let why = match grant {
                Some(grant) => granted_by(folder, grant.policy),
                None => "no policy grants it, or one forbids it".to_owned(),
            };
            Some(Fault::on_line(TESTS_FILE, test.line, &what, why))
        })
        .collect()
}

fn granted_by(folder: &Folder, policy: u32) -> String {
    folder.policies.get(index(policy)).map_or(String::new(), |p| {
        let line = if p.line == 0 { String::new() } else { format!(":{}", p.line) };
        format!("`{}` grants it ({}{line})", p.id, p.file)
    })
}

fn reach(folder: &Folder, lowered: &Lowered, analysis: &Analysis) -> Vec<Fault> {
    let estate = &folder.estate;
    let zones: HashMap<&str, &Zone> = estate.zones.iter().map(|z| (z.id.as_str(), z)).collect();
    let mut broken = Vec::new();
    for test in &folder.tests.reach {
        let is_meant = |device: &Device| match &test.of {
            ReachOf::Zone(zone) => device.zone == *zone,
            ReachOf::Class(class) => {
                zones.get(device.zone.as_str()).is_some_and(|zone| zone.class == *class)
            }
            ReachOf::Site(site) => zones
                .get(device.zone.as_str())
                .and_then(|zone| zone.site.as_ref())
                .is_some_and(|at| at.as_str() == site),
        };
        for (got, max, thing) in [
            (&analysis.transitive_services, test.services_max, "services"),
            (&analysis.transitive_devices, test.devices_max, "devices"),
        ] {
            let got = |i: usize| got.get(i).copied().unwrap_or(0);
            let over: Vec<usize> = (0..estate.devices.len())
                .filter(|i| got(*i) > max && estate.devices.get(*i).is_some_and(is_meant))
                .collect();
            let worst = over.iter().copied().max_by_key(|i| got(*i));
            let Some((i, device)) = worst.and_then(|i| Some((i, estate.devices.get(i)?))) else {
                continue;
            };
            let (kind, name) = test.of.parts();
            let what = format!("{kind} {name} must reach at most {max} {thing}");
            let others = match over.len() {
                0 | 1 => String::new(),
                more => format!(" (and {} more devices too many)", more.saturating_sub(1)),
            };
            let got = got(i);
            let why = format!(
                "{} reaches {got}, hopping included{others}; {}",
                device.id,
                most(folder, lowered, i)
            );
            broken.push(Fault::on_line(TESTS_FILE, test.line, &what, why));
        }
    }
    broken
}

/// The policy that grants a device most services.
fn most(folder: &Folder, lowered: &Lowered, device: usize) -> String {
    let mut counted: BTreeMap<u32, usize> = BTreeMap::new();
    for grant in lowered.grants(device) {
        *counted.entry(grant.policy).or_default() += 1;
    }
    let all: usize = counted.values().sum();
    match counted.into_iter().max_by_key(|(_, n)| *n) {
        Some((policy, n)) => {
            format!("of its {} {}", count(all, "direct service"), granted_most(folder, policy, n))
        }
        None => "it is granted nothing directly".to_owned(),
    }
}

fn granted_most(folder: &Folder, policy: u32, n: usize) -> String {
    format!("{n} come from one rule: {}", granted_by(folder, policy))
}

/// What claims are about, looked up once for all of them.
pub(crate) struct Claims<'f> {
    folder: &'f Folder,
    lowered: &'f Lowered,
    /// Class of each device and of each service.
    devices: Vec<Option<&'f str>>,
    services: Vec<Option<&'f str>>,
    hosts: Vec<Option<usize>>,
}

impl<'f> Claims<'f> {
    pub(crate) fn over(folder: &'f Folder, lowered: &'f Lowered) -> Self {
        let estate = &folder.estate;
        let classes: HashMap<&str, &str> =
            estate.zones.iter().map(|z| (z.id.as_str(), z.class.as_str())).collect();
        let class = |zone: &str| classes.get(zone).copied();
        Self {
            folder,
            lowered,
            devices: estate.devices.iter().map(|d| class(&d.zone)).collect(),
            services: estate.services.iter().map(|s| class(&s.zone)).collect(),
            hosts: hosts(folder),
        }
    }

    /// Why a claim does not hold; `None` when it does.
    pub(crate) fn broken(&self, claim: &Claim) -> Option<Fault> {
        let estate = &self.folder.estate;
        let is = |classes: &[Option<&str>], i: usize, class: &str| {
            classes.get(i).copied().flatten() == Some(class)
        };
        let is_from = |device: usize| is(&self.devices, device, &claim.from);
        let start: Vec<usize> = (0..estate.devices.len()).filter(|i| is_from(*i)).collect();
        let sources = match claim.hops {
            true => hops(&self.hosts, self.lowered, &start).0.into_iter().collect(),
            false => start,
        };
        let (device, grant) = sources.iter().find_map(|device| {
            let grant = self.lowered.grants(*device).iter().find(|grant| {
                let service = index(grant.service);
                let host = self.hosts.get(service).copied().flatten();
                is(&self.services, service, &claim.never) && host != Some(*device)
            })?;
            Some((*device, *grant))
        })?;
        let how = if is_from(device) { "" } else { ", which it reaches by hopping," };
        let (device, service) =
            (estate.devices.get(device)?, estate.services.get(index(grant.service))?);
        let what = format!("claim `{}`: {} never reach {}", claim.id, claim.from, claim.never);
        let policy = granted_by(self.folder, grant.policy);
        let why = format!("{}{how} reaches {}: {policy}", device.id, service.id);
        Some(Fault::on_line(CLAIMS_FILE, claim.line, &what, why))
    }
}
