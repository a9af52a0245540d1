//! Changes by others are heard, named and undone. The vandal is the real nft program.

use std::time::Duration;

use enforcer::Runner;
use enforcer::drift::{Does, Expected, Finding, Guard};
use enforcer::netlink::{Batch, Place, Protocol, Socket};
use enforcer::{EnforceError, Options, Ownership};
use lab::proof::{self, Road};
use lab::{Netns, wait};

use crate::wires::Wires;

const OURS: &str = "table inet ringfence {
    set member { type ipv4_addr; elements = { 10.9.1.2 } }
    chain forward { type filter hook forward priority 0; policy drop; ip saddr @member accept } }";

/// Findings until `wanted` is among them.
fn until(
    guard: &mut Guard,
    restore: &mut dyn FnMut() -> Result<(), EnforceError>,
    wanted: impl Fn(&Finding) -> bool,
) -> Vec<Finding> {
    let mut out = Vec::new();
    let end = wait::now() + Duration::from_secs(20);
    while !out.iter().any(&wanted) {
        assert!(wait::now() < end, "not told: {out:?}");
        out.extend(guard.step(Duration::from_millis(200), restore).unwrap());
    }
    out
}

#[test]
fn netns_a_vandal_is_named_and_undone() {
    if !lab::need("netns_a_vandal_is_named_and_undone") {
        return;
    }
    let wires = Wires::new("rf-drift", 1);
    wires.nft(OURS);
    // The rules are put back by another process here; the fence itself does it over netlink.
    let mut guard = Guard::open(&wires.place(), "ringfence", 0, Expected::default()).unwrap();
    assert_eq!(guard.step(Duration::ZERO, &mut || unreachable!()).unwrap(), []);
    let check = |guard: &mut Guard, vandal: &str, expect: &[&str]| {
        wires.nft(vandal);
        let mut restored = 0;
        let mut restore = || {
            restored += 1;
            Ok(())
        };
        let told = until(guard, &mut restore, |finding| matches!(finding, Finding::Changed { .. }));
        assert_eq!(restored, 1, "{vandal}: {told:?}");
        let text = told.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(text.contains("nft (pid ") && text.contains("; put back ("), "{text}");
        for part in expect {
            assert!(text.contains(part), "{vandal}: {text}");
        }
    };
    check(
        &mut guard,
        "insert rule inet ringfence forward accept",
        &["added rule in chain inet ringfence forward"],
    );
    check(
        &mut guard,
        "delete element inet ringfence member { 10.9.1.2 }",
        &["deleted element of set inet ringfence member"],
    );
    check(&mut guard, "add chain inet ringfence x", &["added chain inet ringfence x"]);
    check(&mut guard, "flush ruleset", &["deleted table inet ringfence"]);
    wires.nft(OURS);
    let told = until(&mut guard, &mut || Ok(()), |f| matches!(f, Finding::Changed { .. }));
    assert!(told[0].to_string().contains("added table inet ringfence"), "{told:?}");

    // A restoration that fails is told, with the reason.
    wires.nft("delete table inet ringfence");
    let mut fails = || {
        let (offered, in_force) = (1, 2);
        Err(EnforceError::Stale { offered, in_force })
    };
    let told = until(&mut guard, &mut fails, |f| matches!(f, Finding::Changed { .. }));
    assert!(told[0].to_string().contains("NOT put back: generation 1 is older"), "{told:?}");
}

#[test]
fn netns_own_changes_are_no_drift_and_foreign_ones_do_not_restore() {
    if !lab::need("netns_own_changes_are_no_drift_and_foreign_ones_do_not_restore") {
        return;
    }
    let wires = Wires::new("rf-own", 1);
    wires.nft(OURS);
    let mut guard = Guard::open(&wires.place(), "ringfence", 0, Expected::default()).unwrap();
    wires.nft("table ip other { chain o { type filter hook forward priority 0; accept } }");
    let end = wait::now() + Duration::from_secs(20);
    let heard = wait::until(end, || {
        let heard = guard.watch().hear(Duration::from_millis(200)).unwrap();
        heard.outside.iter().any(|outside| !outside.ours && outside.process == "nft")
    });
    assert!(heard.unwrap());
    let mut own = Socket::open(Protocol::Netfilter, &wires.place()).unwrap();
    guard.watch().is_own_port(own.port().unwrap());
    let mut batch = Batch::new(10);
    // NFT_MSG_NEWCHAIN, to be created.
    batch.push(3, 0x400, 1, |e| {
        e.put_str(1, "ringfence");
        e.put_str(3, "ours");
    });
    own.commit(&mut batch, None).unwrap();
    let told = guard.step(Duration::from_millis(100), &mut || unreachable!()).unwrap();
    assert_eq!(told, [], "an accept of another table leads nobody around the fence");
}

