//! Which lines are wanted. Filters of one kind are alternatives, of different kinds all must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use model::verdict::{End, Entry, Kind, VerdictRecord};
use model::{Mac, Timestamp};

use super::args::{Observe, Word};

/// What devices and services are called, beyond what records say themselves.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Device id → name for people.
    pub(crate) devices: BTreeMap<String, String>,
    /// Service id → its name, the transport and port, and where it is.
    pub(crate) services: BTreeMap<String, ServiceName>,
}

/// A service as policy knows it.
#[derive(Debug, Default)]
pub(crate) struct ServiceName {
    pub(crate) name: String,
    pub(crate) port: (String, u16),
    pub(crate) addresses: BTreeSet<IpAddr>,
}

/// The filters, understood.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    verdicts: Vec<Kind>,
    devices: Vec<Subject>,
    from: Vec<Subject>,
    to: Vec<Subject>,
    services: Vec<Service>,
    ports: Vec<u16>,
    rules: Vec<String>,
    sites: Vec<String>,
    interfaces: Vec<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

/// Who is meant.
#[derive(Debug)]
enum Subject {
    Ip(IpAddr),
    Mac(Mac),
    /// Ids a name stands for, and the name itself, which may be a class.
    Name(BTreeSet<String>),
}

/// Which service is meant.
#[derive(Debug)]
enum Service {
    Port(String, u16),
    Named { class: String, at: Vec<(BTreeSet<IpAddr>, (String, u16))> },
}

/// Why a filter makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadFilter {
    #[error("--{option} `{text}`: no {what} of the policy folder is called so{}", meant(near))]
    Unknown { option: &'static str, text: String, what: &'static str, near: Vec<String> },
    #[error("--{option} `{text}` is no time; write 90s, 10m, 2h, 3d or 2026-04-17T08:00:00Z")]
    Time { option: &'static str, text: String },
    #[error("--since {since} is not before --until {until}: nothing can match")]
    Span { since: Timestamp, until: Timestamp },
}

/// "; did you mean …?" for what is close.
fn meant(near: &[String]) -> String {
    match near {
        [] => String::new(),
        [one] => format!("; did you mean `{one}`?"),
        more => format!("; did you mean one of `{}`?", more.join("`, `")),
    }
}

impl Filter {
    /// Understands the options. `names` are those of a policy folder: with one, a name that is not
    /// in it is a mistake.
    pub(crate) fn new(
        args: &Observe,
        names: Option<&Names>,
        now: Timestamp,
    ) -> Result<Self, BadFilter> {
        let instant = |option, text: &Option<String>| {
            text.as_ref().map(|text| instant(option, text, now)).transpose()
        };
        let (since, until) = (instant("since", &args.since)?, instant("until", &args.until)?);
        if let (Some(since), Some(until)) = (since, until)
            && since >= until
        {
            return Err(BadFilter::Span { since, until });
        }
        let subjects = |option, texts: &[String]| {
            texts.iter().map(|text| subject(option, text, names)).collect::<Result<_, _>>()
        };
        let services = args.service.iter().map(|text| service(text, names));
        Ok(Self {
            verdicts: args.verdict.iter().map(|word| kind(*word)).collect(),
            devices: subjects("device", &args.device)?,
            from: subjects("from", &args.from)?,
            to: subjects("to", &args.to)?,
            services: services.collect::<Result<_, _>>()?,
            ports: args.to_port.clone(),
            rules: args.rule.clone(),
            sites: args.site.clone(),
            interfaces: args.interface.clone(),
            since,
            until,
        })
    }

