//! HTTP for people and programs: `/v1`.
//!
//! Every way in stands in [`ENDPOINTS`] with what it takes to use it, and [`guard`] lets nothing else in: a route that is not in the
//! table does not exist. The same table is compared with the document that describes the API (`docs/openapi.json`).

mod body;
pub mod describe;
pub mod devices;
pub mod journal;
pub mod leases;
pub mod live;
pub mod page;
pub mod policy;
mod problem;
pub mod sites;
pub mod standing;
pub mod teams;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post, put};
use estate::Command;
use estate::access::Principal;
use estate::access::rbac::{self, Action, Place};
use estate::devices::{Edit, Field};
use model::{SiteId, Timestamp};

use crate::hub::Committed;
use crate::pdp::Pdp;
use crate::{Hub, HubError};

pub use body::Body;
pub use describe::document;
pub use problem::Problem;

/// Bytes of a request's body: a policy folder of a large estate.
pub const BODY_BYTES_MAX: usize = 64 << 20;

/// What it takes to use an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: whoever reaches the port.
    Nothing,
    /// To be somebody.
    Somebody,
    /// To be allowed this, at least somewhere.
    To(Action),
}

/// Every way in.
pub const ENDPOINTS: &[(&str, &str, Needs)] = &[
    ("GET", "/healthz", Needs::Nothing),
    ("GET", "/readyz", Needs::Nothing),
    ("GET", "/v1/openapi.json", Needs::Nothing),
    ("GET", "/metrics", Needs::To(Action::LevelsRead)),
    ("GET", "/v1/whoami", Needs::Somebody),
    ("GET", "/v1/devices", Needs::To(Action::DevicesRead)),
    ("GET", "/v1/devices/{id}", Needs::To(Action::DevicesRead)),
    ("PATCH", "/v1/devices/{id}", Needs::To(Action::DevicesEdit)),
    ("GET", "/v1/devices/{id}/history", Needs::To(Action::DevicesRead)),
    ("POST", "/v1/devices/{id}/retire", Needs::To(Action::DevicesRetire)),
    ("POST", "/v1/devices/edit", Needs::To(Action::DevicesEdit)),
    ("POST", "/v1/devices/report", Needs::To(Action::DevicesImport)),
    ("GET", "/v1/sites", Needs::To(Action::SitesRead)),
    ("POST", "/v1/sites", Needs::To(Action::SitesEdit)),
    ("GET", "/v1/sites/{id}", Needs::To(Action::SitesRead)),
    ("POST", "/v1/sites/{id}/revoke", Needs::To(Action::SitesEdit)),
    ("GET", "/v1/teams", Needs::To(Action::TeamsRead)),
    ("GET", "/v1/teams/{id}", Needs::To(Action::TeamsRead)),
    ("PUT", "/v1/teams/{id}", Needs::To(Action::TeamsEdit)),
    ("DELETE", "/v1/teams/{id}", Needs::To(Action::TeamsEdit)),
    ("GET", "/v1/policy", Needs::To(Action::PoliciesRead)),
    ("PUT", "/v1/policy", Needs::To(Action::PoliciesApply)),
    ("POST", "/v1/policy/check", Needs::To(Action::PoliciesPlan)),
    ("GET", "/v1/leases", Needs::To(Action::LeasesRead)),
    ("GET", "/v1/decisions/{id}", Needs::To(Action::DecisionsRead)),
    ("GET", "/v1/decisions/{id}/replay", Needs::To(Action::DecisionsRead)),
    ("GET", "/v1/slo", Needs::To(Action::LevelsRead)),
    ("GET", "/v1/events", Needs::To(Action::EventsRead)),
    ("GET", "/v1/journal/checkpoint", Needs::To(Action::JournalRead)),
    ("GET", "/v1/journal/entries/{number}", Needs::To(Action::JournalRead)),
];

/// Tells who somebody is by what they carry.
pub trait Authenticate: Send + Sync {
    /// The principal of a bearer token (RFC 6750) at a time.
    fn bearer(&self, token: &str, now: Timestamp) -> Result<Principal, Problem>;
}

/// What every handler works on.
#[derive(Clone)]
pub struct Api {
    /// The estate.
    pub hub: Arc<Hub>,
    /// Policy decisions.
    pub pdp: Arc<Pdp>,
    /// Who is who.
    pub who: Arc<dyn Authenticate>,
    /// Since when the process runs.
    pub started: Timestamp,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("started", &self.started).finish_non_exhaustive()
    }
}

