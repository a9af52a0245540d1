//! Releases: firmware that somebody answers for, and what a device that runs it may measure. What is attested rests on one of these.
//!
//! A document comes as the text of its file, so that the digest in the journal is the one that `sha256sum` prints of it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use estate::Command as Any;
use estate::access::By;
use estate::access::rbac::{Action, Place};
use estate::identities::Octets;
use estate::releases::{self, Command, Known, Register, Release, document};
use estate::side::Digest;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::page::{self, Page, Paging};
use super::{Api, Body, Path, Problem, Query, Who, reason};

/// Bytes of a body: a document as a text in JSON, where a line or a quote takes two.
pub(super) const BODY_BYTES_MAX: usize = 2 * document::BYTES_MAX + 65_536;

/// A release.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Release)]
pub struct Document {
    /// Its id.
    pub id: String,
    /// `current`, or `withdrawn`: nothing rests on it any more.
    pub state: &'static str,
    /// Who makes the devices that it is for.
    pub vendor: String,
    /// For which of theirs.
    pub model: String,
    /// Version of the firmware.
    pub version: String,
    /// SHA-256 of the document that says so, in hex.
    pub document_sha256: String,
    /// `sha256`, `sha384` or `sha512`.
    pub bank: &'static str,
    /// `values` of whole registers, or `events` of the log.
    pub form: &'static str,
    /// How many values it has, or had.
    pub values: u32,
    /// Why it was added.
    pub reason: String,
    /// Who added it.
    pub added_by: String,
    /// When (RFC 3339).
    pub added_at: String,
    /// Who withdrew it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn_by: Option<String>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn_at: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn_because: Option<String>,
    /// The release that is in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
    /// The journal entry with all that it said.
    pub entry: u64,
    /// Its version.
    pub etag: String,
}

impl From<&Known> for Document {
    fn from(known: &Known) -> Self {
        let Release { id, vendor, model, version, digest, reason, bank, form, .. } =
            &*known.release;
        let over = known.withdrawn.as_ref();
        Self {
            id: id.clone(),
            state: state(known),
            vendor: vendor.clone(),
            model: model.clone(),
            version: version.clone(),
            document_sha256: digest.to_string(),
            bank: bank.word(),
            form: form.word(),
            values: known.values,
            reason: reason.clone(),
            added_by: name(&known.by),
            added_at: known.at.to_string(),
            withdrawn_by: over.map(|over| name(&over.by)),
            withdrawn_at: over.map(|over| over.at.to_string()),
            withdrawn_because: over.map(|over| over.reason.clone()),
            replaced_by: over.and_then(|over| over.replaced_by.clone()),
            entry: known.entry,
            etag: page::etag(known.changed_by),
        }
    }
}

fn name(by: &By) -> String {
    format!("{}/{}", by.kind, by.id)
}

pub(super) fn state(known: &Known) -> &'static str {
    match known.withdrawn {
        None => "current",
        Some(_) => "withdrawn",
    }
}

/// What may be in one register.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ReleaseRegister)]
pub struct Measured {
    /// Values, or events, of which each is good; in hex.
    pub allowed: Vec<String>,
    /// Events that have to be there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub required: Vec<String>,
}

/// A release, and all that it says.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = WholeRelease)]
pub struct Whole {
    /// It.
    #[serde(flatten)]
    pub release: Document,
    /// What may be in registers, by their number; empty once it is withdrawn.
    pub registers: BTreeMap<String, Measured>,
}

impl From<&Known> for Whole {
    fn from(known: &Known) -> Self {
        let hex = |all: &[Octets]| all.iter().map(ToString::to_string).collect();
        let of = |Register { pcr, allowed, required }: &Register| {
            (pcr.to_string(), Measured { allowed: hex(allowed), required: hex(required) })
        };
        let registers = known.release.registers.iter().map(of).collect();
        Self { release: Document::from(known), registers }
    }
}

/// Which releases.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only in this state: `current` or `withdrawn`.
    pub state: Option<String>,
    /// Only for devices of this vendor.
    pub vendor: Option<String>,
    /// Only for devices of this model.
    pub model: Option<String>,
}

/// Releases by id, which is in the order in which they were added.
#[utoipa::path(get, path = "/v1/releases", tag = "releases", params(Which, Paging),
    responses((status = 200, body = Page<Document>), (status = "default", body = Problem)))]
