//! Histories that nobody thought up: whatever happens in whatever order, the rules of `site::life` hold.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says where"
)]

use std::collections::{BTreeMap, BTreeSet};

use model::Timestamp;
use model::ruleset::Mode;
use proptest::prelude::*;
use site::gate::{Sample, Thresholds};
use site::life::{Action, Control, Durable, Event, Flown, Life, Limits, Order, Refusal};

const ZONES: [&str; 3] = ["cameras", "plcs", "tills"];

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000 + seconds, 0)
}

fn limits() -> Limits {
    let thresholds = Thresholds { days_min: 0.0, flows_min: 1, ..Thresholds::default() };
    Limits { break_glass_max_s: 3_600, thresholds }
}

fn zones() -> BTreeMap<String, Mode> {
    let mode = |zone: &str| if zone == "tills" { Mode::Enforce } else { Mode::Shadow };
    ZONES.iter().map(|zone| ((*zone).to_owned(), mode(zone))).collect()
}

/// A kernel and a state directory that do as they are told, or fail when they are told to.
struct World {
    now: i64,
    life: Life,
    saved: Durable,
    kernel: Option<u64>,
    /// The kernel refuses this many orders.
    refusals: u32,
    /// The next read-backs find differences.
    drift: u32,
    /// Every generation number with what it was used for.
    used: BTreeMap<u64, Order>,
    verified: bool,
    journal: Vec<String>,
    found: Vec<&'static str>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            now: 0,
            life: Life::new(Durable::default(), limits(), false),
            saved: Durable::default(),
            kernel: None,
            refusals: 0,
            drift: 0,
            used: BTreeMap::new(),
            verified: false,
            journal: Vec::new(),
            found: Vec::new(),
        };
        world.event(Event::Started { kernel: None });
        world
    }

    fn event(&mut self, event: Event) {
        let actions = self.life.handle(at(self.now), event);
        self.perform(actions);
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Save => self.saved = self.life.durable().clone(),
                Action::Journal(entry) => self.journal.push(entry.event),
                Action::Enforce(order) => self.enforce(order),
                Action::ReadBack { generation } => {
                    let differences = if self.drift > 0 {
                        self.drift -= 1;
                        vec![format!("inet exact_1: gone {}", self.drift)]
                    } else {
                        Vec::new()
                    };
                    self.verified = differences.is_empty();
                    self.event(Event::ReadBack { generation, differences });
                }
                Action::Canaries { generation, zones } => {
                    for zone in zones {
                        let flown = Flown::Counted;
                        self.event(Event::Canary { generation, zone, flown });
                    }
                }
                Action::Find { kind, .. } => self.found.push(kind),
            }
        }
    }

    fn enforce(&mut self, order: Order) {
        let generation = order.generation;
        // A number is saved before it is used, and means one thing.
        assert!(self.saved.generation >= generation, "{generation} was not saved");
        assert_eq!(self.saved.order.as_ref().map(|o| o.generation), Some(generation));
        let same = self.used.entry(generation).or_insert_with(|| order.clone());
        assert_eq!(same, &order, "generation {generation} means two things");
        // Numbers only grow.
        assert!(self.kernel.is_none_or(|kernel| generation >= kernel), "back to {generation}");
        if self.refusals > 0 {
            self.refusals -= 1;
            self.event(Event::Failed { generation, why: "no memory".to_owned() });
            return;
        }
        self.kernel = Some(generation);
        self.verified = false;
        self.life.set_zones(zones());
        self.event(Event::Applied { generation });
    }

    fn restart(&mut self) {
        self.life = Life::new(self.saved.clone(), limits(), false);
        self.verified = false;
        self.event(Event::Started { kernel: self.kernel });
    }

    fn check(&self) {
        // Nothing is verified that was not read back since it was applied.
        if self.life.rules().0 == Control::Verified {
            assert!(self.verified);
            assert_eq!(self.life.order().map(|o| o.generation), self.kernel);
        }
        for zone in ZONES {
            if self.life.shadow(zone).0 == Control::Verified {
                assert!(self.verified);
            }
        }
        // Nothing unconfirmed outlives its deadline, no grant its end, in what is wanted.
        if let Some(pending) = &self.life.durable().pending {
            assert!(pending.until > at(self.now), "{pending:?} at {}", at(self.now));
        }
        let order = self.life.order().into_iter().flat_map(|order| &order.grants);
        for grant in self.life.durable().grants.iter().chain(order) {
            assert!(grant.until > at(self.now), "{grant:?}");
        }
        // Something is always due while something can end by itself.
        let due = self.life.durable().pending.is_some() || !self.life.durable().grants.is_empty();
        assert!(!due || self.life.wake().is_some());
    }
}

