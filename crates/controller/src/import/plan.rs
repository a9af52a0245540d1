//! What a list would change: each row against the estate, field by field, and the commands that make it so.
//!
//! A row is about the device whose id it has; without an id, about the one that has its identifiers. A row that makes no sense, or that the estate would
//! refuse, is refused by itself, with the estate's own words. The same list against what came of it changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use estate::devices::{self, Device, Edit, Facts, Field, SEEN_EVERY_S, Said, State};
use estate::{Command, Estate, Refusal};
use journal::entry::Actor;
use model::{DeviceId, SiteId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Line, Row};
use crate::blobs::hex;

const NANOS: i64 = 1_000_000_000;
/// Hex digits of the id of a device that nobody named.
const ID_DIGITS: usize = 20;

/// Whose list it is, where, and by whom.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// Who tells: `import/purchase.csv`, `leases/kea`.
    pub source: &'a str,
    /// Where devices are whose row does not say.
    pub site: Option<&'a SiteId>,
    /// Who imports.
    pub who: &'a Actor,
    /// When.
    pub now: Timestamp,
    /// Whether a site's devices may be imported and decided about.
    pub may: &'a dyn Fn(&SiteId) -> bool,
    /// Whether a site's devices may be cut off.
    pub may_cut_off: bool,
}

impl std::fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scope").field("source", &self.source).finish_non_exhaustive()
    }
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = ImportOutcome)]
pub enum Outcome {
    /// There is no such device yet.
    New,
    /// Something of it differs.
    Changed,
    /// All of it is known.
    Same,
    /// It is left out, and why is said.
    Refused,
    /// A lease that has ended: no sign of life.
    Ended,
}

/// One value that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ImportChange)]
pub struct Change {
    /// `vendor`, `addresses`, `keys`, `label.rack`…
    pub field: String,
    /// What is believed now; absent: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What the row says.
    pub after: String,
    /// A decision of whoever imports; otherwise a claim of the source.
    pub decided: bool,
    /// Why it will not be believed all the same: who is surer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beaten_by: Option<String>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ImportRow)]
pub struct Planned {
    /// Where it begins in the file, from 1; 0: of the whole file.
    pub line: u64,
    /// What becomes of it.
    pub outcome: Outcome,
    /// The device; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What differs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// It is a newer sign of life.
    #[serde(skip_serializing_if = "is_false")]
    pub seen: bool,
    /// Why it is refused, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// What a list comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Every row, in the order of the file.
    pub rows: Vec<Planned>,
    /// What the source claims, by site.
    pub reports: BTreeMap<SiteId, Vec<Facts>>,
    /// What whoever imports decides.
    pub edits: Vec<(DeviceId, Edit)>,
}

impl Plan {
    /// Rows with an outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.rows.iter().filter(|row| row.outcome == outcome).count()
    }

    /// The commands, in order; `batch` devices each.
    pub fn commands(&self, source: &str, batch: usize) -> Vec<Command> {
        let mut commands = Vec::new();
        for (site, facts) in &self.reports {
            for part in facts.chunks(batch) {
                let (site, source, devices) = (site.clone(), source.to_owned(), part.to_vec());
                commands.push(Command::Device(devices::Command::Report { site, source, devices }));
            }
        }
        for part in self.edits.chunks(batch) {
            let edits = part.to_vec();
            commands.push(Command::Device(devices::Command::EditEach { edits }));
        }
        commands
    }
}

/// What a list would change.
pub fn plan(estate: &Estate, lines: &[Line], scope: &Scope<'_>) -> Plan {
    let mut planning = Planning {
        estate,
        scope,
        plan: Plan::default(),
        done: BTreeMap::new(),
        keys: BTreeMap::new(),
    };
    for line in lines {
        let planned = match line {
            Line::Row(row) => planning.take(row),
            Line::Refused { line, why } => refused(*line, None, why.clone()),
            Line::Ended { line, key } => Planned {
                outcome: Outcome::Ended,
                ..refused(*line, None, format!("the lease of {key} has ended"))
            },
        };
        planning.plan.rows.push(planned);
    }
    planning.plan
}

fn refused(line: u64, device: Option<&DeviceId>, why: String) -> Planned {
    let device = device.map(ToString::to_string);
    let (outcome, changes, seen) = (Outcome::Refused, Vec::new(), false);
    Planned { line, outcome, device, changes, seen, why: Some(why) }
}

struct Planning<'a> {
    estate: &'a Estate,
    scope: &'a Scope<'a>,
    plan: Plan,
    /// Devices that an earlier row is about, and its line.
    done: BTreeMap<DeviceId, u64>,
    /// Identifiers that earlier rows bring, and their lines.
    keys: BTreeMap<String, u64>,
}

