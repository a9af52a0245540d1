//! The fence under fire: kills, swaps under traffic, other hands.

use std::process::Command;
use std::time::Duration;

use enforcer::netlink::Place;
use enforcer::plan::Ownership;
use enforcer::{Change, EnforceError, Fence, NameGrant, Options, Runner};
use lab::Netns;
use lab::proof::{self, Road};
use model::observation::Transport;
use model::ruleset::{ClassId, NamePermit, Permit, Ruleset, Terms};

const ROAD: &str = "RINGFENCE_TEST_ROAD";

/// Not a test: what the next one kills.
#[test]
#[ignore = "applies generations until it is killed; started by another test"]
fn apply_until_killed() {
    let Some(path) = std::env::var_os(ROAD) else {
        return;
    };
    proof::apply_forever(path.as_ref(), 300).unwrap();
}

#[test]
fn netns_a_kill_at_any_moment_leaves_one_whole_generation() {
    if !lab::need("netns_a_kill_at_any_moment_leaves_one_whole_generation") {
        return;
    }
    let road = Road::new().unwrap();
    let path = road.gateway.path();
    let child = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "proof::apply_until_killed", "--nocapture"]);
        command.env(ROAD, &path);
        command
    };
    let found = proof::kills(&road, 40, 300, Duration::from_millis(120), child).unwrap();
    assert_eq!(found.wrong, [""; 0]);
    assert_eq!(found.kills, 40);
    assert!(found.generations > 5, "{found:?}");
}

#[test]
fn netns_swaps_under_traffic_give_no_packet_a_wrong_verdict() {
    if !lab::need("netns_swaps_under_traffic_give_no_packet_a_wrong_verdict") {
        return;
    }
    let road = Road::new().unwrap();
    let found = proof::swaps(&road, 25, 50, 20_000, Duration::from_millis(20)).unwrap();
    assert_eq!(found.wrong, [""; 0], "{found:?}");
    assert_eq!(found.swaps, 25);
    // Of four packets two are permitted at any time.
    assert!(found.arrived * 3 > found.sent && found.arrived * 3 < found.sent * 2, "{found:?}");
}

fn passes(road: &Road, n: usize, port: u16) -> bool {
    let listener = road.listen(port).unwrap();
    road.device(n, port).unwrap().send(b"x").unwrap();
    // A loaded machine is slow, a dropped packet never comes.
    listener.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    listener.recv(&mut [0; 8]).is_ok()
}

#[test]
fn netns_one_device_is_a_handful_of_messages_and_its_open_flows_end() {
    if !lab::need("netns_one_device_is_a_handful_of_messages_and_its_open_flows_end") {
        return;
    }
    let road = Road::new().unwrap();
    let (fence, options) = (road.fence(), proof::options());
    let whole = fence.apply(&proof::ruleset(2, 20), &options).unwrap();
    assert!(whole.sent == whole.elements && whole.sent > 40, "{whole:?}");
    assert!(passes(&road, 5, proof::ALWAYS) && !passes(&road, 20, proof::ALWAYS));

    // By comparing rulesets: device 20 comes.
    let mut more = proof::ruleset(4, 21);
    let applied = fence.apply(&more, &options).unwrap();
    assert!((2..16).contains(&applied.sent), "{applied:?}");
    fence.verify(&more, &options).unwrap().unwrap();
    assert!(passes(&road, 20, proof::ALWAYS));
    // Another process's reader agrees; its names tell which generation built what is in force.
    road.fence().verify(&more, &options).unwrap().unwrap();

    // By naming the change: device 5 goes, and with it its open flow.
    let gone = more.members.remove(5);
    let change = Change { generation: 6, remove: vec![gone.clone()], add: Vec::new() };
    fence.update(&change).unwrap().unwrap();
    more.generation = 6;
    fence.verify(&more, &options).unwrap().unwrap();
    assert!(!passes(&road, 5, proof::ALWAYS) && passes(&road, 6, proof::ALWAYS));
    let back = Change { generation: 8, add: vec![gone], remove: Vec::new() };
    fence.update(&back).unwrap().unwrap();
    assert!(passes(&road, 5, proof::ALWAYS));
    let error = fence.update(&back).unwrap_err();
    assert!(matches!(error, EnforceError::Stale { offered: 8, in_force: 8 }), "{error}");

    // On top of it, a compared ruleset again, then one that needs a whole generation.
    let applied = fence.apply(&proof::ruleset(10, 22), &options).unwrap();
    assert!((2..16).contains(&applied.sent), "{applied:?}");
    fence.verify(&proof::ruleset(10, 22), &options).unwrap().unwrap();
    let applied = fence.apply(&proof::ruleset(11, 22), &options).unwrap();
    assert_eq!(applied.sent, applied.elements);
    assert!(passes(&road, 5, proof::IN_TURN[1]) && !passes(&road, 5, proof::IN_TURN[0]));
    fence.verify(&proof::ruleset(11, 22), &options).unwrap().unwrap();

    // A process that knows nothing of what is in force says so.
    let error = road.fence().update(&Change { generation: 12, ..Change::default() }).unwrap_err();
    assert!(matches!(error, EnforceError::NotOurs { .. }), "{error}");
}

