//! Identities of devices: which keys speak for each, who vouches for it, and how high on the ladder that puts it.
//!
//! A certificate is known here before its bytes leave the authority. What it says of its device is one piece of evidence among others;
//! [`ladder`] makes a [`Standing`] of all of them, which ends with them. Raising takes a proof, or two people; time alone only lowers.
//!
//! A key belongs to one device for ever, revoked or not: the same key on another one is a copy, refused and found.
//!
//! It must never know a certificate's bytes, or how a proof is made.

mod command;
mod decide;
mod found;
pub mod ladder;
mod resting;
mod secrets;
mod shown;
mod tpm;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::{Assurance, DeviceId, Timestamp};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::At;
use crate::side::Digest;

pub use command::{
    Answer, Command, Enrolment, Event, Expected, How, NewCredential, Reason, Serial, Showing,
    Wanted,
};
pub use decide::Outcome;
pub(crate) use found::Door;
pub use found::{AtDoor, DOOR_MAX, FOUND_MAX, Finding};
pub use ladder::{Limit, Standing};
pub(crate) use resting::Resting;
pub use secrets::{
    NewSecret, PROVED_S_MAX, ROTATE_DAYS_MAX, SECRETS_AT_ONCE_MAX, SECRETS_MAX, SECRETS_OF_ONE_MAX,
    Secret, SecretKind, SecretName, Secrets,
};
pub(crate) use shown::AllShown;
pub use tpm::{Octets, PUBLIC_BYTES_MAX, Tpm};

/// Credentials kept of one device; the oldest that is over goes first.
pub const CREDENTIALS_MAX: usize = 8;
/// Certificates that one device gets within an hour: one that asks without end fills no journal.
pub const HOURLY_MAX: usize = 6;
/// Enrolments of one command.
pub const BATCH_MAX: usize = 4_096;
/// Longest life of an enrolment token, in seconds: 30 days, because devices are unpacked when they are.
pub const TOKEN_S_MAX: i64 = 30 * 86_400;
/// Tokens that are open at one time.
pub const TOKENS_MAX: usize = 100_000;
/// Entries after which tokens that are over are forgotten.
const TOKENS_SWEPT: u64 = 1_024;
/// How long after its end a certificate can still be followed by another one for the same key, in seconds: 30 days. What comes of it
/// stands one step lower.
pub const GRACE_S: i64 = 30 * 86_400;
/// Devices that are expected.
pub const EXPECTED_MAX: usize = 1_000_000;
/// Devices that are said to be expected in one command.
pub const EXPECT_MAX: usize = 1_000;
/// Longest time that people vouch for a device, in seconds: 90 days.
pub const VOUCHED_S_MAX: i64 = 90 * 86_400;
/// Longest time that an attestation counts, in seconds: a day.
pub const ATTESTED_S_MAX: i64 = 86_400;
/// Requests that wait for a person.
pub const WAITING_MAX: usize = 1_000;
/// Requests of one network ([`model::network`]) that wait for a person.
pub const WAITING_OF_ONE_MAX: usize = 8;
/// How long a request waits, and is shown after its answer, in seconds: 30 days.
pub const WAITING_S: i64 = 30 * 86_400;

/// How a device came to a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// It knew a one-time token.
    Token,
    /// A person recognised its request.
    Approved,
    /// It showed its maker's certificate, and was expected.
    Idevid,
    /// It had the certificate before, and showed it.
    Renewed,
    /// It had one that was over, and still has its key.
    Grace,
    /// Its key was shown to live in its TPM.
    Tpm,
    /// It knew a pre-shared key of its own.
    Psk,
}

impl Proof {
    /// Its word in documents.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Approved => "approved",
            Self::Idevid => "idevid",
            Self::Renewed => "renewed",
            Self::Grace => "grace",
            Self::Tpm => "tpm",
            Self::Psk => "psk",
        }
    }
}

