//! Operators: who works with the estate, and what they may do.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use estate::access::rbac::{Action, Place};
use estate::access::{Grant, Operator, OperatorId, Role, Sites};
use model::SiteId;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::page::{self, Page, Paging};
use super::{Api, Body, Path, Problem, Query, Who, reason};
use crate::auth::{Auth, Changes, Known, NewOperator, Profile, Secret};

/// An operator.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Operator)]
pub struct Document {
    /// Its id, for ever.
    pub id: String,
    /// What is typed at login; absent where `profile` is not `kept`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How to reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// `kept`, `erased`, `lost` (older than the journal) or `altered` (not what the journal says).
    pub profile: &'static str,
    /// What it may do.
    pub roles: Vec<&'static str>,
    /// Where; null: everywhere.
    pub sites: Option<Vec<String>>,
    /// Whether it can act.
    pub enabled: bool,
    /// `none`, `set`, or `temporary`: has to be changed.
    pub password: &'static str,
    /// When it was made (RFC 3339).
    pub added_at: String,
    /// When roles or sites changed last.
    pub granted_at: String,
    /// When its personal data was erased.
    pub erased_at: Option<String>,
    /// Its version.
    pub etag: String,
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Logs are not erasable.
        f.debug_struct("Document").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A grant as documents have it.
pub(crate) fn granted(grant: &Grant) -> (Vec<&'static str>, Option<Vec<String>>) {
    let sites = match &grant.sites {
        Sites::All => None,
        Sites::Only(sites) => Some(sites.iter().map(ToString::to_string).collect()),
    };
    (grant.roles.iter().map(|role| role.word()).collect(), sites)
}

/// Sites as documents have them.
pub(crate) fn sites_of(sites: Option<Vec<String>>) -> Result<Sites, Problem> {
    let Some(sites) = sites else {
        return Ok(Sites::All);
    };
    let id = |text: &String| {
        SiteId::new(text).map_err(|error| Problem::invalid("a site's id", error.to_string()))
    };
    Ok(Sites::Only(sites.iter().map(id).collect::<Result<_, _>>()?))
}

/// The version of an operator: what it is, as a number.
fn version(operator: &Operator) -> u64 {
    let text = serde_json::to_vec(operator).unwrap_or_default();
    let [a, b, c, d, e, f, g, h, ..] = crypto::sha256(&text);
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn document(auth: &Auth, id: &OperatorId, operator: &Operator) -> Result<Document, Problem> {
    let known = auth.profile(operator)?;
    let word = known.word();
    let profile = match known {
        Known::Kept(profile) => Some(profile),
        Known::Erased | Known::Lost | Known::Altered => None,
    };
    let (login, name, contact) = match profile {
        Some(Profile { login, name, contact }) => (Some(login), Some(name), Some(contact)),
        None => (None, None, None),
    };
    let (roles, sites) = granted(&operator.grant);
    Ok(Document {
        id: id.to_string(),
        login,
        name,
        contact,
        profile: word,
        roles,
        sites,
        enabled: operator.enabled,
        password: match &operator.password {
            None => "none",
            Some(password) if password.temporary => "temporary",
            Some(_) => "set",
        },
        added_at: operator.added_at.to_string(),
        granted_at: operator.granted_at.to_string(),
        erased_at: operator.erased_at.map(|at| at.to_string()),
        etag: page::etag(version(operator)),
    })
}

fn unknown(id: &str) -> Problem {
    Problem::unknown("operator.unknown", format!("operator {id}"))
}

/// One operator of the estate.
fn one(api: &Api, id: &str) -> Result<(OperatorId, Operator), Problem> {
    let wanted = OperatorId::new(id).map_err(|_| unknown(id))?;
    let found = api.hub.read(|estate| estate.access().operators().get(&wanted).cloned());
    found.map(|operator| (wanted, operator)).ok_or_else(|| unknown(id))
}

/// Does something with the side store on a thread that may wait.
async fn reading<T: Send + 'static>(
    api: &Api,
    work: impl FnOnce(&Auth) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let auth = Arc::clone(&api.who);
    api.blocking(move |_| Ok(work(&auth))).await?
}

/// Operators by id, with their personal data.
#[utoipa::path(get, path = "/v1/operators", tag = "access", params(Paging),
    responses((status = 200, body = Page<Document>), (status = "default", body = Problem)))]
