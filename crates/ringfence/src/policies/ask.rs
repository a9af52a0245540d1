//! Questions about single devices, services and claims.

use std::io::{self, Write};

use miette::Result;
use policy::impact;
use policy::lower::lower;
use policy::prove::{Proof, Solver, Standing};
use policy::reach::{analyse, summary};
use policy::why::{Decided, Explanation, explain};
use serde::Serialize;

use super::args::{CutOff, Prove, ReachOf, Why};
use super::{bar, given, names, print, show};
use crate::terminal::table;
use crate::{exit, folder};

/// `ringfence policy why`.
pub(super) fn why(args: &Why) -> Result<u8> {
    let read = folder::read(&args.policy)?;
    let device = names::device(&read.folder, &args.device)?;
    let service = names::service(&read.folder, &args.service, args.port)?;
    let asked = read.folder.estate.services.get(service);
    let at = match (args.protocol, args.port, asked) {
        (None, None, _) | (.., None) => None,
        (transport, port, Some(asked)) => {
            Some((transport.unwrap_or(asked.transport), port.unwrap_or(asked.port)))
        }
    };
    let lowered = lower(&read.folder);
    let Some(why) = explain(&read.folder, &lowered, device, service, at, folder::now()) else {
        return Ok(exit::NOT_FOUND);
    };
    show(args.output, &why, |out| explained(out, &why))?;
    Ok(if why.allowed { exit::FINE } else { exit::REFUSED })
}

fn explained(out: &mut dyn Write, why: &Explanation) -> io::Result<()> {
    let word = if why.allowed { "allowed" } else { "denied" };
    writeln!(
        out,
        "{} to {} ({} {}): {word}",
        why.device,
        why.service,
        why.transport.word(),
        why.port
    )?;
    match &why.decided {
        Decided::Permit(place) => writeln!(out, "  permitted by {place}")?,
        Decided::Forbid(place) => {
            writeln!(out, "  forbidden by {place}: no permit or exception lifts it")?;
        }
        Decided::Exception { id, owner, expires, line } => writeln!(
            out,
            "  granted by exception {id} (exceptions.toml:{line}), owner {owner}, until {expires}"
        )?,
        Decided::Default => writeln!(out, "  by default: no policy permits it")?,
        Decided::NoService => writeln!(out, "  by default: nothing is offered there")?,
    }
    if let Some(nearest) = &why.nearest {
        writeln!(out, "  nearest rule: {}", nearest.rule)?;
        for differs in &nearest.differs {
            writeln!(out, "    {differs}")?;
        }
    }
    for (name, value) in &why.terms {
        writeln!(out, "  @{name}: {value}")?;
    }
    for place in &why.would_close {
        writeln!(out, "  in shadow, would close it: {place}")?;
    }
    for place in &why.would_open {
        writeln!(out, "  in shadow, would open it: {place}")?;
    }
    if why.mode == model::ruleset::Mode::Shadow {
        writeln!(out, "  its zone is in shadow: denied packets pass and are counted")?;
    }
    Ok(())
}

/// `ringfence policy reach`.
pub(super) fn reach(args: &ReachOf) -> Result<u8> {
    let read = folder::read(&args.policy)?;
    let lowered = lower(&read.folder);
    let Some(name) = &args.device else {
        let reach = summary(&read.folder, &analyse(&read.folder, &lowered), 0);
        show(args.output, &reach, |out| print::reach_of_all(out, &reach))?;
        return Ok(exit::FINE);
    };
    let device = names::device(&read.folder, name)?;
    let Some(takeover) = impact::takeover(&read.folder, &lowered, device) else {
        return Ok(exit::NOT_FOUND);
    };
    let Some(to) = &args.to else {
        show(args.output, &takeover, |out| print::takeover(out, &takeover, args.all))?;
        return Ok(exit::FINE);
    };
    let to = names::device(&read.folder, to)?;
    let to = read.folder.estate.devices.get(to).map(|d| d.id.clone());
    let path: Vec<_> = to.iter().flat_map(|to| takeover.path(to)).collect();
    show(args.output, &path, |out| match path.as_slice() {
        [] => writeln!(out, "{} does not reach it, not even by hopping", takeover.device),
        steps => {
            for step in steps {
                writeln!(
                    out,
                    "{} opens {} on {} by {}",
                    step.from, step.through, step.device, step.rule
                )?;
            }
            Ok(())
        }
    })?;
    Ok(exit::FINE)
}

