//! Short stories of what a sensor saw, and the devices they amount to.
//!
//! A story is one line per observation: a link address (two hex digits stand for the last byte of
//! an address of the first maker; `host@` is one without), then what it did.

use std::sync::Arc;

use model::observation::{BindingSource, Fact, IdentifierKind, Observation, Origin, Subject};
use model::{DeviceId, Mac, SensorId, SiteId, Timestamp};

use crate::oui::Oui;
use crate::rules::Rules;
use crate::{Ids, Inventory, Knowledge, Resolved};

struct Plain;

impl Ids for Plain {
    fn id(&mut self, subject: &Subject) -> DeviceId {
        let name: String = match subject {
            Subject::Link { mac, .. } => mac.to_string(),
            Subject::Host { ip } => ip.to_string(),
            Subject::Child { key, .. } => key.to_string(),
        };
        DeviceId::new(&name).unwrap()
    }
}

/// `10` is 00:1b:1b:00:00:10; other makers and local addresses are written out.
fn mac(text: &str) -> Mac {
    if text.len() == 2 { format!("00:1b:1b:00:00:{text}") } else { text.to_owned() }
        .parse()
        .unwrap()
}

fn resolve(story: &str) -> Resolved {
    let oui = Oui::parse(b"001B1B\tFirst Maker\n00A0F4\tSecond Maker\n").unwrap();
    let knowledge = Knowledge {
        rules: Rules::new(Vec::new()).unwrap(),
        oui,
        resolvers: crate::resolvers::Resolvers::shipped().unwrap(),
    };
    let mut inventory = Inventory::default();
    let origin = Arc::new(Origin {
        site: SiteId::new("site").unwrap(),
        sensor: SensorId::new("sensor").unwrap(),
        input: Arc::from("story"),
    });
    let lines = story.lines().map(str::trim).filter(|l| !l.is_empty());
    for (second, line) in (1..).zip(lines) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (who, from) =
            words[0].split_once('@').map_or((words[0], None), |(m, ip)| (m, Some(ip)));
        let subject = match who {
            "host" => Subject::Host { ip: from.unwrap().parse().unwrap() },
            _ => Subject::Link { mac: mac(who), ip: from.map(|ip| ip.parse().unwrap()) },
        };
        let at = Timestamp::from_secs(second, 0);
        let sighted = |packets: u64, hop_limit: Option<u8>| {
            let (vlan, protocols) = (None, Vec::new());
            Fact::Sighted { first: at, packets, bytes: 60 * packets, vlan, hop_limit, protocols }
        };
        let fact = match words[1..] {
            ["sent", n] => sighted(n.parse().unwrap(), None),
            ["sent", n, "hops", left] => sighted(n.parse().unwrap(), Some(left.parse().unwrap())),
            ["arp", ip] => Fact::Bound { ip: ip.parse().unwrap(), how: BindingSource::Arp },
            ["lease", ip] => Fact::Bound { ip: ip.parse().unwrap(), how: BindingSource::Dhcp },
            ["says", field, value] => Fact::Says { field: field.into(), value: value.into() },
            ["is", kind, value] => {
                let kind = match kind {
                    "chassis" => IdentifierKind::Chassis,
                    "station" => IdentifierKind::StationName,
                    "bridge" => IdentifierKind::Bridge,
                    "serial" => IdentifierKind::Serial,
                    "uuid" => IdentifierKind::Uuid,
                    "mac" => IdentifierKind::Mac,
                    _ => IdentifierKind::HostKey,
                };
                Fact::Identifier { field: "x.y".into(), kind, value: value.into() }
            }
            _ => panic!("not understood: {line}"),
        };
        let seen = Observation {
            v: model::observation::VERSION,
            origin: Arc::clone(&origin),
            packet: 1,
            at,
            nth: 1,
            subject,
            fact,
        };
        inventory.apply(&seen, &mut Plain);
    }
    inventory.resolve(&knowledge, &mut Plain)
}

/// Devices as `addresses = network addresses`, `?` for quarantined, then suggestions `a ~ b`.
#[track_caller]
fn check(story: &str, expect: &[&str]) {
    let resolved = resolve(story);
    let short = |id: &str| id.strip_prefix("00:1b:1b:00:00:").unwrap_or(id).to_owned();
    let mut shown: Vec<String> = Vec::new();
    let mut tied: Vec<String> = Vec::new();
    for device in &resolved.devices {
        let macs: Vec<String> = device.macs.iter().map(|m| short(&m.to_string())).collect();
        let macs = if macs.is_empty() { "routed".to_owned() } else { macs.join("+") };
        let ips: Vec<String> = device.ips.iter().map(ToString::to_string).collect();
        let doubt = if device.status == model::inspect::Status::Quarantined { "?" } else { "" };
        shown.push(format!("{macs}{doubt} = {}", ips.join(" ")).trim_end().to_owned());
        for other in &device.merge_suggestions {
            if device.id < other.device {
                let pair = (short(device.id.as_str()), short(other.device.as_str()));
                tied.push(format!("{} ~ {}", pair.0, pair.1));
            }
        }
    }
    tied.sort();
    shown.extend(tied);
    assert_eq!(shown, expect);
}

