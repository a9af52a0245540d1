//! From a nonce to what a device is for the next hour.

use std::sync::Arc;

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto::Provider;
use estate::devices::Field;
use estate::identities::{Attestation, Command, Octets, Tpm};
use estate::releases::Release;
use estate::side::Digest;
use model::tpm::{BODY_BYTES_MAX, LOG_BYTES_MAX, Nonce, Verdict};
use model::{Assurance, DeviceId, Timestamp};
use pki::tpm::{
    self, AttestationKey, Clock, Confirmed, Demand, Name, NoQuote, Pcrs, Quote, Selection, Since,
    Untrue,
};

use super::kept::{Asked, NONCE_S};
use super::references::Values;
use super::{aside, channel, document, field, json, nobody, random};
use crate::est::Est;
use crate::est::door::Caller;
use crate::est::enrol::{busy, command, too_early, whole};
use crate::est::wire::No;

/// How long a good quote counts, in nanoseconds: an hour.
const ATTESTED_NANOS: i64 = 3_600 * 1_000_000_000;
/// Registers that are asked for where nobody has said what is good: what runs before an operating system.
const USUAL: std::ops::RangeInclusive<u8> = 0..=7;

/// A device that has shown who it is, and that its key is in a TPM.
struct Known {
    key: Digest,
    device: DeviceId,
    tpm: Tpm,
    last: Option<Attestation>,
    kind: Option<Kind>,
    /// The release that says what it may measure.
    release: Option<Arc<Release>>,
}

/// Vendor, model and firmware, as the estate believes.
type Kind = (String, String, String);

/// Something that a quote has to answer.
pub(super) async fn nonce(est: &Arc<Est>, caller: &Caller) -> Result<Response, No> {
    let known = known(est, caller)?;
    let now = est.hub.now();
    est.tpms.nonces.pace(known.key, now).map_err(|later| too_early(est, later))?;
    let values = known.release.map(|release| Arc::new(Values::of(release)));
    let selection = values
        .as_ref()
        .map_or_else(|| Selection::of(pki::Digest::Sha256, USUAL), |values| values.selection());
    let event_log = values.as_ref().is_some_and(|values| values.needs_log());
    let (nonce, pcrs) = (random()?, STANDARD.encode(selection.write()));
    let answer = Nonce { nonce: STANDARD.encode(nonce), pcrs, event_log, seconds: NONCE_S };
    est.tpms.nonces.open(known.key, Asked { nonce, selection, values }, now);
    json(&answer)
}

/// A quote is judged, and what comes of it is in the journal before it is said.
pub(super) async fn quote(
    est: &Arc<Est>,
    caller: &Caller,
    head: &Parts,
    body: Body,
) -> Result<Response, No> {
    let known = known(est, caller)?;
    let now = est.hub.now();
    let _slot = est.tpms.logs.acquire().await;
    // A third more for base64.
    let most = BODY_BYTES_MAX.saturating_add(LOG_BYTES_MAX.div_ceil(3).saturating_mul(4));
    let bytes = whole(&head.headers, body, most).await?;
    let said: model::tpm::Quote = document(&bytes)?;
    let said = Said::read(&said)?;
    let Some(asked) = est.tpms.nonces.take(&known.key, now) else {
        // Without a nonce it was not let through yet, and it may be an entry of the journal.
        est.tpms.nonces.pace(known.key, now).map_err(|later| too_early(est, later))?;
        let why = "it answers no question that is open: it came too late, or it is an old one";
        return failed(est, known.device, Wrong::new("replayed", why)).await;
    };
    let key = caller.public.clone().ok_or_else(nobody)?;
    let nonce = tpm::binding(&asked.nonce, channel(caller)?, &key, &Provider);
    let (tpm, last) = (known.tpm.clone(), known.last.clone());
    let judged = aside(move || Ok(judge(&said, &asked, &nonce, &tpm, last.as_ref()))).await?;
    match judged {
        Ok(good) => attested(est, known, good, now).await,
        Err(no) => failed(est, known.device, no).await,
    }
}

