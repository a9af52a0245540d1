//! Keys with which devices sign what they send, and how far they have committed to it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use estate::access::rbac::{Action, Place};
use estate::commitments::{self, Chain, PublicKey, Registered};
use estate::side::Digest;
use estate::{Command, Estate};
use journal::commitment::{Class, Key};
use model::{DeviceId, SiteId};
use pki::{KeyKind, Pem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Api, Body, Path, Problem, Query, Reason, Who};
use crate::commitments::{MEDIA, Taken, read, take};

/// A key that speaks for a device, or did.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SignatureKey)]
pub struct Document {
    /// SHA-256 by which commitments name it, in hex.
    pub id: String,
    /// `ed25519:` or `p256:` and its bytes in hex.
    pub key: String,
    /// Name of the device that commitments have to have.
    pub device: String,
    /// `device`, or `gateway`: evidence of somebody who saw it.
    pub class: &'static str,
    /// That gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// The epoch that it speaks for.
    pub epoch: u64,
    /// `current`, `superseded` or `revoked`.
    pub state: &'static str,
    /// Since when (RFC 3339).
    pub since: String,
    /// The journal entry that says so.
    pub entry: u64,
}

impl Document {
    fn of(device: &DeviceId, id: &Digest, known: &Registered) -> Self {
        Self {
            id: id.to_string(),
            key: known.key.to_string(),
            device: device.to_string(),
            class: class(known.gateway.as_ref()),
            gateway: known.gateway.as_ref().map(ToString::to_string),
            epoch: known.epoch,
            state: known.state.word(),
            since: known.at.to_string(),
            entry: known.entry,
        }
    }
}

const fn class(gateway: Option<&DeviceId>) -> &'static str {
    match commitments::class(gateway) {
        Class::Device => "device",
        Class::Gateway => "gateway",
    }
}

/// All keys of a device.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SignatureKeys)]
pub struct Keys {
    /// Each of them.
    pub items: Vec<Document>,
}

/// Keys that speak for a device, and those that did.
#[utoipa::path(get, path = "/v1/devices/{id}/keys", tag = "commitments", params(("id" = String, Path)),
    responses((status = 200, body = Keys), (status = "default", body = Problem)))]
pub async fn list(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
) -> Result<Json<Keys>, Problem> {
    api.hub.read(|estate| {
        let (names, _) = names(estate, &who, &id)?;
        let mut items = Vec::new();
        for name in &names {
            let keys = estate.commitments().keys(name);
            items.extend(keys.map(|(id, known)| Document::of(name, id, known)));
        }
        Ok(Json(Keys { items }))
    })
}

/// A key for a device.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = NewSignatureKey)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// A public key in PEM (`-----BEGIN PUBLIC KEY-----`), or `ed25519:` or `p256:` and its bytes in hex.
    pub key: String,
    /// The device that sees its messages, where the device does not sign itself: it is that one's key.
    #[serde(default)]
    pub gateway: Option<String>,
    /// For which epoch; the next one unless given.
    #[serde(default)]
    pub epoch: Option<u64>,
    /// Why.
    pub why: String,
}

/// Lets a key speak for a device, in the place of the one before.
#[utoipa::path(post, path = "/v1/devices/{id}/keys", tag = "commitments", params(("id" = String, Path)), request_body = Register,
    responses((status = 201, body = Document), (status = "default", body = Problem)))]
