//! HTTP for people and programs: `/v1`.
//!
//! Every way in stands in [`ENDPOINTS`] with what it takes to use it, and [`guard`] lets nothing else in: a route that is not in the
//! table does not exist. The same table is compared with the document that describes the API (`docs/openapi.json`).

pub mod approvals;
mod asked;
mod body;
pub mod console;
pub mod credentials;
pub mod describe;
pub mod devices;
pub mod exceptions;
pub mod expected;
pub mod flows;
pub mod imports;
pub mod inventory;
pub mod journal;
pub mod keyring;
pub mod keys;
pub mod leases;
pub mod live;
pub mod login;
mod once;
pub mod operators;
mod pace;
pub mod page;
pub mod pki;
pub mod policy;
mod problem;
pub mod questions;
pub mod reach;
pub mod records;
pub mod releases;
pub mod requests;
pub mod sites;
pub mod standing;
pub mod teams;
pub mod tokens;
pub mod views;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post, put};
use estate::Command;
use estate::access::Principal;
use estate::access::rbac::{self, Action, Place};
use estate::devices::{Edit, Field};
use model::{SiteId, Timestamp};

use crate::auth::Auth;
use crate::est::Est;
use crate::hub::Committed;
use crate::line::Line;
use crate::pdp::Pdp;
use crate::published::Published;
use crate::secrets::Digests;
use crate::{Hub, HubError};

pub use asked::{Path, Query, Reason};
pub use body::Body;
pub use describe::document;
pub use inventory::Lists;
pub use once::Answers;
pub use pace::Pace;
pub use problem::Problem;

