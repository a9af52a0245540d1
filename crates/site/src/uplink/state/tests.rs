//! Histories of frames, cuts, restarts and clocks, against a model that is too simple to be wrong.

use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1_000_000_000;
const BUDGET_S: u32 = 600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(seconds, 0)
}

fn look(seconds: i64) -> Look {
    Look { wall: at(seconds), running_nanos: seconds * SECOND }
}

fn files(generation: u64, variant: &str) -> Files {
    let text = format!("{generation} {variant}");
    Files::from([("estate.toml".to_owned(), text), ("same".to_owned(), "x".to_owned())])
}

fn bundle(generation: u64, lease_until: i64) -> Bundle {
    let held = files(generation, "held");
    let delta = |variant| Delta::between(&held, &files(generation, variant));
    Bundle {
        generation,
        content: folder::name(&held),
        expired: delta("expired"),
        stale: delta("stale"),
        held: Held::Whole { files: held },
        lease_until: at(lease_until),
        stale_after_s: BUDGET_S,
    }
}

fn offered(bundle: Bundle) -> Input {
    Input::Frame(Frame::Bundle(Box::new(bundle)))
}

fn lease(until: i64, now: i64) -> Input {
    Input::Frame(Frame::Lease { generation: 0, until: at(until), now: at(now) })
}

fn stands(content: &str, control: Control, why: Option<&str>) -> Input {
    let (content, why) = (content.to_owned(), why.map(str::to_owned));
    Input::Stands(Standing { content, generation: 40, control, why })
}

fn offers(actions: &[Action]) -> Vec<(u64, Variant)> {
    let offers = actions.iter().filter_map(|action| match action {
        Action::Offer(offer) => {
            assert_eq!(offer.files, files(offer.generation, offer.variant.word()));
            Some((offer.generation, offer.variant))
        }
        _ => None,
    });
    offers.collect()
}

fn found(actions: &[Action]) -> Vec<&'static str> {
    let kinds = actions.iter().filter_map(|action| match action {
        Action::Find { kind, .. } => Some(*kind),
        _ => None,
    });
    kinds.collect()
}

fn judged(generation: u64) -> Input {
    Input::Judged { generation, refused: None }
}

/// Generation 5 is in force, leases until 1,300, at 1,000.
fn settled() -> State {
    let mut state = State::new(Bundles::default(), None, look(1_000));
    state.handle(look(1_000), Input::Started);
    state.handle(look(1_000), Input::Connected);
    state.handle(look(1_000), lease(1_300, 1_000));
    let actions = state.handle(look(1_000), offered(bundle(5, 1_300)));
    assert_eq!(offers(&actions), [(5, Variant::Held)]);
    let saved = actions.iter().position(|action| *action == Action::Save);
    assert!(saved < actions.iter().position(|action| matches!(action, Action::Offer(_))));
    assert_eq!(offers(&state.handle(look(1_000), judged(5))), []);
    state
}

#[test]
fn cut_off_it_goes_from_held_to_expired_to_stale_and_back() {
    let mut state = settled();
    state.handle(look(1_001), Input::Cut { why: "it is night".to_owned() });
    assert_eq!(state.handle(look(1_010), Input::Tick), []);
    let actions = state.handle(look(1_300), Input::Tick);
    assert_eq!(offers(&actions), [(5, Variant::Expired)]);
    assert_eq!(actions.first(), Some(&Action::Mark));
    assert_eq!(actions.get(1), Some(&Action::Turned { to: Variant::Expired }));
    let actions = state.handle(look(1_900), Input::Tick);
    assert_eq!(offers(&actions), [(5, Variant::Stale)]);
    let actions = state.handle(look(2_000), lease(2_300, 2_000));
    assert_eq!(offers(&actions), [(5, Variant::Held)]);
    assert!(actions.contains(&Action::Turned { to: Variant::Held }));
}

