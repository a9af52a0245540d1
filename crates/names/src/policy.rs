//! What policy says about names: who asks, and what each may reach by which name.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use model::ruleset::{ClassId, NamePermit, Ruleset};

/// A ruleset as the resolver asks it.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    class_of: HashMap<IpAddr, ClassId>,
    /// By class and name; for `*.suffix` by class and suffix.
    exact: HashMap<ClassId, HashMap<String, Vec<Arc<NamePermit>>>>,
    below: HashMap<ClassId, HashMap<String, Vec<Arc<NamePermit>>>>,
    refuse: BTreeSet<ClassId>,
    /// Names of the site itself with their addresses, by name; for `*.suffix` by suffix.
    inside: HashMap<String, BTreeSet<IpAddr>>,
    inside_below: HashMap<String, BTreeSet<IpAddr>>,
}

impl Policy {
    /// From a ruleset. `refuse` names the classes whose questions for names that policy does not
    /// know are refused; the others get an answer, and still no path.
    pub fn of(ruleset: &Ruleset, refuse: BTreeSet<ClassId>) -> Self {
        let mut policy = Self { refuse, ..Self::default() };
        for member in &ruleset.members {
            policy.class_of.insert(member.ip, member.class);
        }
        for permit in &ruleset.names {
            let (table, name) = match permit.name.strip_prefix("*.") {
                Some(suffix) => (&mut policy.below, suffix),
                None => (&mut policy.exact, permit.name.as_str()),
            };
            let of = table.entry(permit.from).or_default().entry(name.to_owned());
            of.or_default().push(Arc::new(permit.clone()));
        }
        policy
    }

    /// The name (lower case, without the last dot; `*.` in front for all below it) is of the site
    /// itself: these addresses, inside as they are, are its own.
    pub fn add_inside(&mut self, name: &str, addresses: &[IpAddr]) {
        let (table, name) = match name.strip_prefix("*.") {
            Some(suffix) => (&mut self.inside_below, suffix),
            None => (&mut self.inside, name),
        };
        table.entry(name.to_owned()).or_default().extend(addresses);
    }

    /// The site itself has the name at this address.
    pub fn is_inside(&self, name: &str, ip: IpAddr) -> bool {
        let at = |known: Option<&BTreeSet<IpAddr>>| known.is_some_and(|ips| ips.contains(&ip));
        at(self.inside.get(name)) || suffixes(name).any(|of| at(self.inside_below.get(of)))
    }

    /// Class of the device at an address; none for a stranger, who gets no answer.
    pub fn class_of(&self, ip: IpAddr) -> Option<ClassId> {
        self.class_of.get(&ip).copied()
    }

    /// Permits of a class to a name (lower case, without the last dot).
    pub fn permits(&self, class: ClassId, name: &str) -> Vec<&Arc<NamePermit>> {
        let exact = self.exact.get(&class).and_then(|names| names.get(name));
        let mut permits: Vec<&Arc<NamePermit>> = exact.into_iter().flatten().collect();
        if let Some(below) = self.below.get(&class) {
            permits.extend(suffixes(name).filter_map(|suffix| below.get(suffix)).flatten());
        }
        permits
    }

    /// Questions of this class for unknown names are refused.
    pub fn refuses_unknown(&self, class: ClassId) -> bool {
        self.refuse.contains(&class)
    }

    /// The address is a device's of this site.
    pub fn is_member(&self, ip: IpAddr) -> bool {
        self.class_of.contains_key(&ip)
    }
}

/// The domains that a name is in, the longest first.
fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    let mut rest = name;
    std::iter::from_fn(move || {
        rest = rest.split_once('.')?.1;
        Some(rest)
    })
}

/// Not an address of the public Internet: a name that answers with it points inwards (DNS
/// rebinding), unless the site itself has it there: [`Policy::add_inside`].
pub fn points_inwards(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => v4_inwards(ip),
        IpAddr::V6(ip) => v6_inwards(ip),
    }
}

fn v4_inwards(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b)) // RFC 6598
}

fn v6_inwards(ip: Ipv6Addr) -> bool {
    // An IPv4 address in another coat is judged as what it is: mapped (RFC 4291 §2.5.5.2),
    // compatible (§2.5.5.1) and translated (RFC 6052 §2.1).
    let [.., low1, low2] = ip.segments();
    let [a1, a2] = low1.to_be_bytes();
    let [a3, a4] = low2.to_be_bytes();
    let inner = v4_inwards(Ipv4Addr::new(a1, a2, a3, a4));
    let front = ip.to_bits() >> 32;
    let coat = front == 0 || front == 0xffff || front == 0x0064_ff9b_u128 << 64;
    ip.is_loopback()
        || ip.is_unspecified()
        || ip.is_multicast()
        || ip.is_unique_local()
        || ip.is_unicast_link_local()
        || (coat && inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_points_inwards() {
        let check = |ip: &str, expect: bool| {
            assert_eq!(points_inwards(ip.parse().unwrap()), expect, "{ip}");
        };
        for ip in ["10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "169.254.1.1", "0.0.0.0"] {
            check(ip, true);
        }
        for ip in ["100.64.0.1", "224.0.0.251", "255.255.255.255", "::1", "::", "fe80::1"] {
            check(ip, true);
        }
        for ip in ["fd00::1", "ff02::fb", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "::127.0.0.1"] {
            check(ip, true);
        }
        for ip in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "203.0.113.1", "198.18.0.1"] {
            check(ip, false);
        }
        check("2001:db8::1", false);
        check("2600::ffff:10.0.0.1", false);
        check("64:ff9b::8.8.8.8", false);
        check("::ffff:8.8.8.8", false);
    }
}
