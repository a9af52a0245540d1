//! Certificate requests that wait for a person, with evidence beside the claim; and what was found about identities.
//!
//! A request says what it likes. Beside it stands what the estate knows of the device that has the address it came from; where the two
//! do not fit, a line says so. Which device it is remains for a person to say.

use std::cmp::Reverse;

use axum::Json;
use axum::extract::State;
use estate::Estate;
use estate::access::Sites;
use estate::access::rbac::{Action, Place};
use estate::devices::{Device, Field};
use estate::identities::{self, Answer, Command, Waiting};
use estate::side::Digest;
use inventory::vendors;
use model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::credentials::editable;
use super::page::{Page, Paging};
use super::{Api, Body, Path, Problem, Query, Who};

/// What the estate knows of the device at an address.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SeenAs {
    /// Its id.
    pub device: String,
    /// Where it is.
    pub site: String,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who makes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// Product designation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What it is.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name it gives itself on the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Certificates that it has already.
    pub certificates: usize,
}

impl SeenAs {
    fn of(estate: &Estate, device: &Device, now: Timestamp) -> Self {
        let value = |field| device.value(field).map(str::to_owned);
        let record = estate.identities().get(&device.id);
        let good = record.into_iter().flat_map(|r| &r.credentials).filter(|c| c.is_good(now));
        Self {
            device: device.id.to_string(),
            site: device.site.to_string(),
            name: value(Field::Name),
            vendor: value(Field::Vendor),
            model: value(Field::Model),
            kind: value(Field::Type),
            hostname: value(Field::Hostname),
            certificates: good.count(),
        }
    }
}

/// A request for a certificate.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = CertificateRequest)]
pub struct Document {
    /// SHA-256 of the request, in hex: its id.
    pub id: String,
    /// SHA-256 of its public key, in hex.
    pub key_sha256: String,
    /// `waiting`, `approved` or `rejected`.
    pub state: &'static str,
    /// What it calls itself.
    pub names: Vec<String>,
    /// Network address that it came from.
    pub from: String,
    /// When it came first (RFC 3339).
    pub at: String,
    /// What has that address on the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_as: Option<SeenAs>,
    /// What does not fit, a line each.
    pub contradictions: Vec<String>,
    /// The device that a person said it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

impl Document {
    fn of(estate: &Estate, asking: &Asking<'_>, now: Timestamp) -> Self {
        let Asking { id, waiting, seen } = asking;
        let wanted = &waiting.wanted;
        let (state, device) = match &waiting.answer {
            None => ("waiting", None),
            Some(Answer::Rejected) => ("rejected", None),
            Some(Answer::Approved { device }) => ("approved", Some(device.to_string())),
        };
        Self {
            id: id.to_string(),
            key_sha256: wanted.key.to_string(),
            state,
            names: wanted.names.clone(),
            from: wanted.from.to_string(),
            at: waiting.at.to_string(),
            seen_as: seen.map(|device| SeenAs::of(estate, device, now)),
            contradictions: asking.contradictions(estate),
            device,
        }
    }
}

/// A request, and what has the address that it came from.
pub(super) struct Asking<'a> {
    pub(super) id: &'a Digest,
    pub(super) waiting: &'a Waiting,
    pub(super) seen: Option<&'a Device>,
}

impl<'a> Asking<'a> {
    fn of(estate: &'a Estate, id: &'a Digest, waiting: &'a Waiting) -> Self {
        let seen = waiting.wanted.seen_as.as_ref().and_then(|id| estate.devices().get(id));
        Self { id, waiting, seen }
    }

    /// Whether somebody is told of it: one from a device of their sites; from nowhere known, whoever is for all.
    fn is_seen_by(&self, who: &Who) -> bool {
        match self.seen {
            Some(device) => who.sees(&device.site),
            None => who.principal().grant.sites == Sites::All,
        }
    }

    /// Where it stands in the list.
    fn place(&self) -> String {
        format!("{:020} {}", self.waiting.at.as_nanos(), self.id)
    }

    /// What a person should know before saying yes.
    pub(super) fn contradictions(&self, estate: &Estate) -> Vec<String> {
        let Self { waiting: Waiting { wanted, .. }, seen, .. } = self;
        let mut lines = Vec::new();
        match seen {
            None => lines.push(format!("no device of the estate was seen at {}", wanted.from)),
            Some(device) => lines.extend(other_vendor(&wanted.names, device)),
        }
        if let Some((owner, _)) = estate.identities().of_key(&wanted.key)
            && seen.is_none_or(|device| device.id != *owner)
        {
            lines.push(format!("its key is the key of device {owner}"));
        }
        lines
    }
}

