//! Exceptions: paths that are open for a while, who answers for them, and until when.
//!
//! Those of the policy folder are shown with those that are made here, and either can be ended; only the latter are made here. One is made on what
//! the policy in force says at that moment: it opens nothing that a forbid closes, breaks no claim, is told of tests that it goes against, and takes a second person where
//! somebody who takes its device over would reach more devices by it than the limit.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use estate::access::rbac::{Action, Place};
use estate::access::{By, Role, Sites};
use estate::exceptions::{self, Command};
use estate::{Command as Any, Estate};
use model::{DeviceId, ServiceId, SiteId, Timestamp};
use policy::folder::{Exception, Service};
use policy::plan::{Comparison, EXPIRING_DAYS};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::approvals::{self, Ask};
use super::devices::Selection;
use super::page::{self, Page, Paging};
use super::{Api, Body, Path, Problem, Query, Who, reason};
use crate::pdp::{Known, PolicyError, Proposal, View};

const NANOS: i64 = 1_000_000_000;

/// An exception.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Exception)]
pub struct Document {
    /// Its id.
    pub id: String,
    /// `controller`: it was made here. `folder`: it stands in `exceptions.toml` of the policy folder.
    pub source: &'static str,
    /// `open`, `expiring` (within 14 days), `not-in-force`, `expired`, `ended`.
    pub state: &'static str,
    /// Why it is not in force although it has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
    /// Device that may.
    pub from: String,
    /// Its site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Service that it may open.
    pub to: String,
    /// The device that offers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Transport and port of the service: `tcp/443`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Team that answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Who made it; for one of the folder: who set the folder is in the journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_by: Option<String>,
    /// When (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_at: Option<String>,
    /// Seconds since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_s: Option<i64>,
    /// It ends by itself then.
    pub expires_at: String,
    /// Seconds until then; 0 when it is over.
    pub left_s: i64,
    /// Who ended it before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Its version.
    pub etag: String,
}

/// Which exceptions.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only in this state.
    pub state: Option<String>,
    /// Only those that this team answers for.
    pub owner: Option<String>,
}

/// Exceptions of devices that who asks may see, by id; what is over is shown for 90 days.
#[utoipa::path(get, path = "/v1/exceptions", tag = "exceptions", params(Which, Selection, Paging),
    responses((status = 200, body = Page<Document>), (status = "default", body = Problem)))]
pub async fn list(
    State(api): State<Api>,
    who: Who,
    Query(which): Query<Which>,
    Query(selection): Query<Selection>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Document>>, Problem> {
    let (after, selected) = (paging.after()?.unwrap_or_default(), selection.parse(&api)?);
    paging.limit()?;
    let all = all(&api).await?;
    let known = |device: &str, estate: &Estate| {
        let device = DeviceId::new(device).ok();
        device.and_then(|id| estate.devices().get(&id)).is_some_and(|d| selected.selects(d))
    };
    api.hub.read(|estate| {
        let wanted = |e: &Document| {
            e.id > after
                && sees(&who, e)
                && which.state.as_ref().is_none_or(|state| e.state == state)
                && which.owner.as_ref().is_none_or(|owner| e.owner == *owner)
                && (selected.is_all() || known(&e.from, estate))
        };
        let page = paging.of(all.into_values().filter(wanted), |e| e.id.clone())?;
        Ok(Json(page))
    })
}

/// One exception.
#[utoipa::path(get, path = "/v1/exceptions/{id}", tag = "exceptions", params(("id" = String, Path)),
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn get(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(answer(StatusCode::OK, &one(&api, &who, &id).await?))
}

/// Another exception.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = NewException)]
#[serde(deny_unknown_fields)]
pub struct New {
    /// Device that may.
    pub from: String,
    /// Service that it may open: one of the policy folder in force.
    pub to: String,
    /// Team that answers for it.
    pub owner: String,
    /// It ends by itself then (RFC 3339); or `for_s`.
    #[serde(default)]
    pub until: Option<String>,
    /// It ends by itself after so many seconds: 90 days at most.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 7_776_000)]
    pub for_s: Option<u32>,
    /// Tell what it would open, and make nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Why.
    pub why: String,
}

/// An exception, and what it opens.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Opened {
    /// It; absent when nothing was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exception: Option<Document>,
    /// When it ends, or would.
    pub expires_at: String,
    /// Devices that somebody who takes its device over reaches besides.
    pub devices: usize,
    /// Tests of the policy folder that it goes against while it lasts: they are about policies, and do not keep it from being made.
    pub against: Vec<String>,
    /// It takes a second person.
    pub second_person: bool,
    /// What changes: paths that open, how far somebody gets; and why it may not be made.
    #[schema(value_type = Object)]
    pub plan: Comparison,
}

