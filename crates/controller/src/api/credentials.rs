//! Identities of devices: which certificates each has, how high its evidence puts it and why no higher, and what an operator does about it.
//!
//! A token lets a device enrol once; only its digest is kept. Vouching takes two people whoever asks, because it raises a device that has
//! shown nothing itself.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use estate::access::rbac::{Action, Place};
use estate::access::{Role, Sites, Via};
use estate::devices::{Device, Field, State as Life};
use estate::identities::{
    self, Attestation, Command, Credential, Limit, Record, Serial, Standing, Voucher, ladder,
};
use estate::releases::{Known, Release};
use estate::side::Digest;
use estate::{Command as Any, Estate};
use model::{Assurance, DeviceId, SiteId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::approvals::{self, Ask};
use super::devices::id_of;
use super::login::NO_STORE;
use super::page::{self, Page, Paging};
use super::pki::published;
use super::{Api, Body, Path, Problem, Query, Reason, Who, reason};
use crate::HubError;
use crate::auth::Secret;
use crate::blobs::hex;

const NANOS: i64 = 1_000_000_000;
/// Devices that are looked at for one page.
const LOOKED_AT: usize = 10_000;
/// Seconds that a token lives unless asked otherwise: a week.
const TOKEN_S: u32 = 7 * 86_400;
/// Bytes of a token that are random. People type it into devices.
const SECRET_BYTES: usize = 16;

/// How high a device stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DeviceStanding)]
pub struct Stands {
    /// Which.
    pub device: String,
    /// Where it is.
    pub site: String,
    /// `observed`, `vouched`, `shared-secret`, `device-key`, `hardware-key` or `attested`.
    pub level: &'static str,
    /// Why no higher: `evidence`, `credential`, `freshness`, `voucher` or `health`.
    pub limit: &'static str,
    /// The same in words.
    pub because: String,
    /// It falls then, unless something is renewed (RFC 3339); absent: it cannot fall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// What it rests on: `token`, `approved`, `idevid`, `renewed`, `grace`, `tpm` or `psk` of its certificate; `secret` of a pre-shared key that it proved;
    /// `people` or `gateway` of a voucher.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<&'static str>,
    /// Certificates that count now.
    pub certificates: usize,
}

impl Stands {
    fn of(estate: &Estate, device: &Device, now: Timestamp) -> Self {
        let record = estate.identities().get(&device.id);
        let (level, limit, until) = standing(estate, device, now);
        let good = || record.into_iter().flat_map(|r| &r.credentials).filter(|c| c.is_good(now));
        let best = good().max_by_key(|c| (c.level, c.until)).map(|c| c.proof.word());
        let voucher = record.and_then(|r| r.voucher.as_ref()).filter(|v| v.until() > now);
        let mut secrets = estate.identities().secrets().of(&device.id).iter();
        let proved = secrets.any(|secret| secret.proved_until.is_some_and(|end| end > now));
        let secret = proved.then_some("secret");
        let voucher_kind = voucher.map(|voucher| match voucher {
            Voucher::People { .. } => "people",
            Voucher::Gateway { .. } => "gateway",
        });
        Self {
            device: device.id.to_string(),
            site: device.site.to_string(),
            level: level.word(),
            limit: limit.word(),
            because: match fallen(estate, record, limit, now) {
                Some(because) => because,
                None => because(device, level, limit, voucher, proved && best.is_none()),
            },
            until: until.map(|until| until.to_string()),
            proof: best.or(secret).or(voucher_kind),
            certificates: good().count(),
        }
    }
}

/// By its evidence, and by how it behaves.
fn standing(
    estate: &Estate,
    device: &Device,
    now: Timestamp,
) -> (Assurance, Limit, Option<Timestamp>) {
    if device.state == Life::Retired {
        return (Assurance::Observed, Limit::Evidence, None);
    }
    let Standing { level, limit, until } = estate.identities().standing(&device.id, now);
    match ladder::healthy(level, device.value(Field::Posture)) {
        lower if lower < level => (lower, Limit::Health, until),
        _ => (level, limit, until),
    }
}

/// A release that attested a device was withdrawn.
fn fallen(
    estate: &Estate,
    record: Option<&Record>,
    limit: Limit,
    now: Timestamp,
) -> Option<String> {
    let record = record.filter(|_| limit == Limit::Freshness)?;
    record.attestation.as_ref().filter(|last| last.until <= now)?;
    let known = estate.releases().of_entry(record.release?)?;
    let over = known.withdrawn.as_ref()?;
    let Release { id, version, .. } = &*known.release;
    let reason = &over.reason;
    Some(format!("release {id} ({version}), which attested it, was withdrawn: {reason}"))
}

/// What keeps a device from standing higher, in words.
fn because(
    device: &Device,
    level: Assurance,
    limit: Limit,
    voucher: Option<&Voucher>,
    proved: bool,
) -> String {
    let posture = device.value(Field::Posture).unwrap_or_default();
    match (limit, level, voucher) {
        _ if device.state == Life::Retired => {
            "it is retired, and has no identity any more".to_owned()
        }
        (Limit::Evidence, ..) => {
            "there is only what the wire shows: no certificate counts, and nobody vouches for it"
                .to_owned()
        }
        (Limit::Credential, Assurance::Attested, _) => "there is nothing higher".to_owned(),
        (Limit::Credential, Assurance::HardwareKey, _) => {
            "its key lives in its hardware, and no fresh measurement of what it runs was compared"
                .to_owned()
        }
        (Limit::Credential, Assurance::DeviceKey, _) => {
            "it shows its key, and that the key lives in its hardware was not shown".to_owned()
        }
        (Limit::Credential, ..) if proved => {
            "it proved a pre-shared key, which is not its own alone, and shows no key".to_owned()
        }
        (Limit::Credential, ..) => "its certificate was renewed after its end".to_owned(),
        (Limit::Freshness, ..) => {
            "evidence that put it higher has ended, and was not renewed".to_owned()
        }
        (Limit::Voucher, _, Some(Voucher::Gateway { gateway, .. })) => {
            format!(
                "it shows nothing itself, and gateway {gateway} vouches for it: that goes no further, and no further than the gateway's own level"
            )
        }
        (Limit::Voucher, ..) => {
            "it shows nothing itself, and two people vouch for it: that goes no further".to_owned()
        }
        (Limit::Health, ..) => format!("its posture is `{posture}`, whatever it shows"),
    }
}

/// Which devices.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only those on this level.
    pub level: Option<String>,
    /// Only those that stand lower than this level.
    pub below: Option<String>,
    /// Only those that fall before then (RFC 3339).
    pub ends_before: Option<String>,
}

