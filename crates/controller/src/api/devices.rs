//! Devices.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use estate::access::rbac::{Action, Place};
use estate::access::{Role, SITES_MAX, Sites};
use estate::devices::{self, Claim, Device, Edit, Event, Facts, Field, SelectionError};
use estate::{Command, record};
use model::{DeviceId, SiteId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::approvals::{self, Ask};
use super::page::{self, Page, Paging};
use super::{Api, Body, Path, Problem, Query, Who, reason};

/// What is believed, and how it is known.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Believed {
    /// The value.
    pub value: String,
    /// Who says so.
    pub source: String,
    /// A person decided it.
    pub decided: bool,
    /// How sure, in percent.
    pub confidence: u8,
    /// When it was seen or decided (RFC 3339).
    pub at: String,
}

impl From<&Claim> for Believed {
    fn from(claim: &Claim) -> Self {
        Self {
            value: claim.value.to_string(),
            source: claim.source.to_string(),
            decided: claim.decided,
            confidence: claim.confidence,
            at: claim.at().to_string(),
        }
    }
}

macro_rules! document {
    ($($(#[$doc:meta])* $name:ident = $field:ident as $word:tt),+ $(,)?) => {
        /// A device.
        #[derive(Clone, Debug, Serialize, ToSchema)]
        #[schema(as = Device)]
        pub struct Document {
            /// Its id, for ever.
            pub id: String,
            /// Where it is.
            pub site: String,
            /// `active`, `stale` or `retired`.
            pub state: &'static str,
            /// It was seen after it was retired.
            pub resurfaced: bool,
            /// Network addresses.
            pub addresses: Vec<String>,
            /// What identifies it: `mac/…`, `serial/…`.
            pub keys: Vec<String>,
            /// Labels of people.
            pub labels: BTreeMap<String, String>,
            /// Ids it had before merges.
            pub aliases: Vec<String>,
            /// Others that have an identifier of it too: a person has to look.
            pub confused_with: Vec<String>,
            /// First sign of life (RFC 3339).
            pub first_seen: String,
            /// Last one, exact to an hour.
            pub last_seen: String,
            /// Its version.
            pub etag: String,
            $($(#[$doc])* #[serde(rename = $word, skip_serializing_if = "Option::is_none")]
            pub $name: Option<Believed>,)+
        }

        impl From<&Device> for Document {
            fn from(device: &Device) -> Self {
                let texts = |list: &mut dyn Iterator<Item = String>| list.collect::<Vec<_>>();
                Self {
                    id: device.id.to_string(),
                    site: device.site.to_string(),
                    state: device.state.word(),
                    resurfaced: device.resurfaced,
                    addresses: texts(&mut device.addresses.iter().map(ToString::to_string)),
                    keys: texts(&mut device.keys.iter().map(ToString::to_string)),
                    labels: device.labels.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
                    aliases: texts(&mut device.aliases.iter().map(ToString::to_string)),
                    confused_with: texts(&mut device.confused_with.iter().map(ToString::to_string)),
                    first_seen: device.first_seen().to_string(),
                    last_seen: device.last_seen().to_string(),
                    etag: page::etag(device.changed_by()),
                    $($name: device.believed(Field::$field).map(Believed::from),)+
                }
            }
        }
    };
}

document!(
    /// What people call it.
    name = Name as "name",
    /// Team that is answerable.
    owner = Owner as "owner",
    /// Zone of the policy.
    zone = Zone as "zone",
    /// What it is.
    kind = Type as "type",
    /// Who makes it.
    vendor = Vendor as "vendor",
    /// Product designation.
    model = Model as "model",
    /// Version of what runs on it.
    firmware = Firmware as "firmware",
    /// Hardware revision.
    hardware = Hardware as "hardware",
    /// Serial number.
    serial = Serial as "serial",
    /// Operating system.
    os = Os as "os",
    /// Name it gives itself.
    hostname = Hostname as "hostname",
    /// How strongly its identity is established.
    assurance = Assurance as "assurance",
    /// `low`, `normal`, `high`, `safety`.
    criticality = Criticality as "criticality",
    /// `normal`, `watched`, `quarantined`.
    posture = Posture as "posture",
    /// `supported`, `ending`, `ended`, `unknown`.
    support = Support as "support",
    /// `none`, `vulnerable`, `known-exploited`, `unknown`.
    exposure = Exposure as "exposure",
    /// Manufacturer usage description that it announces (RFC 8520).
    mud_url = MudUrl as "mud-url",
);

/// Which devices: all of it has to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Selection {
    /// A selector: `type=ip-camera,site=w1,!owner`.
    pub l: Option<String>,
    /// A Cedar expression about `device` and `now`: `device.type == "ip-camera" && device.last_seen < now.offset(duration("-1d"))`.
    #[serde(rename = "where")]
    pub expression: Option<String>,
    /// Words that occur in its name, host name, address, link address, vendor, model, owner or id.
    pub q: Option<String>,
}

impl Selection {
    /// It selects everything, whatever is written in it.
    fn is_empty(&self) -> bool {
        let all = [&self.l, &self.expression, &self.q];
        all.iter().all(|part| part.as_deref().is_none_or(|text| text.trim().is_empty()))
    }

    /// Reads it.
    pub(crate) fn parse(&self, api: &Api) -> Result<devices::Selection, Problem> {
        let Self { l, expression, q } = self;
        let now = api.hub.now();
        devices::Selection::parse(l.as_deref(), expression.as_deref(), q.as_deref(), now).map_err(
            |error| match error {
                SelectionError::Selector(error) => {
                    Problem::invalid(format!("the selector `{}`", error.term), error.why)
                }
                SelectionError::Where(error) => {
                    let (code, shown) = ("request.where", error.shown());
                    let problem =
                        Problem::new(StatusCode::BAD_REQUEST, code, "the expression", shown);
                    problem.help(error.help)
                }
                SelectionError::Words => Problem::invalid("the words", error.to_string()),
            },
        )
    }
}

pub(crate) fn id_of(text: &str) -> Result<DeviceId, Problem> {
    DeviceId::new(text).map_err(|_| Problem::unknown("device.unknown", format!("device {text}")))
}

/// A device, and what is said of it that is not believed.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = WholeDevice)]
pub struct Whole {
    /// It.
    #[serde(flatten)]
    pub device: Document,
    /// What others say, by field, where it is something else than what is believed; the surest first.
    pub otherwise: BTreeMap<String, Vec<Believed>>,
}

impl From<&Device> for Whole {
    fn from(device: &Device) -> Self {
        let mut otherwise: BTreeMap<String, Vec<Believed>> = BTreeMap::new();
        for claim in device.claims() {
            if device.value(claim.field) != Some(&*claim.value) {
                otherwise.entry(claim.field.word().to_owned()).or_default().push(claim.into());
            }
        }
        for said in otherwise.values_mut() {
            said.sort_by(|a, b| (b.confidence, &b.at).cmp(&(a.confidence, &a.at)));
        }
        Self { device: Document::from(device), otherwise }
    }
}

/// One device, and what is said of it that is not believed.
#[utoipa::path(get, path = "/v1/devices/{id}", tag = "devices", params(("id" = String, Path)),
    responses((status = 200, body = Whole), (status = 304), (status = "default", body = Problem)))]
