//! Entry points for fuzzing: one function per group of dissectors, taking any bytes.
//!
//! They are here, and not in the fuzz targets, so that the same functions replay the committed
//! corpora as an ordinary test. Besides "no panic" they check the contracts of the registry: a
//! stream dissector consumes between one byte and what it was shown, and every field that is
//! reported is in the catalogue.
//!
//! All dissectors of a group see every input, whatever port it would come from: a port is a hint,
//! so each must cope with the others' bytes too.

use model::limits::STREAM_BUFFER_BYTES_MAX;

use crate::registry::{Datagram, Frame, Stream};
use crate::testing::{Recorder, ctx};
use crate::{About, Ctx, Fact, Role, Sink, Step, fields};

/// What a fuzz target calls.
pub type Entry = fn(&[u8]);

/// Every target by name: the file of the fuzz crate and the folder of its corpus.
pub const TARGETS: &[(&str, Entry)] = &[
    ("frames", frames),
    ("datagrams_names", datagrams_names),
    ("datagrams_ics", datagrams_ics),
    ("datagrams_other", datagrams_other),
    ("streams_app", streams_app),
    ("streams_ics", streams_ics),
];

/// Payloads directly on the link layer and on IP.
pub fn frames(input: &[u8]) {
    for Frame { run, .. } in crate::registry::frames() {
        exchange(input, 0, *run);
    }
}

/// Naming and configuration over UDP.
pub fn datagrams_names(input: &[u8]) {
    datagrams(crate::names::DATAGRAMS, input);
}

/// Industrial and building automation over UDP.
pub fn datagrams_ics(input: &[u8]) {
    datagrams(crate::ics::DATAGRAMS, input);
}

/// All other datagrams.
pub fn datagrams_other(input: &[u8]) {
    datagrams(crate::app::DATAGRAMS, input);
    datagrams(crate::vendor::DATAGRAMS, input);
    datagrams(crate::link::DATAGRAMS, input);
}

/// Sessions of information technology, and naming and makers' protocols over TCP.
pub fn streams_app(input: &[u8]) {
    streams(crate::app::STREAMS, input);
    streams(crate::names::STREAMS, input);
    streams(crate::vendor::STREAMS, input);
}

/// Industrial and building automation over TCP.
pub fn streams_ics(input: &[u8]) {
    streams(crate::ics::STREAMS, input);
}

fn datagrams(table: &[Datagram], input: &[u8]) {
    for Datagram { ports, probe, run, .. } in table {
        if let Some(probe) = probe {
            probe(input.get(2..).unwrap_or_default());
        }
        exchange(input, ports.first().copied().unwrap_or(9), *run);
    }
}

/// The first byte says who speaks first and whether there is an answer, the second where in the rest
/// it begins: so an answer is read in the light of its question.
fn exchange(input: &[u8], port: u16, run: fn(&[u8], &Ctx, &mut dyn Sink) -> crate::Outcome) {
    let Some(([flags, cut], message)) = input.split_first_chunk() else {
        return;
    };
    let to_server = ctx(50_000, port, Role::Client);
    let to_client = ctx(port, 50_000, Role::Server);
    let (first, second) =
        if flags & 1 == 0 { (&to_server, &to_client) } else { (&to_client, &to_server) };
    let mut sink = Checking::default();
    if flags & 2 == 0 {
        let _ = run(message, first, &mut sink);
        return;
    }
    let cut = message.len() * usize::from(*cut) / 256;
    let (question, answer) = message.split_at_checked(cut).unwrap_or((message, &[]));
    let _ = run(question, first, &mut sink);
    let _ = run(answer, second, &mut sink);
}

/// The first byte says which direction comes first and whether there are two, the second where the
/// other direction begins, the third how the bytes are cut into segments.
fn streams(table: &[Stream], input: &[u8]) {
    let Some(([flags, cut, seed], bytes)) = input.split_first_chunk() else {
        return;
    };
    let cut = if flags & 2 == 0 { bytes.len() } else { bytes.len() * usize::from(*cut) / 256 };
    let (front, back) = bytes.split_at_checked(cut).unwrap_or((bytes, &[]));
    let (client, server) = if flags & 1 == 0 { (front, back) } else { (back, front) };
    for stream in table {
        let port = stream.ports.first().copied().unwrap_or(9);
        let mut sink = Checking::default();
        direction(stream, client, *seed, &ctx(50_000, port, Role::Client), &mut sink);
        direction(stream, server, *seed, &ctx(port, 50_000, Role::Server), &mut sink);
    }
}

