//! Byte streams: TCP segments put in order, as far as dissectors want to read.

use model::limits::STREAM_BUFFER_BYTES_MAX;

/// Segments held that arrived before their turn, per direction.
const EARLY_MAX: usize = 8;
/// Times a direction may lose its place before it is given up.
const RESYNCS_MAX: u8 = 16;
/// First segments shown to the probes before a conversation is given up.
pub(crate) const PROBES_MAX: u8 = 6;

/// The two directions of one connection, and the dissector that reads them.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// From the client, from the server.
    pub(crate) halves: [Half; 2],
    /// Index of the stream dissector, once known.
    pub(crate) dissector: Option<u16>,
    /// Segments the probes have seen.
    pub(crate) probed: u8,
}

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Half {
    next: Option<u32>,
    /// Bytes shown but not consumed yet.
    pending: Vec<u8>,
    early: Vec<(u32, Vec<u8>)>,
    pub(crate) done: bool,
    resyncs: u8,
}

/// What a reader did with the bytes it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// Consumed this many; the rest is kept.
    Consumed(usize),
    /// These bytes make no sense.
    Lost,
    /// Wants no more.
    Done,
}

impl Half {
    /// The connection starts: the first data byte has this sequence number.
    pub(crate) const fn start(&mut self, next: u32) {
        self.next = Some(next);
    }

    /// Takes a segment; `reader` sees all bytes in order that it has not consumed yet.
    pub(crate) fn segment(
        &mut self,
        seq: u32,
        payload: &[u8],
        reader: &mut dyn FnMut(&[u8]) -> Read,
    ) {
        if self.done || payload.is_empty() {
            return;
        }
        let next = self.next.unwrap_or(seq);
        // Distance in sequence space: negative when these bytes were seen already.
        match seq.wrapping_sub(next).cast_signed() {
            0 => self.accept(seq, payload, reader),
            behind if behind < 0 => {
                let seen = next.wrapping_sub(seq) as usize;
                if let Some(fresh) = payload.get(seen..).filter(|f| !f.is_empty()) {
                    self.accept(next, fresh, reader);
                }
            }
            ahead => {
                let near = ahead.unsigned_abs() as usize <= STREAM_BUFFER_BYTES_MAX;
                if near && self.early.len() < EARLY_MAX && self.resyncs < RESYNCS_MAX {
                    self.early.push((seq, payload.to_vec()));
                    return;
                }
                // The capture lost something: start again behind the gap.
                self.pending.clear();
                let mut early = std::mem::take(&mut self.early);
                early.push((seq, payload.to_vec()));
                early.sort_by_key(|(s, _)| s.wrapping_sub(next));
                for (seq, bytes) in early {
                    self.next = Some(seq);
                    self.accept(seq, &bytes, reader);
                }
            }
        }
        self.release_early(reader);
    }

    fn release_early(&mut self, reader: &mut dyn FnMut(&[u8]) -> Read) {
        while let Some(next) = self.next
            && !self.done
            && let Some(at) = self.early.iter().position(|(seq, bytes)| {
                let end = seq.wrapping_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                seq.wrapping_sub(next).cast_signed() <= 0
                    && end.wrapping_sub(next).cast_signed() > 0
            })
        {
            let (seq, bytes) = self.early.swap_remove(at);
            let skip = next.wrapping_sub(seq) as usize;
            self.accept(next, bytes.get(skip..).unwrap_or_default(), reader);
        }
    }

    fn accept(&mut self, seq: u32, payload: &[u8], reader: &mut dyn FnMut(&[u8]) -> Read) {
        self.next = Some(seq.wrapping_add(u32::try_from(payload.len()).unwrap_or(0)));
        // The usual case reads straight from the packet.
        if self.pending.is_empty() {
            match reader(payload) {
                Read::Consumed(n) => {
                    self.pending.extend_from_slice(payload.get(n..).unwrap_or_default());
                }
                Read::Lost => self.lose(),
                Read::Done => self.finish(),
            }
        } else {
            self.pending.extend_from_slice(payload);
            match reader(&self.pending) {
                Read::Consumed(n) => drop(self.pending.drain(..n.min(self.pending.len()))),
                Read::Lost => self.lose(),
                Read::Done => self.finish(),
            }
        }
        if self.pending.len() > STREAM_BUFFER_BYTES_MAX {
            self.lose();
        }
    }

