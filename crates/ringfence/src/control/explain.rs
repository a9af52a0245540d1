//! `ringfence explain`: a decision, what it rests on, and whether it is made the same way again.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::args::{Explain, Output};
use super::client::{Client, segment, with_query};
use super::describe::pairs;
use super::fault::{Fault, Stop};
use super::words::{at, instant, list, short};
use crate::terminal::table;
use crate::{exit, out};

pub(super) fn run(args: &Explain) -> Result<u8, Stop> {
    let mut client = super::open(&args.at)?;
    let decision = find(&mut client, &args.decision)?;
    let replay = match args.replay {
        true => {
            let id = at(&decision, "/id");
            Some(client.get(&format!("/v1/decisions/{}/replay", segment(&id)))?)
        }
        false => None,
    };
    match args.output {
        Output::Table => out::print(|out| print(out, &decision, replay.as_ref()))?,
        Output::Json => match &replay {
            Some(replay) => out::document(&json!({ "decision": decision, "replay": replay }))?,
            None => out::document(&decision)?,
        },
    }
    let differs = replay.is_some_and(|replay| replay.get("same") != Some(&Value::Bool(true)));
    Ok(if differs { exit::FAILED } else { exit::FINE })
}

/// A decision by its id, or by the device that it is about.
fn find(client: &mut Client, id: &str) -> Result<Value, Fault> {
    let unknown = match client.get(&format!("/v1/decisions/{}", segment(id))) {
        Ok(decision) => return Ok(decision),
        Err(fault) if fault.code_of_exit() == exit::NOT_FOUND => fault,
        Err(fault) => return Err(fault),
    };
    let device = match client.get(&format!("/v1/devices/{}", segment(id))) {
        Ok(device) => at(&device, "/id"),
        Err(fault) if fault.code_of_exit() == exit::NOT_FOUND => return Err(unknown),
        Err(fault) => return Err(fault),
    };
    let leases = client.get(&with_query("/v1/leases", &[("device", device.clone())]))?;
    match list(&leases, "/items").next() {
        Some(lease) => client.get(&format!("/v1/decisions/{}", segment(&at(lease, "/decision")))),
        None => {
            let why = "nothing was decided about it yet";
            let help = "decisions follow from a policy: `ringfence get policy`";
            Err(Fault::new("not_found", format!("device {device}"), why, help)
                .exit(exit::NOT_FOUND))
        }
    }
}

/// A decision for people.
pub(super) fn print(
    out: &mut dyn Write,
    decision: &Value,
    replay: Option<&Value>,
) -> io::Result<()> {
    writeln!(out, "Decision {}", at(decision, "/id"))?;
    let subject = format!(
        "{} at {} ({})",
        at(decision, "/subject/device"),
        at(decision, "/subject/site"),
        at(decision, "/subject/state")
    );
    let mut lines = vec![
        ("about", subject),
        ("verdict", verdict(decision.get("verdict").unwrap_or(&Value::Null))),
        ("set off by", at(decision, "/because")),
        ("policy", short(decision, "/policy")),
        ("before it", at(decision, "/previous")),
    ];
    if let Some(replay) = replay {
        let same = replay.get("same") == Some(&Value::Bool(true));
        lines.push((
            "made again",
            match same {
                true => "the same, byte for byte".to_owned(),
                false => {
                    format!("DIFFERS: {}", verdict(replay.get("replayed").unwrap_or(&Value::Null)))
                }
            },
        ));
    }
    pairs(out, &lines)?;
    let named: Vec<String> = list(decision, "/verdict/named").map(super::words::word).collect();
    if !named.is_empty() {
        writeln!(out, "\nGranted")?;
        named.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
        let all = decision.pointer("/verdict/services").and_then(Value::as_u64).unwrap_or(0);
        let more = all.saturating_sub(u64::try_from(named.len()).unwrap_or(u64::MAX));
        if more > 0 {
            writeln!(out, "  … and {more} more")?;
        }
    }
    let grounds: Vec<&Value> = list(decision, "/grounds").collect();
    if !grounds.is_empty() {
        writeln!(out, "\nIt rests on")?;
        let mut rows = table(&["FIELD", "VALUE", "HOW WE KNOW", "SINCE"]);
        for ground in grounds {
            rows.add_row([
                at(ground, "/field"),
                at(ground, "/value"),
                at(ground, "/source"),
                instant(ground, "/at"),
            ]);
        }
        writeln!(out, "{rows}")?;
    }
    Ok(())
}

fn verdict(verdict: &Value) -> String {
    match at(verdict, "/verdict").as_str() {
        "granted" => format!("granted: {} services", at(verdict, "/services")),
        "refused" => format!("refused: {}", at(verdict, "/why")),
        other => other.to_owned(),
    }
}
