//! What comes of commands about identities.

use std::collections::{BTreeMap, BTreeSet};

use model::{Assurance, DeviceId, Timestamp, network};

use super::{
    ATTESTED_S_MAX, Answer, Attestation, BATCH_MAX, Command, Credential, EXPECT_MAX, EXPECTED_MAX,
    Enrolment, Event, Expected, GRACE_S, HOURLY_MAX, How, Identities, NewCredential, Proof, Reason,
    Record, Serial, TOKEN_S_MAX, TOKENS_MAX, VOUCHED_S_MAX, Voucher, WAITING_MAX,
    WAITING_OF_ONE_MAX, WAITING_S, Wanted, ladder,
};
use crate::devices::{Device, Devices, State};
use crate::side::Digest;
use crate::{At, Refusal, Sort};

/// Devices of one event.
const EVENT_DEVICES_MAX: usize = 256;
/// Devices that are expected, of one event.
const EVENT_EXPECTED_MAX: usize = 64;
/// Characters of a text that others say.
const TEXT_CHARS_MAX: usize = 256;
/// Names of a request that are kept.
const NAMES_MAX: usize = 16;
/// Clocks differ by no more than this, in nanoseconds.
pub(super) const SKEW_NANOS: i64 = 600 * 1_000_000_000;

/// What became of one enrolment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has its certificate.
    Issued,
    /// It gets none.
    Refused(Refusal),
}

