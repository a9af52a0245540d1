//! What goes wrong in the field: rotation, cut answers, lost elements, restarts, dead resolvers.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use hickory_proto::op::{Message, OpCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record};
use lab::uplink::{self, BOX, BY_HAND, Uplink};
use lab::wait;

use crate::begin::{fresh, policy, reaches, resolver, site, visit};

const BY_HAND_53: SocketAddr = SocketAddr::new(IpAddr::V4(BY_HAND), 53);

/// A name server that answers every question with these addresses.
fn serve(
    up: &Uplink,
    ttl_s: u32,
    addresses: impl Fn() -> Vec<[u8; 4]> + Send + Sync + 'static,
    room: usize,
) {
    let answer = move |question: &[u8], tcp: bool| {
        let Ok(asked) = Message::from_vec(question) else { return Vec::new() };
        let mut message = Message::response(asked.metadata.id, OpCode::Query);
        message.add_queries(asked.queries.iter().cloned());
        for ip in addresses() {
            let data = RData::A(A(ip.into()));
            message.add_answer(Record::from_rdata(asked.queries[0].name().clone(), ttl_s, data));
        }
        let bytes = message.to_vec().unwrap();
        if tcp || bytes.len() <= room { bytes } else { message.truncate().to_vec().unwrap() }
    };
    up.name_server(BY_HAND_53, answer).unwrap();
}

#[test]
fn netns_every_address_of_a_rotating_name_is_open_when_it_is_given_out() {
    let Some((up, wall)) =
        site("netns_every_address_of_a_rotating_name_is_open_when_it_is_given_out")
    else {
        return;
    };
    let turn = Arc::new(AtomicU8::new(0));
    let next = Arc::clone(&turn);
    // A life of 0: every question is asked anew.
    serve(&up, 0, move || vec![[198, 18, 7, next.fetch_add(1, Ordering::SeqCst)]], 512);
    let (_running, told) = resolver(&up, &wall, &[(1, "cloud.example", 8080)], |config| {
        config.settings.upstreams = vec![BY_HAND_53];
        config.settings.addresses_max = 20;
    });
    let dropped = wall.denied();
    let met: BTreeSet<_> =
        (0..20).map(|_| visit(&up, 1, "cloud.example", false, 8080).unwrap()).collect();
    assert_eq!(met.len(), 20);
    // Former answers still hold for who keeps them a little too long.
    assert!(met.iter().all(|ip| reaches(&up, 1, *ip, 8080)));
    assert_eq!(wall.denied(), dropped);
    assert!(told.findings().is_empty(), "{:?}", told.findings());
    // The cap is not silent, and an address beyond it is not given out.
    let why = visit(&up, 1, "cloud.example", false, 8080).unwrap_err();
    assert_eq!(why, "resolve: response code 2");
    told.finding("dns-too-many-addresses");
}

#[test]
fn netns_cut_answers_are_fetched_whole_before_any_is_released() {
    let Some((up, wall)) = site("netns_cut_answers_are_fetched_whole_before_any_is_released")
    else {
        return;
    };
    // A real program that has to cut: 120 addresses are 2,000 bytes.
    let many: Vec<IpAddr> = (1..=120).map(|n| IpAddr::from([198, 18, 9, n])).collect();
    up.dnsmasq(&[("many.example".to_owned(), many.clone())], 30).unwrap();
    let permits = &[(1, "many.example", 8080), (1, "byhand.example", 8080)];
    let (running, _) = resolver(&up, &wall, permits, |_| {});
    let resolve = |name: &str| {
        let server = SocketAddr::from((BOX[0], 53));
        let found = up.device(1).unwrap().enter(|| uplink::resolve(server, name, false)).unwrap();
        found.unwrap().into_iter().collect::<BTreeSet<_>>()
    };
    assert_eq!(resolve("many.example"), many.iter().copied().collect());
    assert_eq!(wall.open(), 120);
    for ip in [many[0], many[60], many[119]] {
        assert!(reaches(&up, 1, ip, 8080));
    }
    drop(running);
    // A server made by hand that cuts at once, whatever the room.
    serve(&up, 60, || (1..=40).map(|n| [198, 18, 10, n]).collect(), 0);
    let (_running, _) =
        resolver(&up, &wall, permits, |config| config.settings.upstreams = vec![BY_HAND_53]);
    assert_eq!(resolve("byhand.example").len(), 40);
    assert!(reaches(&up, 1, IpAddr::from([198, 18, 10, 40]), 8080));
}

