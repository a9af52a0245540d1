//! All keys and secrets of the estate in one list: whose each is, how old, and when another one has to be in its place.
//!
//! Certificates are known because they were issued here. Secrets that devices share with somebody are told ([`add`]); what is kept of one is a
//! digest under a key of the estate.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use estate::access::Role;
use estate::access::rbac::{Action, Place};
use estate::devices::{Device, Field, State as Life};
use estate::identities::{
    self, Command, Credential, NewSecret, ROTATE_DAYS_MAX, SECRETS_AT_ONCE_MAX, SecretKind,
    SecretName,
};
use estate::{Command as Any, Estate};
use model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::credentials::editable;
use super::devices::id_of;
use super::expected::{Dry, Wrong, judged};
use super::page::{self, Page, Paging};
use super::{Api, Body, Problem, Query, Who, reason};
use crate::authority::{Authority, ISSUING_DAYS_MIN, MEMBER_DAYS};
use crate::secrets::{Digests, KEY_BYTES_MIN, SECRET_BYTES_MAX, key_of};

const DAY_NANOS: i64 = 86_400 * 1_000_000_000;
/// Things that are looked at for one page.
const LOOKED_AT: usize = 10_000;
/// Days after which a secret has to be another one, unless told otherwise.
const ROTATE_DAYS: u16 = 365;
/// Kinds of what was issued here.
const ISSUED: [&str; 6] = ["root", "former-root", "issuing", "former-issuing", "server", "site"];
const CERTIFICATE: &str = "certificate";

/// A key or a secret, with an owner, an age and a rotation.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = InventoriedKey)]
pub struct Key {
    /// `root`, `former-root`, `issuing`, `former-issuing`, `server`, `site`, `certificate` (of a device), `psk`, `oscore` or `mqtt-password`.
    pub kind: &'static str,
    /// Which of them: a subject, a serial number, the identity of a PSK, an OSCORE context, a user name.
    pub name: String,
    /// The device that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The site where that is, or whose key it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Who is answerable: the device's team. Of the estate's own keys and those of sites the role `security-admin`. Absent: nobody is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// How to reach that team.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// When it was made (RFC 3339).
    pub since: String,
    /// Days since then.
    pub age_days: i64,
    /// Another one has to be in its place then; absent: it has been followed by another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotate_by: Option<String>,
    /// That is past.
    pub overdue: bool,
    /// It is good until then; absent: it has no end of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// `good`, `expired`, or `shared`: another device has the same secret.
    pub state: &'static str,
    /// The device has proved it, which counts until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proved_until: Option<String>,
    /// The journal entry with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
}

impl Key {
    fn new(kind: &'static str, name: String, since: Timestamp, now: Timestamp) -> Self {
        let age = now.as_nanos().saturating_sub(since.as_nanos()).max(0);
        Self {
            kind,
            name,
            device: None,
            site: None,
            owner: Some(Role::SecurityAdmin.word().to_owned()),
            contact: None,
            since: since.to_string(),
            age_days: age / DAY_NANOS,
            rotate_by: None,
            overdue: false,
            until: None,
            state: "good",
            proved_until: None,
            entry: None,
        }
    }

    fn rotated(mut self, by: Timestamp, now: Timestamp) -> Self {
        self.rotate_by = Some(by.to_string());
        self.overdue = by <= now;
        self
    }

    fn until(mut self, until: Timestamp, now: Timestamp) -> Self {
        self.until = Some(until.to_string());
        self.state = if until > now { "good" } else { "expired" };
        self
    }

    fn of_device(mut self, estate: &Estate, device: &Device) -> Self {
        let owner = device.value(Field::Owner);
        let team = owner.and_then(|owner| estate.teams().get(owner));
        self.contact = team.map(|known| known.team.contact.clone());
        self.owner = owner.map(str::to_owned);
        self.device = Some(device.id.to_string());
        self.site = Some(device.site.to_string());
        self
    }
}

fn days(at: Timestamp, days: i64) -> Timestamp {
    at.plus_nanos(days.saturating_mul(DAY_NANOS))
}