/// A certificate of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// SHA-256 of its public key.
    pub key: Digest,
    /// Serial number.
    pub serial: Serial,
    /// SHA-256 of the certificate of who issued it.
    pub issuer: Digest,
    /// How it came to it.
    pub proof: Proof,
    /// What it shows by itself.
    pub level: Assurance,
    /// First moment of its validity.
    pub since: Timestamp,
    /// It is over then.
    pub until: Timestamp,
    /// When it was revoked, and why.
    pub revoked: Option<(Timestamp, Reason)>,
    /// The journal entry with its issuance.
    pub entry: u64,
}

impl Credential {
    /// Whether it counts at a time.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.since <= now && now < self.until
    }

    /// Its word in documents.
    pub fn state(&self, now: Timestamp) -> &'static str {
        match () {
            () if self.revoked.is_some() => "revoked",
            () if now >= self.until => "expired",
            () => "good",
        }
    }
}

/// Who speaks for a device that cannot speak for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Voucher {
    /// Two people.
    People {
        /// Who asked.
        first: String,
        /// Who agreed.
        second: String,
        /// Until when.
        until: Timestamp,
    },
    /// A gateway, for as long as it stands high enough itself.
    Gateway {
        /// Which.
        gateway: DeviceId,
        /// Until when.
        until: Timestamp,
    },
}

impl Voucher {
    /// Until when.
    pub const fn until(&self) -> Timestamp {
        match self {
            Self::People { until, .. } | Self::Gateway { until, .. } => *until,
        }
    }

    const fn gateway(&self) -> Option<&DeviceId> {
        match self {
            Self::People { .. } => None,
            Self::Gateway { gateway, .. } => Some(gateway),
        }
    }
}

/// What a device measured of itself, compared with what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// The key that it is bound to.
    pub key: Digest,
    /// SHA-256 of the quote.
    pub quote: Digest,
    /// SHA-256 of the attestation key that signed it.
    pub ak: Digest,
    /// How often its TPM was reset: it never goes back.
    pub reset_count: u32,
    /// How often it was restarted or resumed since then.
    pub restart_count: u32,
    /// Its TPM's clock, in milliseconds: it never goes back either.
    pub clock_ms: u64,
    /// Version of its TPM's own firmware, in eight bytes.
    pub firmware: Octets,
    /// Until when.
    pub until: Timestamp,
}

/// All evidence of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its certificates, oldest first.
    pub credentials: Vec<Credential>,
    /// Who speaks for it.
    pub voucher: Option<Voucher>,
    /// What it measured last.
    pub attestation: Option<Attestation>,
    /// Its TPM.
    pub tpm: Option<Tpm>,
    /// The release that attested it, by the journal entry that added that; behind all else in a snapshot.
    #[serde(skip)]
    pub release: Option<u64>,
    /// The newest certificate that it has shown, where an older one was good then; behind all else in a snapshot.
    #[serde(skip)]
    pub shown: Option<Serial>,
}

/// A certificate that is good no more, before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// SHA-256 of the certificate of who issued it.
    pub issuer: Digest,
    /// It would be over then.
    pub until: Timestamp,
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// What is known of a serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The certificate is not revoked.
    Good,
    /// It is.
    Revoked(Revoked),
}

/// An enrolment token, of which only a digest is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// For whom.
    pub device: DeviceId,
    /// Until when.
    pub expires_at: Timestamp,
    /// SHA-256 of the key that used it.
    pub used_by: Option<Digest>,
}

/// A request that waits for a person, or did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// What it wants.
    pub wanted: Wanted,
    /// When it came first.
    pub at: Timestamp,
    /// What a person said; `None`: it waits.
    pub answer: Option<Answer>,
}

