//! Identities: who gets a certificate, and how high evidence puts a device for how long.

use estate::devices::{self, Field};
use estate::identities::{
    ATTESTED_S_MAX, Answer, Attestation, CREDENTIALS_MAX, Command, Enrolment, Expected, GRACE_S,
    HOURLY_MAX, How, Limit, NewCredential, NewSecret, Octets, Outcome, Reason, SecretKind,
    SecretName, Serial, Status, TOKEN_S_MAX, Tpm, VOUCHED_S_MAX, Voucher, WAITING_OF_ONE_MAX,
    Wanted,
};
use estate::side::Digest;
use estate::{Estate, Event, Refusal, identities};
use model::Assurance::{Attested, DeviceKey, HardwareKey, Observed, SharedSecret, Vouched};
use model::{Assurance, DeviceId, Timestamp};
use proptest::prelude::*;

use crate::world::{World, device, edit, facts, report};

pub(crate) const DAY: i64 = 86_400;

pub(crate) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn serial(n: u16) -> Serial {
    let [high, low] = n.to_be_bytes();
    match high {
        0 => Serial([low; 16]),
        _ => Serial([high, low, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0]),
    }
}

pub(crate) struct Drill {
    pub(crate) world: World,
    serial: u16,
}

impl Drill {
    pub(crate) fn new() -> Self {
        let mut world = World::new();
        let now = world.now;
        let all = ["a", "b", "gw"].map(|id| facts(id, id, &[&format!("serial/x/{id}")], now));
        world.command(&report("north", "sensor", all.to_vec())).unwrap();
        Self { world, serial: 0 }
    }

    pub(crate) fn after(&self, seconds: i64) -> Timestamp {
        self.world.now.plus_nanos(seconds * 1_000_000_000)
    }

    pub(crate) fn run(&mut self, command: Command) -> Result<Vec<Event>, &'static str> {
        let done = self.world.command(&estate::Command::Identity(command));
        done.map_err(|refusal| refusal.code)
    }

    pub(crate) fn token(&mut self, id: &str, secret: &str) {
        let (device, secret, expires_at) = (device(id), digest(secret), self.after(DAY));
        self.run(Command::IssueToken { device, secret, expires_at }).unwrap();
    }

    fn enrolment(&mut self, id: &str, key: &str, days: i64, how: How) -> Enrolment {
        self.serial += 1;
        let credential = NewCredential {
            key: digest(key),
            serial: serial(self.serial),
            issuer: digest("ca"),
            since: self.after(-300),
            until: self.after(days * DAY),
        };
        Enrolment { device: device(id), credential, how }
    }

    /// `Ok`, or the code of the refusal.
    pub(crate) fn enrol(
        &mut self,
        id: &str,
        key: &str,
        days: i64,
        how: How,
    ) -> Result<(), &'static str> {
        let batch = vec![self.enrolment(id, key, days, how)];
        let who = crate::world::person();
        let (_, outcomes) = self.world.estate.enrol(&batch, &who, self.world.now).unwrap();
        self.run(Command::Enrol { batch })?;
        match outcomes.into_iter().next().unwrap() {
            Outcome::Issued => Ok(()),
            Outcome::Refused(Refusal { code, .. }) => Err(code),
        }
    }

    pub(crate) fn with_token(&mut self, id: &str, key: &str, days: i64) {
        let secret = format!("{id} {key}");
        self.token(id, &secret);
        self.enrol(id, key, days, How::Token { secret: digest(&secret) }).unwrap();
    }

    pub(crate) fn level(&self, id: &str) -> (Assurance, Limit) {
        self.world.device(id).assurance()
    }

    fn speaks(&self, key: &str) -> bool {
        self.world.estate.speaks(&digest(key), self.world.now).is_some()
    }

    pub(crate) fn found(&self) -> Vec<(DeviceId, String)> {
        let found = self.world.estate.identities().found();
        found.map(|found| (found.device.clone(), found.code.clone())).collect()
    }

    /// Time passes, and is noticed.
    pub(crate) fn pass(&mut self, seconds: i64) {
        self.world.pass(seconds);
        self.run(Command::Lapse).unwrap();
        assert!(self.world.estate.identities().next_end().is_none_or(|end| end > self.world.now));
    }

    pub(crate) fn audit(&self) {
        let estate = &self.world.estate;
        assert!(self.world.replayed() == *estate, "a replay differs");
        let restored = Estate::restore(&estate.snapshot().unwrap()).unwrap();
        assert!(restored == *estate, "a snapshot differs");
        for device in estate.devices().iter() {
            let standing = estate.identities().standing(&device.id, self.world.now);
            let (level, _) = device.assurance();
            assert!(level <= standing.level, "{}: {level:?} > {standing:?}", device.id);
        }
    }
}