    /// This line is wanted. Gaps pass every filter but those of time and site.
    pub(crate) fn wants(&self, entry: &Entry) -> bool {
        let at = entry.at();
        let in_time =
            self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|end| at <= end);
        let site = match entry {
            Entry::Verdict(record) => record.site.as_str(),
            Entry::Lost(lost) => lost.site.as_str(),
        };
        let here = any(&self.sites, |wanted| wanted == site);
        in_time
            && here
            && match entry {
                Entry::Verdict(record) => self.wants_verdict(record),
                Entry::Lost(_) => true,
            }
    }

    fn wants_verdict(&self, record: &VerdictRecord) -> bool {
        let why = &record.why;
        let rule = |wanted: &String| {
            [&why.rule, &why.exception, &why.nearest].contains(&&Some(wanted.clone()))
        };
        let interfaces = [&record.interface_in, &record.interface_out];
        any(&self.verdicts, |kind| *kind == record.verdict)
            && any(&self.devices, |s| s.is(&record.from) || s.is(&record.to))
            && any(&self.from, |s| s.is(&record.from))
            && any(&self.to, |s| s.is(&record.to))
            && any(&self.services, |service| service.is(record))
            && any(&self.ports, |port| Some(*port) == record.port)
            && any(&self.rules, rule)
            && any(&self.interfaces, |name| interfaces.contains(&&Some(name.clone())))
    }

    /// Nothing matched: what a filter may have meant, by the names that were met.
    pub(crate) fn near(&self, met: &BTreeSet<String>) -> Vec<String> {
        let wanted = self.devices.iter().chain(&self.from).chain(&self.to);
        let wanted = wanted.filter_map(|subject| match subject {
            Subject::Name(names) if names.is_disjoint(met) => names.first(),
            _ => None,
        });
        let services = self.services.iter().filter_map(|service| match service {
            Service::Named { class, .. } if !met.contains(class) => Some(class),
            _ => None,
        });
        let mut out: Vec<String> = wanted
            .chain(services)
            .chain(self.rules.iter().filter(|rule| !met.contains(*rule)))
            .chain(self.sites.iter().filter(|site| !met.contains(*site)))
            .chain(self.interfaces.iter().filter(|name| !met.contains(*name)))
            .map(|text| format!("`{text}` is in no line{}", meant(&closest(text, met.iter()))))
            .collect();
        out.dedup();
        out
    }
}

/// No filter of this kind, or one of them holds.
fn any<T>(filters: &[T], holds: impl Fn(&T) -> bool) -> bool {
    filters.is_empty() || filters.iter().any(holds)
}

impl Subject {
    fn is(&self, end: &End) -> bool {
        match self {
            Self::Ip(ip) => end.ip == Some(*ip),
            Self::Mac(mac) => end.mac == Some(*mac),
            Self::Name(names) => {
                let device = end.device.as_ref().is_some_and(|id| names.contains(id.as_str()));
                device || end.service.as_ref().is_some_and(|class| names.contains(class))
            }
        }
    }
}

impl Service {
    fn is(&self, record: &VerdictRecord) -> bool {
        let port = |(transport, port): &(String, u16)| {
            record.transport.word() == transport && record.port == Some(*port)
        };
        match self {
            Self::Port(transport, number) => {
                record.transport.word() == transport && record.port == Some(*number)
            }
            Self::Named { class, at } => {
                let there = |addresses: &BTreeSet<IpAddr>| {
                    record.to.ip.is_some_and(|ip| addresses.contains(&ip))
                };
                record.to.service.as_ref() == Some(class)
                    || at.iter().any(|(addresses, its)| there(addresses) && port(its))
            }
        }
    }
}

fn subject(option: &'static str, text: &str, names: Option<&Names>) -> Result<Subject, BadFilter> {
    if let Ok(ip) = text.parse() {
        return Ok(Subject::Ip(ip));
    }
    if let Ok(mac) = text.parse() {
        return Ok(Subject::Mac(mac));
    }
    let mut ids = BTreeSet::from([text.to_owned()]);
    let Some(names) = names else {
        return Ok(Subject::Name(ids));
    };
    let called = names.devices.iter().filter(|(_, name)| *name == text).map(|(id, _)| id.clone());
    ids.extend(called);
    // Classes (`zone/cameras`, `service/nvr`) are made by the compiler, not named in the folder.
    if ids.len() == 1 && !names.devices.contains_key(text) && !text.contains('/') {
        let known = names.devices.iter().flat_map(|(id, name)| [id, name]);
        return Err(BadFilter::Unknown {
            option,
            text: text.to_owned(),
            what: "device",
            near: closest(text, known),
        });
    }
    Ok(Subject::Name(ids))
}

fn service(text: &str, names: Option<&Names>) -> Result<Service, BadFilter> {
    if let Some((transport @ ("tcp" | "udp" | "icmp" | "ip" | "link"), port)) = text.split_once('/')
        && let Ok(port) = port.parse()
    {
        return Ok(Service::Port(transport.to_owned(), port));
    }
    let mut at = Vec::new();
    if let Some(names) = names {
        let called = names.services.iter().filter(|(id, s)| *id == text || s.name == text);
        at.extend(called.map(|(_, s)| (s.addresses.clone(), s.port.clone())));
        if at.is_empty() && !text.contains('/') {
            let known = names.services.iter().flat_map(|(id, s)| [id, &s.name]);
            return Err(BadFilter::Unknown {
                option: "service",
                text: text.to_owned(),
                what: "service",
                near: closest(text, known),
            });
        }
    }
    Ok(Service::Named { class: text.to_owned(), at })
}

