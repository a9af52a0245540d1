//! `ringfence doctor`: looks for what is wrong between here, the controller and its sites, and says what to do.

use hyper::Method;
use model::Timestamp;
use pki::Certificate;
use serde::Serialize;
use serde_json::Value;

use super::args::{Doctor, Output};
use super::client::Client;
use super::context::Chosen;
use super::fault::{Fault, Stop};
use super::words::{at, instant, list};
use crate::folder::now;
use crate::terminal::duration;
use crate::{exit, out};

/// Clocks that differ by more than this get tokens and certificates wrong, in seconds.
const CLOCK_S: i64 = 30;
/// A certificate that ends sooner than this is told, in seconds: two weeks.
const ENDS_S: i64 = 14 * 86_400;
/// An entry that waits longer than this for its signature is told, in seconds.
const UNSIGNED_S: i64 = 60;

/// One look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Look {
    check: &'static str,
    state: State,
    /// What was found.
    says: String,
    /// What to do; empty where nothing has to be done.
    todo: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Fine,
    Wrong,
    /// It could not be looked at.
    Unknown,
}

impl Look {
    fn fine(check: &'static str, says: impl Into<String>) -> Self {
        Self { check, state: State::Fine, says: says.into(), todo: String::new() }
    }

    fn wrong(check: &'static str, says: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check, state: State::Wrong, says: says.into(), todo: todo.into() }
    }

    fn of(check: &'static str, fault: &Fault) -> Self {
        Self::wrong(check, fault.to_string(), fault.todo())
    }

    /// What may not be looked at is not wrong.
    fn of_part(check: &'static str, fault: &Fault) -> Self {
        match fault.code_of_exit() {
            exit::REFUSED => {
                let says = "you may not look at this".to_owned();
                Self { check, state: State::Unknown, says, todo: String::new() }
            }
            _ => Self::of(check, fault),
        }
    }
}

pub(super) fn run(args: &Doctor) -> Result<u8, Stop> {
    let mut looks = Vec::new();
    look(args.at.context.as_deref(), &mut looks);
    let wrong = looks.iter().filter(|look| look.state == State::Wrong).count();
    match args.output {
        Output::Json => out::document(&looks)?,
        Output::Table => out::print(|out| {
            for look in &looks {
                let mark = match look.state {
                    State::Fine => "ok  ",
                    State::Wrong => "!!  ",
                    State::Unknown => "?   ",
                };
                writeln!(out, "{mark}{:<12}{}", look.check, look.says)?;
                if !look.todo.is_empty() {
                    writeln!(out, "{:16}-> {}", "", look.todo)?;
                }
            }
            match wrong {
                0 => writeln!(out, "\nNothing is wrong."),
                1 => writeln!(out, "\nOne thing is wrong."),
                n => writeln!(out, "\n{n} things are wrong."),
            }
        })?,
    }
    Ok(if wrong == 0 { exit::FINE } else { exit::FAILED })
}

/// From here to there; where something is broken, what lies behind it is not looked at.
fn look(asked: Option<&str>, looks: &mut Vec<Look>) {
    let chosen = match Chosen::find(asked) {
        Ok(chosen) => chosen,
        Err(fault) => return looks.push(Look::of("context", &fault)),
    };
    looks.push(context(&chosen));
    let mut client = match Client::new(&chosen.context) {
        Ok(client) => client,
        Err(fault) => return looks.push(Look::of("context", &fault)),
    };
    match client.reach() {
        Ok(shown) => looks.push(certificate(&shown)),
        Err(fault) => return looks.push(Look::of("connection", &fault)),
    }
    match client.ask(&Method::GET, "/readyz", None, &[]) {
        Ok(answer) => {
            looks.push(Look::fine("health", "the controller takes changes"));
            looks.push(clock(answer.date.as_deref()));
        }
        Err(fault) => looks.push(Look::of("health", &fault)),
    }
    if chosen.context.credential.is_none() {
        let todo = "`ringfence login`; programs set RINGFENCE_TOKEN";
        return looks.push(Look::wrong("login", "nobody is logged in", todo));
    }
    match client.get("/v1/whoami") {
        Ok(myself) => looks.push(login(&myself, &chosen)),
        Err(fault) => return looks.push(Look::of("login", &fault)),
    }
    looks.push(match client.get("/v1/policy") {
        Ok(policy) => {
            let since = instant(&policy, "/at");
            Look::fine("policy", format!("version {} since {since}", at(&policy, "/number")))
        }
        Err(fault) if fault.word() == "policy.none" => {
            Look::wrong("policy", "no policy folder was set: nothing is granted", fault.todo())
        }
        Err(fault) => Look::of_part("policy", &fault),
    });
    looks.push(journal(&mut client).unwrap_or_else(|fault| Look::of_part("journal", &fault)));
    looks.push(levels(&mut client).unwrap_or_else(|fault| Look::of_part("levels", &fault)));
    sites(&mut client, looks);
}

