//! Pre-shared keys of devices. Whoever says one as the password of HTTP Basic, with its identity as the user (RFC 7030 §3.2.3), gets a certificate
//! at `simpleenroll`; a device that can hold no key proves it here, and stands as high as that shows for a while.

use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use estate::identities::{Command, How, Identities, PROVED_S_MAX};
use estate::side::Digest;
use model::DeviceId;
use serde::Serialize;

use super::door::Caller;
use super::enrol::{busy, command, try_once};
use super::wire::{self, Basic, No};
use super::{Est, up};
use crate::secrets::key_of;

/// Where it is proved.
pub(super) const PATH: &str = "/.well-known/ringfence/v1/psk";
/// Seconds that a proof counts, unless asked otherwise: a day.
const FOR_S: i64 = 86_400;
/// Characters of a user that are written down.
const USER_CHARS_MAX: usize = 128;
/// What whoever is wrong is told: not which of the two was.
pub(super) const WRONG: &str =
    "the token or the pre-shared key is unknown, used up, or over, or not of this user";

/// What came of a secret that somebody said.
pub(super) enum Said {
    /// There is no pre-shared key with this identity.
    NoSuch,
    /// There is, and it is another one.
    Wrong,
    /// It is the one of a device.
    Known(DeviceId, Digest),
}

/// Compares a secret with the one of an identity.
pub(super) fn said(est: &Est, identities: &Identities, basic: &Basic) -> Said {
    // Computed whether or not there is such an identity: how long it takes tells nobody.
    let digest = est.digests.of(&key_of(&basic.password).unwrap_or_default());
    match identities.secrets().psk(&basic.user) {
        None => Said::NoSuch,
        Some((device, secret)) if crypto::same(&secret.digest.0, &digest.0) => {
            Said::Known(device.clone(), digest)
        }
        Some(_) => Said::Wrong,
    }
}

/// Why such a device should have a certificate.
pub(super) fn how(basic: &Basic, secret: Digest) -> How {
    How::Psk { name: basic.user.clone(), secret }
}

/// Writes down that somebody said a wrong one, or one that is nobody's: the answer and its time are the same.
pub(super) async fn wrong(est: &Arc<Est>, caller: &Caller, what: &str, name: &str) -> No {
    up(&est.counts.wrong_secrets);
    let from = caller.from.ip().to_canonical();
    // No more of what a stranger says than an identity has.
    let name = name.chars().take(USER_CHARS_MAX).collect();
    let fail = Command::FailSecret { name, from };
    match command(est, "somebody said a wrong pre-shared key", fail).await {
        Ok(()) => No::new(StatusCode::UNAUTHORIZED, format!("{what}: {WRONG}")).written(),
        Err(problem) => busy(problem),
    }
}

#[derive(Serialize)]
struct Proved {
    device: String,
    until: String,
}

/// A device proves its pre-shared key.
pub(super) async fn answer(est: &Arc<Est>, caller: &Caller, head: &Parts) -> Result<Response, No> {
    if head.method != Method::POST {
        return Err(No::new(StatusCode::METHOD_NOT_ALLOWED, "it takes POST"));
    }
    try_once(est, caller)?;
    let basic = head.headers.get(header::AUTHORIZATION).and_then(wire::basic);
    let Some(basic) = basic else {
        let why = "say the identity and the pre-shared key as user and password of HTTP Basic";
        return Err(No::new(StatusCode::UNAUTHORIZED, why));
    };
    let seconds = for_s(head.uri.query().unwrap_or_default())?;
    let now = est.hub.now();
    let until = now.plus_nanos(seconds.saturating_mul(1_000_000_000));
    let (device, secret) = match est.hub.read(|estate| said(est, estate.identities(), &basic)) {
        Said::Known(device, secret) => (device, secret),
        Said::Wrong | Said::NoSuch => {
            return Err(wrong(est, caller, "the proof", &basic.user).await);
        }
    };
    let prove = Command::ProveSecret { name: basic.user.clone(), secret, until };
    command(est, "a device proved its pre-shared key", prove).await.map_err(busy)?;
    est.tries.good(caller.from.ip());
    up(&est.counts.proved);
    let counts = est.hub.read(|estate| {
        let known = estate.identities().secrets().psk(&basic.user);
        known.and_then(|(_, secret)| secret.proved_until)
    });
    let until = counts.unwrap_or(until).to_string();
    let body = serde_json::to_vec(&Proved { device: device.to_string(), until })
        .map_err(|error| No::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// How long it should count: `for_s=86400`.
fn for_s(query: &str) -> Result<i64, No> {
    let said = query.split('&').find_map(|pair| pair.strip_prefix("for_s="));
    let Some(said) = said else { return Ok(FOR_S) };
    said.parse().ok().filter(|seconds| (60..=PROVED_S_MAX).contains(seconds)).ok_or_else(|| {
        let why = format!("for_s is 60 to {PROVED_S_MAX} seconds");
        No::new(StatusCode::BAD_REQUEST, why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_counts_for_a_minute_to_a_week() {
        for (query, expected) in [
            ("", Some(FOR_S)),
            ("for_s=60", Some(60)),
            ("a=b&for_s=604800", Some(604_800)),
            ("for_s=604801", None),
            ("for_s=59", None),
            ("for_s=-1", None),
            ("for_s=", None),
        ] {
            assert_eq!(for_s(query).ok(), expected, "{query}");
        }
    }
}