#[test]
fn a_token_gives_one_key_a_certificate_and_raises_its_device() {
    let mut drill = Drill::new();
    assert_eq!(drill.level("a"), (Observed, Limit::Evidence));
    drill.token("a", "t");
    let how = || How::Token { secret: digest("t") };
    let wrong = How::Token { secret: digest("other") };
    assert_eq!(drill.enrol("a", "k1", 30, wrong), Err("identity.token"));
    assert_eq!(drill.enrol("b", "k1", 30, how()), Err("identity.token"), "it is for a");
    assert_eq!(drill.enrol("a", "k1", 30, how()), Ok(()));
    assert_eq!(drill.level("a"), (DeviceKey, Limit::Credential));
    assert!(drill.speaks("k1") && !drill.speaks("k2"));
    // Whoever lost the answer comes again; another key does not.
    assert_eq!(drill.enrol("a", "k1", 30, how()), Ok(()));
    assert_eq!(drill.enrol("a", "k2", 30, how()), Err("identity.token"));
    drill.world.pass(DAY);
    assert_eq!(drill.enrol("a", "k1", 30, how()), Err("identity.token"), "it is too late");
    drill.audit();
}

#[test]
fn tokens_have_bounds() {
    let mut drill = Drill::new();
    let token = |drill: &Drill, id: &str, seconds| Command::IssueToken {
        device: device(id),
        secret: digest("t"),
        expires_at: drill.after(seconds),
    };
    let (past, long, nobody) =
        (token(&drill, "a", 0), token(&drill, "a", TOKEN_S_MAX + 1), token(&drill, "nobody", DAY));
    assert_eq!(drill.run(past), Err("identity.token-life"));
    assert_eq!(drill.run(long), Err("identity.token-life"));
    assert_eq!(drill.run(nobody), Err("device.unknown"));
    drill.token("a", "t");
    let again = token(&drill, "b", DAY);
    assert_eq!(drill.run(again), Err("identity.token-taken"));
    let retire = devices::Command::Retire { devices: vec![device("b")] };
    drill.world.command(&estate::Command::Device(retire)).unwrap();
    let retired = Command::IssueToken {
        device: device("b"),
        secret: digest("u"),
        expires_at: drill.after(DAY),
    };
    assert_eq!(drill.run(retired), Err("device.retired"));
    drill.audit();
}

#[test]
fn a_key_on_two_devices_is_refused_and_found() {
    let mut drill = Drill::new();
    drill.with_token("a", "k", 30);
    drill.token("b", "t");
    let how = How::Token { secret: digest("t") };
    assert_eq!(drill.enrol("b", "k", 30, how.clone()), Err("identity.key-taken"));
    let found: Vec<_> = drill.world.estate.identities().found().cloned().collect();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].code.as_str(), &found[0].device), ("identity.key-taken", &device("b")));
    assert_eq!(drill.level("b"), (Observed, Limit::Evidence));
    // Within one batch too: nothing is half known.
    drill.token("a", "ta");
    let one = drill.enrolment("a", "n", 30, How::Token { secret: digest("ta") });
    let other = drill.enrolment("b", "n", 30, how.clone());
    let twice = drill.enrolment("a", "m", 30, How::Token { secret: digest("ta") });
    let who = crate::world::person();
    let batch = vec![one, other, twice];
    let (_, outcomes) = drill.world.estate.enrol(&batch, &who, drill.world.now).unwrap();
    let codes: Vec<_> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Issued => "issued",
            Outcome::Refused(refusal) => refusal.code,
        })
        .collect();
    assert_eq!(codes, ["issued", "identity.key-taken", "identity.token"]);
    drill.run(Command::Enrol { batch }).unwrap();
    // A key that was revoked is nobody's any more, for ever.
    let revoke = |id| Command::Revoke {
        device: device(id),
        serials: Vec::new(),
        reason: Reason::KeyCompromise,
    };
    drill.run(revoke("a")).unwrap();
    assert!(!drill.speaks("k"));
    assert_eq!(drill.enrol("b", "k", 30, how), Err("identity.key-taken"));
    drill.token("a", "again");
    let how = How::Token { secret: digest("again") };
    assert_eq!(drill.enrol("a", "k", 30, how), Err("identity.key-revoked"));
    drill.audit();
}

