//! Secrets that devices share with somebody: keys of PSK, OSCORE contexts, passwords of MQTT. Each is inventory: whose it is, how old, and when
//! another one has to be in its place.
//!
//! A secret is known by a keyed digest, and by nothing else. The same on two devices is found; a PSK that two devices have proves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use model::{DeviceId, Timestamp};
use serde::{Deserialize, Serialize};

use super::decide::{alive, clip, within};
use super::{Event, Identities};
use crate::devices::Devices;
use crate::side::Digest;
use crate::{Refusal, Sort};

/// Secrets of one device.
pub const SECRETS_OF_ONE_MAX: usize = 16;
/// Secrets of all devices.
pub const SECRETS_MAX: usize = 2_000_000;
/// Secrets of one command.
pub const SECRETS_AT_ONCE_MAX: usize = 1_000;
/// Longest time that a proved PSK counts, in seconds: a week.
pub const PROVED_S_MAX: i64 = 7 * 86_400;
/// Days after which another secret has to be in its place: at most ten years.
pub const ROTATE_DAYS_MAX: u16 = 3_650;
/// A proof that lasts less than this longer than the one before is not written down, in nanoseconds: an hour.
const LONGER_NANOS: i64 = 3_600 * 1_000_000_000;
/// Secrets of one event.
const EVENT_SECRETS_MAX: usize = 64;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 128;
/// Devices that a finding names.
const NAMED_MAX: usize = 4;

/// What a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretKind {
    /// A pre-shared key: of TLS, of DTLS, of enrolment.
    Psk,
    /// The master secret of an OSCORE context (RFC 8613).
    Oscore,
    /// A password with which a device speaks to a broker.
    MqttPassword,
}

impl SecretKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Psk, Self::Oscore, Self::MqttPassword];

    /// Its word in documents.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Psk => "psk",
            Self::Oscore => "oscore",
            Self::MqttPassword => "mqtt-password",
        }
    }

    /// The kind of a word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// Which secret of a device it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretName {
    /// Whose.
    pub device: DeviceId,
    /// What it is for.
    pub kind: SecretKind,
    /// Its identity there: of a PSK, of a context, the user of a password.
    pub name: String,
}

impl std::fmt::Display for SecretName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} `{}` of {}", self.kind.word(), clip(&self.name), self.device)
    }
}

/// A secret that is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSecret {
    /// Which it is.
    pub of: SecretName,
    /// A keyed digest of the secret.
    pub digest: Digest,
    /// When it was made.
    pub since: Timestamp,
    /// Days after which another one has to be in its place: 1 to [`ROTATE_DAYS_MAX`].
    pub rotate_days: u16,
}

/// A secret of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// What it is for.
    pub kind: SecretKind,
    /// Its identity there.
    pub name: String,
    /// A keyed digest of it.
    pub digest: Digest,
    /// When it was made.
    pub since: Timestamp,
    /// Days after which another one has to be in its place.
    pub rotate_days: u16,
    /// The device has proved it: that counts until then.
    pub proved_until: Option<Timestamp>,
    /// The journal entry that told it last.
    pub entry: u64,
}

impl Secret {
    /// When another one has to be in its place.
    pub fn rotate_by(&self) -> Timestamp {
        let days = i64::from(self.rotate_days);
        self.since.plus_nanos(days.saturating_mul(86_400 * 1_000_000_000))
    }

    fn is(&self, kind: SecretKind, name: &str) -> bool {
        self.kind == kind && self.name == name
    }
}

/// All secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    by_device: BTreeMap<DeviceId, Vec<Secret>>,
    /// Who has a secret.
    #[serde(skip)]
    by_digest: BTreeMap<Digest, BTreeSet<DeviceId>>,
    /// Whose the identity of a PSK is.
    #[serde(skip)]
    psks: BTreeMap<String, DeviceId>,
    #[serde(skip)]
    count: usize,
}

