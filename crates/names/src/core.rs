//! The resolver without sockets and clocks: what comes in, and what is to be done.
//!
//! Every method takes the present, in milliseconds of a clock that never goes back, and appends
//! [`Action`]s. The invariant of the crate lives here: bytes that carry an address of a permitted name
//! are in `releases` until [`Core::acknowledged`] says that its paths are in force; there is no other
//! way from there into an [`Action::Reply`].

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use model::ruleset::ClassId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::cache::{Answer, Cache};
use crate::event::{Asked, Event, Finding, Outcome};
use crate::ledger::{Grant, Ledger, Live};
use crate::message::{self, Heard, Kept, Key, Odd, Question};
use crate::policy::{Policy, points_inwards};
use crate::settings::Settings;
use crate::upstream::Upstreams;

/// Wrong answers after which a question is asked again over TCP.
const GUESSES_MAX: u8 = 5;
/// How long a failure is remembered (RFC 9520 §3.2: at least a second).
const FAILURE_MS: u64 = 1_000;
/// A finding about one subject is told again after this long.
const TELL_AGAIN_MS: u64 = 60_000;
/// Subjects remembered for that.
const TOLD_MAX: usize = 1_024;

/// Where a question came from and its answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Return {
    /// The device.
    pub peer: SocketAddr,
    /// The shell's number of the socket or connection.
    pub socket: u64,
    /// It came over TCP.
    pub tcp: bool,
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send these bytes to a device.
    Reply {
        /// Where to.
        to: Return,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Ask an upstream, from a fresh port, and hand what comes back to [`Core::heard`]. A former try
    /// of the same number ends.
    Ask {
        /// Number of the question.
        ask: u64,
        /// Whom.
        upstream: SocketAddr,
        /// Over TCP.
        tcp: bool,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Nothing more is expected for this number.
    Close {
        /// Number of the question.
        ask: u64,
    },
    /// Put these paths in force, then call [`Core::acknowledged`] with the number. Without a number
    /// nobody waits for it.
    PutInForce {
        /// Number of the answer that waits.
        release: Option<u64>,
        /// The paths.
        grant: Grant,
    },
    /// Tell.
    Tell(Event),
}

/// What the resolver has done since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Questions of devices.
    pub questions: u64,
    /// Answered from the cache.
    pub hits: u64,
    /// Questions sent to upstreams, repetitions included.
    pub asked: u64,
    /// Answers of upstreams: that a name is there, or that it is not.
    pub answered: u64,
    /// All upstreams failed, and none has answered since.
    pub down: bool,
    /// Answers released after their addresses were in force.
    pub released: u64,
    /// Answers withheld because they could not be put in force.
    pub withheld: u64,
    /// Messages that were no question.
    pub silent: u64,
    /// Answers in the cache.
    pub cached: usize,
    /// Dropped from the cache to make room.
    pub evicted: u64,
    /// Names alive.
    pub names: usize,
    /// Paths alive.
    pub paths: usize,
}

/// The resolver.
#[derive(Debug)]
pub struct Core {
    settings: Settings,
    policy: Arc<Policy>,
    cache: Cache,
    ledger: Ledger,
    upstreams: Upstreams,
    random: StdRng,
    asks: HashMap<u64, Ask>,
    /// Open questions by what they ask: who asks the same joins.
    joined: HashMap<Key, u64>,
    releases: HashMap<u64, Release>,
    open_of: HashMap<IpAddr, usize>,
    open: usize,
    buckets: HashMap<IpAddr, Bucket>,
    told: HashMap<Finding, u64>,
    number: u64,
    counts: Counts,
    swept_ms: u64,
}

/// A question that is out at an upstream.
#[derive(Debug)]
struct Ask {
    key: Key,
    /// The name asked now, in its random spelling; another one than the key's behind an alias.
    name: Name,
    id: u16,
    upstream: usize,
    tried: Vec<usize>,
    tcp: bool,
    edns: bool,
    guesses: u8,
    deadline_ms: u64,
    give_up_ms: u64,
    /// Aliases passed so far.
    passed: Vec<Record>,
    waiters: Vec<Waiter>,
    why: String,
}

#[derive(Clone, Debug)]
struct Waiter {
    to: Return,
    question: Question,
    class: ClassId,
}

