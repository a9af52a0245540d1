//! Who resolves names elsewhere than at the site, and who hides what it asks: public resolvers by name
//! and address (`rules/resolvers.toml`), and the ports of DNS over TLS and QUIC.
//!
//! Names come from TLS server names and DNS answers as the sensor saw them, so a service in the
//! web port is told apart by whom it belongs to. A private server that speaks DNS over HTTPS under an
//! unlisted name looks like any other web server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use model::DeviceId;
use model::inspect::{Conduit, Evidence, Finding, Proposal, Scope, Service, Severity};
use model::observation::Transport;
use serde::Deserialize;

/// The shipped list.
const SHIPPED: &str = include_str!("../../../rules/resolvers.toml");
/// Targets quoted in one finding.
const QUOTED_MAX: usize = 4;

/// Public resolvers that are known.
#[derive(Clone, Debug, Default)]
pub struct Resolvers {
    names: BTreeMap<String, String>,
    /// By what stands behind `*.`.
    below: BTreeMap<String, String>,
    addresses: BTreeMap<IpAddr, String>,
}

/// A list that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {why}")]
pub struct Unusable {
    /// The list.
    pub file: String,
    /// What is wrong, with the line where it is known.
    pub why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    provider: Vec<Provider>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Provider {
    name: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    addresses: Vec<IpAddr>,
    yes: Vec<String>,
    no: Vec<String>,
}

impl Resolvers {
    /// The list that comes with the program.
    pub fn shipped() -> Result<Self, Unusable> {
        Self::parse("resolvers.toml", SHIPPED)
    }

    /// Reads a list and checks its examples.
    pub fn parse(file: &str, text: &str) -> Result<Self, Unusable> {
        let wrong = |why: String| Unusable { file: file.to_owned(), why };
        let document: Document = toml::from_str(text).map_err(|e| wrong(e.to_string()))?;
        let mut all = Self::default();
        for provider in document.provider {
            let mut own = Self::default();
            for text in &provider.names {
                let name = model::ruleset::dns_name(text).filter(|name| name == text);
                let name = name.ok_or_else(|| {
                    wrong(format!("`{}`: `{text}` is no name in lower case", provider.name))
                })?;
                match name.strip_prefix("*.") {
                    Some(below) => own.below.insert(below.to_owned(), provider.name.clone()),
                    None => own.names.insert(name, provider.name.clone()),
                };
            }
            own.addresses.extend(provider.addresses.iter().map(|ip| (*ip, provider.name.clone())));
            if provider.yes.is_empty() || provider.no.is_empty() {
                let why =
                    format!("`{}`: at least one `yes` and one `no` are needed", provider.name);
                return Err(wrong(why));
            }
            for (examples, expect) in [(&provider.yes, true), (&provider.no, false)] {
                for example in examples {
                    if own.provider(example).is_some() != expect {
                        let word = if expect { "does not belong" } else { "belongs" };
                        let why = format!("`{}`: example `{example}` {word} to it", provider.name);
                        return Err(wrong(why));
                    }
                }
            }
            all.names.append(&mut own.names);
            all.below.append(&mut own.below);
            all.addresses.append(&mut own.addresses);
        }
        Ok(all)
    }

    /// Whose resolver a name or an address is.
    pub fn provider(&self, end: &str) -> Option<&str> {
        if let Ok(ip) = end.parse::<IpAddr>() {
            return self.addresses.get(&ip).map(String::as_str);
        }
        let name = end.trim_end_matches('.').to_ascii_lowercase();
        if let Some(provider) = self.names.get(&name) {
            return Some(provider);
        }
        let mut rest = name.as_str();
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(provider) = self.below.get(suffix) {
                return Some(provider);
            }
            rest = suffix;
        }
        None
    }
}

/// How a device walks around the site's resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// Plain DNS to a server outside.
    Foreign,
    /// DNS over TLS (RFC 7858), HTTPS (RFC 8484) or QUIC (RFC 9250).
    Hidden(&'static str),
}

/// A path that walks around, where it leads, and how.
type Astray<'a> = (&'a Conduit, &'a str, Way);

/// Marks services and paths that walk around the site's resolver: what they speak, that a draft must
/// not learn them, and one finding per device and way.
pub(crate) fn mark(
    known: &Resolvers,
    services: &mut [Service],
    conduits: &mut [Conduit],
) -> Vec<Finding> {
    let mut ways = BTreeMap::new();
    for service in services.iter_mut() {
        let Some((way, provider)) = way(known, service) else { continue };
        if let Way::Hidden(word) = way {
            service.protocol = Some(word.to_owned());
        }
        let shown = match provider {
            Some(provider) => format!("{} ({provider})", service.name),
            None => service.name.clone(),
        };
        ways.insert(service.id.clone(), (way, shown));
    }
    let mut found: BTreeMap<(DeviceId, bool), Vec<Astray<'_>>> = BTreeMap::new();
    for conduit in conduits.iter_mut() {
        let Some((way, _)) = ways.get(&conduit.to) else { continue };
        let why = match way {
            Way::Foreign => "it asks a resolver outside the site, past the site's own",
            Way::Hidden(word) => {
                conduit.protocol = Some((*word).to_owned());
                "it resolves names over an encrypted channel, past the site's resolver"
            }
        };
        conduit.proposal = Proposal::NotAllowed(why.to_owned());
    }
    for conduit in conduits.iter() {
        if let Some((way, shown)) = ways.get(&conduit.to) {
            let key = (conduit.from.clone(), *way == Way::Foreign);
            found.entry(key).or_default().push((conduit, shown, *way));
        }
    }
    found
        .into_iter()
        .filter_map(|((device, foreign), paths)| finding(device, foreign, &paths))
        .collect()
}