/// The same, understood.
struct Wanted {
    level: Option<Assurance>,
    below: Option<Assurance>,
    ends_before: Option<Timestamp>,
}

impl Which {
    fn parse(&self) -> Result<Wanted, Problem> {
        let level = |name: &str, word: &Option<String>| {
            word.as_deref().map(|word| level_of(name, word)).transpose()
        };
        let ends_before = self
            .ends_before
            .as_deref()
            .map(|text| text.parse().map_err(|why: String| Problem::invalid("`ends_before`", why)));
        Ok(Wanted {
            level: level("`level`", &self.level)?,
            below: level("`below`", &self.below)?,
            ends_before: ends_before.transpose()?,
        })
    }
}

impl Wanted {
    fn takes(&self, level: Assurance, until: Option<Timestamp>) -> bool {
        self.level.is_none_or(|wanted| level == wanted)
            && self.below.is_none_or(|below| level < below)
            && self.ends_before.is_none_or(|end| until.is_some_and(|until| until < end))
    }
}

fn level_of(name: &str, word: &str) -> Result<Assurance, Problem> {
    Assurance::ALL.into_iter().find(|level| level.word() == word).ok_or_else(|| {
        let all = Assurance::ALL.map(Assurance::word).join(", ");
        Problem::invalid(name, format!("`{word:.64}` is no level; there are {all}"))
    })
}

/// How high devices stand, by id. Few devices are looked at for a page, however many there are: where a filter leaves most of them out it
/// may be short, or empty, with a `next`.
#[utoipa::path(get, path = "/v1/identities", tag = "identities", params(Which, Paging),
    responses((status = 200, body = Page<Stands>), (status = "default", body = Problem)))]