/// All identities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identities {
    records: BTreeMap<DeviceId, Record>,
    /// By SHA-256 of the secret.
    tokens: BTreeMap<Digest, Token>,
    /// By SHA-256 of the request.
    waiting: BTreeMap<Digest, Waiting>,
    found: VecDeque<Finding>,
    /// Keys whose certificates are not kept any more, of TPMs that were replaced, and of makers: whose they were, and whether they were revoked.
    past: BTreeMap<Digest, (DeviceId, bool)>,
    /// Certificates that are not kept any more and are not over, by serial number: revoked, or one too many and so revoked.
    dropped: BTreeMap<Serial, Revoked>,
    /// Entries of the journal up to the last one that revoked something.
    revised: u64,
    /// Devices that were bought, by maker and serial number there; and the maker's key, once it was shown.
    expected: BTreeMap<(String, String), (DeviceId, Option<Digest>)>,
    /// What ended until then was looked at.
    lapsed: Option<Timestamp>,
    /// Behind all else in a snapshot.
    #[serde(skip)]
    secrets: Secrets,
    /// Behind all else in a snapshot.
    #[serde(skip)]
    door: Door,
    /// Whose a key is, those of TPMs too.
    #[serde(skip)]
    by_key: FxHashMap<Digest, DeviceId>,
    /// Whose a certificate is.
    #[serde(skip)]
    by_serial: FxHashMap<Serial, DeviceId>,
    /// Who has revoked ones.
    #[serde(skip)]
    revoked: BTreeSet<DeviceId>,
    /// When evidence ends.
    #[serde(skip)]
    ends: BTreeMap<Timestamp, BTreeSet<DeviceId>>,
    /// For whom a gateway speaks.
    #[serde(skip)]
    wards: BTreeMap<DeviceId, BTreeSet<DeviceId>>,
}

impl Identities {
    /// All evidence of a device; `None`: there never was any.
    pub fn get(&self, device: &DeviceId) -> Option<&Record> {
        self.records.get(device)
    }