pub async fn get(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wanted = id_of(&id)?;
    api.hub.read(|estate| {
        let device = estate.devices().get(&wanted).filter(|device| who.sees(&device.site));
        let device =
            device.ok_or_else(|| Problem::unknown("device.unknown", format!("device {id}")))?;
        let version = page::versioned(device.changed_by());
        Ok(match page::known(&headers, device.changed_by()) {
            true => (StatusCode::NOT_MODIFIED, version).into_response(),
            false => (version, Json(Whole::from(device))).into_response(),
        })
    })
}

/// What a person decides about a device.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Values by field; `null` takes a decision back.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, Option<String>>)]
    pub set: std::collections::BTreeMap<Field, Option<String>>,
    /// Labels by name; `null` takes one away.
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, Option<String>>,
    /// Why.
    pub why: String,
}

/// Decides about one device.
#[utoipa::path(patch, path = "/v1/devices/{id}", tag = "devices", params(("id" = String, Path)), request_body = Change,
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn change(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(change): Body<Change>,
) -> Result<Response, Problem> {
    let wanted = id_of(&id)?;
    let version = api.hub.read(|estate| {
        let device = estate.devices().get(&wanted).filter(|device| who.sees(&device.site));
        device.map(Device::changed_by)
    });
    let version =
        version.ok_or_else(|| Problem::unknown("device.unknown", format!("device {id}")))?;
    page::unchanged(&headers, version)?;
    let edit = Edit { set: change.set, labels: change.labels };
    who.may_edit(&edit)?;
    let command = devices::Command::Edit { devices: vec![wanted], edit };
    api.command(&who, change.why, Command::Device(command)).await?;
    get(State(api), who, Path(id), HeaderMap::new()).await
}

