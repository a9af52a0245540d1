//! What takes two people: changes that concern more devices than a limit.
//!
//! Such a request is answered with 202 and the id of an approval. When a second person has approved, whoever asked repeats the same request
//! with the header `Ringfence-Approval: ID`, and it is carried out, once. The approval is used up before that, so that a failure half way
//! never leaves it open. A request is the same when its [`Ask::command`] is.
//!
//! This machine's own token needs no second person: whoever has it can change the journal's files anyway.

use std::ops::ControlFlow;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use estate::Command;
use estate::access::{self, Approval, ApprovalId, ApprovalState, By, OperatorId, Role, Sites, Via};
use estate::side::Digest;
use model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::{Page, Paging};
use super::{Api, Body, Path, Problem, Query, Who};

/// The header that names an approval.
pub const HEADER: &str = "ringfence-approval";
/// How long an approval can be given and used.
const LIFE_NANOS: i64 = 24 * 3_600 * 1_000_000_000;

/// A change that waits for a second person, or did.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Approval)]
pub struct Document {
    /// Its id.
    pub id: String,
    /// `pending`, `approved`, `concluded`, `rejected`, `expired`.
    pub state: &'static str,
    /// What was asked for.
    #[schema(value_type = Object)]
    pub command: serde_json::Value,
    /// Who asked: `person/…`, `token/…`.
    pub by: String,
    /// The operator who is answerable for that.
    pub operator: String,
    /// Why.
    pub why: String,
    /// Role of whoever answers.
    pub needs: &'static str,
    /// Sites that whoever answers has to be for; null: all.
    pub sites: Option<Vec<String>>,
    /// When it was asked (RFC 3339).
    pub asked_at: String,
    /// Until then it can be approved and carried out.
    pub expires_at: String,
    /// Operator who answered.
    pub answered_by: Option<String>,
    /// When.
    pub answered_at: Option<String>,
    /// When it was carried out.
    pub concluded_at: Option<String>,
}

const fn word(state: ApprovalState) -> &'static str {
    match state {
        ApprovalState::Pending => "pending",
        ApprovalState::Approved => "approved",
        ApprovalState::Concluded => "concluded",
        ApprovalState::Rejected => "rejected",
        ApprovalState::Expired => "expired",
    }
}

fn document(id: &ApprovalId, approval: &Approval, now: Timestamp) -> Document {
    let answer = approval.answer.as_ref();
    Document {
        id: id.to_string(),
        state: word(approval.state(now)),
        command: serde_json::from_str(&approval.command).unwrap_or_default(),
        by: format!("{}/{}", approval.by.kind, approval.by.id),
        operator: approval.operator.to_string(),
        why: approval.why.clone(),
        needs: approval.needs.word(),
        sites: match &approval.sites {
            Sites::All => None,
            Sites::Only(sites) => Some(sites.iter().map(ToString::to_string).collect()),
        },
        asked_at: approval.asked_at.to_string(),
        expires_at: approval.expires_at.to_string(),
        answered_by: answer.map(|answer| answer.by.to_string()),
        answered_at: answer.map(|answer| answer.at.to_string()),
        concluded_at: approval.concluded_at.map(|at| at.to_string()),
    }
}

/// Whether somebody is told of an approval: their own, and those about their sites.
pub(super) fn sees(who: &Who, approval: &Approval) -> bool {
    let principal = who.principal();
    principal.grant.sites.include(&approval.sites)
        || principal.operator.as_ref() == Some(&approval.operator)
}

/// What waits for a second person, and what did in the last 90 days; by id.
#[utoipa::path(get, path = "/v1/approvals", tag = "access", params(Paging),
    responses((status = 200, body = Page<Document>), (status = "default", body = Problem)))]
pub async fn list(
    State(api): State<Api>,
    who: Who,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Document>>, Problem> {
    let (after, now) = (paging.after()?.unwrap_or_default(), api.hub.now());
    api.hub.read(|estate| {
        let all = estate.access().approvals().iter().filter(|(id, _)| id.as_str() > after.as_str());
        let shown = all.filter(|(_, approval)| sees(&who, approval));
        let page = paging.of(shown.map(|(id, a)| document(id, a, now)), |a| a.id.clone())?;
        Ok(Json(page))
    })
}

/// What a second person says.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Yes or no. Who asked can only say no.
    pub approve: bool,
    /// Why.
    pub why: String,
}

