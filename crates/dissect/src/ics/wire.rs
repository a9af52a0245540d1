//! What the dissectors of this group share: sides, memory keys, message cutting, text runs.

use std::borrow::Cow;

use model::limits::STREAM_BUFFER_BYTES_MAX;

use crate::{Ctx, Malformed, Role, Sink, Step, text};

/// The sender's part: as the sensor knows it, else as the server's port tells.
pub(super) fn side(ctx: &Ctx, ports: &[u16]) -> Role {
    match (ctx.role, ports.contains(&ctx.src.port), ports.contains(&ctx.dst.port)) {
        (Role::Unknown, true, false) => Role::Server,
        (Role::Unknown, false, true) => Role::Client,
        (role, ..) => role,
    }
}

/// A key of the conversation's memory: protocol and kind of entry, then a number of that kind.
pub(super) const fn key(protocol: u8, kind: u8, id: u64) -> u64 {
    // Fibonacci hashing spreads ids; the two names in the upper bits keep protocols apart.
    let spread = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    ((protocol as u64) << 56 | (kind as u64) << 48) ^ spread
}

/// FNV-1a, for correlating by more bytes than a key holds.
pub(super) fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// True the first time it is asked in a conversation: for facts that every message repeats.
pub(super) fn once(sink: &mut dyn Sink, key: u64) -> bool {
    let first = sink.recall(key).is_none();
    if first {
        sink.remember(key, 1);
    }
    first
}

/// As [`once`], for one of 64 things that share an entry.
pub(super) fn once_of(sink: &mut dyn Sink, key: u64, which: u8) -> bool {
    let seen = sink.recall(key).unwrap_or(0);
    let bit = 1u64 << (which & 63);
    if seen & bit == 0 {
        sink.remember(key, seen | bit);
    }
    seen & bit == 0
}

/// Reports the sender's part, once per conversation and side.
pub(super) fn say_role(sink: &mut dyn Sink, field: &'static str, protocol: u8, role: Role) {
    let (which, word) = match role {
        Role::Client => (0, "client"),
        Role::Server => (1, "server"),
        Role::Unknown => return,
    };
    if once_of(sink, key(protocol, b'r', 0), which) {
        sink.says(field, word);
    }
}

/// Cuts a message of `total` bytes off a stream: the message and how much to consume. One longer
/// than the stream buffer is given as far as it is there; what follows of it is no message.
pub(super) fn cut(bytes: &[u8], total: usize) -> Result<(&[u8], Step), Step> {
    match bytes.get(..total) {
        Some(message) if total > 0 => Ok((message, Step::Consumed(total))),
        _ if total > STREAM_BUFFER_BYTES_MAX && bytes.len() >= STREAM_BUFFER_BYTES_MAX / 2 => {
            Ok((bytes, Step::Consumed(bytes.len())))
        }
        _ => Err(Step::NeedMore),
    }
}

/// As [`cut`], where the head of the message tells its length or that it is another protocol's.
pub(super) fn next_message(
    bytes: &[u8],
    total: Result<usize, Malformed>,
) -> Result<(&[u8], Step), Step> {
    match total {
        Ok(total) => cut(bytes, total),
        Err(Malformed::Truncated) => Err(Step::NeedMore),
        Err(_) => Err(Step::Resync),
    }
}

/// Runs of printable ASCII of at least `min` bytes, in order.
pub(super) fn runs(bytes: &[u8], min: usize) -> impl Iterator<Item = &str> {
    bytes
        .split(|b| !(0x20..0x7f).contains(b))
        .filter(move |run| run.len() >= min)
        .filter_map(|run| std::str::from_utf8(run).ok())
}

/// Text of a field that must be a name: cleaned, and nothing when it is not printable ASCII.
pub(super) fn name(bytes: &[u8]) -> Cow<'_, str> {
    let value = text::c_string(bytes);
    if text::is_name(&value) { value } else { Cow::Borrowed("") }
}

/// A name from a table sorted by number.
pub(super) fn lookup(table: &[(u16, &'static str)], number: u16) -> Option<&'static str> {
    let at = table.binary_search_by_key(&number, |row| row.0).ok()?;
    table.get(at).map(|row| row.1)
}

/// As [`lookup`], for protocols with one-byte codes.
pub(super) fn word(table: &[(u8, &'static str)], code: u8) -> Option<&'static str> {
    table.iter().find(|row| row.0 == code).map(|row| row.1)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::Outcome;
    use crate::testing::{Recorder, ctx, run_stream, unhex};

    fn turn(port: u16, role: Role) -> Ctx {
        match role {
            Role::Server => ctx(port, 50_000, Role::Server),
            role => ctx(50_000, port, role),
        }
    }

    /// Runs a client's and then a server's bytes through a stream dissector; the facts of both.
    pub(in crate::ics) fn dialogue(
        run: fn(&[u8], &Ctx, &mut dyn Sink) -> Step,
        port: u16,
        turns: &[(Role, &str)],
    ) -> String {
        let mut facts = Recorder::default();
        for (role, hex) in turns {
            run_stream(run, &unhex(hex), &turn(port, *role), &mut facts);
        }
        facts.text()
    }

    /// As `dialogue`, for datagrams.
    pub(in crate::ics) fn datagrams(
        run: fn(&[u8], &Ctx, &mut dyn Sink) -> Outcome,
        port: u16,
        turns: &[(Role, &str)],
    ) -> Result<String, Malformed> {
        let mut facts = Recorder::default();
        for (role, hex) in turns {
            run(&unhex(hex), &turn(port, *role), &mut facts)?;
        }
        Ok(facts.text())
    }

    #[test]
    fn a_message_is_cut_whole_or_not_at_all() {
        assert_eq!(cut(&[1, 2, 3], 2), Ok((&[1u8, 2][..], Step::Consumed(2))));
        assert_eq!(cut(&[1], 2), Err(Step::NeedMore));
        assert_eq!(cut(&[1], 0), Err(Step::NeedMore));
        let long = [0u8; STREAM_BUFFER_BYTES_MAX / 2];
        let cut = cut(&long, STREAM_BUFFER_BYTES_MAX + 1);
        assert_eq!(cut, Ok((&long[..], Step::Consumed(long.len()))));
    }

    #[test]
    fn tables_are_sorted() {
        for table in [
            crate::ics::cip_names::VENDORS,
            crate::ics::bacnet_names::VENDORS,
            crate::ics::hart::MANUFACTURERS,
            crate::ics::knx::MANUFACTURERS,
        ] {
            assert!(table.windows(2).all(|w| w[0].0 < w[1].0));
        }
    }
}
