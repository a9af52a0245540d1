//! Proof that a shadow counts: a packet of each zone in shadow that no rule permits, sent in at the
//! bridge as if a device of the zone had sent it. The kernel has to remember it as (would-be) denied.
//!
//! It is a TCP reset without a connection: whoever gets it, if it passes, says nothing. It comes in
//! at a port of the bridge of its own, which learns no addresses and gets no copies of anything, so
//! that the device whose addresses it carries goes on undisturbed.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use enforcer::runner::Runner;
use enforcer::{Denial, Flow, Options, judge};
use model::Mac;
use model::observation::Transport;
use model::ruleset::{ClassId, Member, Ruleset};

use crate::life::Flown;

/// Our port of the bridge, and the other end of it.
pub const PORT: &str = "rf-canary";
/// The end that canaries are sent into.
pub const PERCH: &str = "rf-canary-in";

/// A packet to send, and what has to be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// Zone it stands for.
    pub zone: String,
    /// Its frame.
    pub frame: Vec<u8>,
    /// Its source.
    pub from: IpAddr,
    /// Its destination.
    pub to: IpAddr,
    /// Its destination port.
    pub port: u16,
}

impl Canary {
    /// Packets of it that the kernel remembers as denied.
    pub fn counted(&self, denials: &[Denial]) -> u64 {
        let mine = denials.iter().filter(|d| {
            (d.from, d.to, d.protocol, d.port) == (self.from, self.to, 6, Some(self.port))
        });
        mine.map(|denial| denial.packets).sum()
    }
}

/// Ports that nobody has a service on (IANA: unassigned or discard-like), tried in this order.
const PORTS: [u16; 6] = [4, 6, 8, 10, 12, 14];

/// One canary for each class of `zone`; `here`: link address and addresses of the bridge, which are this
/// machine's own. Nobody flies for this machine itself: what it sends is not judged by its own fence.
pub fn hatch(
    zone: &str,
    ruleset: &Ruleset,
    options: &Options,
    in_zone: &dyn Fn(IpAddr) -> bool,
    here: (Mac, &[(IpAddr, u8)]),
) -> Result<Vec<Canary>, Flown> {
    let own = |member: &Member| {
        member.mac == here.0 || here.1.iter().any(|(address, _)| *address == member.ip)
    };
    let mut of: BTreeMap<ClassId, Result<Canary, String>> = BTreeMap::new();
    let mut this_machine = false;
    for member in ruleset.members.iter().filter(|member| in_zone(member.ip)) {
        if own(member) {
            this_machine = true;
        } else if !of.get(&member.class).is_some_and(Result::is_ok) {
            of.insert(member.class, one(zone, ruleset, options, member, here));
        }
    }
    match of.into_values().collect::<Result<Vec<_>, _>>() {
        Err(why) => Err(Flown::Missed(why)),
        Ok(none) if none.is_empty() && this_machine => Err(Flown::NotProvable(
            "all of it is this machine itself, and what that sends does not pass its own fence"
                .to_owned(),
        )),
        Ok(none) if none.is_empty() => {
            Err(Flown::Missed("no device of the zone has an address to fly under".to_owned()))
        }
        Ok(canaries) => Ok(canaries),
    }
}

fn one(
    zone: &str,
    ruleset: &Ruleset,
    options: &Options,
    member: &Member,
    (mac, addresses): (Mac, &[(IpAddr, u8)]),
) -> Result<Canary, String> {
    let to = addresses.iter().map(|(ip, _)| *ip).find(|ip| ip.is_ipv4() == member.ip.is_ipv4());
    let to = to.ok_or("the bridge has no address of the devices' kind for a canary to fly to")?;
    let denied = |port: &u16| {
        let flow = Flow { from: member.ip, to, transport: Transport::Tcp, port: *port };
        matches!(judge(ruleset, options, &flow), enforcer::Judgement::Denied { .. })
    };
    let port = PORTS.into_iter().find(denied);
    let port = port.ok_or("policy permits its devices every port of this machine")?;
    let frame = frame(member.mac, mac, member.ip, to, port).ok_or("it mixes IPv4 and IPv6")?;
    Ok(Canary { zone: zone.to_owned(), frame, from: member.ip, to, port })
}