    /// All devices with evidence, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&DeviceId, &Record)> {
        self.records.iter()
    }

    /// Those behind an id, by id.
    pub fn after(&self, id: &DeviceId) -> impl Iterator<Item = (&DeviceId, &Record)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.records.range::<DeviceId, _>((Excluded(id), Unbounded))
    }

    /// Whose a key is, and the certificate with it that ends last.
    pub fn of_key(&self, key: &Digest) -> Option<(&DeviceId, &Credential)> {
        let device = self.by_key.get(key)?;
        let all = self.records.get(device)?.credentials.iter();
        let last = all.filter(|credential| credential.key == *key).max_by_key(|c| c.until)?;
        Some((device, last))
    }

    /// Whose TPM it is, by the SHA-256 of its endorsement key.
    pub fn of_tpm(&self, ek: &Digest) -> Option<&DeviceId> {
        let device = self.by_key.get(ek)?;
        let has = self.records.get(device)?.tpm.as_ref();
        has.is_some_and(|tpm| tpm.ek == *ek).then_some(device)
    }

    /// Who speaks with a key at a time.
    pub fn speaks(&self, key: &Digest, now: Timestamp) -> Option<&DeviceId> {
        let device = self.by_key.get(key)?;
        let all = self.records.get(device)?.credentials.iter();
        let mut of_key = all.filter(|credential| credential.key == *key);
        of_key.any(|credential| credential.is_good(now)).then_some(device)
    }

    /// A token by the SHA-256 of its secret.
    pub fn token(&self, secret: &Digest) -> Option<&Token> {
        self.tokens.get(secret)
    }

    /// Tokens that can be used at a time.
    pub fn open_tokens(&self, now: Timestamp) -> impl Iterator<Item = &Token> {
        self.tokens.values().filter(move |t| t.used_by.is_none() && t.expires_at > now)
    }

    /// Secrets of devices.
    pub const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Requests that wait for a person, and answered ones, by SHA-256.
    pub fn waiting(&self) -> impl Iterator<Item = (&Digest, &Waiting)> {
        self.waiting.iter()
    }

    /// A request by its SHA-256.
    pub fn request(&self, request: &Digest) -> Option<&Waiting> {
        self.waiting.get(request)
    }

    /// Which device a maker's serial number is.
    pub fn expected(&self, maker: &str, number: &str) -> Option<&DeviceId> {
        let named = (maker.to_owned(), number.to_owned());
        self.expected.get(&named).map(|(device, _)| device)
    }

    /// All that are expected, by maker and number; and whether they came.
    pub fn all_expected(&self) -> impl Iterator<Item = (&str, &str, &DeviceId, bool)> {
        let all = self.expected.iter();
        all.map(|((maker, number), (id, key))| (&**maker, &**number, id, key.is_some()))
    }

    /// Certificates that are revoked and would not be over at a time, of one issuer; in no order.
    pub fn revoked(
        &self,
        issuer: Digest,
        now: Timestamp,
    ) -> impl Iterator<Item = (Serial, Revoked)> + use<'_> {
        let records = self.revoked.iter().filter_map(|device| self.records.get(device));
        let kept = records.flat_map(|record| &record.credentials);
        let kept = kept.filter_map(|credential| Some((credential.serial, revoked(credential)?)));
        let dropped = self.dropped.iter().map(|(serial, revoked)| (*serial, *revoked));
        kept.chain(dropped).filter(move |(_, r)| r.issuer == issuer && r.until > now)
    }

    /// What is known of an issuer's certificate; `None`: no device has or had it, or that is long ago.
    pub fn status(&self, issuer: Digest, serial: &Serial) -> Option<Status> {
        if let Some(dropped) = self.dropped.get(serial).filter(|r| r.issuer == issuer) {
            return Some(Status::Revoked(*dropped));
        }
        let record = self.records.get(self.by_serial.get(serial)?)?;
        let mut all = record.credentials.iter();
        let known = all.find(|c| c.serial == *serial && c.issuer == issuer)?;
        Some(revoked(known).map_or(Status::Good, Status::Revoked))
    }

    /// Entries of the journal up to the last one that revoked something.
    pub const fn revised(&self) -> u64 {
        self.revised
    }

    /// When the next evidence ends.
    pub fn next_end(&self) -> Option<Timestamp> {
        self.ends.keys().next().copied()
    }

    /// How high a device stands by its evidence.
    pub fn standing(&self, device: &DeviceId, now: Timestamp) -> Standing {
        self.standing_with(self.records.get(device), self.secrets.proved(device), now)
    }

    /// The same for evidence that is not here yet.
    fn standing_with(
        &self,
        record: Option<&Record>,
        proved: Option<Timestamp>,
        now: Timestamp,
    ) -> Standing {
        // A gateway speaks by its own evidence, not by another gateway's.
        let of_gateway = |id: &DeviceId| {
            let (own, proved) = (self.records.get(id), self.secrets.proved(id));
            ladder::standing(own, proved, &|_| Assurance::Observed, now).level
        };
        ladder::standing(record, proved, &of_gateway, now)
    }

    pub(crate) fn apply(&mut self, event: &Event, at: At<'_>) {
        match event {
            Event::TokenIssued { device, secret, expires_at } => {
                let (device, expires_at) = (device.clone(), *expires_at);
                // Not at each: many tokens may be made at once.
                if at.entry.is_multiple_of(TOKENS_SWEPT) {
                    self.tokens.retain(|_, token| token.expires_at > at.time);
                }
                self.tokens.insert(*secret, Token { device, expires_at, used_by: None });
            }
            Event::Issued { device, credential, level, how } => {
                if let Some(token) = how.token().and_then(|secret| self.tokens.get_mut(secret)) {
                    token.used_by = Some(credential.key);
                }
                let NewCredential { key, serial, issuer, since, until } = credential.clone();
                let (proof, level) = (how.proof(), *level);
                let (revoked, entry) = (None, at.entry);
                let new =
                    Credential { key, serial, issuer, proof, level, since, until, revoked, entry };
                let (mut gone, mut before) = (Vec::new(), None);
                self.change(device, |record| {
                    gone = add(&mut record.credentials, new, at.time);
                    if let How::Tpm { tpm, .. } = how {
                        before = record.tpm.replace(Tpm::clone(tpm));
                    }
                });
                self.put_by(device, gone, at);
                self.put_tpm_by(device, before);
                if let How::Idevid { maker, number, key, .. } = how {
                    self.came(device, (maker.clone(), number.clone()), *key);
                }
            }
            Event::Revoked { device, serials, reason } => {
                self.revised = at.entry.saturating_add(1);
                self.change(device, |record| {
                    for credential in &mut record.credentials {
                        if serials.contains(&credential.serial) && credential.revoked.is_none() {
                            credential.revoked = Some((at.time, *reason));
                        }
                    }
                });
            }
            Event::Vouched { device, voucher } => {
                self.change(device, |record| record.voucher = Some(voucher.clone()));
            }
            Event::VoucherEnded { device } => self.change(device, |record| record.voucher = None),
            Event::Attested { device, attestation, .. } => {
                self.change(device, |record| {
                    (record.attestation, record.release) = (Some(attestation.clone()), None);
                });
            }
            Event::AttestationFailed { device, why, .. } => {
                self.change(device, |record| {
                    if let Some(last) = &mut record.attestation {
                        last.until = last.until.min(at.time);
                    }
                });
                self.find("identity.attestation", device, why, at);
            }
            Event::Asked { wanted } => {
                let old = at.time.plus_nanos(-WAITING_S.saturating_mul(1_000_000_000));
                self.waiting.retain(|_, waiting| waiting.at > old);
                let waiting = Waiting { wanted: wanted.clone(), at: at.time, answer: None };
                self.waiting.insert(wanted.request, waiting);
            }
            Event::Answered { request, answer } => {
                if let Some(waiting) = self.waiting.get_mut(request) {
                    waiting.answer = Some(answer.clone());
                }
            }
            Event::Found { code, device, what } => self.find(code, device, what, at),
            Event::Expected { expected } => {
                for Expected { maker, number, device } in expected {
                    let named = (maker.clone(), number.clone());
                    self.expected.insert(named, (device.clone(), None));
                }
            }
            Event::Lapsed { to, .. } => {
                self.lapsed = self.lapsed.max(Some(*to));
                self.ends = self.ends.split_off(&to.plus_nanos(1));
            }
            Event::Refused { device: None, .. } => self.door.note(event, at),
            Event::Refused { .. } => {}
            Event::Shown { device, serial } => {
                self.change(device, |record| record.shown = Some(*serial));
            }
            Event::SecretsAdded { secrets } => {
                for secret in secrets {
                    self.change_secrets(&secret.of.device, |all| {
                        secrets::told(all, secret, at.entry);
                    });
                }
            }
            Event::SecretRotated { secret } => {
                self.change_secrets(&secret.of.device, |all| {
                    secrets::told(all, secret, at.entry);
                });
            }
            Event::SecretEnded { of: SecretName { device, kind, name } } => {
                self.change_secrets(device, |all| secrets::ended(all, *kind, name));
            }
            Event::SecretProved { device, name, until } => {
                self.change_secrets(device, |all| secrets::proved(all, name, Some(*until)));
            }
            Event::SecretUnproved { device, name } => {
                self.change_secrets(device, |all| secrets::proved(all, name, None));
            }
        }
    }

    /// Two devices are one: so is what they have shown.
    pub(crate) fn merge(&mut self, keep: &DeviceId, other: &DeviceId, at: At<'_>) {
        let gone = self.records.remove(other).unwrap_or_default();
        self.unindex(other, &gone);
        let secrets = self.secrets.take(other);
        self.change_secrets(keep, |all| {
            *all = secrets::merged(std::mem::take(all), secrets);
        });
        let mut over = Vec::new();
        self.change(keep, |record| (*record, over) = merged(record, &gone));
        self.put_by(keep, over, at);
        self.put_tpm_by(keep, gone.tpm);
        for (key, (of, _)) in self.past.iter_mut().filter(|(_, (of, _))| of == other) {
            *of = keep.clone();
            self.by_key.insert(*key, keep.clone());
        }
        for token in self.tokens.values_mut().filter(|token| token.device == *other) {
            token.device = keep.clone();
        }
        for (device, _) in self.expected.values_mut().filter(|(device, _)| device == other) {
            *device = keep.clone();
        }
    }

    /// Remembers keys of certificates that are not kept. One that is not over could not be revoked any more: so it is now.
    fn put_by(&mut self, device: &DeviceId, gone: Vec<Credential>, at: At<'_>) {
        for credential in gone {
            let past = self.past.entry(credential.key).or_insert_with(|| (device.clone(), false));
            past.1 |= credential.revoked.is_some();
            self.by_serial.remove(&credential.serial);
            if credential.until > at.time {
                let Credential { issuer, until, .. } = credential;
                let superseded = Revoked { issuer, until, at: at.time, reason: Reason::Superseded };
                let revoked = revoked(&credential).unwrap_or(superseded);
                self.dropped.retain(|_, dropped| dropped.until > at.time);
                self.dropped.insert(credential.serial, revoked);
                self.revised = at.entry.saturating_add(1);
            }
        }
    }

    /// Remembers whose a TPM was that has another one in its place.
    fn put_tpm_by(&mut self, device: &DeviceId, before: Option<Tpm>) {
        let has = self.records.get(device).and_then(|record| record.tpm.as_ref());
        let has = has.map(|tpm| tpm.ek);
        if let Some(before) = before.filter(|before| Some(before.ek) != has) {
            self.past.entry(before.ek).or_insert_with(|| (device.clone(), false));
            self.by_key.insert(before.ek, device.clone());
        }
    }

    /// A device has shown its maker's key: nobody else has it.
    fn came(&mut self, device: &DeviceId, named: (String, String), key: Digest) {
        if let Some((_, shown)) = self.expected.get_mut(&named) {
            *shown = Some(key);
        }
        self.past.entry(key).or_insert_with(|| (device.clone(), false));
        self.by_key.insert(key, device.clone());
    }

    fn change(&mut self, device: &DeviceId, with: impl FnOnce(&mut Record)) {
        let mut record = self.records.remove(device).unwrap_or_default();
        self.unindex(device, &record);
        with(&mut record);
        self.index(device, &record);
        self.records.insert(device.clone(), record);
    }

    fn change_secrets(&mut self, device: &DeviceId, with: impl FnOnce(&mut Vec<Secret>)) {
        let record = self.records.remove(device);
        let none = Record::default();
        self.unindex(device, record.as_ref().unwrap_or(&none));
        let mut all = self.secrets.take(device);
        with(&mut all);
        self.secrets.put(device, all);
        self.index(device, record.as_ref().unwrap_or(&none));
        if let Some(record) = record {
            self.records.insert(device.clone(), record);
        }
    }

    fn index(&mut self, device: &DeviceId, record: &Record) {
        for credential in &record.credentials {
            self.by_key.insert(credential.key, device.clone());
            self.by_serial.insert(credential.serial, device.clone());
        }
        match record.credentials.iter().any(|credential| credential.revoked.is_some()) {
            true => self.revoked.insert(device.clone()),
            false => self.revoked.remove(device),
        };
        if let Some(tpm) = &record.tpm {
            self.by_key.insert(tpm.ek, device.clone());
        }
        let ends = record.ends().chain(self.secrets.ends(device));
        for end in ends.filter(|end| Some(*end) > self.lapsed) {
            self.ends.entry(end).or_default().insert(device.clone());
        }
        if let Some(gateway) = record.voucher.as_ref().and_then(Voucher::gateway) {
            self.wards.entry(gateway.clone()).or_default().insert(device.clone());
        }
    }

    /// Keys and serial numbers stay: each is in a record, or of the past.
    fn unindex(&mut self, device: &DeviceId, record: &Record) {
        self.revoked.remove(device);
        for end in record.ends().chain(self.secrets.ends(device)) {
            if let Some(devices) = self.ends.get_mut(&end) {
                devices.remove(device);
                if devices.is_empty() {
                    self.ends.remove(&end);
                }
            }
        }
        if let Some(gateway) = record.voucher.as_ref().and_then(Voucher::gateway)
            && let Some(wards) = self.wards.get_mut(gateway)
        {
            wards.remove(device);
            if wards.is_empty() {
                self.wards.remove(gateway);
            }
        }
    }

    /// What is not in a snapshot follows from what is.
    pub(crate) fn indexed(
        mut self,
        secrets: Secrets,
        resting: Resting,
        shown: AllShown,
        door: Door,
    ) -> Self {
        (self.secrets, self.door) = (secrets.indexed(), door);
        self.put_shown(shown);
        for (device, release) in resting {
            self.rest_on(&device, Some(release));
        }
        for (device, record) in std::mem::take(&mut self.records) {
            self.index(&device, &record);
            self.records.insert(device, record);
        }
        let none = Record::default();
        for device in self.secrets.devices().cloned().collect::<Vec<_>>() {
            if !self.records.contains_key(&device) {
                self.index(&device, &none);
            }
        }
        let past = self.past.iter().map(|(key, (device, _))| (*key, device.clone()));
        self.by_key.extend(past);
        self
    }
}

