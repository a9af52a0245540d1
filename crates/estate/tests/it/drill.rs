//! The drill: devices move, a shop is cloned, a zone is refitted, a device retires and resurfaces. What is granted follows each
//! time, every decision is made again from what it holds, and a sweep right after finds nothing to decide.

use std::collections::BTreeMap;

use estate::devices::{self, Facts, Field, State};
use estate::identities::{self, Enrolment, How, NewCredential, Serial};
use estate::leases::{self, Decision, Judge, Verdict};
use estate::side::Digest;
use estate::{Command, Event};
use model::inspect::Scope;
use model::observation::Transport;
use model::{Assurance, ServiceId};
use policy::folder::{self, Folder, Zone};

use crate::world::{World, device, edit, facts, report, said, site};

const POLICIES: &str = r#"
@id("cameras-to-recorder")
permit (principal in DeviceType::"ip-camera", action == Action::"connect", resource == Service::"recorder")
unless { principal.support == "ended" };

@id("plant-to-historian")
permit (principal in Zone::"plant", action == Action::"connect", resource == Service::"historian");

@id("time")
permit (principal, action == Action::"connect", resource == Service::"time");

@id("owned")
forbid (principal, action, resource) when { principal.owner == "" && resource.sensitive };

@id("quarantine")
forbid (principal, action, resource) when { principal.posture == "quarantined" };
"#;

fn folder(policies: &str) -> Folder {
    let service = |id: &str, port, sensitive| folder::Service {
        id: ServiceId::new(id).unwrap(),
        name: id.to_owned(),
        device: None,
        scope: Scope::External,
        zone: "external".to_owned(),
        addresses: Vec::new(),
        dns_names: vec![format!("{id}.example")],
        transport: Transport::Tcp,
        port,
        application: String::new(),
        owner: String::new(),
        sensitive,
        assurance_min: Assurance::Observed,
    };
    let zone = |id: &str, at| Zone { id: id.to_owned(), site: at, ..Zone::default() };
    let sites = ["north", "south"].map(site);
    let estate = folder::Estate {
        sites: sites.iter().map(|id| folder::Site { id: id.clone() }).collect(),
        zones: vec![
            zone("cameras", Some(sites[0].clone())),
            zone("plant", Some(sites[0].clone())),
            zone("shop", Some(sites[1].clone())),
            zone("external", None),
        ],
        services: vec![
            service("recorder", 554, true),
            service("historian", 443, false),
            service("time", 123, false),
        ],
        ..folder::Estate::default()
    };
    let policies = policy::cedar::read_all(&[("policies/drill.cedar", policies)]).unwrap();
    Folder {
        schema: folder::SCHEMA.to_owned(),
        estate,
        policies,
        tests: folder::Tests::default(),
        claims: Vec::new(),
        exceptions: Vec::new(),
        cards: Vec::new(),
    }
}

/// A controller's policy decision point, in small.
struct Drill {
    world: World,
    folder: Folder,
    content: String,
    judge: Judge,
    made: Vec<(Decision, Folder)>,
}

impl Drill {
    fn new() -> Self {
        let folder = folder(POLICIES);
        let judge = Judge::new(&folder);
        let (world, content) = (World::new(), "c0".to_owned());
        Self { world, folder, content, judge, made: Vec::new() }
    }

    fn command(&mut self, command: &Command) -> Vec<Event> {
        let events = self.world.command(command).unwrap();
        self.world.pass(60);
        events
    }

    /// A camera with a made-up and an assigned address, told of by its site.
    fn camera(&self, id: &str, n: u8) -> Facts {
        let keys = [format!("mac/02:00:00:00:00:{n:02x}"), format!("mac/00:80:f4:00:00:{n:02x}")];
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let mut camera = facts(id, &format!("camera {n}"), &keys, self.world.now);
        camera.addresses = Some(vec![format!("10.0.0.{n}").parse().unwrap()]);
        camera.said = vec![
            said(Field::Type, "ip-camera", 90, self.world.now),
            said(Field::Model, "Dome 5", 90, self.world.now),
        ];
        camera
    }

