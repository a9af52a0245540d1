//! Requests generated from policies: on both sides of the boundary of every part of them.
//!
//! Random requests miss deleted rules, because what a rule is about is rarely hit. So each policy says itself
//! what to ask: every attribute it looks at takes the constants it is compared with (numbers also one less and
//! one more), one value that nobody mentions, and "absent" where it may be; all combinations are asked, before
//! several backgrounds for the attributes that only other policies look at, so that these do not hide the
//! difference. Devices, services and zones of the estate are made up for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use model::inspect::Scope as Place;
use model::observation::Transport;
use model::{Assurance, DeviceId, ServiceId, SiteId};

use crate::decide::{Action, Ask};
use crate::folder::{
    Device, Estate, Folder, Group, Maintenance, SECURITY_LEVEL_MAX, Service, Site, Tests, Weekday,
    Zone,
};
use crate::language::{Actions, Binary, Entity, Expr, Policy, Scope, Var};
use crate::moment::Moment;

/// Combinations of a policy's own attributes asked before each background, at most.
const COMBINATIONS_MAX: usize = 384;
/// Backgrounds, the first of which is the one that policies usually leave alone.
const BACKGROUNDS: u64 = 6;

/// An estate made up for some policies, and what to ask about each of them.
#[derive(Clone, Debug)]
pub struct Probes {
    /// The policies over the estate.
    pub folder: Folder,
    /// By policy.
    pub asks: Vec<Vec<Ask>>,
}

/// Probes of policies that are valid under `schema`.
pub fn of(schema: &str, policies: &[Policy]) -> Probes {
    let prober = Prober::new(schema, policies);
    prober.probes(0..policies.len(), policies)
}

/// Makes probes of some policies, each before backgrounds that all of them look at.
#[derive(Debug)]
pub struct Prober<'p> {
    schema: &'p str,
    policies: &'p [Policy],
    wants: Vec<Choices>,
    all: Choices,
}

impl<'p> Prober<'p> {
    /// For policies that are valid under `schema`.
    pub fn new(schema: &'p str, policies: &'p [Policy]) -> Self {
        let wants: Vec<Choices> = policies.iter().map(wants).collect();
        let mut all = Choices::new();
        for want in &wants {
            for (key, values) in want {
                all.entry(key).or_default().extend(values.iter().cloned());
            }
        }
        Self { schema, policies, wants, all }
    }

    /// Probes of one of them, over an estate of its own; `folder` has that one only.
    pub fn of(&self, number: usize) -> Probes {
        let policy = self.policies.get(number).map(std::slice::from_ref).unwrap_or_default();
        self.probes(number..number.saturating_add(policy.len()), policy)
    }

    fn probes(&self, numbers: Range<usize>, policies: &[Policy]) -> Probes {
        let mut stage = Stage::default();
        let wants = self.wants.get(numbers).unwrap_or_default();
        let asks =
            policies.iter().zip(wants).map(|(policy, want)| self.asks(policy, want, &mut stage));
        let asks = asks.collect();
        let folder = Folder {
            schema: self.schema.to_owned(),
            estate: stage.estate,
            policies: policies.to_vec(),
            tests: Tests::default(),
            claims: Vec::new(),
            exceptions: Vec::new(),
            cards: Vec::new(),
        };
        Probes { folder, asks }
    }

    fn asks(&self, policy: &Policy, want: &Choices, stage: &mut Stage) -> Vec<Ask> {
        let choices: Vec<(Key, Vec<Value>)> =
            want.iter().map(|(key, values)| (*key, values.iter().cloned().collect())).collect();
        let total = choices.iter().fold(1usize, |n, (_, values)| n.saturating_mul(values.len()));
        let stride = total.div_ceil(COMBINATIONS_MAX).max(1);
        let mut asks = Vec::new();
        let mut known = BTreeSet::new();
        for background in 0..BACKGROUNDS {
            let mut dice = Dice(background);
            let ground: Choice =
                self.all.iter().map(|(key, v)| (*key, dice.pick(key, v))).collect();
            let first = usize::try_from(background).unwrap_or(0) % stride;
            for number in (first..total).step_by(stride) {
                let mut choice = ground.clone();
                choice.extend(combination(&choices, number));
                for action in actions(&policy.action) {
                    let ask = stage.ask(&choice, action);
                    if known.insert((ask.device, ask.service, action, context(&ask))) {
                        asks.push(ask);
                    }
                }
            }
        }
        asks
    }
}