/// Those of authorities and of this server.
fn own(authority: &Authority, now: Timestamp) -> Vec<Key> {
    let of = |kind, certificate: &pki::Certificate| {
        let since = certificate.not_before();
        let key = Key::new(kind, certificate.subject_text(), since, now);
        key.until(certificate.not_after(), now)
    };
    // What it issues has to live as long as it should.
    let leads = |certificate: &pki::Certificate| days(certificate.not_after(), -ISSUING_DAYS_MIN);
    let roots = authority.roots();
    let mut all = Vec::new();
    for (n, root) in roots.iter().enumerate() {
        all.push(match n {
            0 => of("root", root).rotated(leads(root), now),
            _ => of("former-root", root),
        });
    }
    for (n, issuing) in authority.all_issuing().enumerate() {
        let issuing = issuing.certificate();
        all.push(match n {
            0 => of("issuing", issuing).rotated(leads(issuing), now),
            _ => of("former-issuing", issuing),
        });
    }
    if let Some(server) = authority.shown() {
        let third = thirds(server.not_before(), server.not_after());
        all.push(of("server", &server).rotated(third, now));
    }
    all
}

/// When two thirds of a life are over.
fn thirds(since: Timestamp, until: Timestamp) -> Timestamp {
    let life = until.as_nanos().saturating_sub(since.as_nanos());
    since.plus_nanos(life / 3 * 2)
}

fn of_site(site: &estate::sites::Site, now: Timestamp) -> Option<Key> {
    let identity = site.identity.as_ref().filter(|_| !site.revoked)?;
    let since = days(identity.not_after, -MEMBER_DAYS);
    let key = Key::new("site", identity.serial.clone(), since, now);
    let key = key.until(identity.not_after, now).rotated(thirds(since, identity.not_after), now);
    Some(Key { site: Some(site.id.to_string()), ..key })
}

/// Those of a device: certificates that are good or were followed by none, then secrets.
fn of_device(estate: &Estate, device: &Device, now: Timestamp) -> Vec<Key> {
    let identities = estate.identities();
    let record = identities.get(&device.id);
    let credentials = record.map(|record| record.credentials.as_slice()).unwrap_or_default();
    let counts = |c: &&Credential| c.revoked.is_none();
    let last = credentials.iter().filter(counts).max_by_key(|c| c.until).map(|c| c.serial);
    let shown = credentials.iter().filter(counts);
    let shown = shown.filter(|c| c.until > now || Some(c.serial) == last);
    let certificates = shown.map(|c| {
        let key = Key::new(CERTIFICATE, c.serial.to_string(), c.since, now).until(c.until, now);
        let key = match Some(c.serial) == last {
            true => key.rotated(thirds(c.since, c.until), now),
            false => key,
        };
        Key { entry: Some(c.entry), ..key.of_device(estate, device) }
    });
    let secrets = identities.secrets();
    let told = secrets.of(&device.id).iter().map(|secret| {
        let key = Key::new(secret.kind.word(), secret.name.clone(), secret.since, now);
        Key {
            state: if secrets.is_shared(&secret.digest) { "shared" } else { "good" },
            proved_until: secret.proved_until.filter(|end| *end > now).map(|end| end.to_string()),
            entry: Some(secret.entry),
            ..key.rotated(secret.rotate_by(), now).of_device(estate, device)
        }
    });
    certificates.chain(told).collect()
}

/// Which of them.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only those that this team is answerable for.
    pub owner: Option<String>,
    /// Only those of this device.
    pub device: Option<String>,
    /// Only those that should have been followed by another one.
    pub overdue: Option<bool>,
}

impl Which {
    fn takes(&self, key: &Key) -> bool {
        self.kind.as_ref().is_none_or(|kind| key.kind == kind)
            && self.owner.as_ref().is_none_or(|owner| key.owner.as_ref() == Some(owner))
            && self.overdue.is_none_or(|overdue| key.overdue == overdue)
    }

    fn check(&self) -> Result<(), Problem> {
        let Some(kind) = &self.kind else { return Ok(()) };
        let all = || {
            let told = SecretKind::ALL.map(SecretKind::word);
            ISSUED.into_iter().chain([CERTIFICATE]).chain(told).collect::<Vec<_>>()
        };
        match all().contains(&kind.as_str()) {
            true => Ok(()),
            false => {
                let why = format!("`{kind:.64}` is none; there are {}", all().join(", "));
                Err(Problem::invalid("`kind`", why))
            }
        }
    }
}