#[derive(Clone, Debug)]
enum Step {
    Pass(i64),
    Offer(u8, bool, Option<u32>),
    Confirm,
    Glass(usize, u64),
    EndGlass(usize),
    Promote(usize),
    Count(usize, u64, u64),
    Moment,
    Refuse(u32),
    Drift(u32),
    ReadBack,
    Crash,
    /// The state directory is lost, the kernel keeps its rules.
    Amnesia,
}

fn step() -> impl Strategy<Value = Step> {
    let zone = 0..ZONES.len();
    prop_oneof![
        3 => (0i64..400).prop_map(Step::Pass),
        3 => (0u8..4, any::<bool>(), proptest::option::of(1u32..300))
            .prop_map(|(content, asked, within)| Step::Offer(content, asked, within)),
        1 => Just(Step::Confirm),
        2 => (zone.clone(), 0u64..5_000).prop_map(|(zone, time)| Step::Glass(zone, time)),
        1 => zone.clone().prop_map(Step::EndGlass),
        1 => zone.clone().prop_map(Step::Promote),
        2 => (zone, 0u64..20, 0u64..20).prop_map(|(zone, e, u)| Step::Count(zone, e, u)),
        1 => Just(Step::Moment),
        1 => (1u32..3).prop_map(Step::Refuse),
        1 => (1u32..4).prop_map(Step::Drift),
        1 => Just(Step::ReadBack),
        2 => Just(Step::Crash),
        1 => Just(Step::Amnesia),
    ]
}

fn sample(explained: u64, used: u64) -> Sample {
    let path = (used > 0).then(|| ("hmi → plc tcp/502".to_owned(), used));
    let used_by = path.into_iter().collect();
    Sample { explained, denied: used, used: used_by, incomplete: false }
}