/// What an ask says beyond its ends and action.
fn context(ask: &Ask) -> (Transport, u16, Option<u8>, Option<Weekday>) {
    (ask.transport, ask.port, ask.moment.hour, ask.moment.weekday)
}

/// One action of the policy's, and one that is not.
fn actions(actions: &Actions) -> Vec<Action> {
    let named = |action: &Action| match actions {
        Actions::All => true,
        Actions::These(these) => these.iter().any(|word| word == action.word()),
    };
    let (inside, outside): (Vec<Action>, Vec<Action>) = Action::ALL.into_iter().partition(named);
    inside.into_iter().chain(outside.into_iter().take(1)).take(8).collect()
}

/// What a request can be varied in: `p` the device, `r` the service, `h` the device that offers it, `c` the
/// context. A zone is made from its class, level and site unless a policy names it.
type Key = &'static str;
type Choice = BTreeMap<Key, Value>;
type Choices = BTreeMap<Key, BTreeSet<Value>>;

const KEYS: [Key; 38] = [
    "p",
    "p.type",
    "p.zone",
    "p.zone.class",
    "p.zone.security_level",
    "p.site",
    "p.owner",
    "p.assurance",
    "p.support",
    "p.exposure",
    "p.posture",
    "h",
    "h.type",
    "h.zone",
    "h.zone.class",
    "h.zone.security_level",
    "h.site",
    "h.owner",
    "h.assurance",
    "h.support",
    "h.exposure",
    "h.posture",
    "r",
    "r.group",
    "r.zone",
    "r.zone.class",
    "r.zone.security_level",
    "r.site",
    "r.device",
    "r.scope",
    "r.protocol",
    "r.port",
    "r.application",
    "r.owner",
    "r.sensitive",
    "r.assurance_min",
    "c.protocol",
    "c.port",
];
const MOMENT_KEYS: [Key; 3] = ["c.hour", "c.weekday", "c.maintenance"];

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Value {
    Absent,
    Bool(bool),
    Long(i64),
    Text(String),
    /// The asking device itself.
    Own,
}

fn key_of(text: &str) -> Option<Key> {
    KEYS.iter().chain(&MOMENT_KEYS).find(|key| **key == text).copied()
}

/// The key that an expression reads.
fn read(expr: &Expr) -> Option<Key> {
    fn path(expr: &Expr) -> Option<String> {
        match expr {
            Expr::Var(Var::Principal) => Some("p".to_owned()),
            Expr::Var(Var::Resource) => Some("r".to_owned()),
            Expr::Var(Var::Context) => Some("c".to_owned()),
            Expr::Get(of, name) => Some(format!("{}.{name}", path(of)?)),
            _ => None,
        }
    }
    let path = path(expr)?;
    let host = path.strip_prefix("r.device.").map(|rest| format!("h.{rest}"));
    key_of(&host.unwrap_or(path))
}

/// Values that nobody needs to mention; the first is what policies usually leave alone.
fn usual(key: Key) -> Vec<Value> {
    let texts = |texts: &[&str]| texts.iter().map(|t| Value::Text((*t).to_owned())).collect();
    let longs = |longs: &[i64]| longs.iter().map(|n| Value::Long(*n)).collect();
    let attribute = key.split_once('.').map_or(key, |(_, attribute)| attribute);
    match attribute {
        "type" => texts(&["probe-type"]),
        "zone.class" => texts(&["probe", "other"]),
        "zone.security_level" => {
            let mut levels = vec![Value::Absent];
            levels.extend((0..=i64::from(SECURITY_LEVEL_MAX)).map(Value::Long));
            levels
        }
        "site" => {
            let mut sites: Vec<Value> = texts(&["probe-site", "other-site"]);
            sites.extend((key == "r.site").then_some(Value::Absent));
            sites
        }
        "owner" => texts(&["team", "other", ""]),
        "assurance" => longs(&[5, 0]),
        "assurance_min" => longs(&[0]),
        "support" => texts(&["supported", "unknown"]),
        "exposure" => texts(&["none", "unknown"]),
        "posture" => texts(&["normal", "watched"]),
        "device" => vec![Value::Absent, Value::Text("host".to_owned()), Value::Own],
        "scope" => texts(&["estate", "external", "group"]),
        "protocol" => texts(&["tcp", "udp"]),
        "port" => longs(&[8443, 1]),
        "application" => texts(&["", "probe"]),
        "sensitive" => vec![Value::Bool(false), Value::Bool(true)],
        "hour" => vec![Value::Absent, Value::Long(12)],
        "weekday" => vec![Value::Absent, Value::Text("thu".to_owned())],
        "maintenance" => vec![Value::Absent, Value::Bool(true), Value::Bool(false)],
        // The entity itself, a zone, a group: nameless.
        _ => vec![Value::Absent],
    }
}

