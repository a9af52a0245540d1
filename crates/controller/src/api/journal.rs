//! The journal, entry by entry. Whoever wants all of it, with proofs, reads the tiles (`ringfence journal`).

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use estate::access::rbac::{Action, Place};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Api, Problem, Who};

/// The signed head (C2SP tlog-checkpoint), with its signatures.
#[utoipa::path(get, path = "/v1/journal/checkpoint", tag = "journal",
    responses((status = 200, body = String, content_type = "text/plain"), (status = "default", body = Problem)))]
pub async fn checkpoint(State(api): State<Api>) -> Result<Response, Problem> {
    match api.hub.log().signed() {
        Some(head) => {
            let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            Ok((plain, head.encode()).into_response())
        }
        None => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "journal.unsigned",
            "the checkpoint",
            "nothing was signed yet",
        )),
    }
}

/// An entry of the journal.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Entry)]
pub struct Document {
    /// Its number.
    pub number: u64,
    /// When (RFC 3339).
    pub at: String,
    /// Who commanded it.
    pub who: String,
    /// What was commanded.
    pub command: String,
    /// Why.
    pub why: String,
    /// What came of it, in order.
    pub events: Vec<Payload>,
}

/// One event of an entry.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Payload {
    /// Its type: `device.found`.
    pub name: String,
    /// Version of the type.
    pub version: u32,
    /// What it says.
    #[schema(value_type = Object)]
    pub payload: serde_json::Value,
}

/// One entry.
#[utoipa::path(get, path = "/v1/journal/entries/{number}", tag = "journal", params(("number" = u64, Path)),
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn entry(
    State(api): State<Api>,
    who: Who,
    Path(number): Path<String>,
) -> Result<Json<Document>, Problem> {
    // An entry may say something of any site.
    who.may(Action::JournalRead, Place::Estate)?;
    let number: u64 =
        number.parse().map_err(|_| Problem::invalid("the entry", "its number is 0 or more"))?;
    let found = api.blocking(move |hub| hub.entry(number)).await?;
    let entry =
        found.ok_or_else(|| Problem::unknown("journal.entry", format!("entry {number}")))?;
    let payload = |typed: &journal::entry::Typed| Payload {
        name: typed.name.to_string(),
        version: typed.version,
        payload: serde_json::from_slice(&typed.payload).unwrap_or_default(),
    };
    Ok(Json(Document {
        number,
        at: entry.at.to_string(),
        who: format!("{}/{}", entry.who.kind, entry.who.id),
        command: entry.command.name.to_string(),
        why: entry.why.clone(),
        events: entry.events.iter().map(payload).collect(),
    }))
}
