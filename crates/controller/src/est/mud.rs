//! The description that a certificate or a request names (MUD URL, RFC 8520 §11): what the estate believes of where it is. It opens nothing by itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use estate::devices::{Command, Facts, Field, Said};
use model::DeviceId;
use pki::request::Request;

use super::Est;
use super::door::Caller;
use super::enrol::actor;
use crate::HubError;

/// The source that certificates are.
const SOURCE: &str = "import/certificate";
/// How sure it is, in percent: what a maker signed, and what a device says of itself.
const SIGNED: u8 = 95;
const CLAIMED: u8 = 60;

/// Tells the estate of it, once: the device has its certificate, whatever comes of this.
pub(super) async fn tell(est: &Arc<Est>, caller: &Caller, device: &DeviceId, request: &Request) {
    let signed = caller.idevid.as_ref().and_then(|idevid| idevid.mud_url());
    let signed = signed.map(|url| (url.to_owned(), SIGNED));
    let Some((url, confidence)) = signed.or_else(|| Some((request.mud_url.clone()?, CLAIMED)))
    else {
        return;
    };
    let (at, id) = (Arc::clone(est), device.clone());
    let done = tokio::task::spawn_blocking(move || at.believe(&id, url, confidence)).await;
    if let Ok(Err(error)) = done {
        (est.told)(&format!("est: the MUD URL of {device} is not written down: {error}"));
    }
}

impl Est {
    fn believe(&self, id: &DeviceId, url: String, confidence: u8) -> Result<(), HubError> {
        let now = self.hub.now();
        let site = self.hub.read(|estate| {
            let device = estate.devices().get(id)?;
            let claims = device.claims().iter().filter(|claim| claim.field == Field::MudUrl);
            let mut known = claims.filter(|claim| &*claim.source == SOURCE && *claim.value == *url);
            known.next().is_none().then(|| device.site.clone())
        });
        let Some(site) = site else { return Ok(()) };
        let detail = "named where it enrolled".to_owned();
        let said = Said { field: Field::MudUrl, value: Some(url), detail, confidence, at: now };
        let facts = Facts {
            id: id.clone(),
            subject: id.to_string(),
            keys: Vec::new(),
            addresses: None,
            said: vec![said],
            first_seen: now,
            last_seen: now,
        };
        let report = Command::Report { site, source: SOURCE.to_owned(), devices: vec![facts] };
        let command = estate::Command::Device(report);
        let why = "its certificate or its request names its description";
        self.hub.command(&actor()?, why, command, BTreeSet::new()).map(drop)
    }
}