/// What a row comes to, before the estate has looked at it.
struct Draft {
    id: DeviceId,
    is_new: bool,
    changes: Vec<Change>,
    seen: bool,
    report: Option<(SiteId, Facts)>,
    edit: Edit,
    /// Sites that it touches.
    sites: BTreeSet<SiteId>,
}

impl Planning<'_> {
    fn take(&mut self, row: &Row) -> Planned {
        let draft = match self.find(row) {
            Ok(Found::Known(id)) => {
                // `find` has it from there.
                let Some(device) = self.estate.devices().get(&id) else {
                    return refused(row.line, None, "it is gone".to_owned());
                };
                self.known(row, device)
            }
            Ok(Found::New(id, site)) => self.made(row, id, site),
            Err(why) => return refused(row.line, row.id.as_ref(), why),
        };
        let (id, line) = (draft.id.clone(), row.line);
        if let Some(earlier) = self.done.get(&id) {
            return refused(line, Some(&id), format!("line {earlier} is about this device too"));
        }
        if let Err(why) = self.allowed(&draft) {
            // One that does not come has no id.
            return refused(line, (!draft.is_new).then_some(&id), why);
        }
        self.done.insert(id.clone(), line);
        let Draft { is_new, changes, seen, report, edit, .. } = draft;
        if let Some((site, facts)) = &report {
            for key in facts.keys.iter().filter_map(|key| devices::key::indexed(key, site)) {
                self.keys.insert(key, line);
            }
        }
        if let Some((site, facts)) = report {
            self.plan.reports.entry(site).or_default().push(facts);
        }
        if !is_empty(&edit) {
            self.plan.edits.push((id.clone(), edit));
        }
        let outcome = match (is_new, changes.is_empty()) {
            (true, _) => Outcome::New,
            (false, false) => Outcome::Changed,
            (false, true) => Outcome::Same,
        };
        Planned { line, outcome, device: Some(id.to_string()), changes, seen, why: None }
    }

    /// Which device a row is about.
    fn find(&self, row: &Row) -> Result<Found, String> {
        let all = self.estate.devices();
        let by_id = row.id.as_ref().and_then(|id| all.get(id));
        let site = row.site.as_ref().or(self.scope.site).or(by_id.map(|device| &device.site));
        let mut owners: Vec<(&String, &Device)> = Vec::new();
        for key in &row.keys {
            let indexed = site.and_then(|site| devices::key::indexed(key, site));
            if let Some(earlier) = indexed.and_then(|key| self.keys.get(&key)) {
                return Err(format!("line {earlier} is about this device too: it has {key}"));
            }
            if let Some(device) = site.and_then(|site| all.by_key(key, site))
                && !owners.iter().any(|(_, other)| other.id == device.id)
            {
                owners.push((key, device));
            }
        }
        match (by_id, owners.as_slice()) {
            (Some(device), owners) => match owners.iter().find(|(_, o)| o.id != device.id) {
                Some((key, other)) => {
                    Err(format!("{key} is of {}; merge the two, or correct the row", other.id))
                }
                None => Ok(Found::Known(device.id.clone())),
            },
            (None, [(key, device), ..]) if row.id.is_some() => {
                Err(format!("{key} is of {}; leave the id empty, or write that one", device.id))
            }
            (None, [(key, one), (other_key, other), ..]) => Err(format!(
                "{key} is of {}, {other_key} of {}; merge the two, or correct the row",
                one.id, other.id
            )),
            (None, [(_, device)]) => Ok(Found::Known(device.id.clone())),
            (None, []) => {
                let site = site.cloned().ok_or_else(|| {
                    "nobody says where it is: a column `site`, or --site".to_owned()
                })?;
                let mut indexed =
                    row.keys.iter().filter_map(|key| devices::key::indexed(key, &site));
                let id = match (&row.id, indexed.next()) {
                    (Some(id), _) => id.clone(),
                    (None, Some(key)) => derived(&key)?,
                    (None, None) => {
                        let why = "nothing would recognise it: none of its identifiers counts; there are mac/…, serial/VENDOR/…, duid/…, uuid/…";
                        return Err(why.to_owned());
                    }
                };
                Ok(Found::New(id, site))
            }
        }
    }

    fn made(&self, row: &Row, id: DeviceId, site: SiteId) -> Draft {
        let mut changes = Vec::new();
        let mut adds = |field: &str, after: String, decided: bool| {
            let (field, before, beaten_by) = (field.to_owned(), None, None);
            changes.push(Change { field, before, after, decided, beaten_by });
        };
        adds("site", site.to_string(), false);
        for key in &row.keys {
            adds("keys", key.clone(), false);
        }
        if let Some(addresses) = &row.addresses {
            adds("addresses", words(addresses), false);
        }
        row.said.iter().for_each(|(field, value)| adds(field.word(), value.clone(), false));
        let mut edit = Edit::default();
        for (field, value) in &row.decided {
            adds(field.word(), value.clone(), true);
            edit.set.insert(*field, Some(value.clone()));
        }
        for (name, value) in &row.labels {
            adds(&format!("label.{name}"), value.clone(), true);
            edit.labels.insert(name.clone(), Some(value.clone()));
        }
        let last_seen = row.last_seen.unwrap_or(self.scope.now).min(self.scope.now);
        let first_seen = row.first_seen.unwrap_or(last_seen).min(last_seen);
        let facts = Facts {
            subject: self.subject(row, &id),
            id: id.clone(),
            keys: row.keys.clone(),
            addresses: row.addresses.clone(),
            said: row.said.iter().map(|(f, v)| self.said(row, *f, v)).collect(),
            first_seen,
            last_seen,
        };
        let sites = BTreeSet::from([site.clone()]);
        Draft { id, is_new: true, changes, seen: false, report: Some((site, facts)), edit, sites }
    }

    fn known(&self, row: &Row, device: &Device) -> Draft {
        let mut sites = BTreeSet::from([device.site.clone()]);
        let mut changes = Vec::new();
        let mut edit = Edit::default();
        // A list of leases tells where its server is; where people's lists say nothing, the device is where it is.
        let here = match row.one_family {
            true => self.scope.site.cloned().unwrap_or_else(|| device.site.clone()),
            false => device.site.clone(),
        };
        let is_newer = row.last_seen.is_some_and(|at| at.min(self.scope.now) > device.last_seen());
        let is_pinned = device.claims().iter().any(|c| c.decided && c.field == Field::Site);
        let moves = here != device.site && is_newer && !is_pinned;
        let mut differs =
            |field: &str, before: Option<String>, after: String, decided: bool, beaten_by| {
                changes.push(Change { field: field.to_owned(), before, after, decided, beaten_by });
            };
        if moves {
            sites.insert(here.clone());
            differs("site", Some(device.site.to_string()), here.to_string(), false, None);
        }
        if let Some(site) = row.site.as_ref().filter(|site| **site != device.site) {
            sites.insert(site.clone());
            differs("site", Some(device.site.to_string()), site.to_string(), true, None);
            edit.set.insert(Field::Site, Some(site.to_string()));
        }
        let mut more_keys = false;
        for key in &row.keys {
            let is_known = match devices::key::indexed(key, &here) {
                Some(_) => self.estate.devices().by_key(key, &here).is_some(),
                None => false,
            };
            if !is_known
                && !device.keys.iter().any(|own| **own == **key)
                && (moves || here == device.site)
            {
                differs("keys", None, key.clone(), false, None);
                more_keys = true;
            }
        }
        let addresses = row.addresses.as_ref().filter(|_| moves || here == device.site);
        let addresses = addresses.and_then(|new| wanted(new, device, row.one_family, moves));
        if let Some(new) = &addresses {
            let before = (!device.addresses.is_empty()).then(|| words(&device.addresses));
            differs("addresses", before, words(new), false, None);
        }
        let mut said = Vec::new();
        for (field, value) in &row.said {
            let own = device
                .claims()
                .iter()
                .find(|c| !c.decided && c.field == *field && is_of(&c.source, self.scope.source));
            let before = device.value(*field);
            let told = own.map(|claim| &*claim.value).or(before);
            if told.map(str::trim) != Some(value.as_str()) {
                let beaten_by = beaten_by(device, *field, value, row.confidence, self.scope);
                differs(field.word(), before.map(str::to_owned), value.clone(), false, beaten_by);
                said.push(self.said(row, *field, value));
            }
        }
        for (field, value) in &row.decided {
            let before = device.value(*field);
            if before.map(str::trim) != Some(value.as_str()) {
                differs(field.word(), before.map(str::to_owned), value.clone(), true, None);
                edit.set.insert(*field, Some(value.clone()));
            }
        }
        for (name, value) in &row.labels {
            let before = device.label(name);
            if before.map(str::trim) != Some(value.as_str()) {
                let field = format!("label.{name}");
                differs(&field, before.map(str::to_owned), value.clone(), true, None);
                edit.labels.insert(name.clone(), Some(value.clone()));
            }
        }
        let last_seen = row.last_seen.map_or(device.last_seen(), |at| at.min(self.scope.now));
        let silent = last_seen.as_nanos().saturating_sub(device.last_seen().as_nanos());
        let seen = silent >= SEEN_EVERY_S.saturating_mul(NANOS)
            || (silent > 0 && device.state == State::Stale);
        let tells = moves || more_keys || addresses.is_some() || !said.is_empty() || seen;
        let report = tells.then(|| {
            let last_seen = last_seen.max(device.last_seen());
            let facts = Facts {
                id: device.id.clone(),
                subject: self.subject(row, &device.id),
                // Those that are known are what it is recognised by.
                keys: row.keys.clone(),
                addresses,
                said,
                first_seen: device.first_seen().min(last_seen),
                last_seen,
            };
            (here, facts)
        });
        Draft { id: device.id.clone(), is_new: false, changes, seen, report, edit, sites }
    }

    /// Whether who imports may do that, and the estate takes it.
    fn allowed(&self, draft: &Draft) -> Result<(), String> {
        if let Some(site) = draft.sites.iter().find(|site| !(self.scope.may)(site)) {
            return Err(format!("you may not import devices of site {site}"));
        }
        if draft.edit.set.contains_key(&Field::Posture) && !self.scope.may_cut_off {
            return Err("you may not decide about its posture; leave the column out".to_owned());
        }
        let known = self.estate.devices().get(&draft.id);
        if let Some(device) = known.filter(|device| device.state == State::Retired)
            && (!draft.changes.is_empty())
        {
            return Err(format!("{} is retired; return it first, or leave it out", device.id));
        }
        let told = |refusal: Refusal| match refusal.help.is_empty() {
            true => refusal.to_string(),
            false => format!("{refusal}; {}", refusal.help),
        };
        if let Some((site, facts)) = &draft.report {
            let command = devices::Command::Report {
                site: site.clone(),
                source: self.scope.source.to_owned(),
                devices: vec![facts.clone()],
            };
            let command = Command::Device(command);
            self.estate.decide(&command, self.scope.who, self.scope.now).map_err(told)?;
        }
        if !is_empty(&draft.edit) {
            self.estate.check(&draft.edit).map_err(told)?;
        }
        if known.is_some() && !is_empty(&draft.edit) {
            let (devices, edit) = (vec![draft.id.clone()], draft.edit.clone());
            let command = Command::Device(devices::Command::Edit { devices, edit });
            self.estate.decide(&command, self.scope.who, self.scope.now).map_err(told)?;
        }
        Ok(())
    }

    fn said(&self, row: &Row, field: Field, value: &str) -> Said {
        Said {
            field,
            value: Some(value.to_owned()),
            detail: row.detail.to_owned(),
            confidence: row.confidence,
            at: row.last_seen.unwrap_or(self.scope.now).min(self.scope.now),
        }
    }

    /// What the source calls it: people's lists by our id, others by what they know it by.
    fn subject(&self, row: &Row, id: &DeviceId) -> String {
        match (self.scope.source.starts_with("import/"), row.keys.first()) {
            (false, Some(key)) => key.clone(),
            _ => id.to_string(),
        }
    }
}