/// `ringfence policy cut-off`.
pub(super) fn cut_off(args: &CutOff) -> Result<u8> {
    let read = folder::read(&args.policy)?;
    let flows = given::flows(&args.flows)?;
    let device = names::device(&read.folder, &args.device)?;
    let lowered = lower(&read.folder);
    let Some(cut) = impact::cut_off(&read.folder, &lowered, device, &flows) else {
        return Ok(exit::NOT_FOUND);
    };
    show(args.output, &cut, |out| print::cut_off(out, &cut))?;
    Ok(exit::FINE)
}

#[derive(Debug, Serialize)]
struct Proofs {
    schema: &'static str,
    /// What the solver says of itself; none without one.
    solver: Option<String>,
    claims: Vec<Proof>,
}

/// `ringfence policy prove`.
pub(super) fn prove(args: &Prove) -> Result<u8> {
    let read = folder::read(&args.of.folder)?;
    let lowered = lower(&read.folder);
    for name in &args.claim {
        names::claim(&read.folder, name)?;
    }
    let mut solver = match prove::Cvc5::find(&args.solver, args.limit) {
        Ok(solver) => Some(solver),
        Err(error) => {
            eprintln!("ringfence: {error}; claims are checked on today's estate only");
            None
        }
    };
    let claims: Vec<_> = read
        .folder
        .claims
        .iter()
        .filter(|claim| args.claim.is_empty() || args.claim.contains(&claim.id))
        .collect();
    let bar = bar(claims.len(), "claims");
    let proofs = claims
        .into_iter()
        .map(|claim| {
            bar.set_message(claim.id.clone());
            let solver = solver.as_mut().map(|solver| solver as &mut dyn Solver);
            let proof = policy::prove::prove(&read.folder, &lowered, claim, solver);
            bar.inc(1);
            proof
        })
        .collect();
    bar.finish_and_clear();
    let proofs = Proofs {
        schema: "ringfence.proofs/v1",
        solver: solver.map(|solver| solver.version().to_owned()),
        claims: proofs,
    };
    show(args.of.output, &proofs, |out| {
        let mut rows = table(&["CLAIM", "LINE", "STANDING", "WHY"]);
        for proof in &proofs.claims {
            let (word, why) = standing(&proof.standing);
            rows.add_row([&proof.claim, &proof.line.to_string(), word, &why]);
        }
        writeln!(out, "{rows}")
    })?;
    let broken = proofs.claims.iter().any(|p| matches!(p.standing, Standing::Broken(_)));
    let all = proofs.claims.iter().all(|p| p.standing == Standing::Proved);
    Ok(match () {
        () if broken => exit::REFUSED,
        () if !all && args.detailed_exitcode => exit::FINDINGS,
        () => exit::FINE,
    })
}

fn standing(standing: &Standing) -> (&'static str, String) {
    match standing {
        Standing::Proved => ("proved", "for every estate under the schema".to_owned()),
        Standing::Broken(fault) => ("broken", fault.why.clone()),
        Standing::HoldsToday { example, way } => {
            let way = match way.as_slice() {
                [] | [_] => String::new(),
                way => format!(" by way of {}", way.join(" → ")),
            };
            (
                "holds today",
                format!(
                    "no such device and service exist today, but a device with {} could open a service with {}{way}",
                    example.device, example.service
                ),
            )
        }
        Standing::Exhaustive { because } => {
            ("exhaustive", format!("checked on every pair of today's estate only: {because}"))
        }
    }
}