impl Identities {
    pub(crate) fn decide(
        &self,
        command: &Command,
        devices: &Devices,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::IssueToken { device, secret, expires_at } => {
                self.issue_token(devices, device, *secret, *expires_at, now)
            }
            Command::Enrol { batch } => Ok(self.enrol(batch, devices, now)?.0),
            Command::Refuse { code, why, device, key, from, times } => {
                let (code, why, device) = (clip(code), clip(why), device.clone());
                let (key, from, times) = (*key, from.map(model::network), (*times).max(1));
                Ok(self.refuse(Event::Refused { code, why, device, key, from, times }, now))
            }
            Command::Show { batch } => self.show(devices, batch, now),
            Command::Find { code, device, what } => {
                let device = known(devices, device)?.id.clone();
                let found = Event::Found { code: clip(code), device, what: clip(what) };
                Ok(self.unless_lately(found, now).into_iter().collect())
            }
            Command::Revoke { device, serials, reason } => {
                self.revoke(devices, device, serials, *reason, now)
            }
            Command::Vouch { device, voucher } => self.vouch(devices, device, voucher, now),
            Command::EndVoucher { device } => {
                let device = &alive(devices, device)?.id;
                let known = self.get(device).is_some_and(|record| record.voucher.is_some());
                let event = || Event::VoucherEnded { device: device.clone() };
                Ok(known.then(event).into_iter().collect())
            }
            Command::Attest { device, attestation, release } => {
                self.attest(devices, device, attestation, release, now)
            }
            Command::FailAttestation { device, code, why } => {
                let device = alive(devices, device)?.id.clone();
                Ok(vec![Event::AttestationFailed { device, code: clip(code), why: clip(why) }])
            }
            Command::Ask { wanted } => self.ask(wanted, now),
            Command::Answer { request, answer } => self.answer(devices, request, answer, now),
            Command::Expect { expected } => self.expect(devices, expected),
            Command::Lapse => Ok(self.lapse(now)),
            Command::AddSecrets { secrets } => self.add_secrets(devices, secrets, now),
            Command::RotateSecret { secret } => self.rotate_secret(devices, secret, now),
            Command::EndSecret { of } => self.end_secret(devices, of),
            Command::ProveSecret { name, secret, until } => {
                self.prove_secret(devices, name, secret, *until, now)
            }
            Command::FailSecret { name, from } => Ok(self.fail_secret(name, *from, now)),
        }
    }

    /// What comes of enrolments, and what became of each: in the order in which they came.
    pub(crate) fn enrol(
        &self,
        batch: &[Enrolment],
        devices: &Devices,
        now: Timestamp,
    ) -> Result<(Vec<Event>, Vec<Outcome>), Refusal> {
        bounded(batch.len(), "the enrolments")?;
        let mut course = Course {
            of: self,
            devices,
            now,
            keys: BTreeMap::new(),
            spent: BTreeSet::new(),
            given: BTreeMap::new(),
        };
        let (mut events, mut outcomes) = (Vec::new(), Vec::new());
        for enrolment in batch {
            match course.judge(enrolment) {
                Ok(event) => {
                    let again = self.again(enrolment, now);
                    events.push(event);
                    events.extend(again);
                    outcomes.push(Outcome::Issued);
                }
                Err(refusal) => {
                    events.extend(self.refused(enrolment, &refusal, now));
                    outcomes.push(Outcome::Refused(refusal));
                }
            }
        }
        Ok((events, outcomes))
    }

    /// A refusal for the journal, and what a person should look at.
    fn refused(&self, enrolment: &Enrolment, refusal: &Refusal, now: Timestamp) -> Vec<Event> {
        let (device, key) = (enrolment.device.clone(), enrolment.credential.key);
        let copied = matches!(refusal.code, "identity.key-taken" | "identity.key-revoked");
        let (code, why) = (refusal.code.to_owned(), clip(&refusal.why));
        let refused = Event::Refused {
            code: code.clone(),
            why,
            device: Some(device.clone()),
            key: Some(key),
            from: None,
            times: 1,
        };
        if !copied {
            return self.refuse(refused, now);
        }
        let what = clip(&format!("a certificate was asked for with {key}: {}", refusal.why));
        vec![refused, Event::Found { code, device, what }]
    }

    /// Another key for a PSK whose certificate is still good: the device began anew, or somebody else knows it.
    fn again(&self, enrolment: &Enrolment, now: Timestamp) -> Option<Event> {
        let How::Psk { name, .. } = &enrolment.how else { return None };
        let (device, key) = (&enrolment.device, &enrolment.credential.key);
        let own = self.get(device).map(|record| record.credentials.as_slice()).unwrap_or_default();
        let mut others = own.iter().filter(|c| c.is_good(now) && c.proof == Proof::Psk);
        others.find(|c| c.key != *key).map(|_| {
            let what = format!(
                "pre-shared key `{name}` got a certificate for a second key: the device began anew, or somebody else knows it"
            );
            let code = "identity.psk-again".to_owned();
            Event::Found { code, device: device.clone(), what: clip(&what) }
        })
    }

    fn issue_token(
        &self,
        devices: &Devices,
        device: &DeviceId,
        secret: Digest,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let device = alive(devices, device)?.id.clone();
        let what = || format!("a token for {device}");
        within(expires_at, now, TOKEN_S_MAX)
            .map_err(|why| Refusal::new(Sort::Invalid, "identity.token-life", what(), why))?;
        if self.tokens.contains_key(&secret) {
            let why = "its secret is the secret of another one";
            return Err(Refusal::new(Sort::Conflict, "identity.token-taken", what(), why));
        }
        let open = || self.tokens.values().filter(|token| token.expires_at > now).count();
        if self.tokens.len() >= TOKENS_MAX && open() >= TOKENS_MAX {
            let why = format!("{TOKENS_MAX} are open or were used a short while ago");
            return Err(Refusal::new(Sort::Full, "identity.tokens", what(), why));
        }
        Ok(vec![Event::TokenIssued { device, secret, expires_at }])
    }

    fn revoke(
        &self,
        devices: &Devices,
        device: &DeviceId,
        serials: &[Serial],
        reason: Reason,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        // Those of a retired device too.
        let device = known(devices, device)?.id.clone();
        let all = self.get(&device).map(|r| r.credentials.as_slice()).unwrap_or_default();
        let unknown = serials.iter().find(|serial| !all.iter().any(|c| c.serial == **serial));
        if let Some(serial) = unknown {
            let (what, why) = (format!("certificate {serial}"), format!("{device} has none such"));
            return Err(Refusal::new(Sort::Unknown, "identity.serial", what, why)
                .help(format!("`ringfence identity show {device}` lists them")));
        }
        let meant = |c: &&Credential| serials.is_empty() || serials.contains(&c.serial);
        let open = all.iter().filter(meant).filter(|c| c.revoked.is_none() && c.until > now);
        let serials: Vec<Serial> = open.map(|c| c.serial).collect();
        Ok(match serials.is_empty() {
            true => Vec::new(),
            false => vec![Event::Revoked { device, serials, reason }],
        })
    }

    fn vouch(
        &self,
        devices: &Devices,
        device: &DeviceId,
        voucher: &Voucher,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let device = alive(devices, device)?.id.clone();
        let what = || format!("vouching for {device}");
        within(voucher.until(), now, VOUCHED_S_MAX)
            .map_err(|why| Refusal::new(Sort::Invalid, "identity.voucher-life", what(), why))?;
        match voucher {
            Voucher::People { first, second, .. } if first == second => {
                let why = "it takes two people";
                return Err(Refusal::new(Sort::Forbidden, "identity.voucher-alone", what(), why));
            }
            Voucher::People { .. } => {}
            Voucher::Gateway { gateway, .. } => {
                if alive(devices, gateway)?.id == device {
                    let why = "nobody speaks for itself";
                    return Err(Refusal::new(Sort::Invalid, "identity.voucher-self", what(), why));
                }
            }
        }
        Ok(vec![Event::Vouched { device, voucher: voucher.clone() }])
    }

    fn attest(
        &self,
        devices: &Devices,
        device: &DeviceId,
        new: &Attestation,
        release: &str,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let device = alive(devices, device)?.id.clone();
        let refuse = |sort, code, why: &str| {
            Err(Refusal::new(sort, code, format!("the attestation of {device}"), why))
        };
        if let Err(why) = within(new.until, now, ATTESTED_S_MAX) {
            return refuse(Sort::Invalid, "identity.attestation-life", &why);
        }
        let record = self.get(&device);
        let mut own = record.into_iter().flat_map(|r| &r.credentials);
        if !own.any(|c| c.key == new.key && c.is_good(now) && c.level >= Assurance::HardwareKey) {
            let why = "it is bound to a key that is not shown to live in the device's hardware";
            return refuse(Sort::Forbidden, "identity.attestation-key", why);
        }
        if record.and_then(|record| record.tpm.as_ref()).is_none_or(|tpm| tpm.ak != new.ak) {
            let why = "it is signed by an attestation key that is not the device's";
            return refuse(Sort::Forbidden, "identity.attestation-tpm", why);
        }
        if let Some(last) = record.and_then(|record| record.attestation.as_ref()) {
            if last.quote == new.quote {
                let why = "this quote counted before";
                return refuse(Sort::Conflict, "identity.attestation-replayed", why);
            }
            let counts = |a: &Attestation| (a.reset_count, a.restart_count);
            let booted = new.reset_count > last.reset_count;
            let back = counts(new) < counts(last) || (!booted && new.clock_ms < last.clock_ms);
            // Another TPM counts from another beginning.
            if last.ak == new.ak && back {
                let why = "its TPM's counters went back: an older state was put back";
                return refuse(Sort::Conflict, "identity.attestation-rollback", why);
            }
        }
        let release = Some(release.to_owned());
        Ok(vec![Event::Attested { device, attestation: new.clone(), release }])
    }

    fn ask(&self, wanted: &Wanted, now: Timestamp) -> Result<Vec<Event>, Refusal> {
        let what = || "the certificate request".to_owned();
        let recent = now.plus_nanos(-WAITING_S.saturating_mul(1_000_000_000));
        if self.waiting.get(&wanted.request).is_some_and(|w| w.at > recent) {
            return Ok(Vec::new());
        }
        let open = || self.waiting.values().filter(|w| w.answer.is_none() && w.at > recent);
        if open().count() >= WAITING_MAX {
            let why = format!("{WAITING_MAX} others wait for a person already");
            return Err(Refusal::new(Sort::Full, "identity.waiting", what(), why));
        }
        let of = network(wanted.from);
        if open().filter(|w| network(w.wanted.from) == of).count() >= WAITING_OF_ONE_MAX {
            let why =
                format!("{WAITING_OF_ONE_MAX} from the network of {} wait already", wanted.from);
            return Err(Refusal::new(Sort::Full, "identity.waiting-of-one", what(), why));
        }
        let mut wanted = wanted.clone();
        wanted.names.truncate(NAMES_MAX);
        wanted.names = wanted.names.iter().map(|name| clip(name)).collect();
        Ok(vec![Event::Asked { wanted }])
    }

    fn answer(
        &self,
        devices: &Devices,
        request: &Digest,
        answer: &Answer,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let what = || format!("request {request}");
        let recent = now.plus_nanos(-WAITING_S.saturating_mul(1_000_000_000));
        let waiting = self.waiting.get(request).filter(|waiting| waiting.at > recent);
        let waiting = waiting.ok_or_else(|| {
            let why = "there is none, or it is too old";
            Refusal::new(Sort::Unknown, "identity.request", what(), why)
                .help("`ringfence identity requests` lists them")
        })?;
        let answer = match answer {
            Answer::Approved { device } => {
                let device = alive(devices, device)?.id.clone();
                if self.by_key.get(&waiting.wanted.key).is_some_and(|of| *of != device) {
                    return Err(taken(&waiting.wanted.key));
                }
                Answer::Approved { device }
            }
            Answer::Rejected => Answer::Rejected,
        };
        match &waiting.answer {
            Some(before) if *before == answer => Ok(Vec::new()),
            Some(_) => {
                let why = "it was answered already";
                Err(Refusal::new(Sort::Conflict, "identity.answered", what(), why))
            }
            None => Ok(vec![Event::Answered { request: *request, answer }]),
        }
    }

    fn expect(&self, devices: &Devices, expected: &[Expected]) -> Result<Vec<Event>, Refusal> {
        if expected.len() > EXPECT_MAX {
            let why = format!("{} devices; {EXPECT_MAX} at most", expected.len());
            return Err(Refusal::new(Sort::Invalid, "identity.expected", "the list", why)
                .help("send several"));
        }
        if self.expected.len().saturating_add(expected.len()) > EXPECTED_MAX {
            let why = format!("{EXPECTED_MAX} are expected");
            return Err(Refusal::new(Sort::Full, "identity.expected-full", "the list", why));
        }
        let judged: Result<Vec<_>, _> = self.judge_expected(devices, expected).collect();
        let new: Vec<Expected> = judged?.into_iter().flatten().collect();
        let parts = new.chunks(EVENT_EXPECTED_MAX);
        Ok(parts.map(|part| Event::Expected { expected: part.to_vec() }).collect())
    }

    /// What would come of each of those who are said to be expected, with what those before it brought; `None`: it is expected already.
    pub fn judge_expected<'e>(
        &'e self,
        devices: &'e Devices,
        expected: &'e [Expected],
    ) -> impl Iterator<Item = Result<Option<Expected>, Refusal>> + 'e {
        let mut new: BTreeMap<(&str, &str), DeviceId> = BTreeMap::new();
        expected.iter().map(move |one| {
            let what = || format!("number {} of {}", clip(&one.number), clip(&one.maker));
            for text in [&one.maker, &one.number] {
                let fits = (1..=128).contains(&text.len()) && !text.chars().any(char::is_control);
                if !fits {
                    let why = "maker and number are 1 to 128 bytes without control characters";
                    return Err(Refusal::new(Sort::Invalid, "identity.expected", what(), why));
                }
            }
            let device = alive(devices, &one.device)?.id.clone();
            let (maker, number) = (one.maker.clone(), one.number.clone());
            let before = self.expected.get(&(maker.clone(), number.clone()));
            let here = new.get(&(&*one.maker, &*one.number));
            match before.map(|(device, _)| device).or(here) {
                Some(other) if *other != device => {
                    let why = format!("it is {other}");
                    Err(Refusal::new(Sort::Conflict, "identity.expected", what(), why))
                }
                Some(_) => Ok(None),
                None => {
                    new.insert((&one.maker, &one.number), device.clone());
                    Ok(Some(Expected { maker, number, device }))
                }
            }
        })
    }

    /// Whose evidence has ended since that was looked at, about a batch at a time.
    fn lapse(&self, now: Timestamp) -> Vec<Event> {
        let mut devices = BTreeSet::new();
        let mut to = None;
        for (end, of) in self.ends.range(..=now) {
            // All that ends at one moment is looked at together.
            if devices.len() >= BATCH_MAX {
                break;
            }
            to = Some(*end);
            devices.extend(of.iter().cloned());
        }
        let Some(to) = to else { return Vec::new() };
        let devices: Vec<DeviceId> = devices.into_iter().collect();
        let parts = devices.chunks(EVENT_DEVICES_MAX);
        parts.map(|part| Event::Lapsed { devices: part.to_vec(), to }).collect()
    }

    /// Evidence of those whom events change, as it is afterwards; those for whom they speak with theirs of now.
    pub(crate) fn changed(
        &self,
        events: &[Event],
        now: Timestamp,
        at: At<'_>,
    ) -> Vec<(DeviceId, super::Standing)> {
        let touched: BTreeSet<&DeviceId> = events.iter().flat_map(Event::devices).collect();
        if touched.is_empty() {
            return Vec::new();
        }
        let mut after = Self::default();
        let wards = touched.iter().flat_map(|id| self.wards_of(id));
        let all: BTreeSet<&DeviceId> = touched.iter().copied().chain(wards).collect();
        let gateways = |id: &&DeviceId| {
            self.get(id).and_then(|r| r.voucher.as_ref()).and_then(Voucher::gateway)
        };
        let more: BTreeSet<&DeviceId> = all.iter().filter_map(gateways).collect();
        for id in all.iter().copied().chain(more) {
            if let Some(record) = self.get(id) {
                after.records.insert(id.clone(), record.clone());
            }
            after.secrets.put(id, self.secrets.of(id).to_vec());
        }
        for event in events {
            if let Event::Vouched { voucher: Voucher::Gateway { gateway, .. }, .. } = event
                && let Some(record) = self.get(gateway)
            {
                after.records.entry(gateway.clone()).or_insert_with(|| record.clone());
            }
            if let Event::Vouched { voucher: Voucher::Gateway { gateway, .. }, .. } = event {
                after.secrets.take(gateway);
                after.secrets.put(gateway, self.secrets.of(gateway).to_vec());
            }
        }
        events.iter().for_each(|event| after.apply(event, at));
        all.into_iter().map(|id| (id.clone(), after.standing(id, now))).collect()
    }

    /// For whom a gateway speaks.
    fn wards_of(&self, gateway: &DeviceId) -> impl Iterator<Item = &DeviceId> {
        self.wards.get(gateway).into_iter().flatten()
    }

    /// How a device stands when another one's evidence is its own.
    pub(crate) fn standing_merged(
        &self,
        keep: &DeviceId,
        other: &DeviceId,
        now: Timestamp,
    ) -> super::Standing {
        let none = Record::default();
        let (own, gone) = (self.get(keep).unwrap_or(&none), self.get(other).unwrap_or(&none));
        let proved = self.secrets.proved(keep).max(self.secrets.proved(other));
        self.standing_with(Some(&super::merged(own, gone).0), proved, now)
    }
}