#[test]
fn netns_rules_that_lead_around_the_fence_are_reported_and_left() {
    if !lab::need("netns_rules_that_lead_around_the_fence_are_reported_and_left") {
        return;
    }
    let wires = Wires::new("rf-around", 2);
    wires.nft(OURS);
    wires.nft("table ip early { chain p { type filter hook prerouting priority -300; notrack } }");
    let mut guard = Guard::open(&wires.place(), "ringfence", 0, Expected::default()).unwrap();
    // What was there before is told first.
    let told = guard.step(Duration::ZERO, &mut || unreachable!()).unwrap();
    let [Finding::Bypass { what, by: None }] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((what.does, what.hook.as_deref()), (Does::NoTrack, Some("prerouting")));

    let check = |guard: &mut Guard, vandal: &str, expect: &str| {
        wires.nft(vandal);
        let told = until(guard, &mut || unreachable!(), |f| matches!(f, Finding::Bypass { .. }));
        assert!(told[0].to_string().contains(expect), "{vandal}: {}", told[0]);
        assert!(told[0].to_string().contains("made by nft (pid "), "{}", told[0]);
    };
    check(
        &mut guard,
        "table inet marks { chain f { type filter hook forward priority -5; ct mark set 5 } }",
        "inet marks f (forward) sets the connection mark",
    );
    check(
        &mut guard,
        "table ip turn { chain p { type nat hook prerouting priority -100; tcp dport 80 dnat to 10.9.2.2 } }",
        "ip turn p (prerouting) changes destinations",
    );
    check(
        &mut guard,
        "table ip here { chain p { type nat hook prerouting priority -100; tcp dport 81 redirect to :8080 } }",
        "ip here p (prerouting) sends packets to a program",
    );
    check(
        &mut guard,
        "table netdev side { chain i { type filter hook ingress device w1 priority 0; fwd to w2 } }",
        "netdev side i (ingress) sends packets out of another interface",
    );
    check(
        &mut guard,
        "table ip twice { chain p { type filter hook prerouting priority 0; dup to 10.9.2.2 } }",
        "ip twice p (prerouting) copies packets",
    );
    // They are others': all of them are still there, and none is told twice.
    assert_eq!(guard.step(Duration::from_millis(100), &mut || unreachable!()).unwrap(), []);
    for table in ["ip early", "inet marks", "ip turn", "ip here", "netdev side", "ip twice"] {
        wires.run(&format!("nft list table {table}"));
    }
}

#[test]
fn netns_lost_events_are_told_and_everything_is_looked_at() {
    if !lab::need("netns_lost_events_are_told_and_everything_is_looked_at") {
        return;
    }
    let wires = Wires::new("rf-flood", 1);
    wires.nft(OURS);
    let mut guard = Guard::open(&wires.place(), "ringfence", 0, Expected::default()).unwrap();
    let _ = guard.step(Duration::ZERO, &mut || unreachable!()).unwrap();
    wires.nft("table inet other { set s { type ipv4_addr; } }");
    // More events than the buffer holds, before anybody reads.
    let mut flood = Socket::open(Protocol::Netfilter, &wires.place()).unwrap();
    for thousand in 0..400_u32 {
        let mut batch = Batch::new(10);
        // NFT_MSG_NEWSETELEM, to be created.
        batch.push(12, 0x400, 1, |e| {
            e.put_str(1, "other");
            e.put_str(2, "s");
            e.nested(0x8003, |e| {
                for n in 0..1_000 {
                    let key = (thousand * 1_000 + n).to_be_bytes();
                    e.nested(0x8001, |e| e.nested(0x8001, |e| e.put(1, &key)));
                }
            });
        });
        flood.commit(&mut batch, None).unwrap();
    }
    let mut restored = 0;
    let mut restore = || {
        restored += 1;
        Ok(())
    };
    let told = until(&mut guard, &mut restore, |f| matches!(f, Finding::Overrun { .. }));
    assert!(told.iter().any(|f| f.to_string().contains("faster than they could be read")));
    assert_eq!(restored, 1);
}

