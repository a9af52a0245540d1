//! Decisions: may this device do this to this service, now?
//!
//! Policies are compiled once over an estate and asked many times. What can be known before a question
//! is asked is worked out then:
//!
//! * scopes, and every part of a condition that looks at the device alone or at the service alone, become
//!   one bit a policy in the row of that device or service (alike ones share a row);
//! * a decision intersects three rows (device, service, action) and runs, for the few policies that are
//!   left, the code of what looks at both, or at the moment. Forbids come first and win.
//!
//! What the code cannot say is valid Cedar all the same: those policies run on Cedar's own authorizer, for
//! as many questions as their scope lets through, and [`Decider::on_cedar`] lists them.

mod bits;
mod code;
mod columns;
mod groups;
mod matrix;
mod parts;
mod reads;

use std::ops::Range;

use model::observation::Transport;

use rustc_hash::FxHashMap;

use crate::cedar::Aside;
use crate::folder::{Folder, Weekday};
use crate::language::{Binary, Effect, Expr, Policy};
use crate::lower::{index, small};
use crate::moment::Moment;
use bits::Rows;
use code::{Code, Frame, Looks};
use columns::Columns;
use groups::Groups;
pub use groups::seen_by_others;
pub use matrix::Matrix;
pub(crate) use parts::{Parts, plain};
use reads::Reads;

/// Actions of the schema, in the order of [`Action::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Open a path.
    Connect,
    /// Publish to a topic.
    Publish,
    /// Subscribe to a topic.
    Subscribe,
    /// Read a value.
    Read,
    /// Write a value, operate.
    Command,
    /// Install firmware.
    Update,
    /// Ask for an identity.
    Enrol,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Publish,
        Self::Subscribe,
        Self::Read,
        Self::Command,
        Self::Update,
        Self::Enrol,
    ];

    /// Its word in policies.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Read => "read",
            Self::Command => "command",
            Self::Update => "update",
            Self::Enrol => "enrol",
        }
    }

    fn number(self) -> u32 {
        small(Self::ALL.iter().position(|a| *a == self).unwrap_or(0))
    }
}

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Index of the device in the estate.
    pub device: usize,
    /// Index of the service in the estate.
    pub service: usize,
    /// What it wants to do.
    pub action: Action,
    /// Transport of the path.
    pub transport: Transport,
    /// Its port, ICMP type, protocol number or EtherType.
    pub port: u16,
    /// When.
    pub moment: Moment,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Allowed.
    pub allowed: bool,
    /// Index of the policy that decided; none for a denial by default.
    pub policy: Option<usize>,
}

/// Which policies are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Those in force, each for the devices of its share.
    Today,
    /// All of them, as if nothing were in shadow.
    Candidate,
}

/// A policy that runs on Cedar.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OnCedar {
    /// Policy id.
    pub policy: String,
    /// File and line.
    pub place: String,
    /// What the compiled form cannot say.
    pub why: String,
}

/// Compiled policies over an estate.
#[derive(Debug)]
pub struct Decider<'f> {
    folder: &'f Folder,
    columns: Columns,
    code: Code,
    policies: Vec<Compiled>,
    /// Where a policy of the folder (by its index) is among them.
    position: FxHashMap<usize, usize>,
    /// So many of them, from the first, are forbids.
    forbids: u32,
    pub(crate) devices: Groups,
    pub(crate) services: Groups,
    principals: Rows,
    resources: Rows,
    actions: Rows,
    principal_rows: Vec<u32>,
    resource_rows: Vec<u32>,
    transports: [u32; 5],
    weekdays: [u32; 7],
    aside: Option<Aside>,
}

#[derive(Debug)]
struct Compiled {
    /// Index in the folder.
    policy: usize,
    /// What must be so about device and service together, or about the moment.
    left: Vec<Left>,
    /// What that reads of the device.
    reads: Reads,
    on_cedar: Option<String>,
    /// Groups its device side and its service side let through.
    devices: Vec<u32>,
    services: Vec<u32>,
}