/// Makes an exception. Where it concerns many devices it takes a second person: then the answer is 202, and the same request with the header
/// `Ringfence-Approval` carries it out. With `If-Match` it is made only under the policy folder of that version.
#[utoipa::path(post, path = "/v1/exceptions", tag = "exceptions", request_body = New,
    params(("Ringfence-Approval" = Option<String>, Header), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = Opened), (status = 201, body = Opened), (status = 202, body = approvals::Document),
        (status = "default", body = Problem)))]
pub async fn add(
    State(api): State<Api>,
    who: Who,
    headers: HeaderMap,
    Body(new): Body<New>,
) -> Result<Response, Problem> {
    reason(&new.why)?;
    let (from, site) = device_of(&api, &who, &new.from)?;
    who.may(Action::ExceptionsEdit, Place::At(&site))?;
    let to = ServiceId::new(&new.to).map_err(|_| no_service(&new.to))?;
    let expires = end_of(&new, api.hub.now())?;
    let version = || api.hub.read(|e| e.policies().current().map_or(0, |v| v.entry));
    page::unchanged(&headers, version())?;
    let id = api.hub.id("exc")?;
    let (owner, why) = (new.owner.clone(), new.why.clone());
    let made = exceptions::Exception {
        id: id.clone(),
        from: from.clone(),
        to: to.clone(),
        owner: owner.clone(),
        reason: why.clone(),
        expires_at: expires,
    };
    let command = Any::Exception(Command::Add { exception: made });
    let actor = &who.principal().actor;
    api.hub.read(|estate| estate.decide(&command, actor, api.hub.now()))?;
    let asked =
        Exception { id: id.clone(), from, to, owner, reason: why.clone(), expires, line: 0 };
    let Proposal { known, plan, against, devices } = proposed(&api, asked).await?;
    match known {
        Known::NoDevice => {
            let why = "it is in no zone of the policy in force: nothing is opened for it";
            let what = format!("device {}", new.from);
            return Err(Problem::new(StatusCode::CONFLICT, "device.nowhere", what, why)
                .help("`ringfence edit ID zone=ZONE --reason …` puts it into a zone"));
        }
        Known::NoService => return Err(no_service(&new.to)),
        Known::Both => {}
    }
    // Who opens a way into another site is for that one too.
    let hosts = host_site(&api, &new.to).await?;
    if let Some(site) = &hosts {
        who.may(Action::ExceptionsEdit, Place::At(site))?;
    }
    let against: Vec<String> = against.iter().map(ToString::to_string).collect();
    let second_person = devices > api.who.approval_above();
    let expires_at = expires.to_string();
    if new.dry_run {
        let opened = Opened { exception: None, expires_at, devices, against, second_person, plan };
        return Ok(Json(opened).into_response());
    }
    if let Some(fault) = plan.refused.first() {
        let detail = match fault.line {
            0 => fault.why.clone(),
            line => format!("{}:{line}: {}: {}", fault.file, fault.what, fault.why),
        };
        let title = format!("{} to {}", new.from, new.to);
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "exception.refused", title, detail)
            .help("with `dry_run` all reasons are told; what must be open for long is a change of the policy folder"));
    }
    let asked = json!({
        "change": "exception", "from": new.from, "to": new.to, "owner": new.owner, "until": new.until,
        "for_s": new.for_s, "devices": devices, "why": new.why,
    });
    let sites: std::collections::BTreeSet<SiteId> = hosts.into_iter().chain([site]).collect();
    let (needs, sites) = (Role::PolicyAdmin, Sites::Only(sites));
    let ask = Ask { command: asked, devices, needs, sites, why: &why };
    if let Some(waits) = approvals::second_person(&api, &who, &headers, ask).await? {
        return Ok(waits);
    }
    // What was looked at is what it is made on.
    page::unchanged(&headers, version())?;
    api.command(&who, why, command).await?;
    let made = one(&api, &who, &id).await?;
    let tag = page::versioned(made.entry);
    let exception = Some(made.document);
    let opened = Opened { exception, expires_at, devices, against, second_person, plan };
    Ok((StatusCode::CREATED, tag, Json(opened)).into_response())
}

/// Why one ends.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = EndException)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Why.
    pub why: String,
}