fn context(chosen: &Chosen) -> Look {
    let name = chosen.name.as_deref().unwrap_or("from the environment");
    let root = Certificate::read_all(chosen.context.root.as_bytes()).ok();
    let root = root.and_then(|all| all.into_iter().next());
    let says = format!("{name}: {}", chosen.context.server);
    match root {
        Some(root) if seconds_to(root.not_after()) < ENDS_S => {
            let says = format!("{says}; its root certificate ends at {}", root.not_after());
            Look::wrong("context", says, "get the estate's new root, and log in again with --ca")
        }
        Some(_) => Look::fine("context", says),
        None => Look::wrong("context", format!("{says}; without a root"), "log in again with --ca"),
    }
}

fn certificate(shown: &[Certificate]) -> Look {
    let Some(own) = shown.first() else {
        return Look::wrong("connection", "the controller shows no certificate", "");
    };
    let until = own.not_after();
    match seconds_to(until) < ENDS_S {
        true => {
            let says = format!("its certificate ends at {until}");
            Look::wrong("connection", says, "restart the controller: it makes another one")
        }
        false => Look::fine("connection", format!("TLS; its certificate is good until {until}")),
    }
}

fn clock(date: Option<&str>) -> Look {
    let Some(there) = date.and_then(http_date) else {
        let says = "the controller does not say what time it is".to_owned();
        return Look { check: "clock", state: State::Unknown, says, todo: String::new() };
    };
    let difference = -seconds_to(there);
    // HTTP has whole seconds.
    match difference.abs() {
        0..=1 => Look::fine("clock", "the same here and there"),
        by if by <= CLOCK_S => Look::fine("clock", format!("{by} s apart")),
        by => {
            let which = if difference > 0 { "ahead of" } else { "behind" };
            let says = format!("this machine is {by} s {which} the controller");
            Look::wrong("clock", says, "set both by NTP: certificates and leases go by time")
        }
    }
}

fn login(myself: &Value, chosen: &Chosen) -> Look {
    let says = format!("{} with {}", at(myself, "/actor"), at(myself, "/roles"));
    if myself.get("password_temporary") == Some(&Value::Bool(true)) {
        let says = format!("{says}; somebody else has set the password");
        return Look::wrong("login", says, "`ringfence password`");
    }
    match &chosen.context.expires_at {
        Some(until) => Look::fine("login", format!("{says}, until {until}")),
        None => Look::fine("login", says),
    }
}

/// How long the oldest entry without a signature waits.
fn journal(client: &mut Client) -> Result<Look, Fault> {
    let checkpoint = match client.ask(&Method::GET, "/v1/journal/checkpoint", None, &[]) {
        Ok(answer) => answer,
        Err(fault) if fault.word() == "journal.unsigned" => {
            let todo = "see the controller's log: a witness may be out of reach";
            return Ok(Look::wrong("journal", "nothing was signed yet", todo));
        }
        Err(fault) => return Err(fault),
    };
    // A note: origin, size, root (C2SP tlog-checkpoint).
    let text = String::from_utf8_lossy(&checkpoint.body).into_owned();
    let size: Option<u64> = text.lines().nth(1).and_then(|line| line.parse().ok());
    let size = size.ok_or_else(|| Fault::new("answer", "the checkpoint", "it has no size", ""))?;
    let unsigned = match client.get(&format!("/v1/journal/entries/{size}")) {
        Ok(entry) => entry,
        Err(fault) if fault.code_of_exit() == exit::NOT_FOUND => {
            return Ok(Look::fine("journal", format!("all {size} entries are signed")));
        }
        Err(fault) => return Err(fault),
    };
    let since: Option<Timestamp> = at(&unsigned, "/at").parse().ok();
    let waits = since.map_or(0, |since| -seconds_to(since));
    match waits > UNSIGNED_S {
        true => {
            let says =
                format!("{size} entries are signed; the next one waits for {}", spoken(waits));
            let todo = "see the controller's log: a witness may be out of reach, or the disk full";
            Ok(Look::wrong("journal", says, todo))
        }
        false => {
            Ok(Look::fine("journal", format!("{size} entries are signed, newer ones in a moment")))
        }
    }
}

fn levels(client: &mut Client) -> Result<Look, Fault> {
    let standing = client.get("/v1/slo")?;
    let broken: Vec<String> = list(&standing, "/levels")
        .filter(|level| level.get("kept") == Some(&Value::Bool(false)))
        .map(|level| at(level, "/name"))
        .collect();
    if !broken.is_empty() {
        let says = format!("not kept: {}", broken.join(", "));
        return Ok(Look::wrong("levels", says, "`ringfence get slo` has the figures"));
    }
    match at(&standing, "/missed").as_str() {
        "" | "0" => Ok(Look::fine("levels", "all promises are kept")),
        missed => {
            let says = format!("sweeps found {missed} decisions that were missing");
            Ok(Look::wrong("levels", says, "this is a defect: please report it"))
        }
    }
}