impl Secrets {
    /// Those of a device, in the order in which they were told.
    pub fn of(&self, device: &DeviceId) -> &[Secret] {
        self.by_device.get(device).map(Vec::as_slice).unwrap_or_default()
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// There are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whose the identity of a PSK is, and that.
    pub fn psk(&self, name: &str) -> Option<(&DeviceId, &Secret)> {
        let device = self.psks.get(name)?;
        let secret = self.of(device).iter().find(|secret| secret.is(SecretKind::Psk, name))?;
        Some((device, secret))
    }

    /// Who has a secret.
    pub fn holders(&self, digest: &Digest) -> impl Iterator<Item = &DeviceId> {
        self.by_digest.get(digest).into_iter().flatten()
    }

    /// More than one device has it.
    pub fn is_shared(&self, digest: &Digest) -> bool {
        self.by_digest.get(digest).is_some_and(|holders| holders.len() > 1)
    }

    /// When what a device has proved ends, or has ended: the last of them.
    pub(super) fn proved(&self, device: &DeviceId) -> Option<Timestamp> {
        self.of(device).iter().filter_map(|secret| secret.proved_until).max()
    }

    pub(super) fn ends(&self, device: &DeviceId) -> impl Iterator<Item = Timestamp> {
        self.of(device).iter().filter_map(|secret| secret.proved_until)
    }

    pub(super) fn take(&mut self, device: &DeviceId) -> Vec<Secret> {
        let all = self.by_device.remove(device).unwrap_or_default();
        self.count = self.count.saturating_sub(all.len());
        for secret in &all {
            if let Some(holders) = self.by_digest.get_mut(&secret.digest) {
                holders.remove(device);
                if holders.is_empty() {
                    self.by_digest.remove(&secret.digest);
                }
            }
            if secret.kind == SecretKind::Psk {
                self.psks.remove(&secret.name);
            }
        }
        all
    }

    pub(super) fn put(&mut self, device: &DeviceId, all: Vec<Secret>) {
        self.count = self.count.saturating_add(all.len());
        for secret in &all {
            self.by_digest.entry(secret.digest).or_default().insert(device.clone());
            if secret.kind == SecretKind::Psk {
                self.psks.insert(secret.name.clone(), device.clone());
            }
        }
        if !all.is_empty() {
            self.by_device.insert(device.clone(), all);
        }
    }

    /// What is not in a snapshot follows from what is.
    pub(super) fn indexed(mut self) -> Self {
        for (device, all) in std::mem::take(&mut self.by_device) {
            self.put(&device, all);
        }
        self
    }

    pub(super) fn devices(&self) -> impl Iterator<Item = &DeviceId> {
        self.by_device.keys()
    }
}

/// Puts a secret in the place of the one with its name, or behind all others.
pub(super) fn told(all: &mut Vec<Secret>, new: &NewSecret, entry: u64) {
    let NewSecret { of: SecretName { kind, name, .. }, digest, since, rotate_days } = new.clone();
    let secret = Secret { kind, name, digest, since, rotate_days, proved_until: None, entry };
    match all.iter_mut().find(|one| one.is(secret.kind, &secret.name)) {
        Some(one) => *one = secret,
        None => all.push(secret),
    }
}

/// A device's secret is not good any more.
pub(super) fn ended(all: &mut Vec<Secret>, kind: SecretKind, name: &str) {
    all.retain(|one| !one.is(kind, name));
}

/// A device has proved a PSK, or what it proved counts no more.
pub(super) fn proved(all: &mut [Secret], name: &str, until: Option<Timestamp>) {
    if let Some(one) = all.iter_mut().find(|one| one.is(SecretKind::Psk, name)) {
        one.proved_until = until;
    }
}

/// Secrets of two devices that are one.
pub(super) fn merged(keep: Vec<Secret>, other: Vec<Secret>) -> Vec<Secret> {
    let mut all = keep;
    for secret in other {
        if !all.iter().any(|one| one.is(secret.kind, &secret.name)) {
            all.push(secret);
        }
    }
    all
}

impl Identities {
    /// Secrets that are told: all of them, or nothing.
    pub(super) fn add_secrets(
        &self,
        devices: &Devices,
        secrets: &[NewSecret],
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let list = || "the list of secrets".to_owned();
        if secrets.len() > SECRETS_AT_ONCE_MAX {
            let why = format!("{} of them; {SECRETS_AT_ONCE_MAX} at most", secrets.len());
            return Err(
                Refusal::new(Sort::Invalid, "identity.secrets", list(), why).help("send several")
            );
        }
        if self.secrets.len().saturating_add(secrets.len()) > SECRETS_MAX {
            let why = format!("there are {SECRETS_MAX}");
            return Err(Refusal::new(Sort::Full, "identity.secrets-full", list(), why));
        }
        let judged: Result<Vec<_>, _> = self.judge_secrets(devices, secrets, now).collect();
        let new: Vec<NewSecret> = judged?.into_iter().flatten().collect();
        let shared = self.shared_by(&new);
        let parts = new.chunks(EVENT_SECRETS_MAX);
        let told = parts.map(|part| Event::SecretsAdded { secrets: part.to_vec() });
        Ok(told.chain(shared).collect())
    }