/// Shows one direction as the sensor does: all bytes not consumed yet, one segment more each time.
fn direction(stream: &Stream, bytes: &[u8], seed: u8, ctx: &Ctx, sink: &mut dyn Sink) {
    let mut segments = Segments::new(seed);
    let (mut start, mut end) = (0, 0);
    (stream.probe)(bytes);
    while end < bytes.len() {
        end = end.saturating_add(segments.next_len()).min(bytes.len());
        if end - start > STREAM_BUFFER_BYTES_MAX {
            start = end;
            continue;
        }
        loop {
            let shown = bytes.get(start..end).unwrap_or_default();
            if shown.is_empty() {
                break;
            }
            match (stream.run)(shown, ctx, sink) {
                Step::Consumed(n) => {
                    assert!(
                        (1..=shown.len()).contains(&n),
                        "{} consumed {n} of {} bytes",
                        stream.name,
                        shown.len()
                    );
                    start += n;
                }
                Step::NeedMore => break,
                Step::Resync => {
                    start = end;
                    break;
                }
                Step::Done => return,
            }
        }
    }
}

/// Segment lengths from a seed: 0 is one segment of everything, others mix short and long ones.
struct Segments {
    state: u32,
}

impl Segments {
    const fn new(seed: u8) -> Self {
        Self { state: seed as u32 }
    }

    const fn next_len(&mut self) -> usize {
        if self.state == 0 {
            return usize::MAX;
        }
        // xorshift32: the state never becomes zero again.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        match self.state % 4 {
            0 => 1,
            1 => 1 + (self.state >> 8) as usize % 8,
            2 => 1 + (self.state >> 8) as usize % 200,
            _ => 1_460,
        }
    }
}

/// A sink that checks what it is told.
#[derive(Default)]
struct Checking(Recorder);

impl Sink for Checking {
    fn fact(&mut self, about: About<'_>, fact: Fact<'_>) {
        match &fact {
            Fact::Says { field, .. } | Fact::Identifier { field, .. } => {
                assert!(fields::exists(field), "field `{field}` is not in the catalogue");
            }
            Fact::SaysKeyed { field, .. } => {
                let open = format!("{field}.x");
                assert!(fields::exists(&open), "field `{field}.*` is not in the catalogue");
            }
            _ => {}
        }
        self.0.lines.clear();
        self.0.fact(about, fact);
    }

    fn remember(&mut self, key: u64, value: u64) {
        self.0.remember(key, value);
    }

    fn recall(&mut self, key: u64) -> Option<u64> {
        self.0.recall(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cover_everything_and_end() {
        fn run(shown: &[u8], _: &Ctx, sink: &mut dyn Sink) -> Step {
            sink.remember(shown.len() as u64, 1);
            if shown.len() < 5 { Step::NeedMore } else { Step::Consumed(5) }
        }
        let stream = Stream { name: "fives", ports: &[5], probe: |_| crate::Probe::Yes, run };
        for seed in 0..=255 {
            streams(&[stream], &[&[3, 100, seed][..], &[7; 9_000]].concat());
        }
    }

    #[test]
    #[should_panic(expected = "consumed 0 of 3 bytes")]
    fn a_dissector_that_consumes_nothing_is_caught() {
        let stream = Stream {
            name: "stuck",
            ports: &[],
            probe: |_| crate::Probe::Yes,
            run: |_, _, _| Step::Consumed(0),
        };
        streams(&[stream], &[0, 0, 0, 1, 2, 3]);
    }

    #[test]
    #[should_panic(expected = "not in the catalogue")]
    fn an_unlisted_field_is_caught() {
        let mut sink = Checking::default();
        let sink: &mut dyn Sink = &mut sink;
        sink.says("no.such_field", "x");
    }

    #[test]
    fn every_target_takes_anything() {
        for (_, target) in TARGETS {
            for input in [&[][..], &[0], &[3, 128, 9, 0, 0, 0], &[0xff; 300]] {
                target(input);
            }
        }
    }
}