/// Sets up the port; that it is there already is fine.
pub fn perch(runner: &dyn Runner, bridge: &str) -> io::Result<()> {
    fly_away(runner);
    // The highest address there is: a bridge takes over the lowest one of its ports.
    let batch = format!(
        "link add {PORT} address fe:ff:ff:ff:ff:fe type veth peer name {PERCH}\n\
         link set {PORT} master {bridge}\n\
         link set dev {PORT} type bridge_slave learning off flood off mcast_flood off bcast_flood off\n\
         link set {PORT} addrgenmode none\n\
         link set {PERCH} addrgenmode none\n\
         link set {PERCH} arp off up\n\
         link set {PORT} up\n"
    );
    let output = runner.run(&["ip", "-batch", "-"], &batch)?;
    if output.code == 0 {
        return Ok(());
    }
    fly_away(runner);
    Err(io::Error::other(output.stderr.trim().to_owned()))
}

/// The bridge takes what comes in at the port: links come up a moment after they are told to, and a
/// spanning tree takes its time.
pub fn forwards(runner: &dyn Runner) -> bool {
    let output = runner.run(&["ip", "-j", "-d", "link", "show", "dev", PORT], "");
    let links = output.ok().and_then(|o| serde_json::from_str::<serde_json::Value>(&o.stdout).ok());
    let state = links.as_ref().and_then(|links| links.pointer("/0/linkinfo/info_slave_data/state"));
    state.and_then(serde_json::Value::as_str) == Some("forwarding")
}

/// Takes the port away; that it is gone already is fine.
pub fn fly_away(runner: &dyn Runner) {
    let _ = runner.run(&["ip", "link", "del", PORT], "");
}

/// A TCP reset in an Ethernet frame.
fn frame(from: Mac, to: Mac, source: IpAddr, destination: IpAddr, port: u16) -> Option<Vec<u8>> {
    let mut tcp = Vec::with_capacity(20);
    tcp.extend(SOURCE_PORT.to_be_bytes());
    tcp.extend(port.to_be_bytes());
    tcp.extend([0; 8]); // Sequence and acknowledgement.
    tcp.extend([0x50, 0x04, 0, 0, 0, 0, 0, 0]); // Five words, RST; window, checksum, urgent.
    let mut out = to.0.to_vec();
    out.extend(from.0);
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            seal(&mut tcp, &v4_pseudo(source, destination));
            out.extend([0x08, 0x00]);
            // Version and length, no service class, 40 bytes, no fragment, TTL 64, TCP.
            let mut ip = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
            ip.extend(source.octets());
            ip.extend(destination.octets());
            let sum = checksum(&[&ip]).to_be_bytes();
            ip.splice(10..12, sum);
            out.extend(ip);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            seal(&mut tcp, &v6_pseudo(source, destination));
            out.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
            out.extend(source.octets());
            out.extend(destination.octets());
        }
        _ => return None,
    }
    out.extend(tcp);
    Some(out)
}

/// Where canaries come from.
const SOURCE_PORT: u16 = 49_151;

fn seal(tcp: &mut Vec<u8>, pseudo: &[u8]) {
    let sum = checksum(&[pseudo, tcp]).to_be_bytes();
    tcp.splice(16..18, sum);
}

fn v4_pseudo(source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    [&source.octets()[..], &destination.octets()[..], &[0, 6, 0, 20]].concat()
}

fn v6_pseudo(source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    [&source.octets()[..], &destination.octets()[..], &[0, 0, 0, 20, 0, 0, 0, 6]].concat()
}