/// Every site in a few words; those that are well in one.
fn sites(client: &mut Client, looks: &mut Vec<Look>) {
    let mut all = Vec::new();
    let read = client.list("/v1/sites", &[], &mut |site| {
        all.push(site);
        Ok(true)
    });
    if let Err(fault) = read {
        return looks.push(Look::of_part("sites", &fault));
    }
    let wrong: Vec<Look> = all.iter().filter_map(site).collect();
    if wrong.is_empty() {
        looks.push(Look::fine(
            "sites",
            match all.len() {
                0 => "there are none".to_owned(),
                1 => "one, and it is well".to_owned(),
                n => format!("all {n} are well"),
            },
        ));
    }
    looks.extend(wrong);
}

fn site(site: &Value) -> Option<Look> {
    let id = at(site, "/id");
    let number = |pointer: &str| site.pointer(pointer).and_then(Value::as_u64);
    let wrong = |says: String, todo: String| Some(Look::wrong("sites", says, todo));
    match at(site, "/state").as_str() {
        "revoked" => return None,
        "created" => {
            let (says, todo) = match instant(site, "/token_until") {
                none if none.is_empty() => (
                    format!("{id} has never enrolled, and has no token"),
                    format!("`ringfence sites token {id} --reason …` makes one for its box"),
                ),
                until => (
                    format!("{id} has not enrolled yet; its token is good until {until}"),
                    "enrol its box with the token".to_owned(),
                ),
            };
            return wrong(says, todo);
        }
        _ => {}
    }
    let ends: Option<Timestamp> = at(site, "/identity/not_after").parse().ok();
    if let Some(ends) = ends.filter(|ends| seconds_to(*ends) < ENDS_S) {
        let todo = "a site renews by itself: is its line up?".to_owned();
        return wrong(format!("the certificate of {id} ends at {ends}"), todo);
    }
    if site.pointer("/line/connected") == Some(&Value::Bool(false))
        || site.pointer("/connected") == Some(&Value::Bool(false))
    {
        let todo = format!(
            "is its box on, and can it reach the controller? It keeps enforcing; `ringfence describe site {id}`"
        );
        return wrong(format!("{id} has no line"), todo);
    }
    let why = at(site, "/ack/why");
    if !why.is_empty() {
        let todo = format!("`ringfence describe site {id}`; what was in force there stays");
        return wrong(format!("{id} does not enforce what it should: {why}"), todo);
    }
    let intended = number("/intended/generation")?;
    let verified = number("/verified").unwrap_or(0);
    if verified < intended {
        let says = format!("{id} has verified generation {verified} of {intended}");
        return wrong(says, format!("`ringfence wait site {id} --for verified`; is its line up?"));
    }
    None
}

fn seconds_to(at: Timestamp) -> i64 {
    at.as_nanos().saturating_sub(now().as_nanos()) / 1_000_000_000
}

#[expect(clippy::cast_precision_loss, reason = "words for people")]
fn spoken(seconds: i64) -> String {
    duration(seconds as f64)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
fn http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let parts: Vec<&str> = text.split_ascii_whitespace().collect();
    let [_, day, month, year, time, "GMT"] = parts.as_slice() else { return None };
    let month = MONTHS.iter().position(|name| name == month)?.saturating_add(1);
    format!("{year}-{month:02}-{day}T{time}Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_date_of_http() {
        let at = http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(at.to_string(), "1994-11-06T08:49:37.000000Z");
        for text in
            ["", "1994-11-06", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 06 Xyz 1994 08:49:37 GMT"]
        {
            assert_eq!(http_date(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_at_a_site() {
        let says = |value: Value| site(&value).map(|look| look.says);
        let well = json!({ "id": "w1", "state": "enrolled", "intended": { "generation": 3 }, "verified": 3, "ack": { "why": "" } });
        assert_eq!(says(well.clone()), None);
        let with = |pointer: &str, value: Value| {
            let mut site = well.clone();
            site[pointer] = value;
            says(site).unwrap_or_default()
        };
        assert!(with("verified", json!(2)).contains("generation 2 of 3"));
        assert!(with("state", json!("created")).contains("never enrolled"));
        assert!(with("ack", json!({ "why": "kernel: no" })).contains("kernel: no"));
        assert!(with("connected", json!(false)).contains("no line"));
        assert!(with("identity", json!({ "not_after": "2001-01-01T00:00:00Z" })).contains("2001"));
        assert_eq!(with("state", json!("revoked")), "");
    }
}