fn way<'k>(known: &'k Resolvers, service: &Service) -> Option<(Way, Option<&'k str>)> {
    if service.scope != Scope::External {
        return None;
    }
    let ends = service.dns_names.iter().cloned();
    let ends = ends.chain(service.addresses.iter().map(ToString::to_string));
    let provider = ends.chain([service.name.clone()]).find_map(|end| known.provider(&end));
    let way = match (service.transport, service.port) {
        (Transport::Tcp | Transport::Udp, 53) => Way::Foreign,
        (Transport::Tcp, 853) => Way::Hidden("dot"),
        (Transport::Udp, 853) => Way::Hidden("doq"),
        // RFC 9250 was tried out on these before it had a port.
        (Transport::Udp, 784 | 8853) if provider.is_some() => Way::Hidden("doq"),
        (Transport::Tcp | Transport::Udp, 443 | 8443) if provider.is_some() => Way::Hidden("doh"),
        _ => return None,
    };
    Some((way, provider))
}

fn finding(device: DeviceId, foreign: bool, paths: &[Astray<'_>]) -> Option<Finding> {
    let at = paths.iter().map(|(conduit, ..)| conduit.first_seen).min()?;
    let mut shown: Vec<String> = Vec::new();
    let mut all: BTreeSet<String> = BTreeSet::new();
    for (conduit, target, way) in paths {
        let how = match way {
            Way::Foreign => format!("{} {}", conduit.transport.word(), conduit.port),
            Way::Hidden(word) => (*word).to_owned(),
        };
        let text = format!("{target} by {how}");
        if all.insert(text.clone()) && shown.len() < QUOTED_MAX {
            shown.push(text);
        }
    }
    let more = all.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
    let (kind, title, advice) = if foreign {
        (
            "foreign-resolver",
            "It asks a resolver outside the site",
            "Point it to the site's resolver by DHCP or in its settings; a burnt-in resolver gets nowhere behind the fence.",
        )
    } else {
        (
            "encrypted-dns",
            "It resolves names over an encrypted channel",
            "Switch DNS over TLS, HTTPS and QUIC off on it: what it asks cannot be seen, and names in policy cannot be opened for it.",
        )
    };
    let evidence = paths.iter().take(QUOTED_MAX).map(|(conduit, target, _)| Evidence {
        input: conduit.evidence.input.clone(),
        packet: conduit.evidence.packet,
        protocol: conduit.protocol.as_deref().unwrap_or("dns").into(),
        field: "path".into(),
        value: (*target).into(),
        rule: kind.into(),
        observed_at: conduit.first_seen,
    });
    Some(Finding {
        kind: kind.to_owned(),
        severity: Severity::Medium,
        device: Some(device),
        title: title.to_owned(),
        detail: format!("{}{more}. {advice}", shown.join("; ")),
        at,
        evidence: evidence.collect(),
        count: paths.iter().map(|(conduit, ..)| conduit.flows).sum(),
    })
}

#[cfg(test)]
mod tests {
    use model::inspect::{Direction, PathEvidence};
    use model::{ServiceId, Timestamp};

    use super::*;

    fn service(name: &str, scope: Scope, ip: &str, transport: Transport, port: u16) -> Service {
        Service {
            id: ServiceId::new(&format!("svc:{name}/{}/{port}", transport.word())).unwrap(),
            name: name.to_owned(),
            device: None,
            scope,
            addresses: vec![ip.parse().unwrap()],
            dns_names: if name == ip { Vec::new() } else { vec![name.to_owned()] },
            transport,
            port,
            protocol: Some("tls".to_owned()),
        }
    }

    fn conduit(from: &str, to: &Service) -> Conduit {
        Conduit {
            from: DeviceId::new(from).unwrap(),
            to: to.id.clone(),
            transport: to.transport,
            port: to.port,
            protocol: None,
            direction: Direction::FromDevice,
            dns_name: None,
            first_seen: Timestamp::from_secs(9, 0),
            last_seen: Timestamp::from_secs(10, 0),
            flows: 2,
            packets: 4,
            bytes: 400,
            evidence: PathEvidence { input: "x.pcap".into(), packet: 7 },
            proposal: Proposal::Allow,
        }
    }

    #[test]
    fn the_shipped_list_is_what_its_examples_say() {
        let known = Resolvers::shipped().unwrap();
        assert_eq!(known.provider("MOZILLA.cloudflare-dns.com."), Some("Cloudflare"));
        assert_eq!(known.provider("2620:fe::fe"), Some("Quad9"));
        assert_eq!(known.provider("example.com"), None);
    }

    #[test]
    fn a_list_that_is_wrong_is_refused_whole() {
        let check = |text: &str, expect: &str| {
            let why = Resolvers::parse("site.toml", text).unwrap_err().to_string();
            assert!(why.starts_with("site.toml: ") && why.contains(expect), "{why}");
        };
        let entry = |rest: &str| format!("[[provider]]\nname = \"X\"\n{rest}");
        check("[[provider]]\nname = 1", "invalid type");
        check(&entry("yes = []\nno = []"), "at least one `yes`");
        check(&entry("names = [\"A.b\"]\nyes = [\"a.b\"]\nno = [\"c\"]"), "`A.b` is no name");
        check(
            &entry("names = [\"a.b\"]\nyes = [\"x.a.b\"]\nno = [\"c\"]"),
            "`x.a.b` does not belong",
        );
        check(&entry("names = [\"*.b\"]\nyes = [\"a.b\"]\nno = [\"c.b\"]"), "`c.b` belongs");
        check(&entry("addresses = [\"1.2.3\"]\nyes = []\nno = []"), "invalid IP address");
        check(&entry("yes = []\nno = []\nextra = 1"), "unknown field");
    }

    #[test]
    fn devices_that_walk_around_the_sites_resolver_are_found_and_their_paths_not_learnt() {
        use Transport::{Tcp, Udp};
        let known = Resolvers::shipped().unwrap();
        let check = |service: Service, expect: Option<(&str, &str)>| {
            let mut services = [service];
            let mut conduits = [conduit("cam-1", &services[0])];
            let found = mark(&known, &mut services, &mut conduits);
            let shown = found.first().map(|f| (f.kind.as_str(), f.detail.as_str()));
            let fits = match (shown, expect) {
                (Some((kind, detail)), Some((expect, begin))) => {
                    kind == expect && detail.starts_with(begin)
                }
                (None, None) => true,
                _ => false,
            };
            assert!(fits, "{shown:?}, not {expect:?}");
            let learnt = conduits[0].proposal == Proposal::Allow;
            assert_eq!(learnt, expect.is_none());
        };
        let outside = Scope::External;
        check(
            service("8.8.8.8", outside, "8.8.8.8", Udp, 53),
            Some(("foreign-resolver", "8.8.8.8 (Google Public DNS) by udp 53")),
        );
        check(
            service("203.0.113.53", outside, "203.0.113.53", Tcp, 53),
            Some(("foreign-resolver", "203.0.113.53 by tcp 53")),
        );
        check(
            service("dns.example", outside, "203.0.113.53", Tcp, 853),
            Some(("encrypted-dns", "dns.example by dot")),
        );
        check(
            service("dns.example", outside, "203.0.113.53", Udp, 853),
            Some(("encrypted-dns", "dns.example by doq")),
        );
        check(
            service("mozilla.cloudflare-dns.com", outside, "104.16.249.249", Tcp, 443),
            Some(("encrypted-dns", "mozilla.cloudflare-dns.com (Cloudflare) by doh")),
        );
        check(
            service("1.1.1.1", outside, "1.1.1.1", Udp, 443),
            Some(("encrypted-dns", "1.1.1.1 (Cloudflare) by doh")),
        );
        check(service("shop.example", outside, "203.0.113.9", Tcp, 443), None);
        check(service("10.0.0.1", Scope::Estate, "10.0.0.1", Udp, 53), None);
        check(service("10.0.0.1", Scope::Estate, "10.0.0.1", Tcp, 853), None);
        check(service("8.8.8.8", outside, "8.8.8.8", Udp, 123), None);
    }

    #[test]
    fn one_finding_for_a_device_and_a_way_however_many_targets() {
        let known = Resolvers::shipped().unwrap();
        let ips: Vec<String> = (1..=6).map(|n| format!("203.0.113.{n}")).collect();
        let at = |ip: &String| service(ip, Scope::External, ip, Transport::Udp, 53);
        let mut services: Vec<Service> = ips.iter().map(at).collect();
        services.push(service("dns.google", Scope::External, "8.8.8.8", Transport::Tcp, 443));
        let mut conduits: Vec<Conduit> = services.iter().map(|s| conduit("cam-1", s)).collect();
        conduits.push(conduit("tv-1", &services[0]));
        let found = mark(&known, &mut services, &mut conduits);
        let shown: Vec<_> = found
            .iter()
            .map(|f| (f.device.as_ref().unwrap().as_str(), f.kind.as_str(), f.count))
            .collect();
        assert_eq!(
            shown,
            [
                ("cam-1", "encrypted-dns", 2),
                ("cam-1", "foreign-resolver", 12),
                ("tv-1", "foreign-resolver", 2),
            ]
        );
        assert!(found[1].detail.contains("(and 2 more)"), "{}", found[1].detail);
        assert_eq!(services[6].protocol.as_deref(), Some("doh"));
        assert_eq!(conduits[6].protocol.as_deref(), Some("doh"));
    }
}