/// Requests that wait and that somebody is told of.
pub(super) fn asking<'a>(
    estate: &'a Estate,
    who: &'a Who,
) -> impl Iterator<Item = Asking<'a>> + 'a {
    let open = estate.identities().waiting().filter(|(_, waiting)| waiting.answer.is_none());
    open.map(|(id, waiting)| Asking::of(estate, id, waiting)).filter(|one| one.is_seen_by(who))
}

/// It names vendors, and the wire another one.
fn other_vendor(names: &[String], device: &Device) -> Option<String> {
    let seen = device.value(Field::Vendor)?;
    let said: Vec<(&str, &str)> =
        names.iter().flat_map(|n| vendors::named(n).into_iter().map(|v| (n.as_str(), v))).collect();
    match said.iter().any(|(_, vendor)| vendors::agree(vendor, seen)) {
        true => None,
        false => said.first().map(|(name, vendor)| {
            format!("it calls itself `{name}`, which is {vendor}; the wire says {seen}")
        }),
    }
}

/// Which requests.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// `waiting` (as it is without), `approved`, `rejected`, or `all`.
    pub state: Option<String>,
}

/// Certificate requests that wait for a person, or did in the last 30 days, the oldest first.
#[utoipa::path(get, path = "/v1/identities/requests", tag = "identities", params(Which, Paging),
    responses((status = 200, body = Page<Document>), (status = "default", body = Problem)))]
pub async fn list(
    State(api): State<Api>,
    who: Who,
    Query(which): Query<Which>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Document>>, Problem> {
    let state = which.state.as_deref().unwrap_or("waiting");
    if !["waiting", "approved", "rejected", "all"].contains(&state) {
        let why = format!("`{state:.64}` is none; there are waiting, approved, rejected, all");
        return Err(Problem::invalid("the state", why));
    }
    let (after, now) = (paging.after()?.unwrap_or_default(), api.hub.now());
    api.hub.read(|estate| {
        let all = estate.identities().waiting().filter(|(_, waiting)| is(waiting, state));
        let all = all.map(|(id, waiting)| Asking::of(estate, id, waiting));
        let mut all: Vec<_> = all.filter(|asking| asking.is_seen_by(&who)).collect();
        all.sort_by_key(|Asking { id, waiting, .. }| (waiting.at, **id));
        let rest = all.into_iter().filter(|asking| asking.place() > after);
        let page = paging.of(rest, Asking::place)?;
        let shown = page.items.iter().map(|asking| Document::of(estate, asking, now));
        Ok(Json(Page { items: shown.collect(), next: page.next }))
    })
}

fn is(waiting: &Waiting, state: &str) -> bool {
    match &waiting.answer {
        _ if state == "all" => true,
        None => state == "waiting",
        Some(Answer::Approved { .. }) => state == "approved",
        Some(Answer::Rejected) => state == "rejected",
    }
}

/// What a person says about a request: either of the two.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = AnswerRequest)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// It is this device, which gets the certificate.
    #[serde(default)]
    pub approve: Option<String>,
    /// It gets none.
    #[serde(default)]
    pub reject: bool,
    /// Why.
    pub why: String,
}

/// Says which device a request comes from, or that it gets no certificate. The device gets it when it asks again.
#[utoipa::path(post, path = "/v1/identities/requests/{id}", tag = "identities", params(("id" = String, Path)), request_body = Said,
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn answer(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    Body(said): Body<Said>,
) -> Result<Json<Document>, Problem> {
    let unknown = || Problem::unknown("identity.request", format!("request {id:.64}"));
    let request: Digest = id.parse().map_err(|_| unknown())?;
    let site = api.hub.read(|estate| {
        let asking = Asking::of(estate, &request, estate.identities().request(&request)?);
        asking.is_seen_by(&who).then(|| asking.seen.map(|device| device.site.clone()))
    });
    let site = site.ok_or_else(unknown)?;
    who.may(Action::IdentitiesEdit, site.as_ref().map_or(Place::Estate, Place::At))?;
    let answer = match (said.approve.as_deref(), said.reject) {
        (Some(device), false) => {
            let (device, _) = editable(&api, &who, device)?;
            Answer::Approved { device }
        }
        (None, true) => Answer::Rejected,
        _ => {
            let why = "it is either a device in `approve`, or `reject`";
            return Err(Problem::invalid("the answer", why));
        }
    };
    let command = Command::Answer { request, answer };
    api.command(&who, said.why, estate::Command::Identity(command)).await?;
    let now = api.hub.now();
    api.hub.read(|estate| {
        let waiting = estate.identities().request(&request).ok_or_else(unknown)?;
        Ok(Json(Document::of(estate, &Asking::of(estate, &request, waiting), now)))
    })
}