/// Bytes of a request's body: a policy folder of a large estate.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// Bytes of the body of somebody who may be nobody.
const LOGIN_BYTES_MAX: usize = 16 << 10;

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
    ("GET", "/", Needs::Nothing),
    // The console's files and screens; what stands below has the right of way.
    ("GET", "/{file}", Needs::Nothing),
    ("GET", "/healthz", Needs::Nothing),
    ("GET", "/readyz", Needs::Nothing),
    ("GET", "/pki/root.pem", Needs::Nothing),
    ("GET", "/pki/issuing.pem", Needs::Nothing),
    ("GET", "/pki/issuing.crl", Needs::Nothing),
    ("GET", "/pki/issuing-delta.crl", Needs::Nothing),
    ("GET", "/pki/issuers.pem", Needs::Nothing),
    ("GET", "/pki/issuers/{list}", Needs::Nothing),
    ("POST", "/pki/ocsp", Needs::Nothing),
    ("GET", "/pki/ocsp/{request}", Needs::Nothing),
    ("GET", "/v1/openapi.json", Needs::Nothing),
    ("POST", "/v1/setup", Needs::Nothing),
    ("POST", "/v1/login", Needs::Nothing),
    ("POST", "/v1/logout", Needs::Somebody),
    ("POST", "/v1/password", Needs::Somebody),
    ("GET", "/metrics", Needs::To(Action::LevelsRead)),
    ("GET", "/v1/whoami", Needs::Somebody),
    ("GET", "/v1/operators", Needs::To(Action::OperatorsRead)),
    ("POST", "/v1/operators", Needs::To(Action::OperatorsEdit)),
    ("GET", "/v1/operators/{id}", Needs::To(Action::OperatorsRead)),
    ("PATCH", "/v1/operators/{id}", Needs::To(Action::OperatorsEdit)),
    ("POST", "/v1/operators/{id}/password", Needs::To(Action::PasswordsReset)),
    ("POST", "/v1/operators/{id}/erase", Needs::To(Action::OperatorsEdit)),
    // Everybody sees and revokes their own.
    ("GET", "/v1/tokens", Needs::Somebody),
    ("POST", "/v1/tokens", Needs::To(Action::TokensMake)),
    ("DELETE", "/v1/tokens/{id}", Needs::Somebody),
    ("GET", "/v1/approvals", Needs::To(Action::ApprovalsRead)),
    // Who asked may take it back.
    ("POST", "/v1/approvals/{id}", Needs::To(Action::ApprovalsAsk)),
    ("GET", "/v1/devices", Needs::To(Action::DevicesRead)),
    ("GET", "/v1/devices/{id}", Needs::To(Action::DevicesRead)),
    ("PATCH", "/v1/devices/{id}", Needs::To(Action::DevicesEdit)),
    ("GET", "/v1/devices/{id}/history", Needs::To(Action::DevicesRead)),
    ("GET", "/v1/devices/{id}/flows", Needs::To(Action::DevicesRead)),
    ("POST", "/v1/devices/{id}/retire", Needs::To(Action::DevicesRetire)),
    ("POST", "/v1/devices/{id}/merge", Needs::To(Action::DecisionsMake)),
    ("POST", "/v1/devices/{id}/apart", Needs::To(Action::DecisionsMake)),
    ("POST", "/v1/devices/{id}/return", Needs::To(Action::DevicesRetire)),
    ("GET", "/v1/questions", Needs::To(Action::DecisionsRead)),
    ("POST", "/v1/devices/edit", Needs::To(Action::DevicesEdit)),
    ("POST", "/v1/devices/retire", Needs::To(Action::DevicesRetire)),
    ("POST", "/v1/devices/report", Needs::To(Action::DevicesImport)),
    ("POST", "/v1/devices/import", Needs::To(Action::DevicesImport)),
    ("GET", "/v1/devices/{id}/keys", Needs::To(Action::DevicesRead)),
    ("POST", "/v1/devices/{id}/keys", Needs::To(Action::KeysEdit)),
    ("DELETE", "/v1/devices/{id}/keys/{key}", Needs::To(Action::KeysEdit)),
    ("GET", "/v1/devices/{id}/commitments", Needs::To(Action::DevicesRead)),
    ("POST", "/v1/commitments", Needs::To(Action::CommitmentsSend)),
    ("GET", "/v1/identities", Needs::To(Action::IdentitiesRead)),
    ("GET", "/v1/identities/expected", Needs::To(Action::IdentitiesRead)),
    ("POST", "/v1/identities/expected", Needs::To(Action::IdentitiesEdit)),
    ("GET", "/v1/identities/findings", Needs::To(Action::IdentitiesRead)),
    ("GET", "/v1/identities/requests", Needs::To(Action::IdentitiesRead)),
    ("POST", "/v1/identities/requests/{id}", Needs::To(Action::IdentitiesEdit)),
    ("GET", "/v1/keys", Needs::To(Action::IdentitiesRead)),
    ("POST", "/v1/keys", Needs::To(Action::IdentitiesEdit)),
    ("POST", "/v1/keys/rotate", Needs::To(Action::IdentitiesEdit)),
    ("POST", "/v1/keys/end", Needs::To(Action::IdentitiesEdit)),
    ("GET", "/v1/devices/{id}/identity", Needs::To(Action::IdentitiesRead)),
    ("POST", "/v1/devices/{id}/identity/token", Needs::To(Action::IdentitiesEdit)),
    ("POST", "/v1/devices/{id}/identity/revoke", Needs::To(Action::IdentitiesEdit)),
    ("POST", "/v1/devices/{id}/identity/voucher", Needs::To(Action::IdentitiesEdit)),
    ("DELETE", "/v1/devices/{id}/identity/voucher", Needs::To(Action::IdentitiesEdit)),
    ("GET", "/v1/views", Needs::To(Action::ViewsRead)),
    ("GET", "/v1/views/{name}", Needs::To(Action::ViewsRead)),
    ("PUT", "/v1/views/{name}", Needs::To(Action::ViewsEdit)),
    ("DELETE", "/v1/views/{name}", Needs::To(Action::ViewsEdit)),
    ("GET", "/v1/sites", Needs::To(Action::SitesRead)),
    ("POST", "/v1/sites", Needs::To(Action::SitesEdit)),
    ("GET", "/v1/sites/{id}", Needs::To(Action::SitesRead)),
    ("POST", "/v1/sites/{id}/revoke", Needs::To(Action::SitesEdit)),
    ("POST", "/v1/sites/{id}/token", Needs::To(Action::SitesEdit)),
    ("GET", "/v1/teams", Needs::To(Action::TeamsRead)),
    ("GET", "/v1/teams/{id}", Needs::To(Action::TeamsRead)),
    ("PUT", "/v1/teams/{id}", Needs::To(Action::TeamsEdit)),
    ("DELETE", "/v1/teams/{id}", Needs::To(Action::TeamsEdit)),
    ("GET", "/v1/policy", Needs::To(Action::PoliciesRead)),
    ("PUT", "/v1/policy", Needs::To(Action::PoliciesApply)),
    ("POST", "/v1/policy/check", Needs::To(Action::PoliciesPlan)),
    ("POST", "/v1/policy/plan", Needs::To(Action::PoliciesPlan)),
    ("GET", "/v1/exceptions", Needs::To(Action::ExceptionsRead)),
    ("POST", "/v1/exceptions", Needs::To(Action::ExceptionsEdit)),
    ("GET", "/v1/exceptions/{id}", Needs::To(Action::ExceptionsRead)),
    ("POST", "/v1/exceptions/{id}/end", Needs::To(Action::ExceptionsEdit)),
    ("GET", "/v1/releases", Needs::To(Action::ReleasesRead)),
    ("POST", "/v1/releases", Needs::To(Action::ReleasesEdit)),
    ("GET", "/v1/releases/{id}", Needs::To(Action::ReleasesRead)),
    ("POST", "/v1/releases/{id}/withdraw", Needs::To(Action::ReleasesEdit)),
    ("GET", "/v1/reach/matrix", Needs::To(Action::LeasesRead)),
    ("GET", "/v1/reach/devices/{id}", Needs::To(Action::LeasesRead)),
    ("GET", "/v1/reach/map", Needs::To(Action::LeasesRead)),
    ("GET", "/v1/reach/worst", Needs::To(Action::LeasesRead)),
    ("GET", "/v1/reach/why", Needs::To(Action::LeasesRead)),
    ("GET", "/v1/leases", Needs::To(Action::LeasesRead)),
    ("GET", "/v1/decisions/{id}", Needs::To(Action::DecisionsRead)),
    ("GET", "/v1/decisions/{id}/replay", Needs::To(Action::DecisionsRead)),
    ("GET", "/v1/slo", Needs::To(Action::LevelsRead)),
    ("GET", "/v1/events", Needs::To(Action::EventsRead)),
    ("GET", "/v1/journal", Needs::To(Action::JournalRead)),
    ("GET", "/v1/journal/checkpoint", Needs::To(Action::JournalRead)),
    ("GET", "/v1/journal/tile/{path}", Needs::To(Action::JournalRead)),
    ("GET", "/v1/journal/entries", Needs::To(Action::JournalRead)),
    ("GET", "/v1/journal/entries/{number}", Needs::To(Action::JournalRead)),
    ("GET", "/v1/journal/entries/{number}/proof", Needs::To(Action::JournalRead)),
];

