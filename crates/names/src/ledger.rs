//! Which names are alive, whose answers they are, and until when each path stays open.
//!
//! The kernel knows paths only: several names may share one. So a path's life is the longest that any
//! of its names has, and an answer never shortens what another one opened.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use model::observation::Transport;
use model::ruleset::{ClassId, NamePermit};

use crate::policy::Policy;
use crate::settings::Settings;

/// Paths to put in force before an answer is released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Source class.
    pub class: ClassId,
    /// Name that was asked for, lower case, without the last dot.
    pub name: String,
    /// What to open.
    pub openings: Vec<Opening>,
}

/// One path of a class, for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Destination.
    pub address: IpAddr,
    /// The permit it comes from: its transport and ports, its rule.
    pub permit: Arc<NamePermit>,
    /// Seconds from now until it closes by itself: never less than what was asked for before.
    pub timeout_s: u32,
}

/// A device's hold on a name, for the file of live names and for a new policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Live {
    /// Name.
    pub name: String,
    /// Addresses and the milliseconds each has left.
    pub addresses: Vec<(IpAddr, u64)>,
    /// Devices that hold an answer, and for how many milliseconds.
    pub askers: Vec<(IpAddr, u64)>,
}

/// What an answer leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) grant: Option<Grant>,
    /// Addresses that the cap of the name leaves out.
    pub(crate) over: BTreeSet<IpAddr>,
    /// Nothing was opened: a bound of the site was reached.
    pub(crate) full: Option<usize>,
}

type Path = (ClassId, IpAddr, Transport, u16, u16);

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    open: HashMap<Path, u64>,
    names: BTreeMap<String, Held>,
}

#[derive(Debug, Default)]
struct Held {
    addresses: BTreeMap<IpAddr, u64>,
    askers: BTreeMap<IpAddr, u64>,
}

impl Ledger {
    /// A device is about to get `addresses` (with the seconds each lives) as an answer for `name`.
    pub(crate) fn answer(
        &mut self,
        now_ms: u64,
        (policy, settings): (&Policy, &Settings),
        (class, asker): (ClassId, IpAddr),
        name: &str,
        addresses: &[(IpAddr, u32)],
    ) -> Granted {
        if self.names.len() >= settings.names_max && !self.names.contains_key(name) {
            self.expire(now_ms);
            if self.names.len() >= settings.names_max {
                return Granted { full: Some(settings.names_max), ..Granted::default() };
            }
        }
        if self.open.len().saturating_add(addresses.len()) > settings.paths_max {
            self.expire(now_ms);
            if self.open.len().saturating_add(addresses.len()) > settings.paths_max {
                return Granted { full: Some(settings.paths_max), ..Granted::default() };
            }
        }
        let held = self.names.entry(name.to_owned()).or_default();
        held.addresses.retain(|_, until| *until > now_ms);
        let mut over = BTreeSet::new();
        let mut lives = BTreeMap::new();
        for (address, ttl_s) in addresses {
            let life_s = (*ttl_s).clamp(settings.floor_s, settings.ttl_max_s.max(settings.floor_s));
            let life_ms = u64::from(life_s).saturating_add(u64::from(settings.grace_s)) * 1_000;
            let until = now_ms.saturating_add(life_ms);
            let known = held.addresses.contains_key(address);
            if !known && held.addresses.len() >= settings.addresses_max {
                over.insert(*address);
                continue;
            }
            let end = held.addresses.entry(*address).or_default();
            *end = until.max(*end);
            let end = held.askers.entry(asker).or_default();
            *end = until.max(*end);
            lives.insert(*address, until);
        }
        if held.addresses.is_empty() {
            self.names.remove(name);
        }
        let grant = (!lives.is_empty()).then(|| self.grant(now_ms, policy, class, name, &lives));
        Granted { grant, over, full: None }
    }

    /// All that is alive, as paths under a policy: for a new generation, and after a restart.
    pub(crate) fn under(&mut self, now_ms: u64, policy: &Policy) -> Vec<Grant> {
        self.expire(now_ms);
        self.open.clear();
        let mut grants = Vec::new();
        let mut wanted: BTreeMap<(String, ClassId), BTreeMap<IpAddr, u64>> = BTreeMap::new();
        for (name, held) in &self.names {
            let mut classes: BTreeMap<ClassId, u64> = BTreeMap::new();
            for (asker, until) in &held.askers {
                if let Some(class) = policy.class_of(*asker) {
                    let end = classes.entry(class).or_default();
                    *end = (*until).max(*end);
                }
            }
            for (class, until) in classes {
                if policy.permits(class, name).is_empty() {
                    continue;
                }
                let lives = held.addresses.iter().map(|(ip, end)| (*ip, (*end).min(until)));
                wanted.insert((name.clone(), class), lives.collect());
            }
        }
        for ((name, class), lives) in wanted {
            grants.push(self.grant(now_ms, policy, class, &name, &lives));
        }
        grants
    }

    /// What is alive.
    pub(crate) fn live(&self, now_ms: u64) -> Vec<Live> {
        let left = |ends: &BTreeMap<IpAddr, u64>| {
            let living = ends.iter().filter(|(_, until)| **until > now_ms);
            living.map(|(ip, until)| (*ip, until.saturating_sub(now_ms))).collect::<Vec<_>>()
        };
        let all = self.names.iter().map(|(name, held)| Live {
            name: name.clone(),
            addresses: left(&held.addresses),
            askers: left(&held.askers),
        });
        all.filter(|live| !live.addresses.is_empty() && !live.askers.is_empty()).collect()
    }

    /// Takes up what was alive before a restart, within the bounds.
    pub(crate) fn restore(&mut self, now_ms: u64, settings: &Settings, live: Vec<Live>) {
        for one in live.into_iter().take(settings.names_max) {
            let ends = |left: Vec<(IpAddr, u64)>, max: usize| {
                let left = left.into_iter().take(max);
                let longest = u64::from(settings.ttl_max_s.max(settings.floor_s))
                    .saturating_add(u64::from(settings.grace_s))
                    * 1_000;
                left.map(|(ip, ms)| (ip, now_ms.saturating_add(ms.min(longest)))).collect()
            };
            let addresses = ends(one.addresses, settings.addresses_max);
            let held = Held { addresses, askers: ends(one.askers, usize::MAX) };
            self.names.insert(one.name, held);
        }
    }

    /// Forgets what is over.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        self.open.retain(|_, until| *until > now_ms);
        self.names.retain(|_, held| {
            held.addresses.retain(|_, until| *until > now_ms);
            held.askers.retain(|_, until| *until > now_ms);
            !held.addresses.is_empty() && !held.askers.is_empty()
        });
    }

    /// Names and paths alive, or not yet looked at.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.names.len(), self.open.len())
    }

    fn grant(
        &mut self,
        now_ms: u64,
        policy: &Policy,
        class: ClassId,
        name: &str,
        lives: &BTreeMap<IpAddr, u64>,
    ) -> Grant {
        let mut openings = Vec::new();
        for permit in policy.permits(class, name) {
            for (address, until) in lives {
                let ports = (permit.first_port, permit.last_port);
                let path = (class, *address, permit.transport, ports.0, ports.1);
                let end = self.open.entry(path).or_default();
                *end = (*until).max(*end);
                let left_s = end.saturating_sub(now_ms).div_ceil(1_000);
                openings.push(Opening {
                    address: *address,
                    permit: Arc::clone(permit),
                    timeout_s: u32::try_from(left_s).unwrap_or(u32::MAX),
                });
            }
        }
        Grant { class, name: name.to_owned(), openings }
    }
}