/// Ends an exception now, also one of the policy folder: its line there opens nothing any more, also when the same folder is set again.
#[utoipa::path(post, path = "/v1/exceptions/{id}/end", tag = "exceptions",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)), request_body = End,
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn end(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(end): Body<End>,
) -> Result<Response, Problem> {
    reason(&end.why)?;
    let found = one(&api, &who, &id).await?;
    let place = found.site.as_ref().map_or(Place::Estate, Place::At);
    who.may(Action::ExceptionsEdit, place)?;
    page::unchanged(&headers, found.entry)?;
    let command = match found.of_folder {
        None => Command::End { id: id.clone() },
        Some(Exception { id, from, to, expires, .. }) => {
            Command::Close { id, from, to, expires_at: expires }
        }
    };
    api.command(&who, end.why, Any::Exception(command)).await?;
    Ok(answer(StatusCode::OK, &one(&api, &who, &id).await?))
}

/// One of those that are listed.
struct Found {
    document: Document,
    site: Option<SiteId>,
    /// Number of the entry that changed it last.
    entry: u64,
    of_folder: Option<Exception>,
}

fn answer(status: StatusCode, found: &Found) -> Response {
    (status, page::versioned(found.entry), Json(found.document.clone())).into_response()
}

fn sees(who: &Who, e: &Document) -> bool {
    let site = e.site.as_deref().map(SiteId::new);
    match site {
        Some(Ok(site)) => who.sees(&site),
        // Of a device that is no more.
        _ => who.principal().grant.sites == Sites::All,
    }
}

async fn one(api: &Api, who: &Who, id: &str) -> Result<Found, Problem> {
    let unknown = || Problem::from(exceptions::unknown(id));
    let document = all(api).await?.remove(id).filter(|e| sees(who, e)).ok_or_else(unknown)?;
    let site = document.site.as_deref().and_then(|site| SiteId::new(site).ok());
    let made = api.hub.read(|estate| estate.exceptions().get(id).map(|known| known.changed_by));
    let of_folder = match made {
        Some(_) => None,
        None => api.pdp.folder_exceptions().into_iter().find(|e| e.id == id),
    };
    let entry = document.etag.trim_matches('"').parse().unwrap_or(0);
    Ok(Found { document, site, entry, of_folder })
}

/// All exceptions, by id.
async fn all(api: &Api) -> Result<BTreeMap<String, Document>, Problem> {
    let view = view(api).await?;
    let folder = api.pdp.folder_exceptions();
    let now = api.hub.now();
    let services: BTreeMap<&str, &Service> = view
        .iter()
        .flat_map(|view| &view.folder.estate.services)
        .map(|service| (service.id.as_str(), service))
        .collect();
    Ok(api.hub.read(|estate| {
        let show = |one: One<'_>| one.shown(estate, view.as_deref(), &services, now);
        let version = estate.policies().current().map_or(0, |version| version.entry);
        let of_folder = folder.iter().map(|e| One::of_folder(e, estate, version));
        let made = estate.exceptions().iter().map(One::made);
        // An id that both have is the one that was made here: it can be ended by it.
        of_folder.chain(made).map(show).map(|document| (document.id.clone(), document)).collect()
    }))
}

/// An exception, wherever it comes from.
struct One<'e> {
    id: &'e str,
    from: &'e DeviceId,
    to: &'e ServiceId,
    owner: &'e str,
    reason: &'e str,
    expires: Timestamp,
    made: Option<(&'e By, Timestamp)>,
    ended: Option<&'e exceptions::Ended>,
    entry: u64,
}

impl<'e> One<'e> {
    fn of_folder(e: &'e Exception, estate: &'e Estate, entry: u64) -> Self {
        let ended = estate.exceptions().closed(&e.id, &e.from, &e.to, e.expires);
        let Exception { id, from, to, owner, reason, expires, .. } = e;
        Self { id, from, to, owner, reason, expires: *expires, made: None, ended, entry }
    }

    fn made(known: &'e exceptions::Known) -> Self {
        let exceptions::Exception { id, from, to, owner, reason, expires_at } = &known.exception;
        let (made, ended) = (Some((&known.by, known.at)), known.ended.as_ref());
        let entry = known.changed_by;
        Self { id, from, to, owner, reason, expires: *expires_at, made, ended, entry }
    }