pub async fn list(
    State(api): State<Api>,
    Query(which): Query<Which>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Document>>, Problem> {
    let after = paging.after()?.unwrap_or_default();
    let is = |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|w| w == has);
    api.hub.read(|estate| {
        let wanted = |known: &&Known| {
            known.release.id > after
                && is(&which.state, state(known))
                && is(&which.vendor, &known.release.vendor)
                && is(&which.model, &known.release.model)
        };
        let all = estate.releases().iter().filter(wanted).map(Document::from);
        Ok(Json(paging.of(all, |release| release.id.clone())?))
    })
}

/// One release, and what it says.
#[utoipa::path(get, path = "/v1/releases/{id}", tag = "releases", params(("id" = String, Path)),
    responses((status = 200, body = Whole), (status = "default", body = Problem)))]
pub async fn get(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    answer(&api, StatusCode::OK, &id)
}

/// Another release.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = NewRelease)]
#[serde(deny_unknown_fields)]
pub struct New {
    /// The text of a file of the form `ringfence.reference/v1`: 4 MiB at most.
    pub document: String,
    /// The release of the same vendor, model and version in whose place it is.
    #[serde(default)]
    pub replaces: Option<String>,
    /// Why.
    pub why: String,
}

/// Adds a release. The same values for the same vendor, model and version once more change nothing; other values are refused, unless the release is named in
/// whose place they are. Devices that the one before attested measure themselves again, except where whatever it took is good for the new one too.
#[utoipa::path(post, path = "/v1/releases", tag = "releases", request_body = New,
    responses((status = 200, body = Whole), (status = 201, body = Whole), (status = "default", body = Problem)))]
pub async fn add(
    State(api): State<Api>,
    who: Who,
    Body(new): Body<New>,
) -> Result<Response, Problem> {
    who.may(Action::ReleasesEdit, Place::Estate)?;
    reason(&new.why)?;
    let said = document::read(new.document.as_bytes())
        .map_err(|why| Problem::invalid("the document", why))?;
    let release = release(&api.hub, said, new.document.as_bytes(), &new.why)?;
    let (id, kind) = (release.id.clone(), release.clone());
    let command = Command::Add { release, replaces: new.replaces };
    let done = api.command(&who, new.why, Any::Release(command)).await?;
    if !done.events.is_empty() {
        return answer(&api, StatusCode::CREATED, &id);
    }
    let Release { vendor, model, version, .. } = kind;
    let same = api.hub.read(|estate| {
        let same = estate.releases().current(&vendor, &model, &version);
        same.map(|release| release.id.clone())
    });
    answer(&api, StatusCode::OK, &same.unwrap_or(id))
}

/// A release as a document says it.
pub(crate) fn release(
    hub: &crate::Hub,
    said: document::Said,
    bytes: &[u8],
    reason: &str,
) -> Result<Release, crate::HubError> {
    let document::Said { vendor, model, version, bank, form, registers } = said;
    let digest = Digest(crypto::sha256(bytes));
    let (id, reason) = (hub.id("rel")?, reason.to_owned());
    Ok(Release { id, vendor, model, version, digest, reason, bank, form, registers })
}

/// Why one is withdrawn.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = WithdrawRelease)]
#[serde(deny_unknown_fields)]
pub struct Withdraw {
    /// Why.
    pub why: String,
}

/// Withdraws a release: devices that it attested fall at once to what else they show. One that is withdrawn already stays so.
#[utoipa::path(post, path = "/v1/releases/{id}/withdraw", tag = "releases",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)), request_body = Withdraw,
    responses((status = 200, body = Whole), (status = "default", body = Problem)))]
pub async fn withdraw(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(order): Body<Withdraw>,
) -> Result<Response, Problem> {
    who.may(Action::ReleasesEdit, Place::Estate)?;
    reason(&order.why)?;
    let version = api.hub.read(|estate| estate.releases().get(&id).map(|known| known.changed_by));
    let version = version.ok_or_else(|| Problem::from(releases::unknown(&id)))?;
    page::unchanged(&headers, version)?;
    let command = Command::Withdraw { id: id.clone(), reason: order.why.clone() };
    api.command(&who, order.why, Any::Release(command)).await?;
    answer(&api, StatusCode::OK, &id)
}

fn answer(api: &Api, status: StatusCode, id: &str) -> Result<Response, Problem> {
    api.hub.read(|estate| {
        let known = estate.releases().get(id).ok_or_else(|| releases::unknown(id))?;
        let tag = page::versioned(known.changed_by);
        Ok((status, tag, Json(Whole::from(known))).into_response())
    })
}
