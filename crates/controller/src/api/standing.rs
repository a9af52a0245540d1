//! How the controller stands.

use std::fmt::Write as _;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use estate::access::Role;
use estate::access::rbac::{Action, Place};
use estate::devices::State as Life;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Api, Problem, Who};
use crate::pdp::Level;

/// The process is alive.
#[utoipa::path(get, path = "/healthz", tag = "standing", security(()), responses((status = 200, body = String)))]
pub async fn healthz() -> &'static str {
    "alive\n"
}

/// Changes can be written: the journal takes entries.
#[utoipa::path(get, path = "/readyz", tag = "standing", security(()),
    responses((status = 200, body = String), (status = 503, body = Problem)))]
pub async fn readyz(State(api): State<Api>) -> Result<&'static str, Problem> {
    match api.hub.is_stuck() {
        false => Ok("ready\n"),
        true => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "journal.unwritable",
            "changes are not taken",
            "the last entry could not be written to the journal",
        )
        .help("look at the disk; reading and every site go on, and the first change that works ends this")),
    }
}

/// Who asks.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Myself {
    /// `person/…`, `token/…`, `host/…`.
    pub actor: String,
    /// Roles.
    pub roles: Vec<&'static str>,
    /// These, and the roles whose every right they have.
    pub covers: Vec<&'static str>,
    /// What may be done to what is at one's sites: `devices.edit`, …
    pub may: Vec<&'static str>,
    /// What may be done to the estate as a whole, or to what belongs to no site.
    pub may_everywhere: Vec<&'static str>,
    /// Sites; absent: all.
    pub sites: Option<Vec<String>>,
    /// Somebody else has set the password: it has to be changed first.
    pub password_temporary: bool,
}

/// Who asks, and what for.
#[utoipa::path(get, path = "/v1/whoami", tag = "access",
    responses((status = 200, body = Myself), (status = "default", body = Problem)))]
pub async fn whoami(who: Who) -> Json<Myself> {
    let principal = who.principal();
    let may = |place: Place<'_>| -> Vec<&'static str> {
        let allowed = Action::ALL.iter().filter(|action| who.may(**action, place).is_ok());
        allowed.map(|action| action.word()).collect()
    };
    let covered = Role::ALL.into_iter().filter(|role| principal.grant.covers(*role));
    Json(Myself {
        covers: covered.map(Role::word).collect(),
        may: may(Place::Somewhere),
        may_everywhere: may(Place::Estate),
        actor: format!("{}/{}", principal.actor.kind, principal.actor.id),
        roles: principal.grant.roles.iter().map(|role| role.word()).collect(),
        sites: match &principal.grant.sites {
            estate::access::Sites::All => None,
            estate::access::Sites::Only(sites) => {
                Some(sites.iter().map(ToString::to_string).collect())
            }
        },
        password_temporary: principal.password_temporary,
    })
}

/// Service levels.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ServiceLevels)]
pub struct Standing {
    /// Since when they are measured (RFC 3339).
    pub since: String,
    /// Each, over the latest measurements.
    pub levels: Vec<Level>,
    /// Full sweeps so far.
    pub sweeps: u64,
    /// Decisions that a sweep found missing: each is a defect.
    pub missed: u64,
}

/// Service levels, as measured.
#[utoipa::path(get, path = "/v1/slo", tag = "standing",
    responses((status = 200, body = Standing), (status = "default", body = Problem)))]
pub async fn levels(State(api): State<Api>) -> Json<Standing> {
    let (sweeps, missed) = api.pdp.levels.sweeps();
    Json(Standing { since: api.started.to_string(), levels: api.pdp.levels.all(), sweeps, missed })
}

/// Figures in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "standing",
    responses((status = 200, body = String, content_type = "text/plain"), (status = "default", body = Problem)))]
pub async fn metrics(State(api): State<Api>) -> Response {
    let mut text = String::new();
    let mut figure = |name: &str, kind: &str, what: &str, values: &[(String, u64)]| {
        let _ = writeln!(text, "# HELP ringfence_{name} {what}\n# TYPE ringfence_{name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(text, "ringfence_{name}{labels} {value}");
        }
    };
    let (entries, devices, sites) = api.hub.read(|estate| {
        let of = |state: Life| {
            let count = estate.devices().iter().filter(|d| d.state == state).count();
            (format!("{{state=\"{}\"}}", state.word()), u64::try_from(count).unwrap_or(u64::MAX))
        };
        let behind = estate.sites().iter().filter(|s| s.intended.is_some()).map(|site| {
            let intended = site.intended.as_ref().map_or(0, |bundle| bundle.generation);
            let behind = intended.saturating_sub(site.verified.unwrap_or(0));
            (format!("{{site=\"{}\"}}", site.id), behind)
        });
        (
            estate.size(),
            [Life::Active, Life::Stale, Life::Retired].map(of),
            behind.collect::<Vec<_>>(),
        )
    });
    figure("journal_entries", "counter", "Entries of the journal.", &[(String::new(), entries)]);
    figure(
        "journal_unwritable",
        "gauge",
        "1 while changes cannot be written.",
        &[(String::new(), u64::from(api.hub.is_stuck()))],
    );
    figure("devices", "gauge", "Devices by state.", &devices);
    figure(
        "site_generations_behind",
        "gauge",
        "Generations between intended and verified.",
        &sites,
    );
    figure(
        "logins",
        "counter",
        "Logins that were tried.",
        &api.who.tries().map(|(word, count)| (format!("{{result=\"{word}\"}}"), count)),
    );
    figure(
        "commitments",
        "counter",
        "Signed commitments that were brought.",
        &api.hub.desk().counted().map(|(word, count)| (format!("{{result=\"{word}\"}}"), count)),
    );
    if let Some(est) = &api.est {
        let counts = est.counts.all().map(|(word, n)| (format!("{{result=\"{word}\"}}"), n));
        figure("est", "counter", "Devices at the door of EST.", &counts);
    }
    let (sweeps, missed) = api.pdp.levels.sweeps();
    figure(
        "decision_sweeps",
        "counter",
        "Full sweeps over all decisions.",
        &[(String::new(), sweeps)],
    );
    figure(
        "decisions_missed",
        "counter",
        "Decisions that a sweep found missing.",
        &[(String::new(), missed)],
    );
    let levels = api.pdp.levels.all();
    let p99 = levels.iter().filter_map(|l| Some((format!("{{level=\"{}\"}}", l.name), l.p99_us?)));
    figure(
        "level_p99_microseconds",
        "gauge",
        "99th percentile of the latest measurements.",
        &p99.collect::<Vec<_>>(),
    );
    let flows = [(String::new(), api.hub.flows().rows())];
    figure("flows", "gauge", "Rows of telemetry: a device, a peer, an hour.", &flows);
    if let Some(line) = &api.line {
        let connected = u64::try_from(line.connected().len()).unwrap_or(u64::MAX);
        figure("line_connected", "gauge", "Sites connected now.", &[(String::new(), connected)]);
        for (name, what, count) in line.metrics.figures() {
            figure(name, "counter", what, &[(String::new(), count)]);
        }
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