/// Enrolments on their way, each judged with what those before it brought.
struct Course<'e> {
    of: &'e Identities,
    devices: &'e Devices,
    now: Timestamp,
    /// Keys of this batch, and whose they are now.
    keys: BTreeMap<Digest, DeviceId>,
    /// Tokens of this batch.
    spent: BTreeSet<Digest>,
    /// Keys of the certificates of this batch.
    given: BTreeMap<DeviceId, Vec<Digest>>,
}

impl Course<'_> {
    fn judge(&mut self, enrolment: &Enrolment) -> Result<Event, Refusal> {
        let Enrolment { device, credential, how } = enrolment;
        let device = alive(self.devices, device)?.id.clone();
        let what = || format!("the enrolment of {device}");
        let NewCredential { key, since, until, .. } = credential;
        if until <= since
            || *until <= self.now
            || self.now.as_nanos().saturating_add(SKEW_NANOS) < since.as_nanos()
        {
            let why = "its certificate would not be valid now";
            return Err(Refusal::new(Sort::Invalid, "identity.validity", what(), why));
        }
        if self.owner(key).is_some_and(|of| *of != device) {
            return Err(taken(key));
        }
        let own = self.of.get(&device).map(|r| r.credentials.as_slice()).unwrap_or_default();
        let revoked_before = self.of.past.get(key).is_some_and(|(_, revoked)| *revoked);
        if revoked_before || own.iter().any(|c| c.key == *key && c.revoked.is_some()) {
            let why = "its key was revoked; a new one is needed";
            return Err(Refusal::new(Sort::Forbidden, "identity.key-revoked", what(), why));
        }
        let given = self.given.get(&device).map_or(0, Vec::len);
        let hour = self.now.plus_nanos(-3_600 * 1_000_000_000);
        let lately = own.iter().filter(|c| c.since.plus_nanos(SKEW_NANOS) > hour).count();
        if lately.saturating_add(given) >= HOURLY_MAX {
            let why = format!("it got {HOURLY_MAX} certificates within an hour");
            return Err(Refusal::new(Sort::Full, "identity.pace", what(), why)
                .help("look at why the device asks so often"));
        }
        let level = self.shown(&device, own, key, how)?;
        self.given.entry(device.clone()).or_default().push(*key);
        self.spent.extend(how.token());
        if let How::Tpm { tpm, .. } = how {
            self.keys.insert(tpm.ek, device.clone());
        }
        self.keys.insert(*key, device.clone());
        Ok(Event::Issued { device, credential: credential.clone(), level, how: how.clone() })
    }

    fn owner(&self, key: &Digest) -> Option<&DeviceId> {
        self.keys.get(key).or_else(|| self.of.by_key.get(key))
    }

    /// What the certificate will show, if it may be given.
    fn shown(
        &self,
        device: &DeviceId,
        own: &[Credential],
        key: &Digest,
        how: &How,
    ) -> Result<Assurance, Refusal> {
        let what = || format!("the enrolment of {device}");
        let last = |key: &Digest| {
            own.iter().filter(|c| c.key == *key && c.revoked.is_none()).max_by_key(|c| c.until)
        };
        let older = |serial: &Serial| {
            let newer = self.of.get(device)?.newer_shown(serial, self.now)?;
            Some(super::shown::older(device, newer))
        };
        match how {
            How::Token { secret } => {
                self.opens(secret, device, key)?;
                Ok(Assurance::DeviceKey)
            }
            How::Idevid { maker, number, key: shown, token } => {
                let expected = self.of.expected.get(&(maker.clone(), number.clone()));
                let (expected, before) = expected
                    .filter(|(of, _)| self.devices.get(of).is_some_and(|of| of.id == *device))
                    .ok_or_else(|| {
                        let why = format!("number {number} of {maker} is not expected as {device}");
                        Refusal::new(Sort::Forbidden, "identity.unexpected", what(), why)
                    })?;
                let other = self.owner(shown).is_some_and(|of| of != expected && of != device);
                if other || before.is_some_and(|before| before != *shown) {
                    return Err(taken(shown));
                }
                match token {
                    Some(secret) => self.opens(secret, device, key)?,
                    None if self.again(device, own, key) => {
                        let why = format!(
                            "number {number} of {maker} has a good certificate for another key: the device began anew, or somebody else has its maker's key"
                        );
                        let code = "identity.idevid-again";
                        return Err(Refusal::new(Sort::Conflict, code, what(), why).help(format!(
                            "look at the device; `ringfence identity token {device}` lets it change, `ringfence identity revoke {device}` ends the other key"
                        )));
                    }
                    None => {}
                }
                Ok(Assurance::DeviceKey)
            }
            How::Tpm { tpm, token } => {
                if let Some(part) = tpm.excess() {
                    let why = format!("{part} is too long");
                    return Err(Refusal::new(Sort::Invalid, "identity.tpm", what(), why));
                }
                if self.owner(&tpm.ek).is_some_and(|of| of != device) {
                    return Err(taken(&tpm.ek));
                }
                match (token, self.of.get(device).and_then(|record| record.tpm.as_ref())) {
                    (Some(secret), _) => self.opens(secret, device, key)?,
                    (None, Some(has)) if (has.ek, has.ak) == (tpm.ek, tpm.ak) => {}
                    (None, has) => {
                        let why = match has {
                            Some(_) => "it had another TPM, or another attestation key, before",
                            None => "nobody has said that this TPM is this device's",
                        };
                        let refusal = Refusal::new(Sort::Forbidden, "identity.tpm", what(), why);
                        return Err(refusal
                            .help(format!("`ringfence identity token {device}` lets it change")));
                    }
                }
                Ok(Assurance::HardwareKey)
            }
            How::Psk { name, secret } => {
                let (of, _) = self.of.psk_of(self.devices, name, secret)?;
                match of == device {
                    true => Ok(Assurance::DeviceKey),
                    false => {
                        let why = "the pre-shared key is another device's";
                        Err(Refusal::new(Sort::Forbidden, "identity.psk", what(), why))
                    }
                }
            }
            How::Renewal { key: shown, shown: serial } => {
                match last(shown).filter(|c| c.is_good(self.now)) {
                    Some(_) if let Some(refusal) = serial.and_then(|serial| older(&serial)) => {
                        Err(refusal)
                    }
                    Some(before) if shown == key => Ok(restored(before)),
                    // Where a new key lives was not shown.
                    Some(_) => Ok(Assurance::DeviceKey),
                    None => {
                        let why = "the certificate that it showed is revoked, over, or not its own";
                        Err(Refusal::new(Sort::Forbidden, "identity.renewal", what(), why))
                    }
                }
            }
            How::Grace => {
                let grace = GRACE_S.saturating_mul(1_000_000_000);
                let before = last(key)
                    .filter(|c| c.since <= self.now && self.now < c.until.plus_nanos(grace));
                match before {
                    Some(c) if let Some(refusal) = older(&c.serial) => Err(refusal),
                    Some(c) if c.is_good(self.now) => Ok(c.level),
                    Some(c) => Ok(ladder::lower(c.level).max(Assurance::Vouched)),
                    None => {
                        let why = format!(
                            "it has no certificate for this key that ended in the last {} days",
                            GRACE_S / 86_400
                        );
                        Err(Refusal::new(Sort::Forbidden, "identity.grace", what(), why))
                    }
                }
            }
            How::Approved { request } => {
                let recognised = self.of.waiting.get(request).is_some_and(|waiting| {
                    let of = matches!(&waiting.answer, Some(Answer::Approved { device: of }) if self
                        .devices.get(of).is_some_and(|of| of.id == *device));
                    of && waiting.wanted.key == *key
                });
                match recognised {
                    true => Ok(Assurance::DeviceKey),
                    false => {
                        let why = "nobody has approved this request for this device";
                        Err(Refusal::new(Sort::Forbidden, "identity.approval", what(), why))
                    }
                }
            }
        }
    }
}