/// A part of a condition that rows do not decide.
#[derive(Debug)]
struct Left {
    at: Range<u32>,
    /// What it has to be.
    want: bool,
    /// It looks at the path or the moment.
    context: bool,
}

/// Every transport, in the order of `transports`.
const TRANSPORTS: [Transport; 5] =
    [Transport::Tcp, Transport::Udp, Transport::Icmp, Transport::Ip, Transport::Link];

impl<'f> Decider<'f> {
    /// Compiles the policies of a folder.
    pub fn new(folder: &'f Folder, view: View) -> Self {
        let mut columns = Columns::of(folder);
        let transports = TRANSPORTS.map(|t| columns.texts.number(t.word()));
        let weekdays = Weekday::ALL.map(|day| columns.texts.number(day.word()));
        let in_view: Vec<(usize, &Policy)> = folder
            .policies
            .iter()
            .enumerate()
            .filter(|(_, p)| view == View::Candidate || p.mode() == model::ruleset::Mode::Enforce)
            .collect();
        let of = |effect| in_view.iter().copied().filter(move |(_, p)| p.effect == effect);
        let ordered: Vec<(usize, &Policy)> = of(Effect::Forbid).chain(of(Effect::Permit)).collect();
        let shares: Vec<u8> = match view {
            View::Today => ordered.iter().filter_map(|(_, p)| p.share()).collect(),
            View::Candidate => Vec::new(),
        };
        let devices = groups::devices(folder, &columns, &shares);
        let services = groups::services(folder, &columns);
        let mut decider = Self {
            folder,
            code: Code::default(),
            policies: Vec::new(),
            position: ordered.iter().enumerate().map(|(at, (number, _))| (*number, at)).collect(),
            forbids: small(of(Effect::Forbid).count()),
            principals: Rows::new(ordered.len()),
            resources: Rows::new(ordered.len()),
            actions: Rows::new(ordered.len()),
            principal_rows: Vec::new(),
            resource_rows: Vec::new(),
            columns,
            devices,
            services,
            transports,
            weekdays,
            aside: None,
        };
        for (number, policy) in &ordered {
            let compiled = decider.compile(*number, policy, view);
            decider.policies.push(compiled);
        }
        decider.fill_rows(&ordered);
        if decider.policies.iter().any(|p| p.on_cedar.is_some()) {
            let aside = decider.policies.iter().filter(|p| p.on_cedar.is_some()).map(|p| p.policy);
            decider.aside = Aside::new(folder, aside);
        }
        decider
    }

    /// Policies that run on Cedar's authorizer, because the compiled form cannot say what they say.
    pub fn on_cedar(&self) -> Vec<OnCedar> {
        let told = |compiled: &Compiled| {
            let policy = self.folder.policies.get(compiled.policy)?;
            Some(OnCedar {
                policy: policy.id.clone(),
                place: format!("{}:{}", policy.file, policy.line),
                why: compiled.on_cedar.clone()?,
            })
        };
        let mut all: Vec<OnCedar> = self.policies.iter().filter_map(told).collect();
        all.sort();
        all
    }

    /// Decides. A device or service that the estate does not have is denied.
    #[inline]
    pub fn decide(&self, ask: &Ask) -> Decision {
        let row = |groups: &Groups, rows: &[u32], item: usize| {
            groups.of.get(item).and_then(|group| rows.get(index(*group))).copied()
        };
        let principal = row(&self.devices, &self.principal_rows, ask.device);
        let resource = row(&self.services, &self.resource_rows, ask.service);
        let (Some(principal), Some(resource)) = (principal, resource) else {
            return Decision { allowed: false, policy: None };
        };
        let rows = [
            (&self.principals, principal),
            (&self.resources, resource),
            (&self.actions, ask.action.number()),
        ];
        let mut frame = None;
        let decided = Rows::first(rows, |position| {
            let Some(compiled) = self.policies.get(index(position)) else {
                return false;
            };
            if compiled.left.is_empty() && compiled.on_cedar.is_none() {
                return true;
            }
            self.holds(compiled, frame.get_or_insert_with(|| self.frame(ask)), ask)
        });
        Decision {
            allowed: decided.is_some_and(|position| position >= self.forbids),
            policy: decided.and_then(|p| self.policies.get(index(p))).map(|p| p.policy),
        }
    }