    /// Decides what differs, twice: of few devices the same as of all, and right after there is nothing left. How many differed.
    fn decide(&mut self, because: &str) -> usize {
        let judged = leases::judge(&self.folder, &self.world.estate);
        let mut number = self.made.len();
        let mut id = || {
            number += 1;
            format!("dec-{number}")
        };
        let decisions =
            judged.differing(&self.world.estate, &self.content, because, usize::MAX, &mut id);
        let about: Vec<_> = decisions.iter().map(|d| d.subject.device.clone()).collect();
        let mut number = self.made.len();
        let mut id = || {
            number += 1;
            format!("dec-{number}")
        };
        let few = self.judge.some(&self.world.estate, &about).differing_of(
            &self.world.estate,
            &about,
            &self.content,
            because,
            &mut id,
        );
        assert_eq!(few, decisions, "few are judged as all are");
        if !decisions.is_empty() {
            let decide = leases::Command::Decide { decisions: decisions.clone() };
            self.command(&Command::Lease(decide));
        }
        let again = leases::judge(&self.folder, &self.world.estate);
        let mut none = || panic!("nothing differs right after");
        let found = again.differing(&self.world.estate, &self.content, "sweep", 1, &mut none);
        assert_eq!(found, Vec::new());
        let count = decisions.len();
        self.made.extend(decisions.into_iter().map(|d| (d, self.folder.clone())));
        count
    }

    /// Services that a device is granted now, or why it is refused.
    fn granted(&self, id: &str) -> Result<Vec<String>, String> {
        let lease = self.world.estate.leases().get(&device(id)).unwrap();
        let (decision, _) = self.made.iter().find(|(d, _)| d.id == lease.decision).unwrap();
        assert_eq!(lease.granted, matches!(decision.verdict, Verdict::Granted { .. }));
        match &decision.verdict {
            Verdict::Granted { named, services, .. } => {
                assert_eq!(named.len(), usize::try_from(*services).unwrap());
                let service = |text: &String| text.split(' ').next().unwrap().to_owned();
                Ok(named.iter().map(service).collect())
            }
            Verdict::Refused { why } => Err(why.clone()),
        }
    }

    /// Every decision so far is made again from what it holds; so is the estate from its journal.
    fn audit(&self) {
        for (decision, folder) in &self.made {
            let json = |verdict: &Verdict| serde_json::to_vec(verdict).unwrap();
            let then = self.world.then(decision.beside.unwrap_or(0));
            let again = leases::replay(decision, folder, &then);
            assert_eq!(json(&again), json(&decision.verdict), "{}", decision.id);
        }
        assert_eq!(self.world.replayed(), self.world.estate);
        assert_eq!(self.world.estate.devices().check(), Ok(()));
    }
}

fn ok(services: &[&str]) -> Result<Vec<String>, String> {
    Ok(services.iter().map(ToString::to_string).collect())
}

