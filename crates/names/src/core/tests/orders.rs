//! Every order of events, beside a model of the kernel.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A step of the world.
#[derive(Clone, Debug)]
enum Step {
    Ask { device: u8, name: u8, v6: bool, tcp: bool },
    Upstream { which: usize, addresses: Vec<u8>, ttl: u32, code: u8, cut: bool, alias: bool },
    Garbage { which: usize, bytes: Vec<u8> },
    Down { which: usize },
    Acknowledge { which: usize, fine: bool },
    Policy { which: u8 },
    Pass { ms: u64 },
    Junk { device: u8, bytes: Vec<u8> },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
    let step = prop_oneof![
        6 => (1u8..5, 0u8..4, any::<bool>(), any::<bool>())
            .prop_map(|(device, name, v6, tcp)| Step::Ask { device, name, v6, tcp }),
        6 => (any::<usize>(), proptest::collection::vec(0u8..12, 0..5), 0u32..300, 0u8..6, 0u8..8)
            .prop_map(|(which, addresses, ttl, code, bits)| Step::Upstream {
                which, addresses, ttl, code, cut: bits == 0, alias: bits == 1,
            }),
        1 => (any::<usize>(), bytes()).prop_map(|(which, bytes)| Step::Garbage { which, bytes }),
        1 => any::<usize>().prop_map(|which| Step::Down { which }),
        6 => (any::<usize>(), 0u8..8)
            .prop_map(|(which, bits)| Step::Acknowledge { which, fine: bits > 0 }),
        1 => (0u8..3).prop_map(|which| Step::Policy { which }),
        2 => (0u64..200_000).prop_map(|ms| Step::Pass { ms }),
        1 => (1u8..5, bytes()).prop_map(|(device, bytes)| Step::Junk { device, bytes }),
    ];
    proptest::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever happens in whatever order: an address of a permitted name is in a reply only if every
    /// path that policy gives the asking class to it is acknowledged and has not run out; every
    /// question gets exactly one answer; nothing is left behind.
    #[test]
    fn never_released_before_acknowledged(steps in steps()) {
        let policies: [&[(u32, &str, u16)]; 3] = [
            &[(1, "n0.example", 443), (2, "n1.example", 443), (1, "*.deep.example", 80)],
            &[(1, "n0.example", 8443), (1, "n1.example", 443), (2, "n0.example", 443)],
            &[],
        ];
        let mut in_policy = policies[0];
        let mut w = World::new(in_policy, |s| {
            s.addresses_max = 4;
            s.burst = 1_000;
            s.paths_max = 12;
        });
        let names = ["n0.example.", "n1.example.", "x.deep.example.", "other.example."];
        let mut asks: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut grants: BTreeMap<u64, Grant> = BTreeMap::new();
        // The kernel: paths and their end.
        let mut kernel: BTreeMap<(u32, IpAddr, u16), u64> = BTreeMap::new();
        let mut questions: BTreeMap<u16, (u8, usize)> = BTreeMap::new();
        let mut id = 0u16;
        let mut last = false;
        let steps = steps.into_iter().map(Some).chain([const { None }; 12]);
        for step in steps {
            match step {
                Some(Step::Ask { device: n, name: which, v6, tcp }) => {
                    id += 1;
                    let kind = if v6 { RecordType::AAAA } else { RecordType::A };
                    if n < 4 { questions.insert(id, (n, usize::from(which))); }
                    let to = Return { tcp, ..device(n) };
                    w.send(to, &question(id, names[usize::from(which)], kind));
                }
                Some(Step::Upstream { which, addresses, ttl, code, cut, alias: aliased }) => {
                    let nth = which.checked_rem(asks.len());
                    if let Some((ask, bytes)) = nth.and_then(|n| asks.iter().nth(n)) {
                        let (ask, bytes) = (*ask, bytes.clone());
                        let query = Message::from_vec(&bytes).unwrap().queries[0].clone();
                        let owner = query.name().to_ascii();
                        let reply = answer(&bytes, |m| {
                            m.metadata.truncation = cut;
                            m.metadata.response_code = match code {
                                0 => ResponseCode::NXDomain,
                                1 => ResponseCode::ServFail,
                                _ => ResponseCode::NoError,
                            };
                            let end = if aliased { "end.example." } else { &owner };
                            if aliased { m.add_answer(alias(&owner, ttl, end)); }
                            for n in &addresses {
                                let ip = match (query.query_type(), n) {
                                    (RecordType::A, 0) => "10.0.0.2".to_owned(),
                                    (RecordType::A, n) => format!("203.0.113.{n}"),
                                    (_, n) => format!("2001:db8::{n}"),
                                };
                                m.add_answer(a(end, ttl, &ip));
                            }
                        });
                        w.core.heard(w.now, ask, &reply, &mut w.out);
                    }
                }
                Some(Step::Garbage { which, bytes: junk }) => {
                    let nth = which.checked_rem(asks.len());
                    if let Some((ask, bytes)) = nth.and_then(|n| asks.iter().nth(n)) {
                        let mut guess = bytes.clone();
                        guess[2] |= 0x80;
                        guess.truncate(12);
                        guess.extend(junk);
                        w.core.heard(w.now, *ask, &guess, &mut w.out);
                    }
                }
                Some(Step::Down { which }) => {
                    let nth = which.checked_rem(asks.len());
                    if let Some(ask) = nth.and_then(|n| asks.keys().nth(n)) {
                        w.core.unreachable(w.now, *ask, "refused", &mut w.out);
                    }
                }
                Some(Step::Acknowledge { which, fine }) => {
                    let nth = which.checked_rem(grants.len());
                    if let Some(release) = nth.and_then(|n| grants.keys().nth(n)).copied() {
                        let grant = grants.remove(&release).unwrap();
                        if fine { put(&mut kernel, &grant, w.now); }
                        let result = if fine { Ok(()) } else { Err("no".to_owned()) };
                        w.core.acknowledged(w.now, release, result, &mut w.out);
                    }
                }
                Some(Step::Policy { which }) => {
                    in_policy = policies[usize::from(which)];
                    // A new generation begins without the names of the old one.
                    kernel.clear();
                    grants.clear();
                    w.core.set_policy(w.now, policy(in_policy), &mut w.out);
                }
                Some(Step::Pass { ms }) => w.pass(ms),
                Some(Step::Junk { device: n, bytes }) => {
                    // Without a question's id of ours: replies are told apart by it.
                    let mut bytes = bytes;
                    if let Some(front) = bytes.get_mut(..2) { front.fill(0xff); }
                    w.send(device(n), &bytes);
                }
                None => {
                    // In the end time runs out for everything that is open.
                    last = true;
                    w.pass(1_500);
                }
            }
            for action in std::mem::take(&mut w.out) {
                match action {
                    Action::Ask { ask, bytes, .. } => drop(asks.insert(ask, bytes)),
                    Action::Close { ask } => drop(asks.remove(&ask)),
                    Action::PutInForce { release: Some(release), grant } => {
                        grants.insert(release, grant);
                    }
                    Action::PutInForce { release: None, grant } => put(&mut kernel, &grant, w.now),
                    Action::Tell(_) => {}
                    Action::Reply { to, bytes } => {
                        let message = Message::from_vec(&bytes).unwrap();
                        let Some((n, which)) = questions.remove(&message.metadata.id) else {
                            prop_assert!(message.answers.is_empty());
                            prop_assert!(!(1..=id).contains(&message.metadata.id) || to.peer.ip() == IpAddr::from([10, 0, 0, 4]));
                            continue;
                        };
                        prop_assert_eq!(to.peer, device(n).peer);
                        let class = if n == 2 { 2 } else { 1 };
                        let asked = names[which].trim_end_matches('.');
                        let policy = policy(in_policy);
                        for permit in policy.permits(ClassId(class), asked) {
                            for ip in message.answers.iter().filter_map(message::address) {
                                let end = kernel.get(&(class, ip, permit.first_port));
                                prop_assert!(
                                    end.is_some_and(|end| *end > w.now),
                                    "{ip} for {asked} is out and its path ends {end:?} at {}", w.now
                                );
                                prop_assert!(ip != IpAddr::from([10, 0, 0, 2]));
                            }
                        }
                    }
                }
            }
        }
        prop_assert!(last);
        prop_assert!(questions.is_empty(), "never answered: {questions:?}");
        prop_assert_eq!((w.core.open, w.core.open_of.len()), (0, 0));
        prop_assert!(w.core.asks.is_empty() && w.core.releases.is_empty() && w.core.joined.is_empty());
    }
}

fn put(kernel: &mut BTreeMap<(u32, IpAddr, u16), u64>, grant: &Grant, now: u64) {
    for opening in &grant.openings {
        // As the kernel does it: the last word counts, even if it is shorter.
        let end = now + u64::from(opening.timeout_s) * 1_000;
        kernel.insert((grant.class.0, opening.address, opening.permit.first_port), end);
    }
}