#[test]
fn a_router_forwards_and_owns_little() {
    check(
        "10 sent 90
         10 arp 10.0.0.1
         10@10.0.0.1 sent 30 hops 64
         10@198.51.100.7 sent 20 hops 51
         10@198.51.100.8 sent 20 hops 115
         11 sent 9
         11 arp 10.0.0.2",
        &["10 = 10.0.0.1", "11 = 10.0.0.2"],
    );
    // It answers for hosts it does not claim; what it says on the link is its own all the same.
    check(
        "10 sent 90
         10 arp 10.0.0.1
         10@10.0.9.1 sent 3 hops 11
         10@10.0.9.1 says mndp.identity gate
         10@198.51.100.7 sent 20 hops 51",
        &["10 = 10.0.0.1 10.0.9.1"],
    );
    // An address that somebody else claims is not the router's, however fresh its packets look.
    check(
        "10 sent 90
         10 arp 10.0.0.1
         10@10.0.0.2 sent 9 hops 63
         11 sent 9
         11 arp 10.0.0.2",
        &["10 = 10.0.0.1", "11 = 10.0.0.2"],
    );
}

#[test]
fn a_proxy_owns_none_of_the_addresses_it_answers_for() {
    let mut story = "10 sent 99\n".to_owned();
    for host in 1..40 {
        story += &format!("10 arp 10.0.0.{host}\n");
    }
    check(&story, &["10 ="]);
}

#[test]
fn hosts_inside_tunnels() {
    let inside = "host@198.51.100.7 says http.server x\nhost@10.9.0.4 says http.server x";
    check(&format!("10 sent 9\n{inside}"), &["10 =", "routed = 10.9.0.4"]);
    // Without any link address one of the public ones may be ours.
    check(inside, &["routed = 198.51.100.7", "routed = 10.9.0.4"]);
}

#[test]
fn a_lease_wanders_without_merging() {
    check(
        "10 sent 9
         10 arp 10.0.0.5
         11 sent 9
         11 arp 10.0.0.5
         00:a0:f4:00:00:01 sent 9
         00:a0:f4:00:00:01 arp 10.0.0.5",
        &["10 = 10.0.0.5", "11 = 10.0.0.5", "00:a0:f4:00:00:01 = 10.0.0.5"],
    );
}

#[test]
fn a_computer_that_shares_its_connection_is_one() {
    // The bridge has the fixed address with the local bit; both use the address at once.
    check(
        "10 sent 9
         10 arp 192.0.2.1
         02:1b:1b:77:00:01 sent 9
         02:1b:1b:77:00:01 arp 192.0.2.1
         10 arp 192.0.2.1",
        &["10+02:1b:1b:77:00:01 = 192.0.2.1"],
    );
    check(
        "10 sent 9
         10 says dhcp.hostname Annas-iMac
         02:1b:1b:77:00:01 sent 9
         02:1b:1b:77:00:01 says mdns.instance Annas\u{2019}iMac",
        &["10+02:1b:1b:77:00:01 ="],
    );
}

#[test]
fn ports_of_one_chassis() {
    let merged = &["10+15 ="];
    check("10 sent 9\n10 is chassis mac:00:1b:1b:00:00:15\n15 sent 2", merged);
    check("10 sent 9\n10 is bridge 00:1b:1b:00:00:15\n15 sent 2", merged);
    check("10 sent 9\n10 is chassis local:press-4\n15 sent 2\n15 is station press-4", merged);
    // Neighbouring numbers alone are only a hint.
    check("10 sent 9\n11 sent 9\n11 arp 10.0.0.1", &["10 =", "11 = 10.0.0.1", "10 ~ 11"]);
}

#[test]
fn ethercat_frames_come_back_under_another_address() {
    let story = "10 sent 9
         02:1b:1b:00:00:10 sent 9
         10 says ethercat.present yes\n";
    check(story, &["10 =", "02:1b:1b:00:00:10 ="]);
    let story = format!("{story}02:1b:1b:00:00:10 says ethercat.present yes");
    check(&story, &["10+02:1b:1b:00:00:10 ="]);
}

#[test]
fn cloned_identifiers_are_suggestions() {
    check(
        "10 sent 9\n10 is key SHA256:abc\n11 sent 9\n11 is key SHA256:abc",
        &["10 =", "11 =", "10 ~ 11"],
    );
    // A serial number beside another maker's address may be a coincidence.
    check(
        "10 sent 9\n10 is serial 123\n00:a0:f4:00:00:01 sent 9\n00:a0:f4:00:00:01 is serial 123",
        &["10 =", "00:a0:f4:00:00:01 =", "10 ~ 00:a0:f4:00:00:01"],
    );
}

#[test]
fn the_loopback_address_ties_nothing() {
    check(
        "10 sent 9
         10@127.0.0.1 sent 9 hops 64
         11 sent 9
         11@127.0.0.1 sent 9 hops 64",
        &["10 = 127.0.0.1", "11 = 127.0.0.1"],
    );
}

#[test]
fn single_frames() {
    // One frame of a known maker that says something is a device.
    check("10 sent 1\n10 says lldp.system_name press", &["10 ="]);
    // Silent, or of nobody: perhaps a damaged copy of somebody else's.
    check("10 sent 1", &["10? ="]);
    check("12:34:56:00:00:01 sent 1\n12:34:56:00:00:01 says x.y z", &["12:34:56:00:00:01? ="]);
    // It uses the address of another: damaged.
    check(
        "10 sent 9\n10 arp 10.0.0.1\n11 sent 1\n11 arp 10.0.0.1\n11 says x.y z",
        &["10 = 10.0.0.1", "11? = 10.0.0.1"],
    );
    // What was only asked for is no device; groups never are.
    check("10 sent 9\n01:00:5e:00:00:01 sent 9\n11 arp 10.0.0.1", &["10 ="]);
}