/// What somebody may do whose password somebody else has set.
const MUST_CHANGE: [&str; 3] = ["/v1/password", "/v1/logout", "/v1/whoami"];

/// What gives out or takes a secret is not kept to be answered again.
const NOT_KEPT: [&str; 6] = [
    "/v1/password",
    "/v1/operators",
    "/v1/operators/{id}/password",
    "/v1/tokens",
    "/v1/sites/{id}/token",
    "/v1/devices/{id}/identity/token",
];

/// What every handler works on.
#[derive(Clone)]
pub struct Api {
    /// The estate.
    pub hub: Arc<Hub>,
    /// Policy decisions.
    pub pdp: Arc<Pdp>,
    /// Who is who.
    pub who: Arc<Auth>,
    /// The line to sites; `None`: this controller does not listen for them.
    pub line: Option<Arc<Line>>,
    /// Enrolment of devices; `None`: nobody enrols here.
    pub est: Option<Arc<Est>>,
    /// Where that is, as a URL (RFC 7030 §3.2.2); `None`: this controller does not listen for devices.
    pub est_url: Option<Arc<str>>,
    /// What the estate's authority publishes; `None`: this controller issues nothing.
    pub published: Option<Arc<Published>>,
    /// Of secrets that devices share with others.
    pub digests: Option<Arc<Digests>>,
    /// What was answered to requests that may come again.
    pub answers: Arc<Answers>,
    /// How often somebody may ask.
    pub pace: Arc<Pace>,
    /// Lists of devices that were made.
    pub lists: Arc<Lists>,
    /// Since when the process runs.
    pub started: Timestamp,
}

impl Api {
    /// An API without a line.
    pub fn new(hub: Arc<Hub>, pdp: Arc<Pdp>, who: Arc<Auth>) -> Self {
        let started = hub.now();
        Self {
            hub,
            pdp,
            who,
            line: None,
            est_url: None,
            published: None,
            digests: None,
            est: None,
            answers: Arc::default(),
            lists: Arc::default(),
            pace: Arc::default(),
            started,
        }
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("started", &self.started).finish_non_exhaustive()
    }
}

