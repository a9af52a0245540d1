//! Several sources as one, in time order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use model::Timestamp;

use super::{Packet, Source, Status};

/// Joins sources in time order. Packets of one source keep their order, also where its clock goes
/// backwards; equal times keep the order of the sources.
pub fn merge(sources: Vec<Box<dyn Source>>) -> Merge {
    Merge { heads: BinaryHeap::with_capacity(sources.len()), sources, at: 0, started: false }
}

/// Several sources in time order, from [`merge`].
pub struct Merge {
    sources: Vec<Box<dyn Source>>,
    /// Times of the next packets of all sources but the current one.
    heads: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// Source of the current packet.
    at: usize,
    started: bool,
}

impl Merge {
    /// The next packet and the number of its source, from 0.
    #[inline]
    pub fn next_packet(&mut self) -> Option<(usize, Packet<'_>)> {
        if self.heads.is_empty() && self.started {
            // One source, or only one left: nothing to compare.
            let packet = self.sources.get_mut(self.at)?.next()?;
            return Some((self.at, packet));
        }
        self.turn()?;
        let packet = self.sources.get(self.at)?.current()?;
        Some((self.at, packet))
    }

    /// Status of every source, in their order.
    pub fn status(&self) -> Vec<Status> {
        self.sources.iter().map(|s| s.status()).collect()
    }

    /// Goes to the source with the earliest next packet.
    fn turn(&mut self) -> Option<()> {
        if self.started {
            let next = self.sources.get_mut(self.at)?.advance();
            if let Some(time) = next {
                match self.heads.peek() {
                    Some(&Reverse(first)) if first < (time, self.at) => {
                        self.heads.push(Reverse((time, self.at)));
                    }
                    _ => return Some(()),
                }
            }
        } else {
            self.started = true;
            for (index, source) in self.sources.iter_mut().enumerate() {
                if let Some(time) = source.advance() {
                    self.heads.push(Reverse((time, index)));
                }
            }
        }
        let Reverse((_, index)) = self.heads.pop()?;
        self.at = index;
        Some(())
    }
}

impl std::fmt::Debug for Merge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merge")
            .field("sources", &self.sources.len())
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}