/// The estate and the moment can have this value.
fn possible(key: Key, value: &Value) -> bool {
    let attribute = key.split_once('.').map_or(key, |(_, attribute)| attribute);
    match (attribute, value) {
        ("assurance" | "assurance_min", Value::Long(n)) => (0..=5).contains(n),
        ("zone.security_level", Value::Long(n)) => (0..=i64::from(SECURITY_LEVEL_MAX)).contains(n),
        ("port", Value::Long(n)) => u16::try_from(*n).is_ok(),
        ("hour", Value::Long(n)) => (0..24).contains(n),
        ("protocol", Value::Text(text)) => transport(text).is_some(),
        ("weekday", Value::Text(text)) => Weekday::ALL.iter().any(|day| day.word() == text),
        ("scope", Value::Text(text)) => place(text).is_some(),
        ("site", Value::Text(text)) => SiteId::new(text).is_ok(),
        (_, Value::Text(_)) if matches!(key, "p" | "h" | "r") => true,
        ("assurance" | "assurance_min" | "port" | "hour", _) => *value == Value::Absent,
        _ => true,
    }
}

fn transport(word: &str) -> Option<Transport> {
    let all = [Transport::Tcp, Transport::Udp, Transport::Icmp, Transport::Ip, Transport::Link];
    all.into_iter().find(|t| t.word() == word)
}

fn place(word: &str) -> Option<Place> {
    match word {
        "estate" => Some(Place::Estate),
        "external" => Some(Place::External),
        "group" => Some(Place::Group),
        _ => None,
    }
}

/// What a policy looks at, with the values worth asking about.
fn wants(policy: &Policy) -> Choices {
    let mut wants = Wants::default();
    for (side, scope) in [("p", &policy.principal), ("r", &policy.resource)] {
        if let Scope::Eq(e) | Scope::In(e) | Scope::IsIn(_, e) = scope {
            wants.below(side, e);
        }
    }
    for condition in &policy.conditions {
        condition.body.visit(&mut |e| wants.look(e));
    }
    // `principal.zone == resource.zone` depends on what zones are made from.
    for (zone, class) in
        [("p.zone", "p.zone.class"), ("h.zone", "h.zone.class"), ("r.zone", "r.zone.class")]
    {
        if wants.0.contains_key(zone) {
            wants.0.entry(class).or_default();
        }
    }
    for (key, values) in &mut wants.0 {
        values.extend(usual(key));
        values.retain(|value| possible(key, value));
    }
    wants.0
}

#[derive(Default)]
struct Wants(Choices);

impl Wants {
    /// "This side is in that entity" is worth asking.
    fn below(&mut self, side: &str, entity: &Entity) {
        let key = match entity.kind.as_str() {
            "Zone" => format!("{side}.zone"),
            "Site" => format!("{side}.site"),
            "DeviceType" => format!("{side}.type"),
            "ServiceGroup" => format!("{side}.group"),
            _ => side.to_owned(),
        };
        if let Some(key) = key_of(&key) {
            self.0.entry(key).or_default().insert(Value::Text(entity.id.clone()));
        }
    }

    fn look(&mut self, expr: &Expr) {
        if let Some(key) = read(expr).filter(|key| key.contains('.')) {
            self.0.entry(key).or_default();
        }
        match expr {
            Expr::Has(of, name) => {
                let key = read(&Expr::Get(of.clone(), name.clone()));
                if let Some(key) = key {
                    self.0.entry(key).or_default();
                }
            }
            Expr::Binary(op, a, b) if !matches!(op, Binary::And | Binary::Or) => {
                self.compared(a, b);
            }
            Expr::Like(of, parts) => {
                if let Some(key) = read(of) {
                    let values = self.0.entry(key).or_default();
                    values.extend(["", "x"].map(|joint| Value::Text(parts.join(joint))));
                }
            }
            _ => {}
        }
    }