#[test]
fn a_bundle_with_a_fault_leaves_the_one_before_which_goes_on_ageing() {
    let mut state = settled();
    let actions = state.handle(look(1_100), offered(bundle(6, 1_300)));
    assert_eq!(offers(&actions), [(6, Variant::Held)]);
    let others = actions.iter().find_map(|action| match action {
        Action::Offer(offer) => Some(offer.others.clone()),
        _ => None,
    });
    assert_eq!(others, Some(vec![files(6, "expired"), files(6, "stale")]));
    let refused = Input::Judged { generation: 6, refused: Some("line 3".to_owned()) };
    let actions = state.handle(look(1_101), refused);
    assert_eq!(offers(&actions), [(5, Variant::Held)]);
    let due = state.acks_due();
    assert_eq!(due.len(), 1);
    assert_eq!((due[0].generation, due[0].progress), (6, Progress::Refused));
    assert_eq!(due[0].why, "line 3");
    assert_eq!(offers(&state.handle(look(1_300), Input::Tick)), [(5, Variant::Expired)]);
    // The next one is fine.
    let actions = state.handle(look(1_301), offered(bundle(7, 1_600)));
    assert_eq!(offers(&actions), [(7, Variant::Held)]);
    let actions = state.handle(look(1_302), judged(7));
    assert!(actions.contains(&Action::Turned { to: Variant::Held }));
    assert_eq!(state.variant(), Some((7, Variant::Held)));
}

#[test]
fn what_is_older_damaged_or_renumbered_is_refused_and_told() {
    let mut state = settled();
    for generation in [0, 4] {
        let actions = state.handle(look(1_001), offered(bundle(generation, 9_000)));
        assert_eq!(found(&actions), ["older-bundle"]);
    }
    let renumbered = Bundle { generation: 5, ..bundle(6, 1_300) };
    assert_eq!(found(&state.handle(look(1_001), offered(renumbered))), ["older-bundle"]);
    let damaged = Bundle { content: "ab".repeat(32), ..bundle(6, 1_300) };
    let actions = state.handle(look(1_001), offered(damaged));
    assert_eq!(found(&actions), ["damaged-bundle"]);
    assert_eq!(actions.last(), Some(&Action::AskWhole));
    assert_eq!(state.held(), (5, NO_CONTENT));
    state.handle(look(1_002), Input::Connected);
    assert_eq!(state.held(), (5, folder::name(&files(5, "held")).as_str()));
    let content = "cd".repeat(32);
    let held = Held::Since { content, delta: Delta::default() };
    let actions = state.handle(look(1_003), offered(Bundle { held, ..bundle(6, 1_300) }));
    assert_eq!(found(&actions), ["damaged-bundle"]);
    assert_eq!((state.floor(), offers(&actions)), (5, vec![]));
}

#[test]
fn changes_since_what_is_held_make_a_whole() {
    let mut state = settled();
    let (five, six) = (files(5, "held"), files(6, "held"));
    let delta = Delta::between(&five, &six);
    let held = Held::Since { content: folder::name(&five), delta };
    let actions = state.handle(look(1_001), offered(Bundle { held, ..bundle(6, 1_300) }));
    assert_eq!(offers(&actions), [(6, Variant::Held)]);
}

#[test]
fn the_same_again_is_nothing_and_other_deltas_are_judged() {
    let mut state = settled();
    assert_eq!(state.handle(look(1_001), offered(bundle(5, 1_300))), []);
    let other = Bundle { stale_after_s: 60, ..bundle(5, 1_300) };
    let actions = state.handle(look(1_002), offered(other));
    assert_eq!(offers(&actions), [(5, Variant::Held)]);
    state.handle(look(1_002), judged(5));
    state.handle(look(1_300), Input::Tick);
    assert_eq!(offers(&state.handle(look(1_360), Input::Tick)), [(5, Variant::Stale)]);
}

