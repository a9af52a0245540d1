//! A plan as nft text: for review, and for machines that are not ours (`nft -f FILE`).
//!
//! A file is one transaction: it takes away the tables of its names, whatever they hold, and makes them
//! anew. A packet meets the old rules or the new ones.

use std::fmt::Write as _;

use model::ruleset::Ruleset;

use crate::Invalid;
use crate::plan::elements::{Element, Value};
use crate::plan::key::key_text;
use crate::plan::{Chain, Data, Options, Plan, Set, Table, Tag, rule};

/// The nft text of a ruleset: tables that replace those of the same family and name, and nothing else.
pub fn render(ruleset: &Ruleset, options: &Options) -> Result<String, Invalid> {
    Ok(text(&Plan::new(ruleset, options)?))
}

pub(crate) fn text(plan: &Plan) -> String {
    let mut out = String::new();
    let parent = plan.parent.map_or(String::new(), |parent| format!(", parent {parent}"));
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# ringfence generation {}{parent}", plan.generation);
    for Table { family, name, .. } in &plan.tables {
        // Named first: deleting what is not there would be an error.
        let _ = writeln!(out, "table {family} {name}\ndelete table {family} {name}");
    }
    for table in &plan.tables {
        write_table(&mut out, plan, table);
    }
    out
}

fn write_table(out: &mut String, plan: &Plan, table: &Table) {
    let tag = &plan.tag;
    let _ = writeln!(out, "table {} {} {{", table.family, table.name);
    for (name, comment) in &table.counters {
        let _ = writeln!(out, "\tcounter {} {{ comment \"{comment}\"; }}", tag.name(name));
    }
    for set in &table.sets {
        write_set(out, set, tag);
    }
    for chain in &table.chains {
        write_chain(out, chain, tag);
    }
    out.push_str("}\n");
}

fn write_set(out: &mut String, set: &Set, tag: &Tag) {
    let kind = if set.data.is_some() { "map" } else { "set" };
    let key: Vec<_> = set.key.iter().map(|part| part.word()).collect();
    let data = match set.data {
        None => "",
        Some(Data::Mark) => " : mark",
        Some(Data::Verdict) => " : verdict",
    };
    let _ = write!(out, "\t{kind} {} {{ type {}{data};", tag.name(&set.name), key.join(" . "));
    let flags = [
        (set.interval, "interval"),
        (set.dynamic.is_some(), "dynamic"),
        (set.timeout || set.dynamic.is_some(), "timeout"),
    ];
    let flags: Vec<_> = flags.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
    if !flags.is_empty() {
        let _ = write!(out, " flags {};", flags.join(","));
    }
    if let Some(dynamic) = set.dynamic {
        let _ = write!(out, " size {}; timeout {}s;", dynamic.size, dynamic.timeout_s);
    }
    if let Some(size) = set.size {
        let _ = write!(out, " size {size};");
    }
    if set.counted {
        out.push_str(" counter;");
    }
    if !set.elements.is_empty() {
        out.push_str(" elements = {\n");
        for element in set.elements.iter() {
            write_element(out, set, &element, tag);
        }
        out.push_str("\t};");
    }
    out.push_str(" }\n");
}

fn write_element(out: &mut String, set: &Set, element: &Element<'_>, tag: &Tag) {
    let _ = write!(out, "\t\t{}", key_text(set.key, element.key, element.end, set.interval));
    if let Some(seconds) = element.timeout_s {
        let _ = write!(out, " timeout {seconds}s");
    }
    if !element.comment.is_empty() {
        let _ = write!(out, " comment \"{}\"", element.comment);
    }
    match element.value {
        Value::None => {}
        Value::Mark(mark) => {
            let _ = write!(out, " : {mark}");
        }
        Value::Goto(chain) => {
            let _ = write!(out, " : goto {}", tag.name(chain));
        }
    }
    out.push_str(",\n");
}

fn write_chain(out: &mut String, chain: &Chain, tag: &Tag) {
    let _ = writeln!(out, "\tchain {} {{", chain.full_name(tag));
    if !chain.comment.is_empty() {
        let _ = writeln!(out, "\t\tcomment \"{}\";", chain.comment);
    }
    if let Some(hook) = chain.hook {
        let _ = writeln!(out, "\t\ttype filter hook {hook} priority filter; policy accept;");
    }
    for parts in &chain.rules {
        let _ = writeln!(out, "\t\t{}", rule::text(parts, tag));
    }
    out.push_str("\t}\n");
}