    /// The forbid (by index in the folder) that denies, whatever is permitted.
    pub fn forbidding(&self, ask: &Ask) -> Option<usize> {
        let decision = self.decide(ask);
        let policy = decision.policy.filter(|_| !decision.allowed)?;
        let forbids = self.folder.policies.get(policy)?.effect == Effect::Forbid;
        forbids.then_some(policy)
    }

    /// Groups of devices and of services between which each permit for `action` may grant, with the index
    /// of the policy and whether that is all there is to it; else [`Self::applies`] has the last word.
    pub(crate) fn permits(
        &self,
        action: Action,
    ) -> impl Iterator<Item = (usize, &[u32], &[u32], bool)> {
        let permits = self.policies.iter().skip(index(self.forbids));
        permits.filter(move |p| self.concerns(p.policy, action)).map(|p| {
            let plain = p.left.is_empty() && p.on_cedar.is_none();
            (p.policy, p.devices.as_slice(), p.services.as_slice(), plain)
        })
    }

    fn concerns(&self, policy: usize, action: Action) -> bool {
        self.folder.policies.get(policy).is_some_and(|p| p.names_action(action.word()))
    }

    /// One policy (by index in the folder) applies, its scope taken for granted.
    pub(crate) fn applies(&self, policy: usize, ask: &Ask) -> bool {
        let compiled = self.position.get(&policy).and_then(|at| self.policies.get(*at));
        compiled.is_some_and(|compiled| self.holds(compiled, &self.frame(ask), ask))
    }

    fn holds(&self, compiled: &Compiled, frame: &Frame<'_>, ask: &Ask) -> bool {
        compiled.left.iter().all(|left| self.code.run(&left.at, frame) == Some(left.want))
            && (compiled.on_cedar.is_none() || self.holds_on_cedar(compiled, frame, ask))
    }

    /// When Cedar cannot be asked, a forbid holds and a permit does not.
    fn holds_on_cedar(&self, compiled: &Compiled, frame: &Frame<'_>, ask: &Ask) -> bool {
        let ask_cedar =
            |aside: &Aside| aside.applies(self.folder, compiled.policy, ask, frame.maintenance);
        self.aside.as_ref().and_then(ask_cedar).unwrap_or_else(|| {
            let policy = self.folder.policies.get(compiled.policy);
            policy.is_none_or(|p| p.effect == Effect::Forbid)
        })
    }