/// A place in the list: authorities and the server, then sites, then devices; and how many of that one are before it.
type Spot = (u8, String, usize);

fn spot_of(text: &str) -> Result<Spot, Problem> {
    let mut parts = text.splitn(3, '\t');
    let mut next = || parts.next().unwrap_or_default();
    let (stage, item, id) = (next().parse(), next().parse(), next());
    match (stage, item) {
        (Ok(stage @ 0..=2), Ok(item)) => Ok((stage, id.to_owned(), item)),
        _ => Err(Problem::invalid("the page", "it is no `next` of an earlier answer")),
    }
}

struct Gathered {
    items: Vec<Key>,
    limit: usize,
    /// Where the page begins; `None`: at the beginning.
    after: Option<Spot>,
    last: Option<Spot>,
    looked_at: usize,
}

impl Gathered {
    /// Takes those of one thing; `false`: the page is full.
    fn take(&mut self, stage: u8, id: &str, keys: Vec<Key>, which: &Which) -> bool {
        self.looked_at = self.looked_at.saturating_add(1);
        for (n, key) in keys.into_iter().enumerate() {
            let spot = (stage, id.to_owned(), n);
            if self.after.as_ref().is_none_or(|after| spot > *after) {
                if self.items.len() == self.limit {
                    return false;
                }
                self.last = Some(spot);
                if which.takes(&key) {
                    self.items.push(key);
                }
            }
        }
        // Whatever comes behind it is looked at for the next page.
        if self.looked_at >= LOOKED_AT {
            self.last = Some((stage, id.to_owned(), usize::MAX));
            return false;
        }
        true
    }

    fn page(self, more: bool) -> Page<Key> {
        let next = self.last.filter(|_| more);
        let next = next.map(|(stage, id, item)| page::token(&format!("{stage}\t{item}\t{id}")));
        Page { items: self.items, next }
    }
}

/// All keys and secrets that are known, of one's sites: those of the authorities and of this server, of sites, and of devices by id. Few things are
/// looked at for a page: where a filter leaves most of them out it may be short, or empty, with a `next`.
#[utoipa::path(get, path = "/v1/keys", tag = "identities", params(Which, Paging),
    responses((status = 200, body = Page<Key>), (status = "default", body = Problem)))]
pub async fn list(
    State(api): State<Api>,
    who: Who,
    Query(which): Query<Which>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Key>>, Problem> {
    which.check()?;
    let (limit, now) = (paging.limit()?, api.hub.now());
    let begin = paging.after()?.map(|text| spot_of(&text)).transpose()?;
    let only = which.device.as_deref().map(id_of).transpose()?;
    let own = api.published.as_ref().map(|published| own(published.authority(), now));
    Ok(Json(api.hub.read(|estate| {
        let last = begin.clone();
        let mut gathered = Gathered { items: Vec::new(), limit, after: begin, last, looked_at: 0 };
        let whole = gather(&mut gathered, estate, &who, &which, own, only.as_ref(), now);
        gathered.page(!whole)
    })))
}

/// `true`: nothing is left.
fn gather(
    gathered: &mut Gathered,
    estate: &Estate,
    who: &Who,
    which: &Which,
    own: Option<Vec<Key>>,
    only: Option<&model::DeviceId>,
    now: Timestamp,
) -> bool {
    let shown = |device: &&Device| device.state != Life::Retired && who.sees(&device.site);
    if let Some(only) = only {
        let device = estate.devices().get(only).filter(shown);
        return device.is_none_or(|device| {
            gathered.take(2, device.id.as_str(), of_device(estate, device, now), which)
        });
    }
    let (stage, begin, _) = gathered.after.clone().unwrap_or_default();
    if stage == 0 && !gathered.take(0, "", own.unwrap_or_default(), which) {
        return false;
    }
    if stage <= 1 {
        for site in estate.sites().iter().filter(|site| who.sees(&site.id)) {
            if stage == 1 && site.id.as_str() < begin.as_str() {
                continue;
            }
            let keys = of_site(site, now).into_iter().collect();
            if !gathered.take(1, site.id.as_str(), keys, which) {
                return false;
            }
        }
    }
    let begin = if stage == 2 { model::DeviceId::new(&begin).ok() } else { None };
    let first = begin.as_ref().and_then(|id| estate.devices().get(id));
    for device in first.into_iter().chain(estate.devices().after(begin.as_ref())) {
        let keys = match shown(&device) {
            true => of_device(estate, device, now),
            false => Vec::new(),
        };
        if !gathered.take(2, device.id.as_str(), keys, which) {
            return false;
        }
    }
    true
}

/// A secret that a device shares with somebody.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = DeviceSecret)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// Whose.
    pub device: String,
    /// `psk`, `oscore` or `mqtt-password`.
    pub kind: String,
    /// Identity of the PSK, OSCORE context or user name; the device's id unless given.
    #[serde(default)]
    pub name: Option<String>,
    /// The secret itself: of a PSK and of OSCORE 16 to 256 bytes in hex or base64, a password as it is. What is kept is a digest.
    pub secret: String,
    /// When it was made (RFC 3339); now, unless given.
    #[serde(default)]
    pub since: Option<String>,
    /// Days after which another one has to be in its place: 365 unless given, or as before.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 3_650)]
    pub rotate_days: Option<u16>,
}

