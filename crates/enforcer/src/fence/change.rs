//! Changes that move elements only: devices, exceptions, single permits, addresses of names.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use model::ruleset::{ClassId, Member, NamePermit, Ruleset};

use super::{Applied, Fence, Memory, Session};
use crate::EnforceError;
use crate::netlink::{Batch, NetlinkError, Socket};
use crate::nft::SUBSYSTEM;
use crate::nft::held;
use crate::nft::write::Target;
use crate::plan::elements::{Change as Differs, Element, Elements, Value};
use crate::plan::key::Key;
use crate::plan::{self, Marker, Plan, Set, Tag, sets};
use crate::verify::{Difference, Verified};

/// An element with its own memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owned {
    key: Vec<u8>,
    value: OwnedValue,
    timeout_s: Option<u32>,
    comment: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum OwnedValue {
    None,
    Mark(u32),
    Goto(String),
}

impl Owned {
    fn of(element: &Element<'_>) -> Self {
        Self {
            key: element.key.to_vec(),
            value: match element.value {
                Value::None => OwnedValue::None,
                Value::Mark(mark) => OwnedValue::Mark(mark),
                Value::Goto(chain) => OwnedValue::Goto(chain.to_owned()),
            },
            timeout_s: element.timeout_s,
            comment: element.comment.to_owned(),
        }
    }

    fn borrowed(&self) -> Element<'_> {
        Element {
            key: &self.key,
            end: None,
            value: match &self.value {
                OwnedValue::None => Value::None,
                OwnedValue::Mark(mark) => Value::Mark(*mark),
                OwnedValue::Goto(chain) => Value::Goto(chain),
            },
            timeout_s: self.timeout_s,
            comment: &self.comment,
        }
    }
}

/// Elements to take away and to add, by family and set.
#[derive(Debug, Default)]
pub(super) struct Delta {
    changes: Vec<(&'static str, String, Vec<Owned>, Vec<Owned>)>,
}

/// More changed elements than this are a new generation.
const DELTA_MAX: usize = 50_000;
/// Exceptions that end this close to each other end together: both were rounded to seconds.
const TOLERANCE_S: f64 = 2.0;
/// Addresses that may change otherwise than by only coming or only going.
const MOVED_MAX: usize = 2;

impl Delta {
    /// What leads from `old` to `new`; `None` where more than elements of exact sets differ, or
    /// where a packet that is judged at that very moment could get a verdict which is neither
    /// generation's because it sees one element of each.
    pub(super) fn between(old: &Plan, new: &Plan) -> Option<Self> {
        if old.tables.len() != new.tables.len()
            || old.detours != new.detours
            || old.names != new.names
        {
            return None;
        }
        let elapsed = new.planned_at.seconds_since(old.planned_at);
        let mut delta = Self::default();
        let mut total = 0;
        let (mut come, mut gone) = (0usize, 0usize);
        let mut addresses: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut only_members = true;
        for (one, other) in old.tables.iter().zip(&new.tables) {
            let chains = |table: &plan::Table| -> Vec<plan::Chain> {
                let chains = table.chains.iter();
                chains.filter(|chain| Marker::parse(&chain.name).is_none()).cloned().collect()
            };
            if one.family != other.family
                || one.name != other.name
                || one.counters != other.counters
                || one.sets.len() != other.sets.len()
                || chains(one) != chains(other)
            {
                return None;
            }
            for (was, is) in one.sets.iter().zip(&other.sets) {
                if !same_definition(was, is) {
                    return None;
                }
                let (mut away, mut add) = (Vec::new(), Vec::new());
                let stamp = matches!(was.name.as_str(), "stamp" | "open");
                let member = was.name.starts_with("member") || was.name.starts_with(plan::BOUND);
                was.elements.difference(&is.elements, &mut |change| {
                    if was.timeout && !ends_otherwise(&change, elapsed) {
                        return;
                    }
                    let key = match change {
                        Differs::Gone(element) => {
                            gone += usize::from(!stamp);
                            away.push(Owned::of(&element));
                            element.key
                        }
                        Differs::New(element) => {
                            come += usize::from(!stamp);
                            add.push(Owned::of(&element));
                            element.key
                        }
                        Differs::Other(before, after) => {
                            if before.value != after.value {
                                come += usize::from(!stamp);
                                gone += usize::from(!stamp);
                            }
                            away.push(Owned::of(&before));
                            add.push(Owned::of(&after));
                            after.key
                        }
                    };
                    if member && addresses.len() <= MOVED_MAX {
                        // The network address stands last in the key of a pair.
                        let length = if was.name.ends_with('4') { 4 } else { 16 };
                        let begin = key.len().saturating_sub(length);
                        addresses.insert(key.get(begin..).unwrap_or_default().to_vec());
                    }
                    only_members &= member || stamp;
                });
                total += away.len() + add.len();
                let fixed = was.interval || matches!(was.name.as_str(), "source" | "origin");
                let changed = !away.is_empty() || !add.is_empty();
                if total > DELTA_MAX || (fixed && changed) {
                    return None;
                }
                if changed {
                    delta.changes.push((one.family, was.name.clone(), away, add));
                }
            }
        }
        let few = only_members && addresses.len() <= MOVED_MAX;
        (come == 0 || gone == 0 || few).then_some(delta)
    }

