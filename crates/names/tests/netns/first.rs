//! First connections: a device that connects as soon as it has an answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use lab::uplink::{self, BOX, BURNT_IN, DNSMASQ};

use crate::begin::{fresh, reaches, resolver, site, visit};

#[test]
fn netns_first_connections_to_fresh_names_are_never_lost() {
    let Some((up, wall)) = site("netns_first_connections_to_fresh_names_are_never_lost") else {
        return;
    };
    let names = fresh(150);
    up.dnsmasq(&names, 30).unwrap();
    let (running, told) = resolver(&up, &wall, &[(1, "*.fresh.example", 8080)], |_| {});
    // Without an answer nothing is open.
    assert!(!reaches(&up, 1, names[0].1[0], 8080));
    assert!(!reaches(&up, 1, names[0].1[1], 8080));
    let dropped = wall.denied();
    assert!(dropped > 0);
    let lost = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for device in [1, 3] {
            let (up, names, lost) = (&up, &names, &lost);
            scope.spawn(move || {
                for (at, (name, addresses)) in names.iter().enumerate() {
                    let v6 = at % 2 == 1;
                    let met = visit(up, device, name, v6, 8080);
                    if met != Ok(addresses[usize::from(v6)]) {
                        lost.lock().unwrap().push((device, name.clone(), met));
                    }
                }
            });
        }
    });
    assert_eq!(lost.into_inner().unwrap(), []);
    assert_eq!(wall.denied(), dropped, "a first packet was dropped");
    assert!(told.findings().is_empty(), "{:?}", told.findings());
    let counts = running.counts().unwrap();
    assert_eq!((counts.released, counts.withheld), (300, 0));
    // The path is that of the port only, and of the class only.
    assert!(!reaches(&up, 1, names[0].1[0], 8081));
    assert!(!reaches(&up, 2, names[0].1[0], 8080));
    // A name that policy does not know for this class is answered, told, and opens nothing.
    let why = visit(&up, 2, &names[0].0, false, 8080).unwrap_err();
    assert!(why.starts_with("connect"), "{why}");
    assert_eq!(told.asked(&names[0].0).last().unwrap().outcome, names::Outcome::Unknown);
}

#[test]
fn netns_two_names_at_one_address_open_to_their_own_audiences() {
    let Some((up, wall)) = site("netns_two_names_at_one_address_open_to_their_own_audiences")
    else {
        return;
    };
    let shared: IpAddr = "198.18.1.1".parse().unwrap();
    let named = |name: &str| (name.to_owned(), vec![shared]);
    up.dnsmasq(&[named("one.example"), named("two.example")], 30).unwrap();
    let permits = &[(1, "one.example", 8080), (2, "two.example", 8081)];
    let (_running, _) = resolver(&up, &wall, permits, |_| {});
    assert_eq!(visit(&up, 1, "one.example", false, 8080), Ok(shared));
    assert!(visit(&up, 1, "two.example", false, 8081).is_err());
    assert!(visit(&up, 2, "one.example", false, 8080).is_err());
    assert_eq!(visit(&up, 2, "two.example", false, 8081), Ok(shared));
    assert!(!reaches(&up, 1, shared, 8081) && !reaches(&up, 2, shared, 8080));
    assert!(reaches(&up, 3, shared, 8080), "the class has it, not the device");
}

#[test]
fn netns_a_burnt_in_resolver_leads_nowhere() {
    let Some((up, wall)) = site("netns_a_burnt_in_resolver_leads_nowhere") else {
        return;
    };
    let names = fresh(1);
    up.dnsmasq(&names, 30).unwrap();
    // The outside resolver is there and would answer.
    let outside = SocketAddr::from((BURNT_IN, 53));
    let reply = |question: &[u8], _: bool| {
        let mut reply = question.to_vec();
        if let Some(flags) = reply.get_mut(2) {
            *flags |= 0x80;
        }
        reply
    };
    up.name_server(outside, reply).unwrap();
    let asks = |from: &lab::Netns| {
        from.enter(|| uplink::resolve(outside, "host-1.fresh.example", false)).unwrap()
    };
    assert!(asks(up.site()).is_ok(), "the box itself reaches it");
    let (_running, _) = resolver(&up, &wall, &[(1, "*.fresh.example", 8080)], |_| {});
    let before = wall.denied();
    thread::scope(|scope| {
        let asked = scope.spawn(|| asks(up.device(1).unwrap()));
        // Meanwhile the site's resolver works.
        assert_eq!(visit(&up, 3, "host-1.fresh.example", false, 8080), Ok(names[0].1[0]));
        assert!(asked.join().unwrap().is_err());
    });
    assert!(wall.denied() > before);
    // DNS over TLS and over HTTPS there, and DNS over TCP at the upstream itself.
    for (to, port) in [(BURNT_IN.into(), 853), (BURNT_IN.into(), 443), (IpAddr::from(DNSMASQ), 53)]
    {
        let connect = || {
            let to = SocketAddr::from((to, port));
            std::net::TcpStream::connect_timeout(&to, Duration::from_millis(500)).err()
        };
        let error = up.device(1).unwrap().enter(connect).unwrap().unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{to}:{port}");
    }
}

#[test]
fn netns_a_busy_address_is_refused_with_what_to_do() {
    let Some((up, wall)) = site("netns_a_busy_address_is_refused_with_what_to_do") else {
        return;
    };
    let (_running, _) = resolver(&up, &wall, &[], |_| {});
    let again = || names::bind(&[SocketAddr::from((BOX[0], 53))]);
    let error = up.site().enter(again).unwrap().unwrap_err().to_string();
    assert!(error.contains("10.66.0.1:53") && error.contains("another resolver"), "{error}");
}