/// RFC 1071.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2)).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(u16::from_be_bytes([*high, 0])),
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_carry_sums_that_add_up() {
        let (from, to) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let v4 = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        let (a, b) = (v4("10.77.0.40"), v4("10.77.0.1"));
        let bytes = frame(from, to, a.into(), b.into(), 4).unwrap();
        assert_eq!(bytes.len(), 14 + 40);
        assert_eq!(bytes[..14], [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
        // A sum over data with its own sum in it is 0.
        assert_eq!(checksum(&[&bytes[14..34]]), 0);
        assert_eq!(checksum(&[&v4_pseudo(a, b), &bytes[34..]]), 0);
        assert_eq!(bytes[36..38], [0, 4]);
        let v6 = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        let (a, b) = (v6("fd00::40"), v6("fd00::1"));
        let bytes = frame(from, to, a.into(), b.into(), 4).unwrap();
        assert_eq!(bytes.len(), 14 + 60);
        assert_eq!(checksum(&[&v6_pseudo(a, b), &bytes[54..]]), 0);
        assert_eq!(frame(from, to, a.into(), v4("10.0.0.1").into(), 4), None);
    }

    #[test]
    fn nobody_flies_for_this_machine_itself() {
        let here = Mac([2, 0, 0, 0, 0, 1]);
        let addresses = [("10.0.0.1".parse().unwrap(), 24)];
        let member = |device: &str, mac: u8, ip: &str, class| Member {
            device: model::DeviceId::new(device).unwrap(),
            mac: Mac([2, 0, 0, 0, 0, mac]),
            ip: ip.parse().unwrap(),
            class: ClassId(class),
        };
        let class = |n: u32| {
            let mode = model::ruleset::Mode::Shadow;
            (ClassId(n), model::ruleset::Class { name: n.to_string(), mode })
        };
        let check = |members: Vec<Member>, expect: Result<Vec<&str>, &str>| {
            let ruleset = Ruleset {
                generation: 1,
                parent: None,
                classes: [class(1), class(2)].into(),
                members,
                peers: Vec::new(),
                permits: Vec::new(),
                exceptions: Vec::new(),
                names: Vec::new(),
                proposed: Vec::new(),
            };
            let options = Options::new("br0", model::Timestamp::EPOCH);
            let hatched = hatch("z", &ruleset, &options, &|_| true, (here, &addresses));
            match (hatched, expect) {
                (Ok(canaries), Ok(from)) => {
                    let flown: Vec<_> = canaries.iter().map(|c| c.from.to_string()).collect();
                    assert_eq!(flown, from);
                }
                (Err(Flown::NotProvable(why)), Err(expect)) => assert!(why.contains(expect)),
                (Err(Flown::Missed(why)), Err(expect)) => assert!(why.contains(expect), "{why}"),
                other => panic!("{other:?}"),
            }
        };
        let own = || vec![member("box", 1, "10.0.0.9", 1), member("box", 9, "10.0.0.1", 1)];
        check(own(), Err("this machine itself"));
        let and = |more: Member| own().into_iter().chain([more]).collect();
        check(and(member("plc", 2, "10.0.0.2", 1)), Ok(vec!["10.0.0.2"]));
        check(and(member("plc", 2, "10.0.0.2", 2)), Ok(vec!["10.0.0.2"]));
        // A class for which none can fly keeps the zone unproved, whatever comes after it.
        let v6 = member("plc", 2, "fd00::2", 1);
        check(vec![v6, member("hmi", 3, "10.0.0.3", 2)], Err("no address of the devices' kind"));
        check(Vec::new(), Err("no device of the zone"));
    }

    #[test]
    fn counted_is_its_own_flow_only() {
        let (from, to) = ("10.0.0.2".parse().unwrap(), "10.0.0.1".parse().unwrap());
        let canary = Canary { zone: "z".to_owned(), frame: Vec::new(), from, to, port: 4 };
        let denial = |port, packets| Denial { from, to, protocol: 6, port: Some(port), packets };
        assert_eq!(canary.counted(&[denial(22, 7), denial(4, 2)]), 2);
        assert_eq!(canary.counted(&[denial(22, 7)]), 0);
    }
}
