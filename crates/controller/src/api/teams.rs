//! Teams: who is answerable.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use estate::Command;
use estate::access::rbac::{Action, Place};
use estate::teams::{self, Known, Team};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::{self, Page, Paging};
use super::{Api, Body, Path, Problem, Query, Reason, Who};

/// A team.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Team)]
pub struct Document {
    /// Short name used elsewhere.
    pub id: String,
    /// For people.
    pub name: String,
    /// How to reach it.
    pub contact: String,
    /// Minutes that it has before the next one is asked.
    pub escalate_after_min: u32,
    /// The next one.
    pub escalate_to: Option<String>,
    /// Its version.
    pub etag: String,
}

impl From<&Known> for Document {
    fn from(known: &Known) -> Self {
        let Team { id, name, contact, escalate_after_min, escalate_to } = known.team.clone();
        Self {
            id,
            name,
            contact,
            escalate_after_min,
            escalate_to,
            etag: page::etag(known.changed_by),
        }
    }
}

/// Teams by id.
#[utoipa::path(get, path = "/v1/teams", tag = "teams", params(Paging),
    responses((status = 200, body = Page<Document>), (status = "default", body = Problem)))]
pub async fn list(
    State(api): State<Api>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Document>>, Problem> {
    let after = paging.after()?.unwrap_or_default();
    api.hub.read(|estate| {
        let teams = estate.teams().iter().filter(|known| known.team.id > after).map(Document::from);
        Ok(Json(paging.of(teams, |team| team.id.clone())?))
    })
}

/// One team.
#[utoipa::path(get, path = "/v1/teams/{id}", tag = "teams", params(("id" = String, Path)),
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn get(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    api.hub.read(|estate| match estate.teams().get(&id) {
        Some(known) => {
            Ok((page::versioned(known.changed_by), Json(Document::from(known))).into_response())
        }
        None => Err(Problem::unknown("team.unknown", format!("team {id}"))),
    })
}

/// What a team is.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = NewTeam)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// For people.
    pub name: String,
    /// How to reach it.
    pub contact: String,
    /// Minutes that it has before the next one is asked: 1 to 43200.
    pub escalate_after_min: u32,
    /// The next one.
    #[serde(default)]
    pub escalate_to: Option<String>,
    /// Why.
    pub why: String,
}

/// Makes a team, or changes one.
#[utoipa::path(put, path = "/v1/teams/{id}", tag = "teams", params(("id" = String, Path)), request_body = Set,
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn set(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(set): Body<Set>,
) -> Result<Response, Problem> {
    who.may(Action::TeamsEdit, Place::Estate)?;
    page::unchanged(
        &headers,
        api.hub.read(|e| e.teams().get(&id).map_or(0, |known| known.changed_by)),
    )?;
    let Set { name, contact, escalate_after_min, escalate_to, why } = set;
    let team = Team { id: id.clone(), name, contact, escalate_after_min, escalate_to };
    api.command(&who, why, Command::Team(teams::Command::Set { team })).await?;
    get(State(api), Path(id)).await
}

/// Takes a team away; one that owns devices stays.
#[utoipa::path(delete, path = "/v1/teams/{id}", tag = "teams", params(("id" = String, Path), Reason),
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn remove(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    Query(reason): Query<Reason>,
) -> Result<StatusCode, Problem> {
    who.may(Action::TeamsEdit, Place::Estate)?;
    let why = reason.or(|| format!("team {id} taken away"));
    api.command(&who, why, Command::Team(teams::Command::Remove { id })).await?;
    Ok(StatusCode::NO_CONTENT)
}