/// What a person decides about many devices.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkChange {
    /// A selector; all of the estate takes `state=active`.
    #[serde(default)]
    pub l: Option<String>,
    /// A Cedar expression that has to hold too, or alone.
    #[serde(default, rename = "where")]
    pub expression: Option<String>,
    /// Words that have to occur too, as in the list.
    #[serde(default)]
    pub q: Option<String>,
    /// Or their ids.
    #[serde(default)]
    pub ids: Vec<String>,
    /// Values by field; `null` takes a decision back.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, Option<String>>)]
    pub set: std::collections::BTreeMap<Field, Option<String>>,
    /// Labels by name; `null` takes one away.
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, Option<String>>,
    /// Why.
    pub why: String,
    /// Only tell how many.
    #[serde(default)]
    pub dry_run: bool,
}

/// How many devices a bulk command is about, and how many it changed.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Bulk {
    /// That were selected.
    pub selected: usize,
    /// That were not so already; 0 in a dry run.
    pub changed: usize,
}

/// Decides about many devices, about all or none of them. Very many take a second person: then the answer is 202, and the same request with
/// the header `Ringfence-Approval` carries it out.
#[utoipa::path(post, path = "/v1/devices/edit", tag = "devices", request_body = BulkChange,
    params(("Ringfence-Approval" = Option<String>, Header)),
    responses((status = 200, body = Bulk), (status = 202, body = approvals::Document), (status = "default", body = Problem)))]
pub async fn edit(
    State(api): State<Api>,
    who: Who,
    headers: HeaderMap,
    Body(change): Body<BulkChange>,
) -> Result<Response, Problem> {
    let of = Selection { l: change.l, expression: change.expression, q: change.q };
    let ids = chosen(&api, &who, &of, &change.ids)?;
    let edit = Edit { set: change.set, labels: change.labels };
    who.may_edit(&edit)?;
    let selected = ids.len();
    if change.dry_run {
        return Ok(Json(Bulk { selected, changed: 0 }).into_response());
    }
    reason(&change.why)?;
    if selected > api.who.approval_above() {
        let posture = edit.set.contains_key(&Field::Posture);
        let needs = if posture { Role::SecurityAdmin } else { Role::Operator };
        let what =
            serde_json::json!({ "change": "devices", "set": edit.set, "labels": edit.labels });
        let ask = asked(&api, &of, &ids, what, needs, &change.why);
        if let Some(waits) = approvals::second_person(&api, &who, &headers, ask).await? {
            return Ok(waits);
        }
    }
    let command = devices::Command::Edit { devices: ids, edit };
    let done = api.command(&who, change.why, Command::Device(command)).await?;
    Ok(Json(Bulk { selected, changed: changed(&done.events) }).into_response())
}

/// What a second person is asked: these devices and no others.
fn asked<'a>(
    api: &Api,
    of: &Selection,
    ids: &[DeviceId],
    mut command: serde_json::Value,
    needs: Role,
    why: &'a str,
) -> Ask<'a> {
    let mut all = Vec::new();
    for id in ids {
        all.extend_from_slice(id.as_str().as_bytes());
        all.push(b'\n');
    }
    let sites: std::collections::BTreeSet<SiteId> = api.hub.read(|estate| {
        let site = |id: &DeviceId| estate.devices().get(id).map(|device| device.site.clone());
        ids.iter().filter_map(site).collect()
    });
    if let Some(command) = command.as_object_mut() {
        command.insert("l".to_owned(), of.l.clone().into());
        command.insert("where".to_owned(), of.expression.clone().into());
        command.insert("q".to_owned(), of.q.clone().into());
        command.insert("devices".to_owned(), ids.len().into());
        let digest = crate::blobs::hex(&crypto::sha256(&all));
        command.insert("ids_sha256".to_owned(), digest.into());
    }
    Ask {
        command,
        devices: ids.len(),
        needs,
        // An estate of more sites than a grant can name takes somebody for all of them.
        sites: if sites.len() > SITES_MAX { Sites::All } else { Sites::Only(sites) },
        why,
    }
}