    fn frame(&self, ask: &Ask) -> Frame<'_> {
        let transport = TRANSPORTS.iter().position(|t| *t == ask.transport).unwrap_or(0);
        let day = |day: Weekday| Weekday::ALL.iter().position(|d| *d == day);
        let site = self.columns.site_of_device(ask.device);
        Frame {
            columns: &self.columns,
            device: small(ask.device),
            service: small(ask.service),
            protocol: self.transports.get(transport).copied().unwrap_or(0),
            port: ask.port,
            hour: ask.moment.hour,
            weekday: ask.moment.weekday.and_then(day).and_then(|d| self.weekdays.get(d)).copied(),
            maintenance: ask.moment.maintenance(&self.folder.estate.maintenance, site),
        }
    }

    fn compile(&mut self, number: usize, policy: &Policy, view: View) -> Compiled {
        let mut compiled = Compiled {
            policy: number,
            left: Vec::new(),
            reads: Reads::default(),
            on_cedar: policy.on_cedar.as_ref().map(|c| c.why.clone()),
            devices: self.devices.matching(&policy.principal, "Device", &mut self.columns),
            services: self.services.matching(&policy.resource, "Service", &mut self.columns),
        };
        let mut parts = Vec::new();
        for condition in &policy.conditions {
            split(&condition.body, !condition.unless, &mut parts);
        }
        for (expr, want) in parts {
            let looks = Looks::at(expr);
            let at = match self.code.add(expr, &mut self.columns) {
                Ok(at) => at,
                Err(why) => {
                    compiled.on_cedar.get_or_insert(why);
                    continue;
                }
            };
            match (looks.principal, looks.resource, looks.context) {
                (_, false, false) => {
                    let groups = std::mem::take(&mut compiled.devices);
                    compiled.devices = self.filter(groups, &at, want, true);
                }
                (false, true, false) => {
                    let groups = std::mem::take(&mut compiled.services);
                    compiled.services = self.filter(groups, &at, want, false);
                }
                _ => {
                    compiled.reads.add(expr);
                    compiled.left.push(Left { at, want, context: looks.context });
                }
            }
        }
        if let (View::Today, Some(share)) = (view, policy.share()) {
            compiled.devices.retain(|group| {
                let first =
                    self.devices.first(*group).and_then(|d| self.folder.estate.devices.get(d));
                first.is_some_and(|device| crate::share::holds(device.id.as_str(), share))
            });
        }
        compiled
    }

    /// Groups whose members the condition holds for.
    fn filter(&self, groups: Vec<u32>, at: &Range<u32>, want: bool, devices: bool) -> Vec<u32> {
        let holds = |group: &u32| {
            let of = if devices { &self.devices } else { &self.services };
            let first = of.first(*group).map_or(u32::MAX, small);
            let frame = Frame {
                columns: &self.columns,
                device: if devices { first } else { u32::MAX },
                service: if devices { u32::MAX } else { first },
                protocol: 0,
                port: 0,
                hour: None,
                weekday: None,
                maintenance: None,
            };
            self.code.run(at, &frame) == Some(want)
        };
        groups.into_iter().filter(holds).collect()
    }

    fn fill_rows(&mut self, ordered: &[(usize, &Policy)]) {
        let mut of_devices: Vec<Vec<u32>> = vec![Vec::new(); self.devices.len()];
        let mut of_services: Vec<Vec<u32>> = vec![Vec::new(); self.services.len()];
        for (position, compiled) in self.policies.iter().enumerate() {
            for (lists, groups) in
                [(&mut of_devices, &compiled.devices), (&mut of_services, &compiled.services)]
            {
                for group in groups {
                    if let Some(list) = lists.get_mut(index(*group)) {
                        list.push(small(position));
                    }
                }
            }
        }
        self.principal_rows = interned(of_devices, &mut self.principals);
        self.resource_rows = interned(of_services, &mut self.resources);
        for action in Action::ALL {
            let positions =
                ordered.iter().enumerate().filter(|(_, (_, p))| p.names_action(action.word()));
            let row: Vec<u32> = positions.map(|(i, _)| small(i)).collect();
            self.actions.push(&row);
        }
    }
}

/// One row for equal lists; the row of each list.
fn interned(lists: Vec<Vec<u32>>, rows: &mut Rows) -> Vec<u32> {
    let mut known: FxHashMap<Vec<u32>, u32> = FxHashMap::default();
    lists
        .into_iter()
        .map(|list| {
            let next = small(known.len());
            *known.entry(list).or_insert_with_key(|list| {
                rows.push(list);
                next
            })
        })
        .collect()
}

/// Parts that must each be `want`, for the whole to be: conjuncts, or disjuncts that must all fail. Cedar
/// skips a policy whose condition errs, so the order of parts does not matter.
fn split<'e>(expr: &'e Expr, want: bool, parts: &mut Vec<(&'e Expr, bool)>) {
    match (expr, want) {
        (Expr::Binary(Binary::And, a, b), true) | (Expr::Binary(Binary::Or, a, b), false) => {
            split(a, want, parts);
            split(b, want, parts);
        }
        (Expr::Not(e), _) => split(e, !want, parts),
        _ => parts.push((expr, want)),
    }
}