    fn push(&mut self, family: &'static str, set: &str, away: Option<Owned>, add: Option<Owned>) {
        let known = self.changes.iter().position(|(f, s, ..)| *f == family && s == set);
        let at = known.unwrap_or_else(|| {
            self.changes.push((family, set.to_owned(), Vec::new(), Vec::new()));
            self.changes.len() - 1
        });
        if let Some((_, _, gone, new)) = self.changes.get_mut(at) {
            gone.extend(away);
            new.extend(add);
        }
    }
}

fn same_definition(one: &Set, other: &Set) -> bool {
    let definition = |set: &Set| {
        let elements = Elements::default();
        Set { elements, key: set.key, name: set.name.clone(), ..*set }
    };
    definition(one) == definition(other)
}

/// An exception that was there before and has less time left because time passed is no change;
/// nor is one that ended by itself.
fn ends_otherwise(change: &Differs<'_>, elapsed_s: f64) -> bool {
    let left = |element: &Element<'_>| element.timeout_s.map_or(f64::MAX, f64::from);
    match change {
        Differs::New(_) => true,
        Differs::Gone(element) => left(element) > elapsed_s,
        Differs::Other(before, after) => {
            let same_rest = (before.value, before.comment) == (after.value, after.comment);
            let apart = left(before) - elapsed_s - left(after);
            !same_rest || apart.abs() > TOLERANCE_S
        }
    }
}

impl Session {
    /// Sends elements and the new marker in one transaction; how many elements.
    pub(super) fn send(
        &mut self,
        delta: &Delta,
        before: Marker,
        plan: &Plan,
    ) -> Result<usize, EnforceError> {
        let after = Marker { generation: plan.generation, tag: before.tag };
        for _ in 0..super::apply::TRIES {
            let id = held::generation_id(self.socket()?)?;
            let mut batch = Batch::new(SUBSYSTEM);
            let mut sent = 0;
            for table in &plan.tables {
                let target = Target { family: table.family, table: &table.name, tag: &before.tag };
                for (_, name, away, add) in
                    delta.changes.iter().filter(|(family, ..)| *family == table.family)
                {
                    let Some(set) = table.sets.iter().find(|set| set.name == *name) else {
                        continue;
                    };
                    sent += away.len() + add.len();
                    let mut put = |elements: &[Owned], add| {
                        let elements = elements.iter().map(Owned::borrowed);
                        target.elements(&mut batch, set, elements, add, |_| {
                            Ok::<(), EnforceError>(())
                        })
                    };
                    if set.timeout {
                        // It may have ended by itself: what is there is taken away.
                        put(away, true)?;
                    }
                    put(away, false)?;
                    put(add, true)?;
                }
                target.delete_chain(&mut batch, &before.to_string());
                let generation =
                    table.chains.iter().find(|chain| Marker::parse(&chain.name).is_some());
                if let Some(chain) = generation {
                    let chain = plan::Chain { name: after.to_string(), ..chain.clone() };
                    target.chain(&mut batch, &chain);
                }
            }
            match self.commit(&mut batch, Some(id)) {
                Err(EnforceError::Netlink(NetlinkError::Changed)) => {
                    let name = plan.tables.first().map_or("", |table| table.name.as_str());
                    if self.standing(name)?.marker != Some(before) {
                        return Err(not_ours("another generation is in force"));
                    }
                }
                other => return other.map(|()| sent),
            }
        }
        Err(EnforceError::Contended { tries: super::apply::TRIES })
    }
}

fn not_ours(in_force: &str) -> EnforceError {
    EnforceError::NotOurs { in_force: in_force.to_owned() }
}

impl Memory {
    /// The plan with all changes since.
    pub(super) fn patched(mut self) -> Plan {
        for table in &mut self.plan.tables {
            for set in &mut table.sets {
                let first = (table.family, set.name.clone(), Vec::new());
                let of_set = self.pending.range(first..);
                let of_set: BTreeMap<&[u8], &Option<Owned>> = of_set
                    .take_while(|((family, name, _), _)| {
                        *family == table.family && *name == set.name
                    })
                    .map(|((_, _, key), element)| (key.as_slice(), element))
                    .collect();
                if of_set.is_empty() {
                    continue;
                }
                let mut elements = set.elements.emptied();
                for element in set.elements.iter().filter(|e| !of_set.contains_key(e.key)) {
                    elements.push(element);
                }
                for element in of_set.values().filter_map(|element| element.as_ref()) {
                    elements.push(element.borrowed());
                }
                elements.sort(plan::comment_text);
                set.elements = elements;
            }
        }
        self.plan.generation = self.generation;
        self.plan
    }

