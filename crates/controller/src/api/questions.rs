//! What waits for a person: one list, with evidence, age, who is answerable, and what each answer would do.
//!
//! Nothing is kept for it: a question follows from the estate, and is gone when the estate no longer poses it. Its id follows from what it
//! is about, so that it stays the same meanwhile. A choice names the request that carries it out; whoever may make that request may
//! choose, and nobody else.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use estate::Estate;
use estate::access::rbac::{Action, Place};
use estate::access::{ApprovalState, By};
use estate::devices::{Device, Event, Field, State as Life};
use estate::record;
use model::{DeviceId, SiteId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::page::{Page, Paging};
use super::requests::{self, Asking};
use super::{Api, Problem, Query, Who, approvals};
use crate::{Hub, HubError};

/// Entries of a device's history that are looked at for when a question arose.
const LOOKED_AT: usize = 64;
/// Questions that one look finds; more are found when these are answered.
const QUESTIONS_MAX: usize = 10_000;
/// Fields that tell whether two records are of one device.
const TELLING: [Field; 7] = [
    Field::Type,
    Field::Vendor,
    Field::Model,
    Field::Serial,
    Field::Firmware,
    Field::Hostname,
    Field::Os,
];

/// Something that a person has to decide.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Question {
    /// The same for as long as the question is.
    pub id: String,
    /// `approval`, `certificate`, `same-device`, `back`, `no-owner`, `not-enrolled`.
    pub kind: &'static str,
    /// In words.
    pub what: String,
    /// Devices it is about; where they are many, none is named.
    pub devices: Vec<String>,
    /// Site it is about.
    pub site: Option<String>,
    /// What is known about it.
    pub evidence: Vec<String>,
    /// Since when it waits (RFC 3339), where that is known.
    pub since: Option<String>,
    /// So many seconds.
    pub age_s: Option<i64>,
    /// Teams that are answerable, or `role/…`.
    pub answerable: Vec<String>,
    /// What can be decided.
    pub choices: Vec<Choice>,
}

/// One answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Choice {
    /// Its word.
    pub choice: &'static str,
    /// What it would do.
    pub does: String,
    /// What carries it out, with `why` put into the body; null: it takes more than a word, and `does` says what.
    pub request: Option<Asked>,
}

/// A request.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = QuestionRequest)]
pub struct Asked {
    /// Method.
    pub method: &'static str,
    /// Path.
    pub path: String,
    /// Body without `why`.
    #[schema(value_type = Object)]
    pub body: Value,
}

/// One page of what waits.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Page_Question)]
pub struct Waiting {
    /// What is on it.
    pub items: Vec<Question>,
    /// `page` of the next one; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How many there are in all pages; 10000 at most are found at one time.
    pub total: usize,
}

/// Which questions.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct About {
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only this one.
    pub id: Option<String>,
}

/// What waits for a person, by id.
#[utoipa::path(get, path = "/v1/questions", tag = "decisions", params(About, Paging),
    responses((status = 200, body = Waiting), (status = "default", body = Problem)))]
pub async fn list(
    State(api): State<Api>,
    who: Who,
    Query(about): Query<About>,
    Query(paging): Query<Paging>,
) -> Result<Json<Waiting>, Problem> {
    let (after, now) = (paging.after()?.unwrap_or_default(), api.hub.now());
    paging.limit()?;
    let page = api
        .blocking(move |hub| {
            let wanted = |open: &Open| {
                let Question { id, kind, .. } = &open.question;
                about.kind.as_ref().is_none_or(|wanted| wanted == kind)
                    && about.id.as_ref().is_none_or(|wanted| wanted == id)
            };
            let mut all = hub.read(|estate| posed(estate, &who, now));
            all.retain(wanted);
            let left = all.iter().filter(|open| open.question.id > after);
            let page = paging.of(left, |open| open.question.id.clone());
            let Page { items, next } = page.unwrap_or(Page { items: Vec::new(), next: None });
            let items = items.into_iter().map(|open| open.dated(hub, now));
            let items = items.collect::<Result<_, HubError>>()?;
            Ok(Waiting { items, next, total: all.len() })
        })
        .await?;
    Ok(Json(page))
}

/// A question whose age may have to be looked up.
struct Open {
    question: Question,
    since: Option<Timestamp>,
    /// Numbers of entries of which one posed it, the latest first.
    entries: Vec<u64>,
    posed_by: PosedBy,
}