/// An answer that waits for the enforcement point.
#[derive(Debug)]
struct Release {
    waiter: Waiter,
    name: String,
    bytes: Vec<u8>,
    deadline_ms: u64,
}

#[derive(Debug)]
struct Bucket {
    /// Thousandths of a question.
    tokens: u64,
    at_ms: u64,
}

impl Core {
    /// A resolver with nothing in its cache. `seed` decides ids and spellings: it must be random
    /// where upstreams are not trusted neighbours.
    pub fn new(settings: Settings, policy: Arc<Policy>, seed: [u8; 32]) -> Self {
        Self {
            cache: Cache::new(settings.cache_max, settings.cache_bytes_max),
            ledger: Ledger::default(),
            upstreams: Upstreams::new(&settings.upstreams),
            random: StdRng::from_seed(seed),
            settings,
            policy,
            asks: HashMap::new(),
            joined: HashMap::new(),
            releases: HashMap::new(),
            open_of: HashMap::new(),
            open: 0,
            buckets: HashMap::new(),
            told: HashMap::new(),
            number: 0,
            counts: Counts::default(),
            swept_ms: 0,
        }
    }

    /// A device's message.
    pub fn question(&mut self, now_ms: u64, to: Return, bytes: &[u8], out: &mut Vec<Action>) {
        let device = to.peer.ip().to_canonical();
        let Some(class) = self.policy.class_of(device) else {
            // A stranger: an answer would make this an open resolver.
            self.counts.silent = self.counts.silent.saturating_add(1);
            if let Ok(question) = Question::read(bytes) {
                out.push(Action::Reply { to, bytes: question.fail(ResponseCode::Refused) });
            }
            return;
        };
        let question = match Question::read(bytes) {
            Ok(question) => question,
            Err(Odd::Silence) => {
                self.counts.silent = self.counts.silent.saturating_add(1);
                return;
            }
            Err(Odd::Reply(bytes)) => {
                if self.within_rate(now_ms, device) {
                    out.push(Action::Reply { to, bytes });
                }
                return;
            }
        };
        self.counts.questions = self.counts.questions.saturating_add(1);
        let name = message::text_of(question.query.name());
        let mut outcome = match self.policy.permits(class, &name).is_empty() {
            false => Outcome::Permitted,
            true if self.policy.refuses_unknown(class) => Outcome::Refused,
            true => Outcome::Unknown,
        };
        let open = self.open_of.get(&device).copied().unwrap_or_default();
        if !self.within_rate(now_ms, device) || open >= self.settings.open_per_device_max {
            outcome = Outcome::Throttled;
        }
        let kind = question.query.query_type().to_string();
        out.push(Action::Tell(Event::Asked(Asked { device, class, name, kind, outcome })));
        match outcome {
            Outcome::Throttled => self.tell(now_ms, Finding::Flood { device }, out),
            Outcome::Permitted | Outcome::Unknown => {
                return self.resolve(now_ms, Waiter { to, question, class }, out);
            }
            Outcome::Refused => {}
        }
        out.push(Action::Reply { to, bytes: question.fail(ResponseCode::Refused) });
    }

    /// Something came back for a question, on the socket made for it.
    pub fn heard(&mut self, now_ms: u64, ask: u64, bytes: &[u8], out: &mut Vec<Action>) {
        let Some(asked) = self.asks.get_mut(&ask) else { return };
        match message::hear(bytes, asked.id, &asked.name, asked.key.kind) {
            Heard::Foreign => {
                asked.guesses = asked.guesses.saturating_add(1);
                if asked.guesses == GUESSES_MAX && !asked.tcp {
                    let name = message::text_of(&asked.name);
                    let upstream = self.upstreams.address(asked.upstream);
                    if let Some(upstream) = upstream {
                        self.tell(now_ms, Finding::Guessed { upstream, name }, out);
                    }
                    self.over_tcp(now_ms, ask, out);
                }
            }
            Heard::Respelled | Heard::Truncated if !asked.tcp => self.over_tcp(now_ms, ask, out),
            // TCP cannot be guessed from afar: a server that changes the spelling is believed there.
            Heard::Respelled => match Message::from_vec(bytes) {
                Ok(message) => self.answered(now_ms, ask, message, bytes.len(), out),
                Err(_) => self.failed(now_ms, ask, "a broken answer", out),
            },
            Heard::Truncated | Heard::Broken => self.failed(now_ms, ask, "a broken answer", out),
            Heard::Answer(message) => self.answered(now_ms, ask, *message, bytes.len(), out),
        }
    }