/// Many devices that are gone for good.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkRetire {
    /// A selector; all of the estate takes `state=active`.
    #[serde(default)]
    pub l: Option<String>,
    /// A Cedar expression that has to hold too, or alone.
    #[serde(default, rename = "where")]
    pub expression: Option<String>,
    /// Words that have to occur too, as in the list.
    #[serde(default)]
    pub q: Option<String>,
    /// Or their ids.
    #[serde(default)]
    pub ids: Vec<String>,
    /// Why.
    pub why: String,
    /// Only tell how many.
    #[serde(default)]
    pub dry_run: bool,
}

/// Retires many devices, all or none of them: their ids stay taken, their leases end. Very many take a second person, as with edits.
#[utoipa::path(post, path = "/v1/devices/retire", tag = "devices", request_body = BulkRetire,
    params(("Ringfence-Approval" = Option<String>, Header)),
    responses((status = 200, body = Bulk), (status = 202, body = approvals::Document), (status = "default", body = Problem)))]
pub async fn retire_many(
    State(api): State<Api>,
    who: Who,
    headers: HeaderMap,
    Body(bulk): Body<BulkRetire>,
) -> Result<Response, Problem> {
    let of = Selection { l: bulk.l, expression: bulk.expression, q: bulk.q };
    let mut ids = chosen(&api, &who, &of, &bulk.ids)?;
    let selected = ids.len();
    // Those that are retired already are no reason to refuse the others.
    api.hub.read(|estate| {
        let here = |id: &DeviceId| estate.devices().get(id).map(|device| device.state);
        ids.retain(|id| here(id) != Some(devices::State::Retired));
    });
    if bulk.dry_run {
        return Ok(Json(Bulk { selected, changed: 0 }).into_response());
    }
    reason(&bulk.why)?;
    if ids.len() > api.who.approval_above() {
        let what = serde_json::json!({ "change": "retire" });
        let ask = asked(&api, &of, &ids, what, Role::Operator, &bulk.why);
        if let Some(waits) = approvals::second_person(&api, &who, &headers, ask).await? {
            return Ok(waits);
        }
    }
    let changed = ids.len();
    if changed > 0 {
        let command = devices::Command::Retire { devices: ids };
        api.command(&who, bulk.why, Command::Device(command)).await?;
    }
    Ok(Json(Bulk { selected, changed }).into_response())
}

/// Devices that are gone for good.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Retire {
    /// Why.
    pub why: String,
}

/// Retires a device: its id stays taken, its leases end.
#[utoipa::path(post, path = "/v1/devices/{id}/retire", tag = "devices", params(("id" = String, Path)), request_body = Retire,
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn retire(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    Body(retire): Body<Retire>,
) -> Result<Response, Problem> {
    let ids = chosen(&api, &who, &Selection::default(), std::slice::from_ref(&id))?;
    let command = devices::Command::Retire { devices: ids };
    api.command(&who, retire.why, Command::Device(command)).await?;
    get(State(api), who, Path(id), HeaderMap::new()).await
}

/// Devices from another source: an import, a DHCP server's leases.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Where they are.
    pub site: String,
    /// Who tells: `import/purchase.csv`, `leases/kea`.
    pub source: String,
    /// What it knows.
    #[schema(value_type = Vec<Object>)]
    pub devices: Vec<Facts>,
    /// Why.
    pub why: String,
}

/// Takes in what another source knows.
#[utoipa::path(post, path = "/v1/devices/report", tag = "devices", request_body = Report,
    responses((status = 200, body = Bulk), (status = "default", body = Problem)))]
pub async fn report(
    State(api): State<Api>,
    who: Who,
    Body(report): Body<Report>,
) -> Result<Json<Bulk>, Problem> {
    let site = SiteId::new(&report.site)
        .map_err(|_| Problem::unknown("site.unknown", format!("site {}", report.site)))?;
    who.may(Action::DevicesImport, Place::At(&site))?;
    if report.source == "sensor" || report.source.starts_with("gateway/") {
        let detail = "only a site's own connection speaks as `sensor` or `gateway/…`";
        return Err(Problem::invalid(format!("source `{}`", report.source), detail));
    }
    let selected = report.devices.len();
    let (source, devices) = (report.source, report.devices);
    let command = devices::Command::Report { site, source, devices };
    let done = api.command(&who, report.why, Command::Device(command)).await?;
    Ok(Json(Bulk { selected, changed: changed(&done.events) }))
}

