//! From the keys of a TPM to a certificate: endorsement key, attestation key and device are bound by one command, and only when the TPM has
//! opened a challenge and certified the request's key.

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto::Provider;
use estate::identities::{How, Octets, Tpm};
use estate::side::Digest;
use estate::{Refusal, Sort};
use model::tpm::{Ask, BODY_BYTES_MAX, CERTIFICATES_MAX};
use model::{DeviceId, Timestamp};
use pki::Certificate;
use pki::tpm::{self, AttestationKey, EndorsementKey};

use super::kept::Challenge;
use super::{aside, channel, document, field, json, random, references};
use crate::est::door::Caller;
use crate::est::enrol::{Asked, issue, refused, too_early, try_once, whole};
use crate::est::mud;
use crate::est::wire::{self, No};
use crate::est::{Est, up};

/// Challenges a TPM to show that both keys are in it.
pub(super) async fn challenge(
    est: &Arc<Est>,
    caller: &Caller,
    head: &Parts,
    body: Body,
) -> Result<Response, No> {
    pace(est, caller)?;
    let bytes = whole(&head.headers, body, BODY_BYTES_MAX).await?;
    let (at, now) = (Arc::clone(est), est.hub.now());
    let read = aside(move || Ok(known(&at, &bytes, now))).await?;
    let (endorsement, key, maker) = match read {
        Ok(known) => known,
        Err(Unknown::Bad(no)) => return Err(no),
        Err(Unknown::Refused(why)) => return Err(no_tpm(est, caller, None, why).await),
    };
    let (id, secret) = (random()?, random()?);
    let sealed = tpm::challenge(&endorsement, key.name(), &secret, &Provider)
        .map_err(|error| No::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let tpm = of(&endorsement, &key, maker);
    est.tpms
        .challenges
        .put(id, caller.from.ip(), Challenge { secret, tpm, key: key.0 }, now)
        .map_err(|later| too_early(est, later))?;
    let coded = |bytes: &[u8]| STANDARD.encode(bytes);
    let (blob, seed) = (coded(&sealed.blob), coded(&sealed.seed));
    json(&model::tpm::Challenge { id: coded(&id), blob, seed })
}

/// A certificate for a key of a TPM that has opened its challenge.
pub(super) async fn enrol(
    est: &Arc<Est>,
    caller: &Caller,
    head: &Parts,
    body: Body,
) -> Result<Response, No> {
    pace(est, caller)?;
    let password = head.headers.get(header::AUTHORIZATION).map(wire::password);
    let bytes = whole(&head.headers, body, BODY_BYTES_MAX).await?;
    let wanted: model::tpm::Enrol = document(&bytes)?;
    let challenge = answered(est, &wanted)?;
    let asked = Asked::read(caller, wanted.csr.as_bytes())?;
    let channel = channel(caller)?;
    if let Err(why) = certified(&wanted, &challenge, &asked, channel)? {
        return Err(no_tpm(est, caller, Some(&asked), why).await);
    }
    let token = password.map(|secret| secret.map(|s| Digest(crypto::sha256(s.as_bytes()))));
    let Some(device) = device(est, caller, token, &challenge.tpm) else {
        let why =
            "the token is unknown, used up or expired, or there is none and the TPM is nobody's";
        let refusal = Refusal::new(Sort::Forbidden, "identity.token", "the enrolment", why);
        return Err(refused(est, caller, Some(asked.key()), refusal).await);
    };
    let how = How::Tpm { tpm: Box::new(challenge.tpm), token: token.flatten() };
    let issued = issue(est, &device, how, &asked).await?;
    mud::tell(est, caller, &device, &asked.request).await;
    if caller.key.is_none() {
        // The challenge was an attempt too.
        est.tries.good(caller.from.ip());
        est.tries.good(caller.from.ip());
    }
    up(&est.counts.issued);
    Ok(wire::certificates(&issued))
}

/// Strangers are paced by where they are, devices by who they are.
fn pace(est: &Est, caller: &Caller) -> Result<(), No> {
    match caller.key {
        None => try_once(est, caller),
        Some(key) => {
            est.tpms.nonces.pace(key, est.hub.now()).map_err(|later| too_early(est, later))
        }
    }
}

enum Unknown {
    Bad(No),
    Refused(String),
}

/// The attestation key, with the bytes it came in.
struct Attesting(AttestationKey, Vec<u8>);

impl std::ops::Deref for Attesting {
    type Target = AttestationKey;

    fn deref(&self) -> &AttestationKey {
        &self.0
    }
}

/// Both keys of a body, and who vouches for the first.
fn known(
    est: &Est,
    bytes: &[u8],
    now: Timestamp,
) -> Result<(EndorsementKey, Attesting, Option<String>), Unknown> {
    let ask: Ask = document(bytes).map_err(Unknown::Bad)?;
    let bad = |why: String| Unknown::Bad(No::new(StatusCode::BAD_REQUEST, why));
    let read = |name: &str, text: &str| field(name, text).map_err(Unknown::Bad);
    let endorsement = EndorsementKey::read(&read("ek_public", &ask.ek_public)?, &Provider)
        .map_err(|error| bad(error.to_string()))?;
    let public = read("ak_public", &ask.ak_public)?;
    let key = AttestationKey::read(&public, &Provider).map_err(|error| bad(error.to_string()))?;
    let key = key.below(&endorsement, &Provider);
    let maker = endorsed(est, &endorsement, &ask, now)?;
    Ok((endorsement, Attesting(key, public), maker))
}

/// Who vouches for an endorsement key; `None`: there is no manufacturer that is trusted, so that a token has to be.
fn endorsed(
    est: &Est,
    key: &EndorsementKey,
    ask: &Ask,
    now: Timestamp,
) -> Result<Option<String>, Unknown> {
    let read = |folder: &Path| {
        let read = references::roots(folder);
        if let Err(why) = &read {
            (est.told)(&format!("est: no TPM is let in: {why}"));
        }
        read
    };
    let roots = est.tpms.roots.get(now, read).map_err(|_| {
        let why = "the manufacturers' roots cannot be read here";
        Unknown::Bad(No::new(StatusCode::SERVICE_UNAVAILABLE, why))
    })?;
    if roots.is_empty() {
        return Ok(None);
    }
    let bad = |why: String| Unknown::Bad(No::new(StatusCode::BAD_REQUEST, why));
    if ask.ek_certificates.len() > CERTIFICATES_MAX {
        return Err(bad(format!("more than {CERTIFICATES_MAX} certificates")));
    }
    let mut chain = Vec::new();
    for text in &ask.ek_certificates {
        let der = field("ek_certificates", text).map_err(Unknown::Bad)?;
        chain.push(Certificate::from_der(&der).map_err(|error| bad(error.to_string()))?);
    }
    let Some((certificate, others)) = chain.split_first() else {
        let why = "its endorsement key has no certificate, and manufacturers' are asked for here";
        return Err(Unknown::Refused(why.to_owned()));
    };
    let judged = tpm::endorsed(key.clone(), certificate, others, &roots, now, &Provider);
    let endorsed = judged.map_err(|error| Unknown::Refused(error.to_string()))?;
    let model = &endorsed.model;
    let by = endorsed.issuers.last().map_or("", String::as_str);
    let maker = format!("{} {} {}, by {by}", model.manufacturer, model.model, model.version);
    Ok(Some(maker.chars().filter(|c| !c.is_control()).take(256).collect()))
}

/// What the estate keeps of it.
fn of(endorsement: &EndorsementKey, key: &Attesting, maker: Option<String>) -> Tpm {
    let name = key.qualified().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
    Tpm {
        ek: Digest(crypto::sha256(&endorsement.public().key.write())),
        ak: Digest(crypto::sha256(&key.1)),
        public: Octets(key.1.clone()),
        name: Octets(name),
        maker,
    }
}

/// The challenge that was answered, which is over with that.
fn answered(est: &Est, wanted: &model::tpm::Enrol) -> Result<Challenge, No> {
    let (id, secret) = (field("id", &wanted.id)?, field("secret", &wanted.secret)?);
    let wrong = || {
        let why =
            "there is no such challenge, or its secret is another one: ask for a new challenge";
        No::new(StatusCode::FORBIDDEN, why)
    };
    let id: [u8; 32] = id.try_into().map_err(|_| wrong())?;
    let challenge = est.tpms.challenges.take(&id, est.hub.now()).ok_or_else(wrong)?;
    match crypto::same(&challenge.secret, &secret) {
        true => Ok(challenge),
        false => Err(wrong()),
    }
}

/// Whether the request's key is in the TPM that opened the challenge; else why not.
fn certified(
    wanted: &model::tpm::Enrol,
    challenge: &Challenge,
    asked: &Asked,
    channel: &[u8],
) -> Result<Result<(), String>, No> {
    let said = &wanted.certify;
    let id = field("id", &wanted.id)?;
    let key = &asked.request.key;
    let nonce = tpm::binding(&id, channel, key, &Provider);
    let judged = tpm::certify(
        &field("attest", &said.attest)?,
        &field("signature", &said.signature)?,
        &field("public", &said.public)?,
        key,
        &challenge.key,
        &nonce,
        &Provider,
    );
    Ok(judged.map(drop).map_err(|error| error.to_string()))
}

/// For whom it is: whom its token names, else whose the TPM is, else who brings it.
fn device(
    est: &Est,
    caller: &Caller,
    token: Option<Option<Digest>>,
    tpm: &Tpm,
) -> Option<DeviceId> {
    let now = est.hub.now();
    est.hub.read(|estate| {
        let identities = estate.identities();
        match (token, identities.of_tpm(&tpm.ek), caller.key) {
            (Some(secret), _, _) => Some(identities.token(&secret?)?.device.clone()),
            (None, Some(device), _) => Some(device.clone()),
            (None, None, Some(key)) => estate.speaks(&key, now).map(|device| device.id.clone()),
            (None, None, None) => None,
        }
    })
}

/// Writes down that a TPM was not believed.
async fn no_tpm(est: &Arc<Est>, caller: &Caller, asked: Option<&Asked>, why: String) -> No {
    let refusal = Refusal::new(Sort::Forbidden, "identity.tpm", "the TPM", why);
    refused(est, caller, asked.map(Asked::key), refusal).await
}
