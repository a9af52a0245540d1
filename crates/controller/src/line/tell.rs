//! What a site says of itself: how far its generations are, what happened, what it sees.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use estate::{devices, sites};
use model::line::{Ack, Batch, Progress, Taken};
use model::{DeviceId, SiteId};
use serde_json::json;

use super::sessions::Session;
use super::{Line, actor, batch, blocking};
use crate::HubError;
use crate::api::Problem;

/// What a batch costs of a site's purse, and each thing that is in it costs a part.
const BATCH_COST: i64 = 2;
/// Things of a batch that cost one more.
const BATCH_PART: usize = 50;

/// How far a generation is.
pub(super) async fn ack(
    line: &Arc<Line>,
    session: &Arc<Session>,
    ack: Ack,
) -> Result<Response, Problem> {
    let (at, site) = (Arc::clone(line), session.site().clone());
    blocking(move || {
        at.spend(&site, 1)?;
        let Ack { generation, progress, kernel_generation, why } = ack;
        let progress = match progress {
            Progress::Refused => sites::Progress::Refused,
            Progress::Applied => sites::Progress::Applied,
            Progress::Verified => sites::Progress::Verified,
        };
        let ack = sites::Ack { generation, progress, kernel_generation, why };
        let command = sites::Command::Acknowledge { id: site.clone(), ack };
        let before = at.hub.read(|e| e.sites().get(&site).and_then(|known| known.verified));
        at.say(&site, "it says how far it is", estate::Command::Site(command))?;
        // The first word that the newest bundle was read back.
        let newest = at.pdp.bundle(&site).filter(|bundle| bundle.generation == generation);
        if let (sites::Progress::Verified, Some(bundle)) = (progress, newest)
            && before.is_none_or(|before| before < generation)
        {
            let took = at.hub.now().as_nanos().saturating_sub(bundle.since.as_nanos());
            at.pdp.levels.verified(took);
        }
        Ok(())
    })
    .await?;
    line.metrics.acks.up();
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A batch: what it saw first, then what happened; with that its number is durable. Cut between the two, it comes again, and what was
/// seen is seen again.
pub(super) async fn observations(
    line: &Arc<Line>,
    session: &Arc<Session>,
    packed: Bytes,
) -> Result<Response, Problem> {
    let (at, site) = (Arc::clone(line), session.site().clone());
    blocking(move || {
        let batch = batch::decode(&packed)
            .map_err(|error| Problem::invalid("the batch", error.to_string()))?;
        drop(packed);
        let told = at.told(&site);
        if batch.number <= told {
            at.metrics.batches_again.up();
            return Ok(Json(Taken { number: told }).into_response());
        }
        if batch.number != told.saturating_add(1) {
            return Ok(gap(batch.number, told.saturating_add(1)));
        }
        let parts = batch.events.len().saturating_add(batch.devices.len()) / BATCH_PART;
        at.spend(&site, BATCH_COST.saturating_add(i64::try_from(parts).unwrap_or(0)))?;
        at.see(&site, &batch)?;
        let (number, happened) = (batch.number, batch::happened(&batch));
        let command = sites::Command::Tell { id: site.clone(), number, happened };
        at.say(&site, "it tells what happened there", estate::Command::Site(command))?;
        at.metrics.batches.up();
        Ok(Json(Taken { number: at.told(&site) }).into_response())
    })
    .await
}

impl Line {
    /// Highest number of a site that is durable.
    fn told(&self, site: &SiteId) -> u64 {
        self.hub.read(|estate| estate.sites().get(site).map_or(0, |site| site.told))
    }

    /// Devices as its sensor knows them. One that the estate does not take does not hold up the others.
    fn see(&self, site: &SiteId, batch: &Batch) -> Result<(), Problem> {
        let report = |devices: Vec<devices::Facts>| devices::Command::Report {
            site: site.clone(),
            source: "sensor".to_owned(),
            devices,
        };
        let mut all = Vec::new();
        for seen in &batch.devices {
            let id = DeviceId::new(&self.hub.id("dev")?);
            let id =
                id.map_err(|error| Problem::invalid("the id of a device", error.to_string()))?;
            all.extend(batch::facts(seen, id));
        }
        let had = batch.devices.len();
        let now = self.hub.now();
        self.hub.read(|estate| {
            all.retain(|facts| estate.devices().decide(&report(vec![facts.clone()]), now).is_ok());
        });
        self.metrics.devices_refused.more(had.saturating_sub(all.len()));
        if all.is_empty() {
            return Ok(());
        }
        self.say(site, "its sensor sees them", estate::Command::Device(report(all)))
    }

    /// Does what a site commands, in its name.
    fn say(&self, site: &SiteId, why: &str, command: estate::Command) -> Result<(), Problem> {
        let who = actor(site).map_err(HubError::from)?;
        self.hub.command(&who, why, command, BTreeSet::new())?;
        Ok(())
    }
}

/// A batch that comes too early, with the number that is wanted.
fn gap(number: u64, wanted: u64) -> Response {
    let problem = Problem::new(
        StatusCode::CONFLICT,
        "site.gap",
        format!("batch {number}"),
        format!("batch {wanted} is wanted first"),
    );
    let mut body = json!(problem);
    if let Some(members) = body.as_object_mut() {
        members.insert("wanted".to_owned(), json!(wanted));
    }
    let mut response = (StatusCode::CONFLICT, Json(body)).into_response();
    let kind = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
