//! `ringfence wait`: until a device or a site has come to something, or a time is over.

use std::time::Duration;

use model::Timestamp;
use serde_json::Value;

use super::args::{Wait, Waited};
use super::client::{Client, segment, with_query};
use super::fault::{Fault, Stop};
use super::follow::Follow;
use super::progress::waiting;
use super::words::{at, list};
use crate::exit;
use crate::folder::now;

/// It is looked at again after this long, whatever the stream says.
const AGAIN: Duration = Duration::from_secs(10);
/// The same for what takes milliseconds.
const SOON: Duration = Duration::from_millis(20);

pub(super) fn run(args: &Wait) -> Result<u8, Stop> {
    let condition = Condition::parse(args.kind, &args.condition)?;
    let mut what = What::of(args)?;
    let mut client = super::open(&args.at)?;
    let until = now().plus_nanos(i64::try_from(args.timeout.as_nanos()).unwrap_or(i64::MAX / 2));
    let bar = waiting(format!("{}: {}", what.words, args.condition));
    let mut follow = Some(Follow::open(&mut client)?);
    if let (Condition::Generation(_), Some(site)) = (&condition, &args.id) {
        decided(&mut client, site, until)?;
    }
    let mut is = String::new();
    loop {
        let mut holds = false;
        match what.look(&mut client, &condition) {
            Ok(looked) => (holds, is) = looked,
            // A controller that is started anew is waited for too.
            Err(fault) if fault.is_of_the_way() && !is.is_empty() => {}
            Err(fault) => return Err(fault.into()),
        }
        if holds {
            bar.finish_and_clear();
            eprintln!("{}: {is}", what.words);
            return Ok(exit::FINE);
        }
        let left = left(until);
        if left.is_zero() {
            bar.finish_and_clear();
            let why = format!("it is {is} after {} s", args.timeout.as_secs());
            let help = "`ringfence describe` shows how far it is";
            let what = format!("{} has not come to {}", what.words, args.condition);
            return Err(Fault::new("timeout", what, why, help).into());
        }
        let pause = left.min(AGAIN);
        // A stream that ends is no reason to give up: it is asked again.
        let heard = match &mut follow {
            Some(follow) => follow.next(&client, pause).is_ok(),
            None => {
                client.pause(pause.min(Duration::from_secs(1)));
                true
            }
        };
        if !heard {
            follow = None;
        }
        if follow.is_none() {
            follow = Follow::open(&mut client).ok();
        }
    }
}

/// Waits until what was commanded before is decided: a moment ago a site may have been meant to enforce what was before it.
fn decided(client: &mut Client, id: &str, until: Timestamp) -> Result<(), Fault> {
    let mut target = None;
    loop {
        let site = site(client, id)?;
        let number = |name: &str| site.get(name).and_then(Value::as_u64);
        let target = *target.get_or_insert(number("entries"));
        // Too late it is told what is missing, as for everything else.
        if number("rests_on") >= target || left(until).is_zero() {
            return Ok(());
        }
        client.pause(left(until).min(SOON));
    }
}