/// One change of a device.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Past {
    /// Number of its journal entry.
    pub entry: u64,
    /// When (RFC 3339).
    pub at: String,
    /// By whom: `person/…`, `site/…`.
    pub who: String,
    /// Why.
    pub why: String,
    /// What came of it.
    #[schema(value_type = Vec<Object>)]
    pub events: Vec<Event>,
}

/// What changed a device, the newest first.
#[utoipa::path(get, path = "/v1/devices/{id}/history", tag = "devices", params(("id" = String, Path), Paging),
    responses((status = 200, body = Page<Past>), (status = "default", body = Problem)))]
pub async fn history(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Past>>, Problem> {
    let wanted = id_of(&id)?;
    let before = paging.before()?;
    let (limit, found) = (
        paging.limit()?,
        api.hub.read(|estate| {
            let device = estate.devices().get(&wanted).filter(|device| who.sees(&device.site))?;
            let mut ids = device.aliases.to_vec();
            ids.push(device.id.clone());
            Some((device.history().to_vec(), ids))
        }),
    );
    let (numbers, ids) =
        found.ok_or_else(|| Problem::unknown("device.unknown", format!("device {id}")))?;
    let numbers: Vec<u64> =
        numbers.into_iter().rev().filter(|n| *n < before).take(limit.saturating_add(1)).collect();
    api.blocking(move |hub| {
        let mut items = Vec::new();
        for number in numbers.iter().take(limit) {
            let Some(entry) = hub.entry(*number)? else { continue };
            let of_device = |event: &Event| event.devices().iter().any(|id| ids.contains(id));
            let events = record::events(&entry)?.into_iter().filter_map(|event| match event {
                estate::Event::Device(event) if of_device(&event) => Some(shortened(event, &ids)),
                _ => None,
            });
            items.push(Past {
                entry: *number,
                at: entry.at.to_string(),
                who: format!("{}/{}", entry.who.kind, entry.who.id),
                why: entry.why.clone(),
                events: events.collect(),
            });
        }
        let next = (numbers.len() > limit).then(|| items.last().map(|past| past.entry)).flatten();
        Ok(Json(Page { items, next: next.map(|entry| page::token(&entry.to_string())) }))
    })
    .await
}

/// Leaves out of a bulk event the devices that were not asked about.
fn shortened(mut event: Event, ids: &[DeviceId]) -> Event {
    match &mut event {
        Event::Seen { ids: all, .. }
        | Event::Edited { ids: all, .. }
        | Event::Stale { ids: all }
        | Event::Retired { ids: all, .. } => all.retain(|id| ids.contains(id)),
        Event::Found(_)
        | Event::Told(_)
        | Event::Moved { .. }
        | Event::Confused { .. }
        | Event::Assured { .. }
        | Event::Resurfaced { .. }
        | Event::Returned { .. }
        | Event::Merged { .. }
        | Event::KeptApart { .. }
        | Event::TimeoutsSet { .. } => {}
    }
    event
}

/// Devices of a selection and of ids that who asks may see.
fn chosen(api: &Api, who: &Who, of: &Selection, ids: &[String]) -> Result<Vec<DeviceId>, Problem> {
    if of.is_empty() && ids.is_empty() {
        let help = "`state=active` selects everything that is alive";
        return Err(
            Problem::invalid("which devices", "neither a selection nor ids are given").help(help)
        );
    }
    let mut chosen = Vec::new();
    if !of.is_empty() {
        let selected = of.parse(api)?;
        api.hub.read(|estate| {
            let all = estate.devices().after(None);
            let all = all.filter(|d| who.sees(&d.site) && selected.selects(d));
            chosen.extend(all.take(devices::BATCH_MAX.saturating_add(1)).map(|d| d.id.clone()));
        });
    }
    for id in ids {
        let wanted = id_of(id)?;
        let seen =
            api.hub.read(|estate| estate.devices().get(&wanted).is_some_and(|d| who.sees(&d.site)));
        if !seen {
            return Err(Problem::unknown("device.unknown", format!("device {id}")));
        }
        chosen.push(wanted);
    }
    match chosen.is_empty() {
        true => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "device.none",
            "which devices",
            "none is selected",
        )),
        false => Ok(chosen),
    }
}

fn changed(events: &[estate::Event]) -> usize {
    let devices = events.iter().map(|event| match event {
        estate::Event::Device(event) => event.devices().len(),
        _ => 0,
    });
    devices.sum()
}