#[test]
fn what_is_shown_ends_and_comes_back_one_step_lower() {
    let mut drill = Drill::new();
    drill.with_token("a", "k", 30);
    drill.pass(29 * DAY);
    let renewal = |key| How::Renewal { key: digest(key), shown: None };
    assert_eq!(drill.enrol("a", "k", 30, renewal("other")), Err("identity.renewal"));
    assert_eq!(drill.enrol("b", "n", 30, renewal("k")), Err("identity.renewal"), "not b's own");
    assert_eq!(drill.enrol("a", "k", 30, renewal("k")), Ok(()));
    drill.pass(29 * DAY);
    assert_eq!(drill.level("a"), (DeviceKey, Limit::Credential), "renewed in time");
    drill.pass(2 * DAY);
    assert_eq!(drill.level("a"), (Observed, Limit::Freshness));
    assert!(!drill.speaks("k"));
    assert_eq!(drill.enrol("a", "k", 30, renewal("k")), Err("identity.renewal"), "it is over");
    assert_eq!(drill.enrol("a", "n", 30, How::Grace), Err("identity.grace"), "another key");
    assert_eq!(drill.enrol("a", "k", 30, How::Grace), Ok(()));
    assert_eq!(drill.level("a").0, SharedSecret);
    // Shown in time again, it is what it was.
    assert_eq!(drill.enrol("a", "k", 40, renewal("k")), Ok(()));
    assert_eq!(drill.level("a"), (DeviceKey, Limit::Credential));
    drill.pass(40 * DAY + GRACE_S);
    assert_eq!(drill.enrol("a", "k", 30, How::Grace), Err("identity.grace"), "too long ago");
    drill.audit();
}

#[test]
fn grace_is_none_for_what_was_revoked() {
    let mut drill = Drill::new();
    drill.with_token("a", "k", 10);
    let serials = vec![Serial([9; 16])];
    let (device, reason) = (device("a"), Reason::Superseded);
    let unknown = Command::Revoke { device: device.clone(), serials, reason };
    assert_eq!(drill.run(unknown), Err("identity.serial"));
    let all = Command::Revoke { device, serials: Vec::new(), reason };
    assert_eq!(drill.run(all.clone()).unwrap().len(), 2, "revoked, and lower");
    assert_eq!(drill.run(all).unwrap(), [], "already so");
    assert_eq!(drill.level("a"), (Observed, Limit::Evidence));
    drill.pass(11 * DAY);
    assert_eq!(drill.enrol("a", "k", 10, How::Grace), Err("identity.key-revoked"));
    let revoked: Vec<_> =
        drill.world.estate.identities().revoked(digest("ca"), drill.world.now).collect();
    assert!(revoked.is_empty(), "what is over is on no list");
    drill.audit();
}

#[test]
fn what_is_revoked_stays_on_the_list_until_its_end_also_when_it_is_not_kept() {
    let mut drill = Drill::new();
    drill.with_token("a", "k0", 90);
    let all =
        Command::Revoke { device: device("a"), serials: Vec::new(), reason: Reason::KeyCompromise };
    drill.run(all).unwrap();
    let listed = |drill: &Drill| -> Vec<(u8, Reason)> {
        let all = drill.world.estate.identities().revoked(digest("ca"), drill.world.now);
        let mut all: Vec<_> = all.map(|(serial, r)| (serial.0[0], r.reason)).collect();
        all.sort_by_key(|(serial, _)| *serial);
        all
    };
    let status = |drill: &Drill, serial| {
        drill.world.estate.identities().status(digest("ca"), &Serial([serial; 16]))
    };
    let is_revoked = |found| matches!(found, Some(Status::Revoked(_)));
    assert_eq!(listed(&drill), [(1, Reason::KeyCompromise)]);
    let before = drill.world.estate.identities().revised();
    for n in 1..=CREDENTIALS_MAX {
        assert_eq!(status(&drill, u8::try_from(n + 1).unwrap()), None);
        drill.with_token("a", &format!("k{n}"), 60);
        drill.pass(1_200);
    }
    // The first one is not kept any more, the second one still is.
    assert_eq!(listed(&drill), [(1, Reason::KeyCompromise)]);
    assert!(is_revoked(status(&drill, 1)));
    assert_eq!(status(&drill, 2), Some(Status::Good));
    drill.with_token("a", "one more", 60);
    assert_eq!(listed(&drill), [(1, Reason::KeyCompromise), (2, Reason::Superseded)]);
    assert!(is_revoked(status(&drill, 2)));
    assert!(drill.world.estate.identities().revised() > before);
    let of_others = drill.world.estate.identities().status(digest("cb"), &Serial([3; 16]));
    assert_eq!(of_others, None);
    drill.audit();
    drill.pass(61 * DAY);
    assert_eq!(listed(&drill), [(1, Reason::KeyCompromise)]);
    drill.pass(30 * DAY);
    assert_eq!(listed(&drill), []);
    drill.audit();
}