#[test]
fn netns_a_cached_answer_opens_again_what_was_lost() {
    let Some((up, wall)) = site("netns_a_cached_answer_opens_again_what_was_lost") else {
        return;
    };
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let one = move || {
        count.fetch_add(1, Ordering::SeqCst);
        vec![[198, 18, 7, 1]]
    };
    serve(&up, 3_600, one, 512);
    let (running, _) = resolver(&up, &wall, &[(1, "cloud.example", 8080)], |config| {
        config.settings.upstreams = vec![BY_HAND_53];
    });
    let ip = visit(&up, 1, "cloud.example", false, 8080).unwrap();
    wall.flush();
    assert!(!reaches(&up, 1, ip, 8080));
    assert_eq!(visit(&up, 1, "cloud.example", false, 8080), Ok(ip));
    assert_eq!(asked.load(Ordering::SeqCst), 1, "it was to come from the cache");
    assert_eq!(running.counts().unwrap().hits, 1);
    // And a path closes by itself when its answer and its grace are over.
    drop(running);
    wall.flush();
    let (_running, _) = resolver(&up, &wall, &[(1, "cloud.example", 8080)], |config| {
        config.settings.upstreams = vec![BY_HAND_53];
        (config.settings.ttl_max_s, config.settings.floor_s, config.settings.grace_s) = (1, 1, 2);
    });
    assert_eq!(visit(&up, 1, "cloud.example", false, 8080), Ok(ip));
    let end = wait::now() + Duration::from_secs(30);
    assert!(wait::until(end, || wall.open() == 0).unwrap(), "it never closed");
    assert!(!reaches(&up, 1, ip, 8080));
    assert_eq!(visit(&up, 1, "cloud.example", false, 8080), Ok(ip));
}

#[test]
fn netns_a_restart_and_a_new_policy_keep_what_devices_hold() {
    let Some((up, wall)) = site("netns_a_restart_and_a_new_policy_keep_what_devices_hold") else {
        return;
    };
    let names = fresh(3);
    up.dnsmasq(&names, 300).unwrap();
    let state = up.directory().join("live.json");
    let with_state = |config: &mut names::Config| config.state_file = Some(state.clone());
    let permits = &[(1, "*.fresh.example", 8080)];
    let (running, _) = resolver(&up, &wall, permits, with_state);
    let ips: Vec<IpAddr> = names.iter().map(|(_, ips)| ips[0]).collect();
    for (name, _) in &names {
        visit(&up, 1, name, false, 8080).unwrap();
    }
    drop(running);
    // Nobody resolves, and who has an answer goes on.
    assert!(ips.iter().all(|ip| reaches(&up, 1, *ip, 8080)));
    // Even if the table was lost meanwhile, the new resolver opens what devices still hold.
    wall.flush();
    let (running, told) = resolver(&up, &wall, permits, with_state);
    let back = || wall.open() == 3;
    assert!(wait::until(wait::now() + Duration::from_secs(20), back).unwrap(), "{}", wall.open());
    assert!(ips.iter().all(|ip| reaches(&up, 1, *ip, 8080)));
    // A new policy with another port: held names are open there without being asked for.
    wall.flush();
    running.set_policy(policy(&[(1, "host-1.fresh.example", 8081)]));
    assert_eq!(wall.open(), 1);
    assert!(reaches(&up, 1, ips[0], 8081) && !reaches(&up, 1, ips[1], 8081));
    assert!(told.findings().is_empty(), "{:?}", told.findings());
    drop(running);
    // A broken file is told, and the resolver runs without it.
    std::fs::write(&state, "{").unwrap();
    let (_running, told) = resolver(&up, &wall, permits, with_state);
    told.finding("dns-state-file");
    assert_eq!(visit(&up, 1, &names[2].0, false, 8080), Ok(ips[2]));
}

#[test]
fn netns_without_resolver_or_upstream_the_fence_stays_and_it_is_told() {
    let Some((up, wall)) =
        site("netns_without_resolver_or_upstream_the_fence_stays_and_it_is_told")
    else {
        return;
    };
    let names = fresh(3);
    up.dnsmasq(&names, 300).unwrap();
    let (running, told) = resolver(&up, &wall, &[(1, "*.fresh.example", 8080)], |config| {
        config.settings.try_ms = 200;
        config.settings.give_up_ms = 1_000;
    });
    let held = visit(&up, 1, &names[0].0, false, 8080).unwrap();
    up.stop_dnsmasq();
    for _ in 0..2 {
        let why = visit(&up, 1, &names[1].0, false, 8080).unwrap_err();
        assert_eq!(why, "resolve: response code 2");
    }
    told.finding("dns-upstreams-down");
    assert_eq!(visit(&up, 1, &names[0].0, false, 8080), Ok(held), "the cache still answers");
    up.dnsmasq(&names, 300).unwrap();
    let end = wait::now() + Duration::from_secs(30);
    let again = || visit(&up, 1, &names[1].0, false, 8080).is_ok();
    assert!(wait::until(end, again).unwrap());
    told.finding("dns-upstreams-back");
    drop(running);
    let why = visit(&up, 1, &names[2].0, false, 8080).unwrap_err();
    assert!(why.starts_with("resolve"), "{why}");
    assert!(reaches(&up, 1, held, 8080), "an open path outlives the resolver");
    assert!(!reaches(&up, 1, names[2].1[0], 8080), "a closed one stays closed");
    // Where the fence refuses, the device gets a failure, not an address.
    let (_running, told) = resolver(&up, &wall, &[(1, "*.fresh.example", 8080)], |config| {
        struct Broken;
        impl names::Sink for Broken {
            fn put_in_force(&mut self, _: &names::Grant) -> Result<(), String> {
                Err("the table is gone".to_owned())
            }
        }
        config.sink = Box::new(Broken);
    });
    let why = visit(&up, 1, &names[2].0, false, 8080).unwrap_err();
    assert_eq!(why, "resolve: response code 2");
    told.finding("dns-not-in-force");
}
