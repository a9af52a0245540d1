//! What a site says of who talked to whom: told of by address, kept by device.
//!
//! An address is a device's when the link address is, and the network address is one that it is known by; else when the site's sensor knows
//! a device by that network address alone. What is neither is no device's: what a router forwards is not its own.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use estate::devices::Device;
use model::line::{End, FLOWS_MAX, Flow, Traffic};
use model::{Mac, SiteId};
use store::flows::{HOURS_MAX, Key};

use super::sessions::Session;
use super::{Line, batch, blocking};
use crate::api::Problem;

/// What a report costs of a site's purse, and flows that cost one more.
const COST: i64 = 1;
const PART: usize = 200;
const HOUR_NANOS: i64 = 3_600_000_000_000;

/// A report of traffic.
pub(super) async fn traffic(
    line: &Arc<Line>,
    session: &Arc<Session>,
    packed: Bytes,
) -> Result<Response, Problem> {
    let (at, site) = (Arc::clone(line), session.site().clone());
    blocking(move || {
        let invalid = |why: String| Problem::invalid("the report of traffic", why);
        let report: Traffic = batch::unpack(&packed).map_err(|error| invalid(error.to_string()))?;
        drop(packed);
        if report.flows.len() > FLOWS_MAX {
            let why = format!("it has {} flows, and {FLOWS_MAX} is the most", report.flows.len());
            return Err(invalid(why));
        }
        let parts = i64::try_from(report.flows.len() / PART).unwrap_or(0);
        at.spend(&site, COST.saturating_add(parts))?;
        at.carried(&site, &report)?;
        at.metrics.traffic.up();
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

impl Line {
    fn carried(&self, site: &SiteId, report: &Traffic) -> Result<(), Problem> {
        let now = hour(self.hub.now().as_nanos());
        // What a clock that is wrong says of other weeks is kept under no hour.
        let is_kept = |flow: &&Flow| {
            let hour = hour(flow.last.as_nanos());
            (now.saturating_sub(HOURS_MAX)..=now.saturating_add(1)).contains(&hour)
        };
        let mut rows = Vec::new();
        let mut unknown = 0_usize;
        self.hub.read(|estate| {
            let of = |end: &End| of(estate, site, end);
            for flow in report.flows.iter().filter(is_kept) {
                let (client, server) = (of(&flow.client), of(&flow.server));
                if client.is_none() && server.is_none() {
                    unknown = unknown.saturating_add(1);
                }
                let ids = [client, server].map(|device| device.map(|d| d.id.to_string()));
                let [client, server] = ids;
                // A device that talks to itself is no path.
                if client == server {
                    continue;
                }
                if let Some(device) = &client {
                    rows.push(row(flow, device, server.as_deref(), false));
                }
                if let Some(device) = &server {
                    rows.push(row(flow, device, client.as_deref(), true));
                }
            }
        });
        self.metrics.flows_unknown.more(unknown);
        let number = (report.run.as_nanos(), report.number);
        self.hub.flows().add(site.as_str(), number, &rows, now).map_err(|error| {
            let code = "flows.unwritten";
            let problem = Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                code,
                "traffic is not kept",
                error.to_string(),
            );
            problem.help("what sites enforce and what the journal says does not depend on it")
        })
    }
}

/// The device that was at an end.
fn of<'e>(estate: &'e estate::Estate, site: &SiteId, end: &End) -> Option<&'e Device> {
    let devices = estate.devices();
    let by_mac = devices.by_key(&format!("mac/{}", end.mac), site).filter(|device| {
        let knows = |ip| device.addresses.is_empty() || device.addresses.contains(&ip);
        end.ip.is_none_or(knows)
    });
    let by_ip = || devices.by_subject(site, "sensor", &format!("ip/{}", end.ip?));
    by_mac.or_else(by_ip).filter(|device| device.site == *site)
}

/// What a flow is to one of its ends.
fn row(flow: &Flow, device: &str, peer: Option<&str>, called: bool) -> store::flows::Flow {
    let end = if called { flow.client } else { flow.server };
    let turned = |[out, back]: [u64; 2]| if called { [back, out] } else { [out, back] };
    let (address, transport) = match end.ip {
        Some(ip) => (ip.to_string(), flow.transport.word()),
        // The sum of all for which there is no row.
        None if end.mac == Mac::ZERO => (String::new(), ""),
        None => (end.mac.to_string(), flow.transport.word()),
    };
    let key = Key {
        hour: hour(flow.last.as_nanos()),
        device: device.to_owned(),
        called,
        peer: peer.unwrap_or_default().to_owned(),
        address,
        transport: transport.to_owned(),
        port: flow.port,
    };
    store::flows::Flow {
        key,
        protocol: flow.protocol.as_deref().and_then(batch::text),
        name: flow.name.as_deref().and_then(batch::text),
        certain: flow.certain,
        first: flow.first.min(flow.last).as_nanos(),
        last: flow.last.as_nanos(),
        flows: flow.flows,
        packets: turned(flow.packets),
        bytes: turned(flow.bytes),
    }
}

const fn hour(nanos: i64) -> i64 {
    nanos.div_euclid(HOUR_NANOS)
}
