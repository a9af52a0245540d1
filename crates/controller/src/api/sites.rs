//! Sites.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use estate::Command;
use estate::sites::{self, Ack, Bundle, Happened, Identity, Site};
use model::SiteId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::login::NO_STORE;
use super::page::{self, Page, Paging};
use super::{Api, Body, Path, Problem, Query, Who, reason};
use crate::HubError;
use crate::auth::Secret;
use crate::blobs::hex;

/// Hours that a token of a site lives unless asked otherwise.
const HOURS: u16 = 24;
/// Longest life, in hours: what the estate takes.
const HOURS_MAX: u16 = 7 * 24;

/// A site.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Site)]
pub struct Document {
    /// Its id.
    pub id: String,
    /// For people.
    pub name: String,
    /// `created`, `enrolled`, `revoked`.
    pub state: &'static str,
    /// It is connected now.
    pub connected: bool,
    /// Until when somebody may enrol as it (RFC 3339).
    pub token_until: Option<String>,
    /// The certificate it has.
    #[schema(value_type = Option<Object>)]
    pub identity: Option<Identity>,
    /// What it is meant to enforce.
    #[schema(value_type = Option<Object>)]
    pub intended: Option<Bundle>,
    /// Entries of the journal that this rests on.
    pub rests_on: u64,
    /// Entries of the journal: what changed last is decided as soon as `rests_on` has come so far.
    pub entries: u64,
    /// Highest generation that its kernel took.
    pub applied: Option<u64>,
    /// Highest generation that was read back.
    pub verified: Option<u64>,
    /// What it said last.
    #[schema(value_type = Option<Object>)]
    pub ack: Option<Ack>,
    /// Devices there, retired ones not counted.
    pub devices: usize,
    /// What it told last, the newest first; in the document of one site only.
    #[schema(value_type = Vec<Object>)]
    pub happened: Vec<Happened>,
    /// Its version.
    pub etag: String,
}

fn document(api: &Api, site: &Site, devices: usize, entries: u64) -> Document {
    Document {
        id: site.id.to_string(),
        name: site.name.clone(),
        state: match (site.revoked, &site.identity) {
            (true, _) => "revoked",
            (false, Some(_)) => "enrolled",
            (false, None) => "created",
        },
        connected: api.line.as_ref().is_some_and(|line| line.is_connected(&site.id)),
        token_until: site.token_until(api.hub.now()).map(|until| until.to_string()),
        identity: site.identity.clone(),
        intended: site.intended.clone(),
        // In this order: what it rests on is never ahead.
        rests_on: api.pdp.rests_on(),
        entries,
        applied: site.applied,
        verified: site.verified,
        ack: site.ack.clone(),
        devices,
        happened: Vec::new(),
        etag: page::etag(site.changed_by),
    }
}

/// How many devices are at each of some sites, in one walk over all.
fn count<'a>(
    estate: &'a estate::Estate,
    sites: impl Iterator<Item = &'a SiteId>,
) -> HashMap<&'a SiteId, usize> {
    let mut counts: HashMap<&SiteId, usize> = sites.map(|site| (site, 0)).collect();
    for device in estate.devices().iter() {
        if device.state != estate::devices::State::Retired
            && let Some(count) = counts.get_mut(&device.site)
        {
            *count = count.saturating_add(1);
        }
    }
    counts
}

fn id_of(text: &str) -> Result<SiteId, Problem> {
    SiteId::new(text).map_err(|_| Problem::unknown("site.unknown", format!("site {text}")))
}

/// Sites by id.
#[utoipa::path(get, path = "/v1/sites", tag = "sites", params(Paging),
    responses((status = 200, body = Page<Document>), (status = "default", body = Problem)))]
