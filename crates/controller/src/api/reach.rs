//! Who may reach what, why, and how far somebody who takes a device over gets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use estate::access::rbac::{Action, Place};
use model::DeviceId;
use model::observation::Transport;
use model::ruleset::Mode;
use policy::folder::Zone;
use policy::impact::{self, Step};
use policy::lower::Change;
use policy::reach;
use policy::sketch::{Edge, Node, Sketch, sketch};
use policy::why::{Explanation, explain};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Api, Body, Path, Problem, Query, Who};
use crate::blobs::Files;
use crate::pdp::{PolicyError, View};

/// Devices that are named of those that somebody reaches; all are counted.
const NAMED_MAX: usize = 1_000;

/// Of when an answer is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AsOf {
    /// The moment (RFC 3339): at most a second before the question.
    pub at: String,
    /// Entries of the journal that it has.
    pub entries: u64,
    /// SHA-256 of the policy folder's content, in hex.
    pub policy: String,
}

impl AsOf {
    fn of(view: &View) -> Self {
        Self { at: view.at.to_string(), entries: view.entries, policy: view.content.clone() }
    }
}

/// Zones, services, and who may reach what.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Matrix {
    /// Of when it is.
    pub as_of: AsOf,
    /// Zones that have devices, and those that services are in.
    pub zones: Vec<ZoneRow>,
    /// Services.
    pub services: Vec<ServiceColumn>,
    /// Where something is granted, or would be: the others are denied.
    pub cells: Vec<Cell>,
}

/// A zone.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ZoneRow {
    /// Its id.
    pub id: String,
    /// Its site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// `shadow`: what is denied passes and is counted. `enforce`: it is dropped.
    pub mode: &'static str,
    /// Percent of its devices that `enforce` holds for.
    pub share: u8,
    /// Devices in it.
    pub devices: u64,
}

/// A service.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ServiceColumn {
    /// Its id.
    pub id: String,
    /// For people.
    pub name: String,
    /// Device that offers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Zone that it is in.
    pub zone: String,
    /// `tcp`, `udp`, …
    pub transport: &'static str,
    /// Port.
    pub port: u16,
    /// Devices without an owner do not get it.
    pub sensitive: bool,
}

/// A zone and a service.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Cell {
    /// Number of the zone, from 0.
    pub zone: usize,
    /// Number of the service, from 0.
    pub service: usize,
    /// Devices of the zone that are granted it.
    pub granted: u64,
    /// Devices that policies in shadow would take it from.
    pub would_close: u64,
    /// Devices that policies in shadow would grant it.
    pub would_open: u64,
    /// Policies that grant it.
    pub policies: Vec<String>,
}

/// Who may reach what, zone by service, in sites that who asks may see.
#[utoipa::path(get, path = "/v1/reach/matrix", tag = "reach",
    responses((status = 200, body = Matrix), (status = "default", body = Problem)))]
pub async fn matrix(State(api): State<Api>, who: Who) -> Result<Json<Matrix>, Problem> {
    let view = view(&api).await?;
    off_thread(move || Json(matrix_of(&view, &who))).await
}