    /// The socket of a question failed.
    pub fn unreachable(&mut self, now_ms: u64, ask: u64, why: &str, out: &mut Vec<Action>) {
        self.failed(now_ms, ask, why, out);
    }

    /// The enforcement point has put the paths of an answer in force, or could not.
    pub fn acknowledged(
        &mut self,
        now_ms: u64,
        release: u64,
        result: Result<(), String>,
        out: &mut Vec<Action>,
    ) {
        let Some(release) = self.releases.remove(&release) else { return };
        self.done(&release.waiter);
        match result {
            Ok(()) => {
                self.counts.released = self.counts.released.saturating_add(1);
                out.push(Action::Reply { to: release.waiter.to, bytes: release.bytes });
            }
            Err(why) => {
                self.counts.withheld = self.counts.withheld.saturating_add(1);
                self.tell(now_ms, Finding::NotInForce { name: release.name, why }, out);
                reply_failure(&release.waiter, out);
            }
        }
    }

    /// Time has passed: call it at [`Core::next_ms`] at the latest.
    pub fn tick(&mut self, now_ms: u64, out: &mut Vec<Action>) {
        let late = |deadline: u64| deadline <= now_ms;
        let mut asks: Vec<u64> =
            self.asks.iter().filter(|(_, a)| late(a.deadline_ms)).map(|(n, _)| *n).collect();
        asks.sort_unstable();
        for ask in asks {
            self.failed(now_ms, ask, "no answer in time", out);
        }
        let mut releases: Vec<u64> =
            self.releases.iter().filter(|(_, r)| late(r.deadline_ms)).map(|(n, _)| *n).collect();
        releases.sort_unstable();
        for release in releases {
            let why = "the enforcement point did not answer in time".to_owned();
            self.acknowledged(now_ms, release, Err(why), out);
        }
        if now_ms.saturating_sub(self.swept_ms) >= 10_000 {
            self.swept_ms = now_ms;
            self.cache.expire(now_ms);
            self.ledger.expire(now_ms);
            self.told.retain(|_, at| now_ms.saturating_sub(*at) < TELL_AGAIN_MS);
            let policy = &self.policy;
            self.buckets.retain(|device, _| policy.is_member(*device));
        }
    }

    /// When [`Core::tick`] is due.
    pub fn next_ms(&self) -> Option<u64> {
        let asks = self.asks.values().map(|ask| ask.deadline_ms);
        asks.chain(self.releases.values().map(|release| release.deadline_ms)).min()
    }

    /// Another policy holds from now on; what devices still use is opened under it.
    pub fn set_policy(&mut self, now_ms: u64, policy: Arc<Policy>, out: &mut Vec<Action>) {
        self.policy = policy;
        // Devices whose questions are out may be in another class now, or in none.
        let mut strangers = Vec::new();
        for ask in self.asks.values_mut() {
            let waiters = std::mem::take(&mut ask.waiters);
            for waiter in waiters {
                match self.policy.class_of(waiter.to.peer.ip().to_canonical()) {
                    Some(class) => ask.waiters.push(Waiter { class, ..waiter }),
                    None => strangers.push(waiter),
                }
            }
        }
        for waiter in strangers {
            self.done(&waiter);
            reply_failure(&waiter, out);
        }
        // Answers that wait were permitted by the old policy: their devices ask again.
        let mut waiting: Vec<u64> = self.releases.keys().copied().collect();
        waiting.sort_unstable();
        for release in waiting {
            if let Some(release) = self.releases.remove(&release) {
                self.done(&release.waiter);
                self.resolve_again(now_ms, release.waiter, out);
            }
        }
        for grant in self.ledger.under(now_ms, &self.policy) {
            out.push(Action::PutInForce { release: None, grant });
        }
    }