impl Course<'_> {
    /// Whether a device has a certificate that is not over, and none for this key: also one of this batch, because a copy may come at the same moment.
    fn again(&self, device: &DeviceId, own: &[Credential], key: &Digest) -> bool {
        // A clock that was put back opens nothing.
        let open = own.iter().filter(|c| c.revoked.is_none() && self.now < c.until);
        let given = self.given.get(device).into_iter().flatten();
        let mut keys = open.map(|c| &c.key).chain(given).peekable();
        keys.peek().is_some() && keys.all(|other| other != key)
    }

    /// Whether a token lets a key become a device's.
    fn opens(&self, secret: &Digest, device: &DeviceId, key: &Digest) -> Result<(), Refusal> {
        let open = self.of.token(secret);
        let open = open.filter(|t| t.device == *device && t.expires_at > self.now);
        // Whoever lost the answer comes again with the same key.
        let good = open.is_some_and(|token| token.used_by.is_none_or(|used| used == *key));
        match good && !self.spent.contains(secret) {
            true => Ok(()),
            false => {
                let (what, why) = (
                    format!("the enrolment of {device}"),
                    "the token is unknown, expired, for another device, or used by another key",
                );
                Err(Refusal::new(Sort::Forbidden, "identity.token", what, why)
                    .help(format!("`ringfence identity token {device}` makes a new one")))
            }
        }
    }
}