    fn element(&self, family: &'static str, set: &str, key: &[u8]) -> Option<Owned> {
        match self.pending.get(&(family, set.to_owned(), key.to_vec())) {
            Some(pending) => pending.clone(),
            None => {
                let set = self.set(family, set)?;
                set.elements.get(key).map(|element| Owned::of(&element))
            }
        }
    }

    fn set(&self, family: &str, name: &str) -> Option<&Set> {
        let table = self.plan.tables.iter().find(|table| table.family == family)?;
        table.sets.iter().find(|set| set.name == name)
    }
}

/// A small change of who is where, on top of what is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The generation that the change makes; newer than the one in force.
    pub generation: u64,
    /// Device addresses that come, or that change their class.
    pub add: Vec<Member>,
    /// Device addresses that go.
    pub remove: Vec<Member>,
}

/// An address that a permitted DNS name resolved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameGrant<'a> {
    /// The permit, as the ruleset in force has it.
    pub permit: &'a NamePermit,
    /// The name that was asked for (a permit may name all below a name).
    pub name: &'a str,
    /// The address.
    pub ip: IpAddr,
    /// Seconds that it stays permitted, from now.
    pub timeout_s: u32,
}

impl Fence {
    /// Applies a change of some devices without compiling the whole ruleset again, and reads back
    /// that it is in force: marker, stamp and every changed element.
    ///
    /// Fails with [`EnforceError::NotOurs`] unless this process put in force, or verified, what is
    /// in force now.
    pub fn update(
        &self,
        change: &Change,
    ) -> Result<Result<Verified, Vec<Difference>>, EnforceError> {
        let _one_at_a_time = self.inner.applying.lock();
        let mut session = self.session()?;
        let before = session.standing(&self.inner.table)?.marker;
        let memory = session.remembered(before)?;
        let known = memory.generation;
        if change.generation <= known {
            return Err(EnforceError::Stale { offered: change.generation, in_force: known });
        }
        let delta = memory.delta(change);
        let frame = memory.frame(change.generation);
        let Some(before) = before else {
            return Err(not_ours("no fence is in force"));
        };
        session.send(&delta, before, &frame)?;
        if let Some(memory) = &mut session.memory {
            memory.remember(&delta);
            memory.generation = change.generation;
        }
        let after = Marker { generation: change.generation, tag: before.tag };
        crate::verify::changed_elements(session.socket()?, &frame, after, &delta.places())
    }

    /// Takes away every right of these device addresses, in one transaction: what they send is a
    /// stranger's, and their addresses are nobody's. Their open flows end when their next packet
    /// is judged; connections that are tracked must be cut besides.
    ///
    /// Works on what is in force, whoever put it there; the next ruleset is applied whole.
    pub fn revoke(&self, members: &[Member]) -> Result<Applied, EnforceError> {
        let mut session = self.session()?;
        let table = &self.inner.table;
        for _ in 0..super::apply::TRIES {
            let id = held::generation_id(session.socket()?)?;
            let Some(marker) = session.standing(table)?.marker else {
                return Err(not_ours("no fence is in force"));
            };
            session.memory = None;
            let mut batch = Batch::new(SUBSYSTEM);
            let mut sent = 0;
            for family in super::FAMILIES {
                if held::table(session.socket()?, family, table)?.is_none() {
                    continue;
                }
                let chains = held::chains(session.socket()?, family, table)?;
                if super::marker(chains.keys()).is_none() {
                    continue;
                }
                sent += revocations(
                    session.socket()?,
                    &mut batch,
                    &Target { family, table, tag: &marker.tag },
                    members,
                )?;
            }
            match session.commit(&mut batch, Some(id)) {
                Err(EnforceError::Netlink(NetlinkError::Changed)) => {}
                other => {
                    return other.map(|()| Applied {
                        generation: marker.generation,
                        replaced: Some(marker.generation),
                        elements: 0,
                        sent,
                        unsupported: Vec::new(),
                        owned: false,
                    });
                }
            }
        }
        Err(EnforceError::Contended { tries: super::apply::TRIES })
    }

