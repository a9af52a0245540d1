//! Text as a folder: every fault with file, line, what and why.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use model::inspect::Scope;
use model::observation::Transport;
use model::ruleset::Mode;
use model::{Assurance, DeviceId, Mac, ServiceId, SiteId, Timestamp};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::Spanned;

use super::{
    Below, CLAIMS_FILE, Claim, Conduit, Device, ESTATE_FILE, EXCEPTIONS_FILE, EXPOSURE, Estate,
    Exception, FORMAT, Folder, Group, Maintenance, Observed, Owner, POSTURE, PathTest, ReachOf,
    ReachTest, SCHEMA_FILE, SECURITY_LEVEL_MAX, SUPPORT, Service, Site, TESTS_FILE, Tests,
    Treatments, VLAN_MAX, VLAN_MIN, Weekday, Zone, check, zone_in_force,
};
use crate::cards::{self, CARDS_FILE};
use crate::fault::position;
use crate::text::nearest;
use crate::{Fault, cedar, packs};

pub(super) fn parse(files: &BTreeMap<String, String>) -> Result<Folder, Vec<Fault>> {
    let mut faults = Vec::new();
    let schema = files.get(SCHEMA_FILE).cloned().unwrap_or_else(|| {
        faults.push(missing(SCHEMA_FILE, "policies are typed by it"));
        String::new()
    });
    let mut text = |file: &str, why: &str| match files.get(file) {
        Some(text) => text.as_str(),
        None => {
            faults.push(missing(file, why));
            ""
        }
    };
    let estate_text = text(ESTATE_FILE, "it names what exists");
    let tests_text = text(TESTS_FILE, "a policy without tests is not applied; it may be empty");
    let claims_text = text(CLAIMS_FILE, "it may be empty");
    let exceptions_text = text(EXCEPTIONS_FILE, "it may be empty");
    if !faults.is_empty() {
        return Err(faults);
    }

    let mut take =
        |result: Result<(), Vec<Fault>>| faults.extend(result.err().into_iter().flatten());
    let mut read_estate = Estate::default();
    take(estate(estate_text).map(|read| read_estate = read));
    let own = files
        .iter()
        .filter(|(path, _)| path.starts_with("policies/") && path.ends_with(".cedar"))
        .map(|(path, text)| (path.as_str(), text.as_str()));
    let packs: BTreeSet<&str> = read_estate.packs.iter().map(String::as_str).collect();
    let of_packs = packs.into_iter().filter_map(packs::pack).flat_map(|pack| pack.files).copied();
    let policy_files: Vec<(&str, &str)> = of_packs.chain(own).collect();
    take(cedar::validate(&schema, &policy_files));
    let mut policies = Vec::new();
    take(cedar::read_all(&policy_files).map(|read| policies = read));
    let mut folder = Folder {
        schema,
        policies,
        estate: read_estate,
        tests: Tests::default(),
        claims: Vec::new(),
        exceptions: Vec::new(),
        cards: Vec::new(),
    };
    take(tests(tests_text).map(|read| folder.tests = read));
    take(claims(claims_text).map(|read| folder.claims = read));
    take(exceptions(exceptions_text).map(|read| folder.exceptions = read));
    if let Some(text) = files.get(CARDS_FILE) {
        take(cards::read(CARDS_FILE, text).map(|read| folder.cards = read));
    }
    faults.sort();
    faults.dedup();
    if faults.is_empty() {
        faults = cards::duplicates(&folder.cards);
    }
    if faults.is_empty() {
        folder.policies.extend(cards::policies(&folder.cards, &folder.estate));
        faults = check::references(&folder, files);
    }
    if faults.is_empty() { Ok(folder) } else { Err(faults) }
}

fn missing(file: &str, why: &str) -> Fault {
    Fault::of_file(file, "missing file", why.to_owned())
}

/// One TOML file being read: collects faults and turns spans into lines.
struct File<'t> {
    name: &'static str,
    text: &'t str,
    faults: Vec<Fault>,
}