    /// Everything read on either side takes every constant of either side.
    fn compared(&mut self, a: &Expr, b: &Expr) {
        let (mut keys, mut values) = (BTreeSet::new(), BTreeSet::new());
        let mut entities = Vec::new();
        for side in [a, b] {
            side.visit(&mut |e| {
                keys.extend(read(e));
                match e {
                    Expr::Long(n) => {
                        let around = [n.saturating_sub(1), *n, n.saturating_add(1)];
                        values.extend(around.map(Value::Long));
                    }
                    Expr::Text(text) => {
                        values.insert(Value::Text(text.clone()));
                    }
                    Expr::Bool(b) => {
                        values.insert(Value::Bool(*b));
                    }
                    Expr::Entity(entity) => entities.push(entity),
                    _ => {}
                }
            });
        }
        for key in &keys {
            for entity in &entities {
                let side = key.split('.').next().unwrap_or_default();
                self.below(if *key == "r.device" { "h" } else { side }, entity);
            }
            if key.contains('.') {
                let wanted = self.0.entry(key).or_default();
                wanted.extend(keys.iter().flat_map(|other| usual(other)).filter(|v| {
                    // Attributes that are compared with each other share their values.
                    keys.len() > 1 && matches!(v, Value::Long(_) | Value::Text(_))
                }));
                wanted.extend(values.iter().cloned());
            }
        }
    }
}

/// The nth combination.
fn combination(choices: &[(Key, Vec<Value>)], mut number: usize) -> Choice {
    let mut choice = Choice::new();
    for (key, values) in choices {
        let n = values.len().max(1);
        let value = values.get(number.checked_rem(n).unwrap_or(0));
        choice.extend(value.map(|value| (*key, value.clone())));
        number = number.checked_div(n).unwrap_or(0);
    }
    choice
}

/// Reproducible choices (an xorshift); seed 0 always takes the usual.
struct Dice(u64);

impl Dice {
    fn pick(&mut self, key: Key, values: &BTreeSet<Value>) -> Value {
        let usual = usual(key).into_iter().next().unwrap_or(Value::Absent);
        // What a policy names is left to that policy: there is only one of it.
        if self.0 == 0 || matches!(key, "p" | "h" | "r") {
            return usual;
        }
        for shift in [13u32, 7, 17] {
            let moved = if shift == 7 { self.0 >> shift } else { self.0 << shift };
            self.0 ^= moved;
        }
        // Half of them stay as usual, so that few rules meet by chance.
        let n = u64::try_from(values.len()).unwrap_or(1).saturating_mul(2).max(1);
        let nth = usize::try_from((self.0 >> 8).checked_rem(n).unwrap_or(0)).unwrap_or(0);
        values.iter().nth(nth).cloned().unwrap_or(usual)
    }
}

/// The estate while it grows.
#[derive(Default)]
struct Stage {
    estate: Estate,
    zones: BTreeSet<String>,
    sites: BTreeSet<String>,
    devices: HashMap<Vec<Value>, usize>,
    services: HashMap<(Vec<Value>, Option<usize>), usize>,
    names: BTreeSet<String>,
}

/// The value of a key: chosen, else the usual.
fn value(choice: &Choice, key: &str) -> Value {
    let Some(key) = key_of(key) else {
        return Value::Absent;
    };
    let chosen = choice.get(key).cloned();
    chosen.unwrap_or_else(|| usual(key).into_iter().next().unwrap_or(Value::Absent))
}

fn text(choice: &Choice, key: &str) -> String {
    match value(choice, key) {
        Value::Text(text) => text,
        _ => String::new(),
    }
}

fn number(choice: &Choice, key: &str) -> Option<i64> {
    match value(choice, key) {
        Value::Long(n) => Some(n),
        _ => None,
    }
}

/// Everything chosen below a prefix.
fn signature(choice: &Choice, side: &str) -> Vec<Value> {
    let of_side = |key: &&Key| **key == side || key.starts_with(&format!("{side}."));
    KEYS.iter().filter(of_side).map(|key| value(choice, key)).collect()
}

impl Stage {
    fn ask(&mut self, choice: &Choice, action: Action) -> Ask {
        let device = self.device(choice, "p");
        let host = match value(choice, "r.device") {
            Value::Own => Some(device),
            Value::Text(_) => Some(self.device(choice, "h")),
            _ => None,
        };
        let service = self.service(choice, host);
        let hour = number(choice, "c.hour").and_then(|n| u8::try_from(n).ok());
        let named = text(choice, "c.weekday");
        let weekday = Weekday::ALL.into_iter().find(|day| day.word() == named);
        // A window is open every Tuesday at every site.
        let moment = match value(choice, "c.maintenance") {
            Value::Bool(true) => {
                Moment { hour: hour.or(Some(12)), weekday: Some(Weekday::Tuesday) }
            }
            Value::Bool(false) => Moment {
                hour: hour.or(Some(12)),
                weekday: weekday.filter(|d| *d != Weekday::Tuesday).or(Some(Weekday::Wednesday)),
            },
            _ => Moment { hour, weekday },
        };
        Ask {
            device,
            service,
            action,
            transport: transport(&text(choice, "c.protocol")).unwrap_or(Transport::Tcp),
            port: port(choice, "c.port"),
            moment,
        }
    }

