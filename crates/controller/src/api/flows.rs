//! Who a device talked to, and how much: telemetry of its site's sensor.

use axum::Json;
use axum::extract::State;
use model::{DeviceId, Timestamp};
use serde::{Deserialize, Serialize};
use store::flows::{self, Key};
use utoipa::ToSchema;

use super::devices::id_of;
use super::page::{self, Paging};
use super::{Api, Path, Problem, Query, Who};

const HOUR_NANOS: i64 = 3_600_000_000_000;

/// What a device exchanged with one peer in one hour.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Flow {
    /// Whose it is.
    pub device: String,
    /// Beginning of the hour (RFC 3339).
    pub hour: String,
    /// `client`: the device called. `server`: it was called. `either`: both talked, and who called was not seen. `others`: the sum of all
    /// peers of this hour that have no row of their own.
    pub role: &'static str,
    /// The peer, where it is a device of the estate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Address of the peer: of the network, or of the link where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// `tcp`, `udp`, `icmp`, `ip`, `link`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// Port of whoever was called; number of the protocol where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Application protocol, where its bytes were recognised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Name of whoever was called, as the other one knew it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// First packet in this hour (RFC 3339).
    pub first_seen: String,
    /// Last packet in this hour (RFC 3339).
    pub last_seen: String,
    /// Connections or exchanges that began.
    pub flows: u64,
    /// Packets that the device sent.
    pub packets_out: u64,
    /// Packets that it got.
    pub packets_in: u64,
    /// Bytes that the device sent, as on the wire.
    pub bytes_out: u64,
    /// Bytes that it got.
    pub bytes_in: u64,
}

/// What a device exchanged with everybody in one hour.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FlowHour {
    /// Beginning of the hour (RFC 3339).
    pub hour: String,
    /// Packets that the device sent.
    pub packets_out: u64,
    /// Packets that it got.
    pub packets_in: u64,
    /// Bytes that the device sent.
    pub bytes_out: u64,
    /// Bytes that it got.
    pub bytes_in: u64,
}

/// Who a device talked to: the newest hour first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Flows {
    /// What is on this page.
    pub items: Vec<Flow>,
    /// `page` of the next one; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Sums of every hour that is kept, the oldest first; on the first page only. An hour without traffic is not in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<Vec<FlowHour>>,
}

/// A place in the list, as a page token holds it.
#[derive(Serialize, Deserialize)]
struct Place(i64, String, bool, String, String, String, u16);

/// Who a device talked to, by hour: what its site's sensor saw of conversations that came to be. It is telemetry: kept for two weeks at
/// most, for less where there is much of it, and in no journal. A site tells of it once a minute.
#[utoipa::path(get, path = "/v1/devices/{id}/flows", tag = "devices", params(("id" = String, Path), Paging),
    responses((status = 200, body = Flows), (status = "default", body = Problem)))]
pub async fn list(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Flows>, Problem> {
    let wanted = id_of(&id)?;
    let limit = paging.limit()?;
    let after = paging.after()?.map(|text| {
        let wrong = |_| Problem::invalid("the page", "it is no `next` of an earlier answer");
        serde_json::from_str::<Place>(&text).map(key).map_err(wrong)
    });
    let after = after.transpose()?;
    let found: Option<(String, Vec<String>)> = api.hub.read(|estate| {
        let device = estate.devices().get(&wanted).filter(|device| who.sees(&device.site))?;
        let ids = device.aliases.iter().chain([&device.id]);
        Some((device.id.to_string(), ids.map(ToString::to_string).collect()))
    });
    let (device, ids) =
        found.ok_or_else(|| Problem::unknown("device.unknown", format!("device {id}")))?;
    api.blocking(move |hub| {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut rows = hub.flows().page(&ids, after.as_ref(), limit.saturating_add(1))?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| token(&row.key));
        let hours = match after {
            None => Some(hub.flows().hours(&ids)?.into_iter().map(FlowHour::from).collect()),
            Some(_) => None,
        };
        let items = hub.read(|estate| {
            let seen = |id: &str| {
                let peer = estate.devices().get(&DeviceId::new(id).ok()?)?;
                who.sees(&peer.site).then(|| peer.id.to_string())
            };
            rows.into_iter().map(|row| flow(row, &device, &seen)).collect()
        });
        Ok(Json(Flows { items, next, hours }))
    })
    .await
}

fn flow(row: flows::Flow, device: &str, seen: &dyn Fn(&str) -> Option<String>) -> Flow {
    let time = |nanos: i64| Timestamp::from_nanos(nanos).to_string();
    let Key { hour, called, peer, address, transport, port, .. } = row.key;
    let is_one = !address.is_empty();
    let ([packets_out, packets_in], [bytes_out, bytes_in]) = (row.packets, row.bytes);
    Flow {
        device: device.to_owned(),
        hour: begin(hour),
        role: match (is_one, row.certain, called) {
            (false, ..) => "others",
            (true, false, _) => "either",
            (true, true, false) => "client",
            (true, true, true) => "server",
        },
        peer: seen(&peer),
        address: is_one.then_some(address),
        transport: is_one.then_some(transport),
        port: is_one.then_some(port),
        protocol: row.protocol,
        name: row.name,
        first_seen: time(row.first),
        last_seen: time(row.last),
        flows: row.flows,
        packets_out,
        packets_in,
        bytes_out,
        bytes_in,
    }
}

impl From<flows::Hour> for FlowHour {
    fn from(of: flows::Hour) -> Self {
        let ([packets_out, packets_in], [bytes_out, bytes_in]) = (of.packets, of.bytes);
        Self { hour: begin(of.hour), packets_out, packets_in, bytes_out, bytes_in }
    }
}

/// When an hour begins.
fn begin(hour: i64) -> String {
    Timestamp::from_nanos(hour.saturating_mul(HOUR_NANOS)).to_string()
}

fn token(key: &Key) -> String {
    let Key { hour, device, called, peer, address, transport, port } = key.clone();
    let place = Place(hour, device, called, peer, address, transport, port);
    // Texts and numbers: they can always be written.
    page::token(&serde_json::to_string(&place).unwrap_or_default())
}

fn key(Place(hour, device, called, peer, address, transport, port): Place) -> Key {
    Key { hour, device, called, peer, address, transport, port }
}