#[test]
fn acknowledgements_are_sent_once_and_again_on_the_next_line() {
    let mut state = settled();
    let content = folder::name(&files(5, "held"));
    let progress = |state: &State| -> Vec<Progress> {
        state.acks_due().iter().map(|ack| ack.progress).collect()
    };
    let sent = |state: &mut State| {
        for ack in state.acks_due() {
            state.handle(look(1_010), Input::Acked(ack));
        }
    };
    state.handle(look(1_001), stands("another", Control::Verified, None));
    assert_eq!(progress(&state), []);
    state.handle(look(1_001), stands(&content, Control::Intended, None));
    assert_eq!(progress(&state), []);
    state.handle(look(1_001), stands(&content, Control::Intended, Some("no memory")));
    assert_eq!(progress(&state), [Progress::Refused]);
    state.handle(look(1_002), stands(&content, Control::Applied, None));
    assert_eq!(progress(&state), [Progress::Applied]);
    sent(&mut state);
    assert_eq!(progress(&state), []);
    state.handle(look(1_003), stands(&content, Control::Verified, None));
    assert_eq!(state.acks_due()[0].kernel_generation, Some(40));
    sent(&mut state);
    state.handle(look(1_003), Input::Cut { why: String::new() });
    assert_eq!(progress(&state), []);
    state.handle(look(1_004), Input::Connected);
    assert_eq!(progress(&state), [Progress::Verified]);
    sent(&mut state);
    // Any of its variants is it.
    let expired = folder::name(&files(5, "expired"));
    state.handle(look(1_005), stands(&expired, Control::Applied, None));
    assert_eq!(progress(&state), [Progress::Applied]);
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let state = settled();
    let restart = |seconds| {
        let mut again = State::new(state.bundles().clone(), Some(state.mark()), look(seconds));
        let actions = again.handle(look(seconds), Input::Started);
        (again, actions)
    };
    assert_eq!(offers(&restart(1_299).1), [(5, Variant::Held)]);
    let (_, actions) = restart(1_300);
    assert_eq!(offers(&actions), [(5, Variant::Expired)]);
    assert!(actions.contains(&Action::Turned { to: Variant::Expired }));
    // Without a clock: by what runs.
    let none = Look { wall: at(3), running_nanos: 0 };
    let mut again = State::new(state.bundles().clone(), Some(state.mark()), none);
    let actions = again.handle(none, Input::Started);
    assert_eq!(found(&actions), ["clock-wrong"]);
    assert_eq!(offers(&actions), [(5, Variant::Held)]);
    let later = Look { wall: at(303), running_nanos: 300 * SECOND };
    assert_eq!(offers(&again.handle(later, Input::Tick)), [(5, Variant::Expired)]);
    // And it is over with the first frame.
    let right = Look { wall: at(5_000), running_nanos: 301 * SECOND };
    let actions = again.handle(right, lease(5_300, 5_000));
    assert!(actions.contains(&Action::Over { kind: "clock-wrong" }));
    assert_eq!(offers(&actions), [(5, Variant::Held)]);
}

#[test]
fn a_bundle_that_was_not_judged_before_a_crash_is_judged_after_it() {
    let mut state = settled();
    state.handle(look(1_100), offered(bundle(6, 1_300)));
    let mut again = State::new(state.bundles().clone(), Some(state.mark()), look(1_101));
    assert_eq!(offers(&again.handle(look(1_101), Input::Started)), [(6, Variant::Held)]);
    let actions = again.handle(look(1_102), offered(bundle(5, 1_300)));
    assert_eq!(found(&actions), ["older-bundle"]);
}

#[test]
fn a_full_disk_takes_nothing_new() {
    let mut state = settled();
    state.handle(look(1_100), offered(bundle(6, 1_300)));
    let actions = state.handle(look(1_100), Input::Unsaved);
    assert_eq!(offers(&actions), [(5, Variant::Held)]);
    assert_eq!(state.floor(), 5);
}

#[test]
fn clocks_that_differ_are_told_once() {
    let mut state = settled();
    assert_eq!(found(&state.handle(look(1_200), lease(1_279, 1_079))), ["clock-differs"]);
    assert_eq!(found(&state.handle(look(1_201), lease(1_280, 1_080))), Vec::<&str>::new());
    let actions = state.handle(look(1_202), lease(1_500, 1_200));
    assert!(actions.contains(&Action::Over { kind: "clock-differs" }));
}

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    Pass(i64),
    Lease(i64),
    Bundle(u64),
    Damaged,
    Faulty,
    Cut,
    Connect,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_i64..400).prop_map(Step::Pass),
        3 => (1_i64..400).prop_map(Step::Lease),
        3 => (0_u64..4).prop_map(Step::Bundle),
        1 => Just(Step::Damaged),
        1 => Just(Step::Faulty),
        1 => Just(Step::Cut),
        1 => Just(Step::Connect),
        1 => Just(Step::Restart),
    ]
}