#[test]
fn two_people_raise_to_vouched_and_no_further() {
    let mut drill = Drill::new();
    let people = |drill: &Drill, second: &str, days| Command::Vouch {
        device: device("a"),
        voucher: Voucher::People {
            first: "op-1".to_owned(),
            second: second.to_owned(),
            until: drill.after(days * DAY),
        },
    };
    let (alone, long, good) = (
        people(&drill, "op-1", 10),
        people(&drill, "op-2", VOUCHED_S_MAX / DAY + 1),
        people(&drill, "op-2", 10),
    );
    assert_eq!(drill.run(alone), Err("identity.voucher-alone"));
    assert_eq!(drill.run(long), Err("identity.voucher-life"));
    drill.run(good).unwrap();
    assert_eq!(drill.level("a"), (Vouched, Limit::Voucher));
    // A key is more, and leaves the voucher where it is.
    drill.with_token("a", "k", 5);
    assert_eq!(drill.level("a"), (DeviceKey, Limit::Credential));
    drill.pass(6 * DAY);
    assert_eq!(drill.level("a"), (Vouched, Limit::Freshness));
    drill.pass(5 * DAY);
    assert_eq!(drill.level("a"), (Observed, Limit::Freshness));
    drill.audit();
}

#[test]
fn a_gateway_that_falls_takes_its_wards_with_it_at_once() {
    let mut drill = Drill::new();
    let until = drill.after(20 * DAY);
    let voucher = Voucher::Gateway { gateway: device("gw"), until };
    drill.run(Command::Vouch { device: device("a"), voucher: voucher.clone() }).unwrap();
    assert_eq!(drill.level("a"), (Observed, Limit::Voucher), "the gateway has shown nothing");
    let itself = Command::Vouch { device: device("gw"), voucher: voucher.clone() };
    assert_eq!(drill.run(itself), Err("identity.voucher-self"));
    drill.with_token("gw", "g", 10);
    assert_eq!(drill.level("a"), (Vouched, Limit::Voucher));
    // Who stands by a gateway is no gateway.
    let next = Voucher::Gateway { gateway: device("a"), until };
    drill.run(Command::Vouch { device: device("b"), voucher: next }).unwrap();
    assert_eq!(drill.level("b"), (Observed, Limit::Voucher));
    let (gateway, reason) = (device("gw"), Reason::KeyCompromise);
    let command = Command::Revoke { device: gateway, serials: Vec::new(), reason };
    let events = drill.run(command).unwrap();
    let fell = |id: &str| {
        events.iter().any(|event| {
            matches!(event, Event::Device(devices::Event::Assured { id: of, level: Observed, .. }) if *of == device(id))
        })
    };
    assert!(fell("gw") && fell("a"), "{events:?}");
    drill.audit();
}

#[test]
fn behaviour_only_lowers() {
    let mut drill = Drill::new();
    drill.with_token("a", "k", 30);
    for (posture, level, limit) in [
        ("watched", Vouched, Limit::Health),
        ("quarantined", Observed, Limit::Health),
        ("normal", DeviceKey, Limit::Credential),
    ] {
        drill.world.command(&edit(&["a"], &[(Field::Posture, Some(posture))])).unwrap();
        assert_eq!(drill.level("a"), (level, limit), "{posture}");
        let asked = drill.world.device("a").asked(Field::Assurance);
        assert_eq!(asked, Some(level.word()), "policies see it");
    }
    drill.audit();
}

#[test]
fn a_person_recognises_a_request() {
    let mut drill = Drill::new();
    let wanted = |n: u8, key: &str| Wanted {
        request: digest(&format!("csr {n}")),
        key: digest(key),
        names: vec!["CN=axis-7".to_owned()],
        from: "192.0.2.7".parse().unwrap(),
        seen_as: Some(device("a")),
    };
    let request = digest("csr 1");
    drill.run(Command::Ask { wanted: wanted(1, "k") }).unwrap();
    assert_eq!(drill.run(Command::Ask { wanted: wanted(1, "k") }).unwrap(), [], "it polls");
    let how = How::Approved { request };
    assert_eq!(drill.enrol("a", "k", 30, how.clone()), Err("identity.approval"));
    let approve = |id| Command::Answer { request, answer: Answer::Approved { device: device(id) } };
    assert_eq!(drill.run(approve("nobody")), Err("device.unknown"));
    drill.run(approve("a")).unwrap();
    let reject = Command::Answer { request, answer: Answer::Rejected };
    assert_eq!(drill.run(reject), Err("identity.answered"));
    assert_eq!(drill.enrol("a", "other", 30, how.clone()), Err("identity.approval"));
    assert_eq!(drill.enrol("b", "k", 30, how.clone()), Err("identity.approval"));
    assert_eq!(drill.enrol("a", "k", 30, how), Ok(()));
    // One address does not fill the desk.
    for n in 2..200 {
        let asked = drill.run(Command::Ask { wanted: wanted(n, &format!("k{n}")) });
        let open = usize::from(n) - 2 < WAITING_OF_ONE_MAX;
        assert_eq!(asked.is_ok(), open, "{n}: {asked:?}");
    }
    // Nor does one network of IPv6 with an address for each.
    let mut came = 0;
    for n in 200..250_u8 {
        let from = format!("2001:db8::{n:x}:1").parse().unwrap();
        let wanted = Wanted { from, ..wanted(n, &format!("k{n}")) };
        let asked = drill.run(Command::Ask { wanted });
        came += usize::from(asked.is_ok());
        assert!(asked.is_ok() || asked == Err("identity.waiting-of-one"), "{n}: {asked:?}");
    }
    assert_eq!(came, WAITING_OF_ONE_MAX);
    let other = Wanted { from: "2001:db8:0:1::1".parse().unwrap(), ..wanted(250, "k250") };
    assert!(drill.run(Command::Ask { wanted: other }).is_ok(), "another network");
    drill.audit();
}