/// The event that poses a question.
#[derive(Clone, Debug)]
enum PosedBy {
    Confused(DeviceId, DeviceId),
    Resurfaced(DeviceId),
    Nothing,
}

impl PosedBy {
    fn is(&self, event: &estate::Event) -> bool {
        match (self, event) {
            (Self::Confused(a, b), estate::Event::Device(Event::Confused { id, others })) => {
                id == a && others.contains(b) || id == b && others.contains(a)
            }
            (Self::Resurfaced(device), estate::Event::Device(Event::Resurfaced { id })) => {
                id == device
            }
            _ => false,
        }
    }
}

impl Open {
    fn dated(&self, hub: &Hub, now: Timestamp) -> Result<Question, HubError> {
        let mut since = self.since;
        for number in self.entries.iter().take(LOOKED_AT) {
            let Some(entry) = hub.entry(*number)? else { continue };
            if record::events(&entry)?.iter().any(|event| self.posed_by.is(event)) {
                since = Some(entry.at);
                break;
            }
        }
        let mut question = self.question.clone();
        question.since = since.map(|at| at.to_string());
        question.age_s =
            since.map(|at| now.as_nanos().saturating_sub(at.as_nanos()) / 1_000_000_000);
        Ok(question)
    }
}

/// Everything that is open for somebody, by id.
fn posed(estate: &Estate, who: &Who, now: Timestamp) -> Vec<Open> {
    let mut all = BTreeMap::new();
    let mut add = |open: Open| {
        if all.len() < QUESTIONS_MAX {
            all.insert(open.question.id.clone(), open);
        }
    };
    if who.may(Action::ApprovalsRead, Place::Somewhere).is_ok() {
        of_approvals(estate, who, now).for_each(&mut add);
    }
    if who.may(Action::IdentitiesRead, Place::Somewhere).is_ok() {
        requests::asking(estate, who)
            .map(|asking| certificate(estate, &asking, now))
            .for_each(&mut add);
    }
    let mut unowned: BTreeMap<&SiteId, usize> = BTreeMap::new();
    for device in estate.devices().iter().filter(|device| who.sees(&device.site)) {
        if device.resurfaced {
            add(back(device));
        }
        for other in device.confused_with.iter().filter_map(|id| estate.devices().get(id)) {
            let retired = device.state == Life::Retired && other.state == Life::Retired;
            if other.id != device.id && !retired && who.sees(&other.site) {
                add(same(device, other));
            }
        }
        if device.state != Life::Retired && device.value(Field::Owner).is_none() {
            let count = unowned.entry(&device.site).or_default();
            *count = count.saturating_add(1);
        }
    }
    unowned.into_iter().map(|(site, count)| no_owner(site, count)).for_each(&mut add);
    let waits = estate.sites().iter().filter(|site| who.sees(&site.id) && site.identity.is_none());
    waits.map(|site| not_enrolled(site, now)).for_each(&mut add);
    all.into_values().collect()
}

fn of_approvals<'a>(
    estate: &'a Estate,
    who: &'a Who,
    now: Timestamp,
) -> impl Iterator<Item = Open> + 'a {
    let all = estate.access().approvals().iter();
    let open =
        all.filter(move |(_, a)| a.state(now) == ApprovalState::Pending && approvals::sees(who, a));
    open.map(|(id, approval)| {
        let command: Value = serde_json::from_str(&approval.command).unwrap_or_default();
        let change = command.get("change").and_then(Value::as_str).unwrap_or("a change");
        let devices = command.get("devices").and_then(Value::as_u64).unwrap_or(0);
        let answer = |approve: bool| {
            let path = format!("/v1/approvals/{}", segment(id.as_str()));
            Some(Asked { method: "POST", path, body: json!({ "approve": approve }) })
        };
        let By { kind, id: by } = &approval.by;
        let question = Question {
            what: format!(
                "{kind}/{by} wants a second person for {change}, about {devices} devices"
            ),
            evidence: vec![format!("why: {}", approval.why), format!("what: {command}")],
            answerable: vec![format!("role/{}", approval.needs.word())],
            choices: vec![
                Choice {
                    choice: "approve",
                    does: format!("{kind}/{by} may carry it out until {}", approval.expires_at),
                    request: answer(true),
                },
                Choice {
                    choice: "reject",
                    does: "it is not done".to_owned(),
                    request: answer(false),
                },
            ],
            ..Question::of("approval", id.to_string())
        };
        Open { since: Some(approval.asked_at), ..Open::of(question) }
    })
}