#[test]
fn netns_revoked_devices_reach_nobody_and_are_nobody() {
    if !lab::need("netns_revoked_devices_reach_nobody_and_are_nobody") {
        return;
    }
    let road = Road::new().unwrap();
    let (fence, options) = (road.fence(), proof::options());
    let ruleset = proof::ruleset(2, 400);
    fence.apply(&ruleset, &options).unwrap();
    assert!(passes(&road, 7, proof::ALWAYS));
    let revoked = fence.revoke(&ruleset.members[5..300]).unwrap();
    assert_eq!((revoked.sent, revoked.generation), (2 * 295, 2));
    assert!(!passes(&road, 7, proof::ALWAYS) && passes(&road, 4, proof::ALWAYS));
    // Again, and one that was never there: fine.
    assert_eq!(fence.revoke(&ruleset.members[5..7]).unwrap().sent, 2);
    assert_eq!(fence.revoke(&[proof::member(9_999).unwrap()]).unwrap().sent, 0);
    assert!(fence.verify(&ruleset, &options).unwrap().is_err());
    fence.apply(&ruleset, &options).unwrap();
    fence.verify(&ruleset, &options).unwrap().unwrap();
    assert!(passes(&road, 7, proof::ALWAYS));
}

fn nft(netns: &Netns, command: &str) -> (i32, String) {
    let output = netns.run(&["nft", "-f", "-"], command).unwrap();
    (output.code, output.stderr)
}

#[test]
fn netns_an_owned_table_is_closed_to_others_and_claimed_again_without_a_gap() {
    if !lab::need("netns_an_owned_table_is_closed_to_others_and_claimed_again_without_a_gap") {
        return;
    }
    let road = Road::new().unwrap();
    let (fence, options) = (road.fence(), proof::options());
    let applied = fence.apply(&proof::ruleset(2, 20), &options).unwrap();
    if !applied.owned {
        eprintln!("this kernel cannot own tables (Linux 6.9 and newer can)");
        return;
    }
    let (code, said) = nft(&road.gateway, "delete table inet ringfence");
    assert!(code != 0 && said.contains("Operation not permitted"), "{said}");
    let (code, _) = nft(&road.gateway, "flush ruleset");
    assert_eq!(code, 0);
    fence.verify(&proof::ruleset(2, 20), &options).unwrap().unwrap();
    // Another living process of ours may read, not change.
    let other = road.fence();
    assert_eq!(other.read().unwrap().generation, Some(2));
    let error = other.apply(&proof::ruleset(3, 20), &options).unwrap_err();
    assert!(matches!(error, EnforceError::NotPermitted { .. }), "{error}");
    // A clone is the same process and the same socket.
    fence.clone().apply(&proof::ruleset(4, 20), &options).unwrap();

    // The owner dies: the fence stays, and the next one takes it over.
    drop(fence);
    assert!(passes(&road, 3, proof::ALWAYS) && !passes(&road, 3, proof::NEVER));
    assert_eq!(other.read().unwrap().generation, Some(4));
    let applied = other.apply(&proof::ruleset(5, 20), &options).unwrap();
    assert_eq!((applied.owned, applied.replaced), (true, Some(4)));
    other.verify(&proof::ruleset(5, 20), &options).unwrap().unwrap();
    let (code, _) = nft(&road.gateway, "delete table inet ringfence");
    assert_ne!(code, 0);
    other.remove().unwrap();

    // The open form: anybody may, and it is noticed.
    let open = Options { ownership: Ownership::Open, ..options };
    let applied = other.apply(&proof::ruleset(6, 20), &open).unwrap();
    assert!(!applied.owned);
    assert_eq!(nft(&road.gateway, "flush chain inet ringfence forward").0, 0);
    let told = other.verify(&proof::ruleset(6, 20), &open).unwrap().unwrap_err();
    assert!(told.iter().all(|d| d.place == "inet forward"), "{told:?}");
    // It cannot become owned in place; it works on as it is.
    let applied = other.apply(&proof::ruleset(7, 20), &proof::options()).unwrap();
    assert!(!applied.owned);
    other.verify(&proof::ruleset(7, 20), &open).unwrap().unwrap();
}