fn left(until: Timestamp) -> Duration {
    let nanos = until.as_nanos().saturating_sub(now().as_nanos());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

/// Who is waited for.
struct What {
    /// In words.
    words: String,
    /// One; `None`: all that are selected.
    id: Option<String>,
    /// Which are selected.
    query: Vec<(&'static str, String)>,
    /// Those that were when it was looked first: what is waited for may be what takes them out of the selection.
    ids: Vec<String>,
}

impl What {
    fn of(args: &Wait) -> Result<Self, Fault> {
        let kind = if args.kind == Waited::Device { "device" } else { "site" };
        let chosen = [("l", &args.selector), ("where", &args.expression), ("q", &args.search)];
        let query: Vec<_> =
            chosen.into_iter().filter_map(|(name, text)| Some((name, text.clone()?))).collect();
        if !query.is_empty() && args.kind != Waited::Device {
            let option = match query.first() {
                Some(("l", _)) => "-l",
                Some(("where", _)) => "--where",
                _ => "--search",
            };
            return Err(Fault::usage(option, "it is for devices"));
        }
        let words = match (&args.id, query.first()) {
            (Some(id), _) => format!("{kind} {id}"),
            (None, text) => format!("devices {}", text.map_or("", |(_, text)| text)),
        };
        Ok(Self { words, id: args.id.clone(), query, ids: Vec::new() })
    }

    /// Whether all have come to it, and how it is with the first that has not.
    fn look(
        &mut self,
        client: &mut Client,
        condition: &Condition,
    ) -> Result<(bool, String), Fault> {
        if let Some(id) = &self.id {
            return condition.look(client, id);
        }
        if self.ids.is_empty() {
            let ids = &mut self.ids;
            client.list("/v1/devices", &self.query, &mut |device| {
                ids.push(at(&device, "/id"));
                Ok(true)
            })?;
        }
        let ids = &self.ids;
        if ids.is_empty() {
            let help = "`ringfence get devices` with the same selection shows it";
            let fault = Fault::new("none", &*self.words, "no device is selected", help);
            return Err(fault.exit(exit::NOT_FOUND));
        }
        let mut behind = Vec::new();
        let mut last = String::new();
        for id in ids {
            match condition.look(client, id) {
                Ok((true, is)) => last = is,
                Ok((false, is)) => behind.push(format!("{id} is {is}")),
                // It is gone since the list was read.
                Err(fault) if fault.code_of_exit() == exit::NOT_FOUND => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(match behind.first() {
            None => (true, format!("{last}, all {}", ids.len())),
            Some(first) => {
                (false, format!("{first}, and {} of {} are not there", behind.len(), ids.len()))
            }
        })
    }
}

/// What is waited for.
#[derive(Debug, PartialEq, Eq)]
enum Condition {
    /// A field of a device has a value; nothing: has none.
    Field(String, String),
    /// Its lease.
    Lease(bool),
    /// A site's state.
    State(String),
    /// A site's generation has come so far.
    Generation(&'static str),
}

impl Condition {
    fn parse(kind: Waited, text: &str) -> Result<Self, Fault> {
        let wrong = |why: &str| Fault::usage(format!("--for {text}"), why);
        match (kind, text.split_once('=')) {
            (Waited::Device, Some(("lease", "granted"))) => Ok(Self::Lease(true)),
            (Waited::Device, Some(("lease", "refused"))) => Ok(Self::Lease(false)),
            (Waited::Device, Some(("lease", _))) => {
                Err(wrong("write lease=granted or lease=refused"))
            }
            (Waited::Device, Some((field, value))) if !field.is_empty() => {
                Ok(Self::Field(field.to_owned(), value.to_owned()))
            }
            (Waited::Device, _) => Err(wrong("write FIELD=VALUE, such as state=active")),
            (Waited::Site, Some(("state", value))) => Ok(Self::State(value.to_owned())),
            (Waited::Site, None) => match text {
                "enrolled" => Ok(Self::State("enrolled".to_owned())),
                "applied" => Ok(Self::Generation("/applied")),
                "verified" => Ok(Self::Generation("/verified")),
                _ => Err(wrong("write enrolled, applied, verified or state=VALUE")),
            },
            (Waited::Site, Some(_)) => {
                Err(wrong("write enrolled, applied, verified or state=VALUE"))
            }
        }
    }

    /// Whether it holds, and how it is.
    fn look(&self, client: &mut Client, id: &str) -> Result<(bool, String), Fault> {
        let device = format!("/v1/devices/{}", segment(id));
        match self {
            Self::Field(field, value) => {
                let device = client.get(&device)?;
                let is = match field.strip_prefix("label.") {
                    Some(label) => device.get("labels").and_then(|l| l.get(label)),
                    None => device.get(field).map(|is| is.get("value").unwrap_or(is)),
                };
                let is = is.map(super::words::word).unwrap_or_default();
                Ok((is == *value, format!("{field}={is}")))
            }
            Self::Lease(granted) => {
                let id = at(&client.get(&device)?, "/id");
                let leases = client.get(&with_query("/v1/leases", &[("device", id)]))?;
                let is = list(&leases, "/items").next().and_then(|l| l.get("granted")?.as_bool());
                let word = match is {
                    Some(true) => "lease=granted",
                    Some(false) => "lease=refused",
                    None => "without a decision",
                };
                Ok((is == Some(*granted), word.to_owned()))
            }
            Self::State(state) => {
                let is = at(&site(client, id)?, "/state");
                Ok((is == *state, is))
            }
            Self::Generation(pointer) => {
                let site = site(client, id)?;
                let number = |pointer: &str| site.pointer(pointer).and_then(Value::as_u64);
                let (intended, is) = (number("/intended/generation"), number(pointer));
                let word = pointer.trim_start_matches('/');
                let text =
                    |n: Option<u64>| n.map_or_else(|| "nothing".to_owned(), |n| n.to_string());
                let how = format!("{word} {} of {}", text(is), text(intended));
                Ok((intended.is_some_and(|intended| is.is_some_and(|is| is >= intended)), how))
            }
        }
    }
}

fn site(client: &mut Client, id: &str) -> Result<Value, Fault> {
    client.get(&format!("/v1/sites/{}", segment(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        let device = |text| Condition::parse(Waited::Device, text);
        let site = |text| Condition::parse(Waited::Site, text);
        assert_eq!(
            device("state=active").unwrap(),
            Condition::Field("state".into(), "active".into())
        );
        assert_eq!(device("lease=refused").unwrap(), Condition::Lease(false));
        assert_eq!(site("verified").unwrap(), Condition::Generation("/verified"));
        assert_eq!(site("state=revoked").unwrap(), Condition::State("revoked".into()));
        for wrong in [device(""), device("active"), device("lease=1"), site("a=b"), site("ready")] {
            assert_eq!(wrong.unwrap_err().code_of_exit(), exit::USAGE);
        }
    }
}