pub async fn list(
    State(api): State<Api>,
    who: Who,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Document>>, Problem> {
    who.may(Action::OperatorsRead, Place::Estate)?;
    let after = paging.after()?.unwrap_or_default();
    let page = api.hub.read(|estate| {
        let all = estate.access().operators().iter().filter(|(id, _)| id.as_str() > after.as_str());
        paging.of(all.map(|(id, o)| (id.clone(), o.clone())), |(id, _)| id.to_string())
    })?;
    reading(&api, move |auth| {
        let items = page.items.iter().map(|(id, operator)| document(auth, id, operator));
        Ok(Json(Page { items: items.collect::<Result<_, _>>()?, next: page.next }))
    })
    .await
}

/// One operator, with its personal data.
#[utoipa::path(get, path = "/v1/operators/{id}", tag = "access", params(("id" = String, Path)),
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn get(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    who.may(Action::OperatorsRead, Place::Estate)?;
    let (id, operator) = one(&api, &id)?;
    let changed = version(&operator);
    let document = reading(&api, move |auth| document(auth, &id, &operator)).await?;
    Ok((page::versioned(changed), Json(document)).into_response())
}

/// One more operator.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = NewOperator)]
#[serde(deny_unknown_fields)]
pub struct Add {
    /// What is typed at login: 1 to 128 characters of `a-z A-Z 0-9 . _ - + @`; no two are alike but for capitals.
    pub login: String,
    /// For people.
    pub name: String,
    /// How to reach it.
    #[serde(default)]
    pub contact: Option<String>,
    /// A password that has to be changed at the first login; absent: no login by password.
    #[serde(default)]
    pub password: Option<Secret>,
    /// `viewer`, `operator`, `policy-admin`, `security-admin`, `admin`.
    #[schema(value_type = Vec<String>)]
    pub roles: BTreeSet<Role>,
    /// Where; null or absent: everywhere.
    #[serde(default)]
    pub sites: Option<Vec<String>>,
    /// Why. It stays in the journal for ever: no personal data.
    pub why: String,
}

/// Adds an operator.
#[utoipa::path(post, path = "/v1/operators", tag = "access", request_body = Add,
    responses((status = 201, body = Document), (status = "default", body = Problem)))]
pub async fn add(
    State(api): State<Api>,
    who: Who,
    Body(add): Body<Add>,
) -> Result<Response, Problem> {
    who.may(Action::OperatorsEdit, Place::Estate)?;
    let Add { login, name, contact, password, roles, sites, why } = add;
    reason(&why)?;
    let grant = Grant { roles, sites: sites_of(sites)? };
    let profile = Profile { login, name, contact: contact.unwrap_or_default() };
    let new = NewOperator { profile, password, grant };
    let id = api.who.add_operator(who.principal(), why, new).await?;
    let made = get(State(api), who, Path(id.to_string())).await?;
    Ok((StatusCode::CREATED, made).into_response())
}

/// What is to be different about an operator; what is absent stays.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = OperatorChange)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// What is typed at login.
    #[serde(default)]
    pub login: Option<String>,
    /// For people.
    #[serde(default)]
    pub name: Option<String>,
    /// How to reach it.
    #[serde(default)]
    pub contact: Option<String>,
    /// All roles from now on.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub roles: Option<BTreeSet<Role>>,
    /// All sites from now on; null: everywhere.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>)]
    pub sites: Option<Option<Vec<String>>>,
    /// Whether it can act. Sessions and tokens of who cannot end at once.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// Why. It stays in the journal for ever: no personal data.
    pub why: String,
}

/// Tells null from what is absent.
fn given<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<Vec<String>>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Changes an operator: all of it, or nothing.
#[utoipa::path(patch, path = "/v1/operators/{id}", tag = "access", params(("id" = String, Path)), request_body = Change,
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn change(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(change): Body<Change>,
) -> Result<Response, Problem> {
    who.may(Action::OperatorsEdit, Place::Estate)?;
    let (wanted, operator) = one(&api, &id)?;
    page::unchanged(&headers, version(&operator))?;
    let Change { login, name, contact, roles, sites, enabled, why } = change;
    reason(&why)?;
    let grant = match (roles, sites) {
        (None, None) => None,
        (roles, sites) => Some(Grant {
            roles: roles.unwrap_or(operator.grant.roles),
            sites: sites.map_or(Ok(operator.grant.sites), sites_of)?,
        }),
    };
    let changes = Changes { login, name, contact, grant, enabled };
    api.who.change_operator(who.principal(), why, wanted, changes).await?;
    get(State(api), who, Path(id)).await
}

/// Another password for somebody else.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = PasswordReset)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// It has to be changed at the next login.
    pub password: Secret,
    /// Why.
    pub why: String,
}

/// Sets the password of somebody else. Their sessions end.
#[utoipa::path(post, path = "/v1/operators/{id}/password", tag = "access", params(("id" = String, Path)), request_body = Reset,
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn password(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    Body(reset): Body<Reset>,
) -> Result<StatusCode, Problem> {
    who.may(Action::PasswordsReset, Place::Estate)?;
    let (wanted, _) = one(&api, &id)?;
    reason(&reset.why)?;
    api.who.set_password(who.principal(), reset.why, wanted, reset.password).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Somebody who is to be forgotten.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Erase {
    /// Why.
    pub why: String,
}

/// Erases login, name, contact and password of a disabled operator, for good. Its id and what it did stay in the journal.
#[utoipa::path(post, path = "/v1/operators/{id}/erase", tag = "access", params(("id" = String, Path)), request_body = Erase,
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn erase(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    Body(erase): Body<Erase>,
) -> Result<Response, Problem> {
    who.may(Action::OperatorsEdit, Place::Estate)?;
    let (wanted, _) = one(&api, &id)?;
    reason(&erase.why)?;
    api.who.erase_operator(who.principal(), erase.why, wanted).await?;
    get(State(api), who, Path(id)).await
}
