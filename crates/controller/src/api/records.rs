//! Whether records are one device, and whether one that was retired is back: what only a person can say.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use estate::Command;
use estate::access::rbac::{Action, Place};
use estate::devices::{self, Field};
use model::DeviceId;
use serde::Deserialize;
use utoipa::ToSchema;

use super::devices::{Document, get, id_of};
use super::{Api, Body, Path, Problem, Who};

/// Which other record, and why.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Merge {
    /// The record that goes: its id leads to the device from then on.
    pub other: String,
    /// Why.
    pub why: String,
}

/// Two records are one device. It keeps its id; what is known of the other is known of it.
#[utoipa::path(post, path = "/v1/devices/{id}/merge", tag = "devices", params(("id" = String, Path)), request_body = Merge,
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn merge(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    Body(merge): Body<Merge>,
) -> Result<Response, Problem> {
    let [keep, other] = both(&api, &who, [&id, &merge.other], true)?;
    let command = devices::Command::Merge { keep, other };
    api.command(&who, merge.why, Command::Device(command)).await?;
    get(State(api), who, Path(id), HeaderMap::new()).await
}

/// Which other record, and why.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepApart {
    /// The other device.
    pub other: String,
    /// Why.
    pub why: String,
}

/// Two records that share an identifier are two devices: that is not asked again.
#[utoipa::path(post, path = "/v1/devices/{id}/apart", tag = "devices", params(("id" = String, Path)), request_body = KeepApart,
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn apart(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    Body(apart): Body<KeepApart>,
) -> Result<Response, Problem> {
    let [device, other] = both(&api, &who, [&id, &apart.other], false)?;
    let command = devices::Command::KeepApart { device, other };
    api.command(&who, apart.why, Command::Device(command)).await?;
    get(State(api), who, Path(id), HeaderMap::new()).await
}

/// Why.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Return {
    /// Why.
    pub why: String,
}

/// A retired device is back.
#[utoipa::path(post, path = "/v1/devices/{id}/return", tag = "devices", params(("id" = String, Path)), request_body = Return,
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn come_back(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    Body(back): Body<Return>,
) -> Result<Response, Problem> {
    let [device] = both(&api, &who, [&id], false)?;
    let command = devices::Command::Return { device };
    api.command(&who, back.why, Command::Device(command)).await?;
    get(State(api), who, Path(id), HeaderMap::new()).await
}

/// Devices that who asks may see. Two that become one end with one posture: who may not cut off cannot take a cut back this way.
fn both<const N: usize>(
    api: &Api,
    who: &Who,
    ids: [&str; N],
    merges: bool,
) -> Result<[DeviceId; N], Problem> {
    let mut wanted = Vec::new();
    let mut cut = false;
    for id in ids {
        let of = id_of(id)?;
        let seen = api.hub.read(|estate| {
            let device = estate.devices().get(&of).filter(|device| who.sees(&device.site))?;
            Some(device.claims().iter().any(|claim| claim.decided && claim.field == Field::Posture))
        });
        let decided =
            seen.ok_or_else(|| Problem::unknown("device.unknown", format!("device {id}")))?;
        cut |= decided;
        wanted.push(of);
    }
    if merges && cut {
        who.may(Action::DevicesQuarantine, Place::Somewhere)?;
    }
    wanted.try_into().map_err(|_| Problem::unknown("device.unknown", "the devices"))
}