/// Who asks, and what the estate has of its TPM.
fn known(est: &Est, caller: &Caller) -> Result<Known, No> {
    let (key, now) = (caller.key.ok_or_else(nobody)?, est.hub.now());
    est.hub.read(|estate| {
        let device = estate.speaks(&key, now).ok_or_else(nobody)?;
        let record = estate.identities().get(&device.id).ok_or_else(nobody)?;
        let mut own = record.credentials.iter().filter(|c| c.key == key && c.is_good(now));
        let hardware = own.any(|c| c.level >= Assurance::HardwareKey);
        let Some(tpm) = record.tpm.clone().filter(|_| hardware) else {
            let why = "this certificate's key is not known to be in a TPM: enrol with it first";
            return Err(No::new(StatusCode::CONFLICT, why));
        };
        let value = |field| device.value(field).map(str::to_owned);
        let kind = value(Field::Vendor)
            .zip(value(Field::Model))
            .zip(value(Field::Firmware))
            .map(|((vendor, model), firmware)| (vendor, model, firmware));
        let release = kind.as_ref().and_then(|(vendor, model, firmware)| {
            estate.releases().current(vendor, model, firmware).cloned()
        });
        let last = record.attestation.clone().filter(|last| last.ak == tpm.ak);
        Ok(Known { key, device: device.id.clone(), tpm, last, kind, release })
    })
}

/// A quote, its fields as bytes.
struct Said {
    attest: Vec<u8>,
    signature: Vec<u8>,
    pcrs: Pcrs,
    log: Option<Vec<u8>>,
}

