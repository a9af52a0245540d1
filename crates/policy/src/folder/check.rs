//! References between the files of a folder: unknown names, duplicates, addresses claimed twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use model::observation::Transport;

use super::{
    Below, CLAIMS_FILE, ESTATE_FILE, EXCEPTIONS_FILE, Estate, Folder, ReachOf, TESTS_FILE, Zone,
};
use crate::Fault;
use crate::language::Entity;
use crate::text::toml_string;

/// Faults of a folder whose files are well formed one by one.
pub(super) fn references(folder: &Folder, files: &BTreeMap<String, String>) -> Vec<Fault> {
    let mut check = Check { files, names: Names::of(folder), faults: Vec::new() };
    check.duplicates(folder);
    check.estate(folder);
    check.policies(folder);
    check.others(folder);
    check.faults.sort();
    check.faults.dedup();
    check.faults
}

/// Every name that may be referred to.
struct Names<'f> {
    owners: BTreeSet<&'f str>,
    sites: BTreeSet<&'f str>,
    zones: BTreeSet<&'f str>,
    classes: BTreeSet<&'f str>,
    kinds: BTreeSet<&'f str>,
    devices: BTreeSet<&'f str>,
    services: BTreeSet<&'f str>,
    groups: BTreeSet<&'f str>,
    rules: BTreeSet<&'f str>,
}

impl<'f> Names<'f> {
    fn of(folder: &'f Folder) -> Self {
        let estate = &folder.estate;
        Self {
            owners: estate.owners.iter().map(|o| o.id.as_str()).collect(),
            sites: estate.sites.iter().map(|s| s.id.as_str()).collect(),
            zones: estate.zones.iter().map(|z| z.id.as_str()).collect(),
            classes: estate.zones.iter().map(|z| z.class.as_str()).collect(),
            kinds: estate.devices.iter().map(|d| d.kind.as_str()).collect(),
            devices: estate.devices.iter().map(|d| d.id.as_str()).collect(),
            services: estate.services.iter().map(|s| s.id.as_str()).collect(),
            groups: estate.groups.iter().map(|g| g.id.as_str()).collect(),
            rules: folder.policies.iter().map(|p| p.id.as_str()).collect(),
        }
    }

    fn has(&self, entity: &Entity) -> bool {
        let names = match entity.kind.as_str() {
            "Site" => &self.sites,
            "Zone" => &self.zones,
            "Device" => &self.devices,
            "Service" => &self.services,
            "ServiceGroup" => &self.groups,
            // A type without a device today is a policy for tomorrow's.
            _ => return true,
        };
        names.contains(entity.id.as_str())
    }
}

struct Check<'f> {
    files: &'f BTreeMap<String, String>,
    names: Names<'f>,
    faults: Vec<Fault>,
}