    fn shown(
        &self,
        estate: &Estate,
        view: Option<&View>,
        services: &BTreeMap<&str, &Service>,
        now: Timestamp,
    ) -> Document {
        let device = estate.devices().get(self.from);
        let service = services.get(self.to.as_str());
        let why_not = match (view, device, service) {
            (None, ..) => Some("no policy folder was set".to_owned()),
            (_, None, _) => Some("the estate has no such device".to_owned()),
            (_, _, None) => Some("the policy in force has no such service".to_owned()),
            (Some(view), Some(device), Some(_)) => match view.number(&device.id) {
                None => Some("its device is in no zone of the policy, or retired".to_owned()),
                Some(_) => view.left_out.get(self.id).cloned(),
            },
        };
        let left = self.expires.as_nanos().saturating_sub(now.as_nanos()) / NANOS;
        let (state, why_not) = match (self.ended, why_not) {
            (Some(_), _) => ("ended", None),
            _ if self.expires <= now => ("expired", None),
            (_, Some(why)) => ("not-in-force", Some(why)),
            _ if left <= EXPIRING_DAYS.saturating_mul(86_400) => ("expiring", None),
            _ => ("open", None),
        };
        let name = |by: &By| format!("{}/{}", by.kind, by.id);
        let age = |at: Timestamp| now.as_nanos().saturating_sub(at.as_nanos()) / NANOS;
        Document {
            id: self.id.to_owned(),
            source: if self.made.is_some() { "controller" } else { "folder" },
            state,
            why_not,
            from: device.map_or(self.from, |device| &device.id).to_string(),
            site: device.map(|device| device.site.to_string()),
            to: self.to.to_string(),
            host: service.and_then(|s| s.device.as_ref()).map(ToString::to_string),
            port: service.map(|s| format!("{}/{}", s.transport.word(), s.port)),
            owner: self.owner.to_owned(),
            reason: self.reason.to_owned(),
            made_by: self.made.map(|(by, _)| name(by)),
            made_at: self.made.map(|(_, at)| at.to_string()),
            age_s: self.made.map(|(_, at)| age(at)),
            expires_at: self.expires.to_string(),
            left_s: if matches!(state, "ended" | "expired") { 0 } else { left },
            ended_by: self.ended.map(|ended| name(&ended.by)),
            ended_at: self.ended.map(|ended| ended.at.to_string()),
            etag: page::etag(self.entry),
        }
    }
}

/// A device that who asks may see, and its site.
fn device_of(api: &Api, who: &Who, id: &str) -> Result<(DeviceId, SiteId), Problem> {
    let wanted = super::devices::id_of(id)?;
    api.hub.read(|estate| {
        let device = estate.devices().get(&wanted).filter(|device| who.sees(&device.site));
        let known = device.map(|device| (device.id.clone(), device.site.clone()));
        known.ok_or_else(|| Problem::unknown("device.unknown", format!("device {id}")))
    })
}

fn no_service(id: &str) -> Problem {
    Problem::unknown("service.unknown", format!("service {id:.200}"))
        .help("services are those of the policy folder in force; `GET /v1/reach/matrix` lists them")
}

/// When one ends that is made now.
fn end_of(new: &New, now: Timestamp) -> Result<Timestamp, Problem> {
    match (&new.until, new.for_s) {
        (Some(until), None) => until.parse().map_err(|why| Problem::invalid("`until`", why)),
        (None, Some(seconds)) => Ok(now.plus_nanos(i64::from(seconds).saturating_mul(NANOS))),
        _ => {
            let why = "an exception ends: give either `until` or `for_s`";
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "exception.endless", "its end", why))
        }
    }
}

async fn proposed(api: &Api, exception: Exception) -> Result<Proposal, Problem> {
    let pdp = Arc::clone(&api.pdp);
    let proposed = off_thread(move || pdp.propose(&exception)).await?;
    proposed?.ok_or_else(|| {
        let why = "no policy folder was set yet, so there is nothing to make an exception from";
        Problem::new(StatusCode::NOT_FOUND, "policy.none", "the exception", why)
            .help("`ringfence apply -f FOLDER` sets one")
    })
}

/// Site of the device that offers a service.
async fn host_site(api: &Api, service: &str) -> Result<Option<SiteId>, Problem> {
    let view = view(api).await?;
    let all = view.iter().flat_map(|view| &view.folder.estate.services);
    let host = all.filter(|s| s.id.as_str() == service).find_map(|s| s.device.clone());
    Ok(host.and_then(|id| {
        api.hub.read(|estate| estate.devices().get(&id).map(|device| device.site.clone()))
    }))
}

async fn view(api: &Api) -> Result<Option<Arc<View>>, Problem> {
    let pdp = Arc::clone(&api.pdp);
    let view: Result<_, PolicyError> = off_thread(move || pdp.view()).await?;
    Ok(view?)
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, "internal", "the request was given up", error.to_string())
    })
}