impl Said {
    fn read(said: &model::tpm::Quote) -> Result<Self, No> {
        let pcrs = Pcrs::read(&field("pcrs", &said.pcrs)?)
            .map_err(|error| No::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        let log = said.event_log.as_ref().map(|log| field("event_log", log)).transpose()?;
        let (attest, signature) =
            (field("attest", &said.attest)?, field("signature", &said.signature)?);
        Ok(Self { attest, signature, pcrs, log })
    }
}

/// Why a quote is not good: a stable word, and a line.
struct Wrong {
    code: &'static str,
    why: String,
}

impl Wrong {
    fn new(code: &'static str, why: impl Into<String>) -> Self {
        Self { code, why: why.into() }
    }
}

/// A quote that counts.
struct Good {
    quote: Quote,
    digest: Digest,
    since: Since,
    /// The release that says so; `None`: it was compared with nothing.
    release: Option<String>,
}

fn judge(
    said: &Said,
    asked: &Asked,
    nonce: &[u8],
    tpm: &Tpm,
    last: Option<&Attestation>,
) -> Result<Good, Wrong> {
    let (quote, confirmed) = verified(said, asked, nonce, tpm)?;
    let since = match last {
        None => Since::default(),
        Some(last) => tpm::since(&before(last, &quote), &quote)
            .map_err(|error| Wrong::new("rollback", error.to_string()))?,
    };
    let release = match &asked.values {
        None => None,
        Some(values) => {
            let judged = values.judge(&confirmed, said.log.as_deref());
            judged.map_err(|(code, why)| Wrong::new(code, why))?;
            Some(values.release().id.clone())
        }
    };
    Ok(Good { quote, digest: Digest(crypto::sha256(&said.attest)), since, release })
}

fn verified(
    said: &Said,
    asked: &Asked,
    nonce: &[u8],
    tpm: &Tpm,
) -> Result<(Quote, Confirmed), Wrong> {
    let kept = |error: &dyn std::fmt::Display| {
        Wrong::new("other-key", format!("the attestation key that is kept cannot be used: {error}"))
    };
    let key = AttestationKey::read(&tpm.public.0, &Provider).map_err(|error| kept(&error))?;
    let key = key.qualified_as(Name::read(&tpm.name.0).map_err(|error| kept(&error))?);
    let demand = Demand { nonce, selection: &asked.selection };
    let pcrs = said.pcrs.clone();
    let judged = tpm::quote(&said.attest, &said.signature, pcrs, &key, &demand, &Provider);
    judged.map_err(|error| {
        let code = match &error {
            NoQuote::Untrue(Untrue::OtherNonce) => "replayed",
            NoQuote::Untrue(Untrue::OtherSigner { .. } | Untrue::OtherScheme { .. }) => "other-key",
            NoQuote::Untrue(Untrue::Signature) => "signature",
            NoQuote::Untrue(Untrue::Malformed(_)) | NoQuote::OtherKind => "malformed",
            NoQuote::OtherSelection | NoQuote::OtherValues | NoQuote::Digest => "registers",
        };
        Wrong::new(code, error.to_string())
    })
}

/// The last one that counted, as far as it is compared. It was signed by the same key, so by the same name.
fn before(last: &Attestation, now: &Quote) -> Quote {
    let firmware = last.firmware.0.as_slice().try_into().map(u64::from_be_bytes);
    Quote {
        signer: now.signer.clone(),
        clock: Clock {
            clock_ms: last.clock_ms,
            resets: last.reset_count,
            restarts: last.restart_count,
            safe: true,
        },
        firmware: firmware.unwrap_or_default(),
    }
}

/// It is what it should be, for a while. Without values to compare with, only its key was shown again.
async fn attested(
    est: &Arc<Est>,
    known: Known,
    good: Good,
    now: Timestamp,
) -> Result<Response, No> {
    let Since { rebooted, other_firmware, .. } = good.since;
    let verdict = |attested, until, code: Option<&str>, why: String| {
        let code = code.map(str::to_owned);
        json(&Verdict { attested, until, rebooted, other_firmware, code, why })
    };
    let Some(release) = good.release else {
        let what = match &known.kind {
            Some((vendor, model, firmware)) => format!("for {vendor} {model} {firmware}"),
            None => "for a device whose vendor, model or firmware nobody knows".to_owned(),
        };
        let why = format!(
            "the quote holds, and shows that the key is in its TPM; there is no release {what}, so nothing says that what was measured is good"
        );
        return verdict(false, None, Some("no-reference"), why);
    };
    let until = now.plus_nanos(ATTESTED_NANOS);
    let attestation = Attestation {
        key: known.key,
        quote: good.digest,
        ak: known.tpm.ak,
        reset_count: good.quote.clock.resets,
        restart_count: good.quote.clock.restarts,
        clock_ms: good.quote.clock.clock_ms,
        firmware: Octets(good.quote.firmware.to_be_bytes().to_vec()),
        until,
    };
    let attest = Command::Attest { device: known.device, attestation, release };
    if let Err(problem) = command(est, "a device measured itself", attest).await {
        return match problem.code {
            // Between the question and the answer.
            "identity.attestation-release" => {
                verdict(false, None, Some("no-reference"), problem.detail)
            }
            _ => Err(busy(problem)),
        };
    }
    verdict(true, Some(until), None, "it is what it should be".to_owned())
}

/// It is not, or cannot show it: the last one does not count any more either.
async fn failed(est: &Arc<Est>, device: DeviceId, no: Wrong) -> Result<Response, No> {
    let (code, why) = (no.code.to_owned(), no.why);
    let fail = Command::FailAttestation { device, code: code.clone(), why: why.clone() };
    command(est, "a device's quote is not good", fail).await.map_err(busy)?;
    crate::est::up(&est.counts.refused);
    let mut answer = json(&Verdict {
        attested: false,
        until: None,
        rebooted: false,
        other_firmware: false,
        code: Some(code),
        why,
    })?;
    *answer.status_mut() = StatusCode::FORBIDDEN;
    Ok(answer)
}