/// The whole API.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/healthz", get(standing::healthz))
        .route("/readyz", get(standing::readyz))
        .route("/metrics", get(standing::metrics))
        .route("/v1/openapi.json", get(describe::openapi))
        .route("/v1/whoami", get(standing::whoami))
        .route("/v1/devices", get(devices::list))
        .route("/v1/devices/edit", post(devices::edit))
        .route("/v1/devices/report", post(devices::report))
        .route("/v1/devices/{id}", get(devices::get).merge(patch(devices::change)))
        .route("/v1/devices/{id}/history", get(devices::history))
        .route("/v1/devices/{id}/retire", post(devices::retire))
        .route("/v1/sites", get(sites::list).merge(post(sites::create)))
        .route("/v1/sites/{id}", get(sites::get))
        .route("/v1/sites/{id}/revoke", post(sites::revoke))
        .route("/v1/teams", get(teams::list))
        .route("/v1/teams/{id}", get(teams::get).merge(put(teams::set)).delete(teams::remove))
        .route("/v1/policy", get(policy::get).merge(put(policy::set)))
        .route("/v1/policy/check", post(policy::check))
        .route("/v1/leases", get(leases::list))
        .route("/v1/decisions/{id}", get(leases::decision))
        .route("/v1/decisions/{id}/replay", get(leases::replay))
        .route("/v1/slo", get(standing::levels))
        .route("/v1/events", get(live::events))
        .route("/v1/journal/checkpoint", get(journal::checkpoint))
        .route("/v1/journal/entries/{number}", get(journal::entry))
        .route_layer(middleware::from_fn_with_state(api.clone(), guard))
        .fallback(nowhere)
        .method_not_allowed_fallback(not_that)
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(api)
}

/// Lets in whom the table lets in.
async fn guard(
    State(api): State<Api>,
    path: MatchedPath,
    mut request: Request,
    next: Next,
) -> Response {
    let method = match *request.method() {
        // axum answers it as GET without a body.
        Method::HEAD => "GET",
        ref other => other.as_str(),
    };
    let listed = ENDPOINTS.iter().find(|(m, p, _)| *m == method && *p == path.as_str());
    let Some((.., needs)) = listed else {
        return nowhere().await.into_response();
    };
    let needs = *needs;
    if needs != Needs::Nothing {
        let bearer = request.headers().get(header::AUTHORIZATION).and_then(|h| h.to_str().ok());
        let bearer = bearer.and_then(|header| header.strip_prefix("Bearer ")).map(str::trim);
        let principal = match bearer {
            Some(token) => api.who.bearer(token, api.hub.now()),
            None => Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "auth.missing",
                "who asks",
                "there is no `Authorization: Bearer …`",
            )
            .help("`ringfence login`, or an API token")),
        };
        let principal = match principal {
            Ok(principal) => principal,
            Err(problem) => return problem.into_response(),
        };
        if let Needs::To(action) = needs
            && let Err(refusal) = rbac::may(&principal, action, Place::Somewhere)
        {
            return Problem::from(refusal).into_response();
        }
        request.extensions_mut().insert(Arc::new(principal));
    }
    next.run(request).await
}

async fn nowhere() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "request.nowhere",
        "the path",
        "there is nothing at this path",
    )
    .help("GET /v1/openapi.json lists what there is")
}

async fn not_that() -> Problem {
    let (title, why) = ("the method", "this path does not take this method");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "request.method", title, why)
}

/// Who asks; only there where [`guard`] let somebody in.
#[derive(Clone, Debug)]
pub struct Who(Arc<Principal>);

impl Who {
    /// The principal.
    pub fn principal(&self) -> &Principal {
        &self.0
    }

    /// Whether things at a site are shown.
    pub fn sees(&self, site: &SiteId) -> bool {
        self.0.grant.sites.admits(site)
    }

    /// Refuses what is not allowed there.
    pub fn may(&self, action: Action, place: Place<'_>) -> Result<(), Problem> {
        Ok(rbac::may(&self.0, action, place)?)
    }

    /// Cutting off is not everybody's, and neither is taking back.
    fn may_edit(&self, edit: &Edit) -> Result<(), Problem> {
        match edit.set.contains_key(&Field::Posture) {
            true => self.may(Action::DevicesQuarantine, Place::Somewhere),
            false => Ok(()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let principal = parts.extensions.get::<Arc<Principal>>().cloned();
        principal.map(Self).ok_or_else(|| {
            let why = "the endpoint is not listed as one that needs somebody";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "auth.unlisted", "who asks", why)
        })
    }
}

impl Api {
    /// Does something on a thread that may wait.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Hub) -> Result<T, HubError> + Send + 'static,
    ) -> Result<T, Problem> {
        let hub = Arc::clone(&self.hub);
        match tokio::task::spawn_blocking(move || work(&hub)).await {
            Ok(done) => done.map_err(Problem::from),
            Err(error) => Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the request was given up",
                error.to_string(),
            )),
        }
    }

    /// Does what is commanded, for who asks.
    pub async fn command(
        &self,
        who: &Who,
        why: String,
        command: Command,
    ) -> Result<Committed, Problem> {
        let actor = who.principal().actor.clone();
        let fits = |c: char| !c.is_control() || c == '\n';
        if why.is_empty() || why.len() > 4_096 || !why.chars().all(fits) {
            let detail =
                "a reason is 1 to 4096 bytes without control characters; it goes into the journal";
            return Err(Problem::invalid("why", detail));
        }
        self.blocking(move |hub| hub.command(&actor, &why, command, BTreeSet::new())).await
    }
}