/// The whole API.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/", get(console::home))
        .route("/{*file}", get(console::file))
        .route("/healthz", get(standing::healthz))
        .route("/readyz", get(standing::readyz))
        .route("/metrics", get(standing::metrics))
        .route("/pki/root.pem", get(pki::root))
        .route("/pki/issuing.pem", get(pki::issuing))
        .route("/pki/issuing.crl", get(pki::complete))
        .route("/pki/issuing-delta.crl", get(pki::delta))
        .route("/pki/issuers.pem", get(pki::issuers))
        .route("/pki/issuers/{list}", get(pki::of_issuer))
        .route("/pki/ocsp", post(pki::ask).layer(DefaultBodyLimit::max(::pki::ocsp::BYTES_MAX)))
        .route("/pki/ocsp/{*request}", get(pki::ask_by_path))
        .route("/v1/openapi.json", get(describe::openapi))
        .route("/v1/setup", post(login::setup).layer(DefaultBodyLimit::max(LOGIN_BYTES_MAX)))
        .route("/v1/login", post(login::login).layer(DefaultBodyLimit::max(LOGIN_BYTES_MAX)))
        .route("/v1/logout", post(login::logout))
        .route("/v1/password", post(login::password))
        .route("/v1/whoami", get(standing::whoami))
        .route("/v1/operators", get(operators::list).merge(post(operators::add)))
        .route("/v1/operators/{id}", get(operators::get).merge(patch(operators::change)))
        .route("/v1/operators/{id}/password", post(operators::password))
        .route("/v1/operators/{id}/erase", post(operators::erase))
        .route("/v1/tokens", get(tokens::list).merge(post(tokens::make)))
        .route("/v1/tokens/{id}", delete(tokens::revoke))
        .route("/v1/approvals", get(approvals::list))
        .route("/v1/approvals/{id}", post(approvals::answer))
        .route("/v1/devices", get(inventory::list))
        .route("/v1/devices/edit", post(devices::edit))
        .route("/v1/devices/retire", post(devices::retire_many))
        .route("/v1/devices/report", post(devices::report))
        .route("/v1/devices/import", post(imports::import))
        .route("/v1/devices/{id}", get(devices::get).merge(patch(devices::change)))
        .route("/v1/devices/{id}/history", get(devices::history))
        .route("/v1/devices/{id}/flows", get(flows::list))
        .route("/v1/devices/{id}/merge", post(records::merge))
        .route("/v1/devices/{id}/apart", post(records::apart))
        .route("/v1/devices/{id}/return", post(records::come_back))
        .route("/v1/questions", get(questions::list))
        .route("/v1/devices/{id}/retire", post(devices::retire))
        .route("/v1/devices/{id}/keys", get(keys::list).merge(post(keys::register)))
        .route("/v1/devices/{id}/keys/{key}", delete(keys::revoke))
        .route("/v1/devices/{id}/commitments", get(keys::chains))
        .route(
            "/v1/commitments",
            post(keys::send).layer(DefaultBodyLimit::max(crate::commitments::BODY_BYTES_MAX)),
        )
        .route("/v1/identities", get(credentials::list))
        .route("/v1/identities/expected", get(expected::list).merge(post(expected::expect)))
        .route("/v1/identities/findings", get(requests::findings))
        .route("/v1/identities/requests", get(requests::list))
        .route("/v1/identities/requests/{id}", post(requests::answer))
        .route("/v1/keys", get(keyring::list).merge(post(keyring::add)))
        .route("/v1/keys/rotate", post(keyring::rotate))
        .route("/v1/keys/end", post(keyring::end))
        .route("/v1/devices/{id}/identity", get(credentials::get))
        .route("/v1/devices/{id}/identity/token", post(credentials::token))
        .route("/v1/devices/{id}/identity/revoke", post(credentials::revoke))
        .route(
            "/v1/devices/{id}/identity/voucher",
            post(credentials::vouch).merge(delete(credentials::unvouch)),
        )
        .route("/v1/views", get(views::list))
        .route("/v1/views/{name}", get(views::get).merge(put(views::set)).delete(views::remove))
        .route("/v1/sites", get(sites::list).merge(post(sites::create)))
        .route("/v1/sites/{id}", get(sites::get))
        .route("/v1/sites/{id}/revoke", post(sites::revoke))
        .route("/v1/sites/{id}/token", post(sites::token))
        .route("/v1/teams", get(teams::list))
        .route("/v1/teams/{id}", get(teams::get).merge(put(teams::set)).delete(teams::remove))
        .route("/v1/policy", get(policy::get).merge(put(policy::set)))
        .route("/v1/policy/check", post(policy::check))
        .route("/v1/policy/plan", post(reach::plan))
        .route("/v1/exceptions", get(exceptions::list).merge(post(exceptions::add)))
        .route("/v1/exceptions/{id}", get(exceptions::get))
        .route("/v1/exceptions/{id}/end", post(exceptions::end))
        .route(
            "/v1/releases",
            get(releases::list)
                .merge(post(releases::add).layer(DefaultBodyLimit::max(releases::BODY_BYTES_MAX))),
        )
        .route("/v1/releases/{id}", get(releases::get))
        .route("/v1/releases/{id}/withdraw", post(releases::withdraw))
        .route("/v1/reach/matrix", get(reach::matrix))
        .route("/v1/reach/devices/{id}", get(reach::device))
        .route("/v1/reach/map", get(reach::map))
        .route("/v1/reach/worst", get(reach::worst))
        .route("/v1/reach/why", get(reach::why))
        .route("/v1/leases", get(leases::list))
        .route("/v1/decisions/{id}", get(leases::decision))
        .route("/v1/decisions/{id}/replay", get(leases::replay))
        .route("/v1/slo", get(standing::levels))
        .route("/v1/events", get(live::events))
        .route("/v1/journal/checkpoint", get(journal::checkpoint))
        .route("/v1/journal", get(journal::standing))
        .route("/v1/journal/tile/{*path}", get(journal::tile))
        .route("/v1/journal/entries", get(journal::entries))
        .route("/v1/journal/entries/{number}", get(journal::entry))
        .route("/v1/journal/entries/{number}/proof", get(journal::proof))
        .route_layer(middleware::from_fn_with_state(api.clone(), guard))
        .fallback(nowhere)
        .method_not_allowed_fallback(not_that)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
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
    // The rest of a path is one parameter; a description has no word for that.
    let path = path.as_str().replace("{*", "{");
    let listed = ENDPOINTS.iter().find(|(m, p, _)| *m == method && *p == path);
    let Some((.., needs)) = listed else {
        return nowhere().await.into_response();
    };
    let needs = *needs;
    let now = api.hub.now();
    if needs == Needs::Nothing
        && let Err(problem) = api.pace.nobody(&request, now)
    {
        return problem.into_response();
    }
    if needs != Needs::Nothing {
        let principal = match bearer(request.headers()) {
            Some(token) => api.who.bearer(token).map_err(Problem::from),
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
            Err(problem) => {
                let paced = api.pace.nobody(&request, now);
                return paced.err().unwrap_or(problem).into_response();
            }
        };
        if principal.password_temporary && !MUST_CHANGE.contains(&&*path) {
            let why = "somebody else has set your password";
            let problem = Problem::new(StatusCode::FORBIDDEN, "auth.must-change", "who asks", why);
            return problem
                .help("`ringfence password` changes it; then log in again")
                .into_response();
        }
        if let Needs::To(action) = needs
            && let Err(refusal) = rbac::may(&principal, action, Place::Somewhere)
        {
            return Problem::from(refusal).into_response();
        }
        let asks = format!("{}/{}", principal.actor.kind, principal.actor.id);
        if let Err(problem) = api.pace.somebody(&asks, request.method(), &path, now) {
            return problem.into_response();
        }
        request.extensions_mut().insert(Arc::new(principal));
        if request.method() == Method::POST && !NOT_KEPT.contains(&&*path) {
            return api.answers.once(&asks, now, request, next).await;
        }
    }
    next.run(request).await
}

/// What somebody carries (RFC 6750); the word before it has no capitals that count (RFC 9110, section 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
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

async fn not_that(path: Option<MatchedPath>) -> Problem {
    // The console's screens are anywhere, but only to be looked at.
    if path.is_some_and(|path| path.as_str() == "/{*file}") {
        return nowhere().await;
    }
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
        reason(&why)?;
        self.blocking(move |hub| hub.command(&actor, &why, command, BTreeSet::new())).await
    }
}

/// Refuses what is no reason.
fn reason(why: &str) -> Result<(), Problem> {
    let fits = |c: char| !c.is_control() || c == '\n';
    match !why.is_empty() && why.len() <= 4_096 && why.chars().all(fits) {
        true => Ok(()),
        false => {
            let detail =
                "a reason is 1 to 4096 bytes without control characters; it goes into the journal";
            Err(Problem::invalid("why", detail))
        }
    }
}