    fn lose(&mut self) {
        self.pending.clear();
        self.resyncs = self.resyncs.saturating_add(1);
        if self.resyncs >= RESYNCS_MAX {
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.done = true;
        self.pending = Vec::new();
        self.early = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A reader of 4-byte messages; collects them.
    fn messages(segments: &[(u32, Vec<u8>)]) -> Vec<Vec<u8>> {
        let mut half = Half::default();
        half.start(segments.iter().map(|(s, _)| *s).min().unwrap_or(0));
        let mut got = Vec::new();
        for (seq, bytes) in segments {
            half.segment(*seq, bytes, &mut |seen| {
                let whole = seen.len() / 4 * 4;
                got.extend(seen[..whole].chunks(4).map(<[u8]>::to_vec));
                Read::Consumed(whole)
            });
        }
        got
    }

    proptest! {
        /// However a stream is cut, repeated and swapped within the bound, it reads the same.
        #[test]
        fn segmentation_does_not_matter(
            stream in proptest::collection::vec(any::<u8>(), 4..200),
            cuts in proptest::collection::vec(1usize..40, 1..40),
            start in any::<u32>(),
            swaps in proptest::collection::vec(any::<proptest::sample::Index>(), 0..4),
        ) {
            let mut segments = Vec::new();
            let mut at = 0;
            let mut cuts = cuts.into_iter().cycle();
            while at < stream.len() {
                let n = cuts.next().unwrap().min(stream.len() - at);
                segments.push((start.wrapping_add(u32::try_from(at).unwrap()), stream[at..at + n].to_vec()));
                at += n;
            }
            let whole = messages(&segments);
            let expect: Vec<Vec<u8>> = stream.chunks_exact(4).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(&whole, &expect);
            // Neighbours swapped and everything sent twice: still the same.
            let mut twice: Vec<_> = segments.iter().flat_map(|s| [s.clone(), s.clone()]).collect();
            for swap in swaps {
                let i = swap.index(twice.len());
                if i + 1 < twice.len() && i > 1 {
                    twice.swap(i, i + 1);
                }
            }
            let mut half = Half::default();
            half.start(start);
            let mut got = Vec::new();
            for (seq, bytes) in &twice {
                half.segment(*seq, bytes, &mut |seen| {
                    let whole = seen.len() / 4 * 4;
                    got.extend(seen[..whole].chunks(4).map(<[u8]>::to_vec));
                    Read::Consumed(whole)
                });
            }
            prop_assert_eq!(got, expect);
        }
    }

    #[test]
    fn a_gap_is_left_behind_and_memory_stays_bounded() {
        let mut half = Half::default();
        half.start(0);
        let mut shown = 0usize;
        for i in 0..200u32 {
            // Every segment is far ahead of the last one.
            half.segment(i * 100_000, &[1; 1000], &mut |seen| {
                shown += 1;
                assert!(seen.len() <= STREAM_BUFFER_BYTES_MAX + 1000);
                Read::Consumed(0)
            });
            assert!(half.pending.len() <= STREAM_BUFFER_BYTES_MAX);
            assert!(half.early.len() <= EARLY_MAX);
        }
        assert!(shown > 0);
    }

    #[test]
    fn a_stream_that_never_makes_sense_is_given_up() {
        let mut half = Half::default();
        let mut shown = 0u32;
        for i in 0..1000u32 {
            half.segment(i, &[0], &mut |_| {
                shown += 1;
                Read::Lost
            });
        }
        assert_eq!(shown, u32::from(RESYNCS_MAX));
        assert!(half.done);
    }
}