/// Secrets of devices.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = AddSecrets)]
#[serde(deny_unknown_fields)]
pub struct Add {
    /// Each of them; 1,000 at most.
    pub secrets: Vec<Told>,
    /// Why.
    pub why: String,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = AddedSecrets)]
pub struct Added {
    /// Those that were not known before.
    pub new: usize,
    /// What should be looked at: secrets that several devices have.
    pub findings: Vec<String>,
    /// Of a dry run: those that nothing would come of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<Wrong>,
}

impl Added {
    fn of(events: &[estate::Event]) -> Self {
        let mut added = Self { new: 0, findings: Vec::new(), wrong: Vec::new() };
        for event in events {
            match event {
                estate::Event::Identity(identities::Event::SecretsAdded { secrets }) => {
                    added.new = added.new.saturating_add(secrets.len());
                }
                estate::Event::Identity(identities::Event::Found { what, .. }) => {
                    added.findings.push(what.clone());
                }
                _ => {}
            }
        }
        added
    }
}

/// Tells secrets of devices. All of them, or nothing; what is known already stays as it is.
#[utoipa::path(post, path = "/v1/keys", tag = "identities", params(Dry), request_body = Add,
    responses((status = 200, body = Added), (status = "default", body = Problem)))]
pub async fn add(
    State(api): State<Api>,
    who: Who,
    Query(dry): Query<Dry>,
    Body(Add { secrets, why }): Body<Add>,
) -> Result<Json<Added>, Problem> {
    who.may(Action::IdentitiesEdit, Place::Somewhere)?;
    reason(&why)?;
    if secrets.len() > SECRETS_AT_ONCE_MAX {
        let why = format!("{} secrets; {SECRETS_AT_ONCE_MAX} at most", secrets.len());
        return Err(Problem::invalid("the list", why).help("send several"));
    }
    let terms = secrets.iter().filter_map(|told| told.rotate_days);
    if let Some(days) = terms.into_iter().find(|days| !(1..=ROTATE_DAYS_MAX).contains(days)) {
        let why = format!("{days}; it is 1 to {ROTATE_DAYS_MAX} days");
        return Err(Problem::invalid("rotate_days", why));
    }
    let digests = digests(&api)?;
    let new = secrets.iter().map(|told| new(&api, &who, digests, told, ROTATE_DAYS));
    if dry.is_dry() {
        let now = api.hub.now();
        let (new, wrong) = judged(new, |sound| {
            api.hub.read(|estate| {
                estate.identities().judge_secrets(estate.devices(), sound, now).collect()
            })
        });
        return Ok(Json(Added { new, findings: Vec::new(), wrong }));
    }
    let secrets: Vec<NewSecret> = new.collect::<Result<_, _>>()?;
    let command = Any::Identity(Command::AddSecrets { secrets });
    Ok(Json(Added::of(&api.command(&who, why, command).await?.events)))
}

