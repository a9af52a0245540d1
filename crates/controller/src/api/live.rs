//! Changes as they happen: Server-Sent Events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use estate::access::Principal;
use estate::access::rbac::{self, Action, Place};
use futures_core::Stream;
use model::DeviceId;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use super::{Api, Problem, Who, bearer};

/// How often somebody who hears nothing is looked at.
const STILL: Duration = Duration::from_secs(15);

/// Every change that who asks may see, from now on; `id` is the number of its entry. When a reader is too slow, `missed` tells it to read
/// anew. It ends with the session or the token that it was asked with.
#[utoipa::path(get, path = "/v1/events", tag = "live",
    responses((status = 200, body = String, content_type = "text/event-stream"), (status = "default", body = Problem)))]
pub async fn events(
    State(api): State<Api>,
    _who: Who,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut changes = api.hub.watch();
    let token = bearer(&headers).unwrap_or_default().to_owned();
    let stream = async_stream::stream! {
        loop {
            let told = tokio::time::timeout(STILL, changes.recv()).await;
            // Roles and sites are those of now.
            let Some(who) = api.who.still(&token).filter(|who| !who.password_temporary) else {
                return;
            };
            let told = match told {
                Ok(Ok(told)) => told,
                Ok(Err(RecvError::Lagged(missed))) => {
                    yield Ok(Event::default().event("missed").data(missed.to_string()));
                    continue;
                }
                Ok(Err(RecvError::Closed)) => return,
                Err(_elapsed) => continue,
            };
            let seen: Vec<serde_json::Value> =
                told.events.iter().filter_map(|event| shown(&api, &who, event)).collect();
            if seen.is_empty() {
                continue;
            }
            let data = json!({
                "entry": told.entries.start,
                "at": told.at,
                "who": format!("{}/{}", told.who.kind, told.who.id),
                "events": seen,
            });
            yield Ok(Event::default().id(told.entries.start.to_string()).event("change").data(data.to_string()));
        }
    };
    Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}

/// An event as somebody may see it; `None`: not at all.
fn shown(api: &Api, principal: &Principal, event: &estate::Event) -> Option<serde_json::Value> {
    let may = |action, place: Place<'_>| rbac::may(principal, action, place).is_ok();
    let (area, value) = match event {
        estate::Event::Device(event) => {
            let sees = api.hub.read(|estate| {
                let mut devices = event.devices().iter();
                devices.all(|id| {
                    let device = estate.devices().get(id);
                    device.is_none_or(|device| principal.grant.sites.admits(&device.site))
                })
            });
            (sees && may(Action::DevicesRead, Place::Somewhere))
                .then(|| ("device", json!(event)))?
        }
        estate::Event::Site(event) => {
            may(Action::SitesRead, Place::At(event.site())).then(|| ("site", json!(event)))?
        }
        estate::Event::Team(event) => {
            may(Action::TeamsRead, Place::Somewhere).then(|| ("team", json!(event)))?
        }
        estate::Event::View(event) => {
            may(Action::ViewsRead, Place::Somewhere).then(|| ("view", json!(event)))?
        }
        estate::Event::Exception(event) => {
            let sees = api.hub.read(|estate| {
                let device = estate.devices().get(event.device());
                device.is_none_or(|device| principal.grant.sites.admits(&device.site))
            });
            (sees && may(Action::ExceptionsRead, Place::Somewhere))
                .then(|| ("exception", json!(event)))?
        }
        // What may be measured is for those who look at the release.
        estate::Event::Release(estate::releases::Event::Continued { .. }) => return None,
        estate::Event::Release(event) => {
            may(Action::ReleasesRead, Place::Somewhere).then(|| ("release", json!(event)))?
        }
        estate::Event::Policy(event) => {
            may(Action::PoliciesRead, Place::Somewhere).then(|| ("policy", json!(event)))?
        }
        estate::Event::Lease(event) => {
            let estate::leases::Event::Decided(decision) = event;
            may(Action::LeasesRead, Place::At(&decision.subject.site))
                .then(|| ("lease", json!(event)))?
        }
        // What devices commit to is no change that anybody watches for; what is found is.
        estate::Event::Commitment(estate::commitments::Event::Committed { .. }) => return None,
        estate::Event::Commitment(event) => {
            let sees = api.hub.read(|estate| {
                event.devices().into_iter().all(|name| {
                    let device = DeviceId::new(name).ok();
                    let device = device.and_then(|id| estate.devices().get(&id));
                    device.is_none_or(|device| principal.grant.sites.admits(&device.site))
                })
            });
            (sees && may(Action::DevicesRead, Place::Somewhere))
                .then(|| ("commitment", json!(event)))?
        }
        estate::Event::Identity(event) => {
            let sees = api.hub.read(|estate| {
                let mut devices = event.devices().iter();
                devices.all(|id| {
                    let device = estate.devices().get(id);
                    device.is_none_or(|device| principal.grant.sites.admits(&device.site))
                })
            });
            (sees && may(Action::IdentitiesRead, Place::Somewhere))
                .then(|| ("identity", json!(event)))?
        }
        estate::Event::Access(event) => {
            may(Action::OperatorsRead, Place::Estate).then(|| ("access", json!(event)))?
        }
    };
    Some(json!({ "area": area, "event": value }))
}