pub async fn list(
    State(api): State<Api>,
    who: Who,
    Query(which): Query<Which>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Stands>>, Problem> {
    let (wanted, limit, now) = (which.parse()?, paging.limit()?, api.hub.now());
    let after = paging.after()?.map(|id| id_of(&id)).transpose()?;
    Ok(Json(api.hub.read(|estate| {
        let (mut items, mut last, mut looked_at) = (Vec::new(), None, 0_usize);
        let mut devices = estate.devices().after(after.as_ref());
        while items.len() < limit && looked_at < LOOKED_AT {
            let Some(device) = devices.next() else { break };
            (last, looked_at) = (Some(&device.id), looked_at.saturating_add(1));
            if device.state == Life::Retired || !who.sees(&device.site) {
                continue;
            }
            let (level, _, until) = standing(estate, device, now);
            if wanted.takes(level, until) {
                items.push(Stands::of(estate, device, now));
            }
        }
        let more = devices.next().is_some();
        let next = last.filter(|_| more).map(|last| page::token(last.as_str()));
        Page { items, next }
    })))
}

/// A certificate of a device: a key with an owner, an age and an end.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DeviceCredential)]
pub struct Certificate {
    /// Serial number, in hex.
    pub serial: String,
    /// SHA-256 of its public key, in hex.
    pub key_sha256: String,
    /// SHA-256 of the certificate of who issued it, in hex.
    pub issuer_sha256: String,
    /// How the device came to it: `token`, `approved`, `idevid`, `renewed`, `grace`, `tpm` or `psk`.
    pub proof: &'static str,
    /// What it shows by itself.
    pub level: &'static str,
    /// Since when it is good (RFC 3339).
    pub since: String,
    /// It is over then: the device has to have another one before.
    pub until: String,
    /// Days since it began.
    pub age_days: i64,
    /// `good`, `expired` or `revoked`.
    pub state: &'static str,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
    /// Why: a word of RFC 5280.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_reason: Option<&'static str>,
    /// The journal entry with its issuance.
    pub entry: u64,
}

impl Certificate {
    fn of(credential: &Credential, now: Timestamp) -> Self {
        let age = now.as_nanos().saturating_sub(credential.since.as_nanos()).max(0);
        Self {
            serial: credential.serial.to_string(),
            key_sha256: credential.key.to_string(),
            issuer_sha256: credential.issuer.to_string(),
            proof: credential.proof.word(),
            level: credential.level.word(),
            since: credential.since.to_string(),
            until: credential.until.to_string(),
            age_days: age / NANOS / 86_400,
            state: credential.state(now),
            revoked_at: credential.revoked.map(|(at, _)| at.to_string()),
            revoked_reason: credential.revoked.map(|(_, reason)| reason.word()),
            entry: credential.entry,
        }
    }
}

/// Who speaks for a device.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DeviceVoucher)]
pub struct Vouches {
    /// `people` or `gateway`.
    pub kind: &'static str,
    /// The operator who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// The operator who agreed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second: Option<String>,
    /// The gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Until when (RFC 3339).
    pub until: String,
    /// It is not over.
    pub counts: bool,
}

impl Vouches {
    fn of(voucher: &Voucher, now: Timestamp) -> Self {
        let (until, counts) = (voucher.until().to_string(), voucher.until() > now);
        let none = Self { kind: "", first: None, second: None, gateway: None, until, counts };
        match voucher {
            Voucher::People { first, second, .. } => {
                let (first, second) = (Some(first.clone()), Some(second.clone()));
                Self { kind: "people", first, second, ..none }
            }
            Voucher::Gateway { gateway, .. } => {
                Self { kind: "gateway", gateway: Some(gateway.to_string()), ..none }
            }
        }
    }
}

/// What a device measured of itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DeviceAttestation)]
pub struct Attested {
    /// SHA-256 of the key that it is bound to, in hex.
    pub key_sha256: String,
    /// SHA-256 of the quote, in hex.
    pub quote_sha256: String,
    /// How often its TPM was reset.
    pub reset_count: u32,
    /// Until when it counts (RFC 3339).
    pub until: String,
    /// It is not over.
    pub counts: bool,
    /// The release that says that what it measured is good; absent: it was compared with a file, or the release is forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<Reference>,
}

/// A release, in short.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = AttestedRelease)]
pub struct Reference {
    /// Its id.
    pub id: String,
    /// Who makes the devices that it is for.
    pub vendor: String,
    /// For which of theirs.
    pub model: String,
    /// Version of the firmware.
    pub version: String,
    /// `current` or `withdrawn`.
    pub state: &'static str,
}

impl Reference {
    fn of(known: &Known) -> Self {
        let Release { id, vendor, model, version, .. } = Release::clone(&known.release);
        Self { id, vendor, model, version, state: super::releases::state(known) }
    }
}

impl Attested {
    fn of(attestation: &Attestation, release: Option<&Known>, now: Timestamp) -> Self {
        Self {
            key_sha256: attestation.key.to_string(),
            quote_sha256: attestation.quote.to_string(),
            reset_count: attestation.reset_count,
            until: attestation.until.to_string(),
            counts: attestation.until > now,
            release: release.map(Reference::of),
        }
    }
}

/// A TPM that was shown to be a device's.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DeviceTpm)]
pub struct Tpm {
    /// SHA-256 of its endorsement key, in hex.
    pub ek_sha256: String,
    /// SHA-256 of its attestation key, in hex.
    pub ak_sha256: String,
    /// Who vouches for its endorsement key; absent: nobody does, and a token was believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maker: Option<String>,
}

/// All that a device has shown.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DeviceIdentity)]
pub struct Document {
    /// How high it stands.
    #[serde(flatten)]
    pub stands: Stands,
    /// Team that is answerable for the device, and so for its keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its certificates, oldest first.
    pub credentials: Vec<Certificate>,
    /// Who speaks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voucher: Option<Vouches>,
    /// What it measured last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attestation: Option<Attested>,
    /// The firmware that is believed to run on it, whoever says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// Its TPM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpm: Option<Tpm>,
    /// Where that puts it; absent: no policy is in force, or it has no zone of the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<InForce>,
}

/// The zone that a device is in.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DeviceZone)]
pub struct InForce {
    /// The one that it is meant for.
    pub meant: String,
    /// The one that it is in, as high as it stands now.
    pub in_force: String,
    /// VLAN of that one, 1 to 4,094; absent: the policy names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
}

impl Document {
    fn of(estate: &Estate, device: &Device, now: Timestamp) -> Self {
        let none = Record::default();
        let record = estate.identities().get(&device.id).unwrap_or(&none);
        let release = record.release.and_then(|entry| estate.releases().of_entry(entry));
        let tpm = |tpm: &estate::identities::Tpm| Tpm {
            ek_sha256: tpm.ek.to_string(),
            ak_sha256: tpm.ak.to_string(),
            maker: tpm.maker.clone(),
        };
        Self {
            stands: Stands::of(estate, device, now),
            owner: device.value(Field::Owner).map(str::to_owned),
            credentials: record.credentials.iter().map(|c| Certificate::of(c, now)).collect(),
            voucher: record.voucher.as_ref().map(|voucher| Vouches::of(voucher, now)),
            attestation: record.attestation.as_ref().map(|a| Attested::of(a, release, now)),
            firmware: device.value(Field::Firmware).map(str::to_owned),
            tpm: record.tpm.as_ref().map(tpm),
            zone: None,
        }
    }
}

/// What a device has shown, how high that puts it, and why no higher.
#[utoipa::path(get, path = "/v1/devices/{id}/identity", tag = "identities", params(("id" = String, Path)),
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn get(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
) -> Result<Json<Document>, Problem> {
    let now = api.hub.now();
    let (mut document, meant, level) = with_device(&api, &who, &id, |estate, device| {
        let value = |field| device.asked(field).map(str::to_owned);
        let document = Document::of(estate, device, now);
        (document, value(Field::Zone), value(Field::Assurance))
    })?;
    document.zone = meant.and_then(|meant| {
        let level = Assurance::ALL.into_iter().find(|l| Some(l.word()) == level.as_deref());
        let level = level.unwrap_or_default();
        let zone = api.pdp.zone(&meant, level)?;
        Some(InForce { meant, in_force: zone.id, vlan: zone.vlan })
    });
    Ok(Json(document))
}

/// Looks at a device that who asks may see.
pub(super) fn with_device<T>(
    api: &Api,
    who: &Who,
    id: &str,
    look: impl FnOnce(&Estate, &Device) -> T,
) -> Result<T, Problem> {
    let wanted = id_of(id)?;
    api.hub.read(|estate| {
        let device = estate.devices().get(&wanted).filter(|device| who.sees(&device.site));
        let device = device.ok_or_else(|| {
            Problem::unknown("device.unknown", format!("device {id}"))
                .help("`ringfence get devices` lists them")
        })?;
        Ok(look(estate, device))
    })
}

/// A device whose identity who asks may change, and its site.
pub(super) fn editable(api: &Api, who: &Who, id: &str) -> Result<(DeviceId, SiteId), Problem> {
    let (device, site) =
        with_device(api, who, id, |_, device| (device.id.clone(), device.site.clone()))?;
    who.may(Action::IdentitiesEdit, Place::At(&site))?;
    Ok((device, site))
}

/// Somebody may enrol as a device.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = DeviceTokenOrder)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// Why.
    pub why: String,
    /// How long the token is good, in seconds: 30 days at most, a week unless given.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 2_592_000)]
    pub for_s: Option<u32>,
}