fn matrix_of(view: &View, who: &Who) -> Matrix {
    let estate = &view.folder.estate;
    let numbers: BTreeMap<&str, usize> =
        estate.zones.iter().enumerate().map(|(n, zone)| (zone.id.as_str(), n)).collect();
    // Devices of a zone that have the same grants are counted once.
    let mut alike: BTreeMap<(usize, u32), u64> = BTreeMap::new();
    let mut devices = vec![0_u64; estate.zones.len()];
    for (number, device) in estate.devices.iter().enumerate() {
        let seen = view.site(number).is_some_and(|site| who.sees(site));
        let zone = numbers.get(device.zone.as_str()).filter(|_| seen);
        let profile = view.lowered.profile_of.get(number);
        let Some((zone, profile)) = zone.zip(profile) else { continue };
        add(alike.entry((*zone, *profile)).or_default(), 1);
        if let Some(count) = devices.get_mut(*zone) {
            add(count, 1);
        }
    }
    #[derive(Default)]
    struct Count<'p> {
        granted: u64,
        would_close: u64,
        would_open: u64,
        policies: BTreeSet<&'p str>,
    }
    let mut cells: BTreeMap<(usize, usize), Count<'_>> = BTreeMap::new();
    for ((zone, profile), count) in &alike {
        let grants = view.lowered.profiles.get(index(*profile)).map_or(&[][..], Vec::as_slice);
        for grant in grants {
            let cell = cells.entry((*zone, index(grant.service))).or_default();
            add(&mut cell.granted, *count);
            let policy = view.folder.policies.get(index(grant.policy));
            cell.policies.extend(policy.map(|policy| policy.id.as_str()));
        }
        for shadow in view.lowered.shadows(*profile) {
            let cell = cells.entry((*zone, index(shadow.service))).or_default();
            match shadow.change {
                Change::Close => add(&mut cell.would_close, *count),
                Change::Open => add(&mut cell.would_open, *count),
            }
        }
    }
    // Of other sites only what devices of one's own may reach is told.
    let seen = |zone: &Zone| zone.site.as_ref().is_none_or(|site| who.sees(site));
    let zones = Kept::of(estate.zones.iter().map(&seen));
    let reached: BTreeSet<usize> = cells.keys().map(|(_, service)| *service).collect();
    let services = Kept::of(estate.services.iter().enumerate().map(|(number, service)| {
        let zone = numbers.get(service.zone.as_str()).and_then(|zone| estate.zones.get(*zone));
        reached.contains(&number) || zone.is_none_or(seen)
    }));
    let cells = cells.into_iter().filter_map(|((zone, service), count)| {
        Some(Cell {
            zone: zones.place(zone)?,
            service: services.place(service)?,
            granted: count.granted,
            would_close: count.would_close,
            would_open: count.would_open,
            policies: count.policies.into_iter().map(str::to_owned).collect(),
        })
    });
    let cells = cells.collect();
    let zones = zones.only(estate.zones.iter().zip(devices)).map(|(zone, devices)| ZoneRow {
        id: zone.id.clone(),
        site: zone.site.as_ref().map(ToString::to_string),
        mode: mode(zone.mode),
        share: zone.share.unwrap_or(100),
        devices,
    });
    let services = services.only(estate.services.iter()).map(|service| ServiceColumn {
        id: service.id.to_string(),
        name: service.name.clone(),
        device: service.device.as_ref().map(ToString::to_string),
        zone: service.zone.clone(),
        transport: service.transport.word(),
        port: service.port,
        sensitive: service.sensitive,
    });
    Matrix { as_of: AsOf::of(view), zones: zones.collect(), services: services.collect(), cells }
}

/// Which of a list are told, and their places among those.
struct Kept(Vec<Option<usize>>);

impl Kept {
    fn of(told: impl Iterator<Item = bool>) -> Self {
        let mut next = 0_usize;
        let place = |told: bool| {
            told.then(|| {
                let place = next;
                next = next.saturating_add(1);
                place
            })
        };
        Self(told.map(place).collect())
    }

    fn place(&self, number: usize) -> Option<usize> {
        self.0.get(number).copied().flatten()
    }

    fn only<T>(&self, all: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        all.zip(&self.0).filter_map(|(one, place)| place.map(|_| one))
    }
}

/// What one device reaches.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Reached {
    /// Of when it is.
    pub as_of: AsOf,
    /// The device.
    pub device: String,
    /// Services that it is granted.
    pub granted: Vec<GrantedService>,
    /// Devices that somebody reaches who takes it over, nearest first: the first thousand of those that who asks may see.
    pub taken_over: Vec<Hop>,
    /// All of them.
    pub taken_over_devices: usize,
    /// Services that somebody reaches who takes it over.
    pub taken_over_services: usize,
}

/// A service that is granted.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct GrantedService {
    /// Its id.
    pub service: String,
    /// Policy that grants it.
    pub policy: String,
    /// File of the policy.
    pub file: String,
    /// Line of the policy.
    pub line: u32,
}

/// A device that is reached, and how.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Hop {
    /// The device.
    pub device: String,
    /// Hops to it.
    pub hops: u32,
    /// Device from which the last hop goes.
    pub from: String,
    /// Service that the last hop opens.
    pub through: String,
    /// Policy that grants it.
    pub policy: String,
}

impl From<Step> for Hop {
    fn from(step: Step) -> Self {
        Self {
            device: step.device.to_string(),
            hops: step.hops,
            from: step.from.to_string(),
            through: step.through.to_string(),
            policy: step.rule.rule,
        }
    }
}

/// What a device reaches, and what somebody would who takes it over.
#[utoipa::path(get, path = "/v1/reach/devices/{id}", tag = "reach", params(("id" = String, Path)),
    responses((status = 200, body = Reached), (status = "default", body = Problem)))]