impl<'t> File<'t> {
    fn read<T: DeserializeOwned>(
        name: &'static str,
        text: &'t str,
    ) -> Result<(Self, T), Vec<Fault>> {
        match toml::from_str(text) {
            Ok(raw) => Ok((Self { name, text, faults: Vec::new() }, raw)),
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                let why = error.message().to_owned();
                Err(vec![Fault::at(name, text, at, "not understood", why)])
            }
        }
    }

    fn finish<T>(self, value: T) -> Result<T, Vec<Fault>> {
        if self.faults.is_empty() { Ok(value) } else { Err(self.faults) }
    }

    fn fault<T>(&mut self, at: &Spanned<T>, what: &str, why: String) {
        self.faults.push(Fault::at(self.name, self.text, at.span().start, what, why));
    }

    fn line<T>(&self, at: &Spanned<T>) -> u32 {
        position(self.text, at.span().start).0
    }

    /// Takes a checked text apart; `None` after recording the fault.
    fn value<T>(
        &mut self,
        raw: &Spanned<String>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match read(raw.get_ref()) {
            Ok(value) => Some(value),
            Err(why) => {
                self.fault(raw, "wrong value", why);
                None
            }
        }
    }

    fn values<T>(
        &mut self,
        raw: &[Spanned<String>],
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        raw.iter().filter_map(|item| self.value(item, &read)).collect()
    }

    /// A small number within bounds; `None` where there is none or after recording the fault.
    fn within(
        &mut self,
        raw: Option<&Spanned<i64>>,
        bounds: RangeInclusive<u8>,
        why: &str,
    ) -> Option<u8> {
        let raw = raw?;
        let inside = u8::try_from(*raw.get_ref()).ok().filter(|n| bounds.contains(n));
        if inside.is_none() {
            self.fault(raw, "out of range", format!("{} is not: {why}", raw.get_ref()));
        }
        inside
    }

    /// One of a few words; `None` after recording the fault, with the word that was probably meant.
    fn one_of(&mut self, raw: &Spanned<String>, key: &str, words: &[&str]) -> Option<usize> {
        let text = raw.get_ref();
        let found = words.iter().position(|word| word == text);
        if found.is_none() {
            let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            let (what, why) = (format!("unknown {key} `{text}`"), "it is one of ".to_owned());
            let why = why + &quoted.join(", ");
            let fault = Fault::at(self.name, self.text, raw.span().start, &what, why);
            let fault = match nearest(text, words) {
                Some(word) => fault.help(&format!("did you mean `{word}`?")),
                None => fault,
            };
            self.faults.push(fault);
        }
        found
    }

    fn filled(&mut self, raw: &Spanned<String>, why: &str) -> String {
        if raw.get_ref().trim().is_empty() {
            self.fault(raw, "empty value", why.to_owned());
        }
        raw.get_ref().clone()
    }
}

fn device_id(text: &str) -> Result<DeviceId, String> {
    DeviceId::new(text).map_err(|e| e.to_string())
}

fn service_id(text: &str) -> Result<ServiceId, String> {
    ServiceId::new(text).map_err(|e| e.to_string())
}

fn site_id(text: &str) -> Result<SiteId, String> {
    SiteId::new(text).map_err(|e| e.to_string())
}

fn ip(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not an IP address"))
}

fn mac(text: &str) -> Result<Mac, String> {
    text.parse().map_err(|e: model::AddressError| e.to_string())
}

fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::from_str(text)
}

/// A word of an enumeration, as its serde names.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let word: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        text.into_deserializer();
    T::deserialize(word).map_err(|e| e.to_string())
}