/// A device asks for a certificate. At one address stands one device, or somebody else with its address: that is for a person to say.
fn certificate(estate: &Estate, asking: &Asking<'_>, now: Timestamp) -> Open {
    let Asking { id, waiting, seen, .. } = asking;
    let (wanted, short) = (&waiting.wanted, id.to_string().chars().take(16).collect::<String>());
    let mut evidence = vec![format!("it calls itself {}", wanted.names.join(", "))];
    evidence.extend(asking.contradictions(estate));
    if let Some(device) = seen {
        evidence.push(format!("at {} is {}", wanted.from, described(device)));
        let record = estate.identities().get(&device.id);
        let good = record.into_iter().flat_map(|r| &r.credentials).filter(|c| c.is_good(now));
        evidence.push(format!("certificates that it has already: {}", good.count()));
    }
    evidence.push(format!("SHA-256 of its key: {}", wanted.key));
    let answer = |body| {
        let path = format!("/v1/identities/requests/{id}");
        Some(Asked { method: "POST", path, body })
    };
    let yes = match seen {
        Some(Device { id, .. }) => Choice {
            choice: "approve",
            does: format!("it is {id}, which gets a certificate for this key when it asks again"),
            request: answer(json!({ "approve": id })),
        },
        None => Choice {
            choice: "approve",
            does: format!("ringfence identity approve {short} --device ID --reason …"),
            request: None,
        },
    };
    let no = Choice {
        choice: "reject",
        does: "it gets none, whatever it is".to_owned(),
        request: answer(json!({ "reject": true })),
    };
    let question = Question {
        what: format!("somebody at {} asks for a certificate", wanted.from),
        devices: seen.iter().map(|device| device.id.to_string()).collect(),
        site: seen.map(|device| device.site.to_string()),
        evidence,
        answerable: vec!["role/security-admin".to_owned()],
        choices: vec![yes, no],
        ..Question::of("certificate", format!("certificate-{short}"))
    };
    Open { since: Some(waiting.at), ..Open::of(question) }
}

impl Question {
    fn of(kind: &'static str, id: String) -> Self {
        Self {
            id,
            kind,
            what: String::new(),
            devices: Vec::new(),
            site: None,
            evidence: Vec::new(),
            since: None,
            age_s: None,
            answerable: Vec::new(),
            choices: Vec::new(),
        }
    }
}

impl Open {
    const fn of(question: Question) -> Self {
        Self { question, since: None, entries: Vec::new(), posed_by: PosedBy::Nothing }
    }
}

fn back(device: &Device) -> Open {
    let id = &device.id;
    let post = |what: &str| {
        let path = format!("/v1/devices/{}/{what}", segment(id.as_str()));
        Some(Asked { method: "POST", path, body: json!({}) })
    };
    let question = Question {
        what: format!("{id} was seen after it was retired"),
        devices: vec![id.to_string()],
        site: Some(device.site.to_string()),
        evidence: vec![described(device)],
        answerable: owners(&[device]),
        choices: vec![
            Choice {
                choice: "return",
                does: format!("{id} is active again, and policy decides what it is granted"),
                request: post("return"),
            },
            Choice {
                choice: "keep-retired",
                does: format!(
                    "{id} stays retired and is granted nothing; it is asked again when it is seen again"
                ),
                request: post("retire"),
            },
        ],
        ..Question::of("back", format!("back-{}", short(&[id])))
    };
    Open {
        entries: device.history().iter().rev().copied().collect(),
        posed_by: PosedBy::Resurfaced(id.clone()),
        ..Open::of(question)
    }
}