/// A token for one enrolment.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DeviceToken)]
pub struct Invitation {
    /// For which device.
    pub device: String,
    /// What is put into the device: the password of its user there. Told once.
    pub token: Secret,
    /// Until when it is good (RFC 3339).
    pub expires_at: String,
    /// SHA-256 of the root certificate, in hex: by it the device knows whom it asks.
    pub root_sha256: String,
    /// Where the device enrols (EST, RFC 7030); absent: this controller does not listen for devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub est: Option<String>,
    /// How a person does it for the device.
    pub hint: String,
}

/// Makes a one-time token with which a device gets its certificate.
#[utoipa::path(post, path = "/v1/devices/{id}/identity/token", tag = "identities", params(("id" = String, Path)), request_body = Invite,
    responses((status = 201, body = Invitation), (status = "default", body = Problem)))]
pub async fn token(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    Body(Invite { why, for_s }): Body<Invite>,
) -> Result<Response, Problem> {
    let (device, _) = editable(&api, &who, &id)?;
    reason(&why)?;
    let root_sha256 = published(&api)?.authority().root_sha256();
    let mut secret = [0; SECRET_BYTES];
    crypto::random(&mut secret).map_err(HubError::from)?;
    let token = format!("est-{}", hex(&secret));
    let expires_at = later(api.hub.now(), for_s.unwrap_or(TOKEN_S));
    // Of all of it, as the device sends it.
    let secret = Digest::of(token.as_bytes());
    let command = Command::IssueToken { device: device.clone(), secret, expires_at };
    api.command(&who, why, Any::Identity(command)).await?;
    let server = api.est_url.as_deref().unwrap_or("https://CONTROLLER:PORT/.well-known/est");
    let hint = format!(
        "curl --cacert root.pem --user '{device}:TOKEN' -H 'Content-Type: application/pkcs10' --data-binary @request.b64 {server}/simpleenroll"
    );
    let made = Invitation {
        device: device.to_string(),
        token: Secret::from(token),
        expires_at: expires_at.to_string(),
        root_sha256,
        est: api.est_url.as_deref().map(str::to_owned),
        hint,
    };
    Ok((StatusCode::CREATED, NO_STORE, Json(made)).into_response())
}

