//! Putting a ruleset in force: the new generation beside the old, one switch, the old one away.

use std::collections::BTreeMap;

use model::ruleset::Ruleset;

use super::change::{Delta, carried_names};
use super::{Applied, FAMILIES, Fence, Memory, OWNED, PERSISTENT, Session, marker, told};
use crate::EnforceError;
use crate::netlink::{Batch, NetlinkError};
use crate::nft::SUBSYSTEM;
use crate::nft::held::{self, Chain as HeldChain};
use crate::nft::write::Target;
use crate::plan::{Marker, Options, Ownership, Plan, Table, Tag};

/// How often a switch is tried again when others change rules at the same time.
pub(super) const TRIES: usize = 64;

/// Our tables in the kernel.
pub(super) struct Standing {
    /// Flags of each table that is there.
    tables: BTreeMap<&'static str, u32>,
    pub(super) marker: Option<Marker>,
    /// Of all chains, in force or not.
    tags: Vec<Tag>,
}

impl Fence {
    pub(super) fn put_in_force(
        &self,
        mut plan: Plan,
        ruleset: &Ruleset,
        options: &Options,
    ) -> Result<Applied, EnforceError> {
        let standing = self.session()?.standing(&self.inner.table)?;
        let replaced = standing.marker.map(|marker| marker.generation);
        if let Some(in_force) = replaced.filter(|in_force| *in_force > plan.generation) {
            return Err(EnforceError::Stale { offered: plan.generation, in_force });
        }
        let mut applied = Applied {
            generation: plan.generation,
            replaced,
            elements: plan.sets().map(|(_, set)| set.elements.len()).sum(),
            sent: 0,
            unsupported: plan.unsupported.clone(),
            owned: self.claim(&plan, &standing, options)?,
        };
        if let Some(sent) = self.change_in_force(&mut plan, &standing)? {
            applied.sent = sent;
            return Ok(applied);
        }
        let beside = standing.marker.map(|marker| marker.tag);
        if beside.is_some() {
            // What a process left that died while it built. Where that fails, it is passed by.
            let _ = self.sweep(beside);
        }
        // A generation may be built again, to repair it: beside itself, under another name.
        let same = standing.tags.iter().filter(|tag| tag.generation == plan.generation);
        if let Some(round) = same.map(|tag| tag.round).max() {
            plan.retag(Tag { generation: plan.generation, round: round.saturating_add(1) });
        }
        let tag = plan.tag;
        let done = self.build(&plan).and_then(|sent| {
            applied.sent = sent;
            self.switch(plan, ruleset, standing.marker)
        });
        if let Err(error) = done {
            // The old generation is in force; what was built beside it is of no use.
            if beside.is_some() {
                let _ = self.sweep(beside);
            }
            return Err(error);
        }
        // The new generation is in force, whatever becomes of the old one's remains: the next
        // apply sweeps what this one cannot.
        let _ = self.sweep(Some(tag));
        Ok(applied)
    }

    /// Makes the plan's tables, or takes them over; `true` when they are this process's own.
    fn claim(
        &self,
        plan: &Plan,
        standing: &Standing,
        options: &Options,
    ) -> Result<bool, EnforceError> {
        let mut session = self.session()?;
        let mut owned = true;
        for table in &plan.tables {
            let target = Target { family: table.family, table: &table.name, tag: &plan.tag };
            let flags = standing.tables.get(table.family).copied();
            let wanted = options.ownership == Ownership::WhereSupported;
            let mut batch = Batch::new(SUBSYSTEM);
            // An open table stays open: the kernel does not let it become persistent later.
            if wanted && flags.is_none_or(|flags| flags & PERSISTENT != 0) {
                target.table(&mut batch, OWNED | PERSISTENT, false);
                match session.socket()?.commit(&mut batch, None) {
                    Ok(()) => continue,
                    Err(error) if flags.is_none() && is_unknown_flag(&error) => batch.clear(),
                    Err(error) => return Err(told(&batch, error)),
                }
            }
            owned = false;
            if flags.is_none() {
                target.table(&mut batch, 0, false);
                session.commit(&mut batch, None)?;
            }
        }
        Ok(owned)
    }

