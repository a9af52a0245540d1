//! The journal: entry by entry for people, as tiles for whoever wants all of it (C2SP tlog-tiles), and proofs for whoever believes nobody.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use estate::access::rbac::{Action, Place};
use journal::Hash;
use journal::entry::{Entry, Typed};
use journal::tile::{Level, TilePath, TileSource as _};
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{Page, Paging};
use super::{Api, Path, Problem, Query, Who};

/// A full tile never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The signed head (C2SP tlog-checkpoint), with its signatures.
#[utoipa::path(get, path = "/v1/journal/checkpoint", tag = "journal",
    responses((status = 200, body = String, content_type = "text/plain"), (status = "default", body = Problem)))]
pub async fn checkpoint(State(api): State<Api>) -> Result<Response, Problem> {
    match api.hub.log().signed() {
        Some(head) => {
            let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            Ok((plain, head.encode()).into_response())
        }
        None => Err(unsigned()),
    }
}

fn unsigned() -> Problem {
    let why = "nothing was signed yet";
    Problem::new(StatusCode::NOT_FOUND, "journal.unsigned", "the checkpoint", why)
        .help("a new head is signed within a second, once the witnesses can be reached")
}

/// A tile of hashes, or a bundle of entries, by its path (C2SP tlog-tiles): `0/x001/234`, `entries/000.p/17`.
#[utoipa::path(get, path = "/v1/journal/tile/{path}", tag = "journal", params(("path" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"), (status = "default", body = Problem)))]
pub async fn tile(
    State(api): State<Api>,
    who: Who,
    Path(path): Path<String>,
) -> Result<Response, Problem> {
    // A bundle has entries of every site.
    who.may(Action::JournalRead, Place::Estate)?;
    let path: TilePath = format!("tile/{path}")
        .parse()
        .map_err(|why: journal::Malformed| Problem::invalid("the tile's path", why.to_string()))?;
    let bytes = api.blocking(move |hub| Ok(read(hub.log().tiles(), &path))).await?;
    let bytes = bytes.map_err(|error| {
        let why = error.to_string();
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "journal.unreadable", "the tile", why)
    })?;
    let bytes = bytes.ok_or_else(|| {
        Problem::unknown("journal.tile", path.to_string())
            .help("the published checkpoint says how many entries there are")
    })?;
    let cached = if path.is_full() { FOR_EVER } else { "no-cache" };
    let headers =
        [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, cached)];
    Ok((headers, bytes).into_response())
}

/// A tile of a folder. A partial one that is gone is the beginning of the full one (tlog-tiles, Partial Tiles).
fn read(
    tiles: &store::TileFolder<store::Disk>,
    path: &TilePath,
) -> std::io::Result<Option<Vec<u8>>> {
    if path.level() == Level::Entries {
        return tiles.entries(*path);
    }
    let found = tiles.tile(path)?;
    if found.is_some() || path.is_full() {
        return Ok(found);
    }
    let mut full = tiles.tile(&path.full())?;
    if let Some(full) = &mut full {
        full.truncate(usize::from(path.width()).saturating_mul(size_of::<Hash>()));
    }
    Ok(full)
}

/// An entry of the journal.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Entry)]
pub struct Document {
    /// Its number.
    pub number: u64,
    /// When (RFC 3339).
    pub at: String,
    /// Who commanded it.
    pub who: String,
    /// What was commanded.
    pub command: String,
    /// Why.
    pub why: String,
    /// What came of it, in order.
    pub events: Vec<Payload>,
}

/// One event of an entry.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Payload {
    /// Its type: `device.found`.
    pub name: String,
    /// Version of the type.
    pub version: u32,
    /// What it says.
    #[schema(value_type = Object)]
    pub payload: serde_json::Value,
}

impl Document {
    fn new(number: u64, entry: &Entry) -> Self {
        let payload = |typed: &Typed| Payload {
            name: typed.name.to_string(),
            version: typed.version,
            payload: serde_json::from_slice(&typed.payload).unwrap_or_default(),
        };
        Self {
            number,
            at: entry.at.to_string(),
            who: format!("{}/{}", entry.who.kind, entry.who.id),
            command: entry.command.name.to_string(),
            why: entry.why.clone(),
            events: entry.events.iter().map(payload).collect(),
        }
    }
}

/// What an entry is about, without all it says.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EntrySummary {
    /// Its number.
    pub number: u64,
    /// When (RFC 3339).
    pub at: String,
    /// Who commanded it.
    pub who: String,
    /// What was commanded.
    pub command: String,
    /// Why.
    pub why: String,
    /// Types of events that came of it, and how many of each.
    pub events: std::collections::BTreeMap<String, usize>,
}

impl EntrySummary {
    fn new(number: u64, entry: &Entry) -> Self {
        let mut events = std::collections::BTreeMap::new();
        for event in &entry.events {
            let of_type: &mut usize = events.entry(event.name.to_string()).or_default();
            *of_type = of_type.saturating_add(1);
        }
        Self {
            number,
            at: entry.at.to_string(),
            who: format!("{}/{}", entry.who.kind, entry.who.id),
            command: entry.command.name.to_string(),
            why: entry.why.clone(),
            events,
        }
    }
}

/// Entries, the newest first.
#[utoipa::path(get, path = "/v1/journal/entries", tag = "journal", params(Paging),
    responses((status = 200, body = Page<EntrySummary>), (status = "default", body = Problem)))]
