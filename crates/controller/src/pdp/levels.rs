//! Service levels, measured as things happen.

use std::sync::Mutex;
use std::sync::PoisonError;

use serde::Serialize;
use utoipa::ToSchema;

/// Measurements that a level is over: the latest ones.
const KEPT: usize = 4_096;

/// How quickly, and how often not.
#[derive(Debug, Default)]
pub struct Levels {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    decided: Ring,
    verified: Ring,
    swept: u64,
    missed: u64,
}

/// One level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Level {
    /// What is measured.
    pub name: &'static str,
    /// How many measurements it is over.
    pub count: usize,
    /// Half of them were at most this, in microseconds.
    pub p50_us: Option<u64>,
    /// 99 of 100 were at most this, in microseconds.
    pub p99_us: Option<u64>,
    /// The worst, in microseconds.
    pub max_us: Option<u64>,
    /// What is promised, for 99 of 100, in microseconds.
    pub promised_us: u64,
    /// It is kept; nothing where nothing was measured.
    pub kept: Option<bool>,
}

impl Levels {
    /// A change became a decision after so long.
    pub fn decided(&self, nanos: i64) {
        self.with(|inner| inner.decided.add(nanos));
    }

    /// A decision was read back at a site after so long.
    pub fn verified(&self, nanos: i64) {
        self.with(|inner| inner.verified.add(nanos));
    }

    /// A sweep found so many decisions that were missing.
    pub fn swept(&self, missed: usize) {
        self.with(|inner| {
            inner.swept = inner.swept.saturating_add(1);
            inner.missed = inner.missed.saturating_add(u64::try_from(missed).unwrap_or(u64::MAX));
        });
    }

    /// Sweeps so far, and what they found missing.
    pub fn sweeps(&self) -> (u64, u64) {
        self.with(|inner| (inner.swept, inner.missed))
    }

    /// All levels.
    pub fn all(&self) -> Vec<Level> {
        self.with(|inner| {
            vec![
                inner.decided.level("change to decision", 50_000),
                inner.verified.level("change to verified at the site", 1_000_000),
            ]
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug, Default)]
struct Ring {
    micros: Vec<u64>,
    next: usize,
}

impl Ring {
    fn add(&mut self, nanos: i64) {
        let micros = u64::try_from(nanos.max(0) / 1_000).unwrap_or(0);
        if self.micros.len() < KEPT {
            self.micros.push(micros);
        } else if let Some(slot) = self.micros.get_mut(self.next) {
            *slot = micros;
        }
        self.next = self.next.saturating_add(1) % KEPT;
    }

    fn level(&self, name: &'static str, promised_us: u64) -> Level {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let last = sorted.len().checked_sub(1)?;
            sorted.get(last.saturating_mul(percent).div_ceil(100)).copied()
        };
        let p99_us = at(99);
        Level {
            name,
            count: sorted.len(),
            p50_us: at(50),
            p99_us,
            max_us: sorted.last().copied(),
            promised_us,
            kept: p99_us.map(|p99| p99 <= promised_us),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_over_the_latest_and_say_when_nothing_was_measured() {
        let levels = Levels::default();
        assert_eq!(levels.all()[0].kept, None);
        for n in 1..=100 {
            levels.decided(n * 1_000_000);
        }
        let level = levels.all()[0].clone();
        assert_eq!((level.count, level.p50_us, level.p99_us), (100, Some(51_000), Some(100_000)));
        assert_eq!(level.kept, Some(false));
        for _ in 0..KEPT {
            levels.decided(1_000);
        }
        assert_eq!(levels.all()[0].max_us, Some(1));
    }
}