pub async fn device(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
) -> Result<Json<Reached>, Problem> {
    let view = view(&api).await?;
    let number = device_of(&api, &view, &who, &id)?;
    off_thread(move || {
        let (folder, lowered) = (&view.folder, &view.lowered);
        let granted = lowered.grants(number).iter().filter_map(|grant| {
            let policy = folder.policies.get(index(grant.policy))?;
            Some(GrantedService {
                service: folder.estate.services.get(index(grant.service))?.id.to_string(),
                policy: policy.id.clone(),
                file: policy.file.clone(),
                line: policy.line,
            })
        });
        let taken = impact::takeover(folder, lowered, number);
        let (steps, services) = taken.map_or_else(Default::default, |t| (t.devices, t.services));
        let sees = |id: &DeviceId| {
            view.number(id).and_then(|n| view.site(n)).is_some_and(|site| who.sees(site))
        };
        let seen = |step: &Step| sees(&step.device) && sees(&step.from);
        Json(Reached {
            as_of: AsOf::of(&view),
            device: id,
            granted: granted.collect(),
            taken_over_devices: steps.len(),
            taken_over_services: services.len(),
            taken_over: steps.into_iter().filter(seen).take(NAMED_MAX).map(Hop::from).collect(),
        })
    })
    .await
}

/// A map of zones, with places.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Map {
    /// Of when it is.
    pub as_of: AsOf,
    /// What is drawn.
    pub nodes: Vec<MapNode>,
    /// Who may open services of whom.
    pub edges: Vec<MapEdge>,
}

/// Zones that are drawn as one.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MapNode {
    /// What it stands for: a zone, `SITE/CLASS`, or a site.
    pub id: String,
    /// Zones that are in it.
    pub zones: u64,
    /// Devices that are in it.
    pub devices: u64,
    /// Services that are offered in it.
    pub services: u64,
    /// It is outside of the estate.
    pub outside: bool,
    /// All of its zones are enforced, rather than in shadow.
    pub enforced: bool,
    /// From the left, 0 to 1.
    pub x: f64,
    /// From the top, 0 to 1.
    pub y: f64,
}

/// Devices of one node may open services of another, or of their own.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MapEdge {
    /// Number of the node that opens, from 0.
    pub from: usize,
    /// Number of the node that offers.
    pub to: usize,
    /// Pairs of a device and a service.
    pub pairs: u64,
    /// Services that are opened by at least one.
    pub services: u64,
}

impl From<Node> for MapNode {
    fn from(node: Node) -> Self {
        let Node { id, zones, devices, services, outside, enforced, x, y } = node;
        Self { id, zones, devices, services, outside, enforced, x, y }
    }
}

impl From<Edge> for MapEdge {
    fn from(edge: Edge) -> Self {
        let Edge { from, to, pairs, services } = edge;
        Self { from, to, pairs, services }
    }
}

/// A map of who reaches whom: zones, aggregated until they are few enough to be read, and where to draw them.
#[utoipa::path(get, path = "/v1/reach/map", tag = "reach",
    responses((status = 200, body = Map), (status = "default", body = Problem)))]
pub async fn map(State(api): State<Api>, who: Who) -> Result<Json<Map>, Problem> {
    let view = view(&api).await?;
    off_thread(move || {
        let counts = |device| view.site(device).is_some_and(|site| who.sees(site));
        let seen = |zone: &Zone| zone.site.as_ref().is_none_or(|site| who.sees(site));
        let Sketch { nodes, edges } = sketch(&view.folder, &view.lowered, &counts, &seen);
        Json(Map {
            as_of: AsOf::of(&view),
            nodes: nodes.into_iter().map(MapNode::from).collect(),
            edges: edges.into_iter().map(MapEdge::from).collect(),
        })
    })
    .await
}

/// Who reaches most.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Worst {
    /// Of when it is.
    pub as_of: AsOf,
    /// The devices from which somebody gets furthest, the furthest first.
    pub devices: Vec<Radius>,
}

/// How far somebody gets from a device.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Radius {
    /// The device.
    pub device: String,
    /// Services of others in a flat network.
    pub flat_services: u64,
    /// Services that it is granted.
    pub direct_services: u64,
    /// Services that are reached by hopping.
    pub transitive_services: u64,
    /// Devices that are reached by hopping.
    pub transitive_devices: u64,
}

/// The ten devices that reach most when somebody takes them over.
#[utoipa::path(get, path = "/v1/reach/worst", tag = "reach",
    responses((status = 200, body = Worst), (status = "default", body = Problem)))]
pub async fn worst(State(api): State<Api>, who: Who) -> Result<Json<Worst>, Problem> {
    who.may(Action::LeasesRead, Place::Estate)?;
    let view = view(&api).await?;
    off_thread(move || {
        let analysis = reach::analyse(&view.folder, &view.lowered);
        let reach = reach::summary(&view.folder, &analysis, 0);
        let devices = reach.worst.into_iter().map(|of| Radius {
            device: of.device.to_string(),
            flat_services: of.flat_services,
            direct_services: of.direct_services,
            transitive_services: of.transitive_services,
            transitive_devices: of.transitive_devices,
        });
        Json(Worst { as_of: AsOf::of(&view), devices: devices.collect() })
    })
    .await
}