    /// Puts addresses of names in force, each for its time; one that is in force already gets its
    /// time anew. Returns when the kernel has acknowledged all of them, with the number of
    /// elements. For a site's resolver: call it before the answer goes to the device.
    ///
    /// Fails with [`EnforceError::NotOurs`] unless this process put in force, or verified, what is
    /// in force now.
    pub fn name_answer(&self, grants: &[NameGrant<'_>]) -> Result<usize, EnforceError> {
        let mut session = self.session()?;
        let Some(memory) = &session.memory else {
            return Err(not_ours("an unknown ruleset is in force"));
        };
        let mut by_set: BTreeMap<String, BTreeMap<Vec<u8>, Owned>> = BTreeMap::new();
        for grant in grants {
            let chain = memory.plan.detours.of_name(grant.permit);
            let known = memory.plan.names.contains(grant.permit);
            let Some(chain) = chain.filter(|_| known) else {
                let (rule, name) = (grant.permit.rule.clone(), grant.permit.name.clone());
                return Err(EnforceError::NoSuchName { rule, name });
            };
            for (set, element) in name_elements(grant, &chain) {
                by_set.entry(set).or_default().insert(element.key.clone(), element);
            }
        }
        let mut batch = Batch::new(SUBSYSTEM);
        let mut sent = 0;
        let table = &self.inner.table;
        let target = Target { family: "inet", table, tag: &memory.plan.tag };
        for (name, elements) in &by_set {
            let Some(set) = memory.set("inet", name) else {
                continue;
            };
            sent += elements.len();
            let elements = elements.values().map(Owned::borrowed);
            target.elements(&mut batch, set, elements, true, |_| Ok::<(), EnforceError>(()))?;
        }
        session.commit(&mut batch, None)?;
        Ok(sent)
    }
}

impl Session {
    fn remembered(&self, in_force: Option<Marker>) -> Result<&Memory, EnforceError> {
        let words = in_force.map_or("no fence is in force".to_owned(), |marker| {
            format!("generation {} is in force", marker.generation)
        });
        let ours = |memory: &&Memory| {
            let known = Marker { generation: memory.generation, tag: memory.plan.tag };
            in_force == Some(known)
        };
        self.memory.as_ref().filter(ours).ok_or(EnforceError::NotOurs { in_force: words })
    }
}

impl Memory {
    fn delta(&self, change: &Change) -> Delta {
        let mut delta = Delta::default();
        let low = u32::try_from(change.generation & 0xffff_ffff).unwrap_or(1);
        let stamp = if low == 0 { u32::MAX } else { low };
        for family in [2u8, 10] {
            let key = Key::new().byte(family);
            let add = plain(&key, Value::Mark(stamp), "");
            self.replace(&mut delta, "inet", "stamp", &key, Some(add));
        }
        let old = if self.generation & 0xffff_ffff == 0 {
            u32::MAX
        } else {
            u32::try_from(self.generation & 0xffff_ffff).unwrap_or(1)
        };
        let key = Key::new().mark(old);
        self.replace(&mut delta, "inet", "open", &key, None);
        let key = Key::new().mark(stamp);
        self.replace(&mut delta, "inet", "open", &key, Some(plain(&key, Value::None, "")));
        for (members, add) in [(&change.remove, false), (&change.add, true)] {
            for member in members {
                let pair = Key::new().mac(member.mac).ip(member.ip);
                let end = if member.ip.is_ipv4() { "4" } else { "6" };
                let device = plan::comment_text(member.device.as_str());
                let bound = add.then(|| plain(&pair, Value::None, &device));
                let (set, class) = (format!("{}{end}", plan::BOUND), format!("member{end}"));
                self.replace(&mut delta, "inet", &set, &pair, bound.clone());
                if member.ip.is_ipv4() && self.set("bridge", &set).is_some() {
                    self.replace(&mut delta, "bridge", &set, &pair, bound);
                }
                let address = Key::new().ip(member.ip);
                let mark = add.then(|| plain(&address, Value::Mark(member.class.0), ""));
                self.replace(&mut delta, "inet", &class, &address, mark);
            }
        }
        delta
    }