/// Another secret.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = RotateSecret)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// The new one, with the name of the one that it is in the place of.
    pub secret: Told,
    /// Why.
    pub why: String,
}

/// Puts another secret in the place of one: what was proved with that counts no more.
#[utoipa::path(post, path = "/v1/keys/rotate", tag = "identities", request_body = Rotate,
    responses((status = 200, body = Added), (status = "default", body = Problem)))]
pub async fn rotate(
    State(api): State<Api>,
    who: Who,
    Body(Rotate { secret: told, why }): Body<Rotate>,
) -> Result<Json<Added>, Problem> {
    let of = name_of(&api, &who, &told.device, &told.kind, told.name.as_deref())?;
    let before = api.hub.read(|estate| {
        let mut all = estate.identities().secrets().of(&of.device).iter();
        all.find(|one| one.kind == of.kind && one.name == of.name).map(|one| one.rotate_days)
    });
    let secret = new(&api, &who, digests(&api)?, &told, before.unwrap_or(ROTATE_DAYS))?;
    let command = Any::Identity(Command::RotateSecret { secret });
    let events = api.command(&who, why, command).await?.events;
    Ok(Json(Added { new: 1, ..Added::of(&events) }))
}

/// A secret that is not good any more.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = EndSecret)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Whose.
    pub device: String,
    /// `psk`, `oscore` or `mqtt-password`.
    pub kind: String,
    /// Its name; the device's id unless given.
    #[serde(default)]
    pub name: Option<String>,
    /// Why.
    pub why: String,
}

/// Ends a secret, also of a retired device: what was proved with it counts no more.
#[utoipa::path(post, path = "/v1/keys/end", tag = "identities", request_body = End,
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn end(
    State(api): State<Api>,
    who: Who,
    Body(End { device, kind, name, why }): Body<End>,
) -> Result<StatusCode, Problem> {
    let of = name_of(&api, &who, &device, &kind, name.as_deref())?;
    api.command(&who, why, Any::Identity(Command::EndSecret { of })).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn digests(api: &Api) -> Result<&Arc<Digests>, Problem> {
    api.digests.as_ref().ok_or_else(|| {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let why = "this controller keeps no secrets of devices";
        Problem::new(status, "identity.secrets", "secrets of devices", why)
    })
}

fn name_of(
    api: &Api,
    who: &Who,
    device: &str,
    kind: &str,
    name: Option<&str>,
) -> Result<SecretName, Problem> {
    let (device, _) = editable(api, who, device)?;
    let kind = SecretKind::of(kind).ok_or_else(|| {
        let all = SecretKind::ALL.map(SecretKind::word).join(", ");
        Problem::invalid("the kind", format!("`{kind:.64}` is none; there are {all}"))
    })?;
    let name = name.map_or_else(|| device.to_string(), str::to_owned);
    Ok(SecretName { device, kind, name })
}

fn new(
    api: &Api,
    who: &Who,
    digests: &Digests,
    told: &Told,
    rotate_days: u16,
) -> Result<NewSecret, Problem> {
    let of = name_of(api, who, &told.device, &told.kind, told.name.as_deref())?;
    // The secret itself is in no message.
    let wrong = |why: String| Err(Problem::invalid(format!("the secret ({of})"), why));
    let bytes = match of.kind {
        SecretKind::Psk | SecretKind::Oscore => match key_of(&told.secret) {
            Some(bytes) => bytes,
            None => {
                return wrong(format!(
                    "it is not {KEY_BYTES_MIN} to {SECRET_BYTES_MAX} bytes in hex or base64"
                ));
            }
        },
        SecretKind::MqttPassword => match told.secret.len() {
            1..=SECRET_BYTES_MAX => told.secret.clone().into_bytes(),
            _ => return wrong(format!("a password has 1 to {SECRET_BYTES_MAX} bytes")),
        },
    };
    let since = told
        .since
        .as_deref()
        .map(|text| text.parse().map_err(|why: String| Problem::invalid("`since`", why)));
    let rotate_days = told.rotate_days.unwrap_or(rotate_days);
    let since = since.transpose()?.unwrap_or_else(|| api.hub.now());
    Ok(NewSecret { of, digest: digests.of(&bytes), since, rotate_days })
}