/// Something about an identity, or about somebody at the door, that a person should look at.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = IdentityFinding)]
pub struct Finding {
    /// When (RFC 3339); of several the last one.
    pub at: String,
    /// Stable word: `identity.key-taken`.
    pub code: String,
    /// Which device; null: somebody was refused at the door who is no device that is known.
    #[schema(required)]
    pub device: Option<String>,
    /// From which network he came, where it is no device; of IPv6 a /64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How often.
    pub times: u64,
    /// The first time, where it is no device (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// One line.
    pub what: String,
    /// The journal entry with all of it; of several the last one.
    pub entry: u64,
}

impl From<&identities::Finding> for Finding {
    fn from(found: &identities::Finding) -> Self {
        let identities::Finding { at, code, device, what, entry } = found;
        Self {
            at: at.to_string(),
            code: code.clone(),
            device: Some(device.to_string()),
            from: None,
            times: 1,
            since: None,
            what: what.clone(),
            entry: *entry,
        }
    }
}

impl From<&identities::AtDoor> for Finding {
    fn from(found: &identities::AtDoor) -> Self {
        let identities::AtDoor { from, code, times, first, last, what, entry } = found;
        Self {
            at: last.to_string(),
            code: code.clone(),
            device: None,
            from: from.map(|from| from.to_string()),
            times: *times,
            since: Some(first.to_string()),
            what: what.clone(),
            entry: *entry,
        }
    }
}

/// A finding of either kind.
enum Found<'f> {
    Device(&'f identities::Finding),
    Door(&'f identities::AtDoor),
}

impl Found<'_> {
    const fn entry(&self) -> u64 {
        match self {
            Self::Device(found) => found.entry,
            Self::Door(found) => found.entry,
        }
    }
}

/// What was found about identities, the newest first. What is about the door and no device is for people of all sites.
#[utoipa::path(get, path = "/v1/identities/findings", tag = "identities", params(Paging),
    responses((status = 200, body = Page<Finding>), (status = "default", body = Problem)))]
pub async fn findings(
    State(api): State<Api>,
    who: Who,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Finding>>, Problem> {
    let after = paging.after()?.map(|place| place_of(&place)).transpose()?;
    api.hub.read(|estate| {
        let sees = |found: &Found<'_>| match found {
            Found::Device(found) => {
                let device = estate.devices().get(&found.device);
                device.is_none_or(|device| who.sees(&device.site))
            }
            Found::Door(_) => who.principal().grant.sites == Sites::All,
        };
        let devices = estate.identities().found().rev().map(Found::Device);
        let mut all: Vec<_> =
            devices.chain(estate.identities().at_door().rev().map(Found::Door)).collect();
        all.sort_by_key(|found| Reverse(found.entry()));
        let rest = numbered(all.into_iter())
            .filter(|(place, found)| after.is_none_or(|after| *place > after) && sees(found));
        let page = paging.of(rest, |((Reverse(entry), nth), _)| format!("{entry} {nth}"))?;
        let shown = page.items.into_iter().map(|(_, found)| match found {
            Found::Device(found) => Finding::from(found),
            Found::Door(found) => Finding::from(found),
        });
        Ok(Json(Page { items: shown.collect(), next: page.next }))
    })
}

/// Where a finding stands in the list: the newest entry first, and of one entry the last finding.
type Spot = (Reverse<u64>, u32);

/// Findings, the newest first, with their places. Of one entry there may be several.
fn numbered<'f>(found: impl Iterator<Item = Found<'f>>) -> impl Iterator<Item = (Spot, Found<'f>)> {
    found.scan((u64::MAX, 0_u32), |(entry, nth), found| {
        *nth = if found.entry() == *entry { nth.saturating_add(1) } else { 0 };
        *entry = found.entry();
        Some(((Reverse(*entry), *nth), found))
    })
}

fn place_of(text: &str) -> Result<Spot, Problem> {
    let parts = text.split_once(' ');
    let read = |(entry, nth): (&str, &str)| Some((Reverse(entry.parse().ok()?), nth.parse().ok()?));
    let wrong = || Problem::invalid("the page", "it is no `next` of an earlier answer");
    parts.and_then(read).ok_or_else(wrong)
}