pub async fn entries(
    State(api): State<Api>,
    who: Who,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<EntrySummary>>, Problem> {
    who.may(Action::JournalRead, Place::Estate)?;
    let (before, limit) = (paging.before()?, paging.limit()?);
    let page = api
        .blocking(move |hub| {
            let end = hub.read(estate::Estate::size).min(before);
            let begin = end.saturating_sub(u64::try_from(limit).unwrap_or(u64::MAX));
            let mut items = Vec::new();
            for (number, bytes) in (begin..end).zip(hub.entries(begin..end)?) {
                items.push(EntrySummary::new(number, &Entry::decode(&bytes)?));
            }
            items.reverse();
            Ok((items, begin))
        })
        .await;
    let (items, begin) = page?;
    let next = (begin > 0).then(|| super::page::token(&begin.to_string()));
    Ok(Json(Page { items, next }))
}

/// One entry.
#[utoipa::path(get, path = "/v1/journal/entries/{number}", tag = "journal", params(("number" = u64, Path)),
    responses((status = 200, body = Document), (status = "default", body = Problem)))]
pub async fn entry(
    State(api): State<Api>,
    who: Who,
    Path(number): Path<String>,
) -> Result<Json<Document>, Problem> {
    let number = numbered(&who, &number)?;
    let found = api.blocking(move |hub| hub.entry(number)).await?;
    let entry =
        found.ok_or_else(|| Problem::unknown("journal.entry", format!("entry {number}")))?;
    Ok(Json(Document::new(number, &entry)))
}

/// What shows that an entry is in the journal: hashes of RFC 9162, section 2.1.3.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Proof {
    /// The entry's number.
    pub number: u64,
    /// The entry as it was written, in base64: SHA-256 over a zero byte and these bytes is the leaf.
    pub entry: String,
    /// Entries of the tree.
    pub size: u64,
    /// The tree's root, in base64.
    pub root: String,
    /// Hashes from the leaf's sibling to the root's child, in base64.
    pub path: Vec<String>,
    /// The signed head that has the root.
    pub checkpoint: String,
    /// The same as one text to keep (C2SP tlog-proof).
    pub tlog_proof: String,
}

/// The proof that an entry is in the journal.
#[utoipa::path(get, path = "/v1/journal/entries/{number}/proof", tag = "journal", params(("number" = u64, Path)),
    responses((status = 200, body = Proof), (status = "default", body = Problem)))]
pub async fn proof(
    State(api): State<Api>,
    who: Who,
    Path(number): Path<String>,
) -> Result<Json<Proof>, Problem> {
    let number = numbered(&who, &number)?;
    let proved = api.blocking(move |hub| hub.prove(number)).await?;
    let (entry, proof) = proved.ok_or_else(|| {
        Problem::unknown("journal.entry", format!("entry {number} under a signed head"))
            .help("a new head is signed within a second, once the witnesses can be reached")
    })?;
    let tlog_proof = proof.encode().map_err(|why| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, "internal", "the proof", why.to_string())
    })?;
    let head = proof.checkpoint.checkpoint();
    Ok(Json(Proof {
        number,
        entry: STANDARD.encode(entry),
        size: head.size,
        root: head.root.to_string(),
        path: proof.hashes.iter().map(ToString::to_string).collect(),
        checkpoint: proof.checkpoint.encode(),
        tlog_proof,
    }))
}

fn numbered(who: &Who, number: &str) -> Result<u64, Problem> {
    // An entry may say something of any site.
    who.may(Action::JournalRead, Place::Estate)?;
    number.parse().map_err(|_| Problem::invalid("the entry", "its number is 0 or more"))
}

/// How the journal stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct JournalStanding {
    /// Its name, the origin of its checkpoints.
    pub origin: String,
    /// Entries that are durable.
    pub entries: u64,
    /// Entries below the signed head.
    pub signed: u64,
    /// The head's root, in base64; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The log's key, as verifiers take it (C2SP signed-note).
    pub verifier_key: String,
    /// Who cosigns.
    pub witnesses: Vec<Witness>,
    /// What is missing to what the policy of witnesses asks for; absent: nothing, or there are no witnesses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// A head waits for its quorum: since when (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_since: Option<String>,
}

/// A witness of the journal.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Witness {
    /// What the policy calls it.
    pub name: String,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// When it cosigned the head (RFC 3339); absent: it has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cosigned_at: Option<String>,
}

/// How the journal stands: what is signed, and who has cosigned it.
#[utoipa::path(get, path = "/v1/journal", tag = "journal",
    responses((status = 200, body = JournalStanding), (status = "default", body = Problem)))]
pub async fn standing(State(api): State<Api>) -> Json<JournalStanding> {
    let hub = &api.hub;
    let head = hub.log().signed();
    let judged = head.as_ref().zip(hub.quorum());
    let judged = judged.map(|(head, quorum)| quorum.judge(head, &crypto::Provider));
    let (cosigned, missing) = match judged {
        Some(Ok(believed)) => (believed.cosigned, None),
        Some(Err(distrust)) => (Vec::new(), Some(distrust.to_string())),
        None => (Vec::new(), None),
    };
    let seconds =
        |at: u64| model::Timestamp::from_secs(i64::try_from(at).unwrap_or(i64::MAX), 0).to_string();
    let named = |witness: &journal::policy::KnownWitness| Witness {
        name: witness.name.clone(),
        url: witness.url.clone(),
        cosigned_at: cosigned
            .iter()
            .find(|(name, _)| *name == witness.name)
            .map(|(_, at)| seconds(*at)),
    };
    let checkpoint = head.as_ref().map(|head| head.checkpoint());
    Json(JournalStanding {
        origin: hub.key().name().to_string(),
        entries: hub.read(estate::Estate::size),
        signed: checkpoint.map_or(0, |head| head.size),
        root: checkpoint.map(|head| head.root.to_string()),
        verifier_key: hub.key().to_string(),
        witnesses: hub
            .quorum()
            .map_or_else(Vec::new, |q| q.witnesses().iter().map(named).collect()),
        missing,
        late_since: hub.log().late().map(|late| seconds(late.since)),
    })
}