    /// What is alive, to be written down.
    pub fn live(&self, now_ms: u64) -> Vec<Live> {
        self.ledger.live(now_ms)
    }

    /// Takes up what was alive before a restart, and opens it again.
    pub fn restore(&mut self, now_ms: u64, live: Vec<Live>, out: &mut Vec<Action>) {
        self.ledger.restore(now_ms, &self.settings, live);
        for grant in self.ledger.under(now_ms, &self.policy) {
            out.push(Action::PutInForce { release: None, grant });
        }
    }

    /// What it has done.
    pub fn counts(&self) -> Counts {
        let (names, paths) = self.ledger.len();
        let (cached, evicted) = (self.cache.len(), self.cache.evicted);
        let down = self.upstreams.told_down;
        Counts { names, paths, cached, evicted, down, ..self.counts }
    }

    fn resolve(&mut self, now_ms: u64, waiter: Waiter, out: &mut Vec<Action>) {
        if self.open >= self.settings.open_max {
            self.tell(now_ms, Finding::Busy { max: self.settings.open_max }, out);
            return reply_failure(&waiter, out);
        }
        self.open = self.open.saturating_add(1);
        let of = self.open_of.entry(waiter.to.peer.ip().to_canonical()).or_default();
        *of = of.saturating_add(1);
        let key = waiter.question.key();
        if let Some(answer) = self.cache.get(&key, now_ms) {
            self.counts.hits = self.counts.hits.saturating_add(1);
            return self.settle(now_ms, waiter, &answer, out);
        }
        if let Some(ask) = self.joined.get(&key).and_then(|ask| self.asks.get_mut(ask)) {
            ask.waiters.push(waiter);
            return;
        }
        let number = self.fresh();
        self.joined.insert(key.clone(), number);
        self.asks.insert(
            number,
            Ask {
                name: key.name.clone(),
                key,
                id: 0,
                upstream: 0,
                tried: Vec::new(),
                tcp: false,
                edns: true,
                guesses: 0,
                deadline_ms: 0,
                give_up_ms: now_ms.saturating_add(self.settings.give_up_ms),
                passed: Vec::new(),
                waiters: vec![waiter],
                why: "no upstream is set".to_owned(),
            },
        );
        self.try_next(now_ms, number, out);
    }

    fn resolve_again(&mut self, now_ms: u64, waiter: Waiter, out: &mut Vec<Action>) {
        match self.policy.class_of(waiter.to.peer.ip().to_canonical()) {
            Some(class) => self.resolve(now_ms, Waiter { class, ..waiter }, out),
            None => reply_failure(&waiter, out),
        }
    }

    /// Asks the next upstream, or gives up.
    fn try_next(&mut self, now_ms: u64, number: u64, out: &mut Vec<Action>) {
        let Some(ask) = self.asks.get_mut(&number) else { return };
        let next = self.upstreams.next(now_ms, &ask.tried);
        match next.filter(|_| now_ms < ask.give_up_ms) {
            Some(upstream) => {
                ask.tried.push(upstream);
                ask.upstream = upstream;
                ask.tcp = false;
                self.send(now_ms, number, out);
            }
            None => self.give_up(now_ms, number, ResponseCode::ServFail, out),
        }
    }

    fn over_tcp(&mut self, now_ms: u64, number: u64, out: &mut Vec<Action>) {
        if let Some(ask) = self.asks.get_mut(&number) {
            ask.tcp = true;
            self.send(now_ms, number, out);
        }
    }

    fn send(&mut self, now_ms: u64, number: u64, out: &mut Vec<Action>) {
        let Some(ask) = self.asks.get_mut(&number) else { return };
        ask.id = u16::try_from(self.random.next_u32() >> 16).unwrap_or_default();
        ask.name = respelled(&ask.name, &mut self.random);
        ask.guesses = 0;
        ask.deadline_ms = now_ms.saturating_add(self.settings.try_ms).min(ask.give_up_ms);
        let bytes = message::ask(ask.id, &ask.name, &ask.key, ask.edns);
        match (bytes, self.upstreams.address(ask.upstream)) {
            (Some(bytes), Some(upstream)) => {
                self.counts.asked = self.counts.asked.saturating_add(1);
                out.push(Action::Ask { ask: number, upstream, tcp: ask.tcp, bytes });
            }
            _ => self.give_up(now_ms, number, ResponseCode::ServFail, out),
        }
    }