pub async fn register(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    Body(register): Body<Register>,
) -> Result<Response, Problem> {
    let Register { key, gateway, epoch, why } = register;
    let (_, site) = api.hub.read(|estate| names(estate, &who, &id))?;
    who.may(Action::KeysEdit, Place::At(&site))?;
    let device = id_of(&id)?;
    let gateway = gateway.as_deref().map(id_of).transpose()?;
    if let Some(gateway) = &gateway {
        let (_, site) = api.hub.read(|estate| names(estate, &who, gateway.as_str()))?;
        who.may(Action::KeysEdit, Place::At(&site))?;
    }
    let key = public_key(&key)?;
    let epoch = epoch.unwrap_or_else(|| {
        api.hub.read(|estate| {
            let mut chains = estate.commitments().chains(&device);
            chains.find(|(of, _)| **of == gateway).map_or(0, |(_, c)| c.epoch.saturating_add(1))
        })
    });
    let command = commitments::Command::RegisterKey { device: device.clone(), gateway, key, epoch };
    api.command(&who, why, Command::Commitment(command)).await?;
    let made = api.hub.read(|estate| {
        let mut keys = estate.commitments().keys(&device);
        keys.find(|(_, known)| known.key == key).map(|(id, known)| Document::of(&device, id, known))
    });
    let made = made.ok_or_else(|| unknown_key(&key.id().to_string()))?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// Revokes a key: what it signs from now on does not count, what counted stays.
#[utoipa::path(delete, path = "/v1/devices/{id}/keys/{key}", tag = "commitments",
    params(("id" = String, Path), ("key" = String, Path), Reason),
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn revoke(
    State(api): State<Api>,
    who: Who,
    Path((id, key)): Path<(String, String)>,
    Query(reason): Query<Reason>,
) -> Result<StatusCode, Problem> {
    let (names, site) = api.hub.read(|estate| names(estate, &who, &id))?;
    who.may(Action::KeysEdit, Place::At(&site))?;
    let wanted: Digest = key.parse().map_err(|_| unknown_key(&key))?;
    let device = api.hub.read(|estate| {
        let has = |name: &&DeviceId| estate.commitments().keys(name).any(|(id, _)| *id == wanted);
        names.iter().find(has).cloned()
    });
    let device = device.ok_or_else(|| unknown_key(&key))?;
    let why = reason.or(|| format!("key {key} of {device} revoked"));
    let command = commitments::Command::RevokeKey { device, key: wanted };
    api.command(&who, why, Command::Commitment(command)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a device has committed to, or a gateway about it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = CommitmentChain)]
pub struct Committed {
    /// Name of the device in commitments.
    pub device: String,
    /// `device`: it said so itself. `gateway`: that gateway did, and nothing of it binds the device.
    pub class: &'static str,
    /// That gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// The epoch that is registered.
    pub epoch: u64,
    /// The key that speaks; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The last one that counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Last>,
    /// Commitments that count, of all epochs.
    pub commitments: u64,
    /// Messages that they cover.
    pub messages: u64,
    /// Things that were found.
    pub found: u64,
    /// The last of them.
    pub findings: Vec<Finding>,
}

/// The last commitment that counts.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = LastCommitment)]
pub struct Last {
    /// Its epoch.
    pub epoch: u64,
    /// Number of its first message.
    pub first: u64,
    /// Number of its last message.
    pub last: u64,
    /// SHA-256 of what is signed, in hex: what the next one names.
    pub hash: String,
    /// The journal entry that has it.
    pub entry: u64,
    /// When it came (RFC 3339).
    pub at: String,
}

/// Something that was signed and cannot be true.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = CommitmentFinding)]
pub struct Finding {
    /// Stable word: `fork`, `gap`….
    pub finding: String,
    /// One line.
    pub what: String,
    /// SHA-256 of what is signed, in hex.
    pub hash: String,
    /// The journal entry that has the signed bytes.
    pub entry: u64,
    /// When it came (RFC 3339).
    pub at: String,
}

/// Everything that a device has committed to.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = CommitmentChains)]
pub struct Chains {
    /// Its own first, then by gateway.
    pub items: Vec<Committed>,
}

impl Committed {
    fn of(device: &DeviceId, gateway: Option<&DeviceId>, chain: &Chain) -> Self {
        let last = chain.tip.as_ref().map(|tip| Last {
            epoch: tip.epoch,
            first: tip.first,
            last: tip.last,
            hash: tip.hash.to_string(),
            entry: tip.entry,
            at: tip.at.to_string(),
        });
        let findings = chain.findings.iter().rev().map(|finding| Finding {
            finding: finding.finding.clone(),
            what: finding.what.clone(),
            hash: finding.hash.to_string(),
            entry: finding.entry,
            at: finding.at.to_string(),
        });
        Self {
            device: device.to_string(),
            class: class(gateway),
            gateway: gateway.map(ToString::to_string),
            epoch: chain.epoch,
            key: chain.key.map(|key| key.to_string()),
            last,
            commitments: chain.commitments,
            messages: chain.messages,
            found: chain.found,
            findings: findings.collect(),
        }
    }
}

/// How far a device has committed to what it sent, and what was found.
#[utoipa::path(get, path = "/v1/devices/{id}/commitments", tag = "commitments", params(("id" = String, Path)),
    responses((status = 200, body = Chains), (status = "default", body = Problem)))]
