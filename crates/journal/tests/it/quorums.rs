//! The log's side of tlog-witness: what is asked, what the answers mean; and a log seen from outside.

use journal::Hash;
use journal::checkpoint::{Checkpoint, SignedCheckpoint};
use journal::follow::{Broken, Follower, Step};
use journal::policy::Policy;
use journal::quorum::{Answer, Failure, Gathering};
use journal::tree::Nodes;
use journal::witness::{AddCheckpoint, Witness};
use proptest::prelude::*;

use crate::reference::{Grid, Toy, Toys, data, mth};

fn n64(n: usize) -> u64 {
    u64::try_from(n).unwrap()
}

fn head(log: &Toy, d: &[Vec<u8>]) -> SignedCheckpoint {
    SignedCheckpoint::sign(Checkpoint::new(&log.name, n64(d.len()), mth(d)), log).unwrap()
}

/// Real witnesses, with HTTP left out.
struct Party {
    policy: Policy,
    witnesses: Vec<(Toy, Witness)>,
}

impl Party {
    fn new(quorum: usize, of: usize) -> Self {
        let log = Toy::new("log.example");
        let toys: Vec<Toy> = (0..of).map(|n| Toy::new(&format!("w{n}.example"))).collect();
        let mut text = format!("log {}\n", log.log());
        for (n, toy) in toys.iter().enumerate() {
            text.push_str(&format!("witness w{n} {} http://w{n}.example/at/\n", toy.witness()));
        }
        let names: Vec<String> = (0..of).map(|n| format!("w{n}")).collect();
        text.push_str(&format!("group q {quorum} {}\nquorum q\n", names.join(" ")));
        let witnesses = toys.into_iter().map(|toy| (toy, Witness::new([log.log()]))).collect();
        Self { policy: text.parse().unwrap(), witnesses }
    }

    /// What a witness answers, as C2SP says.
    fn answer(&mut self, n: usize, body: &str) -> Answer {
        let (toy, witness) = &mut self.witnesses[n];
        let request = AddCheckpoint::decode(body.as_bytes()).unwrap();
        let outcome = witness.judge(&request, &Toys).and_then(|grant| witness.commit(grant));
        match outcome {
            Ok(committed) => {
                let line = committed.cosign(1_700_000_000, &toy.name, toy).unwrap().line();
                Answer { status: 200, kind: None, body: line.into_bytes() }
            }
            Err(refusal) => {
                let body = refusal.last_size().map_or(refusal.to_string(), |n| format!("{n}\n"));
                let kind = refusal.last_size().map(|_| "text/x.tlog.size".to_owned());
                Answer { status: refusal.status(), kind, body: body.into_bytes() }
            }
        }
    }

    /// Asks all but those who are away, until nothing is left to do. Returns the sizes they are at, and their failures.
    fn gather<N: Nodes<Error: std::fmt::Debug>>(
        &mut self,
        head: SignedCheckpoint,
        nodes: &N,
        sizes: &[u64],
        away: &[usize],
    ) -> (SignedCheckpoint, Vec<u64>, Vec<(String, Failure)>) {
        let policy = self.policy.clone();
        let mut gathering = Gathering::new(&policy, head, sizes);
        for _ in 0..9 {
            for ask in gathering.requests(nodes).unwrap() {
                assert_eq!(ask.url, format!("http://w{}.example/at/add-checkpoint", ask.witness));
                if away.contains(&ask.witness) {
                    gathering.failed(ask.witness, Failure::Unreachable("no route".to_owned()));
                } else {
                    let answer = self.answer(ask.witness, &ask.body);
                    gathering.answered(ask.witness, &answer, &Toys);
                }
            }
        }
        assert!(gathering.is_done());
        let failures = gathering.failures().map(|(n, f)| (n.to_owned(), f.clone())).collect();
        assert_eq!(gathering.cosigned(), gathering.head().note().signatures().len() - 1);
        (gathering.head().clone(), gathering.sizes(), failures)
    }
}

#[test]
fn a_quorum_is_gathered_wherever_the_witnesses_are() {
    let (mut party, log, d) = (Party::new(2, 3), Toy::new("log.example"), data(50));
    let grid = Grid::new(&d);
    // They have nothing yet, and are believed to have everything: one more request each.
    let (signed, sizes, failures) = party.gather(head(&log, &d[..20]), &grid, &[20, 20, 20], &[]);
    assert_eq!((sizes, failures), (vec![20; 3], vec![]));
    assert_eq!(party.policy.judge(&signed, &Toys).unwrap().cosigned.len(), 3);
    // One is away and stays behind.
    let (signed, sizes, failures) = party.gather(head(&log, &d[..33]), &grid, &[20; 3], &[1]);
    assert_eq!(sizes, [33, 20, 33]);
    assert_eq!(failures, [("w1".to_owned(), Failure::Unreachable("no route".to_owned()))]);
    assert_eq!(party.policy.judge(&signed, &Toys).unwrap().cosigned.len(), 2);
    // It comes back, and is taken for being where the others are.
    let (signed, ..) = party.gather(head(&log, &d), &grid, &[33; 3], &[]);
    assert_eq!(party.policy.judge(&signed, &Toys).unwrap().cosigned.len(), 3);
    // One of three is no quorum.
    let (signed, ..) = party.gather(head(&log, &d), &grid, &[50; 3], &[0, 1]);
    assert!(party.policy.judge(&signed, &Toys).is_err());
}