    /// A try came to nothing.
    fn failed(&mut self, now_ms: u64, number: u64, why: &str, out: &mut Vec<Action>) {
        let Some(ask) = self.asks.get_mut(&number) else { return };
        why.clone_into(&mut ask.why);
        self.upstreams.failed(ask.upstream, now_ms);
        self.try_next(now_ms, number, out);
    }

    fn answered(
        &mut self,
        now_ms: u64,
        number: u64,
        message: Message,
        size_bytes: usize,
        out: &mut Vec<Action>,
    ) {
        let Some(ask) = self.asks.get_mut(&number) else { return };
        let code = message.metadata.response_code;
        let upstream = ask.upstream;
        if self.upstreams.well(upstream)
            && let Some(upstream) = self.upstreams.address(upstream)
        {
            out.push(Action::Tell(Event::Finding(Finding::UpstreamsBack { upstream })));
        }
        match code {
            ResponseCode::NoError | ResponseCode::NXDomain => {}
            // A server from before 1999 (RFC 6891 §7).
            ResponseCode::FormErr | ResponseCode::NotImp if ask.edns => {
                ask.edns = false;
                return self.send(now_ms, number, out);
            }
            // Another one may know better; the last one's word is passed on.
            _ => {
                let more = self.upstreams.next(now_ms, &ask.tried);
                return match more.filter(|more| !ask.tried.contains(more)) {
                    Some(_) => self.try_next(now_ms, number, out),
                    None => self.give_up(now_ms, number, ResponseCode::ServFail, out),
                };
            }
        }
        self.counts.answered = self.counts.answered.saturating_add(1);
        let Ok(kept) = message::keep(&ask.name, ask.key.kind, &message.answers) else {
            let name = message::text_of(&ask.key.name);
            self.tell(now_ms, Finding::AliasLoop { name }, out);
            return self.give_up(now_ms, number, ResponseCode::ServFail, out);
        };
        // The alias was not followed to its end: that is left to us (RFC 1034 §5.3.3).
        let soa = |r: &&Record| r.record_type() == RecordType::SOA;
        let dead_end = message.authorities.iter().any(|r| soa(&r));
        let aliased = kept.records.iter().any(|r| r.record_type() == RecordType::CNAME);
        if code == ResponseCode::NoError && aliased && !kept.complete && !dead_end {
            return self.follow(now_ms, number, kept, out);
        }
        let Some(ask) = self.asks.remove(&number) else { return };
        self.joined.remove(&ask.key);
        out.push(Action::Close { ask: number });
        let mut answers = ask.passed;
        answers.extend(kept.records);
        // The spelling of this try is nobody's business.
        for record in &mut answers {
            record.name = record.name.to_lowercase();
        }
        let authorities: Vec<Record> = match kept.complete {
            true => Vec::new(),
            false => message.authorities.iter().filter(soa).take(1).cloned().collect(),
        };
        let life_s = self.life(&answers, &authorities, kept.complete);
        let until_ms = now_ms.saturating_add(u64::from(life_s) * 1_000);
        let answer =
            Arc::new(Answer { code, answers, authorities, at_ms: now_ms, until_ms, size_bytes });
        self.cache.put(ask.key, Arc::clone(&answer), now_ms);
        for waiter in ask.waiters {
            self.settle(now_ms, waiter, &answer, out);
        }
    }

    /// Asks for the end of an alias.
    fn follow(&mut self, now_ms: u64, number: u64, kept: Kept, out: &mut Vec<Action>) {
        let Some(ask) = self.asks.get_mut(&number) else { return };
        let end = kept.end.unwrap_or_else(|| ask.name.clone()).to_lowercase();
        ask.passed.extend(kept.records);
        let aliases = ask.passed.iter().filter(|r| r.record_type() == RecordType::CNAME);
        let circle = aliases.clone().any(|r| r.name.to_lowercase() == end);
        if circle || aliases.count() > message::ALIASES_MAX {
            let name = message::text_of(&ask.key.name);
            self.tell(now_ms, Finding::AliasLoop { name }, out);
            return self.give_up(now_ms, number, ResponseCode::ServFail, out);
        }
        ask.name = end;
        ask.tried.clear();
        self.try_next(now_ms, number, out);
    }