#[test]
fn netns_changes_of_others_while_we_apply_do_no_harm() {
    if !lab::need("netns_changes_of_others_while_we_apply_do_no_harm") {
        return;
    }
    let road = Road::new().unwrap();
    let (fence, options) = (road.fence(), proof::options());
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let meddling = {
        let (stop, gateway) = (std::sync::Arc::clone(&stop), road.gateway.clone());
        std::thread::spawn(move || {
            let mut changes = 0;
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                let table = "table inet other { }\ndelete table inet other\n";
                changes += usize::from(nft(&gateway, table).0 == 0);
            }
            changes
        })
    };
    for generation in 1..60 {
        fence.apply(&proof::ruleset(generation, 100), &options).unwrap();
        fence.verify(&proof::ruleset(generation, 100), &options).unwrap().unwrap();
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(meddling.join().unwrap() > 5);
}

#[test]
fn netns_without_privilege_the_kernel_says_no_and_we_say_what_to_do() {
    if !lab::need("netns_without_privilege_the_kernel_says_no_and_we_say_what_to_do") {
        return;
    }
    let road = Road::new().unwrap();
    road.fence().apply(&proof::ruleset(2, 20), &proof::options()).unwrap();
    let missing = Fence::new(Place::netns("/run/netns/rf-not-there".as_ref()), "ringfence");
    let error = missing.apply(&proof::ruleset(3, 20), &proof::options()).unwrap_err();
    assert!(error.to_string().contains("/run/netns/rf-not-there"), "{error}");
    // More log groups, rules and names than fit are errors, and what is in force stays.
    let mut wide = proof::ruleset(3, 20);
    wide.permits[0].terms.rate_per_second = Some(0);
    let error = road.fence().apply(&wide, &proof::options()).unwrap_err();
    assert!(error.to_string().contains("0 flows per second"), "{error}");
    assert_eq!(road.fence().read().unwrap().generation, Some(2));
    assert!(passes(&road, 3, proof::ALWAYS));
}

/// Port of a permit with terms, and their effect.
fn with_terms(generation: u64) -> Ruleset {
    let mut ruleset = proof::ruleset(generation, 20);
    let permit = |port: u16, rule: &str, terms: Terms| Permit {
        from: ClassId(1),
        to: ClassId(2),
        transport: Transport::Udp,
        first_port: port,
        last_port: port,
        rule: rule.to_owned(),
        terms,
    };
    let closing = Terms { closing: Some("no-more-7100".to_owned()), ..Terms::default() };
    let rate = Terms { rate_per_second: Some(2), ..Terms::default() };
    let logged = Terms { log: true, ..Terms::default() };
    let application = [("modbus".to_owned(), "read-only".to_owned())].into();
    let application = Terms { application, ..Terms::default() };
    ruleset.permits.extend([
        permit(7_100, "closing", closing),
        permit(7_101, "slow", rate),
        permit(7_102, "logged", logged),
        permit(7_103, "readers", application),
    ]);
    ruleset.proposed.push(permit(7_104, "soon", Terms::default()));
    ruleset
}