#[test]
fn netns_settings_that_keep_neighbours_apart_are_watched() {
    if !lab::need("netns_settings_that_keep_neighbours_apart_are_watched") {
        return;
    }
    use enforcer::contain::{Isolated, Method, isolate};

    let wires = Wires::new("rf-set", 2);
    wires.run("ip link add br9 type bridge");
    wires.run("ip link set br9 up");
    for port in ["w1", "w2"] {
        wires.run(&format!("ip link set {port} master br9"));
    }
    let isolated: Isolated = isolate(&wires.gateway, "br9", Method::IsolatedPorts).unwrap();
    let place = wires.place();
    let mut guard = Guard::open(&place, "ringfence", 0, Expected::of(&isolated)).unwrap();
    let nothing: &mut dyn FnMut() -> Result<(), EnforceError> = &mut || unreachable!();
    assert_eq!(guard.step(Duration::ZERO, nothing).unwrap(), []);
    wires.run("ip link set dev w2 type bridge_slave isolated off");
    let told = guard.step(Duration::ZERO, nothing).unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].to_string(), "isolation of port w2 is off and must be on");
    // Once.
    assert_eq!(guard.step(Duration::ZERO, nothing).unwrap(), []);
    wires.set("net/ipv4/conf/br9/proxy_arp_pvlan", "0");
    let told = guard.step(Duration::ZERO, nothing).unwrap();
    let expect = "net/ipv4/conf/br9/proxy_arp_pvlan is 0 and must be 1";
    assert_eq!(told.iter().map(ToString::to_string).collect::<Vec<_>>(), [expect]);
    let again = isolate(&wires.gateway, "br9", Method::IsolatedPorts).unwrap();
    assert_eq!(Expected::of(&again).check(&place).unwrap(), []);
    let file = "net/bridge/bridge-nf-call-iptables".to_owned();
    let filter = Expected { settings: [(file, "1".to_owned())].into(), ..Expected::default() };
    wires.set("net/bridge/bridge-nf-call-iptables", "0");
    let told = filter.check(&place).unwrap();
    let what = "net/bridge/bridge-nf-call-iptables is 0 and must be 1";
    assert!(told.iter().any(|changed| changed.to_string() == what), "{told:?}");
}

/// What the real nft program is told, and whether the kernel took it.
fn vandal(netns: &Netns, command: &str) -> bool {
    netns.run(&["nft", "-f", "-"], command).unwrap().code == 0
}

#[test]
fn netns_an_open_fence_is_put_back_whatever_is_done_to_it() {
    if !lab::need("netns_an_open_fence_is_put_back_whatever_is_done_to_it") {
        return;
    }
    let road = Road::new().unwrap();
    let fence = road.fence();
    let options = Options { ownership: Ownership::Open, ..proof::options() };
    let ruleset = proof::ruleset(3, 50);
    fence.apply(&ruleset, &options).unwrap();
    let place = Place::netns(&road.gateway.path());
    let mut guard = Guard::open(&place, "ringfence", 0, Expected::default()).unwrap();
    guard.watch().is_own_port(fence.port().unwrap());
    assert_eq!(guard.step(Duration::ZERO, &mut || unreachable!()).unwrap(), []);
    let mut restore = || {
        fence.apply(&ruleset, &options)?;
        let compared = fence.verify(&ruleset, &options)?;
        assert!(compared.is_ok(), "{compared:?}");
        Ok(())
    };
    for command in [
        "insert rule inet ringfence forward accept",
        "flush chain inet ringfence forward",
        "delete table inet ringfence",
        "flush ruleset",
    ] {
        assert!(vandal(&road.gateway, command), "{command}");
        let told = until(&mut guard, &mut restore, |f| {
            matches!(f, Finding::Changed { restored: true, .. })
        });
        assert!(told[0].to_string().starts_with("nft (pid "), "{told:?}");
        fence.verify(&ruleset, &options).unwrap().unwrap();
        // Putting it back is no drift.
        assert_eq!(guard.step(Duration::from_millis(50), &mut || unreachable!()).unwrap(), []);
    }
    fence.remove().unwrap();
}

#[test]
fn netns_an_owned_fence_is_closed_while_its_owner_lives_and_watched_after_its_death() {
    if !lab::need(
        "netns_an_owned_fence_is_closed_while_its_owner_lives_and_watched_after_its_death",
    ) {
        return;
    }
    let road = Road::new().unwrap();
    let (fence, options, ruleset) = (road.fence(), proof::options(), proof::ruleset(3, 50));
    if !fence.apply(&ruleset, &options).unwrap().owned {
        eprintln!("this kernel cannot own tables (Linux 6.9 and newer can)");
        return;
    }
    let place = Place::netns(&road.gateway.path());
    let mut guard = Guard::open(&place, "ringfence", 0, Expected::default()).unwrap();
    let _ = guard.step(Duration::ZERO, &mut || unreachable!()).unwrap();
    // Refused: nothing changed, nothing to tell.
    assert!(!vandal(&road.gateway, "insert rule inet ringfence forward accept"));
    assert_eq!(guard.step(Duration::from_millis(100), &mut || unreachable!()).unwrap(), []);
    // The owner dies. The fence is up, open to others, and the next owner watches and claims it.
    drop(fence);
    assert!(vandal(&road.gateway, "insert rule inet ringfence forward accept"));
    let next = road.fence();
    let mut restore = || {
        let applied = next.apply(&ruleset, &options)?;
        assert!(applied.owned, "{applied:?}");
        assert!(next.verify(&ruleset, &options)?.is_ok());
        Ok(())
    };
    until(&mut guard, &mut restore, |f| matches!(f, Finding::Changed { restored: true, .. }));
    assert!(!vandal(&road.gateway, "insert rule inet ringfence forward accept"));
    next.remove().unwrap();
}
