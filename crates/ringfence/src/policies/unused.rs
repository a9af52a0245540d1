//! `ringfence policy unused`: permits that nothing has used.

use std::collections::BTreeMap;

use enforcer::Fence;
use enforcer::netlink::Place;
use miette::{Diagnostic, Result};
use policy::lower::lower;
use policy::unused::{Hits, SCHEMA, unused};

use super::args::Unused;
use super::{given, show};
use crate::terminal::table;
use crate::told::Tell as _;
use crate::{exit, folder};

#[derive(Debug, thiserror::Error, Diagnostic)]
enum Wrong {
    #[error("there is no fence `{0}` in force on this box, so nothing is counted")]
    #[diagnostic(
        code(ringfence::policy::no_fence),
        help("apply a plan first, or give a tally with --hits FILE")
    )]
    NoFence(String),
    #[error("the state folder does not say since when generation {0} is in force")]
    #[diagnostic(code(ringfence::policy::no_state), help("name it with --state DIR"))]
    NoState(u64),
}

pub(super) fn run(args: &Unused) -> Result<u8> {
    let read = folder::read(&args.of.folder)?;
    let hits = match &args.hits {
        Some(path) => folder::document(path, SCHEMA)?,
        None => counted(args)?,
    };
    let found = unused(&read.folder, &lower(&read.folder), &hits);
    show(args.of.output, &found, |out| {
        if found.is_empty() {
            return writeln!(out, "every permit was used");
        }
        let mut rows = table(&["RULE", "STATE", "DAYS", "RECORDED USE"]);
        for unused in &found {
            rows.add_row([
                unused.rule.to_string(),
                unused.state.word().to_owned(),
                unused.days.map_or("-".to_owned(), |days| days.to_string()),
                unused.recorded.map_or("never".to_owned(), |at| at.to_string()),
            ]);
        }
        writeln!(out, "{rows}")
    })?;
    Ok(exit::FINE)
}

/// The counters of the fence in force.
fn counted(args: &Unused) -> Result<Hits> {
    let in_force =
        Fence::new(Place::here(), &args.table).read().told("ringfence::policy::counters")?;
    let generation = in_force.generation.ok_or_else(|| Wrong::NoFence(args.table.clone()))?;
    let state = given::enforced(Some(&args.state))?;
    let state =
        state.filter(|state| state.generation == generation).ok_or(Wrong::NoState(generation))?;
    // Rules that share an element share its counter.
    let mut rules: BTreeMap<String, u64> = BTreeMap::new();
    for (comment, packets) in &in_force.hits {
        for rule in comment.split(',') {
            let counted = rules.entry(rule.trim().to_owned()).or_default();
            *counted = counted.saturating_add(*packets);
        }
    }
    Ok(Hits { schema: SCHEMA.to_owned(), since: state.since, until: folder::now(), rules })
}
