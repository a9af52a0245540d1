//! A plan as nft text.

use std::fmt::Write as _;

use model::ruleset::Ruleset;

use crate::plan::{Chain, DENIALS_MAX, Element, Options, Plan, Set, Table};
use crate::{EnforceError, Invalid};

/// The nft text of a ruleset: tables that replace nothing but their own name.
pub fn render(ruleset: &Ruleset, options: &Options) -> Result<String, Invalid> {
    Ok(text(&Plan::new(ruleset, options)?, Elements::All))
}

/// Which elements to write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elements {
    /// All of them.
    All,
    /// Only those that chains depend on: the frame a verifier compares with.
    Structural,
}

pub(crate) fn text(plan: &Plan, elements: Elements) -> String {
    let mut out = String::new();
    for table in &plan.tables {
        write_table(&mut out, plan, table, elements);
    }
    out
}

/// The whole transaction: takes away exactly the generation that was read, so that it fails when
/// somebody else changed it in between.
pub(crate) fn transaction(plan: &Plan, replaces: &[(String, String, Option<u64>)]) -> String {
    let mut out = String::new();
    for (family, name, generation) in replaces {
        if let Some(generation) = generation {
            let _ = writeln!(out, "delete chain {family} {name} generation_{generation}");
        }
        let _ = writeln!(out, "delete table {family} {name}");
    }
    for table in &plan.tables {
        let _ = writeln!(out, "create table {} {}", table.family, table.name);
    }
    out + &text(plan, Elements::All)
}

/// The line of `text` that an nft message is about.
pub(crate) fn refused(text: &str, said: &str) -> EnforceError {
    // /dev/stdin:12:4-9: Error: Could not process rule: No such file or directory
    let message = said.lines().find(|line| line.contains("Error")).unwrap_or(said.trim());
    let line = message.split(':').nth(1).and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
    let statement = line.checked_sub(1).and_then(|n| text.lines().nth(n)).unwrap_or_default();
    let why = message.split_once("Error: ").map_or(message, |(_, why)| why);
    EnforceError::Refused {
        line,
        statement: statement.trim().chars().take(160).collect(),
        why: why.trim().chars().take(300).collect(),
    }
}

fn write_table(out: &mut String, plan: &Plan, table: &Table, elements: Elements) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "table {} {} {{", table.family, table.name);
    let parent = plan.parent.map_or(String::new(), |parent| format!(" parent {parent}"));
    let _ = writeln!(out, "\tcomment \"ringfence generation {}{parent}\"", plan.generation);
    for (name, comment) in &table.counters {
        let _ = writeln!(out, "\tcounter {name} {{ comment \"{comment}\"; }}");
    }
    for set in &table.sets {
        write_set(out, set, elements);
    }
    for chain in &table.chains {
        write_chain(out, chain);
    }
    out.push_str("}\n");
}

fn write_set(out: &mut String, set: &Set, elements: Elements) {
    let kind = if set.data.is_some() { "map" } else { "set" };
    let data = set.data.map_or(String::new(), |data| format!(" : {data}"));
    let _ = write!(out, "\t{kind} {} {{ type {}{data};", set.name, set.key);
    if !set.flags.is_empty() {
        let _ = write!(out, " flags {};", set.flags);
    }
    if set.flags.contains("dynamic") {
        let _ = write!(out, " size {DENIALS_MAX}; timeout 1h;");
    }
    if set.counted {
        out.push_str(" counter;");
    }
    if !set.elements.is_empty() && (elements == Elements::All || set.structural) {
        out.push_str(" elements = {\n");
        for (key, element) in &set.elements {
            write_element(out, key, element);
        }
        out.push_str("\t};");
    }
    out.push_str(" }\n");
}

fn write_element(out: &mut String, key: &str, element: &Element) {
    let _ = write!(out, "\t\t{key}");
    if let Some(seconds) = element.timeout_s {
        let _ = write!(out, " timeout {seconds}s");
    }
    if !element.comment.is_empty() {
        let _ = write!(out, " comment \"{}\"", element.comment);
    }
    if !element.value.is_empty() {
        let _ = write!(out, " : {}", element.value);
    }
    out.push_str(",\n");
}

fn write_chain(out: &mut String, chain: &Chain) {
    let _ = writeln!(out, "\tchain {} {{", chain.name);
    if !chain.comment.is_empty() {
        let _ = writeln!(out, "\t\tcomment \"{}\";", chain.comment);
    }
    if let Some(hook) = chain.hook {
        let _ = writeln!(out, "\t\ttype filter hook {hook} priority filter; policy accept;");
    }
    for rule in &chain.rules {
        let _ = writeln!(out, "\t\t{rule}");
    }
    out.push_str("\t}\n");
}