impl Check<'_> {
    /// The fault at the `nth` line of the file that holds `key = "value"` (or the value in a list).
    fn fault(&mut self, file: &str, key: &str, value: &str, nth: usize, what: &str, why: String) {
        let text = self.files.get(file).map_or("", String::as_str);
        let quoted = toml_string(value);
        let line = text
            .lines()
            .enumerate()
            .filter(|(_, line)| {
                line.trim_start().strip_prefix(key).is_some_and(|rest| {
                    rest.trim_start().starts_with('=') && rest.contains(&quoted)
                })
            })
            .nth(nth)
            .map_or(0, |(i, _)| u32::try_from(i.saturating_add(1)).unwrap_or(0));
        self.faults.push(Fault::on_line(file, line, what, why));
    }

    fn duplicates(&mut self, folder: &Folder) {
        let estate = &folder.estate;
        let names: [(&str, Vec<&str>); 6] = [
            ("owner", estate.owners.iter().map(|o| o.id.as_str()).collect()),
            ("site", estate.sites.iter().map(|s| s.id.as_str()).collect()),
            ("zone", estate.zones.iter().map(|z| z.id.as_str()).collect()),
            ("device", estate.devices.iter().map(|d| d.id.as_str()).collect()),
            ("service", estate.services.iter().map(|s| s.id.as_str()).collect()),
            ("group", estate.groups.iter().map(|g| g.id.as_str()).collect()),
        ];
        for pack in twice(estate.packs.iter().map(String::as_str).collect()) {
            let why = "a pack holds once".to_owned();
            self.fault(ESTATE_FILE, "packs", pack, 0, &format!("duplicate pack `{pack}`"), why);
        }
        for (kind, names) in names {
            for name in twice(names) {
                let why = "names are used once".to_owned();
                self.fault(ESTATE_FILE, "id", name, 1, &format!("duplicate {kind} `{name}`"), why);
            }
        }
        let mut seen = BTreeMap::new();
        for policy in &folder.policies {
            if let Some((file, line)) = seen.insert(&policy.id, (&policy.file, policy.line)) {
                let what = format!("duplicate policy id `{}`", policy.id);
                let why = format!("it is also at {file}:{line}");
                self.faults.push(Fault::on_line(&policy.file, policy.line, &what, why));
            }
        }
        for (file, names) in [
            (CLAIMS_FILE, folder.claims.iter().map(|c| c.id.as_str()).collect::<Vec<_>>()),
            (EXCEPTIONS_FILE, folder.exceptions.iter().map(|e| e.id.as_str()).collect()),
        ] {
            for name in twice(names) {
                let why = "names are used once".to_owned();
                self.fault(file, "id", name, 1, &format!("duplicate name `{name}`"), why);
            }
        }
    }

    /// Where devices go that stand too low for a zone: to one of its site that asks for less.
    fn below(&mut self, estate: &Estate, zone: &Zone, below: &Below) {
        let otherwise = &below.otherwise;
        let Some(next) = estate.zones.iter().find(|next| next.id == *otherwise) else {
            return self.unknown(ESTATE_FILE, "otherwise", "zone", otherwise);
        };
        let asks = next.below.as_ref().map(|below| below.assurance_min).unwrap_or_default();
        let why = match () {
            () if next.site != zone.site => "it is at another site",
            () if asks >= below.assurance_min => {
                "it asks for as much or more: who stands too low for the one stands too low for the other"
            }
            () => return,
        };
        let what = format!("devices of `{}` cannot be in `{otherwise}` instead", zone.id);
        self.fault(ESTATE_FILE, "otherwise", otherwise, 0, &what, why.to_owned());
    }

    fn estate(&mut self, folder: &Folder) {
        let estate = &folder.estate;
        for zone in &estate.zones {
            if let Some(site) =
                zone.site.as_ref().filter(|s| !self.names.sites.contains(s.as_str()))
            {
                self.unknown(ESTATE_FILE, "site", "site", site.as_str());
            }
            self.owner(ESTATE_FILE, &zone.owner);
            if let Some(below) = &zone.below {
                self.below(estate, zone, below);
            }
        }
        for window in &estate.maintenance {
            if !self.names.sites.contains(window.site.as_str()) {
                let what = format!("unknown site `{}`", window.site);
                let why = "a maintenance window is at a site of [[site]]".to_owned();
                self.faults.push(Fault::on_line(ESTATE_FILE, window.line, &what, why));
            }
        }
        let sited: BTreeSet<&str> =
            estate.zones.iter().filter(|z| z.site.is_some()).map(|z| z.id.as_str()).collect();
        let mut claimed: BTreeMap<IpAddr, &str> = BTreeMap::new();
        for device in &estate.devices {
            if !self.names.zones.contains(device.zone.as_str()) {
                self.unknown(ESTATE_FILE, "zone", "zone", &device.zone);
            } else if !sited.contains(device.zone.as_str()) {
                let why = format!("device `{}` is in it, so it must be at a site", device.id);
                let what = format!("zone `{}` has no site", device.zone);
                self.fault(ESTATE_FILE, "id", &device.zone, 0, &what, why);
            }
            let behind = device.behind.as_ref().map(|behind| behind.as_str());
            if let Some(behind) = behind.filter(|behind| !self.names.devices.contains(behind)) {
                self.unknown(ESTATE_FILE, "behind", "device", behind);
            }
            self.owner(ESTATE_FILE, &device.owner);
            for ip in &device.addresses {
                if let Some(other) = claimed.insert(*ip, device.id.as_str()) {
                    let what = format!("address {ip} is claimed twice");
                    let why =
                        format!("by `{other}` and `{}`; a packet could mean either", device.id);
                    self.fault(ESTATE_FILE, "addresses", &ip.to_string(), 1, &what, why);
                }
            }
        }
        self.services(folder);
        for group in &estate.groups {
            for service in &group.services {
                if !self.names.services.contains(service.as_str()) {
                    self.unknown(ESTATE_FILE, "services", "service", service.as_str());
                }
            }
        }
        for name in estate.controllers.values().flatten() {
            let known = self.names.devices.contains(name.as_str())
                || self.names.services.contains(name.as_str());
            if !known {
                // Keys are URIs, so the line is found by the name alone.
                let what = format!("unknown controller `{name}`");
                let why = "it is neither a device nor a service".to_owned();
                let text = self.files.get(ESTATE_FILE).map_or("", String::as_str);
                let quoted = toml_string(name);
                let at = text.find("[controllers]").unwrap_or(0);
                let place = text.get(at..).and_then(|rest| rest.find(&quoted));
                let fault = match place {
                    Some(offset) => {
                        Fault::at(ESTATE_FILE, text, at.saturating_add(offset), &what, why)
                    }
                    None => Fault::of_file(ESTATE_FILE, &what, why),
                };
                self.faults.push(fault);
            }
        }
        for conduit in &estate.conduits {
            if !self.names.rules.contains(conduit.rule.as_str()) {
                self.unknown(ESTATE_FILE, "rule", "policy", &conduit.rule);
            }
        }
    }

    fn services(&mut self, folder: &Folder) {
        for service in &folder.estate.services {
            if !self.names.zones.contains(service.zone.as_str()) {
                self.unknown(ESTATE_FILE, "zone", "zone", &service.zone);
            }
            self.owner(ESTATE_FILE, &service.owner);
            match &service.device {
                Some(device) if !self.names.devices.contains(device.as_str()) => {
                    self.unknown(ESTATE_FILE, "device", "device", device.as_str());
                }
                _ => {}
            }
            let homeless = service.device.is_none()
                && service.addresses.is_empty()
                && service.dns_names.is_empty()
                && service.transport != Transport::Link;
            if homeless {
                let what = format!("service `{}` has no address", service.id);
                let why = "it needs `device`, `addresses` or `dns_names`".to_owned();
                self.fault(ESTATE_FILE, "id", service.id.as_str(), 0, &what, why);
            }
        }
    }

    fn policies(&mut self, folder: &Folder) {
        for policy in &folder.policies {
            for entity in policy.entities() {
                if !self.names.has(entity) {
                    let what = format!("unknown {} `{}`", entity.kind, entity.id);
                    let why =
                        format!("policy `{}` names it, {ESTATE_FILE} does not have it", policy.id);
                    self.faults.push(Fault::on_line(&policy.file, policy.line, &what, why));
                }
            }
        }
    }

    fn others(&mut self, folder: &Folder) {
        let tests = &folder.tests;
        let paths =
            tests.allow.iter().chain(&tests.deny).map(|t| (TESTS_FILE, &t.from, &t.to, t.line));
        let grants = folder.exceptions.iter().map(|e| (EXCEPTIONS_FILE, &e.from, &e.to, e.line));
        for (file, from, to, line) in paths.chain(grants) {
            for (known, kind, name) in [
                (self.names.devices.contains(from.as_str()), "device", from.as_str()),
                (self.names.services.contains(to.as_str()), "service", to.as_str()),
            ] {
                if !known {
                    let what = format!("unknown {kind} `{name}`");
                    let why = format!("{ESTATE_FILE} does not have it");
                    self.faults.push(Fault::on_line(file, line, &what, why));
                }
            }
        }
        for test in &tests.reach {
            let (kind, name) = test.of.parts();
            let known = match test.of {
                ReachOf::Zone(_) => &self.names.zones,
                ReachOf::Class(_) => &self.names.classes,
                ReachOf::Site(_) => &self.names.sites,
            };
            if !known.contains(name) {
                let what = format!("unknown {kind} `{name}`");
                let why = format!("{ESTATE_FILE} does not have it");
                self.faults.push(Fault::on_line(TESTS_FILE, test.line, &what, why));
            }
        }
        for claim in &folder.claims {
            for class in [&claim.from, &claim.never] {
                if !self.names.classes.contains(class.as_str()) {
                    let what = format!("unknown class `{class}`");
                    let why = format!(
                        "no zone in {ESTATE_FILE} has it, so the claim would hold for nothing"
                    );
                    self.faults.push(Fault::on_line(CLAIMS_FILE, claim.line, &what, why));
                }
            }
        }
        for exception in &folder.exceptions {
            self.owner(EXCEPTIONS_FILE, &exception.owner);
        }
        if self.names.kinds.contains("") {
            let why = "a device has an empty type".to_owned();
            self.faults.push(Fault::of_file(ESTATE_FILE, "empty type", why));
        }
    }

    fn owner(&mut self, file: &str, owner: &str) {
        if !owner.is_empty() && !self.names.owners.contains(owner) {
            self.unknown(file, "owner", "owner", owner);
        }
    }

    fn unknown(&mut self, file: &str, key: &str, kind: &str, name: &str) {
        let why = format!("{ESTATE_FILE} does not have it");
        self.fault(file, key, name, 0, &format!("unknown {kind} `{name}`"), why);
    }
}

/// Names that stand more than once.
fn twice(mut names: Vec<&str>) -> BTreeSet<&str> {
    names.sort_unstable();
    names
        .windows(2)
        .filter_map(|w| if w.first() == w.last() { w.first().copied() } else { None })
        .collect()
}
