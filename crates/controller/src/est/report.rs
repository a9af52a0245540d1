//! What a device says of itself: its firmware's version, with its certificate. It is one more thing that is said about the device, by the source that is least sure,
//! and shows nothing of what runs: no level follows from it. What is said is in [`model::report`].

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use estate::devices::{Command, Field, OwnWord};
use estate::side::Digest;
use model::report::{BODY_BYTES_MAX, Noted, Report};

use super::Est;
use super::door::Caller;
use super::enrol::{actor, busy, too_early, whole};
use super::tpm::{document, json, nobody};
use super::wire::No;
use crate::HubError;
use crate::api::Problem;

/// A device says what runs on it.
pub(super) async fn answer(
    est: &Arc<Est>,
    caller: &Caller,
    head: &Parts,
    body: Body,
) -> Result<Response, No> {
    if head.method != Method::POST {
        return Err(No::new(StatusCode::METHOD_NOT_ALLOWED, "it takes POST"));
    }
    let (key, now) = (caller.key.ok_or_else(nobody)?, est.hub.now());
    // Each may be an entry of the journal.
    est.tpms.pace(key, now).map_err(|later| too_early(est, later))?;
    let bytes = whole(&head.headers, body, BODY_BYTES_MAX).await?;
    let said = words(document(&bytes)?)?;
    let device = est.hub.read(|estate| estate.speaks(&key, now).map(|device| device.id.clone()));
    let device = device.ok_or_else(nobody)?;
    let at = Arc::clone(est);
    let done = tokio::task::spawn_blocking(move || {
        let who = actor().map_err(HubError::from)?;
        let command = estate::Command::Device(Command::SelfReport { device, said });
        at.hub.command(&who, "a device says what runs on it", command, BTreeSet::new())
    });
    let done = done.await.map_err(|error| busy(crate::desk::given_up(&error)))?;
    let done = done.map_err(|error| match error {
        HubError::Refused(refusal) if refusal.sort == estate::Sort::Invalid => {
            No::new(StatusCode::BAD_REQUEST, format!("{}: {}", refusal.what, refusal.why))
        }
        error => busy(Problem::from(error)),
    })?;
    json(&Noted { news: !done.events.is_empty() })
}

/// What of it is said of the device.
fn words(said: Report) -> Result<Vec<OwnWord>, No> {
    let Report { vendor, model, version, os, hash } = said;
    let detail = match hash {
        None => String::new(),
        Some(hash) => match hash.to_lowercase().parse::<Digest>() {
            Ok(digest) => format!("sha256.{digest}"),
            Err(why) => {
                return Err(No::new(StatusCode::BAD_REQUEST, format!("hash: {why}")));
            }
        },
    };
    let word = |field, value| OwnWord { field, value, detail: String::new() };
    let others = [(Field::Vendor, vendor), (Field::Model, model), (Field::Os, os)];
    let others = others.into_iter().filter_map(|(field, value)| Some(word(field, value?)));
    let version = OwnWord { field: Field::Firmware, value: version, detail };
    Ok(std::iter::once(version).chain(others).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_an_image_stands_beside_the_version() {
        let report = |hash: &str| Report {
            version: "2.4".to_owned(),
            os: Some("Debian 13".to_owned()),
            hash: Some(hash.to_owned()),
            ..Report::default()
        };
        let said = words(report(&"AB".repeat(32))).unwrap_or_default();
        let told: Vec<_> = said.iter().map(|w| (w.field, &*w.value, &*w.detail)).collect();
        let detail = format!("sha256.{}", "ab".repeat(32));
        assert_eq!(told, [(Field::Firmware, "2.4", &*detail), (Field::Os, "Debian 13", "")]);
        for wrong in ["", "ab", &"zz".repeat(32)] {
            let no = words(report(wrong)).map(drop).unwrap_err();
            assert_eq!(no.status, StatusCode::BAD_REQUEST, "{wrong}");
        }
    }
}