#[test]
fn what_is_refused_is_found_once_in_an_hour_and_of_a_hundred_devices_at_most() {
    let mut drill = Drill::new();
    let ids: Vec<String> = (0..101).map(|n| format!("d{n}")).collect();
    let now = drill.world.now;
    let all = ids.iter().map(|id| facts(id, id, &[&format!("serial/x/{id}")], now)).collect();
    drill.world.command(&report("north", "sensor", all)).unwrap();
    let refuse = |drill: &mut Drill, id: &str, code: &str| {
        let (code, device) = (format!("identity.{code}"), Some(device(id)));
        let (why, key) = ("a test".to_owned(), None);
        let refuse = Command::Refuse { code, why, device, key, from: None, times: 1 };
        // The refusal for the journal, and the finding.
        drill.run(refuse).unwrap().len() == 2
    };
    for id in &ids[..100] {
        assert!(refuse(&mut drill, id, "request"), "{id}");
    }
    assert!(!refuse(&mut drill, "d100", "request"), "one too many");
    assert!(!refuse(&mut drill, "d0", "request"), "found already");
    assert!(refuse(&mut drill, "d0", "token"), "something else");
    drill.pass(3_601);
    assert!(refuse(&mut drill, "d100", "request"));
    drill.audit();
}

#[test]
fn an_attestation_is_bound_to_a_hardware_key_and_never_goes_back() {
    let mut drill = Drill::new();
    drill.with_token("a", "k", 30);
    crate::releases::add(&mut drill.world, "rel-1", "2.4");
    let attest = |drill: &Drill, quote: &str, reset_count, clock_ms, seconds| Command::Attest {
        device: device("a"),
        release: "rel-1".to_owned(),
        attestation: Attestation {
            key: digest("k"),
            quote: digest(quote),
            ak: digest("ek's"),
            reset_count,
            restart_count: 0,
            clock_ms,
            firmware: Octets(vec![0; 8]),
            until: drill.after(seconds),
        },
    };
    let early = attest(&drill, "q", 5, 100, 3_600);
    assert_eq!(drill.run(early), Err("identity.attestation-key"), "a software key");
    let tpm = |ek: &str, token: Option<&str>| {
        let (public, name) = (Octets(vec![1; 90]), Octets(vec![0; 34]));
        let (ek, ak) = (digest(ek), digest(&format!("{ek}'s")));
        let tpm = Box::new(Tpm { ek, ak, public, name, maker: None });
        How::Tpm { tpm, token: token.map(digest) }
    };
    assert_eq!(drill.enrol("a", "k", 30, tpm("ek", None)), Err("identity.tpm"));
    drill.token("a", "t");
    assert_eq!(drill.enrol("a", "k", 30, tpm("ek", Some("t"))), Ok(()));
    assert_eq!(drill.level("a"), (HardwareKey, Limit::Credential));
    // The same TPM needs nobody, another one does; and a TPM is one device's.
    assert_eq!(drill.enrol("a", "k2", 30, tpm("ek", None)), Ok(()));
    assert_eq!(drill.enrol("a", "k3", 30, tpm("other", None)), Err("identity.tpm"));
    drill.token("b", "u");
    assert_eq!(drill.enrol("b", "k4", 30, tpm("ek", Some("u"))), Err("identity.key-taken"));
    let long = attest(&drill, "q", 5, 100, ATTESTED_S_MAX + 1);
    assert_eq!(drill.run(long), Err("identity.attestation-life"));
    let good = attest(&drill, "q", 5, 100, 3_600);
    drill.run(good).unwrap();
    assert_eq!(drill.level("a"), (Attested, Limit::Credential));
    for (quote, resets, clock, code) in [
        ("q", 5, 100, "identity.attestation-replayed"),
        ("r", 4, 900, "identity.attestation-rollback"),
        ("s", 5, 99, "identity.attestation-rollback"),
    ] {
        let command = attest(&drill, quote, resets, clock, 3_600);
        assert_eq!(drill.run(command), Err(code), "{quote}");
    }
    // Nobody verifies any more: what was passed does not stand.
    drill.pass(3_601);
    assert_eq!(drill.level("a"), (HardwareKey, Limit::Freshness));
    let again = attest(&drill, "t", 6, 5, 3_600);
    drill.run(again).unwrap();
    assert_eq!(drill.level("a").0, Attested);
    let (code, why) = ("pcr".to_owned(), "PCR 7 differs".to_owned());
    drill.run(Command::FailAttestation { device: device("a"), code, why }).unwrap();
    assert_eq!(drill.level("a"), (HardwareKey, Limit::Freshness));
    let found = [("a", "tpm"), ("b", "key-taken"), ("a", "attestation")];
    assert_eq!(drill.found(), found.map(|(id, what)| (device(id), format!("identity.{what}"))));
    // Another TPM counts from another beginning, and the old one speaks for nobody.
    drill.token("a", "v");
    assert_eq!(drill.enrol("a", "k", 30, tpm("new", Some("v"))), Ok(()));
    assert_eq!(drill.world.estate.identities().of_tpm(&digest("new")), Some(&device("a")));
    let old = attest(&drill, "u", 7, 1, 3_600);
    assert_eq!(drill.run(old), Err("identity.attestation-tpm"));
    let mut new = attest(&drill, "u", 1, 1, 3_600);
    let Command::Attest { attestation, .. } = &mut new else { unreachable!() };
    attestation.ak = digest("new's");
    drill.run(new).unwrap();
    assert_eq!(drill.level("a").0, Attested);
    drill.audit();
}

