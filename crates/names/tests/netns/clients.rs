//! Programs that devices really run.

use std::net::IpAddr;

use lab::uplink::{BOX, Uplink};

use crate::begin::{fresh, resolver, site};

/// A shell that looks a name up as any program does, and connects at once.
const FETCH: &str =
    "exec 3<>/dev/tcp/$0/8080 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3";

/// What a program said, where it ended well.
fn run(up: &Uplink, resolver: IpAddr, argv: &[&str]) -> Result<String, String> {
    up.run(1, resolver, argv).unwrap()
}

#[test]
fn netns_real_programs_resolve_and_connect() {
    let Some((up, wall)) = site("netns_real_programs_resolve_and_connect") else {
        return;
    };
    let names = fresh(20);
    up.dnsmasq(&names, 30).unwrap();
    let (_running, told) = resolver(&up, &wall, &[(1, "*.fresh.example", 8080)], |_| {});
    let dropped = wall.denied();
    for (at, (name, ips)) in names.iter().take(10).enumerate() {
        let said = run(&up, BOX[at % 2], &["bash", "-c", FETCH, name]);
        let said = said.unwrap_or_else(|why| panic!("{name}: {why}"));
        let said: IpAddr = said.lines().last().unwrap().parse().unwrap();
        assert!(ips.contains(&said), "{said} for {name}");
    }
    assert_eq!(wall.denied(), dropped, "a first packet was dropped");
    let (name, ips) = &names[10];
    let looked = run(&up, BOX[0], &["busybox", "nslookup", name]).unwrap();
    assert!(ips.iter().all(|ip| looked.contains(&ip.to_string())), "{looked}");
    let (name, ips) = &names[11];
    let got = run(&up, BOX[1], &["getent", "ahosts", name]).unwrap();
    assert!(ips.iter().all(|ip| got.contains(&ip.to_string())), "{got}");
    assert!(run(&up, BOX[0], &["getent", "ahosts", "nobody.fresh.example"]).is_err());
    assert!(told.findings().is_empty(), "{:?}", told.findings());
}