fn later(now: Timestamp, seconds: u32) -> Timestamp {
    now.plus_nanos(i64::from(seconds).saturating_mul(NANOS))
}

/// Certificates that are good no more.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = RevokeIdentity)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// Serial numbers, in hex; all of the device unless given.
    #[serde(default)]
    pub serials: Vec<String>,
    /// `unspecified`, `key-compromise`, `superseded`, `cessation-of-operation` or `privilege-withdrawn`.
    pub reason: String,
    /// Why.
    pub why: String,
}

/// Revokes certificates of a device, also of a retired one: it falls at once, and the keys never count again.
#[utoipa::path(post, path = "/v1/devices/{id}/identity/revoke", tag = "identities", params(("id" = String, Path)), request_body = Revoke,
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn revoke(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    Body(revoke): Body<Revoke>,
) -> Result<Json<Document>, Problem> {
    let (device, _) = editable(&api, &who, &id)?;
    let serial = |text: &String| {
        text.parse().map_err(|why: String| Problem::invalid(format!("serial `{text:.64}`"), why))
    };
    let serials = revoke.serials.iter().map(serial).collect::<Result<Vec<Serial>, _>>()?;
    let reason = identities::Reason::of(&revoke.reason).ok_or_else(|| {
        let all = identities::Reason::ALL.map(identities::Reason::word).join(", ");
        Problem::invalid("the reason", format!("`{:.64}` is none; there are {all}", revoke.reason))
    })?;
    let command = Command::Revoke { device, serials, reason };
    api.command(&who, revoke.why, Any::Identity(command)).await?;
    get(State(api), who, Path(id)).await
}