    /// The change by elements alone, where that is enough: how many were sent.
    fn change_in_force(
        &self,
        plan: &mut Plan,
        standing: &Standing,
    ) -> Result<Option<usize>, EnforceError> {
        let mut session = self.session()?;
        let Some(memory) = session.memory.take() else {
            return Ok(None);
        };
        let known = Marker { generation: memory.generation, tag: memory.plan.tag };
        if standing.marker != Some(known) || plan.generation <= memory.generation {
            return Ok(None);
        }
        let old = memory.patched();
        plan.retag(old.tag);
        let delta = Delta::between(&old, plan);
        let sent = match delta.map(|delta| session.send(&delta, known, plan)) {
            Some(Ok(sent)) => sent,
            // Elements are not as they should be, or more than elements differ: the whole
            // generation is built.
            None | Some(Err(EnforceError::Refused { .. })) => {
                plan.retag(Tag::first(plan.generation));
                return Ok(None);
            }
            Some(Err(error)) => return Err(error),
        };
        let generation = plan.generation;
        session.memory = Some(Memory {
            plan: std::mem::replace(plan, old),
            pending: BTreeMap::new(),
            generation,
        });
        Ok(Some(sent))
    }

    /// Builds all that no packet sees yet, in as many transactions as it takes. Others may use
    /// the socket in between.
    fn build(&self, plan: &Plan) -> Result<usize, EnforceError> {
        let mut batch = Batch::new(SUBSYSTEM);
        let mut number = 0;
        let send = |batch: &mut Batch| -> Result<(), EnforceError> {
            if batch.is_full() { self.session()?.commit(batch, None) } else { Ok(()) }
        };
        for table in &plan.tables {
            let target = Target { family: table.family, table: &table.name, tag: &plan.tag };
            for (name, comment) in &table.counters {
                target.counter(&mut batch, name, comment);
            }
            for set in &table.sets {
                number += 1;
                target.set(&mut batch, set, number);
                send(&mut batch)?;
            }
            let chains = || table.chains.iter().filter(|chain| chain.tagged);
            chains().for_each(|chain| target.chain(&mut batch, chain));
            for chain in chains() {
                let name = chain.full_name(&plan.tag);
                chain.rules.iter().for_each(|rule| target.rule(&mut batch, &name, rule));
                send(&mut batch)?;
            }
        }
        let mut sent = 0;
        for table in &plan.tables {
            let target = Target { family: table.family, table: &table.name, tag: &plan.tag };
            for set in &table.sets {
                sent += set.elements.len();
                target.elements(&mut batch, set, set.elements.iter(), true, send)?;
            }
        }
        self.session()?.commit(&mut batch, None)?;
        Ok(sent)
    }

    /// The one moment: entrances lead to the new generation, and its marker stands. Refused and
    /// tried again when anybody changed rules since they were read.
    fn switch(
        &self,
        plan: Plan,
        ruleset: &Ruleset,
        expected: Option<Marker>,
    ) -> Result<(), EnforceError> {
        let mut session = self.session()?;
        for _ in 0..TRIES {
            let id = held::generation_id(session.socket()?)?;
            let mut batch = Batch::new(SUBSYSTEM);
            let mut in_force = None;
            for family in FAMILIES {
                let name = &self.inner.table;
                let chains = held::chains(session.socket()?, family, name)?;
                in_force = in_force.max(marker(chains.keys()));
                if let Some(table) = plan.tables.iter().find(|table| table.family == family) {
                    entrances(&mut batch, table, &plan.tag, &chains);
                } else if held::table(session.socket()?, family, name)?.is_some() {
                    let target = Target { family, table: name, tag: &plan.tag };
                    target.delete_table(&mut batch);
                }
            }
            if let Some(newer) = in_force.filter(|m| m.generation > plan.generation) {
                let (offered, in_force) = (plan.generation, newer.generation);
                return Err(EnforceError::Stale { offered, in_force });
            }
            if let Some(old) = expected.filter(|old| in_force == Some(*old)) {
                carried_names(session.socket()?, &mut batch, &plan, ruleset, old.tag)?;
            }
            match session.socket()?.commit(&mut batch, Some(id)) {
                Ok(()) => {
                    // Before the lock is given back: answers to names go into the new maps.
                    let generation = plan.generation;
                    session.memory = Some(Memory { plan, pending: BTreeMap::new(), generation });
                    return Ok(());
                }
                Err(NetlinkError::Changed) => {}
                Err(error) => return Err(told(&batch, error)),
            }
        }
        Err(EnforceError::Contended { tries: TRIES })
    }