#[test]
fn a_makers_certificate_is_worth_what_was_bought() {
    let mut drill = Drill::new();
    let expected = |number: &str, id: &str| Expected {
        maker: "axis".to_owned(),
        number: number.to_owned(),
        device: device(id),
    };
    let how = |number: &str, key: &str| How::Idevid {
        maker: "axis".to_owned(),
        number: number.to_owned(),
        key: digest(key),
        token: None,
    };
    let expect = |all: Vec<Expected>| Command::Expect { expected: all };
    assert_eq!(drill.enrol("a", "k", 30, how("1", "axis 1")), Err("identity.unexpected"));
    assert_eq!(drill.run(expect(vec![expected("1", "nobody")])), Err("device.unknown"));
    assert_eq!(drill.run(expect(vec![expected("", "a")])), Err("identity.expected"));
    let twice = vec![expected("1", "a"), expected("1", "b")];
    assert_eq!(drill.run(expect(twice)), Err("identity.expected"));
    drill.run(expect(vec![expected("1", "a"), expected("2", "b")])).unwrap();
    assert_eq!(drill.run(expect(vec![expected("1", "a")])).unwrap(), [], "known already");
    assert_eq!(drill.run(expect(vec![expected("1", "b")])), Err("identity.expected"));
    assert_eq!(drill.enrol("b", "k", 30, how("1", "axis 1")), Err("identity.unexpected"));
    assert_eq!(drill.enrol("a", "k", 30, how("1", "axis 1")), Ok(()));
    assert_eq!(drill.level("a"), (DeviceKey, Limit::Credential));
    // With its key it comes again; a copy of its number, or of its maker's key, does not.
    assert_eq!(drill.enrol("a", "k", 30, how("1", "axis 1")), Ok(()));
    assert_eq!(drill.enrol("a", "k2", 30, how("1", "axis 1")), Err("identity.idevid-again"));
    assert!(!drill.speaks("k2"), "nothing is issued");
    assert_eq!(drill.enrol("a", "k3", 30, how("1", "forged")), Err("identity.key-taken"));
    assert_eq!(drill.enrol("b", "k4", 30, how("2", "axis 1")), Err("identity.key-taken"));
    let found = [
        ("a", "unexpected"),
        ("b", "unexpected"),
        ("a", "idevid-again"),
        ("a", "key-taken"),
        ("b", "key-taken"),
    ];
    assert_eq!(drill.found(), found.map(|(id, what)| (device(id), format!("identity.{what}"))));
    let merge = devices::Command::Merge { keep: device("gw"), other: device("a") };
    drill.world.command(&estate::Command::Device(merge)).unwrap();
    assert_eq!(drill.world.estate.identities().expected("axis", "1"), Some(&device("gw")));
    drill.audit();
}

