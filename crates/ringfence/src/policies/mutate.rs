//! `ringfence policy mutate`: does anybody notice a mistake in a rule?

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use indicatif::ProgressBar;
use miette::{Diagnostic, Result, Severity};
use policy::folder::Folder;
use policy::language::Policy;
use policy::lower::lower;
use policy::mutate::{Changed, Fate, Generated, Mutant, Own, mutants};
use policy::{check, packs};
use serde::Serialize;

use super::args::Mutate;
use super::{bar, names, show};
use crate::terminal::table;
use crate::{exit, folder};

/// Rows of each list before `--all`.
const ROWS: usize = 20;

#[derive(Debug, thiserror::Error, Diagnostic)]
enum Wrong {
    #[error("{0} of the folder's own tests, claims or budgets do not hold as it is")]
    #[diagnostic(
        code(ringfence::policy::broken),
        help(
            "tests that fail already notice nothing: mend them first (`ringfence policy test`), or judge with --generated"
        )
    )]
    Broken(usize),
}

#[derive(Debug, Serialize)]
struct Mutated {
    schema: &'static str,
    judged_by: Judge,
    tests: Tests,
    counts: Counts,
    policies: Vec<OfPolicy>,
    mutants: Vec<Judged>,
    /// Policies of shipped packs that were left out.
    packs_left_out: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Judge {
    OwnTests,
    GeneratedRequests,
}

/// What the folder has to judge with.
#[derive(Debug, Serialize)]
struct Tests {
    allow: usize,
    deny: usize,
    reach: usize,
    claims: usize,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Counts {
    mutants: usize,
    caught: usize,
    survived: usize,
    no_effect_today: usize,
    not_judged: usize,
}

#[derive(Debug, Serialize)]
struct OfPolicy {
    policy: String,
    file: String,
    line: u32,
    #[serde(flatten)]
    counts: Counts,
    /// Why it runs on Cedar: then only its deletion is tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_cedar: Option<String>,
}

#[derive(Debug, Serialize)]
struct Judged {
    policy: String,
    file: String,
    line: u32,
    /// What was done to it.
    mistake: String,
    outcome: Outcome,
    /// The test, claim or budget that noticed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    caught_by: Option<String>,
    /// The first pair whose answer it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pair: Option<Pair>,
    /// Why it is not judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Caught,
    Survived,
    NoEffectToday,
    NotJudged,
}

#[derive(Debug, Serialize)]
struct Pair {
    from: String,
    to: String,
    /// It may be opened today; with the mistake it may not. Else the other way round.
    allowed_today: bool,
    /// The test that would notice it.
    test: String,
}

/// Runs the command.
pub(super) fn run(args: &Mutate) -> Result<u8> {
    let read = folder::read(&args.of.folder)?;
    let folder = &read.folder;
    for name in &args.rule {
        names::rule(folder, name)?;
    }
    if !args.generated {
        let broken = check::run(folder, &lower(folder));
        if !broken.is_empty() {
            folder::show(&args.of.folder, &read.files, &broken, Severity::Error);
            eprintln!("{:?}", miette::Report::new(Wrong::Broken(broken.len())));
            return Ok(exit::REFUSED);
        }
    }
    let wanted = |policy: &Policy| match args.rule.as_slice() {
        [] => args.packs || !packs::is_pack_file(&policy.file),
        rules => rules.contains(&policy.id),
    };
    let mutants: Vec<Mutant> = mutants(&folder.policies)
        .into_iter()
        .filter(|mutant| folder.policies.get(mutant.policy).is_some_and(wanted))
        .collect();
    let bar = bar(mutants.len(), "mutants");
    let judged = match args.generated {
        true => {
            let mut generated = Generated::of(folder);
            judge(folder, &mutants, &bar, Judge::GeneratedRequests, |m| generated.judge(m))
        }
        false => {
            let mut own = Own::of(folder);
            judge(folder, &mutants, &bar, Judge::OwnTests, |m| own.judge(m))
        }
    };
    bar.finish_and_clear();
    let left_out = folder.policies.iter().filter(|p| packs::is_pack_file(&p.file) && !wanted(p));
    let left_out = if args.rule.is_empty() { left_out.count() } else { 0 };
    let by = if args.generated { Judge::GeneratedRequests } else { Judge::OwnTests };
    let mutated = sum(folder, judged, by, left_out);
    show(args.of.output, &mutated, |out| print(out, &mutated, args.all))?;
    let survived = mutated.counts.survived > 0;
    Ok(if survived && args.detailed_exitcode { exit::FINDINGS } else { exit::FINE })
}

fn judge(
    folder: &Folder,
    mutants: &[Mutant],
    bar: &ProgressBar,
    by: Judge,
    mut fate: impl FnMut(&Mutant) -> Fate,
) -> Vec<(usize, Judged)> {
    let judge = |mutant: &Mutant| {
        let policy = folder.policies.get(mutant.policy)?;
        bar.set_message(policy.id.clone());
        let fate = fate(mutant);
        bar.inc(1);
        let mut judged = Judged {
            policy: policy.id.clone(),
            file: policy.file.clone(),
            line: policy.line,
            mistake: mutant.says(&folder.policies),
            outcome: Outcome::Caught,
            caught_by: None,
            pair: None,
            why: None,
        };
        match fate {
            Fate::Caught(fault) => {
                judged.caught_by = fault.map(|f| format!("{}:{}: {}", f.file, f.line, f.what));
            }
            Fate::Survived(changed) => {
                judged.outcome = Outcome::Survived;
                judged.pair = Some(pair(&changed));
            }
            // Requests are made so that they would show it: one that none shows is a survivor.
            Fate::NoEffect if by == Judge::GeneratedRequests => {
                judged.outcome = Outcome::Survived;
            }
            Fate::NoEffect => judged.outcome = Outcome::NoEffectToday,
            Fate::NotJudged(why) => {
                judged.outcome = Outcome::NotJudged;
                judged.why = Some(why.words());
            }
        }
        Some((mutant.policy, judged))
    };
    mutants.iter().filter_map(judge).collect()
}

fn pair(changed: &Changed) -> Pair {
    Pair {
        from: changed.from.to_string(),
        to: changed.to.to_string(),
        allowed_today: changed.allowed,
        test: changed.test(),
    }
}

fn sum(folder: &Folder, judged: Vec<(usize, Judged)>, by: Judge, packs_left_out: usize) -> Mutated {
    let mut counts = Counts::default();
    let mut of: BTreeMap<usize, Counts> = BTreeMap::new();
    for (policy, judged) in &judged {
        for counts in [&mut counts, of.entry(*policy).or_default()] {
            counts.mutants += 1;
            match judged.outcome {
                Outcome::Caught => counts.caught += 1,
                Outcome::Survived => counts.survived += 1,
                Outcome::NoEffectToday => counts.no_effect_today += 1,
                Outcome::NotJudged => counts.not_judged += 1,
            }
        }
    }
    let of_policy = |(number, counts): (usize, Counts)| {
        let policy = folder.policies.get(number)?;
        Some(OfPolicy {
            policy: policy.id.clone(),
            file: policy.file.clone(),
            line: policy.line,
            counts,
            on_cedar: policy.on_cedar.as_ref().map(|on_cedar| on_cedar.why.clone()),
        })
    };
    Mutated {
        schema: "ringfence.policy-mutate/v1",
        judged_by: by,
        tests: Tests {
            allow: folder.tests.allow.len(),
            deny: folder.tests.deny.len(),
            reach: folder.tests.reach.len(),
            claims: folder.claims.len(),
        },
        counts,
        policies: of.into_iter().filter_map(of_policy).collect(),
        mutants: judged.into_iter().map(|(_, judged)| judged).collect(),
        packs_left_out,
    }
}

fn print(out: &mut dyn Write, mutated: &Mutated, all: bool) -> io::Result<()> {
    let counts = mutated.counts;
    let tests = &mutated.tests;
    let by = match mutated.judged_by {
        Judge::OwnTests => format!(
            "the folder's own {} must-allow, {} must-deny, {}, {}",
            tests.allow,
            tests.deny,
            counted(tests.reach, "reach budget", "reach budgets"),
            counted(tests.claims, "claim", "claims")
        ),
        Judge::GeneratedRequests => "requests generated from the policies".to_owned(),
    };
    writeln!(
        out,
        "{} of {}, judged by {by}:\n\
         {} caught, {} survived, {} without effect today, {} not judged\n",
        counted(counts.mutants, "mutant", "mutants"),
        counted(mutated.policies.len(), "policy", "policies"),
        counts.caught,
        counts.survived,
        counts.no_effect_today,
        counts.not_judged
    )?;
    let limit = if all { usize::MAX } else { ROWS };
    if !mutated.policies.is_empty() {
        policies(out, &mutated.policies, limit)?;
    }
    if counts.survived > 0 {
        survived(out, mutated, limit)?;
    }
    if counts.no_effect_today > 0 {
        writeln!(
            out,
            "Without effect today: no device of this estate is granted anything else, so none of its\n\
             tests could notice. --generated judges them on estates made up for them.{}",
            if all { "" } else { " (--all lists them)" }
        )?;
        if all {
            for mutant in mutated.mutants.iter().filter(|m| m.outcome == Outcome::NoEffectToday) {
                let Judged { file, line, policy, mistake, .. } = mutant;
                writeln!(out, "  {file}:{line}: {policy}: {mistake}")?;
            }
        }
        writeln!(out)?;
    }
    not_judged(out, &mutated.mutants, all)?;
    let on_cedar = mutated.policies.iter().filter_map(|p| Some((p, p.on_cedar.as_ref()?)));
    let on_cedar: Vec<_> = on_cedar.collect();
    if !on_cedar.is_empty() {
        writeln!(out, "Only the deletion was tried of what runs on Cedar's own authorizer:")?;
        for (policy, why) in on_cedar {
            writeln!(out, "  {}:{}: {}: {why}", policy.file, policy.line, policy.policy)?;
        }
        writeln!(out)?;
    }
    if mutated.packs_left_out > 0 {
        writeln!(
            out,
            "Left out: {} of packs, which their own samples test (--packs judges them here).",
            counted(mutated.packs_left_out, "policy", "policies")
        )?;
    }
    Ok(())
}

fn policies(out: &mut dyn Write, policies: &[OfPolicy], limit: usize) -> io::Result<()> {
    let mut rows =
        table(&["POLICY", "LINE", "MUTANTS", "CAUGHT", "SURVIVED", "NO EFFECT", "NOT JUDGED"]);
    // Those that need work first.
    let mut sorted: Vec<&OfPolicy> = policies.iter().collect();
    sorted.sort_by_key(|policy| std::cmp::Reverse(policy.counts.survived));
    for policy in sorted.iter().take(limit) {
        let counts = policy.counts;
        rows.add_row([
            policy.policy.clone(),
            format!("{}:{}", policy.file, policy.line),
            counts.mutants.to_string(),
            counts.caught.to_string(),
            counts.survived.to_string(),
            counts.no_effect_today.to_string(),
            counts.not_judged.to_string(),
        ]);
    }
    writeln!(out, "{rows}")?;
    more(out, policies.len(), limit, "policies")?;
    writeln!(out)
}

fn survived(out: &mut dyn Write, mutated: &Mutated, limit: usize) -> io::Result<()> {
    let survivors: Vec<&Judged> =
        mutated.mutants.iter().filter(|m| m.outcome == Outcome::Survived).collect();
    match mutated.judged_by {
        Judge::OwnTests => writeln!(
            out,
            "Survived: the rule can be broken like this, and none of your tests, claims or budgets notices."
        )?,
        Judge::GeneratedRequests => writeln!(
            out,
            "Survived: no generated request is answered otherwise. Another rule says the same already (then\n\
             take this part out), or it takes a rarer request than were made (then test it in tests.toml)."
        )?,
    }
    let mut rows = table(&["LINE", "POLICY", "MISTAKE", "THEN"]);
    for mutant in survivors.iter().take(limit) {
        let then = mutant.pair.as_ref().map_or(String::new(), |pair| {
            let may = if pair.allowed_today { "may no longer open" } else { "may open" };
            format!("{} {may} {}", pair.from, pair.to)
        });
        rows.add_row([
            format!("{}:{}", mutant.file, mutant.line),
            mutant.policy.clone(),
            mutant.mistake.clone(),
            then,
        ]);
    }
    writeln!(out, "{rows}")?;
    more(out, survivors.len(), limit, "survivors")?;
    writeln!(out)?;
    let tests: BTreeSet<&str> =
        survivors.iter().filter_map(|m| Some(m.pair.as_ref()?.test.as_str())).collect();
    if tests.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "Tests that would notice. They say what is so today: add to tests.toml those that shall stay so,\n\
         and mend the rule where one shall not.\n"
    )?;
    for test in tests.iter().take(limit) {
        writeln!(out, "{test}")?;
    }
    if tests.len() > limit {
        more(out, tests.len(), limit, "tests")?;
        writeln!(out)?;
    }
    Ok(())
}

fn not_judged(out: &mut dyn Write, mutants: &[Judged], all: bool) -> io::Result<()> {
    let mut by_reason: BTreeMap<&str, Vec<&Judged>> = BTreeMap::new();
    for mutant in mutants {
        if let Some(why) = mutant.why {
            by_reason.entry(why).or_default().push(mutant);
        }
    }
    for (why, mutants) in &by_reason {
        let hint = if all { ":" } else { " (--all lists them)" };
        let mutants_of = counted(mutants.len(), "mutant", "mutants");
        writeln!(out, "Not judged, because {why}: {mutants_of}{hint}")?;
        for Judged { file, line, policy, mistake, .. } in mutants.iter().filter(|_| all) {
            writeln!(out, "  {file}:{line}: {policy}: {mistake}")?;
        }
    }
    if by_reason.is_empty() { Ok(()) } else { writeln!(out) }
}

fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

fn more(out: &mut dyn Write, total: usize, limit: usize, what: &str) -> io::Result<()> {
    match total.saturating_sub(limit) {
        0 => Ok(()),
        more => writeln!(out, "… and {more} more {what} (--all shows them)"),
    }
}
