//! Niagara Fox (Tridium): the hello messages in which both sides describe themselves.

use super::wire::{key, once, say_role, side};
use crate::fields::{Field, field};
use crate::{Ctx, Probe, Role, Sink, Step, text};

pub(super) const FIELDS: &[Field] = &[
    field("fox.role", "`client` or `server`"),
    field("fox.hostname", "hostName of the hello"),
    field("fox.application", "app.name of the hello: `Station` or `Workbench`"),
    field("fox.version", "app.version of the hello: the Niagara version"),
    field("fox.vm", "vm.name and vm.version of the hello"),
    field("fox.os", "os.name and os.version of the hello"),
    field("fox.station_name", "station.name of the hello"),
    field("fox.brand", "brandId of the hello"),
    field("fox.host_id", "hostId of the hello: the licence's host"),
];

pub(super) const PORTS: &[u16] = &[1911, 4911];

const MEMORY: u8 = b'x';
const START: &[u8] = b"fox a ";
const END: &[u8] = b"};;";

/// A Fox frame begins with its name.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    if bytes.starts_with(START) {
        Probe::Yes
    } else if START.starts_with(bytes) {
        Probe::Maybe
    } else {
        Probe::No
    }
}

/// Reads the hello; later frames are the session's own business.
pub(super) fn run(bytes: &[u8], ctx: &Ctx, sink: &mut dyn Sink) -> Step {
    if !bytes.starts_with(START) {
        return if START.starts_with(bytes) { Step::NeedMore } else { Step::Done };
    }
    let Some(end) = text::find(bytes, END) else {
        return Step::NeedMore;
    };
    let message = bytes.get(..end).unwrap_or_default();
    let text = String::from_utf8_lossy(message);
    let role = side(ctx, PORTS);
    say_role(sink, "fox.role", MEMORY, role);
    let which = if role == Role::Client { 0 } else { 1 };
    if text.lines().next().is_some_and(|line| line.contains(" fox hello"))
        && once(sink, key(MEMORY, b'h', which))
    {
        hello(&text, sink);
        return Step::Done;
    }
    Step::Consumed(end + END.len())
}

/// Lines of `key=type:value`.
fn hello(message: &str, sink: &mut dyn Sink) {
    let value = |wanted: &str| {
        message
            .lines()
            .take(64)
            .filter_map(|line| line.split_once('='))
            .find(|(key, _)| *key == wanted)
            .and_then(|(_, typed)| typed.split_once(':'))
            .map(|(_, value)| text::clean_str(value).into_owned())
            .unwrap_or_default()
    };
    for (key, field) in [
        ("hostName", "fox.hostname"),
        ("app.name", "fox.application"),
        ("app.version", "fox.version"),
        ("station.name", "fox.station_name"),
        ("brandId", "fox.brand"),
        ("hostId", "fox.host_id"),
    ] {
        sink.says(field, value(key));
    }
    for (name, version, field) in
        [("vm.name", "vm.version", "fox.vm"), ("os.name", "os.version", "fox.os")]
    {
        let both = format!("{} {}", value(name), value(version));
        sink.says(field, both.trim());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Recorder, ctx};

    #[test]
    fn a_hello_describes_its_sender() {
        let hello = b"fox a 0 -1 fox hello\n{\nfox.version=s:1.0\nid=i:1\nhostName=s:jace-7\n\
            app.name=s:Station\napp.version=s:3.8.41\nvm.name=s:J9\nvm.version=s:2.4\n\
            os.name=s:QNX\nos.version=s:6.5.0\nhostId=s:Qnx-NPM6-0000\nbrandId=s:vykon\n};;\n";
        let mut facts = Recorder::default();
        assert_eq!(run(hello, &ctx(1911, 1, Role::Server), &mut facts), Step::Done);
        let expect = [
            "sender says fox.role = server",
            "sender says fox.hostname = jace-7",
            "sender says fox.application = Station",
            "sender says fox.version = 3.8.41",
            "sender says fox.brand = vykon",
            "sender says fox.host_id = Qnx-NPM6-0000",
            "sender says fox.vm = J9 2.4",
            "sender says fox.os = QNX 6.5.0",
        ];
        assert_eq!(facts.lines, expect);
        let cut = hello.get(..40).unwrap();
        assert_eq!(run(cut, &ctx(1911, 1, Role::Server), &mut facts), Step::NeedMore);
        assert_eq!(run(b"\x16\x03\x01", &ctx(1911, 1, Role::Server), &mut facts), Step::Done);
        assert_eq!(probe(b"fo"), Probe::Maybe);
        assert_eq!(probe(b"ssh"), Probe::No);
    }
}