/// The site around the state: saves when it is told, judges at once, and knows what it was offered.
struct Site {
    state: State,
    now: i64,
    saved: Bundles,
    mark: Option<Mark>,
    offered: Option<(u64, Variant)>,
    highest: u64,
    faulty: std::collections::BTreeSet<u64>,
}

impl Site {
    fn tell(&mut self, input: Input) {
        let mut left = self.state.handle(look(self.now), input);
        while !left.is_empty() {
            let mut judged = Vec::new();
            for action in left {
                match action {
                    Action::Save => self.saved = self.state.bundles().clone(),
                    Action::Mark => self.mark = Some(self.state.mark()),
                    Action::Offer(offer) => {
                        let is_saved = self.saved.next.iter().chain(&self.saved.current);
                        let generations: Vec<u64> = is_saved.map(|b| b.generation).collect();
                        assert!(
                            generations.contains(&offer.generation),
                            "durable before it is used"
                        );
                        assert_eq!(offer.files, files(offer.generation, offer.variant.word()));
                        let refused = self.faulty.contains(&offer.generation);
                        if !refused {
                            assert!(offer.generation >= self.highest, "never an older one");
                            self.highest = offer.generation;
                            self.offered = Some((offer.generation, offer.variant));
                        }
                        let refused = refused.then(|| "a fault".to_owned());
                        judged.push(Input::Judged { generation: offer.generation, refused });
                    }
                    Action::Turned { .. }
                    | Action::AskWhole
                    | Action::Lists { .. }
                    | Action::Find { .. } => {}
                    Action::Over { .. } => {}
                }
            }
            left = Vec::new();
            for input in judged {
                left.extend(self.state.handle(look(self.now), input));
            }
        }
    }
}

proptest! {
    #[test]
    fn what_is_enforced_follows_from_frames_and_time(steps in prop::collection::vec(step(), 1..40)) {
        let state = State::new(Bundles::default(), None, look(1_000));
        let mut site = Site {
            state, now: 1_000, saved: Bundles::default(), mark: None, offered: None, highest: 0,
            faulty: std::collections::BTreeSet::new(),
        };
        site.tell(Input::Started);
        let (mut until, mut good, mut newest) = (None::<i64>, 0_u64, 0_u64);
        for step in steps {
            match step {
                Step::Pass(seconds) => {
                    site.now += seconds;
                    site.tell(Input::Tick);
                }
                Step::Lease(seconds) => {
                    until = Some(site.now + seconds);
                    site.tell(lease(site.now + seconds, site.now));
                }
                Step::Bundle(back) => {
                    let generation = (newest + 1).saturating_sub(back);
                    let lease_until = site.now + 100;
                    site.tell(offered(bundle(generation, lease_until)));
                    if generation > newest {
                        (newest, good) = (generation, generation);
                    }
                    if generation == newest && generation > 0 {
                        until = until.max(Some(lease_until));
                    }
                }
                Step::Damaged => {
                    let damaged = Bundle { content: "00".repeat(32), ..bundle(newest + 9, site.now + 100) };
                    site.tell(offered(damaged));
                }
                Step::Faulty => {
                    newest += 1;
                    site.faulty.insert(newest);
                    until = until.max(Some(site.now + 100));
                    site.tell(offered(bundle(newest, site.now + 100)));
                }
                Step::Cut => site.tell(Input::Cut { why: String::new() }),
                Step::Connect => site.tell(Input::Connected),
                Step::Restart => {
                    site.state = State::new(site.saved.clone(), site.mark, look(site.now));
                    site.tell(Input::Started);
                }
            }
            let expect = (good > 0).then(|| {
                let end = until.unwrap_or(i64::MIN);
                match site.now {
                    now if now < end => (good, Variant::Held),
                    now if now < end + i64::from(BUDGET_S) => (good, Variant::Expired),
                    _ => (good, Variant::Stale),
                }
            });
            prop_assert_eq!(site.offered, expect);
            prop_assert_eq!(site.state.variant(), expect);
        }
        // One good line is enough.
        site.tell(Input::Connected);
        site.tell(offered(bundle(newest + 1, site.now + 300)));
        site.tell(lease(site.now + 300, site.now));
        prop_assert_eq!(site.offered, Some((newest + 1, Variant::Held)));
    }
}