type Text = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEstate {
    format: Text,
    #[serde(default)]
    packs: Vec<Text>,
    observed: Option<RawObserved>,
    #[serde(default)]
    owner: Vec<RawOwner>,
    #[serde(default)]
    site: Vec<RawSite>,
    #[serde(default)]
    zone: Vec<RawZone>,
    #[serde(default)]
    device: Vec<RawDevice>,
    #[serde(default)]
    service: Vec<RawService>,
    #[serde(default)]
    group: Vec<RawGroup>,
    #[serde(default)]
    conduit: Vec<RawConduit>,
    #[serde(default)]
    controllers: BTreeMap<String, Vec<Text>>,
    #[serde(default)]
    maintenance: Vec<RawMaintenance>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawObserved {
    first: Text,
    last: Text,
    #[serde(default)]
    inputs: Vec<String>,
    #[serde(default)]
    unseen: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOwner {
    id: Text,
    #[serde(default)]
    contact: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSite {
    id: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawZone {
    id: Text,
    site: Option<Text>,
    class: Text,
    #[serde(default)]
    subnet: String,
    mode: Option<Text>,
    share: Option<Spanned<i64>>,
    security_level: Option<Spanned<i64>>,
    #[serde(default)]
    owner: String,
    #[serde(default)]
    treatment: Treatments,
    assurance_min: Option<Text>,
    otherwise: Option<Text>,
    vlan: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDevice {
    id: Text,
    #[serde(default)]
    name: String,
    r#type: Text,
    zone: Text,
    #[serde(default)]
    macs: Vec<Text>,
    #[serde(default)]
    addresses: Vec<Text>,
    behind: Option<Text>,
    #[serde(default)]
    owner: String,
    assurance: Option<Text>,
    support: Option<Text>,
    exposure: Option<Text>,
    posture: Option<Text>,
    mud_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawService {
    id: Text,
    #[serde(default)]
    name: String,
    scope: Text,
    zone: Text,
    device: Option<Text>,
    #[serde(default)]
    addresses: Vec<Text>,
    #[serde(default)]
    dns_names: Vec<String>,
    protocol: Text,
    port: u16,
    #[serde(default)]
    application: String,
    #[serde(default)]
    owner: String,
    #[serde(default)]
    sensitive: bool,
    assurance_min: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    id: Text,
    services: Vec<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConduit {
    rule: Text,
    from: String,
    to: String,
    devices: u64,
    flows: u64,
    first_seen: Text,
    last_seen: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMaintenance {
    site: Text,
    days: Spanned<Vec<Text>>,
    from: Spanned<i64>,
    to: Spanned<i64>,
}

fn estate(text: &str) -> Result<Estate, Vec<Fault>> {
    let (mut file, raw) = File::read::<RawEstate>(ESTATE_FILE, text)?;
    if raw.format.get_ref() != FORMAT {
        let why = format!("this program reads `{FORMAT}`");
        file.fault(&raw.format, "unknown format", why);
    }
    let observed = raw.observed.and_then(|raw| {
        let (first, last) = (file.value(&raw.first, instant), file.value(&raw.last, instant));
        Some(Observed { first: first?, last: last?, inputs: raw.inputs, unseen: raw.unseen })
    });
    let owners = raw
        .owner
        .into_iter()
        .map(|raw| Owner {
            id: file.filled(&raw.id, "an owner needs a name"),
            contact: raw.contact,
        })
        .collect();
    let sites = raw
        .site
        .iter()
        .filter_map(|raw| Some(Site { id: file.value(&raw.id, site_id)? }))
        .collect();
    let zones: Vec<_> = raw.zone.into_iter().filter_map(|raw| zone(&mut file, raw)).collect();
    let mut devices: Vec<_> =
        raw.device.into_iter().filter_map(|raw| device(&mut file, raw)).collect();
    settle(&zones, &mut devices);
    let services = raw.service.into_iter().filter_map(|raw| service(&mut file, raw)).collect();
    let groups = raw
        .group
        .iter()
        .map(|raw| Group {
            id: file.filled(&raw.id, "a group needs a name"),
            services: file.values(&raw.services, service_id),
        })
        .collect();
    let conduits = raw.conduit.into_iter().filter_map(|raw| conduit(&mut file, raw)).collect();
    let controllers = raw
        .controllers
        .into_iter()
        .map(|(uri, ids)| {
            let ids = ids.iter().map(|id| file.filled(id, "name a device or a service"));
            (uri, ids.collect())
        })
        .collect();
    for raw in &raw.packs {
        if packs::pack(raw.get_ref()).is_none() {
            file.fault(raw, "unknown pack", packs::unknown(raw.get_ref()));
        }
    }
    let packs = raw.packs.into_iter().map(Spanned::into_inner).collect();
    let maintenance =
        raw.maintenance.iter().filter_map(|raw| maintenance(&mut file, raw)).collect();
    file.finish(Estate {
        packs,
        observed,
        owners,
        sites,
        zones,
        devices,
        services,
        groups,
        controllers,
        conduits,
        maintenance,
    })
}

/// Puts devices that stand too low for their zone where they are then.
fn settle(zones: &[Zone], devices: &mut [Device]) {
    if zones.iter().all(|zone| zone.below.is_none()) {
        return;
    }
    let by_id: BTreeMap<&str, &Zone> = zones.iter().map(|zone| (zone.id.as_str(), zone)).collect();
    for device in devices {
        let Some(meant) = by_id.get(device.zone.as_str()) else { continue };
        let there = zone_in_force(|id| by_id.get(id).copied(), meant, device.assurance);
        if there.id != device.zone {
            device.meant = Some(std::mem::replace(&mut device.zone, there.id.clone()));
        }
    }
}

fn zone(file: &mut File<'_>, raw: RawZone) -> Option<Zone> {
    let site = match &raw.site {
        Some(site) => Some(file.value(site, site_id)?),
        None => None,
    };
    let mode = match &raw.mode {
        Some(mode) => file.value(mode, word::<Mode>)?,
        None => Mode::Enforce,
    };
    let below = match (&raw.assurance_min, &raw.otherwise) {
        (None, None) => None,
        (Some(asked), Some(otherwise)) => Some(Below {
            assurance_min: assurance(file, "assurance_min", Some(asked))?,
            otherwise: otherwise.get_ref().clone(),
        }),
        (Some(lone), None) | (None, Some(lone)) => {
            let why = "`assurance_min` says how high devices of a zone stand, `otherwise` in which zone those are that do not: both or none";
            file.fault(lone, "half a rule", why.to_owned());
            None
        }
    };
    let vlan = raw.vlan.as_ref().and_then(|raw| {
        let vlan = u16::try_from(*raw.get_ref()).ok();
        let vlan = vlan.filter(|vlan| (VLAN_MIN..=VLAN_MAX).contains(vlan));
        if vlan.is_none() {
            let why = format!("a VLAN is {VLAN_MIN} to {VLAN_MAX} (IEEE 802.1Q)");
            file.fault(raw, "out of range", why);
        }
        vlan
    });
    Some(Zone {
        id: file.filled(&raw.id, "a zone needs a name"),
        site,
        class: file.filled(&raw.class, "claims and drafts go by class"),
        subnet: raw.subnet,
        mode,
        share: file.within(raw.share.as_ref(), 0..=100, "a share is a percentage, 0 to 100"),
        security_level: file.within(
            raw.security_level.as_ref(),
            0..=SECURITY_LEVEL_MAX,
            "security levels are 0 to 4 (IEC 62443-3-3)",
        ),
        owner: raw.owner,
        treatment: raw.treatment,
        below,
        vlan,
    })
}

fn maintenance(file: &mut File<'_>, raw: &RawMaintenance) -> Option<Maintenance> {
    if raw.days.get_ref().is_empty() {
        file.fault(&raw.days, "no days", "a window needs at least one day: \"sat\"".to_owned());
    }
    let site = file.value(&raw.site, site_id);
    let days = file.values(raw.days.get_ref(), word::<Weekday>);
    let from = file.within(Some(&raw.from), 0..=23, "a window starts at an hour from 0 to 23");
    let to = file.within(Some(&raw.to), 1..=24, "a window ends at an hour from 1 to 24");
    Some(Maintenance { line: file.line(&raw.site), site: site?, days, from: from?, to: to? })
}

fn assurance(file: &mut File<'_>, key: &str, raw: Option<&Text>) -> Option<Assurance> {
    let Some(raw) = raw else {
        return Some(Assurance::Observed);
    };
    let at = file.one_of(raw, key, &Assurance::ALL.map(Assurance::word))?;
    Assurance::ALL.get(at).copied()
}

fn device(file: &mut File<'_>, raw: RawDevice) -> Option<Device> {
    let behind = match &raw.behind {
        Some(behind) => Some(file.value(behind, device_id)?),
        None => None,
    };
    let assurance = assurance(file, "assurance", raw.assurance.as_ref())?;
    let mut state = |key, raw: Option<Text>, words: &[&str], default: &str| match raw {
        None => Some(default.to_owned()),
        Some(raw) => file.one_of(&raw, key, words).map(|_| raw.into_inner()),
    };
    let support = state("support", raw.support, &SUPPORT, "unknown");
    let exposure = state("exposure", raw.exposure, &EXPOSURE, "unknown");
    let posture = state("posture", raw.posture, &POSTURE, "normal");
    Some(Device {
        id: file.value(&raw.id, device_id)?,
        name: raw.name,
        kind: file.filled(&raw.r#type, "write \"unknown\" when it is not known"),
        zone: raw.zone.into_inner(),
        meant: None,
        macs: file.values(&raw.macs, mac),
        addresses: file.values(&raw.addresses, ip),
        behind,
        owner: raw.owner,
        assurance,
        support: support?,
        exposure: exposure?,
        posture: posture?,
        mud_url: raw.mud_url,
    })
}

fn service(file: &mut File<'_>, raw: RawService) -> Option<Service> {
    let device = match &raw.device {
        Some(device) => Some(file.value(device, device_id)?),
        None => None,
    };
    let assurance_min = assurance(file, "assurance_min", raw.assurance_min.as_ref())?;
    Some(Service {
        id: file.value(&raw.id, service_id)?,
        name: raw.name,
        device,
        scope: file.value(&raw.scope, word::<Scope>)?,
        zone: raw.zone.into_inner(),
        addresses: file.values(&raw.addresses, ip),
        dns_names: raw.dns_names,
        transport: file.value(&raw.protocol, word::<Transport>)?,
        port: raw.port,
        application: raw.application,
        owner: raw.owner,
        sensitive: raw.sensitive,
        assurance_min,
    })
}

fn conduit(file: &mut File<'_>, raw: RawConduit) -> Option<Conduit> {
    Some(Conduit {
        rule: file.filled(&raw.rule, "a conduit names the policy it is behind"),
        from: raw.from,
        to: raw.to,
        devices: raw.devices,
        flows: raw.flows,
        first_seen: file.value(&raw.first_seen, instant)?,
        last_seen: file.value(&raw.last_seen, instant)?,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTests {
    #[serde(default)]
    allow: Vec<RawPath>,
    #[serde(default)]
    deny: Vec<RawPath>,
    #[serde(default)]
    reach: Vec<Spanned<RawReach>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPath {
    from: Text,
    to: Text,
    #[serde(default)]
    because: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReach {
    zone: Option<Text>,
    class: Option<Text>,
    site: Option<Text>,
    services_max: Option<Spanned<u64>>,
    devices_max: Option<Spanned<u64>>,
}

fn reach(file: &mut File<'_>, raw: &Spanned<RawReach>) -> Option<ReachTest> {
    let RawReach { zone, class, site, services_max, devices_max } = raw.get_ref();
    let name = |text: &Text| text.get_ref().clone();
    let (of, line) = match (zone, class, site) {
        (Some(zone), None, None) => (ReachOf::Zone(name(zone)), file.line(zone)),
        (None, Some(class), None) => (ReachOf::Class(name(class)), file.line(class)),
        (None, None, Some(site)) => (ReachOf::Site(name(site)), file.line(site)),
        _ => {
            let why = "a budget is about one `zone`, `class` or `site`".to_owned();
            file.fault(raw, "unclear budget", why);
            return None;
        }
    };
    let max = |max: &Option<Spanned<u64>>| max.as_ref().map_or(u64::MAX, |max| *max.get_ref());
    Some(ReachTest { of, services_max: max(services_max), devices_max: max(devices_max), line })
}

fn tests(text: &str) -> Result<Tests, Vec<Fault>> {
    let (mut file, raw) = File::read::<RawTests>(TESTS_FILE, text)?;
    let path = |file: &mut File<'_>, raw: RawPath| {
        let line = file.line(&raw.from);
        let (from, to) = (file.value(&raw.from, device_id), file.value(&raw.to, service_id));
        Some(PathTest { from: from?, to: to?, because: raw.because, line })
    };
    let allow = raw.allow.into_iter().filter_map(|raw| path(&mut file, raw)).collect();
    let deny = raw.deny.into_iter().filter_map(|raw| path(&mut file, raw)).collect();
    let reach = raw.reach.iter().filter_map(|raw| reach(&mut file, raw)).collect();
    file.finish(Tests { allow, deny, reach })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClaims {
    #[serde(default)]
    claim: Vec<RawClaim>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClaim {
    id: Text,
    from: Text,
    never: Text,
    #[serde(default)]
    hops: bool,
    #[serde(default)]
    because: String,
}

fn claims(text: &str) -> Result<Vec<Claim>, Vec<Fault>> {
    let (mut file, raw) = File::read::<RawClaims>(CLAIMS_FILE, text)?;
    let claims = raw
        .claim
        .into_iter()
        .map(|raw| Claim {
            line: file.line(&raw.id),
            id: file.filled(&raw.id, "a claim needs a name"),
            from: file.filled(&raw.from, "name a class"),
            never: file.filled(&raw.never, "name a class"),
            hops: raw.hops,
            because: raw.because,
        })
        .collect();
    file.finish(claims)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExceptions {
    #[serde(default)]
    exception: Vec<RawException>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawException {
    id: Text,
    from: Text,
    to: Text,
    owner: Text,
    reason: Text,
    expires: Text,
}

fn exceptions(text: &str) -> Result<Vec<Exception>, Vec<Fault>> {
    let (mut file, raw) = File::read::<RawExceptions>(EXCEPTIONS_FILE, text)?;
    let exceptions = raw
        .exception
        .into_iter()
        .filter_map(|raw| {
            let (from, to) = (file.value(&raw.from, device_id), file.value(&raw.to, service_id));
            let expires = file.value(&raw.expires, instant);
            Some(Exception {
                line: file.line(&raw.id),
                id: file.filled(&raw.id, "an exception needs a name"),
                owner: file.filled(&raw.owner, "an exception without an owner is never reviewed"),
                reason: file.filled(&raw.reason, "an exception without a reason cannot be judged"),
                from: from?,
                to: to?,
                expires: expires?,
            })
        })
        .collect();
    file.finish(exceptions)
}