impl World {
    fn step(&mut self, step: Step) {
        let now = at(self.now);
        match step {
            Step::Pass(seconds) => self.now += seconds,
            Step::Offer(content, asked, confirm_within_s) => {
                let content = format!("content-{content}");
                self.event(Event::Offered { content, asked, confirm_within_s });
            }
            Step::Confirm => {
                if let Ok(actions) = self.life.confirm("anna") {
                    self.perform(actions);
                    assert!(self.saved.pending.is_none());
                }
            }
            Step::Glass(zone, seconds) => {
                let asked = self.life.break_glass(now, ZONES[zone], seconds, "stuck", "anna");
                match asked {
                    Ok(actions) => {
                        assert!((1..=3_600).contains(&seconds));
                        // The journal comes before the change.
                        assert!(matches!(actions[0], Action::Journal(_)), "{actions:?}");
                        self.perform(actions);
                    }
                    Err(Refusal::Duration { .. }) => assert!(!(1..=3_600).contains(&seconds)),
                    Err(other) => {
                        let lawful = [Refusal::NothingInForce, Refusal::TooMany].contains(&other)
                            || matches!(other, Refusal::NoSuchZone { .. });
                        assert!(lawful, "{other}");
                    }
                }
            }
            Step::EndGlass(zone) => {
                if let Ok(actions) = self.life.end_break_glass(now, ZONES[zone], "anna") {
                    self.perform(actions);
                }
            }
            Step::Promote(zone) => {
                let open = self.life.gate(ZONES[zone], now).open;
                if let Ok(actions) = self.life.promote(now, ZONES[zone], "anna") {
                    assert!(open, "promoted through a closed gate");
                    self.perform(actions);
                }
            }
            Step::Count(zone, explained, used) => {
                let (zone, sample) = (ZONES[zone].to_owned(), sample(explained, used));
                self.event(Event::Counted { zone, sample });
            }
            Step::Moment => self.event(Event::Moment { why: "the hour".to_owned() }),
            Step::Refuse(times) => self.refusals = times,
            Step::Drift(times) => self.drift = times,
            Step::ReadBack => {
                if let Some(generation) = self.kernel {
                    let differences = vec!["inet from_1: rule 2".to_owned()];
                    self.verified = false;
                    self.event(Event::ReadBack { generation, differences });
                }
            }
            Step::Crash => self.restart(),
            Step::Amnesia => {
                self.saved = Durable::default();
                // Numbers that the kernel never held are forgotten with it.
                let kernel = self.kernel;
                self.used.retain(|generation, _| kernel.is_some_and(|k| *generation <= k));
                self.restart();
            }
        }
        self.event(Event::Tick);
        self.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_hold_in_every_history(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
    }
}

fn offer(world: &mut World, content: &str, confirm_within_s: Option<u32>) {
    let content = content.to_owned();
    world.event(Event::Offered { content, asked: true, confirm_within_s });
}

fn content(world: &World) -> (u64, &str, bool) {
    let order = world.life.order().unwrap();
    (order.generation, &order.content, order.all_shadow)
}

#[test]
fn an_unconfirmed_change_goes_back_as_a_new_generation() {
    let mut world = World::new();
    offer(&mut world, "old", None);
    world.now += 60;
    offer(&mut world, "new", Some(120));
    assert_eq!(content(&world), (2, "new", false));
    // A crash does not stop the clock.
    world.restart();
    assert_eq!(content(&world), (2, "new", false));
    world.now += 119;
    world.event(Event::Tick);
    assert_eq!(content(&world), (2, "new", false));
    world.now += 1;
    world.event(Event::Tick);
    assert_eq!(content(&world), (3, "old", false));
    assert!(world.journal.contains(&"rolled-back".to_owned()), "{:?}", world.journal);
    // The folder on disk is still the new one; it is not taken again unless somebody asks.
    let again = Event::Offered { content: "new".to_owned(), asked: false, confirm_within_s: None };
    world.event(again);
    assert_eq!(content(&world), (3, "old", false));
    offer(&mut world, "new", Some(120));
    let actions = world.life.confirm("anna").unwrap();
    world.perform(actions);
    world.now += 1_000;
    world.event(Event::Tick);
    assert_eq!(content(&world), (4, "new", false));
    assert_eq!(world.life.confirm("anna"), Err(Refusal::NothingPending));
}

#[test]
fn a_first_change_that_nobody_confirms_goes_to_shadow_and_never_to_no_fence() {
    let mut world = World::new();
    offer(&mut world, "first", Some(30));
    world.now += 31;
    world.restart();
    assert_eq!(content(&world), (2, "first", true));
    world.event(Event::Moment { why: "the hour".to_owned() });
    assert_eq!(content(&world), (3, "first", true));
    world.restart();
    assert_eq!(content(&world), (3, "first", true));
    offer(&mut world, "second", None);
    assert_eq!(content(&world), (4, "second", false));
}

#[test]
fn a_restart_claims_the_same_generation_and_never_an_older_one() {
    let mut world = World::new();
    offer(&mut world, "a", None);
    let before = world.used.clone();
    world.restart();
    assert_eq!(world.used, before, "a restart without a change made a generation");
    world.saved = Durable::default();
    world.kernel = Some(40);
    world.restart();
    offer(&mut world, "a", None);
    assert_eq!(content(&world), (41, "a", false));
}

#[test]
fn promotion_is_refused_with_reasons_and_comes_back_after_a_spike() {
    let mut world = World::new();
    offer(&mut world, "a", None);
    let refusal = world.life.promote(at(0), "plcs", "anna").unwrap_err().to_string();
    assert!(refusal.contains("`plcs` stays in shadow: nothing was observed"), "{refusal}");
    let enforced = world.life.promote(at(0), "tills", "anna").unwrap_err();
    assert_eq!(enforced, Refusal::Enforced("tills".to_owned()));
    world.event(Event::Counted { zone: "plcs".to_owned(), sample: sample(50, 0) });
    let actions = world.life.promote(at(0), "plcs", "anna").unwrap();
    world.perform(actions);
    assert_eq!(world.life.mode("plcs"), Mode::Enforce);
    for _ in 0..5 {
        world.now += 10;
        world.event(Event::Counted { zone: "plcs".to_owned(), sample: sample(0, 2) });
    }
    assert_eq!(world.life.mode("plcs"), Mode::Shadow);
    let journal: BTreeSet<&str> = world.journal.iter().map(String::as_str).collect();
    assert!(journal.contains("promoted") && journal.contains("stepped-back"), "{journal:?}");
}

#[test]
fn a_spike_long_after_the_promotion_is_a_finding_and_opens_nothing() {
    let mut world = World::new();
    offer(&mut world, "a", None);
    world.event(Event::Counted { zone: "plcs".to_owned(), sample: sample(50, 0) });
    let actions = world.life.promote(at(0), "plcs", "anna").unwrap();
    world.perform(actions);
    world.now += 25 * 3_600;
    let told = |world: &World| world.found.iter().filter(|k| **k == "used-paths-denied").count();
    // One that the folder enforces, too.
    for (zone, findings) in [("plcs", 1), ("tills", 2)] {
        for _ in 0..6 {
            world.now += 10;
            world.event(Event::Counted { zone: zone.to_owned(), sample: sample(0, 2) });
        }
        assert_eq!(world.life.mode(zone), Mode::Enforce);
        assert_eq!(told(&world), findings, "{:?}", world.found);
    }
    assert!(!world.found.contains(&"stepped-back"));
}

#[test]
fn a_canary_that_is_lost_flies_again_and_one_that_never_can_is_said_so() {
    let mut world = World::new();
    offer(&mut world, "a", None);
    let flown = |world: &mut World, flown| {
        let (generation, zone) = (world.life.order().unwrap().generation, "plcs".to_owned());
        world.event(Event::Canary { generation, zone, flown });
        world.life.gate("plcs", at(world.now)).reasons.join("; ")
    };
    let why = flown(&mut world, Flown::Missed("no address".to_owned()));
    assert!(why.contains("no canary has proved that the shadow counts: no address"), "{why}");
    assert_eq!(world.life.shadow("plcs").0, Control::Applied);
    world.now += site::life::CANARY_AGAIN_S - 1;
    world.event(Event::Tick);
    assert_eq!(world.life.shadow("plcs").0, Control::Applied);
    world.now += 1;
    world.event(Event::Tick); // This world counts what flies.
    assert_eq!(world.life.shadow("plcs").0, Control::Verified);

    let why = flown(&mut world, Flown::NotProvable("it is this machine".to_owned()));
    assert!(why.contains("not provable: it is this machine; write mode"), "{why}");
    let shadow = world.life.shadow("plcs");
    assert_eq!(shadow, (Control::Applied, Some("not provable: it is this machine")));
    world.now += 10 * site::life::CANARY_AGAIN_S;
    world.event(Event::Tick);
    assert_eq!(world.life.shadow("plcs").0, Control::Applied);
}

#[test]
fn break_glass_needs_a_reason_a_zone_and_a_bounded_time() {
    let mut world = World::new();
    let nothing = world.life.break_glass(at(0), "plcs", 60, "x", "anna");
    assert_eq!(nothing, Err(Refusal::NothingInForce));
    offer(&mut world, "a", None);
    let mut ask = |zone: &str, seconds, reason: &str| {
        world.life.break_glass(at(0), zone, seconds, reason, "anna").map(drop)
    };
    assert_eq!(ask("plcs", 60, "  "), Err(Refusal::NoReason));
    assert_eq!(ask("plcs", 60, &"x".repeat(501)), Err(Refusal::LongReason));
    assert!(matches!(ask("plcs", 0, "x"), Err(Refusal::Duration { .. })));
    assert!(matches!(ask("plcs", 3_601, "x"), Err(Refusal::Duration { .. })));
    let unknown = ask("plc", 60, "x").unwrap_err().to_string();
    assert!(unknown.contains("the zones are: cameras, plcs, tills"), "{unknown}");
    for _ in 0..site::life::GRANTS_MAX {
        ask("plcs", 60, "x").unwrap();
    }
    assert_eq!(ask("plcs", 60, "x"), Err(Refusal::TooMany));
}
