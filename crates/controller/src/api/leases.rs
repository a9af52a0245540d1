//! Leases and the decisions behind them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use estate::leases::{Decision, Verdict};
use model::DeviceId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::page::{Page, Paging};
use super::{Api, Path, Problem, Query, Who};

/// The decision in force about a device.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Lease)]
pub struct Document {
    /// About whom.
    pub device: String,
    /// Where.
    pub site: String,
    /// Something is granted.
    pub granted: bool,
    /// The decision.
    pub decision: String,
    /// Its journal entry.
    pub entry: u64,
}

/// Which leases.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Selection {
    /// Of this device only.
    pub device: Option<String>,
    /// Only those that grant something, or nothing.
    pub granted: Option<bool>,
}

/// Leases by device.
#[utoipa::path(get, path = "/v1/leases", tag = "leases", params(Selection, Paging),
    responses((status = 200, body = Page<Document>), (status = "default", body = Problem)))]
pub async fn list(
    State(api): State<Api>,
    who: Who,
    Query(selection): Query<Selection>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Document>>, Problem> {
    let after =
        match paging.after()? {
            Some(id) => Some(DeviceId::new(&id).map_err(|_| {
                Problem::invalid("the page", "it is no `next` of an earlier answer")
            })?),
            None => None,
        };
    api.hub.read(|estate| {
        let all = estate.leases().iter().filter(|(device, lease)| {
            after.as_ref().is_none_or(|after| *device > after)
                && who.sees(&lease.site)
                && selection.device.as_ref().is_none_or(|id| device.as_str() == id)
                && selection.granted.is_none_or(|granted| lease.granted == granted)
        });
        let documents = all.map(|(device, lease)| Document {
            device: device.to_string(),
            site: lease.site.to_string(),
            granted: lease.granted,
            decision: lease.decision.clone(),
            entry: lease.entry,
        });
        Ok(Json(paging.of(documents, |lease| lease.device.clone())?))
    })
}

/// One decision in force: what was asked, what it rests on, what was decided.
#[utoipa::path(get, path = "/v1/decisions/{id}", tag = "leases", params(("id" = String, Path)),
    responses((status = 200, body = Object), (status = "default", body = Problem)))]
pub async fn decision(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
) -> Result<Json<Decision>, Problem> {
    found(&api, &who, id).await.map(Json)
}

/// A decision made again.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Replay {
    /// The verdict in the journal.
    #[schema(value_type = Object)]
    pub recorded: Verdict,
    /// The verdict that the same policy gives on the same subject now.
    #[schema(value_type = Object)]
    pub replayed: Verdict,
    /// They are the same, byte for byte.
    pub same: bool,
}

/// Makes a decision again from what it was made from.
#[utoipa::path(get, path = "/v1/decisions/{id}/replay", tag = "leases", params(("id" = String, Path)),
    responses((status = 200, body = Replay), (status = "default", body = Problem)))]
pub async fn replay(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
) -> Result<Json<Replay>, Problem> {
    let decision = found(&api, &who, id).await?;
    let pdp = std::sync::Arc::clone(&api.pdp);
    let recorded = decision.verdict.clone();
    let again = tokio::task::spawn_blocking(move || pdp.replay(&decision)).await;
    let again = again.map_err(|error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the replay", error.to_string())
    })??;
    let replayed = again.ok_or_else(|| {
        let why = "the policy folder that it was made from is not kept here";
        Problem::new(StatusCode::NOT_FOUND, "decision.policy", "the replay", why)
            .help("restore `blobs` from a backup")
    })?;
    let bytes = |verdict: &Verdict| serde_json::to_vec(verdict).unwrap_or_default();
    let same = bytes(&recorded) == bytes(&replayed);
    Ok(Json(Replay { recorded, replayed, same }))
}

async fn found(api: &Api, who: &Who, id: String) -> Result<Decision, Problem> {
    let unknown = || {
        Problem::unknown("decision.unknown", format!("decision {id}"))
            .help("earlier decisions are in the journal: each names the one before it")
    };
    let (pdp, wanted) = (std::sync::Arc::clone(&api.pdp), id.clone());
    let decision = api.blocking(move |_| pdp.decision(&wanted)).await?;
    decision.filter(|decision| who.sees(&decision.subject.site)).ok_or_else(unknown)
}