#[test]
fn a_second_key_by_a_makers_certificate_needs_a_token_or_the_end_of_the_first() {
    let mut drill = Drill::new();
    let (maker, number) = ("axis".to_owned(), "1".to_owned());
    let expected = vec![Expected { maker, number, device: device("a") }];
    drill.run(Command::Expect { expected }).unwrap();
    let how = |token: Option<&str>| How::Idevid {
        maker: "axis".to_owned(),
        number: "1".to_owned(),
        key: digest("axis 1"),
        token: token.map(digest),
    };
    // Two at the same moment: one of them, whichever was first.
    let batch =
        vec![drill.enrolment("a", "k1", 30, how(None)), drill.enrolment("a", "c", 30, how(None))];
    drill.run(Command::Enrol { batch }).unwrap();
    assert!(drill.speaks("k1") && !drill.speaks("c"));
    let again = vec![(device("a"), "identity.idevid-again".to_owned())];
    assert_eq!(drill.found(), again);
    // Asked again and again, it is one finding.
    assert_eq!(drill.enrol("a", "c", 30, how(None)), Err("identity.idevid-again"));
    assert_eq!(drill.found(), again);
    // Put back to what it was when it was bought: a token of this device opens it, for one key.
    drill.token("b", "of b");
    drill.token("a", "t");
    assert_eq!(drill.enrol("a", "k2", 30, how(Some("of b"))), Err("identity.token"));
    assert_eq!(drill.enrol("a", "k2", 30, how(Some("guessed"))), Err("identity.token"));
    assert_eq!(drill.enrol("a", "k2", 30, how(Some("t"))), Ok(()));
    assert_eq!(drill.enrol("a", "c", 30, how(Some("t"))), Err("identity.token"));
    assert_eq!(drill.enrol("a", "k2", 30, how(None)), Ok(()), "it has this key");
    // Renewed without the maker's certificate, it is held by that too.
    drill.pass(29 * DAY);
    assert_eq!(drill.enrol("a", "k2", 30, How::Renewal { key: digest("k2"), shown: None }), Ok(()));
    drill.pass(2 * DAY);
    assert!(!drill.speaks("k1") && drill.speaks("k2"));
    assert_eq!(drill.enrol("a", "c", 30, how(None)), Err("identity.idevid-again"));
    assert_eq!(drill.enrol("a", "k1", 30, how(None)), Err("identity.idevid-again"), "it is over");
    // What has ended, or was revoked, holds nothing.
    drill.pass(30 * DAY);
    assert_eq!(drill.enrol("a", "k3", 30, how(None)), Ok(()));
    let reason = Reason::Superseded;
    drill.run(Command::Revoke { device: device("a"), serials: Vec::new(), reason }).unwrap();
    assert_eq!(drill.enrol("a", "k4", 30, how(None)), Ok(()));
    drill.audit();
}

#[test]
fn two_records_that_are_one_have_the_evidence_of_both() {
    let mut drill = Drill::new();
    drill.with_token("b", "k", 30);
    let merge = devices::Command::Merge { keep: device("a"), other: device("b") };
    drill.world.command(&estate::Command::Device(merge)).unwrap();
    assert_eq!(drill.level("a"), (DeviceKey, Limit::Credential));
    assert_eq!(drill.world.estate.speaks(&digest("k"), drill.world.now).unwrap().id, device("a"));
    drill.audit();
    drill.pass(31 * DAY);
    assert_eq!(drill.level("a"), (Observed, Limit::Freshness));
    drill.audit();
}

#[test]
fn who_is_retired_speaks_no_more() {
    let mut drill = Drill::new();
    drill.with_token("a", "k", 30);
    let retire = devices::Command::Retire { devices: vec![device("a")] };
    drill.world.command(&estate::Command::Device(retire)).unwrap();
    assert!(!drill.speaks("k"));
    let renewal = How::Renewal { key: digest("k"), shown: None };
    assert_eq!(drill.enrol("a", "k", 30, renewal), Err("device.retired"));
    drill.audit();
}

#[test]
fn credentials_of_one_device_have_a_bound() {
    let mut drill = Drill::new();
    for n in 0..CREDENTIALS_MAX + 3 {
        drill.with_token("a", &format!("k{n}"), 30);
        drill.pass(1_200);
    }
    // Nor does one ask without end.
    for n in 0..=HOURLY_MAX {
        let renewal = How::Renewal { key: digest("k9"), shown: None };
        let expected = if n < HOURLY_MAX - 3 { Ok(()) } else { Err("identity.pace") };
        assert_eq!(drill.enrol("a", "k9", 30, renewal), expected, "{n}");
    }
    let record = drill.world.estate.identities().get(&device("a")).unwrap();
    assert_eq!(record.credentials.len(), CREDENTIALS_MAX);
    // What is not kept is not free.
    drill.token("b", "t");
    let how = How::Token { secret: digest("t") };
    assert_eq!(drill.enrol("b", "k0", 30, how), Err("identity.key-taken"));
    drill.audit();
}

pub(crate) fn psk(drill: &Drill, id: &str, secret: &str) -> NewSecret {
    let of = SecretName { device: device(id), kind: SecretKind::Psk, name: id.to_owned() };
    let since = drill.world.now;
    NewSecret { of, digest: digest(secret), since, rotate_days: 365 }
}

