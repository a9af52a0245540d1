//! API tokens: secrets for programs, each of an operator who is answerable for it.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use estate::Command;
use estate::access::rbac::{Action, Place};
use estate::access::{self, Grant, Role, Token, TokenId};
use model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::login::NO_STORE;
use super::operators::{granted, sites_of};
use super::page::{Page, Paging};
use super::{Api, Body, Path, Problem, Query, Reason, Who, reason};
use crate::auth::Secret;

/// Hours that a token lives unless asked otherwise: 30 days.
const HOURS: u16 = 30 * 24;
/// Longest life.
const HOURS_MAX: u16 = 366 * 24;

/// A token; its secret was told once, to who made it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Token)]
pub struct Document {
    /// Its id.
    pub id: String,
    /// Who is answerable for it.
    pub operator: String,
    /// What it is for.
    pub label: String,
    /// What it may do, as far as its operator may.
    pub roles: Vec<&'static str>,
    /// Where; null: wherever its operator may.
    pub sites: Option<Vec<String>>,
    /// Whether it is worth anything.
    pub live: bool,
    /// When it was made (RFC 3339).
    pub made_at: String,
    /// Until when it is worth something.
    pub expires_at: String,
    /// When it was revoked.
    pub revoked_at: Option<String>,
    /// When it was used, to the hour.
    pub used_at: Option<String>,
}

fn document(id: &TokenId, token: &Token, now: Timestamp) -> Document {
    let (roles, sites) = granted(&token.grant);
    Document {
        id: id.to_string(),
        operator: token.operator.to_string(),
        label: token.label.clone(),
        roles,
        sites,
        live: token.is_live(now),
        made_at: token.made_at.to_string(),
        expires_at: token.expires_at.to_string(),
        revoked_at: token.revoked_at.map(|at| at.to_string()),
        used_at: token.used_at.map(|at| at.to_string()),
    }
}

/// Tokens by id: one's own, or everybody's for who may see them.
#[utoipa::path(get, path = "/v1/tokens", tag = "access", params(Paging),
    responses((status = 200, body = Page<Document>), (status = "default", body = Problem)))]
pub async fn list(
    State(api): State<Api>,
    who: Who,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Document>>, Problem> {
    let everybodys = who.may(Action::TokensRead, Place::Estate).is_ok();
    let own = |token: &Token| who.principal().operator.as_ref() == Some(&token.operator);
    let (after, now) = (paging.after()?.unwrap_or_default(), api.hub.now());
    api.hub.read(|estate| {
        let all = estate.access().tokens().iter().filter(|(id, _)| id.as_str() > after.as_str());
        let shown = all.filter(|(_, token)| everybodys || own(token));
        Ok(Json(paging.of(shown.map(|(id, t)| document(id, t, now)), |token| token.id.clone())?))
    })
}

/// One more token.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = TokenOrder)]
#[serde(deny_unknown_fields)]
pub struct Make {
    /// What it is for: 1 to 64 characters.
    pub label: String,
    /// `viewer`, `operator`, `policy-admin`, `security-admin`, `admin`: no more than who makes it has.
    #[schema(value_type = Vec<String>)]
    pub roles: BTreeSet<Role>,
    /// Where; null or absent: wherever who makes it may.
    #[serde(default)]
    pub sites: Option<Vec<String>>,
    /// How long it lives, in hours: 1 to 8784, 720 unless given.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 8784)]
    pub hours: Option<u16>,
    /// Why.
    pub why: String,
}

/// A token with its secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = NewToken)]
pub struct Made {
    /// Its id.
    pub id: String,
    /// What to send as `Authorization: Bearer …`. Told once.
    pub token: Secret,
    /// Until when it is worth something (RFC 3339).
    pub expires_at: String,
}

/// Makes a token. It takes a person who is logged in.
#[utoipa::path(post, path = "/v1/tokens", tag = "access", request_body = Make,
    responses((status = 201, body = Made), (status = "default", body = Problem)))]
pub async fn make(
    State(api): State<Api>,
    who: Who,
    Body(make): Body<Make>,
) -> Result<Response, Problem> {
    let Make { label, roles, sites, hours, why } = make;
    reason(&why)?;
    let hours = hours.unwrap_or(HOURS);
    if !(1..=HOURS_MAX).contains(&hours) {
        return Err(Problem::invalid("hours", format!("{hours} is not 1 to {HOURS_MAX}")));
    }
    let sites = match sites {
        None => who.principal().grant.sites.clone(),
        some => sites_of(some)?,
    };
    let expires_at = api.hub.now().plus_nanos(i64::from(hours) * 3_600 * 1_000_000_000);
    let grant = Grant { roles, sites };
    let (id, token) = api.who.make_token(who.principal(), why, label, grant, expires_at).await?;
    let made = Made { id: id.to_string(), token, expires_at: expires_at.to_string() };
    Ok((StatusCode::CREATED, NO_STORE, Json(made)).into_response())
}

/// Ends a token: one's own, or anybody's for who may.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "access", params(("id" = String, Path), Reason),
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn revoke(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    Query(reason): Query<Reason>,
) -> Result<StatusCode, Problem> {
    let token = TokenId::new(&id);
    let token = token.map_err(|_| Problem::unknown("token.unknown", format!("token {id}")))?;
    let command = access::Command::RevokeToken { token };
    let why = reason.or(|| format!("token {id} revoked"));
    api.command(&who, why, Command::Access(command)).await?;
    Ok(StatusCode::NO_CONTENT)
}