    /// Takes away what is in our tables and neither carries `keep` nor is an entrance.
    fn sweep(&self, keep: Option<Tag>) -> Result<(), EnforceError> {
        let mut session = self.session()?;
        let name = &self.inner.table;
        let goes = |full: &String| Tag::split(full).map(|(_, tag)| tag) != keep || keep.is_none();
        let entrance = |full: &String, chain: &HeldChain| {
            let ours = matches!(full.as_str(), "input" | "forward") && chain.hook.is_some();
            ours || Marker::parse(full).is_some()
        };
        for family in FAMILIES {
            let socket = session.socket()?;
            if held::table(socket, family, name)?.is_none() {
                continue;
            }
            let chains = held::chains(socket, family, name)?;
            let chains = chains.into_iter().filter(|(full, chain)| !entrance(full, chain));
            let chains: Vec<_> = chains.map(|(full, _)| full).filter(goes).collect();
            let sets = held::sets(socket, family, name)?;
            // Sets without a name of their own go with their rules.
            let sets = sets.into_keys().filter(|full| !full.starts_with("__"));
            let sets: Vec<_> = sets.filter(goes).collect();
            let counters: Vec<_> =
                held::counters(socket, family, name)?.into_keys().filter(goes).collect();
            let tag = Tag::first(0);
            let target = Target { family, table: name, tag: &tag };
            let mut batch = Batch::new(SUBSYSTEM);
            chains.iter().for_each(|chain| target.flush(&mut batch, chain));
            sets.iter().for_each(|set| target.delete_set(&mut batch, set));
            chains.iter().for_each(|chain| target.delete_chain(&mut batch, chain));
            counters.iter().for_each(|counter| target.delete_counter(&mut batch, counter));
            session.commit(&mut batch, None)?;
        }
        Ok(())
    }
}

impl Session {
    pub(super) fn standing(&mut self, name: &str) -> Result<Standing, EnforceError> {
        let mut standing = Standing { tables: BTreeMap::new(), marker: None, tags: Vec::new() };
        for family in FAMILIES {
            let socket = self.socket()?;
            if let Some(flags) = held::table(socket, family, name)? {
                standing.tables.insert(family, flags);
                let chains = held::chains(socket, family, name)?;
                standing.marker = standing.marker.max(marker(chains.keys()));
                let tags = chains.keys().filter_map(|full| Tag::split(full)).map(|(_, tag)| tag);
                standing.tags.extend(tags);
            }
        }
        Ok(standing)
    }
}

/// Base chains with rules into the new generation, and its marker in the place of all others.
fn entrances(batch: &mut Batch, table: &Table, tag: &Tag, held: &BTreeMap<String, HeldChain>) {
    let target = Target { family: table.family, table: &table.name, tag };
    for (name, chain) in held {
        let wanted = table.chains.iter().any(|chain| !chain.tagged && chain.name == *name);
        if Marker::parse(name).is_some() || (chain.hook.is_some() && !wanted) {
            target.flush(batch, name);
            target.delete_chain(batch, name);
        }
    }
    for chain in table.chains.iter().filter(|chain| !chain.tagged) {
        match held.get(&chain.name).filter(|_| chain.hook.is_some()) {
            Some(_) => {
                target.accept_policy(batch, &chain.name);
                target.flush(batch, &chain.name);
            }
            None => target.chain(batch, chain),
        }
        chain.rules.iter().for_each(|rule| target.rule(batch, &chain.name, rule));
    }
}

/// The kernel does not know how to own tables.
fn is_unknown_flag(error: &NetlinkError) -> bool {
    matches!(error.code(), Some(libc::EOPNOTSUPP | libc::EINVAL))
}