#[derive(Clone, Debug)]
enum Step {
    Token(u8, u8),
    Renew(u8, u8, u8),
    Grace(u8, u8),
    Revoke(u8),
    Vouch(u8, bool),
    Pass(u32),
    Merge,
    Retire(u8),
    Secret(u8, u8),
    Prove(u8, u8),
    EndSecret(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_u8, 0..4_u8).prop_map(|(d, k)| Step::Token(d, k)),
        (0..3_u8, 0..4_u8, 0..4_u8).prop_map(|(d, k, n)| Step::Renew(d, k, n)),
        (0..3_u8, 0..4_u8).prop_map(|(d, k)| Step::Grace(d, k)),
        (0..3_u8).prop_map(Step::Revoke),
        (0..3_u8, any::<bool>()).prop_map(|(d, g)| Step::Vouch(d, g)),
        (1..40_u32 * 86_400).prop_map(Step::Pass),
        Just(Step::Merge),
        (0..3_u8).prop_map(Step::Retire),
        (0..3_u8, 0..4_u8).prop_map(|(d, s)| Step::Secret(d, s)),
        (0..3_u8, 0..4_u8).prop_map(|(d, s)| Step::Prove(d, s)),
        (0..3_u8).prop_map(Step::EndSecret),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Time alone never raises, a replay and a snapshot give the same, and no key ever speaks for two.
    #[test]
    fn any_history_keeps_the_laws(steps in prop::collection::vec(step(), 1..40)) {
        let mut drill = Drill::new();
        let ids = ["a", "b", "gw"];
        let of = |n: u8| ids[usize::from(n)];
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Token(d, k) => {
                    let secret = digest(&format!("s{number}"));
                    let expires_at = drill.after(DAY);
                    let command = Command::IssueToken { device: device(of(d)), secret, expires_at };
                    if drill.run(command).is_ok() {
                        let _ = drill.enrol(of(d), &format!("k{k}"), 30, How::Token { secret });
                    }
                }
                Step::Renew(d, k, n) => {
                    let how = How::Renewal { key: digest(&format!("k{k}")), shown: None };
                    let _ = drill.enrol(of(d), &format!("k{n}"), 20, how);
                }
                Step::Grace(d, k) => {
                    let _ = drill.enrol(of(d), &format!("k{k}"), 10, How::Grace);
                }
                Step::Revoke(d) => {
                    let (device, reason) = (device(of(d)), Reason::Unspecified);
                    let _ = drill.run(Command::Revoke { device, serials: Vec::new(), reason });
                }
                Step::Vouch(d, gateway) => {
                    let until = drill.after(10 * DAY);
                    let (first, second) = ("op-1".to_owned(), "op-2".to_owned());
                    let voucher = match gateway {
                        true => Voucher::Gateway { gateway: device("gw"), until },
                        false => Voucher::People { first, second, until },
                    };
                    let _ = drill.run(Command::Vouch { device: device(of(d)), voucher });
                }
                Step::Pass(seconds) => {
                    let before = ids.map(|id| drill.level(id).0);
                    drill.pass(i64::from(seconds));
                    for (id, before) in ids.iter().zip(before) {
                        prop_assert!(drill.level(id).0 <= before, "time raised {id}");
                    }
                }
                Step::Merge => {
                    let merge = devices::Command::Merge { keep: device("a"), other: device("b") };
                    let _ = drill.world.command(&estate::Command::Device(merge));
                }
                Step::Retire(d) => {
                    let retire = devices::Command::Retire { devices: vec![device(of(d))] };
                    let _ = drill.world.command(&estate::Command::Device(retire));
                }
                Step::Secret(d, s) => {
                    let secret = psk(&drill, of(d), &format!("s{s}"));
                    if drill.run(Command::RotateSecret { secret: secret.clone() }).is_err() {
                        let _ = drill.run(Command::AddSecrets { secrets: vec![secret] });
                    }
                }
                Step::Prove(d, s) => {
                    let (name, secret) = (of(d).to_owned(), digest(&format!("s{s}")));
                    let until = drill.after(DAY);
                    let done = drill.run(Command::ProveSecret { name, secret, until });
                    let holders = drill.world.estate.identities().secrets().holders(&secret);
                    prop_assert!(done.is_err() || holders.count() == 1, "s{s} shows nothing");
                }
                Step::EndSecret(d) => {
                    let of = psk(&drill, of(d), "").of;
                    let _ = drill.run(Command::EndSecret { of });
                }
            }
            let identities: &identities::Identities = drill.world.estate.identities();
            for n in 0..4 {
                let key = digest(&format!("k{n}"));
                let has = identities.iter().filter(|(_, r)| r.credentials.iter().any(|c| c.key == key));
                prop_assert!(has.count() <= 1, "k{n} is two devices'");
            }
        }
        drill.audit();
    }
}