    fn zone(&mut self, choice: &Choice, side: &str) -> String {
        let of = |attribute: &str| format!("{side}.{attribute}");
        let named = text(choice, &of("zone"));
        let plain = !named.is_empty();
        let level = number(choice, &of("zone.security_level")).filter(|_| !plain);
        let class = if plain { "probe".to_owned() } else { text(choice, &of("zone.class")) };
        let site = text(choice, &of("site"));
        let id = match plain {
            true => named,
            false => format!("{site}/{class}/{}", level.map_or("-".to_owned(), |n| n.to_string())),
        };
        if self.zones.insert(id.clone()) {
            let site = SiteId::new(&site).ok();
            if let Some(site) = site.clone().filter(|s| self.sites.insert(s.to_string())) {
                self.estate.sites.push(Site { id: site.clone() });
                let days = vec![Weekday::Tuesday];
                self.estate.maintenance.push(Maintenance { site, days, from: 0, to: 24, line: 0 });
            }
            let security_level = level.and_then(|n| u8::try_from(n).ok());
            self.estate.zones.push(Zone {
                id: id.clone(),
                site,
                class,
                security_level,
                ..Zone::default()
            });
        }
        id
    }

    fn device(&mut self, choice: &Choice, side: &str) -> usize {
        let signature = signature(choice, side);
        if let Some(known) = self.devices.get(&signature) {
            return *known;
        }
        let number = self.estate.devices.len();
        let of = |attribute: &str| format!("{side}.{attribute}");
        let id = self.id(&text(choice, side), &format!("device-{number}"));
        let rank = self::number(choice, &of("assurance")).unwrap_or(0);
        let zone = self.zone(choice, side);
        let Ok(id) = DeviceId::new(&id) else {
            return number;
        };
        self.estate.devices.push(Device {
            id,
            name: String::new(),
            kind: text(choice, &of("type")),
            zone,
            macs: Vec::new(),
            meant: None,
            mud_url: None,
            addresses: Vec::new(),
            behind: None,
            owner: text(choice, &of("owner")),
            assurance: assurance(rank),
            support: text(choice, &of("support")),
            exposure: text(choice, &of("exposure")),
            posture: text(choice, &of("posture")),
        });
        self.devices.insert(signature, number);
        number
    }

    fn service(&mut self, choice: &Choice, host: Option<usize>) -> usize {
        let key = (signature(choice, "r"), host);
        if let Some(known) = self.services.get(&key) {
            return *known;
        }
        let number = self.estate.services.len();
        let id = self.id(&text(choice, "r"), &format!("service-{number}"));
        let zone = self.zone(choice, "r");
        let Ok(id) = ServiceId::new(&id) else {
            return number;
        };
        let group = text(choice, "r.group");
        if !group.is_empty() {
            match self.estate.groups.iter_mut().find(|g| g.id == group) {
                Some(known) => known.services.push(id.clone()),
                None => self.estate.groups.push(Group { id: group, services: vec![id.clone()] }),
            }
        }
        let device = host.and_then(|host| self.estate.devices.get(host)).map(|d| d.id.clone());
        self.estate.services.push(Service {
            id,
            name: String::new(),
            device,
            scope: place(&text(choice, "r.scope")).unwrap_or(Place::Estate),
            zone,
            addresses: Vec::new(),
            dns_names: Vec::new(),
            transport: transport(&text(choice, "r.protocol")).unwrap_or(Transport::Tcp),
            port: port(choice, "r.port"),
            application: text(choice, "r.application"),
            owner: text(choice, "r.owner"),
            sensitive: value(choice, "r.sensitive") == Value::Bool(true),
            assurance_min: assurance(self::number(choice, "r.assurance_min").unwrap_or(0)),
        });
        self.services.insert(key, number);
        number
    }

    /// The name that a policy uses goes to the first who may have it.
    fn id(&mut self, wanted: &str, own: &str) -> String {
        let free = !wanted.is_empty() && self.names.insert(wanted.to_owned());
        if free { wanted.to_owned() } else { own.to_owned() }
    }
}

fn port(choice: &Choice, key: &str) -> u16 {
    number(choice, key).and_then(|n| u16::try_from(n).ok()).unwrap_or(0)
}

fn assurance(rank: i64) -> Assurance {
    Assurance::ALL.into_iter().find(|a| i64::from(a.rank()) == rank).unwrap_or(Assurance::Observed)
}