    /// What would come of each of those that are told, with what those before it brought; `None`: it is known already.
    pub fn judge_secrets<'e>(
        &'e self,
        devices: &'e Devices,
        secrets: &'e [NewSecret],
        now: Timestamp,
    ) -> impl Iterator<Item = Result<Option<NewSecret>, Refusal>> + 'e {
        let mut names: BTreeMap<SecretName, Digest> = BTreeMap::new();
        let mut psks: BTreeMap<String, DeviceId> = BTreeMap::new();
        let mut counts: BTreeMap<DeviceId, usize> = BTreeMap::new();
        secrets.iter().map(move |one| {
            let of = self.sound(devices, one, now)?;
            let mut has = self.secrets.of(&of.device).iter();
            let before = has.find(|secret| secret.is(of.kind, &of.name)).map(|s| s.digest);
            match before.or_else(|| names.get(&of).copied()) {
                Some(same) if same == one.digest => return Ok(None),
                Some(_) => {
                    let why = "there is one already, and it is another one";
                    return Err(Refusal::new(
                        Sort::Conflict,
                        "identity.secret",
                        of.to_string(),
                        why,
                    )
                    .help("`ringfence identity keys rotate` puts another one in its place"));
                }
                None => {}
            }
            if of.kind == SecretKind::Psk {
                let known = self.secrets.psk(&of.name).map(|(device, _)| device);
                if let Some(other) = known.or_else(|| psks.get(&of.name)).cloned() {
                    let why = format!("this identity of a PSK is {other}'s");
                    return Err(Refusal::new(
                        Sort::Conflict,
                        "identity.secret",
                        of.to_string(),
                        why,
                    )
                    .help("each device has an identity of its own"));
                }
                psks.insert(of.name.clone(), of.device.clone());
            }
            let count = counts.entry(of.device.clone()).or_default();
            *count = count.saturating_add(1);
            if self.secrets.of(&of.device).len().saturating_add(*count) > SECRETS_OF_ONE_MAX {
                let why = format!("{} has {SECRETS_OF_ONE_MAX} secrets", of.device);
                return Err(Refusal::new(Sort::Full, "identity.secrets", of.to_string(), why));
            }
            names.insert(of.clone(), one.digest);
            Ok(Some(NewSecret { of, ..one.clone() }))
        })
    }

    /// Another secret in the place of one.
    pub(super) fn rotate_secret(
        &self,
        devices: &Devices,
        secret: &NewSecret,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let of = self.sound(devices, secret, now)?;
        let before = self.one(&of)?;
        if before.digest == secret.digest {
            let why = "it is the same as before";
            return Err(Refusal::new(Sort::Invalid, "identity.secret-same", of.to_string(), why));
        }
        let new = NewSecret { of, ..secret.clone() };
        let shared = self.shared_by(std::slice::from_ref(&new));
        Ok(std::iter::once(Event::SecretRotated { secret: new }).chain(shared).collect())
    }

    pub(super) fn end_secret(
        &self,
        devices: &Devices,
        of: &SecretName,
    ) -> Result<Vec<Event>, Refusal> {
        // Those of a retired device too.
        let device = super::decide::known(devices, &of.device)?.id.clone();
        let of = SecretName { device, ..of.clone() };
        self.one(&of)?;
        Ok(vec![Event::SecretEnded { of }])
    }

    /// A device has proved a PSK.
    pub(super) fn prove_secret(
        &self,
        devices: &Devices,
        name: &str,
        digest: &Digest,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let (device, secret) = self.psk_of(devices, name, digest)?;
        within(until, now, PROVED_S_MAX)
            .map_err(|why| Refusal::new(Sort::Invalid, "identity.psk-life", "the proof", why))?;
        // A device that proves it every minute fills no journal.
        let longer = secret
            .proved_until
            .is_none_or(|before| until > before.plus_nanos(LONGER_NANOS) || before <= now);
        let event = || Event::SecretProved { device: device.clone(), name: name.to_owned(), until };
        Ok(longer.then(event).into_iter().collect())
    }

    /// Somebody said a wrong secret for an identity.
    pub(super) fn fail_secret(&self, name: &str, from: IpAddr, now: Timestamp) -> Vec<Event> {
        let device = self.secrets.psk(name).map(|(device, _)| device.clone());
        let why = clip(&format!("a wrong pre-shared key for `{name}`, from {from}"));
        let (code, from) = ("identity.psk".to_owned(), Some(model::network(from)));
        let refused = Event::Refused { code, why, device, key: None, from, times: 1 };
        self.refuse(refused, now)
    }

    /// Whose a PSK is that somebody knows, if it shows anything.
    pub(super) fn psk_of<'d>(
        &self,
        devices: &'d Devices,
        name: &str,
        digest: &Digest,
    ) -> Result<(&'d DeviceId, &Secret), Refusal> {
        let what = || format!("the pre-shared key `{}`", clip(name));
        let known = self.secrets.psk(name).filter(|(_, secret)| secret.digest == *digest);
        let Some((device, secret)) = known else {
            let why = "there is none with this identity and this secret";
            return Err(Refusal::new(Sort::Forbidden, "identity.psk", what(), why));
        };
        let device = &alive(devices, device)?.id;
        match self.secrets.is_shared(digest) {
            false => Ok((device, secret)),
            true => {
                let why = "several devices have it: it shows nothing of any";
                Err(Refusal::new(Sort::Forbidden, "identity.psk-shared", what(), why)
                    .help("give each device one of its own"))
            }
        }
    }

    fn one(&self, of: &SecretName) -> Result<&Secret, Refusal> {
        let mut all = self.secrets.of(&of.device).iter();
        all.find(|secret| secret.is(of.kind, &of.name)).ok_or_else(|| {
            let why = "there is none such";
            Refusal::new(Sort::Unknown, "identity.secret-unknown", of.to_string(), why)
                .help(format!("`ringfence identity keys --device {}` lists them", of.device))
        })
    }

    /// Which secret it is, if it can be one.
    fn sound(
        &self,
        devices: &Devices,
        new: &NewSecret,
        now: Timestamp,
    ) -> Result<SecretName, Refusal> {
        let refuse = |why: String| {
            Err(Refusal::new(Sort::Invalid, "identity.secret", new.of.to_string(), why))
        };
        let NewSecret { of: SecretName { device, kind, name }, since, rotate_days, .. } = new;
        let device = alive(devices, device)?.id.clone();
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) || name.chars().any(char::is_control) {
            let why =
                format!("its name is not 1 to {NAME_BYTES_MAX} bytes without control characters");
            return refuse(why);
        }
        // A user of HTTP Basic has none (RFC 7617 §2).
        if *kind == SecretKind::Psk && name.contains(':') {
            return refuse("the identity of a PSK has no colon".to_owned());
        }
        if !(1..=ROTATE_DAYS_MAX).contains(rotate_days) {
            return refuse(format!("it is rotated after 1 to {ROTATE_DAYS_MAX} days"));
        }
        if *since > now.plus_nanos(super::decide::SKEW_NANOS) {
            return refuse(format!("it was made at {since}, which is still to come"));
        }
        Ok(SecretName { device, kind: *kind, name: name.clone() })
    }

    /// What a person should look at: secrets that another device has too. What a PSK of them proved counts no more.
    fn shared_by(&self, new: &[NewSecret]) -> Vec<Event> {
        let mut of: BTreeMap<Digest, BTreeSet<&DeviceId>> = BTreeMap::new();
        for secret in new {
            of.entry(secret.digest).or_default().insert(&secret.of.device);
        }
        let mut events = Vec::new();
        for (digest, mut devices) in of {
            devices.extend(self.secrets.holders(&digest));
            if devices.len() < 2 {
                continue;
            }
            let Some(last) = new.iter().rev().find(|secret| secret.digest == digest) else {
                continue;
            };
            for device in &devices {
                let proved = self.secrets.of(device).iter();
                let proved = proved.filter(|s| s.digest == digest && s.proved_until.is_some());
                events.extend(proved.map(|secret| Event::SecretUnproved {
                    device: (*device).clone(),
                    name: secret.name.clone(),
                }));
            }
            let named = devices.iter().take(NAMED_MAX).map(|device| device.as_str());
            let named: Vec<&str> = named.collect();
            let more = if devices.len() > NAMED_MAX { " and others" } else { "" };
            let what = clip(&format!(
                "{} devices have the same secret ({} `{}`): {}{more}",
                devices.len(),
                last.of.kind.word(),
                last.of.name,
                named.join(", ")
            ));
            let (code, device) = ("identity.secret-shared".to_owned(), last.of.device.clone());
            events.push(Event::Found { code, device, what });
        }
        events
    }
}