/// A question about one path.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// Id of the device.
    pub device: String,
    /// Id of the service.
    pub service: String,
    /// Another port of its host.
    pub port: Option<u16>,
    /// Another transport: `tcp`, `udp`, …
    pub transport: Option<String>,
}

/// Whether a device may open a service, and the rule that decides; for a default deny, the nearest rule and what differs.
#[utoipa::path(get, path = "/v1/reach/why", tag = "reach", params(Asked),
    responses((status = 200, body = Object), (status = "default", body = Problem)))]
pub async fn why(
    State(api): State<Api>,
    who: Who,
    Query(asked): Query<Asked>,
) -> Result<Json<Explanation>, Problem> {
    let view = view(&api).await?;
    let device = device_of(&api, &view, &who, &asked.device)?;
    let services = &view.folder.estate.services;
    let service = services.iter().position(|service| service.id.as_str() == asked.service);
    let unknown = || {
        Problem::unknown("service.unknown", format!("service {}", asked.service)).help(
            "services are those of the policy folder in force; `GET /v1/reach/matrix` lists them",
        )
    };
    let service = service.ok_or_else(unknown)?;
    let transport = match asked.transport.as_deref() {
        None => None,
        Some(word) => Some(Transport::of(word).ok_or_else(|| {
            Problem::invalid("the transport", format!("`{word}` is none; `tcp` and `udp` are"))
        })?),
    };
    let own = services.get(service).map(|s| (s.transport, s.port));
    let at = own.filter(|_| transport.is_some() || asked.port.is_some());
    let at = at.map(|(t, p)| (transport.unwrap_or(t), asked.port.unwrap_or(p)));
    let now = api.hub.now();
    let why = off_thread(move || explain(&view.folder, &view.lowered, device, service, at, now));
    why.await?.map(Json).ok_or_else(unknown)
}

/// A folder that might be.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Relative path → text.
    pub files: Files,
}

/// What another policy folder would change of today's estate: paths that open and close, in groups; zones; exceptions; how far somebody gets; and
/// why it may not be set.
#[utoipa::path(post, path = "/v1/policy/plan", tag = "policy", request_body = Wanted,
    responses((status = 200, body = Object), (status = "default", body = Problem)))]
pub async fn plan(
    State(api): State<Api>,
    who: Who,
    Body(wanted): Body<Wanted>,
) -> Result<Json<policy::plan::Comparison>, Problem> {
    // It names the devices of every site.
    who.may(Action::PoliciesPlan, Place::Estate)?;
    let pdp = Arc::clone(&api.pdp);
    Ok(Json(off_thread(move || pdp.compare(&wanted.files)).await??))
}

async fn view(api: &Api) -> Result<Arc<View>, Problem> {
    let pdp = Arc::clone(&api.pdp);
    let view = off_thread(move || pdp.view()).await?.map_err(|error: PolicyError| error.into());
    view.and_then(|view| {
        view.ok_or_else(|| {
            let why = "no policy folder was set yet, so nothing reaches anything";
            Problem::new(StatusCode::NOT_FOUND, "policy.none", "reach", why)
                .help("`ringfence apply -f FOLDER` sets one")
        })
    })
}

/// The number of a device that who asks may see.
fn device_of(api: &Api, view: &View, who: &Who, id: &str) -> Result<usize, Problem> {
    let unknown = || Problem::unknown("device.unknown", format!("device {id}"));
    let wanted = DeviceId::new(id).map_err(|_| unknown())?;
    let known = api.hub.read(|estate| {
        let device = estate.devices().get(&wanted);
        device.filter(|device| who.sees(&device.site)).map(|device| device.id.clone())
    });
    let known = known.ok_or_else(unknown)?;
    view.number(&known).ok_or_else(|| {
        let why = "it is retired, or in no zone of the policy in force: it is granted nothing";
        Problem::new(StatusCode::NOT_FOUND, "device.nowhere", format!("device {id}"), why)
            .help("`ringfence edit ID zone=ZONE --why …` puts it into a zone")
    })
}

/// What takes longer than a request's thread has.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, "internal", "the request was given up", error.to_string())
    })
}

const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Shadow => "shadow",
        Mode::Enforce => "enforce",
    }
}

fn index(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

fn add(count: &mut u64, more: u64) {
    *count = count.saturating_add(more);
}