#[test]
fn a_move_keeps_identity_decisions_and_history() {
    let mut drill = Drill::new();
    let camera = drill.camera("cam-1", 1);
    drill.command(&report("north", "sensor", vec![camera]));
    assert_eq!(drill.decide("device"), 0, "nobody placed it in a zone");
    drill.command(&edit(&["cam-1"], &[(Field::Zone, Some("cameras")), (Field::Owner, Some("it"))]));
    assert_eq!(drill.decide("device"), 1);
    assert_eq!(drill.granted("cam-1"), ok(&["recorder", "time"]));
    let history = drill.world.device("cam-1").history().to_vec();

    // The other site has never heard of it; its assigned address says who it is.
    let mut there = drill.camera("new-name", 1);
    there.subject = "camera 77".to_owned();
    there.addresses = Some(vec!["10.9.0.5".parse().unwrap()]);
    let events = drill.command(&report("south", "sensor", vec![there.clone()]));
    let from = Event::Device(devices::Event::Moved {
        id: device("cam-1"),
        from: site("north"),
        to: site("south"),
    });
    assert!(events.contains(&from), "{events:?}");
    let moved = drill.world.device("cam-1");
    assert_eq!((&moved.site, moved.value(Field::Owner)), (&site("south"), Some("it")));
    assert!(moved.history().starts_with(&history));
    assert_eq!(*moved.addresses, ["10.9.0.5".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(drill.world.estate.devices().len(), 1);
    let made_up = "mac/02:00:00:00:00:01";
    let at =
        |place| drill.world.estate.devices().by_key(made_up, &site(place)).map(|d| d.id.clone());
    assert_eq!(
        (at("north"), at("south")),
        (None, Some(device("cam-1"))),
        "the old site has it no longer"
    );
    assert_eq!(drill.decide("device"), 1, "the lease is of a site");
    assert_eq!(drill.world.estate.leases().get(&device("cam-1")).unwrap().site, site("south"));

    // The old site tells what it last saw, again: that is old news. Then it comes back.
    let mut old = drill.camera("x", 1);
    old.last_seen = camera_seen(&drill, -300);
    old.first_seen = old.last_seen;
    drill.command(&report("north", "sensor", vec![old]));
    assert_eq!(drill.world.device("cam-1").site, site("south"));
    let back = drill.camera("x", 1);
    drill.command(&report("north", "sensor", vec![back]));
    assert_eq!(drill.world.device("cam-1").site, site("north"));
    there.last_seen = camera_seen(&drill, -90);
    there.first_seen = there.last_seen;
    drill.command(&report("south", "sensor", vec![there]));
    assert_eq!(
        drill.world.device("cam-1").site,
        site("north"),
        "what the other saw before is old news"
    );
    drill.decide("device");

    // Where a person puts it, it stays.
    drill.command(&edit(&["cam-1"], &[(Field::Site, Some("west"))]));
    let seen = drill.camera("x", 1);
    drill.command(&report("north", "sensor", vec![seen]));
    assert_eq!(drill.world.device("cam-1").site, site("west"));
    assert!(drill.world.device("cam-1").addresses.is_empty(), "those of another place");
    drill.decide("device");
    drill.audit();
}

#[test]
fn a_zone_that_asks_for_a_key_lets_nobody_else_in_and_leases_follow_the_level() {
    let mut drill = Drill::new();
    let plant = drill.folder.estate.zones.iter_mut().find(|zone| zone.id == "plant").unwrap();
    let (assurance_min, otherwise) = (Assurance::DeviceKey, "cameras".to_owned());
    plant.below = Some(folder::Below { assurance_min, otherwise });
    drill.judge = Judge::new(&drill.folder);
    let robot = drill.camera("robot", 9);
    drill.command(&report("north", "sensor", vec![robot]));
    drill.command(&edit(&["robot"], &[(Field::Zone, Some("plant")), (Field::Type, Some("robot"))]));
    assert_eq!(drill.decide("device"), 1);
    assert_eq!(drill.granted("robot"), ok(&["time"]), "it is among the cameras");

    // A certificate leads it into the plant, and the end of that out of it.
    let digest = |text: &str| Digest::of(text.as_bytes());
    let (now, id) = (drill.world.now, device("robot"));
    let until = now.plus_nanos(3_600_000_000_000);
    let secret = digest("token");
    let token = identities::Command::IssueToken { device: id.clone(), secret, expires_at: until };
    drill.command(&Command::Identity(token));
    let credential = NewCredential {
        key: digest("key"),
        serial: Serial([7; 16]),
        issuer: digest("ca"),
        since: now.plus_nanos(-300_000_000_000),
        until,
    };
    let batch = vec![Enrolment { device: id, credential, how: How::Token { secret } }];
    drill.command(&Command::Identity(identities::Command::Enrol { batch }));
    assert_eq!(drill.decide("identity"), 1);
    assert_eq!(drill.granted("robot"), ok(&["historian", "time"]));
    drill.world.pass(3_700);
    drill.command(&Command::Identity(identities::Command::Lapse));
    assert_eq!(drill.decide("identity"), 1);
    assert_eq!(drill.granted("robot"), ok(&["time"]));
    assert_eq!(drill.world.device("robot").value(Field::Zone), Some("plant"), "nobody moved it");
    drill.audit();
}

#[test]
fn what_is_granted_to_the_attested_ends_with_the_release() {
    let mut drill = Drill::new();
    let plant = drill.folder.estate.zones.iter_mut().find(|zone| zone.id == "plant").unwrap();
    let (assurance_min, otherwise) = (Assurance::Attested, "cameras".to_owned());
    plant.below = Some(folder::Below { assurance_min, otherwise });
    drill.judge = Judge::new(&drill.folder);
    let robot = drill.camera("robot", 9);
    drill.command(&report("north", "sensor", vec![robot]));
    drill.command(&edit(&["robot"], &[(Field::Zone, Some("plant")), (Field::Type, Some("robot"))]));
    drill.decide("device");
    let digest = |text: &str| Digest::of(text.as_bytes());
    let (now, id) = (drill.world.now, device("robot"));
    let until = now.plus_nanos(3_600_000_000_000);
    let (secret, ak) = (digest("token"), digest("ak"));
    let token = identities::Command::IssueToken { device: id.clone(), secret, expires_at: until };
    drill.command(&Command::Identity(token));
    let credential = NewCredential {
        key: digest("key"),
        serial: Serial([7; 16]),
        issuer: digest("ca"),
        since: now.plus_nanos(-300_000_000_000),
        until: now.plus_nanos(86_400_000_000_000),
    };
    let octets = |n| identities::Octets(vec![1; n]);
    let (public, name) = (octets(90), octets(34));
    let tpm = Box::new(identities::Tpm { ek: digest("ek"), ak, public, name, maker: None });
    let how = How::Tpm { tpm, token: Some(secret) };
    let batch = vec![Enrolment { device: id.clone(), credential, how }];
    drill.command(&Command::Identity(identities::Command::Enrol { batch }));
    drill.decide("identity");
    assert_eq!(drill.granted("robot"), ok(&["time"]), "a key in hardware is not enough");
    crate::releases::add(&mut drill.world, "rel-1", "2.4");
    let attestation = identities::Attestation {
        key: digest("key"),
        quote: digest("quote"),
        ak,
        reset_count: 1,
        restart_count: 0,
        clock_ms: 1,
        firmware: octets(8),
        until,
    };
    let release = "rel-1".to_owned();
    let attest = identities::Command::Attest { device: id, attestation, release };
    drill.command(&Command::Identity(attest));
    assert_eq!(drill.decide("identity"), 1);
    assert_eq!(drill.granted("robot"), ok(&["historian", "time"]));
    let (id, reason) = ("rel-1".to_owned(), "recalled".to_owned());
    drill.command(&Command::Release(estate::releases::Command::Withdraw { id, reason }));
    assert_eq!(drill.decide("device"), 1);
    assert_eq!(drill.granted("robot"), ok(&["time"]));
    drill.audit();
}

fn camera_seen(drill: &Drill, ago: i64) -> model::Timestamp {
    let nanos = ago.saturating_mul(1_000_000_000);
    model::Timestamp::from_nanos(drill.world.now.as_nanos().saturating_add(nanos))
}

#[test]
fn a_cloned_shop_is_another_shop() {
    let mut drill = Drill::new();
    let shop = |drill: &Drill, prefix: &str, maker: u8| -> Vec<Facts> {
        (1..=5)
            .map(|n| {
                let mut camera = drill.camera(&format!("{prefix}-{n}"), n);
                // The image is the same: made-up addresses, host keys and names are too.
                camera.keys = vec![
                    format!("mac/02:00:00:00:00:{n:02x}"),
                    format!("mac/00:80:f4:00:{maker:02x}:{n:02x}"),
                    format!("host-key/{n}"),
                    format!("station-name/cam-{n}"),
                ];
                camera
            })
            .collect()
    };
    let first = shop(&drill, "north", 1);
    drill.command(&report("north", "sensor", first));
    let ids: Vec<String> = (1..=5).map(|n| format!("north-{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    drill.command(&edit(&ids, &[(Field::Zone, Some("cameras")), (Field::Owner, Some("it"))]));
    assert_eq!(drill.decide("device"), 5);
    let second = shop(&drill, "south", 2);
    let events = drill.command(&report("south", "sensor", second));
    assert_eq!(events.len(), 5);
    assert!(events.iter().all(|e| matches!(e, Event::Device(devices::Event::Found(_)))));
    assert_eq!(drill.world.estate.devices().len(), 10);
    for n in 1..=5 {
        for (prefix, place) in [("north", "north"), ("south", "south")] {
            let key = format!("mac/02:00:00:00:00:{n:02x}");
            let found = drill.world.estate.devices().by_key(&key, &site(place)).unwrap();
            assert_eq!(found.id, device(&format!("{prefix}-{n}")));
            assert_eq!(found.confused_with.len(), 0);
        }
    }
    assert_eq!(
        drill.decide("device"),
        0,
        "what was decided of the first shop says nothing of its copy"
    );
    drill.audit();
}

#[test]
fn leases_follow_zone_posture_owner_and_policy() {
    let mut drill = Drill::new();
    let cameras = (1..=4).map(|n| drill.camera(&format!("cam-{n}"), n)).collect();
    drill.command(&report("north", "sensor", cameras));
    let all = ["cam-1", "cam-2", "cam-3", "cam-4"];
    drill.command(&edit(&all, &[(Field::Zone, Some("cameras"))]));
    assert_eq!(drill.decide("device"), 4);
    assert_eq!(
        drill.granted("cam-1"),
        ok(&["time"]),
        "the recorder is for what somebody answers for"
    );
    drill.command(&edit(&all, &[(Field::Owner, Some("it"))]));
    assert_eq!(drill.decide("device"), 4);
    assert_eq!(drill.granted("cam-1"), ok(&["recorder", "time"]));

    // The zone is refitted: two of them are in the plant now, one where the policy has nothing.
    drill.command(&edit(&all[..2], &[(Field::Zone, Some("plant"))]));
    drill.command(&edit(&["cam-3"], &[(Field::Zone, Some("cellar"))]));
    assert_eq!(drill.decide("device"), 3);
    assert_eq!(drill.granted("cam-2"), ok(&["recorder", "historian", "time"]));
    assert_eq!(drill.granted("cam-3"), Err("the policy has no zone `cellar`".to_owned()));
    assert_eq!(drill.granted("cam-4"), ok(&["recorder", "time"]));

    // A sensor's word is enough to quarantine, a person's is stronger.
    let mut bad = drill.camera("x", 1);
    bad.said.push(said(Field::Posture, "quarantined", 80, drill.world.now));
    drill.command(&report("north", "sensor", vec![bad]));
    assert_eq!(drill.decide("device"), 1);
    assert_eq!(drill.granted("cam-1"), Err("the policy grants it nothing".to_owned()));
    drill.command(&edit(&["cam-1"], &[(Field::Posture, Some("watched"))]));
    assert_eq!(drill.decide("device"), 1);
    assert!(drill.granted("cam-1").is_ok());
    drill.command(&edit(&["cam-1"], &[(Field::Posture, None)]));
    assert_eq!(drill.decide("device"), 1);
    assert!(drill.granted("cam-1").is_err(), "what was discovered shows again");

    // Another policy that says the same decides nothing; one that says less does.
    drill.content = "c1".to_owned();
    assert_eq!(drill.decide("policy"), 0);
    let less = POLICIES.replace("@id(\"time\")\npermit", "@id(\"time\")\nforbid");
    drill.folder = folder(&less);
    drill.judge = Judge::new(&drill.folder);
    assert_eq!(drill.decide("policy"), 2);
    assert_eq!(drill.granted("cam-2"), ok(&["recorder", "historian"]));
    assert_eq!(drill.granted("cam-4"), ok(&["recorder"]));
    drill.audit();
}

#[test]
fn who_retires_loses_everything_until_a_person_takes_it_back() {
    let mut drill = Drill::new();
    let camera = drill.camera("cam-1", 1);
    drill.command(&report("north", "sensor", vec![camera]));
    drill.command(&edit(&["cam-1"], &[(Field::Zone, Some("cameras"))]));
    drill.decide("device");
    drill.world.pass(8 * 86_400);
    drill.command(&Command::Device(devices::Command::Sweep));
    assert_eq!(drill.decide("sweep"), 1, "it rests on something else: a stale device");
    assert!(drill.granted("cam-1").is_ok());
    drill.world.pass(180 * 86_400);
    drill.command(&Command::Device(devices::Command::Sweep));
    assert_eq!(drill.world.device("cam-1").state, State::Retired);
    assert_eq!(drill.decide("sweep"), 1);
    assert_eq!(drill.granted("cam-1"), Err("it is retired".to_owned()));

    // It is back, under another name even: the record knows it and grants nothing.
    let mut back = drill.camera("x", 1);
    back.subject = "camera 99".to_owned();
    let events = drill.command(&report("south", "sensor", vec![back.clone()]));
    let resurfaced = devices::Event::Resurfaced { id: device("cam-1") };
    assert_eq!(events, vec![Event::Device(resurfaced)]);
    assert_eq!(drill.decide("device"), 0);
    drill.command(&Command::Device(devices::Command::Return { device: device("cam-1") }));
    assert_eq!(drill.decide("device"), 1);
    assert_eq!(drill.granted("cam-1"), ok(&["time"]));
    drill.audit();
}

#[test]
fn a_merge_takes_the_lease_of_the_record_that_went() {
    let mut drill = Drill::new();
    let both = (1..=2).map(|n| drill.camera(&format!("cam-{n}"), n)).collect();
    drill.command(&report("north", "sensor", both));
    drill.command(&edit(&["cam-1", "cam-2"], &[(Field::Zone, Some("cameras"))]));
    assert_eq!(drill.decide("device"), 2);
    let merge = devices::Command::Merge { keep: device("cam-1"), other: device("cam-2") };
    drill.command(&Command::Device(merge));
    assert!(drill.world.estate.leases().get(&device("cam-2")).is_none());
    drill.decide("device");

    // About an alias, about one device twice, with a used id, or late: none is taken.
    let (first, _) = drill.made.first().cloned().unwrap();
    let lease = drill.world.estate.leases().get(&device("cam-1")).unwrap();
    let previous = Some(lease.decision.clone());
    let mut new = Decision { id: "n1".to_owned(), previous, ..first };
    new.subject.state = "stale".to_owned();
    let code = |decisions: Vec<Decision>| {
        let command = Command::Lease(leases::Command::Decide { decisions });
        drill.world.clone().command(&command).map(|events| events.len()).map_err(|r| r.code)
    };
    assert_eq!(code(vec![new.clone()]), Ok(1));
    let other = Decision { id: "n2".to_owned(), ..new.clone() };
    assert_eq!(code(vec![new.clone(), other]), Err("lease.twice"));
    let used = Decision { id: new.previous.clone().unwrap(), ..new.clone() };
    assert_eq!(code(vec![used]), Err("lease.twice"));
    let late = Decision { previous: None, ..new.clone() };
    assert_eq!(code(vec![late]), Err("lease.previous"));
    let mut alias = new;
    alias.subject.device = device("cam-2");
    alias.previous = None;
    assert_eq!(code(vec![alias]), Err("lease.device"));
    drill.audit();
}

/// Whatever a subject says, the verdict is a function of folder and subject.
#[test]
fn few_devices_are_judged_as_all_are_whoever_hosts_a_service() {
    let mut drill = Drill::new();
    let more = "\n@id(\"host\")\npermit (principal, action == Action::\"connect\", resource == Service::\"hosted\") when { resource has device && resource.device.posture != \"quarantined\" };\n";
    drill.folder = folder(&format!("{POLICIES}{more}"));
    let mut hosted = drill.folder.estate.services[2].clone();
    hosted.id = ServiceId::new("hosted").unwrap();
    hosted.device = Some(device("cam-9"));
    hosted.scope = Scope::Estate;
    hosted.zone = "cameras".to_owned();
    drill.folder.estate.services.push(hosted);
    drill.judge = Judge::new(&drill.folder);
    let cameras = [1, 2, 9].map(|n| drill.camera(&format!("cam-{n}"), n)).to_vec();
    drill.command(&report("north", "sensor", cameras));
    let all = ["cam-1", "cam-2", "cam-9"];
    drill.command(&edit(&all, &[(Field::Zone, Some("cameras"))]));
    assert_eq!(drill.decide("device"), 3);
    let verdicts = |judged: &leases::Judged, drill: &Drill| -> BTreeMap<String, Verdict> {
        let of = |id: &&str| {
            let subject = leases::Subject::of(drill.world.device(id));
            ((*id).to_owned(), judged.verdict(&subject))
        };
        all.iter().map(of).collect()
    };
    for posture in ["quarantined", "normal"] {
        drill.command(&edit(&["cam-9"], &[(Field::Posture, Some(posture))]));
        let whole = leases::judge(&drill.folder, &drill.world.estate);
        let one = drill.judge.some(&drill.world.estate, &[device("cam-1")]);
        let (whole, one) = (verdicts(&whole, &drill), verdicts(&one, &drill));
        assert_eq!(whole.get("cam-1"), one.get("cam-1"));
    }
}