fn kind(word: Word) -> Kind {
    match word {
        Word::Denied => Kind::Denied,
        Word::WouldDeny => Kind::WouldDeny,
        Word::WouldAllow => Kind::WouldAllow,
        Word::Logged => Kind::Logged,
        Word::AllowedByException => Kind::AllowedByException,
    }
}

fn instant(option: &'static str, text: &str, now: Timestamp) -> Result<Timestamp, BadFilter> {
    let wrong = || BadFilter::Time { option, text: text.to_owned() };
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    let ago = crate::args::duration(text).map_err(|_| wrong())?;
    let nanos = i64::try_from(ago.as_nanos()).map_err(|_| wrong())?;
    Ok(now.plus_nanos(-nanos))
}

/// The names closest to what was typed, best first, at most three.
fn closest<'n>(text: &str, names: impl Iterator<Item = &'n String>) -> Vec<String> {
    let text = text.to_lowercase();
    let near = |name: &&String| {
        let name = name.to_lowercase();
        let distance = distance(&text, &name);
        let allowed = (text.chars().count().max(4)) / 3;
        let inside = text.len() >= 3 && (name.contains(&text) || text.contains(&name));
        (distance <= allowed || inside).then_some(distance)
    };
    let ranked = names.filter_map(|name| Some((near(&name)?, name.clone())));
    let ranked: BTreeSet<(usize, String)> = ranked.filter(|(_, name)| !name.is_empty()).collect();
    ranked.into_iter().map(|(_, name)| name).take(3).collect()
}

/// Edits between two words (Levenshtein), of their first 64 characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], n: usize| row.get(n).copied().unwrap_or(usize::MAX - 1);
            let change = at(&row, j) + usize::from(x != *y);
            next.push(change.min(at(&row, j + 1) + 1).min(at(&next, j) + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let device = |id: &str, name: &str| (id.to_owned(), name.to_owned());
        let service = ServiceName {
            name: "Recorder".into(),
            port: ("tcp".into(), 554),
            addresses: [IpAddr::from([10, 0, 0, 9])].into(),
        };
        Names {
            devices: [device("camera-7", "Axis M3045-V"), device("camera-8", "Axis M3045-V")]
                .into(),
            services: [("svc:nvr/tcp/554".to_owned(), service)].into(),
        }
    }

    fn check(args: Observe, expect: &str) {
        let now = Timestamp::from_secs(1_700_000_000, 0);
        let error = Filter::new(&args, Some(&names()), now).unwrap_err();
        assert_eq!(error.to_string(), expect);
    }

    #[test]
    fn bad_filters_say_what_was_meant() {
        let device = |text: &str| Observe { device: vec![text.into()], ..Observe::default() };
        check(
            device("camra-7"),
            "--device `camra-7`: no device of the policy folder is called so; did you mean one of \
             `camera-7`, `camera-8`?",
        );
        check(
            device("axis"),
            "--device `axis`: no device of the policy folder is called so; did you mean \
             `Axis M3045-V`?",
        );
        check(
            device("mainframe"),
            "--device `mainframe`: no device of the policy folder is called so",
        );
        check(
            Observe { service: vec!["recoder".into()], ..Observe::default() },
            "--service `recoder`: no service of the policy folder is called so; did you mean \
             `Recorder`?",
        );
        check(
            Observe { since: Some("yesterday".into()), ..Observe::default() },
            "--since `yesterday` is no time; write 90s, 10m, 2h, 3d or 2026-04-17T08:00:00Z",
        );
        check(
            Observe { since: Some("1h".into()), until: Some("2h".into()), ..Observe::default() },
            "--since 2023-11-14T21:13:20.000000Z is not before --until \
             2023-11-14T20:13:20.000000Z: nothing can match",
        );
    }

    #[test]
    fn distances() {
        for (a, b, expect) in [("", "abc", 3), ("kitten", "sitting", 3), ("x", "x", 0)] {
            assert_eq!(distance(a, b), expect, "{a} {b}");
        }
    }
}