    /// Seconds an answer may be kept: what lives shortest in it; a negative one as its SOA says
    /// (RFC 2308 §5), and not at all without.
    fn life(&self, answers: &[Record], authorities: &[Record], complete: bool) -> u32 {
        let shortest = answers.iter().map(|record| record.ttl).min();
        if complete {
            return shortest.unwrap_or_default().min(self.settings.ttl_max_s);
        }
        let negative = authorities.iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
            _ => None,
        });
        let negative = negative.unwrap_or_default().min(self.settings.negative_max_s);
        shortest.map_or(negative, |shortest| shortest.min(negative))
    }

    /// No upstream helped.
    fn give_up(&mut self, now_ms: u64, number: u64, code: ResponseCode, out: &mut Vec<Action>) {
        let Some(ask) = self.asks.remove(&number) else { return };
        self.joined.remove(&ask.key);
        out.push(Action::Close { ask: number });
        if self.upstreams.all_down(now_ms)
            && let Some(last) = self.upstreams.address(ask.upstream)
        {
            self.upstreams.told_down = true;
            self.tell(now_ms, Finding::UpstreamsDown { last, why: ask.why.clone() }, out);
        }
        let answer = Arc::new(Answer {
            code,
            answers: Vec::new(),
            authorities: Vec::new(),
            at_ms: now_ms,
            until_ms: now_ms.saturating_add(FAILURE_MS),
            size_bytes: 0,
        });
        self.cache.put(ask.key, Arc::clone(&answer), now_ms);
        for waiter in ask.waiters {
            self.settle(now_ms, waiter, &answer, out);
        }
    }

    /// Gives a device its answer: at once where it opens nothing, else after its paths are in force.
    fn settle(&mut self, now_ms: u64, waiter: Waiter, answer: &Answer, out: &mut Vec<Action>) {
        let device = waiter.to.peer.ip().to_canonical();
        let query = waiter.question.query.clone();
        let name = message::text_of(query.name());
        let permitted = !self.policy.permits(waiter.class, &name).is_empty();
        let mut records: Vec<Record> =
            answer.answers.iter().map(|r| answer.aged(r, now_ms)).collect();
        let mut addresses: Vec<(IpAddr, u32)> = Vec::new();
        let mut left_out: BTreeSet<IpAddr> = BTreeSet::new();
        if permitted {
            for record in &records {
                let Some(ip) = message::address(record) else { continue };
                if self.inwards(ip) && !self.policy.is_inside(&name, ip) {
                    let finding = Finding::PointsInwards { name: name.clone(), address: ip };
                    self.tell(now_ms, finding, out);
                    left_out.insert(ip);
                } else if !addresses.iter().any(|(known, _)| *known == ip) {
                    addresses.push((ip, record.ttl));
                }
            }
            // A service elsewhere is another name, which policy may not know; without the record the
            // device uses the addresses of this one (RFC 9460 §3.1).
            records.retain(|record| {
                message::service_target(record).is_none_or(|target| {
                    let target = message::text_of(target);
                    !self.policy.permits(waiter.class, &target).is_empty()
                })
            });
        }
        let mut grant = None;
        if !addresses.is_empty() {
            let with = (&*self.policy, &self.settings);
            let who = (waiter.class, device);
            let granted = self.ledger.answer(now_ms, with, who, &name, &addresses);
            if let Some(max) = granted.full {
                self.tell(now_ms, Finding::TooManyNames { max }, out);
                left_out.extend(addresses.iter().map(|(ip, _)| *ip));
            }
            if !granted.over.is_empty() {
                let max = self.settings.addresses_max;
                self.tell(now_ms, Finding::TooManyAddresses { name: name.clone(), max }, out);
            }
            left_out.extend(granted.over);
            grant = granted.grant;
        }
        // What is not in force is not in the answer either.
        records.retain(|r| message::address(r).is_none_or(|ip| !left_out.contains(&ip)));
        for record in &mut records {
            if record.name.eq_ignore_root(query.name()) {
                record.name = query.name().clone();
            }
        }
        let question = &waiter.question;
        let bytes = if grant.is_none() && !left_out.is_empty() {
            question.fail(ResponseCode::ServFail)
        } else {
            let authorities = answer.authorities.iter().map(|r| answer.aged(r, now_ms)).collect();
            question.reply(answer.code, records, authorities, waiter.to.tcp)
        };
        match grant {
            None => {
                self.done(&waiter);
                out.push(Action::Reply { to: waiter.to, bytes });
            }
            Some(grant) => {
                let release = self.fresh();
                let deadline_ms = now_ms.saturating_add(self.settings.enforce_ms);
                self.releases.insert(release, Release { waiter, name, bytes, deadline_ms });
                out.push(Action::PutInForce { release: Some(release), grant });
            }
        }
    }

    fn inwards(&self, ip: IpAddr) -> bool {
        points_inwards(ip)
            || self.policy.is_member(ip)
            || self.settings.site.iter().any(|(net, prefix)| holds(*net, *prefix, ip))
    }

    /// A question is answered.
    fn done(&mut self, waiter: &Waiter) {
        self.open = self.open.saturating_sub(1);
        let device = waiter.to.peer.ip().to_canonical();
        if let Some(of) = self.open_of.get_mut(&device) {
            *of = of.saturating_sub(1);
            if *of == 0 {
                self.open_of.remove(&device);
            }
        }
    }

    fn within_rate(&mut self, now_ms: u64, device: IpAddr) -> bool {
        let full = u64::from(self.settings.burst).saturating_mul(1_000);
        let bucket = self.buckets.entry(device).or_insert(Bucket { tokens: full, at_ms: now_ms });
        let gained =
            now_ms.saturating_sub(bucket.at_ms).saturating_mul(u64::from(self.settings.rate_per_s));
        bucket.at_ms = now_ms;
        bucket.tokens = bucket.tokens.saturating_add(gained).min(full);
        match bucket.tokens.checked_sub(1_000) {
            Some(rest) => {
                bucket.tokens = rest;
                true
            }
            None => false,
        }
    }

    fn tell(&mut self, now_ms: u64, finding: Finding, out: &mut Vec<Action>) {
        // Texts and addresses that change do not make a new subject.
        let subject = match &finding {
            Finding::UpstreamsDown { last, .. } => {
                Finding::UpstreamsDown { last: *last, why: String::new() }
            }
            Finding::NotInForce { .. } => {
                Finding::NotInForce { name: String::new(), why: String::new() }
            }
            other => other.clone(),
        };
        let again =
            self.told.get(&subject).is_none_or(|at| now_ms.saturating_sub(*at) >= TELL_AGAIN_MS);
        if !again {
            return;
        }
        if self.told.len() >= TOLD_MAX {
            self.told.clear();
        }
        self.told.insert(subject, now_ms);
        out.push(Action::Tell(Event::Finding(finding)));
    }

    fn fresh(&mut self) -> u64 {
        self.number = self.number.wrapping_add(1);
        self.number
    }
}

fn reply_failure(waiter: &Waiter, out: &mut Vec<Action>) {
    let bytes = waiter.question.fail(ResponseCode::ServFail);
    out.push(Action::Reply { to: waiter.to, bytes });
}

/// A name in a random spelling: a guess has to hit it too (draft-vixie-dnsext-dns0x20).
fn respelled(name: &Name, random: &mut StdRng) -> Name {
    let labels = name.iter().map(|label| {
        let respell = |byte: &u8| match byte.is_ascii_alphabetic() && random.next_u32() & 1 == 1 {
            true => *byte ^ 0x20,
            false => *byte,
        };
        label.iter().map(respell).collect::<Vec<u8>>()
    });
    let labels: Vec<Vec<u8>> = labels.collect();
    let respelled = Name::from_labels(labels.iter().map(Vec::as_slice));
    respelled.unwrap_or_else(|_| name.clone())
}

fn holds(net: IpAddr, prefix: u8, ip: IpAddr) -> bool {
    let same = |a: u128, b: u128, width: u32| {
        let shift = width.saturating_sub(u32::from(prefix));
        a.checked_shr(shift).unwrap_or(0) == b.checked_shr(shift).unwrap_or(0)
    };
    match (net, ip) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