/// Somebody speaks for a device that cannot speak for itself.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = VouchForDevice)]
#[serde(deny_unknown_fields)]
pub struct Vouch {
    /// The gateway that does, for as long as it stands high enough itself; without it, who asks and who agrees do.
    #[serde(default)]
    pub gateway: Option<String>,
    /// How long, in seconds: 90 days at most.
    #[schema(minimum = 1, maximum = 7_776_000)]
    pub for_s: u32,
    /// Why.
    pub why: String,
}

/// Vouches for a device: that raises it to `vouched`, and no further. It always takes a second person: the first answer is 202, and the same
/// request with the header `Ringfence-Approval` carries it out.
#[utoipa::path(post, path = "/v1/devices/{id}/identity/voucher", tag = "identities", request_body = Vouch,
    params(("id" = String, Path), ("Ringfence-Approval" = Option<String>, Header)),
    responses((status = 200, body = Document), (status = 202, body = approvals::Document), (status = "default", body = Problem)))]
pub async fn vouch(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(vouch): Body<Vouch>,
) -> Result<Response, Problem> {
    reason(&vouch.why)?;
    let (device, site) = editable(&api, &who, &id)?;
    let gateway = vouch.gateway.as_deref().map(|id| editable(&api, &who, id)).transpose()?;
    let host = who.principal().via == Via::Host;
    if host && gateway.is_none() {
        return Err(alone(&device));
    }
    let until = later(api.hub.now(), vouch.for_s);
    let spoken = |first: &str, second: &str| match &gateway {
        Some((gateway, _)) => Voucher::Gateway { gateway: gateway.clone(), until },
        None => Voucher::People { first: first.to_owned(), second: second.to_owned(), until },
    };
    let command = |voucher| Any::Identity(Command::Vouch { device: device.clone(), voucher });
    // Nobody is asked for what may not be.
    let (actor, now) = (&who.principal().actor, api.hub.now());
    let tried = command(spoken("who asks", "who agrees"));
    api.hub.read(|estate| estate.decide(&tried, actor, now))?;
    let voucher = match host {
        true => spoken("", ""),
        false => {
            let asked = json!({
                "change": "voucher", "device": device, "gateway": gateway.as_ref().map(|(id, _)| id),
                "for_s": vouch.for_s, "devices": 1, "why": vouch.why,
            });
            let sites: BTreeSet<SiteId> =
                gateway.iter().map(|(_, site)| site.clone()).chain([site]).collect();
            let (needs, sites) = (Role::SecurityAdmin, Sites::Only(sites));
            let ask = Ask { command: asked, devices: 1, needs, sites, why: &vouch.why };
            match approvals::two_people(&api, &who, &headers, ask).await? {
                ControlFlow::Break(waits) => return Ok(waits),
                ControlFlow::Continue((first, second)) => spoken(first.as_str(), second.as_str()),
            }
        }
    };
    api.command(&who, vouch.why, command(voucher)).await?;
    Ok(get(State(api), who, Path(id)).await?.into_response())
}

/// A token of a machine is nobody who could look at a device.
fn alone(device: &DeviceId) -> Problem {
    let why = "it takes two people, and this machine's own token is none";
    let what = format!("vouching for {device}");
    Problem::new(StatusCode::FORBIDDEN, "identity.voucher-alone", what, why)
        .help("log in as an operator, and let another one approve; or name a gateway")
}

/// Nobody speaks for a device any more. One person is enough: it only falls by that.
#[utoipa::path(delete, path = "/v1/devices/{id}/identity/voucher", tag = "identities", params(("id" = String, Path), Reason),
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn unvouch(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    Query(reason): Query<Reason>,
) -> Result<StatusCode, Problem> {
    let (device, _) = editable(&api, &who, &id)?;
    let why = reason.or(|| format!("nobody vouches for {device} any more"));
    api.command(&who, why, Any::Identity(Command::EndVoucher { device })).await?;
    Ok(StatusCode::NO_CONTENT)
}