/// Answers. Who asked never approves.
#[utoipa::path(post, path = "/v1/approvals/{id}", tag = "access", params(("id" = String, Path)), request_body = Answer,
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn answer(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    Body(answer): Body<Answer>,
) -> Result<Json<Document>, Problem> {
    let approval = ApprovalId::new(&id).map_err(|_| unknown(&id))?;
    let shown = api.hub.read(|estate| {
        estate.access().approvals().get(&approval).is_some_and(|approval| sees(&who, approval))
    });
    if !shown {
        return Err(unknown(&id));
    }
    let of = approval.clone();
    let command = match answer.approve {
        true => access::Command::Approve { approval: of },
        false => access::Command::Reject { approval: of },
    };
    api.command(&who, answer.why, Command::Access(command)).await?;
    shown_now(&api, &approval).map(Json)
}

fn unknown(id: &str) -> Problem {
    Problem::unknown("approval.unknown", format!("approval {id}"))
}

fn shown_now(api: &Api, id: &ApprovalId) -> Result<Document, Problem> {
    let now = api.hub.now();
    api.hub.read(|estate| {
        let found = estate.access().approvals().get(id).map(|found| document(id, found, now));
        found.ok_or_else(|| unknown(id.as_str()))
    })
}

/// A change that may take two people.
pub(crate) struct Ask<'a> {
    /// All that makes it this change and no other.
    pub(crate) command: serde_json::Value,
    /// Devices that it concerns.
    pub(crate) devices: usize,
    /// Role of the second person.
    pub(crate) needs: Role,
    /// Where that one has to have it.
    pub(crate) sites: Sites,
    /// Why.
    pub(crate) why: &'a str,
}

/// `None`: to be carried out now; otherwise what to answer instead.
pub(crate) async fn second_person(
    api: &Api,
    who: &Who,
    headers: &HeaderMap,
    ask: Ask<'_>,
) -> Result<Option<Response>, Problem> {
    if ask.devices <= api.who.approval_above() || who.principal().via == Via::Host {
        return Ok(None);
    }
    Ok(two_people(api, who, headers, ask).await?.break_value())
}

/// What takes two people however little it concerns: who asked and who agreed, or what to answer instead.
pub(crate) async fn two_people(
    api: &Api,
    who: &Who,
    headers: &HeaderMap,
    ask: Ask<'_>,
) -> Result<ControlFlow<Response, (OperatorId, OperatorId)>, Problem> {
    let (actor, now) = (&who.principal().actor, api.hub.now());
    let command = ask.command.to_string();
    let digest = Digest::of(command.as_bytes());
    if let Some(named) = headers.get(HEADER) {
        let named = named.to_str().unwrap_or_default();
        let ready = api.hub.read(|estate| {
            let access = estate.access();
            let approval = access.approvals().get(&ApprovalId::new(named).ok()?);
            // Of several that are alike, the one that is named.
            let fits = |a: &&Approval| a.digest == digest && a.by == By::from(actor);
            approval
                .filter(fits)
                .map(|a| (a.operator.clone(), a.answer.as_ref().map(|a| a.by.clone())))
        });
        let (Some((first, second)), Ok(approval)) = (ready, ApprovalId::new(named)) else {
            let why = "it is not yours, or of another change; the request has to be the same one";
            let title = format!("approval {named:.64}");
            return Err(Problem::new(StatusCode::CONFLICT, "approval.other", title, why));
        };
        let conclude = access::Command::Conclude { approval };
        let why = ask.why.to_owned();
        api.command(who, why, Command::Access(conclude)).await?;
        // It is concluded only when it was approved.
        return Ok(ControlFlow::Continue((first.clone(), second.unwrap_or(first))));
    }
    let open = api.hub.read(|estate| {
        let open = |a: &Approval| {
            let state = a.state(now);
            a.digest == digest
                && a.by == By::from(actor)
                && matches!(state, ApprovalState::Pending | ApprovalState::Approved)
        };
        let approvals = estate.access().approvals();
        approvals.iter().find(|(_, approval)| open(approval)).map(|(id, _)| id.clone())
    });
    let id = match open {
        Some(id) => id,
        None => {
            let id = ApprovalId::new(&api.hub.id("apr")?)
                .map_err(|error| Problem::invalid("the approval", error.to_string()))?;
            let Ask { needs, sites, why, .. } = ask;
            let expires_at = now.plus_nanos(LIFE_NANOS);
            let why = why.to_owned();
            let (approval, said) = (id.clone(), why.clone());
            let command = access::Command::Ask { approval, command, why, needs, sites, expires_at };
            api.command(who, said, Command::Access(command)).await?;
            id
        }
    };
    Ok(ControlFlow::Break((StatusCode::ACCEPTED, Json(shown_now(api, &id)?)).into_response()))
}
