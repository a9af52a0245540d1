//! The policy folder in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use estate::access::rbac::{Action, Place};
use estate::access::{Role, Sites};
use estate::{Command, policies};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::approvals::{self, Ask};
use super::page;
use super::{Api, Body, Problem, Who, reason};
use crate::blobs::Files;
use crate::pdp::{self, PolicyError};

/// Names of changed files that a second person is told.
const CHANGED_MAX: usize = 64;

/// The folder in force.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Policy)]
pub struct Document {
    /// Its number; only grows.
    pub number: u64,
    /// SHA-256 of its content, in hex; the `parent` of the next one.
    pub content: String,
    /// Where it comes from.
    pub origin: String,
    /// Since when (RFC 3339).
    pub at: String,
    /// Relative path → text.
    pub files: BTreeMap<String, String>,
    /// Its version.
    pub etag: String,
}

/// The folder in force, with its files.
#[utoipa::path(get, path = "/v1/policy", tag = "policy",
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn get(State(api): State<Api>, who: Who) -> Result<Response, Problem> {
    // It names the devices of every site.
    who.may(Action::PoliciesRead, Place::Estate)?;
    let none = || {
        let why = "no policy folder was set yet";
        Problem::new(StatusCode::NOT_FOUND, "policy.none", "the policy folder", why)
            .help("`ringfence apply -f FOLDER` sets one; `ringfence inspect --policy` drafts one")
    };
    let version = api.hub.read(|estate| estate.policies().current().cloned()).ok_or_else(none)?;
    let (content, files) = api.pdp.files().ok_or_else(none)?;
    let document = Document {
        number: version.number,
        content,
        origin: version.origin,
        at: version.at.to_string(),
        files,
        etag: page::etag(version.entry),
    };
    Ok((page::versioned(version.entry), Json(document)).into_response())
}

/// Another folder.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = NewPolicy)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// Relative path → text.
    pub files: BTreeMap<String, String>,
    /// `content` of the one that it was made from; absent for the first.
    #[serde(default)]
    pub parent: Option<String>,
    /// Where it comes from: a commit, a folder. For people.
    #[serde(default)]
    pub origin: String,
    /// Why.
    pub why: String,
}

/// Sets another folder: whole, checked, with its tests and claims as the gate; or not at all. Where it concerns many devices it takes a second
/// person: then the answer is 202, and the same request with the header `Ringfence-Approval` carries it out.
#[utoipa::path(put, path = "/v1/policy", tag = "policy", request_body = Set,
    params(("Ringfence-Approval" = Option<String>, Header)),
    responses((status = 200, body = Document), (status = 202, body = approvals::Document), (status = "default", body = Problem)))]
pub async fn set(
    State(api): State<Api>,
    who: Who,
    headers: HeaderMap,
    Body(set): Body<Set>,
) -> Result<Response, Problem> {
    who.may(Action::PoliciesApply, Place::Estate)?;
    page::unchanged(&headers, api.hub.read(|e| e.policies().current().map_or(0, |v| v.entry)))?;
    let Set { files, parent, origin, why } = set;
    reason(&why)?;
    let devices = api.hub.read(|estate| {
        let here = |d: &&estate::devices::Device| d.state != estate::devices::State::Retired;
        estate.devices().iter().filter(here).count()
    });
    if devices > api.who.approval_above() {
        let digest = crate::blobs::digest(&files);
        let command = json!({
            "change": "policy", "content": digest, "parent": parent, "origin": origin,
            "files": changed(&api, &files),
        });
        // Nobody is asked to approve what will be refused.
        let files = checked(&api, files).await?;
        let (content, from) = (digest, (parent.clone(), origin.clone()));
        let set = policies::Command::Set { content, parent: from.0, origin: from.1 };
        let (actor, now) = (&who.principal().actor, api.hub.now());
        api.hub.read(|estate| estate.decide(&Command::Policy(set), actor, now))?;
        let (needs, sites) = (Role::PolicyAdmin, Sites::All);
        let ask = Ask { command, devices, needs, sites, why: &why };
        if let Some(waits) = approvals::second_person(&api, &who, &headers, ask).await? {
            return Ok(waits);
        }
        return put(api, who, Set { files, parent, origin, why }).await;
    }
    put(api, who, Set { files, parent, origin, why }).await
}

async fn put(api: Api, who: Who, set: Set) -> Result<Response, Problem> {
    let Set { files, parent, origin, why } = set;
    let (pdp, actor) = (Arc::clone(&api.pdp), who.principal().actor.clone());
    let done =
        tokio::task::spawn_blocking(move || pdp.set(&actor, &why, files, parent, origin)).await;
    match done {
        Ok(Ok(_)) => get(State(api), who).await,
        Ok(Err(error)) => Err(error.into()),
        Err(error) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the policy folder",
            error.to_string(),
        )),
    }
}

/// The same files, if they can be in force.
async fn checked(api: &Api, files: Files) -> Result<Files, Problem> {
    let checked = api.blocking(move |hub| Ok(pdp::check(&files, hub.now()).map(|_| files))).await?;
    checked.map_err(|faults| PolicyError::Faults(faults).into())
}

/// Files that are other than in force, for whoever has to approve that: the first of them.
fn changed(api: &Api, files: &Files) -> Vec<String> {
    let old = api.pdp.files().map(|(_, files)| files).unwrap_or_default();
    let paths: std::collections::BTreeSet<&String> = old.keys().chain(files.keys()).collect();
    let other = paths.into_iter().filter(|path| old.get(*path) != files.get(*path));
    other.take(CHANGED_MAX).map(|path| path.chars().take(100).collect()).collect()
}

/// What a check found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Checked {
    /// SHA-256 of the content.
    pub content: String,
    /// Faults with file, line, what and why; none: it can be set.
    pub faults: Vec<String>,
}

/// A folder to be checked.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Relative path → text.
    pub files: Files,
}

/// Checks a folder and sets nothing.
#[utoipa::path(post, path = "/v1/policy/check", tag = "policy", request_body = Check,
    responses((status = 200, body = Checked), (status = "default", body = Problem)))]
pub async fn check(
    State(api): State<Api>,
    Body(check): Body<Check>,
) -> Result<Json<Checked>, Problem> {
    api.blocking(move |hub| {
        let faults = pdp::check(&check.files, hub.now()).err().unwrap_or_default();
        let faults = faults.iter().map(ToString::to_string).collect();
        Ok(Json(Checked { content: crate::blobs::digest(&check.files), faults }))
    })
    .await
}

impl From<PolicyError> for Problem {
    fn from(error: PolicyError) -> Self {
        match error {
            PolicyError::Hub(error) => error.into(),
            PolicyError::Faults(faults) => {
                let detail: Vec<String> = faults.iter().take(20).map(ToString::to_string).collect();
                let title =
                    format!("the policy folder has {} fault(s); nothing was changed", faults.len());
                Self::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "policy.faults",
                    title,
                    detail.join("\n"),
                )
                .help("`ringfence policy check FOLDER` shows them with their lines")
            }
            PolicyError::Blob(error) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "policy.unwritable",
                "nothing was changed",
                error.to_string(),
            ),
        }
    }
}