#[test]
fn netns_terms_are_kept_counted_and_logged() {
    if !lab::need("netns_terms_are_kept_counted_and_logged") {
        return;
    }
    let road = Road::new().unwrap();
    let fence = road.fence();
    let options = Options { log_group: Some(5), ..proof::options() };
    let ruleset = with_terms(3);
    let applied = fence.apply(&ruleset, &options).unwrap();
    assert_eq!(
        applied.unsupported,
        ["rule `readers`: modbus read-only needs a gateway for modbus"]
    );
    fence.verify(&ruleset, &options).unwrap().unwrap();
    for (port, passed) in [(7_100, true), (7_102, true), (7_103, true), (7_104, false)] {
        assert_eq!(passes(&road, 1, port), passed, "{port}");
    }
    // A rate: a burst of the same size, then no more for a while; open flows are not counted.
    let listener = road.listen(7_101).unwrap();
    for n in 0..12 {
        road.device(n, 7_101).unwrap().send(b"x").unwrap();
    }
    let mut arrived = 0;
    while listener.recv(&mut [0; 8]).is_ok() {
        arrived += 1;
    }
    assert!((2..10).contains(&arrived), "{arrived}");
    let read = fence.read().unwrap();
    assert_eq!(read.would_deny["no-more-7100"], 1, "{read:?}");
    assert_eq!(read.would_allow["soon"], 1, "{read:?}");
    assert!(read.beyond_rate["slow"] > 0, "{read:?}");
    assert_eq!(read.hits["closing"], 1, "{read:?}");
    assert!(read.denials.iter().any(|d| d.port == Some(7_104)), "{read:?}");
    assert!(!passes(&road, 900, 7_100), "a stranger passed");
}

#[test]
fn netns_answers_to_names_are_in_force_at_once_and_survive_generations() {
    if !lab::need("netns_answers_to_names_are_in_force_at_once_and_survive_generations") {
        return;
    }
    let road = Road::new().unwrap();
    let (fence, options) = (road.fence(), proof::options());
    let permit = |name: &str, port: u16| NamePermit {
        from: ClassId(1),
        name: name.to_owned(),
        transport: Transport::Udp,
        first_port: port,
        last_port: port,
        rule: format!("to-{name}"),
        terms: Terms::default(),
    };
    let with_names = |generation: u64, ports: &[u16]| {
        let mut ruleset = proof::ruleset(generation, 20);
        ruleset.peers.clear();
        ruleset.names = ports.iter().map(|port| permit("cloud.example", *port)).collect();
        ruleset
    };
    let first = with_names(2, &[7_200, 7_201]);
    fence.apply(&first, &options).unwrap();
    assert!(!passes(&road, 1, 7_200));
    let grant = |permit, timeout_s| NameGrant {
        permit,
        name: "cloud.example",
        ip: proof::VICTIM.into(),
        timeout_s,
    };
    let grants: Vec<_> = first.names.iter().map(|permit| grant(permit, 300)).collect();
    assert_eq!(fence.name_answer(&grants).unwrap(), 2);
    assert!(passes(&road, 1, 7_200) && passes(&road, 1, 7_201) && !passes(&road, 1, 7_202));
    fence.verify(&first, &options).unwrap().unwrap();

    // The next generation permits one of the two ports: that address is carried over.
    let second = with_names(3, &[7_200, 7_203]);
    let applied = fence.apply(&second, &options).unwrap();
    assert_eq!(applied.sent, applied.elements, "a whole generation");
    assert!(passes(&road, 2, 7_200) && !passes(&road, 2, 7_201) && !passes(&road, 2, 7_203));
    let other = permit("other.example", 1);
    let error = fence.name_answer(&[grant(&other, 300)]).unwrap_err();
    assert!(matches!(error, EnforceError::NoSuchName { .. }), "{error}");

    // A short time ends by itself, and a second answer makes it longer.
    let third = &second.names[1];
    fence.name_answer(&[grant(third, 2)]).unwrap();
    assert!(passes(&road, 3, 7_203));
    let end = lab::wait::now() + Duration::from_secs(15);
    let mut fresh = 4;
    let over = || {
        fresh += 1;
        !passes(&road, fresh, 7_203)
    };
    assert!(lab::wait::until(end, over).unwrap(), "an address outlived its time");

    let stranger = road.fence();
    let error = stranger.name_answer(&[grant(third, 2)]).unwrap_err();
    assert!(matches!(error, EnforceError::NotOurs { .. }), "{error}");
    let plain = proof::ruleset(4, 20);
    fence.apply(&plain, &options).unwrap();
    let error = fence.name_answer(&[grant(third, 2)]).unwrap_err();
    assert!(matches!(error, EnforceError::NoSuchName { .. }), "{error}");
}
