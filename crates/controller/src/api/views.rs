//! Views: ways to look at the devices that people keep under a name.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use estate::Command;
use estate::access::rbac::{Action, Place};
use estate::views::{self, Known, View};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::{self, Page, Paging};
use super::{Api, Body, Path, Problem, Query, Reason, Who};

/// A view.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = View)]
pub struct Document {
    /// Its name.
    pub name: String,
    /// A selector; empty: everything.
    pub l: String,
    /// A Cedar expression that has to hold too; may be empty.
    #[serde(rename = "where")]
    pub expression: String,
    /// Words to look for; may be empty.
    pub q: String,
    /// Columns in order; empty: those that are shown without a view.
    pub columns: Vec<String>,
    /// `FIELD` or `-FIELD`; empty: by id.
    pub sort: String,
    /// Its version.
    pub etag: String,
}

impl From<&Known> for Document {
    fn from(known: &Known) -> Self {
        let View { name, l, expression, q, columns, sort } = known.view.clone();
        Self { name, l, expression, q, columns, sort, etag: page::etag(known.changed_by) }
    }
}

/// Views by name.
#[utoipa::path(get, path = "/v1/views", tag = "views", params(Paging),
    responses((status = 200, body = Page<Document>), (status = "default", body = Problem)))]
pub async fn list(
    State(api): State<Api>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Document>>, Problem> {
    let after = paging.after()?.unwrap_or_default();
    api.hub.read(|estate| {
        let views = estate.views().iter().filter(|known| known.view.name > after);
        Ok(Json(paging.of(views.map(Document::from), |view| view.name.clone())?))
    })
}

/// One view.
#[utoipa::path(get, path = "/v1/views/{name}", tag = "views", params(("name" = String, Path)),
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn get(State(api): State<Api>, Path(name): Path<String>) -> Result<Response, Problem> {
    api.hub.read(|estate| match estate.views().get(&name) {
        Some(known) => {
            Ok((page::versioned(known.changed_by), Json(Document::from(known))).into_response())
        }
        None => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "view.unknown",
            format!("view {name:.64}"),
            "there is none with this name",
        )
        .help("`ringfence get views` lists them")),
    })
}

/// What a view is.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = NewView)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// A selector.
    #[serde(default)]
    pub l: String,
    /// A Cedar expression that has to hold too.
    #[serde(default, rename = "where")]
    pub expression: String,
    /// Words to look for.
    #[serde(default)]
    pub q: String,
    /// Columns in order: id, site, state, address, mac, labels, first_seen, last_seen, the fields, `label.NAME`.
    #[serde(default)]
    pub columns: Vec<String>,
    /// `FIELD` or `-FIELD`.
    #[serde(default)]
    pub sort: String,
    /// Why.
    pub why: String,
}

/// Makes a view, or changes one.
#[utoipa::path(put, path = "/v1/views/{name}", tag = "views", params(("name" = String, Path)), request_body = Set,
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn set(
    State(api): State<Api>,
    who: Who,
    Path(name): Path<String>,
    headers: HeaderMap,
    Body(set): Body<Set>,
) -> Result<Response, Problem> {
    who.may(Action::ViewsEdit, Place::Estate)?;
    page::unchanged(
        &headers,
        api.hub.read(|e| e.views().get(&name).map_or(0, |known| known.changed_by)),
    )?;
    let Set { l, expression, q, columns, sort, why } = set;
    let view = View { name: name.clone(), l, expression, q, columns, sort };
    api.command(&who, why, Command::View(views::Command::Set { view })).await?;
    get(State(api), Path(name)).await
}

/// Takes a view away.
#[utoipa::path(delete, path = "/v1/views/{name}", tag = "views", params(("name" = String, Path), Reason),
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn remove(
    State(api): State<Api>,
    who: Who,
    Path(name): Path<String>,
    Query(reason): Query<Reason>,
) -> Result<StatusCode, Problem> {
    who.may(Action::ViewsEdit, Place::Estate)?;
    let why = reason.or(|| format!("view {name:.64} taken away"));
    api.command(&who, why, Command::View(views::Command::Remove { name })).await?;
    Ok(StatusCode::NO_CONTENT)
}