#[test]
fn an_older_copy_and_a_fork_are_an_alarm() {
    let (mut party, log, d) = (Party::new(1, 2), Toy::new("log.example"), data(50));
    let mut forked = d[..30].to_vec();
    forked.extend((0..20).map(|n| format!("other {n}").into_bytes()));
    let (_, _, failures) = party.gather(head(&log, &d[..40]), &Grid::new(&d), &[0, 0], &[]);
    assert_eq!(failures, []);
    let alarm = |failures: Vec<(String, Failure)>| -> Vec<Failure> {
        assert_eq!(failures.len(), 2);
        assert!(failures.iter().all(|(_, f)| f.is_alarm()), "{failures:?}");
        failures.into_iter().map(|(_, f)| f).collect()
    };
    let ahead = Failure::Ahead { theirs: 40, ours: 25 };
    let rolled_back = party.gather(head(&log, &d[..25]), &Grid::new(&d), &[25, 25], &[]);
    assert_eq!(alarm(rolled_back.2), [ahead.clone(), ahead]);
    // A log that lost everything asks with a head over nothing.
    let nothing = party.gather(head(&log, &[]), &Grid::new(&d), &[0, 0], &[]);
    assert!(matches!(alarm(nothing.2)[0], Failure::Ahead { theirs: 40, ours: 0 }));
    for size in [40, 41, 50] {
        let fork = party.gather(head(&log, &forked[..size]), &Grid::new(&forked), &[40, 7], &[]);
        let fork = alarm(fork.2);
        assert!(matches!(fork[0], Failure::Disagrees { ours, .. } if ours == n64(size)));
    }
}

type Expected = fn(&Failure) -> bool;

#[test]
fn answers_that_make_no_sense_cosign_nothing() {
    let (log, d) = (Toy::new("log.example"), data(9));
    let mut party = Party::new(1, 1);
    let policy = party.policy.clone();
    let grid = Grid::new(&d);
    let size = |body: &str| Answer {
        status: 409,
        kind: Some("text/x.tlog.size; charset=utf-8".to_owned()),
        body: body.into(),
    };
    let other = |status: u16, body: &str| Answer { status, kind: None, body: body.into() };
    let stranger = Toy::new("w1.example");
    let note = "— w1.example AAAAAAAA\n";
    let cases: Vec<(Answer, Expected)> = vec![
        (size("9"), |f| matches!(f, Failure::Useless(_))),
        (size("-1\n"), |f| matches!(f, Failure::Useless(_))),
        // So old witnesses answered to another root of the same size.
        (size("9\n"), |f| matches!(f, Failure::Disagrees { ours: 9, .. })),
        (size("10\n"), |f| *f == Failure::Ahead { theirs: 10, ours: 9 }),
        (other(409, "3\n"), |f| matches!(f, Failure::Refused { status: 409, .. })),
        (other(404, "who?"), |f| {
            *f == Failure::Refused { status: 404, said: "who?".to_owned() } && !f.is_alarm()
        }),
        (other(500, ""), |f| matches!(f, Failure::Refused { status: 500, .. })),
        (other(302, ""), |f| matches!(f, Failure::Refused { status: 302, .. })),
        (other(200, ""), |f| matches!(f, Failure::Useless(_))),
        (other(200, "fine\n"), |f| matches!(f, Failure::Useless(_))),
        (other(200, note), |f| matches!(f, Failure::Useless(_))),
        (
            other(422, &"\u{fffd}".repeat(9_999)),
            |f| matches!(f, Failure::Disagrees { said, .. } if said.chars().count() == 200),
        ),
    ];
    assert_eq!(stranger.name.as_str(), "w1.example");
    for (answer, good) in cases {
        let mut gathering = Gathering::new(&policy, head(&log, &d), &[9]);
        assert_eq!(gathering.requests(&grid).unwrap().len(), 1);
        assert!(gathering.requests(&grid).unwrap().is_empty(), "each is given once");
        gathering.answered(0, &answer, &Toys);
        let (_, failure) = gathering.failures().next().unwrap();
        assert!(good(failure), "{answer:?}: {failure:?}");
        assert!(gathering.is_done() && gathering.believed(&Toys).is_err());
        assert_eq!(gathering.head(), &head(&log, &d));
        // What comes behind the end changes nothing.
        let late = party.answer(
            0,
            &AddCheckpoint { old: 0, proof: vec![], checkpoint: head(&log, &[]) }.encode().unwrap(),
        );
        gathering.answered(0, &late, &Toys);
        gathering.answered(7, &late, &Toys);
        assert_eq!(gathering.cosigned(), 0);
    }
    // One that is elsewhere each time is left alone in the end.
    let mut gathering = Gathering::new(&policy, head(&log, &d), &[9]);
    let mut asked = 0;
    for n in 0..20 {
        for ask in gathering.requests(&grid).unwrap() {
            asked += 1;
            gathering.answered(ask.witness, &size(&format!("{}\n", n % 8)), &Toys);
        }
    }
    assert_eq!(asked, 4);
    assert!(gathering.failures().all(|(_, f)| *f == Failure::Restless));
    // Nobody knows where it is.
    let text = policy.to_string().replace(" http://w0.example/at/", "");
    let policy: Policy = text.parse().unwrap();
    let mut gathering = Gathering::new(&policy, head(&log, &d), &[]);
    assert!(gathering.is_done() && gathering.requests(&grid).unwrap().is_empty());
    assert!(gathering.failures().all(|(_, f)| *f == Failure::NoAddress));
}