pub async fn list(
    State(api): State<Api>,
    who: Who,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Document>>, Problem> {
    let after = paging.after()?.unwrap_or_default();
    api.hub.read(|estate| {
        let sites =
            estate.sites().iter().filter(|s| s.id.as_str() > after.as_str() && who.sees(&s.id));
        let page = paging.of(sites, |site| site.id.to_string())?;
        let counts = count(estate, page.items.iter().map(|site| &site.id));
        let entries = estate.size();
        let items = page
            .items
            .into_iter()
            .map(|site| document(&api, site, counts.get(&site.id).copied().unwrap_or(0), entries));
        Ok(Json(Page { items: items.collect(), next: page.next }))
    })
}

/// One site.
#[utoipa::path(get, path = "/v1/sites/{id}", tag = "sites", params(("id" = String, Path)),
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn get(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let wanted = id_of(&id)?;
    api.hub.read(|estate| match estate.sites().get(&wanted).filter(|site| who.sees(&site.id)) {
        Some(site) => {
            let devices = count(estate, std::iter::once(&site.id)).into_values().sum();
            let mut document = document(&api, site, devices, estate.size());
            document.happened = site.happened.iter().rev().cloned().collect();
            Ok((page::versioned(site.changed_by), Json(document)).into_response())
        }
        None => Err(Problem::unknown("site.unknown", format!("site {id}"))),
    })
}

/// A new site.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// Its id: 1 to 128 characters of `a-z A-Z 0-9 . : / _ - @ + #`.
    pub id: String,
    /// For people.
    pub name: String,
    /// Why.
    pub why: String,
}

/// Makes a site.
#[utoipa::path(post, path = "/v1/sites", tag = "sites", request_body = Create,
    responses((status = 201, body = Document), (status = "default", body = Problem)))]
pub async fn create(
    State(api): State<Api>,
    who: Who,
    Body(create): Body<Create>,
) -> Result<Response, Problem> {
    let id = SiteId::new(&create.id)
        .map_err(|error| Problem::invalid("the site's id", error.to_string()))?;
    who.may(estate::access::rbac::Action::SitesEdit, estate::access::rbac::Place::Estate)?;
    let command = sites::Command::Create { id, name: create.name };
    api.command(&who, create.why, Command::Site(command)).await?;
    let made = get(State(api), who, Path(create.id)).await?;
    Ok((StatusCode::CREATED, made).into_response())
}

/// A site that is believed no more.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// Why.
    pub why: String,
}

/// Ends a site's certificate and its connections. What it enforces goes on at the site until its leases end.
#[utoipa::path(post, path = "/v1/sites/{id}/revoke", tag = "sites", params(("id" = String, Path)), request_body = Revoke,
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn revoke(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    Body(revoke): Body<Revoke>,
) -> Result<Response, Problem> {
    let wanted = id_of(&id)?;
    who.may(estate::access::rbac::Action::SitesEdit, estate::access::rbac::Place::At(&wanted))?;
    api.command(&who, revoke.why, Command::Site(sites::Command::Revoke { id: wanted })).await?;
    get(State(api), who, Path(id)).await
}

/// Somebody may enrol as a site.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = SiteTokenOrder)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// Why.
    pub why: String,
    /// How long the token is good, in hours: 1 to 168, 24 unless given.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 168)]
    pub hours: Option<u16>,
}

/// A token for one enrolment.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SiteToken)]
pub struct Invitation {
    /// What a person carries to the site. Told once.
    pub token: Secret,
    /// Until when it is good (RFC 3339).
    pub expires_at: String,
}

/// Makes a one-time token with which a machine enrols as this site. The one before it is over.
#[utoipa::path(post, path = "/v1/sites/{id}/token", tag = "sites", params(("id" = String, Path)), request_body = Invite,
    responses((status = 201, body = Invitation), (status = "default", body = Problem)))]
pub async fn token(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    Body(Invite { why, hours }): Body<Invite>,
) -> Result<Response, Problem> {
    let id = id_of(&id)?;
    who.may(estate::access::rbac::Action::SitesEdit, estate::access::rbac::Place::At(&id))?;
    reason(&why)?;
    let hours = hours.unwrap_or(HOURS);
    if !(1..=HOURS_MAX).contains(&hours) {
        return Err(Problem::invalid("hours", format!("{hours} is not 1 to {HOURS_MAX}")));
    }
    let Some(line) = &api.line else {
        let detail = "this controller does not listen for sites";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Err(Problem::new(status, "site.line", "a token of a site", detail));
    };
    let mut secret = [0; 32];
    crypto::random(&mut secret).map_err(HubError::from)?;
    let secret = hex(&secret);
    let expires_at = api.hub.now().plus_nanos(i64::from(hours) * 3_600 * 1_000_000_000);
    let secret_sha256 = hex(&crypto::sha256(secret.as_bytes()));
    let command = sites::Command::IssueToken { id, secret_sha256, expires_at };
    api.command(&who, why, Command::Site(command)).await?;
    // The site knows by it whom it calls.
    let token = Secret::from(format!("rfj_{}_{secret}", line.root_sha256()));
    let made = Invitation { token, expires_at: expires_at.to_string() };
    Ok((StatusCode::CREATED, NO_STORE, Json(made)).into_response())
}