enum Found {
    Known(DeviceId),
    New(DeviceId, SiteId),
}

/// The id of a device that nobody named: the same for the same identifier, so that a plan tells what comes.
fn derived(key: &str) -> Result<DeviceId, String> {
    let digest = hex(&crypto::sha256(key.as_bytes()));
    let id = format!("dev-{}", digest.get(..ID_DIGITS).unwrap_or(&digest));
    DeviceId::new(&id).map_err(|error| error.to_string())
}

/// Addresses that a device has from now on; `None`: those it has.
fn wanted(new: &[IpAddr], device: &Device, one_family: bool, moves: bool) -> Option<Vec<IpAddr>> {
    let has: &[IpAddr] = if moves { &[] } else { &device.addresses };
    if one_family && new.iter().all(|address| has.contains(address)) && !new.is_empty() {
        return None;
    }
    let mut all = new.to_vec();
    if one_family {
        // A server of one family knows nothing of the other.
        let of = |address: &IpAddr| new.iter().any(|n| n.is_ipv4() == address.is_ipv4());
        all.extend(has.iter().filter(|address| !of(address)));
    }
    all.sort_unstable();
    all.dedup();
    let mut has = has.to_vec();
    has.sort_unstable();
    (all != has).then_some(all)
}

/// Who is believed instead, and with what.
fn beaten_by(
    device: &Device,
    field: Field,
    value: &str,
    confidence: u8,
    scope: &Scope<'_>,
) -> Option<String> {
    let others = device.claims().iter().filter(|claim| {
        claim.field == field && (claim.decided || !is_of(&claim.source, scope.source))
    });
    let surer = others
        .filter(|claim| claim.decided || claim.confidence > confidence)
        .max_by_key(|claim| (claim.decided, claim.confidence, claim.at))?;
    // Whoever says the same is no rival.
    (*surer.value != *value).then(|| match surer.decided {
        true => format!("{} decided `{}`", surer.source, surer.value),
        false => format!("{} says `{}` with {} %", surer.source, surer.value, surer.confidence),
    })
}

/// Whether a claim's source is this one, wherever in it that stands.
fn is_of(claim: &str, source: &str) -> bool {
    claim.strip_prefix(source).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_empty(edit: &Edit) -> bool {
    edit.set.is_empty() && edit.labels.is_empty()
}

fn words(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