pub async fn chains(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
) -> Result<Json<Chains>, Problem> {
    api.hub.read(|estate| {
        let (names, _) = names(estate, &who, &id)?;
        let mut items = Vec::new();
        for name in &names {
            let chains = estate.commitments().chains(name);
            items.extend(
                chains.map(|(gateway, chain)| Committed::of(name, gateway.as_ref(), chain)),
            );
        }
        Ok(Json(Chains { items }))
    })
}

/// Brings what devices signed: signed commitments one behind the other (docs/site-line.md has their form). What became of each is
/// answered when it is durable, in the order in which they came.
#[utoipa::path(post, path = "/v1/commitments", tag = "commitments",
    request_body(content = Vec<u8>, content_type = "application/cbor-seq"),
    responses((status = 200, body = Taken), (status = "default", body = Problem)))]
pub async fn send(
    State(api): State<Api>,
    who: Who,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Taken>, Problem> {
    media(&headers)?;
    let signed = read(&body)?;
    let actor = who.principal().actor.clone();
    let admits = |site: &SiteId| who.sees(site);
    take(&api.hub, actor, signed, &admits).await.map(Json)
}

/// Refuses what does not say that it is a sequence.
pub(crate) fn media(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    match kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case(MEDIA)) {
        true => Ok(()),
        false => {
            let why = format!("its Content-Type is not {MEDIA}");
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            Err(Problem::new(status, "request.media", "the body", why))
        }
    }
}

/// Names that commitments may have for a device that who asks may see, that of today first; and where it is.
fn names(estate: &Estate, who: &Who, id: &str) -> Result<(Vec<DeviceId>, SiteId), Problem> {
    let device = estate.devices().get(&id_of(id)?).filter(|device| who.sees(&device.site));
    let device =
        device.ok_or_else(|| Problem::unknown("device.unknown", format!("device {id}")))?;
    let mut names = vec![device.id.clone()];
    names.extend(device.aliases.iter().cloned());
    Ok((names, device.site.clone()))
}

fn id_of(text: &str) -> Result<DeviceId, Problem> {
    DeviceId::new(text).map_err(|_| Problem::unknown("device.unknown", format!("device {text}")))
}

fn unknown_key(key: &str) -> Problem {
    Problem::unknown("key.unknown", format!("the key {key}"))
}

/// A key as people and programs write it.
fn public_key(text: &str) -> Result<PublicKey, Problem> {
    let wrong = |why: String| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "key.malformed", "the key", why)
            .help("`openssl pkey -in KEY -pubout` writes one; Ed25519 and P-256 are taken")
    };
    let key: PublicKey = match Pem::looks_like(text.as_bytes()) {
        false => text.trim().parse().map_err(wrong)?,
        true => {
            let objects = Pem::read_all(text.as_bytes()).map_err(|e| wrong(e.to_string()))?;
            let [object] = objects.as_slice() else {
                return Err(wrong("one PEM object is expected".to_owned()));
            };
            if object.label != "PUBLIC KEY" {
                return Err(wrong(format!("a PUBLIC KEY is expected, not a {}", object.label)));
            }
            let key = pki::Key::read(&object.der).map_err(|weak| wrong(weak.to_string()))?;
            let other = |_| wrong("its length is wrong".to_owned());
            match key.kind {
                KeyKind::Ed25519 => PublicKey(Key::Ed25519(key.bytes.try_into().map_err(other)?)),
                KeyKind::P256 => PublicKey(Key::P256(key.bytes.try_into().map_err(other)?)),
                _ => return Err(wrong("it is neither Ed25519 nor P-256".to_owned())),
            }
        }
    };
    match crypto::is_public_key(&key.0) {
        true => Ok(key),
        false => Err(wrong("it is no point of its curve".to_owned())),
    }
}