/// The one that was found first comes first, and would be kept.
fn same(device: &Device, other: &Device) -> Open {
    let mut both = [device, other];
    both.sort_by_key(|device| (device.state == Life::Retired, device.first_seen(), &device.id));
    let [a, b] = both;
    let post = |keep: &Device, what: &str, other: &Device| {
        let path = format!("/v1/devices/{}/{what}", segment(keep.id.as_str()));
        Some(Asked { method: "POST", path, body: json!({ "other": other.id }) })
    };
    let merge = |choice, keep: &Device, other: &Device| Choice {
        choice,
        does: format!(
            "{} is the device, with all that is known of both; {} leads to it",
            keep.id, other.id
        ),
        request: post(keep, "merge", other),
    };
    let mut choices = vec![merge("merge", a, b)];
    if b.state != Life::Retired {
        choices.push(merge("merge-other-way", b, a));
    }
    choices.push(Choice {
        choice: "apart",
        does: "they are two devices, and this is not asked again".to_owned(),
        request: post(a, "apart", b),
    });
    let mut evidence = vec![described(a), described(b)];
    let (mut alike, mut different) = (Vec::new(), Vec::new());
    for field in TELLING {
        match (a.value(field), b.value(field)) {
            (Some(x), Some(y)) if x == y => alike.push(field.word()),
            (Some(_), Some(_)) => different.push(field.word()),
            _ => {}
        }
    }
    for (word, fields) in [("the same", alike), ("different", different)] {
        if !fields.is_empty() {
            evidence.push(format!("{word}: {}", fields.join(", ")));
        }
    }
    let question = Question {
        what: format!("{} shows an identifier of {}: are they one device?", device.id, other.id),
        devices: vec![a.id.to_string(), b.id.to_string()],
        site: (a.site == b.site).then(|| a.site.to_string()),
        evidence,
        answerable: owners(&[a, b]),
        choices,
        ..Question::of("same-device", format!("same-{}", short(&[&a.id, &b.id])))
    };
    let mut entries: BTreeSet<u64> = a.history().iter().copied().collect();
    entries.extend(b.history());
    Open {
        entries: entries.into_iter().rev().collect(),
        posed_by: PosedBy::Confused(a.id.clone(), b.id.clone()),
        ..Open::of(question)
    }
}

fn no_owner(site: &SiteId, count: usize) -> Open {
    let selector = format!("site={site},!owner,state!=retired");
    Open::of(Question {
        what: format!("nobody is answerable for {count} devices at {site}"),
        site: Some(site.to_string()),
        evidence: vec![format!("ringfence get devices -l '{selector}'")],
        choices: vec![Choice {
            choice: "owner",
            does: format!("ringfence owner '{selector}' TEAM --reason …"),
            request: None,
        }],
        ..Question::of("no-owner", format!("no-owner-{site}"))
    })
}

fn not_enrolled(site: &estate::sites::Site, now: Timestamp) -> Open {
    let id = &site.id;
    let state = match (site.revoked, site.token_until(now)) {
        (true, _) => "its box was revoked".to_owned(),
        (false, Some(until)) => format!("a box may enrol until {until}"),
        (false, None) => "there is no token with which a box could enrol".to_owned(),
    };
    Open::of(Question {
        what: format!("site {id} enforces nothing: no box has enrolled"),
        site: Some(id.to_string()),
        evidence: vec![state],
        answerable: vec!["role/security-admin".to_owned()],
        choices: vec![Choice {
            choice: "token",
            does: format!("ringfence sites token {id} --reason …"),
            request: None,
        }],
        ..Question::of("not-enrolled", format!("not-enrolled-{id}"))
    })
}

/// A device in one line.
fn described(device: &Device) -> String {
    let mut parts = vec![device.id.to_string()];
    let told = |field: Field| Some(format!("{} {}", field.word(), device.value(field)?));
    parts.extend(
        [Field::Name, Field::Type, Field::Vendor, Field::Model].into_iter().filter_map(told),
    );
    parts.push(format!("at {}, {}", device.site, device.state.word()));
    parts.extend(device.addresses.iter().take(3).map(ToString::to_string));
    parts.extend(device.keys.iter().take(4).map(ToString::to_string));
    parts.push(format!("first seen {}, last seen {}", device.first_seen(), device.last_seen()));
    parts.join(", ")
}

/// Teams of devices, each once.
fn owners(devices: &[&Device]) -> Vec<String> {
    let all: BTreeSet<&str> = devices.iter().filter_map(|d| d.value(Field::Owner)).collect();
    all.into_iter().map(str::to_owned).collect()
}

/// The beginning of a digest of ids: long enough that no two questions of one estate share it.
fn short(ids: &[&DeviceId]) -> String {
    let mut text = String::new();
    for id in ids {
        text.push_str(id.as_str());
        text.push('\n');
    }
    crate::blobs::hex(&crypto::sha256(text.as_bytes())).chars().take(16).collect()
}

/// An id as one segment of a path (RFC 3986 §2.1).
fn segment(id: &str) -> String {
    let mut text = String::new();
    for byte in id.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}