/// Serves hashes of one history as those of another.
struct Spoilt<'a>(&'a Grid, u8, u64);

impl Nodes for Spoilt<'_> {
    type Error = std::convert::Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error> {
        let Self(grid, l, i) = self;
        let Ok(good) = grid.node(level, index);
        Ok(if (level, index) == (*l, *i) { Hash::node(&good, &good) } else { good })
    }
}

#[test]
fn a_follower_sees_growth_forks_and_rollbacks() {
    let (log, d) = (Toy::new("log.example"), data(50));
    let mut forked = d[..30].to_vec();
    forked.extend((0..20).map(|n| format!("other {n}").into_bytes()));
    let (grid, fork) = (Grid::new(&d), Grid::new(&forked));
    let mut follower = Follower::new(Policy::log_alone(log.log()), None);
    for (size, step) in [
        (0, Step::First),
        (1, Step::Grown { from: 0 }),
        (35, Step::Grown { from: 1 }),
        (35, Step::Same),
        (40, Step::Grown { from: 35 }),
    ] {
        assert_eq!(follower.see(head(&log, &d[..size]), &grid, &Toys).unwrap().step, step);
    }
    let here = mth(&forked[..40]);
    for (head, nodes, broken) in [
        (head(&log, &d[..39]), &grid, Broken::RolledBack { seen: 40, offered: 39 }),
        (
            head(&log, &forked[..40]),
            &fork,
            Broken::Forked { size: 40, seen: mth(&d[..40]), offered: here },
        ),
        (
            head(&log, &forked),
            &fork,
            Broken::Forked { size: 40, seen: mth(&d[..40]), offered: here },
        ),
        // The tiles of the good history do not make a fork good, nor the other way round.
        (
            head(&log, &forked),
            &grid,
            Broken::Damaged { size: 50, signed: mth(&forked), here: mth(&d) },
        ),
        (head(&log, &d), &fork, Broken::Damaged { size: 50, signed: mth(&d), here: mth(&forked) }),
    ] {
        assert_eq!(follower.see(head, nodes, &Toys), Err(broken));
    }
    let stranger = Toy::new("other.example");
    let distrusted = follower.see(head(&stranger, &d), &grid, &Toys);
    assert!(matches!(distrusted, Err(Broken::Distrusted(_))));
    // Nothing of this moved it.
    assert_eq!(follower.last().unwrap().checkpoint().size, 40);
    // Whoever serves tiles that contradict each other proves nothing, in whatever way.
    let spoilt = Spoilt(&grid, 3, 4);
    let broken = follower.see(head(&log, &d), &spoilt, &Toys).unwrap_err();
    assert!(matches!(broken, Broken::Unproven { .. } | Broken::Damaged { .. }), "{broken:?}");
    assert!(follower.see(head(&log, &d), &grid, &Toys).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Witnesses that come and go: heads that the policy believes are of one history, whoever was away and whatever was believed of
    /// where they are; and one who restored a backup hears it from any witness that is ahead.
    #[test]
    fn believed_heads_are_one_history(
        steps in prop::collection::vec((1_usize..40, 0_usize..8, 0_u64..40), 1..12),
    ) {
        let (mut party, log, d) = (Party::new(2, 3), Toy::new("log.example"), data(40));
        let grid = Grid::new(&d);
        let mut at = [0_u64; 3];
        for (size, away, guess) in steps {
            let away: Vec<usize> = (0..3).filter(|n| away >> n & 1 == 1).collect();
            let before = at;
            let (signed, _, failures) = party.gather(head(&log, &d[..size]), &grid, &[guess; 3], &away);
            for n in (0..3).filter(|n| !away.contains(n)) {
                let ahead = before[n] > n64(size);
                let told = failures.iter().any(|(name, f)| *name == format!("w{n}") && f.is_alarm());
                prop_assert_eq!(ahead, told);
                at[n] = at[n].max(n64(size));
            }
            let here = (0..3).filter(|n| !away.contains(n) && before[*n] <= n64(size)).count();
            prop_assert_eq!(party.policy.judge(&signed, &Toys).is_ok(), here >= 2);
        }
    }
}
