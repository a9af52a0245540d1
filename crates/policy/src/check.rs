//! A folder's own tests and standing claims, run on what its policies grant.
//!
//! A broken line is a [`Fault`] at that line; its reason names the policy that is responsible.

use std::collections::HashMap;

use crate::Fault;
use crate::folder::{CLAIMS_FILE, Claim, Folder, TESTS_FILE};
use crate::lower::{Lowered, index};
use crate::reach::{Analysis, analyse, hops, hosts};

/// Lines that do not hold; empty when all do.
pub fn run(folder: &Folder, lowered: &Lowered) -> Vec<Fault> {
    let mut broken = paths(folder, lowered);
    if !folder.tests.reach.is_empty() {
        broken.extend(reach(folder, &analyse(folder, lowered)));
    }
    let claims = Claims::over(folder, lowered);
    broken.extend(folder.claims.iter().filter_map(|claim| claims.broken(claim)));
    broken
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

fn reach(folder: &Folder, analysis: &Analysis) -> Vec<Fault> {
    let mut broken = Vec::new();
    for test in &folder.tests.reach {
        let of_zone = folder.estate.devices.iter().enumerate().filter(|(_, d)| d.zone == test.zone);
        for (i, device) in of_zone {
            for (got, max, what) in [
                (&analysis.transitive_services, test.services_max, "services"),
                (&analysis.transitive_devices, test.devices_max, "devices"),
            ] {
                let got = got.get(i).copied().unwrap_or(0);
                if got > max {
                    let what = format!("zone {} must reach at most {max} {what}", test.zone);
                    let why = format!("{} reaches {got}, hopping included", device.id);
                    broken.push(Fault::on_line(TESTS_FILE, test.line, &what, why));
                }
            }
        }
    }
    broken
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
