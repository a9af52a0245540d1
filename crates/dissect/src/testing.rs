//! A sink that writes facts down, and what shows messages to dissectors: for tests and fuzzing.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::{Mac, Timestamp};

use crate::{About, Ctx, Endpoint, Fact, Malformed, Outcome, Role, Sink, Step};

/// Collects facts as readable lines.
#[derive(Debug, Default)]
pub struct Recorder {
    /// One line a fact: `sender says dhcp.hostname = plug`.
    pub lines: Vec<String>,
    memory: BTreeMap<u64, u64>,
}

impl Recorder {
    /// All lines, joined.
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }
}

impl Sink for Recorder {
    fn fact(&mut self, about: About<'_>, fact: Fact<'_>) {
        let who = match about {
            About::Sender => "sender".to_owned(),
            About::Receiver => "receiver".to_owned(),
            About::Mac(mac) => mac.to_string(),
            About::Host(ip) => ip.to_string(),
            About::Child { via, key } => format!("sender/{via}[{key}]"),
            About::ChildOfReceiver { via, key } => format!("receiver/{via}[{key}]"),
        };
        let what = match fact {
            Fact::Says { field, value } => format!("says {field} = {value}"),
            Fact::SaysKeyed { field, key, value } => {
                format!("says {field}.{} = {value}", key.to_lowercase())
            }
            Fact::Identifier { field, kind, value } => format!("is {kind:?} {value} ({field})"),
            Fact::Bound { ip, how } => format!("uses {ip} ({how:?})"),
            Fact::Resolved { name, ip } => format!("resolves {name} = {ip}"),
            Fact::ServerName { name } => format!("asks for {name}"),
            Fact::Located { client, port, present } => {
                format!("{} {client} at {port}", if present { "sees" } else { "lost" })
            }
            Fact::Event { kind, detail } => format!("event {kind:?}: {detail}"),
        };
        self.lines.push(format!("{who} {what}"));
    }

    fn remember(&mut self, key: u64, value: u64) {
        if self.memory.len() < 64 {
            self.memory.insert(key, value);
        }
    }

    fn recall(&mut self, key: u64) -> Option<u64> {
        self.memory.get(&key).copied()
    }
}

/// A packet from 192.0.2.1 (02:00:00:00:00:01) to 192.0.2.2 (02:00:00:00:00:02).
pub fn ctx(src_port: u16, dst_port: u16, role: Role) -> Ctx {
    let end = |n: u8, port| Endpoint {
        mac: Mac([2, 0, 0, 0, 0, n]),
        ip: Some(IpAddr::from([192, 0, 2, n])),
        port,
    };
    Ctx { src: end(1, src_port), dst: end(2, dst_port), role, at: Timestamp::EPOCH }
}

/// Shows a stream dissector all bytes of one direction, as the sensor would.
pub fn run_stream(
    run: fn(&[u8], &Ctx, &mut dyn Sink) -> Step,
    mut bytes: &[u8],
    ctx: &Ctx,
    sink: &mut dyn Sink,
) -> Step {
    loop {
        match run(bytes, ctx, sink) {
            Step::Consumed(n) if n > 0 && n < bytes.len() => {
                bytes = bytes.get(n..).unwrap_or_default();
            }
            other => return other,
        }
    }
}

/// What a dissector reports of one whole message, a line a fact. Every damaged copy of the message
/// is shown to it as well: none may make it panic.
pub fn facts_of(
    run: fn(&[u8], &Ctx, &mut dyn Sink) -> Outcome,
    message: &[u8],
    ctx: &Ctx,
) -> Result<String, Malformed> {
    for copy in damaged(message) {
        let _ = run(&copy, ctx, &mut Recorder::default());
    }
    let mut facts = Recorder::default();
    run(message, ctx, &mut facts).map(|()| facts.text())
}

/// As [`facts_of`], for all bytes of one direction of a stream.
pub fn facts_of_stream(
    run: fn(&[u8], &Ctx, &mut dyn Sink) -> Step,
    bytes: &[u8],
    ctx: &Ctx,
) -> String {
    for copy in damaged(bytes) {
        let _ = run_stream(run, &copy, ctx, &mut Recorder::default());
    }
    let mut facts = Recorder::default();
    let _ = run_stream(run, bytes, ctx, &mut facts);
    facts.text()
}

/// Copies cut at some place, and copies with one byte turned over there; at most 1024.
fn damaged(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len()).step_by(1 + bytes.len() / 512).flat_map(|at| {
        let mut altered = bytes.to_vec();
        if let Some(byte) = altered.get_mut(at) {
            *byte ^= 0xff;
        }
        [bytes.get(..at).unwrap_or_default().to_vec(), altered]
    })
}

/// Hex text of bytes, the inverse of [`unhex`].
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Bytes from hex text; white space and `#` comments to the end of a line are ignored.
pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .lines()
        .flat_map(|line| line.split('#').next().unwrap_or_default().chars())
        .filter_map(|c| c.to_digit(16))
        .collect();
    digits
        .chunks_exact(2)
        .filter_map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        })
        .collect()
}