impl Record {
    /// When its evidence ends, each piece of it.
    fn ends(&self) -> impl Iterator<Item = Timestamp> {
        let credentials = self.credentials.iter().filter(|c| c.revoked.is_none());
        let attested = self.attestation.iter().map(|attestation| attestation.until);
        let vouched = self.voucher.iter().map(Voucher::until);
        credentials.map(|c| c.until).chain(attested).chain(vouched)
    }
}

fn revoked(credential: &Credential) -> Option<Revoked> {
    let Credential { issuer, until, .. } = *credential;
    credential.revoked.map(|(at, reason)| Revoked { issuer, until, at, reason })
}

/// The oldest that is over gives its place, else the oldest; what is not kept any more.
fn add(credentials: &mut Vec<Credential>, new: Credential, now: Timestamp) -> Vec<Credential> {
    let mut gone = Vec::new();
    if credentials.len() >= CREDENTIALS_MAX {
        let over = credentials.iter().position(|c| c.until <= now);
        gone.push(credentials.remove(over.unwrap_or(0)));
    }
    credentials.push(new);
    gone
}

/// What both have shown, and what of it is not kept.
fn merged(keep: &Record, other: &Record) -> (Record, Vec<Credential>) {
    let mut all: Vec<Credential> =
        keep.credentials.iter().chain(&other.credentials).cloned().collect();
    all.sort_by_key(|credential| credential.entry);
    let over = all.len().saturating_sub(CREDENTIALS_MAX);
    let gone = all.drain(..over).collect();
    let mut newest = all.iter().rev().map(|credential| credential.serial);
    let shown = newest.find(|serial| [keep.shown, other.shown].contains(&Some(*serial)));
    let record = Record {
        credentials: all,
        voucher: keep.voucher.clone().or_else(|| other.voucher.clone()),
        attestation: keep.attestation.clone().or_else(|| other.attestation.clone()),
        tpm: keep.tpm.clone().or_else(|| other.tpm.clone()),
        release: if keep.attestation.is_some() { keep.release } else { other.release },
        shown,
    };
    (record, gone)
}
