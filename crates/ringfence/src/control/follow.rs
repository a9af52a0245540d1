//! The stream of changes, and `ringfence events`.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;

use clap::ValueEnum as _;
use hyper::body::Incoming;
use serde_json::Value;

use super::args::{Events, Lines};
use super::client::Client;
use super::fault::{Fault, Stop};
use super::sse::{Message, Reader};
use super::words;
use crate::exit;

/// How long one look waits.
const WAIT: Duration = Duration::from_secs(60);
/// The controller gives a sign of life every 15 seconds: after this long without one it is not there.
const SILENCE: Duration = Duration::from_secs(60);

/// A stream of changes.
#[derive(Debug)]
pub(super) struct Follow {
    stream: Incoming,
    reader: Reader,
    ready: VecDeque<Message>,
    silent: Duration,
}

impl Follow {
    pub(super) fn open(client: &mut Client) -> Result<Self, Fault> {
        let stream = client.stream("/v1/events")?;
        Ok(Self {
            stream,
            reader: Reader::default(),
            ready: VecDeque::new(),
            silent: Duration::ZERO,
        })
    }

    /// The next message; `None`: there was none in this time.
    pub(super) fn next(
        &mut self,
        client: &Client,
        wait: Duration,
    ) -> Result<Option<Message>, Fault> {
        if let Some(message) = self.ready.pop_front() {
            return Ok(Some(message));
        }
        let ended =
            |why: &str| Err(Fault::new("stream", "the stream of changes", why, "begin again"));
        match client.more(&mut self.stream, wait)? {
            None => {
                self.silent = self.silent.saturating_add(wait);
                if self.silent >= SILENCE {
                    return ended("the controller gives no sign of life any more");
                }
                Ok(None)
            }
            Some(bytes) if bytes.is_empty() => ended("the controller ended it"),
            Some(bytes) => {
                self.silent = Duration::ZERO;
                self.ready.extend(self.reader.take(&bytes));
                Ok(self.ready.pop_front())
            }
        }
    }
}

/// `ringfence events`.
pub(super) fn events(args: &Events) -> Result<u8, Stop> {
    let mut client = super::open(&args.at)?;
    let mut follow = Follow::open(&mut client)?;
    eprintln!("changes from now on; Ctrl-C ends it");
    let areas: Vec<String> = args
        .area
        .iter()
        .filter_map(|area| Some(area.to_possible_value()?.get_name().to_owned()))
        .collect();
    let mut count = 0;
    while args.count.is_none_or(|most| count < most) {
        let Some(message) = follow.next(&client, WAIT)? else { continue };
        if message.event == "missed" {
            eprintln!(
                "{} changes were missed: this reader is too slow",
                words::word(&message.data.into())
            );
            continue;
        }
        let Ok(mut change) = serde_json::from_str::<Value>(&message.data) else { continue };
        if let Some(Value::Array(events)) = change.get_mut("events") {
            events.retain(|event| areas.is_empty() || areas.contains(&words::at(event, "/area")));
            if events.is_empty() {
                continue;
            }
        }
        count = count.saturating_add(1);
        let text = match args.output {
            Lines::Jsonl => words::json(&change),
            Lines::Table => lines(&change),
        };
        let mut out = io::stdout().lock();
        match writeln!(out, "{text}").and_then(|()| out.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Err(error) => return Err(Fault::new("output", "standard output", error, "").into()),
        }
    }
    Ok(exit::FINE)
}

/// One line for each event of a change.
fn lines(change: &Value) -> String {
    let at = words::instant(change, "/at");
    let (entry, who) = (words::at(change, "/entry"), words::at(change, "/who"));
    let line = |event: &Value| {
        let area = words::at(event, "/area");
        let event = event.get("event").unwrap_or(&Value::Null);
        let ids = words::ids(event);
        let about = match ids.as_slice() {
            [] => String::new(),
            [one] => format!(" {}", words::plain(one)),
            [one, rest @ ..] => format!(" {} and {} more", words::plain(one), rest.len()),
        };
        format!("{at} #{entry} {who} {area}{about} {}", words::event(event))
    };
    words::list(change, "/events").map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_a_line_for_each_event() {
        let change = json!({ "entry": 7, "at": "2031-03-14T18:00:00.123456Z", "who": "person/op-1", "events": [
            { "area": "device", "event": { "event": "retired", "ids": ["d-1", "d-2"], "timed_out": false } },
            { "area": "team", "event": { "event": "removed", "id": "video" } },
        ] });
        assert_eq!(
            lines(&change),
            "2031-03-14 18:00:00 #7 person/op-1 device d-1 and 1 more retired\n\
             2031-03-14 18:00:00 #7 person/op-1 team video removed"
        );
    }
}