/// Whether so many fit into one command.
pub(super) fn bounded(count: usize, what: &str) -> Result<(), Refusal> {
    match count <= BATCH_MAX {
        true => Ok(()),
        false => {
            let why = format!("{count} of them; {BATCH_MAX} at most");
            Err(Refusal::new(Sort::Invalid, "identity.batch", what, why))
        }
    }
}

/// Shown in time again, a key is what it was before it was late.
fn restored(before: &Credential) -> Assurance {
    before.level.max(Assurance::DeviceKey)
}

fn taken(key: &Digest) -> Refusal {
    let why = "this key is another device's: one of the two is a copy";
    Refusal::new(Sort::Conflict, "identity.key-taken", format!("the key {key}"), why)
        .help("look at both devices; revoke the key, and let each make one of its own")
}

pub(super) fn known<'d>(devices: &'d Devices, id: &DeviceId) -> Result<&'d Device, Refusal> {
    devices.get(id).ok_or_else(|| {
        let why = "there is none with this id";
        Refusal::new(Sort::Unknown, "device.unknown", format!("device {id}"), why)
            .help("`ringfence get devices` lists them")
    })
}

pub(super) fn alive<'d>(devices: &'d Devices, id: &DeviceId) -> Result<&'d Device, Refusal> {
    let device = known(devices, id)?;
    match device.state {
        State::Retired => {
            let why = "it is retired, and has no identity any more";
            let what = format!("device {id}");
            Err(Refusal::new(Sort::Conflict, "device.retired", what, why))
        }
        State::Active | State::Stale => Ok(device),
    }
}

/// Whether something ends in the future, and within so many seconds.
pub(super) fn within(end: Timestamp, now: Timestamp, seconds_max: i64) -> Result<(), String> {
    let latest = now.plus_nanos(seconds_max.saturating_mul(1_000_000_000));
    match end > now && end <= latest {
        true => Ok(()),
        false => Err(format!("it has to end in the future, and before {latest}")),
    }
}

pub(super) fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect()
}