    fn replace(
        &self,
        delta: &mut Delta,
        family: &'static str,
        set: &str,
        key: &Key,
        with: Option<Owned>,
    ) {
        let known = self.element(family, set, key.bytes());
        if known != with {
            delta.push(family, set, known, with);
        }
    }

    fn remember(&mut self, delta: &Delta) {
        for (family, set, away, add) in &delta.changes {
            for element in away {
                self.pending.insert((family, set.clone(), element.key.clone()), None);
            }
            for element in add {
                let key = (*family, set.clone(), element.key.clone());
                self.pending.insert(key, Some(element.clone()));
            }
        }
    }

    /// The plan without its elements, as `generation`.
    fn frame(&self, generation: u64) -> Plan {
        let tables = self.plan.tables.iter().map(|table| plan::Table {
            family: table.family,
            name: table.name.clone(),
            counters: Vec::new(),
            sets: table
                .sets
                .iter()
                .map(|set| Set { elements: set.elements.emptied(), name: set.name.clone(), ..*set })
                .collect(),
            chains: table
                .chains
                .iter()
                .filter(|chain| Marker::parse(&chain.name).is_some())
                .map(|chain| plan::Chain {
                    comment: format!("parent {}", self.generation),
                    ..chain.clone()
                })
                .collect(),
        });
        Plan {
            generation,
            parent: Some(self.generation),
            tables: tables.collect(),
            unsupported: Vec::new(),
            names: Vec::new(),
            detours: self.plan.detours.clone(),
            ..self.plan
        }
    }
}

impl Delta {
    /// Every changed key with what should be there now.
    fn places(&self) -> Vec<(&'static str, &str, &[u8], Option<Element<'_>>)> {
        let mut out = Vec::new();
        for (family, set, away, add) in &self.changes {
            let added: BTreeSet<&[u8]> = add.iter().map(|element| element.key.as_slice()).collect();
            let gone = away.iter().filter(|element| !added.contains(element.key.as_slice()));
            out.extend(gone.map(|e| (*family, set.as_str(), e.key.as_slice(), None)));
            let there = add.iter();
            out.extend(
                there.map(|e| (*family, set.as_str(), e.key.as_slice(), Some(e.borrowed()))),
            );
        }
        out
    }
}

fn plain(key: &Key, value: Value<'_>, comment: &str) -> Owned {
    let key = key.bytes();
    Owned::of(&Element { key, end: None, value, timeout_s: None, comment })
}

/// Deletes what binds `members` and makes their addresses nobody's, as far as the kernel has them.
fn revocations(
    socket: &mut Socket,
    batch: &mut Batch,
    target: &Target<'_>,
    members: &[Member],
) -> Result<usize, EnforceError> {
    let mut sent = 0;
    let held_sets = held::sets(socket, target.family, target.table)?;
    for family in &plan::FAMILIES {
        for (name, parts) in [(plan::BOUND, family.pair), ("member", family.address)] {
            let data = (name == "member").then_some(plan::Data::Mark);
            let mut set = Set::new(&family.named(name), parts, data);
            if !held_sets.contains_key(&target.tag.name(&set.name)) {
                continue;
            }
            let members = members.iter().filter(|member| member.ip.is_ipv4() == family.v4);
            let key = |member: &Member| match data {
                None => Key::new().mac(member.mac).ip(member.ip),
                Some(_) => Key::new().ip(member.ip),
            };
            let keys: BTreeSet<Key> = members.map(key).collect();
            let keys: Vec<&[u8]> = keys.iter().map(Key::bytes).collect();
            let full = target.tag.name(&set.name);
            let mut there = Vec::new();
            for some in keys.chunks(crate::verify::KEYS_AT_ONCE) {
                let found = held::lookup(socket, target.family, target.table, &full, some)?;
                there.extend(found.into_keys().map(|(key, _)| key));
            }
            sent += there.len();
            let value = if data.is_some() { Value::Mark(0) } else { Value::None };
            set.size = None;
            let elements = || {
                let element = |key| Element { key, end: None, value, timeout_s: None, comment: "" };
                there.iter().map(move |key| element(key.as_slice()))
            };
            let go_on = |_: &mut Batch| Ok::<(), EnforceError>(());
            target.elements(batch, &set, elements(), false, go_on)?;
            if data.is_some() {
                target.elements(batch, &set, elements(), true, go_on)?;
            }
        }
    }
    Ok(sent)
}

/// The elements that let a class reach an address for a name permit.
fn name_elements(grant: &NameGrant<'_>, chain: &str) -> Vec<(String, Owned)> {
    let permit = grant.permit;
    let (first, last) = (permit.first_port, permit.last_port);
    let end = if grant.ip.is_ipv4() { "4" } else { "6" };
    let comment = plan::comment_text(&format!("{} {}", grant.name, permit.rule));
    let element = |key: &Key| {
        let key = key.bytes();
        let timeout_s = Some(grant.timeout_s.max(1));
        Owned::of(&Element {
            key,
            end: None,
            value: Value::Goto(chain),
            timeout_s,
            comment: &comment,
        })
    };
    let mut out = Vec::new();
    for protocol in sets::protocols(permit.transport, first, last) {
        let key = Key::new().mark(permit.from.0).ip(grant.ip).byte(protocol);
        let ports = matches!(protocol, 6 | 17) && (first, last) != (0, u16::MAX);
        if !ports {
            out.push((format!("name_any{end}"), element(&key)));
        } else if last - first < sets::NAME_PORTS_MAX {
            let singles = (first..=last).map(|port| element(&key.clone().port(port)));
            out.extend(singles.map(|element| (format!("name{end}"), element)));
        }
    }
    out
}

/// Copies addresses of names that the new ruleset still permits from the old generation's maps,
/// with the time they have left.
pub(super) fn carried_names(
    socket: &mut Socket,
    batch: &mut Batch,
    plan: &Plan,
    ruleset: &Ruleset,
    old: Tag,
) -> Result<(), EnforceError> {
    let Some(table) = plan.tables.iter().find(|table| table.family == "inet") else {
        return Ok(());
    };
    let held_sets = held::sets(socket, "inet", &table.name)?;
    let target = Target { family: "inet", table: &table.name, tag: &plan.tag };
    for set in table.sets.iter().filter(|set| set.learned) {
        let full = old.name(&set.name);
        if !held_sets.contains_key(&full) {
            continue;
        }
        let known = held::elements(socket, "inet", &table.name, &full)?;
        let mut kept = Vec::new();
        for ((key, _), element) in known {
            let permit = ruleset.names.iter().find(|permit| still_permits(permit, &key, &element));
            let chain = permit.and_then(|permit| plan.detours.of_name(permit));
            let left = element.expires_ms.unwrap_or(0).div_ceil(1_000);
            if let (Some(chain), Ok(seconds)) = (chain, u32::try_from(left)) {
                kept.push(Owned {
                    key,
                    value: OwnedValue::Goto(chain),
                    timeout_s: Some(seconds.max(1)),
                    comment: element.comment,
                });
            }
        }
        let elements = kept.iter().map(Owned::borrowed);
        target.elements(batch, set, elements, true, |_| Ok::<(), EnforceError>(()))?;
    }
    Ok(())
}

/// `permit` covers an element of a name map: class, protocol, port, and the name in its comment.
fn still_permits(permit: &NamePermit, key: &[u8], element: &held::Element) -> bool {
    let name = element.comment.split(' ').next().unwrap_or_default();
    let covered = match permit.name.strip_prefix("*.") {
        Some(below) => name.strip_suffix(below).is_some_and(|front| front.ends_with('.')),
        None => name == permit.name,
    };
    let class = plan::key::mark(key);
    let address = if key.len() > 20 { 16 } else { 4 };
    let at = 4 + address;
    let protocol = key.get(at).copied().unwrap_or_default();
    let port = key.get(at + 4..at + 6).and_then(|port| port.first_chunk().copied());
    let (first, last) = (permit.first_port, permit.last_port);
    let ports = match port.map(u16::from_be_bytes) {
        Some(port) => (first..=last).contains(&port),
        None => !matches!(protocol, 6 | 17) || (first, last) == (0, u16::MAX),
    };
    covered
        && ClassId(class) == permit.from
        && sets::protocols(permit.transport, first, last).contains(&protocol)
        && ports
}
